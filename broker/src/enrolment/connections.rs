//! Bounded connections: TLS handshakes beside each other, a number of places, and an end to each however slowly it drips. Who takes
//! many places makes room for others (see [`Places`]).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use certs::CertificateDer;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use crate::places::{Place, Places};

/// How long a connection is let alone while others wait, if it is the only one of its address.
const PATIENCE: Duration = Duration::from_secs(5);
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// All requests of one connection together. An enrolment takes one and well below a second.
const LIFE_MAX: Duration = Duration::from_secs(40);

/// Who is at the other end.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Empty without a client certificate.
    pub(super) chain: Arc<[CertificateDer<'static>]>,
}

impl Connected<IncomingStream<'_, Handshaken>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Handshaken>) -> Self {
        stream.remote_addr().clone()
    }
}

/// Hands out connections whose handshake is done. One that is silent holds up nobody.
pub(super) struct Handshaken {
    done: mpsc::Receiver<(Connection, Peer)>,
    local: SocketAddr,
}

impl Handshaken {
    pub(super) fn start(
        inner: TcpListener,
        tls: Arc<ServerConfig>,
        places: usize,
        allow_list: &[IpAddr],
    ) -> io::Result<Self> {
        let local = inner.local_addr()?;
        let (handshaken, done) = mpsc::channel(places);
        let places = Places::new(places, PATIENCE, allow_list);
        tokio::spawn(accept(inner, TlsAcceptor::from(tls), places, handshaken));
        Ok(Self { done, local })
    }
}

async fn accept(
    mut inner: TcpListener,
    tls: TlsAcceptor,
    places: Arc<Places>,
    handshaken: mpsc::Sender<(Connection, Peer)>,
) {
    loop {
        let (tcp, address) = tokio::select! {
            accepted = async {
                // Full of others that all have one: the next one waits in the kernel's queue.
                places.room().await;
                Listener::accept(&mut inner).await
            } => accepted,
            () = handshaken.closed() => return,
        };
        let mut place = places.enter(address.ip());
        let (tls, handshaken) = (tls.clone(), handshaken.clone());
        tokio::spawn(async move {
            let shaken = tokio::select! {
                shaken = timeout(HANDSHAKE_MAX, tls.accept(tcp)) => shaken,
                () = place.evicted() => return debug!(%address, "enrolment: others need its place"),
            };
            match shaken {
                Ok(Ok(stream)) => {
                    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                    let peer = Peer { address, chain: chain.iter().cloned().map(CertificateDer::into_owned).collect() };
                    // The port is being closed when nobody takes it.
                    let _ = handshaken.send((Connection::new(stream, place), peer)).await;
                }
                Ok(Err(error)) => debug!(%address, %error, "enrolment: TLS handshake failed"),
                Err(_) => debug!(%address, "enrolment: TLS handshake took too long"),
            }
        });
    }
}

impl Listener for Handshaken {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Connection, Peer) {
        match self.done.recv().await {
            Some(done) => done,
            // The task that accepts ends only when this end is gone.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { address: self.local, chain: Arc::default() })
    }
}

/// A connection that ends after [`LIFE_MAX`], or when somebody else gets its place, whatever moves on it.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    end: Pin<Box<Sleep>>,
    place: Place,
}

impl Connection {
    fn new(stream: TlsStream<TcpStream>, place: Place) -> Self {
        Self { stream, end: Box::pin(sleep(LIFE_MAX)), place }
    }

    fn check_end(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let over = self.end.as_mut().poll(context).is_ready() || self.place.poll_evicted(context).is_ready();
        if over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check_end(context)?;
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_end(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_end(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_end(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
