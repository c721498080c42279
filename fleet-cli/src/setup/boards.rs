//! The lock boards of a cabinet as an installer writes them: `1x24,2x24`, and which lock each compartment gets.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemas::messages::Compartment;

use super::{Compartments, PlanError};

/// The largest bus, board and address that the agent takes (agent/src/boards).
const BOARDS_MAX: usize = 16;
const ADDRESS_MAX: u8 = 250;
const CHANNELS_MAX: u8 = 50;

/// Boards of one bus, at least one, in the order in which compartments take their locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boards(Vec<Board>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Board {
    pub(super) address: u8,
    pub(super) channels: u8,
}

/// Where the lock of a compartment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lock {
    pub(super) compartment: Compartment,
    pub(super) board: u8,
    pub(super) lock: u8,
}

impl Boards {
    pub(super) fn iter(&self) -> impl Iterator<Item = Board> {
        self.0.iter().copied()
    }

    /// Gives each compartment the next lock.
    pub(super) fn assign(&self, compartments: &Compartments) -> Result<Vec<Lock>, PlanError> {
        let locks = self.iter().flat_map(|board| (1..=board.channels).map(move |lock| (board.address, lock)));
        let assigned: Vec<Lock> = compartments
            .iter()
            .zip(locks)
            .map(|(compartment, (board, lock))| Lock { compartment: compartment.number, board, lock })
            .collect();
        if assigned.len() < compartments.count() {
            return Err(PlanError::TooFewLocks { compartments: compartments.count(), locks: assigned.len() });
        }
        Ok(assigned)
    }
}

/// One board with 24 locks at address 1: the commonest one.
impl Default for Boards {
    fn default() -> Self {
        Self(vec![Board { address: 1, channels: 24 }])
    }
}

impl FromStr for Boards {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        if text.trim().is_empty() {
            return Err(PlanError::NoBoards);
        }
        let boards = text.split(',').map(|part| parse_board(part.trim())).collect::<Result<Vec<_>, _>>()?;
        if boards.len() > BOARDS_MAX {
            return Err(PlanError::TooManyBoards(boards.len()));
        }
        let mut seen = BTreeSet::new();
        match boards.iter().find(|board| !seen.insert(board.address)) {
            Some(twice) => Err(PlanError::BoardTwice(twice.address)),
            None => Ok(Self(boards)),
        }
    }
}

fn parse_board(text: &str) -> Result<Board, PlanError> {
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<u16> = if digits { part.parse().ok() } else { None };
        number.ok_or_else(|| PlanError::BoardShape(text.to_owned()))
    };
    let (address, channels) = text.split_once('x').ok_or_else(|| PlanError::BoardShape(text.to_owned()))?;
    let (address, channels) = (number(address)?, number(channels)?);
    let within = |number: u16, max: u8| u8::try_from(number).ok().filter(|number| (1..=max).contains(number));
    let address = within(address, ADDRESS_MAX).ok_or(PlanError::BoardAddress(address))?;
    let channels = within(channels, CHANNELS_MAX).ok_or(PlanError::Channels { board: address, channels })?;
    Ok(Board { address, channels })
}

impl fmt::Display for Boards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, board) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{}x{}", board.address, board.channels)?;
        }
        Ok(())
    }
}

/// What the feedback contact of a lock does. Boards differ; commissioning finds out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Polarity {
    #[default]
    ShortWhenLocked,
    ShortWhenOpen,
}

impl Polarity {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ShortWhenLocked => "short_when_locked",
            Self::ShortWhenOpen => "short_when_open",
        }
    }
}

/// Where locks 1 to 8 are in a board's status. Boards differ; commissioning finds out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ByteOrder {
    #[default]
    FirstLocksLast,
    FirstLocksFirst,
}

impl ByteOrder {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::FirstLocksLast => "first_locks_last",
            Self::FirstLocksFirst => "first_locks_first",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compartments_take_the_locks_of_the_boards_in_order() {
        let boards: Boards = "7x2, 3x4".parse().unwrap();
        let locks = boards.assign(&"1-2:S,5:M,9:L".parse().unwrap()).unwrap();
        let places: Vec<_> = locks.iter().map(|lock| (lock.compartment.number(), lock.board, lock.lock)).collect();
        assert_eq!(places, [(1, 7, 1), (2, 7, 2), (5, 3, 1), (9, 3, 2)]);
        assert_eq!(boards.to_string(), "7x2,3x4");
    }

    #[test]
    fn more_compartments_than_locks_are_refused() {
        let error = Boards::default().assign(&"1-25:S".parse().unwrap()).unwrap_err();
        assert_eq!(error, PlanError::TooFewLocks { compartments: 25, locks: 24 });
        assert!(Boards::default().assign(&"1-24:S".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, expected) in [
            ("", "no board is listed"),
            ("24", "`24` is not `<address>x<channels>`"),
            ("1x", "`1x` is not"),
            ("1x24,", "`` is not"),
            ("1X24", "`1X24` is not"),
            ("+1x24", "`+1x24` is not"),
            ("99999x24", "`99999x24` is not"),
            ("0x24", "board address 0"),
            ("251x24", "board address 251"),
            ("1x0", "board 1 with 0 channels"),
            ("1x51", "board 1 with 51 channels"),
            ("1x24,1x12", "board 1 is listed twice"),
            ("1x1,2x1,3x1,4x1,5x1,6x1,7x1,8x1,9x1,10x1,11x1,12x1,13x1,14x1,15x1,16x1,17x1", "17 boards"),
        ] {
            let error = text.parse::<Boards>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
