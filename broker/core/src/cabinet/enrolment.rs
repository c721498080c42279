//! How a cabinet comes by its certificates: one-time offers, what was issued, and what is refused.

use schemas::cbor::Blob;
use schemas::cbor_map;
use schemas::enrolment::SecretHash;
use schemas::ids::Identity;
use schemas::messages::{FleetMillis, Instance};
use sha2::{Digest as _, Sha256};

use crate::cabinet::{Cabinet, Said};
use crate::effect::Effect;
use crate::enrolment::{EnrolRefusal, Issue};
use crate::jobs::Job;
use crate::signing::{IssueCertificate, SignerRequest};
use crate::tables::{CABINETS, ISSUED, OFFERS, SAID};
use crate::turn::Turn;

/// Certificates of a cabinet that the fleet keeps a record of.
const ISSUED_KEPT: usize = 4;
/// A device that asks again with the same key within this time has lost the answer, and gets it once more.
const ANSWER_LOST_MILLIS: FleetMillis = 60 * 60 * 1_000;
/// A stranger can ask as often as he likes; a person is told once in this time.
const WARN_EVERY_MILLIS: FleetMillis = 10 * 60 * 1_000;

cbor_map! {
    /// The right to enrol this cabinet once. A newer one takes the place of an older one.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Offer {
        /// Which the cabinet has from the moment that the offer is used.
        1 => instance: Instance,
        2 => secret: SecretHash,
        3 => device_serial: String,
        4 => expires: FleetMillis,
        5 opt => used: Option<FleetMillis>,
        /// Who offered it.
        6 => by: Identity,
    }
}

cbor_map! {
    /// A certificate that was issued. Written before it is handed out.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Issued {
        1 => at: FleetMillis,
        /// SHA-256 of the public key as SubjectPublicKeyInfo.
        2 => key: Blob,
        /// X.509 in DER.
        3 => certificate: Blob,
        4 => renewal: bool,
    }
}

/// A certificate that the signer is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Issuing {
    ticket: u64,
    key: Vec<u8>,
    at: FleetMillis,
    /// Of the token; none for a renewal.
    secret: Option<SecretHash>,
}

/// Whose certificates are void because another device has the cabinet's place.
#[derive(Debug)]
pub(crate) struct Replaced {
    pub(crate) by: Identity,
    /// Those issued up to here.
    pub(crate) until: FleetMillis,
}

/// Of this cabinet's certificates.
#[derive(Debug, Default)]
pub(crate) struct Enrolment {
    offer: Option<Offer>,
    /// By number, the newest last.
    issued: Vec<(u64, Issued)>,
    // Of this run only.
    issuing: Option<Issuing>,
    warned: Option<FleetMillis>,
}

impl Enrolment {
    pub(crate) fn restore_offer(&mut self, offer: Offer) {
        self.offer = Some(offer);
    }

    pub(crate) fn restore_issued(&mut self, n: u64, issued: Issued) {
        self.issued.push((n, issued));
        self.issued.sort_by_key(|(n, _)| *n);
    }

    /// Whether the token with this secret is the newest, and was not used.
    fn is_open(&self, secret: SecretHash) -> bool {
        self.offer.as_ref().is_some_and(|offer| offer.secret == secret && offer.used.is_none())
    }

    /// A certificate says in whole seconds when it was issued: two of one second could not be told apart when one of them is to
    /// be void, nor could one from a revocation before it. At most a second ahead of the clock.
    fn second_after_all(&self, void_until: FleetMillis) -> FleetMillis {
        let newest = self.newest().map_or(0, |newest| newest.at).max(void_until);
        if newest == 0 { 0 } else { (newest / 1_000).saturating_add(1).saturating_mul(1_000) }
    }

    fn newest(&self) -> Option<&Issued> {
        self.issued.last().map(|(_, issued)| issued)
    }
}

fn key_hash(key: &[u8]) -> Blob {
    Blob(Sha256::digest(key).to_vec())
}

impl Cabinet {
    /// Whether `offer` is the newest one of this cabinet, used or not; none fits any.
    pub(crate) fn has_offer(&self, offer: Option<&Offer>) -> bool {
        let same = |known: &Offer, offer: &Offer| Offer { used: None, by: offer.by.clone(), ..known.clone() } == *offer;
        offer.is_none_or(|offer| self.enrolment.offer.as_ref().is_some_and(|known| same(known, offer)))
    }

    /// An operator lets a device enrol as this cabinet, once.
    pub(crate) fn put_offer(&mut self, turn: &mut Turn<'_>, offer: Offer) {
        turn.put(OFFERS, self.at.key(), &offer);
        self.enrolment.offer = Some(offer);
    }

