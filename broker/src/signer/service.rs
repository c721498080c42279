//! What the signer does with a request, given the time and random bytes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, UNIX_EPOCH};

use certs::{Authority, CertificateAuthority, LeafKey, LeafRequest};
use ed25519_dalek::SigningKey;
use fleet_core::signing::{
    AnswerKept, Certificate, Envelope, Failed, IssueCertificate, KeepAnswer, MakeSealed, MakeSecrets, OpenPhone,
    PhoneOpened, Reveal, Revealed, Sealed, SecretItem, SecretMade, Secrets, SignerReply, SignerRequest,
};
use p256::SecretKey;
use schemas::cbor::{self, Blob};
use schemas::crypto::answers::{ANSWER_MAX, Answer};
use schemas::crypto::codes::{Pepper, Secret, TOKEN_BYTES};
use schemas::crypto::{envelope, rest, seal};
use schemas::ids::{CabinetId, Identity, TenantId};
use schemas::messages::{CodesMessage, CredentialKind, FleetMillis, Instance, KeyPurpose, OrderKey, PepperOffer, Salt};
use schemas::phone::Phone;
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::settings::{KeyFiles, SignerKeys};

/// How far the broker's clock may be from the signer's, in milliseconds.
const CLOCK_TOLERANCE_MILLIS: u64 = 5 * 60 * 1_000;
/// Random bytes for one code: enough that [`Secret::digits_from`] cannot run out.
const CODE_ENTROPY: usize = 256;

/// The keys of a tenant, of each purpose the newest first.
pub struct Keys {
    /// None where only people's own keys open doors.
    unlock: Vec<SigningKey>,
    codes: SigningKey,
    /// None in a fleet of before there were commands for it.
    config: Option<SigningKey>,
    pepper: Vec<SecretKey>,
    secrets: Zeroizing<[u8; 32]>,
    cabinets: CertificateAuthority,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("read signing key `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: certs::KeyError,
    },
    #[error("signing keys `{one}` and `{other}` are the same key; each purpose needs its own")]
    Shared { one: PathBuf, other: PathBuf },
    #[error("no key of purpose {0} is named")]
    None(KeyPurpose),
    #[error("open the cabinets' CA")]
    Authority(#[from] certs::LoadError),
    #[error("certificate `{path}` is that of the {found}, not of the cabinets' CA")]
    OtherAuthority { path: PathBuf, found: Authority },
}

impl Keys {
    pub fn read(paths: &SignerKeys) -> Result<Self, KeysError> {
        let unread = |path: &Path| {
            let path = path.to_owned();
            move |source| KeysError::Read { path, source }
        };
        let ed25519 = |path: &PathBuf| certs::read_ed25519(path, None).map_err(unread(path));
        let all = |files: &KeyFiles| files.paths().iter().map(ed25519).collect::<Result<Vec<_>, _>>();
        let (unlock, codes, config) = (all(&paths.unlock)?, all(&paths.codes)?, all(&paths.config)?);
        let secrets = ed25519(&paths.secrets)?;
        let p256 = |path: &PathBuf| certs::read_p256(path, None).map_err(unread(path));
        let pepper = paths.pepper.paths().iter().map(p256).collect::<Result<Vec<_>, _>>()?;
        let named: Vec<_> = (unlock.iter().zip(paths.unlock.paths()))
            .chain(codes.iter().zip(paths.codes.paths()))
            .chain(config.iter().zip(paths.config.paths()))
            .chain([(&secrets, &paths.secrets)])
            .collect();
        for (at, (one, one_path)) in named.iter().enumerate() {
            if let Some((_, other)) = named[at + 1..].iter().find(|(other, _)| other.to_bytes() == one.to_bytes()) {
                return Err(KeysError::Shared { one: (*one_path).clone(), other: (*other).clone() });
            }
        }
        if pepper.is_empty() {
            return Err(KeysError::None(KeyPurpose::Pepper));
        }
        let codes = codes.into_iter().next().ok_or(KeysError::None(KeyPurpose::Codes))?;
        let config = config.into_iter().next();
        let secrets = Zeroizing::new(secrets.to_bytes());
        let cabinets = CertificateAuthority::open(&paths.cabinets_ca, &paths.cabinets_ca_key, None)?;
        if cabinets.authority() != Authority::Cabinets {
            let path = paths.cabinets_ca.clone();
            return Err(KeysError::OtherAuthority { path, found: cabinets.authority() });
        }
        Ok(Self { unlock, codes, config, pepper, secrets, cabinets })
    }

