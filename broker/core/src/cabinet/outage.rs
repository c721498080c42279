//! Times when the cabinet could not open: a lock board does not answer, or it had no power. Windows may stand still as long as
//! that.
//!
//! Which board moves which door is in the cabinet's settings, and the fleet does not know it. So one silent board counts for
//! all that is inside: nobody loses time because of a door that did not open.

use schemas::messages::{FleetMillis, OrderKey, Stamp};

use crate::cabinet::Cabinet;
use crate::cabinet::events::When;
use crate::cabinet::records::{Outage, StartedAt};
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
                self.progress.outage = Some(Outage { since, boards: vec![board], started: None });
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
        if outage.boards.is_empty() && outage.started.is_none() {
            self.outage_over(turn, when.at);
        }
    }

    /// The agent was started, and says anew which boards do not answer. Where the machine had no power, nobody could open, and
    /// the time of its start is known only once it has heard the fleet's.
    pub(super) fn started(&mut self, turn: &mut Turn<'_>, stamp: &Stamp, down_since: Option<FleetMillis>) {
        let Some(down_since) = down_since else { return self.outage_over(turn, When::of(stamp, turn.now).at) };
        let before = self.progress.outage.as_ref().map(|outage| outage.since);
        // What the fleet has heard of it is newer where its disk is of an earlier day.
        let alive = self.seen_before.map_or(down_since, |seen| seen.max(down_since));
        let since = before.unwrap_or(alive).min(turn.now);
        let started = StartedAt { boot: stamp.boot, boot_millis: stamp.boot_millis };
        self.progress.outage = Some(Outage { since, boards: Vec::new(), started: Some(started) });
        if before.is_none() {
            self.stall(turn, since);
        }
        self.started_when(turn, stamp);
    }

    /// A word with a time: if the cabinet was started in the same run, it tells when.
    pub(super) fn started_when(&mut self, turn: &mut Turn<'_>, stamp: &Stamp) {
        let Some(outage) = &mut self.progress.outage else { return };
        let (Some(started), Some(fleet)) = (&outage.started, stamp.fleet_millis) else { return };
        let at = match stamp.boot == started.boot {
            true => fleet.saturating_sub(stamp.boot_millis.saturating_sub(started.boot_millis)),
            // It was started again since, and has said nothing of the time in between.
            false => fleet,
        };
        outage.started = None;
        if outage.boards.is_empty() {
            let at = at.max(outage.since);
            self.outage_over(turn, at);
        }
        self.put_progress(turn);
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
