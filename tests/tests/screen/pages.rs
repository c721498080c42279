//! Every page at every size, as it is drawn from what an agent may say. The answers are staged: the page's own files come from
//! a real agent, and what it answered is changed where a page needs it.

use anyhow::ensure;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::World;
use serde_json::{Value, json};

use crate::browser::{Browser, LARGE, SMALL, Size, UPRIGHT};
use crate::words;

const HOTLINE: &str = "+49 30 1234567";

const CODE: &str = "12345678";

/// `screen.book_old_hours` as it is without being set.
const BOOK_OLD_MILLIS: u64 = 72 * 3_600_000;

/// The number of a door is to be read from two metres away: on 7 inches with 800 x 480 pixels these are 17 mm of its figures, and 7 mm
/// where many doors open.
const DOOR_PIXELS: f64 = 90.0;
const MANY_DOORS_PIXELS: f64 = 38.0;

/// A page that hears what the test wants it to hear.
struct Staged {
    browser: Browser,
    /// What the real agent showed to staff.
    seen: Value,
    /// A row of its compartments.
    row: Value,
    /// With larger type.
    large: bool,
    /// Of all pages so far.
    wrong: Vec<String>,
}

impl Staged {
    /// A fresh page; `changes` go over the view, and `answers` are those to calls.
    async fn begin(&mut self, changes: Value, answers: Value) -> anyhow::Result<()> {
        let mut view = self.seen.clone();
        over(&mut view, &changes);
        self.browser.fake(json!({ "view": view, "answers": answers })).await?;
        self.browser.reload().await?;
        self.browser.element("#stage section").await?;
        if self.large {
            let choose = "import('/app.js').then(({ state, show }) => { state.large = true; show(state.page); })";
            self.browser.run::<Value>(choose).await?;
            self.browser.element("html.large").await?;
        }
        Ok(())
    }

    /// The same, and somebody types a code.
    async fn entered(&mut self, changes: Value, answer: Value) -> anyhow::Result<()> {
        self.begin(changes, json!({ "enter": { "status": 200, "body": answer } })).await?;
        self.browser.button(words::OPEN_THE_DOOR).await?;
        self.browser.scan(CODE).await
    }

    /// Staff are logged in, and see what `staff` changes of it.
    async fn staff(&mut self, staff: Value) -> anyhow::Result<()> {
        let session = "00000000000000000000000000000001";
        let changes = json!({ "staff": staff });
        self.entered(changes, json!({ "result": "staff", "session": session, "name": "sam" })).await?;
        self.browser.heading(words::ORDERS).await
    }

    async fn courier(&mut self, door: Option<u16>) -> anyhow::Result<()> {
        let session = "00000000000000000000000000000002";
        let answer = json!({ "result": "courier", "session": session, "name": "jo", "compartment": door });
        self.entered(json!({ "staff": null }), answer).await
    }

    async fn note(&mut self, note: Value) -> anyhow::Result<()> {
        self.browser.fake(json!({ "notes": [note] })).await
    }

    async fn good(&mut self, name: &str) -> anyhow::Result<()> {
        let name = &if self.large { format!("{name}-large") } else { name.to_owned() };
        self.wrong.extend(self.browser.wrong_in_place(name).await?);
        // Names, roles and colours are the same at every size.
        if self.browser.is(SMALL) {
            self.wrong.extend(self.browser.wrong_by_rules(name).await?);
        }
        Ok(())
    }

    /// How high the figures of the doors are, and that nothing cuts them off.
    async fn legible(&mut self, least: f64) -> anyhow::Result<()> {
        // Larger words take their room from the figures, which are large anyway.
        let least = if self.large { least * 0.8 } else { least };
        let measure = "[...document.querySelectorAll('.tile b')].map((one) => { \
             const [own, tile] = [one.getBoundingClientRect(), one.closest('.tile').getBoundingClientRect()]; \
             const inside = own.left >= tile.left && own.right <= tile.right && own.top >= tile.top && own.bottom <= tile.bottom; \
             return inside ? parseFloat(getComputedStyle(one).fontSize) : 0; })";
        let heights: Vec<f64> = self.browser.run(measure).await?;
        ensure!(!heights.is_empty(), "no door is shown");
        if heights.iter().any(|height| *height < least) {
            self.wrong.push(format!("numbers of doors are {heights:?} pixels high; {least} is the least"));
        }
        Ok(())
    }

