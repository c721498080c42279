//! What the page gets to read, as JSON.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cabinet_core::{
    AskedRelease, CompartmentView, DepositRefusal, EntryRefusal, EntryResult, OfflineView, ScreenNote, StaffRefusal,
    UnwantedOrder, WaitingOrder,
};
use fast_qr::QRBuilder;
use schemas::ids::{CabinetId, Name};
use schemas::messages::{Compartment, DoorState, OrderKey, PresenceToken, Prompt};
use schemas::phone::PhoneError;
use serde::{Deserialize, Serialize};

use super::notes::Page;
use super::paired::Offer;
use super::port::ScreenView;

/// Why a call is refused. The answers name no cause beyond these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Refusal {
    Forbidden,
    TooMany,
    NoSession,
    NotFound,
    NotJson,
    TooLarge,
    BadRequest,
    /// It cannot be a code of any kind; it counts as no attempt.
    NotACode,
    /// It cannot be an answer to anything that is asked behind a code; it counts as no attempt.
    NotAnAnswer,
    /// A phone number begins with + and the country code.
    NoCountryCode,
    /// It cannot be a phone number.
    NotAPhone,
    /// It cannot be the label of an order.
    NotALabel,
    /// The main loop does not answer.
    NoAnswer,
    /// The cabinet's store does not work, so nothing may be opened.
    OutOfOrder,
}

impl From<PhoneError> for Refusal {
    fn from(error: PhoneError) -> Self {
        match error {
            PhoneError::NoCountryCode => Self::NoCountryCode,
            PhoneError::BadCharacter | PhoneError::Length => Self::NotAPhone,
        }
    }
}

#[derive(Serialize)]
struct RefusalBody {
    error: Refusal,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::NoSession => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotACode | Self::NotAnAnswer | Self::NoCountryCode | Self::NotAPhone | Self::NotALabel => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::NoAnswer | Self::OutOfOrder => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(RefusalBody { error: self })).into_response()
    }
}

/// Answer to `/api/pairing`: what a technician types at the other screen, and for how long.
#[derive(Serialize, Deserialize)]
pub(super) struct OfferAnswer {
    pub(super) code: String,
    pub(super) seconds: u64,
}

impl From<Offer> for OfferAnswer {
    fn from(offer: Offer) -> Self {
        Self { code: offer.code.to_string(), seconds: offer.lasts / 1000 }
    }
}

/// Answer to `/pair`: what the screen shows in each call from here on.
#[derive(Serialize)]
pub(super) struct PairAnswer {
    pub(super) key: String,
}

/// Answer to `/api/enter`, `/api/answer`, `/api/staff` and `/api/courier`. Times are spans: the page does not know the boot clock.
#[derive(Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(super) enum EntryAnswer {
    Opening {
        compartments: Vec<Compartment>,
    },
    Deposit {
        session: String,
        compartment: Compartment,
    },
    Refused {
        reason: EntryRefusal,
    },
    Locked {
        millis: u64,
    },
    Staff {
        session: String,
        name: Name,
    },
    /// `compartment`: where something of theirs is on its way in.
    Courier {
        session: String,
        name: Name,
        compartment: Option<Compartment>,
    },
    SecondPartNeeded,
    ReleaseNeeded,
    AnswerNeeded {
        prompt: Prompt,
    },
}

impl EntryAnswer {
    pub(super) fn new(result: EntryResult, boot_millis: u64) -> Self {
        match result {
            EntryResult::Opening { compartments } => Self::Opening { compartments },
            EntryResult::Depositing { session, compartment } => {
                Self::Deposit { session: session.to_string(), compartment }
            }
            EntryResult::Refused(reason) => Self::Refused { reason },
            EntryResult::Locked { until_boot_millis } => {
                Self::Locked { millis: until_boot_millis.saturating_sub(boot_millis) }
            }
            EntryResult::StaffSession { session, name } => Self::Staff { session: session.to_string(), name },
            EntryResult::CourierSession { session, name, compartment } => {
                Self::Courier { session: session.to_string(), name, compartment }
            }
            EntryResult::SecondPartNeeded => Self::SecondPartNeeded,
            EntryResult::ReleaseNeeded => Self::ReleaseNeeded,
            EntryResult::AnswerNeeded { prompt } => Self::AnswerNeeded { prompt },
        }
    }
}

