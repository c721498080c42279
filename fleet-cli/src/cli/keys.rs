//! `fleet keys`: the signing keys, from the fleet's folder to its cabinets.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use schemas::api::{KeysetHolders, KeysetList, Reply, Request};
use schemas::messages::{KeyId, KeyPurpose};
use serde_json::json;
use tokio::time::Instant;

use super::cabinets::only_operator;
use super::context::{Context, block_on, other_answer, passphrase, token};
use super::failure::Usage;
use super::output::{self, table};
use super::own_keys::{self, DelegateArgs, OwnArgs};
use crate::client::{Client, keysets};
use crate::folder::PersonFolder;
use crate::setup::{self, Change, Layout, Place, Root, RootKeys, SignedKeyset};

/// Keys of the signer that cabinets verify with.
const SIGNING: [KeyPurpose; 3] = [KeyPurpose::Unlock, KeyPurpose::Codes, KeyPurpose::Config];
/// How long connected cabinets may take to say that they hold a new keyset.
const HEARD_WITHIN: Duration = Duration::from_secs(10);
const SETTLED_AFTER: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Cabinets that a message names.
const NAMED_MAX: usize = 20;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Keys and roots in force, and which cabinets hold which keyset
    List,
    /// Put a new key beside the old one
    #[command(override_usage = "fleet keys rotate <PURPOSE> --fleet <DIR> [OPTIONS]")]
    #[command(after_help = "\
Example:
  fleet keys rotate unlock --fleet acme --roots /media/safe

Makes the key in signer/, names it in signer.toml, and signs a keyset that has
both. Connected cabinets get it at once, the others when they come back. Then
let the signer read its settings again (SIGHUP, or a restart): from there on it
signs with the new key. The old one works until `fleet keys retire`.")]
    Rotate {
        /// unlock, codes, config, pepper or admin
        purpose: KeyPurpose,
        /// Of admin: token in which the key is made
        #[arg(long = "pkcs11", value_name = "URI")]
        token: Option<String>,
        #[command(flatten)]
        keys: KeysArgs,
    },
    /// Take a key out, once every cabinet holds another
    #[command(override_usage = "fleet keys retire <KEY> --fleet <DIR> [OPTIONS]")]
    #[command(after_help = "\
Example:
  fleet keys retire 3097e2dee2cb4a34 --fleet acme --roots /media/safe

Refuses while a cabinet does not hold the newest keyset, and names those. The
key's file in signer/ is deleted; let the signer read its settings again.")]
    Retire {
        /// Id, as `fleet keys list` shows it
        key: KeyId,
        /// Although cabinets are named that still need it
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        keys: KeysArgs,
    },
    /// Make a key that opens doors in the folder of whoever asks
    Own(OwnArgs),
    /// Let a person open doors with an own key
    Delegate(Box<DelegateArgs>),
    /// Make every delegation void that was made so far
    #[command(override_usage = "fleet keys void --fleet <DIR> [OPTIONS]")]
    #[command(after_help = "\
Example:
  fleet keys void --fleet acme --roots /media/safe

Signs a keyset with the next epoch. Whoever is to go on needs another
`fleet keys delegate`. A cabinet that is away learns of it when it is back.")]
    Void {
        #[command(flatten)]
        keys: KeysArgs,
    },
    /// Let only people's own keys open doors remotely
    #[command(override_usage = "fleet keys people-only --fleet <DIR> [OPTIONS]")]
    #[command(after_help = "\
Example:
  fleet keys people-only --fleet acme --roots /media/safe

Signs a keyset without the fleet's unlock keys, and deletes their files: not
even who owns broker and signer opens a door remotely. Codes are made by the
fleet as before. `fleet keys rotate unlock` goes back.")]
    PeopleOnly {
        #[command(flatten)]
        keys: KeysArgs,
    },
    /// The two keys that sign keysets
    #[command(subcommand)]
    Root(RootCommand),
    /// Give the fleet every keyset of the folder that it does not have
    #[command(after_help = "\
Example:
  fleet keys push --fleet acme

