//! Waiting for what recovers by itself, and for what must not start.

use std::ffi::OsString;
use std::path::Path;

use anyhow::ensure;
use fleet_cli::stage::{PATIENCE, Process, ScreenAnswer};
use fleet_tests::{Look, Site, World, until};
use schemas::api::OrderPut;

pub(super) fn is_out_of_order(answer: &ScreenAnswer) -> bool {
    answer.status == 503 && answer.body["error"] == "out_of_order"
}

/// What the screen shows instead of its page.
pub(super) async fn until_out_of_order(site: &Site) -> anyhow::Result<()> {
    until("the screen says that the cabinet is out of order", async || {
        let shown = site.screen()?.view(None).await.map_or_else(|error| error.to_string(), |view| view.to_string());
        Ok(Look::at(shown.contains("out_of_order").then_some(()), || shown))
    })
    .await
}

pub(super) async fn until_in_order(site: &Site) -> anyhow::Result<()> {
    until("the screen shows its page again", async || {
        let shown = site.screen()?.view(None).await;
        Ok(shown.map_or_else(|error| Look::NotYet(error.to_string()), |_| Look::Seen(())))
    })
    .await
}

/// A backend connects and puts again until it has its acknowledgement.
pub(super) async fn put_again(world: &mut World, order: &OrderPut) -> anyhow::Result<()> {
    let World { shop, stage, .. } = world;
    let shop = tokio::sync::Mutex::new(shop);
    until("the put is acknowledged", async || {
        let mut shop = shop.lock().await;
        shop.reconnect(stage).await?;
        Ok(shop.put(order).await.map_or_else(|error| Look::NotYet(error.to_string()), Look::Seen))
    })
    .await
}

/// A program that must not start: says all of `texts` in one line, and ends with 1.
pub(super) async fn refuses_to_start(
    program: &Path,
    settings: &Path,
    texts: &[&str],
    log: &Path,
) -> anyhow::Result<()> {
    let arguments = ["--settings".into(), OsString::from(settings)];
    let mut process = Process::start("a program", program, arguments, log.to_owned())?;
    let code = process.exit_code(PATIENCE).await?;
    let output = process.output();
    ensure!(code == Some(1), "it ended with {code:?}: {output}");
    let said = output.lines().any(|line| line.starts_with("error: ") && texts.iter().all(|text| line.contains(text)));
    ensure!(said && !output.contains("panicked"), "no line says {texts:?}: {output}");
    Ok(())
}
