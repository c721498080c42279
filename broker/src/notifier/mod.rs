//! The notifier: sends messages to people by HTTP and SMTP, and says what became of each try.
//!
//! What it holds in the clear, a code and an address, is on no disk, in no log and in no error. A gateway's own words are not
//! repeated: they may quote the address.

mod http;
mod mail;
mod secret;
mod sms;
mod webhook;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use fleet_core::{Codes, Dispatch, Outcome};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use schemas::api::Via;
use schemas::ids::{Name, TenantId};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, info, warn};

use secret::Secret;

/// Tries of one channel at the same time. The core begins no more; a driver that started anew does not know of those before it.
const AT_ONCE: usize = 8;
/// More than all channels of all tenants have.
const UNDER_WAY_MAX: u32 = 100_000;
/// How long a broker that stops waits for gateways.
const FINISH_WITHIN: Duration = Duration::from_secs(10);
/// From the first packet of a try to its outcome. The core waits longer.
const LONGEST: Duration = Duration::from_secs(45);

/// What became of a try.
#[derive(Debug)]
pub struct Sent {
    pub tenant: TenantId,
    pub id: String,
    pub attempt: u32,
    pub outcome: Outcome,
}

/// Sends without keeping anybody waiting. Cheap to clone.
#[derive(Clone)]
pub struct Notifier(Arc<Inner>);

struct Inner {
    /// Folder of the secrets, with one folder for each tenant.
    secrets: PathBuf,
    roots: PathBuf,
    /// Read when it is first needed: a fleet without channels needs none.
    trusted: Mutex<Option<Arc<Trusted>>>,
    places: Mutex<HashMap<(TenantId, Name), Arc<Semaphore>>>,
    /// One permit for each try that is under way.
    under_way: Arc<Semaphore>,
    runtime: Handle,
    sent: mpsc::UnboundedSender<Sent>,
}

/// The CAs of the servers that are spoken to.
struct Trusted {
    certificates: Vec<CertificateDer<'static>>,
    https: Arc<ClientConfig>,
}

impl Notifier {
    pub fn new(secrets: PathBuf, roots: PathBuf, runtime: Handle, sent: mpsc::UnboundedSender<Sent>) -> Self {
        let (trusted, places) = (Mutex::default(), Mutex::default());
        let under_way = Arc::new(Semaphore::new(UNDER_WAY_MAX as usize));
        Self(Arc::new(Inner { secrets, roots, trusted, places, under_way, runtime, sent }))
    }

    /// Starts a try. What became of it comes as [`Sent`].
    pub fn send(&self, dispatch: Dispatch, codes: Codes) {
        let inner = Arc::clone(&self.0);
        let place = Arc::clone(&self.0.under_way).try_acquire_owned();
        self.0.runtime.spawn(async move {
            let outcome = match &place {
                Ok(_) => inner.carry_out(&dispatch, &codes).await,
                Err(_) => failed("the broker is stopping"),
            };
            let Dispatch { tenant, id, attempt, .. } = dispatch;
            // A broker that stops takes it for unknown.
            let _ = inner.sent.send(Sent { tenant, id, attempt, outcome });
        });
    }

    /// Begins no more tries, and waits for those that are under way: a broker that stops in good order leaves no unknown outcome
    /// where a gateway answers.
    pub async fn finish(&self) {
        let all = self.0.under_way.acquire_many(UNDER_WAY_MAX);
        if tokio::time::timeout(FINISH_WITHIN, all)
            .await
            .map(|all| all.map(tokio::sync::SemaphorePermit::forget))
            .is_err()
        {
            info!("messages are under way whose outcome nobody waits for; they are sent once more");
        }
    }

    /// Sends a made-up message and hands its outcome to `done`.
    pub fn test(&self, dispatch: Dispatch, done: impl FnOnce(&Dispatch, Outcome) + Send + 'static) {
        let inner = Arc::clone(&self.0);
        self.0.runtime.spawn(async move {
            let outcome = inner.carry_out(&dispatch, &Codes::of_test()).await;
            done(&dispatch, outcome);
        });
    }
}

impl Inner {
    async fn carry_out(&self, dispatch: &Dispatch, codes: &Codes) -> Outcome {
        let place = self.place(dispatch);
        // The core begins no more than there are places, but for those that it has given up.
        let Ok(_place) = place.try_acquire() else { return failed("the channel is busy") };
        let outcome = match tokio::time::timeout(LONGEST, self.attempt(dispatch, codes)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Unknown { detail: "timeout".to_owned() },
        };
        let outcome = without_secrets(dispatch, codes, outcome);
        tell(dispatch, &outcome);
        outcome
    }

