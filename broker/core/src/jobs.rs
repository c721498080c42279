//! What the signer is asked to do. Jobs are not kept on disk: they follow from the state, and are found in it again
//! when the core is opened.

use std::collections::{BTreeMap, BTreeSet};

use schemas::cbor;
use schemas::ids::{Name, TenantId};
use schemas::messages::{CommandId, CredentialKind};
use sha2::{Digest as _, Sha256};

use crate::signing::SignerRequest;
use crate::staff::Crew;
use crate::tables::{CabinetRef, OrderRef};

/// Requests at the signer at one time; an unlock goes in any case. Bounds what a re-derivation for a whole fleet queues up.
const AT_ONCE: usize = 64;
const RETRY_FIRST_MILLIS: u64 = 1_000;
const RETRY_MAX_MILLIS: u64 = 60_000;

/// Ordered by urgency: somebody stands in front of a door that is to be unlocked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Job {
    Command(CabinetRef, CommandId),
    Time(CabinetRef),
    Book(CabinetRef),
    Certificate(CabinetRef),
    Wipe(CabinetRef),
    /// The phone number of a walk-in.
    Phone(OrderRef),
    /// The answer to the second factor of an order.
    Answer(OrderRef),
    /// A PIN or a badge.
    Pin(Crew, TenantId, Name, CredentialKind),
    /// A secret of a bundle.
    Bundle(OrderRef, CredentialKind),
    Secrets(CabinetRef),
}

#[derive(Default)]
pub(crate) struct Jobs {
    wanted: BTreeSet<Job>,
    asked: BTreeMap<u64, (Job, SignerRequest)>,
    busy: BTreeSet<Job>,
    failures: BTreeMap<Job, u32>,
}

impl Jobs {
    /// Asks for `job` to be done. One that is at the signer or waits for its next try is not doubled: whoever takes
    /// the answer looks for what is left to do.
    pub(crate) fn want(&mut self, job: Job) {
        if !self.busy.contains(&job) && !self.failures.contains_key(&job) {
            self.wanted.insert(job);
        }
    }

    /// The wait after a failure is over.
    pub(crate) fn retry(&mut self, job: Job) {
        self.wanted.insert(job);
    }

    /// Takes the most urgent job that may go to the signer now.
    pub(crate) fn next(&mut self) -> Option<Job> {
        let first = self.wanted.first()?;
        match first {
            Job::Command(..) => self.wanted.pop_first(),
            Job::Time(_)
            | Job::Book(_)
            | Job::Certificate(_)
            | Job::Wipe(_)
            | Job::Pin(..)
            | Job::Bundle(..)
            | Job::Phone(_)
            | Job::Answer(_)
            | Job::Secrets(_) => (self.asked.len() < AT_ONCE).then(|| self.wanted.pop_first()).flatten(),
        }
    }

    /// Nothing is left to do for `job`.
    pub(crate) fn forget(&mut self, job: &Job) {
        self.failures.remove(job);
    }

    pub(crate) fn any_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Notes that `request` goes to the signer for `job`.
    ///
    /// The ticket is a hash of job and request: an answer that was on its way when the core was opened anew can only be
    /// taken for the answer to the same question, and two people whose PINs are asked for in the same words get one each.
    pub(crate) fn ask(&mut self, job: Job, request: SignerRequest) -> u64 {
        let hash: [u8; 32] =
            Sha256::new().chain_update(format!("{job:?}")).chain_update(cbor::encode(&request)).finalize().into();
        let ticket = hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        self.busy.insert(job.clone());
        self.asked.insert(ticket, (job, request));
        ticket
    }

    /// The job and the question that an answer belongs to.
    pub(crate) fn answered(&mut self, ticket: u64) -> Option<(Job, SignerRequest)> {
        let (job, request) = self.asked.remove(&ticket)?;
        self.busy.remove(&job);
        Some((job, request))
    }

    /// Counts a failure. Returns how long to wait before the next try, in milliseconds.
    pub(crate) fn failed(&mut self, job: &Job) -> u64 {
        let failures = self.failures.entry(job.clone()).or_default();
        *failures = failures.saturating_add(1);
        (RETRY_FIRST_MILLIS << failures.saturating_sub(1).min(6)).min(RETRY_MAX_MILLIS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_from_a_second_to_a_minute() {
        let mut jobs = Jobs::default();
        let job = Job::Pin(Crew::Staff, "acme".parse().unwrap(), "bob".parse().unwrap(), CredentialKind::Digits);
        let waits: Vec<u64> = (0..8).map(|_| jobs.failed(&job)).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        jobs.want(job.clone());
        assert!(!jobs.any_wanted(), "a failed job was asked for before its time");
        jobs.forget(&job);
        jobs.want(job);
        assert!(jobs.any_wanted());
    }

    #[test]
    fn two_jobs_with_the_same_words_have_two_tickets() {
        let mut jobs = Jobs::default();
        let pin =
            |name: &str| Job::Pin(Crew::Staff, "acme".parse().unwrap(), name.parse().unwrap(), CredentialKind::Digits);
        let request = SignerRequest::from(crate::signing::MakeSealed {
            tenant: "acme".parse().unwrap(),
            kind: CredentialKind::Digits,
            digits: 6,
        });
        let tickets = ["alice", "bob"].map(|name| jobs.ask(pin(name), request.clone()));
        assert_eq!(jobs.answered(tickets[0]).unwrap().0, pin("alice"));
        assert_eq!(jobs.answered(tickets[1]).unwrap().0, pin("bob"));
    }
}
