//! The book in force: what may be loaded, which secrets open what, who is staff.

use std::collections::{BTreeMap, BTreeSet};

use schemas::cbor::Blob;
use schemas::crypto::codes::{DIGITS_MAX, DIGITS_MIN, LETTERS_MAX, LETTERS_MIN, at_rest};
use schemas::ids::Name;
use schemas::messages::{
    BUNDLE_ORDERS_MAX, Book, BookChange, CredentialId, CredentialKind, Factor, FleetMillis, OrderKey, PARTS_MAX,
    PartOf, PutCourier, PutCredential, PutDeposit, PutGuarded, PutOrder, PutStaff, RefusalReason, Rules, Verifier,
};
use schemas::step::Table;
use serde::Serialize;

use crate::DeviceKey;
use crate::break_glass::Glass;
use crate::records::{
    BOOK_KEY, BookRow, CourierRow, CredentialRow, FactorRow, Life, OrderRow, StaffRow, WalkInRow, WrongAnswersRow,
};
use crate::tables::{COURIERS, CREDENTIALS, META, ORDERS, STAFF, credential_key, order_key, staff_key};
use crate::turn::Turn;

pub const CREDENTIALS_MAX: usize = 2_000;
pub const ORDERS_MAX: usize = 1_000;
/// Orders that staff have begun here and the fleet does not know yet.
pub const WALK_INS_MAX: usize = 100;
pub const STAFF_MAX: usize = 200;
pub const COURIERS_MAX: usize = 200;
/// Credentials that are over and still known, so that their holder is told the truth instead of "wrong".
pub const TOMBSTONES_MAX: usize = 1_000;
const DIGITS_DEFAULT: u8 = 8;

#[derive(Clone)]
pub(crate) struct HeldBook {
    version: u64,
    code_digits: u8,
    code_letters: Option<u8>,
    pub(crate) glass: Glass,
    pub(crate) orders: BTreeMap<OrderKey, OrderRow>,
    credentials: BTreeMap<CredentialId, CredentialRow>,
    staff: BTreeMap<Name, StaffRow>,
    couriers: BTreeMap<Name, CourierRow>,
    by_secret: BTreeMap<Vec<u8>, CredentialId>,
}

/// Under what verifiers of a book are valid and kept.
pub(crate) struct Binding<'a> {
    pub(crate) device_key: &'a DeviceKey,
    pub(crate) pepper: u32,
    /// Orders that are in a compartment.
    pub(crate) inside: BTreeSet<OrderKey>,
}

