//! What is in the compartments, and what an opened or a closed door changes about it.

use schemas::ids::Name;
use schemas::messages::{
    AuditRequired, Collected, Compartment, CredentialId, LoadAborted, Occupancy, OrderKey, Retrieved,
    Stored as StoredFact, StoredBy,
};

use crate::bay::{Bay, Reopens};
use crate::core::CabinetCore;
use crate::deposit::DEPOSIT_ANSWER_MILLIS;
use crate::records::{
    CollectUse, Collecting, Content, Depositing, Leaving, Life, Loading, Purpose, Retrieving, Stored, Swapping,
};
use crate::tables::{BAYS, bay_key};
use crate::turn::Turn;
use crate::{DoorSeen, ScreenNote};

/// So long after the door was closed, the same credential opens it again, if something is inside still.
pub const REOPEN_MILLIS: u64 = 120_000;
/// Staff have opened a door, have closed it and say nothing: somebody has to look.
pub const STAFF_ANSWER_MILLIS: u64 = 300_000;
/// An opened door that is never closed: the collection counts as over, unconfirmed.
pub const UNCONFIRMED_MILLIS: u64 = 900_000;

impl Content {
    /// When a collection that began now counts as over although its door was not closed, or a word about what somebody did
    /// behind a closed door is no longer waited for.
    pub(crate) fn unconfirmed_at(&self, now: u64) -> Option<u64> {
        match self {
            Self::Collecting(content) => (content.stays != Some(true)).then_some(now + UNCONFIRMED_MILLIS),
            Self::Depositing(content) => content.opened.then_some(now + DEPOSIT_ANSWER_MILLIS),
            Self::Free(_)
            | Self::Loading(_)
            | Self::Stored(_)
            | Self::Leaving(_)
            | Self::Retrieving(_)
            | Self::Swapping(_) => self.left_by_staff().map(|_| now + STAFF_ANSWER_MILLIS),
        }
    }

    /// The order that staff are putting in, taking out or exchanging, once its door was open.
    fn left_by_staff(&self) -> Option<&OrderKey> {
        let (opened, order) = match self {
            Self::Loading(content) => (content.opened, &content.order),
            Self::Retrieving(content) => (content.opened, &content.order),
            Self::Swapping(content) => (content.opened, &content.order),
            Self::Free(_) | Self::Stored(_) | Self::Collecting(_) | Self::Leaving(_) | Self::Depositing(_) => {
                return None;
            }
        };
        opened.then_some(order)
    }
}

impl CabinetCore {
    pub(crate) fn save_bay(&self, turn: &mut Turn, compartment: Compartment) {
        if let Some(bay) = self.bays.get(&compartment) {
            turn.put(BAYS, bay_key(compartment), &bay.row());
        }
    }

    pub(crate) fn set_content(&mut self, turn: &mut Turn, compartment: Compartment, content: impl Into<Content>) {
        if let Some(bay) = self.bays.get_mut(&compartment) {
            bay.content = content.into();
            (bay.looker, bay.found, bay.reopens) = (None, 0, None);
            bay.unconfirmed_at = bay.content.unconfirmed_at(turn.now);
        }
        self.drop_offer_that_is_over(turn, compartment);
        self.save_bay(turn, compartment);
    }

    /// One that stayed would end with the next use of the door, and take what that is for as its own.
    fn drop_offer_that_is_over(&mut self, turn: &mut Turn, compartment: Compartment) {
        let offer = self.bays.get(&compartment).and_then(|bay| bay.offer.as_ref());
        if offer.is_some_and(|offer| !self.still_entitled(compartment, &offer.row.purpose)) {
            self.take_offer(turn, compartment);
        }
    }

    /// Where an order is, if it is anywhere here.
    pub(crate) fn compartment_of(&self, order: &OrderKey) -> Option<Compartment> {
        self.bays.iter().find(|(_, bay)| bay.holds(order)).map(|(compartment, _)| *compartment)
    }

