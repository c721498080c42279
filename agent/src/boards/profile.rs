//! The profile of a bus: data that an installer writes, checked as a whole before any byte is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemas::messages::Compartment;
use serde::Deserialize;

use super::contacts::Contact;
use super::family::LockFamily;
use super::place::{BoardAddress, LockNumber, LockPlace};
use super::profile_text::{BoardText, ByteOrder, Family, MappingText, OccupiedWhen, Polarity, ProfileText, Transport};
use super::report::DoorSeen;
use super::xor::{Xor, XorPulse};

/// Boards on one bus: with more, a forced door is not seen within 2 s at 9600 baud.
pub(crate) const BOARDS_MAX: usize = 16;

/// One thing that is wrong with a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileProblem {
    #[error("port `{0}` is not an absolute path")]
    RelativePath(PathBuf),
    #[error("baud {0} is not one of 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200")]
    Baud(i64),
    #[error("pulse of {0} ms: these boards know 300 ms, or whole seconds from 1000 to 9000 ms")]
    Pulse(i64),
    #[error("reply timeout of {0} ms is not within 50 to 2000 ms")]
    ReplyTimeout(i64),
    #[error("lock base {0} is neither 0 nor 1")]
    LockBase(i64),
    #[error("no board is listed")]
    NoBoards,
    #[error("{0} boards on one bus: at most {BOARDS_MAX} can be polled in time")]
    TooManyBoards(usize),
    #[error("board address {0} is not within 1 to 250")]
    BoardAddress(i64),
    #[error("board {0} is listed twice")]
    BoardTwice(BoardAddress),
    #[error("board {board} has {channels} channels, not 1 to 50")]
    Channels { board: i64, channels: i64 },
    #[error("compartment number {0} is not within 1 to 999")]
    CompartmentNumber(i64),
    #[error("compartment {0} is mapped twice")]
    CompartmentTwice(Compartment),
    #[error("compartment {compartment} is on board {board}, which is not listed")]
    UnknownBoard { compartment: i64, board: i64 },
    #[error("compartment {compartment}: board {board} has no lock {lock}")]
    NoSuchLock { compartment: i64, board: i64, lock: i64 },
    #[error("compartment {compartment}: channel {lock} of board {board} is already in use")]
    ChannelTaken { compartment: i64, board: i64, lock: i64 },
}

/// Everything that is wrong with a profile, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileProblems(pub Vec<ProfileProblem>);

impl fmt::Display for ProfileProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lock board profile: ")?;
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ProfileProblems {}

/// A checked profile: every lock exists, no channel has two meanings, no lock 0 anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ProfileText")]
pub struct Profile {
    pub(crate) family: Family,
    pub(crate) port: PathBuf,
    pub(crate) baud: u32,
    pub(crate) polarity: Polarity,
    pub(crate) byte_order: ByteOrder,
    pub(crate) pulse: Duration,
    pub(crate) reply_timeout: Duration,
    pub(crate) boards: BTreeMap<BoardAddress, u8>,
    pub(crate) slots: BTreeMap<Compartment, Slot>,
}

/// Where a compartment's lock and sensor are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) lock: LockPlace,
    pub(crate) occupancy: Option<Input>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) place: LockPlace,
    pub(crate) occupied_when: OccupiedWhen,
}

impl Profile {
    /// Checks a written profile and reports every problem at once.
    pub fn check(text: ProfileText) -> Result<Self, ProfileProblems> {
        let mut check = Check::default();
        let Transport::Serial { path, baud } = text.transport;
        if !path.is_absolute() {
            check.problem(ProfileProblem::RelativePath(path.clone()));
        }
        let baud = check.baud(baud);
        let pulse = check.pulse(text.pulse_ms);
        let reply_timeout = check.reply_timeout(text.reply_timeout_ms);
        check.lock_base(text.lock_base);
        let boards = check.boards(&text.boards);
        let slots = check.slots(&text.mapping, text.lock_base, &boards);
        if !check.problems.is_empty() {
            return Err(ProfileProblems(check.problems));
        }
        let (family, polarity, byte_order) = (text.family, text.polarity, text.byte_order);
        Ok(Self { family, port: path, baud, polarity, byte_order, pulse, reply_timeout, boards, slots })
    }

    /// Every mapped compartment, in order.
    pub fn compartments(&self) -> impl Iterator<Item = Compartment> {
        self.slots.keys().copied()
    }

