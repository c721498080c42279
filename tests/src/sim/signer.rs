//! The signer of a simulation: real signatures, secrets from the seed, and a cheap verifier in place of Argon2id.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use fleet_core::signing::{
    AnswerKept, Certificate, Envelope, Failed, MakeSecrets, PhoneOpened, Revealed, Sealed, SecretItem, SecretMade,
    Secrets, SignerReply, SignerRequest,
};
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use schemas::cbor::{self, Blob};
use schemas::crypto::codes::{BREAK_GLASS_DIGITS, LETTERS, NotASecret, Pepper, Secret, TOKEN_BYTES};
use schemas::crypto::envelope::{self, Scope, key_id, public_entry};
use schemas::crypto::seal;
use schemas::ids::{CabinetId, TenantId};
use schemas::messages::{
    BookChange, CodesMessage, CredentialKind, Instance, Key, KeyPurpose, Keyset, OpenOrder, OrderKey, Roots, Salt,
    Verifier,
};

use super::couriers::CourierBook;
use super::dice::Dice;
use super::factors::{FactorBook, derive_answer};

/// How long a book says that a code works.
#[derive(Debug, Clone, Copy)]
pub(super) struct Right {
    book: u64,
    pub(super) expires: Option<u64>,
    pub(super) needs_time: bool,
}

/// Key files of the tenant: everything that an attacker does not have.
pub(super) struct Signer {
    tenant: TenantId,
    unlock: SigningKey,
    codes: SigningKey,
    pepper: SecretKey,
    roots: [SigningKey; 2],
    /// The keyset of the settings.
    keyset: Vec<u8>,
    /// The same, as an operator gives it to the fleet: it names its roots.
    pub(super) fleet_keyset: Vec<u8>,
    /// Sealed → text. A real signer keeps this inside the sealed bytes.
    secrets: BTreeMap<Vec<u8>, String>,
    /// Versions of books signed for a cabinet that hold a credential of the order.
    pub(super) books: BTreeMap<(CabinetId, OrderKey), u64>,
    /// The same of deposit codes.
    pub(super) deposit_books: BTreeMap<(CabinetId, OrderKey), u64>,
    /// The same of each secret, as that cabinet knows it.
    pub(super) verifiers: BTreeMap<(CabinetId, Verifier), u64>,
    /// What signed books said last of the code of an order, but for those of bundles.
    pub(super) rights: BTreeMap<(CabinetId, OrderKey), Right>,
    /// What signed books say of couriers and of second factors, by envelope.
    pub(super) signed_books: BTreeMap<Vec<u8>, (CourierBook, FactorBook)>,
    /// Answers that were taken into keeping.
    kept: u64,
    /// The newest book that was signed for a cabinet.
    pub(super) newest: BTreeMap<CabinetId, u64>,
    /// Envelopes of unlocks that were signed, and for whom.
    pub(super) commands: BTreeMap<Vec<u8>, (CabinetId, schemas::messages::Command)>,
    /// Envelopes of openings by an app, and for whom.
    pub(super) opens: BTreeMap<Vec<u8>, (CabinetId, OpenOrder)>,
    pub(super) works: bool,
}

impl Signer {
    pub(super) fn new(tenant: TenantId, dice: &mut Dice) -> Self {
        let mut key = || SigningKey::from_bytes(&dice.bytes());
        let (unlock, codes, roots) = (key(), key(), [key(), key()]);
        let pepper = loop {
            if let Ok(key) = SecretKey::from_slice(&dice.bytes::<32>()) {
                break key;
            }
        };
        let [first, second] = [0, 1].map(|at| public_entry(&roots[at], KeyPurpose::Keyset));
        let named = Some(Roots { first, second });
        let [keyset, fleet_keyset] =
            [None, named].map(|named| keyset(&tenant, [&unlock, &codes], &pepper, (&roots[0], named)));
        Self {
            tenant,
            keyset,
            fleet_keyset,
            unlock,
            codes,
            pepper,
            roots,
            secrets: BTreeMap::new(),
            books: BTreeMap::new(),
            deposit_books: BTreeMap::new(),
            verifiers: BTreeMap::new(),
            rights: BTreeMap::new(),
            signed_books: BTreeMap::new(),
            kept: 0,
            newest: BTreeMap::new(),
            commands: BTreeMap::new(),
            opens: BTreeMap::new(),
            works: true,
        }
    }

    pub(super) fn roots(&self) -> [Key; 2] {
        [0, 1].map(|at| public_entry(&self.roots[at], KeyPurpose::Keyset))
    }

    pub(super) fn keyset(&self) -> Vec<u8> {
        self.keyset.clone()
    }

