//! Bundles at this cabinet: one credential for those of its orders that are here. Its secrets are the same at every cabinet of the
//! bundle; only their verifiers are this one's.

use schemas::cbor_map;
use schemas::messages::{
    BookChange, BundleRight, CredentialId, CredentialKind, DropCredential, FleetMillis, OrderKey, PutCredential,
};

use crate::cabinet::Cabinet;
use crate::cabinet::records::{Booked, Credential, guarded};
use crate::intents::{BundleSecrets, Gathered, Intent, Issue};
use crate::jobs::Job;
use crate::signing::SecretMade;
use crate::tables::BUNDLES_AT;
use crate::turn::Turn;

cbor_map! {
    /// The credential of a bundle as this cabinet compares it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct BundleAt {
        1 => bundle: OrderKey,
        /// Digits and token; both sealed secrets are there from the beginning.
        2 => credentials: Vec<Credential>,
        /// Grows with each time that it is put into the book.
        3 => generation: u32,
        /// Credentials in whose place these come, as long as the cabinet may hold them.
        28 opt => gone: Option<Vec<CredentialId>>,
    }
}

fn credentials_of(turn: &mut Turn<'_>, secrets: BundleSecrets) -> Vec<Credential> {
    let typed = secrets.kind();
    let BundleSecrets { code, qr, .. } = secrets;
    let credential =
        |kind, sealed, id| Credential { id: CredentialId(id), kind, sealed: Some(sealed), verifier: None, pepper: 0 };
    vec![credential(typed, code, turn.draw()), credential(CredentialKind::Qr, qr, turn.draw())]
}

cbor_map! {
    /// That an order is collected with a bundle, and until when.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Bundled {
        1 => bundle: OrderKey,
        2 opt => expires: Option<FleetMillis>,
        3 => needs_time: bool,
        /// Version of the book in which the bundle's credential first opens it, 0 before.
        4 => version: u64,
        /// The order has heard that the cabinet holds that.
        5 => held: bool,
    }
}

impl BundleAt {
    fn is_complete(&self) -> bool {
        self.credentials.iter().all(|credential| credential.verifier.is_some())
    }

    fn changes(&self, members: &[&Booked]) -> Vec<BookChange> {
        let right = |booked: &&Booked| {
            let bundled = booked.bundled.as_ref()?;
            let (expires, needs_time) = (bundled.expires, bundled.needs_time);
            Some(BundleRight { order: booked.order.clone(), expires, needs_time })
        };
        let rights: Vec<_> = members.iter().filter_map(right).collect();
        let put = |one: &Credential| {
            let put = PutCredential {
                id: one.id,
                kind: one.kind,
                verifier: one.verifier?,
                orders: rights.iter().map(|right| right.order.clone()).collect(),
                generation: self.generation,
                // An agent that does not know rights goes by the strictest of them.
                expires: rights.iter().filter_map(|right| right.expires).min(),
                needs_time: rights.iter().any(|right| right.needs_time),
                pepper: one.pepper,
                rights: Some(rights.clone()),
            };
            Some(guarded(put, members.iter().filter_map(|booked| booked.guarded().cloned()).collect()))
        };
        self.credentials.iter().map(put).collect::<Option<_>>().unwrap_or_default()
    }

    /// Of all its credentials, those before the newest ones included.
    fn ids(&self) -> impl Iterator<Item = CredentialId> {
        self.credentials.iter().map(|one| one.id).chain(self.gone.iter().flatten().copied())
    }

    fn drops(&self) -> impl Iterator<Item = BookChange> {
        self.ids().map(|id| DropCredential { id }.into())
    }
}

impl Cabinet {
    pub(crate) fn restore_bundle(&mut self, bundle: BundleAt) {
        self.bundles.insert(bundle.bundle.clone(), bundle);
    }

    /// The order, which is inside, is collected with this bundle from now on. Taken twice, it changes nothing the second time.
    pub(super) fn gather(&mut self, turn: &mut Turn<'_>, issue: &Issue, secrets: BundleSecrets) {
        self.renew_bundle(turn, &secrets);
        let Issue { order, expires, needs_time, .. } = issue;
        let before = self.booked.get(order).and_then(|booked| booked.bundled.as_deref()).cloned();
        let bundled = match &before {
            Some(held) if held.bundle == secrets.bundle => {
                Bundled { expires: *expires, needs_time: *needs_time, ..held.clone() }
            }
            Some(_) | None => {
                let bundle = secrets.bundle.clone();
                Bundled { bundle, expires: *expires, needs_time: *needs_time, version: 0, held: false }
            }
        };
        if before.as_ref() == Some(&bundled) {
            if bundled.held {
                self.tell_gathered(turn, order);
            }
            return;
        }
        if before.is_some_and(|before| before.bundle != bundled.bundle) {
            self.leave_bundle(turn, order);
        }
        let bundle = bundled.bundle.clone();
        let Some(booked) = self.booked.get_mut(order) else { return };
        booked.bundled = Some(bundled.into());
        self.put_booked(turn, order);
        if !self.bundles.contains_key(&bundle) {
            let credentials = credentials_of(turn, secrets);
            self.bundles
                .insert(bundle.clone(), BundleAt { bundle: bundle.clone(), credentials, generation: 0, gone: None });
        }
        self.book_bundle(turn, &bundle);
    }

