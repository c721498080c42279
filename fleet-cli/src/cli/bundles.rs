//! `fleet bundle put|show|release`.

use std::process::ExitCode;

use schemas::api::{BundleDetail, BundleOrders, BundlePut, Recipient, Reply, Request};
use schemas::messages::OrderKey;

use super::args::{BundleCommand, BundlePutArgs};
use super::context::{Context, other_answer};
use super::failure::Usage;
use super::orders::done;
use super::output::{self, table};
use crate::folder::PersonFolder;

pub(super) fn run(context: &Context, command: BundleCommand) -> anyhow::Result<ExitCode> {
    let folder = context.folder()?;
    match command {
        BundleCommand::Put(args) => put(context, &folder, args),
        BundleCommand::Show { bundle } => show(context, &folder, bundle),
        BundleCommand::Release { bundle } => {
            let text = format!("Bundle {bundle} is over. Each order that is still inside gets a code of its own.");
            done(context, &context.ask(&folder, &Request::BundleRelease { bundle })?, &text)
        }
    }
}

fn put(context: &Context, folder: &PersonFolder, args: BundlePutArgs) -> anyhow::Result<ExitCode> {
    let BundlePutArgs { bundle: OrderKey { integration, order: bundle }, orders, phone, email, deliver_to } = args;
    let recipient = Recipient { phone, email, language: None };
    let orders = BundleOrders::try_from(orders).map_err(Usage)?;
    let text = format!(
        "Bundle {integration}/{bundle} is made. Its credential goes out when every order is inside.\n\n\
         Follow it: fleet bundle show {integration}/{bundle}"
    );
    let bundle = BundlePut { bundle, orders, recipient, deliver_to };
    done(context, &context.ask(folder, &Request::BundlePut { integration, bundle })?, &text)
}

fn show(context: &Context, folder: &PersonFolder, bundle: OrderKey) -> anyhow::Result<ExitCode> {
    let reply = context.ask(folder, &Request::BundleShow { bundle })?;
    let Reply::Bundle(bundle) = &reply else { return Err(other_answer()) };
    if context.json {
        output::json(&reply)?
    } else {
        output::text(bundle_text(bundle).trim_end())?
    }
    Ok(ExitCode::SUCCESS)
}

fn bundle_text(detail: &BundleDetail) -> String {
    let BundleDetail { bundle, deliver_to, orders, messages } = detail;
    let told = match messages {
        0 => "not sent yet".to_owned(),
        1 => "sent once".to_owned(),
        more => format!("sent {more} times"),
    };
    let to = deliver_to.as_ref().map(|name| format!("; {name} delivers it")).unwrap_or_default();
    let mut table = table(["ORDER", "STATE", "CABINET", "DOOR", "READY"]);
    for order in orders {
        let door = order.compartment.map_or_else(|| "-".to_owned(), |compartment| compartment.to_string());
        let ready = if order.ready { "yes" } else { "-" };
        table.add_row([order.order.as_str(), order.state.as_str(), order.cabinet.as_str(), &door, ready]);
    }
    output::keep_whole(&mut table, 4);
    format!("Bundle      {bundle}\nCredential  {told}{to}\n\n{table}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::api::{BundledOrder, OrderState};

    #[test]
    fn a_bundle_reads_as_a_page() {
        let order = |order: &str, state, compartment: Option<u16>| BundledOrder {
            order: order.parse().unwrap(),
            state,
            cabinet: "berlin-01".parse().unwrap(),
            compartment: compartment.and_then(schemas::messages::Compartment::new),
            ready: state == OrderState::Stored,
            until: None,
        };
        let detail = BundleDetail {
            bundle: "shop/run-7".parse().unwrap(),
            deliver_to: Some("rides".parse().unwrap()),
            orders: vec![order("A17", OrderState::Stored, Some(4)), order("A18", OrderState::Ready, None)],
            messages: 0,
        };
        let text = bundle_text(&detail);
        let lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        Bundle      shop/run-7
        Credential  not sent yet; rides delivers it

        ORDER  STATE   CABINET    DOOR  READY
        A17    stored  berlin-01  4     yes
        A18    ready   berlin-01  -     -
        ");
    }
}
