//! Staff and couriers at this cabinet: their PINs and badges as verifiers, and the changes of the book that put and drop them.
//!
//! Couriers are in the books of cabinets only whose agents know them: another one would refuse the whole book. They are kept
//! here all the same, and go out with the first hello that says so.

use std::collections::BTreeMap;

use schemas::cbor::Blob;
use schemas::ids::Name;
use schemas::messages::{
    BookChange, CredentialId, CredentialKind, DropCourier, DropStaff, PutCourier, PutStaff, Verifier,
};
use schemas::step::Table;

use crate::cabinet::Cabinet;
use crate::cabinet::records::{Badge, StaffAt};
use crate::intents::Employ;
use crate::jobs::Job;
use crate::signing::SecretMade;
use crate::staff::Crew;
use crate::tables::{COURIERS_AT, STAFF_AT};
use crate::turn::Turn;

const CREWS: [Crew; 2] = [Crew::Staff, Crew::Couriers];

impl Cabinet {
    pub(super) fn crew_mut(&mut self, crew: Crew) -> &mut BTreeMap<Name, StaffAt> {
        match crew {
            Crew::Staff => &mut self.staff,
            Crew::Couriers => &mut self.couriers,
        }
    }

    fn crew(&self, crew: Crew) -> &BTreeMap<Name, StaffAt> {
        match crew {
            Crew::Staff => &self.staff,
            Crew::Couriers => &self.couriers,
        }
    }

    fn everybody(&self) -> impl Iterator<Item = (Crew, &StaffAt)> {
        CREWS.into_iter().flat_map(|crew| self.crew(crew).values().map(move |member| (crew, member)))
    }

    /// Whether its agent takes a book with these in it.
    fn takes(&self, crew: Crew) -> bool {
        match crew {
            Crew::Staff => true,
            Crew::Couriers => self.said.couriers == Some(true),
        }
    }

    fn put_member(&self, turn: &mut Turn<'_>, crew: Crew, name: &Name) {
        let key = self.at.key_of(name.as_str());
        match self.crew(crew).get(name) {
            Some(member) => turn.put(table(crew), key, member),
            None => turn.remove(table(crew), key),
        }
    }

    /// Takes a member of staff or a courier, or a new PIN of one.
    pub(super) fn employ(&mut self, turn: &mut Turn<'_>, crew: Crew, employ: Employ) {
        let Employ { name, serial, sealed, until, badge } = employ;
        if self.crew(crew).get(&name).is_some_and(|held| held.gone.is_none() && held.serial >= serial) {
            return;
        }
        let id = CredentialId(turn.draw());
        let badge = badge.map(|sealed| Badge { sealed, id: CredentialId(turn.draw()), verifier: None });
        let member =
            StaffAt { name: name.clone(), serial, sealed, id, verifier: None, pepper: 0, until, badge, gone: None };
        self.crew_mut(crew).insert(name.clone(), member);
        self.put_member(turn, crew, &name);
        turn.want(Job::Secrets(self.at.clone()));
    }

    /// PIN and badge die here with the next book. An agent that knows no couriers is told nothing of one: should it know them
    /// later, it gets a whole book.
    pub(super) fn dismiss(&mut self, turn: &mut Turn<'_>, crew: Crew, name: Name) {
        if self.crew(crew).get(&name).is_none_or(|held| held.gone.is_some()) {
            return;
        }
        if self.takes(crew) {
            let version = self.append(turn, vec![drop_of(crew, name.clone())]);
            if let Some(member) = self.crew_mut(crew).get_mut(&name) {
                member.gone = Some(version);
            }
        } else {
            self.crew_mut(crew).remove(&name);
        }
        self.put_member(turn, crew, &name);
    }

