//! "Opening doors": the first seven lines of the security checklist, where each is tried, and what is tried nowhere else.
//!
//! | line | attacker | tried in |
//! |---|---|---|
//! | 1 a forged broker opens nothing | owns network, TLS key and topics | `line_1_*` here; simulation (`sim/adversary.rs`) |
//! | 1 a forged request makes the fleet sign nothing | owns the bus, or an identity of another role | `isolation`, `broker/tests/gate_suite`; the bus is never an input (ARCHITECTURE.md) |
//! | 2 replay, duplicate, reorder, delay | the carrier | `commands`, `cabinet/unlocking.rs`, simulation |
//! | 3 other cabinet, tenant or purpose | has a genuine key that is meant for something else | `attacks`, `schemas::crypto::envelope` |
//! | 4 crash between journal, pulse and event | the power | `crashes`, `power`, `disk`, chaos |
//! | 5 clocks, stuck boards, suspend | the wall clock | `clocks`, `cabinet/unlocking.rs`, `agent/src/boards` |
//! | 6 headers, encodings, wrong content, earlier enrolment | the carrier | `attacks`, `schemas/tests/contract/hostile.rs`, `line_6_*` here |
//! | 7 rollback, retired root, delegation beyond its scope or epoch | owns the network, a root that is out, a delegation | `keys`, `cabinet/people.rs`, `line_7_*` here |

use std::fs;

use anyhow::{Context as _, ensure};
use ed25519_dalek::SigningKey;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Look, Site, Target, World, until};
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{self, Scope, public_entry};
use schemas::ids::Role;
use schemas::messages::{
    Ask, Compartment, DelegatedTenant, Delegation, Down, Expect, KeyPurpose, Keyset, KeysetUpdate, PersonalCommand,
    Signed,
};

use crate::keys::{Keeper, opens, until_keyset};
use crate::shell::Shell;

/// Sends `attack` until the cabinet has told this refusal; no door moves.
async fn refused(world: &World, site: &Site, kind: &str, reason: &str, attack: &Down) -> anyhow::Result<()> {
    let count = || world.watch.of_kind(kind).iter().filter(|event| event.text.ends_with(reason)).count();
    let before = count();
    until(&format!("{kind} `{reason}` is told"), async || {
        site.carrier()?.inject(&cbor::encode(attack)).await?;
        let texts = || world.watch.of_kind(kind).into_iter().map(|event| event.text).collect::<Vec<_>>().join("; ");
        Ok(Look::at((count() > before).then_some(()), texts))
    })
    .await?;
    site.no_more_pulses()
}

#[tokio::test]
async fn line_1_whoever_owns_every_topic_and_makes_up_every_message_opens_nothing() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet_behind_carrier(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let other = world.cabinet_behind_carrier(CabinetPlan::new("berlin-02", "1-4:S")).await?;
    opens(&world, &other, 1).await?;
    let own = SigningKey::from_bytes(&[7; 32]);
    let target = Target::of(&world.stage, &site);
    let door = Compartment::new(1).context("a door")?;
    let tenant_scope = |purpose| Scope::Tenant { tenant: &target.tenant, purpose };

    // His own keys for everything: a command, a book, roots, an admin who vouches for him.
    let challenge = site.carrier()?.until_challenge(None).await?;
    let command = target.unlock(&own, challenge, door, Expect::empty())?;
    let Down::Command(Signed { envelope }) = cbor::decode(&command)? else { anyhow::bail!("no command") };
    let keys = vec![public_entry(&own, KeyPurpose::Unlock), public_entry(&own, KeyPurpose::Codes)];
    let keyset = Keyset::new(target.tenant.clone(), 99, 0, keys);
    let keyset = Blob(envelope::sign(cbor::encode(&keyset), tenant_scope(KeyPurpose::Keyset), &own));
    let vouched = Delegation {
        tenant: target.tenant.clone(),
        person: "operator:acme:admin".parse()?,
        public: Blob(own.verifying_key().to_bytes().to_vec()),
        scope: DelegatedTenant {}.into(),
        epoch: 9,
        not_after: u64::MAX,
    };
    let delegation = Blob(envelope::sign(cbor::encode(&vouched), tenant_scope(KeyPurpose::Admin), &own));
    refused(&world, &site, "keyset_refused", "unknown_key", &KeysetUpdate { envelope: keyset }.into()).await?;
    let personal = PersonalCommand { envelope: envelope.clone(), delegation };
    refused(&world, &site, "command_refused", "unknown_key", &personal.into()).await?;
    refused(&world, &site, "command_refused", "unknown_key", &Signed { envelope }.into()).await?;
    let book: Down = cbor::decode(&target.book(&own, 99))?;
    refused(&world, &site, "book_refused", "unknown_key", &book).await?;
    // What the fleet has said to another cabinet, each as it was, and all that it has said here a second time.
    let heard = [other.carrier()?.seen(), site.carrier()?.seen()].concat();
    ensure!(heard.iter().any(|down| matches!(down, Down::Command(_))), "nothing was overheard");
    for down in heard.iter().chain([&Down::from(Ask {})]) {
        site.carrier()?.inject(&cbor::encode(down)).await?;
    }
    site.no_more_pulses()?;
    opens(&world, &site, 1).await
}

