//! The XOR family (Guangzhou Shuoming and its clones): five-byte requests, check byte = XOR of all bytes before it.
//!
//! Replies carry no length, and a board of eight locks may send three status bytes. So nothing is decoded while bytes
//! arrive: the bus collects until the line is quiet and this module explains all of it, the explanation with the fewest
//! unexplained bytes winning. Not sent by anything here: `8A .. 00` (opens all), `9A`/`9B` (hold the power on, forbidden on
//! solenoids), `90` (several at once).

use std::num::NonZeroU8;
use std::time::Duration;

use super::contacts::Contacts;
use super::family::{Answer, LockFamily, Reading};
use super::place::{BoardAddress, LockNumber, LockPlace};
use super::profile_text::ByteOrder;

const OPEN: u8 = 0x8A;
const STATE: u8 = 0x80;
const PUSHED: [u8; 2] = [0x81, 0x82];
const SHORT: u8 = 0x11;
const NOT_SHORT: u8 = 0x00;
const ASK: u8 = 0x33;
/// Fifty channels need seven status bytes.
const STATUS_BYTES_MAX: usize = 7;
/// The open and state frames of one lock.
const LOCK_FRAME: usize = 5;

/// The codec of this family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Xor {
    order: ByteOrder,
    pulse: XorPulse,
}

/// How long the board powers a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XorPulse {
    /// What the board does by itself, 300 ms.
    BoardDefault,
    /// 1 to 9; more is cut to 9, since a solenoid burns.
    Seconds(NonZeroU8),
}

impl XorPulse {
    pub(crate) fn from_duration(pulse: Duration) -> Self {
        let seconds = u8::try_from(pulse.as_secs().min(9)).ok().and_then(NonZeroU8::new);
        seconds.map_or(Self::BoardDefault, Self::Seconds)
    }
}

impl Xor {
    pub fn new(order: ByteOrder, pulse: XorPulse) -> Self {
        Self { order, pulse }
    }

    fn contacts(self, status: &[u8], channels: u8) -> Contacts {
        let join = |bits: u64, byte: &u8| bits << 8 | u64::from(*byte);
        let short = match self.order {
            ByteOrder::FirstLocksLast => status.iter().fold(0, join),
            ByteOrder::FirstLocksFirst => status.iter().rev().fold(0, join),
        };
        Contacts::new(short, channels)
    }
}

impl LockFamily for Xor {
    fn pulse(&self, place: LockPlace) -> Vec<u8> {
        let mut frame = vec![OPEN, place.board.get(), place.lock.get(), SHORT];
        match self.pulse {
            XorPulse::BoardDefault => {}
            XorPulse::Seconds(seconds) => frame.push(seconds.get().min(9)),
        }
        sealed(frame)
    }

    fn board_query(&self, board: BoardAddress) -> Vec<u8> {
        sealed(vec![STATE, board.get(), 0, ASK])
    }

    fn lock_query(&self, place: LockPlace) -> Vec<u8> {
        sealed(vec![STATE, place.board.get(), place.lock.get(), ASK])
    }

    fn read_board(&self, board: BoardAddress, channels: u8, bytes: &[u8]) -> Reading {
        let request = self.board_query(board);
        let (frames, mut reading) = explain(bytes);
        let needed = usize::from(channels.div_ceil(8));
        let mut same_as_request = 0u8;
        let mut answer = Answer::Missing;
        for frame in &frames {
            if frame.bytes == request {
                same_as_request = same_as_request.saturating_add(1);
            } else if let Meaning::BoardState { board: from, status } = frame.meaning
                && from == board
                && status.len() >= needed
            {
                answer = Answer::Contacts(self.contacts(status, channels));
            }
        }
        // One status byte of zeros is the request over again. Seen twice it is an echo and a reply, in this order; seen
        // once it may be either.
        if answer == Answer::Missing && needed == 1 {
            answer = match same_as_request {
                0 => Answer::Missing,
                1 => Answer::Ambiguous,
                2.. => Answer::Contacts(Contacts::new(0, channels)),
            };
        }
        reading.answer = answer;
        reading
    }

