//! What a screen shows. No secrets.

use schemas::ids::{CabinetId, Name};
use schemas::messages::{
    Category, Compartment, DepositKind, DoorState, Occupancy, OrderKey, PartOf, PresenceToken, Size, TakeBack,
};
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct View {
    pub cabinet: CabinetId,
    /// Boot clock to which the rest belongs.
    pub boot_millis: u64,
    /// Connected, and the fleet has welcomed this cabinet.
    pub online: bool,
    /// Since when not, where anything is known of that. None while online.
    pub offline: Option<OfflineView>,
    /// The fleet's time in milliseconds, if known.
    pub fleet_millis: Option<u64>,
    /// Typing is locked until then, by the boot clock.
    pub locked_until: Option<u64>,
    /// Typed codes alone do not open today.
    pub second_part_needed: bool,
    pub code_digits: u8,
    /// Letters of a new code, where codes are of letters.
    pub code_letters: Option<u8>,
    /// Codes of the other form, from before it was changed, still open something.
    pub other_form: bool,
    /// For whoever stands there to pass on, so that an app opens the door. Changes often, and is worth nothing elsewhere.
    pub app_token: Option<PresenceToken>,
    pub book: u64,
    pub compartments: Vec<CompartmentView>,
    /// Events that are not yet acknowledged.
    pub outbox: u64,
    pub boards_silent: u32,
    /// Who works at the doors with a mechanical key, and until when by the boot clock in milliseconds. For staff only.
    pub maintenance: Option<(Name, u64)>,
    /// Refusals of this run that were not reported because there were too many.
    pub refusals_suppressed: u64,
}

/// Nothing new of the fleet has come since then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OfflineView {
    /// Fleet time in milliseconds.
    pub since: u64,
    /// How long ago that was at least; behind a restart without a network it may be longer.
    pub at_least_millis: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CompartmentView {
    pub number: Compartment,
    pub size: Size,
    pub in_service: bool,
    pub refrigerated: bool,
    /// Staff have taken it out of service, and can take it back.
    pub withdrawn: bool,
    /// Out of order: its door did not open, or another one did.
    pub fault: bool,
    pub door: DoorState,
    pub occupancy: Occupancy,
    pub allocated: bool,
    /// What is booked into it. For staff only.
    pub orders: Vec<OrderKey>,
    /// Booked free and occupied, or left in doubt: staff must look.
    pub audit_required: bool,
    /// It takes no order until staff say that it is clean.
    pub needs_cleaning: bool,
    /// Staff must say whether something is inside.
    pub asks: bool,
    /// Its order is being exchanged with that of this compartment, and staff must say whether it was.
    pub swaps_with: Option<Compartment>,
    /// The door did not open and the person may press "try again".
    pub try_again: bool,
    /// It was opened by the credential of a bundle, and whoever did may say that the order stays inside.
    pub may_stay: bool,
}

/// A stored order that staff are to take out. For staff sessions only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnwantedOrder {
    pub order: OrderKey,
    pub compartment: Compartment,
    pub why: TakeBack,
    pub part: Option<PartView>,
}

/// Which part an order is of one that fills several compartments, and whose label names the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartView {
    pub whole: OrderKey,
    /// From 1.
    pub number: u32,
    pub of: u32,
}

impl From<PartOf> for PartView {
    fn from(part: PartOf) -> Self {
        Self { whole: part.whole, number: part.number, of: part.of }
    }
}

/// An order that staff can load, or have begun to. For staff sessions only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingOrder {
    pub order: OrderKey,
    pub size: Size,
    pub category: Category,
    /// The compartment that it has, or that the fleet would like for it.
    pub compartment: Option<Compartment>,
    pub loading: bool,
    /// It was in a compartment that staff found empty.
    pub missing: bool,
    /// Staff began it here, and may give it up while it is in no compartment.
    pub walk_in: bool,
    /// Somebody else is to put it in; staff may.
    pub deposit: Option<DepositKind>,
    pub part: Option<PartView>,
}