    pub(super) fn answer(&mut self, request: &SignerRequest, dice: &mut Dice) -> SignerReply {
        if !self.works {
            return Failed { reason: "the key file is gone".into() }.into();
        }
        match request {
            SignerRequest::SignCommand(ask) => {
                let made = self.signed(cbor::encode(&ask.command), &ask.cabinet, ask.instance, KeyPurpose::Unlock);
                self.commands.insert(made.0.clone(), (ask.cabinet.clone(), ask.command.clone()));
                Envelope { envelope: made }.into()
            }
            SignerRequest::SignBook(ask) => {
                let newest = self.newest.entry(ask.cabinet.clone()).or_default();
                *newest = ask.book.version.max(*newest);
                for change in &ask.book.changes {
                    if let BookChange::PutCredential(put) = change {
                        self.note_grant(&ask.cabinet, put, ask.book.version);
                    }
                    if let BookChange::PutGuarded(put) = change {
                        self.note_grant(&ask.cabinet, &put.credential, ask.book.version);
                    }
                    if let BookChange::PutDeposit(put) = change {
                        let at = (ask.cabinet.clone(), put.order.clone());
                        self.deposit_books.entry(at).or_insert(ask.book.version);
                    }
                }
                let payload = cbor::encode(&CodesMessage::Book(ask.book.clone()));
                let envelope = self.signed(payload, &ask.cabinet, ask.instance, KeyPurpose::Codes);
                self.signed_books.insert(envelope.0.clone(), (CourierBook::of(&ask.book), FactorBook::of(&ask.book)));
                Envelope { envelope }.into()
            }
            SignerRequest::SignTime(ask) => {
                let payload = cbor::encode(&CodesMessage::Time(ask.time.clone()));
                Envelope { envelope: self.signed(payload, &ask.cabinet, ask.instance, KeyPurpose::Codes) }.into()
            }
            SignerRequest::SignOpen(ask) => {
                let payload = cbor::encode(&CodesMessage::Open(ask.open.clone()));
                let envelope = self.signed(payload, &ask.cabinet, ask.instance, KeyPurpose::Codes);
                self.opens.insert(envelope.0.clone(), (ask.cabinet.clone(), ask.open.clone()));
                Envelope { envelope }.into()
            }
            SignerRequest::SignConfig(ask) => {
                let payload = cbor::encode(&ask.command);
                Envelope { envelope: self.signed(payload, &ask.cabinet, ask.instance, KeyPurpose::Config) }.into()
            }
            SignerRequest::MakeSecrets(ask) => self.make_secrets(ask, dice),
            SignerRequest::MakeSealed(ask) => Sealed { sealed: self.make(ask.kind, ask.digits, dice) }.into(),
            // Certificates are the business of TLS, which the simulation leaves out: the key stands for its certificate.
            SignerRequest::IssueCertificate(ask) => Certificate { certificate: ask.key.clone() }.into(),
            SignerRequest::OpenPhone(ask) => {
                let aad = seal::phone_aad(&ask.tenant, &ask.cabinet, ask.instance, &ask.order);
                let plain = seal::open(&ask.sealed.0, &self.pepper, &aad).ok();
                PhoneOpened { phone: plain.and_then(|plain| String::from_utf8(plain.to_vec()).ok()) }.into()
            }
            SignerRequest::KeepAnswer(ask) => {
                let aad = seal::answer_aad(&ask.tenant, &ask.order);
                match seal::open(&ask.sealed.0, &self.pepper, &aad) {
                    // Kept twice, it looks different each time.
                    Ok(plain) => {
                        self.kept += 1;
                        let sealed = [&plain[..], &self.kept.to_be_bytes()].concat();
                        AnswerKept { sealed: Blob(sealed), tag: Blob(plain.to_vec()) }.into()
                    }
                    Err(error) => Failed { reason: error.to_string() }.into(),
                }
            }
            SignerRequest::Reveal(ask) => match self.secrets.get(&ask.sealed.0) {
                Some(text) => Revealed { text: text.clone() }.into(),
                None => Failed { reason: "not sealed here".into() }.into(),
            },
        }
    }

    /// What was signed before was for another life of the fleet's store, or for another store of this cabinet.
    pub(super) fn forget_books(&mut self, of: Option<&CabinetId>) {
        let other = |cabinet: &CabinetId| of.is_some_and(|of| of != cabinet);
        self.books.retain(|(cabinet, _), _| other(cabinet));
        self.deposit_books.retain(|(cabinet, _), _| other(cabinet));
        self.verifiers.retain(|(cabinet, _), _| other(cabinet));
        self.rights.retain(|(cabinet, _), _| other(cabinet));
    }

    /// What somebody signs who has the codes key.
    pub(super) fn steal_codes(&self, payload: Vec<u8>, scope: Scope<'_>) -> Blob {
        Blob(envelope::sign(payload, scope, &self.codes))
    }

    pub(super) fn reveal(&self, sealed: &Blob) -> Result<Secret, NotASecret> {
        self.secrets.get(&sealed.0).map_or(Err(NotASecret), |text| Secret::parse(text))
    }

