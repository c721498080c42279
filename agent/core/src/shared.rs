//! Several orders in one compartment, where each of them says so. They lie together and they go together: whoever opens the
//! door by the right of one takes all of them, so none is opened while another one of them must not be handed out.
//!
//! One of them is the content of the compartment, the one that something is being done with; the others are stored beside it.

use std::collections::BTreeSet;

use schemas::ids::Name;
use schemas::messages::{BY_COMMAND_NAME, Compartment, OrderKey, SHARED_MAX, TakeBack};

use crate::bay::Bay;
use crate::core::CabinetCore;
use crate::records::{Content, CredentialRow, Free, Life, Loading, OrderRow, Stored};
use crate::turn::Turn;
use crate::{DoorSeen, EntryRefusal, ScreenNote};

impl Bay {
    /// All orders that it holds, or is being loaded with.
    pub(crate) fn orders(&self) -> impl Iterator<Item = &OrderKey> {
        self.content.order().into_iter().chain(&self.beside)
    }

    pub(crate) fn holds(&self, order: &OrderKey) -> bool {
        self.orders().any(|held| held == order)
    }

    /// Several orders are inside: a sensor that sees something does not tell which.
    pub(crate) fn is_shared(&self) -> bool {
        !self.beside.is_empty()
    }
}

impl CabinetCore {
    /// The compartment with orders beside which this one may lie: the first of the fullest.
    pub(crate) fn shared_place(&self, order: &OrderKey, row: &OrderRow) -> Option<Compartment> {
        let open = self.bays.values().filter(|bay| self.takes_beside(bay, order, row));
        open.max_by_key(|bay| (bay.beside.len(), std::cmp::Reverse(bay.number()))).map(Bay::number)
    }

    /// Stored and sound, large enough, and of orders that may go to the same hands.
    pub(crate) fn takes_beside(&self, bay: &Bay, order: &OrderKey, row: &OrderRow) -> bool {
        matches!(bay.content, Content::Stored(_))
            && bay.is_sound()
            && bay.offer.is_none()
            && bay.beside.len() + 1 < SHARED_MAX
            && bay.is_made_for(row.size, row.wants)
            && bay.orders().all(|other| self.may_lie_together(order, row, other))
    }

    /// Both say so with the same word, and come from the same integration. Who gets what is restricted goes by the code of that
    /// order alone, and so does what is to be taken out.
    fn may_lie_together(&self, order: &OrderKey, row: &OrderRow, other: &OrderKey) -> bool {
        let Some(held) = self.book.orders.get(other) else { return false };
        let guarded = |order: &OrderKey| self.book.credentials_of(order).any(|row| row.is_guarded(order));
        row.shares.is_some()
            && row.shares == held.shares
            && order.integration == other.integration
            && row.category == held.category
            && row.take_back.is_none()
            && held.take_back.is_none()
            && !guarded(order)
            && !guarded(other)
    }

    /// Before something else is put in: what is stored there stays.
    pub(crate) fn set_aside(&mut self, compartment: Compartment) -> Vec<OrderKey> {
        let Some(bay) = self.bays.get_mut(&compartment) else { return Vec::new() };
        if let Content::Stored(Stored { order }) = &bay.content {
            bay.beside.push(order.clone());
        }
        bay.beside.clone()
    }

