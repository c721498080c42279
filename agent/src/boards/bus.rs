//! The one owner of a bus: a task that polls the boards, gives pulses and reports what it saw.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use schemas::messages::Compartment;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::clock::BootClock;
use super::contacts::{Contact, Contacts};
use super::doors::{Doors, Poll};
use super::family::{Answer, LockFamily, Reading};
use super::place::{BoardAddress, LockNumber, LockPlace};
use super::port::{Port, Written};
use super::profile::Profile;
use super::report::{BoardHealth, BoardReport, BusReport, NotSent, PortReport, PortState, PulseOutcome, PulseReport};
use super::schedule::Schedule;

/// Reports that may wait for the cabinet. A full queue stops the bus: a door's history is not thinned out.
const REPORTS: usize = 1024;
/// Pulses that may wait for their turn. At 500 ms each the last of more would be too old anyway.
const PULSES: usize = 64;
/// From pulse to pulse: all locks of a cabinet hang on one supply.
const PULSE_GAP: Duration = Duration::from_millis(500);
/// What a pulse that is longer than usual adds: the supply recovers after it.
const RECOVERY: Duration = Duration::from_millis(200);
/// After its first byte the rest of an unasked frame comes within this.
const PUSHED_FRAME: Duration = Duration::from_millis(30);
/// From a pulse to the acknowledgement of the slowest board that is waited for.
const ACKNOWLEDGEMENT: Duration = Duration::from_millis(300);
const REOPEN_FIRST: Duration = Duration::from_millis(250);
const REOPEN_LAST: Duration = Duration::from_secs(5);

/// Starts the bus of `profile`. Must be called inside a tokio runtime; the bus ends when every handle, or the receiver, is
/// dropped. Keep receiving: with 1024 reports unread the bus stands still, and pulses that wait meanwhile expire.
pub fn spawn(profile: Profile, clock: BootClock) -> (BusHandle, mpsc::Receiver<BusReport>) {
    let (pulses, requests) = mpsc::channel(PULSES);
    let (reports, received) = mpsc::channel(REPORTS);
    let gap = PULSE_GAP.max(profile.pulse + RECOVERY);
    let bus = Bus {
        codec: profile.codec(),
        doors: Doors::new(profile.clone()),
        profile,
        clock,
        requests,
        reports,
        waiting: None,
        gap,
        // A process that was restarted does not know when its predecessor pulsed.
        next_pulse: Instant::now() + gap,
    };
    tokio::spawn(bus.run());
    (BusHandle { pulses }, received)
}

/// Asks the bus for pulses.
#[derive(Debug, Clone)]
pub struct BusHandle {
    pulses: mpsc::Sender<PulseRequest>,
}

impl BusHandle {
    /// Queues a pulse and never waits. When this is `Ok`, one [`BusReport::Pulse`] with the same id follows; otherwise the
    /// pulse was certainly not sent.
    pub fn pulse(&self, request: PulseRequest) -> Result<(), NotSent> {
        self.pulses.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotSent::QueueFull,
            mpsc::error::TrySendError::Closed(_) => NotSent::BusStopped,
        })
    }

    /// Completes when the bus has stopped.
    pub async fn stopped(&self) {
        self.pulses.closed().await;
    }
}

/// The caller's own name for a pulse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PulseId(pub u64);

/// One pulse on one lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PulseRequest {
    pub id: PulseId,
    pub target: Target,
    /// Boot-clock milliseconds; after that no byte is written any more.
    pub not_after: u64,
}

impl PulseRequest {
    fn report(self, outcome: PulseOutcome, at: u64) -> BusReport {
        let Self { id, target, not_after: _ } = self;
        BusReport::Pulse(PulseReport { id, target, outcome, at })
    }
}

/// What to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    Compartment(Compartment),
    /// A lock that may have no compartment yet: for commissioning.
    Lock(LockPlace),
}

