//! A cabinet's core, as far as the uplink sees it: says hello on each connection and sends from its outbox what is not
//! acknowledged, a window at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cabinet_agent::identity::Credentials;
use cabinet_agent::uplink::{AckToken, Endpoint, Order, Uplink, UplinkEvent, run};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::server::{PATIENCE, Server};

/// As the core has it.
pub(crate) const WINDOW: u64 = 16;
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Cabinet {
    orders: mpsc::Sender<Order>,
    events: mpsc::Receiver<UplinkEvent>,
    link: JoinHandle<()>,
    /// Of the connection of the moment.
    connection: u64,
    outbox: VecDeque<(u64, Vec<u8>)>,
    /// Handed over in this connection up to here.
    sent: u64,
    welcomed: bool,
    /// When connections ended.
    pub(crate) lost: Vec<Instant>,
    pub(crate) downs: Vec<(AckToken, Vec<u8>)>,
}

impl Cabinet {
    /// Connects to `server`, with events of `length` bytes in its outbox.
    pub(crate) fn start(server: &Server, events: u64, length: usize) -> Self {
        Self::at(server.tls.clone(), server.address().port(), events, length)
    }

    pub(crate) fn at(credentials: Arc<Credentials>, port: u16, events: u64, length: usize) -> Self {
        let endpoint = Endpoint {
            host: "127.0.0.1".to_owned(),
            port,
            credentials,
            tenant: "acme".parse().unwrap(),
            cabinet: "berlin-01".parse().unwrap(),
            keep_alive: Duration::from_secs(30),
            backoff_max: BACKOFF_MAX,
        };
        let (orders, ordered) = mpsc::channel(256);
        let (told, events_told) = mpsc::channel(256);
        let link = tokio::spawn(run(endpoint, ordered, told));
        let outbox = (1..=events).map(|n| (n, record(n, length))).collect();
        Self {
            orders,
            events: events_told,
            link,
            connection: 0,
            outbox,
            sent: 0,
            welcomed: false,
            lost: Vec::new(),
            downs: Vec::new(),
        }
    }

    /// Takes what the uplink tells until `done`.
    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let work = async {
            while !done(self) {
                let event = self.events.recv().await.expect("the uplink ended by itself");
                self.take(event);
            }
        };
        timeout(PATIENCE * 10, work).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
    }

    pub(crate) async fn until_delivered(&mut self) {
        self.until("every event is acknowledged", |cabinet| cabinet.outbox.is_empty()).await;
    }

    /// For as long as this, of simulated time.
    pub(crate) async fn work_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Ok(event) = tokio::time::timeout_at(until, self.events.recv()).await {
            self.take(event.expect("the uplink ended by itself"));
        }
    }

    fn take(&mut self, event: UplinkEvent) {
        match event {
            UplinkEvent::Up { connection } => {
                assert!(connection > self.connection, "connections are told apart by growing numbers");
                (self.connection, self.sent, self.welcomed) = (connection, 0, false);
                self.order(Uplink::Hello(b"hello".to_vec()));
            }
            UplinkEvent::HelloAcked => {
                self.welcomed = true;
                self.send_window();
            }
            UplinkEvent::EventsAcked { up_to } => {
                assert!(self.welcomed && up_to <= self.sent, "{up_to} was acknowledged, {} were sent", self.sent);
                self.outbox.retain(|(n, _)| *n > up_to);
                self.send_window();
            }
            UplinkEvent::Lost => {
                self.lost.push(Instant::now());
                self.welcomed = false;
            }
            UplinkEvent::Down { token, payload } => self.downs.push((token, payload)),
        }
    }

    fn send_window(&mut self) {
        let waiting: Vec<_> =
            self.outbox.iter().take(WINDOW as usize).filter(|(n, _)| *n > self.sent).cloned().collect();
        for (n, payload) in waiting {
            self.sent = n;
            self.order(Uplink::Event { n, payload });
        }
    }

    pub(crate) fn order(&self, uplink: Uplink) {
        self.order_on(self.connection, uplink);
    }

    pub(crate) fn order_on(&self, connection: u64, uplink: Uplink) {
        self.orders.try_send(Order { connection, uplink }).expect("the uplink takes no more orders");
    }

    pub(crate) fn connection(&self) -> u64 {
        self.connection
    }

    /// Attempts so far are not more than the pauses between them allow: none is shorter than a tenth of a second, by a
    /// clock that moves in steps.
    pub(crate) fn assert_patient(&self) {
        for (earlier, later) in self.lost.iter().zip(self.lost.iter().skip(1)) {
            assert!(*later - *earlier >= Duration::from_millis(75), "two attempts within {:?}", *later - *earlier);
        }
    }

    /// Ends the uplink as the agent does, and sees that it did not panic.
    pub(crate) async fn end(self) {
        let Self { orders, mut events, link, .. } = self;
        drop(orders);
        let rest = async { while events.recv().await.is_some() {} };
        let (ended, ()) = tokio::join!(timeout(PATIENCE, link), rest);
        ended.expect("the uplink does not end").expect("the uplink panicked");
    }
}

/// The record of event `n`: its number, and as many bytes as it should have.
pub(crate) fn record(n: u64, length: usize) -> Vec<u8> {
    let mut record = n.to_be_bytes().to_vec();
    record.resize(length.max(8), 0xe5);
    record
}

/// The number in a record.
pub(crate) fn number(record: &[u8]) -> u64 {
    u64::from_be_bytes(record[..8].try_into().unwrap())
}
