//! Durable streams of an integration: rows from 1 without gaps, but for the leap behind a restore, and a cursor that
//! acknowledgements move.

use std::collections::BTreeMap;

use schemas::cbor_map;
use serde::Serialize;

use crate::tables::{LANDED_KEY, META, STREAM, STREAMS, StreamRef, stream_key};
use crate::turn::Turn;

/// Rows removed in one step at most: a cursor that jumps far must not make one large transaction.
const PRUNED_AT_ONCE: u64 = 64;

/// Numbers that are left out after a restore, at least: more than a fleet writes between two backups.
pub const LEAP: u64 = 1_000_000;
/// A leap ends at the fleet's time in microseconds, so that a second restore from the same backup, a second later, lands
/// behind all that was given after the first.
const MICROS: u64 = 1_000;
/// And by chance so much further at most: with a clock that was wrong meanwhile two restores would land at the same place.
const SCATTER: u64 = LEAP / 2;

cbor_map! {
    /// Ends of a stream.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Head {
        /// Newest row, 0 for none.
        1 => newest: u64,
        /// Newest row that was acknowledged, 0 for none.
        2 => cursor: u64,
        /// Oldest row that is kept.
        3 => oldest: u64,
        /// The newest leap: the row before it, and the number behind which the next row comes.
        4 opt => leapt: Option<u64>,
        5 opt => landed: Option<u64>,
    }
}

#[derive(Default)]
pub(crate) struct Streams {
    heads: BTreeMap<StreamRef, Head>,
    /// Where the newest leap ended: a stream that begins now may have begun before, after the backup.
    landed: u64,
}

impl Streams {
    pub(crate) fn restore_leap(&mut self, landed: u64) {
        self.landed = landed;
    }

    pub(crate) fn restore(&mut self, stream: StreamRef, head: Head) {
        self.heads.insert(stream, head);
    }

    /// Adds the row that `make` makes of its number.
    pub(crate) fn add<T: Serialize>(&mut self, turn: &mut Turn<'_>, stream: StreamRef, make: impl FnOnce(u64) -> T) {
        let before = self.landed;
        let first = Head { newest: before, cursor: before, oldest: before + 1, leapt: None, landed: None };
        let head = self.heads.entry(stream.clone()).or_insert(first);
        head.newest += 1;
        let n = head.newest;
        turn.put(STREAM, stream_key(&stream.tenant, &stream.integration, stream.stream, n), &make(n));
        turn.put(STREAMS, stream.key(), head);
        turn.grew(stream, n);
    }

    /// The store was put back: numbers behind the newest row were given before, for rows that integrations may have seen.
    pub(crate) fn leap(&mut self, turn: &mut Turn<'_>) {
        let further = u64::from_be_bytes(turn.draw()) % SCATTER;
        self.landed = (self.landed + LEAP).max(turn.now.saturating_mul(MICROS)) + further;
        turn.put(META, LANDED_KEY, &self.landed);
        for (stream, head) in &mut self.heads {
            head.leapt = Some(head.newest);
            head.newest = (head.newest + LEAP).max(self.landed);
            head.landed = Some(head.newest);
            turn.put(STREAMS, stream.key(), head);
        }
    }

    /// Moves the cursor to `n`. An acknowledgement of what was acknowledged, or never sent, changes nothing.
    pub(crate) fn acked(&mut self, turn: &mut Turn<'_>, stream: &StreamRef, n: u64, keep: u64) {
        let Some(head) = self.heads.get_mut(stream).filter(|head| head.cursor < n && n <= head.newest) else {
            return;
        };
        head.cursor = n;
        let first = head.oldest;
        head.oldest = first.max((n + 1).saturating_sub(keep).min(first + PRUNED_AT_ONCE));
        let pruned = first..head.oldest;
        if let (Some(leapt), Some(landed)) = (head.leapt, head.landed)
            && (leapt + 1..=landed).contains(&head.oldest)
        {
            head.oldest = landed + 1;
        }
        turn.put(STREAMS, stream.key(), head);
        for n in pruned {
            turn.remove(STREAM, stream_key(&stream.tenant, &stream.integration, stream.stream, n));
        }
    }

    /// Cursor and newest row.
    pub(crate) fn ends(&self, stream: &StreamRef) -> (u64, u64) {
        self.heads.get(stream).map_or((0, 0), |head| (head.cursor, head.newest))
    }
}

#[cfg(test)]
mod tests {
    use schemas::topics::Stream;

    use super::*;
    use crate::input::Moment;
    use crate::turn::Agenda;

    fn stream() -> StreamRef {
        StreamRef { tenant: "acme".parse().unwrap(), integration: "shop".parse().unwrap(), stream: Stream::Status }
    }

    fn filled(rows: u64) -> Streams {
        let mut streams = Streams::default();
        let mut agenda = Agenda::default();
        let mut turn = Turn::new(&mut agenda, &Moment { now: 0, entropy: [0; 32] });
        (0..rows).for_each(|_| streams.add(&mut turn, stream(), |n| n));
        streams
    }

    fn ack(streams: &mut Streams, n: u64, keep: u64) -> usize {
        let mut agenda = Agenda::default();
        let mut turn = Turn::new(&mut agenda, &Moment { now: 0, entropy: [0; 32] });
        streams.acked(&mut turn, &stream(), n, keep);
        turn.finish().writes.len()
    }

    #[test]
    fn the_cursor_moves_forward_only_and_never_beyond_the_newest_row() {
        let mut streams = filled(5);
        for (n, cursor) in [(3, 3), (2, 3), (3, 3), (6, 3), (u64::MAX, 3), (5, 5)] {
            ack(&mut streams, n, 10);
            assert_eq!(streams.ends(&stream()), (cursor, 5), "after {n}");
        }
    }

    #[test]
    fn numbers_that_were_left_out_are_not_pruned_one_by_one() {
        let mut streams = filled(5);
        let mut agenda = Agenda::default();
        let mut turn = Turn::new(&mut agenda, &Moment { now: 0, entropy: [0; 32] });
        streams.leap(&mut turn);
        streams.add(&mut turn, stream(), |n| n);
        drop(turn);
        let (cursor, newest) = streams.ends(&stream());
        assert!(cursor == 0 && newest >= LEAP + 6);
        assert_eq!(ack(&mut streams, newest, 1), 1 + 64);
        assert_eq!(streams.heads[&stream()].oldest, newest);
    }

    #[test]
    fn acknowledged_rows_beyond_the_kept_ones_are_removed_a_few_at_a_time() {
        let mut streams = filled(200);
        assert_eq!(ack(&mut streams, 10, 10), 1, "ten rows are kept");
        assert_eq!(ack(&mut streams, 199, 10), 1 + 64);
        assert_eq!(ack(&mut streams, 200, 10), 1 + 64);
        assert_eq!(streams.heads[&stream()].oldest, 129);
    }
}