    /// Every board of the bus with its number of channels, in order of address.
    pub fn boards(&self) -> impl Iterator<Item = (BoardAddress, u8)> {
        self.boards.iter().map(|(address, channels)| (*address, *channels))
    }

    /// Where the lock of a compartment is.
    pub fn place(&self, compartment: Compartment) -> Option<LockPlace> {
        self.slots.get(&compartment).map(|slot| slot.lock)
    }

    /// May this channel be pulsed at all: it exists and carries no sensor.
    pub(crate) fn may_pulse(&self, place: LockPlace) -> bool {
        let exists = self.boards.get(&place.board).is_some_and(|channels| place.lock.get() <= *channels);
        let input = self.slots.values().any(|slot| slot.occupancy.is_some_and(|input| input.place == place));
        exists && !input
    }

    pub(crate) fn codec(&self) -> Box<dyn LockFamily> {
        match self.family {
            Family::Xor => Box::new(Xor::new(self.byte_order, XorPulse::from_duration(self.pulse))),
        }
    }

    pub(crate) fn door(&self, contact: Contact) -> DoorSeen {
        match (contact, self.polarity) {
            (Contact::Short, Polarity::ShortWhenLocked) | (Contact::Open, Polarity::ShortWhenOpen) => DoorSeen::Closed,
            (Contact::Short, Polarity::ShortWhenOpen) | (Contact::Open, Polarity::ShortWhenLocked) => DoorSeen::Open,
            (Contact::Unknown, Polarity::ShortWhenLocked | Polarity::ShortWhenOpen) => DoorSeen::Unknown,
        }
    }
}

impl TryFrom<ProfileText> for Profile {
    type Error = ProfileProblems;

    fn try_from(text: ProfileText) -> Result<Self, ProfileProblems> {
        Self::check(text)
    }
}

/// Collects problems. A value that is wrong is replaced by one that is not used, since the profile is refused anyway.
#[derive(Default)]
struct Check {
    problems: Vec<ProfileProblem>,
    channels_used: BTreeSet<LockPlace>,
}

impl Check {
    fn problem(&mut self, problem: ProfileProblem) {
        self.problems.push(problem);
    }

    fn baud(&mut self, baud: i64) -> u32 {
        const KNOWN: [u32; 8] = [1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200];
        KNOWN.into_iter().find(|known| i64::from(*known) == baud).unwrap_or_else(|| {
            self.problem(ProfileProblem::Baud(baud));
            9600
        })
    }

    fn pulse(&mut self, pulse_ms: i64) -> Duration {
        let whole_seconds = (1000..=9000).contains(&pulse_ms) && pulse_ms % 1000 == 0;
        if pulse_ms != 300 && !whole_seconds {
            self.problem(ProfileProblem::Pulse(pulse_ms));
        }
        Duration::from_millis(u64::try_from(pulse_ms).unwrap_or_default())
    }

    fn reply_timeout(&mut self, timeout_ms: i64) -> Duration {
        if !(50..=2000).contains(&timeout_ms) {
            self.problem(ProfileProblem::ReplyTimeout(timeout_ms));
        }
        Duration::from_millis(u64::try_from(timeout_ms).unwrap_or_default())
    }

    fn lock_base(&mut self, base: i64) {
        if !(0..=1).contains(&base) {
            self.problem(ProfileProblem::LockBase(base));
        }
    }

    fn boards(&mut self, texts: &[BoardText]) -> BTreeMap<BoardAddress, u8> {
        match texts.len() {
            0 => self.problem(ProfileProblem::NoBoards),
            1..=BOARDS_MAX => {}
            count => self.problem(ProfileProblem::TooManyBoards(count)),
        }
        let mut boards = BTreeMap::new();
        for text in texts {
            let address = small(text.address).and_then(BoardAddress::new);
            if address.is_none() {
                self.problem(ProfileProblem::BoardAddress(text.address));
            }
            let channels = small(text.channels).filter(|channels| (1..=LockNumber::MAX).contains(channels));
            if channels.is_none() {
                self.problem(ProfileProblem::Channels { board: text.address, channels: text.channels });
            }
            // A board with a wrong number of channels is still known, so that its locks are no second problem.
            if let Some(address) = address
                && boards.insert(address, channels.unwrap_or(LockNumber::MAX)).is_some()
            {
                self.problem(ProfileProblem::BoardTwice(address));
            }
        }
        boards
    }

