//! One compartment: what it holds, what its door does, and who is opening it.

use schemas::ids::Name;
use schemas::messages::{Attributes, Compartment, CompartmentInfo, CredentialId, DoorState, Occupancy, OrderKey, Size};

use crate::records::{BayRow, Content, Fault, Free, Purpose, UseRow};
use crate::uses::ATTEMPTS_MAX;
use crate::{CompartmentConfig, DoorSeen};

/// A door that opens this long after a pulse of ours still opened by it: people push late.
pub const PULSE_WINDOW_MILLIS: u64 = 10_000;
pub const BEEP_MILLIS: u64 = 60_000;
pub const HELD_STAFF_MILLIS: u64 = 300_000;
pub const HELD_TECHNICIAN_MILLIS: u64 = 900_000;

/// How far an open door has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Held {
    JustOpen,
    Beeped,
    Staff,
    Technician,
}

impl Held {
    /// What comes next, and how long after the opening.
    pub(crate) fn next(self) -> Option<(Self, u64)> {
        match self {
            Self::JustOpen => Some((Self::Beeped, BEEP_MILLIS)),
            Self::Beeped => Some((Self::Staff, HELD_STAFF_MILLIS)),
            Self::Staff => Some((Self::Technician, HELD_TECHNICIAN_MILLIS)),
            Self::Technician => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenDoor {
    pub(crate) since: u64,
    pub(crate) held: Held,
    pub(crate) forced: bool,
}

/// Where a use of an authority stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The bus has the pulse. `retried`: a first one was certainly not sent.
    Pulsing { retried: bool },
    /// Sent at `at`; the sensor decides until three seconds later.
    Sent { at: u64 },
    /// Journalled by a former run; the sensor decides until `until`, and nothing is pulsed.
    Recovering { until: u64 },
}

#[derive(Debug)]
pub(crate) struct ActiveUse {
    pub(crate) row: UseRow,
    pub(crate) phase: Phase,
}

/// The door did not open and the person may press "try again".
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) row: UseRow,
    pub(crate) until: u64,
    /// The use has its row still: its pulse was sent.
    pub(crate) journalled: bool,
}

#[derive(Debug)]
pub(crate) struct LastPulse {
    pub(crate) at: u64,
    pub(crate) purpose: Purpose,
}

/// At most one use is in progress in a compartment; that is what `active` being one value means.
#[derive(Debug)]
pub(crate) struct Bay {
    config: CompartmentConfig,
    pub(crate) content: Content,
    /// Orders that are stored here besides the one that the content is about.
    pub(crate) beside: Vec<OrderKey>,
    /// What the sensor last said for certain, kept while it is silent.
    pub(crate) was_open: Option<bool>,
    pub(crate) fault: Option<Fault>,
    pub(crate) audit: bool,
    /// Who has opened the door to look inside, until it is known what they found.
    pub(crate) looker: Option<Name>,
    /// Of so many orders they have said that they are there.
    pub(crate) found: u32,
    pub(crate) needs_cleaning: bool,
    /// Staff have taken it out of service.
    pub(crate) withdrawn: bool,
    pub(crate) seen: DoorSeen,
    pub(crate) occupancy: Occupancy,
    pub(crate) open_door: Option<OpenDoor>,
    pub(crate) active: Option<ActiveUse>,
    pub(crate) offer: Option<Offer>,
    pub(crate) last_pulse: Option<LastPulse>,
    /// When an opened and not closed collection counts as over without confirmation, or a deposit behind a closed door of
    /// which nobody says anything.
    pub(crate) unconfirmed_at: Option<u64>,
    /// Whoever has closed this door on what they came for.
    pub(crate) reopens: Option<Reopens>,
}

/// A collection after which the sensor still sees something: for a while the same credential opens the door again.
#[derive(Debug, Clone)]
pub(crate) struct Reopens {
    pub(crate) credential: CredentialId,
    pub(crate) order: OrderKey,
    pub(crate) until: u64,
}

