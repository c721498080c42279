//! The enrolment port: EST (RFC 7030) over TLS, for cabinets that have a token or a certificate to renew.
//!
//! It decides nothing. A request is read strictly and becomes an input of the core, which records a certificate before it is
//! handed out; the CA's key is the signer's.

mod answer;
mod connections;
mod requests;
mod server;

use fleet_core::enrolment::{EnrolRefusal, Right};
use schemas::ids::{CabinetId, TenantId};
use tokio::sync::oneshot;

pub use server::{EnrolmentPort, EnrolmentSettings};

/// A certificate that a device asks for; the driver answers it once, after the commit.
#[derive(Debug)]
pub struct EnrolmentAsk {
    pub tenant: TenantId,
    pub cabinet: CabinetId,
    pub right: Right,
    /// SubjectPublicKeyInfo in DER, whose private half the device has shown to hold.
    pub key: Vec<u8>,
    /// X.509 in DER. Dropped when the store fails: the device asks again.
    pub reply: oneshot::Sender<Result<Vec<u8>, EnrolRefusal>>,
}
