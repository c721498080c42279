//! What backends make of orders that they have put: another size, another category, another recipient; and compartments of every
//! size, some of them cooled.

use std::collections::{BTreeMap, BTreeSet};

use schemas::api::{Notification, NotificationKind, OrderState};
use schemas::cbor;
use schemas::cbor_map;
use schemas::messages::{Attributes, Category, Compartment, Event, Fact, OrderKey, Size};
use schemas::topics::OrderChange;

use super::invariants::{Verdict, ensure};
use super::ledger::{Ledger, OrderTruth, Seen};
use super::people::is_restricted;
use super::world::World;

/// Size and attributes of the compartments, and whether a sensor sees what is inside.
pub(super) type Layout = &'static [(Size, Attributes, bool)];

const NONE: Attributes = Attributes { refrigerated: false, restricted: false, accessible: false };
const COOLED: Attributes = Attributes { refrigerated: true, ..NONE };
const LOW: Attributes = Attributes { accessible: true, ..NONE };

/// Of most schedules.
pub(super) const FIVE: Layout = &[
    (Size::S, NONE, true),
    (Size::M, NONE, false),
    (Size::M, NONE, true),
    (Size::L, NONE, false),
    (Size::S, NONE, false),
];
/// Of the others: every size, and some are cooled.
pub(super) const SEVEN: Layout = &[
    (Size::S, NONE, true),
    (Size::M, COOLED, false),
    (Size::M, LOW, true),
    (Size::L, NONE, false),
    (Size::Xl, COOLED, true),
    (Size::S, NONE, false),
    (Size::L, COOLED, false),
];

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct RecipientRow { 1 opt => phone: Option<String> }
}

cbor_map! {
    /// What this simulation reads of a row of the fleet's orders.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct ContentRow {
        1 => order: OrderKey,
        3 => size: Size,
        4 => category: Category,
        5 => wants: Attributes,
        6 opt => recipient: Option<RecipientRow>,
        7 => hash: String,
        8 => state: OrderState,
        10 opt => compartment: Option<Compartment>,
    }
}

/// An order as the fleet has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    size: Size,
    category: Category,
    wants: Attributes,
    phone: Option<String>,
    hash: String,
    state: OrderState,
    compartment: Option<Compartment>,
}

/// How a backend wants an order now.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    size: Option<Size>,
    cooled: Option<bool>,
    phone: Option<String>,
}

/// Everything that a backend has ever said of an order.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    sizes: BTreeSet<Size>,
    categories: BTreeSet<Category>,
    cooled: BTreeSet<bool>,
    phones: BTreeSet<Option<String>>,
}

/// What of it is told, by order.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    /// By the fleet's store.
    pub(super) rows: BTreeMap<OrderKey, Content>,
}

/// Hands that have begun to put it in, or have put it in, and nobody has taken it out.
fn is_inside(state: OrderState) -> bool {
    use OrderState::{Collecting, Loading, Overdue, Stored};
    matches!(state, Loading | Stored | Overdue | Collecting)
}

impl Ledger {
    pub(super) fn says(
        &mut self,
        order: &OrderKey,
        size: Size,
        category: Category,
        cooled: bool,
        phone: Option<String>,
    ) {
        let said = self.said.entry(order.clone()).or_default();
        said.sizes.insert(size);
        said.categories.insert(category);
        said.cooled.insert(cooled);
        said.phones.insert(phone);
    }

    /// What a cabinet goes by may be what a backend has said before.
    pub(super) fn may_be_of_one_category(&self, one: &OrderKey, other: &OrderKey) -> bool {
        match (self.said.get(one), self.said.get(other)) {
            (Some(one), Some(other)) => !one.categories.is_disjoint(&other.categories),
            _ => false,
        }
    }

    /// Whether an order, as its backend has ever wanted it, goes into a compartment.
    fn fits(&self, order: &OrderKey, at: Compartment) -> bool {
        let Some(said) = self.said.get(order) else { return true };
        let Some((size, offers, _)) = self.layout.get(usize::from(at.number()).wrapping_sub(1)) else { return false };
        said.sizes.iter().any(|wanted| size >= wanted)
            && said.cooled.iter().any(|cooled| offers.refrigerated || !cooled)
    }
}

