//! Policies of time, and the zone and hours of the site: an operator sets them, and each window follows from what was said.

use std::collections::{BTreeMap, BTreeSet};

use fleet_core::Effect;
use schemas::api::{Grace, Minutes, OrderState, Percent, Policies, Policy, PolicyChange, Reply, Rfc3339};
use schemas::cbor;
use schemas::cbor_map;
use schemas::messages::{Category, OrderKey};

use super::clocks::{Site, next_change};
use super::dice::Dice;
use super::invariants::{Verdict, ensure};
use super::ledger::{Cab, Ledger, Seen};
use super::sabotage::Sabotage;
use super::schedule::Pace;
use super::world::{CABS, Happening, START, World};

const ZONES: [&str; 7] = [
    "Europe/Berlin",
    "America/New_York",
    // It is put forward by half an hour, at two in the morning.
    "Australia/Lord_Howe",
    // At midnight.
    "America/Havana",
    "Pacific/Chatham",
    // By its summer time there is an hour more in winter.
    "Europe/Dublin",
    "UTC",
];

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// How often it is drawn, its name, and what is done.
type Deed = (u64, &'static str, fn(&mut World));

const DEEDS: &[Deed] = &[
    (5, "operator sets a site", World::operator_sets_site),
    (4, "operator puts policies", |world| world.operator_puts_policies(false)),
    (5, "operator puts policies for live orders", |world| world.operator_puts_policies(true)),
    (2, "operator looks what would change", World::operator_previews),
    (2, "backend gives more time", World::backend_gives_more_time),
    (5, "backend changes an order", World::backend_changes_order),
    (3, "operator shows a break-glass code", World::operator_shows_glass),
    (3, "staff break the glass", World::staff_break_glass),
    (1, "staff who broke the glass leave", |world| (0..CABS).for_each(|cab| world.staff_leave_by_glass(cab))),
];

/// What of this the deeds leave over is for those to come.
const DRAWN: u64 = 32;

cbor_map! {
    /// What this simulation reads of a row of the fleet's orders.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct TimedRow { 1 => order: OrderKey, 4 => category: Category, 8 => state: OrderState, 14 opt => window: Option<Term> }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Reminder { 1 => percent: u8, 2 => at: u64 }
}

cbor_map! {
    /// The window of an order.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(super) struct Term {
        1 => policy: u64,
        2 => from: u64,
        3 => ends: u64,
        4 => reminders: Vec<Reminder>,
        5 opt => grace: Option<u64>,
        6 => needs_time: bool,
        7 => cooled: bool,
        8 => extended: bool,
        9 => pauses: bool,
        10 opt => paused: Option<u64>,
        11 => stood: u64,
        30 opt => latest: Option<u64>,
        31 opt => reminds_when_open: Option<bool>,
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct RulesRow {
        1 => window: u32,
        2 opt => cooled: Option<u32>,
        3 => reminders: Vec<u8>,
        4 opt => grace: Option<u32>,
        5 => longest: u32,
        6 => pauses: bool,
        7 => needs_time: bool,
        30 opt => ends_when_open: Option<bool>,
        31 opt => reminds_when_open: Option<bool>,
    }
}

cbor_map! {
    /// What this simulation reads of the fleet's row of policies.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct PoliciesRow {
        1 => version: u64,
        4 => retail: RulesRow,
        5 => food: RulesRow,
        6 => laundry: RulesRow,
        7 => pharmacy: RulesRow,
        8 => repair: RulesRow,
        9 => courier: RulesRow,
        10 => live: bool,
    }
}

impl RulesRow {
    fn rules(&self) -> Option<Policy> {
        Some(Policy {
            window_minutes: Minutes::new(self.window)?,
            cooled_window_minutes: self.cooled.and_then(Minutes::new),
            reminders_percent: self.reminders.iter().map(|share| Percent::new(*share)).collect::<Option<_>>()?,
            grace: match self.grace {
                None => Grace::UntilRetrieved,
                Some(0) => Grace::None,
                Some(minutes) => Grace::Minutes(Minutes::new(minutes)?),
            },
            longest_minutes: Minutes::new(self.longest)?,
            pauses: self.pauses,
            needs_time: self.needs_time,
            ends_when_open: self.ends_when_open,
            reminds_when_open: self.reminds_when_open,
        })
    }
}

