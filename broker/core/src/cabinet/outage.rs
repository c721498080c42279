//! Times when the cabinet could not open: a lock board does not answer. Windows may stand still as long as that.
//!
//! Which board moves which door is in the cabinet's settings, and the fleet does not know it. So one silent board counts for
//! all that is inside: nobody loses time because of a door that did not open.

use schemas::messages::{FleetMillis, OrderKey};

use crate::cabinet::Cabinet;
use crate::cabinet::events::When;
use crate::cabinet::records::Outage;
use crate::intents::{Intent, Resumed, Stalled};
use crate::turn::Turn;

/// Most boards of a cabinet that are told apart. An RS-485 bus has no more addresses.
const BOARDS_MAX: usize = 256;

impl Cabinet {
    /// A board stopped to answer, or answers again.
    pub(super) fn board_health(&mut self, turn: &mut Turn<'_>, when: When, board: u32, answering: bool) {
        let Some(outage) = &mut self.progress.outage else {
            if !answering {
                let since = when.at.min(turn.now);
                self.progress.outage = Some(Outage { since, boards: vec![board] });
                self.stall(turn, since);
            }
            return;
        };
        if !answering {
            if !outage.boards.contains(&board) && outage.boards.len() < BOARDS_MAX {
                outage.boards.push(board);
            }
            return;
        }
        outage.boards.retain(|silent| *silent != board);
        if outage.boards.is_empty() {
            self.outage_over(turn, when.at);
        }
    }

    /// All boards answer, or the agent was started again and says anew which do not.
    pub(super) fn outage_over(&mut self, turn: &mut Turn<'_>, at: FleetMillis) {
        if self.progress.outage.take().is_none() {
            return;
        }
        let at = at.min(turn.now);
        for order in self.stored_orders() {
            turn.send(Intent::to_order(&self.at, &order, Resumed { at }));
        }
    }

    /// An order that was stored while a board is silent waits like the others.
    pub(super) fn stall_one(&self, turn: &mut Turn<'_>, order: &OrderKey) {
        if let Some(outage) = &self.progress.outage {
            turn.send(Intent::to_order(&self.at, order, Stalled { at: outage.since }));
        }
    }

    fn stall(&self, turn: &mut Turn<'_>, at: FleetMillis) {
        for order in self.stored_orders() {
            turn.send(Intent::to_order(&self.at, &order, Stalled { at }));
        }
    }

    fn stored_orders(&self) -> Vec<OrderKey> {
        self.booked.values().filter(|booked| booked.loaded.is_some()).map(|booked| booked.order.clone()).collect()
    }
}
