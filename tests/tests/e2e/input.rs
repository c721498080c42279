//! What the fleet says to orders and requests that are wrong.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Answered, RawClient, World, order};
use schemas::api::{OrderState, Reply, Request};
use schemas::ids::Role;
use schemas::topics::Stream;

/// A second client of the shop that checks nothing before it sends.
async fn careless(world: &World) -> anyhow::Result<RawClient> {
    let folder = world.stage.person(Role::Integration, "shop")?;
    RawClient::connect(&folder, "integration:acme:shop~careless").await
}

#[tokio::test]
async fn a_malformed_order_is_refused_with_the_name_of_the_field() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut client = careless(&world).await?;
    for (payload, named) in [
        (r#"{"order":"A1","cabinet":"c1","size":"M"}"#, "category"),
        (r#"{"order":"A1","cabinet":"c1","size":"medium","category":"retail"}"#, "medium"),
        (r#"{"order":"A/1","cabinet":"c1","size":"M","category":"retail"}"#, "order"),
        (r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail","colour":"red"}"#, "colour"),
        (r#"["A1","c1","M","retail"]"#, "expected"),
        ("not json", "expected"),
        ("", "EOF"),
    ] {
        let answer = client.publish("v1/acme/integration/shop/orders/put", payload).await?;
        let Answered::Refused(text) = &answer else { anyhow::bail!("`{payload}` was answered with {answer:?}") };
        ensure!(text.starts_with("PayloadFormatInvalid") && text.contains(named), "`{payload}`: {text}");
    }
    let answer = client.publish("v1/acme/integration/shop/orders/put", vec![b' '; 16 * 1024 + 1]).await?;
    ensure!(matches!(&answer, Answered::Refused(text) if text.contains("16384")), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn the_same_id_with_other_content_is_rejected_with_both_hashes() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let _site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S,5:M")).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    world.shop.put(&order("A17", "berlin-01", "M")).await?;
    let rejected = world.shop.until_state("A17", OrderState::Rejected).await?;
    ensure!(rejected.reason.context("no reason")?.as_str() == "other_content", "{rejected:?}");
    let [held, came] = rejected.content.context("no hashes")?;
    ensure!(held.len() == 64 && came.len() == 64 && held != came, "{held} {came}");
    let reserved = world.shop.states("A17").into_iter().filter(|state| *state == OrderState::Reserved).count();
    ensure!(reserved == 1, "a repeated order was reserved {reserved} times");
    Ok(())
}

#[tokio::test]
async fn an_order_for_a_cabinet_that_nobody_knows_is_rejected() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    world.shop.put(&order("A17", "nowhere", "S")).await?;
    let rejected = world.shop.until_decided("A17").await?;
    ensure!(rejected.state == OrderState::Rejected, "{rejected:?}");
    ensure!(rejected.reason.context("no reason")?.as_str() == "unknown_cabinet", "{rejected:?}");
    Ok(())
}

#[tokio::test]
async fn rows_come_again_until_they_are_acknowledged() -> anyhow::Result<()> {
    let world = World::start().await?;
    let shop = world.stage.client(Role::Integration, "other").await?;
    for id in ["A1", "A2", "A3"] {
        shop.put_order(&order(id, "nowhere", "S")).await?;
    }
    let mut consumer = world.stage.integration("other").await?;
    let first = consumer.next_row().await?;
    let (n, seen) = (first.row.n(), first.payload().clone());
    let second = consumer.next_row().await?;
    ensure!(n == 1 && second.row.n() == 2);
    drop((consumer, second));

    // Neither was acknowledged: both come again, byte for byte.
    let mut consumer = world.stage.integration("other").await?;
    let again = consumer.next_row().await?;
    ensure!(again.row.n() == 1 && *again.payload() == seen, "{again:?}");
    consumer.ack(again).await?;
    let second = consumer.next_row().await?;
    ensure!(second.row.n() == 2, "{second:?}");
    consumer.ack(second).await?;
    consumer.close().await;

    let mut consumer = world.stage.integration("other").await?;
    let next = consumer.next_row().await?;
    ensure!(next.row.n() == 3, "an acknowledged row came again: {next:?}");

    // Asking moves no cursor and shows what was acknowledged too.
    let rows = shop.request(&Request::Rows { stream: Stream::Status, after: 1 }).await?;
    let Reply::Statuses(page) = rows else { anyhow::bail!("{rows:?}") };
    let numbers: Vec<_> = page.rows.iter().map(|row| row.n).collect();
    ensure!(numbers == [2, 3] && !page.more, "{numbers:?}");
    let codes = shop.request(&Request::Rows { stream: Stream::Notifications, after: 0 }).await?;
    ensure!(matches!(codes, Reply::Error(_)), "codes were handed out a second time");
    Ok(())
}