For a keyset that was signed while the broker was away, and for a broker that
was restored from an older backup.")]
    Push {
        /// Folder of the fleet, as made by `fleet init`
        #[arg(long = "fleet", value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum RootCommand {
    /// Make another root in the place of one that is lost or was seen
    #[command(override_usage = "fleet keys root replace <1|2> --fleet <DIR> [OPTIONS]")]
    #[command(after_help = "\
Example:
  fleet keys root replace 1 --fleet acme --roots /media/safe

The other root signs. The new key is written beside it; carry it to a safe of
its own. What the old one signs is refused from then on. With --pkcs11 the key is
made in the token and stays there; the file beside the other root names it.")]
    Replace {
        /// Which: 1 or 2
        #[arg(value_parser = parse_root, value_name = "1|2")]
        root: Root,
        /// Token in which the key is made (pkcs11:token=…)
        #[arg(long = "pkcs11", value_name = "URI")]
        token: Option<String>,
        #[command(flatten)]
        keys: KeysArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct KeysArgs {
    /// Folder of the fleet, as made by `fleet init`
    #[arg(long = "fleet", value_name = "DIR")]
    dir: PathBuf,
    /// Where the roots' keys are [default: DIR/offline]
    #[arg(long, value_name = "DIR")]
    roots: Option<PathBuf>,
    /// Private file that opens the roots' keys, or has the PIN
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Go above a version that a cabinet claims to hold
    #[arg(long, value_name = "VERSION", default_value_t = 0, hide_default_value = true)]
    above: u64,
}

fn parse_root(text: &str) -> Result<Root, &'static str> {
    match text {
        "1" => Ok(Root::First),
        "2" => Ok(Root::Second),
        _ => Err("a root is 1 or 2"),
    }
}

pub(super) fn run(context: &Context, command: KeysCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeysCommand::List => list(context),
        KeysCommand::Rotate { purpose, token, keys } => {
            if token.is_some() && purpose != KeyPurpose::Admin {
                let text =
                    format!("a {purpose} key is the signer's and is made in a file; only of admin give --pkcs11");
                return Err(Usage(text).into());
            }
            sign(context, &keys, Change::Rotate(purpose), false, token.as_deref())
        }
        KeysCommand::Retire { key, force, keys } => sign(context, &keys, Change::Retire(key), force, None),
        KeysCommand::Root(RootCommand::Replace { root, token, keys }) => {
            sign(context, &keys, Change::Replace(root), false, token.as_deref())
        }
        KeysCommand::Own(args) => own_keys::own(context, &args),
        KeysCommand::Delegate(args) => own_keys::delegate(context, *args),
        KeysCommand::Void { keys } => sign(context, &keys, Change::Void, false, None),
        KeysCommand::PeopleOnly { keys } => sign(context, &keys, Change::PeopleOnly, false, None),
        KeysCommand::Push { dir } => push(context, &dir),
    }
}

fn list(context: &Context) -> anyhow::Result<ExitCode> {
    let reply = context.ask(&context.folder()?, &Request::KeysetList {})?;
    let Reply::Keysets(list) = &reply else { return Err(other_answer()) };
    if context.json {
        output::json(&reply)?;
        return Ok(ExitCode::SUCCESS);
    }
    if list.newest == 0 {
        output::text("The fleet was given no keyset yet. `fleet keys push`.\n")?;
    } else {
        output::text(&format!("Keyset {} is the newest.\n", list.newest))?;
        let mut keys = table(["PURPOSE", "KEY"]);
        for key in &list.keys {
            keys.add_row([key.purpose.to_string(), key.id.to_string()]);
        }
        for root in &list.roots {
            keys.add_row(["root".to_owned(), root.to_string()]);
        }
        output::show(keys, "It has no keys.")?;
        output::text("")?;
    }
    let mut held = table(["HELD", "CABINETS", "WHICH"]);
    for row in &list.held {
        held.add_row([row.version.to_string(), row.cabinets.to_string(), names(std::iter::once(row))]);
    }
    output::show(held, "No cabinets yet.")?;
    Ok(ExitCode::SUCCESS)
}

/// The operator who puts keysets: `--as`, or the only one in the fleet's folder.
fn operator(context: &Context, fleet: &Path) -> anyhow::Result<PersonFolder> {
    match context.person {
        Some(_) => context.folder(),
        None => context.folder_or(&only_operator(fleet)?),
    }
}

