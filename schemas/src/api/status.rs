//! What backends hear: durable rows with a number, each until it is acknowledged; and what people watch live.

use serde::{Deserialize, Serialize};

use crate::cbor_code;
use crate::ids::{CabinetId, Name, OrderId};
use crate::messages::{Compartment, Prompt, Size, Telemetry};

use super::{AttributeFlags, BundleDoor, Recipient, Rfc3339};

cbor_code! {
    /// State of an order (product.md, State machines).
    pub enum OrderState {
        0 => Created = "created",
        1 => Ready = "ready",
        2 => Reserved = "reserved",
        3 => Loading = "loading",
        4 => Stored = "stored",
        5 => Collecting = "collecting",
        6 => Collected = "collected",
        7 => CollectedUnconfirmed = "collected_unconfirmed",
        8 => Cancelled = "cancelled",
        9 => Rejected = "rejected",
        10 => Retrieved = "retrieved",
        11 => Recalled = "recalled",
        12 => Disputed = "disputed",
        /// Its window is over, and it is still inside.
        13 => Overdue = "overdue",
        /// It is inside, and nobody is to get it: staff take it out, unless somebody releases it.
        14 => Quarantined = "quarantined",
        /// Of an order in several compartments some are empty by now, and the others wait.
        28 => PartlyCollected = "partly_collected",
    }
}

impl OrderState {
    /// It is inside, and staff are to take it out: nobody else gets it.
    pub fn is_withheld(self) -> bool {
        matches!(self, Self::Recalled | Self::Quarantined)
    }

    /// Nobody has begun to put it in.
    pub fn is_to_be_loaded(self) -> bool {
        match self {
            Self::Created | Self::Ready | Self::Reserved => true,
            Self::Loading
            | Self::Stored
            | Self::Collecting
            | Self::Collected
            | Self::CollectedUnconfirmed
            | Self::Cancelled
            | Self::Rejected
            | Self::Retrieved
            | Self::Recalled
            | Self::Disputed
            | Self::Overdue
            | Self::Quarantined
            | Self::PartlyCollected => false,
        }
    }

    /// Nothing moves it any more, but for a recipient who says that a collected order was not there.
    pub fn is_final(self) -> bool {
        match self {
            Self::Collected | Self::CollectedUnconfirmed | Self::Cancelled | Self::Rejected | Self::Retrieved => true,
            Self::Created
            | Self::Ready
            | Self::Reserved
            | Self::Loading
            | Self::Stored
            | Self::Collecting
            | Self::Recalled
            | Self::Disputed
            | Self::Overdue
            | Self::Quarantined
            | Self::PartlyCollected => false,
        }
    }
}

cbor_code! {
    /// Why the fleet did not do what a backend asked. The list is published: it grows, its words never change.
    pub enum RejectReason {
        0 => NoFittingCompartment = "no_fitting_compartment",
        1 => UnknownCabinet = "unknown_cabinet",
        2 => OtherContent = "other_content",
        3 => UnknownOrder = "unknown_order",
        4 => TooLate = "too_late",
        5 => Malformed = "malformed",
        6 => Quota = "quota",
        7 => TooOften = "too_often",
        8 => DeadlineNotLater = "deadline_not_later",
        9 => DeadlineTooFar = "deadline_too_far",
        10 => NoCodeYet = "no_code_yet",
        20 => Quarantined = "quarantined",
        /// Not refused: a person has ended the order.
        21 => ForceClosed = "force_closed",
        /// The order is in a bundle, or in another one: its credential is that of the bundle.
        35 => InBundle = "in_bundle",
        36 => UnknownSite = "unknown_site",
        /// A customer leaves it for the business: nobody collects it.
        37 => NotCollected = "not_collected",
        /// The fleet or the cabinet opens nothing by the screen's token.
        40 => NotEnabled = "not_enabled",
        /// The token is not on the cabinet's screen, not any more, or was used.
        41 => NoSuchToken = "no_such_token",
        /// Nothing was sent: an opening is never kept for later.
        42 => CabinetOffline = "cabinet_offline",
        /// The order is in no compartment.
        43 => NotInside = "not_inside",
        /// The cabinet took it, or may have, and the door was not seen open.
        44 => NotOpened = "not_opened",
        /// Not for an order that fills several compartments.
        28 => SeveralCompartments = "several_compartments",
        /// The same order with another answer to its second factor: the one that the fleet has stays.
        50 => OtherAnswer = "other_answer",
        /// An order with a second factor is in no bundle.
        51 => HasSecondFactor = "has_second_factor",
        /// The fleet has no key yet to which it could seal the answer to a second factor.
        52 => NoSealingKey = "no_sealing_key",
        /// It may lie with other orders: what opens one of them opens all.
        80 => SharesCompartment = "shares_compartment",
    }
}

