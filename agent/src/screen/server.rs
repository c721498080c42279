//! Opens the screen's port and serves it until the agent stops.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, middleware};
use certs::FileError;
use tokio::sync::{mpsc, oneshot};

use super::address::{self, ScreenKey};
use super::api::{self, Desk};
use super::connections::Bounded;
use super::guard::{self, Guard};
use super::notes::Notes;
use super::pages;
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
}

impl Screen {
    /// Opens the port and then replaces the address file: a second agent changes nothing.
    pub fn bind(settings: &ScreenSection, requests: mpsc::Sender<ScreenRequest>) -> Result<Self, ScreenError> {
        let listen = settings.listen;
        if !listen.ip().is_loopback() {
            return Err(ScreenError::NotLoopback(listen));
        }
        let failed = |source: io::Error| {
            if source.kind() == io::ErrorKind::AddrInUse {
                ScreenError::PortInUse(listen)
            } else {
                ScreenError::Bind { address: listen, source }
            }
        };
        let listener = TcpListener::bind(listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let authority = address::authority(listener.local_addr().map_err(failed)?);
        let key = ScreenKey::random()?;
        address::publish(&settings.address_file, &authority, &key)?;
        let desk = Desk { requests, notes: Notes::new(), clock: boot_clock() };
        Ok(Self {
            listener,
            guard: Arc::new(Guard::new(key, authority)),
            desk: Arc::new(desk),
            pages: pages::routes(&settings.languages, &settings.hotline),
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
        let routes = routes(self.pages, self.guard, self.desk);
        let (stopping, stopped) = oneshot::channel();
        let serving = axum::serve(Bounded::new(listener), routes).with_graceful_shutdown(async move {
            shutdown.await;
            notes.close();
            // Nobody waits for it when serving has ended by itself.
            let _ = stopping.send(());
        });
        tokio::select! {
            served = async { serving.await } => served.map_err(ScreenError::Serve),
            () = last_call(stopped) => Ok(()),
        }
    }
}

/// Whoever holds a connection open does not hold up the agent's stop.
async fn last_call(stopped: oneshot::Receiver<()>) {
    if stopped.await.is_ok() {
        tokio::time::sleep(STOP_TIME).await;
    } else {
        std::future::pending::<()>().await;
    }
}

fn routes(pages: Router, guard: Arc<Guard>, desk: Arc<Desk>) -> Router {
    let calls = api::routes(desk).layer(middleware::from_fn_with_state(Arc::clone(&guard), guard::key));
    pages.nest("/api", calls).layer(middleware::from_fn_with_state(guard, guard::address))
}
