//! Somebody guesses at the keypad.

use anyhow::ensure;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{World, order};
use schemas::api::OrderState;
use schemas::messages::{Compartment, UnlockOutcome};

#[tokio::test]
async fn five_wrong_codes_lock_typing_and_nothing_else() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    for id in ["A1", "A2", "A3"] {
        world.shop.put(&order(id, "berlin-01", "S")).await?;
        site.load(&format!("shop/{id}")).await?;
    }
    let [first, second, third] = [
        world.shop.until_notified("A1").await?,
        world.shop.until_notified("A2").await?,
        world.shop.until_notified("A3").await?,
    ];

    for attempt in 1..=5 {
        // A right code of another customer in between resets nothing.
        if attempt == 3 {
            site.collect(&first.code).await?;
        }
        let answer = site.screen()?.enter(&wrong(&[&first.code, &second.code, &third.code], attempt)).await?;
        let expected = if attempt < 5 { "refused" } else { "locked" };
        ensure!(answer.body["result"] == expected, "attempt {attempt}: {answer:?}");
    }
    world.watch.until("typing is locked", |event| event.kind == "typing_locked").await?;
    locked(&site, &second.code).await?;

    site.collect(&second.qr).await?;
    world.shop.until_state("A2", OrderState::Collected).await?;
    let free = Compartment::new(4).unwrap();
    let unlocked = world.unlock(&site, free).await?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    ensure!(unlocked.outcome == UnlockOutcome::Opened, "{unlocked:?}");
    site.cabinet.close_door(free)?;
    site.until_pulses(6).await?;

    site.cabinet.stop_agent().await?;
    site.start_agent().await?;
    site.cabinet.until_online().await?;
    locked(&site, &third.code).await?;
    let pin = site.screen()?.staff(world.pin()).await;
    ensure!(pin.is_err(), "a PIN was taken while typing was locked");
    ensure!(site.screen()?.enter(&third.qr).await?.body["result"] == "opening");
    site.until_pulses(7).await?;
    ensure!(world.watch.of_kind("typing_locked").len() == 1, "{:?}", world.watch.of_kind("typing_locked"));
    Ok(())
}

/// Typing is refused without a look at the code, and no door moves.
async fn locked(site: &fleet_tests::Site, code: &str) -> anyhow::Result<()> {
    let answer = site.screen()?.enter(code).await?;
    ensure!(answer.body["result"] == "locked", "{answer:?}");
    let left = answer.body["millis"].as_u64().unwrap_or_default();
    ensure!((200_000..=300_000).contains(&left), "locked for {left} ms");
    site.no_more_pulses()
}

/// A code as long as the right ones, and none of them.
fn wrong(right: &[&str], attempt: usize) -> String {
    let digits = right[0].len();
    (0..).map(|n| format!("{:0digits$}", n * 10 + attempt)).find(|code| !right.contains(&code.as_str())).unwrap()
}
