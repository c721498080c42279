//! `fleet order put|list|show|change|open|load|loaded|retrieve|retrieved|move|cancel|quarantine|release|close|extend|resend|reissue`.

use std::process::ExitCode;

use schemas::api::{
    AttributeFlags, Intervened, OrderCancel, OrderContent, OrderDetail, OrderPut, OrderSummary, Recipient, Reply,
    Request, SecondFactor,
};
use schemas::crypto::answers::Answer;
use schemas::ids::{CabinetId, Role};
use schemas::messages::{ConfirmOrder, LoadOrder, OrderKey, Prompt, RetrieveOrder};
use serde_json::json;

use super::args::{OrderChangeArgs, OrderCommand, OrderPutArgs, SecondFactorArgs};
use super::context::{Context, block_on, line_of_input, other_answer, private_line};
use super::failure::Usage;
use super::output::{self, table};
use super::{cabinets, errands};
use crate::client::Client;
use crate::folder::PersonFolder;

pub(super) fn run(context: &Context, command: OrderCommand) -> anyhow::Result<ExitCode> {
    let folder = context.folder()?;
    let own = folder.identity().role == Role::Integration;
    match command {
        OrderCommand::Put(args) if own => put_own(context, &folder, args),
        OrderCommand::Put(args) => put(context, &folder, args),
        OrderCommand::List { cabinet, overdue } => list(context, &folder, cabinet, overdue),
        OrderCommand::Show { order } => show(context, &folder, order),
        OrderCommand::Change(args) => change(context, &folder, args),
        OrderCommand::Cancel { order } if own => cancel_own(context, &folder, &order),
        OrderCommand::Cancel { order } => cancel(context, &folder, order),
        OrderCommand::Quarantine { order, reason } => {
            ask_shown(context, &folder, &Request::OrderQuarantine { order, reason })
        }
        OrderCommand::Release { order, reason } => {
            ask_shown(context, &folder, &Request::OrderRelease { order, reason })
        }
        OrderCommand::Close { order, closed_as, reason } => {
            ask_shown(context, &folder, &Request::OrderClose { order, closed_as, reason })
        }
        OrderCommand::Extend { order, until } => {
            let text = format!("Order {order} can be collected until {}; its code stays.", output::time(until));
            wish(context, &folder, &Request::OrderExtend { order, until }, &text)
        }
        OrderCommand::Resend { order } => {
            let text = format!("The code of order {order} goes out once more.");
            wish(context, &folder, &Request::OrderResend { order }, &text)
        }
        OrderCommand::Open { order, token } => {
            let reply = context.ask(&folder, &Request::OrderOpen { order, token })?;
            // The same was asked for before: what became of it is in the order's history.
            let before = matches!(reply, Reply::Order(_));
            if before { shown(context, &reply) } else { cabinets::tell_unlock(context, &reply) }
        }
        OrderCommand::Load { order, compartment, size, sign } => {
            errands::run(context, &folder, LoadOrder { order, compartment, size }.into(), sign)
        }
        OrderCommand::Loaded { order, undo, sign } => {
            errands::run(context, &folder, ConfirmOrder { order, inside: !undo, retrieving: false }.into(), sign)
        }
        OrderCommand::Retrieve { order, sign } => errands::run(context, &folder, RetrieveOrder { order }.into(), sign),
        OrderCommand::Retrieved { order, undo, sign } => {
            errands::run(context, &folder, ConfirmOrder { order, inside: undo, retrieving: true }.into(), sign)
        }
        OrderCommand::Move { order, to } => {
            let text = format!("Order {order} is to be loaded at {to} now.");
            wish(context, &folder, &Request::OrderMove { order, to }, &text)
        }
        OrderCommand::Reissue { order } => {
            let text = format!(
                "Order {order} gets another code. It goes out once its cabinet holds it; until then the old one works."
            );
            wish(context, &folder, &Request::OrderReissue { order }, &text)
        }
    }
}

fn put(context: &Context, folder: &PersonFolder, args: OrderPutArgs) -> anyhow::Result<ExitCode> {
    let key = args.order.clone();
    let request = Request::OrderPut { integration: key.integration.clone(), order: content(args)? };
    let reply = context.ask(folder, &request)?;
    done(context, &reply, &format!("Put order {key}.\n\nFollow it: fleet order show {key}"))
}