/// Answer to `/api/view`.
#[derive(Serialize)]
pub(super) struct ViewAnswer {
    cabinet: CabinetId,
    online: bool,
    /// Since when not, as far as it is known.
    offline: Option<OfflineView>,
    boards_silent: u32,
    locked_millis: Option<u64>,
    second_part_needed: bool,
    code_digits: u8,
    code_letters: Option<u8>,
    other_form: bool,
    app: Option<AppAnswer>,
    doors: Vec<DoorAnswer>,
    /// Only for a session that is alive.
    staff: Option<StaffAnswer>,
}

/// What an app has to pass on to have a door opened: to be read, or scanned.
#[derive(Serialize)]
struct AppAnswer {
    /// `ABCD-2345`
    token: String,
    /// A QR code: side in modules, and the outline of the dark ones as the path of an SVG.
    side: usize,
    path: String,
}

impl AppAnswer {
    /// In capitals, digits and `-/` only: the dense mode of QR codes.
    fn new(cabinet: &CabinetId, token: PresenceToken) -> Option<Self> {
        let token = token.to_string();
        let text = format!("LFA1/{}/{}", cabinet.as_str().to_ascii_uppercase(), token.replace('-', ""));
        let code = QRBuilder::new(text).build().ok()?;
        let dark = (0..code.size).flat_map(|y| (0..code.size).map(move |x| (x, y)));
        let dark = dark.filter(|(x, y)| code[*y][*x].value());
        let path = dark.map(|(x, y)| format!("M{x} {y}h1v1h-1z")).collect();
        Some(Self { token, side: code.size, path })
    }
}

/// What anybody in front of the cabinet can see.
#[derive(Serialize)]
struct DoorAnswer {
    number: Compartment,
    door: DoorState,
    try_again: bool,
    may_stay: bool,
}

#[derive(Serialize)]
struct StaffAnswer {
    compartments: Vec<CompartmentView>,
    waiting: Vec<WaitingOrder>,
    unwanted: Vec<UnwantedOrder>,
    releases: Vec<AskedRelease>,
    outbox: u64,
    boards_silent: u32,
    maintenance: Option<MaintenanceAnswer>,
}

/// Somebody works at the doors with a mechanical key, for so long still.
#[derive(Serialize)]
struct MaintenanceAnswer {
    name: Name,
    millis: u64,
}

impl ViewAnswer {
    /// The view is of the core's last input, which may be an hour ago: spans are counted from `boot_millis`, now.
    pub(super) fn new(screen: ScreenView, staff: bool, boot_millis: u64) -> Self {
        let ScreenView { view, waiting, unwanted, releases } = screen;
        let door = |seen: &CompartmentView| DoorAnswer {
            number: seen.number,
            door: seen.door,
            try_again: seen.try_again,
            may_stay: seen.may_stay,
        };
        Self {
            online: view.online,
            offline: view.offline.map(|offline| OfflineView {
                at_least_millis: offline.at_least_millis + boot_millis.saturating_sub(view.boot_millis),
                ..offline
            }),
            boards_silent: view.boards_silent,
            locked_millis: view.locked_until.map(|until| until.saturating_sub(boot_millis)).filter(|left| *left > 0),
            second_part_needed: view.second_part_needed,
            code_digits: view.code_digits,
            code_letters: view.code_letters,
            other_form: view.other_form,
            app: view.app_token.and_then(|token| AppAnswer::new(&view.cabinet, token)),
            doors: view.compartments.iter().map(door).collect(),
            staff: staff.then_some(StaffAnswer {
                compartments: view.compartments,
                waiting,
                unwanted,
                releases,
                outbox: view.outbox,
                boards_silent: view.boards_silent,
                maintenance: view
                    .maintenance
                    .map(|(name, until)| MaintenanceAnswer { name, millis: until.saturating_sub(boot_millis) }),
            }),
            cabinet: view.cabinet,
        }
    }
}

/// Answer to `/api/notes`.
#[derive(Serialize)]
pub(super) struct NotesAnswer {
    next: u64,
    notes: Vec<NoteAnswer>,
}

impl From<Page> for NotesAnswer {
    fn from(page: Page) -> Self {
        Self { next: page.next, notes: page.notes.into_iter().map(NoteAnswer::from).collect() }
    }
}

