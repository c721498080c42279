//! The cabinet's book: immutable change sets by version, sent several at a time, one message outstanding.

use schemas::api::NotificationKind;
use schemas::cbor::{self, Blob};
use schemas::crypto::codes::{DIGITS_MAX, LETTERS_MAX, digits_for, letters_for};
use schemas::messages::{Book, BookChange, CodesEnvelope, Down, OrderKey, RefusalReason, Rules};

use crate::cabinet::Cabinet;
use crate::cabinet::records::{Booked, ChangeSet};
use crate::config::CodeForm;
use crate::effect::Effect;
use crate::intents::{Intent, Issued, OrderIntent, Shown};
use crate::jobs::Job;
use crate::signing::{SignBook, SignerRequest};
use crate::tables::BOOK;
use crate::turn::Turn;

/// Most changes of one message.
const CHANGES_MAX: usize = 100;
/// Most bytes of changes in one message: the envelope has to stay below the largest message.
const BYTES_MAX: usize = 40 * 1024;
/// More unconfirmed change sets than this are replaced by a snapshot.
const SETS_MAX: usize = 1_000;
/// Wrong codes that a cabinet takes on a day, and the yearly chance of a lucky guess that is put up with.
const WRONG_A_DAY: u32 = 20;
const YEARLY_CHANCE_MAX: f64 = 0.01;

impl Cabinet {
    /// Adds changes to the wanted book. Returns the version that holds all of them.
    pub(super) fn append(&mut self, turn: &mut Turn<'_>, changes: Vec<BookChange>) -> u64 {
        for part in parts(changes) {
            let base = self.progress.wanted;
            self.add_set(turn, base, part);
        }
        if self.sets.len() > SETS_MAX {
            self.snapshot(turn);
        }
        self.put_progress(turn);
        turn.want(Job::Book(self.at.clone()));
        self.progress.wanted
    }

    /// Replaces all unconfirmed change sets by the whole book, in versions above everything that the cabinet can hold.
    ///
    /// Credentials of orders that are inside go first: while the rest is on its way, these doors have to open.
    pub(super) fn snapshot(&mut self, turn: &mut Turn<'_>) {
        self.prune(turn, u64::MAX);
        self.progress.wanted = self.progress.wanted.max(self.progress.held);
        let (inside, outside): (Vec<_>, Vec<_>) = self.booked.values().partition(|booked| booked.loaded.is_some());
        let orders = inside.into_iter().chain(outside).flat_map(|booked| {
            std::iter::once(booked.change()).chain(booked.credential_changes()).chain(booked.withdrawals())
        });
        let changes: Vec<BookChange> = std::iter::once(self.rules().into())
            .chain(orders)
            .chain(self.all_bundle_changes())
            .chain(self.crew_changes())
            .collect();
        for (index, part) in parts(changes).into_iter().enumerate() {
            let base = if index == 0 { 0 } else { self.progress.wanted };
            self.add_set(turn, base, part);
        }
        let last = self.progress.wanted;
        let pending: Vec<OrderKey> = self
            .booked
            .values_mut()
            .filter_map(|booked| {
                let pending = booked.codes_mut().filter(|grant| grant.version > 0 && !grant.announced);
                let moved = pending.map(|grant| grant.version = last).count();
                (moved > 0).then(|| booked.order.clone())
            })
            .collect();
        pending.iter().for_each(|order| self.put_booked(turn, order));
        self.bundles_in_whole_book(turn, last);
        self.put_progress(turn);
        turn.want(Job::Book(self.at.clone()));
    }

    /// What the cabinet's hello says about its book decides what it is sent.
    pub(super) fn compare_book(&mut self, turn: &mut Turn<'_>, held: u64) {
        self.progress.held = held;
        let digits = self.code_digits();
        let letters = match turn.code_form {
            CodeForm::Digits => None,
            CodeForm::Letters => Some(self.code_letters()),
        };
        let other_rules = (self.progress.digits, self.progress.letters) != (digits, letters);
        (self.progress.digits, self.progress.letters) = (digits, letters);
        let known = held == self.progress.wanted || self.sets.contains_key(&(held + 1)) || self.snapshot_above(held);
        if held > self.progress.wanted || self.is_unreconciled() {
            // No code has a generation above the version of the book that brought it.
            let forgotten = u32::try_from(held).unwrap_or(u32::MAX);
            self.progress.forgotten = self.progress.forgotten.max(Some(forgotten));
            if self.progress.restored.take() == Some(true) {
                self.progress.backed_up = self.progress.forgotten;
            }
        }
        // Equal versions of a fleet or a cabinet that was put back can hold different books.
        if held > self.progress.wanted || !known || self.has_other_pepper() || self.is_unreconciled() {
            self.snapshot(turn);
        } else if other_rules {
            let rules = self.rules();
            self.append(turn, vec![rules.into()]);
        }
        self.confirm(turn, held);
    }