    /// Makes one of the orders that are stored here the one that something is done with.
    pub(crate) fn bring_forward(&mut self, compartment: Compartment, order: &OrderKey) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        let Content::Stored(Stored { order: before }) = bay.content.clone() else { return };
        if let Some(at) = bay.beside.iter().position(|held| held == order) {
            bay.beside.remove(at);
            bay.beside.push(before);
            bay.content = Stored { order: order.clone() }.into();
        }
    }

    /// What the compartment holds once the order that something was done with is out.
    pub(crate) fn left_behind(&mut self, compartment: Compartment) -> Content {
        match self.bays.get_mut(&compartment) {
            Some(bay) if bay.is_shared() => Stored { order: bay.beside.remove(0) }.into(),
            Some(_) | None => Free {}.into(),
        }
    }

    /// Whether everything else in this compartment may go to whoever opens it by the right of `order`.
    pub(crate) fn others_may_go(&self, bay: &Bay, order: &OrderKey) -> bool {
        bay.orders().filter(|other| *other != order).all(|other| self.may_go_along(other))
    }

    /// One that has no code yet goes along: its backend has said that it may. One that needs more than its code does not.
    fn may_go_along(&self, order: &OrderKey) -> bool {
        let Some(row) = self.book.orders.get(order) else { return false };
        let wanted = match row.take_back {
            // Whoever comes before staff do still gets it.
            None | Some(TakeBack::Overdue) => true,
            Some(TakeBack::Recalled | TakeBack::Quarantined | TakeBack::DroppedOff) => false,
        };
        let mut held = self.book.credentials_of(order).filter(|held| held.life == Life::Live).peekable();
        let opens = |held: &CredentialRow| !held.is_guarded(order) && self.right_to(held, order, self.now).is_ok();
        let in_time = held.peek().is_none() || held.any(opens);
        wanted && !row.over && in_time
    }

    /// Whether whoever comes for an order that is stored here need not wait for staff, who are at work with another one in the
    /// same compartment: those who have left without a word are not waited for.
    pub(crate) fn past_staff(&self, bay: &Bay, order: &OrderKey) -> Result<(), EntryRefusal> {
        let (staff, inside) = match &bay.content {
            Content::Loading(held) => (&held.staff, held.opened.then_some(&held.order)),
            // Nobody knows whether it is out.
            Content::Retrieving(held) => (&held.staff, None),
            Content::Free(_)
            | Content::Stored(_)
            | Content::Collecting(_)
            | Content::Leaving(_)
            | Content::Swapping(_)
            | Content::Depositing(_) => return Err(EntryRefusal::Busy),
        };
        let idle = bay.active.is_none() && bay.offer.is_none() && bay.seen != DoorSeen::Open;
        if !idle || self.sessions.is_of(staff) {
            return Err(EntryRefusal::Busy);
        }
        // Whoever has asked from afar answers from afar.
        let answers = staff.as_str() == BY_COMMAND_NAME || matches!(bay.content, Content::Retrieving(_));
        let others = bay.beside.iter().filter(|other| *other != order).chain(inside);
        let may_go = !answers && others.into_iter().all(|other| self.may_go_along(other));
        if may_go { Ok(()) } else { Err(EntryRefusal::OutOfService) }
    }

    /// A door is about to be opened for an order that lies beside what staff have left without a word. Whether that is inside,
    /// somebody has to look.
    pub(crate) fn end_forgotten_load(&mut self, turn: &mut Turn, compartment: Compartment) {
        let content = self.bays.get(&compartment).filter(|bay| bay.is_shared()).map(|bay| bay.content.clone());
        if let Some(Content::Loading(Loading { order, opened, .. })) = content {
            self.abort_load(turn, compartment, order.clone());
            if opened {
                self.require_audit(turn, compartment, Some(order));
            }
        }
    }

    /// Staff hear what is in there already.
    pub(crate) fn name_others(&self, turn: &mut Turn, compartment: Compartment) {
        let Some(bay) = self.bays.get(&compartment).filter(|bay| bay.is_shared()) else { return };
        if let Some(order) = bay.content.order().cloned() {
            turn.note(ScreenNote::Beside { order, compartment, others: bay.beside.clone() });
        }
    }

    /// The next order that whoever has looked inside is asked about. None: they were asked about each of them.
    pub(crate) fn ask_about_next(
        &mut self,
        turn: &mut Turn,
        compartment: Compartment,
        staff: &Name,
    ) -> Option<OrderKey> {
        let bay = self.bays.get_mut(&compartment)?;
        let Content::Stored(Stored { order: answered }) = bay.content.clone() else { return None };
        let answers = bay.found + 1;
        if usize::try_from(answers).is_ok_and(|answers| answers > bay.beside.len()) {
            return None;
        }
        let next = bay.beside.remove(0);
        bay.beside.push(answered);
        (bay.looker, bay.found) = (Some(staff.clone()), answers);
        bay.content = Stored { order: next.clone() }.into();
        self.save_bay(turn, compartment);
        Some(next)
    }

    /// Orders that are in a compartment, or being put into one.
    pub(crate) fn orders_inside(&self) -> BTreeSet<OrderKey> {
        self.bays.values().flat_map(Bay::orders).cloned().collect()
    }
}