    /// The cabinet holds `version`: who was dismissed with it is gone there.
    pub(super) fn forget_dismissed(&mut self, turn: &mut Turn<'_>, version: u64) {
        for crew in CREWS {
            let gone = |held: &&StaffAt| held.gone.is_some_and(|gone| gone <= version);
            let names: Vec<Name> = self.crew(crew).values().filter(gone).map(|held| held.name.clone()).collect();
            for name in names {
                self.crew_mut(crew).remove(&name);
                self.put_member(turn, crew, &name);
            }
        }
    }

    /// Those of whom this cabinet does not hold the newest yet; true for those who are to be gone.
    pub(crate) fn pending(&self, crew: Crew) -> impl Iterator<Item = (&Name, bool)> {
        let put = move |name: &Name| {
            let mut changes = self.sets.values().flat_map(|set| &set.changes);
            changes.any(|change| match change {
                BookChange::PutStaff(put) => crew == Crew::Staff && put.name == *name,
                BookChange::PutCourier(put) => crew == Crew::Couriers && put.name == *name,
                BookChange::PutOrder(_)
                | BookChange::DropOrder(_)
                | BookChange::PutCredential(_)
                | BookChange::DropCredential(_)
                | BookChange::DropStaff(_)
                | BookChange::Rules(_)
                | BookChange::PutDeposit(_)
                | BookChange::PutGuarded(_)
                | BookChange::DropCourier(_) => false,
            })
        };
        self.crew(crew).values().filter_map(move |held| match (held.gone, self.change_of(crew, held)) {
            (Some(_), _) => Some((&held.name, true)),
            (None, None) => Some((&held.name, false)),
            (None, Some(_)) => put(&held.name).then_some((&held.name, false)),
        })
    }

    /// PIN and badge together, or nothing while one has no verifier, or the agent does not know such a change.
    fn change_of(&self, crew: Crew, held: &StaffAt) -> Option<BookChange> {
        let StaffAt { name, id, verifier, pepper, until, badge, gone: None, .. } = held else { return None };
        let badge = match badge {
            Some(badge) => Some(badge.verifier?),
            None => None,
        };
        let (id, name, verifier, pepper, until) = (*id, name.clone(), (*verifier)?, *pepper, *until);
        let own_pepper = self.said.pepper.as_ref().map(|own| own.version);
        if crew == Crew::Couriers && own_pepper != Some(pepper) {
            // The cabinet would refuse the whole book.
            return None;
        }
        let change = match crew {
            Crew::Staff => PutStaff { name, verifier, pepper, until, badge }.into(),
            Crew::Couriers => PutCourier { id, name, verifier, pepper, until, badge }.into(),
        };
        self.takes(crew).then_some(change)
    }

    /// Of all of them, for a whole book.
    pub(super) fn crew_changes(&self) -> impl Iterator<Item = BookChange> {
        self.everybody().filter_map(|(crew, held)| self.change_of(crew, held))
    }

    /// What the signer has still to derive for this cabinet: ids, kinds and sealed secrets.
    pub(super) fn crew_wanted(&self) -> impl Iterator<Item = (CredentialId, CredentialKind, &Blob)> {
        self.everybody().filter(|(crew, _)| self.takes(*crew)).flat_map(|(_, held)| held.underived())
    }

    pub(super) fn forget_crew_verifiers(&mut self, turn: &mut Turn<'_>) {
        for crew in CREWS {
            for held in self.crew_mut(crew).values_mut() {
                held.verifier = None;
                if let Some(badge) = &mut held.badge {
                    badge.verifier = None;
                }
            }
            self.crew(crew).keys().for_each(|name| self.put_member(turn, crew, name));
        }
    }

    /// The signer cannot open a PIN or a badge.
    pub(super) fn crew_secret_lost(&self, turn: &mut Turn<'_>, id: CredentialId) {
        let of = |held: &StaffAt| held.id == id || held.badge.as_ref().is_some_and(|badge| badge.id == id);
        if let Some((_, held)) = self.everybody().find(|(_, held)| of(held)) {
            let text = format!("cabinet {}: the signer cannot open a sealed secret of {}", self.at, held.name);
            turn.alarm_of(&self.at, text);
        }
    }

