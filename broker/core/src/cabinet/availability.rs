//! What is free for new orders: said when it changes, and when somebody asks.

use std::collections::BTreeMap;

use schemas::api::{Availability, FreeCompartments};
use schemas::messages::{Attributes, Size};
use schemas::topics::Live;

use crate::cabinet::{Cabinet, Link};
use crate::rows::json;
use crate::turn::Turn;

impl Cabinet {
    pub(crate) fn availability(&self) -> Availability {
        let mut free: BTreeMap<(Size, [bool; 3]), FreeCompartments> = BTreeMap::new();
        for info in self.free_compartments() {
            let Attributes { refrigerated, restricted, accessible } = info.attributes;
            let (size, offers) = (info.size, info.attributes.into());
            let kind = free.entry((size, [refrigerated, restricted, accessible]));
            kind.or_insert(FreeCompartments { size, offers, count: 0 }).count += 1;
        }
        let cabinet = self.at.cabinet.clone();
        Availability { cabinet, online: self.is_online(), free: free.into_values().collect() }
    }

    /// After whatever may have changed it. What was said last is known for this run only: the first word of a run is news.
    pub(crate) fn tell_availability(&mut self, turn: &mut Turn<'_>) {
        if self.link == Link::Silent {
            // It is about to say what it has.
            return;
        }
        let now = self.availability();
        if self.available.as_ref() != Some(&now) {
            self.live(turn, Live::Availability, json(&now));
            self.available = Some(now);
        }
    }
}