    /// Ids of the keys that sign, as `fleet keys list` shows them.
    fn signing(&self) -> (String, String) {
        let id = |key: &SigningKey| envelope::key_id(&key.verifying_key().to_bytes()).to_string();
        (self.unlock.first().map_or_else(|| "none".to_owned(), id), id(&self.codes))
    }
}

/// Answers requests for one tenant.
pub struct Service {
    tenant: TenantId,
    keys: RwLock<Arc<Keys>>,
}

/// Why a request is not carried out. Goes back to the broker and into its log.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("these keys belong to another tenant")]
    OtherTenant,
    #[error("the clocks of broker and signer are more than five minutes apart")]
    Clock,
    #[error("the pepper was not sealed to this signer by that cabinet")]
    Pepper,
    #[error("a secret was not sealed by this signer")]
    Secret,
    #[error("the answer to the second factor of {0} was not sealed to this signer for it")]
    Answer(OrderKey),
    #[error("a code of {1} {0} is not made")]
    Digits(CredentialKind, u8),
    #[error("no random numbers")]
    Random,
    #[error("this fleet has no unlock key: people open with keys of their own")]
    PeopleOnly,
    #[error("this fleet has no config key; `fleet keys rotate config` makes one")]
    NoConfigKey,
    #[error("{}", with_causes(.0))]
    Issue(#[from] certs::IssueError),
}

/// An error and its causes in one line: the broker gets words and no error.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl Service {
    pub fn new(tenant: TenantId, keys: Keys) -> Self {
        Self { tenant, keys: RwLock::new(Arc::new(keys)) }
    }

    /// From the next request on these keys are used. What is under way goes on with those that it has.
    pub fn take_up(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        self.tell_keys();
    }