/// Signs the next keyset and gives it to the fleet.
fn sign(
    context: &Context,
    args: &KeysArgs,
    change: Change,
    force: bool,
    new_in: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let token = token(new_in)?;
    let layout = Layout::open(&args.dir)?;
    let operator = operator(context, &args.dir)?;
    let passphrase = passphrase(args.passphrase_file.as_deref())?;
    let folder = args.roots.clone().unwrap_or_else(|| layout.offline());
    let root_keys = RootKeys { folder, passphrase: passphrase.as_ref(), place: Place::of(token.as_ref()) };

    let before = setup::newest_keyset(&layout)?;
    let known = block_on(bring_up_to_date(&operator, &layout))??;
    let newest = before.keyset.version;
    refuse_older_folder(&known, newest, args.above)?;
    if matches!(change, Change::Retire(_)) && !force {
        refuse_behind(&known, newest)?;
    }
    let signed = setup::change(&layout, change, args.above.saturating_add(1), &root_keys, SystemTime::now())?;
    // Cabinets seal to a new pepper key as soon as they hold the keyset: the signer must be able to open it by then.
    let pepper_first = setup::settle_signer(&layout, &signed.keyset, &[KeyPurpose::Pepper])?;
    let delivered = block_on(bring_up_to_date(&operator, &layout))?;
    let known = delivered.with_context(|| {
        let version = signed.keyset.version;
        format!(
            "keyset {version} is signed and not delivered; do it with `fleet keys push --fleet {}`",
            args.dir.display()
        )
    })?;
    // They verify with a new key only once they hold the keyset, so the signer may use it from here on.
    let mut changed = setup::settle_signer(&layout, &signed.keyset, &SIGNING)?;
    changed.extend(pepper_first);
    for key in before.keyset.keys.iter().filter(|key| !signed.keyset.keys.contains(key)) {
        setup::forget_key(&layout, key)?;
    }
    tell(context, &layout, change, &signed, &known, !changed.is_empty())?;
    Ok(ExitCode::SUCCESS)
}

