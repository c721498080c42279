//! `fleet doctor`: what a person would check when something does not work, and what to do about it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use certs::{Summary, read_certificates};
use schemas::api::{CabinetHealth, FleetStatus, Reply, Request, Rfc3339};
use schemas::messages::Delegation;
use serde::Serialize;
use tokio::net::{TcpStream, lookup_host};

use super::context::{Context, block_on, days_left, in_days, other_answer};
use super::output::{self, table};
use super::people::{moment, reminders};
use crate::client::{Client, ClientError};
use crate::folder::PersonFolder;
use crate::setup::Layout;

/// A clock that differs by more than this makes certificates and commands fail at their edges.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(30);
/// A nightly backup and half a day of patience.
const BACKUP_AGE_MAX: Duration = Duration::from_secs(36 * 60 * 60);
const REACH_WITHIN: Duration = Duration::from_secs(5);
/// How deep folders of a fleet are: `people/operator-eve/person.crt`.
const DEPTH: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Good,
    /// It works today.
    Soon,
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    what: String,
    state: State,
    said: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn good(what: impl Into<String>, said: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Good, said: said.into(), advice: None }
    }

    fn soon(what: impl Into<String>, said: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Soon, said: said.into(), advice: Some(advice.into()) }
    }

    fn wrong(what: impl Into<String>, said: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Wrong, said: said.into(), advice: Some(advice.into()) }
    }
}

pub(super) fn run(context: &Context, fleet: Option<&Path>) -> anyhow::Result<ExitCode> {
    let now = SystemTime::now();
    let mut findings = Vec::new();
    if let Some(dir) = fleet {
        findings.extend(fleet_folder(dir, now)?);
    }
    let place = context.person.as_deref().unwrap_or(Path::new("."));
    match PersonFolder::open(place) {
        Ok(folder) => {
            findings.push(certificate("own certificate", folder.ends(), now));
            findings.extend(delegation(&folder.path().join("delegation.cose"), now));
            findings.extend(block_on(ask(&folder))??);
        }
        Err(error) => {
            let said = format!("{:#}", anyhow::Error::new(error));
            findings.push(Finding::wrong("own folder", said, "give a person's folder with --as"));
        }
    }
    report(context, &findings)?;
    let sound = findings.iter().all(|finding| finding.state == State::Good);
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(context: &Context, findings: &[Finding]) -> anyhow::Result<()> {
    if context.json {
        return output::json(&serde_json::json!({ "findings": findings }));
    }
    output::show(findings_table(findings), "Nothing was looked at.")
}

fn findings_table(findings: &[Finding]) -> comfy_table::Table {
    let mut table = table(["STATE", "WHAT", "FOUND", "WHAT TO DO"]);
    for finding in findings {
        let state = match finding.state {
            State::Good => "good",
            State::Soon => "soon",
            State::Wrong => "WRONG",
        };
        let advice = finding.advice.as_deref().unwrap_or("-");
        table.add_row([
            state.to_owned(),
            output::plain(&finding.what),
            output::plain(&finding.said),
            output::plain(advice),
        ]);
    }
    output::keep_whole(&mut table, 0);
    table
}

fn certificate(what: impl Into<String>, ends: SystemTime, now: SystemTime) -> Finding {
    const ADVICE: &str = "`fleet person renew` for people and integrations; issue others anew";
    match (ends.duration_since(now), days_left(ends, now)) {
        (Err(_), _) => Finding::wrong(what, "has ended", ADVICE),
        (Ok(_), Some(days)) => Finding::soon(what, format!("ends {}", in_days(days)), ADVICE),
        (Ok(left), None) => Finding::good(what, format!("good for {} days", left.as_secs() / 86_400)),
    }
}

/// The right to open with a key of one's own, where the folder has one. Whether it is still in force only cabinets know.
fn delegation(path: &Path, now: SystemTime) -> Option<Finding> {
    const ADVICE: &str = "have a new one made with `fleet keys delegate`";
    let bytes = fs::read(path).ok()?;
    let payload = schemas::crypto::envelope::unverified_payload(&bytes);
    let read = payload.ok().and_then(|payload| schemas::cbor::decode::<Delegation>(&payload).ok());
    let Some(read) = read else { return Some(Finding::wrong("delegation", "cannot be read", ADVICE)) };
    let ends = moment(Rfc3339(read.not_after));
    Some(match (ends.duration_since(now), days_left(ends, now)) {
        (Err(_), _) => Finding::wrong("delegation", "has ended", ADVICE),
        (Ok(_), Some(days)) => Finding::soon("delegation", format!("ends {}", in_days(days)), ADVICE),
        (Ok(left), None) => Finding::good("delegation", format!("good for {} days", left.as_secs() / 86_400)),
    })
}

/// Every certificate and every key below the folder of a fleet.
fn fleet_folder(dir: &Path, now: SystemTime) -> anyhow::Result<Vec<Finding>> {
    let layout = Layout::open(dir)?;
    let mut files = Vec::new();
    walk(layout.dir(), DEPTH, &mut files)?;
    files.sort();
    let mut findings = Vec::new();
    for path in &files {
        let name = path.strip_prefix(layout.dir()).unwrap_or(path).display().to_string();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => findings.extend(certificates(path, &name, now)),
            Some("key") => findings.push(key(path, name)?),
            Some(_) | None => {}
        }
    }
    if files.iter().any(|path| path.starts_with(layout.offline()) && path.extension().is_some_and(|kind| kind == "key"))
    {
        let advice = "carry offline/ to a safe, and delete it here";
        findings.push(Finding::soon("offline/", "the root keys are on this machine", advice));
    }
    Ok(findings)
}

