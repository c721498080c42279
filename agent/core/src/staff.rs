//! Staff at the screen: sessions, loading, taking back, and their word where no sensor can tell.

use std::collections::{BTreeMap, BTreeSet};

use schemas::ids::Name;
use schemas::messages::{
    Attributes, Compartment, CredentialId, FleetMillis, Loading as LoadingFact, LoadingBeside, OrderKey, Size,
    StaffLoggedIn, StoredBy, TakeBack,
};

use crate::bay::Bay;
use crate::book::HeldBook;
use crate::core::CabinetCore;
use crate::records::{Content, LoadUse, Loading, OrderRow, Purpose, RetrieveUse, Retrieving};
use crate::time::FleetClock;
use crate::turn::Turn;
use crate::uses::PERSON_MILLIS;
use crate::{DoorSeen, EntryResult, PartView, ScreenNote, SessionId, StaffRefusal, UnwantedOrder, WaitingOrder};

/// A session ends this long after the last thing done in it, or after the door of its work was closed.
pub const SESSION_IDLE_MILLIS: u64 = 60_000;
const SESSIONS_MAX: usize = 8;

#[derive(Debug)]
struct Session {
    name: Name,
    until: u64,
    /// Began with this break-glass code, which ends with it.
    by_break_glass: Option<CredentialId>,
    /// What was stored in it: a mistake may be undone.
    stored: BTreeSet<OrderKey>,
}

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_id: BTreeMap<SessionId, Session>,
}

impl Sessions {
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.by_id.values().map(|session| session.until).min()
    }

    /// Somebody of that name is logged in.
    pub(crate) fn is_of(&self, name: &Name) -> bool {
        self.by_id.values().any(|session| session.name == *name)
    }

    fn oldest(&self) -> Option<SessionId> {
        self.by_id.iter().min_by_key(|(_, session)| session.until).map(|(id, _)| *id)
    }
}

impl CabinetCore {
    pub(crate) fn log_in(&mut self, turn: &mut Turn, name: Name) -> EntryResult {
        self.record(turn, StaffLoggedIn { staff: name.clone() });
        self.begin_session(turn, name, None)
    }

    pub(crate) fn begin_session(
        &mut self,
        turn: &mut Turn,
        name: Name,
        by_break_glass: Option<CredentialId>,
    ) -> EntryResult {
        while self.sessions.by_id.len() >= SESSIONS_MAX
            && let Some(oldest) = self.sessions.oldest()
        {
            self.end_session(turn, oldest);
        }
        let session = SessionId(u128::from_be_bytes(turn.draws.bytes()));
        let until = turn.now + SESSION_IDLE_MILLIS;
        self.sessions
            .by_id
            .insert(session, Session { name: name.clone(), until, by_break_glass, stored: BTreeSet::new() });
        EntryResult::StaffSession { session, name }
    }

    pub(crate) fn end_session(&mut self, turn: &mut Turn, session: SessionId) {
        let Some(ended) = self.sessions.by_id.remove(&session) else { return };
        turn.note(ScreenNote::SessionEnded { session });
        if let Some(id) = ended.by_break_glass {
            self.break_glass_over(turn, id);
        }
    }

    /// A break-glass code was entered again: who has it goes on in a new session.
    pub(crate) fn end_for_another(&mut self, turn: &mut Turn, id: CredentialId) {
        let lost = self.sessions.by_id.extract_if(.., |_, session| session.by_break_glass == Some(id));
        lost.for_each(|(session, _)| turn.note(ScreenNote::SessionEnded { session }));
    }

    pub(crate) fn end_all_sessions(&mut self, turn: &mut Turn) {
        let all: Vec<_> = self.sessions.by_id.keys().copied().collect();
        all.into_iter().for_each(|session| self.end_session(turn, session));
    }

    pub(crate) fn sessions_due(&mut self, turn: &mut Turn) {
        let over = self.sessions.by_id.iter().filter(|(_, held)| held.until <= turn.now);
        for (session, name) in over.map(|(id, held)| (*id, held.name.clone())).collect::<Vec<_>>() {
            match self.sessions.by_id.get_mut(&session) {
                // Whoever stands at an open door with both hands full is not idle.
                Some(held) if is_at_work(&self.bays, &name) => held.until = turn.now + SESSION_IDLE_MILLIS,
                Some(_) | None => self.end_session(turn, session),
            }
        }
    }

