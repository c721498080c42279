//! Every XOR row of the vectors, over the real pseudo-terminal.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panic, as tests do")]
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::time::Duration;

use sim_board::{
    BoardConfig, BoardFaults, Direction, Door, LockFault, PulseKind, Push, SimBus, SimConfig, StatusOrder, VECTORS,
    Wiring,
};

const LIMIT: Duration = Duration::from_secs(20);

/// The three boards of the vectors; board 1 has 24 channels.
fn boards() -> SimBus {
    start(BoardConfig::new(1, 24))
}

fn start(first: BoardConfig) -> SimBus {
    let boards = [first, BoardConfig::new(2, 12), BoardConfig::new(3, 12)];
    SimBus::start(SimConfig { baud: 1_000_000, spring: Duration::ZERO, ..SimConfig::new(boards) }).unwrap()
}

fn port(sim: &SimBus) -> File {
    OpenOptions::new().read(true).write(true).open(sim.path()).unwrap()
}

fn exchange(port: &mut File, request: &[u8], reply_len: usize) -> Vec<u8> {
    port.write_all(request).unwrap();
    let mut reply = vec![0; reply_len];
    port.read_exact(&mut reply).unwrap();
    reply
}

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map_while(|byte| u8::from_str_radix(byte, 16).ok()).collect()
}

struct Row {
    meaning: &'static str,
    request: Vec<u8>,
    response: &'static str,
}

fn xor_rows() -> Vec<Row> {
    let rows = VECTORS.lines().filter_map(|line| line.strip_prefix("xor\t"));
    let columns = rows.map(|row| {
        let columns: Vec<&str> = row.split('\t').collect();
        let &[meaning, request, response] = columns.as_slice() else { panic!("three columns in {row:?}") };
        Row { meaning, request: hex(request), response }
    });
    columns.collect()
}

fn row(meaning: &str) -> Row {
    xor_rows().into_iter().find(|row| row.meaning == meaning).unwrap()
}

#[test]
fn every_row_of_the_family_is_covered_here() {
    let meanings: Vec<&str> = xor_rows().iter().map(|row| row.meaning).collect();
    assert_eq!(
        meanings,
        [
            "open b1 l1",
            "open b1 l1 failed (same polarity; identical to the request)",
            "open b2 l10",
            "open b3 l12",
            "open ALL b1 (never by accident)",
            "open 3 s pulse b1 l1",
            "query b1 l1",
            "query all b1 8ch, real capture",
            "query all, l1 open rest closed, last byte = 1-8",
            "query all, same BCC, first byte = 1-8",
            "open mask 2,10,18",
            "hold on / off l1",
            "unsolicited",
            "CM06 firmware query",
        ]
    );
}

#[test]
fn open_pulses_one_lock_and_reports_opened() {
    for (meaning, board, lock) in [("open b1 l1", 1, 1), ("open b2 l10", 2, 10), ("open b3 l12", 3, 12)] {
        let (sim, row) = (boards(), row(meaning));
        // Annotations follow the bytes, in one row without a space.
        let expected = hex(&row.response.replace('(', " ("));
        assert_eq!(exchange(&mut port(&sim), &row.request, expected.len()), expected, "{meaning}");
        let pulses = sim.wait_for_pulses(1, LIMIT).unwrap();
        assert_eq!((pulses[0].board, pulses[0].lock, pulses[0].kind), (board, lock, PulseKind::One));
        assert_eq!(pulses[0].length, Duration::from_millis(300));
        sim.wait_until(LIMIT, |seen| (seen.doors[&(board, lock)] == Door::Open).then_some(())).unwrap();
    }
}

#[test]
fn failed_open_replies_with_the_request() {
    let (sim, row) = (boards(), row("open b1 l1 failed (same polarity; identical to the request)"));
    sim.set_lock_fault(1, 1, LockFault::Stuck).unwrap();
    assert_eq!(exchange(&mut port(&sim), &row.request, 5), hex(row.response));
    assert_eq!(hex(row.response), row.request);
    assert_eq!(sim.door(1, 1), Ok(Door::Closed));
}