fn walk(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("read folder `{}`", dir.display()))? {
        let path = entry.with_context(|| format!("read folder `{}`", dir.display()))?.path();
        match path.is_dir() {
            true if depth > 1 => walk(&path, depth - 1, files)?,
            true => {}
            false => files.push(path),
        }
    }
    Ok(())
}

fn certificates(path: &Path, name: &str, now: SystemTime) -> Vec<Finding> {
    let unreadable =
        |said: String| vec![Finding::wrong(name, said, "put the file back from a backup, or issue it anew")];
    let read = match read_certificates(path) {
        Ok(read) => read,
        Err(error) => return unreadable(error.to_string()),
    };
    let summaries: Result<Vec<Summary>, _> = read.iter().map(Summary::read).collect();
    match summaries {
        Ok(summaries) => {
            summaries.iter().map(|one| certificate(format!("{name} of {}", one.subject), one.not_after, now)).collect()
        }
        Err(error) => unreadable(error.to_string()),
    }
}

fn key(path: &Path, name: String) -> anyhow::Result<Finding> {
    let mode = fs::metadata(path).with_context(|| format!("look at `{name}`"))?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(Finding::good(name, "for its owner only"));
    }
    let advice = format!("chmod 600 {name}, and make it anew if somebody else was on this machine");
    Ok(Finding::wrong(name, format!("others may open it ({mode:03o})"), advice))
}

/// From the name of the host to the state of each cabinet; ends with the first thing that keeps the next from working.
async fn ask(folder: &PersonFolder) -> anyhow::Result<Vec<Finding>> {
    let (host, port) = (folder.host(), folder.port());
    let mut findings = Vec::new();
    let found = tokio::time::timeout(REACH_WITHIN, lookup_host((host, port))).await;
    if !found.is_ok_and(|found| found.is_ok_and(|mut found| found.next().is_some())) {
        let advice = "check `host` in fleet.toml, the DNS and the network";
        findings.push(Finding::wrong("name", format!("{host} is not known"), advice));
        return Ok(findings);
    }
    findings.push(Finding::good("name", format!("{host} is known")));
    match tokio::time::timeout(REACH_WITHIN, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => findings.push(Finding::good("port", format!("{host}:{port} answers"))),
        Ok(Err(_)) | Err(_) => {
            let advice = "check that the broker runs, `port` in fleet.toml, and firewalls";
            findings.push(Finding::wrong("port", format!("nothing answers at {host}:{port}"), advice));
            return Ok(findings);
        }
    }
    let client = match Client::connect(folder).await {
        Ok(client) => client,
        Err(error) => {
            findings.push(not_connected(&error));
            return Ok(findings);
        }
    };
    findings.push(Finding::good("connection", format!("TLS and MQTT as {}", client.identity())));
    findings.extend(fleet(&client).await?);
    findings.extend(people(&client).await?);
    client.close().await;
    Ok(findings)
}

fn not_connected(error: &ClientError) -> Finding {
    let certificate = matches!(
        error,
        ClientError::CertificateRefused { .. } | ClientError::NotAdmitted { .. } | ClientError::Folder(_)
    );
    let advice = if certificate {
        "ask an operator for a new certificate"
    } else if matches!(error, ClientError::ServerRefused { .. }) {
        "compare root.crt with public/root.crt of the fleet, and this machine's clock"
    } else {
        "look into the broker's log"
    };
    Finding::wrong("connection", error.to_string(), advice)
}

async fn fleet(client: &Client) -> anyhow::Result<Vec<Finding>> {
    let (mut findings, mut after) = (Vec::new(), None);
    loop {
        let first = after.is_none();
        let reply = client.request(&Request::FleetStatus { after }).await?;
        // Whoever may not know how the fleet is knows at least that it answers.
        if let Reply::Error(error) = &reply {
            findings.push(Finding::good("fleet", format!("answers; {}", error.message)));
            return Ok(findings);
        }
        let Reply::Status(status) = reply else { return Err(other_answer()) };
        if first {
            findings.extend(broker(&status, SystemTime::now()));
        }
        findings.extend(status.cabinets.iter().map(|health| cabinet(health, &status)));
        after = status.cabinets.last().map(|last| last.cabinet.clone()).filter(|_| status.more);
        if after.is_none() {
            return Ok(findings);
        }
    }
}

