//! A rig over real routers whose links can be told to die, to swallow what they are sent, or never to be made.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fleet_broker::bus::{
    Bus, Link, LinkError, LinkFactory, LinkReceive, LinkSend, Received, RouterBus, Shard, Sink, router_link,
};

use super::{Rig, timing};

/// Starts [`RouterBus`]es over links that it keeps a hand on.
#[derive(Clone, Default)]
pub(crate) struct RouterRig {
    links: Arc<Mutex<Vec<Arc<Handle>>>>,
}

/// A hand on one link.
#[derive(Default)]
struct Handle {
    sender: Mutex<Option<Box<dyn LinkSend>>>,
    dead: AtomicBool,
    swallows: AtomicBool,
}

impl RouterRig {
    pub(crate) fn factory(&self) -> LinkFactory {
        let links = Arc::clone(&self.links);
        Arc::new(move || {
            let Link { sender, receiver } = router_link()?;
            let handle = Arc::new(Handle { sender: Mutex::new(Some(sender)), ..Handle::default() });
            links.lock().unwrap().push(Arc::clone(&handle));
            Ok(Link {
                sender: Box::new(HeldSender(Arc::clone(&handle))),
                receiver: Box::new(HeldReceiver { handle, receiver }),
            })
        })
    }

    pub(crate) fn links_made(&self) -> usize {
        self.links.lock().unwrap().len()
    }

    /// From now on the current link takes frames and brings nothing back, like a router that hangs.
    pub(crate) fn stall(&self) {
        self.current().swallows.store(true, Ordering::SeqCst);
    }

    fn current(&self) -> Arc<Handle> {
        Arc::clone(self.links.lock().unwrap().last().expect("a link was made"))
    }
}

impl Rig for RouterRig {
    fn start(&self, sink: Sink) -> Box<dyn Bus> {
        let on_fatal = Box::new(|| panic!("the router could not be replaced"));
        Box::new(RouterBus::over(self.factory(), timing(), sink, on_fatal).unwrap())
    }

    fn inject(&self, shard: &str, message: &[u8]) {
        let handle = self.current();
        let mut sender = handle.sender.lock().unwrap();
        let shard = (0..=u8::MAX)
            .map(|number| Shard::of(&"acme".parse().unwrap(), &format!("c{number}").parse().unwrap()))
            .find(|candidate| candidate.to_string() == shard)
            .expect("some cabinet is in each shard");
        sender.as_mut().unwrap().send(shard, Bytes::copy_from_slice(message)).unwrap();
    }

    fn break_link(&self) {
        self.current().dead.store(true, Ordering::SeqCst);
    }
}

struct HeldSender(Arc<Handle>);

impl LinkSend for HeldSender {
    fn send(&mut self, shard: Shard, frame: Bytes) -> Result<(), LinkError> {
        if self.0.dead.load(Ordering::SeqCst) {
            return Err(LinkError::Gone);
        }
        if self.0.swallows.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.0.sender.lock().unwrap().as_mut().unwrap().send(shard, frame)
    }
}

impl Drop for HeldSender {
    /// The rig keeps its hand on the link, so the router's sender has to be let go here.
    fn drop(&mut self) {
        self.0.sender.lock().unwrap().take();
    }
}

struct HeldReceiver {
    handle: Arc<Handle>,
    receiver: Box<dyn LinkReceive>,
}

impl LinkReceive for HeldReceiver {
    fn receive(&mut self, wait: Duration) -> Result<Option<Received>, LinkError> {
        let received = self.receiver.receive(wait);
        if self.handle.dead.load(Ordering::SeqCst) { Err(LinkError::Gone) } else { received }
    }
}

/// A link that takes everything and brings nothing back.
pub(crate) fn black_hole() -> Link {
    struct Hole;
    impl LinkSend for Hole {
        fn send(&mut self, _: Shard, _: Bytes) -> Result<(), LinkError> {
            Ok(())
        }
    }
    impl LinkReceive for Hole {
        fn receive(&mut self, wait: Duration) -> Result<Option<Received>, LinkError> {
            std::thread::park_timeout(wait);
            Ok(None)
        }
    }
    Link { sender: Box::new(Hole), receiver: Box::new(Hole) }
}

/// A factory that counts its calls and gives the first `bad` of them to `first`, the others to `then`.
pub(crate) fn at_first(
    bad: usize,
    first: impl Fn() -> Result<Link, LinkError> + Send + Sync + 'static,
    then: LinkFactory,
) -> (LinkFactory, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let factory = Arc::new(move || if counted.fetch_add(1, Ordering::SeqCst) < bad { first() } else { then() });
    (factory, calls)
}
