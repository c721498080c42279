//! What the owner of the network cannot do, even with a signing key that is meant for something else.

use anyhow::ensure;
use ed25519_dalek::SigningKey;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Look, Site, Target, World, order, until};
use schemas::cbor;
use schemas::crypto::envelope::{self, Scope};
use schemas::messages::{CodesMessage, Compartment, Down, Expect, Instance, KeyPurpose, Signed, UnlockOutcome};

/// Sends `attack` until the cabinet has reported its refusal; no door moves.
async fn refused(world: &World, site: &Site, kind: &str, reason: &str, attack: &[u8]) -> anyhow::Result<()> {
    let count = || world.watch.of_kind(kind).iter().filter(|event| event.text.ends_with(reason)).count();
    let before = count();
    // What cannot be told apart is reported at most once a second, so it is sent until a report comes.
    until(&format!("`{reason}` is reported"), async || {
        site.carrier()?.inject(attack).await?;
        let texts = || world.watch.of_kind(kind).into_iter().map(|event| event.text).collect::<Vec<_>>().join("; ");
        Ok(Look::at((count() > before).then_some(()), texts))
    })
    .await?;
    site.no_more_pulses()
}

#[tokio::test]
async fn a_command_with_the_wrong_key_or_for_somebody_else_opens_nothing() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet_behind_carrier(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let (door, empty) = (Compartment::new(1).unwrap(), Expect::empty());
    let genuine = world.stage.signing_key(KeyPurpose::Unlock)?;
    let codes = world.stage.signing_key(KeyPurpose::Codes)?;
    let own = SigningKey::from_bytes(&[7; 32]);
    let here = Target::of(&world.stage, &site);
    let other_cabinet = Target { cabinet: "berlin-02".parse()?, ..here.clone() };
    let other_tenant = Target { tenant: "umbra".parse()?, ..here.clone() };
    let earlier = Target { instance: Instance([9; 16]), ..here.clone() };
    for (what, reason, target, key) in [
        ("a key of the attacker", "unknown_key", &here, &own),
        ("the key for codes", "unknown_key", &here, &codes),
        ("another cabinet", "bad_signature", &other_cabinet, &genuine),
        ("another tenant", "bad_signature", &other_tenant, &genuine),
        ("an earlier enrolment", "bad_signature", &earlier, &genuine),
    ] {
        let challenge = site.carrier()?.until_challenge(None).await?;
        let attack = target.unlock(key, challenge, door, empty.clone())?;
        let tried = refused(&world, &site, "command_refused", reason, &attack).await;
        tried.map_err(|error| error.context(what))?;
    }
    // The same with everything right opens: the attacks failed for what was wrong with them.
    let challenge = site.carrier()?.until_challenge(None).await?;
    site.carrier()?.inject(&here.unlock(&genuine, challenge, door, empty)?).await?;
    site.until_opened_remotely(door, 1).await
}

#[tokio::test]
async fn a_command_that_is_damaged_or_names_the_wrong_content_opens_nothing() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet_behind_carrier(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    let full = site.load("shop/A17").await?;
    let key = world.stage.signing_key(KeyPurpose::Unlock)?;
    let here = Target::of(&world.stage, &site);
    let free = Compartment::new(4).unwrap();
    let absent = Expect::order(world.shop.key("A99")?);
    for (compartment, expects) in [(full, Expect::empty()), (full, absent.clone()), (free, absent)] {
        let challenge = site.carrier()?.until_challenge(None).await?;
        let attack = here.unlock(&key, challenge, compartment, expects)?;
        refused(&world, &site, "command_refused", "wrong_content", &attack).await?;
    }

    let challenge = site.carrier()?.until_challenge(None).await?;
    let good = here.unlock(&key, challenge, free, Expect::empty())?;
    let Down::Command(Signed { envelope }) = cbor::decode(&good)? else { anyhow::bail!("no command") };
    let mut flipped = envelope.clone();
    *flipped.0.last_mut().unwrap() ^= 1;
    let mut short = envelope.clone();
    short.0.pop();
    let mut long = envelope;
    long.0.push(0);
    for (reason, envelope) in [("bad_signature", flipped), ("malformed", short), ("malformed", long)] {
        let attack = cbor::encode(&Down::Command(Signed { envelope }));
        refused(&world, &site, "command_refused", reason, &attack).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_book_of_the_wrong_key_or_of_yesterday_changes_nothing() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet_behind_carrier(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let here = Target::of(&world.stage, &site);
    let (scope, key) = (
        Scope::Cabinet {
            tenant: &here.tenant,
            cabinet: &here.cabinet,
            instance: here.instance,
            purpose: KeyPurpose::Codes,
        },
        world.stage.public_key(KeyPurpose::Codes)?,
    );
    let is_book = |down: &Down| match down {
        Down::Codes(codes) => envelope::open(&codes.envelope.0, scope, [&key])
            .is_ok_and(|opened| matches!(cbor::decode(&opened.payload), Ok(CodesMessage::Book(_)))),
        Down::Welcome(_) | Down::Command(_) | Down::Personal(_) | Down::Config(_) | Down::Ask(_) | Down::Keyset(_) => {
            false
        }
    };
    let yesterday = site.carrier()?.seen().into_iter().find(is_book).map(|book| cbor::encode(&book));
    let yesterday = yesterday.ok_or_else(|| anyhow::anyhow!("the carrier saw no book"))?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    let full = site.load("shop/A17").await?;
    let code = world.shop.until_notified("A17").await?.code;
    let held = world.show(&site).await?.book_held;

    refused(&world, &site, "book_refused", "old_version", &yesterday).await?;
    let forged = here.book(&world.stage.signing_key(KeyPurpose::Unlock)?, held + 100);
    refused(&world, &site, "book_refused", "unknown_key", &forged).await?;
    let elsewhere = Target { cabinet: "berlin-02".parse()?, ..here.clone() };
    let misled = elsewhere.book(&world.stage.signing_key(KeyPurpose::Codes)?, held + 100);
    refused(&world, &site, "book_refused", "bad_signature", &misled).await?;

    let shown = world.show(&site).await?;
    ensure!(shown.book_held == held, "book {} is in force instead of {held}", shown.book_held);
    ensure!(site.collect(&code).await? == full, "the code does not work any more");
    Ok(())
}

#[tokio::test]
async fn a_challenge_of_an_earlier_start_is_worth_nothing() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut site = world.cabinet_behind_carrier(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let here = Target::of(&world.stage, &site);
    let key = world.stage.signing_key(KeyPurpose::Unlock)?;
    let door = Compartment::new(3).unwrap();
    let challenge = site.carrier()?.until_challenge(None).await?;
    let kept = here.unlock(&key, challenge, door, Expect::empty())?;
    site.cabinet.kill_agent().await?;
    site.start_agent().await?;
    site.cabinet.until_online().await?;
    refused(&world, &site, "command_refused", "unknown_challenge", &kept).await?;
    let result = world.unlock(&site, door).await?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    ensure!(result.outcome == UnlockOutcome::Opened, "{result:?}");
    site.until_opened_remotely(door, 1).await
}
