//! Compartments of which nobody is sure what is in them: they get no new order until a person has looked, or until fleet and
//! cabinet agree again.

use schemas::messages::{Audited, Compartment, CompartmentState, Finding, Occupancy, OrderKey};

use crate::cabinet::Cabinet;
use crate::cabinet::events::When;
use crate::cabinet::records::Inside;
use crate::intents::OrderFact;
use crate::turn::Turn;

impl Cabinet {
    pub(super) fn audit_required(&mut self, turn: &mut Turn<'_>, compartment: Compartment) {
        let inside = self.inside.get(&compartment).cloned().unwrap_or_default();
        self.set_inside(turn, compartment, Inside { audit_required: true, ..inside });
        turn.alarm_of(&self.at, format!("cabinet {}: compartment {compartment} needs a look", self.at));
        self.drop_lost_reservations(turn);
    }

    /// Staff have looked: a doubt about the compartment ends, or begins.
    pub(super) fn audited(&mut self, turn: &mut Turn<'_>, when: When, audited: Audited) {
        let Audited { compartment, found, .. } = audited;
        let inside = self.inside.get(&compartment).cloned().unwrap_or_default();
        match (found, audited.order) {
            (Finding::AsBooked, order) => {
                // What the cabinet's book says is what this one should say.
                let audit_required = match &order {
                    Some(order) => !inside.holds(order),
                    None => inside.order.is_some(),
                };
                let claimed = inside.claimed.filter(|_| order.is_some());
                self.set_inside(turn, compartment, Inside { audit_required, claimed, ..inside });
            }
            (Finding::Missing, Some(order)) => {
                let left = self.left_without(&order, compartment);
                // They say of each whether it is there.
                let audit_required = left.order.is_some();
                self.set_inside(turn, compartment, Inside { audit_required, ..left });
                self.missing(turn, &order);
                self.tell_order(turn, when, &order, compartment, OrderFact::Missing);
                turn.alarm_of(
                    &self.at,
                    format!("cabinet {}: order {order} is missing from compartment {compartment}", self.at),
                );
            }
            (Finding::Occupied | Finding::Missing, _) => {
                self.set_inside(turn, compartment, Inside { audit_required: true, ..inside });
                let what = "holds something that is in no book";
                turn.alarm_of(&self.at, format!("cabinet {}: compartment {compartment} {what}", self.at));
            }
        }
        self.drop_lost_reservations(turn);
    }

    /// What is in the compartment behind whoever has looked after this order there, and so has ended a doubt.
    pub(super) fn left_without(&self, order: &OrderKey, compartment: Compartment) -> Inside {
        let Some(held) = self.inside.get(&compartment) else { return Inside::default() };
        let left = if held.holds(order) { held.without(order) } else { Inside::claimed(held.claimed) };
        Inside { audit_required: false, ..left }
    }

    /// A person opened and closed the door of a doubtful compartment that should be empty, and the sensor agrees.
    pub(super) fn closed(&mut self, turn: &mut Turn<'_>, compartment: Compartment, occupancy: Occupancy) {
        let Some(inside) = self.inside.get(&compartment) else { return };
        if occupancy == Occupancy::Empty && inside.audit_required && inside.order.is_none() {
            self.set_inside(turn, compartment, Inside::claimed(inside.claimed));
            self.fill_waiting(turn);
        }
    }

    /// The cabinet has told all its events: what it had in these without the knowledge of the fleet is out.
    pub(super) fn freed(&mut self, turn: &mut Turn<'_>, states: &[CompartmentState]) {
        let claimed = |at: &Compartment| self.inside.get(at).filter(|held| held.is_claimed()).cloned();
        let free = states.iter().filter(|state| !state.allocated).map(|state| state.number);
        for (at, held) in free.filter_map(|at| Some((at, claimed(&at)?))).collect::<Vec<_>>() {
            self.set_inside(turn, at, Inside { claimed: None, ..held });
            self.fill_waiting(turn);
        }
    }

    /// A door did not open for somebody. What is behind it waits for help.
    pub(super) fn door_fault(&self, turn: &mut Turn<'_>, compartment: Compartment, text: &str) {
        let inside = self.inside.get(&compartment).into_iter().flat_map(Inside::orders);
        let inside: Vec<_> = inside.map(OrderKey::to_string).collect();
        let behind = if inside.is_empty() { String::new() } else { format!(", behind it: {}", inside.join(", ")) };
        turn.alarm_of(&self.at, format!("cabinet {}: {text}{behind}", self.at));
    }

    /// A compartment whose lock is at fault is offered to nobody, and what was to go there goes elsewhere.
    pub(super) fn hear_of_faults(&mut self, turn: &mut Turn<'_>, states: &[CompartmentState]) {
        let faulty = states.iter().filter(|state| state.fault == Some(true)).map(|state| state.number).collect();
        let before = std::mem::replace(&mut self.faulty, faulty);
        if self.faulty.difference(&before).next().is_some() {
            self.drop_lost_reservations(turn);
        }
        if before.difference(&self.faulty).next().is_some() {
            self.fill_waiting(turn);
        }
    }

    /// Something was found that a person has to look at: the compartment gets no new order until then.
    pub(super) fn doubt(&mut self, turn: &mut Turn<'_>, order: &OrderKey, compartment: Compartment) {
        let found = self.inside.get(&compartment).cloned().unwrap_or_default();
        self.set_inside(turn, compartment, Inside { audit_required: true, ..found });
        turn.alarm_of(
            &self.at,
            format!(
                "cabinet {} reports order {order} in compartment {compartment}, where the fleet does not expect it",
                self.at
            ),
        );
    }
}
