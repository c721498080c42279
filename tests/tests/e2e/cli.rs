//! The `fleet` command against a running fleet: exit codes, JSON, and words for people.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, PATIENCE};
use fleet_tests::{World, order};
use schemas::ids::Role;
use schemas::messages::Compartment;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::shell::Shell;

#[tokio::test]
async fn an_operator_does_a_days_work_at_the_shell() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S,5:M")).await?;
    let shell = Shell::of(&world, Role::Operator, "admin")?;
    let mut watching = shell.command(&["watch", "--json"]).stdout(std::process::Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(watching.stdout.take().context("no stdout")?).lines();

    let list = shell.json(&["cabinet", "list"]).await?;
    ensure!(list.to_string().contains("\"berlin-01\"") && list.to_string().contains("\"online\":true"), "{list}");
    shell.json(&["order", "put", "shop/A17", "--cabinet", "berlin-01", "--size", "M"]).await?;
    let orders = shell.json(&["order", "list"]).await?;
    ensure!(orders.to_string().contains("\"state\":\"reserved\""), "{orders}");
    let shown = shell.json(&["order", "show", "shop/A17"]).await?;
    ensure!(shown.to_string().contains("\"compartment\":5"), "{shown}");

    let unlocked = shell.json(&["unlock", "berlin-01", "2", "--reason", "lost glove"]).await?;
    ensure!(unlocked.to_string().contains("\"outcome\":\"opened\""), "{unlocked}");
    site.until_opened_remotely(Compartment::new(2).context("a door")?, 1).await?;
    let seen = async {
        while let Some(line) = lines.next_line().await? {
            let item: serde_json::Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if item["event"]["kind"] == "unlock_done" {
                return Ok(item);
            }
        }
        anyhow::bail!("`fleet watch` ended")
    };
    let event = tokio::time::timeout(PATIENCE, seen).await.context("`fleet watch` shows no unlock")??;
    ensure!(event["event"]["compartment"] == 2, "{event}");

    let cabinet = shell.json(&["cabinet", "show", "berlin-01"]).await?;
    ensure!(cabinet.to_string().contains("\"door\":\"open\""), "{cabinet}");
    shell.json(&["order", "cancel", "shop/A17"]).await?;
    let shown = shell.json(&["order", "show", "shop/A17"]).await?;
    ensure!(shown.to_string().contains("\"state\":\"cancelled\""), "{shown}");
    Ok(())
}

#[tokio::test]
async fn what_fails_says_why_and_ends_with_a_code() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    operator
        .fails(&["order", "put", "shop/A1", "--cabinet", "berlin-01", "--size", "L"], 1, "no_fitting_compartment")
        .await?;
    operator.fails(&["order", "put", "shop/A2", "--cabinet", "nowhere", "--size", "S"], 1, "unknown_cabinet").await?;
    operator.fails(&["order", "show", "shop/A99"], 1, "there is no order shop/A99").await?;
    operator.fails(&["order", "put", "shop/A2", "--cabinet", "berlin-01", "--size", "huge"], 2, "huge").await?;
    operator.fails(&["unlock", "berlin-01", "0", "--reason", "x"], 2, "1 to 999").await?;
    let technician = Shell::of(&world, Role::Technician, "tim")?;
    technician
        .fails(&["unlock", "berlin-01", "1", "--reason", "x"], 1, "role technician may not ask for unlock")
        .await?;
    let shop = Shell::of(&world, Role::Integration, "shop")?;
    shop.fails(&["cabinet", "list"], 1, "role integration may not ask for cabinet.list").await?;
    world.shop.put(&order("A3", "berlin-01", "S")).await?;
    world.shop.until_decided("A3").await?;
    ensure!(shop.json(&["order", "list"]).await?.to_string().contains("shop/A3"));

    site.cabinet.stop_agent().await?;
    world.until_online(&site, false).await?;
    operator.fails(&["unlock", "berlin-01", "1", "--reason", "x"], 1, "is not connected, nothing was sent").await?;
    world.stage.stop_broker().await?;
    operator.fails(&["cabinet", "list"], 1, "check that the broker runs").await?;
    let nobody = Shell { folder: world.stage.folder().join("nobody"), ..operator };
    nobody.fails(&["cabinet", "list"], 2, "nobody").await?;
    site.no_more_pulses()
}
