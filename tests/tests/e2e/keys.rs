//! The life of the signing keys, from the shell of an operator to the locks of the cabinets.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use ed25519_dalek::SigningKey;
use fleet_cli::setup;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Look, Site, Target, World, order, until};
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{self, Scope, public_entry};
use schemas::ids::Role;
use schemas::messages::{
    Compartment, DelegatedTenant, Delegation, Down, Expect, KeyPurpose, Keyset, KeysetUpdate, PersonalCommand,
    UnlockOutcome,
};
use serde_json::Value;

use crate::shell::Shell;

/// An operator with the fleet's folder.
pub(crate) struct Keeper<'w> {
    world: &'w World,
    shell: Shell,
    fleet: String,
}

impl<'w> Keeper<'w> {
    pub(crate) fn of(world: &'w World) -> anyhow::Result<Self> {
        let fleet = world.stage.layout().dir().to_str().context("the folder has a name")?.to_owned();
        Ok(Self { world, shell: Shell::of(world, Role::Operator, "admin")?, fleet })
    }

    pub(crate) async fn keys(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        self.shell.json(&[&["keys"], arguments, &["--fleet", &self.fleet]].concat()).await
    }

    async fn keys_fail(&self, arguments: &[&str], said: &str) -> anyhow::Result<()> {
        self.shell.fails(&[&["keys"], arguments, &["--fleet", &self.fleet]].concat(), 1, said).await
    }

    async fn misuse(&self, arguments: &[&str], said: &str) -> anyhow::Result<()> {
        self.shell.fails(&[&["keys"], arguments, &["--fleet", &self.fleet]].concat(), 2, said).await
    }

    /// Rotates, and the signer takes the new key up. Returns its id.
    pub(crate) async fn rotate(&self, purpose: KeyPurpose) -> anyhow::Result<String> {
        let made = self.keys(&["rotate", purpose.as_str()]).await?;
        ensure!(made["signer_must_reload"] == true, "{made}");
        let id = ids(&made, purpose).first().context("no key of the purpose")?.clone();
        self.world.stage.reload_signer().await?;
        Ok(id)
    }

    fn signer_files(&self, purpose: KeyPurpose) -> anyhow::Result<Vec<PathBuf>> {
        let files = fs::read_dir(self.world.stage.layout().signer())?.filter_map(Result::ok).map(|entry| entry.path());
        let name =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(purpose.as_str()));
        Ok(files.filter(name).collect())
    }
}

/// Ids of the keys of a purpose, the newest first.
fn ids(made: &Value, purpose: KeyPurpose) -> Vec<String> {
    let keys = made["keys"].as_array().into_iter().flatten();
    let own = keys.filter(|key| key["purpose"] == purpose.as_str());
    own.filter_map(|key| key["id"].as_str().map(str::to_owned)).collect()
}

/// Opens door `number` as the `number`th of this cabinet.
pub(crate) async fn opens(world: &World, site: &Site, number: u16) -> anyhow::Result<()> {
    let door = Compartment::new(number).context("a door")?;
    let result = world.unlock(site, door).await?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    ensure!(result.outcome == UnlockOutcome::Opened, "{result:?}");
    site.until_opened_remotely(door, number.into()).await
}

pub(crate) async fn until_keyset(world: &World, site: &Site, version: u64) -> anyhow::Result<()> {
    until(&format!("{} holds keyset {version}", site.name()), async || {
        let held = world.show(site).await?.keyset_held;
        Ok(Look::at((held == version).then_some(()), || format!("keyset {held}")))
    })
    .await
}