    /// Says in the log which keys sign.
    pub fn tell_keys(&self) {
        let (unlock, codes) = self.keys().signing();
        info!(unlock, codes, "signer uses keys");
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Carries out one request. Takes tens of milliseconds for each code of [`MakeSecrets`].
    pub fn answer(&self, request: SignerRequest, now: FleetMillis) -> SignerReply {
        let result = match request {
            SignerRequest::SignCommand(ask) => self.check(&ask.tenant).and_then(|()| {
                close(ask.command.issued, now)?;
                let payload = cbor::encode(&ask.command);
                let keys = self.keys();
                let key = keys.unlock.first().ok_or(Refusal::PeopleOnly)?;
                Ok(self.signed(payload, &ask.cabinet, ask.instance, (KeyPurpose::Unlock, key)))
            }),
            SignerRequest::SignConfig(ask) => self.check(&ask.tenant).and_then(|()| {
                close(ask.command.issued, now)?;
                let payload = cbor::encode(&ask.command);
                let keys = self.keys();
                let key = keys.config.as_ref().ok_or(Refusal::NoConfigKey)?;
                Ok(self.signed(payload, &ask.cabinet, ask.instance, (KeyPurpose::Config, key)))
            }),
            SignerRequest::SignBook(ask) => self.check(&ask.tenant).map(|()| {
                let payload = cbor::encode(&CodesMessage::Book(ask.book));
                self.signed(payload, &ask.cabinet, ask.instance, (KeyPurpose::Codes, &self.keys().codes))
            }),
            SignerRequest::SignOpen(ask) => self.check(&ask.tenant).and_then(|()| {
                close(ask.open.issued, now)?;
                let payload = cbor::encode(&CodesMessage::Open(ask.open));
                Ok(self.signed(payload, &ask.cabinet, ask.instance, (KeyPurpose::Codes, &self.keys().codes)))
            }),
            SignerRequest::SignTime(ask) => self.check(&ask.tenant).and_then(|()| {
                close(ask.time.now, now)?;
                let payload = cbor::encode(&CodesMessage::Time(ask.time));
                Ok(self.signed(payload, &ask.cabinet, ask.instance, (KeyPurpose::Codes, &self.keys().codes)))
            }),
            SignerRequest::MakeSecrets(ask) => self.make_secrets(&ask),
            SignerRequest::MakeSealed(ask) => self.make_sealed(&ask),
            SignerRequest::Reveal(ask) => self.reveal(&ask),
            SignerRequest::IssueCertificate(ask) => self.issue(&ask, now),
            SignerRequest::OpenPhone(ask) => self.open_phone(&ask),
            SignerRequest::KeepAnswer(ask) => self.keep_answer(&ask),
        };
        result.unwrap_or_else(|refusal| Failed { reason: refusal.to_string() }.into())
    }

    fn check(&self, tenant: &TenantId) -> Result<(), Refusal> {
        if *tenant == self.tenant { Ok(()) } else { Err(Refusal::OtherTenant) }
    }

    fn signed(
        &self,
        payload: Vec<u8>,
        cabinet: &CabinetId,
        instance: Instance,
        (purpose, key): (KeyPurpose, &SigningKey),
    ) -> SignerReply {
        let scope = envelope::Scope::Cabinet { tenant: &self.tenant, cabinet, instance, purpose };
        Envelope { envelope: Blob(envelope::sign(payload, scope, key)) }.into()
    }

    fn make_secrets(&self, ask: &MakeSecrets) -> Result<SignerReply, Refusal> {
        self.check(&ask.tenant)?;
        let pepper = self.pepper(&ask.cabinet, ask.instance, &ask.pepper)?;
        let mut items = Vec::new();
        for item in &ask.items {
            match self.make_secret(item, &ask.pepper.salt, &pepper) {
                Ok(made) => items.push(made),
                // The others must not wait for one that will never be.
                Err(Refusal::Secret) => warn!(id = %item.id, "a sealed secret cannot be opened and is left out"),
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(Secrets { items }.into())
    }

    fn make_secret(&self, item: &SecretItem, salt: &Salt, pepper: &Pepper) -> Result<SecretMade, Refusal> {
        if let Some(order) = &item.answers {
            let sealed = item.sealed.clone().ok_or(Refusal::Secret)?;
            let verifier = self.kept_answer(order, &sealed)?.verifier(order, salt, pepper);
            return Ok(SecretMade { id: item.id, verifier, sealed });
        }
        let (secret, sealed) = match &item.sealed {
            Some(sealed) => (self.unseal(sealed)?, sealed.clone()),
            None => {
                let secret = fresh(item.kind, item.digits)?;
                let sealed = self.seal(&secret)?;
                (secret, sealed)
            }
        };
        Ok(SecretMade { id: item.id, verifier: secret.verifier(salt, pepper), sealed })
    }

    fn make_sealed(&self, ask: &MakeSealed) -> Result<SignerReply, Refusal> {
        self.check(&ask.tenant)?;
        let sealed = self.seal(&fresh(ask.kind, ask.digits)?)?;
        Ok(Sealed { sealed }.into())
    }

    fn reveal(&self, ask: &Reveal) -> Result<SignerReply, Refusal> {
        self.check(&ask.tenant)?;
        Ok(Revealed { text: self.unseal(&ask.sealed)?.reveal().to_owned() }.into())
    }

    /// Whose certificate it becomes is said by the fleet, what it may be used for by the profile, neither by the device.
    fn issue(&self, ask: &IssueCertificate, now: FleetMillis) -> Result<SignerReply, Refusal> {
        self.check(&ask.tenant)?;
        close(ask.now, now)?;
        let request = LeafRequest::client(Identity::cabinet(&self.tenant, &ask.cabinet));
        let at = UNIX_EPOCH + Duration::from_millis(ask.now);
        let issued = self.keys().cabinets.issue(&request, &LeafKey::from_spki_der(&ask.key.0)?, at)?;
        Ok(Certificate { certificate: Blob(issued.certificate.to_vec()) }.into())
    }

    /// What is no phone number is not handed out: this is no way to open anything else.
    fn open_phone(&self, ask: &OpenPhone) -> Result<SignerReply, Refusal> {
        self.check(&ask.tenant)?;
        let aad = seal::phone_aad(&self.tenant, &ask.cabinet, ask.instance, &ask.order);
        let opened = self.keys().pepper.iter().find_map(|key| seal::open(&ask.sealed.0, key, &aad).ok());
        let text = opened.as_ref().and_then(|plain| std::str::from_utf8(plain).ok());
        let phone = text.and_then(|text| Phone::parse(text).ok());
        if phone.is_none() {
            warn!(order = %ask.order, "the phone number of a walk-in cannot be opened");
        }
        Ok(PhoneOpened { phone: phone.map(|phone| phone.reveal().to_owned()) }.into())
    }

    /// Hands nothing out that anybody could read. The tag tells one answer from another.
    fn keep_answer(&self, ask: &KeepAnswer) -> Result<SignerReply, Refusal> {
        self.check(&ask.tenant)?;
        let aad = seal::answer_aad(&self.tenant, &ask.order);
        let keys = self.keys();
        let opened = keys.pepper.iter().find_map(|key| seal::open(&ask.sealed.0, key, &aad).ok());
        let answer = opened.and_then(|plain| read_answer(&plain)).ok_or_else(|| Refusal::Answer(ask.order.clone()))?;
        let label = self.answer_label(&ask.order);
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).map_err(|_| Refusal::Random)?;
        // All are of one length: how long an answer is nobody learns by looking.
        let plain = Zeroizing::new(format!("{:ANSWER_MAX$}", answer.reveal()));
        let sealed = rest::protect(&keys.secrets, &label, nonce, plain.as_bytes());
        let tag = rest::tag(&keys.secrets, &label, answer.reveal().as_bytes());
        Ok(AnswerKept { sealed: Blob(sealed), tag: Blob(tag.to_vec()) }.into())
    }

    fn kept_answer(&self, order: &OrderKey, sealed: &Blob) -> Result<Answer, Refusal> {
        let plain = rest::unprotect(&self.keys().secrets, &self.answer_label(order), &sealed.0);
        plain.ok().and_then(|plain| read_answer(&plain)).ok_or(Refusal::Secret)
    }

    /// Of its own: what reveals codes cannot be asked for an answer.
    fn answer_label(&self, order: &OrderKey) -> Vec<u8> {
        cbor::encode(&("locker-fleet/1 answer", &self.tenant, order))
    }

    fn pepper(&self, cabinet: &CabinetId, instance: Instance, offer: &PepperOffer) -> Result<Pepper, Refusal> {
        let aad = seal::pepper_aad(&self.tenant, cabinet, instance, offer.version, offer.salt);
        let keys = self.keys();
        // A cabinet that was away has sealed it to an older one.
        let opened = keys.pepper.iter().find_map(|key| seal::open(&offer.sealed.0, key, &aad).ok());
        let plain = opened.ok_or(Refusal::Pepper)?;
        plain.as_slice().try_into().map(Pepper).map_err(|_| Refusal::Pepper)
    }

    fn label(&self) -> Vec<u8> {
        cbor::encode(&("locker-fleet/1 secret", &self.tenant))
    }

    fn seal(&self, secret: &Secret) -> Result<Blob, Refusal> {
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).map_err(|_| Refusal::Random)?;
        Ok(Blob(rest::protect(&self.keys().secrets, &self.label(), nonce, secret.reveal().as_bytes())))
    }

    fn unseal(&self, sealed: &Blob) -> Result<Secret, Refusal> {
        let plain = rest::unprotect(&self.keys().secrets, &self.label(), &sealed.0).map_err(|_| Refusal::Secret)?;
        std::str::from_utf8(&plain).ok().and_then(|text| Secret::parse(text).ok()).ok_or(Refusal::Secret)
    }
}

fn read_answer(plain: &[u8]) -> Option<Answer> {
    std::str::from_utf8(plain).ok().and_then(|text| Answer::parse(text).ok())
}

/// A command or a time that is far from the signer's own clock was made by a broker whose clock is wrong, or that is
/// not believed.
fn close(told: FleetMillis, now: FleetMillis) -> Result<(), Refusal> {
    if told.abs_diff(now) <= CLOCK_TOLERANCE_MILLIS { Ok(()) } else { Err(Refusal::Clock) }
}

fn fresh(kind: CredentialKind, digits: u8) -> Result<Secret, Refusal> {
    if (kind, digits) == (CredentialKind::Qr, 0) {
        let mut random = Zeroizing::new([0; TOKEN_BYTES]);
        getrandom::fill(random.as_mut()).map_err(|_| Refusal::Random)?;
        return Ok(Secret::token_from(&random));
    }
    let mut random = Zeroizing::new([0; CODE_ENTROPY]);
    getrandom::fill(random.as_mut()).map_err(|_| Refusal::Random)?;
    // As many digits as may be guessed are no right that is not to be guessed, and the other way round.
    let made = match kind {
        CredentialKind::Letters => Secret::letters_from(random.as_ref(), digits),
        CredentialKind::Digits | CredentialKind::Qr => Secret::digits_from(random.as_ref(), digits),
    };
    made.filter(|made| made.kind() == kind).ok_or(Refusal::Digits(kind, digits))
}

#[cfg(test)]
mod tests {
    use fleet_core::signing::{SignCommand, SignOpen, SignTime};
    use schemas::messages::{
        Action, BootId, Challenge, Command, CommandId, Compartment, CredentialId, Expect, FleetTime, Nonce, OpenOrder,
        OrderKey, PresenceToken, Unlock,
    };

