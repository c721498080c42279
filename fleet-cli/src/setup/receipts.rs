//! Receipts of wiped cabinets: checked against the fleet's own CA, whoever brought them.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use certs::{CertificateDer, ClientRoots, IdentityError, Summary, ensure_private_dir, replace_private};
use schemas::crypto::receipt::{ReceiptError, Unverified};
use schemas::ids::Identity;
use schemas::messages::Receipt;

use super::SetupError;
use super::layout::Layout;

/// Why a receipt proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum WorthlessReceipt {
    #[error(transparent)]
    Form(#[from] ReceiptError),
    #[error("the receipt's certificate is none of this fleet's cabinets")]
    Certificate(#[source] Box<IdentityError>),
    #[error("the receipt is signed by {found} and speaks of {claimed}")]
    OtherCabinet { found: Identity, claimed: Identity },
}

/// Reads a receipt that a cabinet of this fleet has signed with the key of its certificate.
pub fn check_receipt(layout: &Layout, bytes: &[u8]) -> Result<Receipt, SetupError> {
    let read = Unverified::read(bytes).map_err(WorthlessReceipt::from)?;
    let chain: Vec<_> = read.chain().iter().map(|one| CertificateDer::from(one.clone())).collect();
    let leaf = chain.first().ok_or(WorthlessReceipt::Form(ReceiptError::Header))?;
    let roots = ClientRoots::from_files(&layout.ca().join("cabinets.crt"), &layout.ca().join("people.crt"))?;
    let unknown = |error| WorthlessReceipt::Certificate(Box::new(error));
    let summary = Summary::read(leaf).map_err(|error| unknown(error.into()))?;
    // By the time of the wipe: the certificate may have ended since. A cabinet that did not know the time did not know
    // whether it had.
    let at = read.claims().at.map(|at| UNIX_EPOCH + Duration::from_millis(at));
    let at = at.map_or(summary.not_before, |at| at.clamp(summary.not_before, summary.not_after));
    let found = roots.identity_of(&chain, at).map_err(unknown)?.identity;
    let claimed = Identity::cabinet(&read.claims().tenant, &read.claims().cabinet);
    if found != claimed {
        return Err(WorthlessReceipt::OtherCabinet { found, claimed }.into());
    }
    Ok(read.verify(&summary.public_key.to_sec1_bytes()).map_err(WorthlessReceipt::from)?)
}

/// Keeps a receipt among the cabinet's files. Returns where.
pub fn keep_receipt(layout: &Layout, receipt: &Receipt, bytes: &[u8]) -> Result<PathBuf, SetupError> {
    let folder = layout.cabinet(&receipt.cabinet);
    ensure_private_dir(&folder)?;
    let path = folder.join(format!("wiped-{}.cose", receipt.instance));
    replace_private(Path::new(&path), bytes)?;
    Ok(path)
}