    /// Doors from 1 on, as staff see them.
    fn doors(&self, count: u16, changes: impl Fn(u16) -> Value) -> Value {
        let doors = (1..=count).map(|number| {
            let mut row = self.row.clone();
            over(&mut row, &json!({ "number": number }));
            over(&mut row, &changes(number));
            row
        });
        doors.collect()
    }
}

/// Objects are changed key by key, everything else is replaced.
fn over(value: &mut Value, changes: &Value) {
    match (value, changes) {
        (Value::Object(members), Value::Object(changes)) => {
            for (name, change) in changes {
                over(members.entry(name).or_insert(Value::Null), change);
            }
        }
        (value, change) => *value = change.clone(),
    }
}

fn orders() -> Value {
    let order = |id: &str, size: &str| {
        json!({
            "order": format!("shop/{id}"), "size": size, "category": "pharmacy", "compartment": null, "loading": false,
            "missing": false, "walk_in": false, "deposit": null, "part": null,
        })
    };
    let mut all = vec![order("A17", "S"), order("2026-11-23-ORDER-000000000017", "XL"), order("A19", "M")];
    over(&mut all[1], &json!({ "missing": true, "compartment": 12, "deposit": "courier" }));
    over(&mut all[2], &json!({ "part": { "whole": "shop/A", "number": 2, "of": 3 }, "compartment": 4 }));
    let mut walk_in = order("DHL-1-7KQ2", "S");
    over(&mut walk_in, &json!({ "order": "walk-in/DHL-1-7KQ2", "walk_in": true }));
    all.push(walk_in);
    all.into()
}

async fn customers(page: &mut Staged) -> anyhow::Result<()> {
    let none = json!({});
    page.begin(json!({ "staff": null }), none.clone()).await?;
    page.browser.heading(words::TYPE_CODE).await?;
    page.browser.read(words::ONLINE).await?;
    page.good("idle").await?;
    page.browser.document("idle").await?;
    let app = json!({ "token": "ABCD-2345", "side": 25, "path": "M0 0h1v1h-1z" });
    page.begin(json!({ "app": app, "other_form": true }), none.clone()).await?;
    page.browser.button(words::TO_LETTERS).await?;
    page.good("idle-app-both-keypads").await?;
    page.begin(json!({ "code_letters": 8, "other_form": true }), none.clone()).await?;
    page.browser.button("B").await?;
    page.good("letters").await?;
    page.browser.document("letters").await?;

    for reason in ["used", "time_unknown", "no_room"] {
        page.entered(none.clone(), json!({ "result": "refused", "reason": reason })).await?;
        page.browser.element(".refusal").await?;
        page.good(&format!("refused-{reason}")).await?;
    }
    page.begin(json!({ "locked_millis": 272_000 }), none.clone()).await?;
    page.browser.heading(words::LOCKED).await?;
    page.browser.document("locked").await?;
    page.begin(json!({ "locked_millis": 272_000, "app": app }), none.clone()).await?;
    page.browser.read("ABCD-2345").await?;
    page.good("locked").await?;
    page.begin(json!({ "second_part_needed": true }), none.clone()).await?;
    page.browser.heading(words::SECOND_PART).await?;
    page.good("second-part").await?;
    page.entered(none.clone(), json!({ "result": "release_needed" })).await?;
    page.browser.heading(words::ASK_STAFF).await?;
    page.good("release").await?;
    for (prompt, heading) in [("birth_date", words::BIRTH_DATE), ("document_number", words::DOCUMENT_NUMBER)] {
        page.entered(none.clone(), json!({ "result": "answer_needed", "prompt": prompt })).await?;
        page.browser.heading(heading).await?;
        page.browser.types("1234").await?;
        page.good(&format!("answer-{prompt}")).await?;
    }
    page.browser.document("answer").await
}