    /// Who that is, as long as the book still has them; being active keeps the session alive.
    pub(crate) fn staff(&mut self, session: SessionId, now: u64) -> Result<Name, StaffRefusal> {
        let held = self.sessions.by_id.get_mut(&session).filter(|held| now < held.until);
        let held = held.ok_or(StaffRefusal::NoSession)?;
        if !held.may_work(&self.book, &self.clock, now) {
            return Err(StaffRefusal::NoSession);
        }
        held.until = now + SESSION_IDLE_MILLIS;
        Ok(held.name.clone())
    }

    pub(crate) fn handle_load(&mut self, turn: &mut Turn, session: SessionId, order: &OrderKey, larger: bool) {
        let chosen = self.staff(session, turn.now).and_then(|staff| {
            // Whoever asks for a larger one, or for the same door again, has the order half loaded already.
            if self.disk_low && !larger && self.compartment_of(order).is_none() {
                return Err(StaffRefusal::DiskFull);
            }
            let compartment = self.choose(order, larger)?;
            Ok((staff, compartment))
        });
        match chosen {
            Err(reason) => turn.note(ScreenNote::StaffRefused { session, reason }),
            Ok((staff, compartment)) if self.compartment_of(order) == Some(compartment) => {
                self.end_offer(turn, compartment);
                let load = LoadUse { staff, order: order.clone(), by: None };
                turn.note(ScreenNote::Loading { session, order: order.clone(), compartment });
                self.start_use(turn, compartment, load.into(), turn.now + PERSON_MILLIS, 1);
            }
            Ok((staff, compartment)) => {
                self.leave_smaller(turn, order);
                self.begin_load(turn, session, staff, order, compartment);
            }
        }
    }

    pub(crate) fn begin_load(
        &mut self,
        turn: &mut Turn,
        session: SessionId,
        staff: Name,
        order: &OrderKey,
        compartment: Compartment,
    ) {
        let load = LoadUse { staff, order: order.clone(), by: None };
        self.take_for_load(turn, compartment, &load);
        turn.note(ScreenNote::Loading { session, order: order.clone(), compartment });
        self.start_use(turn, compartment, load.into(), turn.now + PERSON_MILLIS, 1);
    }

    pub(crate) fn take_for_load(&mut self, turn: &mut Turn, compartment: Compartment, load: &LoadUse) {
        let LoadUse { staff, order, .. } = load.clone();
        let others = self.set_aside(compartment);
        self.set_content(turn, compartment, Loading { order: order.clone(), staff: staff.clone(), opened: false });
        if others.is_empty() {
            self.record(turn, LoadingFact { order, compartment, staff });
        } else {
            self.name_others(turn, compartment);
            self.record(turn, LoadingBeside { order, compartment, staff, others });
        }
    }

    /// The order goes elsewhere: its compartment is free, and nobody tries its door again for this loading. An offer that
    /// stayed would end with the next loading there, and take that for its own.
    pub(crate) fn leave_smaller(&mut self, turn: &mut Turn, order: &OrderKey) {
        let Some(smaller) = self.compartment_of(order) else { return };
        self.end_offer(turn, smaller);
        if self.compartment_of(order) == Some(smaller) {
            self.abort_load(turn, smaller, order.clone());
        }
    }

