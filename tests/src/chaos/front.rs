//! Staff and customers at a cabinet's screen, who go on whatever the agent behind it does.

use std::time::Duration;

use fleet_cli::stage::{Screen, ScreenAnswer};
use schemas::api::OrderState;
use schemas::messages::{Compartment, OrderKey};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::backend::Wanted;
use super::hall::Hall;
use super::history::{Errand, Happening, Shown, Try};
use super::knowledge::{Code, Goods, Known};
use super::pace::Mode;
use crate::sim::Dice;

/// Longest pause between two acts, in milliseconds.
const PAUSE: u64 = 350;
/// How long anybody waits for a screen, and for a door.
const SCREEN: Duration = Duration::from_secs(12);
const DOOR: Duration = Duration::from_secs(4);
/// Presses of "try again" that an impatient customer makes: more than there are.
const PRESSES: usize = 4;

/// Staff of one cabinet: load, take back, and put in order what crashes have left in doubt.
pub(super) async fn staff(hall: Hall, pin: String, wanted: Wanted, mut dice: Dice) -> anyhow::Result<()> {
    let mut session: Option<(Screen, String)> = None;
    while let Some(_acting) = hall.pace.next(&mut dice, PAUSE).await {
        let Some((screen, id)) = &session else {
            session = log_in(&hall, &pin).await;
            continue;
        };
        let view = timeout(SCREEN, screen.view(Some(id))).await;
        let Some(view) = view.ok().and_then(Result::ok).filter(|view| !view["staff"].is_null()) else {
            session = None;
            continue;
        };
        if !clear_doubts(&hall, screen, id, &view, &wanted).await? {
            work(&hall, screen, id, &view, &mut dice).await?;
        }
    }
    Ok(())
}

async fn log_in(hall: &Hall, pin: &str) -> Option<(Screen, String)> {
    let screen = hall.screen()?;
    let session = timeout(SCREEN, screen.staff(pin)).await.ok()?.ok()?;
    Some((screen, session))
}

/// Answers questions and looks into compartments that are in doubt. True if there was something to do.
async fn clear_doubts(
    hall: &Hall,
    screen: &Screen,
    session: &str,
    view: &Value,
    wanted: &Wanted,
) -> anyhow::Result<bool> {
    if let Some(compartment) = Hall::first_marked(view, "asks") {
        let inside = hall.known.goods_in(hall.id(), compartment).is_some();
        confirm(screen, session, compartment, inside).await;
        return Ok(true);
    }
    if let Some(compartment) = Hall::first_marked(view, "audit_required") {
        let inside = hall.known.goods_in(hall.id(), compartment);
        let (booked, known) = stored_at(hall, compartment).unzip();
        match (booked, inside) {
            (Some(order), Some(inside)) if order == inside && known.is_some_and(|known| !known.cancelled) => {
                confirm(screen, session, compartment, true).await;
            }
            // The recipient has it, and nobody saw the door.
            (Some(order), _) => fetch(hall, screen, session, &order, compartment).await?,
            (None, None) => confirm(screen, session, compartment, false).await,
            // Something is where the books have nothing.
            (None, Some(order)) => {
                wanted.ask(hall.id(), compartment);
                if hall.until_open(compartment, DOOR).await? {
                    hall.take_out(&order, compartment, Goods::Staff)?;
                }
            }
        }
        return Ok(true);
    }
    if let Some(compartment) = Hall::first_marked(view, "fault") {
        wanted.ask(hall.id(), compartment);
    }
    Ok(false)
}

/// The order that by its backend's rows is in a compartment.
fn stored_at(hall: &Hall, compartment: Compartment) -> Option<(OrderKey, Known)> {
    let here = |known: &Known| {
        known.cabinet == *hall.id()
            && known.compartment == Some(compartment)
            && known.state.is_some_and(|state| matches!(state, OrderState::Stored | OrderState::Recalled))
    };
    hall.known.all(|_, known| here(known)).pop()
}