async fn doors(page: &mut Staged) -> anyhow::Result<()> {
    let opening = |doors: &[u16]| json!({ "result": "opening", "compartments": doors });
    page.entered(json!({}), opening(&[7])).await?;
    page.browser.heading(&words::door_is(7, "being opened …")).await?;
    page.good("door-opening").await?;
    page.note(json!({ "note": "opened", "compartment": 7 })).await?;
    page.browser.heading(&words::door_is(7, "open")).await?;
    page.good("door-open").await?;
    page.legible(DOOR_PIXELS).await?;
    page.browser.document("door").await?;
    page.note(json!({ "note": "beep", "compartment": 7 })).await?;
    page.note(json!({ "note": "reported", "order": "shop/A17", "compartment": 7 })).await?;
    page.browser.read("A17").await?;
    page.good("door-reported").await?;
    page.note(json!({ "note": "closed", "compartment": 7 })).await?;
    page.browser.read(words::GOODBYE).await?;
    page.good("door-closed").await?;

    for (note, name) in [("push_door", "door-push"), ("lock_silent", "door-silent")] {
        page.entered(json!({}), opening(&[7])).await?;
        page.browser.element(".tile").await?;
        page.note(json!({ "note": note, "compartment": 7, "attempt": 1 })).await?;
        page.browser.button(&words::try_again(7)).await?;
        page.good(name).await?;
        if note == "push_door" {
            page.browser.document(name).await?;
        }
    }
    page.note(json!({ "note": "call_staff", "compartment": 7, "order": "shop/A17" })).await?;
    page.browser.element(".tile.help").await?;
    page.good("door-help").await?;

    // Of four doors one did not open, one needs help, and one is left for the next time.
    let seen = page.doors(9, |_| json!({ "may_stay": true }));
    page.entered(json!({ "doors": seen }), opening(&[1, 2, 3, 4])).await?;
    page.browser.element(".many").await?;
    for number in 1..=4 {
        page.note(json!({ "note": "opened", "compartment": number })).await?;
    }
    page.browser.button(&words::door_is(4, "open")).await?;
    page.good("doors").await?;
    page.legible(MANY_DOORS_PIXELS).await?;
    page.browser.tap(&words::door_is(2, "open")).await?;
    page.browser.button("My order is not in door 2").await?;
    page.good("doors-one-chosen").await?;
    page.browser.tap("I leave what is behind door 2").await?;
    page.note(json!({ "note": "push_door", "compartment": 3, "attempt": 1 })).await?;
    page.note(json!({ "note": "call_staff", "compartment": 4, "order": "shop/A17" })).await?;
    page.browser.button(&words::try_again(3)).await?;
    page.good("doors-one-pushed-one-help").await?;

    let doors = json!([{ "number": 7, "door": "held_open", "try_again": false, "may_stay": false }]);
    page.begin(json!({ "doors": doors }), json!({})).await?;
    page.note(json!({ "note": "beep", "compartment": 7 })).await?;
    page.browser.element("#banner").await?;
    page.good("left-open").await
}

