//! What time does to orders: reminders, and the ends of windows. One timer, however many orders there are.

use schemas::api::{NotificationKind, OrderState};
use schemas::messages::{FleetMillis, TakeBack};

use crate::config::Config;
use crate::deadlines::Deadline;
use crate::intents::{Intent, Show, Shown, Unwant};
use crate::order::window::{Due, Window};
use crate::order::{Happened, Order, Orders};
use crate::rows::NotificationRow;
use crate::tables::{CabinetRef, OrderRef};
use crate::turn::Turn;

/// Orders that are handled in one step at most: after an outage of the fleet very many may be due.
const AT_ONCE: usize = 200;

impl Order {
    /// When something comes of its window next.
    pub(super) fn due(&self) -> Option<FleetMillis> {
        self.window.as_ref().filter(|_| self.state == OrderState::Stored)?.due()
    }
}

impl Orders {
    /// Changes an order and keeps the timer right. The row is written by whoever asks for the change.
    pub(super) fn change<R>(
        &mut self,
        turn: &mut Turn<'_>,
        at: &OrderRef,
        act: impl FnOnce(&mut Order, FleetMillis) -> R,
    ) -> Option<R> {
        let order = self.rows.get_mut(at)?;
        let before = order.due();
        let done = act(order, turn.now);
        let after = order.due();
        if before != after {
            before.map(|due| self.due.remove(&(due, at.clone())));
            after.map(|due| self.due.insert((due, at.clone())));
            self.watch_windows(turn);
        }
        Some(done)
    }

    /// Orders that a version without windows has stored: theirs begins when the fleet heard that they were stored. The rows
    /// follow with the next change; until then each start comes to the same.
    pub(crate) fn give_windows(&mut self) {
        for (at, order) in &mut self.rows {
            if order.state != OrderState::Stored || order.window.is_some() {
                continue;
            }
            let policy = self.policies.of(&at.tenant);
            let rules = policy.policies.of(order.category);
            let site = self.sites.clock_of(&CabinetRef::new(at.tenant.clone(), order.cabinet.clone()));
            let window = Window::begin(policy, rules, order.since, order.wants.refrigerated, site.as_deref());
            order.window = Some(window.into());
            self.due.extend(order.due().map(|due| (due, at.clone())));
        }
    }

    /// When the first reminder or end is due.
    pub(crate) fn first_due(&self) -> Option<FleetMillis> {
        self.due.first().map(|(due, _)| *due)
    }

    fn watch_windows(&self, turn: &mut Turn<'_>) {
        match self.first_due() {
            // What is left over from a large batch takes the next tick.
            Some(due) => turn.due(Deadline::Window, due.max(turn.now.saturating_add(1))),
            None => turn.not_due(&Deadline::Window),
        }
    }

    /// Reminders are to be sent, or windows end.
    pub(crate) fn windows_due(&mut self, turn: &mut Turn<'_>, config: &Config) {
        let now = turn.now;
        let due: Vec<OrderRef> =
            self.due.iter().take_while(|(due, _)| *due <= now).take(AT_ONCE).map(|(_, at)| at.clone()).collect();
        due.iter().for_each(|at| self.window_due(turn, config, at));
        self.watch_windows(turn);
    }

    fn window_due(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef) {
        let found = self.change(turn, at, |order, now| {
            let window = order.window.as_mut()?;
            Some((window.take_due(now), window.ends, order.notified))
        });
        match found.flatten() {
            Some((Due::Ended, ends, _)) => {
                self.enter(turn, config, at, OrderState::Overdue, Happened { at: ends, unverified: false });
                if let Some(order) = self.rows.get(at) {
                    let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
                    let why = TakeBack::Overdue;
                    turn.send(Intent::to_cabinet(&cabinet, Unwant { order: at.order.clone(), why }));
                }
            }
            Some((Due::Remind(percent), ends, notified)) => {
                self.put_row(turn, at);
                if self.rows.get(at).is_some_and(|order| order.part.is_some()) {
                    if self.reminds(at) {
                        self.tell_whole_again(turn, at, NotificationKind::Reminder);
                    }
                } else if notified {
                    // Nobody is reminded of a code that was never sent.
                    self.ask_shown(
                        turn,
                        at,
                        NotificationKind::Reminder,
                        format!("reminder-{percent}/{}/{ends}", at.order),
                    );
                }
            }
            Some((Due::Nothing, ..)) | None => {}
        }
    }

    /// Asks the cabinet for the code, for one more message.
    pub(super) fn ask_shown(&self, turn: &mut Turn<'_>, at: &OrderRef, kind: NotificationKind, id: String) {
        if let Some(order) = self.rows.get(at) {
            let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
            turn.send(Intent::to_cabinet(&cabinet, Show { order: at.order.clone(), kind, id }));
        }
    }

    /// The code for one more message. Not once the order is out, or on its way out; but for a new one, which has replaced the one
    /// that its recipient knows, and must not get lost where the door stands open for somebody else.
    pub(super) fn shown(&mut self, turn: &mut Turn<'_>, at: &OrderRef, shown: Shown) {
        if shown.kind == NotificationKind::DepositCode {
            return self.deposit_code_shown(turn, at, shown);
        }
        let is_new = shown.kind == NotificationKind::PickupCode;
        let waits = |order: &&Order| {
            matches!(order.state, OrderState::Stored | OrderState::Overdue)
                || is_new && matches!(order.state, OrderState::Collecting | OrderState::Disputed)
        };
        let Some(order) = self.rows.get(at).filter(waits) else {
            return;
        };
        let first = is_new && !order.notified;
        let Shown { kind, id, compartment, place, code, qr } = shown;
        let (kind, compartment) = (Some(kind), Some(compartment));
        let row = NotificationRow { id, kind, compartment, place, code, qr, ..Self::message(order, turn.now) };
        if first && let Some(order) = self.rows.get_mut(at) {
            // It was in a bundle before.
            order.notified = true;
            self.put_row(turn, at);
        }
        self.notify(turn, at, row);
    }
}
