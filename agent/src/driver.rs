//! The agent's main loop: facts from the uplink, the boards, the screen and the clock go to the core; what it decides is
//! committed, then done.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cabinet_core::{CabinetCore, DoorSeen, EVENTS, Effect, EntryResult, Input, Moment, OpenError, event_key};
use fleet_store::Reserved;
use schemas::cbor::{self, Blob};
use schemas::messages::{Challenge, Epoch, Receipt};
use schemas::step::{Step, Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};

use crate::boards::{
    self, BoardHealth, BootClock, BusHandle, BusReport, PortState, PulseId, PulseOutcome, PulseRequest, Target,
};
use crate::derivations::{Derivations, Entered, Question};
use crate::fleet_time::FleetTime;
use crate::screen::{Notes, ScreenRequest, ScreenView};
use crate::uplink::{AckToken, Order, Uplink, UplinkEvent};

/// What the driver speaks to.
pub struct Surroundings {
    pub clock: BootClock,
    pub bus: BusHandle,
    pub uplink: mpsc::Sender<Order>,
    pub notes: Notes,
    pub time: Arc<FleetTime>,
}

/// Where facts come from.
pub struct Sources {
    pub bus: mpsc::Receiver<BusReport>,
    pub uplink: mpsc::Receiver<UplinkEvent>,
    pub screen: mpsc::Receiver<ScreenRequest>,
}

/// Why the driver stopped.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error("open the cabinet's state")]
    Open(#[from] OpenError),
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("no random numbers from the operating system")]
    Random,
    #[error("start a thread")]
    Thread(#[from] std::io::Error),
    #[error("the lock bus has ended")]
    BusEnded,
}

/// Why the driver ended although nothing failed.
#[derive(Debug)]
pub enum Ended {
    Stopped,
    /// Everything is to be erased; then the agent starts anew.
    Erase(Box<Receipt>),
    /// The fleet has the receipt.
    Discard,
}

/// Core, store and surroundings while all goes well.
pub struct Driver<S> {
    core: CabinetCore,
    store: S,
    out: Surroundings,
    /// Who waits for the result of an entry.
    entries: HashMap<u64, oneshot::Sender<EntryResult>>,
    next_entry: u64,
    /// The connection that the core knows of. Orders for another one are void.
    connection: u64,
    /// An order was lost on its way to the uplink: only a new connection makes the core say it again.
    restart_due: bool,
    /// As the core was told.
    disk_low: bool,
    derivations: Derivations,
    /// What ends this driver, once whatever is in hand is done.
    ended: Option<Ended>,
}

impl<S: Store + Reserved> Driver<S> {
    pub fn open(
        config: cabinet_core::Config,
        keyset: Option<Vec<u8>>,
        store: S,
        out: Surroundings,
    ) -> Result<Self, DriverError> {
        let (core, first) = CabinetCore::open(config, &store, &moment(&out.clock)?)?;
        let mut driver = Self {
            core,
            store,
            out,
            entries: HashMap::new(),
            next_entry: 0,
            connection: 0,
            restart_due: false,
            disk_low: false,
            derivations: Derivations::start()?,
            ended: None,
        };
        for came in driver.finish(first)? {
            driver.take(came)?;
        }
        if let Some(keyset) = keyset {
            driver.take(Input::Keyset(keyset))?;
        }
        Ok(driver)
    }

    /// For a driver that follows one which failed: the connection knows more than this core.
    pub fn restart_uplink(&mut self) {
        self.restart_due = true;
        self.restart_if_due();
    }

    fn restart_if_due(&mut self) {
        let restart = Order { connection: self.connection, uplink: Uplink::Restart };
        self.restart_due = self.restart_due && self.out.uplink.try_send(restart).is_err();
    }

    /// Works until `stop`, the end of the cabinet, or a failure.
    pub async fn run(&mut self, sources: &mut Sources, stop: impl Future<Output = ()>) -> Result<Ended, DriverError> {
        let mut stop = std::pin::pin!(stop);
        loop {
            if let Some(ended) = self.ended.take() {
                return Ok(ended);
            }
            let deadline = until(&self.out.clock, self.core.poll_timeout());
            // In this order: what a door did must be known before the time in which it should have done it is over.
            let input = tokio::select! {
                biased;
                () = &mut stop => return Ok(Ended::Stopped),
                report = sources.bus.recv() => match report {
                    Some(report) => self.bus_input(report),
                    None => return Err(DriverError::BusEnded),
                },
                Some(event) = sources.uplink.recv() => Some(self.uplink_input(event)),
                Some(request) = sources.screen.recv() => self.screen_input(request),
                Some((entry, verifier)) = self.derivations.next() => Some(Input::Derived { entry, verifier }),
                () = deadline => Some(Input::Tick),
            };
            if let Some(input) = input {
                self.take(input)?;
            }
            self.restart_if_due();
            let low = self.store.is_low();
            if low != self.disk_low {
                self.disk_low = low;
                let state = if low { "is full, the store lives on its reserve" } else { "has room again" };
                warn!("the disk {state}");
                self.take(Input::Disk { low })?;
            }
        }
    }