async fn deposits(page: &mut Staged) -> anyhow::Result<()> {
    let session = "00000000000000000000000000000003";
    page.entered(json!({}), json!({ "result": "deposit", "session": session, "compartment": 3 })).await?;
    page.browser.element(".tile").await?;
    page.note(json!({ "note": "opened", "compartment": 3 })).await?;
    page.browser.read(words::PUT_IN).await?;
    page.good("deposit-open").await?;
    page.legible(DOOR_PIXELS).await?;
    page.note(json!({ "note": "deposit_refused", "reason": "no_fitting_compartment" })).await?;
    page.browser.element(".refusal").await?;
    page.good("deposit-refused").await?;
    page.note(json!({ "note": "ask_deposited", "compartment": 3, "empty": true })).await?;
    page.browser.button(words::YES_INSIDE).await?;
    page.good("deposit-asking").await?;
    page.note(json!({ "note": "push_door", "compartment": 3, "attempt": 1 })).await?;
    page.browser.button(&words::try_again(3)).await?;
    page.good("deposit-push").await?;
    page.note(json!({ "note": "deposit_over", "compartment": 3, "stored": true })).await?;
    page.browser.read(words::DEPOSITED).await?;
    page.good("deposit-stored").await?;

    page.courier(None).await?;
    page.browser.heading(words::BRING).await?;
    page.good("courier").await?;
    page.browser.document("courier").await?;
    page.browser.tap(words::TYPE_LABEL).await?;
    page.browser.heading(words::TYPE_LABEL).await?;
    page.browser.types("DHL-1/000000000000000000000000000017").await?;
    page.good("courier-label").await?;
    page.browser.tap(words::CANCEL).await?;
    page.note(json!({ "note": "deposit_refused", "reason": "not_expected" })).await?;
    page.browser.element(".refusal").await?;
    page.good("courier-refused").await?;
    page.courier(Some(3)).await?;
    page.browser.read(words::DID_YOU).await?;
    page.good("courier-asked").await
}

async fn staff(page: &mut Staged) -> anyhow::Result<()> {
    page.begin(json!({ "staff": null }), json!({})).await?;
    page.browser.tap(words::STAFF).await?;
    page.browser.heading(words::STAFF_PIN).await?;
    page.good("staff-pin").await?;
    page.browser.types("1234567890123456789012345").await?;
    page.good("staff-break-glass").await?;
    page.browser.tap(words::COURIER).await?;
    page.browser.heading(words::COURIER_PIN).await?;
    page.good("courier-pin").await?;

    page.staff(json!({ "waiting": [] })).await?;
    page.good("staff-nothing").await?;
    let compartments = page.doors(4, |number| match number {
        1 => json!({ "asks": true }),
        2 => json!({ "audit_required": true }),
        3 => json!({ "audit_required": true, "allocated": true }),
        _ => json!({}),
    });
    let unwanted = json!([
        { "order": "shop/B2", "compartment": 4, "why": "overdue", "part": null },
        { "order": "shop/B3", "compartment": 5, "why": "quarantined", "part": null },
    ]);
    let releases = json!([{ "order": "shop/R1", "compartment": 3 }]);
    let changes = json!({
        "waiting": orders(), "unwanted": unwanted, "releases": releases, "compartments": compartments,
        "boards_silent": 1,
    });
    page.staff(changes).await?;
    page.good("staff-list-all").await?;
    page.staff(json!({ "waiting": orders() })).await?;
    page.good("staff-list").await?;
    page.browser.document("staff-list").await?;

    let about = |note: &str| json!({ "note": note, "order": "shop/A17", "compartment": 7, "empty": true });
    page.note(about("loading")).await?;
    page.browser.element(".tile.opening").await?;
    page.good("job-loading").await?;
    page.note(about("opened")).await?;
    page.browser.button(words::LARGER).await?;
    page.good("job-open").await?;
    page.legible(DOOR_PIXELS).await?;
    page.browser.document("staff-door").await?;
    page.note(json!({ "note": "staff_refused", "reason": "no_fitting_compartment" })).await?;
    page.browser.element(".refusal").await?;
    page.good("job-refused").await?;
    page.note(json!({ "note": "beside", "order": "shop/A17", "compartment": 7, "others": ["shop/A18", "shop/A19"] }))
        .await?;
    for (note, button, name) in [
        ("ask_loaded", words::YES_INSIDE, "job-asking"),
        ("stored", words::NEXT_ORDER, "job-stored"),
        ("load_aborted", words::NEXT_ORDER, "job-not-stored"),
    ] {
        page.note(about(note)).await?;
        page.browser.button(button).await?;
        page.good(name).await?;
    }
    page.note(about("loading")).await?;
    page.browser.element(".tile.opening").await?;
    page.note(about("push_door")).await?;
    page.browser.button(&words::try_again(7)).await?;
    page.good("job-push").await?;
    page.note(about("call_staff")).await?;
    page.browser.element(".tile.help").await?;
    page.good("job-help").await?;
    let long = json!({ "note": "loading", "order": "shop/2026-11-23-ORDER-000000000017", "compartment": 112 });
    page.note(long).await?;
    page.browser.element(".tile.opening").await?;
    page.good("job-long-name").await
}