#[tokio::test]
async fn a_rotation_carries_a_fleet_over_while_a_cabinet_is_away() -> anyhow::Result<()> {
    let world = World::start().await?;
    let here = world.cabinet_behind_carrier(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let mut away = world.cabinet(CabinetPlan::new("berlin-02", "1-4:S")).await?;
    let keeper = Keeper::of(&world)?;
    away.cabinet.stop_agent().await?;
    world.until_online(&away, false).await?;
    let old = world.stage.signing_key(KeyPurpose::Unlock)?;
    let old_id = public_entry(&old, KeyPurpose::Unlock).id.to_string();

    let new_id = keeper.rotate(KeyPurpose::Unlock).await?;
    ensure!(new_id != old_id && keeper.signer_files(KeyPurpose::Unlock)?.len() == 2);
    until_keyset(&world, &here, 2).await?;
    opens(&world, &here, 1).await?;
    let last = here.carrier()?.commands().pop().context("no command was carried")?;
    let Down::Command(signed) = cbor::decode(&last)? else { anyhow::bail!("no command") };
    let by_old = [public_entry(&old, KeyPurpose::Unlock)];
    let target = Target::of(&world.stage, &here);
    let (tenant, cabinet, instance) = (&target.tenant, &target.cabinet, target.instance);
    let scope = Scope::Cabinet { tenant, cabinet, instance, purpose: KeyPurpose::Unlock };
    ensure!(envelope::open(&signed.envelope.0, scope, &by_old).is_err(), "the old key still signs");
    keeper.keys_fail(&["retire", &old_id], "berlin-02").await?;

    away.start_agent().await?;
    world.until_online(&away, true).await?;
    opens(&world, &away, 1).await?;
    until_keyset(&world, &away, 2).await?;
    let retired = keeper.keys(&["retire", &old_id]).await?;
    ensure!(ids(&retired, KeyPurpose::Unlock) == [new_id.clone()], "{retired}");
    ensure!(keeper.signer_files(KeyPurpose::Unlock)?.len() == 1, "the file of the retired key is still there");
    world.stage.reload_signer().await?;
    for site in [&here, &away] {
        until_keyset(&world, site, 3).await?;
        opens(&world, site, 2).await?;
    }
    let challenge = here.carrier()?.until_challenge(None).await?;
    let door = Compartment::new(3).context("a door")?;
    here.carrier()?.inject(&target.unlock(&old, challenge, door, Expect::empty())?).await?;
    world.watch.until_refused("unknown_key", 1).await?;
    here.no_more_pulses()?;
    keeper.misuse(&["retire", &new_id], "is the only unlock key").await
}

#[tokio::test]
async fn the_pepper_key_rotates_and_every_code_goes_on_working() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    world.shop.put(&order("A1", "berlin-01", "S")).await?;
    let first = site.load("shop/A1").await?;
    let before = world.shop.until_notified("A1").await?.code;
    let keeper = Keeper::of(&world)?;
    let list = keeper.shell.json(&["keys", "list"]).await?;
    ensure!(list["keysets"]["newest"] == 1, "the first cabinet did not bring it: {list}");
    let new_id = keeper.rotate(KeyPurpose::Pepper).await?;
    until_keyset(&world, &site, 2).await?;
    let list = keeper.shell.json(&["keys", "list"]).await?;
    let peppers = ids(&list["keysets"], KeyPurpose::Pepper);
    ensure!(peppers.len() == 2 && peppers[0] == new_id, "{list}");
    keeper.keys(&["retire", &peppers[1]]).await?;
    world.stage.reload_signer().await?;
    until_keyset(&world, &site, 3).await?;
    drop(keeper);

    world.shop.put(&order("A2", "berlin-01", "S")).await?;
    let second = site.load("shop/A2").await?;
    let after = world.shop.until_notified("A2").await?.code;
    ensure!(site.collect(&after).await? == second, "a code under the new pepper key");
    ensure!(site.collect(&before).await? == first, "the code of before");
    Ok(())
}

