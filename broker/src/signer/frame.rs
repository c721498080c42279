//! Frames on the signer's socket: four bytes of length (big-endian), then the CBOR of `[id, body]`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use schemas::cbor::{self, CborError};

/// Largest frame in bytes. A book of 40 KiB is the largest thing in one.
const FRAME_MAX: usize = 128 * 1024;

/// Why a frame cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("signer connection")]
    Io(#[from] std::io::Error),
    #[error("frame of {0} bytes is larger than {FRAME_MAX}")]
    TooLarge(usize),
    #[error("frame is not a message of the signer's protocol")]
    Content(#[from] CborError),
}

/// Reads one frame; `None` when the peer closed between two frames.
pub(crate) async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<(u64, T)>, FrameError> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_MAX {
        return Err(FrameError::TooLarge(length));
    }
    let mut bytes = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut bytes).await?;
    Ok(Some(cbor::decode(&bytes)?))
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
