//! What the signer does with a request, given the time and random bytes.

use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use fleet_core::signing::{
    Envelope, Failed, MakeSealed, MakeSecrets, Reveal, Revealed, Sealed, SecretItem, SecretMade, Secrets, SignerReply,
    SignerRequest,
};
use p256::SecretKey;
use schemas::cbor::{self, Blob};
use schemas::crypto::codes::{Pepper, Secret, TOKEN_BYTES};
use schemas::crypto::{envelope, rest, seal};
use schemas::ids::{CabinetId, TenantId};
use schemas::messages::{CodesMessage, CredentialKind, FleetMillis, Instance, KeyPurpose, PepperOffer, Salt};
use tracing::warn;
use zeroize::Zeroizing;

use crate::settings::SignerKeys;

/// How far the broker's clock may be from the signer's, in milliseconds.
const CLOCK_TOLERANCE_MILLIS: u64 = 5 * 60 * 1_000;
/// Random bytes for one code: enough that [`Secret::digits_from`] cannot run out.
const CODE_ENTROPY: usize = 256;

/// The keys of a tenant.
pub struct Keys {
    unlock: SigningKey,
    codes: SigningKey,
    pepper: SecretKey,
    secrets: Zeroizing<[u8; 32]>,
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
}

impl Keys {
    pub fn read(paths: &SignerKeys) -> Result<Self, KeysError> {
        let ed25519 = |path: &Path| {
            certs::read_ed25519(path, None).map_err(|source| KeysError::Read { path: path.to_owned(), source })
        };
        let (unlock, codes, secrets) = (ed25519(&paths.unlock)?, ed25519(&paths.codes)?, ed25519(&paths.secrets)?);
        let pepper = certs::read_p256(&paths.pepper, None)
            .map_err(|source| KeysError::Read { path: paths.pepper.clone(), source })?;
        let named = [(&unlock, &paths.unlock), (&codes, &paths.codes), (&secrets, &paths.secrets)];
        for (at, (one, one_path)) in named.iter().enumerate() {
            if let Some((_, other)) = named[at + 1..].iter().find(|(other, _)| other.to_bytes() == one.to_bytes()) {
                return Err(KeysError::Shared { one: (*one_path).clone(), other: (*other).clone() });
            }
        }
        let secrets = Zeroizing::new(secrets.to_bytes());
        Ok(Self { unlock, codes, pepper, secrets })
    }
}

/// Answers requests for one tenant.
pub struct Service {
    tenant: TenantId,
    keys: Keys,
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
    #[error("a code of {0} digits is not made")]
    Digits(u8),
    #[error("no random numbers")]
    Random,
}

impl Service {
    pub fn new(tenant: TenantId, keys: Keys) -> Self {
        Self { tenant, keys }
    }

    /// Carries out one request. Takes tens of milliseconds for each code of [`MakeSecrets`].
    pub fn answer(&self, request: SignerRequest, now: FleetMillis) -> SignerReply {
        let result = match request {
            SignerRequest::SignCommand(ask) => self.check(&ask.tenant).and_then(|()| {
                close(ask.command.issued, now)?;
                let payload = cbor::encode(&ask.command);
                Ok(self.signed(payload, &ask.cabinet, ask.instance, KeyPurpose::Unlock))
            }),
            SignerRequest::SignBook(ask) => self.check(&ask.tenant).map(|()| {
                let payload = cbor::encode(&CodesMessage::Book(ask.book));
                self.signed(payload, &ask.cabinet, ask.instance, KeyPurpose::Codes)
            }),
            SignerRequest::SignTime(ask) => self.check(&ask.tenant).and_then(|()| {
                close(ask.time.now, now)?;
                let payload = cbor::encode(&CodesMessage::Time(ask.time));
                Ok(self.signed(payload, &ask.cabinet, ask.instance, KeyPurpose::Codes))
            }),
            SignerRequest::MakeSecrets(ask) => self.make_secrets(&ask),
            SignerRequest::MakeSealed(ask) => self.make_sealed(&ask),
            SignerRequest::Reveal(ask) => self.reveal(&ask),
        };
        result.unwrap_or_else(|refusal| Failed { reason: refusal.to_string() }.into())
    }

    fn check(&self, tenant: &TenantId) -> Result<(), Refusal> {
        if *tenant == self.tenant { Ok(()) } else { Err(Refusal::OtherTenant) }
    }