/// An order is what its backend has said of it, one that is inside stays what it is, each change is told with the hashes of both
/// contents, and what opens it is told to its recipient only: whoever was it before knows another code.
pub(super) fn invariant_order_is_what_its_backend_said(ledger: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::ContentWritten { order, content } => {
            let Some(said) = ledger.said.get(order) else { return Ok(()) };
            let known = said.sizes.contains(&content.size)
                && said.categories.contains(&content.category)
                && said.cooled.contains(&content.wants.refrigerated)
                && (content.phone.is_none() || said.phones.contains(&content.phone));
            ensure(known, || format!("{order} is {content:?}, and its backend has said {said:?}"))?;
            let Some(before) = ledger.contents_told.rows.get(order) else { return Ok(()) };
            let booked = |one: &Content| (one.size, one.category, one.wants);
            let stays = !(is_inside(before.state) && is_inside(content.state)) || booked(before) == booked(content);
            ensure(stays, || format!("{order} is inside as {before:?}, and becomes {content:?}"))
        }
        Seen::ChangeTold { order, before, now, told } => ensure(*told, || {
            format!("{order} has become another, {before} to {now}, and its backend does not hear of it")
        }),
        Seen::CodeTold { order, code, phone } => {
            let row = ledger.contents_told.rows.get(order);
            let right = row.is_none_or(|row| row.phone == *phone);
            ensure(right, || {
                format!("a code of {order} goes to {phone:?}, it is for {:?}", row.map(|row| &row.phone))
            })?;
            let before = ledger.codes_to.get(&(order.clone(), code.clone()));
            ensure(before.is_none_or(|before| before == phone), || {
                format!("a code of {order} that {before:?} knows goes to {phone:?}")
            })
        }
        _ => Ok(()),
    }
}

/// The fleet keeps and cabinets give a compartment that is large enough, and cooled if it has to be.
pub(super) fn invariant_order_gets_what_fits(ledger: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::ContentWritten { order, content } if content.state == OrderState::Reserved => {
            let Some(at) = content.compartment else { return Ok(()) };
            let found = ledger.layout.get(usize::from(at.number()).wrapping_sub(1));
            let right = found.is_some_and(|(size, offers, _)| *size >= content.size && offers.satisfies(content.wants));
            ensure(right, || format!("{order}, {content:?}, is to go into {at}, which is {found:?}"))
        }
        Seen::EventWritten { cab, record, .. } => {
            let Ok(event) = cbor::decode::<Event>(record) else { return Ok(()) };
            let (order, at) = match &event.fact {
                Fact::Loading(load) => (&load.order, load.compartment),
                Fact::LoadingBeside(load) => (&load.order, load.compartment),
                Fact::Depositing(load) => (&load.order, load.compartment),
                _ => return Ok(()),
            };
            ensure(ledger.fits(order, at), || {
                let said = ledger.said.get(order);
                format!("{order}, {said:?}, goes into {at} of cabinet {cab}, which is too small or too warm")
            })
        }
        _ => Ok(()),
    }
}

/// What is seen of it.
impl World {
    pub(super) fn see_content(&mut self, row: &[u8]) {
        let Ok(ContentRow { order, size, category, wants, recipient, hash, state, compartment }) =
            cbor::decode::<ContentRow>(row)
        else {
            return;
        };
        let phone = recipient.and_then(|recipient| recipient.phone);
        let content = Content { size, category, wants, phone, hash, state, compartment };
        let before = self.ledger.contents_told.rows.get(&order);
        // One that was rejected may come again as another; of the parts only the first one speaks.
        let again = before.is_some_and(|before| before.state == OrderState::Rejected);
        if let Some(before) = before.filter(|before| before.hash != content.hash && !again)
            && self.ledger.named(&order) == order
        {
            self.content_changes.push((order.clone(), [before.hash.clone(), content.hash.clone()]));
            let what = match () {
                () if before.size != content.size => "another size",
                () if before.category != content.category => "another category",
                () if before.wants != content.wants => "other wants",
                () if before.phone != content.phone && is_inside(before.state) => "another recipient of what is inside",
                () if before.phone != content.phone => "another recipient",
                () => "something else",
            };
            self.coverage.count("changes", what);
        }
        self.see(Seen::ContentWritten { order, content: Box::new(content) });
    }

    /// The step is over, with these changes of contents told in it.
    pub(super) fn contents_stepped(&mut self) {
        let told = std::mem::take(&mut self.contents_told);
        for (order, hashes) in std::mem::take(&mut self.content_changes) {
            let heard = told.contains(&(order.clone(), hashes.clone()));
            let [before, now] = hashes;
            self.see(Seen::ChangeTold { order, before, now, told: heard });
        }
    }

    pub(super) fn see_code_told(&mut self, order: &OrderKey, told: &Notification) {
        let alone = |truth: &OrderTruth| truth.bundle.is_none() && truth.whole.is_none();
        // A reminder brings the code that works just now, also while another one is on its way to the cabinet.
        if told.kind == NotificationKind::PickupCode
            && !told.id.contains("/again-")
            && self.ledger.orders.get(order).is_some_and(alone)
            && !order.is_walk_in()
        {
            let phone = told.recipient.phone.clone();
            self.see(Seen::CodeTold { order: order.clone(), code: told.code.clone(), phone });
        }
    }
}