impl Bay {
    pub(crate) fn new(config: CompartmentConfig, row: Option<BayRow>) -> Self {
        let row = row.unwrap_or(BayRow {
            content: Free {}.into(),
            open: None,
            fault: None,
            audit: false,
            looker: None,
            needs_cleaning: None,
            withdrawn: None,
            beside: None,
            found: None,
        });
        Self {
            config,
            content: row.content,
            was_open: row.open,
            fault: row.fault,
            audit: row.audit,
            looker: row.looker,
            needs_cleaning: row.needs_cleaning == Some(true),
            withdrawn: row.withdrawn == Some(true),
            beside: row.beside.unwrap_or_default(),
            found: row.found.unwrap_or_default(),
            seen: DoorSeen::Unknown,
            occupancy: Occupancy::Unknown,
            open_door: None,
            active: None,
            offer: None,
            last_pulse: None,
            unconfirmed_at: None,
            reopens: None,
        }
    }

    pub(crate) fn row(&self) -> BayRow {
        BayRow {
            content: self.content.clone(),
            open: self.was_open,
            fault: self.fault,
            audit: self.audit,
            looker: self.looker.clone(),
            needs_cleaning: self.needs_cleaning.then_some(true),
            withdrawn: self.withdrawn.then_some(true),
            beside: Some(self.beside.clone()).filter(|beside| !beside.is_empty()),
            found: Some(self.found).filter(|found| *found > 0),
        }
    }

    pub(crate) fn info(&self) -> &CompartmentInfo {
        &self.config.info
    }

    pub(crate) fn number(&self) -> Compartment {
        self.config.info.number
    }

    /// A sensor tells whether something is inside.
    pub(crate) fn sees_inside(&self) -> bool {
        self.config.occupancy_sensor
    }

    /// It says for certain what the book says.
    pub(crate) fn sensor_agrees(&self) -> bool {
        self.occupancy == if self.is_free() { Occupancy::Empty } else { Occupancy::Occupied }
    }

    pub(crate) fn size(&self) -> Size {
        self.config.info.size
    }

    /// Without a sensor nothing is known, whatever the bus says.
    pub(crate) fn sensed(&self, occupancy: Occupancy) -> Occupancy {
        if self.sees_inside() { occupancy } else { Occupancy::Unknown }
    }

    pub(crate) fn is_free(&self) -> bool {
        matches!(self.content, Content::Free(_))
    }

    /// Free, closed, in service, sound, not known occupied, and made for such an order.
    pub(crate) fn takes(&self, size: Size, wants: Attributes) -> bool {
        self.is_free() && self.is_sound() && self.occupancy != Occupancy::Occupied && self.is_made_for(size, wants)
    }

    /// By the settings, and by the word of staff.
    pub(crate) fn in_service(&self) -> bool {
        self.info().in_service && !self.withdrawn
    }

    /// Closed, in service, nobody at its door, and nothing against it.
    pub(crate) fn is_sound(&self) -> bool {
        self.active.is_none()
            && self.is_closed()
            && self.in_service()
            && self.fault.is_none()
            && !self.audit
            && self.looker.is_none()
            && !self.needs_cleaning
    }

    pub(crate) fn is_made_for(&self, size: Size, wants: Attributes) -> bool {
        self.size() >= size && self.info().attributes.satisfies(wants)
    }

    /// A door whose sensor is silent counts as closed unless it was open when the silence began.
    fn is_closed(&self) -> bool {
        match self.seen {
            DoorSeen::Closed => true,
            DoorSeen::Open => false,
            DoorSeen::Unknown => self.was_open != Some(true),
        }
    }

    /// Nothing was ever heard of its door.
    pub(crate) fn has_no_sensor(&self) -> bool {
        self.seen == DoorSeen::Unknown && self.was_open.is_none()
    }

