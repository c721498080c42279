//! Keys that are made in a token and never leave it: of a cabinet, of a person, of an admin and of a root.

use std::ffi::OsString;
use std::fs;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use certs::{CertificateAuthority, LeafKey, LeafRequest, Summary, TlsIdentity, TokenUri, read_certificates, to_pem};
use fleet_cli::stage::{CabinetPlan, PATIENCE};
use fleet_tests::{Look, Site, World, order, until};
use schemas::api::OrderState;
use schemas::ids::{Identity, Role};
use schemas::messages::Compartment;
use serde_json::Value;

use crate::keys::{opens, until_keyset};
use crate::renewal::{current, until_renewed};
use crate::shell::Shell;
use crate::wiping;

#[path = "../../../certs/tests/token/softhsm.rs"]
mod softhsm;

use softhsm::{SoftHsm, pin_file};

const PIN: &str = "27182818";

impl SoftHsm {
    /// The name of a token, with the file of its PIN.
    fn uri(&self, token: &str) -> String {
        format!("{}&pin-source=file:{}", self.uri_without_pin(token), pin_file(self.folder(), token).display())
    }

    fn uri_without_pin(&self, token: &str) -> String {
        format!("pkcs11:token={token}?module-path={}", self.library().display())
    }

    /// Files in the only token: one of itself, and one for each half of a key.
    fn objects(&self) -> anyhow::Result<usize> {
        let token = fs::read_dir(self.folder().join("tokens"))?.next().context("no token")??;
        let files = fs::read_dir(token.path())?.filter_map(Result::ok);
        Ok(files.filter(|file| file.path().extension().is_some_and(|kind| kind == "object")).count())
    }

    /// `env` with the settings of SoftHSM.
    fn launcher(&self) -> Vec<OsString> {
        let mut settings = OsString::from("SOFTHSM2_CONF=");
        settings.push(self.settings());
        vec!["env".into(), settings]
    }

    async fn run(&self, shell: &Shell, arguments: &[&str]) -> anyhow::Result<std::process::Output> {
        let output = shell.command(arguments).env("SOFTHSM2_CONF", self.settings()).output();
        let output = tokio::time::timeout(PATIENCE, output).await.context("fleet hangs")??;
        let said = format!("{output:?}");
        ensure!(!said.contains(PIN), "the PIN was said: {said}");
        Ok(output)
    }

    /// Succeeds with one JSON document.
    async fn json(&self, shell: &Shell, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self.run(shell, &[arguments, &["--json"]].concat()).await?;
        ensure!(output.status.code() == Some(0), "fleet {arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).with_context(|| format!("fleet {arguments:?}: {output:?}"))
    }

    async fn fails(&self, shell: &Shell, arguments: &[&str], said: &str) -> anyhow::Result<()> {
        let output = self.run(shell, arguments).await?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(2) && text.contains(said), "fleet {arguments:?}: {output:?}");
        Ok(())
    }
}

/// The name of the cabinet's key.
fn key_of(site: &Site) -> anyhow::Result<TokenUri> {
    TlsIdentity::token_uri_of_bundle(&current(site))?.context("the key is in no token")
}

/// Gives the cabinet's key a certificate of which two thirds are over, while its agent is down.
fn age(world: &World, site: &Site) -> anyhow::Result<()> {
    let signer = world.stage.layout().signer();
    let authority = CertificateAuthority::open(&signer.join("cabinets.crt"), &signer.join("cabinets.key"), None)?;
    let public = Summary::read(read_certificates(&current(site))?.first().context("no certificate")?)?.public_key;
    let identity = Identity::cabinet(&world.stage.layout().settings().tenant, site.cabinet.id());
    let lifetime = Some(Duration::from_secs(600));
    let request = LeafRequest { lifetime, ..LeafRequest::client(identity) };
    let issued = authority.issue(&request, &LeafKey::from(public), SystemTime::now())?;
    let text = format!("{}\n{}", key_of(site)?, to_pem(&issued.certificate));
    Ok(certs::replace_private(&current(site), text.as_bytes())?)
}

async fn until_objects(hsm: &SoftHsm, count: usize) -> anyhow::Result<()> {
    until("the token holds one key", async || {
        let found = hsm.objects()?;
        Ok(Look::at((found == count).then_some(()), || format!("{found} files")))
    })
    .await
}

/// A token with the keys of one cabinet: itself and two halves.
const ONE_KEY: usize = 3;
/// The token alone.
const NO_KEY: usize = 1;

fn plan(hsm: &SoftHsm) -> CabinetPlan {
    CabinetPlan {
        launcher: hsm.launcher(),
        enrolment: vec!["--pkcs11".into(), hsm.uri("cabinet").into()],
        ..CabinetPlan::new("berlin-01", "1-2:S")
    }
}

