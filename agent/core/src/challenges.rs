//! The challenges of this run: what a signed message must name to count as fresh.

use std::collections::VecDeque;

use schemas::messages::{BootId, COMMAND_AGE_MAX_MILLIS, Challenge, Nonce, RefusalReason};

use crate::draws::Draws;

/// Age at which the current challenge is replaced, in milliseconds.
pub const CHALLENGE_ROTATION_MILLIS: u64 = 5_000;

struct Made {
    challenge: Challenge,
    at: u64,
}

/// Nothing of this is kept on disk: a restart voids all challenges, because the boot id changes.
pub(crate) struct Challenges {
    boot: BootId,
    made: VecDeque<Made>,
    counter: u64,
}

impl Challenges {
    pub(crate) fn new(boot: BootId) -> Self {
        Self { boot, made: VecDeque::new(), counter: 0 }
    }

    /// The challenge to send now. Made when somebody asks, so an idle cabinet does not wake up for it.
    pub(crate) fn current(&mut self, now: u64, draws: &mut Draws) -> Challenge {
        if let Some(newest) = self.made.back()
            && now.saturating_sub(newest.at) < CHALLENGE_ROTATION_MILLIS
        {
            return newest.challenge;
        }
        self.made.retain(|made| now.saturating_sub(made.at) <= COMMAND_AGE_MAX_MILLIS);
        self.counter += 1;
        let challenge = Challenge { boot: self.boot, counter: self.counter, nonce: Nonce(draws.bytes()) };
        self.made.push_back(Made { challenge, at: now });
        challenge
    }

    /// When the named challenge was made, at most 30 s ago; or why it does not count.
    pub(crate) fn check(&self, named: &Challenge, now: u64) -> Result<u64, RefusalReason> {
        if named.boot != self.boot {
            return Err(RefusalReason::UnknownChallenge);
        }
        match self.made.iter().find(|made| made.challenge == *named) {
            Some(made) if now.saturating_sub(made.at) <= COMMAND_AGE_MAX_MILLIS => Ok(made.at),
            Some(_) => Err(RefusalReason::Expired),
            // The nonces of forgotten challenges cannot be compared; either answer refuses, this one is more helpful.
            None if self.is_forgotten(named.counter) => Err(RefusalReason::Expired),
            None => Err(RefusalReason::UnknownChallenge),
        }
    }

    fn is_forgotten(&self, counter: u64) -> bool {
        let oldest = self.made.front().map_or(self.counter + 1, |made| made.challenge.counter);
        (1..oldest).contains(&counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenges() -> (Challenges, Draws) {
        (Challenges::new(BootId([1; 8])), Draws::new([1; 32]))
    }

    #[test]
    fn a_challenge_is_replaced_after_five_seconds_and_honoured_for_thirty() {
        let (mut challenges, mut draws) = challenges();
        let first = challenges.current(1_000, &mut draws);
        assert_eq!(challenges.current(5_999, &mut draws), first);
        let second = challenges.current(6_000, &mut draws);
        assert_ne!(first, second);
        assert_eq!(challenges.check(&first, 31_000), Ok(1_000));
        assert_eq!(challenges.check(&first, 31_001), Err(RefusalReason::Expired));
        challenges.current(60_000, &mut draws);
        assert_eq!(challenges.check(&first, 60_000), Err(RefusalReason::Expired));
    }

    #[test]
    fn a_challenge_of_another_boot_or_with_another_nonce_is_unknown() {
        let (mut challenges, mut draws) = challenges();
        let made = challenges.current(0, &mut draws);
        for other in [
            Challenge { boot: BootId([2; 8]), ..made },
            Challenge { nonce: Nonce([0; 8]), ..made },
            Challenge { counter: 2, ..made },
            Challenge { counter: 0, ..made },
        ] {
            assert_eq!(challenges.check(&other, 0), Err(RefusalReason::UnknownChallenge), "{other:?}");
        }
    }

    #[test]
    fn few_challenges_are_kept_however_often_they_are_asked_for() {
        let (mut challenges, mut draws) = challenges();
        for now in 0..200_000 {
            challenges.current(now, &mut draws);
        }
        assert!(challenges.made.len() <= 8, "{}", challenges.made.len());
    }
}
