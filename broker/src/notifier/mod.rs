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

use fleet_core::{Codes, Dispatch, Outcome, Receipt, ReceiptAsk};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use schemas::api::{Channel, Via};
use schemas::ids::{Name, TenantId};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, info, warn};

use secret::Secret;

/// Tries of one channel at the same time. The core begins no more; a driver that started anew does not know of those before it.
const AT_ONCE: usize = 8;
/// Questions for receipts to one channel at the same time. Whoever finds no place asks later.
const ASKING: usize = 4;
/// More than all channels of all tenants have.
const UNDER_WAY_MAX: u32 = 100_000;
/// How long a broker that stops waits for gateways.
const FINISH_WITHIN: Duration = Duration::from_secs(10);
/// From the first packet of a try to its outcome. The core waits longer.
const LONGEST: Duration = Duration::from_secs(45);
const ASKING_LONGEST: Duration = Duration::from_secs(20);

/// What became of a try.
#[derive(Debug)]
pub struct Sent {
    pub tenant: TenantId,
    pub id: String,
    pub attempt: u32,
    pub outcome: Outcome,
}

/// What the driver hears from the notifier.
#[derive(Debug)]
pub enum Heard {
    Sent(Sent),
    /// What a gateway says about a message that it has accepted under this name.
    Receipt {
        tenant: TenantId,
        id: String,
        reference: String,
        receipt: Receipt,
    },
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
    /// Of their own: questions take no place of a message, nor one of another channel.
    asking: Mutex<HashMap<(TenantId, Name), Arc<Semaphore>>>,
    runtime: Handle,
    heard: mpsc::UnboundedSender<Heard>,
}

/// The CAs of the servers that are spoken to.
struct Trusted {
    certificates: Vec<CertificateDer<'static>>,
    https: Arc<ClientConfig>,
}

impl Notifier {
    pub fn new(secrets: PathBuf, roots: PathBuf, runtime: Handle, heard: mpsc::UnboundedSender<Heard>) -> Self {
        let (trusted, places) = (Mutex::default(), Mutex::default());
        let under_way = Arc::new(Semaphore::new(UNDER_WAY_MAX as usize));
        Self(Arc::new(Inner { secrets, roots, trusted, places, under_way, asking: Mutex::default(), runtime, heard }))
    }

