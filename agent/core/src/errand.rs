//! Orders that people who are not at the cabinet have loaded and taken out: the rules are those for staff at the screen, with
//! one pulse for each command.

use schemas::ids::{Identity, Name, Role};
use schemas::messages::{
    BY_COMMAND_NAME, Compartment, ConfirmOrder, Errand, ErrandTaken, LoadOrder, OrderKey, RefusalReason,
};

use crate::DoorSeen;
use crate::core::CabinetCore;
use crate::records::{CommandRight, Content, LoadUse, OrderRow, RetrieveUse};
use crate::turn::Turn;

/// Whose commands about orders are taken, whoever has signed them.
const ROLES: [Role; 3] = [Role::Operator, Role::Support, Role::Staff];

impl CabinetCore {
    pub(crate) fn load_by_command(
        &mut self,
        turn: &mut Turn,
        by: CommandRight,
        load: LoadOrder,
        not_after: u64,
    ) -> Result<(), RefusalReason> {
        let staff = self.hand_of(&by)?;
        let order = self.part_meant(&load.order, |part| {
            let over = self.book.orders.get(part).is_none_or(|row| row.over);
            !over && self.compartment_of(part).is_none()
        });
        let load = LoadOrder { order, ..load };
        let compartment = self.choose_by_command(&load)?;
        self.accept_errand(turn, &by, &load.order, compartment, Errand::Load);
        let load = LoadUse { staff, order: load.order, by: Some(by) };
        self.take_for_load(turn, compartment, &load);
        self.start_use(turn, compartment, load.into(), not_after, 1);
        Ok(())
    }

    pub(crate) fn retrieve_by_command(
        &mut self,
        turn: &mut Turn,
        by: CommandRight,
        order: OrderKey,
        not_after: u64,
    ) -> Result<(), RefusalReason> {
        let staff = self.hand_of(&by)?;
        let order = self.part_meant(&order, |part| {
            self.compartment_of(part).is_some_and(|at| self.may_be_retrieved(at, part).is_ok())
        });
        self.compartment_of(&order).ok_or(RefusalReason::NotHere)?;
        let compartment = self.held(&order).map_err(|_| RefusalReason::Busy)?;
        self.may_be_retrieved(compartment, &order)?;
        self.accept_errand(turn, &by, &order, compartment, Errand::Retrieve);
        let retrieve = RetrieveUse { staff, order, by: Some(by) };
        self.take_for_retrieval(turn, compartment, &retrieve, false);
        self.start_use(turn, compartment, retrieve.into(), not_after, 1);
        Ok(())
    }

    /// Somebody was told by whoever stands there what is inside.
    pub(crate) fn confirm_by_command(
        &mut self,
        turn: &mut Turn,
        by: &CommandRight,
        word: &ConfirmOrder,
    ) -> Result<(), RefusalReason> {
        let staff = self.hand_of(by)?;
        let order = self.part_meant(&word.order, |part| {
            self.asked_about(&ConfirmOrder { order: part.clone(), ..word.clone() }).is_ok()
        });
        let word = &ConfirmOrder { order, ..word.clone() };
        let compartment = self.asked_about(word)?;
        let errand = if word.inside { Errand::Inside } else { Errand::NotInside };
        self.accept_errand(turn, by, &word.order, compartment, errand);
        // What could be refused was looked at above.
        let _ = self.take_word(turn, staff, compartment, word.inside);
        Ok(())
    }

    /// In whose name goes on what a person of this tenant has asked for who may do so.
    fn hand_of(&self, by: &CommandRight) -> Result<Name, RefusalReason> {
        let who: Identity = by.requester.parse().map_err(|_| RefusalReason::Malformed)?;
        if who.tenant != self.config.tenant || !ROLES.contains(&who.role) {
            return Err(RefusalReason::OutOfScope);
        }
        BY_COMMAND_NAME.parse().map_err(|_| RefusalReason::Malformed)
    }