#[tokio::test]
async fn a_lost_root_is_replaced_by_the_other_and_a_cabinet_that_was_away_follows() -> anyhow::Result<()> {
    let world = World::start().await?;
    let here = world.cabinet_behind_carrier(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let mut away = world.cabinet(CabinetPlan::new("berlin-02", "1-4:S")).await?;
    away.cabinet.stop_agent().await?;
    let keeper = Keeper::of(&world)?;
    let offline = world.stage.layout().offline();
    let lost = world.stage.folder().join("lost.key");
    fs::rename(offline.join("keyset-root-1.key"), &lost)?;

    let before = keeper.shell.json(&["keys", "list"]).await?;
    let replaced = keeper.keys(&["root", "replace", "1"]).await?;
    ensure!(replaced["roots"] != before["keysets"]["roots"] && replaced["version"] == 2, "{replaced}");
    // Then the second: the first new one signs.
    fs::rename(offline.join("keyset-root-2.key"), world.stage.folder().join("lost-too.key"))?;
    let replaced = keeper.keys(&["root", "replace", "2"]).await?;
    ensure!(replaced["version"] == 3, "{replaced}");
    keeper.rotate(KeyPurpose::Codes).await?;
    until_keyset(&world, &here, 4).await?;
    away.start_agent().await?;
    world.until_online(&away, true).await?;
    until_keyset(&world, &away, 4).await?;
    opens(&world, &here, 1).await?;
    opens(&world, &away, 1).await?;

    // Whoever finds the lost root has nothing.
    let found: SigningKey = certs::read_ed25519(&lost, None)?;
    let tenant = &world.stage.layout().settings().tenant;
    let keyset = Keyset::new(tenant.clone(), 9, 0, vec![public_entry(&found, KeyPurpose::Config)]);
    let scope = Scope::Tenant { tenant, purpose: KeyPurpose::Keyset };
    let forged = envelope::sign(cbor::encode(&keyset), scope, &found);
    here.carrier()?.inject(&cbor::encode(&Down::from(KeysetUpdate { envelope: Blob(forged) }))).await?;
    let refused =
        |event: &schemas::api::LiveEvent| event.kind == "keyset_refused" && event.text.contains("unknown_key");
    world.watch.until("the forged keyset is refused", refused).await?;
    ensure!(world.show(&here).await?.keyset_held == 4);
    // A cabinet that is added now pins the new roots.
    let late = world.cabinet(CabinetPlan::new("berlin-03", "1-4:S")).await?;
    until_keyset(&world, &late, 4).await?;
    opens(&world, &late, 1).await
}

#[tokio::test]
async fn a_restored_fleet_that_is_behind_its_cabinets_gets_its_keysets_again() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let keeper = Keeper::of(&world)?;
    let backup = keeper.shell.json(&["backup"]).await?;
    let backup = backup["backup"]["file"].as_str().context("no file")?.to_owned();
    keeper.rotate(KeyPurpose::Codes).await?;
    until_keyset(&world, &site, 2).await?;
    let (shell, fleet) = (keeper.shell, keeper.fleet);

    world.stage.stop_broker().await?;
    // Nothing is signed that could not be handed on.
    shell.fails(&["keys", "rotate", "unlock", "--fleet", &fleet], 1, "check that the broker runs").await?;
    let store = world.stage.layout().broker().join("fleet.redb");
    fs::remove_file(&store)?;
    shell.json(&["restore", &backup, "--to", store.to_str().context("the folder has a name")?]).await?;
    world.shop.expect_leap();
    world.start_broker().await?;
    world.until_online(&site, true).await?;
    let list = shell.json(&["keys", "list"]).await?;
    ensure!(list["keysets"]["newest"] == 1 && list["keysets"]["held"][0]["version"] == 2, "{list}");
    ensure!(world.show(&site).await?.keyset_held == 2, "nothing older was sent");
    shell.json(&["keys", "push", "--fleet", &fleet]).await?;
    let list = shell.json(&["keys", "list"]).await?;
    ensure!(list["keysets"]["newest"] == 2, "{list}");
    // An old copy of the folder would take keys away that it does not know.
    let public = world.stage.layout().public();
    let first = fs::read(public.join("keysets/1.cose"))?;
    fs::remove_dir_all(public.join("keysets"))?;
    fs::write(public.join("keyset.cose"), first)?;
    shell.fails(&["keys", "rotate", "unlock", "--fleet", &fleet], 2, "it is an old copy").await
}

