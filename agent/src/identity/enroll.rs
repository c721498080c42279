//! `cabinet-agent enroll`: from a token to a certificate.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certs::{
    CertificateDer, CertificationRequest, ClientClock, FileError, Fingerprint, IssueError, KeyError, LoadError,
    P256Key, ServerRoots, Subject, Summary, TokenUri, enrolment_client_config, ensure_private_dir,
    first_contact_config, replace_private, to_pem, write_public,
};
use data_encoding::HEXLOWER;
use schemas::enrolment::{CACERTS, SIMPLE_ENROLL, Token, user_name};
use schemas::ids::Identity;
use tokio::time::{Instant, sleep};

use super::est::{EstError, Fleet};
use super::slots::{KeyPlaceError, Slot, Slots};

/// How long a fleet that is busy or away is asked again: an installer waits for it.
const PATIENCE: Duration = Duration::from_secs(25);
const PAUSE: Duration = Duration::from_secs(1);

/// Why a cabinet was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    #[error("`{}` is there: this cabinet is enrolled. To enrol it anew, move that folder and the store away", .0.display())]
    Enrolled(PathBuf),
    #[error("the token was made for the device with the serial number {token}, and this one has {own}")]
    OtherDevice { token: String, own: String },
    #[error(
        "the server at {host}:{port} does not belong to the fleet of the token; the token was not sent. \
         Is the host name right? Is somebody between this cabinet and the fleet?"
    )]
    OtherFleet { host: String, port: u16 },
    #[error("the fleet issued no certificate for {0} and this device's key")]
    OtherCertificate(Identity),
    #[error("ask the fleet for its root")]
    Root(#[source] EstError),
    #[error("ask the fleet for a certificate")]
    Certificate(#[source] EstError),
    #[error("the token {0}")]
    KeyPlace(#[from] KeyPlaceError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Request(#[from] IssueError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// What is to be enrolled, and where its identity goes.
pub struct Enrollment {
    pub token: Token,
    /// Of this machine.
    pub device_serial: String,
    /// Folder of the settings file; the identity becomes a folder in it.
    pub base: PathBuf,
    /// The token in which the key is made; without one it is made in a file.
    pub pkcs11: Option<TokenUri>,
    pub clock: Arc<dyn ClientClock>,
}

/// Enrols this cabinet. Stopped at any point, it can be called again with the same token.
pub async fn enroll(ask: &Enrollment) -> Result<Summary, EnrollError> {
    let token = &ask.token;
    let settings = identity_file(&ask.base);
    if settings.exists() {
        return Err(EnrollError::Enrolled(settings));
    }
    if token.device_serial != ask.device_serial {
        let (token, own) = (token.device_serial.clone(), ask.device_serial.clone());
        return Err(EnrollError::OtherDevice { token, own });
    }
    let mut slots = Slots::new(ask.base.join(FOLDER));
    if let Some(pkcs11) = &ask.pkcs11 {
        slots = slots.with_token(pkcs11, &Identity::cabinet(&token.tenant, &token.cabinet))?;
    }
    ensure_private_dir(slots.folder())?;
    let key = slots.request_key(None)?;
    let root = root_of(token).await?;
    let leaf = certificate(ask, &root, &key).await?;
    write_public(&slots.folder().join("root.crt"), to_pem(&root).as_bytes())?;
    let own = slots.write(Slot::Current, &key, &[leaf])?;
    // With it the cabinet is enrolled; until then the token is good for this key, and no other.
    replace_private(&settings, identity_toml(token, ask.pkcs11.as_ref()).as_bytes())?;
    slots.forget_request()?;
    Ok(own.summary().clone())
}

const FOLDER: &str = "identity";

/// Settings that enrolment wrote, beside the settings that people write.
pub fn identity_file(base: &Path) -> PathBuf {
    base.join(FOLDER).join("identity.toml")
}

/// The fleet's root: whatever server answers, it has to be the one with the token's fingerprint.
async fn root_of(token: &Token) -> Result<CertificateDer<'static>, EnrollError> {
    let tls = Arc::new(first_contact_config()?);
    let fleet = fleet_of(token);
    let told = patiently(|| fleet.get(Arc::clone(&tls), CACERTS)).await.map_err(EnrollError::Root)?;
    let found = told.into_iter().find(|one| Fingerprint::of(one) == Fingerprint(token.tls_root));
    found.ok_or_else(|| EnrollError::OtherFleet { host: token.host.clone(), port: token.enrolment_port })
}

async fn certificate(
    ask: &Enrollment,
    root: &CertificateDer<'static>,
    key: &P256Key,
) -> Result<CertificateDer<'static>, EnrollError> {
    let token = &ask.token;
    let roots = ServerRoots::new(std::slice::from_ref(root), token.tenant.clone())?;
    let tls = Arc::new(enrolment_client_config(None, &roots, Arc::clone(&ask.clock))?);
    let csr = CertificationRequest::make(key, Some(&token.device_serial))?;
    let (user, password) = (user_name(&token.tenant, &token.cabinet), token.secret.password());
    let fleet = fleet_of(token);
    let told = patiently(|| fleet.post(Arc::clone(&tls), SIMPLE_ENROLL, Some((&user, &password)), &csr)).await;
    let identity = Identity::cabinet(&token.tenant, &token.cabinet);
    own_leaf(told.map_err(EnrollError::Certificate)?, &identity, key).ok_or(EnrollError::OtherCertificate(identity))
}

/// The certificate among `told` that is of `identity` and for `key`.
pub(super) fn own_leaf(
    told: Vec<CertificateDer<'static>>,
    identity: &Identity,
    key: &P256Key,
) -> Option<CertificateDer<'static>> {
    told.into_iter().find(|one| {
        let own = |summary: Summary| {
            summary.subject == Subject::Leaf(identity.clone()) && summary.public_key == key.public_key()
        };
        Summary::read(one).is_ok_and(own)
    })
}

fn fleet_of(token: &Token) -> Fleet {
    Fleet { host: token.host.clone(), port: token.enrolment_port }
}

async fn patiently<T, F: Future<Output = Result<T, EstError>>>(ask: impl Fn() -> F) -> Result<T, EstError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(error) if error.is_passing() && Instant::now() < until => sleep(PAUSE).await,
            answered => return answered,
        }
    }
}

fn identity_toml(token: &Token, pkcs11: Option<&TokenUri>) -> String {
    // A URI has no character that a string of TOML would need to escape.
    let pkcs11 = pkcs11.map(|uri| format!("pkcs11 = \"{uri}\"\n")).unwrap_or_default();
    let mut text = format!(
        "# Who this cabinet is and how it knows its fleet. Written by `cabinet-agent enroll`; agent.toml wins over it.\n\
         \n\
         tenant = \"{tenant}\"\n\
         cabinet = \"{cabinet}\"\n\
         instance = \"{instance}\"\n\
         \n\
         [fleet]\n\
         host = \"{host}\"\n\
         port = {port}\n\
         enrolment_port = {enrolment_port}\n\
         identity = \"{FOLDER}\"\n\
         roots = \"{FOLDER}/root.crt\"\n\
         {pkcs11}\
         \n\
         [keys]\n\
         roots = [\n",
        tenant = token.tenant,
        cabinet = token.cabinet,
        instance = token.instance,
        host = token.host,
        port = token.mqtt_port,
        enrolment_port = token.enrolment_port,
    );
    for root in &token.keyset_roots {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    \"{}\",", HEXLOWER.encode(root));
    }
    text + "]\n"
}
