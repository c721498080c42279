//! Bounded connections: some other program on the machine must not take all file descriptors of the agent.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// One browser uses about six.
const CONNECTIONS_MAX: usize = 32;
/// Longer than any long poll waits.
const QUIET_MAX: Duration = Duration::from_secs(60);

pub(super) struct Bounded {
    inner: TcpListener,
    /// The only address that is answered.
    peer: Option<IpAddr>,
    free: Arc<Semaphore>,
}

impl Bounded {
    pub(super) fn new(inner: TcpListener) -> Self {
        Self { inner, peer: None, free: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }

    pub(super) fn with_peer(inner: TcpListener, peer: IpAddr) -> Self {
        Self { peer: Some(peer), ..Self::new(inner) }
    }

    fn is_for(&self, peer: SocketAddr) -> bool {
        self.peer.is_none_or(|only| only == peer.ip())
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (stream, peer) = Listener::accept(&mut self.inner).await;
            if !self.is_for(peer) {
                tracing::debug!(%peer, "somebody else than the paired screen");
                continue;
            }
            // Over the limit the newest is dropped: whoever waits in silence loses its place after a minute anyway.
            if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
                return (Connection::new(stream, place), peer);
            }
            tracing::debug!("too many connections to the screen");
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection that ends when no byte moves for a minute.
pub(super) struct Connection {
    stream: TcpStream,
    quiet: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit) -> Self {
        Self { stream, quiet: Box::pin(sleep(QUIET_MAX)), _place: place }
    }

    /// Starts the minute again if bytes moved, and ends the wait for them when it is over.
    fn watch<T>(&mut self, context: &mut Context<'_>, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.quiet.as_mut().reset(Instant::now() + QUIET_MAX);
            return moved;
        }
        self.quiet.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.stream).poll_read(context, into);
        self.watch(context, moved)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, moved)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