#[test]
fn the_two_replies_swap_with_the_wiring() {
    let sim = start(BoardConfig { wiring: Wiring::ShortWhenOpen, ..BoardConfig::new(1, 24) });
    let opened = row("open b1 l1");
    assert_eq!(exchange(&mut port(&sim), &opened.request, 5), opened.request);
    let query = row("query b1 l1");
    let sim = start(BoardConfig { wiring: Wiring::ShortWhenOpen, ..BoardConfig::new(1, 24) });
    assert_eq!(exchange(&mut port(&sim), &query.request, 5), hex("80 01 01 00 80"));
}

#[test]
fn open_all_is_understood_so_that_an_accident_is_seen() {
    let (sim, row) = (boards(), row("open ALL b1 (never by accident)"));
    port(&sim).write_all(&row.request).unwrap();
    let pulses = sim.wait_for_pulses(24, LIMIT).unwrap();
    assert!(pulses.iter().all(|pulse| pulse.kind == PulseKind::All));
}

#[test]
fn long_pulse_lasts_as_asked() {
    let (sim, row) = (boards(), row("open 3 s pulse b1 l1"));
    port(&sim).write_all(&row.request).unwrap();
    assert_eq!(sim.wait_for_pulses(1, LIMIT).unwrap()[0].length, Duration::from_secs(3));
}

#[test]
fn query_one_tells_closed_and_open() {
    let (sim, row) = (boards(), row("query b1 l1"));
    let (closed, open) = row.response.split_once('/').unwrap();
    let mut port = port(&sim);
    assert_eq!(exchange(&mut port, &row.request, 5), hex(closed));
    sim.pry(1, 1).unwrap();
    assert_eq!(exchange(&mut port, &row.request, 5), hex(open));
}

#[test]
fn eight_channel_board_answers_with_seven_bytes() {
    let (sim, row) = (start(BoardConfig::new(1, 8)), row("query all b1 8ch, real capture"));
    (1..=8).for_each(|lock| sim.pry(1, lock).unwrap());
    assert_eq!(exchange(&mut port(&sim), &row.request, 7), hex(row.response));
}

#[test]
fn status_bytes_come_in_both_orders() {
    for (meaning, order) in [
        ("query all, l1 open rest closed, last byte = 1-8", StatusOrder::FirstLocksLast),
        ("query all, same BCC, first byte = 1-8", StatusOrder::FirstLocksFirst),
    ] {
        let (sim, row) = (start(BoardConfig { order, ..BoardConfig::new(1, 24) }), row(meaning));
        sim.pry(1, 1).unwrap();
        assert_eq!(exchange(&mut port(&sim), &row.request, 7), hex(row.response));
    }
}

#[test]
fn mask_opens_the_locks_that_it_names() {
    let (sim, row) = (boards(), row("open mask 2,10,18"));
    port(&sim).write_all(&row.request).unwrap();
    let pulses = sim.wait_for_pulses(3, LIMIT).unwrap();
    assert_eq!(
        pulses.iter().map(|pulse| (pulse.lock, pulse.kind)).collect::<Vec<_>>(),
        [(2, PulseKind::Mask), (10, PulseKind::Mask), (18, PulseKind::Mask)]
    );
}

#[test]
fn hold_is_seen_as_power_that_does_not_end() {
    let (sim, row) = (boards(), row("hold on / off l1"));
    let mut port = port(&sim);
    port.write_all(&row.request).unwrap();
    assert_eq!(sim.wait_for_pulses(1, LIMIT).unwrap()[0].kind, PulseKind::Hold);
    port.write_all(&hex("9B 01 01 11 8A")).unwrap();
    assert_eq!(exchange(&mut port, &hex("80 01 01 33 B3"), 5).len(), 5);
    assert_eq!(sim.pulses().len(), 1);
}

#[test]
fn unasked_frames_follow_the_door() {
    let row = row("unsolicited");
    let expected: Vec<Vec<u8>> = row.response.split(',').map(hex).collect();
    let sim = start(BoardConfig { push: Push::Code82, ..BoardConfig::new(1, 24) });
    let mut line = port(&sim);
    let mut frame = [0; 5];
    sim.pry(1, 1).unwrap();
    line.read_exact(&mut frame).unwrap();
    assert_eq!(frame.as_slice(), expected[1]);
    sim.close(1, 1).unwrap();
    line.read_exact(&mut frame).unwrap();
    assert_eq!(frame.as_slice(), expected[0]);

    let sim = start(BoardConfig { push: Push::Code81, ..BoardConfig::new(1, 24) });
    sim.pry(1, 1).unwrap();
    port(&sim).read_exact(&mut frame).unwrap();
    assert_eq!(frame.as_slice(), expected[2]);
}

