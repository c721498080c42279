//! The second factor of an order: what its backend has given with it, and its recipient types behind the code.
//!
//! It is a birth date or the like: short, and nobody's business. So it is sealed to the signer when it comes, with random bytes, and nothing
//! that is kept of it can be tried: no hash of it is in the content of the order. Whether an order that comes again has the same answer
//! only the signer can tell.

use std::collections::BTreeMap;

use p256::{PublicKey, SecretKey};
use schemas::api::{ContentHash, OrderPut, OrderState, RejectReason, SecondFactor};
use schemas::cbor::Blob;
use schemas::cbor_map;
use schemas::crypto::answers::ANSWER_MAX;
use schemas::crypto::seal;
use schemas::ids::TenantId;
use schemas::messages::{DepositKind, KeyPurpose, Keyset, Prompt};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::intents::{Intent, SetFactor};
use crate::jobs::Job;
use crate::order::put::content_hash;
use crate::order::{Order, Orders};
use crate::signing::{AnswerKept, KeepAnswer, SignerRequest};
use crate::tables::{CabinetRef, OrderRef};
use crate::turn::Turn;

/// Answers of one order that wait for a comparison.
const ASKED_MAX: usize = 8;

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct SealedFactor {
        1 => prompt: Prompt,
        /// To the key of the pepper, until the signer keeps it under its own.
        2 => sealed: Blob,
        /// By which the signer knows the answer again. Left out: it does not keep it yet.
        3 opt => tag: Option<Blob>,
        /// Answers that came with the same order again, in their order; the signer is to say whether they are the same.
        4 opt => asked: Option<Vec<Blob>>,
    }
}

impl SealedFactor {
    /// What the signer is to take next.
    fn next(&self) -> Option<&Blob> {
        if self.tag.is_none() { Some(&self.sealed) } else { self.asked.iter().flatten().next() }
    }

    /// What a cabinet is told, once the signer keeps it.
    fn kept(&self) -> Option<Blob> {
        self.tag.as_ref().map(|_| self.sealed.clone())
    }
}

/// To which key answers are sealed, by tenant: the one that cabinets seal to.
pub(crate) type SealingKeys = BTreeMap<TenantId, PublicKey>;

/// The key of the pepper, if there is one.
pub(crate) fn sealing_key(keyset: &Keyset) -> Option<PublicKey> {
    let key = keyset.keys.iter().find(|key| key.purpose == KeyPurpose::Pepper)?;
    PublicKey::from_sec1_bytes(&key.public.0).ok()
}

impl Order {
    /// What a cabinet is told of it.
    pub(super) fn factor_set(&self) -> Option<SetFactor> {
        let factor = self.factor.as_ref()?;
        Some(SetFactor { order: self.order.clone(), prompt: factor.prompt, sealed: factor.kept() })
    }

    pub(super) fn prompt(&self) -> Option<Prompt> {
        self.factor.as_ref().map(|factor| factor.prompt)
    }

    /// Whether somebody has to do more than show the code.
    pub(super) fn is_restricted(&self) -> bool {
        self.staff_release == Some(true) || self.factor.is_some()
    }

    fn may_get_factor(&self) -> Result<(), RejectReason> {
        let brought = self.deposit.as_ref().map(|brought| brought.kind);
        if self.part.is_some() {
            return Err(RejectReason::SeveralCompartments);
        }
        if self.bundle.is_some() {
            return Err(RejectReason::InBundle);
        }
        if self.shares.is_some() {
            return Err(RejectReason::SharesCompartment);
        }
        if self.walk_in.is_some() || brought == Some(DepositKind::DropOff) {
            return Err(RejectReason::NotCollected);
        }
        match self.state {
            OrderState::Created
            | OrderState::Ready
            | OrderState::Reserved
            | OrderState::Loading
            | OrderState::Stored
            | OrderState::Overdue
            | OrderState::Disputed
            | OrderState::Quarantined => Ok(()),
            OrderState::Collecting
            | OrderState::Collected
            | OrderState::PartlyCollected
            | OrderState::CollectedUnconfirmed
            | OrderState::Cancelled
            | OrderState::Rejected
            | OrderState::Retrieved
            | OrderState::Recalled => Err(RejectReason::TooLate),
        }
    }
}

impl Orders {
    /// Another keyset is in force.
    pub(crate) fn set_sealing_key(&mut self, tenant: TenantId, key: Option<PublicKey>) {
        match key {
            Some(key) => self.sealing_keys.insert(tenant, key),
            None => self.sealing_keys.remove(&tenant),
        };
    }

    /// Seals what came with an order. The clear answer is gone with the payload.
    pub(super) fn seal_factor(
        &self,
        turn: &mut Turn<'_>,
        at: &OrderRef,
        came: &SecondFactor,
    ) -> Result<SealedFactor, RejectReason> {
        let key = self.sealing_keys.get(&at.tenant).ok_or(RejectReason::NoSealingKey)?;
        let aad = seal::answer_aad(&at.tenant, &at.order);
        let entropy = seal::Entropy { ephemeral: draw_key(turn), nonce: turn.draw() };
        // All are of one length.
        let plain = Zeroizing::new(format!("{:ANSWER_MAX$}", came.answer.reveal()));
        let sealed = seal::seal(plain.as_bytes(), key, &aad, &entropy).map_err(|_| RejectReason::NoSealingKey)?;
        Ok(SealedFactor { prompt: came.prompt, sealed: Blob(sealed), tag: None, asked: None })
    }

