//! The agent's process: what is started in which order, and how it ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use cabinet_core::{CompartmentConfig, Config, DeviceKey, MachineStart};
use certs::{ServerRoots, Subject};
use fleet_store::{OpenError, RedbStore};
use schemas::cbor::Blob;
use schemas::crypto::envelope::key_id;
use schemas::ids::{CabinetId, Identity, TenantId};
use schemas::messages::{Attributes, BootId, CompartmentInfo, Key, KeyPurpose};
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::boards::{self, BootClock, BusReport, Profile, ProfileText};
use crate::device_key;
use crate::driver::{Driver, DriverError, Ended, Sources, Surroundings};
use crate::fleet_time::FleetTime;
use crate::identity::{Credentials, Fleet, Renewal, Slots};
use crate::screen::{Notes, Screen, ScreenRequest};
use crate::settings::AgentSettings;
use crate::uplink::{self, Endpoint, Order, UplinkEvent};
use crate::wipe::{Files, Progress};

const CHANNEL: usize = 256;
/// How long the end of the connection may take when the agent ends.
const GOODBYE: Duration = Duration::from_secs(1);
/// Between two attempts to open a store that failed.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// Why the agent ends.
#[derive(Debug)]
pub enum RunError {
    /// A file that the settings name is wrong; the text lists everything.
    Settings(String),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for RunError {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Runs until a signal or a failure that a restart has to mend.
pub fn run(settings: AgentSettings) -> Result<(), RunError> {
    start_log(&settings.log.filter)?;
    let profile = read_profile(&settings)?;
    let files =
        Files::new(slots(&settings)?, &settings.data.store, &settings.keys.device, &settings.screen.paired.folder);
    loop {
        let receipt = match files.resume().context("erase this cabinet")? {
            Progress::None => None,
            Progress::Receipt(receipt) => Some(receipt),
            Progress::Over(_) => return Ok(()),
        };
        // Two threads: a commit that waits for a slow disk must not stop the polls of the lock bus.
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(4)
            .enable_all()
            .build()
            .context("start the runtime")?;
        // A token that does not answer holds up whoever asks it: the way to the fleet, and never a door.
        let apart = match settings.fleet.key_place() {
            Some(_) => {
                let outward = Builder::new_multi_thread().worker_threads(2).enable_all().build();
                Some(outward.context("start the runtime of the connection")?)
            }
            None => None,
        };
        let outward = apart.as_ref().map_or_else(|| runtime.handle().clone(), |apart| apart.handle().clone());
        let ended = runtime.block_on(serve(&settings, profile.clone(), outward, receipt));
        if let Some(apart) = apart {
            apart.shutdown_background();
        }
        match ended? {
            Ended::Stopped => return Ok(()),
            Ended::Erase(receipt) => {
                // Whatever still holds the store ends with it.
                drop(runtime);
                files.erase(&receipt).context("erase this cabinet")?;
            }
            Ended::Discard => {
                drop(runtime);
                files.discard().context("erase this cabinet's identity")?;
                return Ok(());
            }
        }
    }
}

async fn serve(
    settings: &AgentSettings,
    profile: Profile,
    outward: Handle,
    receipt: Option<Vec<u8>>,
) -> anyhow::Result<Ended> {
    let cabinet = Installed::read(settings, receipt)?;
    let clock = boards::boot_clock();
    let time = Arc::new(FleetTime::new(Arc::clone(&clock)));
    let credentials = credentials(settings, &cabinet, Arc::clone(&time))?;
    // Before anything that the world sees: a second agent on the same store must not take the identity, the screen's
    // address or the lock bus away from the one that runs. A store that cannot be opened at start ends the agent with
    // its reason; later it is waited for.
    let store = RedbStore::open_reserved(&settings.data.store, reserve(settings))?;
    let (screen_requests, screen) = mpsc::channel(CHANNEL);
    let shown = Screen::bind(&settings.screen, &settings.cabinet, screen_requests)?;
    let notes = shown.notes();
    let (orders, ordered) = mpsc::channel::<Order>(CHANNEL);
    let (events, uplink) = mpsc::channel(CHANNEL);
    let endpoint = endpoint(settings, &cabinet, Arc::clone(&credentials));
    let mut link = outward.spawn(uplink::run(endpoint, ordered, events));
    let renewal = Renewal {
        credentials,
        fleet: Fleet { host: settings.fleet.host.clone(), port: settings.fleet.enrolment_port },
        identity: cabinet.identity(),
        orders: orders.clone(),
    };
    let mut renewing = outward.spawn(renewal.run());

    let (stopping, stop) = watch::channel(false);
    tokio::spawn(async move {
        signalled().await;
        info!("stopping");
        // Received by whoever still runs.
        let _ = stopping.send(true);
    });
    let mut serving = tokio::spawn(shown.serve(stopped(stop.clone())));

    let outside = Outside { clock, profile, orders, notes, time };
    // A cabinet without its screen or without a way to the fleet looks as if it worked: whatever starts the agent again is
    // the better help.
    let ended = tokio::select! {
        ended = supervise(settings, &cabinet, store, outside, (uplink, screen), stop.clone()) => ended,
        () = untimely_end(&mut link, stop.clone()) => anyhow::bail!("the connection to the fleet is no longer tended"),
        () = untimely_end(&mut renewing, stop.clone()) => anyhow::bail!("the certificate is no longer renewed"),
        () = untimely_end(&mut serving, stop) => anyhow::bail!("the screen is no longer served"),
    };
    renewing.abort();
    // The connection ends with its channel, with a word of goodbye if it can be had; nothing of it has to reach a disk.
    if !link.is_finished() {
        let _ = tokio::time::timeout(GOODBYE, link).await;
    }
    serving.abort();
    ended
}

/// Waits for the end of a task that should run until `stop`.
async fn untimely_end<T>(task: &mut JoinHandle<T>, stop: watch::Receiver<bool>) {
    // By a panic or in good order: it is gone.
    let _ = task.await;
    if *stop.borrow() {
        std::future::pending::<()>().await;
    }
}

fn reserve(settings: &AgentSettings) -> u64 {
    u64::from(settings.data.reserve_kilobytes) * 1_024
}

/// What outlives a driver.
struct Outside {
    clock: BootClock,
    profile: Profile,
    orders: mpsc::Sender<Order>,
    notes: Notes,
    time: Arc<FleetTime>,
}

impl Outside {
    /// A bus for one driver: one that follows starts from what the boards say then, and no pulse of the earlier one is
    /// left in a queue.
    fn bus(&self) -> (Surroundings, mpsc::Receiver<BusReport>) {
        let (bus, reports) = boards::spawn(self.profile.clone(), Arc::clone(&self.clock));
        let out = Surroundings {
            clock: Arc::clone(&self.clock),
            bus,
            uplink: self.orders.clone(),
            notes: self.notes.clone(),
            time: Arc::clone(&self.time),
        };
        (out, reports)
    }
}

/// Runs one driver after another: after a failed commit nothing that is in memory is trusted, and no door opens until
/// the store works again.
async fn supervise(
    settings: &AgentSettings,
    cabinet: &Installed,
    store: RedbStore,
    outside: Outside,
    (uplink, screen): (mpsc::Receiver<UplinkEvent>, mpsc::Receiver<ScreenRequest>),
    stop: watch::Receiver<bool>,
) -> anyhow::Result<Ended> {
    let open = |store: RedbStore, out: Surroundings| -> anyhow::Result<Driver<RedbStore>> {
        Driver::open(cabinet.config(settings)?, cabinet.keyset.clone(), store, out)
            .with_context(|| format!("use store `{}`", settings.data.store.display()))
    };
    let (out, bus) = outside.bus();
    let mut driver = open(store, out)?;
    let mut sources = Sources { bus, uplink, screen };
    info!(cabinet = %cabinet.cabinet, "agent ready");
    // Elsewhere than under systemd this does nothing.
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        warn!(%error, "systemd cannot be told that the agent is ready");
    }
    loop {
        match driver.run(&mut sources, stopped(stop.clone())).await {
            Ok(ended) => return Ok(ended),
            Err(failure @ DriverError::BusEnded) => return Err(failure.into()),
            Err(failure) => {
                error!(error = %format!("{:#}", anyhow::Error::new(failure)), "no door opens until it works");
            }
        }
        // From here on the bus of this driver carries nothing out, what it has taken over included.
        sources.bus.close();
        // First, because whoever waits for an answer of this driver hears of its end.
        outside.notes.set_out_of_order(true);
        drop(driver);
        outside.notes.end_sessions();
        let mut said = String::new();
        driver = loop {
            if !pause(&mut sources.screen, stop.clone()).await {
                return Ok(Ended::Stopped);
            }
            let opened = RedbStore::reopen_reserved(&settings.data.store, reserve(settings))
                .map_err(anyhow::Error::from)
                .and_then(|store| {
                    let (out, bus) = outside.bus();
                    Ok((open(store, out)?, bus))
                });
            match opened {
                Ok((driver, bus)) => {
                    sources.bus = bus;
                    break driver;
                }
                // No waiting mends it.
                Err(failure) if matches!(failure.downcast_ref(), Some(OpenError::Damaged { .. })) => {
                    return Err(failure);
                }
                Err(failure) => {
                    let text = format!("{failure:#}");
                    // Not once a second: the log may be on the same disk.
                    if text != said {
                        warn!(error = %text, "the store cannot be opened yet");
                        said = text;
                    }
                }
            }
        };
        driver.restart_uplink();
        outside.notes.set_out_of_order(false);
        info!("the store is open again");
    }
}

/// Waits before the store is tried again. Nobody at the screen may wait for an answer that cannot come. False: stop.
async fn pause(screen: &mut mpsc::Receiver<ScreenRequest>, stop: watch::Receiver<bool>) -> bool {
    let until = tokio::time::Instant::now() + REOPEN_AFTER;
    loop {
        tokio::select! {
            () = stopped(stop.clone()) => return false,
            () = tokio::time::sleep_until(until) => return true,
            Some(request) = screen.recv() => drop(request),
        }
    }
}

/// Who this cabinet is, from the settings and the files that they name.
struct Installed {
    tenant: TenantId,
    cabinet: CabinetId,
    roots: [Key; 2],
    keyset: Option<Vec<u8>>,
    device_key: DeviceKey,
    /// Of what was erased here.
    receipt: Option<Vec<u8>>,
}

impl Installed {
    fn read(settings: &AgentSettings, receipt: Option<Vec<u8>>) -> anyhow::Result<Self> {
        let named = Some(&settings.keys.keyset).filter(|path| !path.as_os_str().is_empty());
        let keyset = named.map(|path| std::fs::read(path).with_context(|| format!("read keyset `{}`", path.display())));
        Ok(Self {
            tenant: settings.tenant.parse().context("read the tenant")?,
            cabinet: settings.cabinet.parse().context("read the cabinet")?,
            roots: [root(&settings.keys.roots[0])?, root(&settings.keys.roots[1])?],
            keyset: keyset.transpose()?,
            device_key: device_key::read_or_make(&settings.keys.device, &settings.data.store)?,
            receipt,
        })
    }

