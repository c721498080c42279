//! The bus against simulated boards, over a real pseudo-terminal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use schemas::messages::{Compartment, Occupancy};
use serde_json::{Value, json};
use sim_board::{
    BoardConfig, BoardFaults, Direction, LockFault, PulseKind, Push, SimBus, SimConfig, StatusOrder, Wiring,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

const LIMIT: Duration = Duration::from_secs(30);
const FOREVER: u64 = u64::MAX;

/// A bus, its boards and everything that was reported.
struct Rig {
    sim: Arc<SimBus>,
    bus: BusHandle,
    reports: mpsc::Receiver<BusReport>,
    seen: Vec<BusReport>,
}

impl Rig {
    fn start(config: SimConfig, change: impl FnOnce(&mut Value)) -> Self {
        Self::start_at(config, change, |_| boot_clock())
    }

    fn start_at(
        config: SimConfig,
        change: impl FnOnce(&mut Value),
        clock: impl FnOnce(&Arc<SimBus>) -> BootClock,
    ) -> Self {
        let sim = Arc::new(SimBus::start(config).unwrap());
        let mut text = profile(sim.path());
        change(&mut text);
        let (bus, reports) = spawn(serde_json::from_value(text).unwrap(), clock(&sim));
        Self { sim, bus, reports, seen: Vec::new() }
    }

    /// One board of 24 channels, well-behaved.
    fn plain() -> Self {
        Self::start(SimConfig::new([BoardConfig::new(1, 24)]), |_| {})
    }

    async fn until<T>(&mut self, wanted: &str, found: impl Fn(&BusReport) -> Option<T>) -> T {
        loop {
            let next = timeout(LIMIT, self.reports.recv()).await;
            let Ok(Some(report)) = next else { panic!("no {wanted}; seen: {:#?}", self.seen) };
            let result = found(&report);
            self.seen.push(report);
            if let Some(result) = result {
                return result;
            }
        }
    }

    async fn until_door(&mut self, number: u16, state: DoorSeen) -> DoorReport {
        self.until(&format!("{state:?} door {number}"), |report| match report {
            BusReport::Door(door) if door.compartment == compartment(number) && door.door == state => Some(*door),
            BusReport::Door(_)
            | BusReport::Pulse(_)
            | BusReport::Contact(_)
            | BusReport::Board(_)
            | BusReport::Port(_) => None,
        })
        .await
    }

    async fn until_pulse(&mut self, id: u64) -> PulseReport {
        self.until(&format!("report of pulse {id}"), |report| match report {
            BusReport::Pulse(pulse) if pulse.id == PulseId(id) => Some(*pulse),
            BusReport::Door(_)
            | BusReport::Pulse(_)
            | BusReport::Contact(_)
            | BusReport::Board(_)
            | BusReport::Port(_) => None,
        })
        .await
    }

    async fn until_health(&mut self, address: u8, silent: bool) {
        self.until(&format!("board {address} silent: {silent}"), |report| match report {
            BusReport::Board(board) if board.board.get() == address => {
                (matches!(board.health, BoardHealth::Silent { .. }) == silent).then_some(())
            }
            BusReport::Door(_)
            | BusReport::Pulse(_)
            | BusReport::Contact(_)
            | BusReport::Board(_)
            | BusReport::Port(_) => None,
        })
        .await;
    }

    async fn until_port(&mut self, open: bool) -> PortState {
        self.until(&format!("port open: {open}"), |report| match report {
            BusReport::Port(port) => ((port.state == PortState::Open) == open).then(|| port.state.clone()),
            BusReport::Door(_) | BusReport::Pulse(_) | BusReport::Contact(_) | BusReport::Board(_) => None,
        })
        .await
    }

    /// Waits until the board was asked `count` times more: long enough to have shown anything it could show.
    async fn polls(&mut self, board: u8, count: u64) {
        let asked = |seen: &sim_board::Snapshot| seen.requests.get(&board).copied().unwrap_or_default();
        let start = asked(&self.sim.snapshot());
        self.sim.until(LIMIT, |seen| (asked(seen) >= start + count).then_some(())).await.unwrap();
        while let Ok(report) = self.reports.try_recv() {
            self.seen.push(report);
        }
    }

    fn pulse(&self, id: u64, number: u16) {
        self.pulse_before(id, number, FOREVER);
    }

    fn pulse_before(&self, id: u64, number: u16, not_after: u64) {
        let target = Target::Compartment(compartment(number));
        self.bus.pulse(PulseRequest { id: PulseId(id), target, not_after }).unwrap();
    }

    fn saw_door(&self, number: u16, state: DoorSeen) -> bool {
        self.seen.iter().any(|report| {
            matches!(report, BusReport::Door(door) if door.compartment == compartment(number) && door.door == state)
        })
    }

    /// Requests on the wire that start like a pulse of any kind.
    fn pulse_requests(&self) -> usize {
        let sent = self.sim.wire().into_iter().filter(|entry| entry.direction == Direction::ToBoards);
        sent.filter(|entry| matches!(entry.bytes.first(), Some(0x8A | 0x90 | 0x9A | 0x9B))).count()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let others: Vec<_> = self.sim.pulses().into_iter().filter(|pulse| pulse.kind != PulseKind::One).collect();
            assert!(others.is_empty(), "only single pulses may ever be sent: {others:?}");
        }
    }
}