    /// The bundle has got another code. What its cabinet holds works until it holds the new one, which is of a later generation.
    fn renew_bundle(&mut self, turn: &mut Turn<'_>, secrets: &BundleSecrets) {
        let is_of =
            |one: &Credential| one.sealed.as_ref().is_some_and(|held| [&secrets.code, &secrets.qr].contains(&held));
        let Some(at) = self.bundles.get_mut(&secrets.bundle) else { return };
        if at.credentials.iter().all(is_of) {
            return;
        }
        let next = credentials_of(turn, secrets.clone());
        let before = std::mem::replace(&mut at.credentials, next);
        at.gone.get_or_insert_default().extend(before.iter().map(|one| one.id));
        for order in self.members(&secrets.bundle).map(|booked| booked.order.clone()).collect::<Vec<_>>() {
            if let Some(bundled) = self.booked.get_mut(&order).and_then(|booked| booked.bundled.as_mut()) {
                (bundled.version, bundled.held) = (0, false);
                self.put_booked(turn, &order);
            }
        }
        self.book_bundle(turn, &secrets.bundle);
    }

    /// The order is not collected with its bundle any more.
    pub(super) fn leave_bundle(&mut self, turn: &mut Turn<'_>, order: &OrderKey) {
        let Some(booked) = self.booked.get_mut(order) else { return };
        let Some(left) = booked.bundled.take() else { return };
        let mut before = Vec::new();
        if let Some(at) = self.bundles.get_mut(&left.bundle) {
            // Should the rest of the bundle be gone when a whole book is sent.
            booked.withdrawn.get_or_insert_default().extend(at.ids());
            let told = booked.told.max(Some(at.generation)).filter(|_| left.version > 0 || at.gone.is_some());
            booked.told = told.max(booked.told);
            // What is put of the newer ones says nothing of an order that has left.
            before = at.gone.take().unwrap_or_default();
        }
        self.put_booked(turn, order);
        if !before.is_empty() {
            self.append(turn, before.into_iter().map(|id| DropCredential { id }.into()).collect());
        }
        self.book_bundle(turn, &left.bundle);
    }

    /// An order that is over is no longer in the book. What is out is opened by nothing, whatever the book says of it.
    pub(super) fn left_bundle(&mut self, turn: &mut Turn<'_>, booked: &Booked) {
        let Some(left) = &booked.bundled else { return };
        let inside = self.holder_of(&booked.order).is_some_and(|(at, _)| booked.loaded == Some(at));
        if inside || self.members(&left.bundle).next().is_none() {
            self.book_bundle(turn, &left.bundle);
        }
    }

    fn members(&self, bundle: &OrderKey) -> impl Iterator<Item = &Booked> {
        let of = move |booked: &&Booked| booked.bundled.as_ref().is_some_and(|bundled| bundled.bundle == *bundle);
        self.booked.values().filter(of)
    }

    /// Puts a bundle into the book as it is now, or takes it out when nothing of it is left here.
    fn book_bundle(&mut self, turn: &mut Turn<'_>, bundle: &OrderKey) {
        let members: Vec<OrderKey> = self.members(bundle).map(|booked| booked.order.clone()).collect();
        if members.is_empty() {
            if let Some(gone) = self.bundles.remove(bundle) {
                turn.remove(BUNDLES_AT, self.at.key_of(&bundle.to_string()));
                self.append(turn, gone.drops().collect());
            }
            return;
        }
        let above = members.iter().filter_map(|order| self.booked.get(order));
        let above = above.flat_map(|booked| booked.grants().map(|grant| grant.generation()).chain(booked.told)).max();
        let Some(at) = self.bundles.get_mut(bundle) else { return };
        let before = if at.is_complete() { at.gone.take() } else { None };
        at.generation = self.progress.above(above.max(Some(at.generation))).unwrap_or_default();
        turn.put(BUNDLES_AT, self.at.key_of(&bundle.to_string()), at);
        if !at.is_complete() {
            return turn.want(Job::Secrets(self.at.clone()));
        }
        let mut changes = self.bundle_changes(bundle);
        changes.extend(before.into_iter().flatten().map(|id| DropCredential { id }.into()));
        let version = self.append(turn, changes);
        for order in members {
            let Some(bundled) = self.booked.get_mut(&order).and_then(|booked| booked.bundled.as_mut()) else {
                continue;
            };
            if bundled.version == 0 {
                bundled.version = version;
                self.put_booked(turn, &order);
            }
        }
    }

