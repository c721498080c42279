//! One cabinet: what it is, what is in it, its book, its events and its commands.

mod app;
mod availability;
mod book;
mod break_glass;
mod bundles;
mod cabinets;
mod commands;
mod crew;
mod deposits;
mod describe;
mod doubts;
mod enrolment;
mod errands;
mod events;
mod factor;
mod hello;
mod history;
mod keysets;
mod outage;
mod people;
mod records;
mod reservations;
mod secrets;
mod shared;
mod view;
mod walk_in;
mod wipe;

use std::collections::{BTreeMap, BTreeSet};

use schemas::api::Availability;
use schemas::ids::Name;
use schemas::messages::{
    Challenge, CommandId, Compartment, CompartmentInfo, CredentialId, DoorState, FleetMillis, Occupancy, OrderKey,
};
use schemas::topics::Up;

use crate::config::Config;
use crate::intents::CabinetIntent;
use crate::staff::Crew;
use crate::tables::{BOOKED, CABINETS, COMPARTMENTS, CabinetRef, PROGRESS};
use crate::turn::Turn;

pub(crate) use break_glass::GlassRow;
pub(crate) use bundles::BundleAt;
pub(crate) use cabinets::Cabinets;
pub(crate) use commands::{Unlock, UnlockWish};
pub(crate) use enrolment::{Enrolment, Issued, Offer, Replaced};
pub use history::{UNLOCKS_KEPT, UNLOCKS_PAGE, unlock_key, unlock_page};
pub(crate) use records::{Booked, ChangeSet, CommandRow, Inside, Progress, Registration, Said, StaffAt};
pub(crate) use wipe::WipeRow;

/// How the cabinet is connected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Link {
    #[default]
    Offline,
    /// Connected; only a hello is taken.
    Silent,
    Open(OpenLink),
}

/// A connection that said hello.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OpenLink {
    /// The newest challenge, and when it came.
    challenge: Challenge,
    heard: FleetMillis,
    /// When a challenge was last asked for.
    asked: Option<FleetMillis>,
    /// Version of the book that was sent and not answered.
    book_sent: Option<u64>,
    /// A snapshot was made in this connection because the cabinet refused a base.
    rebased: bool,
    /// The fleet's time is to be signed with the next challenge.
    time_due: bool,
    /// Newest keyset that was sent.
    keyset_sent: u64,
    /// Its screen shows tokens.
    app: bool,
    /// It takes commands about orders.
    errands: bool,
}

pub(crate) struct Cabinet {
    at: CabinetRef,
    registration: Registration,
    said: Said,
    progress: Progress,
    inside: BTreeMap<Compartment, Inside>,
    booked: BTreeMap<OrderKey, Booked>,
    sets: BTreeMap<u64, ChangeSet>,
    staff: BTreeMap<Name, StaffAt>,
    couriers: BTreeMap<Name, StaffAt>,
    bundles: BTreeMap<OrderKey, BundleAt>,
    commands: BTreeMap<CommandId, CommandRow>,
    enrolment: Enrolment,
    wipe: Option<WipeRow>,
    glass: Option<GlassRow>,
    // What follows is of this run only.
    link: Link,
    doors: BTreeMap<Compartment, (DoorState, Occupancy)>,
    /// When it was heard of last before this connection.
    seen_before: Option<FleetMillis>,
    /// Whose lock is at fault, by the last sample.
    faulty: BTreeSet<Compartment>,
    unlocks: BTreeMap<CommandId, Unlock>,
    /// People who wait for a challenge, by ticket.
    asking: BTreeMap<u64, Option<Compartment>>,
    /// People who wait for an opening by the app, by the command that is on its way here.
    openings: BTreeMap<CommandId, u64>,
    /// By the newest sample.
    disk_low: bool,
    /// A keyset there that the fleet does not have, once it was told.
    keyset_ahead: u64,
    /// Credentials and PINs whose sealed secret the signer could not open.
    unreadable: BTreeSet<CredentialId>,
    /// What was said last of free compartments.
    available: Option<Availability>,
    /// The command that the wipe waits for is not signed yet.
    wipe_unsigned: bool,
}

impl Cabinet {
    /// Takes over a registered cabinet from the store.
    pub(crate) fn restored(at: CabinetRef, registration: Registration) -> Self {
        Self {
            at,
            registration,
            said: Said::default(),
            progress: Progress::default(),
            inside: BTreeMap::new(),
            booked: BTreeMap::new(),
            sets: BTreeMap::new(),
            staff: BTreeMap::new(),
            couriers: BTreeMap::new(),
            bundles: BTreeMap::new(),
            commands: BTreeMap::new(),
            enrolment: Enrolment::default(),
            wipe: None,
            glass: None,
            link: Link::Offline,
            doors: BTreeMap::new(),
            seen_before: None,
            faulty: BTreeSet::new(),
            unlocks: BTreeMap::new(),
            asking: BTreeMap::new(),
            openings: BTreeMap::new(),
            disk_low: false,
            keyset_ahead: 0,
            unreadable: BTreeSet::new(),
            available: None,
            wipe_unsigned: false,
        }
    }

    pub(crate) fn register(turn: &mut Turn<'_>, at: CabinetRef, registration: Registration) -> Self {
        turn.put(CABINETS, at.key(), &registration);
        Self::restored(at, registration)
    }

    pub(crate) fn registration(&self) -> &Registration {
        &self.registration
    }

    pub(crate) fn restore_said(&mut self, said: Said) {
        self.said = said;
    }

