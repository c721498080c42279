//! The three operations of EST that a fleet offers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use certs::{CertificateDer, CertificationRequest, ClientRoots, LeafKey, PeerIdentity};
use fleet_core::enrolment::Right;
use schemas::enrolment::{TokenSecret, from_user_name};
use schemas::ids::{CabinetId, TenantId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{info, warn};

use super::EnrolmentAsk;
use super::answer::{Refused, certificates};
use super::connections::Peer;
use crate::admission::Registry;
use crate::driver::Clock;
use crate::gate::{self, Admission as _};

/// Largest body in bytes: base64 of the largest certification request, and line breaks.
pub(super) const BODY_MAX: usize = certs::CSR_MAX * 3 / 2;
/// What a person at a cabinet waits for the signer and the disk.
const ANSWER_MAX: Duration = Duration::from_secs(20);
const PKCS10: &str = "application/pkcs10";

/// What the requests need.
pub(super) struct Desk {
    pub(super) asks: mpsc::Sender<EnrolmentAsk>,
    pub(super) registry: Arc<Registry>,
    pub(super) clients: ClientRoots,
    pub(super) clock: Clock,
    pub(super) grace: Duration,
    /// The root, and the CA that issues cabinets' certificates.
    pub(super) authorities: Vec<CertificateDer<'static>>,
}

/// RFC 7030, 4.1: no authentication, what is told is public.
pub(super) async fn ca_certs(State(desk): State<Arc<Desk>>) -> Result<Response, Refused> {
    certificates(&desk.authorities)
}

/// RFC 7030, 4.2.1.
pub(super) async fn simple_enroll(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    let (tenant, cabinet, secret) = token(&parts.headers).ok_or(Refused::NoToken)?;
    let asked = read(&parts.headers, body).await?;
    let right = Right::Token { secret: secret.hash(), device_serial: asked.device_serial };
    let issued = desk.issue(&peer, (tenant, cabinet), right, &asked.key).await?;
    certificates(&[issued])
}

/// RFC 7030, 4.2.2.
pub(super) async fn simple_reenroll(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    let (tenant, cabinet) = desk.renewing(&peer)?;
    let asked = read(&parts.headers, body).await?;
    let issued = desk.issue(&peer, (tenant, cabinet), Right::Certificate, &asked.key).await?;
    certificates(&[issued])
}

impl Desk {
    /// Whose certificate the TLS handshake showed. Judged again: the handshake's time may be long ago.
    fn renewing(&self, peer: &Peer) -> Result<(TenantId, CabinetId), Refused> {
        if peer.chain.is_empty() {
            return Err(Refused::NoCertificate);
        }
        let now: SystemTime = self.clock.system_time();
        let shown = self.clients.renewing(&peer.chain, now, self.grace);
        let shown = shown.map_err(|error| Refused::NotAdmitted(error.to_string()))?;
        let PeerIdentity { identity, fingerprint, issued, not_after, .. } = shown;
        // A certificate that is revoked renews nothing: its successor would be good again.
        let shown = gate::Peer { identity, fingerprint, issued, expires: not_after };
        self.registry.admit(&shown).map_err(|refused| Refused::NotAdmitted(refused.reason))?;
        let cabinet = shown.identity.as_cabinet().ok_or(Refused::NoCertificate)?;
        Ok((shown.identity.tenant, cabinet))
    }

    async fn issue(
        &self,
        peer: &Peer,
        (tenant, cabinet): (TenantId, CabinetId),
        right: Right,
        key: &LeafKey,
    ) -> Result<CertificateDer<'static>, Refused> {
        let (reply, answer) = oneshot::channel();
        let key = key.spki_der().map_err(|_| Refused::Csr(certs::CsrError::Key))?;
        let (named, address) = (format!("{tenant}/{cabinet}"), peer.address);
        let renewal = right == Right::Certificate;
        let ask = EnrolmentAsk { tenant, cabinet, right, key, reply };
        let asked = timeout(ANSWER_MAX, async {
            self.asks.send(ask).await.ok()?;
            answer.await.ok()
        });
        match asked.await {
            Ok(Some(Ok(certificate))) => {
                info!(cabinet = named, %address, renewal, "certificate issued");
                Ok(certificate.into())
            }
            Ok(Some(Err(refusal))) => {
                warn!(cabinet = named, %address, renewal, %refusal, "no certificate issued");
                Err(Refused::Core(refusal))
            }
            Ok(None) | Err(_) => Err(Refused::Unavailable),
        }
    }
}

/// The token's part in HTTP Basic authentication (RFC 7617).
fn token(headers: &HeaderMap) -> Option<(TenantId, CabinetId, TokenSecret)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = data_encoding::BASE64.decode(encoded.trim().as_bytes()).ok()?;
    let plain = zeroize::Zeroizing::new(plain);
    let (user, password) = std::str::from_utf8(&plain).ok()?.split_once(':')?;
    let (tenant, cabinet) = from_user_name(user)?;
    Some((tenant, cabinet, TokenSecret::from_password(password)?))
}

async fn read(headers: &HeaderMap, body: Body) -> Result<CertificationRequest, Refused> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case(PKCS10) {
        return Err(Refused::MediaType);
    }
    let body = to_bytes(body, BODY_MAX).await.map_err(|_| Refused::TooLarge(BODY_MAX))?;
    let text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let der = data_encoding::BASE64.decode(&text).map_err(|_| Refused::Base64)?;
    Ok(CertificationRequest::read(&der)?)
}