/// An integration publishes, as a backend would.
fn put_own(context: &Context, folder: &PersonFolder, args: OrderPutArgs) -> anyhow::Result<ExitCode> {
    check_own(folder, &args.order)?;
    let key = args.order.clone();
    let order = content(args)?;
    publish(folder, async |client| client.put_order(&order).await)?;
    taken(context, &key)
}

fn change(context: &Context, folder: &PersonFolder, args: OrderChangeArgs) -> anyhow::Result<ExitCode> {
    let OrderChangeArgs { order, size, category, wants, phone, email, language, ready, not_ready, hold, .. } = args;
    let (replaces, second_factor) = (args.replaces, second_factor_of(args.second_factor)?);
    let recipient = [&phone, &email, &language].iter().any(|one| one.is_some());
    let recipient = recipient.then(|| recipient_of(phone, email, language)).transpose()?;
    let ready = if ready || not_ready { Some(ready) } else { None };
    let change = OrderContent { size, category, wants, recipient, ready, hold_minutes: hold, second_factor };
    if change.is_empty() {
        return Err(Usage("name what is to be another, such as --size or --phone".into()).into());
    }
    ask_shown(context, folder, &Request::OrderChange { order, replaces, change: Box::new(change) })
}

fn cancel(context: &Context, folder: &PersonFolder, order: OrderKey) -> anyhow::Result<ExitCode> {
    let reply = context.ask(folder, &Request::OrderCancel { order: order.clone() })?;
    done(context, &reply, &format!("Cancelled order {order}."))
}

fn wish(context: &Context, folder: &PersonFolder, request: &Request, text: &str) -> anyhow::Result<ExitCode> {
    let reply = context.ask(folder, request)?;
    done(context, &reply, text)
}

fn cancel_own(context: &Context, folder: &PersonFolder, key: &OrderKey) -> anyhow::Result<ExitCode> {
    check_own(folder, key)?;
    let cancel = OrderCancel { order: key.order.clone() };
    publish(folder, async |client| client.cancel_order(&cancel).await)?;
    taken(context, key)
}

fn publish(
    folder: &PersonFolder,
    send: impl AsyncFnOnce(&Client) -> Result<(), crate::client::ClientError>,
) -> anyhow::Result<()> {
    block_on(async {
        let client = Client::connect(folder).await?;
        let sent = send(&client).await;
        client.close().await;
        sent
    })??;
    Ok(())
}

fn check_own(folder: &PersonFolder, key: &OrderKey) -> anyhow::Result<()> {
    let own = &folder.identity().name;
    if key.integration == *own {
        return Ok(());
    }
    let order = &key.order;
    Err(Usage(format!("order {key} is not of {own}; name it {own}/{order}, or ask as an operator")).into())
}

