//! `fleet courier add|badge|list|remove`.

use std::process::ExitCode;

use schemas::api::{CourierDetail, Reply, Request, Scope};
use schemas::ids::Name;

use super::args::{CourierCommand, CourierPlaceArgs};
use super::context::{Context, other_answer};
use super::output::{self, table};
use super::people::{day, in_words};
use super::staff::{pending_at, shown_once};

pub(super) fn run(context: &Context, command: CourierCommand) -> anyhow::Result<ExitCode> {
    let folder = context.folder()?;
    let request = match command {
        CourierCommand::Add { name, place, until } => Request::CourierAdd { name, until, scope: scope(place) },
        CourierCommand::Badge { name } => Request::CourierBadge { name },
        CourierCommand::List => Request::CourierList {},
        CourierCommand::Remove { name } => Request::CourierRemove { name },
    };
    let reply = context.ask(&folder, &request)?;
    if context.json {
        output::json(&reply)?;
        return Ok(ExitCode::SUCCESS);
    }
    match (&request, &reply) {
        (_, Reply::Courier(issued)) => output::text(&shown_once("PIN", &issued.name, &issued.pin))?,
        (_, Reply::Badge(issued)) => output::text(&shown_once("Badge", &issued.name, &issued.badge))?,
        (Request::CourierRemove { name }, Reply::Couriers(left)) => output::text(&removed(name, left.first()))?,
        (_, Reply::Couriers(all)) => output::show(courier_table(all), "No couriers yet.")?,
        _ => return Err(other_answer()),
    }
    Ok(ExitCode::SUCCESS)
}

fn scope(CourierPlaceArgs { sites, cabinets }: CourierPlaceArgs) -> Scope {
    let cabinets = || cabinets.map_or(Scope::Tenant, Scope::Cabinets);
    sites.map_or_else(cabinets, Scope::Sites)
}

fn removed(name: &Name, left: Option<&CourierDetail>) -> String {
    match left.map_or(0, |courier| courier.pending_count) {
        0 => format!("PIN and badge of {name} are dead."),
        1 => format!("PIN and badge of {name} die at one cabinet with its next book; `fleet courier list` tells."),
        many => {
            format!("PIN and badge of {name} die at {many} cabinets with their next book; `fleet courier list` tells.")
        }
    }
}

fn courier_table(all: &[CourierDetail]) -> comfy_table::Table {
    let mut table = table(["NAME", "UNTIL", "BADGE", "WHERE", "STATE", "PENDING AT"]);
    for courier in all {
        table.add_row([
            courier.name.to_string(),
            courier.until.map_or_else(|| "-".to_owned(), day),
            if courier.badge { "yes" } else { "-" }.to_owned(),
            in_words(&courier.scope),
            if courier.removed { "removed" } else { "good" }.to_owned(),
            pending_at(&courier.pending, courier.pending_count),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::api::Rfc3339;

    const NOW: u64 = 1_795_378_500_000;

    #[test]
    fn couriers_are_a_table_with_where_they_come_and_what_is_pending() {
        let courier = |name: &str, scope, removed: bool, pending: &[&str]| CourierDetail {
            name: name.parse().unwrap(),
            until: removed.then_some(Rfc3339(NOW)),
            badge: !removed,
            scope,
            removed,
            pending_count: u32::try_from(pending.len()).unwrap(),
            pending: pending.iter().map(|cabinet| cabinet.parse().unwrap()).collect(),
        };
        let table = courier_table(&[
            courier("jo", Scope::Tenant, false, &[]),
            courier("kim", Scope::Sites(vec!["berlin".parse().unwrap()]), false, &["berlin-01"]),
            courier("sam", Scope::Tenant, true, &["berlin-02"]),
        ]);
        insta::assert_snapshot!(table.trim_fmt(), @r"
        NAME  UNTIL       BADGE  WHERE             STATE    PENDING AT
        jo    -           yes    the whole tenant  good     -
        kim   -           yes    the sites berlin  good     berlin-01
        sam   2026-11-22  -      the whole tenant  removed  berlin-02
        ");
    }

    #[test]
    fn where_a_courier_comes_is_everywhere_unless_somebody_says() {
        let place = |sites: Option<&str>, cabinets: Option<&str>| CourierPlaceArgs {
            sites: sites.map(|site| vec![site.parse().unwrap()]),
            cabinets: cabinets.map(|cabinet| vec![cabinet.parse().unwrap()]),
        };
        assert_eq!(scope(place(None, None)), Scope::Tenant);
        assert_eq!(scope(place(Some("berlin"), None)), Scope::Sites(vec!["berlin".parse().unwrap()]));
        assert_eq!(scope(place(None, Some("berlin-01"))), Scope::Cabinets(vec!["berlin-01".parse().unwrap()]));
    }
}
