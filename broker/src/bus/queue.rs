//! The queue in front of a link: telemetry in a lane of its own, so that its flood cannot displace an event.

use std::collections::VecDeque;

use bytes::Bytes;
use schemas::topics::Live;

use super::shard::Shard;

/// A frame that waits to be sent, or is under way.
#[derive(Debug, Clone)]
pub(super) struct Queued {
    pub(super) sequence: u64,
    pub(super) live: Live,
    pub(super) shard: Shard,
    pub(super) frame: Bytes,
}

/// Frames in the order of their sequence, bounded in number and bytes by lane.
#[derive(Debug)]
pub(super) struct Queue {
    kept: Lane,
    telemetry: Lane,
}

impl Queue {
    /// Roomy for events (a burst of a whole fleet that reconnects), small for samples that age within seconds.
    pub(super) fn new() -> Self {
        Self { kept: Lane::new(8192, 16 << 20), telemetry: Lane::new(1024, 4 << 20) }
    }

    /// Takes `frame`. Full of telemetry, the oldest samples go, and their number is returned; full of events and
    /// presence, the new one is given back.
    pub(super) fn push(&mut self, frame: Queued) -> Result<u64, Queued> {
        match frame.live {
            Live::Event | Live::Presence | Live::Availability if self.kept.has_room(&frame) => {
                self.kept.push_back(frame);
                Ok(0)
            }
            Live::Event | Live::Presence | Live::Availability => Err(frame),
            Live::Telemetry => {
                let mut displaced = 0;
                while !self.telemetry.has_room(&frame) && self.telemetry.pop_front().is_some() {
                    displaced += 1;
                }
                self.telemetry.push_back(frame);
                Ok(displaced)
            }
        }
    }

    /// Puts back what was under way on a link that died, the newest first. May exceed the bounds by one window: to drop
    /// an event here would lose it without a word to its publisher.
    pub(super) fn put_back(&mut self, frame: Queued) {
        match frame.live {
            Live::Event | Live::Presence | Live::Availability => self.kept.push_front(frame),
            Live::Telemetry => self.telemetry.push_front(frame),
        }
    }

    /// The length of the frame that [`Queue::pop`] would give.
    pub(super) fn next_len(&self) -> Option<usize> {
        self.next_lane().frames.front().map(|next| next.frame.len())
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        if self.telemetry_is_next() { self.telemetry.pop_front() } else { self.kept.pop_front() }
    }

    fn next_lane(&self) -> &Lane {
        if self.telemetry_is_next() { &self.telemetry } else { &self.kept }
    }

    fn telemetry_is_next(&self) -> bool {
        match (self.kept.frames.front(), self.telemetry.frames.front()) {
            (Some(kept), Some(sample)) => sample.sequence < kept.sequence,
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }
}

#[derive(Debug)]
struct Lane {
    frames: VecDeque<Queued>,
    bytes: usize,
    frames_max: usize,
    bytes_max: usize,
}

impl Lane {
    fn new(frames_max: usize, bytes_max: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, frames_max, bytes_max }
    }

    fn has_room(&self, frame: &Queued) -> bool {
        self.frames.len() < self.frames_max && self.bytes + frame.frame.len() <= self.bytes_max
    }

    fn push_back(&mut self, frame: Queued) {
        self.bytes += frame.frame.len();
        self.frames.push_back(frame);
    }

    fn push_front(&mut self, frame: Queued) {
        self.bytes += frame.frame.len();
        self.frames.push_front(frame);
    }

    fn pop_front(&mut self) -> Option<Queued> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.frame.len();
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(sequence: u64, live: Live, bytes: usize) -> Queued {
        Queued { sequence, live, shard: Shard::turn(0), frame: Bytes::from(vec![0; bytes]) }
    }

    fn drain(queue: &mut Queue) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop().map(|frame| frame.sequence)).collect()
    }

    #[test]
    fn both_lanes_leave_in_the_order_of_publishing() {
        let mut queue = Queue::new();
        for (sequence, live) in [(0, Live::Telemetry), (1, Live::Event), (2, Live::Telemetry), (3, Live::Presence)] {
            assert_eq!(queue.push(frame(sequence, live, 8)).unwrap(), 0);
        }
        assert_eq!(drain(&mut queue), [0, 1, 2, 3]);
        assert_eq!(queue.next_len(), None);
    }

    #[test]
    fn telemetry_displaces_only_the_oldest_telemetry() {
        let mut queue = Queue::new();
        queue.push(frame(0, Live::Event, 8)).unwrap();
        let displaced: u64 = (1..=2000).map(|n| queue.push(frame(n, Live::Telemetry, 8)).unwrap()).sum();
        assert_eq!(displaced, 2000 - 1024);
        let left = drain(&mut queue);
        assert_eq!((left[0], left[1], left.len()), (0, 977, 1025));
    }

    #[test]
    fn bytes_bound_the_lanes_too() {
        let mut queue = Queue::new();
        let (mut displaced, size) = (0, 32 << 10);
        for n in 0..200 {
            displaced += queue.push(frame(n, Live::Telemetry, size)).unwrap();
        }
        assert_eq!(displaced, 200 - (4 << 20) / size as u64);
        let refused = (200..1000).find(|n| queue.push(frame(*n, Live::Event, size)).is_err());
        assert_eq!(refused, Some(200 + (16 << 20) / size as u64));
    }

    #[test]
    fn full_of_events_the_new_one_is_given_back() {
        let mut queue = Queue::new();
        (0..8192).for_each(|n| assert!(queue.push(frame(n, Live::Event, 8)).is_ok()));
        assert_eq!(queue.push(frame(8192, Live::Presence, 8)).unwrap_err().sequence, 8192);
        assert!(queue.push(frame(8193, Live::Telemetry, 8)).is_ok());
    }

    #[test]
    fn what_is_put_back_leaves_first() {
        let mut queue = Queue::new();
        queue.push(frame(7, Live::Event, 8)).unwrap();
        for (sequence, live) in [(6, Live::Telemetry), (5, Live::Event), (4, Live::Telemetry)] {
            queue.put_back(frame(sequence, live, 8));
        }
        assert_eq!(drain(&mut queue), [4, 5, 6, 7]);
    }
}
