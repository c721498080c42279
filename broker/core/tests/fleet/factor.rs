//! Second factors: what backends give with an order, and what becomes of it on its way to a cabinet.

use fleet_core::signing::SignerRequest;
use fleet_core::{BOOKED, Effect, Input, ORDERS};
use schemas::api::{OrderState, Reply, Request};
use schemas::messages::*;
use schemas::step::Store as _;
use schemas::topics::OrderChange;

use crate::books::books;
use crate::handover::load;
use crate::interrupted::{everywhere, insist, survived};
use crate::keysets::with_pepper_key;
use crate::world::{FakeCabinet, World, c1, door, kept_answer, order, shop, tenant, who};

const ANSWER: &str = "24121980";
const OTHER: &str = "01011990";

fn json(id: &str, more: &str, answer: &str) -> String {
    let factor = format!(r#""second_factor":{{"prompt":"birth_date","answer":"{answer}"}}"#);
    format!(r#"{{"order":"{id}","cabinet":"c1","size":"S","category":"retail",{factor}{more}}}"#)
}

fn put(world: &mut World, id: &str, answer: &str) {
    world.put(&json(id, "", answer));
}

fn change(world: &mut World, change: OrderChange, payload: &str) -> Vec<Effect> {
    let payload = payload.as_bytes().to_vec();
    world.handle(Input::OrderChange { tenant: tenant(), integration: shop(), change, payload })
}

fn answer_anew(world: &mut World, id: &str, answer: &str) {
    let payload =
        format!(r#"{{"order":"{id}","change":{{"second_factor":{{"prompt":"birth_date","answer":"{answer}"}}}}}}"#);
    change(world, OrderChange::Content, &payload);
}

fn world() -> World {
    let mut world = World::new(&[Size::S; 3]);
    with_pepper_key(&mut world);
    world
}

fn verifier(id: &str, answer: &str, pepper: u8) -> Verifier {
    let kept = kept_answer(&order(id), answer);
    let mut verifier = [pepper; 32];
    verifier[1..].copy_from_slice(&kept[1..32]);
    Verifier(verifier)
}

/// The factors of the order's credentials as the cabinet holds them by its books, one for each credential. Panics where one opens alone.
fn factors(world: &World, id: &str) -> Vec<Factor> {
    let mut held = std::collections::BTreeMap::new();
    for change in books(world).iter().flat_map(|book| &book.changes) {
        match change {
            BookChange::PutGuarded(put) if put.credential.orders.contains(&order(id)) => {
                assert_eq!(put.guarded, put.credential.orders);
                held.insert(put.credential.id, put.factor.expect("it asks for something"));
            }
            BookChange::PutCredential(put) if put.orders.contains(&order(id)) => panic!("{put:?} opens alone"),
            BookChange::DropCredential(gone) => drop(held.remove(&gone.id)),
            _ => {}
        }
    }
    held.into_values().collect()
}

fn assert_factors(world: &World, id: &str, answer: &str, pepper: u8, what: &str) {
    let wanted = Factor { prompt: Prompt::BirthDate, verifier: verifier(id, answer, pepper), release: false };
    let factors = factors(world, id);
    assert!(factors.len() >= 2 && factors.iter().all(|factor| *factor == wanted), "{what}: {factors:?}");
}

fn assert_nowhere(world: &World, texts: &[&str]) {
    for (table, key, value) in world.store.all() {
        for text in texts {
            let found = value.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!found, "{text} is in {table}: {}", String::from_utf8_lossy(key));
        }
    }
}

#[test]
fn no_code_of_the_order_opens_it_alone_whatever_becomes_of_it_and_its_answer_is_nowhere() {
    let mut world = world();
    let effects = world.put(&json("A1", "", "24.12.1980"));
    assert!(!format!("{effects:?}").contains(ANSWER));
    load(&mut world, "A1", 1);
    assert_factors(&world, "A1", ANSWER, 1, "at once");
    let told = world.notifications();
    let [told] = told.as_slice() else { panic!("{} messages", told.len()) };
    assert_eq!(told.second_factor, Some(Prompt::BirthDate));
    assert!(told.instruction.contains("asks for your date of birth"), "{}", told.instruction);
    change(&mut world, OrderChange::Reissue, r#"{"order":"A1"}"#);
    assert_factors(&world, "A1", ANSWER, 1, "another code");
    world.restart();
    world.connect(&c1());
    world.disconnect(&c1());
    world.cabinet(&c1()).pepper = Some(2);
    world.cabinet(&c1()).books.clear();
    world.connect(&c1());
    assert_factors(&world, "A1", ANSWER, 2, "another pepper");
    assert_nowhere(&world, &[ANSWER, "24.12.1980"]);
    let Some(Reply::Order(shown)) = world.ask("support:acme:sue", &Request::OrderShow { order: order("A1") }) else {
        panic!("not shown")
    };
    assert_eq!(shown.second_factor, Some(Prompt::BirthDate));
}

#[test]
fn a_code_waits_for_the_signer_to_keep_the_answer_and_for_nothing_else() {
    let mut world = world();
    world.signer_works = false;
    put(&mut world, "A1", ANSWER);
    assert_eq!(world.told("shop"), ["A1 reserved"]);
    world.restart();
    world.connect(&c1());
    load(&mut world, "A1", 1);
    assert!(world.notifications().is_empty() && factors(&world, "A1").is_empty());
    world.signer_works = true;
    world.pass(180_000);
    assert_eq!(world.notifications().len(), 1);
    assert_factors(&world, "A1", ANSWER, 1, "later");
    assert_nowhere(&world, &[ANSWER]);
}

#[test]
fn the_same_order_again_is_the_same_and_another_answer_is_told_and_not_taken() {
    let mut world = world();
    put(&mut world, "A1", ANSWER);
    let rows = world.statuses("shop").len();
    world.put(&json("A1", "", "24/12/1980"));
    assert_eq!(world.statuses("shop").len(), rows, "the same answer, written otherwise");
    put(&mut world, "A1", OTHER);
    assert_eq!(world.told("shop").last().unwrap(), "A1 rejected other_answer");
    load(&mut world, "A1", 1);
    assert_factors(&world, "A1", ANSWER, 1, "the first one stays");
    world.put(&json("A1", "", OTHER).replace("birth_date", "document_number"));
    assert_eq!(world.told("shop").last().unwrap(), "A1 rejected other_content");
    world.put(r#"{"order":"A1","cabinet":"c1","size":"S","category":"retail"}"#);
    assert_eq!(world.told("shop").last().unwrap(), "A1 rejected other_content");
    // While the signer is away answers wait for their comparison, so many and no more.
    world.signer_works = false;
    for _ in 0..9 {
        put(&mut world, "A1", OTHER);
    }
    assert_eq!(world.told("shop").last().unwrap(), "A1 rejected too_often");
    world.signer_works = true;
    world.restart();
    world.pass(120_000);
    let told = world.told("shop");
    assert_eq!(told.iter().filter(|told| *told == "A1 rejected other_answer").count(), 1 + 8, "{told:?}");
    assert_nowhere(&world, &[ANSWER, OTHER]);
}

#[test]
fn answers_beyond_the_quota_of_requests_are_told_and_cost_the_signer_nothing() {
    let mut world = world();
    world.config.quota.requests_per_minute = 2;
    world.restart();
    world.connect(&c1());
    put(&mut world, "A1", ANSWER);
    for _ in 0..4 {
        put(&mut world, "A1", ANSWER);
        answer_anew(&mut world, "A1", ANSWER);
    }
    let asked = world.signer_asked.iter().filter(|asked| matches!(asked, SignerRequest::KeepAnswer(_)));
    assert_eq!(asked.count(), 1 + 2);
    let told = world.told("shop");
    assert!(told.contains(&"A1 rejected quota".into()) && told.contains(&"A1 reserved quota".into()), "{told:?}");
}

#[test]
fn what_cannot_be_an_answer_is_refused_without_quoting_it() {
    let mut world = world();
    let factor = |factor: &str| {
        format!(r#"{{"order":"A1","cabinet":"c1","size":"S","category":"retail","second_factor":{factor}}}"#)
    };
    for (given, said) in [
        (r#"{"answer":"123"}"#, "4 to 12"),
        (r#"{"answer":"1234567890123"}"#, "4 to 12"),
        (r#"{"answer":"47_11"}"#, "4 to 12"),
        (r#"{"answer":4711}"#, "expected a string"),
        (r#"{"answer":"47B1"}"#, "a pin has digits only"),
        (r#"{"prompt":"birth_date","answer":"19801224"}"#, "DDMMYYYY"),
        (r#"{"prompt":"shoe_size","answer":"4711"}"#, "is none of pin"),
        (r#"{"prompt":"pin"}"#, "missing field `answer`"),
        (r#"{"answer":"4711","hint":"x"}"#, "unknown field `hint`"),
    ] {
        let effects = world.put(&factor(given));
        let refused = effects.iter().find_map(|effect| match effect {
            Effect::Refuse { reason } => Some(reason.clone()),
            _ => None,
        });
        let refused = refused.unwrap_or_default();
        assert!(refused.contains(said) && !refused.contains("47") && !refused.contains("1980"), "{given}: {refused}");
    }
    let dropped = json("A1", r#","deposit":"drop_off""#, ANSWER);
    let effects = world.put(&dropped);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Refuse { reason } if reason.contains("drops off"))));
    assert!(world.told("shop").is_empty());
}

#[test]
fn without_a_key_to_seal_it_to_no_order_is_taken() {
    let mut world = World::new(&[Size::S]);
    put(&mut world, "A1", ANSWER);
    assert_eq!(world.told("shop"), ["A1 rejected no_sealing_key"]);
    assert_eq!(world.row_count(ORDERS), 0);
    with_pepper_key(&mut world);
    world.restart();
    world.connect(&c1());
    put(&mut world, "A1", ANSWER);
    assert_eq!(world.told("shop").last().unwrap(), "A1 reserved");
}

#[test]
fn it_is_in_no_bundle_and_not_opened_by_the_app() {
    let mut world = world();
    world.config.open_by_app = true;
    world.restart();
    world.cabinet(&c1()).app = true;
    world.connect(&c1());
    put(&mut world, "A1", ANSWER);
    world.put(r#"{"order":"A2","cabinet":"c1","size":"S","category":"retail"}"#);
    let bundle = r#"{"bundle":"run-7","orders":["A1","A2"],"recipient":{"phone":"driver"}}"#;
    change(&mut world, OrderChange::Bundle, bundle);
    assert_eq!(world.told("shop").last().unwrap(), "A1 rejected has_second_factor");
    change(&mut world, OrderChange::Bundle, &bundle.replace(r#""A1","#, ""));
    answer_anew(&mut world, "A2", ANSWER);
    assert_eq!(world.told("shop").last().unwrap(), "A2 reserved in_bundle");
    load(&mut world, "A1", 1);
    change(&mut world, OrderChange::Open, r#"{"order":"A1","token":"ABCD-2345"}"#);
    assert_eq!(world.told("shop").last().unwrap(), "A1 stored not_enabled");
    assert!(world.cabinets[&c1()].opens.is_empty());
}

#[test]
fn another_answer_takes_the_place_of_the_former_and_a_first_one_that_of_none() {
    let mut world = world();
    put(&mut world, "A1", ANSWER);
    world.put(r#"{"order":"A2","cabinet":"c1","size":"S","category":"retail","staff_release":true}"#);
    load(&mut world, "A1", 1);
    load(&mut world, "A2", 2);
    let messages = world.notifications().len();
    answer_anew(&mut world, "A1", OTHER);
    assert_factors(&world, "A1", OTHER, 1, "changed");
    let payload = r#"{"order":"A2","change":{"second_factor":{"answer":"4711"}}}"#;
    change(&mut world, OrderChange::Content, payload);
    let last = books(&world).iter().flat_map(|book| &book.changes).rev().find_map(|change| match change {
        BookChange::PutGuarded(put) => put.factor,
        _ => None,
    });
    let wanted = Factor { prompt: Prompt::Pin, verifier: verifier("A2", "4711", 1), release: true };
    assert_eq!(last, Some(wanted), "both are asked for");
    assert_eq!(world.notifications().len(), messages, "the codes stay");
    // It is the content from now on.
    world.put(&json("A1", "", OTHER));
    assert_eq!(world.told("shop").iter().filter(|told| told.contains("rejected")).count(), 0);
    put(&mut world, "A1", ANSWER);
    assert_eq!(world.told("shop").last().unwrap(), "A1 rejected other_answer");
    let mixed = r#"{"order":"A1","change":{"hold_minutes":60,"second_factor":{"answer":"4711"}}}"#;
    let effects = change(&mut world, OrderChange::Content, mixed);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Refuse { reason } if reason.contains("together"))));
    // A change of something else keeps it.
    change(&mut world, OrderChange::Content, r#"{"order":"A1","change":{"recipient":{"phone":"+49 30 2"}}}"#);
    assert_factors(&world, "A1", OTHER, 1, "another recipient");
    assert_nowhere(&world, &[ANSWER, OTHER, "4711"]);
}

#[test]
fn another_answer_ahead_of_the_code_holds_it_back_until_it_is_there() {
    let mut world = world();
    world.put(r#"{"order":"A1","cabinet":"c1","size":"S","category":"retail"}"#);
    world.signer_works = false;
    answer_anew(&mut world, "A1", ANSWER);
    load(&mut world, "A1", 1);
    world.signer_works = true;
    world.pass(180_000);
    assert_factors(&world, "A1", ANSWER, 1, "in the end");
    assert_eq!(world.notifications().len(), 1);
}

#[test]
fn it_goes_with_its_order_to_another_cabinet() {
    let mut world = world();
    world.add(FakeCabinet::new("c2", &[Size::S]));
    let c2 = "c2".parse().unwrap();
    world.connect(&c2);
    world.signer_works = false;
    put(&mut world, "A1", ANSWER);
    world.disconnect(&c1());
    change(&mut world, OrderChange::Move, r#"{"order":"A1","to":"c2"}"#);
    world.signer_works = true;
    world.pass(180_000);
    world.fact(&c2, Loading { order: order("A1"), compartment: door(1), staff: "sam".parse().unwrap() });
    let by = StoredBy::Sensor;
    world.fact(&c2, Stored { order: order("A1"), compartment: door(1), by, staff: "sam".parse().unwrap() });
    let wanted = verifier("A1", ANSWER, 1);
    let there: Vec<_> = world.cabinets[&c2].books.iter().flat_map(|book| &book.changes).collect();
    let held = there.iter().filter(
        |change| matches!(change, BookChange::PutGuarded(put) if put.factor.is_some_and(|f| f.verifier == wanted)),
    );
    assert_eq!(held.count(), 2);
    assert_eq!(world.notifications().len(), 1);
}

#[test]
fn what_is_over_keeps_nothing_of_it() {
    let mut world = world();
    put(&mut world, "A1", ANSWER);
    let holds = |world: &World, needle: &[u8]| {
        let rows = [ORDERS, BOOKED].map(|table| world.store.scan(table, &[], usize::MAX).unwrap());
        rows.iter().flatten().any(|(_, row)| row.windows(needle.len()).any(|window| window == needle))
    };
    let kept = kept_answer(&order("A1"), ANSWER);
    assert!(holds(&world, &kept));
    world.cancel(r#"{"order":"A1"}"#);
    assert!(!holds(&world, &kept));
    let rows = world.statuses("shop").len();
    put(&mut world, "A1", OTHER);
    assert_eq!(world.statuses("shop").len(), rows, "it is over, whatever its answer was");
}

#[test]
fn an_answer_that_the_signer_cannot_open_any_more_leaves_the_order_without_a_code_and_says_so() {
    let mut world = world();
    put(&mut world, "A1", ANSWER);
    world.disconnect(&c1());
    world.cabinet(&c1()).pepper = Some(2);
    world.opens_nothing = true;
    world.connect(&c1());
    load(&mut world, "A1", 1);
    assert!(factors(&world, "A1").is_empty() && world.notifications().is_empty());
    let alarms = world
        .seen
        .iter()
        .filter(|effect| matches!(effect, Effect::Alarm { text } if text.contains("second factor of shop/A1")));
    assert_eq!(alarms.count(), 1);
}

#[test]
fn operators_put_and_change_it_too() {
    let mut world = world();
    let put = serde_json::from_str(&json("A1", "", ANSWER)).unwrap();
    let request = Request::OrderPut { integration: shop(), order: put };
    assert_eq!(world.ask("operator:acme:eve", &request), Some(Reply::Done));
    let bad =
        serde_json::from_str(&json("A2", "", ANSWER).replace("birth_date", "pin").replace("24121980", "ABCD")).unwrap();
    let reply = world.ask("operator:acme:eve", &Request::OrderPut { integration: shop(), order: bad });
    assert!(matches!(reply, Some(Reply::Error(error)) if error.message.contains("digits only")));
    assert_eq!(who("operator:acme:eve").name.as_str(), "eve");
}

fn check(world: &mut World, what: &str) {
    survived(world);
    world.pass(180_000);
    assert_factors(world, "A1", ANSWER, 1, what);
    assert_eq!(world.notifications().len(), 1, "{what}");
    let told = world.told("shop");
    assert_eq!(told.iter().filter(|told| told.ends_with("other_answer")).count(), 1, "{what}: {told:?}");
    let last = world.statuses("shop").into_iter().rev().find(|row| row.state != OrderState::Rejected);
    assert_eq!(last.map(|row| row.state), Some(OrderState::Stored), "{what}");
    assert_nowhere(world, &[ANSWER, OTHER]);
    let asked = world.signer_asked.iter().filter(|asked| matches!(asked, SignerRequest::KeepAnswer(_)));
    assert!(asked.count() >= 2, "{what}");
}

#[test]
fn a_crash_after_any_commit_or_between_aggregates_makes_one_guarded_code() {
    let story = |world: &mut World| {
        insist(world, |world| put(world, "A1", ANSWER));
        insist(world, |world| {
            // A publisher that saw no acknowledgement publishes again; each other answer is told.
            if !world.told("shop").iter().any(|told| told.ends_with("other_answer")) {
                put(world, "A1", OTHER);
            }
        });
        insist(world, |world| {
            if world.notifications().is_empty() {
                load(world, "A1", 1);
            }
        });
    };
    let tried = everywhere(world, story, check);
    assert!(tried.cuts >= 3, "{tried:?}");
}
