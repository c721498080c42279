//! Who may call: our own page, under our own address, with the secret of this start or the key of the paired screen.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::address::ScreenKey;
use super::answers::Refusal;
use super::paired::Pairing;

pub(super) const KEY_HEADER: HeaderName = HeaderName::from_static("x-screen-key");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Wrong keys in a minute that are answered one by one. 128 bits need no such limit; the log and the processor do.
const WRONG_KEYS_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);

const HEADERS: [(&str, &str); 8] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
];

/// Whose calls are answered.
pub(super) enum Holder {
    /// The browser on the cabinet.
    Own(ScreenKey),
    /// The screen that is a computer of its own.
    Paired(Arc<Pairing>),
}

impl Holder {
    fn is(&self, presented: &[u8]) -> bool {
        match self {
            Self::Own(key) => key.is(presented),
            Self::Paired(pairing) => pairing.is_key(presented),
        }
    }

    /// Ends when it may be somebody else's. From now on, not from the first look.
    fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let changes = match self {
            Self::Own(_) => None,
            Self::Paired(pairing) => Some(pairing.changes()),
        };
        async move {
            match changes {
                // An error: the pairing is gone, and with it whoever serves this.
                Some(mut changes) => drop(changes.changed().await),
                None => std::future::pending().await,
            }
        }
    }

    fn scheme(&self) -> &'static str {
        match self {
            Self::Own(_) => "http",
            Self::Paired(_) => "https",
        }
    }
}

pub(super) struct Guard {
    holder: Holder,
    authority: String,
    origin: String,
    wrong: Mutex<WrongKeys>,
}

struct WrongKeys {
    since: Instant,
    count: u32,
}

impl Guard {
    pub(super) fn new(holder: Holder, authority: String) -> Self {
        let origin = format!("{}://{authority}", holder.scheme());
        Self { holder, authority, origin, wrong: Mutex::new(WrongKeys { since: Instant::now(), count: 0 }) }
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// A page of a foreign site reaches us under a name of its own that resolves to loopback (DNS rebinding).
    fn is_addressed(&self, request: &Request) -> bool {
        let named = request.uri().authority().is_none_or(|authority| authority.as_str() == self.authority);
        named && only(request.headers(), &HOST).is_some_and(|host| host == self.authority.as_str())
    }

    /// What browsers say about the page that calls. Other programs say nothing; they need the key like all.
    fn is_our_page(&self, headers: &HeaderMap) -> bool {
        let absent_or = |name: &HeaderName, allowed: &[&str]| {
            !headers.contains_key(name)
                || only(headers, name).is_some_and(|value| allowed.iter().any(|allowed| value == *allowed))
        };
        absent_or(&ORIGIN, &[&self.origin]) && absent_or(&FETCH_SITE, &["same-origin", "none"])
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if !self.is_our_page(headers) {
            return Err(Refusal::Forbidden);
        }
        if only(headers, &KEY_HEADER).is_some_and(|key| self.holder.is(key.as_bytes())) {
            return Ok(());
        }
        Err(self.wrong_key())
    }

    /// The right key is never locked out: that would hand the screen to whoever wants it dark.
    fn wrong_key(&self) -> Refusal {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.since.elapsed() >= WINDOW {
            *wrong = WrongKeys { since: Instant::now(), count: 0 };
        }
        wrong.count = wrong.count.saturating_add(1);
        if wrong.count <= WRONG_KEYS_MAX {
            return Refusal::Forbidden;
        }
        if wrong.count == WRONG_KEYS_MAX + 1 {
            tracing::warn!("many calls with a wrong key: an old page, or another program that tries the screen");
        }
        Refusal::TooMany
    }
}

/// The value of a header that is there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// For every request, pages included.
pub(super) async fn address(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response =
        if guard.is_addressed(&request) { next.run(request).await } else { Refusal::Forbidden.into_response() };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// For what needs no key, and changes something all the same: only our own page may ask for it.
pub(super) async fn page(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if guard.is_our_page(request.headers()) { next.run(request).await } else { Refusal::Forbidden.into_response() }
}

/// For every call of the interface, before anything else of it is looked at.
pub(super) async fn key(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let changed = guard.holder.changed();
    match guard.admit(request.headers()) {
        // A long poll of a screen that is shut out ends with that.
        Ok(()) => tokio::select! {
            answer = next.run(request) => answer,
            () = changed => Refusal::Forbidden.into_response(),
        },
        Err(refusal) => refusal.into_response(),
    }
}

/// For the calls of the cabinet's own page: while a screen is paired, that is the only one. Two people at two screens would answer
/// each other's questions.
pub(super) async fn alone(State(pairing): State<Option<Arc<Pairing>>>, request: Request, next: Next) -> Response {
    if pairing.is_some_and(|pairing| pairing.is_paired()) {
        return Refusal::Forbidden.into_response();
    }
    next.run(request).await
}