    /// Whoever is not here, or scans a label, names an order as its label does. Of one in several compartments they mean the
    /// next part that this can be done to.
    pub(crate) fn part_meant(&self, order: &OrderKey, fits: impl Fn(&OrderKey) -> bool) -> OrderKey {
        let of = |row: &OrderRow| row.part.as_ref().filter(|part| part.whole == *order).map(|part| part.number);
        let mut parts: Vec<_> = self.book.orders.iter().filter_map(|(part, row)| Some((of(row)?, part))).collect();
        parts.sort();
        let found = parts.into_iter().map(|(_, part)| part).find(|part| fits(part));
        found.unwrap_or(order).clone()
    }

    /// The id, who asked, and what is done about it are in one step.
    fn accept_errand(
        &mut self,
        turn: &mut Turn,
        by: &CommandRight,
        order: &OrderKey,
        compartment: Compartment,
        errand: Errand,
    ) {
        self.commands.accept(turn, by.id);
        let CommandRight { id, requester, .. } = by.clone();
        self.record(turn, ErrandTaken { id, requester, order: order.clone(), compartment, errand });
    }

    /// An order that is here already stays where it is: whoever is at its door decides about that.
    fn choose_by_command(&self, load: &LoadOrder) -> Result<Compartment, RefusalReason> {
        if load.compartment.is_some() && load.size.is_some() {
            return Err(RefusalReason::Malformed);
        }
        let row = self.book.orders.get(&load.order).ok_or(RefusalReason::NotHere)?;
        if self.compartment_of(&load.order).is_some() {
            return Err(RefusalReason::AlreadyInside);
        }
        if row.over {
            return Err(RefusalReason::Used);
        }
        if self.disk_low {
            return Err(RefusalReason::StorageFailed);
        }
        if let Some(wanted) = load.compartment {
            let bay = self.bays.get(&wanted).ok_or(RefusalReason::UnknownCompartment)?;
            let fits = bay.takes(row.size, row.wants) || self.takes_beside(bay, &load.order, row);
            return fits.then_some(wanted).ok_or(RefusalReason::NoFittingCompartment);
        }
        if let Some(shared) = self.shared_place(&load.order, row).filter(|_| load.size.is_none()) {
            return Ok(shared);
        }
        let size = load.size.map_or(row.size, |wanted| wanted.max(row.size));
        let place = self.place(&load.order, &OrderRow { size, ..row.clone() }, None);
        place.map_err(|_| RefusalReason::NoFittingCompartment)
    }

    /// Behind this door is nothing that its recipient may still come for, as far as the book says.
    fn may_be_retrieved(&self, compartment: Compartment, order: &OrderKey) -> Result<(), RefusalReason> {
        let stored = self.bays.get(&compartment).is_some_and(|bay| matches!(bay.content, Content::Stored(_)));
        let wanted = self.book.orders.get(order).is_some_and(|row| row.take_back.is_none());
        if stored && wanted { Err(RefusalReason::NotToBeRetrieved) } else { Ok(()) }
    }

    /// The compartment about which such a word is waited for.
    fn asked_about(&self, word: &ConfirmOrder) -> Result<Compartment, RefusalReason> {
        let bay = self.compartment_of(&word.order).and_then(|compartment| self.bays.get(&compartment));
        let bay = bay.ok_or(RefusalReason::NotHere)?;
        let asked = match &bay.content {
            _ if bay.content.order() != Some(&word.order) => false,
            Content::Loading(held) => held.opened && !word.retrieving,
            Content::Retrieving(held) => held.opened && word.retrieving,
            Content::Free(_)
            | Content::Stored(_)
            | Content::Collecting(_)
            | Content::Leaving(_)
            | Content::Swapping(_)
            | Content::Depositing(_) => false,
        };
        match bay.seen {
            _ if bay.active.is_some() => Err(RefusalReason::Busy),
            _ if !asked => Err(RefusalReason::NotAsked),
            DoorSeen::Open => Err(RefusalReason::DoorOpen),
            DoorSeen::Closed | DoorSeen::Unknown => Ok(bay.number()),
        }
    }
}