    /// The compartment for an order: the reserved one if it still fits, else the smallest that does.
    fn choose(&self, order: &OrderKey, larger: bool) -> Result<Compartment, StaffRefusal> {
        let row = self.book.orders.get(order).ok_or(StaffRefusal::UnknownOrder)?;
        let mut above = larger.then_some(row.size);
        if let Some(bay) = self.compartment_of(order).and_then(|compartment| self.bays.get(&compartment)) {
            match &bay.content {
                _ if bay.beside.contains(order) => return Err(StaffRefusal::AlreadyHere),
                Content::Loading(_) if bay.active.is_some() => return Err(StaffRefusal::Busy),
                // It is large enough, and there is something in it.
                Content::Loading(_) if larger && bay.is_shared() => above = None,
                // They closed the door too early, and have it opened again.
                Content::Loading(held) if held.opened && !larger => {
                    return if bay.seen == DoorSeen::Open { Err(StaffRefusal::DoorOpen) } else { Ok(bay.number()) };
                }
                // It turned out to be too small.
                Content::Loading(_) if larger => above = Some(bay.size()),
                Content::Free(_)
                | Content::Loading(_)
                | Content::Stored(_)
                | Content::Collecting(_)
                | Content::Leaving(_)
                | Content::Retrieving(_)
                | Content::Swapping(_)
                | Content::Depositing(_) => return Err(StaffRefusal::AlreadyHere),
            }
        }
        if row.over {
            return Err(StaffRefusal::Over);
        }
        match self.shared_place(order, row).filter(|_| !larger) {
            Some(shared) => Ok(shared),
            None => self.place(order, row, above),
        }
    }

    /// Where an order goes that is nowhere yet, or that needs a larger compartment than one of size `above`.
    pub(crate) fn place(
        &self,
        order: &OrderKey,
        row: &OrderRow,
        above: Option<Size>,
    ) -> Result<Compartment, StaffRefusal> {
        let fits = |number: &Compartment| {
            self.bays.get(number).is_some_and(|bay| {
                bay.takes(row.size, row.wants) && above.is_none_or(|too_small| bay.size() > too_small)
            })
        };
        row.reserved.filter(fits).or_else(|| self.smallest(order, row, fits)).ok_or(StaffRefusal::NoFittingCompartment)
    }

    /// Prefers one that no other order is waiting for, then the smallest, then the one with the fewest attributes that
    /// nobody asked for.
    fn smallest(&self, order: &OrderKey, row: &OrderRow, fits: impl Fn(&Compartment) -> bool) -> Option<Compartment> {
        let rank = |number: &Compartment| -> (bool, Option<Size>, u32, Compartment) {
            let bay = self.bays.get(number);
            let surplus = bay.map_or(0, |bay| surplus(bay.info().attributes, row.wants));
            (self.is_reserved_for_another(order, *number), bay.map(|bay| bay.size()), surplus, *number)
        };
        self.bays.keys().filter(|number| fits(number)).min_by_key(|number| rank(number)).copied()
    }

    fn is_reserved_for_another(&self, order: &OrderKey, compartment: Compartment) -> bool {
        self.book.orders.iter().any(|(other, row)| {
            other != order && !row.over && row.reserved == Some(compartment) && self.compartment_of(other).is_none()
        })
    }

    /// What was stored by this member of staff, as long as they are logged in.
    pub(crate) fn remember_stored(&mut self, staff: &Name, order: &OrderKey) {
        for session in self.sessions.by_id.values_mut().filter(|session| session.name == *staff) {
            session.stored.insert(order.clone());
        }
    }

    fn was_stored_in(&self, session: SessionId, order: &OrderKey) -> bool {
        self.sessions.by_id.get(&session).is_some_and(|held| held.stored.contains(order))
    }

    /// `undo`: what was loaded by mistake in this session; the order is to be loaded again.
    pub(crate) fn handle_retrieve(&mut self, turn: &mut Turn, session: SessionId, order: &OrderKey, undo: bool) {
        let found = self.staff(session, turn.now).and_then(|staff| {
            if undo && !self.was_stored_in(session, order) {
                return Err(StaffRefusal::NotJustStored);
            }
            Ok((staff, self.held(order)?))
        });
        match found {
            Err(reason) => turn.note(ScreenNote::StaffRefused { session, reason }),
            Ok((staff, compartment)) => {
                let retrieve = RetrieveUse { staff, order: order.clone(), by: None };
                self.take_for_retrieval(turn, compartment, &retrieve, undo);
                turn.note(ScreenNote::Retrieving { session, order: order.clone(), compartment });
                self.start_use(turn, compartment, retrieve.into(), turn.now + PERSON_MILLIS, 1);
            }
        }
    }