impl HeldBook {
    pub(crate) fn open(
        row: Option<BookRow>,
        orders: BTreeMap<OrderKey, OrderRow>,
        credentials: BTreeMap<CredentialId, CredentialRow>,
        staff: BTreeMap<Name, StaffRow>,
        couriers: BTreeMap<Name, CourierRow>,
    ) -> Self {
        let none = BookRow { version: 0, code_digits: DIGITS_DEFAULT, glass: None, broken: None, code_letters: None };
        let row = row.unwrap_or(none);
        let mut book = Self {
            version: row.version,
            code_digits: row.code_digits,
            code_letters: row.code_letters,
            glass: Glass::open(row.glass, row.broken),
            orders,
            credentials,
            staff,
            couriers,
            by_secret: BTreeMap::new(),
        };
        book.index();
        book
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn code_digits(&self) -> u8 {
        self.code_digits
    }

    /// Letters of a new code, where codes are of letters.
    pub(crate) fn code_letters(&self) -> Option<u8> {
        self.code_letters
    }

    /// Whether a code of this kind opens something: those that were made before the fleet chose another form work on.
    pub(crate) fn has_live(&self, kind: CredentialKind) -> bool {
        self.credentials.values().any(|row| row.life == Life::Live && row.kind == kind)
    }

    pub(crate) fn credential(&self, id: &CredentialId) -> Option<&CredentialRow> {
        self.credentials.get(id)
    }

    /// Those by which the order is collected, or was.
    pub(crate) fn credentials_of(&self, order: &OrderKey) -> impl Iterator<Item = &CredentialRow> {
        let held = self.credentials.values().filter(|row| !row.is_deposit());
        held.filter(|row| row.orders.contains(order))
    }

    pub(crate) fn credentials(&self) -> usize {
        self.credentials.len()
    }

    pub(crate) fn staff(&self) -> usize {
        self.staff.len()
    }

    /// The credential of a typed or scanned secret. The search is over HMACs under the device key: its timing depends
    /// on bytes that nobody outside can choose or predict, so it tells a guesser nothing about a verifier.
    pub(crate) fn find(
        &self,
        device_key: &DeviceKey,
        verifier: &Verifier,
        kind: CredentialKind,
    ) -> Option<CredentialId> {
        let id = self.by_secret.get(at_rest(&device_key.0, verifier).as_slice())?;
        self.credentials.get(id).filter(|row| row.kind == kind).map(|_| *id)
    }

    /// As [`Self::find`], for the PINs of staff, which are typed, and their badges, which are scanned.
    pub(crate) fn find_staff(
        &self,
        device_key: &DeviceKey,
        verifier: &Verifier,
        kind: CredentialKind,
    ) -> Option<(Name, Option<FleetMillis>)> {
        let wanted = at_rest(&device_key.0, verifier);
        let held = |row: &StaffRow| match kind {
            CredentialKind::Digits => row.at_rest.0 == wanted,
            CredentialKind::Letters => false,
            CredentialKind::Qr => row.badge.as_ref().is_some_and(|badge| badge.0 == wanted),
        };
        self.staff.iter().find(|(_, row)| held(row)).map(|(name, row)| (name.clone(), row.until))
    }

    /// Whether the name is one of staff, and until when.
    pub(crate) fn staff_until(&self, name: &Name) -> Option<Option<FleetMillis>> {
        self.staff.get(name).map(|row| row.until)
    }

    /// As [`Self::find_staff`], of those who only put in.
    pub(crate) fn find_courier(
        &self,
        device_key: &DeviceKey,
        verifier: &Verifier,
        kind: CredentialKind,
    ) -> Option<Name> {
        let wanted = at_rest(&device_key.0, verifier);
        let held = |row: &CourierRow| match kind {
            CredentialKind::Digits => row.at_rest.0 == wanted,
            CredentialKind::Letters => false,
            CredentialKind::Qr => row.badge.as_ref().is_some_and(|badge| badge.0 == wanted),
        };
        self.couriers.iter().find(|(_, row)| held(row)).map(|(name, _)| name.clone())
    }

    pub(crate) fn courier(&self, name: &Name) -> Option<&CourierRow> {
        self.couriers.get(name)
    }

    /// The courier who began this order here, as long as it is not over.
    pub(crate) fn courier_of(&self, order: &OrderKey) -> Option<&Name> {
        let row = self.orders.get(order).filter(|row| !row.over && row.missing != Some(true));
        row?.walk_in.as_ref()?.courier.as_ref()
    }

    /// Takes a change set, whole or not at all, and writes what differs. What compartments hold is not the book's.
    pub(crate) fn apply(&mut self, turn: &mut Turn, change: Book, binding: &Binding<'_>) -> Result<(), RefusalReason> {
        if change.version <= self.version {
            return Err(RefusalReason::OldVersion);
        }
        if change.base != 0 && change.base != self.version {
            return Err(RefusalReason::WrongBase);
        }
        let mut next = self.clone();
        if change.base == 0 {
            next.forget(&change, &binding.inside);
        }
        next.version = change.version;
        for item in change.changes {
            next.take(item, binding)?;
        }
        next.bury();
        next.check()?;
        next.index();
        self.write_difference(&next, turn);
        *self = next;
        Ok(())
    }

    /// A snapshot: all that it does not put again is gone. Credentials stay known as revoked, and that an order of it
    /// is over stays known too: the fleet may have written the snapshot before it heard of the collection.
    ///
    /// What is in a compartment is the cabinet's fact: such an order and its credentials stay unless the snapshot says
    /// something about them. A fleet that was restored from a backup does not know them yet. Nor does any fleet know an
    /// order that staff have just begun here.
    fn forget(&mut self, snapshot: &Book, inside: &BTreeSet<OrderKey>) {
        let put: BTreeSet<_> = snapshot
            .changes
            .iter()
            .filter_map(|change| match change {
                BookChange::PutOrder(put) => Some(&put.order),
                BookChange::DropOrder(_)
                | BookChange::PutCredential(_)
                | BookChange::DropCredential(_)
                | BookChange::PutStaff(_)
                | BookChange::DropStaff(_)
                | BookChange::PutCourier(_)
                | BookChange::DropCourier(_)
                | BookChange::Rules(_)
                | BookChange::PutDeposit(_)
                | BookChange::PutGuarded(_) => None,
            })
            .collect();
        self.orders.retain(|order, row| put.contains(order) || inside.contains(order) || row.is_own());
        self.staff.clear();
        self.couriers.clear();
        self.code_digits = DIGITS_DEFAULT;
        self.code_letters = None;
        self.glass.drop_held();
        let ids: Vec<_> = self.credentials.keys().copied().collect();
        for id in ids {
            let Some(row) = self.credentials.get_mut(&id) else { continue };
            if row.life == Life::Live && row.orders.iter().any(|order| inside.contains(order)) {
                row.orders.retain(|order| inside.contains(order));
            } else {
                self.revoke(&id, snapshot.version);
            }
        }
    }

    fn take(&mut self, change: BookChange, binding: &Binding<'_>) -> Result<(), RefusalReason> {
        match change {
            BookChange::PutOrder(put) => return self.put_order(put),
            BookChange::DropOrder(drop) => {
                self.orders.remove(&drop.order);
            }
            BookChange::PutCredential(put) => return self.put_credential(put, Opens::Collect(None), binding),
            BookChange::PutDeposit(put) => return self.put_credential(as_credential(put), Opens::Deposit, binding),
            BookChange::PutGuarded(PutGuarded { credential, guarded, factor }) => {
                let of_one = credential.orders.len() == 1 && credential.rights.is_none();
                let fits = factor.is_none() || of_one;
                if !fits || guarded.is_empty() || guarded.iter().any(|order| !credential.orders.contains(order)) {
                    return Err(RefusalReason::Malformed);
                }
                let guard = Guard { orders: guarded, factor };
                return self.put_credential(credential, Opens::Collect(Some(guard)), binding);
            }
            BookChange::DropCredential(drop) => self.revoke(&drop.id, self.version),
            BookChange::PutStaff(put) => return self.put_staff(put, binding),
            BookChange::DropStaff(drop) => {
                self.staff.remove(&drop.name);
            }
            BookChange::PutCourier(put) => return self.put_courier(put, binding),
            BookChange::DropCourier(drop) => {
                self.couriers.remove(&drop.name);
            }
            BookChange::Rules(rules) => return self.put_rules(rules, binding),
        }
        Ok(())
    }

    fn put_rules(&mut self, rules: Rules, binding: &Binding<'_>) -> Result<(), RefusalReason> {
        let letters = rules.code_letters.is_none_or(|letters| (LETTERS_MIN..=LETTERS_MAX).contains(&letters));
        if !(letters && (DIGITS_MIN..=DIGITS_MAX).contains(&rules.code_digits)) {
            return Err(RefusalReason::Malformed);
        }
        (self.code_digits, self.code_letters) = (rules.code_digits, rules.code_letters);
        self.glass.put(rules.break_glass, binding)
    }

    fn put_order(&mut self, put: PutOrder) -> Result<(), RefusalReason> {
        let is_one_of = |part: &PartOf| {
            part.number >= 1 && part.number <= part.of && usize::try_from(part.of).is_ok_and(|of| of <= PARTS_MAX)
        };
        if !put.part.as_ref().is_none_or(is_one_of) {
            return Err(RefusalReason::Malformed);
        }
        let held = self.orders.get(&put.order);
        let row = OrderRow {
            size: put.size,
            category: put.category,
            wants: put.wants,
            reserved: put.reserved,
            over: held.is_some_and(|held| held.over),
            missing: held.and_then(|held| held.missing),
            take_back: put.take_back,
            walk_in: held.and_then(|held| held.walk_in.clone()).map(|own| WalkInRow { known: true, ..own }),
            deposit: put.deposit,
            part: put.part,
            wrong_answers: held.and_then(|held| held.wrong_answers.clone()),
            shares: put.shares,
        };
        self.orders.insert(put.order, row);
        Ok(())
    }

    /// Generations of deposit codes are counted apart, so neither kind outdates the other.
    fn put_credential(&mut self, put: PutCredential, opens: Opens, binding: &Binding<'_>) -> Result<(), RefusalReason> {
        let (deposit, guard) = match opens {
            Opens::Collect(guard) => (false, guard),
            Opens::Deposit => (true, None),
        };
        // A verifier of another pepper can match nothing that is typed here. The whole book is refused, because the
        // fleet announces a code once its book is applied.
        if put.pepper != binding.pepper {
            return Err(RefusalReason::WrongBase);
        }
        let rights = put.rights.as_ref().map(|rights| rights.iter().map(|right| &right.order));
        let each_has_one = rights.is_none_or(|rights| rights.eq(&put.orders));
        if put.orders.is_empty() || put.orders.len() > BUNDLE_ORDERS_MAX || !each_has_one {
            return Err(RefusalReason::Malformed);
        }
        let held = self.credentials.get(&put.id);
        let opened = held.and_then(|held| held.opened.clone());
        // Put again, it does not get back what it has opened already; a bundle may have got one more order since.
        let done = held.is_some_and(|held| held.life == Life::Used);
        let mut orders = put.orders;
        orders.retain(|order| !done || self.orders.contains_key(order));
        orders.retain(|order| self.newest_generation(order, deposit).is_none_or(|newest| newest <= put.generation));
        let outdated = !done && orders.is_empty();
        orders.retain(|order| !self.orders.get(order).is_some_and(|row| row.over));
        self.outdate(&orders, put.generation, deposit);
        for order in &orders {
            // Its code is made, so the fleet knows whom to tell.
            if let Some(row) = self.orders.get_mut(order) {
                row.forget_phone();
            }
        }
        let life = match (outdated, orders.is_empty()) {
            (true, _) => Life::Revoked,
            (false, true) => Life::Used,
            (false, false) => Life::Live,
        };
        let held = |verifier: &Verifier| Blob(at_rest(&binding.device_key.0, verifier).to_vec());
        let (guarded, factor) = guard.map(|guard| (guard.orders, guard.factor)).unzip();
        let factor = factor.flatten().map(|factor| FactorRow {
            prompt: factor.prompt,
            at_rest: held(&factor.verifier),
            release: factor.release,
        });
        let mut row = CredentialRow {
            kind: put.kind,
            at_rest: held(&put.verifier),
            orders,
            generation: put.generation,
            expires: put.expires,
            needs_time: put.needs_time,
            life,
            book: self.version,
            rights: put.rights,
            deposit: deposit.then_some(true),
            opened,
            guarded,
            factor,
        };
        self.succeed(&put.id, &mut row);
        self.credentials.insert(put.id, row);
        Ok(())
    }

    /// The credential of a bundle that comes under another id takes the place of the one with its secret, and opens what only
    /// that one opens: a restored fleet makes the old secret known anew, for those of its orders that it has heard of.
    fn succeed(&mut self, id: &CredentialId, row: &mut CredentialRow) {
        let is_of_bundle = |row: &CredentialRow| row.life == Life::Live && row.rights.is_some();
        if !is_of_bundle(row) {
            return;
        }
        let is_same = |(other, held): &(&CredentialId, &mut CredentialRow)| {
            *other != id && is_of_bundle(held) && held.at_rest == row.at_rest
        };
        let Some((_, held)) = self.credentials.iter_mut().find(is_same) else { return };
        let orders = std::mem::take(&mut held.orders);
        (held.life, held.book) = (Life::Revoked, self.version);
        for order in orders.into_iter().filter(|order| !row.orders.contains(order)).collect::<Vec<_>>() {
            let right = held.rights.iter().flatten().find(|right| right.order == order).cloned();
            let rights = row.rights.get_or_insert_default();
            rights.retain(|right| right.order != order);
            rights.extend(right);
            if held.is_guarded(&order) && !row.is_guarded(&order) {
                row.guarded.get_or_insert_default().push(order.clone());
            }
            row.orders.push(order);
        }
        row.generation = row.generation.max(held.generation);
    }

    fn newest_generation(&self, order: &OrderKey, deposit: bool) -> Option<u32> {
        let of_kind = self.credentials.values().filter(|row| row.is_deposit() == deposit);
        let live = of_kind.filter(|row| row.life == Life::Live && row.orders.contains(order));
        live.map(|row| row.generation).max()
    }

    /// Older generations lose these orders. The same generation keeps them: digits and QR code of one order.
    fn outdate(&mut self, orders: &[OrderKey], generation: u32, deposit: bool) {
        let of_kind = self.credentials.values_mut().filter(|row| row.is_deposit() == deposit);
        for row in of_kind.filter(|row| row.generation < generation && row.life == Life::Live) {
            row.orders.retain(|order| !orders.contains(order));
            if row.orders.is_empty() {
                row.life = Life::Revoked;
                row.book = self.version;
            }
        }
    }

    fn revoke(&mut self, id: &CredentialId, version: u64) {
        if let Some(row) = self.credentials.get_mut(id) {
            row.orders.clear();
            if row.life == Life::Live {
                row.life = Life::Revoked;
                row.book = version;
            }
        }
    }

    fn put_staff(&mut self, put: PutStaff, binding: &Binding<'_>) -> Result<(), RefusalReason> {
        if put.pepper != binding.pepper {
            return Err(RefusalReason::WrongBase);
        }
        let held = |verifier| Blob(at_rest(&binding.device_key.0, verifier).to_vec());
        let row = StaffRow { at_rest: held(&put.verifier), until: put.until, badge: put.badge.as_ref().map(held) };
        self.staff.insert(put.name, row);
        Ok(())
    }

    fn put_courier(&mut self, put: PutCourier, binding: &Binding<'_>) -> Result<(), RefusalReason> {
        if put.pepper != binding.pepper {
            return Err(RefusalReason::WrongBase);
        }
        let held = |verifier| Blob(at_rest(&binding.device_key.0, verifier).to_vec());
        let (at_rest, badge) = (held(&put.verifier), put.badge.as_ref().map(held));
        self.couriers.insert(put.name, CourierRow { id: put.id, at_rest, until: put.until, badge });
        Ok(())
    }

    /// Forgets the oldest credentials that are over.
    fn bury(&mut self) {
        let mut over: Vec<_> = self
            .credentials
            .iter()
            .filter(|(_, row)| row.life != Life::Live)
            .map(|(id, row)| (row.book, *id))
            .collect();
        over.sort_unstable();
        let surplus = over.len().saturating_sub(TOMBSTONES_MAX);
        for (_, id) in over.into_iter().take(surplus) {
            self.credentials.remove(&id);
        }
    }

    /// Bounds, and that a secret means one credential: two with one code would open a wrong door.
    fn check(&self) -> Result<(), RefusalReason> {
        let live: Vec<_> = self.credentials.values().filter(|row| row.life == Life::Live).collect();
        let secrets: BTreeSet<_> = live.iter().map(|row| &row.at_rest.0).collect();
        // No PIN of a courier lets in staff, whatever keypad it is typed at.
        let couriers = self.couriers.values();
        let pins = self.staff.values().map(|row| &row.at_rest.0);
        let pins: BTreeSet<_> = pins.chain(couriers.clone().map(|row| &row.at_rest.0)).collect();
        let badges = self.staff.values().filter_map(|row| row.badge.as_ref());
        let badges: Vec<_> = badges.chain(couriers.clone().filter_map(|row| row.badge.as_ref())).collect();
        let ids: BTreeSet<_> = couriers.map(|row| row.id).collect();
        let sound = live.len() <= CREDENTIALS_MAX
            && self.orders.keys().filter(|order| !order.is_walk_in()).count() <= ORDERS_MAX
            && self.orders.len() <= ORDERS_MAX + WALK_INS_MAX
            && self.staff.len() <= STAFF_MAX
            && secrets.len() == live.len()
            && self.couriers.len() <= COURIERS_MAX
            && ids.len() == self.couriers.len()
            && pins.len() == self.staff.len() + self.couriers.len()
            && badges.iter().collect::<BTreeSet<_>>().len() == badges.len();
        if sound { Ok(()) } else { Err(RefusalReason::Malformed) }
    }

    /// A live credential hides an older one with the same secret.
    fn index(&mut self) {
        let rank = |row: &CredentialRow| (row.life == Life::Live, row.book);
        let mut by_secret: BTreeMap<Vec<u8>, CredentialId> = BTreeMap::new();
        for (id, row) in &self.credentials {
            let hidden = by_secret.get(&row.at_rest.0).and_then(|other| self.credentials.get(other));
            if hidden.is_none_or(|other| rank(other) < rank(row)) {
                by_secret.insert(row.at_rest.0.clone(), *id);
            }
        }
        self.by_secret = by_secret;
    }

    fn write_difference(&self, next: &Self, turn: &mut Turn) {
        write_difference(&self.orders, &next.orders, turn, ORDERS, order_key);
        write_difference(&self.credentials, &next.credentials, turn, CREDENTIALS, credential_key);
        write_difference(&self.staff, &next.staff, turn, STAFF, staff_key);
        write_difference(&self.couriers, &next.couriers, turn, COURIERS, staff_key);
        next.save_row(turn);
    }

    /// Writes what the book has besides orders, credentials and staff.
    pub(crate) fn save_row(&self, turn: &mut Turn) {
        let (glass, broken) = self.glass.rows();
        let Self { version, code_digits, code_letters, .. } = *self;
        turn.put(META, BOOK_KEY, &BookRow { version, code_digits, glass, broken, code_letters });
    }

    pub(crate) fn put_own(&mut self, turn: &mut Turn, order: OrderKey, row: OrderRow) {
        turn.put(ORDERS, order_key(&order), &row);
        self.orders.insert(order, row);
    }

    pub(crate) fn drop_own(&mut self, turn: &mut Turn, order: &OrderKey) {
        if self.orders.remove(order).is_some() {
            turn.remove(ORDERS, order_key(order));
        }
    }

    /// Whether one more order can be begun here, and the next book still fits.
    pub(crate) fn takes_own(&self) -> bool {
        let own = self.orders.values().filter(|row| row.is_own()).count();
        own < WALK_INS_MAX && self.orders.len() < ORDERS_MAX
    }

    /// Compared under the device key, as codes are.
    pub(crate) fn is_answer(&self, device_key: &DeviceKey, factor: &FactorRow, verifier: &Verifier) -> bool {
        factor.at_rest.0 == at_rest(&device_key.0, verifier)
    }

    /// How often somebody has answered wrongly what this order asks for now.
    pub(crate) fn wrong_answers(&self, order: &OrderKey, factor: &FactorRow) -> u32 {
        let wrong = self.orders.get(order).and_then(|row| row.wrong_answers.as_ref());
        wrong.filter(|wrong| wrong.at_rest == factor.at_rest).map_or(0, |wrong| wrong.count)
    }

    /// One more; returns how many there are.
    pub(crate) fn count_wrong_answer(&mut self, turn: &mut Turn, order: &OrderKey, factor: &FactorRow) -> u32 {
        let count = self.wrong_answers(order, factor).saturating_add(1);
        if let Some(row) = self.orders.get_mut(order) {
            row.wrong_answers = Some(WrongAnswersRow { at_rest: factor.at_rest.clone(), count });
            turn.put(ORDERS, order_key(order), row);
        }
        count
    }

    pub(crate) fn is_missing(&self, order: &OrderKey) -> bool {
        self.orders.get(order).is_some_and(|row| row.missing == Some(true))
    }

    /// Staff found its compartment empty, or have loaded it again.
    pub(crate) fn set_missing(&mut self, turn: &mut Turn, order: &OrderKey, missing: bool) {
        if let Some(row) = self.orders.get_mut(order).filter(|row| (row.missing == Some(true)) != missing) {
            row.missing = missing.then_some(true);
            turn.put(ORDERS, order_key(order), row);
        }
    }

    /// The order is inside: whoever was to put it in opens nothing more.
    pub(crate) fn end_deposits(&mut self, turn: &mut Turn, order: &OrderKey) {
        for (id, row) in &mut self.credentials {
            if row.is_deposit() && row.orders.contains(order) {
                row.orders.clear();
                row.life = Life::Used;
                turn.put(CREDENTIALS, credential_key(id), row);
            }
        }
    }

    /// The order was collected or retrieved: no credential opens it again, not even shortly after its door was closed
    /// (product.md, acceptance 2). Who has left something behind needs staff. While the door stands open, the content of
    /// the compartment says the same, so a credential is used up from the moment its door was seen open.
    pub(crate) fn end_order(&mut self, turn: &mut Turn, order: &OrderKey, life: Life) {
        for (id, row) in self.credentials.iter_mut().filter(|(_, row)| row.orders.contains(order)) {
            row.orders.retain(|other| other != order);
            if row.orders.is_empty() {
                row.life = life;
            }
            if life == Life::Used {
                row.opened = Some(order.clone());
            }
            turn.put(CREDENTIALS, credential_key(id), row);
        }
        if let Some(row) = self.orders.get_mut(order) {
            row.over = true;
            row.forget_phone();
            turn.put(ORDERS, order_key(order), row);
        }
    }
}

/// What a credential is for.
enum Opens {
    /// What is inside; what is guarded not by itself.
    Collect(Option<Guard>),
    Deposit,
}

struct Guard {
    orders: Vec<OrderKey>,
    factor: Option<Factor>,
}

fn as_credential(put: PutDeposit) -> PutCredential {
    let PutDeposit { id, kind, verifier, order, generation, expires, pepper } = put;
    let (orders, needs_time) = (vec![order], false);
    PutCredential { id, kind, verifier, orders, generation, expires, needs_time, pepper, rights: None }
}

fn write_difference<K: Ord, V: PartialEq + Serialize>(
    held: &BTreeMap<K, V>,
    next: &BTreeMap<K, V>,
    turn: &mut Turn,
    table: Table,
    key: fn(&K) -> Vec<u8>,
) {
    for gone in held.keys().filter(|id| !next.contains_key(id)) {
        turn.remove(table, key(gone));
    }
    for (id, row) in next.iter().filter(|(id, row)| held.get(id) != Some(row)) {
        turn.put(table, key(id), row);
    }
}
