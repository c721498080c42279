//! How long orders are kept, as an operator says it.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{World, order};
use schemas::api::OrderState;
use schemas::ids::Role;

use crate::shell::Shell;

#[tokio::test]
async fn an_operator_shortens_a_window_and_gives_one_order_more_time() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    site.load("shop/A17").await?;
    let stored = world.shop.until_state("A17", OrderState::Stored).await?;
    let days = |days: u64| stored.at.0 + days * 24 * 60 * 60 * 1_000;
    ensure!(stored.until.map(|until| until.0) == Some(days(3)), "{stored:?}");

    let shell = Shell::of(&world, Role::Operator, "admin")?;
    let shown = String::from_utf8(shell.run(&["policy", "show"]).await?.stdout)?;
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().to_str().context("a path")?;
    std::fs::write(path, shown.replacen("window_minutes = 4320", "window_minutes = 2880", 1))?;
    let preview = shell.json(&["policy", "preview", path]).await?;
    ensure!(preview["policy_preview"][0]["first"][0] == "shop/A17", "{preview}");
    let put = shell.json(&["policy", "put", path, "--live"]).await?;
    ensure!(put["policy"]["version"] == 1, "{put}");
    std::fs::write(path, shown)?;
    shell.fails(&["policy", "put", path], 1, "the policies are at version 1").await?;
    let order = shell.json(&["order", "show", "shop/A17"]).await?;
    let until = schemas::api::Rfc3339(days(2)).to_string();
    ensure!(order["order"]["summary"]["until"] == until.as_str(), "{order}");

    let later = schemas::api::Rfc3339(days(10)).to_string();
    shell.json(&["order", "extend", "shop/A17", "--until", &later]).await?;
    let order = shell.json(&["order", "show", "shop/A17"]).await?;
    ensure!(order["order"]["summary"]["until"] == later.as_str(), "{order}");
    shell.fails(&["order", "extend", "shop/A17", "--until", "2001-01-01"], 1, "deadline_not_later").await?;
    let overdue = shell.json(&["order", "list", "--overdue"]).await?;
    ensure!(overdue["orders"] == serde_json::json!([]), "{overdue}");
    Ok(())
}