fn compartment(number: u16) -> Compartment {
    Compartment::new(number).unwrap()
}

fn place(board: u8, lock: u8) -> LockPlace {
    LockPlace { board: BoardAddress::new(board).unwrap(), lock: LockNumber::new(lock).unwrap() }
}

/// Board 1 with 24 channels; compartment n is lock n, for the first four. The timeout is generous: the machine may be busy.
fn profile(port: &Path) -> Value {
    json!({
        "family": "xor",
        "transport": { "kind": "serial", "path": port },
        "polarity": "short_when_locked",
        "byte_order": "first_locks_last",
        "reply_timeout_ms": 300,
        "boards": [{ "address": 1, "channels": 24 }],
        "mapping": (1..=4).map(|n| json!({ "compartment": n, "board": 1, "lock": n })).collect::<Vec<_>>(),
    })
}

fn fresh_link() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("cabinet-bus-{}-{number}", std::process::id()))
}

#[tokio::test]
async fn pulse_opens_the_door_and_the_sensor_tells() {
    let mut rig = Rig::plain();
    rig.until_door(2, DoorSeen::Closed).await;
    rig.pulse(7, 2);
    let pulse = rig.until_pulse(7).await;
    assert_eq!(pulse.outcome, PulseOutcome::Sent);
    let opened = rig.until_door(2, DoorSeen::Open).await;
    assert!(opened.at >= pulse.at, "{opened:?} after {pulse:?}");
    assert!(opened.after.is_some());
    assert_eq!(opened.occupancy, Occupancy::Unknown, "this board has no sensor");
    let pulses = rig.sim.pulses();
    assert_eq!((pulses.len(), pulses[0].lock, pulses[0].length), (1, 2, Duration::from_millis(300)));
    rig.sim.close(1, 2).unwrap();
    rig.until_door(2, DoorSeen::Closed).await;
    assert!(!rig.saw_door(1, DoorSeen::Open), "no other door moved");
}

#[tokio::test]
async fn echo_makes_neither_success_nor_failure() {
    let mut rig = Rig::start(SimConfig { echo: true, ..SimConfig::new([BoardConfig::new(1, 24)]) }, |_| {});
    rig.until_door(1, DoorSeen::Closed).await;
    rig.sim.set_lock_fault(1, 1, LockFault::Stuck).unwrap();
    rig.pulse(1, 1);
    assert_eq!(rig.until_pulse(1).await.outcome, PulseOutcome::Sent);
    rig.polls(1, 10).await;
    assert!(!rig.saw_door(1, DoorSeen::Open), "{:#?}", rig.seen);
    rig.pulse(2, 2);
    rig.until_door(2, DoorSeen::Open).await;
}

#[tokio::test]
async fn echo_of_a_dead_board_is_not_an_answer() {
    let mut boards = [BoardConfig::new(1, 24), BoardConfig::new(2, 8)];
    boards[0].faults.dead = true;
    boards[1].faults.dead = true;
    let mut rig = Rig::start(SimConfig { echo: true, ..SimConfig::new(boards) }, |text| {
        text["boards"] = json!([{ "address": 1, "channels": 24 }, { "address": 2, "channels": 8 }]);
    });
    rig.until_health(1, true).await;
    rig.until_health(2, true).await;
    assert!(!rig.seen.iter().any(|report| matches!(report, BusReport::Door(_) | BusReport::Contact(_))));
}