    /// The door was unlocked by this right; `seen` by the sensor, or at least pulsed.
    pub(crate) fn unlocked(&mut self, turn: &mut Turn, compartment: Compartment, purpose: &Purpose, seen: bool) {
        if let Purpose::Collect(by) = purpose {
            self.bring_forward(compartment, &by.order);
        }
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        if !matches!(purpose, Purpose::Collect(_)) {
            bay.reopens = None;
        }
        let blind = bay.seen == DoorSeen::Unknown;
        match (purpose, bay.content.clone()) {
            (Purpose::Collect(by), Content::Stored(content)) if content.order == by.order => {
                self.may_be_reported(turn.now, &content.order, by.credential, compartment);
                let collecting = Collecting { order: content.order, credential: by.credential, seen, stays: None };
                self.set_content(turn, compartment, collecting);
            }
            (Purpose::Load(by), Content::Loading(content)) if content.order == by.order => {
                self.set_content(turn, compartment, Loading { opened: true, ..content });
                if blind {
                    turn.note(ScreenNote::AskLoaded { order: by.order.clone(), compartment, empty: false });
                }
            }
            (Purpose::Retrieve(by), Content::Retrieving(content)) if content.order == by.order => {
                self.set_content(turn, compartment, Retrieving { opened: true, ..content });
                if blind {
                    turn.note(ScreenNote::AskLoaded { order: by.order.clone(), compartment, empty: false });
                }
            }
            (Purpose::Swap(by), Content::Swapping(content)) if content.order == by.order => {
                self.set_content(turn, compartment, Swapping { opened: true, ..content });
                if blind {
                    self.ask_swapped(turn, compartment);
                }
            }
            (Purpose::Deposit(by), Content::Depositing(content)) if content.order == by.order => {
                self.set_content(turn, compartment, Depositing { opened: true, ..content });
                if blind {
                    self.ask_deposited(turn, compartment);
                }
            }
            (Purpose::Look(by), Content::Free(_) | Content::Stored(_)) => {
                self.looks(turn, compartment, by.staff.clone())
            }
            _ => {}
        }
    }

    /// Its door was certainly not opened for the staff who asked: nothing has changed inside, unless somebody was there by force.
    pub(crate) fn never_unlocked(&mut self, turn: &mut Turn, compartment: Compartment) {
        match self.bays.get(&compartment).map(|bay| bay.content.clone()) {
            Some(Content::Loading(content)) if !content.opened => self.abort_load(turn, compartment, content.order),
            Some(Content::Depositing(content)) if !content.opened => self.abort_load(turn, compartment, content.order),
            Some(Content::Retrieving(content)) if !content.opened => self.put_back(turn, compartment, content),
            Some(Content::Swapping(content)) if !content.opened => {
                self.set_content(turn, compartment, Stored { order: content.order });
            }
            _ => return,
        }
        // The door may have been closed in the meantime, when what it said was of no use.
        if self.bays.get(&compartment).is_some_and(|bay| bay.seen == DoorSeen::Closed) {
            self.settle_content(turn, compartment, false);
        }
    }

    /// Staff do not take the order after all: it is what it was before.
    pub(crate) fn put_back(&mut self, turn: &mut Turn, compartment: Compartment, content: Retrieving) {
        if content.left == Some(true) {
            self.set_content(turn, compartment, Leaving { order: content.order });
        } else {
            self.set_content(turn, compartment, Stored { order: content.order });
        }
    }

    /// Whether a person may still have this door opened: things change between two presses.
    pub(crate) fn still_entitled(&self, compartment: Compartment, purpose: &Purpose) -> bool {
        let Some(bay) = self.bays.get(&compartment) else { return false };
        match (purpose, &bay.content) {
            (Purpose::Collect(by), Content::Free(_)) => bay.reopens_for(by.credential, self.now).is_some(),
            (Purpose::Collect(by), Content::Stored(_)) if !bay.holds(&by.order) => false,
            (Purpose::Collect(by), Content::Stored(_)) if !self.others_may_go(bay, &by.order) => false,
            (Purpose::Collect(by @ CollectUse { app: Some(_), .. }), Content::Stored(_)) => {
                self.app_may_collect(&by.order, self.now).is_ok()
            }
            (Purpose::Collect(by), Content::Stored(_)) => {
                self.book.credential(&by.credential).is_some_and(|row| row.life == Life::Live)
            }
            (Purpose::Load(by), Content::Loading(content)) => content.order == by.order,
            (Purpose::Retrieve(by), Content::Retrieving(content)) => content.order == by.order,
            (Purpose::Swap(by), Content::Swapping(content)) => content.order == by.order,
            (Purpose::Deposit(by), Content::Depositing(content)) => {
                content.order == by.order && by.courier.as_ref().is_none_or(|name| self.may_bring(name))
            }
            (Purpose::Look(_), content) => content.may_be_looked_into(),
            _ => false,
        }
    }

