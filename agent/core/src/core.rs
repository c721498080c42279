//! The aggregate: what a cabinet knows, and which rule hears of which fact.

use std::collections::{BTreeMap, BTreeSet};

use schemas::messages::{BoardHealth, Compartment, CredentialKind, Event, Fact, RefusalReason, Telemetry};
use schemas::step::Step;

use crate::app::Presence;
use crate::bay::Bay;
use crate::book::HeldBook;
use crate::challenges::Challenges;
use crate::commands::Commands;
use crate::courier::Couriers;
use crate::deposit::Deposits;
use crate::emergency::Emergency;
use crate::entry::{Entries, Who};
use crate::factor::Asked;
use crate::keyset::{Keys, Refused};
use crate::link::Link;
use crate::lockout::{Lockout, Typing};
use crate::open::Identity;
use crate::outbox::Outbox;
use crate::records::{LOCKOUT_KEY, TIME_KEY};
use crate::refusals::Refusals;
use crate::release::Releases;
use crate::report::Reports;
use crate::service::Maintenance;
use crate::staff::Sessions;
use crate::tables::META;
use crate::time::FleetClock;
use crate::turn::Turn;
use crate::wipe::End;
use crate::{CompartmentView, Config, EarliestTime, Effect, Input, Moment, OfflineView, View};

/// The rules of one cabinet. See the crate's page for how a shell drives it.
pub struct CabinetCore {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) keys: Keys,
    pub(crate) challenges: Challenges,
    pub(crate) clock: FleetClock,
    pub(crate) outbox: Outbox,
    pub(crate) link: Link,
    /// The newest sample of this connection.
    pub(crate) told: Option<Telemetry>,
    /// When `ask` was last answered.
    pub(crate) asked_at: Option<u64>,
    pub(crate) book: HeldBook,
    pub(crate) bays: BTreeMap<Compartment, Bay>,
    /// Number of the newest pulse.
    pub(crate) pulses: u64,
    pub(crate) commands: Commands,
    pub(crate) refusals: Refusals,
    pub(crate) reports: Reports,
    pub(crate) lockout: Lockout,
    pub(crate) entries: Entries,
    pub(crate) sessions: Sessions,
    pub(crate) deposits: Deposits,
    pub(crate) couriers: Couriers,
    pub(crate) releases: Releases,
    pub(crate) asked: Asked,
    pub(crate) emergency: Emergency,
    pub(crate) maintenance: Option<Maintenance>,
    pub(crate) presence: Presence,
    pub(crate) silent_boards: BTreeSet<u32>,
    /// What is left of the disk is for orders that are inside.
    pub(crate) disk_low: bool,
    /// The cabinet is to be wiped, or was.
    pub(crate) end: Option<End>,
    /// Boot clock of the last input.
    pub(crate) now: u64,
}

impl CabinetCore {
    /// Decides about one fact. The rows of the step go to disk in one transaction before any of its effects.
    pub fn handle(&mut self, input: Input, moment: &Moment) -> Step<Effect> {
        let mut turn = Turn::new(moment);
        self.now = turn.now;
        match self.end {
            None => self.dispatch(input, &mut turn),
            Some(_) => self.dispatch_ending(input, &mut turn),
        }
        self.handle_due(&mut turn);
        self.end_due(&mut turn);
        self.send_events(&mut turn);
        turn.finish()
    }