async fn rounds(page: &mut Staged) -> anyhow::Result<()> {
    let compartments = page.doors(12, |number| match number {
        1 => json!({ "needs_cleaning": true, "fault": true }),
        2 => json!({ "door": "forced", "audit_required": true, "allocated": true }),
        3 => json!({ "allocated": true, "swaps_with": 4 }),
        4 => json!({ "allocated": true, "swaps_with": 3, "asks": true }),
        5 => json!({ "withdrawn": true, "in_service": false, "refrigerated": true }),
        _ => json!({}),
    });
    let maintenance = json!({ "name": "sam", "millis": 1_700_000 });
    page.staff(json!({ "compartments": compartments, "maintenance": maintenance })).await?;
    page.browser.tap(words::CHECK_DOORS).await?;
    page.browser.heading(words::CHECK_DOORS).await?;
    let works = "sam works at the doors with a key (29 min left). Doors that open meanwhile are not forced.";
    page.browser.read(works).await?;
    page.browser.button("Door 5 is in service again").await?;
    page.good("round").await?;
    page.browser.tap(words::EXCHANGE).await?;
    page.browser.button(words::CANCEL).await?;
    page.good("round-exchange").await?;
    page.browser.tap(words::CANCEL).await?;
    page.browser.tap(words::EMERGENCY).await?;
    page.browser.button(words::EMERGENCY_YES).await?;
    page.good("emergency").await?;
    page.browser.tap(words::GO_BACK).await?;
    page.note(json!({ "note": "opening_all", "compartments": [1, 2], "passed_over": [3, 4] })).await?;
    if page.browser.language() == "en" {
        page.browser.read("Not opened: 3 and 4.").await?;
    }
    page.browser.heading(words::CHECK_DOORS).await?;
    page.good("emergency-opening").await?;
    for (note, phase) in [("looking", "opening"), ("opened", "open"), ("ask_found", "push")] {
        page.note(json!({ "note": note, "compartment": 7, "order": "shop/A17" })).await?;
        page.browser.element(&format!(".tile.{phase}")).await?;
        page.good(&format!("look-{phase}")).await?;
    }
    for found in ["occupied", "missing"] {
        page.note(json!({ "note": "audited", "compartment": 7, "found": found })).await?;
        page.browser.button(words::NEXT_DOOR).await?;
        page.good(&format!("look-{found}")).await?;
    }
    page.note(json!({ "note": "found", "compartment": 7, "order": "shop/A17", "from": 3 })).await?;
    page.browser.read(words::CORRECTED).await?;
    page.good("look-found").await?;
    page.staff(json!({ "compartments": page.doors(2, |_| json!({ "refrigerated": true })) })).await?;
    page.browser.tap(words::WALK_IN).await?;
    page.browser.button(words::OPEN_A_DOOR).await?;
    page.browser.tap(words::COOLED).await?;
    page.browser.tap_each("4915112345678").await?;
    page.good("walk-in").await?;
    page.browser.types("00000000000000000000000000000000000000000000000000000000000017").await?;
    page.good("walk-in-long-label").await
}

/// Since 14 November 2023, and for so long.
fn offline(millis: u64) -> Value {
    json!({ "online": false, "offline": { "since": 1_700_000_000_000_u64, "at_least_millis": millis } })
}