    /// The door is closed: what does that say about the content? `just_closed`: it was open a moment ago.
    pub(crate) fn settle_content(&mut self, turn: &mut Turn, compartment: Compartment, just_closed: bool) {
        let Some(bay) = self.bays.get(&compartment) else { return };
        let occupancy = bay.occupancy;
        // What is stored beside it hides from the sensor whether this one is there.
        let seen = if bay.is_shared() && occupancy == Occupancy::Occupied { Occupancy::Unknown } else { occupancy };
        match bay.content.clone() {
            Content::Free(_) | Content::Stored(_) if just_closed && bay.looker.is_some() => {
                self.looked(turn, compartment);
            }
            Content::Free(_) => {
                if occupancy == Occupancy::Occupied && bay.active.is_none() {
                    self.require_audit(turn, compartment, None);
                }
            }
            Content::Loading(content) if content.opened => {
                if seen == Occupancy::Occupied {
                    self.store(turn, compartment, content.order, StoredBy::Sensor, content.staff);
                } else if just_closed {
                    let empty = occupancy == Occupancy::Empty;
                    turn.note(ScreenNote::AskLoaded { order: content.order, compartment, empty });
                }
            }
            Content::Depositing(content) if content.opened => {
                if occupancy == Occupancy::Occupied {
                    self.deposited(turn, compartment, content, true);
                } else if just_closed {
                    self.ask_deposited(turn, compartment);
                }
            }
            Content::Collecting(content) if self.has_stayed(bay, &content) => {
                self.not_taken(turn, compartment, content);
            }
            Content::Collecting(content) => {
                let confirmed = content.seen && occupancy != Occupancy::Occupied;
                self.all_collected(turn, compartment, &content.order, content.credential, confirmed);
                self.free(turn, compartment, content.order.clone());
                if occupancy == Occupancy::Occupied {
                    self.may_be_reopened(turn.now, compartment, content);
                }
            }
            Content::Leaving(content) => self.free(turn, compartment, content.order),
            Content::Retrieving(content) if content.opened && just_closed => {
                if occupancy == Occupancy::Occupied || bay.is_shared() && occupancy != Occupancy::Empty {
                    turn.note(ScreenNote::AskLoaded { order: content.order, compartment, empty: false });
                } else {
                    let staff = content.staff.clone();
                    self.taken_back(turn, compartment, content, staff);
                }
            }
            // Opened by a command, by force or faster than two polls, and what should be inside is not.
            Content::Stored(content) if occupancy == Occupancy::Empty => {
                self.require_audit(turn, compartment, Some(content.order));
            }
            Content::Swapping(_) if just_closed => self.ask_swapped(turn, compartment),
            Content::Loading(_)
            | Content::Retrieving(_)
            | Content::Stored(_)
            | Content::Swapping(_)
            | Content::Depositing(_) => {}
        }
    }

    /// Nobody closed the door for a quarter of an hour. The compartment stays taken until somebody does.
    pub(crate) fn collection_due(&mut self, turn: &mut Turn, compartment: Compartment) {
        let Some(bay) = self.bays.get(&compartment) else { return };
        if bay.unconfirmed_at.is_none_or(|at| turn.now < at) {
            return;
        }
        if let Content::Collecting(content) = bay.content.clone() {
            self.all_collected(turn, compartment, &content.order, content.credential, false);
            self.set_content(turn, compartment, Leaving { order: content.order });
        }
    }

    /// They have closed the door too early, or forgotten half of it.
    fn may_be_reopened(&mut self, now: u64, compartment: Compartment, content: Collecting) {
        if let Some(bay) = self.bays.get_mut(&compartment) {
            let Collecting { order, credential, .. } = content;
            bay.reopens = Some(Reopens { credential, order, until: now + REOPEN_MILLIS });
        }
    }

