//! Windows that stand still while their cabinet could not open.

use schemas::api::OrderState;
use schemas::messages::FleetMillis;

use crate::config::Config;
use crate::intents::Intent;
use crate::order::window::Window;
use crate::order::{Happened, Order, Orders};
use crate::tables::{CabinetRef, OrderRef};
use crate::turn::Turn;

impl Orders {
    /// The cabinet may not be able to open the door, since `since`.
    pub(super) fn stalled(&mut self, turn: &mut Turn<'_>, at: &OrderRef, since: FleetMillis) {
        let news = self.change(turn, at, |order, _| order.window.as_mut().is_some_and(|window| window.pause(since)));
        if news == Some(true) {
            self.put_row(turn, at);
        }
    }

    /// It can again. An order that became overdue before the fleet heard of the outage gets its time back.
    pub(super) fn resumed(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef, since: FleetMillis) {
        let site = self.site_of(at);
        let resumed = self.change(turn, at, |order, _| {
            let window = order.window.as_mut()?;
            let before = window.expires();
            window.resume(since, site.as_deref()).then(|| (window.clone(), window.expires() != before, order.state))
        });
        let Some((window, later, state)) = resumed.flatten() else { return };
        let waits = window.ends > turn.now;
        if state == OrderState::Overdue && waits {
            self.enter(turn, config, at, OrderState::Stored, Happened::now(turn));
        } else if state == OrderState::Stored && waits {
            self.tell_again(turn, at);
        } else {
            self.put_row(turn, at);
        }
        if later {
            self.issue_again(turn, at, &window);
        }
    }

    /// Lets the code that there is end with another window.
    pub(super) fn issue_again(&self, turn: &mut Turn<'_>, at: &OrderRef, window: &Window) {
        // The first code of a walk-in waits until there is somebody to tell it to.
        let held = |order: &&Order| order.walk_in.as_ref().is_some_and(|walk_in| walk_in.told.is_none());
        // One in quarantine has none.
        let waits = |order: &&Order| !held(order) && order.quarantine.is_none();
        if let Some(order) = self.rows.get(at).filter(waits) {
            let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
            if let Some(issue) = order.issue(window, &self.bundles, at) {
                turn.send(Intent::to_cabinet(&cabinet, self.right(at, issue)));
            }
        }
    }
}
