//! Openings by an app: a backend asks for the door of its order, for whoever has read the token of a cabinet's screen.

use std::collections::{BTreeMap, BTreeSet};

use cabinet_core::TOKEN_LIFE_MILLIS;
use schemas::messages::{BootId, COMMAND_AGE_MAX_MILLIS, Compartment, OpenOrder, OrderKey};
use schemas::topics::OrderChange;

use super::factors::asks_for_more;
use super::invariants::{Verdict, ensure};
use super::ledger::{Cab, Cause, Content, Ledger, OrderTruth, Seen};
use super::people::{Attendant, is_restricted};
use super::sabotage::Sabotage;
use super::schedule::Pace;
use super::world::{CABS, Happening, World};

/// How often it is drawn, its name, and what is done at this cabinet.
type Deed = (u64, &'static str, fn(&mut World, Cab));

const DEEDS: &[Deed] = &[
    (12, "app opens", World::app_opens),
    (1, "app is slow", World::app_is_slow),
    (1, "app errs", World::app_errs),
    (1, "somebody guesses tokens", World::app_guesses),
];

/// What of this the deeds leave over is for those to come.
const DRAWN: u64 = 20;

/// What the screens have shown, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Since when, by the boot clock of that run.
    shown: BTreeMap<(Cab, String), (BootId, u64)>,
    used: BTreeSet<(Cab, String)>,
}

impl Tokens {
    pub(super) fn use_up(&mut self, cab: Cab, open: &OpenOrder) {
        self.used.insert((cab, open.token.to_string()));
    }
}

/// Whoever opens by an app has read the token of that screen a moment ago, once, and wants what lies behind this door.
pub(super) fn invariant_app_opens_by_the_screen(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::PulseOrdered { cab, boot, boot_millis, at, not_after, cause: Cause::App(open), .. } = seen else {
        return Ok(());
    };
    let made = ledger.challenges.get(&(*cab, open.challenge));
    let fresh = made.is_some_and(|made| *boot_millis.max(not_after) <= made + COMMAND_AGE_MAX_MILLIS);
    ensure(fresh && open.challenge.boot == *boot, || format!("an opening by an app at {boot_millis} of {made:?}"))?;
    let token = (*cab, open.token.to_string());
    let shown = ledger.tokens.shown.get(&token);
    let read = shown.is_some_and(|(run, since)| run == boot && *boot_millis < since + TOKEN_LIFE_MILLIS);
    ensure(read, || format!("door {at} of cabinet {cab} opens by a token at {boot_millis}, shown {shown:?}"))?;
    ensure(!ledger.tokens.used.contains(&token), || format!("a token opens twice at cabinet {cab}"))?;
    let held = ledger.contents.get(&(*cab, *at));
    let stored = matches!(held, Some(Content::Stored(_))) && ledger.lies_in(&(*cab, *at), &open.order);
    ensure(stored && open.compartment == *at, || {
        format!("an app opens {at} of cabinet {cab} for {}, where {held:?} is", open.order)
    })?;
    let alone = !is_restricted(&open.order) && !asks_for_more(&open.order);
    ensure(alone, || format!("an app opens {at} with {}, for which more is asked", open.order))
}

impl World {
    pub(super) fn apps_act(&mut self) {
        if !self.rough {
            return;
        }
        let rest = if self.pace == Pace::Busy { 25 } else { 6 };
        let wait = if self.dice.one_in(rest) { self.draw_wait(20_000, 900_000) } else { self.draw_wait(250, 20_000) };
        self.later(wait, Happening::AppsAct);
        let cab = self.dice.index(CABS);
        let mut drawn = self.dice.below(DRAWN);
        for (often, what, act) in DEEDS {
            if drawn < *often {
                if self.decides(what) {
                    act(self, cab);
                }
                return;
            }
            drawn -= often;
        }
    }

    fn token_at(&self, cab: Cab) -> Option<String> {
        self.cabs[cab].core()?.view().app_token.map(|token| token.to_string())
    }