async fn confirm(screen: &Screen, session: &str, compartment: Compartment, inside: bool) {
    // Without an answer they will be asked again.
    let _ = timeout(SCREEN, screen.confirm(session, compartment.number(), inside)).await;
}

async fn work(hall: &Hall, screen: &Screen, session: &str, view: &Value, dice: &mut Dice) -> anyhow::Result<()> {
    let busy = hall.pace.mode() == Mode::Busy;
    let recalled = |known: &Known| known.state == Some(OrderState::Recalled);
    let stored = |known: &Known| known.state == Some(OrderState::Stored);
    let whim = busy && dice.one_in(12);
    let back =
        hall.known.any(dice, |_, known| known.cabinet == *hall.id() && (recalled(known) || whim && stored(known)));
    if let Some((order, known)) = back
        && let Some(compartment) = known.compartment
    {
        return fetch(hall, screen, session, &order, compartment).await;
    }
    let waiting = view["staff"]["waiting"].as_array().map(Vec::as_slice).unwrap_or_default();
    let in_hand: Vec<OrderKey> = waiting
        .iter()
        .filter(|row| row["loading"] == false)
        .filter_map(|row| row["order"].as_str()?.parse().ok())
        .filter(|order| hall.known.get(order).is_some_and(|known| known.goods == Goods::Staff))
        .collect();
    match dice.pick(&in_hand) {
        Some(order) if busy => load(hall, screen, session, order).await,
        _ => Ok(()),
    }
}

async fn load(hall: &Hall, screen: &Screen, session: &str, order: &OrderKey) -> anyhow::Result<()> {
    let id = note_errand(hall, order, Errand::Load);
    let Ok(Ok(_)) = timeout(SCREEN, screen.load(session, &order.to_string())).await else { return Ok(()) };
    for _ in 0..=PRESSES {
        let give_up = Instant::now() + DOOR;
        let mut named = None;
        while Instant::now() < give_up {
            // The screen names the door; only then something is put in.
            let Ok(Ok(view)) = timeout(SCREEN, screen.view(Some(session))).await else { return Ok(()) };
            named = loading_at(&view, order);
            if let Some(compartment) = named
                && hall.is_open(compartment)?
            {
                return hall.put_in(order, compartment);
            }
            sleep(Duration::from_millis(25)).await;
        }
        let Some(compartment) = named else { return Ok(()) };
        if !try_again(hall, screen, id, compartment).await {
            return Ok(());
        }
    }
    Ok(())
}

fn note_errand(hall: &Hall, order: &OrderKey, errand: Errand) -> Try {
    let (id, cabinet) = (hall.history.next_try(), hall.id().clone());
    hall.history.note(Happening::StaffAsked { id, cabinet, order: order.clone(), errand });
    id
}

fn loading_at(view: &Value, order: &OrderKey) -> Option<Compartment> {
    let waiting = view["staff"]["waiting"].as_array()?;
    let row = waiting.iter().find(|row| row["order"] == order.to_string() && row["loading"] == true)?;
    Compartment::new(u16::try_from(row["compartment"].as_u64()?).ok()?)
}

/// Staff take an order back.
async fn fetch(
    hall: &Hall,
    screen: &Screen,
    session: &str,
    order: &OrderKey,
    compartment: Compartment,
) -> anyhow::Result<()> {
    let id = note_errand(hall, order, Errand::Retrieve);
    let Ok(Ok(_)) = timeout(SCREEN, screen.retrieve(session, &order.to_string())).await else { return Ok(()) };
    for _ in 0..=PRESSES {
        if hall.until_open(compartment, DOOR).await? {
            hall.take_out(order, compartment, Goods::Back)?;
            return Ok(());
        }
        if !try_again(hall, screen, id, compartment).await {
            return Ok(());
        }
    }
    Ok(())
}