    use super::*;

    const NOW: FleetMillis = 1_800_000_000_000;
    const INSTANCE: Instance = Instance([4; 16]);

    fn tenant() -> TenantId {
        "acme".parse().unwrap()
    }

    fn cabinet() -> CabinetId {
        "c1".parse().unwrap()
    }

    fn service() -> Service {
        Service::new(tenant(), keys(&[1], &[3]))
    }

    fn keys(unlock: &[u8], pepper: &[u8]) -> Keys {
        Keys {
            unlock: unlock.iter().map(|byte| SigningKey::from_bytes(&[*byte; 32])).collect(),
            codes: SigningKey::from_bytes(&[2; 32]),
            config: Some(SigningKey::from_bytes(&[7; 32])),
            pepper: pepper.iter().map(|byte| SecretKey::from_slice(&[*byte; 32]).unwrap()).collect(),
            secrets: Zeroizing::new([4; 32]),
            cabinets: authority(Authority::Cabinets),
        }
    }

    fn authority(which: Authority) -> CertificateAuthority {
        let at = UNIX_EPOCH + Duration::from_millis(NOW);
        let key = |byte| SecretKey::from_slice(&[byte; 32]).unwrap();
        let root = CertificateAuthority::new_root(&"acme".parse().unwrap(), key(5), at).unwrap();
        root.new_intermediate(which, key(6), at).unwrap()
    }

