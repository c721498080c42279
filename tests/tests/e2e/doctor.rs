//! `fleet doctor`: silent about a fleet that is well, and clear about what is not.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use fleet_cli::setup::{self, PersonOptions};
use fleet_cli::stage::{CabinetPlan, Verdict};
use fleet_tests::{Look, World, until};
use schemas::ids::Role;
use schemas::messages::Down;
use serde_json::Value;

use crate::shell::Shell;

/// What the doctor found, and how it ended.
async fn examine(shell: &Shell, arguments: &[&str]) -> anyhow::Result<(Option<i32>, Vec<Value>)> {
    let output = shell.run(&[&["doctor", "--json"], arguments].concat()).await?;
    let answer: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    let findings = answer["findings"].as_array().cloned().context("no findings")?;
    Ok((output.status.code(), findings))
}

fn of<'a>(findings: &'a [Value], what: &str) -> anyhow::Result<&'a Value> {
    findings.iter().find(|one| one["what"] == what).with_context(|| format!("nothing about {what} in {findings:?}"))
}

#[tokio::test]
async fn a_fleet_that_is_well_has_nothing_that_needs_a_person() -> anyhow::Result<()> {
    let world = World::start().await?;
    let _site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    operator.json(&["backup"]).await?;
    // Its owner has carried the roots to a safe.
    let layout = world.stage.layout();
    std::fs::rename(layout.offline(), world.stage.folder().join("safe"))?;
    let dir = layout.dir().display().to_string();
    let (code, findings) = examine(&operator, &["--fleet", &dir]).await?;
    let bad: Vec<_> = findings.iter().filter(|one| one["state"] != "good").collect();
    ensure!(code == Some(0) && bad.is_empty(), "ended with {code:?}: {bad:?}");
    for what in ["own certificate", "name", "port", "connection", "broker", "clock", "signer", "disk", "backup"] {
        of(&findings, what)?;
    }
    of(&findings, "cabinet berlin-01")?;
    ensure!(findings.iter().any(|one| one["what"].as_str().is_some_and(|what| what.starts_with("broker/server.crt"))));
    let text = operator.run(&["doctor"]).await?;
    ensure!(text.status.code() == Some(0), "{text:?}");
    ensure!(String::from_utf8_lossy(&text.stdout).contains("cabinet berlin-01"), "{text:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_is_named_with_what_to_do() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut away = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let behind = world.cabinet_behind_carrier(CabinetPlan::new("berlin-02", "1-2:S")).await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    away.cabinet.stop_agent().await?;
    world.until_online(&away, false).await?;
    // Its book does not arrive.
    behind.carrier()?.rule(|down| if matches!(down, Down::Codes(_)) { Verdict::Drop } else { Verdict::Pass });
    operator.json(&["staff", "add", "kim"]).await?;
    until("the second cabinet is behind", async || {
        let (code, findings) = examine(&operator, &[]).await?;
        let found = of(&findings, "cabinet berlin-02")?;
        let said = found["said"].as_str().unwrap_or_default();
        let behind = code == Some(1) && found["state"] == "wrong" && said.contains("not yet");
        Ok(Look::at(behind.then_some(()), || format!("{code:?} {found}")))
    })
    .await?;
    let (_, findings) = examine(&operator, &[]).await?;
    let offline = of(&findings, "cabinet berlin-01")?;
    ensure!(offline["said"].as_str().is_some_and(|said| said.starts_with("offline since 2")), "{offline}");
    ensure!(of(&findings, "backup")?["state"] == "wrong", "{findings:?}");

    let layout = world.stage.layout();
    let then = SystemTime::now() - Duration::from_secs(80 * 86_400);
    let name = "tim".parse()?;
    setup::person(&PersonOptions { layout, role: Role::Technician, name, passphrase: None, now: then })?;
    let technician = Shell::of(&world, Role::Technician, "tim")?;
    let (code, findings) = examine(&technician, &[]).await?;
    let ends = of(&findings, "own certificate")?;
    ensure!(code == Some(1) && ends["state"] == "soon", "{ends}");
    ensure!(findings.iter().all(|one| one["state"] == "good" || one["advice"].is_string()), "{findings:?}");

    behind.carrier()?.rule(|_| Verdict::Pass);
    world.stage.kill_signer().await?;
    until("the broker misses its signer", async || {
        let (_, findings) = examine(&operator, &[]).await?;
        let signer = of(&findings, "signer")?;
        Ok(Look::at((signer["state"] == "wrong").then_some(()), || signer.to_string()))
    })
    .await?;
    world.stage.stop_broker().await?;
    let (code, findings) = examine(&operator, &[]).await?;
    ensure!(code == Some(1) && of(&findings, "port")?["state"] == "wrong", "{findings:?}");
    Ok(())
}
