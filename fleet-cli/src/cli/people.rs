//! `fleet person|operator|integration add|renew|list|revoke`, `fleet person scope`, `fleet cabinet revoke`.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemas::api::{CertificateDetail, IdentityDetail, IdentityPage, Reply, Request, Rfc3339, Scope};
use schemas::ids::{CabinetId, Identity, Name, Role};
use serde_json::json;

use super::args::{FleetArgs, PersonCommand, ScopeArgs};
use super::context::{Context, block_on, check_reason, days_left, in_days, other_answer, passphrase};
use super::failure::Usage;
use super::output::{self, table};
use crate::client::Client;
use crate::folder::PersonFolder;
use crate::setup::{self, Layout, PersonOptions, SetupError};

/// Whoever is not a machine of the fleet itself.
const PEOPLE: [Role; 6] =
    [Role::Operator, Role::Support, Role::Technician, Role::Auditor, Role::Staff, Role::Integration];

pub(super) fn person(context: &Context, command: PersonCommand) -> anyhow::Result<ExitCode> {
    match command {
        PersonCommand::Add { role, name, fleet } => {
            let folder = issue(&fleet, role, name, setup::person)?;
            made(context, &folder, "Hand the folder over; it holds a private key. Its owner then uses")
        }
        PersonCommand::Renew { role, name, fleet } => {
            let folder = issue(&fleet, role, name, setup::renew_person)?;
            made(context, &folder, "Hand the new person.key and person.crt over. Their owner then uses")
        }
        PersonCommand::List { role } => list(context, role),
        PersonCommand::Scope { role, name, scope: ScopeArgs { sites, cabinets, .. } } => {
            let scope = match (sites, cabinets) {
                (Some(sites), _) => Scope::Sites(sites),
                (None, Some(cabinets)) => Scope::Cabinets(cabinets),
                (None, None) => Scope::Tenant,
            };
            set_scope(context, role, name, scope)
        }
        PersonCommand::Revoke { role, name, reason } => {
            check_person(role)?;
            let folder = context.folder()?;
            let identity = Identity::new(role, folder.identity().tenant.clone(), name);
            revoke(context, &folder, identity, reason)
        }
    }
}

