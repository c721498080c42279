//! Codes by which somebody who is no staff puts an order in. They are in the book while the order waits, and are over once
//! it is stored.

use schemas::api::NotificationKind;
use schemas::messages::{
    BookChange, CourierTurnedAway, CredentialId, CredentialRefused, OrderKey, PutDeposit, RefusalReason,
};

use crate::cabinet::Cabinet;
use crate::cabinet::records::{Booked, Credential, Grant};
use crate::cabinet::secrets::new_credentials;
use crate::intents::{Full, Intent, Invite, Invited, Shown};
use crate::jobs::Job;
use crate::turn::Turn;

impl Cabinet {
    /// Starts to make the code for whoever brings the order. Taken twice, it changes nothing the second time.
    pub(super) fn invite(&mut self, turn: &mut Turn<'_>, Invite { order, expires }: Invite) {
        let Some(booked) = self.booked.get_mut(&order).filter(|booked| booked.loaded.is_none()) else { return };
        let (Some(deposit), Some(kept)) = (&mut booked.deposit, &booked.reserved) else { return };
        if deposit.invitation.is_some() {
            return;
        }
        deposit.invitation = Some(Grant {
            credentials: new_credentials(turn),
            expires: Some(expires),
            needs_time: false,
            version: 0,
            announced: false,
            compartment: kept.compartment,
            generation: self.progress.above(deposit.last),
        });
        self.put_booked(turn, &order);
        turn.want(Job::Secrets(self.at.clone()));
    }

    /// The order is inside: the cabinet has ended the code itself, and a whole book says so, too.
    pub(super) fn uninvite(&mut self, turn: &mut Turn<'_>, order: &OrderKey) {
        if self.booked.get_mut(order).is_some_and(Booked::withdraw_invitation) {
            self.put_booked(turn, order);
        }
    }

    /// The cabinet, whose book has this version, holds the code: whoever brings the order may hear of it.
    pub(super) fn announce_invitations(&mut self, turn: &mut Turn<'_>, version: u64) {
        let held = |booked: &&Booked| {
            booked.invitation().is_some_and(|grant| !grant.announced && (1..=version).contains(&grant.version))
        };
        let orders: Vec<OrderKey> = self.booked.values().filter(held).map(|booked| booked.order.clone()).collect();
        for order in orders {
            let Some(grant) = self.booked.get_mut(&order).and_then(Booked::invitation_mut) else { continue };
            let Some([code, qr]) = grant.sealed() else { continue };
            grant.announced = true;
            let until = grant.expires;
            self.put_booked(turn, &order);
            let place = self.registration.place.clone();
            turn.send(Intent::to_order(&self.at, &order, Invited { place, code, qr, until }));
        }
    }

    /// Makes another code in the place of the announced one, which works until the cabinet holds the other. False: there is
    /// none.
    pub(super) fn renew_invitation(&mut self, turn: &mut Turn<'_>, order: &OrderKey) -> bool {
        let Some(booked) = self.booked.get_mut(order).filter(|booked| booked.loaded.is_none()) else { return false };
        let Some(old) = booked.invitation().filter(|grant| grant.announced).cloned() else { return false };
        booked.withdraw_invitation();
        let Some(deposit) = &mut booked.deposit else { return false };
        deposit.invitation = Some(Grant {
            credentials: new_credentials(turn),
            version: 0,
            announced: false,
            generation: self.progress.above(Some(old.generation())),
            ..old
        });
        self.put_booked(turn, order);
        turn.want(Job::Secrets(self.at.clone()));
        true
    }

    /// The announced code for one more message.
    pub(super) fn show_invitation(&self, turn: &mut Turn<'_>, order: &OrderKey, id: String) {
        let grant = self.booked.get(order).and_then(Booked::invitation);
        let Some(grant) = grant.filter(|grant| grant.announced) else { return };
        let Some([code, qr]) = grant.sealed() else { return };
        let (kind, place) = (NotificationKind::DepositCode, self.registration.place.clone());
        let shown = Shown { kind, id, compartment: grant.compartment, place, code, qr };
        turn.send(Intent::to_order(&self.at, order, shown));
    }

    /// Somebody came with an order, and nothing that fits was free.
    pub(super) fn credential_refused(&self, turn: &mut Turn<'_>, refused: &CredentialRefused) {
        if refused.reason != RefusalReason::NoFittingCompartment {
            return;
        }
        let invited = |booked: &&Booked| booked.invitation().is_some_and(|grant| grant.has(refused.id));
        if let Some(booked) = self.booked.values().find(invited) {
            turn.alarm_of(
                &self.at,
                format!("cabinet {}: somebody brought order {}, and nothing that fits is free", self.at, booked.order),
            );
            turn.send(Intent::to_order(&self.at, &booked.order, Full {}));
        }
    }

    /// A courier came with an order, and nothing that fits was free: its backend may send them elsewhere.
    pub(super) fn courier_turned_away(&self, turn: &mut Turn<'_>, away: &CourierTurnedAway) {
        if let Some(booked) = away.order.as_ref().and_then(|order| self.booked.get(order)) {
            turn.send(Intent::to_order(&self.at, &booked.order, Full {}));
        }
    }

    /// Whether a door that this credential opens is opened for the recipient.
    pub(super) fn is_for_pickup(&self, id: CredentialId, order: &OrderKey) -> bool {
        self.booked.get(order).is_none_or(|booked| !booked.was_invited_by(id))
    }
}

impl Booked {
    pub(super) fn invitation(&self) -> Option<&Grant> {
        self.deposit.as_ref()?.invitation.as_ref()
    }

    pub(super) fn invitation_mut(&mut self) -> Option<&mut Grant> {
        self.deposit.as_mut()?.invitation.as_mut()
    }

    fn was_invited_by(&self, id: CredentialId) -> bool {
        let over = self.deposit.iter().flat_map(|deposit| &deposit.over).flatten();
        self.invitation().is_some_and(|grant| grant.has(id)) || over.into_iter().any(|gone| *gone == id)
    }

    pub(super) fn withdraw_invitation(&mut self) -> bool {
        let Some(deposit) = &mut self.deposit else { return false };
        let Some(grant) = deposit.invitation.take() else { return false };
        deposit.last = Some(grant.generation());
        let ids: Vec<_> = grant.credentials.iter().map(|one| one.id).collect();
        deposit.over.get_or_insert_default().extend(&ids);
        self.withdrawn.get_or_insert_default().extend(ids);
        true
    }
}

impl Grant {
    /// As [`Self::changes`], for the right to put the order in.
    pub(super) fn invitation_changes(&self, order: &OrderKey) -> Vec<BookChange> {
        let change = |credential: &Credential| {
            Some(BookChange::from(PutDeposit {
                id: credential.id,
                kind: credential.kind,
                verifier: credential.verifier?,
                order: order.clone(),
                generation: self.generation(),
                expires: self.expires,
                pepper: credential.pepper,
            }))
        };
        self.credentials.iter().map(change).collect::<Option<Vec<_>>>().unwrap_or_default()
    }
}