impl PoliciesRow {
    fn policies(&self) -> Option<Policies> {
        Some(Policies {
            retail: self.retail.rules()?,
            food: self.food.rules()?,
            laundry: self.laundry.rules()?,
            pharmacy: self.pharmacy.rules()?,
            repair: self.repair.rules()?,
            courier: self.courier.rules()?,
        })
    }
}

impl Term {
    /// When the code stops to work by itself.
    pub(super) fn expires(&self) -> Option<u64> {
        self.grace.map(|grace| self.ends + grace)
    }

    fn begun((version, rules): (u64, &Policy), from: u64, cooled: bool, site: Option<&Site>) -> Self {
        let span = rules.cooled_window_minutes.filter(|_| cooled).unwrap_or(rules.window_minutes).millis();
        let mut term = Self {
            policy: version,
            from,
            ends: from + span,
            reminders: Vec::new(),
            grace: match rules.grace {
                Grace::None => Some(0),
                Grace::Minutes(minutes) => Some(minutes.millis()),
                Grace::UntilRetrieved => None,
            },
            needs_time: rules.needs_time,
            cooled,
            extended: false,
            pauses: rules.pauses,
            paused: None,
            stood: 0,
            latest: (rules.ends_when_open == Some(true)).then(|| from + rules.longest_minutes.millis()),
            reminds_when_open: (rules.reminds_when_open == Some(true)).then_some(true),
        };
        term.ends = term.open_end(term.ends, site);
        term.remind(from, rules, site);
        term
    }

    fn open_end(&self, ends: u64, site: Option<&Site>) -> u64 {
        match (site, self.latest) {
            (Some(site), Some(latest)) => site.end_when_open(ends, latest + self.stood),
            _ => ends,
        }
    }

    fn remind(&mut self, from: u64, rules: &Policy, site: Option<&Site>) {
        let span = self.ends.saturating_sub(from);
        let at = |percent: &Percent| Reminder { percent: percent.count(), at: from + percent.of(span) };
        self.reminders = rules.reminders_percent.iter().map(at).collect();
        self.remind_when_open(site);
    }

    fn remind_when_open(&mut self, site: Option<&Site>) {
        if let (Some(site), Some(true)) = (site, self.reminds_when_open) {
            let ends = self.ends;
            self.reminders.iter_mut().for_each(|reminder| reminder.at = site.when_open(reminder.at, ends));
        }
    }

    fn shifted(&mut self, by: u64, site: Option<&Site>) {
        self.ends = self.open_end(self.ends + by, site);
        self.reminders.iter_mut().for_each(|reminder| reminder.at += by);
        self.remind_when_open(site);
    }

    /// The same, whatever its policy's version is, and whichever reminders are out.
    fn is_but_for_reminders(&self, other: &Self, now: u64) -> bool {
        let bare = |term: &Self| Self { reminders: Vec::new(), ..term.clone() };
        let over = |reminder: &Reminder| reminder.at <= now || self.ends <= now;
        let sent = other.reminders.len().checked_sub(self.reminders.len());
        let only_sent = sent.is_some_and(|sent| {
            other.reminders[sent..] == self.reminders[..] && other.reminders[..sent].iter().all(over)
        });
        bare(self) == bare(other) && only_sent
    }

    /// Other policies would not change it.
    fn is_the_same(&self, other: &Self) -> bool {
        Self { policy: 0, ..self.clone() } == Self { policy: 0, ..other.clone() }
    }
}

/// What the fleet's store says of time.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    version: u64,
    policies: Policies,
    pub(super) site: Option<Site>,
    terms: BTreeMap<OrderKey, (OrderState, Term)>,
    /// What a preview said in the step before, by its ticket.
    previewed: Option<(u64, Vec<PolicyChange>)>,
    /// What has become of stored orders in this step, in which policies were put for them: whether they have changed, and whether
    /// they are overdue now.
    moved: Option<BTreeMap<OrderKey, (Category, bool, bool)>>,
}

impl Times {
    pub(super) fn term(&self, order: &OrderKey) -> Option<&Term> {
        self.terms.get(order).map(|(_, term)| term)
    }
}

/// What a preview has said, and what became of orders when the same policies were put.
#[derive(Debug, Clone)]
pub(super) struct Put {
    previewed: Vec<PolicyChange>,
    moved: BTreeMap<OrderKey, (Category, bool, bool)>,
}

