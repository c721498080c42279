//! Whom to poll next, and when a board counts as silent.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::place::BoardAddress;

/// Between two polls of a board where nothing happens. A forced door is seen after at most this, plus one round of the
/// bus, plus the confirming poll: well within 2 s.
const IDLE: Duration = Duration::from_millis(400);
/// The same while a door of the board is being opened.
const BUSY: Duration = Duration::from_millis(100);
/// How long after a pulse the board is polled like that: product.md waits 3 s for the door.
const BUSY_AFTER_PULSE: Duration = Duration::from_secs(5);
/// A poll that would confirm a change, so that it does not meet the same bounce.
const CONFIRM: Duration = Duration::from_millis(20);
/// Between two probes of silent boards, all of them together: each costs the others a reply timeout.
const PROBE: Duration = Duration::from_millis(500);
/// So many polls in a row must be missed: some boards are deaf while they power a lock.
const MISSES: u8 = 3;

/// The order of polls on one bus, from the opening of its port.
#[derive(Debug)]
pub(crate) struct Schedule {
    turns: BTreeMap<BoardAddress, Turn>,
    /// A reply later than its timeout must not be taken for the next one: a board that missed is left alone this long.
    after_miss: Duration,
    next_probe: Instant,
}

#[derive(Debug)]
struct Turn {
    due: Instant,
    busy_until: Instant,
    misses: u8,
    answering: bool,
    silent: bool,
    /// The coming poll is to confirm a change, so it overtakes those of other boards.
    confirms: bool,
}

impl Schedule {
    pub(crate) fn new(boards: impl Iterator<Item = BoardAddress>, reply_timeout: Duration, now: Instant) -> Self {
        let turn = || Turn { due: now, busy_until: now, misses: 0, answering: false, silent: false, confirms: false };
        Self { turns: boards.map(|board| (board, turn())).collect(), after_miss: reply_timeout * 2, next_probe: now }
    }

    /// The board whose turn is next and when: one with a change to confirm, else the one that waits longest. `None` without
    /// boards.
    pub(crate) fn next(&self) -> Option<(BoardAddress, Instant)> {
        let first = self.turns.iter().min_by_key(|(_, turn)| (!turn.confirms, turn.due));
        first.map(|(board, turn)| (*board, turn.due))
    }

    /// The board answered; `doubtful` asks for another poll at once. True when it did not answer before.
    ///
    /// Only one poll in a row overtakes: a contact that chatters must not keep the other boards unseen.
    pub(crate) fn handle_answer(&mut self, board: BoardAddress, doubtful: bool, now: Instant) -> bool {
        let Some(turn) = self.turns.get_mut(&board) else { return false };
        let pause = match (doubtful, now < turn.busy_until) {
            (true, _) => CONFIRM,
            (false, true) => BUSY,
            (false, false) => IDLE,
        };
        let began = !turn.answering;
        let confirms = doubtful && !turn.confirms;
        let (due, busy_until) = (now + pause, turn.busy_until);
        *turn = Turn { due, busy_until, misses: 0, answering: true, silent: false, confirms };
        began
    }

    /// The board did not answer. True when it counts as silent from now on.
    pub(crate) fn handle_miss(&mut self, board: BoardAddress, now: Instant) -> bool {
        let Some(turn) = self.turns.get_mut(&board) else { return false };
        turn.misses = turn.misses.saturating_add(1);
        turn.confirms = false;
        if turn.misses < MISSES {
            turn.due = now + self.after_miss;
            return false;
        }
        let probe = self.next_probe.max(now + self.after_miss);
        turn.due = probe;
        self.next_probe = probe + PROBE;
        turn.answering = false;
        !std::mem::replace(&mut turn.silent, true)
    }

    /// Something moved on the board: poll it at once, unless a late reply is to be waited for.
    pub(crate) fn handle_movement(&mut self, board: BoardAddress, now: Instant) {
        self.bring_forward(board, now);
    }

    /// A lock of the board got its pulse.
    pub(crate) fn handle_pulse(&mut self, board: BoardAddress, now: Instant) {
        if let Some(turn) = self.turns.get_mut(&board) {
            turn.busy_until = now + BUSY_AFTER_PULSE;
        }
        self.bring_forward(board, now + BUSY);
    }

