//! `fleet unlocks`: who opened which compartment of a cabinet, by what right, when and why.

use std::process::ExitCode;

use schemas::api::{Reply, Request, UnlockPage, UnlockRecord, UnlockRight};
use schemas::ids::{CabinetId, Identity};

use super::args::UnlocksArgs;
use super::context::{Context, block_on, other_answer};
use super::output::{self, table};
use crate::client::Client;

pub(super) fn run(context: &Context, args: UnlocksArgs) -> anyhow::Result<ExitCode> {
    let folder = context.folder()?;
    let page = block_on(async {
        let client = Client::connect(&folder).await?;
        let page = newest(context, &client, &args.cabinet, args.newest).await;
        client.close().await;
        page
    })??;
    if context.json {
        output::json(&Reply::Unlocks(page))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::show(unlock_table(&page.unlocks), "No compartment of it was opened yet.")?;
    if page.more {
        output::text("\nThere are older ones: ask for more with --newest.")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest records, fetched page by page.
async fn newest(context: &Context, client: &Client, cabinet: &CabinetId, wanted: usize) -> anyhow::Result<UnlockPage> {
    let mut all = UnlockPage { unlocks: Vec::new(), more: true };
    while all.more && all.unlocks.len() < wanted {
        let before = all.unlocks.last().map(|last| last.n);
        let request = Request::UnlockList { cabinet: cabinet.clone(), before };
        let Reply::Unlocks(page) = context.taken(client.request(&request).await?)? else {
            return Err(other_answer());
        };
        all.more = page.more && !page.unlocks.is_empty();
        all.unlocks.extend(page.unlocks);
    }
    all.more |= all.unlocks.len() > wanted;
    all.unlocks.truncate(wanted);
    Ok(all)
}

fn unlock_table(unlocks: &[UnlockRecord]) -> comfy_table::Table {
    let mut table = table(["WHEN", "DOOR", "BY", "OUTCOME", "WHY"]);
    for unlock in unlocks {
        table.add_row([
            output::time(unlock.at),
            unlock.compartment.to_string(),
            by(unlock),
            outcome(unlock),
            why(unlock),
        ]);
    }
    output::keep_whole(&mut table, 0);
    table
}

fn by(unlock: &UnlockRecord) -> String {
    match (unlock.right, &unlock.by, &unlock.credential) {
        (UnlockRight::Command | UnlockRight::Staff, Some(by), _) => person(by),
        (UnlockRight::Credential, _, Some(id)) => format!("code {}", output::plain(id)),
        (UnlockRight::Nobody, Some(by), _) if by.starts_with("courier:") => {
            format!("nobody (pulse for {})", courier(by))
        }
        (UnlockRight::Nobody, Some(by), _) => format!("nobody (pulse for {})", person(by)),
        (UnlockRight::Nobody, None, Some(id)) => format!("nobody (pulse for code {})", output::plain(id)),
        (UnlockRight::Nobody, None, None) => "nobody".to_owned(),
        (UnlockRight::App, Some(by), _) => format!("app, for {}", person(by)),
        (UnlockRight::BreakGlass, Some(by), _) => format!("break-glass, shown to {}", person(by)),
        (UnlockRight::Courier, Some(by), _) => courier(by),
        (right, _, _) => format!("{right}, not known which"),
    }
}

/// `operator eve`: everybody is of the own tenant.
fn person(identity: &str) -> String {
    match identity.parse::<Identity>() {
        Ok(Identity { role, name, .. }) => format!("{role} {name}"),
        Err(_) => output::plain(identity),
    }
}

/// `courier jo`: the name is the last of its parts.
fn courier(by: &str) -> String {
    output::plain(&by.rsplit_once(':').map_or_else(|| by.to_owned(), |(_, name)| format!("courier {name}")))
}

fn outcome(unlock: &UnlockRecord) -> String {
    match (unlock.outcome, unlock.refused) {
        (Some(outcome), _) => outcome.to_string().replace('_', " "),
        (None, Some(reason)) => format!("refused: {}", reason.to_string().replace('_', " ")),
        (None, None) => "not told".to_owned(),
    }
}

fn why(unlock: &UnlockRecord) -> String {
    let told = told(unlock);
    if unlock.time_unverified { format!("{told} (time of the cabinet not known)") } else { told }
}

fn told(unlock: &UnlockRecord) -> String {
    let (reason, order) = (unlock.reason.as_deref(), unlock.order.as_deref());
    match (reason, order) {
        (Some(reason), Some(order)) => format!("{} (order {})", output::plain(reason), output::plain(order)),
        (Some(reason), None) => output::plain(reason),
        (None, Some(order)) => format!("order {}", output::plain(order)),
        (None, None) => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::api::Rfc3339;
    use schemas::messages::{CommandId, Compartment, RefusalReason, UnlockOutcome};

    fn record(right: UnlockRight) -> UnlockRecord {
        UnlockRecord {
            n: 1,
            compartment: Compartment::new(4).unwrap(),
            right,
            by: None,
            credential: None,
            order: None,
            reason: None,
            command: None,
            at: Rfc3339(1_795_378_500_000),
            time_unverified: false,
            outcome: Some(UnlockOutcome::Opened),
            refused: None,
            ended: None,
        }
    }

    fn command() -> UnlockRecord {
        UnlockRecord {
            by: Some("support:acme:sue".into()),
            reason: Some("caller forgot\u{1b}[2J the code".into()),
            command: Some(CommandId([1; 16])),
            ..record(UnlockRight::Command)
        }
    }

    #[test]
    fn openings_are_a_table_with_who_and_why() {
        let order = || Some("shop/A17".to_owned());
        let table = unlock_table(&[
            UnlockRecord { outcome: Some(UnlockOutcome::NotOpened), order: order(), ..command() },
            UnlockRecord { outcome: None, refused: Some(RefusalReason::WrongContent), ..command() },
            UnlockRecord { outcome: None, ..command() },
            UnlockRecord { by: Some("staff:acme:kim".into()), order: order(), ..record(UnlockRight::Staff) },
            UnlockRecord {
                credential: Some("c1c1c1c1c1c1c1c1".into()),
                order: order(),
                time_unverified: true,
                ..record(UnlockRight::Credential)
            },
            record(UnlockRight::Nobody),
        ]);
        insta::assert_snapshot!(table.trim_fmt(), @r"
        WHEN                  DOOR  BY                OUTCOME          WHY
        2026-11-22 20:15:00Z  4     support sue       not opened       caller
                                                                       forgot�[2J the
                                                                       code (order
                                                                       shop/A17)
        2026-11-22 20:15:00Z  4     support sue       refused: wrong   caller
                                                      content          forgot�[2J the
                                                                       code
        2026-11-22 20:15:00Z  4     support sue       not told         caller
                                                                       forgot�[2J the
                                                                       code
        2026-11-22 20:15:00Z  4     staff kim         opened           order shop/A17
        2026-11-22 20:15:00Z  4     code              opened           order shop/A17
                                    c1c1c1c1c1c1c1c1                   (time of the
                                                                       cabinet not
                                                                       known)
        2026-11-22 20:15:00Z  4     nobody            opened           -
        ");
    }
}