fn broker(status: &FleetStatus, now: SystemTime) -> Vec<Finding> {
    let fleet = moment(status.now);
    let off = fleet.duration_since(now).or_else(|_| now.duration_since(fleet)).unwrap_or_default();
    let clock = match off > CLOCK_TOLERANCE {
        true => {
            let said = format!("this machine and the fleet differ by {} s", off.as_secs());
            Finding::wrong("clock", said, "set the clock that is wrong, and let it be kept (NTP)")
        }
        false => Finding::good("clock", "this machine and the fleet agree"),
    };
    let signer = match &status.signer_failed {
        None => Finding::good("signer", "did what it was asked last"),
        Some(reason) => {
            let advice = "start `fleet-broker signer` and see its log: without it there are no codes and no unlocks";
            Finding::wrong("signer", format!("failed: {reason}"), advice)
        }
    };
    let disk = match status.disk_low {
        true => Finding::wrong("disk", "the store lives on its reserve", "make room on the broker's disk"),
        false => Finding::good("disk", "has room"),
    };
    vec![version("broker", &status.version), clock, signer, disk, backup(status), messages(status)]
}

/// This program goes by what its own version knows.
fn version(what: &str, found: &str) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    match found == own {
        true => Finding::good(what, format!("version {found}")),
        false => {
            let said = format!("version {found}, this program {own}");
            Finding::soon(what, said, "bring all to the same version, agents first")
        }
    }
}

fn backup(status: &FleetStatus) -> Finding {
    const ADVICE: &str = "`fleet backup` every night, and carry the file to another machine";
    let Some(taken) = status.backup else { return Finding::wrong("backup", "there is none", ADVICE) };
    let age = status.now.0.saturating_sub(taken.0);
    let said = format!("the newest is of {}", output::time(taken));
    match Duration::from_millis(age) > BACKUP_AGE_MAX {
        true => Finding::wrong("backup", said, ADVICE),
        false => Finding::good("backup", said),
    }
}

fn messages(status: &FleetStatus) -> Finding {
    match status.undelivered {
        0 => Finding::good("messages", "none that a recipient misses"),
        count => {
            let said = format!("{count} reach nobody");
            Finding::soon("messages", said, "`fleet notify list --undelivered`, then `fleet notify resend`")
        }
    }
}

fn cabinet(health: &CabinetHealth, status: &FleetStatus) -> Finding {
    let what = format!("cabinet {}", health.cabinet);
    let mut wrong = Vec::new();
    match (health.online, health.last_seen) {
        (true, _) => {}
        (false, Some(at)) => wrong.push(format!("offline since {}", output::time(at))),
        (false, None) => wrong.push("never seen".to_owned()),
    }
    if health.disk_low {
        wrong.push("its disk is full".to_owned());
    }
    if health.online && health.book_held != health.book_wanted {
        wrong.push(format!("has book {}, not yet {}", health.book_held, health.book_wanted));
    }
    if health.online && health.keyset_held < status.keyset {
        wrong.push(format!("has keyset {}, not yet {}", health.keyset_held, status.keyset));
    }
    let alarm = health.alarm.as_ref().map(|alarm| format!("; alarm {}: {}", output::time(alarm.at), alarm.text));
    let alarm = alarm.unwrap_or_default();
    if wrong.is_empty() && alarm.is_empty() && health.agent != status.version {
        return version(&what, &health.agent);
    }
    if wrong.is_empty() && alarm.is_empty() {
        return Finding::good(what, format!("online, agent {}, keyset {}", health.agent, health.keyset_held));
    }
    let advice = "look at its screen, its power and its network; `fleet cabinet show` tells more";
    match wrong.is_empty() {
        true => Finding::soon(what, format!("online{alarm}"), "`fleet watch` tells more"),
        false => Finding::wrong(what, format!("{}{alarm}", wrong.join(", ")), advice),
    }
}