/// One row of the `status` stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Number of the row in this stream, from 1 without gaps, but for a leap of at least 1,000,000 behind a restore.
    pub n: u64,
    pub order: OrderId,
    pub state: OrderState,
    /// When it happened; at the cabinet for what happened there.
    pub at: Rfc3339,
    /// The cabinet did not know the time: `at` is when the fleet heard of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub time_unverified: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cabinet: Option<CabinetId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<Compartment>,
    /// With `rejected`, with the state of an order to which something was not done that was asked for, and with the state in which
    /// a person has ended an order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<RejectReason>,
    /// With `stored` and `overdue`: the end of the order's window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Rfc3339>,
    /// Staff began it at the cabinet; no backend has announced it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub walk_in: bool,
    /// With `other_content`: SHA-256 of the content that is held, then of what came now. Without a reason, after a change:
    /// of the content before, then of that now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<[String; 2]>,
    /// The bundle whose credential opens its door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<OrderId>,
    /// Of an order in several compartments: all of them. `cabinet` and `compartment` are those of the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartStatus>,
    /// The courier with a PIN of their own who is bringing it, or has brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub courier: Option<Name>,
}

/// One compartment of an order that fills several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStatus {
    pub size: Size,
    pub state: OrderState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<Compartment>,
}

cbor_code! {
    pub enum NotificationKind {
        0 => PickupCode = "pickup_code",
        /// A part of the window is over; with the same code.
        1 => Reminder = "reminder",
        /// By which somebody puts the order in; no compartment is fixed for it yet.
        2 => DepositCode = "deposit_code",
        /// The credential of a bundle, once every order of it that is to come is inside.
        10 => BundleCode = "bundle_code",
        /// What the same credential opens has changed: an order is not to be had any more, or one more is.
        11 => BundleChanged = "bundle_changed",
    }
}

/// One row of the `notifications` stream: what the integration is to tell the recipient.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    pub n: u64,
    /// The same for each delivery of the same message.
    pub id: String,
    pub kind: NotificationKind,
    pub order: OrderId,
    pub at: Rfc3339,
    pub cabinet: CabinetId,
    /// Left out with `deposit_code`: the cabinet chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<Compartment>,
    /// Where the cabinet stands, for a person.
    pub place: String,
    pub instruction: String,
    pub code: String,
    /// The same right as text for a QR code.
    pub qr: String,
    /// The end of the order's window; with `deposit_code` that of the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Rfc3339>,
    /// The same by the clock on the wall of the site, `2026-11-25 20:00 CET`, and the IANA name of its zone. Both are left out
    /// where the zone of the site is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_local: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Staff began it at the cabinet; no backend has announced it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub walk_in: bool,
    pub recipient: Recipient,
    /// With a bundle: its name. `order`, `cabinet`, `compartment` and `place` are those of the first of its doors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<OrderId>,
    /// With a bundle, and with an order in several compartments: what its credential opens now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doors: Vec<BundleDoor>,
    /// What the screen asks for behind the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<Prompt>,
}

/// Holds the code.
impl std::fmt::Debug for Notification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Notification({} {} of order {})", self.n, self.kind, self.order)
    }
}

/// Payload of `live/<cabinet>/presence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LivePresence {
    pub cabinet: CabinetId,
    pub online: bool,
    pub at: Rfc3339,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Payload of `live/<cabinet>/availability`, each time that it changes, and a line in the answer to `availability`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Availability {
    pub cabinet: CabinetId,
    pub online: bool,
    /// What a new order could get now. A larger compartment takes a smaller order, so add those up that serve.
    pub free: Vec<FreeCompartments>,
}

/// Compartments of one kind that are free, at least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeCompartments {
    pub size: Size,
    pub offers: AttributeFlags,
    pub count: u32,
}

/// Payload of `live/<cabinet>/event`. `fact` is the CBOR fact in JSON, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveEvent {
    pub cabinet: CabinetId,
    pub n: u64,
    pub at: Rfc3339,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub time_unverified: bool,
    /// `door_opened`, `stored` …
    pub kind: String,
    /// One line for a person.
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<Compartment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
}

/// Payload of `live/<cabinet>/telemetry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveTelemetry {
    pub cabinet: CabinetId,
    pub at: Rfc3339,
    pub compartments: Vec<LiveCompartment>,
    pub boards_silent: u32,
    pub outbox: u64,
    pub book: u64,
    pub wrong_codes_today: u32,
    /// The cabinet's disk is full: it takes no new orders, and pickups go on as long as its reserve lasts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disk_low: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveCompartment {
    pub number: Compartment,
    pub door: crate::messages::DoorState,
    pub occupancy: crate::messages::Occupancy,
    pub allocated: bool,
}

impl LiveTelemetry {
    pub fn new(cabinet: CabinetId, at: Rfc3339, sample: &Telemetry) -> Self {
        Self {
            cabinet,
            at,
            compartments: sample
                .compartments
                .items
                .iter()
                .map(|state| LiveCompartment {
                    number: state.number,
                    door: state.door,
                    occupancy: state.occupancy,
                    allocated: state.allocated,
                })
                .collect(),
            boards_silent: sample.boards_silent,
            outbox: sample.outbox,
            book: sample.book,
            wrong_codes_today: sample.wrong_codes_today,
            disk_low: sample.disk_low == Some(true),
        }
    }
}
