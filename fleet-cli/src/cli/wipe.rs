//! `fleet cabinet wipe|keep|receipt`: the end of a cabinet, and the proof of it.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use schemas::api::{Reply, Request, Rfc3339, WipeDetail};
use schemas::crypto::receipt::RECEIPT_MAX;
use schemas::ids::{CabinetId, Identity};
use schemas::messages::Receipt;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::args::WipeArgs;
use super::cabinets::asking;
use super::context::{Context, block_on, check_reason, other_answer};
use super::output;
use crate::client::Client;
use crate::folder::PersonFolder;
use crate::setup::{self, Layout};

const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) fn wipe(context: &Context, args: WipeArgs) -> anyhow::Result<ExitCode> {
    let WipeArgs { cabinet, dir, reason, with_orders, wait } = args;
    check_reason(&reason)?;
    let layout = Layout::open(&dir)?;
    let person = asking(context, &dir)?;
    let ask = Request::CabinetWipe { cabinet: cabinet.clone(), reason, with_orders };
    if context.ask(&person, &ask)? != Reply::Done {
        return Err(other_answer());
    }
    let state = block_on(until_wiped(&person, &cabinet, Duration::from_secs(wait.into())))??;
    match &state.receipt {
        None => tell_standing(context, &cabinet, &state, &dir)?,
        Some(bytes) => {
            let receipt = setup::check_receipt(&layout, &bytes.0)
                .with_context(|| format!("the cabinet says that it is wiped, and its receipt proves nothing; treat {cabinet} as stolen: `fleet cabinet revoke {cabinet}`"))?;
            let path = setup::keep_receipt(&layout, &receipt, &bytes.0)?;
            // Its device has destroyed the key, or says so: nobody else is to have it.
            let identity = Identity::cabinet(&receipt.tenant, &cabinet);
            let reason = "the cabinet was wiped".to_owned();
            let Reply::Identity(_) = context.ask(&person, &Request::IdentityRevoke { identity, reason })? else {
                return Err(other_answer());
            };
            tell_receipt(context, &receipt, &path)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Looks until the receipt is there, or `wait` is over.
async fn until_wiped(person: &PersonFolder, cabinet: &CabinetId, wait: Duration) -> anyhow::Result<WipeDetail> {
    let until = Instant::now() + wait;
    let client = Client::connect(person).await?;
    loop {
        let reply = client.request(&Request::CabinetShow { cabinet: cabinet.clone() }).await?;
        let Reply::Cabinet(detail) = reply else { return Err(other_answer()) };
        let state = detail.wipe.ok_or_else(other_answer)?;
        if state.done.is_some() || Instant::now() >= until {
            client.close().await;
            return Ok(state);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn tell_standing(context: &Context, cabinet: &CabinetId, state: &WipeDetail, dir: &Path) -> anyhow::Result<()> {
    if context.json {
        return output::json(&json!({ "cabinet": cabinet, "wiped": false, "sent": state.sent }));
    }
    let heard = match state.sent {
        true => "was told and has not answered yet",
        false => "is not connected",
    };
    output::text(&format!(
        "Cabinet {cabinet} {heard}. The order stands: it is wiped as soon as it is heard of.\n\
         For the receipt say the same again later:\n\
         \x20 fleet cabinet wipe {cabinet} --fleet {dir} --reason '...'\n\
         To take the order back, as long as it was not told: fleet cabinet keep {cabinet}",
        dir = dir.display()
    ))
}

pub(super) fn keep(context: &Context, cabinet: CabinetId) -> anyhow::Result<ExitCode> {
    let reply = context.ask(&context.folder()?, &Request::CabinetKeep { cabinet: cabinet.clone() })?;
    if reply != Reply::Done {
        return Err(other_answer());
    }
    match context.json {
        true => output::json(&json!({ "cabinet": cabinet, "kept": true }))?,
        false => output::text(&format!("Cabinet {cabinet} is kept as it is."))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks a receipt without the fleet.
pub(super) fn receipt(context: &Context, file: &Path, dir: &Path) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(dir)?;
    let bytes = read_at_most(file).with_context(|| format!("read `{}`", file.display()))?;
    let receipt = setup::check_receipt(&layout, &bytes).with_context(|| format!("check `{}`", file.display()))?;
    tell_receipt(context, &receipt, file)?;
    Ok(ExitCode::SUCCESS)
}

/// One byte more than a receipt may have: what is larger is refused as one.
fn read_at_most(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(RECEIPT_MAX).unwrap_or(u64::MAX).saturating_add(1);
    fs::File::open(file)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn tell_receipt(context: &Context, receipt: &Receipt, path: &Path) -> anyhow::Result<()> {
    if context.json {
        return output::json(&json!({
            "cabinet": receipt.cabinet,
            "instance": receipt.instance,
            "wiped": true,
            "at": receipt.at.map(Rfc3339),
            "requester": receipt.requester,
            "orders": receipt.orders,
            "credentials": receipt.credentials,
            "staff": receipt.staff,
            "events": receipt.events,
            "unsent": receipt.unsent,
            "receipt": path,
        }));
    }
    output::text(&receipt_text(receipt, path))
}

fn receipt_text(receipt: &Receipt, path: &Path) -> String {
    let unsent = match receipt.unsent {
        0 => "the fleet has all of them".to_owned(),
        unsent => format!("{unsent} of them never reached the fleet"),
    };
    format!(
        "Cabinet {cabinet} was wiped for {requester}{at}.\n\
         Erased: {orders} orders, {credentials} codes, {staff} members of staff,\n\
         {events} events ({unsent}), the device key and the cabinet's own key.\n\
         Its certificate has signed this: {path}",
        cabinet = receipt.cabinet,
        requester = output::plain(&receipt.requester),
        at = receipt.at.map_or_else(String::new, |at| format!(" at {}", output::time(Rfc3339(at)))),
        orders = receipt.orders,
        credentials = receipt.credentials,
        staff = receipt.staff,
        events = receipt.events,
        path = path.display(),
    )
}

/// What `fleet cabinet show` says of it.
pub(super) fn state_text(wipe: &WipeDetail) -> String {
    let state = match (wipe.done, wipe.sent) {
        (Some(done), _) => format!("wiped {}", output::time(done)),
        (None, true) => "to be wiped, and told so".to_owned(),
        (None, false) => "to be wiped as soon as it is heard of".to_owned(),
    };
    format!("End       {state}; {} said {}: {}\n", wipe.by, output::time(wipe.ordered), output::plain(&wipe.reason))
}

#[cfg(test)]
mod tests {
    use schemas::messages::{CommandId, Instance};

    use super::*;

    #[test]
    fn a_receipt_reads_as_sentences() {
        let receipt = Receipt {
            tenant: "acme".parse().unwrap(),
            cabinet: "berlin-01".parse().unwrap(),
            instance: Instance([7; 16]),
            command: CommandId([1; 16]),
            requester: "operator:acme:eve\u{1b}[2J".into(),
            at: Some(1_795_378_500_007),
            orders: 3,
            credentials: 6,
            staff: 2,
            events: 812,
            unsent: 1,
        };
        insta::assert_snapshot!(receipt_text(&receipt, Path::new("acme/cabinets/berlin-01/wiped-07.cose")), @r"
        Cabinet berlin-01 was wiped for operator:acme:eve�[2J at 2026-11-22 20:15:00Z.
        Erased: 3 orders, 6 codes, 2 members of staff,
        812 events (1 of them never reached the fleet), the device key and the cabinet's own key.
        Its certificate has signed this: acme/cabinets/berlin-01/wiped-07.cose
        ");
    }

    #[test]
    fn the_end_of_a_cabinet_is_one_line_of_its_page() {
        let wipe = |sent, done: Option<u64>| WipeDetail {
            ordered: Rfc3339(1_795_378_500_007),
            by: "operator:acme:eve".parse().unwrap(),
            reason: "stolen".into(),
            sent,
            done: done.map(Rfc3339),
            receipt: None,
        };
        for (state, begins) in [
            (wipe(false, None), "End       to be wiped as soon as it is heard of; operator:acme:eve said 2026-11-22"),
            (wipe(true, None), "End       to be wiped, and told so; "),
            (wipe(true, Some(1_795_378_600_000)), "End       wiped 2026-11-22 20:16:40Z; "),
        ] {
            assert!(state_text(&state).starts_with(begins), "{}", state_text(&state));
        }
    }
}