fn push(context: &Context, dir: &Path) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(dir)?;
    let operator = operator(context, dir)?;
    let known = block_on(bring_up_to_date(&operator, &layout))??;
    let newest = setup::newest_keyset(&layout)?;
    refuse_older_folder(&known, newest.keyset.version, 0)?;
    if known.newest < newest.keyset.version {
        let text = format!("keyset {} names no roots, so the fleet does not take it", newest.keyset.version);
        return Err(Usage(format!("{text}; the next one does, such as that of `fleet keys rotate codes`")).into());
    }
    let mut changed = setup::settle_signer(&layout, &newest.keyset, &[KeyPurpose::Pepper])?;
    changed.extend(setup::settle_signer(&layout, &newest.keyset, &SIGNING)?);
    if context.json {
        output::json(&summary(&newest, &known, !changed.is_empty()))?;
    } else {
        output::text(&format!("The fleet has keyset {}. {}", known.newest, hold(&known, known.newest)))?;
        if !changed.is_empty() {
            output::text(&take_up(&layout))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts what the fleet lacks, in order, and waits until the connected cabinets had time to take it.
async fn bring_up_to_date(operator: &PersonFolder, layout: &Layout) -> anyhow::Result<KeysetList> {
    let client = Client::connect(operator).await?;
    let told = deliver(&client, layout).await;
    client.close().await;
    told
}

async fn deliver(client: &Client, layout: &Layout) -> anyhow::Result<KeysetList> {
    let mut known = keysets::list(client).await?;
    let put = keysets::put_newer(client, layout, known.newest).await?;
    // Whoever is away is not waited for: only as long as more and more of them hold it.
    let until = Instant::now() + HEARD_WITHIN;
    let (mut before, mut since) = (usize::MAX, Instant::now());
    while put > 0 && Instant::now() < until {
        known = keysets::list(client).await?;
        let waiting = missing_cabinets(&known, known.newest);
        if waiting < before {
            (before, since) = (waiting, Instant::now());
        }
        if waiting == 0 || since.elapsed() >= SETTLED_AFTER {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(known)
}

/// Cabinets that hold an older version.
fn behind(known: &KeysetList, version: u64) -> Vec<&KeysetHolders> {
    known.held.iter().filter(|row| row.version < version).collect()
}

fn missing_cabinets(known: &KeysetList, version: u64) -> usize {
    behind(known, version).iter().map(|row| usize::try_from(row.cabinets).unwrap_or(usize::MAX)).sum()
}

/// A keyset that leaves out what a newer one has would take keys from cabinets that nobody meant to take.
fn refuse_older_folder(known: &KeysetList, newest: u64, above: u64) -> anyhow::Result<()> {
    if known.newest > newest {
        let text = format!("the fleet has keyset {}, this folder only {newest}: it is an old copy", known.newest);
        return Err(Usage(format!("{text}; use the newest one")).into());
    }
    let ahead: Vec<_> = known.held.iter().filter(|row| row.version > newest.max(above)).collect();
    let Some(highest) = ahead.iter().map(|row| row.version).max() else { return Ok(()) };
    let text = format!("cabinets hold keyset {highest}, this folder has {newest} only: {}", names(ahead.into_iter()));
    let hint = format!("use the newest folder, or --above {highest} if it is lost or they lie");
    Err(Usage(format!("{text}; {hint}")).into())
}

fn refuse_behind(known: &KeysetList, newest: u64) -> anyhow::Result<()> {
    let behind = behind(known, newest);
    if behind.is_empty() {
        return Ok(());
    }
    let names = names(behind.into_iter());
    anyhow::bail!("these cabinets do not hold keyset {newest} yet and need the key: {names}; wait, or use --force")
}

fn names<'r>(rows: impl Iterator<Item = &'r KeysetHolders>) -> String {
    let rows: Vec<_> = rows.collect();
    let all: usize = rows.iter().map(|row| usize::try_from(row.cabinets).unwrap_or(usize::MAX)).sum();
    let named: Vec<_> = rows.iter().flat_map(|row| &row.names).take(NAMED_MAX).map(ToString::to_string).collect();
    let more = all.saturating_sub(named.len());
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", named.join(", "))
}

/// How many cabinets hold a version, in words.
fn hold(known: &KeysetList, version: u64) -> String {
    let all: u32 = known.held.iter().map(|row| row.cabinets).sum();
    let behind = behind(known, version);
    let missing: u32 = behind.iter().map(|row| row.cabinets).sum();
    let which = if missing > 0 { format!("; not yet: {}", names(behind.into_iter())) } else { String::new() };
    format!("{} of {all} cabinets hold it{which}.", all.saturating_sub(missing))
}

fn take_up(layout: &Layout) -> String {
    format!(
        "\nThe signer takes up its keys when it reads {} again:\n\
         send it SIGHUP, or restart it. Until then it signs with those that it has.",
        layout.signer_toml().display()
    )
}

fn summary(signed: &SignedKeyset, known: &KeysetList, reload: bool) -> serde_json::Value {
    let behind = behind(known, signed.keyset.version);
    let keys: Vec<_> = signed.keyset.keys.iter().map(|key| json!({ "id": key.id, "purpose": key.purpose })).collect();
    json!({
        "version": signed.keyset.version,
        "keys": keys,
        "roots": signed.keyset.roots.iter().flat_map(|roots| roots.both().map(|root| root.id)).collect::<Vec<_>>(),
        "cabinets": known.held.iter().map(|row| row.cabinets).sum::<u32>(),
        "behind": behind.iter().map(|row| row.cabinets).sum::<u32>(),
        "behind_names": behind.iter().flat_map(|row| &row.names).collect::<Vec<_>>(),
        "signer_must_reload": reload,
    })
}

fn tell(
    context: &Context,
    layout: &Layout,
    change: Change,
    signed: &SignedKeyset,
    known: &KeysetList,
    reload: bool,
) -> anyhow::Result<()> {
    if context.json {
        return output::json(&summary(signed, known, reload));
    }
    let version = signed.keyset.version;
    let done = match change {
        Change::Rotate(purpose) => {
            let id = signed.keyset.keys_for(purpose).next().map(|key| key.id.to_string()).unwrap_or_default();
            format!("{purpose} key {id} is new; the older ones work until they are retired.")
        }
        Change::Retire(id) => format!("Key {id} is out."),
        Change::PeopleOnly => "Only people's own keys open doors remotely.".to_owned(),
        Change::Void => "Every delegation that was made so far is void.".to_owned(),
        Change::Replace(root) => {
            let place = match root {
                Root::First => 1,
                Root::Second => 2,
            };
            format!(
                "Root {place} is another key now: keyset-root-{place}-{version}.key, or the token that it names. Carry it to\n\
                 a safe of its own, and destroy the former one."
            )
        }
    };
    output::text(&format!("{done}\nKeyset {version}: {}", hold(known, version)))?;
    if reload { output::text(&take_up(layout)) } else { Ok(()) }
}
