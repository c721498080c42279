//! Everything that can be asked for on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use schemas::api::{HoldMinutes, Rfc3339};
use schemas::ids::{CabinetId, Name, Role, SiteId, TenantId};
use schemas::messages::{Category, Compartment, OrderKey, Size};

use super::keys::KeysCommand;
use super::policy::PolicyCommand;
use crate::setup::{Boards, ByteOrder, Compartments, Polarity};

/// Sets up and runs a fleet of pickup lockers.
#[derive(Debug, Parser)]
#[command(name = "fleet", version, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  fleet init acme --tenant acme --host lockers.example.com
  fleet cabinet add berlin-01 --fleet acme --site berlin \\
      --place 'Main station, north hall' --serial LF-0007 \\
      --compartments 1-4:S,5-8:M,9:L --board /dev/ttyUSB0
  fleet unlock berlin-01 4 --reason 'customer called, door stuck'
  fleet watch

Exit codes: 0 done, 1 failed, 2 wrong usage or settings.")]
pub(super) struct Args {
    /// Folder of whoever asks [env: FLEET_AS] [default: .]
    #[arg(
        long = "as",
        value_name = "FOLDER",
        global = true,
        env = "FLEET_AS",
        hide_env = true,
        help_heading = "Options everywhere"
    )]
    pub(super) person: Option<PathBuf>,
    /// Write JSON, one document a line
    #[arg(long, global = true, help_heading = "Options everywhere")]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a new fleet: keys, CAs, settings, first operator
    Init(InitArgs),
    /// People and integrations: their certificates and scopes
    #[command(subcommand)]
    Person(PersonCommand),
    /// The same for operators
    #[command(subcommand)]
    Operator(RoleCommand),
    /// The same for integrations, and how much each may ask for
    #[command(subcommand)]
    Integration(IntegrationCommand),
    /// Cabinets: add, list, show, revoke, wipe
    #[command(subcommand)]
    Cabinet(CabinetCommand),
    /// Orders: put, list, show, cancel, extend, resend, reissue
    #[command(subcommand)]
    Order(OrderCommand),
    /// How long orders are kept: show, preview, put
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Open one compartment now
    Unlock(UnlockArgs),
    /// Who opened which compartment, by what right, when and why
    Unlocks(UnlocksArgs),
    /// Staff: PINs and badges for the cabinets' screens
    #[command(subcommand)]
    Staff(StaffCommand),
    /// Signing keys: list, rotate, retire, replace a root
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Follow what happens, live
    Watch(WatchArgs),
    /// Write a backup of the fleet's store, while it works
    #[command(after_help = "\
Example:
  fleet backup

The file is written on the broker's host, into the folder `store.backups` of
broker.toml. It holds orders, and codes that only the signer can open. Copy it
to another machine. Keys and settings are not in it: keep the fleet's folder.")]
    Backup,
    /// Check a backup, or make a store of it for a stopped broker
    Restore(RestoreArgs),
    /// Check everything that could keep a fleet from working
    #[command(after_help = "\
Examples:
  fleet doctor
  fleet doctor --fleet acme --json