    /// Starts a try. What became of it comes as [`Heard::Sent`].
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
            let _ = inner.heard.send(Heard::Sent(Sent { tenant, id, attempt, outcome }));
        });
    }

    /// Asks a gateway about a message, if there is a place. An answer comes as [`Heard::Receipt`].
    pub fn ask_receipt(&self, ask: ReceiptAsk) {
        let Ok(place) = place(&self.0.asking, &ask.tenant, &ask.channel, ASKING).try_acquire_owned() else { return };
        let inner = Arc::clone(&self.0);
        self.0.runtime.spawn(async move {
            let receipt = tokio::time::timeout(ASKING_LONGEST, inner.receipt(&ask)).await.unwrap_or(Receipt::NotYet);
            drop(place);
            let ReceiptAsk { tenant, id, channel, reference } = ask;
            debug!(%tenant, channel = %channel.name, id, ?receipt, "a gateway was asked about a message");
            let _ = inner.heard.send(Heard::Receipt { tenant, id, reference, receipt });
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
        let place = place(&self.places, &dispatch.tenant, &dispatch.channel, AT_ONCE);
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

    async fn receipt(&self, ask: &ReceiptAsk) -> Receipt {
        let Via::SmsTwilio { url, account, .. } = &ask.channel.via else { return Receipt::NotYet };
        let (Ok(secret), Ok(trusted)) = (self.secret(&ask.tenant, &ask.channel), self.trusted_for(&ask.channel)) else {
            return Receipt::NotYet;
        };
        let tls = trusted.as_ref().map(|trusted| &trusted.https);
        sms::twilio_receipt(&ask.reference, url, account, &secret, tls).await
    }

    fn secret(&self, tenant: &TenantId, channel: &Channel) -> Result<Secret, Outcome> {
        let path = self.secrets.join(tenant.as_str()).join(channel.secret.as_str());
        Secret::read(&path, &channel.origin()).map_err(|error| {
            warn!(%tenant, channel = %channel.name, path = %path.display(), %error, "a channel cannot be used");
            failed(error.short())
        })
    }

    /// None where a channel does without TLS.
    fn trusted_for(&self, channel: &Channel) -> Result<Option<Arc<Trusted>>, Outcome> {
        match self.trusted() {
            Ok(trusted) => Ok(Some(trusted)),
            Err(_) if channel.plain => Ok(None),
            Err(error) => {
                warn!(path = %self.roots.display(), %error, "no CA is trusted: set notify.roots");
                Err(failed("no CA is trusted"))
            }
        }
    }

    async fn attempt(&self, dispatch: &Dispatch, codes: &Codes) -> Outcome {
        let ready = self.secret(&dispatch.tenant, &dispatch.channel);
        let ready = ready.and_then(|secret| Ok((secret, self.trusted_for(&dispatch.channel)?)));
        let (secret, trusted) = match ready {
            Ok(ready) => ready,
            Err(outcome) => return outcome,
        };
        let is_tls = !dispatch.channel.plain;
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

/// What a channel may do at the same time.
fn place(
    places: &Mutex<HashMap<(TenantId, Name), Arc<Semaphore>>>,
    tenant: &TenantId,
    channel: &Channel,
    most: usize,
) -> Arc<Semaphore> {
    let key = (tenant.clone(), channel.name.clone());
    let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(places.entry(key).or_insert_with(|| Arc::new(Semaphore::new(most))))
}

/// Digits at the end of a number that are the same however it is written.
const NUMBER_TAIL: usize = 8;

/// A gateway that names a message by its code, or by who gets it, has given it no name.
fn without_secrets(dispatch: &Dispatch, codes: &Codes, outcome: Outcome) -> Outcome {
    let Outcome::Accepted { reference: Some(name) } = outcome else { return outcome };
    let number = dispatch.to.trim_start_matches('+');
    let tail = number.get(number.len().saturating_sub(NUMBER_TAIL)..).unwrap_or(number);
    let secrets = [codes.code.as_str(), codes.qr.as_str(), tail];
    let quotes = secrets.iter().any(|secret| !secret.is_empty() && name.contains(secret));
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

#[cfg(test)]
mod tests {
    use fleet_core::{Config, Effect, FleetCore, Input, Moment};
    use schemas::step::{Row, Store, StoreError, Table, Write};

    use super::*;

    struct Empty;

    impl Store for Empty {
        fn commit(&mut self, _: &[Write]) -> Result<(), StoreError> {
            Ok(())
        }

        fn scan(&self, _: Table, _: &[u8], _: usize) -> Result<Vec<Row>, StoreError> {
            Ok(Vec::new())
        }
    }

    /// A made-up message to +49 151 12345678, as the core makes it.
    fn dispatch() -> Dispatch {
        let mut core = FleetCore::open(Config::default(), &Empty).unwrap();
        let mut ask = |payload: &str| {
            let who = "operator:acme:eve".parse().unwrap();
            let input = Input::Request { ticket: 1, who, payload: payload.as_bytes().to_vec() };
            core.handle(input, &Moment { now: 1_795_378_500_000, entropy: [7; 32] }).effects
        };
        let via = r#"{"kind":"sms_twilio","url":"https://sms.example","account":"AC1","from":"me"}"#;
        ask(&format!(r#"{{"op":"channel.put","channel":{{"name":"sms","secret":"sms","via":{via}}}}}"#));
        let effects = ask(r#"{"op":"channel.test","name":"sms","to":"+49 151 12345678"}"#);
        let made = effects
            .into_iter()
            .find_map(|effect| if let Effect::ReplyTested { dispatch, .. } = effect { Some(*dispatch) } else { None });
        made.unwrap()
    }

    #[test]
    fn a_name_that_a_gateway_gives_a_message_is_kept_unless_it_shows_code_or_address() {
        let dispatch = dispatch();
        let kept = |name: &str| {
            let outcome = Outcome::Accepted { reference: Some(name.to_owned()) };
            without_secrets(&dispatch, &Codes::of_test(), outcome)
        };
        assert_eq!(kept("SM1"), Outcome::Accepted { reference: Some("SM1".into()) });
        for name in ["000000", "ref-000000-1", "4915112345678", "to-4915112345678.1", "015112345678", "15112345678-1"] {
            assert_eq!(kept(name), Outcome::Accepted { reference: None }, "{name}");
        }
        let refused = Outcome::Refused { detail: "HTTP 400".into() };
        assert_eq!(without_secrets(&dispatch, &Codes::of_test(), refused.clone()), refused);
    }
}