fn taken(context: &Context, key: &OrderKey) -> anyhow::Result<ExitCode> {
    match context.json {
        true => output::json(&json!({ "taken": key }))?,
        false => output::text(&format!("The fleet has it. What became of it: fleet order show {key}"))?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn done(context: &Context, reply: &Reply, text: &str) -> anyhow::Result<ExitCode> {
    if !matches!(reply, Reply::Done | Reply::Order(_)) {
        return Err(other_answer());
    }
    if context.json {
        output::json(reply)?
    } else {
        output::text(text)?
    }
    Ok(ExitCode::SUCCESS)
}

fn content(args: OrderPutArgs) -> anyhow::Result<OrderPut> {
    let recipient = recipient_of(args.phone, args.email, args.language)?;
    Ok(OrderPut {
        order: args.order.order,
        cabinet: args.cabinet,
        site: args.site,
        size: args.size,
        more: args.more,
        category: args.category,
        wants: AttributeFlags {
            refrigerated: args.refrigerated,
            restricted: args.restricted,
            accessible: args.accessible,
        },
        recipient,
        ready: !args.not_ready,
        hold_minutes: args.hold,
        deposit: args.deposit,
        staff_release: args.staff_release,
        second_factor: second_factor_of(args.second_factor)?,
        shares: args.shares,
    })
}

/// Never an argument: everybody on the machine sees those.
fn second_factor_of(args: SecondFactorArgs) -> anyhow::Result<Option<SecondFactor>> {
    let SecondFactorArgs { second_factor, asks_for } = args;
    let Some(path) = second_factor else { return Ok(None) };
    let text = if path.as_os_str() == "-" { line_of_input()? } else { private_line(&path, "answer")? };
    let answer = Answer::parse(&text).map_err(|wrong| Usage(wrong.to_string()))?;
    let factor = SecondFactor { prompt: asks_for.unwrap_or(Prompt::Pin), answer };
    factor.check().map_err(Usage)?;
    Ok(Some(factor))
}

fn recipient_of(phone: Option<String>, email: Option<String>, language: Option<String>) -> anyhow::Result<Recipient> {
    let recipient = Recipient { phone, email, language };
    if recipient.fits() {
        return Ok(recipient);
    }
    let max = schemas::api::PHONE_MAX;
    Err(Usage(format!("phone, e-mail and language have at most {max} bytes each")).into())
}

fn list(
    context: &Context,
    folder: &PersonFolder,
    cabinet: Option<CabinetId>,
    overdue: bool,
) -> anyhow::Result<ExitCode> {
    let reply = context.ask(folder, &Request::OrderList { cabinet, overdue })?;
    let Reply::Orders(orders) = &reply else { return Err(other_answer()) };
    if context.json {
        output::json(&reply)?;
    } else {
        output::show(order_table(orders), "No orders.")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn order_table(orders: &[OrderSummary]) -> comfy_table::Table {
    let mut table = table(["ORDER", "STATE", "CABINET", "DOOR", "SINCE"]);
    for order in orders {
        let door = order.compartment.map_or_else(|| "-".to_owned(), |compartment| compartment.to_string());
        table.add_row([
            order.order.to_string(),
            order.state.to_string(),
            order.cabinet.to_string(),
            door,
            output::time(order.since),
        ]);
    }
    output::keep_whole(&mut table, 4);
    table
}

fn show(context: &Context, folder: &PersonFolder, order: OrderKey) -> anyhow::Result<ExitCode> {
    ask_shown(context, folder, &Request::OrderShow { order })
}

/// Asks for something that is answered with the order as it is then.
fn ask_shown(context: &Context, folder: &PersonFolder, request: &Request) -> anyhow::Result<ExitCode> {
    let reply = context.ask(folder, request)?;
    shown(context, &reply)
}

fn shown(context: &Context, reply: &Reply) -> anyhow::Result<ExitCode> {
    let Reply::Order(order) = reply else { return Err(other_answer()) };
    if context.json {
        output::json(reply)?
    } else {
        output::text(order_text(order).trim_end())?
    }
    Ok(ExitCode::SUCCESS)
}

fn order_text(detail: &OrderDetail) -> String {
    let OrderSummary { order, state, cabinet, compartment, until, until_local, .. } = &detail.summary;
    let door = compartment.map(|compartment| format!(", compartment {compartment}")).unwrap_or_default();
    let code = if detail.revoke_pending {
        "withdrawn, but its cabinet has not heard of it: there it may still open"
    } else if detail.notified {
        "made, and handed to the notification stream"
    } else {
        "not made yet"
    };
    let mut text = format!(
        "Order    {order}\nState    {state}\nCabinet  {cabinet}{door}\nSize     {size}\nCode     {code}\n",
        size = detail.size,
    );
    for (part, number) in detail.parts.iter().zip(1..) {
        let door = part.compartment.map_or_else(|| "no compartment".into(), |at| format!("compartment {at}"));
        text.push_str(&format!("Part {number}   {size}, {door}, {state}\n", size = part.size, state = part.state));
    }
    if let Some(content) = &detail.content {
        text.push_str(&format!("Content  {content}\n"));
    }
    if let Some(prompt) = detail.second_factor {
        text.push_str(&format!("Asks     for {prompt}, behind its code\n"));
    }
    if detail.staff_release {
        text.push_str("Release  by staff, behind its code\n");
    }
    if let Some(word) = &detail.shares {
        text.push_str(&format!("Shares   its door with others of {word}\n"));
    }
    if let Some(courier) = &detail.courier {
        text.push_str(&format!("Brought  by courier {courier}\n"));
    }
    if let Some(until) = until {
        let local = until_local.as_ref().map(|local| format!(" ({local} at the cabinet)")).unwrap_or_default();
        text.push_str(&format!("Until    {}{local}\n", output::time(*until)));
    }
    if let Some(Intervened { by, reason, at }) = &detail.intervened {
        text.push_str(&format!("By       {by}, {}\nReason   {reason}\n", output::time(*at)));
    }
    if !detail.history.is_empty() {
        text.push_str("\nHistory\n");
    }
    for (state, at) in &detail.history {
        text.push_str(&format!("  {}  {state}\n", output::time(*at)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::api::{OrderState, PartStatus, Rfc3339};

    fn summary(order: &str, state: OrderState, compartment: Option<u16>) -> OrderSummary {
        OrderSummary {
            order: order.parse().unwrap(),
            state,
            cabinet: "berlin-01".parse().unwrap(),
            compartment: compartment.and_then(schemas::messages::Compartment::new),
            since: Rfc3339(1_795_378_500_007),
            until: compartment.map(|_| Rfc3339(1_795_637_700_007)),
            until_local: compartment.map(|_| "2026-11-25 21:15 CET".into()),
        }
    }

    #[test]
    fn the_table_of_orders_fits_80_columns_with_the_longest_names() {
        let long = format!("{}/{}", "i".repeat(32), "O".repeat(64));
        let orders = [summary("shop/A17", OrderState::Stored, Some(4)), summary(&long, OrderState::Created, None)];
        let shown = order_table(&orders).to_string();
        assert!(shown.lines().all(|line| line.trim_end().chars().count() <= 80), "{shown}");
    }

    #[test]
    fn an_order_in_several_compartments_shows_them() {
        let part = |size, state, at| PartStatus { size, state, compartment: schemas::messages::Compartment::new(at) };
        let (m, l) = (schemas::messages::Size::M, schemas::messages::Size::L);
        let detail = OrderDetail {
            summary: summary("shop/A17", OrderState::PartlyCollected, Some(4)),
            size: m,
            parts: vec![part(m, OrderState::Collected, 4), part(l, OrderState::Stored, 7)],
            history: Vec::new(),
            notified: true,
            content: None,
            revoke_pending: false,
            intervened: None,
            second_factor: None,
            staff_release: false,
            shares: None,
            courier: None,
        };
        insta::assert_snapshot!(order_text(&detail), @r"
        Order    shop/A17
        State    partly_collected
        Cabinet  berlin-01, compartment 4
        Size     M
        Code     made, and handed to the notification stream
        Part 1   M, compartment 4, collected
        Part 2   L, compartment 7, stored
        Until    2026-11-25 20:15:00Z (2026-11-25 21:15 CET at the cabinet)
        ");
    }

    #[test]
    fn an_order_reads_as_a_page() {
        let detail = OrderDetail {
            summary: summary("shop/A17", OrderState::Stored, Some(4)),
            size: schemas::messages::Size::M,
            parts: Vec::new(),
            history: vec![
                (OrderState::Created, Rfc3339(1_795_378_400_000)),
                (OrderState::Stored, Rfc3339(1_795_378_500_007)),
            ],
            notified: true,
            content: Some("0123456789abcdef".repeat(4)),
            revoke_pending: true,
            intervened: Some(Intervened {
                by: "support:acme:sue".into(),
                reason: "it was not cooled".into(),
                at: Rfc3339(1_795_378_500_007),
            }),
            second_factor: Some(Prompt::BirthDate),
            staff_release: true,
            shares: Some("house-7".parse().unwrap()),
            courier: Some("jo".parse().unwrap()),
        };
        insta::assert_snapshot!(order_text(&detail), @r"
        Order    shop/A17
        State    stored
        Cabinet  berlin-01, compartment 4
        Size     M
        Code     withdrawn, but its cabinet has not heard of it: there it may still open
        Content  0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
        Asks     for birth_date, behind its code
        Release  by staff, behind its code
        Shares   its door with others of house-7
        Brought  by courier jo
        Until    2026-11-25 20:15:00Z (2026-11-25 21:15 CET at the cabinet)
        By       support:acme:sue, 2026-11-22 20:15:00Z
        Reason   it was not cooled

        History
          2026-11-22 20:13:20Z  created
          2026-11-22 20:15:00Z  stored
        ");
    }
}
