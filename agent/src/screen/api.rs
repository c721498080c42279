//! The calls of the page.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, Uri};
use axum::response::Json;
use axum::routing::{get, post};
use cabinet_core::{
    DepositWish, EntryResult, MaintenanceMinutes, NewParcel, NewWalkIn, ParcelLabel, SessionId, is_scanned_code,
};
use schemas::api::AttributeFlags;
use schemas::crypto::answers;
use schemas::crypto::codes::Secret;
use schemas::ids::OrderId;
use schemas::messages::{Category, Compartment, OrderKey, Size};
use schemas::phone::Phone;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::answers::{EntryAnswer, NotesAnswer, OfferAnswer, PairAnswer, Refusal, ViewAnswer};
use super::notes::Notes;
use super::paired::{Pairing, PairingError};
use super::port::ScreenRequest;
use crate::boards::BootClock;

/// A session of staff, of a courier, or of somebody who puts an order in.
const SESSION_HEADER: HeaderName = HeaderName::from_static("x-staff-session");
const BODY_MAX: usize = 4 * 1024;
const BODY_TIME: Duration = Duration::from_secs(5);
/// A code takes a quarter of a second to check; several may wait.
const ANSWER_TIME: Duration = Duration::from_secs(10);
const POLL_TIME: Duration = Duration::from_secs(25);

/// What the calls work with.
pub(super) struct Desk {
    pub(super) requests: mpsc::Sender<ScreenRequest>,
    pub(super) notes: Notes,
    pub(super) clock: BootClock,
}

type Answer<T> = Result<Json<T>, Refusal>;

pub(super) fn routes(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/view", get(view))
        .route("/notes", get(notes))
        .route("/enter", post(enter))
        .route("/answer", post(answer))
        .route("/staff", post(staff))
        .route("/courier", post(courier))
        .route("/bring", post(bring))
        .route("/bring-to", post(bring_to))
        .route("/load", post(load))
        .route("/walk-in", post(walk_in))
        .route("/drop-walk-in", post(drop_walk_in))
        .route("/retrieve", post(retrieve))
        .route("/release", post(release))
        .route("/undo", post(undo))
        .route("/swap", post(swap))
        .route("/confirm-swap", post(confirm_swap))
        .route("/found", post(found))
        .route("/service", post(service))
        .route("/maintenance", post(maintenance))
        .route("/look", post(look))
        .route("/cleaning", post(cleaning))
        .route("/open-all", post(open_all))
        .route("/confirm", post(confirm))
        .route("/deposit", post(deposit))
        .route("/not-here", post(not_here))
        .route("/again", post(again))
        .route("/not-taken", post(not_taken))
        .route("/logout", post(logout))
        .fallback(|| async { Refusal::NotFound })
        .with_state(desk)
}

/// For whoever sits at the cabinet's own machine: a code that pairs another screen, and the end of it.
pub(super) fn technician(pairing: Option<Arc<Pairing>>) -> Router {
    Router::new().route("/pairing", post(offer)).route("/pairing/end", post(end_pairing)).with_state(pairing)
}

