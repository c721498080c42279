//! Everything that can be asked for on the command line.

mod cabinets;
mod moments;
mod orders;
mod people;

pub(super) use cabinets::{CabinetAddArgs, CabinetCommand, TokenArgs, WipeArgs};
pub(super) use moments::parse_since;
pub(super) use orders::{
    BundleCommand, BundlePutArgs, OrderChangeArgs, OrderCommand, OrderPutArgs, SecondFactorArgs, SignArgs, UnlockArgs,
    UnlocksArgs,
};
pub(super) use people::{
    CourierCommand, CourierPlaceArgs, FleetArgs, IntegrationCommand, PersonCommand, QuotaArgs, RoleCommand, ScopeArgs,
    StaffCommand,
};

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use schemas::ids::{CabinetId, Name, TenantId};

use super::keys::KeysCommand;
use super::notify::NotifyCommand;
use super::policy::PolicyCommand;
use super::sites::SiteCommand;

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
    /// Several orders under one credential, for a driver
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// How long orders are kept: show, preview, put
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Where cabinets stand: time zones and opening hours
    #[command(subcommand)]
    Site(SiteCommand),
    /// Messages to people: channels, templates, what became of them
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// Open one compartment now
    Unlock(UnlockArgs),
    /// Who opened which compartment, by what right, when and why
    Unlocks(UnlocksArgs),
    /// Staff: PINs and badges for the cabinets' screens
    #[command(subcommand)]
    Staff(StaffCommand),
    /// Couriers: PINs and badges to put parcels in, and nothing else
    #[command(subcommand)]
    Courier(CourierCommand),
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

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fleet watch
  fleet watch berlin-01 --json")]
pub(super) struct WatchArgs {
    /// Only this cabinet
    pub(super) cabinet: Option<CabinetId>,
}
