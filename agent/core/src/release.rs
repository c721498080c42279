//! A second factor for restricted goods: the credential of such an order opens nothing alone. Whoever has shown it is waited for,
//! and staff at the screen, who look at the person or at a paper, let them in.
//!
//! What waits is in memory only: after a power cut the code is entered again. The name of whoever released it is journalled with
//! the use of the door, in one step.

use schemas::messages::{Compartment, CredentialId, OrderKey, Released};
use serde::Serialize;

use crate::core::CabinetCore;
use crate::entry::valid;
use crate::records::CollectUse;
use crate::turn::Turn;
use crate::uses::PERSON_MILLIS;
use crate::{EntryRefusal, ScreenNote, SessionId, StaffRefusal};

/// How long whoever has shown a credential is waited for to be released.
pub const RELEASE_MILLIS: u64 = 120_000;
/// As many orders as one credential has.
const ASKED_MAX: usize = 64;

/// Somebody stands there with the right code of an order that staff have to release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AskedRelease {
    pub order: OrderKey,
    pub compartment: Compartment,
}

#[derive(Debug)]
struct Asked {
    order: OrderKey,
    credential: CredentialId,
    compartment: Compartment,
    until: u64,
}

/// The newest last.
#[derive(Debug, Default)]
pub(crate) struct Releases(Vec<Asked>);

impl Releases {
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.0.iter().map(|asked| asked.until).min()
    }

    pub(crate) fn end_due(&mut self, now: u64) {
        self.0.retain(|asked| now < asked.until);
    }

    fn ask(&mut self, asked: Asked) {
        self.0.retain(|held| held.order != asked.order);
        if self.0.len() >= ASKED_MAX {
            self.0.remove(0);
        }
        self.0.push(asked);
    }

    fn take(&mut self, order: &OrderKey, now: u64) -> Option<Asked> {
        let at = self.0.iter().position(|asked| asked.order == *order && now < asked.until)?;
        Some(self.0.remove(at))
    }
}

impl CabinetCore {
    /// The right credential of these orders was shown, and staff have to say the rest.
    pub(crate) fn ask_release(
        &mut self,
        turn: &mut Turn,
        credential: CredentialId,
        guarded: Vec<(Compartment, OrderKey)>,
    ) {
        if guarded.is_empty() {
            return;
        }
        let compartments = guarded.iter().map(|(compartment, _)| *compartment).collect();
        let until = turn.now + RELEASE_MILLIS;
        for (compartment, order) in guarded {
            self.releases.ask(Asked { order, credential, compartment, until });
        }
        turn.note(ScreenNote::AskRelease { compartments });
    }

    /// What staff can release now.
    pub fn asked_releases(&self) -> Vec<AskedRelease> {
        let asked = self.releases.0.iter().filter(|asked| self.now < asked.until);
        asked.map(|asked| AskedRelease { order: asked.order.clone(), compartment: asked.compartment }).collect()
    }

    pub(crate) fn handle_release(&mut self, turn: &mut Turn, session: SessionId, order: &OrderKey) {
        if let Err(reason) = self.release(turn, session, order) {
            turn.note(ScreenNote::StaffRefused { session, reason });
        }
    }

    /// All that held when the credential was shown has to hold still.
    fn release(&mut self, turn: &mut Turn, session: SessionId, order: &OrderKey) -> Result<(), StaffRefusal> {
        let staff = self.staff(session, turn.now)?;
        let Asked { credential, .. } = self.releases.take(order, turn.now).ok_or(StaffRefusal::NobodyAsks)?;
        let row = self.book.credential(&credential).ok_or(StaffRefusal::NobodyAsks)?;
        let right = valid(row).and_then(|()| self.right_to(row, order, turn.now));
        let is_held = row.orders.contains(order);
        let behind = right.and_then(|()| self.behind_one(order).map_err(|(why, _)| why));
        let compartment = match behind {
            Ok(compartment) if is_held => compartment,
            Err(EntryRefusal::Busy) => return Err(StaffRefusal::Busy),
            Ok(_) | Err(_) => return Err(StaffRefusal::NobodyAsks),
        };
        self.record(turn, Released { order: order.clone(), compartment, credential, staff: staff.clone() });
        turn.note(ScreenNote::Released { session, order: order.clone(), compartment });
        let purpose = CollectUse { credential, order: order.clone(), app: None, released: Some(staff) }.into();
        self.start_use(turn, compartment, purpose, turn.now + PERSON_MILLIS, 1);
        Ok(())
    }
}