    fn read_lock(&self, place: LockPlace, bytes: &[u8]) -> Reading {
        let (frames, mut reading) = explain(bytes);
        let state = frames.iter().rev().find_map(|frame| match frame.meaning {
            Meaning::LockState { place: from, short } if from == place => Some(short),
            Meaning::LockState { .. } | Meaning::BoardState { .. } | Meaning::Pushed { .. } | Meaning::Open => None,
        });
        if let Some(short) = state {
            let bit = u64::from(short) << place.lock.index();
            reading.answer = Answer::Contacts(Contacts::new(bit, place.lock.get()));
        }
        reading
    }

    fn read_unasked(&self, bytes: &[u8]) -> Reading {
        explain(bytes).1
    }
}

/// A whole frame with a correct check byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame<'a> {
    bytes: &'a [u8],
    meaning: Meaning<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning<'a> {
    /// A pulse, its echo or its acknowledgement. They can be the same bytes, so none of them means anything.
    Open,
    LockState {
        place: LockPlace,
        short: bool,
    },
    /// Also the query of a board or of a lock, which look like one status byte.
    BoardState {
        board: BoardAddress,
        status: &'a [u8],
    },
    Pushed {
        board: BoardAddress,
    },
}

/// The best explanation of `bytes`: fewest bytes left over, then most frames.
///
/// Most frames, because the XOR of a whole frame is zero: an echo and its reply, taken together, would pass as one long frame
/// with a correct check byte.
fn explain(bytes: &[u8]) -> (Vec<Frame<'_>>, Reading) {
    let steps = best_steps(bytes);
    let mut frames = Vec::new();
    let mut noise = 0;
    let mut at = 0;
    while let (Some(step), Some(rest)) = (steps.get(at), bytes.get(at..)) {
        match step.frame_length.and_then(|length| frame(rest, length)) {
            Some(frame) => {
                at += frame.bytes.len();
                frames.push(frame);
            }
            None => {
                at += 1;
                noise += 1;
            }
        }
    }
    let moved = frames.iter().filter_map(|frame| match frame.meaning {
        Meaning::Pushed { board } => Some(board),
        Meaning::Open | Meaning::LockState { .. } | Meaning::BoardState { .. } => None,
    });
    let reading = Reading { answer: Answer::Missing, moved: moved.collect(), frames: frames.len(), noise };
    (frames, reading)
}

/// The best thing to do at one offset, and what it leads to from there to the end.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    explained: usize,
    frames: usize,
    frame_length: Option<usize>,
}

fn best_steps(bytes: &[u8]) -> Vec<Step> {
    let mut steps = vec![Step::default(); bytes.len()];
    for at in (0..bytes.len()).rev() {
        let after = |length: usize| steps.get(at + length).copied().unwrap_or_default();
        let mut best = Step { frame_length: None, ..after(1) };
        let rest = bytes.get(at..).unwrap_or_default();
        for length in LOCK_FRAME..=STATUS_BYTES_MAX + 4 {
            if frame(rest, length).is_some() {
                let next = after(length);
                let step =
                    Step { explained: next.explained + length, frames: next.frames + 1, frame_length: Some(length) };
                if (step.explained, step.frames) > (best.explained, best.frames) {
                    best = step;
                }
            }
        }
        if let Some(step) = steps.get_mut(at) {
            *step = best;
        }
    }
    steps
}

