//! Orders that staff began at this cabinet's screen.

use schemas::messages::{OrderKey, WalkIn};

use crate::cabinet::Cabinet;
use crate::cabinet::events::When;
use crate::cabinet::records::Booked;
use crate::cabinet::reservations::BOOKED_MAX;
use crate::intents::{Dropped, Intent, Reserve, WalkedIn};
use crate::turn::Turn;

impl Cabinet {
    /// Takes the order into the book as the cabinet has it, and makes it known.
    pub(super) fn walked_in(&mut self, turn: &mut Turn<'_>, when: When, began: WalkIn) {
        let WalkIn { order, size, category, wants, phone, staff: _, courier: _ } = began;
        // Else a cabinet that is in wrong hands could begin an order in the name of a backend.
        if !order.is_walk_in() {
            return turn.alarm_of(&self.at, format!("cabinet {} began order {order}, which is no walk-in", self.at));
        }
        if !self.booked.contains_key(&order) {
            // The cabinet keeps to its own bound; one that does not has a fault, or is in wrong hands.
            if self.booked.len() >= 2 * BOOKED_MAX {
                return turn
                    .alarm_of(&self.at, format!("cabinet {} has too many orders: {order} is not taken", self.at));
            }
            self.book(
                turn,
                Reserve {
                    order: order.clone(),
                    size,
                    category,
                    wants,
                    hold: None,
                    staff_release: None,
                    deposit: None,
                    part: None,
                    factor: None,
                    shares: None,
                },
            );
            self.put_booked(turn, &order);
            let change = self.booked.get(&order).map(Booked::change);
            self.append(turn, change.into_iter().collect());
        }
        let instance = self.registration.instance;
        let (at, time_unverified) = (when.at, when.unverified);
        let began = WalkedIn { size, category, wants, sealed: phone, instance, at, time_unverified };
        turn.send(Intent::to_order(&self.at, &order, began));
    }

    pub(super) fn walk_in_dropped(&mut self, turn: &mut Turn<'_>, when: When, order: &OrderKey) {
        if order.is_walk_in() {
            let dropped = Dropped { at: when.at, time_unverified: when.unverified };
            turn.send(Intent::to_order(&self.at, order, dropped));
        }
    }
}
