//! `fleet integration quota`.

use std::process::ExitCode;

use schemas::api::{QuotaDetail, QuotaOverrides, Reply, Request};

use super::args::QuotaArgs;
use super::context::{Context, other_answer};
use super::output::{self, table};

pub(super) fn quota(context: &Context, args: QuotaArgs) -> anyhow::Result<ExitCode> {
    let QuotaArgs { name, orders_per_minute, orders_per_day, open_orders, requests_per_minute, default } = args;
    let given = QuotaOverrides { orders_per_minute, orders_per_day, open_orders, requests_per_minute };
    let limits = (default || given != QuotaOverrides::default()).then_some(given);
    let folder = context.folder()?;
    let reply = context.ask(&folder, &Request::IntegrationQuota { integration: name, limits })?;
    let Reply::Quota(detail) = &reply else { return Err(other_answer()) };
    if context.json {
        output::json(&reply)?;
    } else {
        output::text(&text(detail))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(detail: &QuotaDetail) -> String {
    let QuotaDetail { integration, limits, own, open_orders, orders_refused, requests_refused } = detail;
    let mut rows = table(["limit", "most", "now"]);
    rows.add_row(["orders in a minute", &limits.orders_per_minute.to_string(), ""]);
    rows.add_row(["orders in a day", &limits.orders_per_day.to_string(), ""]);
    rows.add_row(["open orders", &limits.open_orders.to_string(), &open_orders.to_string()]);
    rows.add_row(["requests in a minute", &limits.requests_per_minute.to_string(), ""]);
    let whose = if *own { "its own limits" } else { "the limits of the broker's settings" };
    format!(
        "Integration {integration} has {whose}.\n\n{rows}\n\nRefused since the broker was started: {orders_refused} orders, \
         {requests_refused} requests."
    )
}