/// The frame of exactly `length` bytes at the start of `bytes`, if there is one.
fn frame(bytes: &[u8], length: usize) -> Option<Frame<'_>> {
    let bytes = bytes.get(..length)?;
    let (&check, body) = bytes.split_last()?;
    if check != bcc(body) {
        return None;
    }
    let &[code, board, ref rest @ ..] = body else { return None };
    let board = BoardAddress::new(board)?;
    let meaning = match (code, rest) {
        (OPEN, &[lock, SHORT | NOT_SHORT]) => LockNumber::new(lock).map(|_| Meaning::Open)?,
        (OPEN, &[lock, SHORT, 1..=9]) => LockNumber::new(lock).map(|_| Meaning::Open)?,
        (STATE, &[lock, state @ (SHORT | NOT_SHORT)]) => {
            Meaning::LockState { place: LockPlace { board, lock: LockNumber::new(lock)? }, short: state == SHORT }
        }
        (STATE, &[ref status @ .., ASK]) if (1..=STATUS_BYTES_MAX).contains(&status.len()) => {
            Meaning::BoardState { board, status }
        }
        (code, &[lock, SHORT | NOT_SHORT]) if PUSHED.contains(&code) => {
            LockNumber::new(lock).map(|_| Meaning::Pushed { board })?
        }
        _ => return None,
    };
    Some(Frame { bytes, meaning })
}

fn sealed(mut frame: Vec<u8>) -> Vec<u8> {
    frame.push(bcc(&frame));
    frame
}

fn bcc(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |check, byte| check ^ byte)
}

#[cfg(test)]
mod tests {
    use super::super::contacts::Contact;
    use super::*;

    const XOR: Xor = Xor { order: ByteOrder::FirstLocksLast, pulse: XorPulse::BoardDefault };
    const REVERSED: Xor = Xor { order: ByteOrder::FirstLocksFirst, pulse: XorPulse::BoardDefault };

    fn board(address: u8) -> BoardAddress {
        BoardAddress::new(address).unwrap()
    }

    fn place(address: u8, lock: u8) -> LockPlace {
        LockPlace { board: board(address), lock: LockNumber::new(lock).unwrap() }
    }

    fn hex(text: &str) -> Vec<u8> {
        text.split_whitespace().map_while(|byte| u8::from_str_radix(byte, 16).ok()).collect()
    }

    fn row(meaning: &str) -> (Vec<u8>, &'static str) {
        let prefix = format!("xor\t{meaning}\t");
        let columns = sim_board::VECTORS.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap();
        let (request, response) = columns.split_once('\t').unwrap();
        (hex(request), response)
    }

    fn open_locks(answer: Answer, channels: u8) -> Option<Vec<u8>> {
        let Answer::Contacts(contacts) = answer else { return None };
        let open = LockNumber::up_to(channels).filter(|lock| contacts.of(*lock) == Contact::Open);
        Some(open.map(LockNumber::get).collect())
    }

    #[test]
    fn requests_are_those_of_the_vectors() {
        let three_seconds = Xor { pulse: XorPulse::from_duration(Duration::from_secs(3)), ..XOR };
        assert_eq!(XOR.pulse(place(1, 1)), row("open b1 l1").0);
        assert_eq!(XOR.pulse(place(2, 10)), row("open b2 l10").0);
        assert_eq!(XOR.pulse(place(3, 12)), row("open b3 l12").0);
        assert_eq!(three_seconds.pulse(place(1, 1)), row("open 3 s pulse b1 l1").0);
        assert_eq!(XOR.lock_query(place(1, 1)), row("query b1 l1").0);
        assert_eq!(XOR.board_query(board(1)), row("query all b1 8ch, real capture").0);
    }

    #[test]
    fn no_pulse_of_any_lock_is_one_of_the_forbidden_requests() {
        let forbidden = [row("open ALL b1 (never by accident)").0, row("open mask 2,10,18").0];
        for lock in LockNumber::up_to(LockNumber::MAX) {
            let frame = XOR.pulse(LockPlace { board: board(1), lock });
            assert!(!forbidden.contains(&frame));
            assert_eq!((frame[0], frame[2]), (OPEN, lock.get()));
        }
    }