    /// The next message, if one is due: what lies between the held and the wanted version, as far as it fits.
    pub(crate) fn next_book(&mut self, now: u64) -> Option<SignerRequest> {
        let held = self.progress.held;
        let first = self.sets.values().rev().find(|set| set.base == 0 && set.version > held);
        let first = first.map_or(held + 1, |set| set.version);
        if self.open_link()?.book_sent.is_some() {
            return None;
        }
        let base = self.sets.get(&first)?.base;
        let (mut changes, mut bytes, mut version) = (Vec::new(), 0, first);
        for (_, set) in self.sets.range(first..) {
            let more = set.changes.iter().map(|change| cbor::encode(change).len()).sum::<usize>();
            if !changes.is_empty() && (changes.len() + set.changes.len() > CHANGES_MAX || bytes + more > BYTES_MAX) {
                break;
            }
            changes.extend(set.changes.iter().cloned());
            bytes += more;
            version = set.version;
        }
        Some(
            SignBook {
                tenant: self.at.tenant.clone(),
                cabinet: self.at.cabinet.clone(),
                instance: self.registration.instance,
                book: Book { version, base, issued: now, changes },
            }
            .into(),
        )
    }

    /// The signer signed `book`.
    pub(crate) fn book_signed(&mut self, turn: &mut Turn<'_>, book: &Book, envelope: Blob) {
        // An envelope that was on its way while a newer hello came may have the wrong base by now.
        let based = book.base == 0 && book.version > self.progress.held || book.base == self.progress.held;
        // Or its changes may have been taken back, because the agent does not know them any more.
        let fits = based && self.sets.contains_key(&book.version);
        let Some(open) = self.open_link().filter(|open| open.book_sent.is_none()) else {
            return;
        };
        if fits {
            open.book_sent = Some(book.version);
            self.down(turn, &Down::from(CodesEnvelope { envelope }));
        } else {
            turn.want(Job::Book(self.at.clone()));
        }
    }

    /// The cabinet holds `version`.
    pub(super) fn book_applied(&mut self, turn: &mut Turn<'_>, version: u64) {
        self.progress.held = self.progress.held.max(version);
        if let Some(open) = self.open_link()
            && open.book_sent.is_some_and(|sent| sent <= version)
        {
            open.book_sent = None;
        }
        self.confirm(turn, version);
    }

    /// The cabinet refused a book. A base that it does not have is answered with the whole book, once a connection;
    /// anything else needs a person or another keyset, and is tried again at the next hello or keyset.
    pub(super) fn book_refused(&mut self, turn: &mut Turn<'_>, version: Option<u64>, reason: RefusalReason) {
        if reason == RefusalReason::OldVersion && version.is_some_and(|version| version <= self.progress.held) {
            // It came twice, and the first one is in force.
            return;
        }
        let about = version.map_or_else(String::new, |version| format!(" {version}"));
        turn.alarm_of(&self.at, format!("cabinet {} refused book{about}: {reason}", self.at));
        let rebase = matches!(reason, RefusalReason::WrongBase | RefusalReason::OldVersion);
        let Some(open) = self.open_link().filter(|open| rebase && !open.rebased) else {
            return;
        };
        (open.rebased, open.book_sent) = (true, None);
        self.snapshot(turn);
    }

    /// Announces what the cabinet now holds, and forgets the change sets that it confirmed.
    fn confirm(&mut self, turn: &mut Turn<'_>, version: u64) {
        self.prune(turn, version);
        self.forget_dismissed(turn, version);
        let held: Vec<OrderKey> = self
            .booked
            .values()
            .filter(|booked| self.may_be_announced(booked, version))
            .map(|booked| booked.order.clone())
            .collect();
        held.iter().for_each(|order| self.announce(turn, order));
        self.bundles_held(turn, version);
        self.announce_invitations(turn, version);
        turn.want(Job::Book(self.at.clone()));
    }

    /// The cabinet, whose book has this version, holds credentials of which nobody was told. Nobody is sent to an order that
    /// went missing meanwhile.
    fn may_be_announced(&self, booked: &Booked, version: u64) -> bool {
        let inside = booked.loaded.and_then(|at| self.inside.get(&at));
        let stored = inside.is_some_and(|inside| inside.has_stored(&booked.order));
        stored && booked.grants().any(|grant| !grant.announced && (1..=version).contains(&grant.version))
    }