#[tokio::test]
async fn line_6_a_keyset_or_a_command_of_an_earlier_enrolment_is_refused() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet_behind_carrier(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let keeper = Keeper::of(&world)?;
    keeper.rotate(KeyPurpose::Unlock).await?;
    until_keyset(&world, &site, 2).await?;
    let public = world.stage.layout().public();
    let first = Blob(fs::read(public.join("keysets/1.cose"))?);
    refused(&world, &site, "keyset_refused", "old_version", &KeysetUpdate { envelope: first }.into()).await?;
    ensure!(world.show(&site).await?.keyset_held == 2);
    // A command with the genuine key of today, for the enrolment of yesterday.
    let mut earlier = Target::of(&world.stage, &site);
    earlier.instance.0[0] ^= 1;
    let key = certs::read_ed25519(&world.stage.layout().signer().join("unlock-2.key"), None)?;
    let challenge = site.carrier()?.until_challenge(None).await?;
    let door = Compartment::new(1).context("a door")?;
    let command: Down = cbor::decode(&earlier.unlock(&key, challenge, door, Expect::empty())?)?;
    refused(&world, &site, "command_refused", "bad_signature", &command).await?;
    opens(&world, &site, 1).await
}

#[tokio::test]
async fn line_7_a_delegation_opens_nothing_beyond_its_scope_or_epoch() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet_behind_carrier(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let keeper = Keeper::of(&world)?;
    keeper.keys(&["rotate", "admin"]).await?;
    until_keyset(&world, &site, 2).await?;
    let ben = Shell::of(&world, Role::Support, "ben")?;
    let delegation = || anyhow::Ok(Blob(fs::read(ben.folder.join("delegation.cose"))?));
    let door = Compartment::new(1).context("a door")?;
    let mut target = Target::of(&world.stage, &site);
    target.requester = "support:acme:ben".to_owned();
    // He holds his key, owns the network, and needs no fleet to carry it.
    let attack = async |delegation: Blob| {
        let key = certs::read_ed25519(&ben.folder.join("unlock.key"), None)?;
        let challenge = site.carrier()?.until_challenge(None).await?;
        let command = target.unlock(&key, challenge, door, Expect::empty())?;
        let Down::Command(Signed { envelope }) = cbor::decode(&command)? else { anyhow::bail!("no command") };
        anyhow::Ok(Down::from(PersonalCommand { envelope, delegation }))
    };
    keeper.keys(&["delegate", "support", "ben", "--cabinet", "berlin-02"]).await?;
    refused(&world, &site, "command_refused", "out_of_scope", &attack(delegation()?).await?).await?;
    ben.fails(&["unlock", "berlin-01", "1", "--reason", "x"], 1, "does not cover cabinet berlin-01").await?;

    keeper.keys(&["delegate", "support", "ben"]).await?;
    let old = delegation()?;
    keeper.keys(&["void"]).await?;
    until_keyset(&world, &site, 3).await?;
    refused(&world, &site, "command_refused", "revoked", &attack(old).await?).await?;

    keeper.keys(&["delegate", "support", "ben"]).await?;
    let good = attack(delegation()?).await?;
    site.carrier()?.inject(&cbor::encode(&good)).await?;
    site.until_opened_remotely(door, 1).await
}