    pub(crate) fn restore_progress(&mut self, progress: Progress) {
        self.progress = progress;
    }

    /// Whether one of these is in a compartment, by the cabinet's word.
    pub(crate) fn has_inside(&self, orders: &[OrderKey]) -> bool {
        self.inside.values().any(|inside| orders.iter().any(|order| inside.holds(order)))
    }

    pub(crate) fn restore_inside(&mut self, compartment: Compartment, inside: Inside) {
        self.inside.insert(compartment, inside);
    }

    pub(crate) fn restore_booked(&mut self, booked: Booked) {
        self.booked.insert(booked.order.clone(), booked);
    }

    pub(crate) fn restore_set(&mut self, set: ChangeSet) {
        self.sets.insert(set.version, set);
    }

    pub(crate) fn restore_member(&mut self, crew: Crew, member: StaffAt) {
        self.crew_mut(crew).insert(member.name.clone(), member);
    }

    pub(crate) fn restore_command(&mut self, command: CommandRow) {
        self.commands.insert(command.id, command);
    }

    pub(crate) fn enrolment(&mut self) -> &mut Enrolment {
        &mut self.enrolment
    }

    /// Takes an intent of an order or of the tenant's staff list.
    pub(crate) fn take(&mut self, turn: &mut Turn<'_>, config: &Config, intent: CabinetIntent) {
        match intent {
            CabinetIntent::Reserve(reserve) => self.reserve(turn, config, reserve),
            CabinetIntent::Alter(alter) => self.alter(turn, config, alter),
            CabinetIntent::Close(close) => self.close_order(turn, &close.order),
            CabinetIntent::Issue(issue) => self.issue(turn, issue),
            CabinetIntent::Release(release) => self.release(turn, &release.order),
            CabinetIntent::Revoke(revoke) => self.revoke(turn, &revoke.order),
            CabinetIntent::Doubt(doubt) => self.doubt(turn, &doubt.order, doubt.compartment),
            CabinetIntent::Employ(employ) => self.employ(turn, Crew::Staff, employ),
            CabinetIntent::Dismiss(dismiss) => self.dismiss(turn, Crew::Staff, dismiss.name),
            CabinetIntent::Engage(engage) => self.employ(turn, Crew::Couriers, engage.who),
            CabinetIntent::Disengage(gone) => self.dismiss(turn, Crew::Couriers, gone.name),
            CabinetIntent::Show(show) => self.show(turn, show),
            CabinetIntent::Reissue(reissue) => self.reissue(turn, &reissue.order),
            CabinetIntent::Unwant(unwant) => self.want_back(turn, &unwant.order, Some(unwant.why)),
            CabinetIntent::Invite(invite) => self.invite(turn, invite),
            CabinetIntent::OpenByApp(wish) => self.open_by_app(turn, wish),
            CabinetIntent::SetFactor(set) => self.set_factor(turn, set),
            CabinetIntent::Find(find) => self.find(turn, &find.order),
        }
    }

    /// Takes a message of the cabinet.
    pub(crate) fn up(&mut self, turn: &mut Turn<'_>, up: Up, payload: &[u8]) {
        match up {
            Up::Hello => self.hello(turn, payload),
            Up::Event => self.event(turn, payload),
            Up::Telemetry => self.telemetry(turn, payload),
            Up::Challenge => self.challenge(turn, payload),
        }
    }

    fn info(&self, compartment: Compartment) -> Option<&CompartmentInfo> {
        self.said.compartments.iter().find(|info| info.number == compartment)
    }

    fn inside(&self, compartment: Compartment) -> Option<&OrderKey> {
        self.inside.get(&compartment)?.order.as_ref()
    }

    fn open_link(&mut self) -> Option<&mut OpenLink> {
        match &mut self.link {
            Link::Open(open) => Some(open),
            Link::Offline | Link::Silent => None,
        }
    }

    pub(crate) fn is_online(&self) -> bool {
        matches!(self.link, Link::Open(_))
    }

    fn put_progress(&self, turn: &mut Turn<'_>) {
        turn.put(PROGRESS, self.at.key(), &self.progress);
    }

    fn put_booked(&self, turn: &mut Turn<'_>, order: &OrderKey) {
        if let Some(booked) = self.booked.get(order) {
            turn.put(BOOKED, self.at.key_of(&order.to_string()), booked);
        }
    }

    /// Whether it is clean and in service is no matter of what is inside: it stays as it was.
    fn set_inside(&mut self, turn: &mut Turn<'_>, compartment: Compartment, inside: Inside) {
        let held = self.inside.get(&compartment);
        let (needs_cleaning, withdrawn) = held.map_or((None, None), |held| (held.needs_cleaning, held.withdrawn));
        self.replace_inside(turn, compartment, Inside { needs_cleaning, withdrawn, ..inside });
    }

    /// The word of staff about a compartment, whatever is inside: it takes loads no more, or does again.
    fn set_fitness(&mut self, turn: &mut Turn<'_>, compartment: Compartment, change: impl FnOnce(&mut Inside)) {
        let mut held = self.inside.get(&compartment).cloned().unwrap_or_default();
        change(&mut held);
        self.replace_inside(turn, compartment, held);
        self.drop_lost_reservations(turn);
        self.fill_waiting(turn);
    }

    fn replace_inside(&mut self, turn: &mut Turn<'_>, compartment: Compartment, inside: Inside) {
        if self.inside.get(&compartment) != Some(&inside) {
            turn.put(COMPARTMENTS, self.at.numbered(compartment.number().into()), &inside);
            self.inside.insert(compartment, inside);
        }
    }
}