    /// The same order came again: nothing else of it differs. The signer tells whether the answer does.
    pub(super) fn compare_answer(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        put: &OrderPut,
    ) -> Result<(), RejectReason> {
        let held = self.rows.get(at).and_then(|order| order.factor.as_ref());
        let (Some(held), Some(came)) = (held, &put.second_factor) else { return Ok(()) };
        let full = held.asked.as_ref().is_some_and(|waiting| waiting.len() >= ASKED_MAX);
        let granted = if full { Err(RejectReason::TooOften) } else { self.ask_quota(turn, config, at) };
        match granted.and_then(|()| self.seal_factor(turn, at, came)) {
            Ok(SealedFactor { sealed, .. }) => {
                if let Some(held) = self.rows.get_mut(at).and_then(|order| order.factor.as_mut()) {
                    held.asked.get_or_insert_default().push(sealed);
                }
                self.put_row(turn, at);
                turn.want(Job::Answer(at.clone()));
                Ok(())
            }
            Err(reason) => {
                self.reject(turn, at, reason, None);
                Err(reason)
            }
        }
    }

    /// Each answer costs the signer work that codes of others wait for, so it counts as a request.
    fn ask_quota(&mut self, turn: &Turn<'_>, config: &Config, at: &OrderRef) -> Result<(), RejectReason> {
        self.quotas.request(&config.quota, at.integration(), turn.now).map_err(|_| RejectReason::Quota)
    }

    /// Orders whose answers the signer is to take, or to compare.
    pub(crate) fn sealed_answers(&self) -> impl Iterator<Item = &OrderRef> {
        self.rows.iter().filter(|(_, order)| order.next_answer().is_some()).map(|(at, _)| at)
    }

    pub(crate) fn next_answer(&self, at: &OrderRef) -> Option<SignerRequest> {
        let sealed = self.rows.get(at)?.next_answer()?.clone();
        Some(KeepAnswer { tenant: at.tenant.clone(), order: at.order.clone(), sealed }.into())
    }

    /// The signer has taken what it was asked to.
    pub(crate) fn answer_kept(&mut self, turn: &mut Turn<'_>, at: &OrderRef, asked: &KeepAnswer, kept: AnswerKept) {
        // What is left, or came meanwhile.
        turn.want(Job::Answer(at.clone()));
        let Some(factor) = self.rows.get_mut(at).and_then(|order| order.factor.as_mut()) else { return };
        if factor.tag.is_none() {
            if factor.sealed != asked.sealed {
                return;
            }
            (factor.sealed, factor.tag) = (kept.sealed, Some(kept.tag));
            self.put_row(turn, at);
            return self.send_factor(turn, at);
        }
        let Some(waiting) = factor.asked.as_mut().filter(|waiting| waiting.contains(&asked.sealed)) else { return };
        waiting.retain(|other| *other != asked.sealed);
        if waiting.is_empty() {
            factor.asked = None;
        }
        let differs = factor.tag.as_ref() != Some(&kept.tag);
        self.put_row(turn, at);
        if differs {
            self.reject(turn, at, RejectReason::OtherAnswer, None);
        }
    }

    /// Tells each cabinet that has the order in its book, or may have, what it is asked for behind its code.
    fn send_factor(&self, turn: &mut Turn<'_>, at: &OrderRef) {
        let Some(order) = self.rows.get(at) else { return };
        let Some(set) = order.factor_set() else { return };
        for cabinet in std::iter::once(&order.cabinet).chain(order.moves_to()) {
            let cabinet = CabinetRef::new(at.tenant.clone(), cabinet.clone());
            turn.send(Intent::to_cabinet(&cabinet, set.clone()));
        }
    }

    /// Another answer, or the first one. Until the cabinet holds it, the former one opens.
    pub(super) fn change_factor(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        replaces: Option<&ContentHash>,
        came: &SecondFactor,
    ) -> Result<String, RejectReason> {
        let Some(order) = self.named(at) else {
            self.reject(turn, at, RejectReason::UnknownOrder, None);
            return Err(RejectReason::UnknownOrder);
        };
        let before = order.content.clone();
        if let Some(other) = replaces.filter(|hash| hash.as_str() != before) {
            let content = Some([before, other.as_str().to_owned()]);
            self.tell_content(turn, at, Some(RejectReason::OtherContent), content);
            return Err(RejectReason::OtherContent);
        }
        let granted = order.may_get_factor().and_then(|()| self.ask_quota(turn, config, at));
        let sealed = granted.and_then(|()| self.seal_factor(turn, at, came));
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(reason) => {
                self.refuse(turn, at, reason);
                return Err(reason);
            }
        };
        let Some(order) = self.rows.get_mut(at) else { return Err(RejectReason::UnknownOrder) };
        order.factor = Some(sealed.into());
        order.content = content_hash(&order.as_put(), order.prompt());
        let now = order.content.clone();
        self.put_row(turn, at);
        self.tell_content(turn, at, None, Some([before, now.clone()]));
        self.send_factor(turn, at);
        turn.want(Job::Answer(at.clone()));
        Ok(now)
    }
}

impl Order {
    fn next_answer(&self) -> Option<&Blob> {
        self.factor.as_ref()?.next()
    }
}

/// A P-256 key: 32 bytes are out of the curve's range once in 2^32 draws, then the next ones serve.
fn draw_key(turn: &mut Turn<'_>) -> SecretKey {
    loop {
        if let Ok(key) = SecretKey::from_slice(&turn.draw::<32>()) {
            return key;
        }
    }
}