    fn dispatch(&mut self, input: Input, turn: &mut Turn) {
        match input {
            Input::Tick => {}
            Input::Keyset(envelope) => match self.handle_keyset(turn, envelope) {
                // In the settings an older one than the fleet has sent meanwhile is the normal case.
                Ok(()) | Err(Refused { reason: RefusalReason::OldVersion, .. }) => {}
                Err(refused) => self.refuse_keyset(turn, refused),
            },
            Input::Connected => self.handle_connected(turn),
            Input::Disconnected => self.handle_disconnected(turn),
            Input::Down { token, payload } => self.handle_down(turn, token, &payload),
            Input::EventsAcked { up_to } => self.outbox.acknowledged(turn, up_to),
            Input::HelloAcked => self.handle_hello_acked(turn.now),
            Input::Entered { entry, secret } => self.handle_entered(turn, entry, secret, Who::Customer),
            Input::StaffEntered { entry, secret } => self.handle_entered(turn, entry, secret, Who::Staff),
            Input::CourierEntered { entry, secret } => self.handle_entered(turn, entry, secret, Who::Courier),
            Input::Answered { entry, answer } => self.handle_answered(turn, entry, answer),
            Input::Derived { entry, verifier } => self.handle_derived(turn, entry, &verifier),
            Input::StaffLogout { session } => {
                self.end_session(turn, session);
                self.courier_leaves(turn, session);
            }
            Input::Bring { session, label } => self.handle_bring(turn, session, &label),
            Input::BringTo { session, parcel } => self.handle_bring_to(turn, session, parcel),
            Input::Load { session, order, larger } => self.handle_load(turn, session, &order, larger),
            Input::WalkIn { session, order } => self.handle_walk_in(turn, session, order),
            Input::DropWalkIn { session, order } => self.handle_drop_walk_in(turn, session, &order),
            Input::Retrieve { session, order } => self.handle_retrieve(turn, session, &order, false),
            Input::Release { session, order } => self.handle_release(turn, session, &order),
            Input::Undo { session, order } => self.handle_retrieve(turn, session, &order, true),
            Input::OpenAll { session } => self.handle_open_all(turn, session),
            Input::Swap { session, one, other } => self.handle_swap(turn, session, one, other),
            Input::ConfirmSwap { session, compartment, swapped } => {
                self.handle_confirm_swap(turn, session, compartment, swapped);
            }
            Input::Found { session, compartment, order } => self.handle_found(turn, session, compartment, &order),
            Input::Look { session, compartment } => self.handle_look(turn, session, compartment),
            Input::Service { session, compartment, in_service } => {
                self.handle_service(turn, session, compartment, in_service);
            }
            Input::Maintenance { session, minutes } => self.handle_maintenance(turn, session, minutes),
            Input::Cleaning { session, compartment, needed } => {
                self.handle_cleaning(turn, session, compartment, needed);
            }
            Input::ConfirmLoaded { session, compartment, inside } => {
                self.handle_confirm(turn, session, compartment, inside);
            }
            Input::NotTaken { compartment } => self.handle_not_taken(turn, compartment),
            Input::Deposit { session, wish } => self.handle_deposit(turn, session, wish),
            Input::Report { compartment } => self.handle_report(turn, compartment),
            Input::TryAgain { compartment } => self.handle_try_again(turn, compartment),
            Input::Door { compartment, door, occupancy } => self.handle_door(turn, compartment, door, occupancy),
            Input::PulseResult { pulse, sent } => self.handle_pulse_result(turn, pulse, sent),
            Input::Board { board, answering } => self.handle_board(turn, board, answering),
            Input::Disk { low } => self.disk_low = low,
        }
    }

    fn handle_board(&mut self, turn: &mut Turn, board: u32, answering: bool) {
        let changed = if answering { self.silent_boards.remove(&board) } else { self.silent_boards.insert(board) };
        if changed {
            self.record(turn, BoardHealth { board, answering });
        }
    }