    /// The screen of a cabinet is drawn anew.
    pub(super) fn see_screen(&mut self, cab: Cab) {
        if !self.apps || self.sabotage == Some(Sabotage::ScreenDark) {
            return;
        }
        if let Some(token) = self.token_at(cab) {
            let since = (self.cabs[cab].boot(), self.cabs[cab].boot_millis(self.now));
            self.ledger.tokens.shown.entry((cab, token)).or_insert(since);
        }
    }

    /// Mostly one that is inside, and whose customer has heard of it.
    fn some_for_app(&mut self, cab: Cab) -> Option<OrderKey> {
        let any = self.dice.one_in(8);
        let here = |(order, truth): &(&OrderKey, &OrderTruth)| {
            let inside = truth.at() == cab && !truth.codes.is_empty() && !truth.gone;
            !order.is_walk_in() && (any || inside)
        };
        let orders: Vec<OrderKey> =
            self.ledger.orders.iter().filter(here).map(|(order, _)| self.ledger.named(order)).collect();
        self.dice.pick(&orders).cloned()
    }

    fn app_opens(&mut self, cab: Cab) {
        let Some(order) = self.some_for_app(cab) else { return };
        let Some(token) = self.token_at(cab) else { return };
        self.tell(|| format!("the app of whoever has {order} reads the token of cabinet {cab}"));
        self.app_stands_there(cab, &order);
        let wait = self.dice.between(200, 8_000);
        self.later(wait, Happening::AppAsks { order: order.clone(), token: token.clone() });
        // Whoever gets no acknowledgement publishes again.
        if self.dice.one_in(5) {
            let wait = wait + self.dice.between(200, 8_000);
            self.later(wait, Happening::AppAsks { order, token });
        }
    }

    fn app_is_slow(&mut self, cab: Cab) {
        let (Some(order), Some(token)) = (self.some_for_app(cab), self.token_at(cab)) else { return };
        let wait = self.dice.between(50_000, 80_000);
        self.later(wait, Happening::AppAsks { order, token });
    }

    /// With the token of another screen, or for another order.
    fn app_errs(&mut self, cab: Cab) {
        let Some(order) = self.some_for_app(cab) else { return };
        let Some(token) = self.token_at((cab + 1) % CABS) else { return };
        self.app_asks(&order, &token);
    }

    /// A backend that nobody stands before asks again and again.
    fn app_guesses(&mut self, cab: Cab) {
        let mut wait = 0;
        for _ in 0..7 {
            let Some(order) = self.some_for_app(cab) else { return };
            let random = self.dice.bytes();
            let token = schemas::messages::PresenceToken::from_random(random).to_string();
            wait += self.dice.between(500, 9_000);
            self.later(wait, Happening::AppAsks { order, token });
        }
    }

    pub(super) fn app_asks(&mut self, order: &OrderKey, token: &str) {
        let payload = format!(r#"{{"order":"{}","token":"{token}"}}"#, order.order);
        self.tell(|| format!("backend wants {order} opened for its app"));
        self.change_orders(order.integration.clone(), OrderChange::Open, payload);
    }

    fn app_stands_there(&mut self, cab: Cab, order: &OrderKey) {
        let door = self.cabs[cab].doors.iter().find(|(_, door)| door.goods.contains(order));
        let Some(at) = door.map(|(at, _)| *at) else { return };
        if !self.cabs[cab].doors[&at].open && self.is_free_for(order, cab, at) {
            self.stand_at(cab, at, Attendant::Collector { order: order.clone() });
        }
    }

    /// The door is being opened for an app. One that stands open already is as good as opened for it.
    pub(super) fn app_user_waits(&mut self, cab: Cab, at: Compartment, order: &OrderKey) {
        if self.cabs[cab].doors[&at].open {
            self.release(cab, at);
        }
        if self.is_free_for(order, cab, at) {
            self.stand_at(cab, at, Attendant::Collector { order: order.clone() });
        }
    }
}
