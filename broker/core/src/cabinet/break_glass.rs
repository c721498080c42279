//! The break-glass code of a cabinet: in its book long before anybody needs it, shown to a person when the fleet does not reach
//! the cabinet, and replaced as soon as it does.

use schemas::api::{ReplyError, RequestErrorCode};
use schemas::cbor::Blob;
use schemas::cbor_map;
use schemas::crypto::codes::BREAK_GLASS_DIGITS;
use schemas::ids::Identity;
use schemas::messages::{
    BookChange, BreakGlass, BreakGlassUsed, CredentialId, CredentialKind, FleetMillis, Rules, Verifier,
};

use crate::cabinet::Cabinet;
use crate::cabinet::events::When;
use crate::deadlines::Deadline;
use crate::effect::{Effect, SecretOf};
use crate::jobs::Job;
use crate::requests::error;
use crate::signing::{SecretItem, SecretMade};
use crate::tables::BREAK_GLASS;
use crate::turn::Turn;

/// A code that was shown outlives a connection that comes and goes for this long.
const SHOWN_MILLIS: u64 = 15 * 60_000;
/// People that were shown a code, the newest: whose openings the cabinet tells of may have been let in by an earlier one.
const SHOWN_MAX: usize = 8;

cbor_map! {
    /// The code that the cabinet has in its book, or is to have.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct GlassRow {
        1 => id: CredentialId,
        /// Left out until the signer has made it.
        2 opt => sealed: Option<Blob>,
        3 opt => verifier: Option<Verifier>,
        /// Pepper version of the verifier.
        4 => pepper: u32,
        5 => shown: Vec<Shown>,
        /// By which one somebody came in last.
        6 opt => used: Option<CredentialId>,
    }
}

cbor_map! {
    /// Who was shown a code, and why.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Shown {
        1 => id: CredentialId,
        2 => by: Identity,
        3 => reason: String,
        4 => at: FleetMillis,
    }
}

impl GlassRow {
    fn new(id: CredentialId) -> Self {
        Self { id, sealed: None, verifier: None, pepper: 0, shown: Vec::new(), used: None }
    }

    fn shown(&self, id: CredentialId) -> Option<&Shown> {
        self.shown.iter().rev().find(|shown| shown.id == id)
    }

    fn in_book(&self) -> Option<BreakGlass> {
        Some(BreakGlass { id: self.id, verifier: self.verifier?, pepper: self.pepper })
    }
}

impl Cabinet {
    pub(crate) fn restore_break_glass(&mut self, row: GlassRow) {
        self.glass = Some(row);
    }

    fn put_break_glass(&self, turn: &mut Turn<'_>) {
        if let Some(row) = &self.glass {
            turn.put(BREAK_GLASS, self.at.key(), row);
        }
    }

    /// What the book says of it.
    pub(super) fn break_glass_in_book(&self) -> Option<BreakGlass> {
        self.glass.as_ref().and_then(GlassRow::in_book)
    }

    /// A hello came, or the time of a code that was shown is over: it has served. A cabinet without one gets its first, or
    /// loses it, as this fleet wants.
    pub(crate) fn compare_break_glass(&mut self, turn: &mut Turn<'_>, wanted: bool) {
        if !self.is_online() {
            return;
        }
        let Some(row) = self.glass.as_ref().filter(|_| wanted) else {
            return if wanted { self.first_break_glass(turn) } else { self.drop_break_glass(turn) };
        };
        // Somebody's store was put back: a code may have been shown, or used, and nobody knows of it any more.
        if self.is_unreconciled() && row.in_book().is_some() {
            return self.replace_break_glass(turn);
        }
        match row.shown(row.id).map(|shown| shown.at.saturating_add(SHOWN_MILLIS)) {
            Some(until) if until > turn.now => turn.due(Deadline::BreakGlass(self.at.clone()), until),
            Some(_) => self.replace_break_glass(turn),
            None => {}
        }
    }

    fn first_break_glass(&mut self, turn: &mut Turn<'_>) {
        self.glass = Some(GlassRow::new(CredentialId(turn.draw())));
        self.put_break_glass(turn);
        turn.want(Job::Secrets(self.at.clone()));
    }

    fn drop_break_glass(&mut self, turn: &mut Turn<'_>) {
        let Some(row) = self.glass.take() else { return };
        turn.remove(BREAK_GLASS, self.at.key());
        if row.in_book().is_some() {
            let rules = self.rules();
            self.append(turn, vec![rules.into()]);
        }
    }

    /// The former one dies with the next book, also where nobody has used it.
    fn replace_break_glass(&mut self, turn: &mut Turn<'_>) {
        let Some(row) = &mut self.glass else { return };
        let was_booked = row.in_book().is_some();
        (row.id, row.sealed, row.verifier) = (CredentialId(turn.draw()), None, None);
        self.put_break_glass(turn);
        if was_booked {
            let rules = self.rules();
            self.append(turn, vec![rules.into()]);
        }
        turn.want(Job::Secrets(self.at.clone()));
    }