/// For a screen that is not paired yet.
pub(super) fn pair(pairing: Arc<Pairing>) -> Router {
    Router::new().route("/pair", post(pair_screen)).with_state(pairing)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PairBody {
    code: String,
}

async fn offer(State(pairing): State<Option<Arc<Pairing>>>, request: Request<Body>) -> Answer<OfferAnswer> {
    let Nothing {} = read(request).await?;
    let pairing = pairing.ok_or(Refusal::NotFound)?;
    let offer = pairing.offer().map_err(|_| Refusal::NoAnswer)?;
    Ok(Json(OfferAnswer::from(offer)))
}

async fn end_pairing(
    State(pairing): State<Option<Arc<Pairing>>>,
    request: Request<Body>,
) -> Result<StatusCode, Refusal> {
    let Nothing {} = read(request).await?;
    let pairing = pairing.ok_or(Refusal::NotFound)?;
    apart(move || pairing.end()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn pair_screen(State(pairing): State<Arc<Pairing>>, request: Request<Body>) -> Answer<PairAnswer> {
    let PairBody { code } = read(request).await?;
    let code = Zeroizing::new(code);
    let key = apart(move || pairing.pair(&code)).await?;
    key.map(|key| Json(PairAnswer { key: key.to_string() })).ok_or(Refusal::Forbidden)
}

/// Apart from what polls the doors: a disk may be slow.
async fn apart<T: Send + 'static>(
    change: impl FnOnce() -> Result<T, PairingError> + Send + 'static,
) -> Result<T, Refusal> {
    let changed = spawn_blocking(change).await.map_err(|_| Refusal::NoAnswer)?;
    changed.map_err(|error| {
        tracing::error!(%error, "the pairing of the screen is not safe on the disk");
        Refusal::OutOfOrder
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerBody {
    answer: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadBody {
    order: OrderKey,
    larger: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetrieveBody {
    order: OrderKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WalkInBody {
    phone: String,
    #[serde(default)]
    reference: Option<OrderId>,
    size: Size,
    category: Category,
    #[serde(default)]
    wants: AttributeFlags,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BringBody {
    label: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BringToBody {
    phone: String,
    #[serde(default)]
    reference: Option<OrderId>,
    size: Size,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfirmBody {
    compartment: Compartment,
    inside: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CleaningBody {
    compartment: Compartment,
    needed: bool,
}

/// A word that no stray touch and no mistaken call sends.
#[derive(Deserialize)]
enum OpenAllWord {
    #[serde(rename = "open all doors")]
    OpenAllDoors,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenAllBody {
    confirm: OpenAllWord,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SwapBody {
    one: Compartment,
    other: Compartment,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfirmSwapBody {
    compartment: Compartment,
    swapped: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceBody {
    compartment: Compartment,
    in_service: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MaintenanceBody {
    minutes: MaintenanceMinutes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FoundBody {
    compartment: Compartment,
    order: OrderKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DepositBody {
    wish: DepositWish,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DoorBody {
    compartment: Compartment,
}

/// Without a door: of the code that was refused last.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NotHereBody {
    #[serde(default)]
    compartment: Option<Compartment>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn view(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Answer<ViewAnswer> {
    let session = session(&headers)?;
    let view = desk.ask(|reply| ScreenRequest::View { session, reply }).await?;
    let staff = session.is_some_and(|session| desk.notes.is_alive(session));
    Ok(Json(ViewAnswer::new(view, staff, (desk.clock)())))
}

/// Without `after`: where to begin.
async fn notes(State(desk): State<Arc<Desk>>, headers: HeaderMap, uri: Uri) -> Answer<NotesAnswer> {
    let session = session(&headers)?;
    let (after, wait) = match uri.query() {
        None => (desk.notes.newest(), Duration::ZERO),
        Some(query) => (after(query).ok_or(Refusal::BadRequest)?, POLL_TIME),
    };
    let page = desk.notes.after(after, session, wait).await;
    if desk.notes.is_out_of_order() { Err(Refusal::OutOfOrder) } else { Ok(Json(page.into())) }
}

async fn enter(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Answer<EntryAnswer> {
    let secret = secret(read(request).await?)?;
    desk.entered(|reply| ScreenRequest::Enter { secret, reply }).await
}

async fn answer(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Answer<EntryAnswer> {
    let AnswerBody { answer } = read(request).await?;
    let typed = Zeroizing::new(answer);
    let answer = answers::Answer::parse(&typed).map_err(|_| Refusal::NotAnAnswer)?;
    desk.entered(|reply| ScreenRequest::Answer { answer, reply }).await
}

async fn staff(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Answer<EntryAnswer> {
    let secret = secret(read(request).await?)?;
    desk.entered(|reply| ScreenRequest::StaffEnter { secret, reply }).await
}

async fn courier(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Answer<EntryAnswer> {
    let secret = secret(read(request).await?)?;
    desk.entered(|reply| ScreenRequest::CourierEnter { secret, reply }).await
}

async fn bring(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let BringBody { label } = read(request).await?;
    let label: ParcelLabel = label.parse().map_err(|_| Refusal::NotALabel)?;
    desk.tell(ScreenRequest::Bring { session, label }).await
}

async fn bring_to(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let BringToBody { phone, reference, size } = read(request).await?;
    let reference = no_code(reference)?;
    let typed = Zeroizing::new(phone);
    let phone = Phone::parse(&typed)?;
    desk.tell(ScreenRequest::BringTo { session, parcel: NewParcel { phone, reference, size } }).await
}

async fn load(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let LoadBody { order, larger } = read(request).await?;
    desk.tell(ScreenRequest::Load { session, order, larger }).await
}

/// A label names an order for everybody; a code or a badge that was scanned in its place must not.
fn no_code(reference: Option<OrderId>) -> Result<Option<OrderId>, Refusal> {
    if reference.as_ref().is_some_and(|text| is_scanned_code(text.as_str())) {
        return Err(Refusal::NotALabel);
    }
    Ok(reference)
}

/// A number that cannot be one is told at once, and nothing of it is kept.
async fn walk_in(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let WalkInBody { phone, reference, size, category, wants } = read(request).await?;
    let reference = no_code(reference)?;
    let typed = Zeroizing::new(phone);
    let phone = Phone::parse(&typed)?;
    let order = NewWalkIn { phone, reference, size, category, wants: wants.into() };
    desk.tell(ScreenRequest::WalkIn { session, order }).await
}

async fn drop_walk_in(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let RetrieveBody { order } = read(request).await?;
    desk.tell(ScreenRequest::DropWalkIn { session, order }).await
}

async fn retrieve(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let RetrieveBody { order } = read(request).await?;
    desk.tell(ScreenRequest::Retrieve { session, order }).await
}

async fn release(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let RetrieveBody { order } = read(request).await?;
    desk.tell(ScreenRequest::Release { session, order }).await
}

async fn undo(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let RetrieveBody { order } = read(request).await?;
    desk.tell(ScreenRequest::Undo { session, order }).await
}

async fn swap(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let SwapBody { one, other } = read(request).await?;
    desk.tell(ScreenRequest::Swap { session, one, other }).await
}

async fn confirm_swap(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let ConfirmSwapBody { compartment, swapped } = read(request).await?;
    desk.tell(ScreenRequest::ConfirmSwap { session, compartment, swapped }).await
}

async fn look(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let DoorBody { compartment } = read(request).await?;
    desk.tell(ScreenRequest::Look { session, compartment }).await
}

async fn found(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let FoundBody { compartment, order } = read(request).await?;
    desk.tell(ScreenRequest::Found { session, compartment, order }).await
}

async fn service(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let ServiceBody { compartment, in_service } = read(request).await?;
    desk.tell(ScreenRequest::Service { session, compartment, in_service }).await
}

async fn maintenance(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let MaintenanceBody { minutes } = read(request).await?;
    desk.tell(ScreenRequest::Maintenance { session, minutes }).await
}

async fn cleaning(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let CleaningBody { compartment, needed } = read(request).await?;
    desk.tell(ScreenRequest::Cleaning { session, compartment, needed }).await
}

async fn open_all(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let OpenAllBody { confirm: OpenAllWord::OpenAllDoors } = read(request).await?;
    desk.tell(ScreenRequest::OpenAll { session }).await
}

async fn confirm(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let ConfirmBody { compartment, inside } = read(request).await?;
    desk.tell(ScreenRequest::Confirm { session, compartment, inside }).await
}

async fn deposit(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let DepositBody { wish } = read(request).await?;
    desk.tell(ScreenRequest::Deposit { session, wish }).await
}

async fn again(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let DoorBody { compartment } = read(request).await?;
    desk.tell(ScreenRequest::TryAgain { compartment }).await
}

async fn not_taken(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let DoorBody { compartment } = read(request).await?;
    desk.tell(ScreenRequest::NotTaken { compartment }).await
}

async fn not_here(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let NotHereBody { compartment } = read(request).await?;
    desk.tell(ScreenRequest::Report { compartment }).await
}

async fn logout(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Result<StatusCode, Refusal> {
    let session = own_session(&request)?;
    let Nothing {} = read(request).await?;
    desk.tell(ScreenRequest::Logout { session }).await
}

impl Desk {
    async fn entered(
        &self,
        request: impl FnOnce(oneshot::Sender<EntryResult>) -> ScreenRequest,
    ) -> Answer<EntryAnswer> {
        let result = self.ask(request).await?;
        if let EntryResult::StaffSession { session, .. } = &result {
            self.notes.session_began(*session);
        }
        Ok(Json(EntryAnswer::new(result, (self.clock)())))
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> ScreenRequest) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.tell(request(reply)).await?;
        match timeout(ANSWER_TIME, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) if self.notes.is_out_of_order() => Err(Refusal::OutOfOrder),
            Ok(Err(_)) | Err(_) => Err(Refusal::NoAnswer),
        }
    }

    async fn tell(&self, request: ScreenRequest) -> Result<StatusCode, Refusal> {
        if self.notes.is_out_of_order() {
            return Err(Refusal::OutOfOrder);
        }
        let sent = self.requests.send_timeout(request, ANSWER_TIME).await;
        sent.map(|()| StatusCode::ACCEPTED).map_err(|_| Refusal::NoAnswer)
    }
}

/// The body as JSON and nothing else: another content type could come from a form of a foreign page without asking.
async fn read<T: DeserializeOwned>(request: Request<Body>) -> Result<T, Refusal> {
    if !is_json(request.headers()) {
        return Err(Refusal::NotJson);
    }
    let body = match timeout(BODY_TIME, to_bytes(request.into_body(), BODY_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return Err(Refusal::TooLarge),
        Err(_) => return Err(Refusal::BadRequest),
    };
    // The error would quote what was typed.
    serde_json::from_slice(&body).map_err(|_| Refusal::BadRequest)
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let essence = only.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

fn secret(entry: Entry) -> Result<Secret, Refusal> {
    let typed = Zeroizing::new(entry.secret);
    Secret::parse(&typed).map_err(|_| Refusal::NotACode)
}

fn own_session(request: &Request<Body>) -> Result<SessionId, Refusal> {
    session(request.headers())?.ok_or(Refusal::NoSession)
}

fn session(headers: &HeaderMap) -> Result<Option<SessionId>, Refusal> {
    let mut values = headers.get_all(SESSION_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let session = value.to_str().ok().and_then(|text| text.parse().ok());
    match (session, values.next()) {
        (Some(session), None) => Ok(Some(session)),
        (_, Some(_)) | (None, None) => Err(Refusal::NoSession),
    }
}

fn after(query: &str) -> Option<u64> {
    let digits = query.strip_prefix("after=")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}