    /// Hands a fact in, and what at once comes of its effects, one after another: each is finished before the next.
    fn take(&mut self, input: Input) -> Result<(), DriverError> {
        let mut waiting = VecDeque::from([input]);
        while let Some(input) = waiting.pop_front() {
            let step = self.core.handle(input, &moment(&self.out.clock)?);
            waiting.extend(self.finish(step)?);
        }
        Ok(())
    }

    /// Commits, then acts: nothing is said or done that is not on disk. Returns what came of it at once.
    fn finish(&mut self, step: Step<Effect>) -> Result<Vec<Input>, DriverError> {
        self.store.commit(&step.writes)?;
        self.out.time.tell(self.core.earliest_time());
        if self.core.is_ending() {
            self.out.notes.set_out_of_order(true);
        }
        let mut came = Vec::new();
        for effect in step.effects {
            came.extend(self.act(effect)?);
        }
        Ok(came)
    }

    fn act(&mut self, effect: Effect) -> Result<Option<Input>, DriverError> {
        match effect {
            Effect::AckDown { token } => self.send(Uplink::Ack(AckToken::from_number(token))),
            Effect::SendHello(payload) => self.send(Uplink::Hello(payload)),
            Effect::SendChallenge(payload) => self.send(Uplink::Challenge(payload)),
            Effect::SendTelemetry(payload) => self.send(Uplink::Telemetry(payload)),
            Effect::SendEvents { from, to, challenge, epoch } => self.send_events(from, to, challenge, epoch)?,
            Effect::Derive { entry, secret, salt, pepper } => {
                self.derivations.ask(Question { entry, entered: Entered::Code(secret), salt, pepper });
            }
            Effect::DeriveAnswer { entry, answer, order, salt, pepper } => {
                self.derivations.ask(Question { entry, entered: Entered::Answer(answer, order), salt, pepper });
            }
            Effect::Pulse { pulse, compartment, not_after } => {
                let request = PulseRequest { id: PulseId(pulse), target: Target::Compartment(compartment), not_after };
                if let Err(reason) = self.out.bus.pulse(request) {
                    warn!(%compartment, ?reason, "pulse not sent");
                    return Ok(Some(Input::PulseResult { pulse, sent: false }));
                }
            }
            Effect::EntryResult { entry, result } => {
                if let Some(waiting) = self.entries.remove(&entry) {
                    // A screen that gave up waiting shows the result by its view.
                    let _ = waiting.send(result);
                }
            }
            Effect::Screen(note) => self.out.notes.push(note),
            Effect::Erase(receipt) => self.ended = Some(Ended::Erase(receipt)),
            Effect::Discard => self.ended = Some(Ended::Discard),
        }
        Ok(None)
    }

    fn send(&mut self, order: Uplink) {
        // The core has at most a window under way, far below the channel.
        if let Err(error) = self.out.uplink.try_send(Order { connection: self.connection, uplink: order }) {
            warn!(%error, "uplink takes no more");
            self.restart_due = true;
        }
    }

    fn send_events(&mut self, from: u64, to: u64, challenge: Challenge, epoch: Epoch) -> Result<(), DriverError> {
        let Some(count) = to.checked_sub(from).and_then(|count| usize::try_from(count + 1).ok()) else {
            return Ok(());
        };
        let rows = self.store.scan(EVENTS, &event_key(from), count)?;
        for ((_, record), n) in rows.into_iter().zip(from..=to) {
            let uplink = schemas::messages::Uplink { challenge, epoch, n, record: Blob(record) };
            self.send(Uplink::Event { n, payload: cbor::encode(&uplink) });
        }
        Ok(())
    }

    fn bus_input(&mut self, report: BusReport) -> Option<Input> {
        match report {
            BusReport::Pulse(report) => {
                let sent = match report.outcome {
                    PulseOutcome::Sent => true,
                    PulseOutcome::NotSent(reason) => {
                        warn!(pulse = report.id.0, ?reason, "pulse not sent");
                        false
                    }
                };
                Some(Input::PulseResult { pulse: report.id.0, sent })
            }
            BusReport::Door(report) => Some(Input::Door {
                compartment: report.compartment,
                door: match report.door {
                    boards::DoorSeen::Open => DoorSeen::Open,
                    boards::DoorSeen::Closed => DoorSeen::Closed,
                    boards::DoorSeen::Unknown => DoorSeen::Unknown,
                },
                occupancy: report.occupancy,
            }),
            BusReport::Contact(report) => {
                debug!(?report, "contact without a compartment");
                None
            }
            BusReport::Board(report) => {
                let answering = matches!(report.health, BoardHealth::Answering);
                Some(Input::Board { board: report.board.get().into(), answering })
            }
            BusReport::Port(report) => {
                match report.state {
                    PortState::Open => info!("lock bus open"),
                    PortState::Lost { reason } => warn!(reason = %reason, "lock bus lost"),
                }
                None
            }
        }
    }