    /// Takes the verifier of a PIN or a badge. A PIN that somebody else has as well cannot be in the same book: a courier's
    /// would let in staff.
    pub(super) fn pin_derived(&mut self, turn: &mut Turn<'_>, made: &SecretMade, pepper: u32) -> Option<BookChange> {
        let owns = |held: &StaffAt| {
            held.gone.is_none() && (held.id == made.id || held.badge.as_ref().is_some_and(|badge| badge.id == made.id))
        };
        let (crew, name) =
            self.everybody().find(|(_, held)| owns(held)).map(|(crew, held)| (crew, held.name.clone()))?;
        let taken = self.has_pin(made.id, &made.verifier);
        let held = self.crew_mut(crew).get_mut(&name)?;
        if let Some(badge) = held.badge.as_mut().filter(|badge| badge.id == made.id) {
            badge.verifier = Some(made.verifier);
        } else if taken {
            self.crew_mut(crew).remove(&name);
            self.put_member(turn, crew, &name);
            turn.alarm_of(&self.at, same_pin(&self.at.to_string(), crew, &name));
            return self.takes(crew).then(|| drop_of(crew, name));
        } else {
            (held.verifier, held.pepper) = (Some(made.verifier), pepper);
        }
        self.put_member(turn, crew, &name);
        self.crew(crew).get(&name).and_then(|held| self.change_of(crew, held))
    }

    /// Whether anybody else here has this PIN.
    fn has_pin(&self, id: CredentialId, verifier: &Verifier) -> bool {
        let mut others = self.everybody().filter(|(_, other)| other.gone.is_none() && other.id != id);
        others.any(|(_, other)| other.verifier.as_ref() == Some(verifier))
    }

    /// A hello has said whether its agent knows couriers; `knew`: what the one before said.
    ///
    /// One that does not any more takes no book with one. One that does again may hold couriers who were removed meanwhile.
    pub(super) fn compare_couriers(&mut self, turn: &mut Turn<'_>, knew: Option<bool>) {
        let is_of_couriers = |change: &BookChange| match change {
            BookChange::PutCourier(_) | BookChange::DropCourier(_) => true,
            BookChange::PutOrder(_)
            | BookChange::DropOrder(_)
            | BookChange::PutCredential(_)
            | BookChange::DropCredential(_)
            | BookChange::PutStaff(_)
            | BookChange::DropStaff(_)
            | BookChange::Rules(_)
            | BookChange::PutDeposit(_)
            | BookChange::PutGuarded(_) => false,
        };
        let waiting = || self.sets.values().flat_map(|set| &set.changes).any(is_of_couriers);
        match (knew, self.said.couriers) {
            (Some(false), Some(true)) => self.snapshot(turn),
            // The fleet itself was of an older version in between, and has told the cabinet of no courier.
            (None, Some(true)) if self.couriers.values().any(|held| held.verifier.is_some()) => {
                self.forget_crew_verifiers(turn);
                turn.want(Job::Secrets(self.at.clone()));
                self.snapshot(turn);
            }
            (Some(true), Some(false)) if waiting() => self.snapshot(turn),
            (None | Some(_), None | Some(_)) => {}
        }
    }
}

fn table(crew: Crew) -> Table {
    match crew {
        Crew::Staff => STAFF_AT,
        Crew::Couriers => COURIERS_AT,
    }
}

fn drop_of(crew: Crew, name: Name) -> BookChange {
    match crew {
        Crew::Staff => DropStaff { name }.into(),
        Crew::Couriers => DropCourier { name }.into(),
    }
}

fn same_pin(at: &str, crew: Crew, name: &Name) -> String {
    let (who, again) = match crew {
        Crew::Staff => ("two members of staff have the same PIN, that", "fleet staff add"),
        Crew::Couriers => ("a courier has the PIN of somebody else, that", "fleet courier add"),
    };
    format!("cabinet {at}: {who} of {name} does not work there: `{again} {name}` makes another")
}