async fn trouble(page: &mut Staged) -> anyhow::Result<()> {
    page.begin(json!({ "online": false }), json!({})).await?;
    page.browser.read(words::OFFLINE).await?;
    page.good("offline-since-ever").await?;
    page.begin(offline(BOOK_OLD_MILLIS - 1), json!({})).await?;
    page.browser.read(words::OFFLINE).await?;
    page.browser.element(".away:not(.old)").await?;
    let said = page.browser.text(".away").await?;
    ensure!(said.contains("2023"), "{said}");
    page.good("offline").await?;
    page.browser.document("offline").await?;
    // Whoever types sees what is typed only.
    page.browser.types("1").await?;
    page.browser.element(".say:not(:has(.away))").await?;
    page.begin(offline(BOOK_OLD_MILLIS), json!({})).await?;
    page.browser.read(words::OLD).await?;
    page.browser.element(".away.old").await?;
    page.browser.read(HOTLINE).await?;
    page.good("book-old").await?;
    page.browser.document("book-old").await?;
    // No board answers; with one that does, a code may open.
    let silent = page.doors(3, |_| json!({ "door": "unknown" }));
    page.begin(json!({ "doors": silent, "boards_silent": 1 }), json!({})).await?;
    page.browser.heading(words::OUT_OF_ORDER).await?;
    page.browser.read(words::DOORS_SILENT).await?;
    page.browser.read(HOTLINE).await?;
    page.good("doors-silent").await?;
    let some = page.doors(3, |number| json!({ "door": if number == 1 { "closed" } else { "unknown" } }));
    page.begin(json!({ "doors": some, "boards_silent": 1 }), json!({})).await?;
    page.browser.heading(words::TYPE_CODE).await?;
    for (answer, heading, name) in [
        (json!("lost"), words::LOST, "lost"),
        (json!({ "status": 503, "body": { "error": "out_of_order" } }), words::OUT_OF_ORDER, "out-of-order"),
        (json!({ "status": 403, "body": { "error": "forbidden" } }), words::LOST, "no-key"),
    ] {
        page.begin(json!({}), json!({ "notes": answer })).await?;
        page.browser.heading(heading).await?;
        page.browser.read(HOTLINE).await?;
        page.good(name).await?;
    }
    page.browser.read(words::START_AGAIN).await
}

/// A cabinet that loses its power, on each page: nothing of what was shown stays, and nothing that was typed.
async fn cut(page: &mut Staged) -> anyhow::Result<()> {
    for name in [
        "typed",
        "pin",
        "courier pin",
        "answer",
        "release",
        "door",
        "deposit",
        "courier",
        "label",
        "list",
        "walk-in",
        "round",
        "emergency",
        "job",
    ] {
        page.at(name).await?;
        page.browser.fake(json!({ "answers": { "notes": "lost" } })).await?;
        page.browser.heading(words::LOST).await?;
        page.browser.begins_at_heading().await?;
        let left: usize =
            page.browser.run("document.querySelectorAll('#stage :is(output, .tile, button)').length").await?;
        ensure!(left == 0, "something of {name} is still shown");
    }
    page.good("lost-everywhere").await
}