#[tokio::test]
async fn where_only_people_sign_the_owner_of_broker_and_signer_opens_nothing_remotely() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet_behind_carrier(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let keeper = Keeper::of(&world)?;
    // What the owner of the hosts copied while it was good.
    let stolen = world.stage.signing_key(KeyPurpose::Unlock)?;
    let codes = world.stage.signing_key(KeyPurpose::Codes)?;
    keeper.misuse(&["people-only"], "fleet keys rotate admin").await?;
    keeper.keys(&["rotate", "admin"]).await?;
    keeper.keys(&["people-only"]).await?;
    world.stage.reload_signer().await?;
    ensure!(keeper.signer_files(KeyPurpose::Unlock)?.is_empty());
    until_keyset(&world, &site, 3).await?;

    // With every right at the broker, and the signer at hand.
    let door = Compartment::new(1).context("a door")?;
    let refused = world.unlock(&site, door).await?.err().context("the fleet opened it")?;
    ensure!(refused.message.contains("keys of their own"), "{refused:?}");
    let target = Target::of(&world.stage, &site);
    let ben = Shell::of(&world, Role::Support, "ben")?;
    keeper.keys(&["delegate", "support", "ben"]).await?;
    let delegation = fs::read(ben.folder.join("delegation.cose"))?;
    for key in [&stolen, &codes] {
        let challenge = site.carrier()?.until_challenge(None).await?;
        let alone = target.unlock(key, challenge, door, Expect::empty())?;
        let Down::Command(signed) = cbor::decode(&alone)? else { anyhow::bail!("no command") };
        let own = Delegation {
            tenant: target.tenant.clone(),
            person: "operator:acme:admin".parse()?,
            public: Blob(key.verifying_key().to_bytes().to_vec()),
            scope: DelegatedTenant {}.into(),
            epoch: 9,
            not_after: u64::MAX,
        };
        let scope = Scope::Tenant { tenant: &target.tenant, purpose: KeyPurpose::Admin };
        let forged = Blob(envelope::sign(cbor::encode(&own), scope, key));
        for delegation in [forged, Blob(delegation.clone())] {
            let before = world.watch.of_kind("command_refused").len();
            let envelope = signed.envelope.clone();
            let attack = cbor::encode(&Down::from(PersonalCommand { envelope, delegation }));
            until("the forged command is refused", async || {
                site.carrier()?.inject(&attack).await?;
                let texts = world.watch.of_kind("command_refused");
                Ok(Look::at((texts.len() > before).then_some(()), || format!("{texts:?}")))
            })
            .await?;
        }
        site.carrier()?.inject(&alone).await?;
    }
    ensure!(world.watch.of_kind("command_refused").iter().all(|event| event.text.ends_with("unknown_key")));
    site.no_more_pulses()?;

    // The person does.
    let opened = ben.json(&["unlock", "berlin-01", "1", "--reason", "lost code"]).await?;
    ensure!(opened["unlock"]["outcome"] == "opened", "{opened}");
    site.until_opened_remotely(door, 1).await?;
    let said = world.watch.of_kind("door_opened");
    ensure!(said.iter().any(|event| event.text.contains("support:acme:ben")), "{said:?}");
    // A new epoch ends it.
    keeper.keys(&["void"]).await?;
    until_keyset(&world, &site, 4).await?;
    ben.fails(&["unlock", "berlin-01", "2", "--reason", "lost code"], 1, "void").await?;
    // Somebody without a delegation is told how to get one.
    let eve = Shell::of(&world, Role::Support, "eve")?;
    eve.fails(&["unlock", "berlin-01", "2", "--reason", "x", "--own-key"], 2, "fleet keys delegate").await?;
    // And the way back.
    keeper.rotate(KeyPurpose::Unlock).await?;
    until_keyset(&world, &site, 5).await?;
    opens(&world, &site, 2).await
}

#[tokio::test]
async fn a_cabinet_believes_no_key_before_its_first_session_and_has_all_after_it() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    ensure!(!fs::read_to_string(site.cabinet.folder().agent_toml())?.contains("keyset"));
    ensure!(!site.cabinet.folder().path.join("keyset.cose").exists());
    until_keyset(&world, &site, 1).await?;
    opens(&world, &site, 1).await?;
    // One of an earlier release has a keyset in its folder.
    let public = world.stage.layout().public().join("keyset.cose");
    let former = world
        .cabinet_prepared(CabinetPlan::new("berlin-02", "1-4:S"), |cabinet| {
            let settings = cabinet.folder().agent_toml();
            let text = fs::read_to_string(&settings)?.replace("[keys]\n", "[keys]\nkeyset = \"keyset.cose\"\n");
            fs::copy(&public, cabinet.folder().path.join("keyset.cose"))?;
            Ok(fs::write(settings, text)?)
        })
        .await?;
    opens(&world, &former, 1).await
}

#[tokio::test]
async fn a_fleet_whose_keysets_name_no_roots_is_told_so_before_a_cabinet_is_let_in() -> anyhow::Result<()> {
    let world = World::start().await?;
    let keeper = Keeper::of(&world)?;
    let layout = world.stage.layout();
    // As the first versions made them.
    let root: SigningKey = certs::read_ed25519(&layout.offline().join("keyset-root-1.key"), None)?;
    let newest = setup::newest_keyset(layout)?.keyset;
    let keyset = Keyset { roots: None, ..newest };
    let scope = Scope::Tenant { tenant: &layout.settings().tenant, purpose: KeyPurpose::Keyset };
    let envelope = envelope::sign(cbor::encode(&keyset), scope, &root);
    fs::write(layout.public().join("keyset.cose"), envelope)?;
    let add = ["cabinet", "add", "berlin-01", "--fleet", &keeper.fleet, "--site", "berlin", "--place", "Here"];
    let more = ["--serial", "LF-1", "--compartments", "1-2:S", "--board", "/dev/ttyS0"];
    keeper.shell.fails(&[&add[..], &more[..]].concat(), 1, "fleet keys rotate codes").await?;
    let reply = world.operator.request(&schemas::api::Request::CabinetList {}).await?;
    ensure!(matches!(&reply, schemas::api::Reply::Cabinets(all) if all.is_empty()), "{reply:?}");
    Ok(())
}