Ends with 1 if anything needs a person, and says for each what to do.")]
    Doctor {
        /// Folder of the fleet: look at its certificates and keys too
        #[arg(long = "fleet", value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// See a whole fleet at work on this machine
    Demo {
        /// Keep everything running after the tour, until Ctrl-C
        #[arg(long)]
        stay: bool,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleet init acme --tenant acme --host lockers.example.com \\
      --operator eve --passphrase-file ./passphrase

The passphrase encrypts the keys in offline/ and ca/. The keys of broker and
signer stay plain, for their owner only (0600): they must start unattended.")]
#[command(override_usage = "fleet init [OPTIONS] --tenant <TENANT> --host <HOST> <DIR>")]
pub(super) struct InitArgs {
    /// Folder to make; must not exist yet, or be empty
    pub(super) dir: PathBuf,
    /// Short name of the company: a-z, 0-9, `-`
    #[arg(long)]
    pub(super) tenant: TenantId,
    /// Name in certificates [default: the tenant]
    #[arg(long)]
    pub(super) name: Option<Name>,
    /// Where the broker is reached: DNS name or IPv4
    #[arg(long)]
    pub(super) host: String,
    /// One more name for the broker's certificate
    #[arg(long, value_name = "HOST")]
    pub(super) other_host: Vec<String>,
    /// Port of the broker
    #[arg(long, default_value_t = 8883)]
    pub(super) port: u16,
    /// Port at which cabinets enrol
    #[arg(long, default_value_t = 8884, value_name = "PORT")]
    pub(super) enrolment_port: u16,
    /// Where the broker listens [default: [::]:PORT]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) listen: Option<SocketAddr>,
    /// The signer's place, if it is another host
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) signer: Option<String>,
    /// Name of the first operator
    #[arg(long, default_value = "admin", value_name = "NAME")]
    pub(super) operator: Name,
    /// Private file; encrypts keys in offline/ and ca/
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Token for the first keyset root (pkcs11:token=…)
    #[arg(long, value_name = "URI")]
    pub(super) root_1_pkcs11: Option<String>,
    /// Token for the second keyset root
    #[arg(long, value_name = "URI")]
    pub(super) root_2_pkcs11: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fleet restore backups/fleet-2026-11-22T03-00-00-000Z.backup
  fleet restore backups/fleet-2026-11-22T03-00-00-000Z.backup --to fleet.redb

Without --to the backup is only checked, row by row. With it: stop the broker,
move the old store away, restore, start the broker. Each cabinet is compared
when it connects: its facts win, and what differs needs a look.")]
pub(super) struct RestoreArgs {
    /// File that `fleet backup` wrote
    pub(super) backup: PathBuf,
    /// Store to make; must not exist yet
    #[arg(long, value_name = "STORE")]
    pub(super) to: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum PersonCommand {
    /// Make the folder of a person or an integration, with a certificate
    #[command(after_help = "\
Examples:
  fleet person add --fleet acme support ben
  fleet person add --fleet acme integration shop

Hand the folder over; its owner then uses `fleet --as FOLDER ...`.")]
    Add {
        /// operator, staff, support, technician, auditor or integration
        role: Role,
        /// Short name: a-z, 0-9, `-`
        name: Name,
        #[command(flatten)]
        fleet: FleetArgs,
    },
    /// Make a new key and certificate in the folder of somebody known
    #[command(after_help = "\
Example:
  fleet person renew --fleet acme technician tom

Hand the new person.key and person.crt over. What its owner has now works until
it ends, or until it is revoked.")]
    Renew {
        /// operator, staff, support, technician, auditor or integration
        role: Role,
        name: Name,
        #[command(flatten)]
        fleet: FleetArgs,
    },
    /// Who connected, with which certificate, and until when it is good
    List {
        /// Only these: operator, staff, support, ...
        #[arg(long)]
        role: Option<Role>,
    },
    /// Set what of the tenant somebody sees and touches
    #[command(after_help = "\
Examples:
  fleet person scope technician tom --sites berlin,potsdam
  fleet person scope support sue --cabinets berlin-01
  fleet person scope technician tom --tenant")]
    #[command(override_usage = "\
fleet person scope <ROLE> <NAME>
           <--sites <SITES>|--cabinets <CABINETS>|--tenant>")]
    Scope {
        /// operator, staff, support, technician or auditor
        role: Role,
        name: Name,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Make every certificate of somebody void, and cut what is open
    #[command(after_help = "\
Example:
  fleet person revoke technician tom --reason 'laptop stolen'

Certificates issued up to now are void; a new one works again, which `fleet
person renew` makes. Nobody can revoke himself.")]
    Revoke {
        /// operator, staff, support, technician, auditor or integration
        role: Role,
        name: Name,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// What of the tenant a person is to see.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct ScopeArgs {
    /// These sites, with commas between them
    #[arg(long, value_delimiter = ',', value_name = "SITES")]
    pub(super) sites: Option<Vec<SiteId>>,
    /// These cabinets, with commas between them
    #[arg(long, value_delimiter = ',', value_name = "CABINETS")]
    pub(super) cabinets: Option<Vec<CabinetId>>,
    /// Everything
    #[arg(long)]
    pub(super) tenant: bool,
}

/// What [`PersonCommand`] offers, for one role.
#[derive(Debug, Subcommand)]
pub(super) enum RoleCommand {
    /// Make a folder with a certificate
    Add {
        /// Short name: a-z, 0-9, `-`
        name: Name,
        #[command(flatten)]
        fleet: FleetArgs,
    },
    /// Make a new key and certificate in the folder of somebody known
    Renew {
        name: Name,
        #[command(flatten)]
        fleet: FleetArgs,
    },
    /// Who connected, with which certificate, and until when it is good
    List,
    /// Make every certificate of somebody void, and cut what is open
    Revoke {
        name: Name,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// What [`RoleCommand`] offers, and what only integrations have.
#[derive(Debug, Subcommand)]
pub(super) enum IntegrationCommand {
    #[command(flatten)]
    Role(RoleCommand),
    /// Show or set how much an integration may ask for
    #[command(after_help = "\
Examples:
  fleet integration quota shop
  fleet integration quota shop --orders-per-minute 60 --open-orders 500
  fleet integration quota shop --default

Limits that are set replace all that were set before; what is left out is as in
the broker's settings.")]
    Quota(QuotaArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct QuotaArgs {
    pub(super) name: Name,
    /// Orders that it puts in a minute
    #[arg(long, value_name = "N")]
    pub(super) orders_per_minute: Option<u32>,
    /// Orders that it puts in a day
    #[arg(long, value_name = "N")]
    pub(super) orders_per_day: Option<u32>,
    /// Orders that are not over
    #[arg(long, value_name = "N")]
    pub(super) open_orders: Option<u32>,
    /// Requests in a minute
    #[arg(long, value_name = "N")]
    pub(super) requests_per_minute: Option<u32>,
    /// As in the broker's settings again
    #[arg(long, conflicts_with_all = [
        "orders_per_minute", "orders_per_day", "open_orders", "requests_per_minute",
    ])]
    pub(super) default: bool,
}

impl RoleCommand {
    /// The same as a command that names the role.
    pub(super) fn of(self, role: Role) -> PersonCommand {
        match self {
            Self::Add { name, fleet } => PersonCommand::Add { role, name, fleet },
            Self::Renew { name, fleet } => PersonCommand::Renew { role, name, fleet },
            Self::List => PersonCommand::List { role: Some(role) },
            Self::Revoke { name, reason } => PersonCommand::Revoke { role, name, reason },
        }
    }
}

/// The fleet's folder, for commands that issue certificates.
#[derive(Debug, clap::Args)]
pub(super) struct FleetArgs {
    /// Folder of the fleet, as made by `fleet init`
    #[arg(long = "fleet", value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Private file that opens the keys in ca/
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum CabinetCommand {
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
pub(super) struct WipeArgs {
    pub(super) cabinet: CabinetId,
    /// Folder of the fleet, as made by `fleet init`
    #[arg(long = "fleet", value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Why; it is recorded
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    /// Although orders are inside: nobody can open their doors afterwards
    #[arg(long)]
    pub(super) with_orders: bool,
    /// How long to wait for the receipt
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(0..=3600))]
    pub(super) wait: u16,
}

/// For whom an enrolment token is, and how long.
#[derive(Debug, clap::Args)]
pub(super) struct TokenArgs {
    /// Of the cabinet's computer, as on its label
    #[arg(long = "serial", value_name = "TEXT")]
    pub(super) device_serial: String,
    /// Days until the token expires [default: 14]
    #[arg(
        long,
        value_name = "DAYS",
        default_value_t = 14,
        hide_default_value = true,
        value_parser = clap::value_parser!(u16).range(1..=60)
    )]
    pub(super) valid_for: u16,
}

#[derive(Debug, clap::Args)]
pub(super) struct PlaceArgs {
    /// Short name of the location: a-z, 0-9, `-`
    #[arg(long)]
    pub(super) site: SiteId,
    /// Where it stands, for those who collect there
    #[arg(long, value_name = "TEXT")]
    pub(super) place: String,
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
pub(super) struct CabinetAddArgs {
    /// Short name: a-z, 0-9, `-`
    pub(super) cabinet: CabinetId,
    /// Folder of the fleet, as made by `fleet init`
    #[arg(long = "fleet", value_name = "DIR")]
    pub(super) dir: PathBuf,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    #[command(flatten)]
    pub(super) token: TokenArgs,
    /// Numbers and sizes, such as 1-4:S,5-8:M,9:L
    #[arg(long, value_name = "LIST")]
    pub(super) compartments: Compartments,
    /// Serial port of the lock boards on the cabinet
    #[arg(long, value_name = "PORT")]
    pub(super) board: PathBuf,
    /// <address>x<channels>,.. [default: 1x24]
    #[arg(long, value_name = "LIST", default_value_t, hide_default_value = true)]
    pub(super) boards: Boards,
    /// Of door contacts [default: short_when_locked]
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, hide_default_value = true)]
    pub(super) polarity: Polarity,
    /// Of a board's status [default: first_locks_last]
    #[arg(
        long,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        hide_default_value = true,
        value_name = "ORDER"
    )]
    pub(super) byte_order: ByteOrder,
    /// On its loopback [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", hide_default_value = true)]
    pub(super) screen: SocketAddr,
    /// Make the files only; register the cabinet later
    #[arg(long)]
    pub(super) offline: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum OrderCommand {
    /// Put an order: in an integration's name, or as the integration itself
    Put(OrderPutArgs),
    /// All orders, or those of one cabinet
    List {
        #[arg(long)]
        cabinet: Option<CabinetId>,
        /// Only those whose window is over
        #[arg(long)]
        overdue: bool,
    },
    /// One order with its history
    Show {
        /// <integration>/<order>
        order: OrderKey,
    },
    /// Cancel an order
    Cancel {
        /// <integration>/<order>
        order: OrderKey,
    },
    /// Give a stored order more time; its code stays
    #[command(after_help = "\
Examples:
  fleet order extend shop/A17 --until 2026-12-31
  fleet order extend shop/A17 --until 2026-12-31T18:00:00Z

How far it can go is in the policy of its category.")]
    Extend {
        /// <integration>/<order>
        order: OrderKey,
        /// Last day (UTC) or moment when it can be collected
        #[arg(long, value_name = "TIME", value_parser = parse_end)]
        until: Rfc3339,
    },
    /// Send the same code in another message
    Resend {
        /// <integration>/<order>
        order: OrderKey,
    },
    /// Make another code; the old one works until the new one does
    Reissue {
        /// <integration>/<order>
        order: OrderKey,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleet order put shop/A17 --cabinet berlin-01 --size M --phone +491701234567

Categories are retail, food, laundry, pharmacy, repair, courier.")]
pub(super) struct OrderPutArgs {
    /// <integration>/<order>
    pub(super) order: OrderKey,
    #[arg(long)]
    pub(super) cabinet: CabinetId,
    /// Smallest size that it fits into: S, M, L or XL
    #[arg(long)]
    pub(super) size: Size,
    /// What kind of goods it is [default: retail]
    #[arg(long, default_value = "retail", hide_default_value = true)]
    pub(super) category: Category,
    /// Needs a refrigerated compartment
    #[arg(long)]
    pub(super) refrigerated: bool,
    /// Needs a restricted compartment
    #[arg(long)]
    pub(super) restricted: bool,
    /// Needs a compartment at an accessible height
    #[arg(long)]
    pub(super) accessible: bool,
    /// Phone number of the recipient
    #[arg(long)]
    pub(super) phone: Option<String>,
    /// E-mail address of the recipient
    #[arg(long)]
    pub(super) email: Option<String>,
    /// Language of the recipient, such as de or en-GB
    #[arg(long)]
    pub(super) language: Option<String>,
    /// Staff may not load it yet
    #[arg(long)]
    pub(super) not_ready: bool,
    /// Keep its compartment so long until it is loaded
    #[arg(long, value_name = "MINUTES")]
    pub(super) hold: Option<HoldMinutes>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleet unlock berlin-01 4 --reason 'customer called, door stuck'

Signed for this cabinet, carried out at most once, and recorded with your name
and the reason. If your folder has a key of your own (`fleet keys own`) and its
delegation, you sign it yourself.")]
pub(super) struct UnlockArgs {
    pub(super) cabinet: CabinetId,
    /// Number on the door
    #[arg(value_parser = parse_compartment)]
    pub(super) compartment: Compartment,
    /// Why; it is recorded
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    /// Sign it with the own key of the folder, or fail
    #[arg(long)]
    pub(super) own_key: bool,
    /// Private file that opens the own key
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleet unlocks berlin-01

Every opening, the newest first: by a command with who asked and why, by staff,
by a code (never its digits), and by force. The fleet keeps the newest 1,000 of
each cabinet. What was opened while a cabinet was away follows when it is back.")]
pub(super) struct UnlocksArgs {
    pub(super) cabinet: CabinetId,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub(super) newest: usize,
}

#[derive(Debug, Subcommand)]
pub(super) enum StaffCommand {
    /// Give a member of staff a PIN; it is shown once
    #[command(after_help = "\
Examples:
  fleet staff add kim
  fleet staff add kim --until 2026-12-31

For somebody known it makes a new PIN, and the old one ends. It works at each
cabinet once that has its next book.")]
    Add {
        /// Short name: a-z, 0-9, `-`
        name: Name,
        /// Last day (UTC) on which PIN and badge work
        #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_last_day)]
        until: Option<Rfc3339>,
    },
    /// Give a member of staff a badge; its text is shown once
    #[command(after_help = "\
Example:
  fleet staff badge kim

Print the text as a barcode or QR code. A badge logs in where PINs are locked
because somebody typed wrong codes.")]
    Badge { name: Name },
    /// All staff, and which cabinets do not know the newest yet
    List,
    /// End the PIN and the badge of a member of staff
    #[command(after_help = "\
Example:
  fleet staff revoke kim

They end at each cabinet with its next book. A cabinet that is offline takes
them until it is back: `fleet staff list` shows it as pending.")]
    Revoke { name: Name },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fleet watch
  fleet watch berlin-01 --json")]
pub(super) struct WatchArgs {
    /// Only this cabinet
    pub(super) cabinet: Option<CabinetId>,
}

/// The last millisecond of a day.
fn parse_last_day(text: &str) -> Result<Rfc3339, &'static str> {
    const DAY_MILLIS: u64 = 24 * 60 * 60 * 1_000;
    let day: jiff::civil::Date = text.parse().map_err(|_| "a day is YYYY-MM-DD, such as 2026-12-31")?;
    let start = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| "this day is too far away")?;
    let start = u64::try_from(start.timestamp().as_millisecond()).map_err(|_| "this day is over")?;
    Ok(Rfc3339(start + DAY_MILLIS - 1))
}

/// A moment, or the last millisecond of a day.
fn parse_end(text: &str) -> Result<Rfc3339, &'static str> {
    if let Ok(day) = parse_last_day(text) {
        return Ok(day);
    }
    let at: jiff::Timestamp =
        text.parse().map_err(|_| "an end is a day such as 2026-12-31, or 2026-12-31T18:00:00Z")?;
    u64::try_from(at.as_millisecond()).map(Rfc3339).map_err(|_| "this moment is over")
}

fn parse_compartment(text: &str) -> Result<Compartment, &'static str> {
    let number = text.parse().ok().and_then(Compartment::new);
    number.ok_or("a compartment number is 1 to 999")
}
