//! The screen over real HTTP: what it refuses, what it passes on, and who hears what.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use cabinet_agent::boards::boot_clock;
use cabinet_agent::screen::{Language, Notes, Screen, ScreenError, ScreenRequest, ScreenView};
use cabinet_agent::settings::ScreenSection;
use cabinet_core::{
    AskedRelease, CompartmentView, DepositRefusal, DepositWish, EntryRefusal, EntryResult, OfflineView, ScreenNote,
    SessionId, UnwantedOrder, View, WaitingOrder,
};
use reqwest::header::{CONTENT_TYPE, HOST, ORIGIN};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use schemas::messages::{Category, Compartment, DoorState, Finding, Occupancy, PartOf, Prompt, Size, TakeBack};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

const SESSION: SessionId = SessionId(0x5e55_1011);
const CODE: &str = "12345678";
/// Long enough for the slowest machine; no test waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(20);

/// A screen that is served, and the requests that come out of it.
struct World {
    base: String,
    key: String,
    client: Client,
    notes: Notes,
    requests: mpsc::Receiver<ScreenRequest>,
    stop: Option<oneshot::Sender<()>>,
    serving: tokio::task::JoinHandle<Result<(), ScreenError>>,
    _folder: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("screen.url");
        let (sender, requests) = mpsc::channel(16);
        let screen = Screen::bind(&section("127.0.0.1:0", &folder), "berlin-01", sender).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let address = std::fs::read_to_string(&file).unwrap();
        let (base, key) = address.trim_end().split_once("/#key=").unwrap();
        assert_eq!(screen.url(), format!("{base}/"));
        let notes = screen.notes();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(screen.serve(async {
            let _ = stopped.await;
        }));
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let (base, key) = (base.to_owned(), key.to_owned());
        Self { base, key, client, notes, requests, stop: Some(stop), serving, _folder: folder }
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).header("x-screen-key", &self.key)
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.call(Method::POST, path).json(body)
    }

    /// Sends a request and gives the answer with what came to the main loop, answered by `act`.
    async fn with(&mut self, request: RequestBuilder, act: impl FnOnce(ScreenRequest)) -> Response {
        let sent = tokio::spawn(request.send());
        let request = tokio::time::timeout(PATIENCE, self.requests.recv()).await.expect("a request").unwrap();
        act(request);
        sent.await.unwrap().unwrap()
    }

    async fn log_in(&mut self) {
        let request = self.post("/api/staff", &json!({ "secret": "4711 0001" }));
        let answer = self
            .with(request, |request| match request {
                ScreenRequest::StaffEnter { secret, reply } => {
                    assert_eq!(secret.reveal(), "47110001");
                    let name = "anna".parse().unwrap();
                    reply.send(EntryResult::StaffSession { session: SESSION, name }).unwrap();
                }
                other => panic!("not a PIN: {other:?}"),
            })
            .await;
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer, json!({ "result": "staff", "session": SESSION.to_string(), "name": "anna" }));
    }

    async fn notes_after(&self, after: u64, session: Option<SessionId>) -> Value {
        let mut request = self.call(Method::GET, &format!("/api/notes?after={after}"));
        if let Some(session) = session {
            request = request.header("x-staff-session", session.to_string());
        }
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Nothing reached the main loop.
    fn is_untouched(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }
}

fn section(listen: &str, folder: &tempfile::TempDir) -> ScreenSection {
    let (listen, address_file) = (listen.parse().unwrap(), folder.path().join("screen.url"));
    ScreenSection {
        listen,
        address_file,
        app_token: false,
        hotline: "+49 30 123456".into(),
        languages: vec![Language::De, Language::En],
        ..ScreenSection::default()
    }
}

fn door(number: u16) -> Compartment {
    Compartment::new(number).unwrap()
}

/// Since the core's last input.
const IDLE_MILLIS: u64 = 20_000;

fn screen_view() -> ScreenView {
    let compartment = CompartmentView {
        number: door(7),
        size: Size::M,
        in_service: true,
        withdrawn: false,
        refrigerated: true,
        fault: false,
        door: DoorState::Closed,
        occupancy: Occupancy::Unknown,
        allocated: true,
        orders: vec!["shop/held-inside-7".parse().unwrap()],
        audit_required: false,
        needs_cleaning: false,
        asks: false,
        swaps_with: None,
        try_again: true,
        may_stay: true,
    };
    let view = View {
        cabinet: "muc-01".parse().unwrap(),
        online: false,
        offline: Some(OfflineView { since: 1_700_000_000_000, at_least_millis: 7 }),
        fleet_millis: None,
        locked_until: Some(boot_clock()() + 300_000),
        second_part_needed: false,
        code_digits: 8,
        code_letters: None,
        other_form: false,
        app_token: None,
        book: 3,
        compartments: vec![compartment],
        outbox: 2,
        boards_silent: 0,
        maintenance: None,
        // Nothing has happened in the cabinet for a while.
        boot_millis: boot_clock()() - IDLE_MILLIS,
        refusals_suppressed: 0,
    };
    let order = "pos/A17".parse().unwrap();
    let order = WaitingOrder {
        order,
        size: Size::M,
        category: Category::Retail,
        compartment: Some(door(7)),
        loading: false,
        missing: false,
        walk_in: false,
        deposit: None,
        part: Some(PartOf { whole: "pos/A17".parse().unwrap(), number: 1, of: 2 }.into()),
    };
    let (order_out, why) = ("pos/A3".parse().unwrap(), TakeBack::Overdue);
    let unwanted = UnwantedOrder { order: order_out, compartment: door(7), why, part: None };
    let release = AskedRelease { order: "pos/A4".parse().unwrap(), compartment: door(8) };
    ScreenView { view, waiting: vec![order], unwanted: vec![unwanted], releases: vec![release] }
}

