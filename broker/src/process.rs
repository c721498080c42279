//! The two processes: what is started in which order, and how they end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use certs::{ClientRoots, TlsIdentity};
use fleet_core::Config;
use fleet_store::{OpenError, RedbStore};
use schemas::ids::{Identity, Role};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::admission::Registry;
use crate::bus::{Bus, RouterBus, Timing};
use crate::driver::{Backups, Clock, Driver, Sources, Surroundings, rested};
use crate::enrolment::{EnrolmentAsk, EnrolmentPort, EnrolmentSettings};
use crate::gate::{CloseReason, Gate, GateHandle, GateInput, identify_with};
use crate::notifier::Notifier;
use crate::settings::{
    BrokerSettings, NotifySection, SignerSection, SignerSettings, StoreSection, TlsSection, host_of,
};
use crate::signer::{Door, Keys, Limits, Listener, Route, Service, SignerClient, serve};
use crate::supervisor::{self, Pulse};

/// Inputs that wait for the driver before the gate stops reading sockets.
const INPUTS_WAITING: usize = 4_096;
/// Devices that wait for a certificate before the enrolment port stops reading.
const ENROLMENTS_WAITING: usize = 64;
/// Between two attempts to open a store that failed.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
const REOPEN_AFTER_MAX: Duration = Duration::from_secs(30);
/// A driver that worked for so long had a store that works.
const STABLE: Duration = Duration::from_secs(60);

/// Runs the broker until a signal or a failure that a restart has to mend.
pub fn run_broker(settings: BrokerSettings) -> anyhow::Result<()> {
    start_log(&settings.log.filter)?;
    let runtime = runtime()?;
    let (inputs, received) = mpsc::channel(INPUTS_WAITING);
    let (asks, asked) = mpsc::channel(ENROLMENTS_WAITING);
    let clock = Clock::start();
    let Ports { gate, enrolment, registry } = runtime.block_on(open_ports(&settings, &clock, inputs, asks))?;
    let address = gate.local_addr().context("read the gate's address")?;
    let handle = gate.handle();

    let route = signer_route(&settings, &clock)?;
    let (answers, answered) = mpsc::unbounded_channel();
    let (news, heard) = mpsc::unbounded_channel();
    let mut sources = Sources { gate: received, signer: answered, enrolment: asked, heard, pulse: Pulse::start() };
    let NotifySection { secrets, roots, messages_per_minute } = settings.notify.clone();
    let notifier = Notifier::new(secrets, roots, runtime.handle().clone(), news);
    let surroundings = Surroundings {
        gate: handle.clone(),
        bus: start_bus(handle.clone())?,
        registry,
        clock,
        notifier: notifier.clone(),
        backups: Backups::new(settings.store.backups.clone(), settings.store.backups_kept),
        signer: runtime.block_on(async { SignerClient::start(route, answers) }),
    };
    let store = settings.store.clone();
    let config = Config {
        quota: settings.quotas,
        walk_in: settings.orders.walk_in.clone(),
        walk_ins_per_day: settings.orders.walk_ins_per_day,
        open_by_app: settings.orders.open_by_app,
        break_glass: settings.codes.break_glass,
        code_form: settings.codes.form,
        messages_per_minute,
        ..Config::default()
    };
    let driver = Driver::open(config.clone(), store.open()?, surroundings).with_context(|| using(&store))?;

    let (stopping, stop) = watch::channel(false);
    let ending = handle.clone();
    let on = runtime.handle().clone();
    let driving = std::thread::Builder::new()
        .name("driver".into())
        .spawn(move || {
            let _end = ShutDownOnDrop(ending);
            on.block_on(drive(driver, (&config, &store), &mut sources, stop))
        })
        .context("start the driver")?;
    info!(%address, enrolment = %enrolment.local_addr(), "broker ready");
    supervisor::ready();
    runtime.block_on(async {
        let stop = handle.clone();
        let enrolling = tokio::spawn(enrolment.serve());
        tokio::spawn(async move {
            signalled().await;
            info!("stopping");
            supervisor::stopping();
            stop.shutdown();
        });
        gate.run().await;
        enrolling.abort();
    });
    runtime.block_on(notifier.finish());
    // Every connection has ended; what they left behind is still taken.
    stopping.send_replace(true);
    driving.join().map_err(|_| anyhow::anyhow!("the driver panicked"))??;
    info!("stopped");
    Ok(())
}

