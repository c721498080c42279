//! Break-glass codes: an operator shows that of a cabinet that the fleet does not reach, and staff come in by it, once.

use std::collections::BTreeMap;

use cabinet_core::{EntryRefusal, EntryResult, Input, SessionId};
use schemas::cbor;
use schemas::crypto::codes::Secret;
use schemas::messages::{BREAK_GLASS_NAME, CredentialId, Event, Fact};

use super::invariants::{Verdict, ensure};
use super::ledger::{Cab, Ledger, Seen};
use super::screen::Entry;
use super::world::{CABS, World};

/// Sessions of one code: the first, and those of whoever lost one to a power cut.
const BEGUN_MAX: u32 = 3;

/// How often somebody came in by each code of a cabinet, and whether they have left: part of what its store stands for.
pub(super) type Broken = BTreeMap<(Cab, CredentialId), (u32, bool)>;

impl Ledger {
    pub(super) fn glass_of(&self, cab: Cab) -> Broken {
        self.glass.iter().filter(|((of, _), _)| *of == cab).map(|(at, broken)| (*at, *broken)).collect()
    }

    /// The disk of a cabinet is that of then.
    pub(super) fn glass_put_back(&mut self, cab: Cab, then: Broken) {
        self.glass.retain(|(of, _), _| *of != cab);
        self.glass.extend(then);
        self.entered.remove(&cab);
    }

    pub(super) fn glass_broken(&mut self, cab: Cab, id: CredentialId, begun: u32) {
        self.glass.insert((cab, id), (begun, false));
        self.entered.insert(cab, id);
    }

    /// Whoever came in last has left.
    pub(super) fn glass_over(&mut self, cab: Cab) {
        if let Some(id) = self.entered.get(&cab)
            && let Some((_, over)) = self.glass.get_mut(&(cab, *id))
        {
            *over = true;
        }
    }
}

/// A code lets somebody in at its own cabinet, is counted on disk before it does, at most thrice, and never once they have left.
pub(super) fn invariant_break_glass_lets_in_once(ledger: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::EventWritten { cab, record, .. } => {
            let Ok(Fact::BreakGlassUsed(used)) = cbor::decode::<Event>(record).map(|event| event.fact) else {
                return Ok(());
            };
            let (begun, over) = ledger.glass.get(&(*cab, used.id)).copied().unwrap_or_default();
            ensure(!over && used.begun == begun + 1 && used.begun <= BEGUN_MAX, || {
                format!("{used:?} at cabinet {cab}, where it was begun {begun} times before, and over: {over}")
            })
        }
        Seen::GlassAnswered { cab, of, result } => {
            let fine = match result {
                EntryResult::StaffSession { name, .. } => {
                    cab == of && name.as_str() == BREAK_GLASS_NAME && ledger.entered.contains_key(cab)
                }
                EntryResult::Refused(EntryRefusal::Used) => cab == of,
                EntryResult::Refused(EntryRefusal::Wrong | EntryRefusal::Busy) => true,
                _ => false,
            };
            ensure(fine, || format!("a break-glass code of cabinet {of} brings {result:?} at cabinet {cab}"))
        }
        _ => Ok(()),
    }
}

impl World {
    /// Mostly of a cabinet that is away; the fleet refuses it of the others.
    pub(super) fn operator_shows_glass(&mut self) {
        let connected = self.fleet.connected();
        let away = (0..CABS).find(|cab| !connected[*cab]);
        let cab = away.unwrap_or_else(|| self.dice.index(CABS));
        let cabinet = self.name_of(cab);
        self.tell(|| format!("the operator wants the break-glass code of cabinet {cab}"));
        self.ask(format!(r#"{{"op":"cabinet.break_glass","cabinet":"{cabinet}","reason":"no network"}}"#));
    }

    pub(super) fn glass_told(&mut self, cab: Cab, text: Option<String>) {
        self.coverage.count("break glass", "shown");
        self.glass.extend(text.map(|text| (cab, text)));
    }

    /// Mostly the newest code, at its cabinet. Some try one that was used, or stand at another cabinet.
    pub(super) fn staff_break_glass(&mut self) {
        let newest = self.glass.len().saturating_sub(1);
        let from = if self.dice.one_in(3) { 0 } else { newest };
        let codes = self.glass[from..].to_vec();
        let Some((of, text)) = self.dice.pick(&codes).cloned() else { return };
        let Ok(secret) = Secret::parse(&text) else { return };
        let cab = if self.dice.one_in(8) { (of + 1) % CABS } else { of };
        self.tell(|| format!("staff break the glass of cabinet {cab}"));
        let entry = Entry { glass: Some(of), ..Entry::of(&secret, self.dice.one_in(2)) };
        self.enter(cab, secret, entry);
    }

    pub(super) fn glass_answered(&mut self, cab: Cab, entry: &Entry, result: &EntryResult) {
        let Some(of) = entry.glass else { return };
        if let EntryResult::StaffSession { session, .. } = result {
            self.coverage.count("break glass", "came in");
            self.cabs[cab].by_glass = Some(*session);
        }
        if matches!(result, EntryResult::Refused(EntryRefusal::Used)) {
            self.coverage.count("break glass", "used before");
        }
        self.see(Seen::GlassAnswered { cab, of, result: result.clone() });
    }

    pub(super) fn staff_leave_by_glass(&mut self, cab: Cab) {
        let Some(session) = self.cabs[cab].by_glass.take() else { return };
        self.cabs[cab].leaving = Some(session);
        self.take_cabinet(cab, Input::StaffLogout { session }, None);
        self.cabs[cab].leaving = None;
    }

    /// The session has ended because they have left, and the cabinet's step is on disk.
    pub(super) fn glass_left(&mut self, cab: Cab, session: SessionId) {
        if self.cabs[cab].leaving == Some(session) {
            self.coverage.count("break glass", "left");
            self.see(Seen::GlassOver { cab });
        }
    }
}