#[tokio::test]
async fn pages_need_no_key_and_forbid_everything_foreign() {
    let world = World::start();
    for (path, kind) in [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/cabinet.js", "text/javascript"),
        ("/parts.js", "text/javascript"),
        ("/staff.js", "text/javascript"),
        ("/deposit.js", "text/javascript"),
        ("/speech.js", "text/javascript"),
        ("/texts.js", "text/javascript"),
        ("/texts/en.json", "application/json"),
        ("/texts/de.json", "application/json"),
        ("/texts/pl.json", "application/json"),
        ("/texts/es.json", "application/json"),
        ("/texts/zh.json", "application/json"),
        ("/style.css", "text/css"),
        ("/brand.css", "text/css"),
        ("/sounds.js", "text/javascript"),
    ] {
        let answer = world.client.get(format!("{}{path}", world.base)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let header = |name: &str| answer.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert!(header("content-type").starts_with(kind), "{path}");
        assert!(header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-store");
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
        assert!(!answer.text().await.unwrap().contains(&world.key));
    }
}

#[tokio::test]
async fn the_page_knows_its_languages_before_it_has_a_key() {
    let world = World::start();
    let get = async |path: &str| world.client.get(format!("{}{path}", world.base)).send().await.unwrap();
    let page = get("/").await.text().await.unwrap();
    assert!(
        page.contains(r#"<html lang="de" data-languages="de en" data-hotline="+49 30 123456" data-volume="50""#),
        "{page}"
    );
    let texts: Value = get("/texts/pl.json").await.json().await.unwrap();
    assert_eq!(texts["speech"]["name"], "Polski");
    assert_eq!(get("/texts/fr.json").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn without_the_right_key_nothing_is_answered_and_the_right_one_is_never_locked_out() {
    let mut world = World::start();
    let url = format!("{}/api/enter", world.base);
    let mut statuses = Vec::new();
    for n in 0..12_u32 {
        let wrong = match n {
            0 => String::new(),
            1 => world.key.to_uppercase() + "0",
            _ => format!("{n:032x}"),
        };
        let request = world.client.post(&url).header("x-screen-key", wrong).json(&json!({ "secret": CODE }));
        statuses.push(request.send().await.unwrap().status());
    }
    assert!(statuses[..10].iter().all(|status| *status == StatusCode::FORBIDDEN), "{statuses:?}");
    assert!(statuses[10..].iter().all(|status| *status == StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
    let none = world.client.get(format!("{}/api/view", world.base)).send().await.unwrap();
    assert_eq!(none.status(), StatusCode::TOO_MANY_REQUESTS);
    let twice = world.call(Method::GET, "/api/view").header("x-screen-key", &world.key).send().await.unwrap();
    assert_eq!(twice.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(world.is_untouched());
    let right = world.call(Method::GET, "/api/notes").send().await.unwrap();
    assert_eq!(right.status(), StatusCode::OK);
}

#[tokio::test]
async fn wrong_key_tells_nothing_about_the_interface() {
    let world = World::start();
    let mut bodies = Vec::new();
    for (method, path) in [(Method::GET, "/api/view"), (Method::GET, "/api/none"), (Method::GET, "/api/enter")] {
        let answer = world.client.request(method, format!("{}{path}", world.base)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
        bodies.push(answer.text().await.unwrap());
    }
    let preflight = world.client.request(Method::OPTIONS, format!("{}/api/enter", world.base)).send().await.unwrap();
    assert_eq!(preflight.status(), StatusCode::FORBIDDEN);
    assert!(bodies.iter().all(|body| body == r#"{"error":"forbidden"}"#), "{bodies:?}");
}

#[tokio::test]
async fn foreign_names_and_foreign_pages_are_refused_even_with_the_key() {
    let mut world = World::start();
    let body = json!({ "secret": CODE });
    let port = world.base.rsplit(':').next().unwrap().to_owned();
    for host in
        ["evil.example".to_owned(), format!("evil.example:{port}"), format!("localhost:{port}"), "127.0.0.1".into()]
    {
        let answer = world.post("/api/enter", &body).header(HOST, &host).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{host}");
        let page = world.client.get(&world.base).header(HOST, &host).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::FORBIDDEN, "{host}");
    }
    for origin in ["http://evil.example", "null", "http://127.0.0.1", "https://127.0.0.1"] {
        let answer = world.post("/api/enter", &body).header(ORIGIN, origin).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{origin}");
    }
    for site in ["cross-site", "same-site", ""] {
        let answer = world.post("/api/enter", &body).header("sec-fetch-site", site).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{site}");
    }
    assert!(world.is_untouched());
    let ours =
        world.call(Method::GET, "/api/notes").header(ORIGIN, &world.base).header("sec-fetch-site", "same-origin");
    assert_eq!(ours.send().await.unwrap().status(), StatusCode::OK);
}

/// What an HTTP client would not send.
#[tokio::test]
async fn requests_without_one_true_host_are_refused() {
    let world = World::start();
    let address: SocketAddr = world.base.strip_prefix("http://").unwrap().parse().unwrap();
    for request in [
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: {address}\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
        format!("GET http://evil.example/ HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    ] {
        let answer = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let answer = answer.await.unwrap();
        assert!(answer.contains(" 403 ") || answer.contains(" 400 "), "{answer}");
    }
}

#[tokio::test]
async fn malformed_calls_are_refused_before_the_main_loop_hears_of_them() {
    let mut world = World::start();
    let long = "1".repeat(5000);
    let enter = |body: &str| world.call(Method::POST, "/api/enter").body(body.to_owned());
    let json = |body: &str| enter(body).header(CONTENT_TYPE, "application/json");
    let good = r#"{"secret":"12345678"}"#;
    let all = |body: Value| world.post("/api/open-all", &body).header("x-staff-session", SESSION.to_string());
    let deposit = |body: Value| world.post("/api/deposit", &body).header("x-staff-session", SESSION.to_string());
    let code = "QABCDEFGHIJKLMNOPQRSTUVWXYA";
    let bring = |body: Value| world.post("/api/bring", &body).header("x-staff-session", SESSION.to_string());
    let bring_to = |body: Value| world.post("/api/bring-to", &body).header("x-staff-session", SESSION.to_string());
    let load = |body: Value| world.post("/api/load", &body).header("x-staff-session", SESSION.to_string());
    let walk_in = |body: Value| world.post("/api/walk-in", &body).header("x-staff-session", SESSION.to_string());
    let staff = |path: &str, body: Value| world.post(path, &body).header("x-staff-session", SESSION.to_string());
    let cases = [
        (enter(good), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (enter(good).header(CONTENT_TYPE, "text/plain"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (enter(good).header(CONTENT_TYPE, "application/x-www-form-urlencoded"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (json(&format!(r#"{{"secret":"{long}"}}"#)), StatusCode::PAYLOAD_TOO_LARGE),
        (json(""), StatusCode::BAD_REQUEST),
        (json("{}"), StatusCode::BAD_REQUEST),
        (json(r#"{"secret":12345678}"#), StatusCode::BAD_REQUEST),
        (json(r#"{"secret":"12345678","x":1}"#), StatusCode::BAD_REQUEST),
        (json(r#"{"secret":"12345678"} x"#), StatusCode::BAD_REQUEST),
        (json(r#"{"secret":"12345"}"#), StatusCode::UNPROCESSABLE_ENTITY),
        (json(r#"{"secret":"1234567a"}"#), StatusCode::UNPROCESSABLE_ENTITY),
        (json(r#"{"secret":"Q234"}"#), StatusCode::UNPROCESSABLE_ENTITY),
        (world.call(Method::GET, "/api/enter"), StatusCode::METHOD_NOT_ALLOWED),
        (world.call(Method::GET, "/api/load"), StatusCode::METHOD_NOT_ALLOWED),
        (world.call(Method::GET, "/api/logout"), StatusCode::METHOD_NOT_ALLOWED),
        (world.call(Method::POST, "/api/view"), StatusCode::METHOD_NOT_ALLOWED),
        (world.call(Method::GET, "/api/none"), StatusCode::NOT_FOUND),
        (world.call(Method::GET, "/api/notes?after=-1"), StatusCode::BAD_REQUEST),
        (world.call(Method::GET, "/api/notes?after="), StatusCode::BAD_REQUEST),
        (world.call(Method::GET, "/api/notes?after=99999999999999999999"), StatusCode::BAD_REQUEST),
        (world.call(Method::GET, "/api/notes?after=1&x=2"), StatusCode::BAD_REQUEST),
        (world.call(Method::GET, "/api/view").header("x-staff-session", "me"), StatusCode::UNAUTHORIZED),
        (world.post("/api/load", &json!({ "order": "pos/A17", "larger": false })), StatusCode::UNAUTHORIZED),
        (world.post("/api/logout", &json!({})), StatusCode::UNAUTHORIZED),
        (staff("/api/maintenance", json!({ "minutes": 241 })), StatusCode::BAD_REQUEST),
        (staff("/api/maintenance", json!({ "minutes": -1 })), StatusCode::BAD_REQUEST),
        (staff("/api/service", json!({ "compartment": 0, "in_service": false })), StatusCode::BAD_REQUEST),
        (staff("/api/found", json!({ "compartment": 7, "order": "A17" })), StatusCode::BAD_REQUEST),
        (world.post("/api/found", &json!({ "compartment": 7, "order": "pos/A17" })), StatusCode::UNAUTHORIZED),
        (load(json!({ "order": "A17", "larger": false })), StatusCode::BAD_REQUEST),
        (load(json!({ "order": "pos/A 17", "larger": false })), StatusCode::BAD_REQUEST),
        (
            walk_in(json!({ "phone": "015112345678", "size": "M", "category": "retail" })),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            walk_in(json!({ "phone": "+49 151 x1234", "size": "M", "category": "retail" })),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (walk_in(json!({ "phone": "+4915112345678", "size": "M", "category": "zoo" })), StatusCode::BAD_REQUEST),
        (walk_in(json!({ "phone": "+4915112345678", "category": "retail" })), StatusCode::BAD_REQUEST),
        (
            walk_in(json!({ "phone": "+4915112345678", "size": "M", "category": "retail", "reference": "A/17" })),
            StatusCode::BAD_REQUEST,
        ),
        (
            world.post("/api/walk-in", &json!({ "phone": "+4915112345678", "size": "M", "category": "retail" })),
            StatusCode::UNAUTHORIZED,
        ),
        (all(json!({})), StatusCode::BAD_REQUEST),
        (all(json!({ "confirm": "yes" })), StatusCode::BAD_REQUEST),
        (all(json!({ "confirm": "Open all doors" })), StatusCode::BAD_REQUEST),
        (world.post("/api/look", &json!({ "compartment": 7 })), StatusCode::UNAUTHORIZED),
        (world.post("/api/deposit", &json!({ "wish": "inside" })), StatusCode::UNAUTHORIZED),
        (deposit(json!({ "wish": "everything" })), StatusCode::BAD_REQUEST),
        (deposit(json!({})), StatusCode::BAD_REQUEST),
        (world.post("/api/bring", &json!({ "label": "A17" })), StatusCode::UNAUTHORIZED),
        (bring(json!({})), StatusCode::BAD_REQUEST),
        (bring(json!({ "label": 17 })), StatusCode::BAD_REQUEST),
        (bring(json!({ "label": "A17", "larger": true })), StatusCode::BAD_REQUEST),
        (bring(json!({ "label": "" })), StatusCode::UNPROCESSABLE_ENTITY),
        (bring(json!({ "label": "A 17" })), StatusCode::UNPROCESSABLE_ENTITY),
        (bring(json!({ "label": "shop/A17/1" })), StatusCode::UNPROCESSABLE_ENTITY),
        (bring(json!({ "label": "A17".repeat(100) })), StatusCode::UNPROCESSABLE_ENTITY),
        // A badge or a code that somebody scans in the place of a label.
        (bring(json!({ "label": code })), StatusCode::UNPROCESSABLE_ENTITY),
        (
            bring_to(json!({ "phone": "+4915112345678", "size": "M", "reference": code })),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            walk_in(json!({ "phone": "+4915112345678", "size": "M", "category": "retail", "reference": code })),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (world.post("/api/bring-to", &json!({ "phone": "+4915112345678", "size": "M" })), StatusCode::UNAUTHORIZED),
        (bring_to(json!({ "phone": "015112345678", "size": "M" })), StatusCode::UNPROCESSABLE_ENTITY),
        (bring_to(json!({ "phone": "+49 151 x1234", "size": "M" })), StatusCode::UNPROCESSABLE_ENTITY),
        (bring_to(json!({ "phone": "+4915112345678" })), StatusCode::BAD_REQUEST),
        (bring_to(json!({ "phone": "+4915112345678", "size": "XXL" })), StatusCode::BAD_REQUEST),
        (bring_to(json!({ "phone": "+4915112345678", "size": "M", "category": "food" })), StatusCode::BAD_REQUEST),
        (bring_to(json!({ "phone": "+4915112345678", "size": "M", "reference": "A/17" })), StatusCode::BAD_REQUEST),
        (world.post("/api/again", &json!({ "compartment": 0 })), StatusCode::BAD_REQUEST),
        (world.post("/api/again", &json!({ "compartment": 1000 })), StatusCode::BAD_REQUEST),
    ];
    for (n, (request, expected)) in cases.into_iter().enumerate() {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), expected, "case {n}");
        let text = answer.text().await.unwrap();
        assert!(!text.contains("1234") && !text.contains("A17"), "case {n} repeats what was sent: {text}");
    }
    assert!(world.is_untouched());
}

#[tokio::test]
async fn code_reaches_the_main_loop_and_its_result_comes_back() {
    let mut world = World::start();
    let until_boot_millis = boot_clock()() + 300_000;
    for (result, expected) in [
        (
            EntryResult::Opening { compartments: vec![door(7), door(9)] },
            json!({ "result": "opening", "compartments": [7, 9] }),
        ),
        (EntryResult::Refused(EntryRefusal::Wrong), json!({ "result": "refused", "reason": "wrong" })),
        (
            EntryResult::Depositing { session: SESSION, compartment: door(7) },
            json!({ "result": "deposit", "session": SESSION.to_string(), "compartment": 7 }),
        ),
        (EntryResult::Refused(EntryRefusal::NoRoom), json!({ "result": "refused", "reason": "no_room" })),
        (
            EntryResult::AnswerNeeded { prompt: Prompt::BirthDate },
            json!({ "result": "answer_needed", "prompt": "birth_date" }),
        ),
        (EntryResult::SecondPartNeeded, json!({ "result": "second_part_needed" })),
        (EntryResult::Locked { until_boot_millis }, json!({ "result": "locked" })),
    ] {
        let request = world.post("/api/enter", &json!({ "secret": "1234-5678" }));
        let answer = world
            .with(request, |request| match request {
                ScreenRequest::Enter { secret, reply } => {
                    assert_eq!(secret.reveal(), CODE);
                    reply.send(result).unwrap();
                }
                other => panic!("not a code: {other:?}"),
            })
            .await;
        let mut answer: Value = answer.json().await.unwrap();
        if let Some(left) = answer.as_object_mut().unwrap().remove("millis") {
            // A span: the page does not know our clock.
            assert!((1..=300_000).contains(&left.as_u64().unwrap()), "{left}");
        }
        assert_eq!(answer, expected);
    }
}

#[tokio::test]
async fn a_courier_gets_a_session_that_hears_of_its_own_door_and_of_no_order() {
    let mut world = World::start();
    let request = world.post("/api/courier", &json!({ "secret": "5555 5555" }));
    let answer = world
        .with(request, |request| match request {
            ScreenRequest::CourierEnter { secret, reply } => {
                assert_eq!(secret.reveal(), "55555555");
                let (name, compartment) = ("jo".parse().unwrap(), Some(door(7)));
                reply.send(EntryResult::CourierSession { session: SESSION, name, compartment }).unwrap();
            }
            other => panic!("not a courier's PIN: {other:?}"),
        })
        .await;
    let said: Value = answer.json().await.unwrap();
    assert_eq!(said, json!({ "result": "courier", "session": SESSION.to_string(), "name": "jo", "compartment": 7 }));
    let of = |path: &str, body: Value| world.post(path, &body).header("x-staff-session", SESSION.to_string());
    let (bring, to) =
        (of("/api/bring", json!({ "label": "shop/A17" })), json!({ "phone": "+49 151 12345678", "size": "L" }));
    let bring_to = of("/api/bring-to", to);
    world
        .with(bring, |request| match request {
            ScreenRequest::Bring { session, label } => {
                assert_eq!((session, label), (SESSION, "shop/A17".parse().unwrap()));
            }
            other => panic!("{other:?}"),
        })
        .await;
    world
        .with(bring_to, |request| match request {
            ScreenRequest::BringTo { session, parcel } => {
                assert_eq!((session, parcel.size, parcel.phone.reveal()), (SESSION, Size::L, "+4915112345678"));
            }
            other => panic!("{other:?}"),
        })
        .await;
    let order = || "pos/A17".parse().unwrap();
    world.notes.push(ScreenNote::Stored { order: order(), compartment: door(7) });
    world.notes.push(ScreenNote::LoadAborted { order: order(), compartment: door(7) });
    world.notes.push(ScreenNote::AskLoaded { order: order(), compartment: door(7), empty: false });
    world.notes.push(ScreenNote::Depositing { session: SESSION, compartment: door(7) });
    let heard = world.notes_after(0, Some(SESSION)).await;
    assert_eq!(heard["notes"], json!([{ "note": "depositing", "compartment": 7 }]));
    let view = world.call(Method::GET, "/api/view").header("x-staff-session", SESSION.to_string());
    let answer = world
        .with(view, |request| match request {
            ScreenRequest::View { reply, .. } => reply.send(screen_view()).unwrap(),
            other => panic!("{other:?}"),
        })
        .await;
    let view: Value = answer.json().await.unwrap();
    assert_eq!(view["staff"], Value::Null, "it sees nothing of what is inside");
    world.notes.push(ScreenNote::SessionEnded { session: SESSION });
    let heard = world.notes_after(4, Some(SESSION)).await;
    assert_eq!(heard["notes"], json!([{ "note": "session_ended" }]));
}

#[tokio::test]
async fn an_answer_reaches_the_main_loop_as_people_write_it_and_what_cannot_be_one_does_not() {
    let mut world = World::start();
    let refused = EntryResult::Refused(EntryRefusal::WrongAnswer);
    for (typed, read) in [("24.12.1980", "24121980"), ("l01x 00t47", "L01X00T47")] {
        let request = world.post("/api/answer", &json!({ "answer": typed }));
        let reply = world
            .with(request, |request| match request {
                ScreenRequest::Answer { answer, reply } => {
                    assert_eq!(answer.reveal(), read);
                    reply.send(refused.clone()).unwrap();
                }
                other => panic!("not an answer: {other:?}"),
            })
            .await;
        let said: Value = reply.json().await.unwrap();
        assert_eq!(said, json!({ "result": "refused", "reason": "wrong_answer" }));
    }
    for (body, status) in [
        (json!({ "answer": "47_11" }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "answer": "123" }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "answer": 4711 }), StatusCode::BAD_REQUEST),
        (json!({ "answer": "4711", "order": "shop/A17" }), StatusCode::BAD_REQUEST),
    ] {
        let answer = world.post("/api/answer", &body).send().await.unwrap();
        assert_eq!(answer.status(), status, "{body}");
        assert!(!answer.text().await.unwrap().contains("47"), "it repeats what was typed");
    }
    assert!(world.is_untouched());
}

#[tokio::test]
async fn main_loop_that_drops_a_request_is_reported_and_not_waited_for() {
    let mut world = World::start();
    let request = world.post("/api/enter", &json!({ "secret": CODE }));
    let answer = world.with(request, drop).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn staff_requests_carry_their_session() {
    let mut world = World::start();
    world.log_in().await;
    let calls = [
        ("/api/load", json!({ "order": "pos/A17", "larger": true })),
        (
            "/api/walk-in",
            json!({ "phone": "+49 151 1234-5678", "reference": "A17", "size": "M", "category": "food",
                "wants": { "refrigerated": true } }),
        ),
        ("/api/drop-walk-in", json!({ "order": "walk-in/A17-X" })),
        ("/api/retrieve", json!({ "order": "pos/A17" })),
        ("/api/release", json!({ "order": "pos/A17" })),
        ("/api/undo", json!({ "order": "pos/A17" })),
        ("/api/swap", json!({ "one": 7, "other": 9 })),
        ("/api/confirm-swap", json!({ "compartment": 7, "swapped": true })),
        ("/api/look", json!({ "compartment": 7 })),
        ("/api/service", json!({ "compartment": 7, "in_service": false })),
        ("/api/maintenance", json!({ "minutes": 30 })),
        ("/api/found", json!({ "compartment": 7, "order": "pos/A17" })),
        ("/api/cleaning", json!({ "compartment": 7, "needed": true })),
        ("/api/open-all", json!({ "confirm": "open all doors" })),
        ("/api/confirm", json!({ "compartment": 7, "inside": false })),
        ("/api/not-here", json!({ "compartment": 7 })),
        ("/api/again", json!({ "compartment": 7 })),
        ("/api/not-taken", json!({ "compartment": 7 })),
        ("/api/logout", json!({})),
    ];
    for (path, body) in calls {
        let request = world.post(path, &body).header("x-staff-session", SESSION.to_string());
        let answer = world
            .with(request, |request| match request {
                ScreenRequest::Load { session: SESSION, order, larger: true } if path == "/api/load" => {
                    assert_eq!(order.to_string(), "pos/A17");
                }
                ScreenRequest::WalkIn { session: SESSION, order } if path == "/api/walk-in" => {
                    assert_eq!(order.phone.reveal(), "+4915112345678");
                    assert_eq!(order.reference.map(|id| id.to_string()).as_deref(), Some("A17"));
                    assert!(order.wants.refrigerated && !order.wants.restricted);
                    assert_eq!((order.size, order.category), (Size::M, Category::Food));
                }
                ScreenRequest::DropWalkIn { session: SESSION, order } if path == "/api/drop-walk-in" => {
                    assert_eq!(order.to_string(), "walk-in/A17-X");
                }
                ScreenRequest::Retrieve { session: SESSION, order } if path == "/api/retrieve" => {
                    assert_eq!(order.to_string(), "pos/A17");
                }
                ScreenRequest::Release { session: SESSION, order } if path == "/api/release" => {
                    assert_eq!(order.to_string(), "pos/A17");
                }
                ScreenRequest::Undo { session: SESSION, order } if path == "/api/undo" => {
                    assert_eq!(order.to_string(), "pos/A17");
                }
                ScreenRequest::Swap { session: SESSION, one, other } if path == "/api/swap" => {
                    assert_eq!((one, other), (door(7), door(9)));
                }
                ScreenRequest::ConfirmSwap { session: SESSION, compartment, swapped: true }
                    if path == "/api/confirm-swap" =>
                {
                    assert_eq!(compartment, door(7));
                }
                ScreenRequest::Service { session: SESSION, compartment, in_service: false }
                    if path == "/api/service" =>
                {
                    assert_eq!(compartment, door(7));
                }
                ScreenRequest::Maintenance { session: SESSION, minutes } if path == "/api/maintenance" => {
                    assert_eq!(minutes, 30.try_into().unwrap());
                }
                ScreenRequest::Found { session: SESSION, compartment, order } if path == "/api/found" => {
                    assert_eq!((compartment, order.to_string().as_str()), (door(7), "pos/A17"));
                }
                ScreenRequest::Look { session: SESSION, compartment } if path == "/api/look" => {
                    assert_eq!(compartment, door(7));
                }
                ScreenRequest::OpenAll { session: SESSION } if path == "/api/open-all" => {}
                ScreenRequest::Cleaning { session: SESSION, compartment, needed: true } if path == "/api/cleaning" => {
                    assert_eq!(compartment, door(7));
                }
                ScreenRequest::Confirm { session: SESSION, compartment, inside: false } if path == "/api/confirm" => {
                    assert_eq!(compartment, door(7));
                }
                ScreenRequest::Report { compartment } if path == "/api/not-here" => {
                    assert_eq!(compartment, Some(door(7)));
                }
                ScreenRequest::TryAgain { compartment } if path == "/api/again" => assert_eq!(compartment, door(7)),
                ScreenRequest::NotTaken { compartment } if path == "/api/not-taken" => {
                    assert_eq!(compartment, door(7));
                }
                ScreenRequest::Logout { session: SESSION } if path == "/api/logout" => {}
                other => panic!("{path} became {other:?}"),
            })
            .await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED, "{path}");
    }
}

#[tokio::test]
async fn what_somebody_who_puts_an_order_in_presses_carries_their_session() {
    let mut world = World::start();
    for (word, meant) in [
        ("too_small", DepositWish::TooSmall),
        ("not_empty", DepositWish::NotEmpty),
        ("again", DepositWish::Again),
        ("inside", DepositWish::Inside),
        ("give_up", DepositWish::GiveUp),
    ] {
        let request =
            world.post("/api/deposit", &json!({ "wish": word })).header("x-staff-session", SESSION.to_string());
        let answer = world
            .with(request, |request| match request {
                ScreenRequest::Deposit { session: SESSION, wish } => assert_eq!(wish, meant),
                other => panic!("{word} became {other:?}"),
            })
            .await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED, "{word}");
    }
    world.notes.push(ScreenNote::Depositing { session: SESSION, compartment: door(9) });
    world.notes.push(ScreenNote::AskDeposited { session: SESSION, compartment: door(9), empty: true });
    world.notes.push(ScreenNote::DepositRefused { session: SESSION, reason: DepositRefusal::DoorOpen });
    world.notes.push(ScreenNote::DepositOver { session: SESSION, compartment: door(9), stored: true });
    let own = world.notes_after(0, Some(SESSION)).await;
    assert_eq!(
        own["notes"],
        json!([
            { "note": "depositing", "compartment": 9 },
            { "note": "ask_deposited", "compartment": 9, "empty": true },
            { "note": "deposit_refused", "reason": "door_open" },
            { "note": "deposit_over", "compartment": 9, "stored": true },
        ])
    );
    world.notes.push(ScreenNote::Closed { compartment: door(9) });
    let public = json!({ "next": 5, "notes": [{ "note": "closed", "compartment": 9 }] });
    assert_eq!(world.notes_after(0, None).await, public);
}

#[tokio::test]
async fn orders_and_contents_are_shown_to_staff_only() {
    let mut world = World::start();
    world.log_in().await;
    let mut seen = Vec::new();
    for session in [None, Some(SessionId(1)), Some(SESSION)] {
        let mut request = world.call(Method::GET, "/api/view");
        if let Some(session) = session {
            request = request.header("x-staff-session", session.to_string());
        }
        let answer = world
            .with(request, |request| match request {
                ScreenRequest::View { session: asked, reply } => {
                    assert_eq!(asked, session);
                    reply.send(screen_view()).unwrap();
                }
                other => panic!("not a view: {other:?}"),
            })
            .await;
        seen.push(answer.json::<Value>().await.unwrap());
    }
    for view in &seen[..2] {
        assert_eq!(view["staff"], Value::Null);
        assert_eq!(view["doors"], json!([{ "number": 7, "door": "closed", "try_again": true, "may_stay": true }]));
        assert!((1..=300_000).contains(&view["locked_millis"].as_u64().unwrap()), "counted from now: {view}");
        assert_eq!(view["offline"]["since"], 1_700_000_000_000_u64);
        let away = view["offline"]["at_least_millis"].as_u64().unwrap();
        assert!((IDLE_MILLIS + 7..IDLE_MILLIS + 60_000).contains(&away), "counted until now: {view}");
        assert!(!view.to_string().contains("A17") && !view.to_string().contains("held-inside"));
    }
    assert_eq!(seen[2]["staff"]["waiting"][0]["order"], "pos/A17");
    assert_eq!(seen[2]["staff"]["waiting"][0]["part"], json!({ "whole": "pos/A17", "number": 1, "of": 2 }));
    assert_eq!(seen[2]["staff"]["unwanted"][0]["why"], "overdue");
    assert_eq!(seen[2]["staff"]["releases"][0]["order"], "pos/A4");
    assert_eq!(seen[2]["staff"]["compartments"][0]["allocated"], true);
    assert_eq!(seen[2]["staff"]["compartments"][0]["orders"], json!(["shop/held-inside-7"]));
}

#[tokio::test]
async fn what_staff_find_is_told_to_staff_only() {
    let mut world = World::start();
    world.log_in().await;
    let order: schemas::messages::OrderKey = "pos/A17".parse().unwrap();
    let compartment = door(7);
    world.notes.push(ScreenNote::Looking { session: SESSION, compartment, order: Some(order.clone()) });
    world.notes.push(ScreenNote::AskFound { compartment, order: Some(order) });
    world.notes.push(ScreenNote::Audited { compartment, found: Finding::Missing });
    world.notes.push(ScreenNote::AskSwapped { compartments: [compartment, door(9)] });
    world.notes.push(ScreenNote::SwapOver { compartments: [compartment, door(9)], swapped: true });
    let told = world.notes_after(0, Some(SESSION)).await;
    assert_eq!(
        told["notes"],
        json!([
            { "note": "looking", "compartment": 7, "order": "pos/A17" },
            { "note": "ask_found", "compartment": 7, "order": "pos/A17" },
            { "note": "audited", "compartment": 7, "found": "missing" },
            { "note": "ask_swapped", "compartments": [7, 9] },
            { "note": "swap_over", "compartments": [7, 9], "swapped": true },
        ])
    );
    world.notes.push(ScreenNote::Closed { compartment });
    assert_eq!(world.notes_after(0, None).await["notes"], json!([{ "note": "closed", "compartment": 7 }]));
}

#[tokio::test]
async fn long_poll_wakes_for_a_note_and_goes_on_from_there() {
    let world = World::start();
    let start: Value = world.call(Method::GET, "/api/notes").send().await.unwrap().json().await.unwrap();
    assert_eq!(start, json!({ "next": 0, "notes": [] }));
    let notes = world.notes.clone();
    let (woken, ()) = tokio::join!(world.notes_after(0, None), async {
        std::thread::spawn(move || notes.push(ScreenNote::Opened { compartment: door(7) })).join().unwrap();
    });
    assert_eq!(woken, json!({ "next": 1, "notes": [{ "note": "opened", "compartment": 7 }] }));
    world.notes.push(ScreenNote::CallStaff { compartment: door(7), order: Some("pos/A17".parse().unwrap()) });
    let next = world.notes_after(1, None).await;
    assert_eq!(next["notes"], json!([{ "note": "call_staff", "compartment": 7, "order": "pos/A17" }]));
}

#[tokio::test]
async fn notes_of_staff_reach_their_session_and_nobody_else() {
    let mut world = World::start();
    world.log_in().await;
    let order = || "pos/A17".parse().unwrap();
    world.notes.push(ScreenNote::Loading { session: SESSION, order: order(), compartment: door(7) });
    world.notes.push(ScreenNote::Stored { order: order(), compartment: door(7) });
    world.notes.push(ScreenNote::SessionEnded { session: SESSION });
    world.notes.push(ScreenNote::Closed { compartment: door(7) });
    let public = json!({ "next": 4, "notes": [{ "note": "closed", "compartment": 7 }] });
    assert_eq!(world.notes_after(0, None).await, public);
    assert_eq!(world.notes_after(0, Some(SessionId(1))).await, public);
    let own = world.notes_after(0, Some(SESSION)).await;
    assert_eq!(
        own["notes"],
        json!([
            { "note": "loading", "order": "pos/A17", "compartment": 7 },
            { "note": "stored", "order": "pos/A17", "compartment": 7 },
            { "note": "session_ended" },
            { "note": "closed", "compartment": 7 },
        ])
    );
    assert!(!own.to_string().contains(&SESSION.to_string()));
}

#[tokio::test]
async fn stopping_ends_long_polls_at_once() {
    let mut world = World::start();
    let poll = tokio::spawn(world.call(Method::GET, "/api/notes?after=0").send());
    let stop = world.stop.take().unwrap();
    stop.send(()).unwrap();
    tokio::time::timeout(PATIENCE, &mut world.serving).await.expect("stops").unwrap().unwrap();
    // Answered, or refused because it came too late: in no case still waiting.
    let _ = tokio::time::timeout(PATIENCE, poll).await.expect("ends").unwrap();
}

#[test]
fn only_loopback_is_listened_on() {
    let folder = tempfile::tempdir().unwrap();
    for listen in ["0.0.0.0:0", "192.0.2.1:8080", "[::]:0"] {
        let (sender, _requests) = mpsc::channel(1);
        let error = Screen::bind(&section(listen, &folder), "berlin-01", sender).err().unwrap();
        assert!(matches!(error, ScreenError::NotLoopback(_)), "{error}");
        assert!(error.to_string().contains(listen), "{error}");
    }
    assert!(!folder.path().join("screen.url").exists());
}

#[test]
fn port_in_use_is_named_and_the_address_of_its_owner_stays() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    std::fs::write(folder.path().join("screen.url"), "of the owner").unwrap();
    let (sender, _requests) = mpsc::channel(1);
    let error = Screen::bind(&section(&listen, &folder), "berlin-01", sender).err().unwrap();
    assert!(matches!(error, ScreenError::PortInUse(_)), "{error}");
    assert!(error.to_string().contains("set `screen.listen` to another port"), "{error}");
    assert_eq!(std::fs::read_to_string(folder.path().join("screen.url")).unwrap(), "of the owner");
}