    fn challenge() -> Challenge {
        Challenge { boot: BootId([1; 8]), counter: 1, nonce: Nonce([2; 8]) }
    }

    fn command(tenant: TenantId, issued: FleetMillis) -> SignerRequest {
        let unlock = Unlock { compartment: Compartment::new(1).unwrap(), expects: Expect::empty() };
        let command = Command {
            id: CommandId([9; 16]),
            challenge: challenge(),
            issued,
            action: Action::Unlock(unlock),
            requester: "operator:acme:eve".into(),
        };
        SignCommand { tenant, cabinet: cabinet(), instance: INSTANCE, command }.into()
    }

    fn offer(version: u32) -> PepperOffer {
        offer_to(version, 3)
    }

    /// Sealed to this key.
    fn offer_to(version: u32, key: u8) -> PepperOffer {
        let salt = Salt([5; 16]);
        let entropy = seal::Entropy { ephemeral: SecretKey::from_slice(&[8; 32]).unwrap(), nonce: [6; 12] };
        let aad = seal::pepper_aad(&tenant(), &cabinet(), INSTANCE, version, salt);
        let public = SecretKey::from_slice(&[key; 32]).unwrap().public_key();
        PepperOffer { version, salt, sealed: Blob(seal::seal(&[7; 32], &public, &aad, &entropy).unwrap()) }
    }

    fn failed(reply: SignerReply) -> String {
        let SignerReply::Failed(failed) = reply else { panic!("{reply:?} is no refusal") };
        failed.reason
    }

    #[test]
    fn a_command_is_signed_with_the_unlock_key_only() {
        let SignerReply::Envelope(made) = service().answer(command(tenant(), NOW), NOW) else { panic!("not signed") };
        let unlock = envelope::public_entry(&SigningKey::from_bytes(&[1; 32]), KeyPurpose::Unlock);
        let (tenant, cabinet) = (tenant(), cabinet());
        let scope = envelope::Scope::Cabinet {
            tenant: &tenant,
            cabinet: &cabinet,
            instance: INSTANCE,
            purpose: KeyPurpose::Unlock,
        };
        assert!(envelope::open(&made.envelope.0, scope, [&unlock]).is_ok());
    }

    #[test]
    fn an_opening_by_the_app_is_signed_with_the_codes_key_also_where_only_people_have_unlock_keys() {
        let open = |issued| {
            let open = OpenOrder {
                id: CommandId([9; 16]),
                challenge: challenge(),
                issued,
                order: "shop/A17".parse().unwrap(),
                compartment: Compartment::new(1).unwrap(),
                token: PresenceToken::from_random([1; 5]),
                requester: "integration:acme:shop".into(),
            };
            SignOpen { tenant: tenant(), cabinet: cabinet(), instance: INSTANCE, open }
        };
        let service = service();
        service.take_up(keys(&[], &[3]));
        let SignerReply::Envelope(made) = service.answer(open(NOW).into(), NOW) else { panic!("not signed") };
        let codes = envelope::public_entry(&service.keys().codes, KeyPurpose::Codes);
        let (tenant, cabinet) = (tenant(), cabinet());
        let scope =
            |purpose| envelope::Scope::Cabinet { tenant: &tenant, cabinet: &cabinet, instance: INSTANCE, purpose };
        assert!(envelope::open(&made.envelope.0, scope(KeyPurpose::Codes), [&codes]).is_ok());
        assert!(envelope::open(&made.envelope.0, scope(KeyPurpose::Unlock), [&codes]).is_err());
        let late = service.answer(open(NOW - CLOCK_TOLERANCE_MILLIS - 1).into(), NOW);
        assert!(failed(late).contains("clocks"));
        let theirs = SignOpen { tenant: "umbra".parse().unwrap(), ..open(NOW) };
        assert!(failed(service.answer(theirs.into(), NOW)).contains("another tenant"));
    }