    fn bundle_changes(&self, bundle: &OrderKey) -> Vec<BookChange> {
        let members: Vec<&Booked> = self.members(bundle).collect();
        self.bundles.get(bundle).map(|at| at.changes(&members)).unwrap_or_default()
    }

    /// For a whole book. Behind the orders, of which some say that they are not in a bundle any more.
    pub(super) fn all_bundle_changes(&self) -> Vec<BookChange> {
        self.bundles.keys().flat_map(|bundle| self.bundle_changes(bundle)).collect()
    }

    pub(super) fn bundle_secrets(&self) -> impl Iterator<Item = &Credential> {
        self.bundles.values().flat_map(|at| &at.credentials)
    }

    /// Takes the verifier of a bundle's secret; true where it was one.
    pub(super) fn bundle_derived(&mut self, turn: &mut Turn<'_>, made: &SecretMade, pepper: u32) -> bool {
        let of = |at: &&mut BundleAt| at.credentials.iter().any(|one| one.id == made.id);
        if !self.bundle_secrets().any(|one| one.id == made.id) {
            return false;
        }
        let taken = self.is_taken(made);
        let Some(at) = self.bundles.values_mut().find(of) else { return false };
        if taken {
            // The same at every cabinet, so it cannot be made anew for this one; the other of the two works.
            turn.alarm_of(&self.at, format!("cabinet {}: another code there is that of bundle {}", self.at, at.bundle));
            at.credentials.retain(|one| one.id != made.id);
        }
        for one in at.credentials.iter_mut().filter(|one| one.id == made.id) {
            (one.verifier, one.pepper) = (Some(made.verifier), pepper);
        }
        let bundle = at.bundle.clone();
        turn.put(BUNDLES_AT, self.at.key_of(&bundle.to_string()), at);
        if at.is_complete() {
            self.book_bundle(turn, &bundle);
        }
        true
    }

    /// The cabinet has another pepper. What it was told of bundles has to be told anew.
    pub(super) fn forget_bundle_verifiers(&mut self, turn: &mut Turn<'_>) {
        for (bundle, at) in &mut self.bundles {
            at.credentials.iter_mut().for_each(|one| one.verifier = None);
            turn.put(BUNDLES_AT, self.at.key_of(&bundle.to_string()), at);
        }
        self.each_not_held(turn, |bundled| bundled.version = 0);
    }

    /// A whole book of this version has what its cabinet did not confirm yet.
    pub(super) fn bundles_in_whole_book(&mut self, turn: &mut Turn<'_>, version: u64) {
        self.each_not_held(turn, |bundled| {
            if bundled.version > 0 {
                bundled.version = version;
            }
        });
    }

    fn each_not_held(&mut self, turn: &mut Turn<'_>, mut change: impl FnMut(&mut Bundled)) {
        let waits = |booked: &&Booked| booked.bundled.as_ref().is_some_and(|bundled| !bundled.held);
        let waiting: Vec<OrderKey> = self.booked.values().filter(waits).map(|booked| booked.order.clone()).collect();
        for order in waiting {
            if let Some(bundled) = self.booked.get_mut(&order).and_then(|booked| booked.bundled.as_mut()) {
                change(bundled);
                self.put_booked(turn, &order);
            }
        }
    }

    /// The cabinet holds this version of the book: orders whose door the bundle's credential opens now hear of it, and their
    /// own codes are over.
    pub(super) fn bundles_held(&mut self, turn: &mut Turn<'_>, version: u64) {
        let newly = |booked: &&Booked| {
            let bundled = booked.bundled.as_ref();
            bundled.is_some_and(|bundled| !bundled.held && (1..=version).contains(&bundled.version))
        };
        let held: Vec<OrderKey> = self.booked.values().filter(newly).map(|booked| booked.order.clone()).collect();
        for order in held {
            let Some(booked) = self.booked.get_mut(&order) else { continue };
            booked.withdraw();
            if let Some(bundled) = &mut booked.bundled {
                bundled.held = true;
            }
            self.put_booked(turn, &order);
            self.tell_gathered(turn, &order);
        }
    }

    fn tell_gathered(&self, turn: &mut Turn<'_>, order: &OrderKey) {
        let place = self.registration.place.clone();
        turn.send(Intent::to_order(&self.at, order, Gathered { place }));
    }
}