fn issue(
    fleet: &FleetArgs,
    role: Role,
    name: Name,
    make: impl FnOnce(&PersonOptions<'_>) -> Result<PersonFolder, SetupError>,
) -> anyhow::Result<PersonFolder> {
    let layout = Layout::open(&fleet.dir)?;
    let passphrase = passphrase(fleet.passphrase_file.as_deref())?;
    let now = SystemTime::now();
    Ok(make(&PersonOptions { layout: &layout, role, name, passphrase: passphrase.as_ref(), now })?)
}

fn made(context: &Context, folder: &PersonFolder, next: &str) -> anyhow::Result<ExitCode> {
    if context.json {
        output::json(&json!({ "identity": folder.identity(), "folder": folder.path() }))?;
    } else {
        let path = folder.path().display();
        let identity = folder.identity();
        output::text(&format!("Made {identity} in {path}\n\n{next}\n  fleet --as {path} ..."))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn check_person(role: Role) -> Result<(), Usage> {
    match role {
        Role::Cabinet => Err(Usage("a cabinet is revoked with `fleet cabinet revoke`".to_owned())),
        Role::Server => Err(Usage("a server is no person; give it a new key and certificate instead".to_owned())),
        Role::Operator | Role::Staff | Role::Support | Role::Technician | Role::Auditor | Role::Integration => Ok(()),
    }
}

pub(super) fn revoke_cabinet(context: &Context, cabinet: &CabinetId, reason: String) -> anyhow::Result<ExitCode> {
    let folder = context.folder()?;
    let identity = Identity::cabinet(&folder.identity().tenant, cabinet);
    revoke(context, &folder, identity, reason)
}

fn revoke(context: &Context, folder: &PersonFolder, identity: Identity, reason: String) -> anyhow::Result<ExitCode> {
    check_reason(&reason)?;
    let reply = context.ask(folder, &Request::IdentityRevoke { identity, reason })?;
    let Reply::Identity(revoked) = &reply else { return Err(other_answer()) };
    if context.json {
        output::json(&reply)?;
    } else {
        output::text(&revoked_text(revoked))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn set_scope(context: &Context, role: Role, name: Name, scope: Scope) -> anyhow::Result<ExitCode> {
    let folder = context.folder()?;
    let identity = Identity::new(role, folder.identity().tenant.clone(), name);
    let reply = context.ask(&folder, &Request::PersonScope { identity, scope })?;
    let Reply::Identity(scoped) = &reply else { return Err(other_answer()) };
    if context.json {
        output::json(&reply)?;
    } else {
        output::text(&format!("{} now sees {}.", scoped.identity, in_words(&scoped.scope)))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn in_words(scope: &Scope) -> String {
    fn list<T: ToString>(items: &[T]) -> String {
        items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
    match scope {
        Scope::Tenant => "the whole tenant".to_owned(),
        Scope::Sites(sites) => format!("the sites {}", list(sites)),
        Scope::Cabinets(cabinets) => format!("the cabinets {}", list(cabinets)),
    }
}

fn revoked_text(revoked: &IdentityDetail) -> String {
    let identity = &revoked.identity;
    let until = revoked.revocation.as_ref().map_or_else(|| "now".to_owned(), |held| output::time(held.until));
    let seen = match revoked.certificates.len() {
        0 => "The fleet has never seen one: is the name right?".to_owned(),
        1 => "The fleet has seen one; whoever was connected with it is cut.".to_owned(),
        many => format!("The fleet has seen {many}; whoever was connected with one is cut."),
    };
    format!("Certificates of {identity} issued up to {until} are void.\n{seen}")
}

fn list(context: &Context, role: Option<Role>) -> anyhow::Result<ExitCode> {
    let folder = context.folder()?;
    let asked = role.map_or_else(|| PEOPLE.to_vec(), |role| vec![role]);
    let mut identities = Vec::new();
    block_on(async {
        let client = Client::connect(&folder).await?;
        for role in asked {
            all_of(context, &client, role, &mut identities).await?;
        }
        client.close().await;
        anyhow::Ok(())
    })??;
    if context.json {
        output::json(&Reply::Identities(IdentityPage { identities, more: false }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = SystemTime::now();
    output::show(identity_table(&identities, now), "Nobody connected yet.")?;
    let reminders = reminder_lines(&identities, now);
    if !reminders.is_empty() {
        output::text(&format!("\n{reminders}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Page by page.
async fn all_of(
    context: &Context,
    client: &Client,
    role: Role,
    identities: &mut Vec<IdentityDetail>,
) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let reply = client.request(&Request::IdentityList { role: Some(role), after: after.take() }).await?;
        let Reply::Identities(page) = context.taken(reply)? else { return Err(other_answer()) };
        after = page.identities.last().map(|last| last.identity.clone());
        identities.extend(page.identities);
        if !page.more || after.is_none() {
            return Ok(());
        }
    }
}

fn identity_table(identities: &[IdentityDetail], now: SystemTime) -> comfy_table::Table {
    let mut table = table(["ROLE", "NAME", "CERTIFICATE ENDS", "LAST SEEN", "STATE"]);
    for known in identities {
        let newest = known.certificates.first();
        let last_seen = known.certificates.iter().map(|certificate| certificate.last_seen).max();
        table.add_row([
            known.identity.role.to_string(),
            known.identity.name.to_string(),
            newest.map_or_else(|| "-".to_owned(), |certificate| day(certificate.expires)),
            last_seen.map_or_else(|| "never".to_owned(), day),
            state(known, newest, now),
        ]);
    }
    output::keep_whole(&mut table, 1);
    table
}

/// What a person has to know about somebody, by the newest certificate.
fn state(known: &IdentityDetail, newest: Option<&CertificateDetail>, now: SystemTime) -> String {
    let void = newest.is_none_or(|certificate| certificate.revoked);
    if let Some(revocation) = known.revocation.as_ref().filter(|_| void) {
        let (at, reason) = (day(revocation.at), output::plain(&revocation.reason));
        return format!("revoked {at} by {}: {reason}", revocation.by.name);
    }
    let Some(certificate) = newest else { return "-".to_owned() };
    let good = match days_left(moment(certificate.expires), now) {
        Some(days) => format!("ends {}", in_days(days)),
        None if moment(certificate.expires) < now => return "ended".to_owned(),
        None => "good".to_owned(),
    };
    if known.scope.is_tenant() {
        return good;
    }
    format!("{good}; sees {}", in_words(&known.scope))
}

fn reminder_lines(identities: &[IdentityDetail], now: SystemTime) -> String {
    let lines = reminders(identities, now).into_iter();
    let lines = lines.map(|(who, when, advice)| format!("{who}: the certificate ends {when}: {advice}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Whose certificate ends soon, when, and what to do.
pub(super) fn reminders(identities: &[IdentityDetail], now: SystemTime) -> Vec<(String, String, String)> {
    let ending = |known: &IdentityDetail| {
        let certificate = known.certificates.first().filter(|certificate| !certificate.revoked)?;
        let days = days_left(moment(certificate.expires), now)?;
        let Identity { role, name, .. } = &known.identity;
        let advice = if *role == Role::Cabinet {
            "issue it a new certificate".to_owned()
        } else {
            format!("fleet person renew {role} {name} --fleet DIR")
        };
        Some((format!("{role} {name}"), in_days(days), advice))
    };
    identities.iter().filter_map(ending).collect()
}

pub(super) fn moment(at: Rfc3339) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at.0)
}

/// The day of a time, in UTC.
pub(super) fn day(at: Rfc3339) -> String {
    at.to_string().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::api::{CertificateId, RevocationDetail};

    const NOW: u64 = 1_795_378_500_000;
    const DAY: u64 = 24 * 60 * 60 * 1_000;

    fn certificate(days_left: u64, revoked: bool) -> CertificateDetail {
        CertificateDetail {
            certificate: CertificateId([1; 32]),
            issued: Rfc3339(NOW - DAY),
            expires: Rfc3339(NOW + days_left * DAY + 1_000),
            first_seen: Rfc3339(NOW - DAY),
            last_seen: Rfc3339(NOW),
            revoked,
        }
    }

    fn known(identity: &str, certificates: Vec<CertificateDetail>, revoked: bool) -> IdentityDetail {
        let revocation = RevocationDetail {
            until: Rfc3339(NOW),
            at: Rfc3339(NOW),
            by: "operator:acme:eve".parse().unwrap(),
            reason: "laptop\u{1b}[2J stolen".into(),
        };
        IdentityDetail {
            identity: identity.parse().unwrap(),
            certificates,
            revocation: revoked.then_some(revocation),
            scope: Scope::default(),
        }
    }

    #[test]
    fn people_are_a_table_with_what_ends_soon_below_it() {
        let mut sam = known("support:acme:sam", vec![certificate(300, false)], false);
        sam.scope = Scope::Sites(vec!["berlin".parse().unwrap(), "potsdam".parse().unwrap()]);
        let identities = [
            sam,
            known("operator:acme:eve", vec![certificate(300, false)], false),
            known("technician:acme:tom", vec![certificate(12, false), certificate(1, true)], true),
            known("technician:acme:tim", vec![certificate(12, true)], true),
            known("support:acme:sue", vec![], true),
        ];
        let now = moment(Rfc3339(NOW));
        let table = identity_table(&identities, now).trim_fmt();
        insta::assert_snapshot!(format!("{table}\n\n{}", reminder_lines(&identities, now)), @r"
        ROLE        NAME  CERTIFICATE ENDS  LAST SEEN   STATE
        support     sam   2027-09-18        2026-11-22  good; sees the sites berlin,
                                                        potsdam
        operator    eve   2027-09-18        2026-11-22  good
        technician  tom   2026-12-04        2026-11-22  ends in 12 days
        technician  tim   2026-12-04        2026-11-22  revoked 2026-11-22 by eve:
                                                        laptop�[2J stolen
        support     sue   -                 never       revoked 2026-11-22 by eve:
                                                        laptop�[2J stolen

        technician tom: the certificate ends in 12 days: fleet person renew technician tom --fleet DIR
        ");
    }

    #[test]
    fn a_certificate_that_has_ended_says_so() {
        let identity = known("operator:acme:eve", vec![certificate(1, false)], false);
        let later = moment(Rfc3339(NOW + 3 * DAY));
        assert_eq!(state(&identity, identity.certificates.first(), later), "ended");
        assert_eq!(reminder_lines(&[identity], later), "");
    }

    #[test]
    fn a_name_that_was_never_seen_is_doubted() {
        let text = revoked_text(&known("technician:acme:tom", vec![], true));
        assert!(text.contains("2026-11-22") && text.contains("is the name right?"), "{text}");
        let text = revoked_text(&known("technician:acme:tom", vec![certificate(1, true); 2], true));
        assert!(text.contains("has seen 2"), "{text}");
    }
}