    #[test]
    fn the_newest_unlock_key_signs_from_the_next_request_on_and_without_one_nothing_opens() {
        let service = service();
        let signer = |service: &Service| {
            let SignerReply::Envelope(made) = service.answer(command(tenant(), NOW), NOW) else { return None };
            let (tenant, cabinet) = (tenant(), cabinet());
            let (instance, purpose) = (INSTANCE, KeyPurpose::Unlock);
            let scope = envelope::Scope::Cabinet { tenant: &tenant, cabinet: &cabinet, instance, purpose };
            let key = |byte: u8| envelope::public_entry(&SigningKey::from_bytes(&[byte; 32]), purpose);
            [1, 9].into_iter().find(|byte| envelope::open(&made.envelope.0, scope, [&key(*byte)]).is_ok())
        };
        assert_eq!(signer(&service), Some(1));
        service.take_up(keys(&[9, 1], &[3]));
        assert_eq!(signer(&service), Some(9));
        service.take_up(keys(&[], &[3]));
        assert!(failed(service.answer(command(tenant(), NOW), NOW)).contains("keys of their own"));
    }

    #[test]
    fn a_pepper_that_was_sealed_to_an_older_key_opens_until_that_one_is_gone() {
        let item =
            SecretItem { id: CredentialId([1; 8]), kind: CredentialKind::Qr, digits: 0, sealed: None, answers: None };
        let (tenant, cabinet, items) = (tenant(), cabinet(), vec![item]);
        let ask = MakeSecrets { tenant, cabinet, instance: INSTANCE, pepper: offer(1), items };
        let service = service();
        service.take_up(keys(&[1], &[8, 3]));
        assert!(matches!(service.answer(ask.clone().into(), NOW), SignerReply::Secrets(_)));
        service.take_up(keys(&[1], &[8]));
        assert!(failed(service.answer(ask.into(), NOW)).contains("pepper"));
    }

    #[test]
    fn what_may_be_guessed_and_what_not_differ_in_their_digits() {
        let make = |kind, digits| service().answer(MakeSealed { tenant: tenant(), kind, digits }.into(), NOW);
        for (kind, digits) in [(CredentialKind::Qr, 8), (CredentialKind::Digits, 25), (CredentialKind::Digits, 13)] {
            assert!(failed(make(kind, digits)).contains(&format!("{digits} {kind}")), "{kind} {digits}");
        }
        assert!(failed(make(CredentialKind::Letters, 11)).contains("11 letters"));
        let SignerReply::Sealed(made) = make(CredentialKind::Letters, 7) else { panic!("not made") };
        let secret = service().unseal(&made.sealed).unwrap();
        assert_eq!((secret.kind(), secret.reveal().len()), (CredentialKind::Letters, 7));
        let SignerReply::Sealed(made) = make(CredentialKind::Qr, 25) else { panic!("not made") };
        let secret = service().unseal(&made.sealed).unwrap();
        assert_eq!((secret.kind(), secret.reveal().len()), (CredentialKind::Qr, 25));
    }

    #[test]
    fn another_tenant_and_another_time_are_refused() {
        let other = service().answer(command("umbra".parse().unwrap(), NOW), NOW);
        assert!(failed(other).contains("another tenant"));
        let late = service().answer(command(tenant(), NOW - CLOCK_TOLERANCE_MILLIS - 1), NOW);
        assert!(failed(late).contains("clocks"));
        let time = FleetTime { challenge: challenge(), now: NOW + 86_400_000, mark: None };
        let time = SignTime { tenant: tenant(), cabinet: cabinet(), instance: INSTANCE, time };
        assert!(failed(service().answer(time.into(), NOW)).contains("clocks"));
    }