    /// From here on the recipient's code is refused.
    pub(crate) fn take_for_retrieval(
        &mut self,
        turn: &mut Turn,
        compartment: Compartment,
        retrieve: &RetrieveUse,
        undo: bool,
    ) {
        self.end_offer(turn, compartment);
        self.bring_forward(compartment, &retrieve.order);
        // Asked for again: what the door let out before does not come back when it sticks now.
        let content = self.bays.get(&compartment).map(|bay| &bay.content);
        let (opened, left) = match content {
            Some(Content::Retrieving(held)) => (held.opened, held.left),
            Some(Content::Leaving(_)) => (false, Some(true)),
            Some(
                Content::Free(_)
                | Content::Loading(_)
                | Content::Stored(_)
                | Content::Collecting(_)
                | Content::Swapping(_)
                | Content::Depositing(_),
            )
            | None => (false, None),
        };
        let RetrieveUse { staff, order, .. } = retrieve.clone();
        self.set_content(turn, compartment, Retrieving { order, staff, opened, left, undo: undo.then_some(true) });
        self.name_others(turn, compartment);
    }

    pub(crate) fn held(&self, order: &OrderKey) -> Result<Compartment, StaffRefusal> {
        let bay = self.compartment_of(order).and_then(|compartment| self.bays.get(&compartment));
        let bay = bay.ok_or(StaffRefusal::UnknownOrder)?;
        match &bay.content {
            _ if bay.active.is_some() => Err(StaffRefusal::Busy),
            Content::Stored(_) => Ok(bay.number()),
            Content::Leaving(_) | Content::Retrieving(_) if bay.content.order() == Some(order) => Ok(bay.number()),
            Content::Free(_)
            | Content::Loading(_)
            | Content::Collecting(_)
            | Content::Leaving(_)
            | Content::Retrieving(_)
            | Content::Swapping(_)
            | Content::Depositing(_) => Err(StaffRefusal::Busy),
        }
    }

    pub(crate) fn handle_confirm(&mut self, turn: &mut Turn, session: SessionId, at: Compartment, inside: bool) {
        if let Err(reason) = self.confirm(turn, session, at, inside) {
            turn.note(ScreenNote::StaffRefused { session, reason });
        }
    }

    fn confirm(
        &mut self,
        turn: &mut Turn,
        session: SessionId,
        compartment: Compartment,
        inside: bool,
    ) -> Result<(), StaffRefusal> {
        let staff = self.staff(session, turn.now)?;
        self.take_word(turn, staff, compartment, inside)
    }

    /// What this member of staff says about a compartment whose door is closed.
    pub(crate) fn take_word(
        &mut self,
        turn: &mut Turn,
        staff: Name,
        compartment: Compartment,
        inside: bool,
    ) -> Result<(), StaffRefusal> {
        let bay = self.bays.get(&compartment).ok_or(StaffRefusal::UnknownCompartment)?;
        if bay.active.is_some() {
            return Err(StaffRefusal::Busy);
        }
        if bay.seen == DoorSeen::Open {
            return Err(StaffRefusal::DoorOpen);
        }
        match bay.content.clone() {
            Content::Loading(held) if held.opened && inside => {
                self.store(turn, compartment, held.order, StoredBy::Staff, staff.clone());
                self.end_doubt_by_word(turn, compartment, staff);
            }
            Content::Loading(held) if held.opened => {
                self.abort_load(turn, compartment, held.order);
                self.end_doubt_by_word(turn, compartment, staff);
            }
            Content::Depositing(held) if held.opened => self.settle_deposit(turn, compartment, held, inside, staff),
            Content::Retrieving(held) if held.opened && inside => {
                self.put_back(turn, compartment, held);
                self.end_doubt_by_word(turn, compartment, staff);
            }
            Content::Retrieving(held) if held.opened => {
                self.taken_back(turn, compartment, held, staff.clone());
                self.end_doubt_by_word(turn, compartment, staff);
            }
            Content::Leaving(held) if !inside => self.retrieved(turn, compartment, held.order, staff),
            Content::Free(_) | Content::Stored(_) => return self.confirm_found(turn, compartment, inside, staff),
            Content::Loading(_)
            | Content::Collecting(_)
            | Content::Leaving(_)
            | Content::Retrieving(_)
            | Content::Swapping(_)
            | Content::Depositing(_) => return Err(StaffRefusal::UnknownOrder),
        }
        Ok(())
    }

