//! Opens the screen's port and serves it until the agent stops.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, middleware};
use certs::FileError;
use tokio::sync::{mpsc, watch};
use tracing::error;

use super::address::{self, ScreenKey};
use super::api::{self, Desk};
use super::brand::Brand;
use super::connections::Bounded;
use super::guard::{self, Guard, Holder};
use super::notes::Notes;
use super::pages;
use super::paired::Line;
use super::port::ScreenRequest;
use crate::boards::boot_clock;
use crate::settings::ScreenSection;

/// How long open connections may take to end when the agent stops.
const STOP_TIME: Duration = Duration::from_secs(3);

/// Why there is no screen.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    #[error("`screen.listen` is {0}; the screen listens on loopback only, for example 127.0.0.1:8080")]
    NotLoopback(SocketAddr),
    #[error("port {0} of the screen is in use; stop the other program or set `screen.listen` to another port")]
    PortInUse(SocketAddr),
    #[error("open port {address} of the screen")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("make the secret of the screen")]
    NoRandom(#[from] getrandom::Error),
    #[error("write the address of the screen")]
    AddressFile(#[from] FileError),
    #[error("serve the screen")]
    Serve(#[source] io::Error),
}

/// The screen with its port open and its address file written.
pub struct Screen {
    listener: TcpListener,
    guard: Arc<Guard>,
    desk: Arc<Desk>,
    pages: Router,
    line: Option<Line>,
}

impl Screen {
    /// Opens the port and then replaces the address file: a second agent changes nothing.
    pub fn bind(
        settings: &ScreenSection,
        cabinet: &str,
        requests: mpsc::Sender<ScreenRequest>,
    ) -> Result<Self, ScreenError> {
        let listen = settings.listen;
        if !listen.ip().is_loopback() {
            return Err(ScreenError::NotLoopback(listen));
        }
        let brand = Brand::read(&settings.brand);
        let failed = |source: io::Error| {
            if source.kind() == io::ErrorKind::AddrInUse {
                ScreenError::PortInUse(listen)
            } else {
                ScreenError::Bind { address: listen, source }
            }
        };
        let listener = TcpListener::bind(listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let authority = address::authority(listener.local_addr().map_err(failed)?, address::HTTP_PORT);
        let line = settings.paired.ends().and_then(|ends| {
            let made = Line::new(ends, settings.paired.folder(), cabinet);
            // Doors that nobody opens would be the worse fault.
            let told = |error| {
                error!("there is no paired screen; mend this and start again: {:#}", anyhow::Error::from(error))
            };
            made.map_err(told).ok()
        });
        let key = ScreenKey::random()?;
        address::publish(&settings.address_file, &authority, &key)?;
        let desk = Desk { requests, notes: Notes::new(), clock: boot_clock() };
        Ok(Self {
            listener,
            guard: Arc::new(Guard::new(Holder::Own(key), authority)),
            desk: Arc::new(desk),
            pages: pages::routes(settings, brand),
            line,
        })
    }

    /// Where the main loop puts the notes of the core.
    pub fn notes(&self) -> Notes {
        self.desk.notes.clone()
    }

    /// For people and logs: without the secret, which is in the address file only.
    pub fn url(&self) -> String {
        format!("{}/", self.guard.origin())
    }

    /// Serves until `shutdown` is done; then long polls end at once, and the rest within a few seconds.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ScreenError> {
        let listener = tokio::net::TcpListener::from_std(self.listener).map_err(ScreenError::Serve)?;
        let notes = self.desk.notes.clone();
        let pairing = self.line.as_ref().map(Line::pairing);
        let calls = api::routes(self.desk);
        let at_own = calls.clone().layer(middleware::from_fn_with_state(pairing.clone(), guard::alone));
        let own = routes(self.pages.clone(), at_own.merge(api::technician(pairing)), self.guard);
        let (stopping, stop) = watch::channel(false);
        let at_cabinet = axum::serve(Bounded::new(listener), own).with_graceful_shutdown(until(stop.clone()));
        let elsewhere = serve_line(self.line, self.pages, calls, stop);
        let both = async { tokio::try_join!(async { at_cabinet.await }, elsewhere) };
        let ending = async {
            shutdown.await;
            notes.close();
            // Nobody waits for it when serving has ended by itself.
            let _ = stopping.send(true);
            // Whoever holds a connection open does not hold up the agent's stop.
            tokio::time::sleep(STOP_TIME).await;
        };
        tokio::select! {
            served = both => served.map(drop).map_err(ScreenError::Serve),
            () = ending => Ok(()),
        }
    }
}

/// The paired screen gets the same, except that it cannot pair another; and one that is not paired the way to become it.
async fn serve_line(line: Option<Line>, pages: Router, calls: Router, stop: watch::Receiver<bool>) -> io::Result<()> {
    let Some(line) = line else { return Ok(()) };
    let guard = Arc::new(Guard::new(Holder::Paired(line.pairing()), line.authority()));
    let pair = api::pair(line.pairing()).layer(middleware::from_fn_with_state(Arc::clone(&guard), guard::page));
    let all = routes(pages.merge(pair), calls, guard);
    let Some(listener) = line.listen(stop.clone()).await else { return Ok(()) };
    axum::serve(listener, all).with_graceful_shutdown(until(stop)).await
}

/// Until the screen is to stop.
pub(super) async fn until(mut stop: watch::Receiver<bool>) {
    // Whoever could say it is gone as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn routes(pages: Router, calls: Router, guard: Arc<Guard>) -> Router {
    let calls = calls.layer(middleware::from_fn_with_state(Arc::clone(&guard), guard::key));
    pages.nest("/api", calls).layer(middleware::from_fn_with_state(guard, guard::address))
}
