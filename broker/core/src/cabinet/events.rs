//! Events and telemetry: stored as they came, then believed.

use schemas::api::{LiveEvent, LiveTelemetry, Rfc3339};
use schemas::cbor;
use schemas::ids::Name;
use schemas::messages::{
    Actor, BY_COMMAND_NAME, Compartment, DoorState, Event, Fact, FleetMillis, Found, KeysetRefused, Occupancy,
    OrderKey, Reported, Stamp, Swapped, Telemetry, Uplink,
};
use schemas::topics::Live;

use crate::cabinet::hello::NUMBER_MAX;
use crate::cabinet::records::{EventRow, Inside};
use crate::cabinet::{Cabinet, describe};
use crate::intents::{self, Intent, OrderFact, Told};
use crate::jobs::Job;
use crate::rows::json;
use crate::tables::{EVENTS, SAID, event_key};
use crate::turn::Turn;

/// When something happened, as far as the fleet can say.
#[derive(Clone, Copy)]
pub(super) struct When {
    pub(super) at: FleetMillis,
    pub(super) unverified: bool,
}

impl When {
    /// By the fleet's own time.
    pub(super) fn known(at: FleetMillis) -> Self {
        Self { at, unverified: false }
    }

    /// The fleet knows only when it heard of it.
    pub(super) fn heard_at(now: FleetMillis) -> Self {
        Self { at: now, unverified: true }
    }

    pub(super) fn of(stamp: &Stamp, now: FleetMillis) -> Self {
        Self { at: stamp.fleet_millis.unwrap_or(now), unverified: stamp.fleet_millis.is_none() }
    }
}

impl Cabinet {
    pub(crate) fn event(&mut self, turn: &mut Turn<'_>, payload: &[u8]) {
        if !self.is_online() {
            return self.close(turn, "an event before hello");
        }
        let uplink: Uplink = match cbor::decode(payload) {
            Ok(uplink) => uplink,
            Err(error) => return turn.refuse(format!("event: {error}")),
        };
        if self.progress.epoch != Some(uplink.epoch) {
            return self.close(turn, "an event of another epoch than that of hello");
        }
        let expected = self.progress.high_water.saturating_add(1);
        if uplink.n > expected {
            return self.close(turn, format!("event {} came where {expected} is next", uplink.n));
        }
        self.challenged(turn, uplink.challenge);
        if uplink.n == expected {
            self.new_event(turn, uplink);
        }
    }

    fn new_event(&mut self, turn: &mut Turn<'_>, uplink: Uplink) {
        let event = cbor::decode::<Event>(&uplink.record.0);
        let row = EventRow { arrived: turn.now, quarantined: event.is_err(), record: uplink.record, lost_to: None };
        turn.put(EVENTS, event_key(&self.at.tenant, &self.at.cabinet, uplink.epoch, uplink.n), &row);
        self.progress.high_water = uplink.n;
        self.progress.last_seen = Some(turn.now);
        match event {
            Ok(event) => {
                let when = When::of(&event.at, turn.now);
                self.tell_event(turn, uplink.n, when, &event.fact);
                self.note_fact(turn, when, &event.fact);
                if let Fact::Started(started) = &event.fact {
                    self.started(turn, &event.at, started.down_since);
                } else {
                    self.started_when(turn, &event.at);
                }
                self.believe(turn, when, event.fact);
            }
            Err(error) => {
                // It may have said what is in a compartment now.
                self.progress.unreconciled = Some(true);
                turn.alarm_of(&self.at, format!("cabinet {}: event {} is kept unread: {error}", self.at, uplink.n));
            }
        }
        self.put_progress(turn);
    }

    fn tell_event(&self, turn: &mut Turn<'_>, n: u64, when: When, fact: &Fact) {
        let (compartment, order) = describe::subject(fact);
        let event = LiveEvent {
            cabinet: self.at.cabinet.clone(),
            n,
            at: Rfc3339(when.at),
            time_unverified: when.unverified,
            kind: describe::kind(fact).to_owned(),
            text: describe::text(fact) + &self.asked_by(fact),
            compartment,
            order: order.map(OrderKey::to_string),
        };
        self.live(turn, Live::Event, json(&event));
    }

