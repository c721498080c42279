//! Bounds on connections that have not said who they are yet.
//!
//! When there are too many, the oldest has to go: an honest handshake is over after a few round trips, a silent peer waits
//! for ever. So any number of silent peers costs memory up to the bound and shuts nobody out.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::limits::GateSettings;
use super::lock;

/// All half-open connections.
pub(super) struct HalfOpen {
    max: usize,
    per_address: usize,
    allow_list: Vec<IpAddr>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    entries: BTreeMap<u64, Entry>,
    by_address: HashMap<IpAddr, usize>,
}

struct Entry {
    address: IpAddr,
    /// Dropped to evict.
    _evict: oneshot::Sender<()>,
}

/// A place among the half-open; given back when dropped.
pub(super) struct Place {
    half_open: Arc<HalfOpen>,
    number: u64,
    evicted: oneshot::Receiver<()>,
}

/// What `enter` did.
pub(super) enum Entered {
    In(Place),
    /// In, and the oldest is out.
    InForOldest(Place),
    /// Too many of this address.
    AddressFull,
}

impl HalfOpen {
    pub(super) fn new(settings: &GateSettings) -> Self {
        Self {
            max: settings.half_open_max.max(1),
            per_address: settings.half_open_per_address.max(1),
            allow_list: settings.address_allow_list.iter().map(IpAddr::to_canonical).collect(),
            inner: Mutex::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.inner).entries.len()
    }

    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Entered {
        let address = address.to_canonical();
        let mut inner = lock(&self.inner);
        let here = inner.by_address.get(&address).copied().unwrap_or(0);
        if here >= self.per_address && !self.allow_list.contains(&address) {
            return Entered::AddressFull;
        }
        let full = inner.entries.len() >= self.max;
        if full && let Some(oldest) = inner.entries.first_key_value().map(|(number, _)| *number) {
            inner.leave(oldest);
        }
        let number = inner.next;
        inner.next += 1;
        let (evict, evicted) = oneshot::channel();
        inner.entries.insert(number, Entry { address, _evict: evict });
        *inner.by_address.entry(address).or_default() += 1;
        drop(inner);
        let place = Place { half_open: Arc::clone(self), number, evicted };
        if full { Entered::InForOldest(place) } else { Entered::In(place) }
    }
}

impl Inner {
    fn leave(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else { return };
        if let Some(count) = self.by_address.get_mut(&entry.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&entry.address);
            }
        }
    }
}

impl Place {
    /// Waits until a newer connection needs this place.
    pub(super) async fn evicted(&mut self) {
        // The sender is never used: the error of its drop is the message.
        let _ = (&mut self.evicted).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.half_open.inner).leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half_open(max: usize, per_address: usize, allow: &[IpAddr]) -> Arc<HalfOpen> {
        let settings = GateSettings {
            half_open_max: max,
            half_open_per_address: per_address,
            address_allow_list: allow.to_vec(),
            ..GateSettings::default()
        };
        Arc::new(HalfOpen::new(&settings))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[tokio::test]
    async fn the_oldest_makes_room_for_the_newest() {
        let half_open = half_open(2, 10, &[]);
        let Entered::In(mut first) = half_open.enter(address(1)) else { panic!("first was not let in") };
        let Entered::In(_second) = half_open.enter(address(2)) else { panic!("second was not let in") };
        let Entered::InForOldest(_third) = half_open.enter(address(3)) else { panic!("nobody was evicted") };
        first.evicted().await;
        assert_eq!(half_open.len(), 2);
        drop(first);
        assert_eq!(half_open.len(), 2, "an evicted place was given back twice");
    }

    #[test]
    fn an_address_is_bounded_unless_it_is_on_the_allow_list() {
        let half_open = half_open(100, 2, &[address(9)]);
        let mut places = Vec::new();
        for last in [1, 1, 9, 9, 9, 9] {
            match half_open.enter(address(last)) {
                Entered::In(place) => places.push(place),
                Entered::InForOldest(_) | Entered::AddressFull => panic!("{last} was not let in"),
            }
        }
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert!(matches!(half_open.enter(mapped), Entered::AddressFull));
        places.clear();
        assert_eq!(half_open.len(), 0);
        assert!(matches!(half_open.enter(mapped), Entered::In(_)));
    }
}