#[tokio::test]
async fn lying_acknowledgements_are_not_believed() {
    let mut rig = Rig::plain();
    rig.until_door(1, DoorSeen::Closed).await;
    rig.sim.set_lock_fault(1, 1, LockFault::StuckButReportsOpened).unwrap();
    rig.sim.set_lock_fault(1, 2, LockFault::OpensButReportsFailure).unwrap();
    rig.pulse(1, 1);
    rig.pulse(2, 2);
    rig.until_door(2, DoorSeen::Open).await;
    assert!(!rig.saw_door(1, DoorSeen::Open));
}

#[tokio::test]
async fn silent_board_is_reported_its_doors_become_unknown_and_pulses_still_go_out() {
    let mut rig = Rig::plain();
    rig.until_door(4, DoorSeen::Closed).await;
    rig.sim.set_faults(1, BoardFaults { mute: true, ..Default::default() }).unwrap();
    rig.until_health(1, true).await;
    rig.until_door(4, DoorSeen::Unknown).await;
    rig.pulse(1, 4);
    assert_eq!(rig.until_pulse(1).await.outcome, PulseOutcome::Sent, "a cut cable must not trap goods");
    rig.sim.until_pulses(1, LIMIT).await.unwrap();
    rig.sim.set_faults(1, BoardFaults::default()).unwrap();
    rig.until_health(1, false).await;
    rig.until_door(4, DoorSeen::Open).await;
}

#[tokio::test]
async fn reversed_byte_order_is_read() {
    let board = BoardConfig { order: StatusOrder::FirstLocksFirst, ..BoardConfig::new(1, 24) };
    let mut rig = Rig::start(SimConfig::new([board]), |text| text["byte_order"] = json!("first_locks_first"));
    rig.until_door(3, DoorSeen::Closed).await;
    rig.pulse(1, 3);
    rig.until_door(3, DoorSeen::Open).await;
}

#[tokio::test]
async fn board_replaced_by_one_with_another_byte_order_shows_another_bit() {
    let board = BoardConfig { order: StatusOrder::FirstLocksFirst, ..BoardConfig::new(1, 24) };
    let mut rig = Rig::start(SimConfig::new([board]), |_| {});
    rig.until_door(3, DoorSeen::Closed).await;
    rig.pulse(1, 3);
    rig.until("contact of lock 19", |report| match report {
        BusReport::Contact(ContactReport { place: seen, contact: Contact::Open, .. }) if *seen == place(1, 19) => {
            Some(())
        }
        BusReport::Door(_) | BusReport::Pulse(_) | BusReport::Contact(_) | BusReport::Board(_) | BusReport::Port(_) => {
            None
        }
    })
    .await;
    assert!(!rig.saw_door(3, DoorSeen::Open));
}

#[tokio::test]
async fn short_when_open_is_read() {
    let board = BoardConfig { wiring: Wiring::ShortWhenOpen, ..BoardConfig::new(1, 24) };
    let mut rig = Rig::start(SimConfig::new([board]), |text| text["polarity"] = json!("short_when_open"));
    rig.until_door(1, DoorSeen::Closed).await;
    rig.pulse(1, 1);
    rig.until_door(1, DoorSeen::Open).await;
}

#[tokio::test]
async fn garbage_split_replies_and_noise_do_not_matter() {
    let mut board = BoardConfig { push: Push::Code82, ..BoardConfig::new(1, 24) };
    board.faults.garbage = vec![0xFA, 0xFD, 0x99, 0x99];
    board.faults.split = Some(Duration::from_millis(5));
    let mut rig = Rig::start(SimConfig::new([board]), |_| {});
    rig.until_door(1, DoorSeen::Closed).await;
    rig.sim.send_raw(&[0x80, 0x01, 0xFF]);
    rig.sim.send_raw(&[0x8A; 300]);
    rig.pulse(1, 1);
    rig.until_door(1, DoorSeen::Open).await;
    rig.sim.close(1, 1).unwrap();
    rig.until_door(1, DoorSeen::Closed).await;
    assert!(!rig.saw_door(2, DoorSeen::Open));
}

