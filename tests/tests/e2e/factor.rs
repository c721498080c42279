//! Restricted goods: a code and, at the same screen, what was given with the order.

use std::path::Path;

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, PATIENCE};
use fleet_tests::{World, order};
use schemas::api::{OrderPut, OrderState, RejectReason, SecondFactor};
use schemas::crypto::answers::Answer;
use schemas::messages::{Category, Prompt};
use serde_json::json;

const ANSWER: &str = "L01X00T47K";
const WRONG: &str = "L01X00T47Z";

fn asking(answer: &str) -> anyhow::Result<OrderPut> {
    let second_factor = Some(SecondFactor { prompt: Prompt::DocumentNumber, answer: Answer::parse(answer)? });
    Ok(OrderPut { second_factor, category: Category::Retail, ..order("R1", "berlin-01", "S") })
}

/// Every file below the folder: stores, logs, everything that a process has left.
fn assert_nowhere(folder: &Path, texts: &[&str]) -> anyhow::Result<usize> {
    let mut looked_at = 0;
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            looked_at += assert_nowhere(&path, texts)?;
            continue;
        }
        // Reading a socket or a pseudo-terminal would wait for what never comes.
        if !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(&path)?;
        looked_at += usize::from(!bytes.is_empty());
        for text in texts {
            let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            ensure!(!found, "{text} is in {}", path.display());
        }
    }
    Ok(looked_at)
}

#[tokio::test]
async fn an_order_is_handed_over_without_a_network_by_its_code_and_the_answer_that_came_with_it() -> anyhow::Result<()>
{
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1:S,2:L")).await?;
    world.shop.put(&asking(ANSWER)?).await?;
    world.shop.until_state("R1", OrderState::Reserved).await?;
    // The same order again, and then with another answer: the first one stays.
    world.shop.put(&asking(ANSWER)?).await?;
    world.shop.put(&asking(WRONG)?).await?;
    world.shop.until_reason("R1", RejectReason::OtherAnswer).await?;
    let stored = site.load("shop/R1").await?;
    let told = world.shop.until_notified("R1").await?;
    ensure!(told.second_factor == Some(Prompt::DocumentNumber), "{}", told.instruction);

    world.stage.stop_broker().await?;
    world.until_alone(&site).await?;
    let before = site.cabinet.pulses();
    let needed = json!({ "result": "answer_needed", "prompt": "document_number" });
    let refused = |reason: &str| json!({ "result": "refused", "reason": reason });
    let screen = site.screen()?;
    ensure!(screen.answer(ANSWER).await?.body == refused("code_first"), "an answer alone is nothing");
    for code in [&told.code, &told.qr] {
        ensure!(screen.enter(code).await?.body == needed);
        ensure!(screen.answer(WRONG).await?.body == refused("wrong_answer"));
    }
    // What was asked is forgotten with the process, and what was counted is not.
    site.cabinet.kill_agent().await?;
    site.start_agent().await?;
    let screen = site.screen()?;
    screen.until(PATIENCE, "the cabinet works again", |view| view["cabinet"] == "berlin-01").await?;
    ensure!(screen.answer(ANSWER).await?.body == refused("code_first"), "behind a restart");
    ensure!(site.cabinet.pulses() == before, "a door was opened without the answer");
    ensure!(screen.enter(&told.qr).await?.body == needed);
    ensure!(screen.answer("l01x-00t-47k").await?.body == json!({ "result": "opening", "compartments": [1] }));
    ensure!(site.until_pulses(before + 1).await? == stored);
    site.until_door(stored, "open").await?;
    site.cabinet.close_door(stored)?;

    world.start_broker().await?;
    world.shop.until_state("R1", OrderState::Collected).await?;
    site.no_more_pulses()?;
    let folder = world.stage.folder().to_owned();
    ensure!(assert_nowhere(&folder, &[ANSWER, WRONG])? > 20, "there was hardly anything to look at");
    Ok(())
}
