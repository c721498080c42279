//! No secret is in any log.

use anyhow::ensure;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Answered, RawClient, World, order};
use schemas::api::OrderState;
use schemas::ids::Role;
use schemas::messages::Compartment;

#[tokio::test]
async fn no_code_and_no_pin_is_in_any_log() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let mut put = order("A17", "berlin-01", "S");
    put.recipient.phone = Some("+491701234567".to_owned());
    world.shop.put(&put).await?;
    let folder = world.stage.person(Role::Integration, "shop")?;
    let mut careless = RawClient::connect(&folder, "integration:acme:shop~careless").await?;
    let malformed =
        r#"{"order":"A18","cabinet":"berlin-01","size":"S","category":"retail","recipient":"+491701234567"}"#;
    let answer = careless.publish("v1/acme/integration/shop/orders/put", malformed).await?;
    ensure!(matches!(answer, Answered::Refused(_)), "{answer:?}");
    site.load("shop/A17").await?;
    let notification = world.shop.until_notified("A17").await?;
    ensure!(notification.recipient.phone == put.recipient.phone);
    site.screen()?.enter("00000001").await?;
    site.collect(&notification.code).await?;
    site.screen()?.enter(&notification.qr).await?;
    world.shop.until_state("A17", OrderState::Collected).await?;
    ensure!(world.unlock(&site, Compartment::new(3).unwrap()).await?.is_ok());
    world.stage.kill_signer().await?;
    ensure!(world.unlock(&site, Compartment::new(4).unwrap()).await?.is_err());
    site.cabinet.stop_agent().await?;
    world.stage.stop_broker().await?;

    let screen = std::fs::read_to_string(site.cabinet.folder().path.join("screen.url")).unwrap_or_default();
    let screen_key = screen.trim().split_once("#key=").map_or("", |(_, key)| key).to_owned();
    let mut logs = 0;
    for entry in std::fs::read_dir(world.stage.folder())? {
        let path = entry?.path();
        if path.extension().is_none_or(|ext| ext != "log") {
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        logs += usize::from(!text.is_empty());
        for (what, secret) in [
            ("the code", notification.code.as_str()),
            ("a wrong code", "00000001"),
            ("the QR text", &notification.qr),
            ("the PIN", world.pin()),
            ("the phone number", "1701234567"),
            ("the screen's key", &screen_key),
            ("a private key", "PRIVATE KEY"),
        ] {
            let found = !secret.is_empty() && text.contains(secret);
            ensure!(!found, "{what} is in {}", path.display());
        }
    }
    ensure!(logs >= 3, "only {logs} logs were there to look at");
    Ok(())
}