struct Bus {
    profile: Profile,
    codec: Box<dyn LockFamily>,
    clock: BootClock,
    requests: mpsc::Receiver<PulseRequest>,
    reports: mpsc::Sender<BusReport>,
    doors: Doors,
    /// The next pulse, while it waits for the gap.
    waiting: Option<PulseRequest>,
    gap: Duration,
    next_pulse: Instant,
}

/// From opening the port to losing it.
struct Session {
    port: Port,
    schedule: Schedule,
    /// Boot-clock time of each board's last answer, or of the opening.
    answered: BTreeMap<BoardAddress, u64>,
}

/// Why a session ended.
enum End {
    PortLost(io::Error),
    /// Nobody is left who could ask or listen.
    Finished,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::PortLost(error)
    }
}

impl Bus {
    async fn run(mut self) {
        let mut pause = REOPEN_FIRST;
        let mut reported = false;
        loop {
            let lost = match Port::open(&self.profile.port, self.profile.baud) {
                Ok(port) => {
                    (pause, reported) = (REOPEN_FIRST, false);
                    self.session(port).await
                }
                Err(error) => End::PortLost(error),
            };
            let End::PortLost(error) = lost else { return };
            let port = self.profile.port.display();
            if reported {
                tracing::debug!(%port, %error, "lock board port still lost");
            } else {
                tracing::warn!(%port, %error, "lock board port lost; trying to open it again");
                if self.report_lost_port(&error).await.is_err() {
                    return;
                }
                reported = true;
            }
            if self.refuse_until(Instant::now() + pause).await.is_err() {
                return;
            }
            pause = (pause * 2).min(REOPEN_LAST);
        }
    }

    async fn report_lost_port(&mut self, error: &io::Error) -> Result<(), End> {
        let at = (self.clock)();
        let state = PortState::Lost { reason: error.to_string() };
        self.report(BusReport::Port(PortReport { state, at })).await?;
        let boards: Vec<BoardAddress> = self.profile.boards.keys().copied().collect();
        for board in boards {
            let health = BoardHealth::Silent { since: at };
            self.report(BusReport::Board(BoardReport { board, health, at })).await?;
            let forgotten = self.doors.forget(board, at);
            self.report_all(forgotten).await?;
        }
        Ok(())
    }

    /// Answers every pulse with "not sent" while there is no port.
    async fn refuse_until(&mut self, end: Instant) -> Result<(), End> {
        if let Some(request) = self.waiting.take() {
            self.report_pulse(request, PulseOutcome::NotSent(NotSent::PortClosed)).await?;
        }
        loop {
            tokio::select! {
                request = self.requests.recv() => {
                    let request = request.ok_or(End::Finished)?;
                    self.report_pulse(request, PulseOutcome::NotSent(NotSent::PortClosed)).await?;
                }
                () = sleep_until(end) => return Ok(()),
            }
        }
    }

    async fn session(&mut self, port: Port) -> End {
        let at = (self.clock)();
        let boards = || self.profile.boards.keys().copied();
        let schedule = Schedule::new(boards(), self.profile.reply_timeout, Instant::now());
        let mut session = Session { port, schedule, answered: boards().map(|board| (board, at)).collect() };
        if let Err(end) = self.report(BusReport::Port(PortReport { state: PortState::Open, at })).await {
            return end;
        }
        loop {
            if let Err(end) = self.turn(&mut session).await {
                return end;
            }
        }
    }

    /// Does the most urgent thing: a pulse whose time has come, a poll that is due, or waiting for either.
    async fn turn(&mut self, session: &mut Session) -> Result<(), End> {
        // Nobody would hear what became of a pulse, so none goes out.
        if self.reports.is_closed() {
            return Err(End::Finished);
        }
        if self.waiting.is_none() {
            self.waiting = match self.requests.try_recv() {
                Ok(request) => Some(request),
                Err(mpsc::error::TryRecvError::Empty) => None,
                Err(mpsc::error::TryRecvError::Disconnected) => return Err(End::Finished),
            };
        }
        let now = Instant::now();
        if let Some(request) = self.waiting
            && (now >= self.next_pulse || self.admit(request).is_err())
        {
            self.waiting = None;
            return self.pulse(session, request).await;
        }
        // A profile has at least one board.
        let Some((board, due)) = session.schedule.next() else { return Err(End::Finished) };
        if now >= due {
            return self.poll(session, board).await;
        }
        let wake = if self.waiting.is_some() { due.min(self.next_pulse) } else { due };
        self.wait(session, wake).await
    }