/// A gate without a driver would take connections and serve nobody: whatever ends the driver ends the process.
struct ShutDownOnDrop(GateHandle);

impl Drop for ShutDownOnDrop {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

/// Runs the signer until a signal. At SIGHUP it takes up the keys that `reread` finds in its settings by then.
pub fn run_signer(settings: SignerSettings, reread: impl Fn() -> anyhow::Result<SignerSettings>) -> anyhow::Result<()> {
    start_log(&settings.log.filter)?;
    let tenant = settings.tenant.parse().context("read the tenant")?;
    let service = Arc::new(Service::new(tenant, Keys::read(&settings.keys)?));
    service.tell_keys();
    let door = Door::of(&settings)?;
    let limits = Limits {
        commands_per_minute: settings.commands_per_minute,
        certificates_per_minute: settings.certificates_per_minute,
        codes_per_minute: settings.codes_per_minute,
        reveals_per_minute: settings.reveals_per_minute,
        signatures_per_minute: settings.signatures_per_minute,
        wipes_per_minute: settings.wipes_per_minute,
    };
    runtime()?.block_on(async {
        let mut hangups = signal(SignalKind::hangup()).context("receive SIGHUP")?;
        let listener = Listener::open(door.clone()).await?;
        let serving = serve(Arc::clone(&service), listener, &limits);
        supervisor::ready();
        let mut pulse = Pulse::start();
        let (mut serving, mut stop) = (std::pin::pin!(serving), std::pin::pin!(signalled()));
        loop {
            pulse.beat();
            tokio::select! {
                () = &mut serving => break,
                () = rested(pulse.due()) => {}
                () = &mut stop => break,
                Some(()) = hangups.recv() => match reread().and_then(|settings| Ok(Keys::read(&settings.keys)?)) {
                    Ok(keys) => service.take_up(keys),
                    Err(error) => error!(error = %format!("{error:#}"), "the signer goes on with the keys that it has"),
                },
            }
        }
        // The socket file would otherwise look like a signer that hangs.
        if let Door::Socket(door) = door {
            let _ = std::fs::remove_file(&door.path);
        }
        Ok(())
    })
}

/// How the broker reaches its signer.
fn signer_route(settings: &BrokerSettings, clock: &Clock) -> anyhow::Result<Route> {
    let SignerSection { socket, address, name } = &settings.signer;
    if address.is_empty() {
        return Ok(Route::Socket(socket.clone()));
    }
    let own = server_identity(&settings.tls)?;
    let signer = Identity::new(Role::Server, own.identity().tenant.clone(), name.parse().context("read signer.name")?);
    let peer = certs::ServerPeer::from_file(&settings.enrolment.root, signer)?;
    let tls = Arc::new(certs::signer_client_config(&own, &peer, Arc::new(clock.clone()))?);
    let name = host_of(address).map_err(anyhow::Error::msg).context("read signer.address")?;
    Ok(Route::Tls { address: address.clone(), name, tls })
}

fn start_log(filter: &str) -> anyhow::Result<()> {
    let targets: Targets = format!("rumqttd=warn,{filter}").parse().context("read the log filter")?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
    Ok(())
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build().context("start the runtime")
}

/// What the world can reach.
struct Ports {
    gate: Gate,
    enrolment: EnrolmentPort,
    registry: Arc<Registry>,
}

async fn open_ports(
    settings: &BrokerSettings,
    clock: &Clock,
    inputs: mpsc::Sender<GateInput>,
    asks: mpsc::Sender<EnrolmentAsk>,
) -> anyhow::Result<Ports> {
    let roots = ClientRoots::from_files(&settings.tls.cabinets_ca, &settings.tls.people_ca)?;
    let identity = server_identity(&settings.tls)?;
    let tls = certs::server_config(&identity, &roots, Arc::new(clock.clone()))?;
    let registry = Arc::new(Registry::default());
    let enrolling = EnrolmentSettings {
        listen: settings.enrolment.listen,
        root: settings.enrolment.root.clone(),
        cabinets_ca: settings.tls.cabinets_ca.clone(),
        connections_max: settings.enrolment.connections_max,
        address_allow_list: settings.gate.address_allow_list.clone(),
        grace_days: settings.enrolment.grace_days,
    };
    let judging = clock.clone();
    let listen = settings.gate.listen;
    let gate = Gate::bind(
        settings.gate.to_gate(),
        Arc::new(tls),
        identify_with(roots.clone(), move || judging.system_time()),
        Arc::clone(&registry) as Arc<_>,
        inputs,
    )
    .await
    .with_context(|| format!("listen on {listen}; if the port is in use, stop the other process or set gate.listen"))?;
    let known = (Arc::clone(&registry), clock.clone());
    let enrolment = EnrolmentPort::bind(&enrolling, &identity, &roots, known, asks).await?;
    Ok(Ports { gate, enrolment, registry })
}

/// A broker with an expired certificate would be refused by every cabinet: better not to start.
fn server_identity(tls: &TlsSection) -> anyhow::Result<TlsIdentity> {
    certs::check_certificate_file(&tls.certificate, SystemTime::now())?;
    Ok(TlsIdentity::read(&tls.certificate, &tls.key, None)?)
}

fn start_bus(gate: GateHandle) -> anyhow::Result<Arc<dyn Bus>> {
    let sink: crate::bus::Sink =
        Arc::new(move |packet| gate.live(&packet.tenant, &packet.cabinet, packet.live, packet.payload));
    let on_fatal = Box::new(|| {
        error!("the router cannot be replaced; ending, so that a supervisor starts the broker again");
        std::process::exit(70);
    });
    Ok(Arc::new(RouterBus::start(Timing::default(), sink, on_fatal).context("start the router")?))
}

/// Runs one driver after another: after a failed commit nothing that is in memory is trusted. Ends when it is told to, or
/// with a store that no waiting mends.
async fn drive(
    mut driver: Driver<RedbStore>,
    (config, store): (&Config, &StoreSection),
    sources: &mut Sources,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut wait = REOPEN_AFTER;
    loop {
        let started = tokio::time::Instant::now();
        let Err(failure) = driver.run(sources, stopped(stop.clone())).await else { return Ok(()) };
        // A disk that is full can be read: without a growing pause the whole fleet would connect once a second for nothing.
        wait = if started.elapsed() > STABLE { REOPEN_AFTER } else { (wait * 2).min(REOPEN_AFTER_MAX) };
        error!(error = %format!("{:#}", anyhow::Error::new(failure)), "the store failed; every connection is cut");
        driver.cut_all();
        let mut surroundings = driver.into_surroundings();
        driver = loop {
            if !pause(wait, sources, &surroundings.gate, stop.clone()).await {
                return Ok(());
            }
            match reopen((config, store), surroundings) {
                Ok(driver) => break driver,
                Err(failed) => {
                    let (back, failure) = *failed;
                    if matches!(failure.downcast_ref(), Some(OpenError::Damaged { .. })) {
                        return Err(failure);
                    }
                    warn!(error = %format!("{failure:#}"), "the store cannot be opened yet");
                    surroundings = back;
                }
            }
        };
        info!("the store is open again");
    }
}

/// Waits before the store is tried again. Whoever connects meanwhile is sent away, so that nothing piles up. False: stop.
async fn pause(wait: Duration, sources: &mut Sources, gate: &GateHandle, stop: watch::Receiver<bool>) -> bool {
    let until = tokio::time::Instant::now() + wait;
    loop {
        sources.pulse.beat();
        tokio::select! {
            () = stopped(stop.clone()) => return false,
            () = rested(sources.pulse.due()) => {}
            () = tokio::time::sleep_until(until) => return true,
            // The device asks again.
            Some(ask) = sources.enrolment.recv() => drop(ask),
            Some(input) = sources.gate.recv() => {
                if let Some(conn) = input.conn() {
                    gate.close_conn(conn, CloseReason::Resynchronise);
                }
            }
        }
    }
}

fn reopen(
    (config, store): (&Config, &StoreSection),
    surroundings: Surroundings,
) -> Result<Driver<RedbStore>, Box<(Surroundings, anyhow::Error)>> {
    match store.reopen() {
        Ok(opened) => Driver::open(config.clone(), opened, surroundings.clone())
            .with_context(|| using(store))
            .map_err(|failure| Box::new((surroundings, failure))),
        Err(failure) => Err(Box::new((surroundings, failure.into()))),
    }
}

fn using(store: &StoreSection) -> String {
    format!("use store `{}`", store.path.display())
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A sender that is gone means the same.
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
