//! A throw-away fleet of real processes on this machine: for the demo and for the end-to-end tests.
//!
//! Nothing is short-circuited: the broker, the signer and the agents are the shipped binaries, TLS and MQTT are real, the
//! lock boards answer with real bytes behind pseudo-terminals.

mod binaries;
mod cabinet;
mod carrier;
mod process;
mod screen;

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use schemas::ids::{Name, Role, TenantId};
use schemas::messages::{Key, KeyPurpose};
use tokio::time::{Instant, sleep};

use crate::client::{Client, IntegrationClient};
use crate::folder::PersonFolder;
use crate::setup::{self, InitOptions, Layout, PersonOptions};

pub use binaries::Binaries;
pub use cabinet::{Cabinet, CabinetPlan};
pub use carrier::{Carrier, Verdict};
pub use process::Process;
pub use screen::{Screen, ScreenAnswer};

/// How long anything may take before it counts as hanging. Not a measure of speed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A fleet in a temporary folder, with its broker and its signer.
pub struct Stage {
    folder: tempfile::TempDir,
    binaries: Binaries,
    layout: Layout,
    port: u16,
    signer: Option<Process>,
    broker: Option<Process>,
    broker_launcher: Vec<OsString>,
    signer_launcher: Vec<OsString>,
}

impl Stage {
    /// Makes the fleet's files. Nothing runs yet.
    pub fn set_up(tenant: &str) -> anyhow::Result<Self> {
        Self::set_up_with(tenant, |_| Ok(()))
    }

    /// The same with other options for `fleet init`.
    pub fn set_up_with(
        tenant: &str,
        choose: impl FnOnce(&mut InitOptions) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let binaries = Binaries::find()?;
        let folder = tempfile::Builder::new().prefix("locker-fleet-").tempdir().context("make a temporary folder")?;
        let port = free_port()?;
        let tenant: TenantId = tenant.parse()?;
        let mut options = InitOptions::new(folder.path().join("fleet"), tenant, "127.0.0.1")?;
        options.port = port;
        options.enrolment_port = free_port()?;
        options.listen = Some((Ipv4Addr::LOCALHOST, port).into());
        choose(&mut options)?;
        let layout = setup::init(&options).context("make the fleet's files")?;
        let (broker_launcher, signer_launcher) = (Vec::new(), Vec::new());
        Ok(Self { folder, binaries, layout, port, signer: None, broker: None, broker_launcher, signer_launcher })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The port of the broker's gate on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Keeps the folder after the stage is gone, for a person who wants to look.
    pub fn keep_folder(&mut self) {
        self.folder.disable_cleanup(true);
    }

    pub async fn start_signer(&mut self) -> anyhow::Result<()> {
        let settings = self.layout.signer_toml();
        let arguments = ["signer".into(), "--settings".into(), settings.into_os_string()];
        let process = self.launch("signer", &self.signer_launcher, arguments)?;
        process.wait_for_line("signer ready", PATIENCE).await?;
        self.signer = Some(process);
        Ok(())
    }

    /// Lets the signer take up the keys that its settings name by now, and waits until it has.
    pub async fn reload_signer(&self) -> anyhow::Result<()> {
        let signer = self.signer.as_ref().context("the signer does not run")?;
        let told = || signer.output().matches("signer uses keys").count();
        let before = told();
        signer.hang_up()?;
        let until = Instant::now() + PATIENCE;
        while told() == before {
            anyhow::ensure!(Instant::now() < until, "the signer does not take up its keys:\n{}", signer.output());
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The next start of the broker goes through this program.
    pub fn launch_broker_through(&mut self, launcher: impl IntoIterator<Item = OsString>) {
        self.broker_launcher = launcher.into_iter().collect();
    }

    /// The next start of the signer goes through this program.
    pub fn launch_signer_through(&mut self, launcher: impl IntoIterator<Item = OsString>) {
        self.signer_launcher = launcher.into_iter().collect();
    }

    /// From now on the broker's program, which is the signer's too, is started from there.
    pub fn broker_program(&mut self, program: PathBuf) {
        self.binaries.broker = program;
    }

    pub async fn start_broker(&mut self) -> anyhow::Result<()> {
        let settings = self.layout.broker_toml();
        let arguments = ["--settings".into(), settings.into_os_string()];
        let process = self.launch("broker", &self.broker_launcher, arguments)?;
        process.wait_for_line("broker ready", PATIENCE).await?;
        self.broker = Some(process);
        Ok(())
    }

    /// Starts the broker's program, behind a launcher if there is one.
    fn launch(
        &self,
        name: &str,
        launcher: &[OsString],
        arguments: impl IntoIterator<Item = OsString>,
    ) -> anyhow::Result<Process> {
        let broker = self.binaries.broker.clone().into_os_string();
        let mut words = launcher.iter().cloned().chain([broker]);
        let program = PathBuf::from(words.next().unwrap_or_default());
        Process::start(name, &program, words.chain(arguments), self.log(name))
    }

    /// Stops the broker in good order and waits for its end.
    pub async fn stop_broker(&mut self) -> anyhow::Result<()> {
        match self.broker.take() {
            Some(process) => process.stop(PATIENCE).await,
            None => Ok(()),
        }
    }

    /// Ends the broker without a warning (SIGKILL).
    pub async fn kill_broker(&mut self) -> anyhow::Result<()> {
        match self.broker.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    pub async fn kill_signer(&mut self) -> anyhow::Result<()> {
        match self.signer.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    pub fn signer(&self) -> Option<&Process> {
        self.signer.as_ref()
    }

    pub fn broker(&self) -> Option<&Process> {
        self.broker.as_ref()
    }

    /// Where the log of a process is.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// The folder of a person or an integration; made at the first call.
    pub fn person(&self, role: Role, name: &str) -> anyhow::Result<PersonFolder> {
        let name: Name = name.parse()?;
        let path = self.layout.person(role, &name);
        if path.exists() {
            return Ok(PersonFolder::open(&path)?);
        }
        let options = PersonOptions { layout: &self.layout, role, name, passphrase: None, now: SystemTime::now() };
        Ok(setup::person(&options)?)
    }

    /// A connected person.
    pub async fn client(&self, role: Role, name: &str) -> anyhow::Result<Client> {
        Ok(Client::connect_within(&self.person(role, name)?, PATIENCE).await?)
    }

    /// The connected consumer of an integration.
    pub async fn integration(&self, name: &str) -> anyhow::Result<IntegrationClient> {
        Ok(IntegrationClient::connect_within(&self.person(Role::Integration, name)?, PATIENCE).await?)
    }

    /// The fleet's signing key of a purpose: what nobody but the signer has outside a demo.
    pub fn signing_key(&self, purpose: KeyPurpose) -> anyhow::Result<ed25519_dalek::SigningKey> {
        Ok(certs::read_ed25519(&self.layout.signer().join(format!("{purpose}.key")), None)?)
    }

    /// The public entry of that key in the keyset.
    pub fn public_key(&self, purpose: KeyPurpose) -> anyhow::Result<Key> {
        Ok(schemas::crypto::envelope::public_entry(&self.signing_key(purpose)?, purpose))
    }
}

/// A port below those that the system hands out by itself, so that no other process gets it between a stop and a start
/// of the broker.
pub fn free_port() -> anyhow::Result<u16> {
    for _ in 0..200 {
        let mut random = [0; 2];
        getrandom::fill(&mut random).context("no random numbers from the operating system")?;
        let port = 20_000 + u16::from_be_bytes(random) % 12_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no free port on 127.0.0.1 between 20000 and 32000")
}
