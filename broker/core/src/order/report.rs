//! Orders that are not where they should be, by the word of whoever came for them.

use schemas::api::OrderState;

use crate::config::Config;
use crate::intents::Reported;
use crate::order::{Happened, Orders};
use crate::tables::OrderRef;
use crate::turn::Turn;

impl Orders {
    /// A word against the sensors: `collected` says that a door was opened and closed, not that the right person had
    /// something in their hands. What its backend has ended stays ended.
    pub(super) fn reported(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef, said: &Reported) {
        let Some(order) = self.rows.get(at) else { return };
        match order.state {
            OrderState::Stored
            | OrderState::Overdue
            | OrderState::Collecting
            | OrderState::Collected
            | OrderState::CollectedUnconfirmed => {}
            OrderState::Created
            | OrderState::Ready
            | OrderState::Reserved
            | OrderState::Loading
            | OrderState::Cancelled
            | OrderState::Rejected
            | OrderState::Retrieved
            | OrderState::Recalled
            | OrderState::Disputed
            | OrderState::PartlyCollected
            | OrderState::Quarantined => return,
        }
        self.change(turn, at, |order, _| order.compartment = said.compartment.or(order.compartment));
        let when = Happened { at: said.at, unverified: said.time_unverified };
        self.enter(turn, config, at, OrderState::Disputed, when);
    }
}