    fn slots(
        &mut self,
        mapping: &[MappingText],
        base: i64,
        boards: &BTreeMap<BoardAddress, u8>,
    ) -> BTreeMap<Compartment, Slot> {
        let mut slots = BTreeMap::new();
        for text in mapping {
            let number = u16::try_from(text.compartment).ok().and_then(Compartment::new);
            if number.is_none() {
                self.problem(ProfileProblem::CompartmentNumber(text.compartment));
            }
            let lock = self.channel(text.compartment, text.board, text.lock, base, boards);
            let occupancy = text.occupancy.as_ref().and_then(|input| {
                let place = self.channel(text.compartment, input.board, input.lock, base, boards)?;
                Some(Input { place, occupied_when: input.occupied_when })
            });
            if let (Some(number), Some(lock)) = (number, lock)
                && slots.insert(number, Slot { lock, occupancy }).is_some()
            {
                self.problem(ProfileProblem::CompartmentTwice(number));
            }
        }
        slots
    }

    fn channel(
        &mut self,
        compartment: i64,
        board: i64,
        lock: i64,
        base: i64,
        boards: &BTreeMap<BoardAddress, u8>,
    ) -> Option<LockPlace> {
        let known = small(board).and_then(BoardAddress::new).and_then(|address| boards.get_key_value(&address));
        let Some((&address, &channels)) = known else {
            self.problem(ProfileProblem::UnknownBoard { compartment, board });
            return None;
        };
        let from_one = lock.saturating_sub(base).saturating_add(1);
        let number = small(from_one).and_then(LockNumber::new).filter(|number| number.get() <= channels);
        let Some(number) = number else {
            self.problem(ProfileProblem::NoSuchLock { compartment, board, lock });
            return None;
        };
        let place = LockPlace { board: address, lock: number };
        if !self.channels_used.insert(place) {
            self.problem(ProfileProblem::ChannelTaken { compartment, board, lock });
        }
        Some(place)
    }
}