    async fn wait(&mut self, session: &mut Session, wake: Instant) -> Result<(), End> {
        let mut heard = vec![0; 64];
        tokio::select! {
            request = self.requests.recv(), if self.waiting.is_none() => {
                self.waiting = Some(request.ok_or(End::Finished)?);
            }
            length = session.port.read(&mut heard) => {
                heard.truncate(length?);
                let soon = Instant::now();
                session.port.collect(&mut heard, soon + PUSHED_FRAME).await?;
                session.heed(&self.codec.read_unasked(&heard));
            }
            () = self.reports.closed() => return Err(End::Finished),
            () = sleep_until(wake) => {}
        }
        Ok(())
    }

    async fn poll(&mut self, session: &mut Session, board: BoardAddress) -> Result<(), End> {
        let asked = (self.clock)();
        let contacts = self.ask_board(session, board).await?;
        let answered = (self.clock)();
        let now = Instant::now();
        let Some(contacts) = contacts else {
            if session.schedule.handle_miss(board, now) {
                let since = session.answered.get(&board).copied().unwrap_or(asked);
                tracing::warn!(%board, "lock board does not answer");
                let health = BoardHealth::Silent { since };
                self.report(BusReport::Board(BoardReport { board, health, at: answered })).await?;
                let forgotten = self.doors.forget(board, answered);
                self.report_all(forgotten).await?;
            }
            return Ok(());
        };
        session.answered.insert(board, answered);
        let observed = self.doors.observe(board, &contacts, Poll { asked, answered });
        if session.schedule.handle_answer(board, observed.doubtful, now) {
            tracing::info!(%board, "lock board answers");
            let health = BoardHealth::Answering;
            self.report(BusReport::Board(BoardReport { board, health, at: answered })).await?;
        }
        self.report_all(observed.reports).await
    }

    async fn ask_board(&self, session: &mut Session, board: BoardAddress) -> Result<Option<Contacts>, End> {
        let channels = self.profile.boards.get(&board).copied().unwrap_or_default();
        let read = |heard: &[u8]| self.codec.read_board(board, channels, heard);
        match self.ask(session, &self.codec.board_query(board), read).await? {
            Answer::Contacts(contacts) => Ok(Some(contacts)),
            Answer::Missing => Ok(None),
            Answer::Ambiguous => self.ask_each_lock(session, board, channels).await,
        }
    }

    /// The long way round, for answers that could be echoes.
    async fn ask_each_lock(
        &self,
        session: &mut Session,
        board: BoardAddress,
        channels: u8,
    ) -> Result<Option<Contacts>, End> {
        let mut short = 0;
        for lock in LockNumber::up_to(channels) {
            let place = LockPlace { board, lock };
            let read = |heard: &[u8]| self.codec.read_lock(place, heard);
            match self.ask(session, &self.codec.lock_query(place), read).await? {
                Answer::Contacts(contacts) => short |= u64::from(contacts.of(lock) == Contact::Short) << lock.index(),
                Answer::Missing | Answer::Ambiguous => return Ok(None),
            }
        }
        Ok(Some(Contacts::new(short, channels)))
    }

    async fn ask(&self, session: &mut Session, request: &[u8], read: impl Fn(&[u8]) -> Reading) -> Result<Answer, End> {
        let stale = session.port.take_stale().await?;
        session.heed(&self.codec.read_unasked(&stale));
        session.port.write(request).await?;
        let deadline = Instant::now() + self.window(request);
        let mut heard = Vec::new();
        loop {
            let more = session.port.collect(&mut heard, deadline).await?;
            let reading = read(&heard);
            if !more || matches!(reading.answer, Answer::Contacts(_)) {
                session.heed(&reading);
                return Ok(reading.answer);
            }
        }
    }