    /// Staff have walked away behind a door that they have closed. Until somebody says what is inside, or looks, the order goes
    /// nowhere: the fleet has to hear of it.
    pub(crate) fn staff_due(&mut self, turn: &mut Turn, compartment: Compartment) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        let Some(order) = bay.content.left_by_staff().cloned() else { return };
        if bay.unconfirmed_at.is_none_or(|at| turn.now < at) {
            return;
        }
        bay.unconfirmed_at = None;
        if bay.active.is_some() || bay.offer.is_some() || bay.seen == DoorSeen::Open {
            bay.unconfirmed_at = Some(turn.now + STAFF_ANSWER_MILLIS);
        } else {
            self.require_audit(turn, compartment, Some(order));
        }
    }

    /// Whoever has just said what is in there has looked, so that a doubt about it ends, unless the sensor knows better.
    pub(crate) fn end_doubt_by_word(&mut self, turn: &mut Turn, compartment: Compartment, staff: Name) {
        let agrees = |bay: &Bay| bay.sensor_agrees() || bay.occupancy == Occupancy::Unknown;
        if self.bays.get(&compartment).is_some_and(|bay| bay.audit && !bay.is_shared() && agrees(bay)) {
            self.audited_as_booked(turn, compartment, staff);
        }
    }

    /// With it whatever lay beside it.
    fn all_collected(
        &mut self,
        turn: &mut Turn,
        compartment: Compartment,
        order: &OrderKey,
        credential: CredentialId,
        confirmed: bool,
    ) {
        let beside = self.bays.get_mut(&compartment).map(|bay| std::mem::take(&mut bay.beside)).unwrap_or_default();
        for order in beside.iter().chain([order]) {
            self.collected(turn, compartment, order, credential, confirmed);
        }
    }

    fn collected(
        &mut self,
        turn: &mut Turn,
        compartment: Compartment,
        order: &OrderKey,
        credential: CredentialId,
        confirmed: bool,
    ) {
        self.book.end_order(turn, order, Life::Used);
        self.may_be_reported(turn.now, order, credential, compartment);
        self.record(turn, Collected { order: order.clone(), compartment, credential, confirmed });
    }

    /// Whoever took the order has closed the door.
    fn free(&mut self, turn: &mut Turn, compartment: Compartment, order: OrderKey) {
        let content = self.left_behind(compartment);
        self.set_content(turn, compartment, content);
        self.doubt_what_is_left(turn, compartment, Some(order));
    }

    /// The sensor sees something where `order` was, or misses what is to be there still.
    pub(crate) fn doubt_what_is_left(&mut self, turn: &mut Turn, compartment: Compartment, order: Option<OrderKey>) {
        let Some(bay) = self.bays.get(&compartment) else { return };
        match bay.occupancy {
            Occupancy::Occupied if bay.is_free() => self.require_audit(turn, compartment, order),
            Occupancy::Empty if !bay.is_free() => {
                let missed = bay.content.order().cloned();
                self.require_audit(turn, compartment, missed);
            }
            Occupancy::Occupied | Occupancy::Empty | Occupancy::Unknown => {}
        }
    }

    pub(crate) fn store(
        &mut self,
        turn: &mut Turn,
        compartment: Compartment,
        order: OrderKey,
        by: StoredBy,
        staff: Name,
    ) {
        self.set_content(turn, compartment, Stored { order: order.clone() });
        self.book.set_missing(turn, &order, false);
        self.book.end_deposits(turn, &order);
        self.remember_stored(&staff, &order);
        self.record(turn, StoredFact { order: order.clone(), compartment, by, staff });
        turn.note(ScreenNote::Stored { order, compartment });
    }

    pub(crate) fn abort_load(&mut self, turn: &mut Turn, compartment: Compartment, order: OrderKey) {
        let was_never_in = self.bays.get(&compartment).is_some_and(|bay| match &bay.content {
            Content::Depositing(held) => match bay.occupancy {
                Occupancy::Empty => true,
                Occupancy::Unknown => !held.opened,
                Occupancy::Occupied => false,
            },
            Content::Free(_)
            | Content::Loading(_)
            | Content::Stored(_)
            | Content::Collecting(_)
            | Content::Leaving(_)
            | Content::Retrieving(_)
            | Content::Swapping(_) => false,
        });
        let content = self.left_behind(compartment);
        self.set_content(turn, compartment, content);
        self.record(turn, LoadAborted { order: order.clone(), compartment });
        self.end_deposit_session(turn, compartment, &order, false);
        // The contact may have missed the door, the sensor has not missed the goods.
        self.doubt_what_is_left(turn, compartment, Some(order.clone()));
        if was_never_in {
            self.couriers.not_put_in(&self.book, &order);
        }
        turn.note(ScreenNote::LoadAborted { order, compartment });
    }

    /// Staff have taken the order out: for good, or because it was loaded by mistake.
    pub(crate) fn taken_back(&mut self, turn: &mut Turn, compartment: Compartment, content: Retrieving, staff: Name) {
        if content.undo == Some(true) {
            self.abort_load(turn, compartment, content.order);
        } else {
            self.retrieved(turn, compartment, content.order, staff);
        }
    }

    pub(crate) fn retrieved(&mut self, turn: &mut Turn, compartment: Compartment, order: OrderKey, staff: Name) {
        self.book.end_order(turn, &order, Life::Revoked);
        self.record(turn, Retrieved { order: order.clone(), compartment, staff });
        self.free(turn, compartment, order);
    }

    /// Book and sensor disagree: told once, and never ended but by staff.
    pub(crate) fn require_audit(&mut self, turn: &mut Turn, compartment: Compartment, order: Option<OrderKey>) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        if !bay.audit {
            bay.audit = true;
            self.save_bay(turn, compartment);
            self.record(turn, AuditRequired { compartment, order });
        }
    }
}