impl Ledger {
    pub(super) fn term_written(
        &mut self,
        order: OrderKey,
        category: Category,
        state: OrderState,
        term: Option<Term>,
        now: u64,
    ) {
        if let (Some(truth), Some(term)) = (self.orders.get_mut(&order), &term) {
            // Its code may end by itself, or not work for a while.
            truth.ends |= term.grace.is_some() || term.needs_time;
        }
        if let (Some(term), Some(before)) = (&term, self.times.term(&order))
            && term.policy > before.policy
            && term.from == before.from
        {
            let (changed, overdue) = (!term.is_the_same(before), state == OrderState::Stored && term.ends <= now);
            if let Some(moved) = &mut self.times.moved {
                moved.insert(order.clone(), (category, changed, overdue));
            }
        }
        match term {
            Some(term) => self.times.terms.insert(order, (state, term)),
            None => self.times.terms.remove(&order),
        };
    }

    pub(super) fn policies_written(&mut self, version: u64, live: bool, policies: Policies) {
        (self.times.version, self.times.policies) = (version, policies);
        self.times.moved = live.then(BTreeMap::new);
    }

    /// A step of the fleet is over.
    pub(super) fn fleet_stepped(&mut self, previewed: Option<(u64, Vec<PolicyChange>)>) {
        (self.times.previewed, self.times.moved) = (previewed, None);
    }

    /// Windows of the other parts of the order that this is one of.
    fn siblings(&self, order: &OrderKey) -> impl Iterator<Item = &Term> {
        self.parts_of(order).into_iter().filter(move |part| part != order).filter_map(|part| self.times.term(&part))
    }
}

/// A window is what the policies of the moment, the clock and the hours of the site make of it, and it stays so until somebody
/// gives more time, the cabinet stands still, or policies are put for stored orders, too.
pub(super) fn invariant_window_ends_by_the_site(ledger: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::TermWritten { order, category, term: Some(term), now, .. } => {
            let expected = expected(ledger, order, *category, term, *now);
            let sibling = ledger.siblings(order).any(|other| term.is_but_for_reminders(other, *now));
            ensure(sibling || term.is_but_for_reminders(&expected, *now), || {
                let before = ledger.times.term(order);
                let site = &ledger.times.site;
                format!("{order} has {term:?} at {now}, expected: {expected:?}, before: {before:?}, site: {site:?}")
            })
        }
        Seen::EndTold { order, until } => {
            let ends = ledger.times.term(order).map(|term| term.ends);
            ensure(ends.is_none_or(|ends| ends == *until), || {
                format!("the backend of {order} hears of an end at {until}, it is {ends:?}")
            })
        }
        Seen::LocalTold { order, until, text } => {
            let site = ledger.times.site.as_ref();
            let right = match (site, text) {
                (None, None) => true,
                (Some(site), Some((text, zone))) => site.shows(*until, text) && site.zone.as_str() == zone,
                _ => false,
            };
            ensure(right, || format!("a message of {order} says {text:?} of {until}, site: {site:?}"))
        }
        _ => Ok(()),
    }
}

fn expected(ledger: &Ledger, order: &OrderKey, category: Category, term: &Term, now: u64) -> Term {
    let times = &ledger.times;
    let (site, rules) = (times.site.as_ref(), times.policies.of(category));
    let begun = || Term::begun((times.version, rules), term.from, term.cooled, site);
    // Of an order in several compartments the one that comes last may be warmer than the others.
    let goes_on = |before: &&Term| (before.from, before.cooled) == (term.from, term.cooled);
    let Some(before) = times.term(order).filter(goes_on) else { return begun() };
    let mut next = if term.policy == before.policy {
        before.clone()
    } else {
        let mut next = Term { paused: before.paused, stood: before.stood, ..begun() };
        if !next.pauses {
            (next.paused, next.stood) = (None, 0);
        }
        if before.extended {
            (next.ends, next.extended, next.latest) = (before.ends, true, None);
            next.reminders.clone_from(&before.reminders);
        } else {
            next.shifted(next.stood, site);
        }
        next
    };
    if next.paused.is_none() && term.paused.is_some() && next.pauses && next.stood == term.stood {
        // Since when only its cabinet knows.
        next.paused = term.paused.filter(|since| (next.from..next.ends).contains(since));
    }
    if next.paused.is_some() && term.paused.is_none() {
        next.paused = None;
        let stood = term.stood.saturating_sub(next.stood);
        next.stood = term.stood;
        next.shifted(stood, site);
    }
    let until = Rfc3339(term.ends);
    if term.extended && term.ends > next.ends && ledger.asked_ends.contains(&until.0) {
        let in_time = term.ends > now && term.ends <= term.from + rules.longest_minutes.millis();
        if in_time {
            (next.ends, next.extended, next.latest) = (term.ends, true, None);
            next.paused = next.paused.map(|_| now);
            next.reminds_when_open = (rules.reminds_when_open == Some(true)).then_some(true);
            next.remind(now, rules, site);
        }
    }
    next
}

