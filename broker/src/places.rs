//! A bounded number of places for connections of strangers, shared out so that nobody who takes many keeps others out.
//!
//! While all places are taken, a newcomer gets that of whoever holds the most of them, oldest first. So one address, or some, that
//! take everything only push themselves out. When everybody holds one place, a newcomer waits until the oldest has had its time.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

/// All places.
pub(crate) struct Places {
    max: usize,
    /// How long a place is safe for somebody who holds no other.
    patience: Duration,
    /// Addresses behind which many are at home, such as a carrier's NAT: having many places is no reason to lose one.
    allow_list: Vec<IpAddr>,
    inner: Mutex<Inner>,
    left: Notify,
}

#[derive(Default)]
struct Inner {
    next: u64,
    /// By their age.
    taken: BTreeMap<u64, Taken>,
}

struct Taken {
    holder: IpAddr,
    since: Instant,
    /// Dropped to take the place away.
    _evict: oneshot::Sender<()>,
}

/// A place; given back when dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    evicted: oneshot::Receiver<()>,
}

impl Places {
    pub(crate) fn new(max: usize, patience: Duration, allow_list: &[IpAddr]) -> Arc<Self> {
        let allow_list = allow_list.iter().map(IpAddr::to_canonical).collect();
        Arc::new(Self { max: max.max(1), patience, allow_list, inner: Mutex::default(), left: Notify::new() })
    }

    /// Waits until a newcomer can be let in.
    pub(crate) async fn room(&self) {
        loop {
            // Registered before the look, so that a place that is left in between is not missed.
            let left = self.left.notified();
            let ripe = {
                let inner = self.lock();
                if inner.taken.len() < self.max || self.greedy(&inner).is_some() {
                    return;
                }
                inner.taken.first_key_value().map(|(_, oldest)| oldest.since + self.patience)
            };
            let Some(ripe) = ripe.filter(|ripe| *ripe > Instant::now()) else { return };
            tokio::select! {
                () = left => {}
                () = sleep_until(ripe) => return,
            }
        }
    }

    /// Takes a place, if need be somebody else's. After [`room`](Self::room) nobody loses one before its time.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Place {
        let mut inner = self.lock();
        if inner.taken.len() >= self.max {
            let victim = self.greedy(&inner).or_else(|| inner.taken.first_key_value().map(|(number, _)| *number));
            victim.and_then(|number| inner.taken.remove(&number));
        }
        let number = inner.next;
        inner.next += 1;
        let (evict, evicted) = oneshot::channel();
        let taken = Taken { holder: self.holder(address), since: Instant::now(), _evict: evict };
        inner.taken.insert(number, taken);
        drop(inner);
        Place { places: Arc::clone(self), number, evicted }
    }

    /// The oldest place of whoever holds the most, if that is more than one.
    fn greedy(&self, inner: &Inner) -> Option<u64> {
        let mut held: HashMap<IpAddr, (usize, u64)> = HashMap::new();
        for (number, taken) in &inner.taken {
            held.entry(taken.holder).or_insert((0, *number)).0 += 1;
        }
        let greedy = held.iter().filter(|(holder, (count, _))| *count > 1 && !self.allow_list.contains(holder));
        greedy.max_by_key(|(_, (count, oldest))| (*count, u64::MAX - oldest)).map(|(_, (_, oldest))| *oldest)
    }

    /// Whom an address belongs to: with IPv6 one host has a whole /64.
    fn holder(&self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V6(six) if self.allow_list.contains(&IpAddr::V6(six)) => IpAddr::V6(six),
            IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
            four @ IpAddr::V4(_) => four,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until somebody else has got this place.
    pub(crate) async fn evicted(&mut self) {
        // The sender is never used: the error of its drop is the message.
        let _ = (&mut self.evicted).await;
    }

    /// The same for who polls.
    pub(crate) fn poll_evicted(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Told once; who asks again is told again.
        if self.evicted.is_terminated() {
            return Poll::Ready(());
        }
        Pin::new(&mut self.evicted).poll(context).map(|_| ())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().taken.remove(&self.number);
        self.places.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any test.
    const PATIENCE: Duration = Duration::from_secs(3_600);

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn is_out(place: &mut Place) -> bool {
        place.evicted.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    fn out_of(places: &mut [Place]) -> usize {
        places.iter_mut().map(|place| usize::from(is_out(place))).sum()
    }

    /// Whether a newcomer would have to wait now.
    async fn waits(places: &Arc<Places>) -> bool {
        tokio::time::timeout(Duration::ZERO, places.room()).await.is_err()
    }

    #[tokio::test]
    async fn who_takes_everything_makes_room_for_everybody_else() {
        let places = Places::new(8, PATIENCE, &[]);
        let mut greedy: Vec<_> = (0..8).map(|_| places.enter(address(1))).collect();
        let mut others = Vec::new();
        for last in 2..9 {
            assert!(!waits(&places).await, "address {last} has to wait");
            others.push(places.enter(address(last)));
            // And takes the next place at once, of which there is none but its own.
            if !waits(&places).await {
                greedy.push(places.enter(address(1)));
            }
        }
        assert_eq!(out_of(&mut others), 0);
        assert_eq!(greedy.len() - out_of(&mut greedy), 1);
    }

    #[tokio::test]
    async fn who_has_one_place_keeps_it_for_its_time_and_then_loses_it_to_the_next() {
        let places = Places::new(2, PATIENCE, &[]);
        let _held = (places.enter(address(1)), places.enter(address(2)));
        assert!(waits(&places).await);
        let places = Places::new(2, Duration::from_millis(50), &[]);
        let (mut first, mut second) = (places.enter(address(1)), places.enter(address(2)));
        let begun = Instant::now();
        places.room().await;
        assert!(begun.elapsed() >= Duration::from_millis(45), "{:?}", begun.elapsed());
        let _third = places.enter(address(3));
        assert_eq!((is_out(&mut first), is_out(&mut second)), (true, false));
    }

    #[tokio::test]
    async fn a_place_that_is_given_back_ends_the_wait_and_is_given_back_once() {
        let places = Places::new(1, PATIENCE, &[]);
        let place = places.enter(address(1));
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(place);
        waiting.await.unwrap();
        let mut evicted = places.enter(address(1));
        let _second = places.enter(address(1));
        assert!(is_out(&mut evicted));
        drop(evicted);
        assert_eq!(places.lock().taken.len(), 1);
    }

    #[tokio::test]
    async fn many_behind_an_address_of_the_allow_list_lose_nothing_before_their_time() {
        let places = Places::new(3, PATIENCE, &[address(9)]);
        let mut held: Vec<_> = (0..3).map(|_| places.enter("::ffff:10.0.0.9".parse().unwrap())).collect();
        assert!(waits(&places).await);
        assert_eq!(out_of(&mut held), 0);
    }

    #[tokio::test]
    async fn one_network_of_ipv6_is_one_holder() {
        let places = Places::new(3, PATIENCE, &[]);
        let mut greedy: Vec<_> =
            (1..3).map(|host| places.enter(format!("2001:db8::{host}").parse().unwrap())).collect();
        let mut other = places.enter("2001:db8:0:1::1".parse().unwrap());
        assert!(!waits(&places).await);
        let _newcomer = places.enter(address(1));
        assert!(is_out(&mut greedy[0]) && !is_out(&mut greedy[1]) && !is_out(&mut other));
    }
}
