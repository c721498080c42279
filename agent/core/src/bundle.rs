//! Bundles: one credential for several orders. Each of its doors completes alone, and what its holder leaves inside stays for the
//! next time.

use schemas::messages::{Compartment, NotTaken, Occupancy, OrderKey};

use crate::EntryRefusal;
use crate::bay::Bay;
use crate::core::CabinetCore;
use crate::records::{Collecting, Content, CredentialRow, Stored};
use crate::turn::Turn;

impl CabinetCore {
    /// Whether this right opens this one of its orders now.
    pub(crate) fn right_to(&self, row: &CredentialRow, order: &OrderKey, now: u64) -> Result<(), EntryRefusal> {
        let Some(rights) = &row.rights else { return self.in_time(row.expires, row.needs_time, now) };
        let right = rights.iter().find(|right| right.order == *order).ok_or(EntryRefusal::NotHere)?;
        self.in_time(right.expires, right.needs_time, now)
    }

    /// The holder of a bundle, or of one of several orders, whose door stands open, does not take what is inside.
    pub(crate) fn handle_not_taken(&mut self, turn: &mut Turn, compartment: Compartment) {
        let content = self.bays.get(&compartment).filter(|bay| self.may_stay(bay)).map(|bay| &bay.content);
        if let Some(Content::Collecting(content)) = content.cloned() {
            self.set_content(turn, compartment, Collecting { stays: Some(true), ..content });
        }
    }

    /// Whether whoever opened the door may say that the order stays inside.
    pub(crate) fn may_stay(&self, bay: &Bay) -> bool {
        let Content::Collecting(content) = &bay.content else { return false };
        content.stays != Some(true) && self.comes_again(bay, content)
    }

    /// What is left of a bundle, or of several orders in one compartment, is there for the next time.
    fn comes_again(&self, bay: &Bay, content: &Collecting) -> bool {
        let bundle = self.book.credential(&content.credential).is_some_and(|row| row.rights.is_some());
        bundle || bay.is_shared()
    }

    /// Whether the order is still inside now that its door is closed: by the sensor, or where there is none by the word of
    /// whoever opened it.
    pub(crate) fn has_stayed(&self, bay: &Bay, content: &Collecting) -> bool {
        let said = content.stays == Some(true);
        match bay.occupancy {
            Occupancy::Occupied => self.comes_again(bay, content),
            Occupancy::Unknown => said && self.comes_again(bay, content),
            Occupancy::Empty => false,
        }
    }

    /// It is there for the next time, by the same credential.
    pub(crate) fn not_taken(&mut self, turn: &mut Turn, compartment: Compartment, content: Collecting) {
        let Collecting { order, credential, .. } = content;
        self.set_content(turn, compartment, Stored { order: order.clone() });
        self.record(turn, NotTaken { order, compartment, credential });
    }
}