    #[test]
    fn status_is_read_in_the_order_of_the_profile() {
        let last = hex(row("query all, l1 open rest closed, last byte = 1-8").1);
        let first = hex(row("query all, same BCC, first byte = 1-8").1);
        assert_eq!(open_locks(XOR.read_board(board(1), 24, &last).answer, 24), Some(vec![1]));
        assert_eq!(open_locks(REVERSED.read_board(board(1), 24, &first).answer, 24), Some(vec![1]));
        assert_eq!(open_locks(XOR.read_board(board(1), 24, &first).answer, 24), Some(vec![17]));
    }

    #[test]
    fn eight_channels_may_come_in_three_bytes() {
        let reply = hex(row("query all b1 8ch, real capture").1);
        let open = open_locks(XOR.read_board(board(1), 8, &reply).answer, 8);
        assert_eq!(open, Some((1..=8).collect()));
    }

    #[test]
    fn lock_state_is_read() {
        let (_, response) = row("query b1 l1");
        let (closed, open) = response.split_once('/').unwrap();
        let contact = |bytes: &str| match XOR.read_lock(place(1, 1), &hex(bytes)).answer {
            Answer::Contacts(contacts) => contacts.of(LockNumber::new(1).unwrap()),
            other @ (Answer::Missing | Answer::Ambiguous) => panic!("{other:?}"),
        };
        assert_eq!(contact(closed), Contact::Short);
        assert_eq!(contact(open), Contact::Open);
    }

    #[test]
    fn echo_alone_is_no_answer() {
        assert_eq!(XOR.read_board(board(1), 24, &XOR.board_query(board(1))).answer, Answer::Missing);
        assert_eq!(XOR.read_lock(place(1, 1), &XOR.lock_query(place(1, 1))).answer, Answer::Missing);
    }

    #[test]
    fn echo_before_the_reply_is_passed_over() {
        let reply = hex(row("query all, l1 open rest closed, last byte = 1-8").1);
        let both = [XOR.board_query(board(1)), reply].concat();
        let reading = XOR.read_board(board(1), 24, &both);
        assert_eq!(open_locks(reading.answer, 24), Some(vec![1]));
        assert_eq!((reading.frames, reading.noise), (2, 0));
    }

    #[test]
    fn one_status_byte_that_equals_the_request_is_ambiguous_until_seen_twice() {
        let request = XOR.board_query(board(1));
        assert_eq!(XOR.read_board(board(1), 8, &request).answer, Answer::Ambiguous);
        let twice = [request.clone(), request].concat();
        assert_eq!(open_locks(XOR.read_board(board(1), 8, &twice).answer, 8), Some((1..=8).collect()));
        let other = sealed(vec![STATE, 1, 0xFE, ASK]);
        assert_eq!(open_locks(XOR.read_board(board(1), 8, &other).answer, 8), Some(vec![1]));
    }

    #[test]
    fn status_that_contains_the_request_is_still_one_frame() {
        let reply = sealed(vec![STATE, 1, 0x00, ASK, 0xB2, ASK]);
        assert_eq!(reply[..5], XOR.board_query(board(1)));
        assert!(matches!(XOR.read_board(board(1), 24, &reply).answer, Answer::Contacts(_)));
    }

    #[test]
    fn garbage_before_and_after_does_not_hide_the_reply() {
        let reply = hex(row("query all, l1 open rest closed, last byte = 1-8").1);
        let noisy = [hex("FA FD 99 99 80 01"), reply, hex("80 01 FF")].concat();
        let reading = XOR.read_board(board(1), 24, &noisy);
        assert_eq!(open_locks(reading.answer, 24), Some(vec![1]));
        assert_eq!(reading.noise, 9);
    }