    /// Boot milliseconds at which to call again with [`Input::Tick`], if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<u64> {
        let own = [
            self.link.deadline(),
            self.lockout.deadline(),
            self.clock.floor_due(),
            self.entries.deadline(),
            self.sessions.deadline(),
            self.deposits.deadline(),
            self.couriers.deadline(),
            self.releases.deadline(),
            self.asked.deadline(),
            self.emergency.deadline(),
            self.presence.deadline(),
            self.end.as_ref().and_then(|end| end.deadline(self.now)),
        ];
        own.into_iter().chain(self.bays.values().map(Bay::deadline)).flatten().min()
    }

    fn handle_due(&mut self, turn: &mut Turn) {
        let due: Vec<_> = self.bays.values().filter(|bay| bay.deadline().is_some_and(|at| at <= turn.now)).collect();
        let due: Vec<_> = due.into_iter().map(Bay::number).collect();
        for compartment in due {
            self.use_due(turn, compartment);
            self.offer_due(turn, compartment);
            self.collection_due(turn, compartment);
            self.deposit_due(turn, compartment);
            self.staff_due(turn, compartment);
            self.held_due(turn, compartment);
        }
        if self.lockout.tick(turn.now) {
            turn.put(META, LOCKOUT_KEY, &self.lockout.row());
        }
        if let Some(row) = self.clock.raise_floor(turn.now, self.is_online()) {
            turn.put(META, TIME_KEY, &row);
        }
        self.emergency_due(turn);
        self.entries_due(turn);
        self.sessions_due(turn);
        self.drop_given_up(turn);
        self.couriers_due(turn);
        self.deposits.end_due(turn.now);
        self.releases.end_due(turn.now);
        self.asked.end_due(turn.now);
        self.link_due(turn);
        self.show_token(turn);
    }

    /// Writes a fact as the next event, once and for ever.
    pub(crate) fn record(&mut self, turn: &mut Turn, fact: impl Into<Fact>) {
        let event = Event { at: self.clock.stamp(turn.now), fact: fact.into() };
        self.outbox.append(turn, &event);
    }

    pub(crate) fn boards_silent(&self) -> u32 {
        u32::try_from(self.silent_boards.len()).unwrap_or(u32::MAX)
    }

    /// For whoever judges certificates, as of the last input.
    pub fn earliest_time(&self) -> EarliestTime {
        self.clock.earliest(self.now)
    }

    /// What a screen shows, as of the last input.
    pub fn view(&self) -> View {
        let boot_millis = self.now;
        let fleet_millis = self.clock.now(boot_millis);
        View {
            boot_millis,
            cabinet: self.config.cabinet.clone(),
            online: self.is_online(),
            offline: if self.is_online() { None } else { self.offline() },
            fleet_millis,
            locked_until: self.lockout.locked_until(boot_millis),
            second_part_needed: self.lockout.typing(boot_millis, fleet_millis) == Typing::SecondPart,
            code_digits: self.book.code_digits(),
            code_letters: self.book.code_letters(),
            other_form: self.book.has_live(match self.book.code_letters() {
                Some(_) => CredentialKind::Digits,
                None => CredentialKind::Letters,
            }),
            app_token: self.presence.token(),
            book: self.book.version(),
            compartments: self.bays.values().map(|bay| self.compartment_view(bay)).collect(),
            outbox: self.outbox.waiting(),
            boards_silent: self.boards_silent(),
            maintenance: self.maintained(self.now).map(|(staff, until)| (staff.clone(), until)),
            refusals_suppressed: self.refusals.suppressed(),
        }
    }

    fn offline(&self) -> Option<OfflineView> {
        self.clock.heard(self.now).map(|(since, at_least_millis)| OfflineView { since, at_least_millis })
    }

    fn compartment_view(&self, bay: &Bay) -> CompartmentView {
        CompartmentView {
            number: bay.number(),
            size: bay.size(),
            in_service: bay.in_service(),
            refrigerated: bay.info().attributes.refrigerated,
            withdrawn: bay.withdrawn,
            fault: bay.fault.is_some(),
            orders: bay.orders().cloned().collect(),
            door: bay.door_state(),
            occupancy: bay.occupancy,
            allocated: !bay.is_free(),
            audit_required: bay.audit,
            needs_cleaning: bay.needs_cleaning,
            asks: bay.asks(),
            swaps_with: bay.swaps_with(),
            try_again: bay.offer.is_some(),
            may_stay: self.may_stay(bay),
        }
    }
}