/// Of the orders that are stored a preview names those that change with the policies which are put then, and no others.
pub(super) fn invariant_preview_names_what_changes(_: &Ledger, seen: &Seen) -> Verdict {
    let Seen::PoliciesPut(put) = seen else { return Ok(()) };
    for category in Category::ALL {
        let of = |(order, (of, changed, overdue)): (&OrderKey, &(Category, bool, bool))| {
            (of == category && *changed).then(|| (order.clone(), *overdue))
        };
        let moved: BTreeMap<OrderKey, bool> = put.moved.iter().filter_map(of).collect();
        let said = put.previewed.iter().find(|change| change.category == *category);
        let (count, overdue) = said.map_or((0, 0), |change| (change.orders as usize, change.overdue as usize));
        let named: BTreeSet<&OrderKey> = said.iter().flat_map(|change| &change.first).collect();
        let right = count == moved.len()
            && named.iter().all(|order| moved.contains_key(*order))
            && (named.len() == count || count > 20)
            && overdue == moved.values().filter(|overdue| **overdue).count();
        ensure(right, || format!("a preview says {said:?} of {category}, and {moved:?} changed"))?;
    }
    Ok(())
}

/// What is seen of it.
impl World {
    /// What one step of the fleet says of time. `now`: of the fleet, when it decided.
    pub(super) fn see_timed(&mut self, now: u64, row: &[u8]) {
        let Ok(TimedRow { order, category, state, window }) = cbor::decode::<TimedRow>(row) else { return };
        self.count_term(&order, window.as_ref());
        self.see(Seen::TermWritten { order, category, state, term: window, now });
    }

    fn count_term(&mut self, order: &OrderKey, term: Option<&Term>) {
        let times = &self.ledger.times;
        let (Some(term), before) = (term, times.term(order)) else { return };
        if before.is_some_and(|before| before.ends == term.ends) {
            return;
        }
        let begins = before.is_none_or(|before| before.from != term.from);
        let site = times.site.as_ref();
        let opens = |latest: u64| site.is_some_and(|site| site.is_end_of_opening(term.ends) && term.ends < latest);
        let changes = site.is_some_and(|site| site.is_changed_between(term.from, term.ends));
        for (seen, name) in [
            (begins, "begun"),
            (term.latest.is_some_and(opens), "ends with an opening"),
            (changes, "over a change of the clock"),
            (!begins && before.is_some_and(|before| before.policy != term.policy), "moved by policies"),
            (!begins && before.is_some_and(|before| before.stood != term.stood), "stood still"),
            (!begins && term.extended, "given more time"),
        ] {
            if seen {
                self.coverage.count("windows", name);
            }
        }
    }

    /// The step is over.
    pub(super) fn fleet_stepped(&mut self, effects: &[Effect]) {
        for (order, until) in std::mem::take(&mut self.ends_told) {
            self.see(Seen::EndTold { order, until });
        }
        let times = &self.ledger.times;
        let mut replies = effects.iter().filter_map(|effect| match effect {
            Effect::Reply { ticket, reply } => Some((*ticket, reply)),
            _ => None,
        });
        let (ticket, reply) = replies.next().unzip();
        let looked_at = ticket.and_then(|put| self.previews.get(&put));
        if let (Some((preview, previewed)), Some(moved)) = (times.previewed.clone(), times.moved.clone())
            && looked_at == Some(&preview)
        {
            // Of an order in several compartments the first one stands for all.
            let of = |(order, said): (OrderKey, (Category, bool, bool))| (self.ledger.named(&order), said);
            let mut named: BTreeMap<OrderKey, (Category, bool, bool)> = BTreeMap::new();
            for (order, (category, changed, overdue)) in moved.into_iter().map(of) {
                let said = named.entry(order).or_insert((category, false, false));
                (said.1, said.2) = (said.1 || changed, said.2 || overdue);
            }
            self.coverage.count("policies", "put as previewed");
            self.see(Seen::PoliciesPut(Put { previewed, moved: named }));
        }
        let mut previewed = match (ticket, reply) {
            (Some(ticket), Some(Reply::PolicyPreview(changes))) => Some((ticket, changes.clone())),
            _ => None,
        };
        if let (Some(Sabotage::PreviewShort), Some((_, changes))) = (self.sabotage, &mut previewed)
            && let Some(change) = changes.first_mut()
        {
            change.orders -= 1;
            change.first.pop();
        }
        self.ledger.fleet_stepped(previewed);
    }

