//! "My order is not here": the word of whoever has the order's credential. It opens nothing; somebody looks after it.

use schemas::messages::{Compartment, CredentialId, OrderKey, Reported};

use crate::ScreenNote;
use crate::core::CabinetCore;
use crate::turn::Turn;

/// How long after its door moved, or its code was refused, an order can be reported at the screen.
pub const REPORT_MILLIS: u64 = 120_000;
/// Orders that can be reported at one time: a driver has many.
const REPORTS_MAX: usize = 64;

#[derive(Debug)]
struct Reportable {
    order: OrderKey,
    credential: CredentialId,
    compartment: Option<Compartment>,
    until: u64,
    told: bool,
}

/// Of this run only: after a power cut nobody stands at the same screen any more, and staff can be asked.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    /// The newest last.
    orders: Vec<Reportable>,
}

impl Reports {
    fn admit(&mut self, now: u64, order: OrderKey, credential: CredentialId, compartment: Option<Compartment>) {
        self.orders.retain(|held| now < held.until);
        let before = self.orders.iter().position(|held| held.order == order).map(|at| self.orders.remove(at));
        if self.orders.len() >= REPORTS_MAX {
            self.orders.remove(0);
        }
        // Once for each order, however often its code is typed.
        let told = before.as_ref().is_some_and(|before| before.told);
        let compartment = compartment.or(before.and_then(|before| before.compartment));
        self.orders.push(Reportable { order, credential, compartment, until: now + REPORT_MILLIS, told });
    }
}

impl CabinetCore {
    /// The door was opened by the order's credential, or closed after that.
    pub(crate) fn may_be_reported(
        &mut self,
        now: u64,
        order: &OrderKey,
        credential: CredentialId,
        compartment: Compartment,
    ) {
        self.reports.admit(now, order.clone(), credential, Some(compartment));
    }

    /// The credential has opened its order before: for whoever types it now, somebody else was there.
    pub(crate) fn used_before(&mut self, now: u64, credential: CredentialId) {
        let opened = self.book.credential(&credential).and_then(|row| row.opened.clone());
        if let Some(order) = opened {
            self.reports.admit(now, order, credential, None);
        }
    }

    /// `at`: the door that was opened; without it, the order of the code that was refused last.
    pub(crate) fn handle_report(&mut self, turn: &mut Turn, at: Option<Compartment>) {
        let wanted = |held: &&mut Reportable| turn.now < held.until && at.is_none_or(|at| held.compartment == Some(at));
        let Some(held) = self.reports.orders.iter_mut().rev().find(wanted) else { return };
        let (order, credential, compartment) = (held.order.clone(), held.credential, held.compartment);
        let told = std::mem::replace(&mut held.told, true);
        turn.note(ScreenNote::Reported { order: order.clone(), compartment });
        if told {
            return;
        }
        self.record(turn, Reported { order: order.clone(), compartment, credential });
        // What is in there is nobody's order, or somebody else's.
        if let Some(compartment) = compartment {
            self.require_audit(turn, compartment, Some(order));
        }
    }
}