#[tokio::test]
async fn unasked_frame_alone_moves_no_door() {
    let mut rig = Rig::plain();
    rig.until_door(1, DoorSeen::Closed).await;
    rig.sim.send_raw(&[0x82, 0x01, 0x01, 0x00, 0x82]);
    rig.polls(1, 5).await;
    assert!(!rig.saw_door(1, DoorSeen::Open));
}

#[tokio::test]
async fn truncated_replies_are_no_replies() {
    let mut rig = Rig::plain();
    rig.until_door(1, DoorSeen::Closed).await;
    rig.sim.set_faults(1, BoardFaults { drop_tail: 1, ..Default::default() }).unwrap();
    rig.until_health(1, true).await;
}

#[tokio::test]
async fn forced_door_is_seen_on_a_bus_of_four_boards() {
    let boards = (1..=4).map(|address| BoardConfig::new(address, 24));
    let mut rig = Rig::start(SimConfig::new(boards), |text| {
        text["boards"] = (1..=4).map(|address| json!({ "address": address, "channels": 24 })).collect();
        text["mapping"] = (1..=4).map(|n| json!({ "compartment": n, "board": n, "lock": 7 })).collect();
    });
    for number in 1..=4 {
        rig.until_health(number, false).await;
    }
    rig.until_door(4, DoorSeen::Closed).await;
    rig.sim.pry(4, 7).unwrap();
    rig.until_door(4, DoorSeen::Open).await;
    assert!(rig.sim.pulses().is_empty());
    assert!((1..=3).all(|neighbour| !rig.saw_door(neighbour, DoorSeen::Open)));
}

#[tokio::test]
async fn late_answers_are_not_taken_for_those_of_another_board() {
    let boards = [BoardConfig::new(1, 24), BoardConfig::new(2, 24)];
    let mut rig = Rig::start(SimConfig::new(boards), |text| {
        text["boards"] = json!([{ "address": 1, "channels": 24 }, { "address": 2, "channels": 24 }]);
        text["mapping"] =
            json!([{ "compartment": 1, "board": 1, "lock": 1 }, { "compartment": 2, "board": 2, "lock": 1 }]);
    });
    rig.until_door(1, DoorSeen::Closed).await;
    rig.until_door(2, DoorSeen::Closed).await;
    rig.sim.set_faults(1, BoardFaults { late: Duration::from_millis(450), ..Default::default() }).unwrap();
    rig.sim.pry(1, 1).unwrap();
    rig.until_health(1, true).await;
    rig.polls(2, 5).await;
    assert!(!rig.saw_door(2, DoorSeen::Open), "board 2 has nothing to do with it: {:#?}", rig.seen);
    rig.sim.set_faults(1, BoardFaults::default()).unwrap();
    rig.until_health(1, false).await;
    rig.until_door(1, DoorSeen::Open).await;
}

#[tokio::test]
async fn pulses_keep_their_distance() {
    let mut rig = Rig::plain();
    (1..=4).for_each(|number| rig.pulse(u64::from(number), number));
    let pulses = rig.sim.until_pulses(4, LIMIT).await.unwrap();
    for pair in pulses.windows(2) {
        // The simulator's own scheduling may shift its stamps a little.
        assert!(pair[1].at - pair[0].at >= Duration::from_millis(480), "{pulses:#?}");
    }
    assert_eq!(pulses.iter().map(|pulse| pulse.lock).collect::<Vec<_>>(), [1, 2, 3, 4]);
    for id in 1..=4 {
        assert_eq!(rig.until_pulse(id).await.outcome, PulseOutcome::Sent);
    }
}

#[tokio::test]
async fn expired_pulse_writes_no_byte() {
    let clock: BootClock = Arc::new(|| 1001);
    let mut rig = Rig::start_at(SimConfig::new([BoardConfig::new(1, 24)]), |_| {}, |_| clock);
    rig.pulse_before(1, 1, 1000);
    assert_eq!(rig.until_pulse(1).await.outcome, PulseOutcome::NotSent(NotSent::Expired));
    rig.pulse_before(2, 2, 1001);
    assert_eq!(rig.until_pulse(2).await.outcome, PulseOutcome::Sent, "the last millisecond still counts");
    rig.sim.until_pulses(1, LIMIT).await.unwrap();
    assert_eq!(rig.pulse_requests(), 1);
    assert_eq!(rig.sim.pulses()[0].lock, 2);
}