    pub(super) fn see_policies(&mut self, row: &[u8]) {
        let read = cbor::decode::<PoliciesRow>(row).ok().and_then(|row| Some((row.policies()?, row)));
        let Some((policies, row)) = read else {
            return self.break_off("window_ends_by_the_site", "a row of policies cannot be read".to_owned());
        };
        self.coverage.count("policies", if row.live { "put for live orders" } else { "put" });
        self.see(Seen::PoliciesWritten { version: row.version, live: row.live, policies: Box::new(policies) });
    }

    pub(super) fn see_site(&mut self, row: &[u8]) {
        let Some(site) = Site::read(row) else {
            return self.break_off("window_ends_by_the_site", "the row of a site cannot be read".to_owned());
        };
        self.coverage.count("policies", "site set");
        self.see(Seen::SiteWritten(Box::new(site)));
    }

    pub(super) fn see_local(&mut self, order: &OrderKey, until: Option<Rfc3339>, text: [Option<&String>; 2]) {
        if let Some(until) = until {
            let text = text[0].cloned().zip(text[1].cloned());
            self.see(Seen::LocalTold { order: order.clone(), until: until.0, text });
        }
    }
}

/// What operators do about it.
impl World {
    /// In some schedules the clocks at the site are put forward or back while orders are kept.
    pub(super) fn begin_time(&mut self, dice: &mut Dice) {
        self.zone = dice.pick(&ZONES).copied().unwrap_or("UTC");
        let (soon, near, far) = (dice.one_in(3), dice.below(90 * MINUTE), dice.below(70 * HOUR));
        if let Some(change) = next_change(self.zone, START + 71 * HOUR)
            && !dice.one_in(4)
            && self.decides("the clocks are changed soon")
        {
            self.fleet.time.begin_later(change - START - if soon { near } else { far });
        }
    }

    pub(super) fn managers_act(&mut self) {
        if !self.rough {
            return;
        }
        let rest = if self.pace == Pace::Busy { 25 } else { 6 };
        let wait = if self.dice.one_in(rest) { self.draw_wait(20_000, 900_000) } else { self.draw_wait(250, 30_000) };
        self.later(wait, Happening::ManagersAct);
        let mut drawn = self.dice.below(DRAWN);
        for (often, what, act) in DEEDS {
            if drawn < *often {
                if self.decides(what) {
                    act(self);
                }
                return;
            }
            drawn -= often;
        }
    }