    /// The cabinet's facts win over whatever the fleet had in mind.
    fn believe(&mut self, turn: &mut Turn<'_>, when: When, fact: Fact) {
        match fact {
            Fact::DoorOpened(seen) => {
                self.seen_door(seen.compartment, DoorState::Open, None);
                let inside = self.inside.get(&seen.compartment).into_iter().flat_map(Inside::orders);
                let collected = inside.filter(|order| self.is_collected_by(&seen.by, order));
                for order in collected.cloned().collect::<Vec<_>>() {
                    self.tell_order(turn, when, &order, seen.compartment, OrderFact::Opened);
                }
            }
            Fact::DoorClosed(seen) => {
                self.seen_door(seen.compartment, DoorState::Closed, Some(seen.occupancy));
                self.closed(turn, seen.compartment, seen.occupancy);
            }
            Fact::Loading(load) => {
                self.loaded(turn, when, &load.order, load.compartment, (OrderFact::Loading, None));
                if load.staff.as_str() == BY_COMMAND_NAME {
                    self.loaded_by_command(turn, load.compartment);
                }
            }
            Fact::LoadingBeside(load) => {
                let (by_command, at) = (load.staff.as_str() == BY_COMMAND_NAME, load.compartment);
                self.loaded_beside(turn, when, load);
                if by_command {
                    self.loaded_by_command(turn, at);
                }
            }
            Fact::ErrandTaken(taken) => self.errand_taken(turn, &taken),
            Fact::Stored(load) => {
                self.loaded(turn, when, &load.order, load.compartment, (OrderFact::Stored, None));
            }
            Fact::Depositing(load) => {
                self.loaded(turn, when, &load.order, load.compartment, (OrderFact::Loading, load.courier));
            }
            Fact::Deposited(load) => {
                self.loaded(turn, when, &load.order, load.compartment, (OrderFact::Stored, load.courier));
            }
            Fact::CourierTurnedAway(ref away) => {
                turn.alarm_of(&self.at, format!("cabinet {}: {}", self.at, describe::text(&fact)));
                self.courier_turned_away(turn, away);
            }
            Fact::LoadAborted(load) => {
                self.emptied(turn, &load.order, load.compartment);
                self.unloaded(turn, &load.order);
                self.tell_order(turn, when, &load.order, load.compartment, OrderFact::LoadAborted);
                self.fill_waiting(turn);
            }
            Fact::Collected(taken) => {
                self.emptied(turn, &taken.order, taken.compartment);
                let fact = if taken.confirmed { OrderFact::Collected } else { OrderFact::CollectedUnconfirmed };
                self.tell_order(turn, when, &taken.order, taken.compartment, fact);
                self.fill_waiting(turn);
            }
            Fact::Retrieved(taken) => {
                let left = self.left_without(&taken.order, taken.compartment);
                self.set_inside(turn, taken.compartment, left);
                self.tell_order(turn, when, &taken.order, taken.compartment, OrderFact::Retrieved);
                self.fill_waiting(turn);
            }
            Fact::AuditRequired(found) => self.audit_required(turn, found.compartment),
            Fact::Audited(audited) => self.audited(turn, when, audited),
            Fact::Cleaning(word) => self.set_fitness(turn, word.compartment, |inside| {
                inside.needs_cleaning = word.needed.then_some(true);
            }),
            Fact::Service(word) => self.set_fitness(turn, word.compartment, |inside| {
                inside.withdrawn = (!word.in_service).then_some(true);
            }),
            Fact::Swapped(swapped) => self.swapped(turn, when, swapped),
            Fact::Found(found) => self.found(turn, when, &found),
            Fact::NotTaken(left) => {
                // What lies together was opened together.
                let others = self.inside.get(&left.compartment).into_iter().flat_map(Inside::orders);
                let others: Vec<_> = others.filter(|order| **order != left.order).cloned().collect();
                for order in std::iter::once(left.order).chain(others) {
                    self.tell_order(turn, when, &order, left.compartment, OrderFact::NotTaken);
                }
            }
            Fact::WalkIn(began) => self.walked_in(turn, when, began),
            Fact::Reported(ref said) => {
                self.tell_reported(turn, when, said);
                turn.alarm_of(&self.at, format!("cabinet {}: {}", self.at, describe::text(&fact)));
            }
            Fact::WalkInDropped(given_up) => self.walk_in_dropped(turn, when, &given_up.order),
            Fact::UnlockDone(done) => self.unlock_done(turn, &done),
            Fact::CommandRefused(refused) => self.command_refused(turn, &refused),
            // A cabinet that claims more than any book counts no further than that.
            Fact::BookApplied(applied) => self.book_applied(turn, applied.version.min(NUMBER_MAX)),
            Fact::BookRefused(refused) => self.book_refused(turn, refused.version, refused.reason),
            Fact::KeysetApplied(applied) => self.keyset_applied(turn, applied.version.min(NUMBER_MAX)),
            Fact::KeysetRefused(refused) => self.keyset_refused(turn, &refused),
            Fact::DoorForced(ref seen) => {
                self.seen_door(seen.compartment, DoorState::Forced, None);
                turn.alarm_of(&self.at, format!("cabinet {}: {}", self.at, describe::text(&fact)));
            }
            Fact::WrongDoor(_) | Fact::TypingLocked(_) | Fact::AppClosed(_) | Fact::EmergencyOpened(_) => {
                turn.alarm_of(&self.at, format!("cabinet {}: {}", self.at, describe::text(&fact)));
            }
            Fact::BreakGlassUsed(used) => self.break_glass_used(turn, when, &used),
            Fact::Wiped(wiped) => self.wiped(turn, wiped),
            Fact::DoorHeldOpen(ref seen) => {
                self.seen_door(seen.compartment, DoorState::HeldOpen, None);
                turn.alarm_of(&self.at, format!("cabinet {}: {}", self.at, describe::text(&fact)));
            }
            Fact::DoorFault(ref seen) => self.door_fault(turn, seen.compartment, &describe::text(&fact)),
            Fact::BoardHealth(seen) => self.board_health(turn, when, seen.board, seen.answering),
            // It begins to count its boards anew.
            Fact::Started(_) => {}
            Fact::CredentialRefused(refused) => self.credential_refused(turn, &refused),
            Fact::Maintenance(_) | Fact::StaffLoggedIn(_) | Fact::CourierCame(_) | Fact::Released(_) => {}
        }
    }

