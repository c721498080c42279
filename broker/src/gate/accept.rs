//! The listener: takes connections as fast as they come and hands each to a task of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::rustls::ServerConfig;

use super::counters::Count;
use super::greet::greet;
use super::half_open::Entered;
use super::handle::GateHandle;
use super::limits::GateSettings;
use super::port::{Admission, GateInput, Identify};
use super::shared::Shared;

/// How long `accept` rests after it failed: without file descriptors it would fail again at once.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// At most one line in the log per this time about it.
const ACCEPT_LOG_EVERY: Duration = Duration::from_secs(10);
/// What sessions get beyond `close_linger` to be gone at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// The gate, bound to its port.
pub struct Gate {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Gate {
    /// Binds the port; [`GateSettings::problems`] are an error here. `inputs` is the driver's queue: while it is full, sockets are not read.
    pub async fn bind(
        settings: GateSettings,
        tls: Arc<ServerConfig>,
        identify: Identify,
        admission: Arc<dyn Admission>,
        inputs: mpsc::Sender<GateInput>,
    ) -> io::Result<Self> {
        let problems = settings.problems();
        if !problems.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problems.join("; ")));
        }
        let listener = TcpListener::bind(settings.listen).await?;
        let shared = Arc::new(Shared::new(settings, tls, identify, admission, inputs));
        Ok(Self { listener, shared })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub fn handle(&self) -> GateHandle {
        GateHandle { shared: Arc::clone(&self.shared) }
    }

    /// Serves until [`GateHandle::shutdown`], then until all sessions have left or the grace is over.
    pub async fn run(self) {
        let Self { listener, shared } = self;
        let (alive, mut all_gone) = mpsc::channel(1);
        let mut stop = shared.stop.subscribe();
        tokio::select! {
            // An error would mean that the sender is gone, and `shared` holds it.
            _ = stop.wait_for(|stop| *stop) => {}
            () = accept_all(&listener, &shared, &alive) => {}
        }
        drop((listener, alive));
        let grace = shared.settings.close_linger + SHUTDOWN_GRACE;
        // `recv` ends when the last session has dropped its sender.
        if tokio::time::timeout(grace, all_gone.recv()).await.is_err() {
            tracing::warn!("some connections did not close in time");
        }
    }
}

async fn accept_all(listener: &TcpListener, shared: &Arc<Shared>, alive: &mpsc::Sender<()>) {
    let mut logged: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => take_in(shared, tcp, peer, alive),
            Err(error) => {
                shared.counters.add(Count::AcceptFailed);
                if logged.is_none_or(|at| at.elapsed() >= ACCEPT_LOG_EVERY) {
                    tracing::error!(%error, "accept connection");
                    logged = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

fn take_in(shared: &Arc<Shared>, tcp: TcpStream, peer: SocketAddr, alive: &mpsc::Sender<()>) {
    shared.counters.add(Count::Accepted);
    let place = match shared.half_open.enter(peer.ip()) {
        Entered::In(place) => place,
        Entered::InForOldest(place) => {
            shared.counters.add(Count::HalfOpenEvicted);
            place
        }
        Entered::AddressFull => {
            shared.counters.add(Count::AddressRefused);
            return;
        }
    };
    tokio::spawn(greet(Arc::clone(shared), tcp, peer, place, alive.clone()));
}