    /// It was missing while its code reached the cabinet.
    pub(super) fn announce_found(&mut self, turn: &mut Turn<'_>, order: &OrderKey) {
        let held = self.progress.held;
        if self.booked.get(order).is_some_and(|booked| self.may_be_announced(booked, held)) {
            self.announce(turn, order);
        }
    }

    fn announce(&mut self, turn: &mut Turn<'_>, order: &OrderKey) {
        let Some(booked) = self.booked.get_mut(order) else {
            return;
        };
        booked.promote();
        let Some(grant) = &mut booked.grant else {
            return;
        };
        let Some([code, qr]) = grant.sealed() else {
            return;
        };
        grant.announced = true;
        let (compartment, generation) = (grant.compartment, grant.generation());
        self.put_booked(turn, order);
        let place = self.registration.place.clone();
        let said: OrderIntent = if generation == 1 {
            Issued { compartment, place, code, qr }.into()
        } else {
            let id = format!("pickup-code/{order}/{generation}");
            Shown { kind: NotificationKind::PickupCode, id, compartment, place, code, qr }.into()
        };
        turn.send(Intent::to_order(&self.at, order, said));
    }

    pub(super) fn rules(&self) -> Rules {
        let (code_letters, break_glass) = (self.progress.letters, self.break_glass_in_book());
        Rules { code_digits: self.code_digits(), break_glass, code_letters }
    }

    pub(super) fn code_digits(&self) -> u8 {
        digits_for(self.most_codes(), WRONG_A_DAY, YEARLY_CHANCE_MAX).unwrap_or(DIGITS_MAX)
    }

    pub(super) fn code_letters(&self) -> u8 {
        letters_for(self.most_codes(), WRONG_A_DAY, YEARLY_CHANCE_MAX).unwrap_or(LETTERS_MAX)
    }

    fn most_codes(&self) -> u32 {
        u32::try_from(self.said.compartments.len().max(1)).unwrap_or(u32::MAX)
    }

    /// Whether a change on its way has a verifier of an earlier pepper: the cabinet would refuse it.
    fn has_other_pepper(&self) -> bool {
        let current = self.said.pepper.as_ref().map(|offer| offer.version);
        self.sets.values().flat_map(|set| &set.changes).any(|change| match change {
            BookChange::PutCredential(put) => Some(put.pepper) != current,
            BookChange::PutDeposit(put) => Some(put.pepper) != current,
            BookChange::PutGuarded(put) => Some(put.credential.pepper) != current,
            BookChange::PutStaff(put) => Some(put.pepper) != current,
            BookChange::PutCourier(put) => Some(put.pepper) != current,
            BookChange::Rules(rules) => rules.break_glass.as_ref().is_some_and(|glass| Some(glass.pepper) != current),
            BookChange::PutOrder(_)
            | BookChange::DropOrder(_)
            | BookChange::DropCredential(_)
            | BookChange::DropStaff(_)
            | BookChange::DropCourier(_) => false,
        })
    }

    fn snapshot_above(&self, held: u64) -> bool {
        self.sets.values().any(|set| set.base == 0 && set.version > held)
    }

    fn add_set(&mut self, turn: &mut Turn<'_>, base: u64, changes: Vec<BookChange>) {
        self.progress.wanted += 1;
        let set = ChangeSet { version: self.progress.wanted, base, changes };
        turn.put(BOOK, self.at.numbered(set.version), &set);
        self.sets.insert(set.version, set);
    }

    fn prune(&mut self, turn: &mut Turn<'_>, version: u64) {
        while let Some(first) = self.sets.first_entry().filter(|first| *first.key() <= version) {
            turn.remove(BOOK, self.at.numbered(*first.key()));
            first.remove();
        }
    }

    pub(super) fn down(&self, turn: &mut Turn<'_>, message: &Down) {
        turn.effect(Effect::Down {
            tenant: self.at.tenant.clone(),
            cabinet: self.at.cabinet.clone(),
            payload: cbor::encode(message),
        });
    }
}

/// Cuts changes so that each part fits into one message.
fn parts(changes: Vec<BookChange>) -> Vec<Vec<BookChange>> {
    let mut parts: Vec<Vec<BookChange>> = Vec::new();
    let mut bytes = 0;
    for change in changes {
        let more = cbor::encode(&change).len();
        match parts.last_mut().filter(|part| part.len() < CHANGES_MAX && bytes + more <= BYTES_MAX) {
            Some(part) => {
                part.push(change);
                bytes += more;
            }
            None => {
                parts.push(vec![change]);
                bytes = more;
            }
        }
    }
    parts
}
