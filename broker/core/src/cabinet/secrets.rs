//! Secrets that the signer makes for this cabinet: pickup codes, scanned tokens and the verifiers of PINs.

use schemas::api::NotificationKind;
use schemas::messages::{BookChange, CredentialId, CredentialKind, OrderKey};

use crate::cabinet::Cabinet;
use crate::cabinet::records::{Booked, Credential, Grant};
use crate::intents::{Intent, Issue, Show, Shown};
use crate::jobs::Job;
use crate::signing::{MakeSecrets, SecretItem, SecretMade, SignerRequest};
use crate::tables::BOOKED;
use crate::turn::Turn;

/// Secrets of one request: digits cost the signer one Argon2 evaluation each.
const ITEMS_MAX: usize = 16;

impl Cabinet {
    /// Starts to make the credentials of a stored order. Taken twice, it changes nothing the second time.
    pub(super) fn issue(&mut self, turn: &mut Turn<'_>, mut issue: Issue) {
        // It is wanted where it is, from now on or again.
        self.want_back(turn, &issue.order, None);
        if let Some(secrets) = issue.bundle.take().filter(|_| self.booked.contains_key(&issue.order)) {
            return self.gather(turn, &issue, secrets);
        }
        self.leave_bundle(turn, &issue.order);
        let Some(booked) = self.booked.get_mut(&issue.order) else {
            return turn
                .alarm(format!("cabinet {}: order {} is stored but not in the book: no code", self.at, issue.order));
        };
        if booked.grant.is_some() {
            return self.move_end(turn, issue);
        }
        let Some(compartment) = booked.loaded else {
            return;
        };
        booked.grant = Some(Grant {
            credentials: new_credentials(turn),
            expires: issue.expires,
            needs_time: issue.needs_time,
            version: 0,
            announced: false,
            compartment,
            generation: self.progress.above(booked.told),
        });
        self.put_booked(turn, &issue.order);
        turn.want(Job::Secrets(self.at.clone()));
    }

    /// Starts to make another code. While one is being made, another wish for it changes nothing.
    pub(super) fn reissue(&mut self, turn: &mut Turn<'_>, order: &OrderKey) {
        if self.renew_invitation(turn, order) {
            return;
        }
        let Some(booked) = self.booked.get_mut(order) else { return };
        let (Some(grant), None) = (&booked.grant, &booked.next) else { return };
        if !grant.announced {
            return;
        }
        booked.next = Some(Grant {
            credentials: new_credentials(turn),
            version: 0,
            announced: false,
            generation: self.progress.above(Some(grant.generation())),
            ..grant.clone()
        });
        self.put_booked(turn, order);
        turn.want(Job::Secrets(self.at.clone()));
    }

    /// The same code until another moment.
    fn move_end(&mut self, turn: &mut Turn<'_>, Issue { order, expires, needs_time, .. }: Issue) {
        let Some(booked) = self.booked.get_mut(&order) else { return };
        if booked.grants().all(|grant| (grant.expires, grant.needs_time) == (expires, needs_time)) {
            return;
        }
        booked.grants_mut().for_each(|grant| (grant.expires, grant.needs_time) = (expires, needs_time));
        let changes = booked.credential_changes();
        self.put_booked(turn, &order);
        // What is still being made goes into the book with the new end.
        if !changes.is_empty() {
            self.append(turn, changes);
        }
    }

    /// Hands an announced code to its order for one more message.
    pub(super) fn show(&mut self, turn: &mut Turn<'_>, Show { order, kind, id }: Show) {
        if kind == NotificationKind::DepositCode {
            return self.show_invitation(turn, &order, id);
        }
        let grant = self.booked.get(&order).and_then(|booked| booked.grant.as_ref());
        let Some(grant) = grant.filter(|grant| grant.announced) else { return };
        if self.progress.backed_up.is_some_and(|backed_up| grant.generation() <= backed_up) {
            // The fleet was restored, and may have replaced this code since its backup. A new one is good in any case.
            return self.reissue(turn, &order);
        }
        let Some([code, qr]) = grant.sealed() else { return };
        let place = self.registration.place.clone();
        let shown = Shown { kind, id, compartment: grant.compartment, place, code, qr };
        turn.send(Intent::to_order(&self.at, &order, shown));
    }