fn small(number: i64) -> Option<u8> {
    u8::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn good() -> Value {
        json!({
            "family": "xor",
            "transport": { "kind": "serial", "path": "/dev/ttyS1", "baud": 9600 },
            "polarity": "short_when_locked",
            "byte_order": "first_locks_last",
            "boards": [{ "address": 1, "channels": 24 }, { "address": 2, "channels": 8 }],
            "mapping": [
                { "compartment": 1, "board": 1, "lock": 1,
                  "occupancy": { "board": 1, "lock": 17, "occupied_when": "short" } },
                { "compartment": 2, "board": 2, "lock": 8 },
            ],
        })
    }

    fn with(change: impl FnOnce(&mut Value)) -> Value {
        let mut value = good();
        change(&mut value);
        value
    }

    fn problems(value: Value) -> Vec<ProfileProblem> {
        let text: ProfileText = serde_json::from_value(value).unwrap();
        Profile::check(text).unwrap_err().0
    }

    fn place(board: u8, lock: u8) -> LockPlace {
        LockPlace { board: BoardAddress::new(board).unwrap(), lock: LockNumber::new(lock).unwrap() }
    }

    #[test]
    fn good_profile_is_taken_with_defaults() {
        let profile: Profile = serde_json::from_value(good()).unwrap();
        assert_eq!(profile.pulse, Duration::from_millis(300));
        assert_eq!(profile.place(Compartment::new(2).unwrap()), Some(place(2, 8)));
        assert!(profile.may_pulse(place(1, 1)));
        assert!(!profile.may_pulse(place(1, 17)), "a sensor's channel is never pulsed");
        assert!(!profile.may_pulse(place(2, 9)), "no such lock");
    }

    #[test]
    fn written_profile_reads_back() {
        let text: ProfileText = serde_json::from_value(good()).unwrap();
        let again: ProfileText = serde_json::from_value(serde_json::to_value(&text).unwrap()).unwrap();
        assert_eq!(again, text);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let broken = json!({
            "family": "xor",
            "transport": { "kind": "serial", "path": "ttyS1", "baud": 9601 },
            "polarity": "short_when_open",
            "byte_order": "first_locks_first",
            "lock_base": 2,
            "pulse_ms": 1500,
            "reply_timeout_ms": 10,
            "boards": [{ "address": 0, "channels": 8 }, { "address": 3, "channels": 51 }, { "address": 3, "channels": 8 }],
            "mapping": [
                { "compartment": 0, "board": 3, "lock": 2 },
                { "compartment": 1, "board": 9, "lock": 2 },
            ],
        });
        let board = BoardAddress::new(3).unwrap();
        assert_eq!(
            problems(broken),
            [
                ProfileProblem::RelativePath("ttyS1".into()),
                ProfileProblem::Baud(9601),
                ProfileProblem::Pulse(1500),
                ProfileProblem::ReplyTimeout(10),
                ProfileProblem::LockBase(2),
                ProfileProblem::BoardAddress(0),
                ProfileProblem::Channels { board: 3, channels: 51 },
                ProfileProblem::BoardTwice(board),
                ProfileProblem::CompartmentNumber(0),
                ProfileProblem::UnknownBoard { compartment: 1, board: 9 },
            ]
        );
    }

    #[test]
    fn lock_zero_is_refused() {
        assert_eq!(
            problems(with(|value| value["mapping"][0]["lock"] = json!(0))),
            [ProfileProblem::NoSuchLock { compartment: 1, board: 1, lock: 0 }]
        );
    }

    #[test]
    fn with_base_zero_the_first_lock_is_written_as_zero() {
        let value = with(|value| {
            value["lock_base"] = json!(0);
            value["mapping"] = json!([{ "compartment": 1, "board": 1, "lock": 0 }]);
        });
        let profile: Profile = serde_json::from_value(value).unwrap();
        assert_eq!(profile.place(Compartment::new(1).unwrap()), Some(place(1, 1)));
    }

    #[test]
    fn with_base_zero_the_number_of_channels_is_beyond_the_end() {
        let value = with(|value| {
            value["lock_base"] = json!(0);
            value["mapping"] = json!([{ "compartment": 1, "board": 2, "lock": 8 }]);
        });
        assert_eq!(problems(value), [ProfileProblem::NoSuchLock { compartment: 1, board: 2, lock: 8 }]);
    }

    #[test]
    fn one_lock_for_two_compartments_is_refused() {
        let value = with(|value| value["mapping"][1] = json!({ "compartment": 2, "board": 1, "lock": 1 }));
        assert_eq!(problems(value), [ProfileProblem::ChannelTaken { compartment: 2, board: 1, lock: 1 }]);
    }

    #[test]
    fn two_locks_for_one_compartment_are_refused() {
        let value = with(|value| value["mapping"][1]["compartment"] = json!(1));
        assert_eq!(problems(value), [ProfileProblem::CompartmentTwice(Compartment::new(1).unwrap())]);
    }

    #[test]
    fn a_sensor_on_the_channel_of_a_lock_is_refused() {
        let value = with(|value| value["mapping"][0]["occupancy"]["lock"] = json!(1));
        assert_eq!(problems(value), [ProfileProblem::ChannelTaken { compartment: 1, board: 1, lock: 1 }]);
    }

    #[test]
    fn huge_and_negative_numbers_are_problems_not_panics() {
        let value = with(|value| {
            value["lock_base"] = json!(i64::MIN);
            value["mapping"] = json!([{ "compartment": -1, "board": i64::MAX, "lock": i64::MIN },
                                      { "compartment": 70_000, "board": 1, "lock": i64::MAX }]);
        });
        assert_eq!(problems(value).len(), 5);
    }

    #[test]
    fn unknown_keys_are_refused_at_every_level() {
        for value in [
            with(|value| value["polarty"] = json!(1)),
            with(|value| value["transport"]["parity"] = json!("even")),
            with(|value| value["boards"][0]["name"] = json!("left")),
            with(|value| value["mapping"][0]["door"] = json!(1)),
            with(|value| value["mapping"][0]["occupancy"]["pin"] = json!(1)),
        ] {
            assert!(serde_json::from_value::<ProfileText>(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn problems_read_as_one_line() {
        let text: ProfileText =
            serde_json::from_value(with(|value| value["boards"] = json!([{ "address": 1, "channels": 24 }]))).unwrap();
        let said = Profile::check(text).unwrap_err().to_string();
        assert_eq!(said, "lock board profile: compartment 2 is on board 2, which is not listed");
    }
}