fn nothing_leaked(site: &Site) -> anyhow::Result<()> {
    for entry in fs::read_dir(current(site).with_file_name(""))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        ensure!(!text.contains("PRIVATE KEY") && !text.contains(PIN), "`{}` holds a key", path.display());
    }
    ensure!(!fs::read_to_string(site.cabinet.log())?.contains(PIN), "the PIN is in the log");
    Ok(())
}

#[tokio::test]
async fn a_cabinet_enrols_works_and_renews_with_keys_that_never_leave_its_token() -> anyhow::Result<()> {
    let Some(hsm) = SoftHsm::find() else { return Ok(()) };
    hsm.token("cabinet", PIN);
    let mut world = World::start().await?;
    let mut site = world.cabinet(plan(&hsm)).await?;
    let first = key_of(&site)?;
    ensure!(first.object() == Some("cabinet:acme:berlin-01") && first.id().is_some(), "{first}");
    nothing_leaked(&site)?;
    opens(&world, &site, 1).await?;

    site.cabinet.stop_agent().await?;
    age(&world, &site)?;
    site.start_agent().await?;
    until_renewed(&world, &site).await?;
    ensure!(key_of(&site)?.id() != first.id(), "the key is another one, too");
    until_objects(&hsm, ONE_KEY).await?;
    nothing_leaked(&site)?;
    world.shop.put(&order("A1", "berlin-01", "S")).await?;
    site.load("shop/A1").await?;
    world.shop.until_state("A1", OrderState::Stored).await.map(drop)
}

