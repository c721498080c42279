//! Orders that staff begin at the screen with a phone number, because no backend has announced them.
//!
//! The number lies on disk under the device key, and goes out sealed to the key of the pepper: of those who carry or store
//! the event nobody reads it. It is kept until the fleet has made a code for the order, so that it can be sealed again when
//! that key is replaced while the cabinet is away.

use schemas::cbor::{self, Blob};
use schemas::crypto::{rest, seal};
use schemas::ids::{Name, ORDER_ID_MAX, OrderId};
use schemas::messages::{Attributes, Category, Compartment, OrderKey, Size, WalkIn, WalkInDropped};
use schemas::phone::Phone;

use crate::core::CabinetCore;
use crate::records::{OrderRow, WalkInRow};
use crate::turn::Turn;
use crate::{ScreenNote, SessionId, StaffRefusal};

/// Without those that are read for one another.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 50 bits: no two cabinets of a tenant ever make the same name, whatever their staff type.
const TAIL: usize = 10;

/// What staff enter. What is left out of `wants` is not needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWalkIn {
    pub phone: Phone,
    /// What the order is called on its slip; its first letters become the beginning of its id.
    pub reference: Option<OrderId>,
    pub size: Size,
    pub category: Category,
    pub wants: Attributes,
}

impl CabinetCore {
    pub(crate) fn handle_walk_in(&mut self, turn: &mut Turn, session: SessionId, new: NewWalkIn) {
        if let Err(reason) = self.begin_walk_in(turn, session, new) {
            turn.note(ScreenNote::StaffRefused { session, reason });
        }
    }

    /// One step: the order, its number and the taken compartment are on disk together, or not at all.
    fn begin_walk_in(&mut self, turn: &mut Turn, session: SessionId, new: NewWalkIn) -> Result<(), StaffRefusal> {
        let staff = self.staff(session, turn.now)?;
        let (order, compartment) = self.take_walk_in(turn, staff.clone(), None, new)?;
        self.begin_load(turn, session, staff, &order, compartment);
        Ok(())
    }

    /// Takes an order that somebody begins here, and finds the compartment for it.
    pub(crate) fn take_walk_in(
        &mut self,
        turn: &mut Turn,
        staff: Name,
        courier: Option<Name>,
        new: NewWalkIn,
    ) -> Result<(OrderKey, Compartment), StaffRefusal> {
        if self.disk_low {
            return Err(StaffRefusal::DiskFull);
        }
        if !self.book.takes_own() {
            return Err(StaffRefusal::TooMany);
        }
        let NewWalkIn { phone, reference, size, category, wants } = new;
        let order = new_key(turn, reference.as_ref());
        let nonce = turn.draws.bytes();
        let protected = rest::protect(&self.config.device_key.0, &label(&order), nonce, phone.reveal().as_bytes());
        let own = WalkInRow { staff, phone: Some(Blob(protected)), known: false, courier };
        let row = OrderRow {
            size,
            category,
            wants,
            reserved: None,
            deposit: None,
            part: None,
            over: false,
            missing: None,
            take_back: None,
            walk_in: Some(own.clone()),
            wrong_answers: None,
            shares: None,
        };
        let compartment = self.place(&order, &row, None)?;
        let fact = self.walk_in_fact(turn, &order, &row, &phone, &own).ok_or(StaffRefusal::NeverOnline)?;
        self.book.put_own(turn, order.clone(), row);
        self.record(turn, fact);
        Ok((order, compartment))
    }

    /// `None` where no key is known to seal the number to.
    fn walk_in_fact(
        &self,
        turn: &mut Turn,
        order: &OrderKey,
        row: &OrderRow,
        phone: &Phone,
        own: &WalkInRow,
    ) -> Option<WalkIn> {
        let key = self.keys.pepper_key()?;
        let config = &self.config;
        let aad = seal::phone_aad(&config.tenant, &config.cabinet, config.instance, order);
        let entropy = seal::Entropy { ephemeral: turn.draws.secret_key(), nonce: turn.draws.bytes() };
        let sealed = seal::seal(phone.reveal().as_bytes(), &key, &aad, &entropy).ok()?;
        let OrderRow { size, category, wants, .. } = *row;
        let WalkInRow { staff, courier, .. } = own.clone();
        Some(WalkIn { order: order.clone(), size, category, wants, phone: Blob(sealed), staff, courier })
    }

    /// The key to which numbers are sealed is another one: whoever had the old one may be gone.
    pub(crate) fn seal_walk_ins_again(&mut self, turn: &mut Turn) {
        let facts: Vec<_> = self
            .book
            .orders
            .iter()
            .filter_map(|(order, row)| {
                let own = row.walk_in.as_ref()?;
                let phone = self.phone_of(order, own.phone.as_ref()?)?;
                self.walk_in_fact(turn, order, row, &phone, own)
            })
            .collect();
        facts.into_iter().for_each(|fact| self.record(turn, fact));
    }

    fn phone_of(&self, order: &OrderKey, protected: &Blob) -> Option<Phone> {
        let plain = rest::unprotect(&self.config.device_key.0, &label(order), &protected.0).ok()?;
        Phone::parse(std::str::from_utf8(&plain).ok()?).ok()
    }

    pub(crate) fn handle_drop_walk_in(&mut self, turn: &mut Turn, session: SessionId, order: &OrderKey) {
        let dropped = self.staff(session, turn.now).and_then(|staff| {
            let row = self.book.orders.get(order).filter(|row| order.is_walk_in() && !row.over);
            row.ok_or(StaffRefusal::UnknownOrder)?;
            if self.compartment_of(order).is_some() { Err(StaffRefusal::AlreadyHere) } else { Ok(staff) }
        });
        match dropped {
            Err(reason) => turn.note(ScreenNote::StaffRefused { session, reason }),
            Ok(staff) => {
                self.book.drop_own(turn, order);
                self.record(turn, WalkInDropped { order: order.clone(), staff, courier: None });
            }
        }
    }
}

fn label(order: &OrderKey) -> Vec<u8> {
    cbor::encode(&("locker-fleet/1 walk-in phone", order))
}

/// `walk-in/<reference>-<random>`, or `walk-in/<random>`.
fn new_key(turn: &mut Turn, reference: Option<&OrderId>) -> OrderKey {
    let random: [u8; TAIL] = turn.draws.bytes();
    let tail: String = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    let room = ORDER_ID_MAX - TAIL - 1;
    let id = match reference {
        Some(reference) => format!("{}-{tail}", reference.as_str().get(..room).unwrap_or(reference.as_str())),
        None => tail,
    };
    let id = OrderId::new(&id).unwrap_or_else(|error| unreachable!("letters and digits make an order id: {error}"));
    OrderKey::walk_in(id)
}