    #[test]
    fn a_certificate_is_for_the_named_cabinet_and_the_key_that_was_shown() {
        let key = LeafKey::from(&SecretKey::from_slice(&[7; 32]).unwrap());
        let ask = |tenant: TenantId, key: Vec<u8>, now| {
            IssueCertificate { tenant, cabinet: cabinet(), key: Blob(key), now }.into()
        };
        let spki = key.spki_der().unwrap();
        let SignerReply::Certificate(made) = service().answer(ask(tenant(), spki.clone(), NOW), NOW) else {
            panic!("not issued")
        };
        let summary = certs::Summary::read(&made.certificate.0.into()).unwrap();
        let identity = Identity::cabinet(&tenant(), &cabinet());
        assert_eq!(summary.subject, certs::Subject::Leaf(identity));
        assert_eq!(summary.public_key, SecretKey::from_slice(&[7; 32]).unwrap().public_key());

        assert!(
            failed(service().answer(ask("umbra".parse().unwrap(), spki.clone(), NOW), NOW)).contains("another tenant")
        );
        let skewed = NOW + CLOCK_TOLERANCE_MILLIS + 1;
        assert!(failed(service().answer(ask(tenant(), spki.clone(), skewed), NOW)).contains("clocks"));
        assert!(failed(service().answer(ask(tenant(), vec![0x30], NOW), NOW)).contains("P-256"));
        let ended = NOW + 7 * 365 * 86_400_000;
        assert!(failed(service().answer(ask(tenant(), spki, ended), ended)).contains("expired"), "of the CA itself");
    }

    #[test]
    fn a_made_secret_is_the_one_that_its_verifier_accepts() {
        let item = SecretItem {
            id: CredentialId([1; 8]),
            kind: CredentialKind::Digits,
            digits: 8,
            sealed: None,
            answers: None,
        };
        let ask =
            |items| MakeSecrets { tenant: tenant(), cabinet: cabinet(), instance: INSTANCE, pepper: offer(1), items };
        let SignerReply::Secrets(made) = service().answer(ask(vec![item.clone()]).into(), NOW) else {
            panic!("not made")
        };
        let [made] = made.items.as_slice() else { panic!("not one") };
        let reveal = Reveal { tenant: tenant(), sealed: made.sealed.clone() };
        let SignerReply::Revealed(code) = service().answer(reveal.into(), NOW) else { panic!("not revealed") };
        let secret = Secret::parse(&code.text).unwrap();
        assert_eq!((secret.kind(), code.text.len()), (CredentialKind::Digits, 8));
        assert_eq!(secret.verifier(&Salt([5; 16]), &Pepper([7; 32])), made.verifier);

        let again = SecretItem { sealed: Some(made.sealed.clone()), ..item };
        let SignerReply::Secrets(derived) = service().answer(ask(vec![again]).into(), NOW) else {
            panic!("not derived")
        };
        assert_eq!(derived.items[0].verifier, made.verifier);
    }

    #[test]
    fn a_phone_number_is_opened_for_its_order_of_its_cabinet_only_and_nothing_else_is() {
        let order: OrderKey = "walk-in/A17-0123456789".parse().unwrap();
        let sealed = |text: &str| {
            let entropy = seal::Entropy { ephemeral: SecretKey::from_slice(&[8; 32]).unwrap(), nonce: [6; 12] };
            let aad = seal::phone_aad(&tenant(), &cabinet(), INSTANCE, &order);
            let public = SecretKey::from_slice(&[3; 32]).unwrap().public_key();
            Blob(seal::seal(text.as_bytes(), &public, &aad, &entropy).unwrap())
        };
        let ask = |sealed| OpenPhone {
            tenant: tenant(),
            cabinet: cabinet(),
            instance: INSTANCE,
            order: order.clone(),
            sealed,
        };
        let opened = |ask: OpenPhone| {
            let SignerReply::PhoneOpened(made) = service().answer(ask.into(), NOW) else { panic!("not opened") };
            made.phone.clone()
        };
        assert_eq!(opened(ask(sealed("+4915112345678"))).as_deref(), Some("+4915112345678"));
        assert_eq!(opened(ask(sealed("a secret that is no number"))), None);
        assert_eq!(opened(ask(Blob(vec![1; 40]))), None);
        let theirs = OpenPhone { cabinet: "c2".parse().unwrap(), ..ask(sealed("+4915112345678")) };
        assert_eq!(opened(theirs), None);
        let other = OpenPhone { order: "walk-in/B2".parse().unwrap(), ..ask(sealed("+4915112345678")) };
        assert_eq!(opened(other), None);
    }