    fn bring_forward(&mut self, board: BoardAddress, to: Instant) {
        if let Some(turn) = self.turns.get_mut(&board)
            && turn.misses == 0
        {
            turn.due = turn.due.min(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(150);

    fn board(address: u8) -> BoardAddress {
        BoardAddress::new(address).unwrap()
    }

    fn schedule(boards: u8) -> (Schedule, Instant) {
        let now = Instant::now();
        (Schedule::new((1..=boards).map(board), TIMEOUT, now), now)
    }

    /// Runs the schedule for ten seconds; each poll of a board that answers takes `turnaround`, others the timeout. Gives the
    /// longest pause between two polls of board 1.
    fn longest_pause(boards: u8, dead: &[u8], turnaround: Duration) -> Duration {
        let (mut schedule, start) = schedule(boards);
        let mut now = start;
        let mut last = start;
        let mut longest = Duration::ZERO;
        while now < start + Duration::from_secs(10) {
            let (next, due) = schedule.next().unwrap();
            now = now.max(due);
            if next == board(1) {
                longest = longest.max(now - last);
                last = now;
            }
            if dead.contains(&next.get()) {
                now += TIMEOUT;
                schedule.handle_miss(next, now);
            } else {
                now += turnaround;
                schedule.handle_answer(next, false, now);
            }
        }
        longest
    }

    #[test]
    fn forced_door_meets_two_polls_within_two_seconds() {
        // 12 bytes at 9600 baud, the board's own pause and the quiet time: below 70 ms.
        let poll = Duration::from_millis(70);
        for (boards, dead) in [(4, vec![]), (4, vec![2, 3, 4]), (16, vec![]), (8, (2..=8).collect())] {
            let seen = longest_pause(boards, &dead, poll) + poll + CONFIRM + poll;
            assert!(seen < Duration::from_secs(2), "{boards} boards, dead {dead:?}: {seen:?}");
        }
    }

    #[test]
    fn chattering_contact_overtakes_other_boards_only_every_other_time() {
        let (mut schedule, now) = schedule(2);
        let later = now + Duration::from_millis(1);
        schedule.handle_answer(board(1), true, later);
        assert_eq!(schedule.next(), Some((board(1), later + CONFIRM)));
        schedule.handle_answer(board(1), true, later);
        assert_eq!(schedule.next(), Some((board(2), now)));
    }

    #[test]
    fn board_is_silent_after_three_misses_in_a_row() {
        let (mut schedule, now) = schedule(1);
        assert!(schedule.handle_answer(board(1), false, now));
        assert_eq!([(); 4].map(|()| schedule.handle_miss(board(1), now)), [false, false, true, false]);
        assert!(schedule.handle_answer(board(1), false, now), "it answers again");
        assert!(!schedule.handle_answer(board(1), false, now));
    }

    #[test]
    fn board_that_never_answered_becomes_silent_too() {
        let (mut schedule, now) = schedule(1);
        assert_eq!([(); 3].map(|()| schedule.handle_miss(board(1), now)), [false, false, true]);
    }

    #[test]
    fn answers_between_misses_keep_a_board_alive() {
        let (mut schedule, now) = schedule(1);
        for _ in 0..10 {
            assert!(!schedule.handle_miss(board(1), now));
            assert!(!schedule.handle_miss(board(1), now));
            schedule.handle_answer(board(1), false, now);
        }
    }

    #[test]
    fn doubt_pulse_and_movement_bring_the_next_poll_forward() {
        let (mut schedule, now) = schedule(1);
        schedule.handle_answer(board(1), true, now);
        assert_eq!(schedule.next(), Some((board(1), now + CONFIRM)));
        schedule.handle_answer(board(1), false, now);
        assert_eq!(schedule.next(), Some((board(1), now + IDLE)));
        schedule.handle_pulse(board(1), now);
        assert_eq!(schedule.next(), Some((board(1), now + BUSY)));
        schedule.handle_answer(board(1), false, now);
        assert_eq!(schedule.next(), Some((board(1), now + BUSY)), "still busy");
        schedule.handle_answer(board(1), false, now + BUSY_AFTER_PULSE);
        schedule.handle_movement(board(1), now + BUSY_AFTER_PULSE);
        assert_eq!(schedule.next(), Some((board(1), now + BUSY_AFTER_PULSE)));
    }

    #[test]
    fn board_that_missed_is_left_alone_until_a_late_reply_has_passed() {
        let (mut schedule, now) = schedule(1);
        schedule.handle_answer(board(1), false, now);
        schedule.handle_miss(board(1), now);
        schedule.handle_movement(board(1), now);
        schedule.handle_pulse(board(1), now);
        assert_eq!(schedule.next(), Some((board(1), now + TIMEOUT * 2)));
    }
}
