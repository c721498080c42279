//! The break-glass code: lets staff in once, at a cabinet that the fleet does not reach.
//!
//! It has too many digits to be guessed, so no lockout keeps it out. It is used up when its session ends; one that a power
//! cut has ended may be begun again, as often as a door may be tried.

use schemas::cbor::Blob;
use schemas::crypto::codes::at_rest;
use schemas::ids::Name;
use schemas::messages::{
    BREAK_GLASS_NAME, BreakGlass, BreakGlassUsed, CredentialId, CredentialKind, CredentialRefused, RefusalReason,
    Verifier,
};

use crate::book::Binding;
use crate::core::CabinetCore;
use crate::records::GlassRow;
use crate::turn::Turn;
use crate::{DeviceKey, EntryRefusal, EntryResult};

/// Sessions of one code: the first, and those of whoever lost one to a power cut or a page that began anew.
const BEGUN_MAX: u32 = 3;
/// Used codes that are remembered: a fleet that was put back may send one of them again.
const BROKEN_MAX: usize = 8;

/// The code in force, and those that were used.
#[derive(Debug, Clone)]
pub(crate) struct Glass {
    held: Option<GlassRow>,
    broken: Vec<GlassRow>,
}

impl Glass {
    pub(crate) fn open(held: Option<GlassRow>, broken: Option<Vec<GlassRow>>) -> Self {
        Self { held, broken: broken.unwrap_or_default() }
    }

    pub(crate) fn rows(&self) -> (Option<GlassRow>, Option<Vec<GlassRow>>) {
        (self.held.clone(), (!self.broken.is_empty()).then(|| self.broken.clone()))
    }

    /// A book says which code is in force. One that was used stays used, whatever the book says.
    pub(crate) fn put(&mut self, told: Option<BreakGlass>, binding: &Binding<'_>) -> Result<(), RefusalReason> {
        let Some(told) = told else {
            self.drop_held();
            return Ok(());
        };
        if told.pepper != binding.pepper {
            return Err(RefusalReason::WrongBase);
        }
        let begun = match &self.held {
            Some(held) if held.id == told.id => held.begun,
            Some(_) | None => {
                self.drop_held();
                0
            }
        };
        if self.broken.iter().all(|broken| broken.id != told.id) {
            let at_rest = Blob(at_rest(&binding.device_key.0, &told.verifier).to_vec());
            self.held = Some(GlassRow { id: told.id, at_rest, begun });
        }
        Ok(())
    }

    /// It is in force no longer. One that somebody came in by is remembered.
    pub(crate) fn drop_held(&mut self) {
        let Some(held) = self.held.take().filter(|held| held.begun > 0) else { return };
        self.broken.push(held);
        if self.broken.len() > BROKEN_MAX {
            self.broken.remove(0);
        }
    }

    fn find(&self, device_key: &DeviceKey, verifier: &Verifier) -> Option<Found> {
        let wanted = at_rest(&device_key.0, verifier);
        match &self.held {
            Some(held) if held.at_rest.0 == wanted && held.begun < BEGUN_MAX => Some(Found::InForce),
            held => {
                let mut used = self.broken.iter().chain(held);
                used.find(|row| row.at_rest.0 == wanted).map(|row| Found::Used(row.id))
            }
        }
    }
}

enum Found {
    InForce,
    Used(CredentialId),
}

impl CabinetCore {
    /// What becomes of an entry, if it is a break-glass code.
    pub(crate) fn enter_by_break_glass(
        &mut self,
        turn: &mut Turn,
        verifier: &Verifier,
        kind: CredentialKind,
    ) -> Option<EntryResult> {
        if kind.is_typed() {
            return None;
        }
        match self.book.glass.find(&self.config.device_key, verifier)? {
            Found::InForce => self.break_glass(turn),
            Found::Used(id) => {
                let reason = RefusalReason::Used;
                if self.refusals.admit_credential(id, reason, turn.now) {
                    self.record(turn, CredentialRefused { id, reason });
                }
                Some(EntryResult::Refused(EntryRefusal::Used))
            }
        }
    }

    /// Counted on disk before anybody is let in.
    fn break_glass(&mut self, turn: &mut Turn) -> Option<EntryResult> {
        let name: Name = BREAK_GLASS_NAME.parse().ok()?;
        let held = self.book.glass.held.as_mut()?;
        held.begun += 1;
        let used = BreakGlassUsed { id: held.id, begun: held.begun };
        let id = held.id;
        self.book.save_row(turn);
        self.record(turn, used);
        self.end_for_another(turn, id);
        Some(self.begin_session(turn, name, Some(id)))
    }

    /// Its session ended in order: the code is used up.
    pub(crate) fn break_glass_over(&mut self, turn: &mut Turn, id: CredentialId) {
        // The fleet may have put another one in force meanwhile.
        if self.book.glass.held.as_ref().is_some_and(|held| held.id == id) {
            self.book.glass.drop_held();
            self.book.save_row(turn);
        }
    }
}
