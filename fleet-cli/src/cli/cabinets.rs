//! `fleet cabinet add|register|replace|list|show|revoke` and `fleet unlock`; the end of a cabinet is in `wipe`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use fast_qr::QRBuilder;
use schemas::api::{CabinetDetail, CabinetSummary, CompartmentDetail, Reply, Request, Rfc3339, UnlockResult};
use schemas::enrolment::Token;
use schemas::ids::CabinetId;
use schemas::messages::UnlockOutcome;
use serde_json::json;

use super::args::{CabinetAddArgs, CabinetCommand, SignArgs, TokenArgs, UnlockArgs};
use super::context::{Context, block_on, check_reason, other_answer, passphrase};
use super::failure::Usage;
use super::output::{self, table};
use super::own_keys::{self, Wish};
use super::people;
use super::{break_glass, wipe};
use crate::client::Client;
use crate::client::keysets::{self, KeysetsError};
use crate::folder::PersonFolder;
use crate::setup::{self, CabinetFolder, CabinetOptions, Layout};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn run(context: &Context, command: CabinetCommand) -> anyhow::Result<ExitCode> {
    match command {
        CabinetCommand::Add(args) => add(context, *args),
        CabinetCommand::Register { cabinet, dir, place } => register(context, &cabinet, &dir, place),
        CabinetCommand::Replace { cabinet, dir, token } => replace(context, cabinet, &dir, &token),
        CabinetCommand::List => list(context),
        CabinetCommand::Show { cabinet } => show(context, cabinet),
        CabinetCommand::Wipe(args) => wipe::wipe(context, args),
        CabinetCommand::Keep { cabinet } => wipe::keep(context, cabinet),
        CabinetCommand::Receipt { file, dir } => wipe::receipt(context, &file, &dir),
        CabinetCommand::BreakGlass { cabinet, reason } => break_glass::run(context, cabinet, reason),
        CabinetCommand::Revoke { cabinet, reason } => people::revoke_cabinet(context, &cabinet, reason),
    }
}

