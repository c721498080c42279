//! The socket of one connection: reads and writes in one poll, and holds no buffer while nothing is on its way.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Bytes that one poll reads. They lie on the stack during the poll only, so an idle connection has no read buffer.
const READ_SIZE: usize = 8 * 1024;

/// A TLS stream with what came in and what has to go out.
pub(super) struct Wire {
    stream: TlsStream<TcpStream>,
    pub(super) inbox: BytesMut,
    pub(super) outbox: BytesMut,
    unflushed: bool,
    /// Since when the peer has taken no byte although there are some.
    stalled_since: Option<Instant>,
}

/// What a turn brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// There are new bytes in the inbox.
    Received,
    /// The peer has ended its side.
    Ended,
    /// The outbox is empty now.
    Drained,
}

impl Wire {
    pub(super) fn new(stream: TlsStream<TcpStream>) -> Self {
        Self { stream, inbox: BytesMut::new(), outbox: BytesMut::new(), unflushed: false, stalled_since: None }
    }

    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Writes what there is, and reads if `read`; returns at the first thing of note. Nothing is lost if it is dropped.
    pub(super) async fn turn(&mut self, read: bool) -> io::Result<Turn> {
        if self.outbox.is_empty() && !self.unflushed {
            self.outbox = BytesMut::new();
        } else {
            self.stalled_since.get_or_insert_with(Instant::now);
        }
        if self.inbox.is_empty() {
            self.inbox = BytesMut::new();
        }
        poll_fn(|cx| self.poll_turn(cx, read)).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<io::Result<Turn>> {
        if let Poll::Ready(drained) = self.poll_write_out(cx)?
            && drained
        {
            return Poll::Ready(Ok(Turn::Drained));
        }
        if !read {
            return Poll::Pending;
        }
        let mut space = [MaybeUninit::uninit(); READ_SIZE];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Ok(Turn::Ended));
        }
        self.inbox.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(Turn::Received))
    }

    /// Ready with `true` if there was something to write and all of it is out.
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.outbox.is_empty() && !self.unflushed {
            return Poll::Ready(Ok(false));
        }
        while !self.outbox.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outbox))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outbox.advance(written);
            self.unflushed = true;
            self.stalled_since = Some(Instant::now());
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.unflushed = false;
        self.stalled_since = None;
        Poll::Ready(Ok(true))
    }

    /// Writes the rest, closes, and waits for the peer to do the same: an early close would turn into a reset that can
    /// overtake the DISCONNECT. All of it within `linger`.
    pub(super) async fn finish(mut self, linger: Duration) {
        // Whatever happens here, the connection is over.
        let _ = tokio::time::timeout(linger, poll_fn(|cx| self.poll_finish(cx))).await;
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(cx))?;
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        loop {
            let mut space = [MaybeUninit::uninit(); READ_SIZE];
            let mut buffer = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