    /// The order for which this credential, which is used up, still opens the door: something is inside, it is nobody else's,
    /// and nobody has been at the door since.
    pub(crate) fn reopens_for(&self, credential: CredentialId, now: u64) -> Option<&OrderKey> {
        let reopens = self.reopens.as_ref().filter(|one| one.credential == credential && now < one.until)?;
        let untouched = self.is_free() && self.looker.is_none() && self.fault.is_none();
        let inside = self.seen == DoorSeen::Closed && self.occupancy == Occupancy::Occupied;
        (untouched && inside).then_some(&reopens.order)
    }

    /// Somebody has to look before anybody may rely on what the book says of it.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.audit || self.looker.is_some() || matches!(self.fault, Some(Fault::WrongDoor | Fault::PutBack))
    }

    /// The compartment with whose order its own is being exchanged.
    pub(crate) fn swaps_with(&self) -> Option<Compartment> {
        match &self.content {
            Content::Swapping(content) => Some(content.with),
            Content::Free(_)
            | Content::Loading(_)
            | Content::Stored(_)
            | Content::Collecting(_)
            | Content::Leaving(_)
            | Content::Retrieving(_)
            | Content::Depositing(_) => None,
        }
    }

    /// Staff must say what is inside: the door was unlocked for them, and no sensor has answered.
    pub(crate) fn asks(&self) -> bool {
        let opened = match &self.content {
            Content::Loading(content) => content.opened,
            Content::Retrieving(content) => content.opened,
            Content::Depositing(content) => content.opened,
            Content::Free(_) | Content::Stored(_) => self.looker.is_some(),
            Content::Collecting(_) | Content::Leaving(_) | Content::Swapping(_) => false,
        };
        opened && self.seen != DoorSeen::Open
    }

    /// A person whose door did not open may press once more.
    pub(crate) fn may_try_again(&self, row: &UseRow) -> bool {
        !row.purpose.is_of_somebody_away()
            && row.attempt < ATTEMPTS_MAX
            && !matches!(self.fault, Some(Fault::WrongDoor | Fault::PutBack))
    }

    pub(crate) fn door_state(&self) -> DoorState {
        match (self.seen, self.open_door) {
            (DoorSeen::Unknown, _) => DoorState::Unknown,
            (DoorSeen::Closed, _) => DoorState::Closed,
            (DoorSeen::Open, Some(door)) if door.forced => DoorState::Forced,
            (DoorSeen::Open, Some(door)) if door.held >= Held::Staff => DoorState::HeldOpen,
            (DoorSeen::Open, _) => DoorState::Open,
        }
    }

    /// By whose right a door that opens now is open, when no use is in progress any more.
    pub(crate) fn late_purpose(&self, now: u64) -> Option<Purpose> {
        let pulse = self.last_pulse.as_ref()?;
        (now.saturating_sub(pulse.at) <= PULSE_WINDOW_MILLIS).then(|| pulse.purpose.clone())
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        let held = self.open_door.and_then(|door| door.held.next().map(|(_, after)| door.since + after));
        let active = self.active.as_ref().map(ActiveUse::deadline);
        let offer = self.offer.as_ref().map(|offer| offer.until);
        [held, active, offer, self.unconfirmed_at].into_iter().flatten().min()
    }
}

impl ActiveUse {
    /// Three seconds for the sensor. The bus answers soon after `not_after` at the latest; should it have died, the
    /// outcome must not wait for ever.
    pub(crate) fn deadline(&self) -> u64 {
        const SENSOR_MILLIS: u64 = 3_000;
        const ANSWER_MILLIS: u64 = 5_000;
        match self.phase {
            Phase::Pulsing { .. } => self.row.not_after.saturating_add(ANSWER_MILLIS),
            Phase::Sent { at } => at + SENSOR_MILLIS,
            Phase::Recovering { until } => until,
        }
    }
}