    /// Withdraws an order's credentials.
    pub(super) fn revoke(&mut self, turn: &mut Turn<'_>, order: &OrderKey) {
        self.leave_bundle(turn, order);
        let Some(booked) = self.booked.get_mut(order) else {
            return;
        };
        if !booked.withdraw() {
            return;
        }
        let dropped = booked.withdrawals().collect();
        self.put_booked(turn, order);
        self.append(turn, dropped);
    }

    /// The cabinet has another pepper: no verifier fits it any more. The secrets stay.
    pub(super) fn forget_verifiers(&mut self, turn: &mut Turn<'_>) {
        for booked in self.booked.values_mut() {
            if booked.codes().next().is_none() && booked.factor.is_none() {
                continue;
            }
            if let Some(factor) = &mut booked.factor {
                factor.verifier = None;
            }
            for grant in booked.codes_mut() {
                grant.credentials.iter_mut().for_each(|credential| credential.verifier = None);
                if !grant.announced {
                    grant.version = 0;
                }
            }
            turn.put(BOOKED, self.at.key_of(&booked.order.to_string()), booked);
        }
        self.forget_crew_verifiers(turn);
        self.forget_bundle_verifiers(turn);
        self.forget_break_glass(turn);
        turn.want(Job::Secrets(self.at.clone()));
    }

    /// What has no verifier for the cabinet's pepper, as far as one request takes it.
    pub(crate) fn next_secrets(&self) -> Option<SignerRequest> {
        let pepper = self.said.pepper.clone()?;
        let (digits, letters) = (self.code_digits(), self.code_letters());
        let open = |id: &CredentialId| !self.unreadable.contains(id);
        let codes = self.secrets().filter(|one| one.verifier.is_none() && open(&one.id)).map(|one| {
            let digits = match one.kind {
                CredentialKind::Digits => digits,
                CredentialKind::Letters => letters,
                CredentialKind::Qr => 0,
            };
            SecretItem { id: one.id, kind: one.kind, digits, sealed: one.sealed.clone(), answers: None }
        });
        let answers = self.answers_wanted().filter(|item| open(&item.id));
        let staff = self.crew_wanted().filter(|(id, ..)| open(id));
        let staff = staff.map(|(id, kind, sealed)| SecretItem {
            id,
            kind,
            digits: 0,
            sealed: Some(sealed.clone()),
            answers: None,
        });
        let glass = self.break_glass_wanted().filter(|item| open(&item.id));
        let items: Vec<_> = codes.chain(answers).chain(staff).chain(glass).take(ITEMS_MAX).collect();
        let (tenant, cabinet) = (self.at.tenant.clone(), self.at.cabinet.clone());
        let instance = self.registration.instance;
        (!items.is_empty()).then(|| MakeSecrets { tenant, cabinet, instance, pepper, items }.into())
    }

    /// Whether something is to be in the book whose verifier is not made yet.
    pub(super) fn lacks_verifiers(&self) -> bool {
        let credentials = self.secrets().filter(|one| one.verifier.is_none());
        let staff = self.crew_wanted().map(|(id, ..)| id);
        let glass = self.break_glass_wanted().map(|item| item.id);
        let answers = self.answers_wanted().map(|item| item.id);
        let mut all = credentials.map(|one| one.id).chain(answers).chain(staff).chain(glass);
        all.any(|id| !self.unreadable.contains(&id))
    }

    /// The signer made what `asked` asks for.
    pub(crate) fn secrets_made(&mut self, turn: &mut Turn<'_>, asked: &MakeSecrets, made: Vec<SecretMade>) {
        let mut changes = Vec::new();
        let mut grants = Vec::new();
        let current = self.said.pepper.as_ref().map(|pepper| (pepper.version, pepper.salt));
        if current == Some((asked.pepper.version, asked.pepper.salt)) {
            let sealed = asked.items.iter().filter(|item| item.sealed.is_some());
            for lost in sealed.filter(|item| !made.iter().any(|one| one.id == item.id)) {
                self.secret_lost(turn, lost.id);
            }
            for one in made {
                if let Some(rules) = self.break_glass_made(turn, &one, asked.pepper.version) {
                    changes.push(rules);
                } else if self.bundle_derived(turn, &one, asked.pepper.version) {
                    continue;
                } else if let Some(answered) = self.answer_derived(turn, &one, asked.pepper.version) {
                    grants.extend(answered);
                } else if let Some(grant) = self.credential_made(turn, &one, asked.pepper.version) {
                    grants.push(grant);
                } else {
                    changes.extend(self.pin_derived(turn, &one, asked.pepper.version));
                }
            }
        }
        grants.dedup();
        self.book_secrets(turn, changes, &grants);
        turn.want(Job::Secrets(self.at.clone()));
    }

