//! What people do beside the everyday: they have a chance of their own, so that schedules which are kept as files stay what
//! they are.

use super::ledger::Cab;
use super::schedule::Pace;
use super::world::{CABS, Happening, World};

/// How often it is drawn, its name, and what is done, perhaps at this cabinet.
type Deed = (u64, &'static str, fn(&mut World, Cab));

const DEEDS: &[Deed] = &[
    (3, "backend puts a whole", |world, _| world.backend_puts_whole()),
    (1, "backend changes a whole", |world, _| world.backend_changes_whole()),
    (2, "customer of a whole comes", |world, _| world.customer_of_whole_comes()),
    (4, "staff load a whole", World::staff_load_wholes),
    (2, "staff begin an order", World::staff_begin_walk_in),
    (1, "staff give an order up", World::staff_drop_walk_in),
    (1, "operator ends an order", |world, _| world.operator_closes()),
    (4, "operator sends somebody", World::operator_sends_somebody),
    (3, "staff exchange orders", World::staff_swap),
    (1, "staff clean", World::staff_clean),
    (1, "staff open all doors", World::staff_open_all),
    (2, "backend puts for a site", |world, _| world.backend_puts_for_site()),
    (5, "orders share a compartment", World::somebody_shares),
];

/// What of this the deeds leave over is for those to come: one more changes no schedule that is kept.
const DRAWN: u64 = 32;

impl World {
    pub(super) fn others_act(&mut self) {
        if !self.rough {
            return;
        }
        let rest = if self.pace == Pace::Busy { 25 } else { 6 };
        let wait = if self.dice.one_in(rest) { self.draw_wait(20_000, 900_000) } else { self.draw_wait(250, 18_000) };
        self.later(wait, Happening::OthersAct);
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
}