#[tokio::test]
async fn an_agent_killed_while_it_renews_leaves_one_key_that_works() -> anyhow::Result<()> {
    let Some(hsm) = SoftHsm::find() else { return Ok(()) };
    hsm.token("cabinet", PIN);
    let world = World::start().await?;
    let mut site = world.cabinet(plan(&hsm)).await?;
    site.cabinet.stop_agent().await?;
    let folder = current(&site).with_file_name("");
    for (part, is_lost) in [("request.key", true), ("request.key", false), ("next.pem", false)] {
        age(&world, &site)?;
        let aged = key_of(&site)?;
        site.start_agent().await?;
        until("the renewal is under way, or over", async || {
            let over = key_of(&site)?.id() != aged.id();
            Ok(Look::at((over || folder.join(part).exists()).then_some(()), || "nothing yet".to_owned()))
        })
        .await?;
        site.cabinet.kill_agent().await?;
        // As if the end had come before the file was written: a key in the token that nobody knows of. It may be on
        // trial already, and then there is no such file.
        if is_lost && folder.join(part).exists() {
            fs::remove_file(folder.join(part))?;
        }
        site.start_agent().await?;
        until_renewed(&world, &site).await?;
        until_objects(&hsm, ONE_KEY).await?;
        site.cabinet.kill_agent().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_wiped_cabinet_signs_its_receipt_and_leaves_no_key_in_its_token() -> anyhow::Result<()> {
    let Some(hsm) = SoftHsm::find() else { return Ok(()) };
    hsm.token("cabinet", PIN);
    let world = World::start().await?;
    let site = world.cabinet(plan(&hsm)).await?;
    until_objects(&hsm, ONE_KEY).await?;
    let told = wiping::wipe(&world, &[]).await?;
    ensure!(told["wiped"] == true, "{told}");
    wiping::until_discarded(&site).await?;
    ensure!(hsm.objects()? == NO_KEY, "{} objects are left", hsm.objects()?);
    Ok(())
}

#[tokio::test]
async fn a_cabinet_without_its_token_works_offline_and_says_what_is_missing() -> anyhow::Result<()> {
    let Some(hsm) = SoftHsm::find() else { return Ok(()) };
    hsm.token("cabinet", PIN);
    let world = World::start().await?;
    let mut site = world.cabinet(plan(&hsm)).await?;
    site.cabinet.stop_agent().await?;
    let (tokens, away) = (hsm.folder().join("tokens"), hsm.folder().join("away"));
    fs::rename(&tokens, &away)?;
    fs::create_dir(&tokens)?;
    // It comes up all the same: its doors do not need the fleet.
    site.start_agent().await?;
    until("the log names the token", async || {
        let log = fs::read_to_string(site.cabinet.log())?;
        let said = log.contains("there is no token `cabinet`; plug it in");
        Ok(Look::at(said.then_some(()), || log.lines().last().unwrap_or_default().to_owned()))
    })
    .await?;
    site.cabinet.stop_agent().await?;
    fs::remove_dir_all(&tokens)?;
    fs::rename(&away, &tokens)?;
    site.start_agent().await?;
    world.until_online(&site, true).await
}

#[tokio::test]
async fn people_admins_and_roots_sign_with_keys_in_a_token() -> anyhow::Result<()> {
    let Some(hsm) = SoftHsm::find() else { return Ok(()) };
    for token in ["root", "admin", "eve"] {
        hsm.token(token, PIN);
    }
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let keeper = Shell::of(&world, Role::Operator, "admin")?;
    let layout = world.stage.layout();
    let fleet = layout.dir().to_str().context("the folder has a name")?;

    hsm.json(&keeper, &["keys", "root", "replace", "1", "--fleet", fleet, "--pkcs11", &hsm.uri("root")]).await?;
    // From here on the token is all that signs keysets.
    for root in ["keyset-root-1.key", "keyset-root-2.key"] {
        fs::remove_file(layout.offline().join(root))?;
    }
    let named = fs::read_to_string(layout.offline().join("keyset-root-1-2.key"))?;
    ensure!(named.starts_with("pkcs11:token=root;object=keyset-root-1-2;id=%"), "{named}");
    let made = hsm.json(&keeper, &["keys", "rotate", "admin", "--fleet", fleet, "--pkcs11", &hsm.uri("admin")]).await?;
    ensure!(made["version"] == 3, "{made}");
    hsm.json(&keeper, &["keys", "rotate", "codes", "--fleet", fleet]).await?;
    world.stage.reload_signer().await?;
    until_keyset(&world, &site, 4).await?;

    let eve = Shell::of(&world, Role::Operator, "eve")?;
    let pin = pin_file(hsm.folder(), "eve");
    let pin = pin.to_str().context("a path")?;
    let token = hsm.uri_without_pin("eve");
    hsm.fails(&eve, &["keys", "own", "--pkcs11", &token], "token `eve` wants a PIN; give it with --passphrase-file")
        .await?;
    hsm.json(&eve, &["keys", "own", "--pkcs11", &token, "--passphrase-file", pin]).await?;
    let named = fs::read_to_string(eve.folder.join("unlock.key"))?;
    ensure!(named.starts_with("pkcs11:token=eve;object=unlock;id=%") && !named.contains("pin"), "{named}");
    hsm.json(&keeper, &["keys", "delegate", "operator", "eve", "--fleet", fleet]).await?;
    let unlock = ["unlock", "berlin-01", "1", "--reason", "lost code"];
    hsm.fails(&eve, &unlock, "token `eve` wants a PIN").await?;
    let opened = hsm.json(&eve, &[&unlock[..], &["--passphrase-file", pin]].concat()).await?;
    ensure!(opened["unlock"]["outcome"] == "opened", "{opened}");
    site.until_opened_remotely(Compartment::new(1).context("a door")?, 1).await?;
    let said = world.watch.of_kind("door_opened");
    ensure!(said.iter().any(|event| event.text.contains("operator:acme:eve")), "{said:?}");
    Ok(())
}

#[tokio::test]
async fn a_fleet_is_made_with_roots_in_tokens_or_leaves_nothing_in_them() -> anyhow::Result<()> {
    let Some(hsm) = SoftHsm::find() else { return Ok(()) };
    hsm.token("one", PIN);
    let stage = fleet_cli::stage::Stage::set_up("acme")?;
    let shell = Shell { fleet: stage.binaries().fleet.clone(), folder: hsm.folder().to_owned() };
    let folder = hsm.folder().join("fleet");
    let path = folder.to_str().context("a path")?;
    let init = ["init", path, "--tenant", "acme", "--host", "localhost", "--root-1-pkcs11"];
    let (one, missing) = (hsm.uri("one"), hsm.uri("two"));
    let output = hsm.run(&shell, &[&init[..], &[&one, "--root-2-pkcs11", &missing]].concat()).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && said.contains("there is no token `two`"), "{output:?}");
    ensure!(!folder.exists() && hsm.objects()? == 1, "the first root is gone with the rest");

    // What a PIN on the command line is answered with does not repeat it.
    let bad = format!("{}&pin-value={PIN}", hsm.uri_without_pin("one"));
    hsm.fails(&shell, &[&init[..], &[&bad]].concat(), "a PIN must not stand in settings or on a command line").await?;
    hsm.json(&shell, &[&init[..], &[&one]].concat()).await?;
    let named = fs::read_to_string(folder.join("offline/keyset-root-1.key"))?;
    ensure!(named.starts_with("pkcs11:token=one;object=keyset-root-1;id=%"), "{named}");
    let second = fs::read_to_string(folder.join("offline/keyset-root-2.key"))?;
    ensure!(second.contains("BEGIN PRIVATE KEY") && hsm.objects()? == 3);
    // A label is taken once.
    let again = hsm.folder().join("again");
    let again = ["init", again.to_str().context("a path")?, "--tenant", "acme", "--host", "localhost"];
    hsm.fails(&shell, &[&again[..], &["--root-1-pkcs11", &one]].concat(), "has a key `keyset-root-1` already").await
}