    async fn attempt(&self, dispatch: &Dispatch, codes: &Codes) -> Outcome {
        let path = self.secrets.join(dispatch.tenant.as_str()).join(dispatch.channel.secret.as_str());
        let secret = match Secret::read(&path, &dispatch.channel.origin()) {
            Ok(secret) => secret,
            Err(error) => {
                warn!(tenant = %dispatch.tenant, channel = %dispatch.channel.name, path = %path.display(), %error, "a channel cannot be used");
                return failed(error.short());
            }
        };
        let is_tls = !dispatch.channel.plain;
        let trusted = match self.trusted() {
            Ok(trusted) => Some(trusted),
            Err(error) if is_tls => {
                warn!(path = %self.roots.display(), %error, "no CA is trusted: set notify.roots");
                return failed("no CA is trusted");
            }
            Err(_) => None,
        };
        let tls = trusted.as_ref().map(|trusted| &trusted.https);
        match &dispatch.channel.via {
            Via::Webhook { url } => webhook::send(dispatch, codes, url, &secret, tls, SystemTime::now()).await,
            Via::SmsTwilio { url, account, from, .. } => {
                sms::twilio(dispatch, codes, url, (account, from), &secret, tls).await
            }
            Via::SmsHttp { url, format, body, header, accepted, .. } => {
                sms::generic(dispatch, codes, url, (*format, body), (header.as_deref(), &secret), accepted, tls).await
            }
            Via::Email { host, implicit_tls, user, from } => {
                let certificates = trusted.as_ref().map(|trusted| trusted.certificates.as_slice()).unwrap_or_default();
                let server = mail::Server { host, implicit_tls: *implicit_tls, is_tls, certificates, https: tls };
                mail::send(dispatch, codes, &server, user.as_deref(), from, &secret).await
            }
        }
    }

    fn place(&self, dispatch: &Dispatch) -> Arc<Semaphore> {
        let key = (dispatch.tenant.clone(), dispatch.channel.name.clone());
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry(key).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))))
    }

    fn trusted(&self) -> Result<Arc<Trusted>, String> {
        let mut held = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trusted) = held.as_ref() {
            return Ok(Arc::clone(trusted));
        }
        let all = CertificateDer::pem_file_iter(&self.roots).map_err(|error| error.to_string())?;
        let certificates: Vec<_> = all.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let mut store = RootCertStore::empty();
        if store.add_parsable_certificates(certificates.iter().cloned()).0 == 0 {
            return Err("no certificate in it".to_owned());
        }
        let https = Arc::new(ClientConfig::builder().with_root_certificates(store).with_no_client_auth());
        let trusted = Arc::new(Trusted { certificates, https });
        *held = Some(Arc::clone(&trusted));
        Ok(trusted)
    }
}

/// A gateway that names a message by its code, or by who gets it, has given it no name.
fn without_secrets(dispatch: &Dispatch, codes: &Codes, outcome: Outcome) -> Outcome {
    let Outcome::Accepted { reference: Some(name) } = outcome else { return outcome };
    let number = dispatch.to.trim_start_matches('+');
    let quotes = name.contains(codes.code.as_str()) || !number.is_empty() && name.contains(number);
    Outcome::Accepted { reference: Some(name).filter(|_| !quotes) }
}

fn failed(detail: &str) -> Outcome {
    Outcome::Failed { detail: detail.to_owned() }
}

/// Neither address nor text.
fn tell(dispatch: &Dispatch, outcome: &Outcome) {
    let Dispatch { tenant, id, attempt, channel, .. } = dispatch;
    let channel = &channel.name;
    match outcome {
        Outcome::Accepted { .. } => debug!(%tenant, %channel, id, attempt, "a message is accepted"),
        Outcome::Refused { detail } => info!(%tenant, %channel, id, attempt, detail, "a message is refused"),
        Outcome::Failed { detail } => info!(%tenant, %channel, id, attempt, detail, "a message is not sent yet"),
        Outcome::Unknown { detail } => {
            info!(%tenant, %channel, id, attempt, detail, "nobody knows whether a message is sent")
        }
        Outcome::NotRevealed => {}
    }
}