    #[test]
    fn frames_of_other_boards_and_of_other_lengths_are_no_answer() {
        let late = sealed(vec![STATE, 2, 0xFF, 0xFF, 0xFE, ASK]);
        assert_eq!(XOR.read_board(board(1), 24, &late).answer, Answer::Missing);
        let short = sealed(vec![STATE, 1, 0xFF, 0xFE, ASK]);
        assert_eq!(XOR.read_board(board(1), 24, &short).answer, Answer::Missing, "24 channels need three bytes");
        let damaged = hex("80 01 FF FF FE 33 4D");
        assert_eq!(XOR.read_board(board(1), 24, &damaged).answer, Answer::Missing);
    }

    #[test]
    fn acknowledgements_of_pulses_say_nothing() {
        for ack in ["8A 01 01 00 8A", "8A 01 01 11 9B"] {
            let reading = XOR.read_unasked(&hex(ack));
            assert_eq!(reading, Reading { answer: Answer::Missing, moved: vec![], frames: 1, noise: 0 });
        }
    }

    #[test]
    fn unasked_frames_name_the_board_that_moved() {
        let (_, response) = row("unsolicited");
        let all: Vec<u8> = response.split(',').flat_map(hex).collect();
        assert_eq!(XOR.read_unasked(&all).moved, vec![board(1); 3]);
    }

    #[test]
    fn other_families_are_noise_or_at_least_no_answer() {
        for line in sim_board::VECTORS.lines().filter(|line| !line.starts_with("xor\t")) {
            for bytes in line.split('\t').skip(2).map(hex) {
                assert_eq!(XOR.read_board(board(1), 24, &bytes).answer, Answer::Missing, "{line}");
            }
        }
    }

    /// Small and good enough to make bytes; tests must be the same on every run.
    struct Xorshift(u64);

    impl Xorshift {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        /// Bytes that frames are made of come often, or no random frame would ever be nearly right.
        fn byte(&mut self) -> u8 {
            const USUAL: [u8; 10] = [0x80, 0x8A, 0x81, 0x82, 0x01, 0x00, 0x11, 0x33, 0xB2, 0xFF];
            let index = self.next() % 16;
            let usual = usize::try_from(index).ok().and_then(|index| USUAL.get(index).copied());
            usual.unwrap_or_else(|| self.next().to_le_bytes()[0])
        }
    }

    #[test]
    fn random_bytes_never_panic_and_every_byte_is_accounted_for() {
        let mut random = Xorshift(0x5EED_0001);
        for _ in 0..20_000 {
            let length = usize::try_from(random.next() % 64).unwrap();
            let bytes: Vec<u8> = (0..length).map(|_| random.byte()).collect();
            let (frames, reading) = explain(&bytes);
            let explained: usize = frames.iter().map(|frame| frame.bytes.len()).sum();
            assert_eq!(explained + reading.noise, bytes.len(), "{bytes:02X?}");
            XOR.read_board(board(1), 8, &bytes);
            XOR.read_board(board(255 - 5), 50, &bytes);
            XOR.read_lock(place(1, 50), &bytes);
        }
    }

    #[test]
    fn random_states_survive_echo_garbage_and_frames_of_others() {
        let mut random = Xorshift(0x5EED_0002);
        let mut misread = 0;
        for _ in 0..20_000 {
            let channels = u8::try_from(9 + random.next() % 42).unwrap();
            let needed = usize::from(channels.div_ceil(8));
            let status: Vec<u8> = (0..needed).map(|_| random.next().to_le_bytes()[0]).collect();
            let reply = sealed([&[STATE, 1], status.as_slice(), &[ASK]].concat());
            let mut heard = Vec::new();
            if random.next().is_multiple_of(2) {
                heard.extend(XOR.board_query(board(1)));
            }
            if random.next().is_multiple_of(2) {
                heard.extend(hex("FA FD 99 99"));
            }
            if random.next().is_multiple_of(2) {
                heard.extend(sealed(vec![0x82, 2, 7, SHORT]));
            }
            heard.extend(&reply);
            if XOR.read_board(board(1), channels, &heard).answer != Answer::Contacts(XOR.contacts(&status, channels)) {
                misread += 1;
            }
        }
        assert_eq!(misread, 0);
    }
}
