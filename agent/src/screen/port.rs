//! What the screen asks of the agent's main loop.

use cabinet_core::{
    AskedRelease, DepositWish, EntryResult, MaintenanceMinutes, NewParcel, NewWalkIn, ParcelLabel, SessionId,
    UnwantedOrder, View, WaitingOrder,
};
use schemas::crypto::answers::Answer;
use schemas::crypto::codes::Secret;
use schemas::messages::{Compartment, OrderKey};
use tokio::sync::oneshot;

/// One request of the screen. What has no `reply` is answered by notes.
#[derive(Debug)]
pub enum ScreenRequest {
    View {
        session: Option<SessionId>,
        reply: oneshot::Sender<ScreenView>,
    },
    /// A customer typed or scanned this.
    Enter {
        secret: Secret,
        reply: oneshot::Sender<EntryResult>,
    },
    /// A member of staff typed or scanned this.
    StaffEnter {
        secret: Secret,
        reply: oneshot::Sender<EntryResult>,
    },
    /// A courier typed or scanned this.
    CourierEnter {
        secret: Secret,
        reply: oneshot::Sender<EntryResult>,
    },
    /// Whoever was asked for more behind the code answers.
    Answer {
        answer: Answer,
        reply: oneshot::Sender<EntryResult>,
    },
    Load {
        session: SessionId,
        order: OrderKey,
        larger: bool,
    },
    WalkIn {
        session: SessionId,
        order: NewWalkIn,
    },
    DropWalkIn {
        session: SessionId,
        order: OrderKey,
    },
    Retrieve {
        session: SessionId,
        order: OrderKey,
    },
    /// Staff let whoever has shown the order's credential open its door.
    Release {
        session: SessionId,
        order: OrderKey,
    },
    Undo {
        session: SessionId,
        order: OrderKey,
    },
    Swap {
        session: SessionId,
        one: Compartment,
        other: Compartment,
    },
    ConfirmSwap {
        session: SessionId,
        compartment: Compartment,
        swapped: bool,
    },
    Look {
        session: SessionId,
        compartment: Compartment,
    },
    Service {
        session: SessionId,
        compartment: Compartment,
        in_service: bool,
    },
    Maintenance {
        session: SessionId,
        minutes: MaintenanceMinutes,
    },
    Found {
        session: SessionId,
        compartment: Compartment,
        order: OrderKey,
    },
    OpenAll {
        session: SessionId,
    },
    Cleaning {
        session: SessionId,
        compartment: Compartment,
        needed: bool,
    },
    Confirm {
        session: SessionId,
        compartment: Compartment,
        inside: bool,
    },
    NotTaken {
        compartment: Compartment,
    },
    /// A courier has something with this label.
    Bring {
        session: SessionId,
        label: ParcelLabel,
    },
    /// A courier has something for a phone number.
    BringTo {
        session: SessionId,
        parcel: NewParcel,
    },
    /// Whoever puts an order in, by a deposit code or as a courier.
    Deposit {
        session: SessionId,
        wish: DepositWish,
    },
    Report {
        compartment: Option<Compartment>,
    },
    TryAgain {
        compartment: Compartment,
    },
    Logout {
        session: SessionId,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScreenView {
    pub view: View,
    /// Empty without a session that is alive.
    pub waiting: Vec<WaitingOrder>,
    /// The same.
    pub unwanted: Vec<UnwantedOrder>,
    pub releases: Vec<AskedRelease>,
}
