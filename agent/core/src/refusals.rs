//! Which refusals become events: each of them once, and never so many that somebody can fill the disk with them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use schemas::messages::{CommandId, CredentialId, RefusalReason};

/// Refusals of commands that are remembered in this run.
const REMEMBERED_MAX: usize = 1_024;
const SECOND_MILLIS: u64 = 1_000;
/// Named refusals that may come at once; one more each second.
const BURST: u64 = 64;
/// A credential that is over is typed again and again by people who do not believe the screen.
const CREDENTIAL_EVERY_MILLIS: u64 = 60_000;

#[derive(Default)]
pub(crate) struct Refusals {
    commands: BTreeSet<(CommandId, RefusalReason)>,
    order: VecDeque<(CommandId, RefusalReason)>,
    /// Boot clock at which the bucket of named refusals is empty again.
    bucket: u64,
    /// The last refusal of something without an id.
    unnamed: Option<u64>,
    credentials: BTreeMap<(CredentialId, RefusalReason), u64>,
    book: Option<(Option<u64>, RefusalReason)>,
    keyset: Option<(Option<u64>, RefusalReason)>,
    suppressed: u64,
}

impl Refusals {
    /// The reason for which this command was refused in this run. A refusal is final, although what was wrong may pass.
    pub(crate) fn of_command(&self, id: &CommandId) -> Option<RefusalReason> {
        RefusalReason::ALL.iter().copied().find(|reason| self.commands.contains(&(*id, *reason)))
    }

    /// Whether this refusal is to be reported.
    pub(crate) fn admit_command(&mut self, id: Option<CommandId>, reason: RefusalReason, now: u64) -> bool {
        let Some(id) = id else { return self.admit_unnamed(now) };
        if !self.commands.insert((id, reason)) {
            return false;
        }
        self.order.push_back((id, reason));
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.commands.remove(&oldest);
        }
        let ahead = self.bucket.saturating_sub(now);
        let admitted = ahead < BURST * SECOND_MILLIS;
        if admitted {
            self.bucket = now + ahead + SECOND_MILLIS;
        }
        self.count(admitted)
    }

    /// The same refusal of the same version is told again only after something else was refused.
    pub(crate) fn admit_codes(&mut self, version: Option<u64>, reason: RefusalReason, now: u64) -> bool {
        if version.is_some() && self.book == Some((version, reason)) {
            return false;
        }
        self.book = Some((version, reason));
        self.admit_unnamed(now)
    }

    pub(crate) fn admit_keyset(&mut self, version: Option<u64>, reason: RefusalReason, now: u64) -> bool {
        if version.is_some() && self.keyset == Some((version, reason)) {
            return false;
        }
        self.keyset = Some((version, reason));
        self.admit_unnamed(now)
    }

    /// Whoever owns the bus can send rubbish without end: one report a second.
    fn admit_unnamed(&mut self, now: u64) -> bool {
        let admitted = self.unnamed.is_none_or(|last| now.saturating_sub(last) >= SECOND_MILLIS);
        if admitted {
            self.unnamed = Some(now);
        }
        self.count(admitted)
    }

    pub(crate) fn admit_credential(&mut self, id: CredentialId, reason: RefusalReason, now: u64) -> bool {
        self.credentials.retain(|_, last| now.saturating_sub(*last) < CREDENTIAL_EVERY_MILLIS);
        let admitted = !self.credentials.contains_key(&(id, reason));
        if admitted {
            self.credentials.insert((id, reason), now);
        }
        admitted
    }

    /// Refusals that were not reported because there were too many.
    pub(crate) fn suppressed(&self) -> u64 {
        self.suppressed
    }

    fn count(&mut self, admitted: bool) -> bool {
        self.suppressed += u64::from(!admitted);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_refusal_of_the_same_command_is_reported_once() {
        let mut refusals = Refusals::default();
        let id = CommandId([1; 16]);
        assert!(refusals.admit_command(Some(id), RefusalReason::Expired, 0));
        assert!(!refusals.admit_command(Some(id), RefusalReason::Expired, 0));
        assert!(refusals.admit_command(Some(id), RefusalReason::Replayed, 0));
        assert!(refusals.of_command(&id).is_some());
    }

    #[test]
    fn a_flood_is_reported_once_a_second_and_counted() {
        let mut refusals = Refusals::default();
        let rubbish = (0..10_000).filter(|now| refusals.admit_command(None, RefusalReason::Malformed, *now)).count();
        assert_eq!(rubbish, 10);
        let mut named = 0;
        for n in 0..5_000u64 {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&n.to_be_bytes());
            named += u64::from(refusals.admit_command(Some(CommandId(id)), RefusalReason::Expired, n));
        }
        assert!(named <= BURST + 5, "{named}");
        assert!(refusals.suppressed() > 10_000);
        assert!(refusals.commands.len() <= REMEMBERED_MAX);
    }
}