    /// The cabinet has another pepper: what was shown to anybody opens nothing there.
    pub(super) fn forget_break_glass(&mut self, turn: &mut Turn<'_>) {
        if let Some(row) = &mut self.glass {
            (row.id, row.sealed, row.verifier) = (CredentialId(turn.draw()), None, None);
            self.put_break_glass(turn);
        }
    }

    /// What the signer has still to make or derive.
    pub(super) fn break_glass_wanted(&self) -> Option<SecretItem> {
        let row = self.glass.as_ref().filter(|row| row.verifier.is_none())?;
        let sealed = row.sealed.clone();
        Some(SecretItem { id: row.id, kind: CredentialKind::Qr, digits: BREAK_GLASS_DIGITS, sealed, answers: None })
    }

    /// Takes what the signer made, if it is this.
    pub(super) fn break_glass_made(
        &mut self,
        turn: &mut Turn<'_>,
        made: &SecretMade,
        pepper: u32,
    ) -> Option<BookChange> {
        let row = self.glass.as_mut().filter(|row| row.id == made.id)?;
        (row.sealed, row.verifier, row.pepper) = (Some(made.sealed.clone()), Some(made.verifier), pepper);
        self.put_break_glass(turn);
        Some(self.rules().into())
    }

    /// The book with it is at the cabinet.
    fn is_break_glass_held(&self, id: CredentialId) -> bool {
        let names = |change: &BookChange| match change {
            BookChange::Rules(Rules { break_glass: Some(glass), .. }) => glass.id == id,
            BookChange::Rules(_)
            | BookChange::PutOrder(_)
            | BookChange::PutDeposit(_)
            | BookChange::DropOrder(_)
            | BookChange::PutCredential(_)
            | BookChange::PutGuarded(_)
            | BookChange::DropCredential(_)
            | BookChange::PutStaff(_)
            | BookChange::DropStaff(_)
            | BookChange::PutCourier(_)
            | BookChange::DropCourier(_) => false,
        };
        !self.sets.values().flat_map(|set| &set.changes).any(names)
    }

    /// Shows it, and says so to everybody who looks. While the cabinet is connected an unlock opens one door, and this one
    /// would open all.
    pub(crate) fn show_break_glass(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: u64,
        by: Identity,
        reason: String,
    ) -> Result<(), ReplyError> {
        let named = self.at.cabinet.clone();
        if self.is_online() {
            let text = format!("cabinet {named} is connected, so nobody needs its break-glass code");
            return Err(error(
                RequestErrorCode::Conflict,
                text,
                "`fleet unlock` opens one door, and says whether it did",
            ));
        }
        if self.wipe.is_some() {
            let text = format!("cabinet {named} is to be wiped: nobody gets in there any more");
            return Err(error(RequestErrorCode::Conflict, text, "`fleet cabinet show` tells who said so"));
        }
        let row = self.glass.as_ref().and_then(|row| Some((row.id, row.sealed.clone()?)));
        let Some((id, sealed)) = row.filter(|(id, _)| self.is_break_glass_held(*id)) else {
            let text = format!("cabinet {named} had no break-glass code when it was last connected");
            return Err(error(RequestErrorCode::Refused, text, "somebody has to go there with a staff PIN or a tool"));
        };
        turn.alarm_of(&self.at, format!("cabinet {}: {by} is shown its break-glass code: {reason}", self.at));
        if let Some(row) = &mut self.glass {
            row.shown.push(Shown { id, by, reason, at: turn.now });
            if row.shown.len() > SHOWN_MAX {
                row.shown.remove(0);
            }
        }
        self.put_break_glass(turn);
        let (tenant, of) = (self.at.tenant.clone(), SecretOf::BreakGlass(named));
        turn.effect(Effect::ReplySecret { ticket, tenant, of, sealed });
        Ok(())
    }

    /// The cabinet tells that somebody came in by it.
    pub(super) fn break_glass_used(&mut self, turn: &mut Turn<'_>, when: When, fact: &BreakGlassUsed) {
        let shown = self.glass.as_ref().and_then(|row| row.shown(fact.id));
        let who = shown.map_or_else(
            || "that this fleet has shown to nobody: somebody has read what the signer seals, or the fleet was put back"
                .to_owned(),
            |shown| format!("that {} was shown: {}", shown.by, shown.reason),
        );
        let time = if when.unverified { "at a time that it did not know" } else { "while it was on its own" };
        turn.alarm_of(&self.at, format!("cabinet {}: somebody came in {time}, by a break-glass code {who}", self.at));
        let Some(row) = &mut self.glass else { return };
        row.used = Some(fact.id);
        if row.id == fact.id {
            self.replace_break_glass(turn);
        } else {
            self.put_break_glass(turn);
        }
    }

    /// To whom and why the code was shown by which somebody came in last.
    pub(super) fn broke_the_glass(&self) -> Option<&Shown> {
        let row = self.glass.as_ref()?;
        row.shown(row.used?)
    }
}
