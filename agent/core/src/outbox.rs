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
    /// The first event of the first run of which the fleet may not have heard.
    start: Option<u64>,
}

impl Outbox {
    pub(crate) fn new(epoch: Epoch, row: Option<OutboxRow>) -> Self {
        let row = row.unwrap_or(OutboxRow { newest: 0, oldest: 1, acked: 0, start: None });
        let OutboxRow { newest, oldest, acked, start } = row;
        Self { epoch, newest, oldest, acked, sent: None, doubted: None, start }
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

    /// The next event is the first of this run.
    pub(crate) fn begin_run(&mut self) {
        self.start = self.start.filter(|start| *start > self.acked).or(Some(self.newest + 1));
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
    /// until the fleet's signed time tells which, whatever another welcome says.
    pub(crate) fn welcomed(&mut self, turn: &mut Turn, welcome: &Welcome) {
        let mark = EventMark { epoch: welcome.epoch, high_water: welcome.high_water };
        if mark.epoch == self.epoch && mark.high_water > self.newest {
            self.doubted = self.doubted.or(Some(self.newest));
            self.sent = None;
        } else if self.doubted.is_none() {
            self.take_mark(turn, mark);
        }
    }

    /// What the signed mark says about a welcome that was in doubt. True: this store was put back, however much was
    /// written since the welcome.
    pub(crate) fn is_put_back(&mut self, turn: &mut Turn, mark: EventMark) -> bool {
        let behind = mark.epoch == self.epoch && mark.high_water > self.doubted.unwrap_or(self.newest);
        if !behind && self.doubted.take().is_some() {
            // The welcome was a lie.
            self.take_mark(turn, mark);
        }
        behind
    }

    fn take_mark(&mut self, turn: &mut Turn, mark: EventMark) {
        let claimed = if mark.epoch == self.epoch { mark.high_water } else { 0 };
        let before = std::mem::replace(&mut self.acked, claimed.clamp(self.oldest - 1, self.newest));
        self.sent = Some(self.acked);
        if self.acked != before && self.waiting() == 0 {
            self.save(turn);
        }
    }

    /// The store was put back within its epoch: numbers were given twice. What was written since goes on under a new epoch,
    /// and begins with the start of a run. What was there before stays with the old one: the fleet has it, since its mark is
    /// higher.
    pub(crate) fn begin_epoch(&mut self, turn: &mut Turn, epoch: Epoch) {
        self.epoch = epoch;
        (self.sent, self.doubted) = (None, None);
        self.acked = self.acked.max(self.start.map_or(0, |start| start - 1)).min(self.newest);
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
            let pruned = (self.acked + 1).saturating_sub(HISTORY) >= self.oldest + PRUNE_MAX && self.prune(turn);
            // A commit for each event that the fleet takes would double the work of a long backlog.
            if pruned || self.waiting() == 0 {
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
        let Self { newest, oldest, acked, start, .. } = *self;
        turn.put(META, OUTBOX_KEY, &OutboxRow { newest, oldest, acked, start });
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
        outbox.welcomed(&mut turn(), &welcome(EPOCH, 3));
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
        outbox.welcomed(&mut turn(), &welcome(EPOCH, 5));
        assert_eq!((outbox.waiting(), outbox.next_batch()), (0, None));
        outbox.welcomed(&mut turn(), &welcome(EPOCH, 2));
        assert_eq!(outbox.next_batch(), Some((3, 5)));
        outbox.welcomed(&mut turn(), &welcome(Epoch([2; 8]), 4));
        assert_eq!(outbox.next_batch(), Some((1, 5)));
    }

    #[test]
    fn acknowledged_events_are_kept_as_history_and_then_removed_a_few_at_a_time() {
        let mut outbox = outbox(HISTORY + 200);
        outbox.welcomed(&mut turn(), &welcome(EPOCH, HISTORY + 200));
        for _ in 0..10 {
            let mut step = turn();
            outbox.append(&mut step, &0u64);
            let removed = step.finish().writes.iter().filter(|write| write.value.is_none()).count();
            assert!(removed as u64 <= PRUNE_MAX);
            let newest = outbox.newest();
            outbox.welcomed(&mut turn(), &welcome(EPOCH, newest));
        }
        assert_eq!(outbox.newest() - outbox.oldest(), HISTORY);
        outbox.welcomed(&mut turn(), &welcome(EPOCH, 0));
        assert_eq!(outbox.next_batch().unwrap().0, outbox.oldest(), "what is held is sent again");
    }

    #[test]
    fn a_cabinet_that_is_never_heard_keeps_the_newest_events() {
        let row = OutboxRow { newest: OUTBOX_MAX, oldest: 1, acked: 0, start: None };
        let mut outbox = Outbox::new(EPOCH, Some(row));
        outbox.append(&mut turn(), &0u64);
        assert_eq!((outbox.oldest(), outbox.waiting()), (2, OUTBOX_MAX));
    }

    #[test]
    fn a_fleet_that_knows_more_than_was_written_is_sent_nothing_until_a_new_epoch_begins() {
        let mut outbox = outbox(5);
        outbox.welcomed(&mut turn(), &welcome(EPOCH, 3));
        outbox.welcomed(&mut turn(), &welcome(EPOCH, 9));
        assert_eq!((outbox.waiting(), outbox.next_batch()), (2, None), "nothing counts as taken");
        let mut step = turn();
        outbox.begin_epoch(&mut step, Epoch([2; 8]));
        assert_eq!(step.finish().writes.len(), 3 + 1, "the acknowledged ones go, the marks are written");
        outbox.welcomed(&mut turn(), &welcome(Epoch([2; 8]), 3));
        assert_eq!((outbox.oldest(), outbox.next_batch()), (4, Some((4, 5))));
    }

    /// A copy of the store need not know what was acknowledged at its time: the fleet's mark does.
    #[test]
    fn what_was_written_before_the_store_was_copied_is_not_told_again_under_the_new_epoch() {
        let mut outbox = Outbox::new(EPOCH, Some(OutboxRow { newest: 15, oldest: 1, acked: 12, start: Some(1) }));
        outbox.begin_run();
        outbox.append(&mut turn(), &0u64);
        outbox.append(&mut turn(), &0u64);
        outbox.welcomed(&mut turn(), &welcome(EPOCH, 20));
        assert!(outbox.is_put_back(&mut turn(), EventMark { epoch: EPOCH, high_water: 20 }));
        outbox.begin_epoch(&mut turn(), Epoch([2; 8]));
        outbox.welcomed(&mut turn(), &welcome(Epoch([2; 8]), 15));
        assert_eq!(outbox.next_batch(), Some((16, 17)));
    }

    #[test]
    fn what_the_fleet_has_is_on_disk_once_it_has_everything() {
        let mut outbox = outbox(5);
        outbox.welcomed(&mut turn(), &welcome(EPOCH, 0));
        outbox.next_batch();
        let mut writes = |n| {
            let mut step = turn();
            outbox.acknowledged(&mut step, n);
            step.finish().writes.len()
        };
        assert_eq!((writes(1), writes(4), writes(5), writes(5)), (0, 0, 1, 0));
        let mut again = turn();
        outbox.welcomed(&mut again, &welcome(EPOCH, 3));
        outbox.welcomed(&mut again, &welcome(EPOCH, 5));
        assert_eq!(again.finish().writes.len(), 1);
    }

    /// Whoever owns the connection replays the true welcome: the doubt lasts until the signed time, which ends it.
    #[test]
    fn a_welcome_behind_one_that_lied_changes_nothing() {
        let mut outbox = outbox(7);
        outbox.welcomed(&mut turn(), &welcome(EPOCH, 300));
        outbox.welcomed(&mut turn(), &welcome(EPOCH, 7));
        outbox.append(&mut turn(), &0u64);
        assert_eq!(outbox.next_batch(), None);
        assert!(!outbox.is_put_back(&mut turn(), EventMark { epoch: EPOCH, high_water: 7 }));
        assert_eq!(outbox.next_batch(), Some((8, 8)));
    }

    #[test]
    fn what_is_written_while_a_welcome_is_in_doubt_hides_nothing() {
        let mut outbox = outbox(9);
        outbox.welcomed(&mut turn(), &welcome(EPOCH, 10));
        outbox.append(&mut turn(), &0u64);
        assert!(
            outbox.is_put_back(&mut turn(), EventMark { epoch: EPOCH, high_water: 10 }),
            "event 10 of the fleet is another one"
        );
    }

    #[test]
    fn a_welcome_that_lied_holds_events_up_only_until_the_signed_time() {
        let mut outbox = outbox(9);
        outbox.welcomed(&mut turn(), &welcome(EPOCH, 500));
        assert_eq!(outbox.next_batch(), None);
        assert!(!outbox.is_put_back(&mut turn(), EventMark { epoch: EPOCH, high_water: 7 }));
        assert_eq!(outbox.next_batch(), Some((8, 9)));
    }
}