    /// Whether a door that was opened by this right is open for the order's recipient.
    fn is_collected_by(&self, by: &Actor, order: &OrderKey) -> bool {
        match by {
            Actor::Credential(by) => self.is_for_pickup(by.id, order),
            Actor::App(_) => true,
            Actor::Command(_) | Actor::Staff(_) | Actor::Courier(_) | Actor::Nobody(_) => false,
        }
    }

    fn loaded(
        &mut self,
        turn: &mut Turn<'_>,
        when: When,
        order: &OrderKey,
        compartment: Compartment,
        (fact, courier): (OrderFact, Option<Name>),
    ) {
        let stored = fact == OrderFact::Stored;
        let (others, audit_required) = self.left_beside(order, compartment, stored);
        let inside = Inside { order: Some(order.clone()), stored, audit_required, ..Inside::default() }.beside(others);
        self.is_in(turn, when, order, compartment, (inside, (fact, courier)));
    }

    pub(super) fn is_in(
        &mut self,
        turn: &mut Turn<'_>,
        when: When,
        order: &OrderKey,
        compartment: Compartment,
        (inside, by): (Inside, (OrderFact, Option<Name>)),
    ) {
        self.took_from_elsewhere(turn, order, compartment);
        self.set_inside(turn, compartment, inside);
        self.is_known_in(turn, when, order, compartment, by);
    }

    /// That it was taken out of there first is among what was lost or not understood.
    pub(super) fn took_from_elsewhere(&mut self, turn: &mut Turn<'_>, order: &OrderKey, compartment: Compartment) {
        let elsewhere: Vec<_> = self
            .inside
            .iter()
            .filter(|(at, inside)| **at != compartment && inside.holds(order))
            .map(|(at, inside)| (*at, inside.without(order)))
            .collect();
        for (at, left) in elsewhere {
            self.set_inside(turn, at, Inside { audit_required: true, ..left });
        }
    }

    pub(super) fn is_known_in(
        &mut self,
        turn: &mut Turn<'_>,
        when: When,
        order: &OrderKey,
        compartment: Compartment,
        (fact, courier): (OrderFact, Option<Name>),
    ) {
        self.occupied(turn, order, compartment);
        if fact == OrderFact::Stored {
            self.uninvite(turn, order);
        }
        self.tell_order_by(turn, when, order, compartment, (fact, courier));
        if fact == OrderFact::Stored {
            self.stall_one(turn, order);
        }
        self.announce_found(turn, order);
    }

    /// Two orders have changed places, by the word of staff, which also ends a doubt about them.
    fn swapped(&mut self, turn: &mut Turn<'_>, when: When, swapped: Swapped) {
        let Swapped { one, one_in, other, other_in, .. } = swapped;
        for (order, at) in [(one, one_in), (other, other_in)] {
            self.set_inside(turn, at, Inside { order: Some(order.clone()), stored: true, ..Inside::default() });
            self.occupied(turn, &order, at);
            self.tell_order(turn, when, &order, at, OrderFact::Moved);
        }
    }

    /// By the word of staff, which also ends a doubt about the compartment. What was in it is told before.
    fn found(&mut self, turn: &mut Turn<'_>, when: When, found: &Found) {
        let Found { order, compartment, .. } = found;
        let was_inside = self.inside.values().any(|inside| inside.stored && inside.holds(order));
        let fact = if was_inside { OrderFact::Moved } else { OrderFact::Stored };
        let inside = Inside { order: Some(order.clone()), stored: true, ..Inside::default() };
        self.is_in(turn, when, order, *compartment, (inside, (fact, None)));
    }

