//! Messages to people that the fleet itself sends, by a gateway that fails in every way.

use std::collections::{BTreeMap, BTreeSet};

use fleet_core::{Codes, Dispatch, Input, MESSAGES, Outcome};
use schemas::api::{MessageState, Notification, NotificationKind, OrderState};
use schemas::cbor_map;
use schemas::ids::Name;
use schemas::messages::OrderKey;
use schemas::step::{Store as _, Write};

use super::invariants::{Verdict, ensure};
use super::ledger::{Ledger, Seen};
use super::sabotage::Sabotage;
use super::walk_ins::key_of;
use super::world::{Happening, World};

/// The way by which messages go, and the one behind it. A webhook knows everybody by the order.
const CHANNELS: [(&str, &str); 2] = [("first", r#""rank":1,"fallback_after_minutes":20,"#), ("second", r#""rank":2,"#)];

cbor_map! {
    /// What this simulation reads of a row.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct SeenRow {
        2 => order: OrderKey,
        6 => state: MessageState,
    }
}

/// What is known of messages, whatever becomes of the fleet's store.
#[derive(Debug, Clone, Default)]
pub(super) struct Messages {
    /// Integration, id and code of each notification that was written.
    told: BTreeSet<(Name, String, String)>,
    /// The code that an order was announced with last, in the life of the store that is going on.
    newest: BTreeMap<OrderKey, String>,
    /// Ids of rows of the outbox that were written.
    rows: BTreeSet<Vec<u8>>,
    /// The code of each message that was sent.
    codes: BTreeMap<String, String>,
    /// The fleet has heard that the gateway has them, and it is on its disk.
    accepted: BTreeSet<String>,
    /// Codes that the gateway has, by order.
    reached: BTreeSet<(OrderKey, String)>,
}

impl Messages {
    pub(super) fn told(&mut self, integration: &Name, told: &Notification) {
        self.told.insert((integration.clone(), told.id.clone(), told.code.clone()));
        if matches!(told.kind, NotificationKind::PickupCode | NotificationKind::Reminder) {
            let order = key_of(integration, told.order.clone(), told.walk_in);
            self.newest.insert(order, told.code.clone());
        }
    }

    /// What was to be sent then may be old: it is given up, and told anew by the rules of a restored fleet.
    pub(super) fn put_back(&mut self) {
        self.newest.clear();
    }

    pub(super) fn sent(&mut self, id: String, code: String) {
        self.codes.insert(id, code);
    }

    pub(super) fn accepted(&mut self, id: String) {
        self.accepted.insert(id);
    }
}

/// What goes to a person is a code that its notification had, the same each time: never before there was one.
pub(super) fn invariant_message_says_what_was_told(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::MessageSent { id, integration, notification, code } = seen else { return Ok(()) };
    let told = (integration.clone(), notification.clone(), code.clone());
    ensure(ledger.messages.told.contains(&told), || format!("message {id} has a code that {notification} had not"))?;
    let same = ledger.messages.codes.get(id).is_none_or(|before| before == code);
    ensure(same, || format!("message {id} goes out with another code"))
}

/// What a gateway has taken for certain it is not given again.
pub(super) fn invariant_message_accepted_once(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::MessageSent { id, .. } = seen else { return Ok(()) };
    ensure(!ledger.messages.accepted.contains(id), || format!("message {id} is sent again after it was accepted"))
}

/// A message lies on the disk with its notification.
pub(super) fn invariant_notification_has_its_message(_: &Ledger, seen: &Seen) -> Verdict {
    let Seen::NotificationsWritten { notifications, messages } = seen else { return Ok(()) };
    ensure(notifications == messages, || format!("{notifications} notifications are written with {messages} messages"))
}

impl World {
    pub(super) fn put_channels(&mut self) {
        for (name, more) in CHANNELS {
            self.ask(format!(
                r#"{{"op":"channel.put","channel":{{"name":"{name}",{more}"secret":"{name}","plain":true,
                "via":{{"kind":"webhook","url":"http://127.0.0.1:8080/{name}"}}}}}}"#
            ));
        }
    }

    /// What a step has written about messages.
    pub(super) fn see_messages(&mut self, writes: &[Write], notifications: u32) {
        if !self.has_channels {
            return;
        }
        let put = writes.iter().filter(|write| write.table == MESSAGES && write.value.is_some());
        let messages = put.filter(|write| self.ledger.messages.rows.insert(write.key.clone())).count();
        let messages = u32::try_from(messages).unwrap_or(u32::MAX);
        if notifications > 0 || messages > 0 {
            self.see(Seen::NotificationsWritten { notifications, messages });
        }
    }

    /// One try by the gateway.
    pub(super) fn gateway_takes(&mut self, dispatch: &Dispatch) {
        let [code, qr] = dispatch.sealed().map(|sealed| self.signer.reveal(sealed).ok());
        let (Some(code), Some(qr), true) = (code, qr, self.signer.works) else {
            return self.gateway_says(dispatch, "not revealed", Outcome::NotRevealed);
        };
        let body = dispatch.webhook_body(&Codes::of(&code, &qr));
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let Ok(told) = serde_json::from_value::<Notification>(body["data"].clone()) else { return };
        let Some(integration) = body["integration"].as_str().and_then(|name| name.parse::<Name>().ok()) else { return };
        let mixed_up = self.sabotage == Some(Sabotage::CodesMixedUp) && self.dice.one_in(10);
        let code = if mixed_up { "0".to_owned() } else { told.code.clone() };
        let (id, notification) = (dispatch.id.clone(), told.id.clone());
        self.see(Seen::MessageSent { id, integration: integration.clone(), notification, code });
        self.coverage.count("messages", format!("by the {}", dispatch.channel.name));

        let detail = || "HTTP 500".to_owned();
        let lies = self.sabotage == Some(Sabotage::GatewayLies) && self.dice.one_in(5);
        let drawn = if self.rough { self.dice.below(12) } else { 12 };
        let (word, taken, outcome) = match drawn {
            0 => ("refused", false, Some(Outcome::Refused { detail: detail() })),
            1 | 2 => ("failed", false, Some(Outcome::Failed { detail: detail() })),
            3 => ("unknown", true, Some(Outcome::Unknown { detail: detail() })),
            4 => ("unknown", false, Some(Outcome::Unknown { detail: detail() })),
            5 => ("answer lost", self.dice.one_in(2), None),
            _ => ("accepted", !lies, Some(Outcome::Accepted { reference: None })),
        };
        if taken {
            let order = key_of(&integration, told.order, told.walk_in);
            self.ledger.messages.reached.insert((order, told.code));
        }
        match outcome {
            Some(outcome) => self.gateway_says(dispatch, word, outcome),
            None => self.coverage.count("messages", word),
        }
    }

    fn gateway_says(&mut self, dispatch: &Dispatch, word: &'static str, outcome: Outcome) {
        self.coverage.count("messages", word);
        let wait = if self.rough { self.dice.between(5, 45_000) } else { self.dice.between(5, 400) };
        let (run, id, attempt) = (self.fleet.run, dispatch.id.clone(), dispatch.attempt);
        self.later(wait, Happening::GatewayAnswers { run, id, attempt, outcome });
    }

    /// The answer to a process that has ended is lost.
    pub(super) fn gateway_answers(&mut self, run: u64, id: String, attempt: u32, outcome: Outcome) {
        if run != self.fleet.run || !self.fleet.is_up() {
            return;
        }
        let accepted = matches!(outcome, Outcome::Accepted { .. }).then(|| id.clone());
        if let (Some(id), Some(Sabotage::OutcomeUntold)) = (&accepted, self.sabotage) {
            return self.see(Seen::MessageAccepted { id: id.clone() });
        }
        let tenant = self.tenant.clone();
        self.take_fleet(Input::Notified { tenant, id, attempt, outcome }, None);
        self.fleet.heard(accepted);
    }

    /// The code of every order that waits has reached the gateway, or is on its way, or somebody is told that it does not come.
    pub(super) fn check_messages(&mut self) {
        if !self.has_channels {
            return;
        }
        let rows = self.fleet.store.scan(MESSAGES, b"", usize::MAX).unwrap_or_default();
        let rows: Vec<SeenRow> = rows.iter().filter_map(|(_, row)| schemas::cbor::decode(row).ok()).collect();
        let open = |row: &&SeenRow| {
            matches!(row.state, MessageState::Queued | MessageState::Sending | MessageState::Undelivered)
        };
        let open: BTreeSet<&OrderKey> = rows.iter().filter(open).map(|row| &row.order).collect();
        let messages = &self.ledger.messages;
        let lost = messages.newest.iter().find(|(order, code)| {
            let waits = self.ledger.orders.get(*order).is_some_and(|truth| {
                let alone = truth.bundle.is_none() && truth.whole.is_none();
                alone && !truth.gone && truth.told.state == Some(OrderState::Stored)
            });
            let reached = messages.reached.contains(&((*order).clone(), (*code).clone()));
            waits && !order.is_walk_in() && !reached && !open.contains(order)
        });
        if let Some((order, _)) = lost {
            let text = format!("the code of {order} has reached nobody, and nobody is told");
            self.break_off("message_reaches_or_is_listed", text);
        }
    }
}
