//! The numbered events: which are on disk, which the fleet has, which are on their way.

use schemas::messages::{Epoch, EventMark, Welcome};

use crate::records::{OUTBOX_KEY, OutboxRow};
use crate::tables::{EVENTS, META, event_key};
use crate::turn::Turn;

/// Events on their way at most.
pub const OUTBOX_WINDOW: u64 = 16;
/// Newest acknowledged events that are kept, so that a restored fleet can be filled up.
pub const HISTORY: u64 = 1_024;
/// Unacknowledged events that are kept at most. A cabinet that is never heard again must not fill its disk; what is
/// dropped then shows in `oldest`, and the fleet raises `history_gap`.
pub const OUTBOX_MAX: u64 = 100_000;
/// Events removed in one step at most.
const PRUNE_MAX: u64 = 32;

pub(crate) struct Outbox {
    epoch: Epoch,
    newest: u64,
    oldest: u64,
    /// The fleet has them up to here. On disk only as of the last write of the row: `welcome` corrects it.
    acked: u64,
    /// Given to the shell in this connection up to here; `None` until the fleet has welcomed us.
    sent: Option<u64>,
    /// The welcome claimed more than there was: newest event then. Nothing is sent until the signed time decides.
    doubted: Option<u64>,
}

impl Outbox {
    pub(crate) fn new(epoch: Epoch, row: Option<OutboxRow>) -> Self {
        let row = row.unwrap_or(OutboxRow { newest: 0, oldest: 1, acked: 0 });
        Self { epoch, newest: row.newest, oldest: row.oldest, acked: row.acked, sent: None, doubted: None }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    pub(crate) fn oldest(&self) -> u64 {
        self.oldest
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.newest - self.acked
    }

    /// Writes the record as the next event.
    pub(crate) fn append<T: serde::Serialize>(&mut self, turn: &mut Turn, record: &T) {
        self.newest += 1;
        turn.put(EVENTS, event_key(self.newest), record);
        self.prune(turn);
        self.save(turn);
    }

    pub(crate) fn disconnected(&mut self) {
        (self.sent, self.doubted) = (None, None);
    }

    /// Moves the mark to what the fleet says that it has; whatever lies behind `oldest` cannot be sent again. If it says
    /// that it has more than was ever written here, this store was put back, or the welcome is a lie: nothing is sent
    /// until the fleet's signed time tells which.
    pub(crate) fn welcomed(&mut self, welcome: &Welcome) {
        let mark = EventMark { epoch: welcome.epoch, high_water: welcome.high_water };
        if mark.epoch == self.epoch && mark.high_water > self.newest {
            (self.sent, self.doubted) = (None, Some(self.newest));
            return;
        }
        self.take_mark(mark);
    }

    /// What the signed mark says about a welcome that was in doubt. True: this store was put back, however much was
    /// written since the welcome.
    pub(crate) fn is_put_back(&mut self, mark: EventMark) -> bool {
        let behind = mark.epoch == self.epoch && mark.high_water > self.doubted.unwrap_or(self.newest);
        if !behind && self.doubted.take().is_some() {
            // The welcome was a lie.
            self.take_mark(mark);
        }
        behind
    }

    fn take_mark(&mut self, mark: EventMark) {
        let claimed = if mark.epoch == self.epoch { mark.high_water } else { 0 };
        self.acked = claimed.clamp(self.oldest - 1, self.newest);
        self.sent = Some(self.acked);
    }

    /// The store was put back within its epoch: numbers were given twice. What the fleet may not have goes on under a new
    /// epoch, what was acknowledged stays with the old one.
    pub(crate) fn begin_epoch(&mut self, turn: &mut Turn, epoch: Epoch) {
        self.epoch = epoch;
        (self.sent, self.doubted) = (None, None);
        for n in self.oldest..=self.acked {
            turn.remove(EVENTS, event_key(n));
        }
        self.oldest = self.acked + 1;
        self.save(turn);
    }

    /// PUBACKs came up to here. What was not sent in this connection is passed over.
    pub(crate) fn acknowledged(&mut self, turn: &mut Turn, up_to: u64) {
        if self.sent.is_some_and(|sent| up_to <= sent) && up_to > self.acked {
            self.acked = up_to;
            // A commit for each event that the fleet takes would double the work of a long backlog.
            if (self.acked + 1).saturating_sub(HISTORY) >= self.oldest + PRUNE_MAX && self.prune(turn) {
                self.save(turn);
            }
        }
    }

    /// The events to send now, if any.
    pub(crate) fn next_batch(&mut self) -> Option<(u64, u64)> {
        let sent = self.sent?;
        let to = self.newest.min(self.acked + OUTBOX_WINDOW);
        if to <= sent {
            return None;
        }
        self.sent = Some(to);
        Some((sent + 1, to))
    }

    fn prune(&mut self, turn: &mut Turn) -> bool {
        let keep_from = (self.acked + 1).saturating_sub(HISTORY).max((self.newest + 1).saturating_sub(OUTBOX_MAX));
        let until = keep_from.min(self.oldest + PRUNE_MAX);
        let pruned = self.oldest < until;
        while self.oldest < until {
            turn.remove(EVENTS, event_key(self.oldest));
            self.oldest += 1;
        }
        // Dropped unsent: the mark moves on, so that the window does not wait for what is gone.
        self.acked = self.acked.max(self.oldest - 1);
        self.sent = self.sent.map(|sent| sent.max(self.acked));
        pruned
    }

    fn save(&self, turn: &mut Turn) {
        turn.put(META, OUTBOX_KEY, &OutboxRow { newest: self.newest, oldest: self.oldest, acked: self.acked });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Moment;

    const EPOCH: Epoch = Epoch([1; 8]);

    fn turn() -> Turn {
        Turn::new(&Moment { boot_millis: 0, entropy: [0; 32] })
    }

    fn outbox(events: u64) -> Outbox {
        let mut outbox = Outbox::new(EPOCH, None);
        for n in 0..events {
            outbox.append(&mut turn(), &n);
        }
        outbox
    }

    fn welcome(epoch: Epoch, high_water: u64) -> Welcome {
        Welcome { epoch, high_water }
    }

    #[test]
    fn nothing_is_sent_before_the_welcome_and_sixteen_at_most_afterwards() {
        let mut outbox = outbox(40);
        assert_eq!(outbox.next_batch(), None);
        outbox.welcomed(&welcome(EPOCH, 3));
        assert_eq!(outbox.next_batch(), Some((4, 19)));
        assert_eq!(outbox.next_batch(), None);
        outbox.acknowledged(&mut turn(), 10);
        assert_eq!(outbox.next_batch(), Some((20, 26)));
        outbox.acknowledged(&mut turn(), 27);
        assert_eq!(outbox.next_batch(), None, "27 was never sent");
    }

    #[test]
    fn the_mark_follows_the_welcome_both_ways_but_not_beyond_what_exists() {
        let mut outbox = outbox(5);
        outbox.welcomed(&welcome(EPOCH, 5));
        assert_eq!((outbox.waiting(), outbox.next_batch()), (0, None));
        outbox.welcomed(&welcome(EPOCH, 2));
        assert_eq!(outbox.next_batch(), Some((3, 5)));
        outbox.welcomed(&welcome(Epoch([2; 8]), 4));
        assert_eq!(outbox.next_batch(), Some((1, 5)));
    }

    #[test]
    fn acknowledged_events_are_kept_as_history_and_then_removed_a_few_at_a_time() {
        let mut outbox = outbox(HISTORY + 200);
        outbox.welcomed(&welcome(EPOCH, HISTORY + 200));
        for _ in 0..10 {
            let mut turn = turn();
            outbox.append(&mut turn, &0u64);
            let removed = turn.finish().writes.iter().filter(|write| write.value.is_none()).count();
            assert!(removed as u64 <= PRUNE_MAX);
            let newest = outbox.newest();
            outbox.welcomed(&welcome(EPOCH, newest));
        }
        assert_eq!(outbox.newest() - outbox.oldest(), HISTORY);
        outbox.welcomed(&welcome(EPOCH, 0));
        assert_eq!(outbox.next_batch().unwrap().0, outbox.oldest(), "what is held is sent again");
    }

    #[test]
    fn a_cabinet_that_is_never_heard_keeps_the_newest_events() {
        let row = OutboxRow { newest: OUTBOX_MAX, oldest: 1, acked: 0 };
        let mut outbox = Outbox::new(EPOCH, Some(row));
        outbox.append(&mut turn(), &0u64);
        assert_eq!((outbox.oldest(), outbox.waiting()), (2, OUTBOX_MAX));
    }

    #[test]
    fn a_fleet_that_knows_more_than_was_written_is_sent_nothing_until_a_new_epoch_begins() {
        let mut outbox = outbox(5);
        outbox.welcomed(&welcome(EPOCH, 3));
        outbox.welcomed(&welcome(EPOCH, 9));
        assert_eq!((outbox.waiting(), outbox.next_batch()), (2, None), "nothing counts as taken");
        let mut turn = turn();
        outbox.begin_epoch(&mut turn, Epoch([2; 8]));
        assert_eq!(turn.finish().writes.len(), 3 + 1, "the acknowledged ones go, the marks are written");
        outbox.welcomed(&welcome(Epoch([2; 8]), 3));
        assert_eq!((outbox.oldest(), outbox.next_batch()), (4, Some((4, 5))));
    }

    #[test]
    fn what_is_written_while_a_welcome_is_in_doubt_hides_nothing() {
        let mut outbox = outbox(9);
        outbox.welcomed(&welcome(EPOCH, 10));
        outbox.append(&mut turn(), &0u64);
        assert!(outbox.is_put_back(EventMark { epoch: EPOCH, high_water: 10 }), "event 10 of the fleet is another one");
    }

    #[test]
    fn a_welcome_that_lied_holds_events_up_only_until_the_signed_time() {
        let mut outbox = outbox(9);
        outbox.welcomed(&welcome(EPOCH, 500));
        assert_eq!(outbox.next_batch(), None);
        assert!(!outbox.is_put_back(EventMark { epoch: EPOCH, high_water: 7 }));
        assert_eq!(outbox.next_batch(), Some((8, 9)));
    }
}