    fn identity(&self) -> Identity {
        Identity::cabinet(&self.tenant, &self.cabinet)
    }

    /// What the core is told. Each opening is a run of its own: a new boot id voids all challenges.
    fn config(&self, settings: &AgentSettings) -> anyhow::Result<Config> {
        let mut boot = [0; 8];
        getrandom::fill(&mut boot).context("no random numbers from the operating system")?;
        Ok(Config {
            tenant: self.tenant.clone(),
            cabinet: self.cabinet.clone(),
            instance: settings.instance.parse().context("read the instance")?,
            roots: self.roots.clone(),
            compartments: settings.compartments.iter().filter_map(compartment).collect(),
            device_key: self.device_key.clone(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            boot: BootId(boot),
            machine: machine_start(boot),
            telemetry_every_millis: Config::TELEMETRY_EVERY_MILLIS,
            app_token: settings.screen.app_token,
            receipt: self.receipt.clone(),
        })
    }
}

/// The kernel's id of this start of the machine. Where there is none, each run of the agent is a start of its own: the time
/// is then unknown until the fleet says it.
fn machine_start(run: [u8; 8]) -> MachineStart {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().replace('-', "");
    let id = data_encoding::HEXLOWER.decode(id.trim().as_bytes()).ok().and_then(|id| id.try_into().ok());
    MachineStart(id.unwrap_or_else(|| {
        let mut own = [0; 16];
        own[..run.len()].copy_from_slice(&run);
        own
    }))
}

fn root(text: &str) -> anyhow::Result<Key> {
    let public = data_encoding::HEXLOWER_PERMISSIVE
        .decode(text.trim().as_bytes())
        .ok()
        .filter(|bytes| bytes.len() == 32)
        .context("keys.roots: a root is 32 bytes in hexadecimal, as in keyset-root-1.pub")?;
    Ok(Key { id: key_id(&public), purpose: KeyPurpose::Keyset, public: Blob(public) })
}

fn compartment(row: &crate::settings::CompartmentRow) -> Option<CompartmentConfig> {
    let attributes =
        Attributes { refrigerated: row.refrigerated, restricted: row.restricted, accessible: row.accessible };
    let info =
        CompartmentInfo { number: row.checked_number()?, size: row.size, attributes, in_service: !row.out_of_service };
    // The bus reports `unknown` where the profile has no occupancy sensor.
    Some(CompartmentConfig { info, occupancy_sensor: true })
}

/// Where key and certificate are.
fn slots(settings: &AgentSettings) -> anyhow::Result<Slots> {
    let slots = Slots::new(&settings.fleet.identity);
    let Some(token) = settings.fleet.key_place() else { return Ok(slots) };
    let tenant = settings.tenant.parse().context("read the tenant")?;
    let identity = Identity::cabinet(&tenant, &settings.cabinet.parse().context("read the cabinet")?);
    slots.with_token(&token.context("read fleet.pkcs11")?, &identity).context("name keys")
}

/// Key and certificate, and how they are judged and renewed.
fn credentials(
    settings: &AgentSettings,
    cabinet: &Installed,
    time: Arc<FleetTime>,
) -> anyhow::Result<Arc<Credentials>> {
    let fleet = &settings.fleet;
    let roots = ServerRoots::from_file(&fleet.roots, cabinet.tenant.clone())?;
    let opened = Credentials::open(slots(settings)?, roots, time)
        .context("read this cabinet's certificate; `cabinet-agent enroll` gets one")?;
    let own = opened.current();
    let expected = cabinet.identity();
    anyhow::ensure!(
        own.subject == Subject::Leaf(expected.clone()),
        "the certificate in `{}` is for {}, but the settings say {expected}",
        fleet.identity.display(),
        own.subject
    );
    if own.not_after < SystemTime::now() {
        // A cabinet without the right time must come up all the same: its doors work offline.
        warn!(not_after = ?own.not_after, "the certificate has ended by this machine's clock; it will be renewed");
    }
    Ok(Arc::new(opened))
}

fn endpoint(settings: &AgentSettings, cabinet: &Installed, credentials: Arc<Credentials>) -> Endpoint {
    let fleet = &settings.fleet;
    Endpoint {
        host: fleet.host.clone(),
        port: fleet.port,
        credentials,
        tenant: cabinet.tenant.clone(),
        cabinet: cabinet.cabinet.clone(),
        keep_alive: Duration::from_secs(fleet.keep_alive_seconds.into()),
        backoff_max: Duration::from_secs(fleet.backoff_max_seconds.into()),
    }
}

/// Reads the boards' profile and checks that it and the inventory speak of the same compartments.
fn read_profile(settings: &AgentSettings) -> Result<Profile, RunError> {
    let path = settings.board.profile.display();
    let text = std::fs::read_to_string(&settings.board.profile)
        .map_err(|error| RunError::Settings(format!("{path}: cannot be read: {error}")))?;
    let text: ProfileText = toml::from_str(&text).map_err(|error| RunError::Settings(format!("{path}: {error}")))?;
    let profile = Profile::check(text).map_err(|problems| RunError::Settings(format!("{path}:\n{problems}")))?;
    let missing: Vec<String> = settings
        .compartments
        .iter()
        .filter_map(crate::settings::CompartmentRow::checked_number)
        .filter(|number| !profile.compartments().any(|mapped| mapped == *number))
        .map(|number| number.to_string())
        .collect();
    if missing.is_empty() {
        Ok(profile)
    } else {
        Err(RunError::Settings(format!("{path}: `mapping` has no lock for compartments {}", missing.join(", "))))
    }
}

fn start_log(filter: &str) -> anyhow::Result<()> {
    let targets: Targets = filter.parse().context("read the log filter")?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
    Ok(())
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // The sender lives as long as the process.
    let _ = stop.wait_for(|stopped| *stopped).await;
}

/// SIGTERM or SIGINT.
async fn signalled() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        warn!("signals cannot be received; end the process with SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
