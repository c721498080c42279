//! Keys of people: made, delegated, and used by `fleet unlock` and `fleet order load`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use certs::Passphrase;
use clap::Args;
use schemas::api::{HexBytes, Reply, Request, Rfc3339};
use schemas::cbor;
use schemas::crypto::envelope::{self, Scope};
use schemas::ids::{CabinetId, Name, Role};
use schemas::messages::{
    Action, Command, CommandId, Compartment, DelegationScope, Expect, KeyPurpose, OrderKey, Unlock,
};
use serde_json::json;

use super::context::{Context, other_answer, passphrase, token};
use super::output;
use crate::folder::PersonFolder;
use crate::setup::{self, DelegationOptions, Layout, OwnKey, Place};

const DAY: Duration = Duration::from_secs(86_400);

#[derive(Debug, Args)]
#[command(override_usage = "fleet keys delegate <ROLE> <NAME> --fleet <DIR> [OPTIONS]")]
#[command(after_help = "\
Examples:
  fleet keys delegate operator eve --fleet acme --days 90
  fleet keys delegate support ben --fleet acme --cabinet berlin-01 \\
      --public 8a88e3dd... --out ben.cose

Needs an admin key: `fleet keys rotate admin` makes one. Without --public the
key is made in the person's folder below people/. Somebody whose folder is
elsewhere makes it there with `fleet keys own` and sends the public half; what
--out wrote goes there as delegation.cose.")]
pub(super) struct DelegateArgs {
    /// operator or support
    role: Role,
    /// Short name: a-z, 0-9, `-`
    name: Name,
    /// Folder of the fleet, as made by `fleet init`
    #[arg(long = "fleet", value_name = "DIR")]
    dir: PathBuf,
    /// Only this cabinet; may be given several times
    #[arg(long, value_name = "CABINET")]
    cabinet: Vec<CabinetId>,
    /// How long it holds
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: u32,
    /// Public half of the person's key
    #[arg(long, value_name = "HEX", requires = "out")]
    public: Option<String>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Private file that opens the keys in ca/
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  fleet keys own --as people/operator-eve --passphrase-file ./passphrase
  fleet keys own --as people/operator-eve --passphrase-file ./pin \\
      --pkcs11 'pkcs11:token=eve?module-path=/usr/lib/opensc-pkcs11.so'

Makes unlock.key in the folder, for its owner only. It opens nothing before an
admin key vouches for it: send the public half to whoever keeps that one. With
--pkcs11 the key is made in the token and stays there; unlock.key names it.")]
pub(super) struct OwnArgs {
    /// Private file; encrypts the key, or has the token's PIN
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Token in which the key is made (pkcs11:token=…)
    #[arg(long = "pkcs11", value_name = "URI")]
    token: Option<String>,
}

pub(super) fn own(context: &Context, args: &OwnArgs) -> anyhow::Result<ExitCode> {
    let folder = context.folder()?;
    let passphrase = passphrase(args.passphrase_file.as_deref())?;
    let token = token(args.token.as_deref())?;
    let public = setup::make_own_key(folder.path(), Place::of(token.as_ref()), passphrase.as_ref())?;
    if context.json {
        output::json(&json!({ "identity": folder.identity(), "public": public }))?;
    } else {
        let identity = folder.identity();
        output::text(&format!(
            "Made an unlock key for {identity}. Its public half:\n{public}\n\n\
             It opens nothing yet. Whoever keeps the admin key goes on with\n\
             \x20 fleet keys delegate {} {} --public {public} --fleet DIR --out FILE",
            identity.role, identity.name
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn delegate(context: &Context, args: DelegateArgs) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(&args.dir)?;
    let passphrase = passphrase(args.passphrase_file.as_deref())?;
    let made = setup::delegate(&DelegationOptions {
        layout: &layout,
        role: args.role,
        name: args.name,
        public: args.public,
        cabinets: args.cabinet,
        valid: DAY * args.days,
        out: args.out,
        passphrase: passphrase.as_ref(),
        now: SystemTime::now(),
    })?;
    let delegation = &made.delegation;
    if context.json {
        output::json(&json!({
            "file": made.path,
            "person": delegation.person,
            "key": delegation.key().id,
            "epoch": delegation.epoch,
            "not_after": Rfc3339(delegation.not_after),
        }))?;
    } else {
        let cabinets = match &delegation.scope {
            DelegationScope::Tenant(_) => "every cabinet".to_owned(),
            DelegationScope::Cabinets(some) => {
                some.cabinets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
        };
        output::text(&format!(
            "{person} opens {cabinets} with key {key} until {until}.\n\n\
             {file} belongs beside unlock.key in the person's folder, as delegation.cose.",
            person = delegation.person,
            key = delegation.key().id,
            until = output::time(Rfc3339(delegation.not_after)),
            file = made.path.display(),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// An unlock that is asked for at a shell.
pub(super) struct Wish {
    pub(super) cabinet: CabinetId,
    pub(super) compartment: Compartment,
    pub(super) reason: String,
}

/// Signs the unlock with the own key of this folder and has the fleet carry it.
pub(super) fn unlock(
    context: &Context,
    folder: &PersonFolder,
    wish: Wish,
    passphrase: Option<&Passphrase>,
) -> anyhow::Result<Reply> {
    let Wish { cabinet, compartment, reason } = wish;
    let action = |inside: Option<&OrderKey>| Unlock { compartment, expects: Expect::of(inside) }.into();
    command(context, folder, (cabinet, Some(compartment)), reason, passphrase, action)
}

/// Signs what `action` makes of the order that is believed to be behind the door, and has the fleet carry it.
pub(super) fn command(
    context: &Context,
    folder: &PersonFolder,
    (cabinet, compartment): (CabinetId, Option<Compartment>),
    reason: String,
    passphrase: Option<&Passphrase>,
    action: impl FnOnce(Option<&OrderKey>) -> Action,
) -> anyhow::Result<Reply> {
    // The key first: a challenge grows old while somebody looks for a passphrase.
    let own = setup::own_key(folder.path(), passphrase)?;
    let reply = context.ask(folder, &Request::Challenge { cabinet: cabinet.clone(), compartment })?;
    let Reply::Challenge(issued) = reply else { return Err(other_answer()) };
    let mut id = CommandId([0; 16]);
    getrandom::fill(&mut id.0).context("no random numbers from the operating system")?;
    let command = Command {
        id,
        challenge: issued.challenge.into(),
        issued: now_millis(),
        action: action(issued.order.as_ref()),
        requester: folder.identity().to_string(),
    };
    let OwnKey { key, delegation } = own;
    let (tenant, instance) = (&folder.identity().tenant, issued.instance);
    let scope = Scope::Cabinet { tenant, cabinet: &cabinet, instance, purpose: KeyPurpose::Unlock };
    let envelope = HexBytes(envelope::try_sign(cbor::encode(&command), scope, &key)?);
    let delegation = HexBytes(delegation);
    context.ask(folder, &Request::UnlockSigned { cabinet, envelope, delegation, reason })
}

/// For the record; freshness comes from the challenge.
fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