/// What ends soon of the certificates that the fleet has seen, for those who may know.
async fn people(client: &Client) -> anyhow::Result<Vec<Finding>> {
    let (mut findings, mut after) = (Vec::new(), None);
    loop {
        let Reply::Identities(page) = client.request(&Request::IdentityList { role: None, after }).await? else {
            return Ok(findings);
        };
        let soon = reminders(&page.identities, SystemTime::now());
        findings.extend(
            soon.into_iter()
                .map(|(who, when, advice)| Finding::soon(who, format!("the certificate ends {when}"), advice)),
        );
        after = page.identities.last().map(|last| last.identity.clone()).filter(|_| page.more);
        if after.is_none() {
            return Ok(findings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::api::AlarmSeen;

    const NOW: u64 = 1_795_378_500_000;

    fn health(cabinet: &str, online: bool) -> CabinetHealth {
        CabinetHealth {
            cabinet: cabinet.parse().unwrap(),
            online,
            last_seen: Some(Rfc3339(NOW)),
            agent: env!("CARGO_PKG_VERSION").into(),
            book_wanted: 5,
            book_held: 5,
            keyset_held: 2,
            disk_low: false,
            alarm: None,
        }
    }

    #[test]
    fn what_is_wrong_stands_out_with_what_to_do() {
        let status = |clock, failed: Option<&str>, disk_low, backup: Option<u64>| FleetStatus {
            now: Rfc3339(clock),
            version: env!("CARGO_PKG_VERSION").into(),
            keyset: 2,
            disk_low,
            signer_failed: failed.map(str::to_owned),
            backup: backup.map(Rfc3339),
            undelivered: u64::from(disk_low) * 3,
            cabinets: Vec::new(),
            more: false,
        };
        let now = moment(Rfc3339(NOW));
        let good = status(NOW + 30_000, None, false, Some(NOW));
        let mut findings = broker(&good, now);
        findings.extend(broker(&status(NOW - 31_000, Some("the signer is not reachable"), true, None), now));
        findings.push(backup(&status(NOW, None, false, Some(NOW - 36 * 3_600_000 - 1))));
        let alarm = AlarmSeen { at: Rfc3339(NOW), text: "cabinet acme/c2: door 7 was opened by force".into() };
        let cabinets = [
            health("c1", true),
            CabinetHealth { alarm: Some(alarm), ..health("c2", true) },
            CabinetHealth { last_seen: None, ..health("c3", false) },
            CabinetHealth { disk_low: true, book_held: 4, keyset_held: 1, ..health("c4", true) },
            CabinetHealth { agent: "0.0.9".into(), ..health("c5", true) },
        ];
        findings.extend(cabinets.iter().map(|health| cabinet(health, &good)));
        findings.extend([
            certificate("broker/server.crt", now + Duration::from_secs(12 * 86_400), now),
            certificate("people/operator-eve/person.crt", now - Duration::from_secs(1), now),
        ]);
        insta::assert_snapshot!(findings_table(&findings).trim_fmt(), @r"
        STATE  WHAT                     FOUND                   WHAT TO DO
        good   broker                   version 0.1.0           -
        good   clock                    this machine and the    -
                                        fleet agree
        good   signer                   did what it was asked   -
                                        last
        good   disk                     has room                -
        good   backup                   the newest is of        -
                                        2026-11-22 20:15:00Z
        good   messages                 none that a recipient   -
                                        misses
        good   broker                   version 0.1.0           -
        WRONG  clock                    this machine and the    set the clock that is
                                        fleet differ by 31 s    wrong, and let it be
                                                                kept (NTP)
        WRONG  signer                   failed: the signer is   start `fleet-broker
                                        not reachable           signer` and see its
                                                                log: without it there
                                                                are no codes and no
                                                                unlocks
        WRONG  disk                     the store lives on its  make room on the
                                        reserve                 broker's disk
        WRONG  backup                   there is none           `fleet backup` every
                                                                night, and carry the
                                                                file to another
                                                                machine
        soon   messages                 3 reach nobody          `fleet notify list
                                                                --undelivered`, then
                                                                `fleet notify resend`
        WRONG  backup                   the newest is of        `fleet backup` every
                                        2026-11-21 08:14:59Z    night, and carry the
                                                                file to another
                                                                machine
        good   cabinet c1               online, agent 0.1.0,    -
                                        keyset 2
        soon   cabinet c2               online; alarm           `fleet watch` tells
                                        2026-11-22 20:15:00Z:   more
                                        cabinet acme/c2: door
                                        7 was opened by force
        WRONG  cabinet c3               never seen              look at its screen,
                                                                its power and its
                                                                network; `fleet
                                                                cabinet show` tells
                                                                more
        WRONG  cabinet c4               its disk is full, has   look at its screen,
                                        book 4, not yet 5, has  its power and its
                                        keyset 1, not yet 2     network; `fleet
                                                                cabinet show` tells
                                                                more
        soon   cabinet c5               version 0.0.9, this     bring all to the same
                                        program 0.1.0           version, agents first
        soon   broker/server.crt        ends in 12 days         `fleet person renew`
                                                                for people and
                                                                integrations; issue
                                                                others anew
        WRONG  people/operator-eve/per  has ended               `fleet person renew`
               son.crt                                          for people and
                                                                integrations; issue
                                                                others anew
        ");
    }
}