    /// The signer cannot open what it once sealed. A code that nobody was told is made anew; otherwise the order stays
    /// without one until its key is there again, and nothing else waits for it.
    fn secret_lost(&mut self, turn: &mut Turn<'_>, id: CredentialId) {
        if let Some(booked) = self.booked.values_mut().find(|booked| booked.has(id)) {
            let order = booked.order.clone();
            let announced = booked.codes().any(|grant| grant.announced && grant.has(id));
            turn.alarm_of(
                &self.at,
                format!("cabinet {}: the signer cannot open the sealed code of order {order}", self.at),
            );
            if announced {
                self.unreadable.insert(id);
                return;
            }
            let mut credentials = booked.codes_mut().flat_map(|grant| &mut grant.credentials);
            if let Some(credential) = credentials.find(|one| one.id == id) {
                credential.sealed = None;
            }
            drop(credentials);
            return self.put_booked(turn, &order);
        }
        if self.answer_lost(turn, id) {
            return;
        }
        self.crew_secret_lost(turn, id);
        self.unreadable.insert(id);
    }

    /// Takes one credential; returns its order, and the first credential of the code that it belongs to.
    ///
    /// Two equal codes at one cabinet would open one door only, and a cabinet refuses a book with both. A new code
    /// that is taken already is thrown away before anyone has seen it, and made again.
    fn credential_made(
        &mut self,
        turn: &mut Turn<'_>,
        made: &SecretMade,
        pepper: u32,
    ) -> Option<(OrderKey, CredentialId)> {
        let taken = self.is_taken(made);
        let booked = self.booked.values_mut().find(|booked| booked.has(made.id))?;
        let order = booked.order.clone();
        let grant = booked.codes_mut().find(|grant| grant.has(made.id))?;
        let first = grant.credentials.first()?.id;
        let credential = grant.credentials.iter_mut().find(|one| one.id == made.id)?;
        if !(taken && credential.sealed.is_none()) {
            // A secret once made stays: it may have been announced.
            credential.sealed.get_or_insert_with(|| made.sealed.clone());
            (credential.verifier, credential.pepper) = (Some(made.verifier), pepper);
            self.put_booked(turn, &order);
        }
        Some((order, first))
    }

    /// Whether another code at this cabinet is the same.
    pub(super) fn is_taken(&self, made: &SecretMade) -> bool {
        let mut others = self.secrets().filter(|other| other.id != made.id);
        others.any(|other| other.verifier == Some(made.verifier))
    }

    /// All codes, of orders and of bundles.
    fn secrets(&self) -> impl Iterator<Item = &Credential> {
        let codes = self.booked.values().flat_map(Booked::codes).flat_map(|grant| &grant.credentials);
        codes.chain(self.bundle_secrets())
    }

    /// Puts what is complete into the book.
    fn book_secrets(&mut self, turn: &mut Turn<'_>, mut changes: Vec<BookChange>, made: &[(OrderKey, CredentialId)]) {
        for (order, id) in made {
            let Some(booked) = self.booked.get(order) else { continue };
            changes.extend(booked.grants().filter(|grant| grant.has(*id)).flat_map(|grant| grant.changes(booked)));
            let invitation = booked.invitation().into_iter().filter(|grant| grant.has(*id));
            changes.extend(invitation.flat_map(|grant| grant.invitation_changes(order)));
        }
        if changes.is_empty() {
            return;
        }
        let version = self.append(turn, changes);
        for (order, id) in made {
            let Some(booked) = self.booked.get_mut(order) else { continue };
            let invites = booked.invitation().is_some_and(|grant| grant.has(*id));
            if !(invites || booked.may_be_opened()) {
                continue;
            }
            let complete = |grant: &&mut Grant| grant.has(*id) && grant.is_complete();
            booked.codes_mut().filter(complete).for_each(|grant| grant.version = version);
            self.put_booked(turn, order);
        }
    }
}

/// A code to type and a token to scan, both still to be made.
pub(super) fn new_credentials(turn: &mut Turn<'_>) -> Vec<Credential> {
    [turn.code_form.kind(), CredentialKind::Qr]
        .map(|kind| Credential { id: CredentialId(turn.draw()), kind, sealed: None, verifier: None, pepper: 0 })
        .into()
}