    /// How long the answer to `request` may take, its way over the wire and back included.
    fn window(&self, request: &[u8]) -> Duration {
        const LONGEST_REPLY: usize = 16;
        let bits = u32::try_from((request.len() + LONGEST_REPLY) * 10).unwrap_or(u32::MAX);
        self.profile.reply_timeout + Duration::from_secs(1) * bits / self.profile.baud
    }

    async fn pulse(&mut self, session: &mut Session, request: PulseRequest) -> Result<(), End> {
        let place = match self.admit(request) {
            Ok(place) => place,
            Err(reason) => return self.report_pulse(request, PulseOutcome::NotSent(reason)).await,
        };
        match self.write_pulse(session, place, request.not_after).await {
            (Written::Refused, at) => self.report(request.report(PulseOutcome::NotSent(NotSent::Expired), at)).await,
            (Written::Failed(error), at) => {
                self.report(request.report(PulseOutcome::NotSent(NotSent::WriteFailed), at)).await?;
                Err(End::PortLost(error))
            }
            (Written::Bytes, at) => {
                let now = Instant::now();
                self.next_pulse = now + self.gap;
                session.schedule.handle_pulse(place.board, now);
                self.report(request.report(PulseOutcome::Sent, at)).await?;
                self.hear_acknowledgement(session).await
            }
        }
    }

    /// Writes the pulse if it is still young enough; also gives the boot-clock time of that last look.
    async fn write_pulse(&self, session: &mut Session, place: LockPlace, not_after: u64) -> (Written, u64) {
        match session.port.take_stale().await {
            Ok(stale) => session.heed(&self.codec.read_unasked(&stale)),
            Err(error) => return (Written::Failed(error), (self.clock)()),
        }
        let mut at = 0;
        let too_old = || {
            at = (self.clock)();
            at > not_after
        };
        let written = session.port.write_unless(&self.codec.pulse(place), too_old).await;
        (written, at)
    }

    /// Lets the acknowledgement pass so that no poll talks over it. What it claims does not matter.
    async fn hear_acknowledgement(&self, session: &mut Session) -> Result<(), End> {
        let mut heard = Vec::new();
        let deadline = Instant::now() + ACKNOWLEDGEMENT.max(self.profile.reply_timeout);
        session.port.collect(&mut heard, deadline).await?;
        if heard.is_empty() {
            // Perhaps the bytes never left the port. What left is gone, so this stops only a pulse that would come late.
            session.port.forget_output()?;
        }
        session.heed(&self.codec.read_unasked(&heard));
        Ok(())
    }

    /// The lock to pulse, or why this request need not wait for its turn.
    fn admit(&self, request: PulseRequest) -> Result<LockPlace, NotSent> {
        let place = self.place(request.target).ok_or(NotSent::UnknownTarget)?;
        if (self.clock)() > request.not_after { Err(NotSent::Expired) } else { Ok(place) }
    }

    fn place(&self, target: Target) -> Option<LockPlace> {
        match target {
            Target::Compartment(compartment) => self.profile.place(compartment),
            Target::Lock(place) => self.profile.may_pulse(place).then_some(place),
        }
    }

    async fn report_pulse(&mut self, request: PulseRequest, outcome: PulseOutcome) -> Result<(), End> {
        self.report(request.report(outcome, (self.clock)())).await
    }

    async fn report_all(&self, reports: Vec<BusReport>) -> Result<(), End> {
        for report in reports {
            self.report(report).await?;
        }
        Ok(())
    }

    async fn report(&self, report: BusReport) -> Result<(), End> {
        self.reports.send(report).await.map_err(|_| End::Finished)
    }
}

impl Session {
    fn heed(&mut self, reading: &Reading) {
        let now = Instant::now();
        for board in &reading.moved {
            self.schedule.handle_movement(*board, now);
        }
        if reading.noise > 0 {
            tracing::debug!(bytes = reading.noise, "noise on the lock board bus");
        }
    }
}