    /// Whether a session is somebody's who works here now.
    fn is_at_the_screen(&self, session: SessionId) -> bool {
        let held = self.sessions.by_id.get(&session);
        held.is_some_and(|held| held.may_work(&self.book, &self.clock, self.now))
    }

    /// Orders that staff of this session are to take out. Nothing for anyone else.
    pub fn unwanted(&self, session: SessionId) -> Vec<UnwantedOrder> {
        if !self.is_at_the_screen(session) {
            return Vec::new();
        }
        let stored = self.bays.values().filter(|bay| matches!(bay.content, Content::Stored(_)));
        let inside = stored.flat_map(|bay| bay.orders().map(|order| (bay.number(), order)));
        let unwanted = |(compartment, order): (Compartment, &OrderKey)| {
            let row = self.book.orders.get(order);
            // One that the fleet has ended while it was inside is in the book no more.
            let why = row.map_or(Some(TakeBack::Recalled), |row| row.take_back)?;
            let part = row.and_then(|row| row.part.clone()).map(PartView::from);
            Some(UnwantedOrder { order: order.clone(), compartment, why, part })
        };
        inside.filter_map(unwanted).collect()
    }

    /// Orders that staff of this session can load now. Nothing for anyone else.
    pub fn waiting(&self, session: SessionId) -> Vec<WaitingOrder> {
        if !self.is_at_the_screen(session) {
            return Vec::new();
        }
        let open = self.book.orders.iter().filter(|(_, row)| !row.over);
        open.filter_map(|(order, row)| {
            let held = self.compartment_of(order);
            let is_loading = |bay: &Bay| matches!(&bay.content, Content::Loading(held) if held.order == *order);
            let loading = held.and_then(|at| self.bays.get(&at)).map(is_loading);
            let shared = if loading.is_none() { self.shared_place(order, row) } else { None };
            (loading != Some(false)).then(|| WaitingOrder {
                order: order.clone(),
                size: row.size,
                category: row.category,
                compartment: held.or(shared).or(row.reserved),
                loading: loading == Some(true),
                missing: row.missing == Some(true),
                walk_in: order.is_walk_in(),
                deposit: row.deposit,
                part: row.part.clone().map(PartView::from),
            })
        })
        .collect()
    }
}

impl Session {
    /// In the book, and not beyond the end that it names. Who broke the glass finishes also where the fleet, back again,
    /// has put another code in force.
    fn may_work(&self, book: &HeldBook, clock: &FleetClock, now: u64) -> bool {
        let employed = |until: Option<FleetMillis>| until.is_none_or(|until| !clock.has_passed(until, now));
        self.by_break_glass.is_some() || book.staff_until(&self.name).is_some_and(employed)
    }
}

/// Whether a door stands open, or is being opened, for something that this member of staff does.
fn is_at_work(bays: &BTreeMap<Compartment, Bay>, name: &Name) -> bool {
    bays.values().any(|bay| {
        let by = match &bay.content {
            Content::Loading(held) => Some(&held.staff),
            Content::Retrieving(held) => Some(&held.staff),
            Content::Swapping(held) => Some(&held.staff),
            Content::Free(_)
            | Content::Stored(_)
            | Content::Collecting(_)
            | Content::Leaving(_)
            | Content::Depositing(_) => None,
        };
        let looks = match bay.active.as_ref().map(|active| &active.row.purpose) {
            Some(Purpose::Look(by)) => by.staff == *name,
            Some(
                Purpose::Command(_)
                | Purpose::Collect(_)
                | Purpose::Load(_)
                | Purpose::Retrieve(_)
                | Purpose::Swap(_)
                | Purpose::Deposit(_),
            )
            | None => false,
        };
        let stands_open = by == Some(name) || bay.looker.as_ref() == Some(name);
        looks || by == Some(name) && bay.active.is_some() || stands_open && bay.seen == DoorSeen::Open
    })
}

fn surplus(has: Attributes, wanted: Attributes) -> u32 {
    u32::from(has.refrigerated && !wanted.refrigerated)
        + u32::from(has.restricted && !wanted.restricted)
        + u32::from(has.accessible && !wanted.accessible)
}
