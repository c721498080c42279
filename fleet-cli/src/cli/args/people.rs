//! `fleet person`, `fleet operator`, `fleet integration`, `fleet staff` and `fleet courier`.

use std::path::PathBuf;

use clap::Subcommand;
use schemas::api::Rfc3339;
use schemas::ids::{CabinetId, Name, Role, SiteId};

use super::moments::parse_last_day;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PersonCommand {
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
pub(in crate::cli) struct ScopeArgs {
    /// These sites, with commas between them
    #[arg(long, value_delimiter = ',', value_name = "SITES")]
    pub(in crate::cli) sites: Option<Vec<SiteId>>,
    /// These cabinets, with commas between them
    #[arg(long, value_delimiter = ',', value_name = "CABINETS")]
    pub(in crate::cli) cabinets: Option<Vec<CabinetId>>,
    /// Everything
    #[arg(long)]
    pub(in crate::cli) tenant: bool,
}

/// What [`PersonCommand`] offers, for one role.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RoleCommand {
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
pub(in crate::cli) enum IntegrationCommand {
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
pub(in crate::cli) struct QuotaArgs {
    pub(in crate::cli) name: Name,
    /// Orders that it puts in a minute
    #[arg(long, value_name = "N")]
    pub(in crate::cli) orders_per_minute: Option<u32>,
    /// Orders that it puts in a day
    #[arg(long, value_name = "N")]
    pub(in crate::cli) orders_per_day: Option<u32>,
    /// Orders that are not over
    #[arg(long, value_name = "N")]
    pub(in crate::cli) open_orders: Option<u32>,
    /// Requests in a minute
    #[arg(long, value_name = "N")]
    pub(in crate::cli) requests_per_minute: Option<u32>,
    /// As in the broker's settings again
    #[arg(long, conflicts_with_all = [
        "orders_per_minute", "orders_per_day", "open_orders", "requests_per_minute",
    ])]
    pub(in crate::cli) default: bool,
}

impl RoleCommand {
    /// The same as a command that names the role.
    pub(in crate::cli) fn of(self, role: Role) -> PersonCommand {
        match self {
            Self::Add { name, fleet } => PersonCommand::Add { role, name, fleet },
            Self::Renew { name, fleet } => PersonCommand::Renew { role, name, fleet },
            Self::List => PersonCommand::List { role: Some(role) },
            Self::Revoke { name, reason } => PersonCommand::Revoke { role, name, reason },
        }
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum StaffCommand {
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

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CourierCommand {
    /// Give a courier a PIN to put parcels in; it is shown once
    #[command(after_help = "\
Examples:
  fleet courier add jo
  fleet courier add jo --sites berlin,potsdam --until 2026-12-31
  fleet courier add jo --cabinets berlin-01

For somebody known it makes a new PIN, the old one ends, and these sites or
cabinets take the place of the former ones. It works at each cabinet once that
has its next book. It opens a free compartment for an order that waits for a
courier, or for a phone number, and nothing that holds an order.")]
    Add {
        /// Short name: a-z, 0-9, `-`
        name: Name,
        #[command(flatten)]
        place: CourierPlaceArgs,
        /// Last day (UTC) on which PIN and badge work
        #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_last_day)]
        until: Option<Rfc3339>,
    },
    /// Give a courier a badge; its text is shown once
    #[command(after_help = "\
Example:
  fleet courier badge jo

Print the text as a barcode or QR code. A badge lets its holder in where PINs
are locked because somebody typed wrong codes.")]
    Badge { name: Name },
    /// All couriers, and which cabinets do not know the newest yet
    #[command(after_help = "\
A cabinet whose agent is of a version without couriers stays pending until it is
updated.")]
    List,
    /// End the PIN and the badge of a courier
    #[command(after_help = "\
Example:
  fleet courier remove jo

They end at each cabinet with its next book. A cabinet that is offline takes
them until it is back: `fleet courier list` shows it as pending. What was put in
stays.")]
    Remove { name: Name },
}

/// Where a courier comes; without either, everywhere.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(in crate::cli) struct CourierPlaceArgs {
    /// At these sites only, with commas between them
    #[arg(long, value_delimiter = ',', value_name = "SITES")]
    pub(in crate::cli) sites: Option<Vec<SiteId>>,
    /// At these cabinets only, with commas between them
    #[arg(long, value_delimiter = ',', value_name = "CABINETS")]
    pub(in crate::cli) cabinets: Option<Vec<CabinetId>>,
}

/// The fleet's folder, for commands that issue certificates.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct FleetArgs {
    /// Folder of the fleet, as made by `fleet init`
    #[arg(long = "fleet", value_name = "DIR")]
    pub(in crate::cli) dir: PathBuf,
    /// Private file that opens the keys in ca/
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) passphrase_file: Option<PathBuf>,
}
