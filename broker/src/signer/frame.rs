//! Frames on the signer's socket: four bytes of length (big-endian), then the CBOR of `[id, body]`.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use schemas::cbor::{self, CborError};

/// Largest frame in bytes. A book of 40 KiB is the largest thing in one.
pub(super) const FRAME_MAX: usize = 128 * 1024;
/// How long a frame may take once its first byte is there. Between two frames a connection may rest for ever.
const FRAME_TIME: Duration = Duration::from_secs(10);

/// Why a frame cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("signer connection")]
    Io(#[from] std::io::Error),
    #[error("a frame was begun and not ended within {} s", FRAME_TIME.as_secs())]
    Half,
    #[error("nobody takes the answers")]
    NotTaken,
    #[error("frame of {0} bytes is larger than {FRAME_MAX}")]
    TooLarge(usize),
    #[error("frame is not a message of the signer's protocol")]
    Content(#[from] CborError),
}

/// Reads one frame; `None` when the peer closed between two frames.
pub(crate) async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<(u64, T)>, FrameError> {
    match read_length(stream).await? {
        Some(length) => Ok(Some(read_body(stream, length).await?)),
        None => Ok(None),
    }
}

/// Waits for the beginning of a frame, and says how long it is; `None` when the peer closed between two frames.
pub(super) async fn read_length(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<usize>, FrameError> {
    let mut length = [0; 4];
    if stream.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    in_time(stream.read_exact(&mut length[1..])).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_MAX { Err(FrameError::TooLarge(length)) } else { Ok(Some(length)) }
}

/// Reads what follows the length.
pub(super) async fn read_body<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    length: usize,
) -> Result<(u64, T), FrameError> {
    let mut bytes = Zeroizing::new(vec![0; length]);
    in_time(stream.read_exact(&mut bytes)).await?;
    Ok(cbor::decode(&bytes)?)
}

async fn in_time<T>(read: impl Future<Output = std::io::Result<T>>) -> Result<T, FrameError> {
    Ok(tokio::time::timeout(FRAME_TIME, read).await.map_err(|_| FrameError::Half)??)
}

pub(crate) async fn write<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    id: u64,
    body: &T,
) -> Result<(), FrameError> {
    let bytes = Zeroizing::new(cbor::encode(&(id, body)));
    if bytes.len() > FRAME_MAX {
        return Err(FrameError::TooLarge(bytes.len()));
    }
    let length = u32::try_from(bytes.len()).map_err(|_| FrameError::TooLarge(bytes.len()))?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    Ok(())
}