fn add(context: &Context, args: CabinetAddArgs) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(&args.dir)?;
    let named = (args.cabinet, args.place.site);
    let mut options = CabinetOptions::new(&layout, named, args.token.device_serial, args.compartments, args.board);
    options.boards = args.boards;
    options.polarity = args.polarity;
    options.byte_order = args.byte_order;
    options.screen = args.screen;
    options.valid_for = DAY * args.token.valid_for.into();
    let folder = setup::cabinet(&options)?;
    let later = register_command(&folder, &args.dir, &args.place.place);
    let registered = !args.offline;
    if registered {
        introduce(context, &folder.registration(args.place.place), &layout).with_context(|| {
            format!("made {} but did not register it; register it later with: {later}", folder.path.display())
        })?;
    }
    if context.json {
        output::json(&json!({
            "cabinet": folder.cabinet(),
            "folder": folder.path,
            "instance": folder.instance(),
            "token": folder.token.to_string(),
            "expires": Rfc3339(folder.token.expires),
            "registered": registered,
        }))?;
    } else {
        output::text(&made_cabinet(&folder, &options, (!registered).then_some(later.as_str())))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn made_cabinet(folder: &CabinetFolder, options: &CabinetOptions<'_>, later: Option<&str>) -> String {
    let path = folder.path.display();
    let known = match later {
        None => "The fleet knows it now.".to_owned(),
        Some(command) => format!("The fleet does not know it yet. When the broker runs:\n  {command}"),
    };
    format!(
        "Made cabinet {cabinet} in {path}: {compartments}\n\
         \n\
         {known}\n\
         \n\
         {token}\n\
         \n\
         Next: copy the folder to the cabinet, and there run\n\
         \x20 cabinet-agent enroll --settings {name}/agent.toml < {name}/enrolment.token\n\
         \x20 cabinet-agent --settings {name}/agent.toml\n\
         Before the first load, open each door once and see that the right one opens:\n\
         the locks are taken in order, polarity and byte order are in board.toml.",
        cabinet = folder.cabinet(),
        compartments = options.compartments,
        token = shown_token(&folder.token),
        name = folder.cabinet(),
    )
}

/// The token for a person: to be copied, or scanned from the screen.
fn shown_token(token: &Token) -> String {
    let text = token.to_string();
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    // Its alphabet is that of QR codes' dense mode, and its length is far below what they take.
    let code = QRBuilder::new(text.as_str()).build().map(|code| code.to_str()).unwrap_or_default();
    format!(
        "Enrolment token, for the device {serial} only, once, until {until}:\n\
         \n\
         {lines}\n\
         \n\
         {code}\n\
         Whoever has it can take this cabinet's place until it is used: hand it over\n\
         like a key.",
        serial = token.device_serial,
        until = Rfc3339(token.expires),
        lines = lines.join("\n"),
    )
}

fn register(context: &Context, cabinet: &CabinetId, dir: &Path, place: String) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(dir)?;
    let folder = CabinetFolder::open(&layout.cabinet(cabinet))?;
    introduce(context, &folder.registration(place), &layout)?;
    match context.json {
        true => output::json(&json!({ "cabinet": cabinet, "registered": true }))?,
        false => output::text(&format!("The fleet knows cabinet {cabinet}."))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn replace(context: &Context, cabinet: CabinetId, dir: &Path, token: &TokenArgs) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(dir)?;
    let person = asking(context, dir)?;
    let reply = context.ask(&person, &Request::CabinetShow { cabinet: cabinet.clone() })?;
    let Reply::Cabinet(known) = reply else { return Err(other_answer()) };
    let valid_for = DAY * token.valid_for.into();
    let named = (cabinet, known.summary.site);
    let folder = setup::new_cabinet_token(&layout, named, &token.device_serial, valid_for, SystemTime::now())?;
    enter(context, &folder.replacement(), dir)?;
    if context.json {
        output::json(&json!({
            "cabinet": folder.cabinet(),
            "instance": folder.instance(),
            "token": folder.token.to_string(),
            "expires": Rfc3339(folder.token.expires),
        }))?;
    } else {
        output::text(&format!(
            "{}\n\n\
             Until it is used, the former device goes on. Next, on the new one:\n\
             \x20 cabinet-agent enroll --settings agent.toml",
            shown_token(&folder.token)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks for what the operator of this fleet may.
fn enter(context: &Context, request: &Request, fleet: &Path) -> anyhow::Result<()> {
    let reply = context.ask(&asking(context, fleet)?, request)?;
    if reply == Reply::Done { Ok(()) } else { Err(other_answer()) }
}

/// Makes a cabinet known to a fleet that can tell it what to believe.
fn introduce(context: &Context, request: &Request, layout: &Layout) -> anyhow::Result<()> {
    let person = asking(context, layout.dir())?;
    let reply = block_on(async {
        let client = Client::connect(&person).await?;
        let reply = match keysets::put_first(&client, layout).await {
            Ok(()) => client.request(request).await.map_err(KeysetsError::from),
            Err(error) => Err(error),
        };
        client.close().await;
        reply
    })??;
    if context.taken(reply)? == Reply::Done { Ok(()) } else { Err(other_answer()) }
}

/// Whoever was named, or else the only operator of the fleet's folder.
pub(super) fn asking(context: &Context, fleet: &Path) -> anyhow::Result<PersonFolder> {
    match context.person {
        Some(_) => context.folder(),
        None => context.folder_or(&only_operator(fleet)?),
    }
}

/// The operator of the fleet's folder, if there is exactly one.
pub(super) fn only_operator(fleet: &Path) -> anyhow::Result<PathBuf> {
    let people = fleet.join("people");
    let mut operators: Vec<PathBuf> = fs::read_dir(&people)
        .with_context(|| format!("read folder `{}`", people.display()))?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("operator-"))
        .map(|entry| entry.path())
        .collect();
    match (operators.pop(), operators.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => {
            Err(Usage(format!("`{}` has several operators; choose one with --as", people.display())).into())
        }
        (None, _) => Err(Usage(format!("`{}` has no operator; give one with --as", people.display())).into()),
    }
}

fn register_command(folder: &CabinetFolder, fleet: &Path, place: &str) -> String {
    format!(
        "fleet cabinet register {} --fleet {} --place {}",
        folder.cabinet(),
        shell_word(&fleet.to_string_lossy()),
        shell_word(place),
    )
}

/// `text` as one word of a shell's command line.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn list(context: &Context) -> anyhow::Result<ExitCode> {
    let reply = context.ask(&context.folder()?, &Request::CabinetList {})?;
    let Reply::Cabinets(cabinets) = &reply else { return Err(other_answer()) };
    if context.json {
        output::json(&reply)?;
    } else {
        output::show(cabinet_table(cabinets), "No cabinets yet. Add one with `fleet cabinet add`.")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn cabinet_table(cabinets: &[CabinetSummary]) -> comfy_table::Table {
    let mut table = table(["CABINET", "SITE", "STATE", "LAST SEEN", "FREE", "PLACE"]);
    for cabinet in cabinets {
        table.add_row([
            cabinet.cabinet.to_string(),
            cabinet.site.to_string(),
            state(cabinet).to_owned(),
            last_seen(cabinet),
            format!("{}/{}", cabinet.free, cabinet.compartments),
            output::plain(&cabinet.place),
        ]);
    }
    output::keep_whole(&mut table, 3);
    table
}

fn state(cabinet: &CabinetSummary) -> &'static str {
    match (cabinet.online, cabinet.last_seen) {
        (true, _) => "online",
        (false, Some(_)) => "offline",
        (false, None) => "never seen",
    }
}

fn last_seen(cabinet: &CabinetSummary) -> String {
    match cabinet.last_seen {
        Some(at) if !cabinet.online => output::time(at),
        Some(_) | None => "-".to_owned(),
    }
}

fn show(context: &Context, cabinet: CabinetId) -> anyhow::Result<ExitCode> {
    let reply = context.ask(&context.folder()?, &Request::CabinetShow { cabinet })?;
    let Reply::Cabinet(detail) = &reply else { return Err(other_answer()) };
    if context.json {
        output::json(&reply)?;
    } else {
        output::text(&cabinet_text(detail))?;
        output::show(compartment_table(detail), "It has not said hello yet: its compartments are unknown.")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn cabinet_text(detail: &CabinetDetail) -> String {
    let summary = &detail.summary;
    let book = match detail.book_held == detail.book_wanted {
        true => format!("version {}", detail.book_held),
        false => format!("version {}, not yet {}", detail.book_held, detail.book_wanted),
    };
    let agent = if summary.agent.is_empty() { "-".to_owned() } else { output::plain(&summary.agent) };
    format!(
        "Cabinet   {cabinet} at {site}, {place}\n\
         State     {state}{since}\n\
         Agent     {agent}\n\
         Codes     {book}\n\
         Keyset    version {keyset}\n\
         Events    {events}\n\
         Instance  {instance}\n\
         {end}",
        cabinet = summary.cabinet,
        site = summary.site,
        place = output::plain(&summary.place),
        state = state(summary),
        since = match summary.last_seen {
            Some(at) if !summary.online => format!(", last seen {}", output::time(at)),
            Some(_) | None => String::new(),
        },
        keyset = detail.keyset_held,
        events = detail.events,
        instance = detail.instance,
        end = detail.wipe.as_ref().map(wipe::state_text).unwrap_or_default(),
    )
}

fn compartment_table(detail: &CabinetDetail) -> comfy_table::Table {
    let mut table = table(["DOOR", "SIZE", "STATE", "INSIDE", "ORDER", "NOTES"]);
    for compartment in &detail.compartments {
        let has = compartment.attributes;
        let notes: Vec<&str> = [
            (!compartment.in_service, "out of service"),
            (compartment.audit_required, "audit required"),
            (compartment.needs_cleaning, "needs cleaning"),
            (compartment.fault, "lock at fault"),
            (has.refrigerated, "refrigerated"),
            (has.restricted, "restricted"),
            (has.accessible, "accessible"),
        ]
        .into_iter()
        .filter_map(|(set, word)| set.then_some(word))
        .collect();
        table.add_row([
            compartment.number.to_string(),
            compartment.size.to_string(),
            compartment.door.to_string().replace('_', " "),
            compartment.occupancy.to_string(),
            orders_text(compartment),
            notes.join(", "),
        ]);
    }
    table
}

/// All that lies together, one under the other.
fn orders_text(compartment: &CompartmentDetail) -> String {
    let orders: Vec<String> = compartment.order.iter().chain(&compartment.beside).map(ToString::to_string).collect();
    if orders.is_empty() { "-".to_owned() } else { orders.join("\n") }
}

pub(super) fn unlock(context: &Context, args: UnlockArgs) -> anyhow::Result<ExitCode> {
    let UnlockArgs { cabinet, compartment, reason, sign: SignArgs { own_key, passphrase_file } } = args;
    check_reason(&reason)?;
    let folder = context.folder()?;
    let reply = if own_key || setup::has_own_key(folder.path()) {
        let passphrase = passphrase(passphrase_file.as_deref())?;
        own_keys::unlock(context, &folder, Wish { cabinet, compartment, reason }, passphrase.as_ref())?
    } else {
        context.ask(&folder, &Request::Unlock { cabinet, compartment, reason })?
    };
    tell_unlock(context, &reply)
}

/// What became of a door.
pub(super) fn tell_unlock(context: &Context, reply: &Reply) -> anyhow::Result<ExitCode> {
    let Reply::Unlock(result) = reply else { return Err(other_answer()) };
    if context.json {
        output::json(reply)?;
    }
    match result.outcome {
        UnlockOutcome::Opened if context.json => {}
        UnlockOutcome::Opened => output::text(&format!("Opened {} of {}.", name(result), result.cabinet))?,
        UnlockOutcome::NotOpened => anyhow::bail!(
            "{} of {} was pulsed and its door stayed closed; ask someone there to push the door, then try again",
            name(result),
            result.cabinet
        ),
        UnlockOutcome::NotSent => {
            anyhow::bail!("{} of {} was not pulsed; the lock board does not answer", name(result), result.cabinet)
        }
        UnlockOutcome::OutcomeUnknown => anyhow::bail!(
            "{} of {} may have opened, and no sensor can tell; have someone look before you try again",
            name(result),
            result.cabinet
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn name(result: &UnlockResult) -> String {
    format!("compartment {}", result.compartment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::api::{AttributeFlags, Rfc3339};
    use schemas::messages::{Compartment, DoorState, Instance, Occupancy, Size};

    fn summary(cabinet: &str, online: bool, last_seen: Option<u64>, place: &str) -> CabinetSummary {
        CabinetSummary {
            cabinet: cabinet.parse().unwrap(),
            site: "berlin".parse().unwrap(),
            place: place.to_owned(),
            online,
            last_seen: last_seen.map(Rfc3339),
            compartments: 9,
            free: 4,
            agent: "cabinet-agent 0.1.0".to_owned(),
        }
    }

    #[test]
    fn cabinets_are_a_table_of_80_columns() {
        let place = "Main station, north hall, left of the bakery and opposite platform seven";
        let table = cabinet_table(&[
            summary("berlin-01", true, Some(1_795_378_500_007), place),
            summary("berlin-02", false, Some(1_795_378_500_007), "Depot\u{1b}[2J"),
            summary("berlin-03", false, None, "Depot"),
        ]);
        insta::assert_snapshot!(table.trim_fmt(), @r"
        CABINET    SITE    STATE       LAST SEEN             FREE  PLACE
        berlin-01  berlin  online      -                     4/9   Main station, north
                                                                   hall, left of the
                                                                   bakery and opposite
                                                                   platform seven
        berlin-02  berlin  offline     2026-11-22 20:15:00Z  4/9   Depot�[2J
        berlin-03  berlin  never seen  -                     4/9   Depot
        ");
    }

    #[test]
    fn a_cabinet_reads_as_a_page() {
        let row = |number, size, door, order: Option<&str>, audit_required| CompartmentDetail {
            number: Compartment::new(number).unwrap(),
            size,
            attributes: AttributeFlags { refrigerated: number == 9, ..AttributeFlags::default() },
            in_service: number != 9,
            door,
            occupancy: Occupancy::Unknown,
            order: order.map(|order| order.parse().unwrap()),
            beside: order.iter().map(|_| "shop/A18".parse().unwrap()).collect(),
            audit_required,
            needs_cleaning: number == 9,
            fault: false,
        };
        let detail = CabinetDetail {
            summary: summary("berlin-01", true, None, "Main station, north hall"),
            instance: Instance([7; 16]),
            book_wanted: 12,
            book_held: 11,
            keyset_held: 1,
            events: 340,
            compartments: vec![
                row(1, Size::S, DoorState::Closed, None, false),
                row(4, Size::S, DoorState::HeldOpen, Some("shop/A17"), false),
                row(9, Size::L, DoorState::Unknown, None, true),
            ],
            wipe: None,
        };
        let page = format!("{}\n{}", cabinet_text(&detail), compartment_table(&detail).trim_fmt());
        insta::assert_snapshot!(page, @r"
        Cabinet   berlin-01 at berlin, Main station, north hall
        State     online
        Agent     cabinet-agent 0.1.0
        Codes     version 11, not yet 12
        Keyset    version 1
        Events    340
        Instance  07070707070707070707070707070707

        DOOR  SIZE  STATE      INSIDE   ORDER     NOTES
        1     S     closed     unknown  -
        4     S     held open  unknown  shop/A17
                                        shop/A18
        9     L     unknown    unknown  -         out of service, audit required,
                                                  needs cleaning, refrigerated
        ");
    }

    #[test]
    fn the_command_for_later_is_one_shell_line_whatever_the_place_is_called() {
        assert_eq!(shell_word("Depot"), "Depot");
        assert_eq!(shell_word("Bob's hall; rm -rf ~"), r"'Bob'\''s hall; rm -rf ~'");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("$(id)"), "'$(id)'");
    }
}