/// A note without the session that it is for.
#[derive(Serialize)]
#[serde(tag = "note", rename_all = "snake_case")]
enum NoteAnswer {
    Opened { compartment: Compartment },
    Closed { compartment: Compartment },
    PushDoor { compartment: Compartment, attempt: u32 },
    LockSilent { compartment: Compartment },
    CallStaff { compartment: Compartment, order: Option<OrderKey> },
    Reported { order: OrderKey, compartment: Option<Compartment> },
    AskRelease { compartments: Vec<Compartment> },
    Released { order: OrderKey, compartment: Compartment },
    Beep { compartment: Compartment },
    Loading { order: OrderKey, compartment: Compartment },
    Beside { order: OrderKey, compartment: Compartment, others: Vec<OrderKey> },
    Retrieving { order: OrderKey, compartment: Compartment },
    Looking { compartment: Compartment, order: Option<OrderKey> },
    OpeningAll { compartments: Vec<Compartment>, passed_over: Vec<Compartment> },
    Swapping { compartments: [Compartment; 2] },
    AskSwapped { compartments: [Compartment; 2] },
    SwapOver { compartments: [Compartment; 2], swapped: bool },
    StaffRefused { reason: StaffRefusal },
    Depositing { compartment: Compartment },
    AskDeposited { compartment: Compartment, empty: bool },
    DepositOver { compartment: Compartment, stored: bool },
    DepositRefused { reason: DepositRefusal },
    AskLoaded { order: OrderKey, compartment: Compartment, empty: bool },
    AskFound { compartment: Compartment, order: Option<OrderKey> },
    Audited { compartment: Compartment, found: &'static str },
    Stored { order: OrderKey, compartment: Compartment },
    Found { order: OrderKey, compartment: Compartment, from: Option<Compartment> },
    LoadAborted { order: OrderKey, compartment: Compartment },
    SessionEnded,
}

impl From<ScreenNote> for NoteAnswer {
    fn from(note: ScreenNote) -> Self {
        match note {
            ScreenNote::Opened { compartment } => Self::Opened { compartment },
            ScreenNote::Closed { compartment } => Self::Closed { compartment },
            ScreenNote::PushDoor { compartment, attempt } => Self::PushDoor { compartment, attempt },
            ScreenNote::LockSilent { compartment } => Self::LockSilent { compartment },
            ScreenNote::CallStaff { compartment, order } => Self::CallStaff { compartment, order },
            ScreenNote::Reported { order, compartment } => Self::Reported { order, compartment },
            ScreenNote::AskRelease { compartments } => Self::AskRelease { compartments },
            ScreenNote::Released { session: _, order, compartment } => Self::Released { order, compartment },
            ScreenNote::Beep { compartment } => Self::Beep { compartment },
            ScreenNote::Loading { session: _, order, compartment } => Self::Loading { order, compartment },
            ScreenNote::Beside { order, compartment, others } => Self::Beside { order, compartment, others },
            ScreenNote::Retrieving { session: _, order, compartment } => Self::Retrieving { order, compartment },
            ScreenNote::Looking { session: _, compartment, order } => Self::Looking { compartment, order },
            ScreenNote::OpeningAll { session: _, compartments, passed_over } => {
                Self::OpeningAll { compartments, passed_over }
            }
            ScreenNote::Swapping { session: _, compartments } => Self::Swapping { compartments },
            ScreenNote::AskSwapped { compartments } => Self::AskSwapped { compartments },
            ScreenNote::SwapOver { compartments, swapped } => Self::SwapOver { compartments, swapped },
            ScreenNote::StaffRefused { session: _, reason } => Self::StaffRefused { reason },
            ScreenNote::Depositing { session: _, compartment } => Self::Depositing { compartment },
            ScreenNote::AskDeposited { session: _, compartment, empty } => Self::AskDeposited { compartment, empty },
            ScreenNote::DepositOver { session: _, compartment, stored } => Self::DepositOver { compartment, stored },
            ScreenNote::DepositRefused { session: _, reason } => Self::DepositRefused { reason },
            ScreenNote::AskLoaded { order, compartment, empty } => Self::AskLoaded { order, compartment, empty },
            ScreenNote::AskFound { compartment, order } => Self::AskFound { compartment, order },
            ScreenNote::Audited { compartment, found } => Self::Audited { compartment, found: found.as_str() },
            ScreenNote::Stored { order, compartment } => Self::Stored { order, compartment },
            ScreenNote::Found { order, compartment, from } => Self::Found { order, compartment, from },
            ScreenNote::LoadAborted { order, compartment } => Self::LoadAborted { order, compartment },
            ScreenNote::SessionEnded { session: _ } => Self::SessionEnded,
        }
    }
}
