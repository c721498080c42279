//! `fleet watch`: what happens, one line each, until Ctrl-C.

use std::process::ExitCode;
use std::time::Duration;

use schemas::api::{Availability, LiveEvent, LivePresence, LiveTelemetry};
use schemas::ids::CabinetId;
use schemas::messages::DoorState;

use super::args::WatchArgs;
use super::context::{Context, block_on};
use super::output;
use crate::client::{Client, ClientError, LiveItem};
use crate::folder::PersonFolder;

/// How long a broken connection is tried again before giving up: longer than a restart of the broker.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

pub(super) fn run(context: &Context, args: WatchArgs) -> anyhow::Result<ExitCode> {
    let folder = context.folder()?;
    block_on(async {
        tokio::select! {
            ended = follow(context, &folder, args.cabinet.as_ref()) => ended,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })??;
    Ok(ExitCode::SUCCESS)
}

async fn follow(context: &Context, folder: &PersonFolder, cabinet: Option<&CabinetId>) -> anyhow::Result<()> {
    // The first attempt fails at once: a wrong address does not get better by waiting.
    let mut client = Client::connect(folder).await?;
    loop {
        let error = follow_connection(context, folder, &client, cabinet).await?;
        output::note(&format!("{error}; trying for {} min", PATIENCE.as_secs() / 60));
        client = Client::connect_within(folder, PATIENCE).await?;
    }
}

/// Prints until the connection is lost; returns why.
async fn follow_connection(
    context: &Context,
    folder: &PersonFolder,
    client: &Client,
    cabinet: Option<&CabinetId>,
) -> anyhow::Result<ClientError> {
    let mut live = client.subscribe_live(cabinet).await?;
    let what = cabinet.map_or_else(|| "all cabinets".to_owned(), |cabinet| format!("cabinet {cabinet}"));
    output::note(&format!("watching {what} at {}:{}; Ctrl-C ends it", folder.host(), folder.port()));
    loop {
        match live.next().await {
            Ok(item) if context.json => output::json(&item)?,
            Ok(item) => output::text(&output::plain(&line(&item)))?,
            Err(error @ ClientError::Unreadable { .. }) => output::note(&error.to_string()),
            Err(error) => return Ok(error),
        }
    }
}

fn line(item: &LiveItem) -> String {
    match item {
        LiveItem::Presence(presence) => presence_line(presence),
        LiveItem::Event(event) => event_line(event),
        LiveItem::Telemetry(telemetry) => telemetry_line(telemetry),
        LiveItem::Availability(available) => availability_line(available),
        LiveItem::Lost(count) => format!("... {count} messages were not shown: too many at once"),
    }
}

fn presence_line(presence: &LivePresence) -> String {
    let state = if presence.online { "online" } else { "offline" };
    let reason = presence.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("{}  {:<12}  {state}{reason}", output::time(presence.at), presence.cabinet.as_str())
}

fn availability_line(available: &Availability) -> String {
    // It has no time of its own: it is how things are now.
    format!("{:>8}  {:<12}  free: {}", "", available.cabinet.as_str(), output::free(&available.free))
}

fn event_line(event: &LiveEvent) -> String {
    let time = output::time(event.at);
    let unverified = if event.time_unverified { "  (time unverified)" } else { "" };
    format!("{time}  {:<12}  {}{unverified}", event.cabinet.as_str(), event.text)
}

fn telemetry_line(telemetry: &LiveTelemetry) -> String {
    let compartments = &telemetry.compartments;
    let allocated = compartments.iter().filter(|compartment| compartment.allocated).count();
    let mut parts = vec![format!("{allocated} of {} in use", compartments.len())];
    for (state, word) in [
        (DoorState::Open, "open"),
        (DoorState::HeldOpen, "held open"),
        (DoorState::Forced, "forced"),
        (DoorState::Unknown, "unknown"),
    ] {
        let doors: Vec<String> = compartments
            .iter()
            .filter(|compartment| compartment.door == state)
            .map(|compartment| compartment.number.to_string())
            .collect();
        if !doors.is_empty() {
            parts.push(format!("{word}: {}", shorten(&doors)));
        }
    }
    for (count, words) in [
        (u64::from(telemetry.boards_silent), "boards silent"),
        (telemetry.outbox, "events waiting"),
        (u64::from(telemetry.wrong_codes_today), "wrong codes today"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {words}"));
        }
    }
    format!("{}  {:<12}  {}", output::time(telemetry.at), telemetry.cabinet.as_str(), parts.join(", "))
}

/// At most eight doors by number.
fn shorten(doors: &[String]) -> String {
    match doors {
        [first @ .., _] if first.len() >= 8 => format!("{} and {} more", first[..8].join(" "), doors.len() - 8),
        all => all.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::api::{LiveCompartment, Rfc3339};
    use schemas::messages::{Compartment, Occupancy};

    const AT: Rfc3339 = Rfc3339(1_795_378_500_007);

    fn cabinet() -> CabinetId {
        "berlin-01".parse().unwrap()
    }

    #[test]
    fn each_live_message_is_one_line() {
        let door = |number, door, allocated| LiveCompartment {
            number: Compartment::new(number).unwrap(),
            door,
            occupancy: Occupancy::Unknown,
            allocated,
        };
        let telemetry = LiveTelemetry {
            cabinet: cabinet(),
            at: AT,
            compartments: vec![
                door(1, DoorState::Closed, true),
                door(2, DoorState::Open, false),
                door(3, DoorState::Forced, true),
            ],
            boards_silent: 0,
            outbox: 2,
            book: 4,
            wrong_codes_today: 0,
            disk_low: false,
        };
        let event = LiveEvent {
            cabinet: cabinet(),
            n: 12,
            at: AT,
            time_unverified: true,
            kind: "door_opened".to_owned(),
            text: "compartment 4 opened".to_owned(),
            compartment: Compartment::new(4),
            order: None,
        };
        let lines: Vec<String> = [
            LiveItem::Presence(LivePresence { cabinet: cabinet(), online: true, at: AT, reason: None }),
            LiveItem::Presence(LivePresence {
                cabinet: cabinet(),
                online: false,
                at: AT,
                reason: Some("keepalive".to_owned()),
            }),
            LiveItem::Event(event),
            LiveItem::Telemetry(telemetry),
            LiveItem::Lost(3),
        ]
        .iter()
        .map(line)
        .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        2026-11-22 20:15:00Z  berlin-01     online
        2026-11-22 20:15:00Z  berlin-01     offline (keepalive)
        2026-11-22 20:15:00Z  berlin-01     compartment 4 opened  (time unverified)
        2026-11-22 20:15:00Z  berlin-01     2 of 3 in use, open: 2, forced: 3, 2 events waiting
        ... 3 messages were not shown: too many at once
        ");
    }

    #[test]
    fn a_cabinet_with_all_doors_unknown_still_fits_on_a_line() {
        let doors: Vec<String> = (1..=100).map(|number: u16| number.to_string()).collect();
        assert_eq!(shorten(&doors), "1 2 3 4 5 6 7 8 and 92 more");
        assert_eq!(shorten(&doors[..8]), "1 2 3 4 5 6 7 8");
    }
}
