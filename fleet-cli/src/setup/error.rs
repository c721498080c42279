//! Why files of a fleet could not be made.

use std::io;
use std::path::PathBuf;

use certs::{FileError, IssueError, KeyError, LoadError, TokenError};
use schemas::ids::{Name, Role};

use super::keys::KeysError;
use super::receipts::WorthlessReceipt;
use crate::folder::FolderError;

/// Why a folder was not made or not read.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("`{}` exists already and is not empty; give a folder that does not exist yet", .0.display())]
    NotEmpty(PathBuf),
    #[error("`{}` exists already; to make it anew, move it away first", .0.display())]
    Exists(PathBuf),
    #[error("`{0}` stands for orders that staff begin at cabinets; give the integration another name")]
    Reserved(Name),
    #[error("`{}` is no fleet's folder: it has no fleet.toml; make a fleet with `fleet init`", .0.display())]
    NotAFleet(PathBuf),
    #[error("`{}` is no cabinet's folder: it has no agent.toml; make one with `fleet cabinet add`", .0.display())]
    NotACabinet(PathBuf),
    #[error("`{}` is no person's folder: it has no fleet.toml; make one with `fleet person add`", .0.display())]
    NoPerson(PathBuf),
    #[error("host `{0}` is neither a DNS name nor an IPv4 address")]
    Host(String),
    #[error("signer `{0}` is not `host:port`, such as signer.internal:8885")]
    SignerAddress(String),
    #[error("port 0 cannot be reached; the usual one is 8883")]
    PortZero,
    #[error("serial port `{}` is not an absolute path such as /dev/ttyUSB0", .0.display())]
    SerialPort(PathBuf),
    #[error("`{0}` is no serial number of a device: 1 to 64 printable characters without spaces, as on its label")]
    DeviceSerial(String),
    #[error("screen address {0} is open to the network; it must be on 127.0.0.1 or [::1]")]
    Screen(std::net::SocketAddr),
    #[error(
        "a {0} is no person and no integration; choose operator, staff, support, technician, auditor or integration"
    )]
    Role(Role),
    #[error("read settings `{}`: {what}", path.display())]
    Settings { path: PathBuf, what: String },
    #[error("{what} `{}`", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("key `{}` is encrypted; give its passphrase with --passphrase-file FILE", .0.display())]
    PassphraseNeeded(PathBuf),
    #[error(
        "token {0} wants a PIN; give it with --passphrase-file FILE, or name a private file with it: \
         pin-source=file:/… in the URI"
    )]
    PinNeeded(String),
    #[error("this machine's clock is before 1970")]
    Clock,
    #[error("this machine gives no random bytes")]
    NoRandom(#[from] getrandom::Error),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Receipt(#[from] WorthlessReceipt),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// What is wrong with a list of compartments or boards as a person wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("no compartment is listed; write for example 1-4:S,5-8:M,9:L")]
    NoCompartments,
    #[error("`{0}` is not `<numbers>:<size>`; write for example 1-4:S")]
    CompartmentShape(String),
    #[error("`{0}` is not a compartment number, or two with `-` between them, from 1 to 999")]
    CompartmentNumber(String),
    #[error("`{0}` runs backwards")]
    Backwards(String),
    #[error("compartment {0} is listed twice")]
    CompartmentTwice(u16),
    #[error("size {0}; in capitals")]
    Size(schemas::UnknownWord),
    #[error("`{0}` is none of refrigerated, restricted, accessible")]
    Attribute(String),
    #[error("no board is listed; write for example 1x24")]
    NoBoards,
    #[error("`{0}` is not `<address>x<channels>`; write for example 1x24")]
    BoardShape(String),
    #[error("board address {0} is not within 1 to 250")]
    BoardAddress(u16),
    #[error("board {0} is listed twice")]
    BoardTwice(u8),
    #[error("board {board} with {channels} channels: boards have 1 to 50")]
    Channels { board: u8, channels: u16 },
    #[error("{0} boards on one bus: at most 16 can be polled in time")]
    TooManyBoards(usize),
    #[error(
        "{compartments} compartments need as many locks, and the boards have {locks}; list all boards, for example --boards 1x24,2x24"
    )]
    TooFewLocks { compartments: usize, locks: usize },
}

impl SetupError {
    /// Whether what was asked for is wrong, as opposed to what this machine could not do.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::NotEmpty(_)
            | Self::Exists(_)
            | Self::Reserved(_)
            | Self::NotAFleet(_)
            | Self::NotACabinet(_)
            | Self::NoPerson(_)
            | Self::Host(_)
            | Self::SignerAddress(_)
            | Self::PortZero
            | Self::SerialPort(_)
            | Self::DeviceSerial(_)
            | Self::Screen(_)
            | Self::Role(_)
            | Self::Settings { .. }
            | Self::Keys(_)
            | Self::Receipt(_)
            | Self::Plan(_)
            | Self::Folder(_)
            | Self::PassphraseNeeded(_)
            | Self::PinNeeded(_) => true,
            Self::Key(error) | Self::Load(LoadError::Key(error)) => {
                matches!(
                    error,
                    KeyError::WrongPassphrase { .. }
                        | KeyError::ShortPassphrase
                        | KeyError::Uri { .. }
                        | KeyError::Token(TokenError::PinWrong { .. } | TokenError::Exists { .. })
                )
            }
            Self::Io { .. } | Self::Clock | Self::NoRandom(_) | Self::File(_) | Self::Load(_) | Self::Issue(_) => false,
        }
    }
}
