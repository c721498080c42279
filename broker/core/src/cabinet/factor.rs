//! Second factors of orders at this cabinet: what it compares the answer with that is typed behind a code.
//!
//! An order that asks for an answer has no code in the book as long as its answer has no verifier there: otherwise the code would open
//! it alone, or only staff could.

use schemas::cbor::Blob;
use schemas::cbor_map;
use schemas::messages::{BookChange, CredentialId, CredentialKind, Factor, OrderKey, Prompt, PutGuarded, Verifier};

use crate::cabinet::Cabinet;
use crate::cabinet::records::Booked;
use crate::intents::SetFactor;
use crate::jobs::Job;
use crate::signing::{SecretItem, SecretMade};
use crate::turn::Turn;

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct BookedFactor {
        /// Names it to the signer.
        1 => id: CredentialId,
        2 => prompt: Prompt,
        /// The answer as the signer keeps it; left out until it does.
        3 opt => sealed: Option<Blob>,
        /// Made with the pepper that the order's codes are made with.
        4 opt => verifier: Option<Verifier>,
        5 => pepper: u32,
    }
}

/// What is asked for behind the credential of this order. `None` while that is not known: then it is not put into the book.
pub(crate) fn with_factor(change: BookChange, booked: &Booked) -> Option<BookChange> {
    let Some(factor) = &booked.factor else { return Some(change) };
    let BookChange::PutGuarded(put) = change else { return None };
    if put.credential.pepper != factor.pepper {
        return None;
    }
    let factor =
        Factor { prompt: factor.prompt, verifier: factor.verifier?, release: booked.staff_release == Some(true) };
    Some(PutGuarded { factor: Some(factor), ..put }.into())
}

impl Booked {
    /// Whether its codes can be in the book.
    pub(crate) fn may_be_opened(&self) -> bool {
        self.factor.as_ref().is_none_or(|factor| factor.verifier.is_some())
    }
}

impl Cabinet {
    /// From now on this is asked for behind the order's code. Taken twice, it changes nothing the second time.
    pub(super) fn set_factor(&mut self, turn: &mut Turn<'_>, set: SetFactor) {
        let SetFactor { order, prompt, sealed } = set;
        let Some(booked) = self.booked.get_mut(&order) else { return };
        let same = |held: &BookedFactor| (held.prompt, &held.sealed) == (prompt, &sealed);
        if booked.factor.as_deref().is_some_and(same) {
            return;
        }
        let id = CredentialId(turn.draw());
        booked.factor = Some(BookedFactor { id, prompt, sealed, verifier: None, pepper: 0 }.into());
        self.put_booked(turn, &order);
        turn.want(Job::Secrets(self.at.clone()));
    }

    /// Answers that have no verifier for the cabinet's pepper.
    pub(super) fn answers_wanted(&self) -> impl Iterator<Item = SecretItem> {
        self.booked.values().filter_map(|booked| {
            let factor = booked.factor.as_ref().filter(|factor| factor.verifier.is_none())?;
            let sealed = Some(factor.sealed.clone()?);
            let answers = Some(booked.order.clone());
            Some(SecretItem { id: factor.id, kind: CredentialKind::Digits, digits: 0, sealed, answers })
        })
    }

    /// Takes the verifier of an answer. Returns the codes that are good with it, each by its order and its first credential, or `None`
    /// where it is none.
    pub(super) fn answer_derived(
        &mut self,
        turn: &mut Turn<'_>,
        made: &SecretMade,
        pepper: u32,
    ) -> Option<Vec<(OrderKey, CredentialId)>> {
        let of = |booked: &&mut Booked| booked.factor.as_ref().is_some_and(|factor| factor.id == made.id);
        let booked = self.booked.values_mut().find(of)?;
        let factor = booked.factor.as_mut()?;
        (factor.verifier, factor.pepper) = (Some(made.verifier), pepper);
        let order = booked.order.clone();
        let codes = booked.grants().filter_map(|grant| Some((order.clone(), grant.credentials.first()?.id))).collect();
        self.put_booked(turn, &order);
        Some(codes)
    }

    /// The signer cannot open an answer that it once kept: the order has no code until its key is there again.
    pub(super) fn answer_lost(&mut self, turn: &mut Turn<'_>, id: CredentialId) -> bool {
        let of = |booked: &&Booked| booked.factor.as_ref().is_some_and(|factor| factor.id == id);
        let Some(booked) = self.booked.values().find(of) else { return false };
        let text =
            format!("cabinet {}: the signer cannot open the answer to the second factor of {}", self.at, booked.order);
        turn.alarm_of(&self.at, text);
        self.unreadable.insert(id);
        true
    }
}
