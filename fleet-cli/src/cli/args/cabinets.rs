//! `fleet cabinet`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Subcommand;
use schemas::ids::{CabinetId, SiteId};

use crate::setup::{Boards, ByteOrder, Compartments, Polarity};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CabinetCommand {
    /// Make a cabinet known, with its settings and enrolment token
    Add(Box<CabinetAddArgs>),
    /// Make a cabinet known to the fleet whose folder exists already
    #[command(override_usage = "\
fleet cabinet register <CABINET> --fleet <DIR> --place <TEXT>")]
    #[command(after_help = "\
Example:
  fleet cabinet register berlin-01 --fleet acme \\
      --place 'Main station, north hall'

Repeating it with the same content does nothing.")]
    Register {
        cabinet: CabinetId,
        /// Folder of the fleet, as made by `fleet init`
        #[arg(long = "fleet", value_name = "DIR")]
        dir: PathBuf,
        /// Where it stands, for those who collect there
        #[arg(long, value_name = "TEXT")]
        place: String,
    },
    /// Make a new token: for other hardware, or after one was lost
    #[command(override_usage = "\
fleet cabinet replace <CABINET> --fleet <DIR> --serial <TEXT> [OPTIONS]")]
    #[command(after_help = "\
Example:
  fleet cabinet replace berlin-01 --fleet acme --serial LF-0008

Orders, codes and history stay with the cabinet. From the moment that the new
device enrols, the former one is shut out, and what was signed for it is void.")]
    Replace {
        cabinet: CabinetId,
        /// Folder of the fleet, as made by `fleet init`
        #[arg(long = "fleet", value_name = "DIR")]
        dir: PathBuf,
        #[command(flatten)]
        token: TokenArgs,
    },
    /// All cabinets
    List,
    /// One cabinet with its compartments
    Show { cabinet: CabinetId },
    /// Have a cabinet erase what it knows and its keys, and sign that
    #[command(override_usage = "\
fleet cabinet wipe <CABINET> --fleet <DIR> --reason <TEXT> [OPTIONS]")]
    #[command(after_help = "\
Example:
  fleet cabinet wipe berlin-01 --fleet acme --reason 'sold to a dealer'

The cabinet tells the fleet what it has not told yet, erases codes, orders,
journal and keys, and signs a receipt with the key of its certificate. That is
checked, kept in the cabinet's folder, and its certificates are revoked. A
cabinet that is not connected is wiped as soon as it is heard of.")]
    Wipe(WipeArgs),
    /// Take a wipe back that the cabinet was not told yet
    Keep { cabinet: CabinetId },
    /// Check the receipt of a wiped cabinet, without the fleet
    Receipt {
        /// As kept by `fleet cabinet wipe`
        file: PathBuf,
        /// Folder of the fleet, as made by `fleet init`
        #[arg(long = "fleet", value_name = "DIR")]
        dir: PathBuf,
    },
    /// Show the code that lets staff in once where no network is
    #[command(after_help = "\
Example:
  fleet cabinet break-glass berlin-01 --reason 'no 4G since noon, PIN unknown'

The cabinet has had the code since it was last connected. While it is connected
`fleet unlock` serves. Who was shown the code and why is on record, with every
door that is opened by it.")]
    BreakGlass {
        cabinet: CabinetId,
        /// Why, for the record
        #[arg(long)]
        reason: String,
    },
    /// Make every certificate of a cabinet void, and cut it off
    #[command(after_help = "\
Example:
  fleet cabinet revoke berlin-01 --reason 'cabinet stolen'

It stays registered, and is let in again with a certificate issued later. Codes
that it holds open its doors until it gets a book without them.")]
    Revoke {
        cabinet: CabinetId,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct WipeArgs {
    pub(in crate::cli) cabinet: CabinetId,
    /// Folder of the fleet, as made by `fleet init`
    #[arg(long = "fleet", value_name = "DIR")]
    pub(in crate::cli) dir: PathBuf,
    /// Why; it is recorded
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: String,
    /// Although orders are inside: nobody can open their doors afterwards
    #[arg(long)]
    pub(in crate::cli) with_orders: bool,
    /// How long to wait for the receipt
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(0..=3600))]
    pub(in crate::cli) wait: u16,
}

/// For whom an enrolment token is, and how long.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TokenArgs {
    /// Of the cabinet's computer, as on its label
    #[arg(long = "serial", value_name = "TEXT")]
    pub(in crate::cli) device_serial: String,
    /// Days until the token expires [default: 14]
    #[arg(
        long,
        value_name = "DAYS",
        default_value_t = 14,
        hide_default_value = true,
        value_parser = clap::value_parser!(u16).range(1..=60)
    )]
    pub(in crate::cli) valid_for: u16,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PlaceArgs {
    /// Short name of the location: a-z, 0-9, `-`
    #[arg(long)]
    pub(in crate::cli) site: SiteId,
    /// Where it stands, for those who collect there
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) place: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fleet cabinet add berlin-01 --fleet acme --site berlin \\
      --place 'Main station, north hall' --serial LF-0007 \\
      --compartments 1-4:S,5-8:M,9:L --board /dev/ttyUSB0
  fleet cabinet add berlin-02 --fleet acme --site berlin --place 'Depot' \\
      --serial LF-0008 --compartments 1-20:S,21-30:M+refrigerated \\
      --boards 1x24,2x12 --board /dev/ttyUSB0 --offline

Sizes are S, M, L, XL; attributes are +refrigerated, +restricted, +accessible.
Compartments take the locks of the boards in order of their numbers.
Polarities are short_when_locked, short_when_open; byte orders (where locks
1 to 8 are in a board's status) are first_locks_last, first_locks_first.")]
#[command(override_usage = "\
fleet cabinet add <CABINET> --fleet <DIR> --site <SITE> --place <TEXT>
           --serial <TEXT> --compartments <LIST> --board <PORT>
           [OPTIONS]")]
pub(in crate::cli) struct CabinetAddArgs {
    /// Short name: a-z, 0-9, `-`
    pub(in crate::cli) cabinet: CabinetId,
    /// Folder of the fleet, as made by `fleet init`
    #[arg(long = "fleet", value_name = "DIR")]
    pub(in crate::cli) dir: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    #[command(flatten)]
    pub(in crate::cli) token: TokenArgs,
    /// Numbers and sizes, such as 1-4:S,5-8:M,9:L
    #[arg(long, value_name = "LIST")]
    pub(in crate::cli) compartments: Compartments,
    /// Serial port of the lock boards on the cabinet
    #[arg(long, value_name = "PORT")]
    pub(in crate::cli) board: PathBuf,
    /// <address>x<channels>,.. [default: 1x24]
    #[arg(long, value_name = "LIST", default_value_t, hide_default_value = true)]
    pub(in crate::cli) boards: Boards,
    /// Of door contacts [default: short_when_locked]
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, hide_default_value = true)]
    pub(in crate::cli) polarity: Polarity,
    /// Of a board's status [default: first_locks_last]
    #[arg(
        long,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        hide_default_value = true,
        value_name = "ORDER"
    )]
    pub(in crate::cli) byte_order: ByteOrder,
    /// On its loopback [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", hide_default_value = true)]
    pub(in crate::cli) screen: SocketAddr,
    /// Make the files only; register the cabinet later
    #[arg(long)]
    pub(in crate::cli) offline: bool,
}
