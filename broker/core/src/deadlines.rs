//! What is due when: one ordered index, however many cabinets and orders there are.

use std::collections::{BTreeMap, BTreeSet};

use schemas::ids::{Name, TenantId};
use schemas::messages::{CommandId, CredentialKind, FleetMillis};

use crate::jobs::Job;
use crate::staff::Crew;
use crate::tables::CabinetRef;

/// Something that is due at a moment. Each has at most one moment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    /// Intents and jobs were found in the store at start.
    Start,
    /// A job that the signer failed at is to be asked for again.
    Retry(Job),
    /// The cabinet is to hear the fleet's time again.
    Time(CabinetRef),
    /// A challenge for this unlock should have come.
    Asked(CabinetRef, CommandId),
    /// The outcome of this unlock should have come.
    Unlocked(CabinetRef, CommandId),
    /// A challenge for the person with this ticket should have come.
    Challenge(CabinetRef, u64),
    /// A break-glass code that somebody was shown is to be replaced.
    BreakGlass(CabinetRef),
    /// A cabinet that is to be wiped should have answered.
    Wipe(CabinetRef),
    /// A PIN or a badge should have been made.
    Pin(Crew, TenantId, Name, CredentialKind),
    /// A reminder is to be sent, or the window of an order ends: the first of all.
    Window,
    /// Walk-ins whose recipients were not told may be told now.
    WalkIns,
    /// Stored orders of the tenant are being moved to its newest policies.
    Sweep(TenantId),
    /// The order that was finished first is to be forgotten.
    Retention,
    /// A message to a person is to be sent, or to be looked at: the first of all.
    Messages,
}

#[derive(Default)]
pub(crate) struct Deadlines {
    ordered: BTreeSet<(FleetMillis, Deadline)>,
    moments: BTreeMap<Deadline, FleetMillis>,
}

impl Deadlines {
    /// Sets or moves a deadline.
    pub(crate) fn set(&mut self, deadline: Deadline, at: FleetMillis) {
        self.clear(&deadline);
        self.moments.insert(deadline.clone(), at);
        self.ordered.insert((at, deadline));
    }

    pub(crate) fn clear(&mut self, deadline: &Deadline) {
        if let Some((deadline, at)) = self.moments.remove_entry(deadline) {
            self.ordered.remove(&(at, deadline));
        }
    }

    pub(crate) fn first(&self) -> Option<FleetMillis> {
        self.ordered.first().map(|(at, _)| *at)
    }

    /// Takes the earliest deadline that is due.
    pub(crate) fn pop_due(&mut self, now: FleetMillis) -> Option<Deadline> {
        self.ordered.first().filter(|(at, _)| *at <= now)?;
        let (_, deadline) = self.ordered.pop_first()?;
        self.moments.remove(&deadline);
        Some(deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_moves_is_due_once_at_its_new_time() {
        let mut deadlines = Deadlines::default();
        deadlines.set(Deadline::Retention, 10);
        deadlines.set(Deadline::Start, 15);
        deadlines.set(Deadline::Retention, 20);
        assert_eq!(deadlines.first(), Some(15));
        assert_eq!(deadlines.pop_due(14), None);
        assert_eq!(deadlines.pop_due(30), Some(Deadline::Start));
        assert_eq!(deadlines.pop_due(30), Some(Deadline::Retention));
        assert_eq!((deadlines.pop_due(30), deadlines.first()), (None, None));
    }
}
