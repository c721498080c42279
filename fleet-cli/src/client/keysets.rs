//! Bringing the fleet's keysets from the folder that has their roots' signatures to the fleet, which hands them on.

use schemas::api::{HexBytes, KeysetList, Reply, ReplyError, Request, RequestErrorCode};

use super::{Client, ClientError};
use crate::setup::{self, Layout, SetupError, SignedKeyset};

/// Why keysets were not put.
#[derive(Debug, thiserror::Error)]
pub enum KeysetsError {
    #[error(transparent)]
    Folder(#[from] SetupError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the fleet does not take keyset {version}: {} ({})", .error.message, .error.code)]
    Refused { version: u64, error: ReplyError },
    #[error("the fleet does not say which keysets it has: {} ({})", .0.message, .0.code)]
    NotListed(ReplyError),
    #[error(
        "no keyset in the folder names its roots, so the fleet takes none; `fleet keys rotate codes` makes one that does"
    )]
    NoRoots,
    #[error("the fleet gave an answer to another question")]
    OtherAnswer,
}

/// Which keysets the fleet has, and who holds them.
pub async fn list(client: &Client) -> Result<KeysetList, KeysetsError> {
    let reply = client.request(&Request::KeysetList {}).await?;
    if let Reply::Error(error) = reply {
        return Err(KeysetsError::NotListed(error));
    }
    let Reply::Keysets(list) = reply else { return Err(KeysetsError::OtherAnswer) };
    Ok(*list)
}

/// Puts those of the folder that are newer than `newest`, in order. Returns how many.
pub async fn put_newer(client: &Client, layout: &Layout, newest: u64) -> Result<usize, KeysetsError> {
    let missing: Vec<SignedKeyset> = setup::keysets(layout)?
        .into_iter()
        .filter(|signed| signed.keyset.version > newest)
        // A fleet that was made before keysets named their roots begins with its next one.
        .skip_while(|signed| newest == 0 && signed.keyset.roots.is_none())
        .collect();
    for signed in &missing {
        let version = signed.keyset.version;
        let reply = client.request(&Request::KeysetPut { envelope: HexBytes(signed.envelope.clone()) }).await?;
        if let Reply::Error(error) = reply {
            return Err(KeysetsError::Refused { version, error });
        }
        if reply != Reply::Done {
            return Err(KeysetsError::OtherAnswer);
        }
    }
    Ok(missing.len())
}

/// Gives a fleet that has none its keysets: without one it cannot tell its cabinets what to believe. Somebody who sees only a
/// part of the tenant may not look, and is not the first.
pub async fn put_first(client: &Client, layout: &Layout) -> Result<(), KeysetsError> {
    match list(client).await {
        Ok(known) if known.newest > 0 => Ok(()),
        // A cabinet that was let in now would believe nobody.
        Ok(_) if put_newer(client, layout, 0).await? == 0 => Err(KeysetsError::NoRoots),
        Ok(_) => Ok(()),
        Err(KeysetsError::NotListed(error)) if error.code == RequestErrorCode::Forbidden => Ok(()),
        Err(error) => Err(error),
    }
}