    /// A device shows a token. Its certificate must not be taken for one of those that are void up to `void_until`.
    pub(crate) fn enrol(
        &mut self,
        turn: &mut Turn<'_>,
        secret: SecretHash,
        device_serial: Option<&str>,
        issue: Issue,
        void_until: FleetMillis,
    ) -> Result<(), EnrolRefusal> {
        let answer = self.judge(turn.now, secret, device_serial, &issue.key);
        match answer {
            Ok(Some(certificate)) => turn.effect(Effect::Issued { ticket: issue.ticket, certificate: certificate.0 }),
            Ok(None) => {
                let after = self.enrolment.second_after_all(void_until);
                self.begin_issue(turn, issue, Some(secret), after)?;
            }
            Err(refusal) => {
                self.warn(turn, &refusal);
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// `Some`: the certificate that was issued to the same key for the same token, whose answer was lost.
    fn judge(
        &self,
        now: FleetMillis,
        secret: SecretHash,
        device_serial: Option<&str>,
        key: &[u8],
    ) -> Result<Option<Blob>, EnrolRefusal> {
        let offer = self.enrolment.offer.as_ref().filter(|offer| offer.secret == secret);
        let offer = offer.ok_or(EnrolRefusal::UnknownToken)?;
        if device_serial != Some(offer.device_serial.as_str()) {
            return Err(EnrolRefusal::OtherDevice);
        }
        if now > offer.expires {
            return Err(EnrolRefusal::ExpiredToken);
        }
        if offer.used.is_none() {
            return Ok(None);
        }
        let same = self.enrolment.newest().filter(|newest| newest.key == key_hash(key));
        same.map(|newest| Some(newest.certificate.clone())).ok_or(EnrolRefusal::UsedToken)
    }

    /// A device that holds a certificate of this cabinet wants the next one.
    pub(crate) fn renew(&mut self, turn: &mut Turn<'_>, issue: Issue) -> Result<(), EnrolRefusal> {
        let hash = key_hash(&issue.key);
        let lost = |newest: &&Issued| newest.key == hash && turn.now.abs_diff(newest.at) <= ANSWER_LOST_MILLIS;
        match self.enrolment.newest().filter(lost) {
            Some(again) => {
                let certificate = again.certificate.0.clone();
                turn.effect(Effect::Issued { ticket: issue.ticket, certificate });
                Ok(())
            }
            None => self.begin_issue(turn, issue, None, 0),
        }
    }

    fn begin_issue(
        &mut self,
        turn: &mut Turn<'_>,
        issue: Issue,
        secret: Option<SecretHash>,
        after: FleetMillis,
    ) -> Result<(), EnrolRefusal> {
        let Issue { ticket, key } = issue;
        match &mut self.enrolment.issuing {
            Some(under_way) if under_way.key == key && under_way.secret == secret => {
                // Whoever asked before has gone; there is one answer.
                let gone = std::mem::replace(&mut under_way.ticket, ticket);
                turn.effect(Effect::NotIssued { ticket: gone, refusal: EnrolRefusal::Busy });
            }
            Some(_) => return Err(EnrolRefusal::Busy),
            None => {
                let at = turn.now.max(after);
                self.enrolment.issuing = Some(Issuing { ticket, key, at, secret });
                turn.want(Job::Certificate(self.at.clone()));
            }
        }
        Ok(())
    }

    pub(crate) fn next_certificate(&self) -> Option<SignerRequest> {
        let Issuing { key, at, .. } = self.enrolment.issuing.clone()?;
        let (tenant, cabinet) = (self.at.tenant.clone(), self.at.cabinet.clone());
        Some(IssueCertificate { tenant, cabinet, key: Blob(key), now: at }.into())
    }

    /// The signer made it: first into the store, then to whoever asked. Returns whom another device has replaced.
    pub(crate) fn certificate_made(&mut self, turn: &mut Turn<'_>, certificate: Blob) -> Option<Replaced> {
        let Issuing { ticket, key, at, secret } = self.enrolment.issuing.take()?;
        if secret.is_some_and(|secret| !self.enrolment.is_open(secret)) {
            // Another token was made meanwhile. Nobody has seen the certificate, and nobody will.
            turn.effect(Effect::NotIssued { ticket, refusal: EnrolRefusal::UnknownToken });
            return None;
        }
        let n = self.enrolment.issued.last().map_or(1, |(n, _)| n.saturating_add(1));
        let issued = Issued { at, key: key_hash(&key), certificate: certificate.clone(), renewal: secret.is_none() };
        turn.put(ISSUED, self.at.numbered(n), &issued);
        self.enrolment.issued.push((n, issued));
        while self.enrolment.issued.len() > ISSUED_KEPT {
            let (old, _) = self.enrolment.issued.remove(0);
            turn.remove(ISSUED, self.at.numbered(old));
        }
        let replaced = if secret.is_some() { self.use_offer(turn, at) } else { None };
        turn.effect(Effect::Issued { ticket, certificate: certificate.0 });
        replaced
    }

    /// `Some`: the cabinet was another instance before.
    fn use_offer(&mut self, turn: &mut Turn<'_>, issued: FleetMillis) -> Option<Replaced> {
        let offer = self.enrolment.offer.as_mut()?;
        offer.used = Some(turn.now);
        turn.put(OFFERS, self.at.key(), offer);
        let (instance, by) = (offer.instance, offer.by.clone());
        if instance == self.registration.instance {
            return None;
        }
        self.registration.instance = instance;
        self.forget_wipe(turn);
        turn.put(CABINETS, self.at.key(), &self.registration);
        // Its pepper is of the former instance: nothing is derived for it until the new one has said hello.
        self.said = Said { pepper: None, ..std::mem::take(&mut self.said) };
        turn.put(SAID, self.at.key(), &self.said);
        self.forget_verifiers(turn);
        turn.alarm_of(&self.at, format!("cabinet {} has other hardware now; the former one is shut out", self.at));
        // Up to the second before the new one's.
        Some(Replaced { by, until: issued.saturating_sub(1_000) })
    }

    pub(crate) fn certificate_failed(&mut self, turn: &mut Turn<'_>, why: &str) {
        if let Some(Issuing { ticket, .. }) = self.enrolment.issuing.take() {
            let refusal = EnrolRefusal::NotSigned(why.to_owned());
            turn.effect(Effect::NotIssued { ticket, refusal });
        }
    }

    fn warn(&mut self, turn: &mut Turn<'_>, refusal: &EnrolRefusal) {
        let now = turn.now;
        if self.enrolment.warned.is_none_or(|warned| now.abs_diff(warned) >= WARN_EVERY_MILLIS) {
            self.enrolment.warned = Some(now);
            turn.alarm_of(&self.at, format!("somebody tried to enrol as cabinet {}: {refusal}", self.at));
        }
    }
}