#[test]
fn firmware_query_of_another_board_kind_is_passed_over() {
    let (sim, row) = (boards(), row("CM06 firmware query"));
    let mut port = port(&sim);
    port.write_all(&row.request).unwrap();
    assert_eq!(exchange(&mut port, &hex("80 01 01 33 B3"), 5), hex("80 01 01 11 91"));
}

#[test]
fn echo_comes_before_the_reply() {
    let sim = boards();
    sim.set_echo(true);
    let reply = exchange(&mut port(&sim), &hex("8A 01 01 11 9B"), 10);
    assert_eq!(reply, hex("8A 01 01 11 9B 8A 01 01 00 8A"));
}

#[test]
fn faults_change_what_is_on_the_wire() {
    let sim = boards();
    let mut port = port(&sim);
    let query = hex("80 01 01 33 B3");
    let faults = BoardFaults {
        garbage: hex("FA FD 99 99"),
        drop_tail: 1,
        split: Some(Duration::from_millis(1)),
        ..Default::default()
    };
    sim.set_faults(1, faults).unwrap();
    assert_eq!(exchange(&mut port, &query, 8), hex("FA FD 99 99 80 01 01 11"));
    sim.set_faults(1, BoardFaults { dead: true, ..Default::default() }).unwrap();
    port.write_all(&hex("8A 01 01 11 9B")).unwrap();
    assert_eq!(exchange(&mut port, &hex("80 02 01 33 B0"), 5), hex("80 02 01 11 92"));
    assert!(sim.pulses().is_empty());
    let heard: Vec<_> = sim.wire().into_iter().filter(|entry| entry.direction == Direction::ToBoards).collect();
    assert_eq!(heard.iter().map(|entry| entry.bytes.len()).sum::<usize>(), 15);
}

#[test]
fn wrong_wiring_opens_another_door() {
    let sim = boards();
    sim.set_lock_fault(1, 1, LockFault::WiredTo(5)).unwrap();
    exchange(&mut port(&sim), &hex("8A 01 01 11 9B"), 5);
    sim.wait_until(LIMIT, |seen| (seen.doors[&(1, 5)] == Door::Open).then_some(())).unwrap();
    assert_eq!(sim.door(1, 1), Ok(Door::Closed));
}

#[test]
fn person_closes_the_door_behind_himself() {
    let sim = boards();
    sim.set_person(Some(Duration::from_millis(1)));
    sim.pry(2, 1).unwrap();
    sim.wait_until(LIMIT, |seen| (seen.doors[&(2, 1)] == Door::Closed).then_some(())).unwrap();
}

#[test]
fn unknown_locks_are_refused() {
    let sim = boards();
    assert!(sim.pry(9, 1).is_err());
    assert!(sim.close(2, 13).is_err());
    assert!(sim.close(2, 0).is_err());
}

#[test]
fn link_names_the_newest_bus_and_goes_with_it() {
    let link = std::env::temp_dir().join(format!("sim-board-link-{}", std::process::id()));
    let config = SimConfig { link: Some(link.clone()), ..SimConfig::new([BoardConfig::new(1, 8)]) };
    let first = SimBus::start(config.clone()).unwrap();
    let second = SimBus::start(config).unwrap();
    drop(first);
    assert_eq!(exchange(&mut port(&second), &hex("80 01 01 33 B3"), 5), hex("80 01 01 11 91"));
    drop(second);
    assert!(!link.exists());
}

#[tokio::test]
async fn async_callers_can_wait_too() {
    let sim = boards();
    port(&sim).write_all(&hex("8A 02 0A 11 93")).unwrap();
    let pulses = sim.until_pulses(1, LIMIT).await.unwrap();
    assert_eq!((pulses[0].board, pulses[0].lock), (2, 10));
    let missing = sim.until(Duration::ZERO, |seen| (seen.pulses.len() > 1).then_some(())).await;
    assert!(missing.is_err());
}