    fn screen_input(&mut self, request: ScreenRequest) -> Option<Input> {
        match request {
            ScreenRequest::View { session, reply } => {
                let waiting = session.map_or_else(Vec::new, |session| self.core.waiting(session));
                // A browser that went away needs no answer.
                let unwanted = session.map_or_else(Vec::new, |session| self.core.unwanted(session));
                let releases = session.map_or_else(Vec::new, |_| self.core.asked_releases());
                let _ = reply.send(ScreenView { view: self.core.view(), waiting, unwanted, releases });
                None
            }
            ScreenRequest::Enter { secret, reply } => Some(Input::Entered { entry: self.entry(reply), secret }),
            ScreenRequest::StaffEnter { secret, reply } => {
                Some(Input::StaffEntered { entry: self.entry(reply), secret })
            }
            ScreenRequest::CourierEnter { secret, reply } => {
                Some(Input::CourierEntered { entry: self.entry(reply), secret })
            }
            ScreenRequest::Bring { session, label } => Some(Input::Bring { session, label }),
            ScreenRequest::BringTo { session, parcel } => Some(Input::BringTo { session, parcel }),
            ScreenRequest::Answer { answer, reply } => Some(Input::Answered { entry: self.entry(reply), answer }),
            ScreenRequest::Load { session, order, larger } => Some(Input::Load { session, order, larger }),
            ScreenRequest::WalkIn { session, order } => Some(Input::WalkIn { session, order }),
            ScreenRequest::DropWalkIn { session, order } => Some(Input::DropWalkIn { session, order }),
            ScreenRequest::Retrieve { session, order } => Some(Input::Retrieve { session, order }),
            ScreenRequest::Release { session, order } => Some(Input::Release { session, order }),
            ScreenRequest::Undo { session, order } => Some(Input::Undo { session, order }),
            ScreenRequest::Swap { session, one, other } => Some(Input::Swap { session, one, other }),
            ScreenRequest::ConfirmSwap { session, compartment, swapped } => {
                Some(Input::ConfirmSwap { session, compartment, swapped })
            }
            ScreenRequest::Service { session, compartment, in_service } => {
                Some(Input::Service { session, compartment, in_service })
            }
            ScreenRequest::Maintenance { session, minutes } => Some(Input::Maintenance { session, minutes }),
            ScreenRequest::Found { session, compartment, order } => Some(Input::Found { session, compartment, order }),
            ScreenRequest::Look { session, compartment } => Some(Input::Look { session, compartment }),
            ScreenRequest::OpenAll { session } => Some(Input::OpenAll { session }),
            ScreenRequest::Cleaning { session, compartment, needed } => {
                Some(Input::Cleaning { session, compartment, needed })
            }
            ScreenRequest::Confirm { session, compartment, inside } => {
                Some(Input::ConfirmLoaded { session, compartment, inside })
            }
            ScreenRequest::Deposit { session, wish } => Some(Input::Deposit { session, wish }),
            ScreenRequest::Report { compartment } => Some(Input::Report { compartment }),
            ScreenRequest::TryAgain { compartment } => Some(Input::TryAgain { compartment }),
            ScreenRequest::NotTaken { compartment } => Some(Input::NotTaken { compartment }),
            ScreenRequest::Logout { session } => Some(Input::StaffLogout { session }),
        }
    }

    fn uplink_input(&mut self, event: UplinkEvent) -> Input {
        match event {
            UplinkEvent::Up { connection } => {
                self.connection = connection;
                Input::Connected
            }
            UplinkEvent::Lost => Input::Disconnected,
            UplinkEvent::Down { token, payload } => Input::Down { token: token.to_number(), payload },
            UplinkEvent::EventsAcked { up_to } => Input::EventsAcked { up_to },
            UplinkEvent::HelloAcked => Input::HelloAcked,
        }
    }

    fn entry(&mut self, reply: oneshot::Sender<EntryResult>) -> u64 {
        self.next_entry += 1;
        self.entries.insert(self.next_entry, reply);
        self.next_entry
    }
}

fn moment(clock: &BootClock) -> Result<Moment, DriverError> {
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy).map_err(|_| DriverError::Random)?;
    Ok(Moment { boot_millis: clock(), entropy })
}

async fn until(clock: &BootClock, deadline: Option<u64>) {
    match deadline {
        // The boot clock counts through suspend, tokio's does not: look again at least every ten seconds.
        Some(at) => tokio::time::sleep(Duration::from_millis(at.saturating_sub(clock()).min(10_000))).await,
        None => std::future::pending().await,
    }
}