    fn note_grant(&mut self, cabinet: &CabinetId, put: &schemas::messages::PutCredential, version: u64) {
        let first = self.verifiers.entry((cabinet.clone(), put.verifier)).or_insert(version);
        *first = version.min(*first);
        for order in put.orders.iter().filter(|_| put.rights.is_none()) {
            let right = Right { book: version, expires: put.expires, needs_time: put.needs_time };
            let newest = self.rights.entry((cabinet.clone(), order.clone())).or_insert(right);
            if newest.book <= version {
                *newest = right;
            }
        }
        for order in &put.orders {
            let first = self.books.entry((cabinet.clone(), order.clone())).or_insert(version);
            *first = version.min(*first);
        }
    }

    fn signed(&self, payload: Vec<u8>, cabinet: &CabinetId, instance: Instance, purpose: KeyPurpose) -> Blob {
        let key = if purpose == KeyPurpose::Unlock { &self.unlock } else { &self.codes };
        Blob(envelope::sign(payload, Scope::Cabinet { tenant: &self.tenant, cabinet, instance, purpose }, key))
    }

    fn make_secrets(&mut self, ask: &MakeSecrets, dice: &mut Dice) -> SignerReply {
        let offer = &ask.pepper;
        let aad = seal::pepper_aad(&self.tenant, &ask.cabinet, ask.instance, offer.version, offer.salt);
        let plain = seal::open(&offer.sealed.0, &self.pepper, &aad).ok();
        let Some(pepper) = plain.and_then(|plain| <[u8; 32]>::try_from(plain.as_slice()).ok()).map(Pepper) else {
            return Failed { reason: "the pepper was not sealed to this signer".into() }.into();
        };
        let items = ask.items.iter().map(|item| self.make_secret(item, &offer.salt, &pepper, dice)).collect();
        Secrets { items }.into()
    }

    fn make_secret(&mut self, item: &SecretItem, salt: &Salt, pepper: &Pepper, dice: &mut Dice) -> SecretMade {
        if let (Some(order), Some(Blob(sealed))) = (&item.answers, &item.sealed) {
            let plain = String::from_utf8_lossy(&sealed[..sealed.len().saturating_sub(8)]).into_owned();
            let verifier = derive_answer(plain.trim_end(), order, salt, pepper);
            return SecretMade { id: item.id, verifier, sealed: Blob(sealed.clone()) };
        }
        let sealed = item.sealed.clone().unwrap_or_else(|| self.make(item.kind, item.digits, dice));
        let text = self.secrets.get(&sealed.0).cloned().unwrap_or_default();
        let verifier = Secret::parse(&text).map_or(Verifier([0; 32]), |secret| derive(&secret, salt, pepper));
        SecretMade { id: item.id, verifier, sealed }
    }

    fn make(&mut self, kind: CredentialKind, digits: u8, dice: &mut Dice) -> Blob {
        let text = match kind {
            CredentialKind::Qr if digits == BREAK_GLASS_DIGITS => {
                (0..digits).map(|_| char::from(b'0' + u8::try_from(dice.below(10)).unwrap_or(0))).collect()
            }
            CredentialKind::Qr => Secret::token_from(&dice.bytes::<TOKEN_BYTES>()).reveal().to_owned(),
            CredentialKind::Letters => {
                let most = u64::try_from(LETTERS.len()).unwrap_or(1);
                let letters = (0..digits).filter_map(|_| LETTERS.get(usize::try_from(dice.below(most)).ok()?));
                letters.map(|letter| char::from(*letter)).collect()
            }
            CredentialKind::Digits => {
                (0..digits).map(|_| char::from(b'0' + u8::try_from(dice.below(10)).unwrap_or(0))).collect()
            }
        };
        let sealed = Blob([&b"sealed"[..], &(self.secrets.len() as u64).to_be_bytes()].concat());
        self.secrets.insert(sealed.0.clone(), text);
        sealed
    }
}

fn keyset(
    tenant: &TenantId,
    [unlock, codes]: [&SigningKey; 2],
    pepper: &SecretKey,
    (root, roots): (&SigningKey, Option<Roots>),
) -> Vec<u8> {
    let point = pepper.public_key().to_sec1_point(false);
    let pepper =
        Key { id: key_id(point.as_bytes()), purpose: KeyPurpose::Pepper, public: Blob(point.as_bytes().to_vec()) };
    let keys = vec![public_entry(unlock, KeyPurpose::Unlock), public_entry(codes, KeyPurpose::Codes), pepper];
    let keyset = Keyset { roots, ..Keyset::new(tenant.clone(), 1, 0, keys) };
    envelope::sign(cbor::encode(&keyset), Scope::Tenant { tenant, purpose: KeyPurpose::Keyset }, root)
}

/// A verifier that binds text, salt and pepper as the real one does, without 10 ms of Argon2id for digits.
pub(super) fn derive(secret: &Secret, salt: &Salt, pepper: &Pepper) -> Verifier {
    match secret.kind() {
        CredentialKind::Qr => secret.verifier(salt, pepper),
        CredentialKind::Digits | CredentialKind::Letters => {
            let mut padded = [0; TOKEN_BYTES];
            for (to, from) in padded.iter_mut().zip(secret.reveal().bytes()) {
                *to = from;
            }
            Secret::token_from(&padded).verifier(salt, pepper)
        }
    }
}