    #[test]
    fn an_answer_is_kept_for_its_order_only_and_handed_out_to_nobody() {
        let (order, other): (OrderKey, OrderKey) = ("shop/A1".parse().unwrap(), "shop/A2".parse().unwrap());
        let sealed = |text: &str, nonce| {
            let entropy = seal::Entropy { ephemeral: SecretKey::from_slice(&[8; 32]).unwrap(), nonce: [nonce; 12] };
            let aad = seal::answer_aad(&tenant(), &order);
            let public = SecretKey::from_slice(&[3; 32]).unwrap().public_key();
            Blob(seal::seal(text.as_bytes(), &public, &aad, &entropy).unwrap())
        };
        let ask = |sealed| KeepAnswer { tenant: tenant(), order: order.clone(), sealed };
        let service = service();
        let kept = |ask: KeepAnswer| {
            let SignerReply::AnswerKept(kept) = service.answer(ask.into(), NOW) else { panic!("not kept") };
            kept
        };
        let (one, same) = (kept(ask(sealed("24121980    ", 1))), kept(ask(sealed("24121980", 2))));
        let (another, shorter) = (kept(ask(sealed("24121981    ", 3))), kept(ask(sealed("4711", 4))));
        assert!(one.tag == same.tag && one.sealed != same.sealed && one.tag != another.tag);
        assert_eq!(one.sealed.0.len(), shorter.sealed.0.len(), "its length says nothing");
        for theirs in [
            KeepAnswer { order: other.clone(), ..ask(sealed("24121980", 1)) },
            KeepAnswer { tenant: "umbra".parse().unwrap(), ..ask(sealed("24121980", 1)) },
            ask(Blob(vec![1; 40])),
            ask(sealed("no answer at all", 1)),
        ] {
            let refused = failed(service.answer(theirs.into(), NOW));
            assert!(!refused.contains("2412") && !refused.contains("at all"), "{refused}");
        }
        let reveal = Reveal { tenant: tenant(), sealed: one.sealed.clone() };
        assert!(failed(service.answer(reveal.into(), NOW)).contains("sealed"), "it is no code");
        // Another key of the pepper takes nothing away from what is kept.
        service.take_up(keys(&[1], &[8]));
        let derive = |order: &OrderKey| {
            let (id, kind, sealed) = (CredentialId([1; 8]), CredentialKind::Digits, Some(one.sealed.clone()));
            let items = vec![SecretItem { id, kind, digits: 0, sealed, answers: Some(order.clone()) }];
            let pepper = offer_to(1, 8);
            let ask = MakeSecrets { tenant: tenant(), cabinet: cabinet(), instance: INSTANCE, pepper, items };
            let SignerReply::Secrets(made) = service.answer(ask.into(), NOW) else { panic!("not derived") };
            made.items
        };
        let made = derive(&order);
        let wanted = Answer::parse("24121980").unwrap().verifier(&order, &Salt([5; 16]), &Pepper([7; 32]));
        assert_eq!((made[0].verifier, &made[0].sealed), (wanted, &one.sealed));
        assert!(derive(&other).is_empty(), "of another order it opens nothing");
    }

    #[test]
    fn foreign_peppers_and_lengths_are_refused_and_foreign_secrets_left_out() {
        let ask = |pepper, items| {
            MakeSecrets { tenant: tenant(), cabinet: cabinet(), instance: INSTANCE, pepper, items }.into()
        };
        let item = SecretItem {
            id: CredentialId([1; 8]),
            kind: CredentialKind::Digits,
            digits: 8,
            sealed: None,
            answers: None,
        };
        let moved = PepperOffer { version: 2, ..offer(1) };
        assert!(failed(service().answer(ask(moved, vec![item.clone()]), NOW)).contains("pepper"));
        let foreign = SecretItem { sealed: Some(Blob(vec![1; 40])), ..item.clone() };
        let other = SecretItem { id: CredentialId([2; 8]), ..item.clone() };
        let answer = service().answer(ask(offer(1), vec![foreign, other]), NOW);
        let SignerReply::Secrets(made) = answer else { panic!("{answer:?}") };
        assert_eq!(made.items.iter().map(|one| one.id).collect::<Vec<_>>(), [CredentialId([2; 8])]);
        for digits in [0, 3, 13, 255] {
            let short = SecretItem { digits, ..item.clone() };
            assert!(failed(service().answer(ask(offer(1), vec![short]), NOW)).contains("digits"));
        }
    }
}