/// Customers of one cabinet, who were told codes by their shops.
pub(super) async fn customers(hall: Hall, mut dice: Dice) -> anyhow::Result<()> {
    while let Some(_acting) = hall.pace.next(&mut dice, PAUSE).await {
        let finishing = hall.pace.mode() != Mode::Busy;
        let again = !finishing && dice.one_in(5);
        let wants = |known: &Known| {
            let waits = matches!(known.goods, Goods::Inside(_)) && known.state == Some(OrderState::Stored);
            known.cabinet == *hall.id() && known.code.is_some() && (waits || again && known.goods == Goods::Recipient)
        };
        // Only the newest ones: nobody comes with a code of yesterday.
        let mut candidates = hall.known.all(|_, known| wants(known));
        let recent = candidates.split_off(candidates.len().saturating_sub(6));
        let Some((order, known)) = dice.pick(&recent).cloned() else { continue };
        let Some(code) = known.code.clone() else { continue };
        // A digit code that the book has forgotten would count as a guess, and five lock the keypad for minutes.
        let typed = !known.cancelled && matches!(known.goods, Goods::Inside(_)) && dice.one_in(2);
        collect(&hall, &order, &code, typed).await?;
    }
    Ok(())
}

async fn collect(hall: &Hall, order: &OrderKey, code: &Code, typed: bool) -> anyhow::Result<()> {
    let Some(screen) = hall.screen() else { return Ok(()) };
    let (id, compartment) = (hall.history.next_try(), code.compartment);
    hall.history.note(Happening::Entered { id, cabinet: hall.id().clone(), order: order.clone(), compartment });
    let secret = if typed { &code.digits } else { &code.qr };
    let answer = timeout(SCREEN, screen.enter(secret)).await;
    let shown = answer.ok().and_then(Result::ok).map_or(Shown::Nothing, |answer| shown(&answer));
    hall.history.note(Happening::Answered { id, shown: shown.clone() });
    if matches!(shown, Shown::Refused(_)) {
        return Ok(());
    }
    for _ in 0..=PRESSES {
        if hall.until_open(compartment, DOOR).await? {
            if shown == Shown::Opening(vec![compartment.number()]) {
                hall.look_for_strangers(order, compartment)?;
            }
            hall.take_out(order, compartment, Goods::Recipient)?;
            return Ok(());
        }
        if !try_again(hall, &screen, id, compartment).await {
            return Ok(());
        }
    }
    Ok(())
}

/// Presses "try again" where the screen offers it; false where it does not.
async fn try_again(hall: &Hall, screen: &Screen, id: Try, compartment: Compartment) -> bool {
    let offered = offers_again(screen, compartment).await;
    if offered {
        hall.history.note(Happening::Pressed { id });
        press_again(screen, compartment).await;
    }
    offered
}

fn shown(answer: &ScreenAnswer) -> Shown {
    let numbers = |doors: &Value| -> Vec<u16> {
        let doors = doors.as_array().map(Vec::as_slice).unwrap_or_default();
        doors.iter().filter_map(|door| u16::try_from(door.as_u64()?).ok()).collect()
    };
    match answer.body["result"].as_str() {
        Some("opening") => Shown::Opening(numbers(&answer.body["compartments"])),
        Some("refused") => Shown::Refused(answer.body["reason"].to_string()),
        Some(other) => Shown::Refused(other.to_owned()),
        None => Shown::Nothing,
    }
}

async fn offers_again(screen: &Screen, compartment: Compartment) -> bool {
    let Ok(Ok(view)) = timeout(SCREEN, screen.view(None)).await else { return false };
    let doors = view["doors"].as_array().map(Vec::as_slice).unwrap_or_default();
    doors.iter().any(|door| door["number"] == compartment.number() && door["try_again"] == true)
}

/// The page's button, which the person of the stage does not have.
async fn press_again(screen: &Screen, compartment: Compartment) {
    let url = screen.url();
    let Some((base, key)) = url.split_once("/#key=") else { return };
    let Ok(http) = reqwest::Client::builder().no_proxy().timeout(SCREEN).build() else { return };
    let body = json!({ "compartment": compartment.number() });
    // What came of it is seen at the door.
    let _ = http.post(format!("{base}/api/again")).header("x-screen-key", key).json(&body).send().await;
}
