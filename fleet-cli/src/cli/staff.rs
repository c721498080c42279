//! `fleet staff add|badge|list|revoke`.

use std::process::ExitCode;

use schemas::api::{Reply, Request, StaffDetail};
use schemas::ids::{CabinetId, Name};

use super::args::StaffCommand;
use super::context::{Context, other_answer};
use super::output::{self, table};
use super::people::day;

pub(super) fn run(context: &Context, command: StaffCommand) -> anyhow::Result<ExitCode> {
    let folder = context.folder()?;
    let request = match command {
        StaffCommand::Add { name, until } => Request::StaffAdd { name, until },
        StaffCommand::Badge { name } => Request::StaffBadge { name },
        StaffCommand::List => Request::StaffList {},
        StaffCommand::Revoke { name } => Request::StaffRevoke { name },
    };
    let reply = context.ask(&folder, &request)?;
    if context.json {
        output::json(&reply)?;
        return Ok(ExitCode::SUCCESS);
    }
    match (&request, &reply) {
        (_, Reply::Staff(issued)) => output::text(&shown_once("PIN", &issued.name, &issued.pin))?,
        (_, Reply::Badge(issued)) => output::text(&shown_once("Badge", &issued.name, &issued.badge))?,
        (Request::StaffRevoke { name }, Reply::StaffMembers(left)) => {
            output::text(&revoked_staff(name, left.first()))?;
        }
        (_, Reply::StaffMembers(members)) => output::show(staff_table(members), "No staff yet.")?,
        _ => return Err(other_answer()),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn shown_once(what: &str, name: &Name, secret: &str) -> String {
    format!(
        "{what} of {name}: {secret}\n\nHand it over now: it is shown this once and kept nowhere in readable form.",
        secret = output::plain(secret),
    )
}

fn revoked_staff(name: &Name, left: Option<&StaffDetail>) -> String {
    let pending = left.map_or(0, |member| member.pending_count);
    match pending {
        0 => format!("PIN and badge of {name} are dead."),
        1 => format!("PIN and badge of {name} die at one cabinet with its next book; `fleet staff list` tells."),
        many => {
            format!("PIN and badge of {name} die at {many} cabinets with their next book; `fleet staff list` tells.")
        }
    }
}

fn staff_table(members: &[StaffDetail]) -> comfy_table::Table {
    let mut table = table(["NAME", "UNTIL", "BADGE", "STATE", "PENDING AT"]);
    for member in members {
        table.add_row([
            member.name.to_string(),
            member.until.map_or_else(|| "-".to_owned(), day),
            if member.badge { "yes" } else { "-" }.to_owned(),
            if member.revoked { "revoked" } else { "good" }.to_owned(),
            pending_at(&member.pending, member.pending_count),
        ]);
    }
    table
}

/// Cabinets that do not hold the newest, the first of them by name.
pub(super) fn pending_at(named: &[CabinetId], count: u32) -> String {
    let more = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(named.len());
    let named: Vec<_> = named.iter().map(ToString::to_string).collect();
    match (named.is_empty(), more) {
        (true, _) => "-".to_owned(),
        (false, 0) => named.join(", "),
        (false, more) => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::api::Rfc3339;

    const NOW: u64 = 1_795_378_500_000;

    #[test]
    fn staff_are_a_table_with_what_is_pending_where() {
        let member = |name: &str, revoked: bool, pending_count, pending: &[&str]| StaffDetail {
            name: name.parse().unwrap(),
            until: revoked.then_some(Rfc3339(NOW)),
            badge: !revoked,
            revoked,
            pending_count,
            pending: pending.iter().map(|cabinet| cabinet.parse().unwrap()).collect(),
        };
        let table = staff_table(&[
            member("ann", false, 0, &[]),
            member("kim", true, 1, &["berlin-01"]),
            member("sam", true, 40, &["berlin-01", "berlin-02"]),
        ]);
        insta::assert_snapshot!(table.trim_fmt(), @r"
        NAME  UNTIL       BADGE  STATE    PENDING AT
        ann   -           yes    good     -
        kim   2026-11-22  -      revoked  berlin-01
        sam   2026-11-22  -      revoked  berlin-01, berlin-02 and 38 more
        ");
    }
}