    /// Its zone, its hours, days on which it does not open; the rest stays.
    fn operator_sets_site(&mut self) {
        let zone = if self.dice.one_in(6) { ZONES[self.dice.index(ZONES.len())] } else { self.zone };
        let hours = match self.dice.below(8) {
            0 => "always".to_owned(),
            1 => "mo-fr 08:00-20:00, sa 09:00-14:00".to_owned(),
            2 => "mo-su 22:00-06:00".to_owned(),
            3 => "mo-su 00:00-02:30 03:30-24:00".to_owned(),
            4 => "su 02:10-02:20, we 00:00-24:00".to_owned(),
            _ => {
                let mut time = || {
                    let minutes = self.dice.below(24 * 60 - 1);
                    format!("{:02}:{:02}", minutes / 60, minutes % 60)
                };
                let (from, until) = (time(), time());
                if from == until { "always".to_owned() } else { format!("mo-su {from}-{until}") }
            }
        };
        let closed: BTreeSet<String> = (0..self.dice.below(3)).map(|_| self.some_date()).collect();
        let mut said = Vec::new();
        if !self.dice.one_in(4) {
            said.push(format!(r#","zone":"{zone}""#));
        }
        if !self.dice.one_in(4) {
            said.push(format!(r#","hours":"{hours}""#));
        }
        if self.dice.one_in(2) {
            said.push(format!(r#","closed":{closed:?}"#));
        }
        let said = said.concat();
        self.tell(|| format!("the operator sets the site {said}"));
        self.ask(format!(r#"{{"op":"site.set","site":"mall"{said}}}"#));
    }

    /// One of the next days.
    fn some_date(&mut self) -> String {
        let at = self.fleet.time.says(self.now) + self.dice.below(5) * 24 * HOUR;
        Rfc3339(at).to_string().chars().take(10).collect()
    }

    fn some_policies(&mut self) -> Policies {
        let mut policies = Policies::default();
        for category in [Category::Retail, Category::Food, Category::Laundry, Category::Pharmacy, Category::Courier] {
            let rules = match category {
                Category::Food => &mut policies.food,
                Category::Laundry => &mut policies.laundry,
                Category::Pharmacy => &mut policies.pharmacy,
                Category::Courier => &mut policies.courier,
                Category::Retail | Category::Repair => &mut policies.retail,
            };
            if !self.dice.one_in(3) {
                draw_rules(&mut self.dice, rules, category);
            }
        }
        policies
    }

    /// Most look first what would change. Some have made them from others than there are by now.
    fn operator_puts_policies(&mut self, live: bool) {
        let policies = self.some_policies();
        let Ok(json) = serde_json::to_string(&policies) else { return };
        let version = self.ledger.times.version.saturating_sub(u64::from(self.dice.one_in(8)));
        self.tell(|| format!("the operator puts policies (live: {live}) {json}"));
        let looks = !self.dice.one_in(5);
        let preview = looks.then(|| self.ask(format!(r#"{{"op":"policy.preview","policies":{json}}}"#)));
        let put = format!(r#"{{"op":"policy.put","replaces":{version},"policies":{json},"live":{live}}}"#);
        let put = self.ask(put);
        self.previews.extend(preview.map(|preview| (put, preview)));
    }

    fn operator_previews(&mut self) {
        let Ok(json) = serde_json::to_string(&self.some_policies()) else { return };
        self.ask(format!(r#"{{"op":"policy.preview","policies":{json}}}"#));
    }

    /// To any moment, be it at night.
    fn backend_gives_more_time(&mut self) {
        let Some(order) = self.some_stored().filter(|_| self.fleet.is_up()) else { return };
        let order = self.ledger.named(&order);
        self.ledger.each_part(&order, |truth| truth.renewed = true);
        let wait = if self.dice.one_in(2) { self.dice.below(10 * MINUTE) } else { self.dice.below(100 * HOUR) };
        self.tell(|| format!("{order} is given {} s more", wait / 1_000));
        self.extend_to(&order, self.fleet.time.says(self.now) + wait);
    }

    /// Once everything is quiet: the code of each order ends with its window, and needs a known time as its policy says.
    pub(super) fn check_terms(&mut self) {
        for (order, (state, term)) in self.ledger.times.terms.clone() {
            let Some(truth) = self.ledger.orders.get(&order) else { continue };
            let cab: Cab = truth.at();
            let known = !self.ledger.is_beyond_knowing(&order) && truth.told.notified > 0 && !truth.told.outdated;
            if !known || truth.bundle.is_some() || !matches!(state, OrderState::Stored | OrderState::Overdue) {
                continue;
            }
            let Some(right) = self.signer.rights.get(&(self.name_of(cab), order.clone())) else { continue };
            if (right.expires, right.needs_time) != (term.expires(), term.needs_time) {
                let text = format!("{order} has {term:?}, its code {right:?} at cabinet {cab}");
                return self.break_off("window_ends_by_the_site", text);
            }
        }
    }
}

fn draw_rules(dice: &mut Dice, rules: &mut Policy, category: Category) {
    let minutes = |count: u64| Minutes::new(u32::try_from(count).unwrap_or(1)).unwrap_or(rules.window_minutes);
    let window = [1, 2, 5, 30, 240, 4_320][dice.index(6)];
    let cooled = dice.one_in(2).then(|| window + dice.below(window + 1));
    let longest = [cooled.unwrap_or(window), window * 4, 30 * 24 * 60][dice.index(3)].max(cooled.unwrap_or(window));
    let shares: &[u8] = [&[][..], &[50], &[50, 90], &[1, 20, 99]][dice.index(4)];
    let is_food = category == Category::Food;
    *rules = Policy {
        window_minutes: minutes(window),
        cooled_window_minutes: cooled.map(minutes),
        reminders_percent: shares.iter().filter_map(|share| Percent::new(*share)).collect(),
        grace: match dice.below(4) {
            0 => Grace::None,
            1 => Grace::Minutes(minutes(dice.between(1, 120))),
            _ => Grace::UntilRetrieved,
        },
        longest_minutes: minutes(longest),
        pauses: !is_food && !dice.one_in(3),
        needs_time: dice.one_in(4),
        ends_when_open: Some(!is_food && !dice.one_in(4)),
        reminds_when_open: Some(dice.one_in(2)),
    };
}
