//! The agent's end of the cable: waits for its interface, and speaks TLS with the one address at the other end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use super::files::{Folder, FolderError};
use super::pairing::Pairing;
use crate::boards::boot_clock;
use crate::screen::address::{HTTPS_PORT, authority};
use crate::screen::connections::{Bounded, Connection};
use crate::screen::server::until;
use crate::settings::Ends;

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// The interface of a cable comes and goes with what is at its other end.
const BIND_AGAIN: Duration = Duration::from_secs(2);

pub(in crate::screen) struct Line {
    ends: Ends,
    tls: TlsAcceptor,
    pairing: Arc<Pairing>,
}

impl Line {
    pub(in crate::screen) fn new(ends: Ends, folder: Folder, cabinet: &str) -> Result<Self, FolderError> {
        let tls = TlsAcceptor::from(Arc::new(folder.server(ends.listen.ip(), cabinet)?));
        Ok(Self { ends, tls, pairing: Arc::new(Pairing::open(folder, boot_clock())) })
    }

    pub(in crate::screen) fn pairing(&self) -> Arc<Pairing> {
        Arc::clone(&self.pairing)
    }

    pub(in crate::screen) fn authority(&self) -> String {
        authority(self.ends.listen, HTTPS_PORT)
    }

    /// Waits until there is an interface with the address. `None`: the screen is to stop.
    pub(in crate::screen) async fn listen(self, stop: watch::Receiver<bool>) -> Option<Secured> {
        let mut told = None;
        loop {
            match TcpListener::bind(self.ends.listen).await {
                Ok(listener) => {
                    info!(address = %self.ends.listen, paired = self.pairing.is_paired(), "ready for the paired screen");
                    let plain = Bounded::with_peer(listener, self.ends.peer);
                    return Some(Secured { plain, tls: self.tls, shaking: JoinSet::new() });
                }
                Err(error) if told == Some(error.kind()) => {}
                Err(error) => {
                    told = Some(error.kind());
                    let why = if error.kind() == io::ErrorKind::AddrNotAvailable {
                        "no cable to the paired screen yet; waiting for it"
                    } else {
                        "cannot listen for the paired screen; trying again"
                    };
                    warn!(address = %self.ends.listen, %error, "{why}");
                }
            }
            tokio::select! {
                () = until(stop.clone()) => return None,
                () = tokio::time::sleep(BIND_AGAIN) => {}
            }
        }
    }
}

type Shaken = io::Result<(TlsStream<Connection>, SocketAddr)>;

/// Connections behind their handshakes, which go on side by side: a silent one holds up no other.
pub(in crate::screen) struct Secured {
    plain: Bounded,
    tls: TlsAcceptor,
    shaking: JoinSet<Shaken>,
}

impl Listener for Secured {
    type Io = TlsStream<Connection>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            tokio::select! {
                (stream, peer) = self.plain.accept() => {
                    let shaking = timeout(HANDSHAKE_MAX, self.tls.accept(stream));
                    self.shaking.spawn(async move { Ok((shaking.await??, peer)) });
                }
                Some(shaken) = self.shaking.join_next() => match shaken {
                    Ok(Ok(secured)) => return secured,
                    Ok(Err(error)) => tracing::debug!(%error, "no TLS with the paired screen"),
                    Err(error) => tracing::debug!(%error, "a handshake ended early"),
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.plain.local_addr()
    }
}