    fn signed(&self, payload: Vec<u8>, cabinet: &CabinetId, instance: Instance, purpose: KeyPurpose) -> SignerReply {
        let key = match purpose {
            KeyPurpose::Unlock => &self.keys.unlock,
            KeyPurpose::Codes | KeyPurpose::Config | KeyPurpose::Update | KeyPurpose::Pepper | KeyPurpose::Keyset => {
                &self.keys.codes
            }
        };
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

    fn pepper(&self, cabinet: &CabinetId, instance: Instance, offer: &PepperOffer) -> Result<Pepper, Refusal> {
        let aad = seal::pepper_aad(&self.tenant, cabinet, instance, offer.version, offer.salt);
        let plain = seal::open(&offer.sealed.0, &self.keys.pepper, &aad).map_err(|_| Refusal::Pepper)?;
        plain.as_slice().try_into().map(Pepper).map_err(|_| Refusal::Pepper)
    }

    fn label(&self) -> Vec<u8> {
        cbor::encode(&("locker-fleet/1 secret", &self.tenant))
    }

    fn seal(&self, secret: &Secret) -> Result<Blob, Refusal> {
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).map_err(|_| Refusal::Random)?;
        Ok(Blob(rest::protect(&self.keys.secrets, &self.label(), nonce, secret.reveal().as_bytes())))
    }

    fn unseal(&self, sealed: &Blob) -> Result<Secret, Refusal> {
        let plain = rest::unprotect(&self.keys.secrets, &self.label(), &sealed.0).map_err(|_| Refusal::Secret)?;
        std::str::from_utf8(&plain).ok().and_then(|text| Secret::parse(text).ok()).ok_or(Refusal::Secret)
    }
}

/// A command or a time that is far from the signer's own clock was made by a broker whose clock is wrong, or that is
/// not believed.
fn close(told: FleetMillis, now: FleetMillis) -> Result<(), Refusal> {
    if told.abs_diff(now) <= CLOCK_TOLERANCE_MILLIS { Ok(()) } else { Err(Refusal::Clock) }
}

fn fresh(kind: CredentialKind, digits: u8) -> Result<Secret, Refusal> {
    match kind {
        CredentialKind::Qr => {
            let mut random = Zeroizing::new([0; TOKEN_BYTES]);
            getrandom::fill(random.as_mut()).map_err(|_| Refusal::Random)?;
            Ok(Secret::token_from(&random))
        }
        CredentialKind::Digits => {
            let mut random = Zeroizing::new([0; CODE_ENTROPY]);
            getrandom::fill(random.as_mut()).map_err(|_| Refusal::Random)?;
            let secret = Secret::digits_from(random.as_ref(), digits).ok_or(Refusal::Digits(digits))?;
            // Fewer digits than any code may have would not parse at the keypad.
            Secret::parse(secret.reveal()).map_err(|_| Refusal::Digits(digits))
        }
    }
}

#[cfg(test)]
mod tests {
    use fleet_core::signing::{SignCommand, SignTime};
    use schemas::messages::{
        Action, BootId, Challenge, Command, CommandId, Compartment, CredentialId, Expect, FleetTime, Nonce, Unlock,
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
        let keys = Keys {
            unlock: SigningKey::from_bytes(&[1; 32]),
            codes: SigningKey::from_bytes(&[2; 32]),
            pepper: SecretKey::from_slice(&[3; 32]).unwrap(),
            secrets: Zeroizing::new([4; 32]),
        };
        Service::new(tenant(), keys)
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
        let salt = Salt([5; 16]);
        let entropy = seal::Entropy { ephemeral: SecretKey::from_slice(&[8; 32]).unwrap(), nonce: [6; 12] };
        let aad = seal::pepper_aad(&tenant(), &cabinet(), INSTANCE, version, salt);
        let public = SecretKey::from_slice(&[3; 32]).unwrap().public_key();
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
    fn a_made_secret_is_the_one_that_its_verifier_accepts() {
        let item = SecretItem { id: CredentialId([1; 8]), kind: CredentialKind::Digits, digits: 8, sealed: None };
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
    fn foreign_peppers_and_lengths_are_refused_and_foreign_secrets_left_out() {
        let ask = |pepper, items| {
            MakeSecrets { tenant: tenant(), cabinet: cabinet(), instance: INSTANCE, pepper, items }.into()
        };
        let item = SecretItem { id: CredentialId([1; 8]), kind: CredentialKind::Digits, digits: 8, sealed: None };
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