#[tokio::test]
async fn pulse_that_grew_too_old_in_the_queue_writes_no_byte() {
    // The clock jumps, as it does after a suspend, once the first pulse was given.
    let mut rig = Rig::start_at(
        SimConfig::new([BoardConfig::new(1, 24)]),
        |_| {},
        |sim| {
            let sim = Arc::clone(sim);
            Arc::new(move || if sim.pulses().is_empty() { 500 } else { 31_000 })
        },
    );
    rig.pulse_before(1, 1, 30_000);
    rig.pulse_before(2, 2, 30_000);
    assert_eq!(rig.until_pulse(1).await.outcome, PulseOutcome::Sent);
    assert_eq!(rig.until_pulse(2).await.outcome, PulseOutcome::NotSent(NotSent::Expired));
    rig.polls(1, 3).await;
    assert_eq!(rig.pulse_requests(), 1);
}

#[tokio::test]
async fn targets_without_a_lock_are_refused() {
    let mut rig = Rig::start(SimConfig::new([BoardConfig::new(1, 24)]), |text| {
        text["mapping"][0]["occupancy"] = json!({ "board": 1, "lock": 20, "occupied_when": "short" });
    });
    rig.pulse(1, 5);
    assert_eq!(rig.until_pulse(1).await.outcome, PulseOutcome::NotSent(NotSent::UnknownTarget));
    for (id, target) in [(2, place(1, 20)), (3, place(1, 25)), (4, place(2, 1))] {
        rig.bus.pulse(PulseRequest { id: PulseId(id), target: Target::Lock(target), not_after: FOREVER }).unwrap();
        assert_eq!(rig.until_pulse(id).await.outcome, PulseOutcome::NotSent(NotSent::UnknownTarget));
    }
    assert_eq!(rig.pulse_requests(), 0);
}

#[tokio::test]
async fn commissioning_pulses_a_lock_without_a_compartment_and_sees_its_contact() {
    let mut rig = Rig::start(SimConfig::new([BoardConfig::new(1, 24)]), |text| text["mapping"] = json!([]));
    let target = Target::Lock(place(1, 9));
    rig.until_health(1, false).await;
    rig.bus.pulse(PulseRequest { id: PulseId(1), target, not_after: FOREVER }).unwrap();
    rig.until("open contact of lock 9", |report| match report {
        BusReport::Contact(ContactReport { place: seen, contact: Contact::Open, .. }) => {
            assert_eq!(*seen, place(1, 9));
            Some(())
        }
        BusReport::Door(_) | BusReport::Pulse(_) | BusReport::Contact(_) | BusReport::Board(_) | BusReport::Port(_) => {
            None
        }
    })
    .await;
}

#[tokio::test]
async fn wrong_door_is_reported_as_the_door_it_is() {
    let mut rig = Rig::plain();
    rig.until_door(3, DoorSeen::Closed).await;
    rig.sim.set_lock_fault(1, 1, LockFault::WiredTo(3)).unwrap();
    rig.pulse(1, 1);
    let pulse = rig.until_pulse(1).await;
    let opened = rig.until_door(3, DoorSeen::Open).await;
    assert!(opened.at >= pulse.at);
    assert!(!rig.saw_door(1, DoorSeen::Open));
}

#[tokio::test]
async fn occupancy_comes_from_a_spare_channel() {
    let mut rig = Rig::start(SimConfig::new([BoardConfig::new(1, 24)]), |text| {
        text["mapping"][0]["occupancy"] = json!({ "board": 1, "lock": 20, "occupied_when": "open" });
    });
    rig.sim.set_input(1, 20, true).unwrap();
    rig.until("empty compartment", occupancy_is(Occupancy::Empty)).await;
    rig.sim.set_input(1, 20, false).unwrap();
    rig.until("occupied compartment", occupancy_is(Occupancy::Occupied)).await;
}

fn occupancy_is(wanted: Occupancy) -> impl Fn(&BusReport) -> Option<()> {
    move |report| {
        let BusReport::Door(door) = report else { return None };
        (door.compartment == compartment(1) && door.occupancy == wanted).then_some(())
    }
}

