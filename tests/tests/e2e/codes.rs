//! A code that is sent again, another one in its place, and another order in that of the one that was put.

use anyhow::ensure;
use fleet_cli::stage::{CabinetPlan, Stage};
use fleet_tests::{World, order};
use schemas::api::OrderState;
use schemas::crypto::codes::LETTERS;
use schemas::ids::{Identity, TenantId};
use schemas::topics::{OrderChange, Topic};

fn topic(tenant: &TenantId, change: OrderChange) -> anyhow::Result<Topic> {
    Ok(Topic::OrderChange { tenant: tenant.clone(), integration: "shop".parse()?, change })
}

/// Acceptance 5.
#[tokio::test]
async fn a_code_sent_again_is_the_same_and_with_another_one_it_is_dead() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    let door = site.load("shop/A17").await?;
    let first = world.shop.until_notified("A17").await?;
    let Identity { tenant, .. } = world.operator.identity().clone();

    for again in [2, 3] {
        world.shop.client().publish(&topic(&tenant, OrderChange::Resend)?, br#"{"order":"A17"}"#.to_vec()).await?;
        let sent = world.shop.until_messages("A17", again).await?;
        ensure!(
            sent.code == first.code && sent.qr == first.qr && sent.id != first.id,
            "message {again} has another code"
        );
    }
    world.shop.client().publish(&topic(&tenant, OrderChange::Reissue)?, br#"{"order":"A17"}"#.to_vec()).await?;
    let other = world.shop.until_messages("A17", 4).await?;
    ensure!(other.code != first.code && other.qr != first.qr, "the other code is the same");

    // It is announced once the cabinet holds it, and with the same book the old one is dead.
    for old in [&first.code, &first.qr] {
        let answer = site.screen()?.enter(old).await?;
        ensure!(answer.body["result"] == "refused", "{answer:?}");
    }
    site.no_more_pulses()?;
    ensure!(site.collect(&other.code).await? == door);
    world.shop.until_state("A17", OrderState::Collected).await?;
    Ok(())
}

/// Size and recipient change while the order waits, and the recipient once more when the code is out.
#[tokio::test]
async fn a_changed_order_moves_and_another_number_gets_another_code() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1:S,2:L")).await?;
    let Identity { tenant, .. } = world.operator.identity().clone();
    let change = topic(&tenant, OrderChange::Content)?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    world.shop.until_state("A17", OrderState::Reserved).await?;
    world.shop.client().publish(&change, br#"{"order":"A17","change":{"size":"L"}}"#.to_vec()).await?;
    let door = site.load("shop/A17").await?;
    ensure!(door.number() == 2, "it was loaded into {door}");
    let first = world.shop.until_notified("A17").await?;

    let other = br#"{"order":"A17","change":{"recipient":{"phone":"+491701234567"}}}"#;
    world.shop.client().publish(&change, other.to_vec()).await?;
    let second = world.shop.until_messages("A17", 2).await?;
    ensure!(second.recipient.phone.as_deref() == Some("+491701234567") && second.code != first.code);
    let answer = site.screen()?.enter(&first.code).await?;
    ensure!(answer.body["result"] == "refused", "{answer:?}");
    ensure!(site.collect(&second.code).await? == door);
    world.shop.until_state("A17", OrderState::Collected).await?;
    Ok(())
}

/// Where a fleet is set to letters its codes are typed as people write them, small and in groups.
#[tokio::test]
async fn a_code_of_letters_is_typed_as_people_write_it() -> anyhow::Result<()> {
    let stage = Stage::set_up("acme")?;
    let settings = stage.layout().broker_toml();
    let text = std::fs::read_to_string(&settings)?;
    std::fs::write(&settings, format!("{text}\n[codes]\nform = \"letters\"\n"))?;
    let mut world = World::start_on(stage).await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    for id in ["A1", "A2"] {
        world.shop.put(&order(id, "berlin-01", "S")).await?;
        site.load(&format!("shop/{id}")).await?;
    }
    let (first, second) = (world.shop.until_notified("A1").await?, world.shop.until_notified("A2").await?);
    for code in [&first.code, &second.code] {
        let letters = code.bytes().all(|letter| LETTERS.contains(&letter));
        ensure!(letters && (5..=8).contains(&code.len()), "a code of {} letters", code.len());
    }
    ensure!(first.code != second.code && !site.cabinet.screen()?.url().is_empty());
    let (head, tail) = first.code.split_at(3);
    ensure!(
        Some(site.collect(&format!(" {}-{}", head.to_lowercase(), tail.to_lowercase())).await?) == first.compartment
    );
    world.shop.until_state("A1", OrderState::Collected).await?;
    // One letter that is another is a wrong code, and no door moves.
    let other = LETTERS.iter().find(|letter| !second.code.as_bytes().contains(letter));
    let wrong = second.code.replacen(&second.code[..1], &char::from(*other.unwrap_or(&b'X')).to_string(), 1);
    let refused = site.screen()?.enter(&wrong).await?;
    ensure!(refused.body["result"] == "refused" && refused.body["reason"] == "wrong", "{refused:?}");
    site.no_more_pulses()?;
    ensure!(Some(site.collect(&second.code).await?) == second.compartment);
    world.shop.until_state("A2", OrderState::Collected).await?;
    Ok(())
}