/// What backends do about it.
impl World {
    /// What an order is put with, as it is in JSON: size, wants, recipient. The same each time until its backend changes it.
    pub(super) fn content_of(&mut self, order: &OrderKey) -> String {
        let (size, cooled, phone, category) = self.wanted(order);
        self.ledger.says(order, size, category, cooled, phone.clone());
        let wants = if cooled { r#","wants":{"refrigerated":true}"# } else { "" };
        let phone = phone.map(|phone| format!(r#","recipient":{{"phone":"{phone}"}}"#)).unwrap_or_default();
        format!(r#""size":"{size}"{wants}{phone}"#)
    }

    fn wanted(&self, order: &OrderKey) -> (Size, bool, Option<String>, Category) {
        let truth = self.ledger.orders.get(order);
        let wanted = truth.map(|truth| truth.wanted.clone()).unwrap_or_default();
        let name = order.order.as_str();
        let everyday = name.starts_with('A') && self.ledger.layout.len() > FIVE.len();
        let (size, cooled) = match name.bytes().last() {
            Some(b'1') if everyday => (Size::Xl, false),
            Some(b'7') if everyday => (Size::Xl, true),
            Some(b'2') if everyday => (Size::L, false),
            Some(b'0' | b'8') if everyday => (Size::S, true),
            Some(b'3' | b'6') => (Size::M, false),
            _ => (Size::S, false),
        };
        let category = truth.map_or(Category::Retail, |truth| truth.category);
        (wanted.size.unwrap_or(size), wanted.cooled.unwrap_or(cooled), wanted.phone, category)
    }

    /// Another size, category or recipient, or several at once; mostly of one that is not loaded yet. Some were made for a content
    /// that the order has no more.
    pub(super) fn backend_changes_order(&mut self) {
        let may = |(order, truth): &(&OrderKey, &OrderTruth)| {
            !order.is_walk_in() && truth.whole.is_none() && truth.told.accepted && !truth.cancelled
        };
        let orders: Vec<OrderKey> = self.ledger.orders.iter().filter(may).map(|(order, _)| order.clone()).collect();
        let order = if self.dice.one_in(2) { self.some_stored() } else { self.dice.pick(&orders).cloned() };
        let Some(order) = order.filter(|order| self.fleet.is_up() && orders.contains(order)) else { return };
        let (mut size, mut cooled, mut phone, mut category) = self.wanted(&order);
        let mut change = Vec::new();
        if self.dice.one_in(3) {
            size = [Size::S, Size::M, Size::L, Size::Xl][self.dice.index(4)];
            change.push(format!(r#""size":"{size}""#));
        }
        if self.dice.one_in(4) {
            cooled = self.dice.one_in(2);
            change.push(format!(r#""wants":{{"refrigerated":{cooled}}}"#));
        }
        if self.dice.one_in(4) {
            category = [Category::Retail, Category::Laundry, Category::Food][self.dice.index(3)];
            change.push(format!(r#""category":"{category}""#));
        }
        if self.dice.one_in(6) {
            change.push(format!(r#""ready":{}"#, self.dice.one_in(2)));
        }
        if change.is_empty() || self.dice.one_in(4) {
            phone = Some(format!("+4917222{:05}", self.dice.below(100_000)));
            change.push(format!(r#""recipient":{{"phone":"{}"}}"#, phone.clone().unwrap_or_default()));
        }
        let held = self.ledger.contents_told.rows.get(&order).map(|content| content.hash.clone());
        let replaces = held.filter(|_| self.dice.one_in(4));
        let replaces = replaces.map(|hash| format!(r#""replaces":"{hash}","#)).unwrap_or_default();
        self.ledger.says(&order, size, category, cooled, phone.clone());
        let restricted = is_restricted(&order);
        if let Some(truth) = self.ledger.orders.get_mut(&order) {
            truth.renewed = true;
            // Some backends put it again as it is now, others as it was.
            if !restricted {
                truth.wanted = Wanted { size: Some(size), cooled: Some(cooled), phone };
                truth.category = category;
            }
        }
        let change = change.join(",");
        self.tell(|| format!("backend changes {order} to {change}"));
        let payload = format!(r#"{{"order":"{}",{replaces}"change":{{{change}}}}}"#, order.order);
        self.change_orders(order.integration.clone(), OrderChange::Content, payload);
    }

    /// In some schedules cabinets have other compartments.
    pub(super) fn cabinets_are_larger(&mut self) {
        self.ledger.layout = SEVEN;
        for cabinet in &mut self.cabs {
            cabinet.furnish(SEVEN);
        }
    }
}