#[tokio::test]
async fn board_whose_status_can_equal_the_request_is_asked_lock_by_lock() {
    for echo in [false, true] {
        let board = BoardConfig { status_bytes: Some(1), ..BoardConfig::new(1, 8) };
        let mut rig = Rig::start(SimConfig { echo, ..SimConfig::new([board]) }, |text| {
            text["boards"] = json!([{ "address": 1, "channels": 8 }]);
        });
        (1..=8).for_each(|lock| rig.sim.pry(1, lock).unwrap());
        rig.until_door(4, DoorSeen::Open).await;
        rig.sim.close(1, 4).unwrap();
        rig.until_door(4, DoorSeen::Closed).await;
        assert!(rig.saw_door(3, DoorSeen::Open));
    }
}

#[tokio::test]
async fn without_a_port_pulses_are_not_sent_and_the_port_is_found_later() {
    let link = fresh_link();
    let config = SimConfig { link: Some(link.clone()), ..SimConfig::new([BoardConfig::new(1, 24)]) };
    let (bus, reports) = spawn(serde_json::from_value(profile(&link)).unwrap(), boot_clock());
    // The rig needs boards; these are on another port.
    let elsewhere = SimBus::start(SimConfig::new([BoardConfig::new(1, 24)])).unwrap();
    let mut rig = Rig { sim: Arc::new(elsewhere), bus, reports, seen: Vec::new() };
    rig.until_port(false).await;
    rig.pulse(1, 1);
    assert_eq!(rig.until_pulse(1).await.outcome, PulseOutcome::NotSent(NotSent::PortClosed));
    rig.sim = Arc::new(SimBus::start(config).unwrap());
    rig.until_port(true).await;
    rig.pulse(2, 1);
    rig.until_door(1, DoorSeen::Open).await;
}

#[tokio::test]
async fn vanished_port_makes_doors_unknown_and_comes_back() {
    let link = fresh_link();
    let config = SimConfig { link: Some(link), ..SimConfig::new([BoardConfig::new(1, 24)]) };
    let mut rig = Rig::start(config.clone(), |_| {});
    rig.until_door(1, DoorSeen::Closed).await;
    // The name is taken over by the new bus while the old one, and with it the open port, goes away.
    rig.sim = Arc::new(SimBus::start(config).unwrap());
    rig.until_port(false).await;
    rig.until_door(1, DoorSeen::Unknown).await;
    rig.until_port(true).await;
    rig.until_door(1, DoorSeen::Closed).await;
    rig.pulse(1, 1);
    rig.until_door(1, DoorSeen::Open).await;
}

#[tokio::test]
async fn second_owner_of_a_port_is_turned_away() {
    let mut rig = Rig::plain();
    rig.until_port(true).await;
    let (_bus, mut reports) = spawn(serde_json::from_value(profile(rig.sim.path())).unwrap(), boot_clock());
    let first = timeout(LIMIT, reports.recv()).await.unwrap();
    let Some(BusReport::Port(PortReport { state: PortState::Lost { reason }, .. })) = first else {
        panic!("{first:?}");
    };
    assert_eq!(reason, "another process owns this port");
}

#[tokio::test]
async fn bus_ends_with_its_last_handle() {
    let sim = SimBus::start(SimConfig::new([BoardConfig::new(1, 24)])).unwrap();
    let (bus, mut reports) = spawn(serde_json::from_value(profile(sim.path())).unwrap(), boot_clock());
    drop(bus);
    while timeout(LIMIT, reports.recv()).await.unwrap().is_some() {}
}

#[tokio::test]
async fn bus_ends_when_nobody_listens() {
    let sim = SimBus::start(SimConfig::new([BoardConfig::new(1, 24)])).unwrap();
    let (bus, reports) = spawn(serde_json::from_value(profile(sim.path())).unwrap(), boot_clock());
    drop(reports);
    timeout(LIMIT, bus.stopped()).await.unwrap();
    let target = Target::Compartment(compartment(1));
    assert_eq!(bus.pulse(PulseRequest { id: PulseId(1), target, not_after: FOREVER }), Err(NotSent::BusStopped));
}