impl Staged {
    /// On this page, with something begun.
    async fn at(&mut self, name: &str) -> anyhow::Result<()> {
        let note = |note: &str| json!({ "note": note, "compartment": 7, "order": "shop/A17" });
        let session = "00000000000000000000000000000003";
        match name {
            "typed" => {
                self.begin(json!({ "staff": null }), json!({})).await?;
                self.browser.types("123").await
            }
            "pin" | "courier pin" => {
                self.begin(json!({ "staff": null }), json!({})).await?;
                self.browser.tap(words::STAFF).await?;
                if name == "courier pin" {
                    self.browser.tap(words::COURIER).await?;
                }
                self.browser.types("123").await
            }
            "answer" => {
                self.entered(json!({}), json!({ "result": "answer_needed", "prompt": "pin" })).await?;
                self.browser.heading("Type your PIN").await?;
                self.browser.types("12").await
            }
            "release" => {
                self.entered(json!({}), json!({ "result": "release_needed" })).await?;
                self.browser.heading(words::ASK_STAFF).await
            }
            "door" => {
                self.entered(json!({}), json!({ "result": "opening", "compartments": [7] })).await?;
                self.note(note("opened")).await?;
                self.browser.element(".tile.open").await
            }
            "deposit" => {
                let answer = json!({ "result": "deposit", "session": session, "compartment": 7 });
                self.entered(json!({}), answer).await?;
                self.note(note("opened")).await?;
                self.browser.element(".tile.open").await
            }
            "courier" | "label" => {
                self.courier(None).await?;
                self.browser.heading(words::BRING).await?;
                if name == "label" {
                    self.browser.tap(words::TYPE_LABEL).await?;
                }
                self.browser.types("123").await
            }
            "job" => {
                self.staff(json!({ "waiting": orders() })).await?;
                self.note(note("loading")).await?;
                self.browser.element(".tile.opening").await
            }
            page => {
                self.staff(json!({ "waiting": orders() })).await?;
                match page {
                    "walk-in" => self.browser.tap(words::WALK_IN).await,
                    "list" => Ok(()),
                    _ => {
                        self.browser.tap(words::CHECK_DOORS).await?;
                        if page == "round" { Ok(()) } else { self.browser.tap(words::EMERGENCY).await }
                    }
                }
            }
        }
    }
}

/// Size, language, and whether type is larger.
type Way = (Size, &'static str, bool);

fn in_language(language: &'static str) -> [Way; 3] {
    [SMALL, LARGE, UPRIGHT].map(|size| (size, language, false))
}

async fn all_pages(url: &str, seen: &Value, way: Way) -> anyhow::Result<Vec<String>> {
    let (size, language, large) = way;
    let Some(mut browser) = Browser::start(size).await? else { return Ok(Vec::new()) };
    browser.speak(language)?;
    browser.open(url).await?;
    // A page that is loaded again before it has all its words fails, to nobody's harm.
    browser.heading(words::TYPE_CODE).await?;
    let row = seen["staff"]["compartments"][0].clone();
    ensure!(row.is_object(), "{seen}");
    let mut page = Staged { browser, seen: seen.clone(), row, large, wrong: Vec::new() };
    customers(&mut page).await?;
    doors(&mut page).await?;
    deposits(&mut page).await?;
    staff(&mut page).await?;
    rounds(&mut page).await?;
    trouble(&mut page).await?;
    if page.browser.is(SMALL) && language == "en" && !large {
        cut(&mut page).await?;
    }
    let errors = page.browser.errors().await?;
    page.wrong.extend(errors.into_iter().map(|error| format!("a script fails: {error}")));
    Ok(page.wrong)
}

#[tokio::test]
async fn every_page_can_be_seen_reached_and_read_at_every_size_in_two_languages() -> anyhow::Result<()> {
    let world = World::start().await?;
    let hotline = format!("CABINET_AGENT__SCREEN__HOTLINE={HOTLINE}");
    let launcher = vec!["env".into(), hotline.into()];
    let site = world.cabinet(CabinetPlan { launcher, ..CabinetPlan::new("berlin-01", "1-12:S") }).await?;
    let screen = site.screen()?;
    let seen = screen.view(Some(&site.session().await?)).await?;
    let url = screen.url();
    let mut wrong = Vec::new();
    // The smallest screen has the least room for the words of the others, and for larger ones.
    let few = [(SMALL, "pl", false), (SMALL, "es", false), (SMALL, "zh", false)];
    let larger = [SMALL, LARGE, UPRIGHT].map(|size| (size, "de", true));
    for ways in [in_language("en"), in_language("de"), few, larger] {
        let [one, two, three] = ways.map(|way| all_pages(&url, &seen, way));
        let (one, two, three) = tokio::join!(one, two, three);
        wrong.extend([one?, two?, three?].concat());
    }
    ensure!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}
