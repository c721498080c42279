//! Keysets on their way to a cabinet: in their order, ahead of everything that is signed with a new key.

use schemas::messages::{Down, KeysetUpdate};

use crate::cabinet::Cabinet;
use crate::keysets::Chain;
use crate::turn::Turn;

/// Keysets that are sent before the cabinet has answered.
const AT_ONCE: usize = 16;

impl Cabinet {
    /// Version that the cabinet holds, by its own word.
    pub(crate) fn keyset_held(&self) -> u64 {
        self.said.keyset
    }

    /// After a message of the cabinet: sends what it lacks, unless that is on its way.
    pub(crate) fn follow_keysets(&mut self, turn: &mut Turn<'_>, chain: &Chain) {
        let held = self.said.keyset;
        let Some(open) = self.open_link() else { return };
        if open.keyset_sent <= held {
            self.send_keysets(turn, chain);
        }
        let newest = chain.newest().map_or(0, |row| row.version);
        if held > newest && held != self.keyset_ahead {
            self.keyset_ahead = held;
            turn.alarm_of(&self.at, format!(
                "cabinet {} holds keyset {held}, the fleet has {newest} only: `fleet keys push` puts the newest again",
                self.at
            ));
        }
    }

    /// Sends what the cabinet lacks and was not sent in this connection.
    pub(crate) fn send_keysets(&mut self, turn: &mut Turn<'_>, chain: &Chain) {
        let held = self.said.keyset;
        let Some(open) = self.open_link() else { return };
        let next: Vec<_> = chain.after(held.max(open.keyset_sent)).take(AT_ONCE).collect();
        let Some(last) = next.last() else { return };
        open.keyset_sent = last.version;
        for row in next {
            self.down(turn, &Down::from(KeysetUpdate { envelope: row.envelope.clone() }));
        }
    }
}