    /// The order is out, by the cabinet's word. A doubt about the compartment stays.
    fn emptied(&mut self, turn: &mut Turn<'_>, order: &OrderKey, compartment: Compartment) {
        if let Some(left) = self.inside.get(&compartment).filter(|inside| inside.holds(order)) {
            let left = left.without(order);
            self.set_inside(turn, compartment, left);
        }
    }

    /// What an event says about a door holds until the next sample of telemetry.
    fn seen_door(&mut self, compartment: Compartment, door: DoorState, occupancy: Option<Occupancy>) {
        let known = self.doors.get(&compartment).map_or(Occupancy::Unknown, |(_, occupancy)| *occupancy);
        self.doors.insert(compartment, (door, occupancy.unwrap_or(known)));
    }

    pub(super) fn tell_order(
        &self,
        turn: &mut Turn<'_>,
        when: When,
        order: &OrderKey,
        compartment: Compartment,
        fact: OrderFact,
    ) {
        self.tell_order_by(turn, when, order, compartment, (fact, None));
    }

    fn tell_order_by(
        &self,
        turn: &mut Turn<'_>,
        when: When,
        order: &OrderKey,
        compartment: Compartment,
        (fact, courier): (OrderFact, Option<Name>),
    ) {
        let refrigerated = self.info(compartment).is_some_and(|info| info.attributes.refrigerated);
        let told = Told { fact, compartment, at: when.at, time_unverified: when.unverified, refrigerated, courier };
        turn.send(Intent::to_order(&self.at, order, told));
    }

    /// Where it was is known to the order itself, if no door was opened.
    fn tell_reported(&self, turn: &mut Turn<'_>, when: When, said: &Reported) {
        let Reported { order, compartment, .. } = said;
        let reported = intents::Reported { compartment: *compartment, at: when.at, time_unverified: when.unverified };
        turn.send(Intent::to_order(&self.at, order, reported));
    }

    /// It stays with the keys that it has. Sent again with its next connection.
    fn keyset_refused(&self, turn: &mut Turn<'_>, refused: &KeysetRefused) {
        let which = refused.version.map_or_else(|| "a keyset".to_owned(), |version| format!("keyset {version}"));
        turn.alarm_of(
            &self.at,
            format!(
                "cabinet {} refused {which}: {}; it believes the keys of keyset {}",
                self.at, refused.reason, self.said.keyset
            ),
        );
    }

    /// The cabinet believes other keys now: what it refused for want of them may be sent again.
    fn keyset_applied(&mut self, turn: &mut Turn<'_>, version: u64) {
        self.said.keyset = self.said.keyset.max(version);
        turn.put(SAID, self.at.key(), &self.said);
        if let Some(open) = self.open_link() {
            open.book_sent = None;
            turn.want(Job::Book(self.at.clone()));
            self.time_due(turn);
        }
    }

    /// A sample: shown to whoever watches, and kept in memory for `cabinet.show`.
    pub(crate) fn telemetry(&mut self, turn: &mut Turn<'_>, payload: &[u8]) {
        if !self.is_online() {
            return self.close(turn, "telemetry before hello");
        }
        let sample: Telemetry = match cbor::decode(payload) {
            Ok(sample) => sample,
            Err(error) => return turn.refuse(format!("telemetry: {error}")),
        };
        self.challenged(turn, sample.challenge);
        self.progress.last_seen = Some(turn.now);
        for state in &sample.compartments.items {
            if self.info(state.number).is_some() {
                self.doors.insert(state.number, (state.door, state.occupancy));
            }
        }
        self.hear_of_faults(turn, &sample.compartments.items);
        let low = sample.disk_low == Some(true);
        if std::mem::replace(&mut self.disk_low, low) != low {
            let word = if low { "is full: it takes no new orders" } else { "has room again" };
            turn.alarm_of(&self.at, format!("cabinet {}: its disk {word}", self.at));
        }
        // Events that said so may be lost.
        self.started_when(turn, &sample.at);
        if sample.outbox == 0
            && sample.boards_silent == 0
            && self.progress.outage.as_ref().is_some_and(|outage| outage.started.is_none())
        {
            self.outage_over(turn, turn.now);
            self.put_progress(turn);
        }
        if sample.outbox == 0 && self.is_unreconciled() {
            self.reconcile(turn, &sample.compartments.items);
        }
        if sample.outbox == 0 {
            self.freed(turn, &sample.compartments.items);
        }
        let at = Rfc3339(When::of(&sample.at, turn.now).at);
        let live = LiveTelemetry::new(self.at.cabinet.clone(), at, &sample);
        self.live(turn, Live::Telemetry, json(&live));
    }
}
