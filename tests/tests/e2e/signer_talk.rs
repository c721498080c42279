//! The signer's protocol as somebody speaks it who is not our broker.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fleet_core::signing::{SignerReply, SignerRequest};
use schemas::cbor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Longer than any limit of the signer on half a frame.
pub(crate) const FOREVER: Duration = Duration::from_secs(60);

pub(crate) struct Talk<S> {
    stream: S,
    next: u64,
    /// Every byte that the signer has ever said here.
    pub(crate) heard: Vec<u8>,
}

impl Talk<UnixStream> {
    pub(crate) async fn to(socket: &Path) -> anyhow::Result<Self> {
        Ok(Self::over(UnixStream::connect(socket).await?))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, next: 0, heard: Vec::new() }
    }

    pub(crate) async fn ask(&mut self, request: impl Into<SignerRequest>) -> anyhow::Result<SignerReply> {
        self.next += 1;
        let frame = frame(&cbor::encode(&(self.next, request.into())));
        self.say(&frame).await?;
        let (id, reply) = self.reply().await?.context("the signer closed instead of answering")?;
        ensure!(id == self.next, "an answer to {id} instead of {}", self.next);
        Ok(reply)
    }

    /// The reason of a refusal.
    pub(crate) async fn refused(&mut self, request: impl Into<SignerRequest>) -> anyhow::Result<String> {
        let reply = self.ask(request).await?;
        let SignerReply::Failed(failed) = reply else { anyhow::bail!("not refused: {reply:?}") };
        Ok(failed.reason)
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    async fn reply(&mut self) -> anyhow::Result<Option<(u64, SignerReply)>> {
        let mut length = [0; 4];
        if timeout(FOREVER, self.stream.read_exact(&mut length)).await.context("no answer")?.is_err() {
            return Ok(None);
        }
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        timeout(FOREVER, self.stream.read_exact(&mut bytes)).await.context("half an answer")??;
        self.heard.extend_from_slice(&bytes);
        Ok(Some(cbor::decode(&bytes)?))
    }

    /// Waits until the signer has closed, and returns how many bytes it still said.
    pub(crate) async fn until_closed(&mut self) -> anyhow::Result<usize> {
        let mut rest = Vec::new();
        let closed = timeout(FOREVER, self.stream.read_to_end(&mut rest)).await.context("the connection stays open")?;
        drop(closed);
        self.heard.extend_from_slice(&rest);
        Ok(rest.len())
    }
}

pub(crate) fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), body].concat()
}
