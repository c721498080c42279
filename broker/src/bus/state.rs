//! What the threads of a bus share: the queue, the frames under way, the watchdog's clock. No threads, no waiting.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::frame::{self, Content, FrameId, PAYLOAD_MAX};
use super::link::{Received, WINDOW_BYTES, WINDOW_FRAMES};
use super::queue::{Queue, Queued};
use super::shard::Shard;
use super::{BusError, Counts, Health, LivePacket};

/// The state of a bus over its current link. Links are told apart by their generation; what an old one still says is
/// not believed.
pub(super) struct State {
    pub(super) health: Health,
    pub(super) counts: Counts,
    /// The current link. Grows with each replacement.
    pub(super) generation: u64,
    /// A thread of the current link reported its end.
    pub(super) link_died: bool,
    /// The current link has brought at least one frame back.
    pub(super) proved: bool,
    origin: u64,
    /// Other buses write to the same topics and are delivered too.
    shared_with_others: bool,
    next_sequence: u64,
    queue: Queue,
    under_way: BTreeMap<u64, UnderWay>,
    under_way_bytes: usize,
    clock: LinkClock,
    last_proof: Duration,
}

struct UnderWay {
    /// `None` for a heartbeat, which is not sent again.
    queued: Option<Queued>,
    shard: Shard,
    frame: Bytes,
    sent: Duration,
}

impl State {
    pub(super) fn new(origin: u64, shared_with_others: bool, now: Instant) -> Self {
        Self {
            health: Health::Starting,
            counts: Counts::default(),
            generation: 0,
            link_died: false,
            proved: false,
            origin,
            shared_with_others,
            next_sequence: 0,
            queue: Queue::new(),
            under_way: BTreeMap::new(),
            under_way_bytes: 0,
            clock: LinkClock::new(now),
            last_proof: Duration::ZERO,
        }
    }

    /// Whether the bus has ended, by shutdown or for want of a router.
    pub(super) fn ended(&self) -> bool {
        match self.health {
            Health::Dead | Health::Closed => true,
            Health::Starting | Health::Up | Health::Replacing => false,
        }
    }

    pub(super) fn enqueue(&mut self, packet: &LivePacket) -> Result<(), BusError> {
        match self.health {
            Health::Closed => return Err(BusError::Closed),
            Health::Dead => return Err(BusError::Dead),
            Health::Starting | Health::Up | Health::Replacing => {}
        }
        if packet.payload.len() > PAYLOAD_MAX {
            return Err(BusError::TooLarge { bytes: packet.payload.len() });
        }
        let id = self.next_id();
        let frame = frame::encode_live(id, packet);
        let shard = Shard::of(&packet.tenant, &packet.cabinet);
        match self.queue.push(Queued { sequence: id.sequence, live: packet.live, shard, frame }) {
            Ok(displaced) => {
                self.counts.accepted += 1;
                // Only telemetry is ever displaced.
                self.counts.dropped.telemetry += displaced;
                Ok(())
            }
            Err(refused) => {
                self.counts.dropped.add(refused.live);
                Err(BusError::Full { live: refused.live })
            }
        }
    }

    /// The next frame for the link, if there is one and it fits into the window. It counts as under way from now on.
    pub(super) fn next_to_send(&mut self, now: Instant, heartbeat: Duration) -> Option<(Shard, Bytes)> {
        if let Some(queued) = self.pop_if_room() {
            let (sequence, shard, frame) = (queued.sequence, queued.shard, queued.frame.clone());
            return Some(self.note_sent(sequence, shard, frame, Some(queued), now));
        }
        if self.until_heartbeat(now, heartbeat) != Some(Duration::ZERO) {
            return None;
        }
        let id = self.next_id();
        Some(self.note_sent(id.sequence, Shard::turn(id.sequence), frame::encode_heartbeat(id), None, now))
    }

    /// How long until an idle link has to be probed. `None` while a frame is under way, because that is a probe.
    pub(super) fn until_heartbeat(&self, now: Instant, heartbeat: Duration) -> Option<Duration> {
        if !self.under_way.is_empty() {
            return None;
        }
        if !self.proved {
            return Some(Duration::ZERO);
        }
        Some((self.last_proof + heartbeat).saturating_sub(self.clock.read(now)))
    }

    /// Looks at a message of the link `generation`. Returns the packet to deliver, if it is one, and stops the link's
    /// clock until [`State::delivered`].
    pub(super) fn receive(&mut self, generation: u64, received: Received, now: Instant) -> Option<LivePacket> {
        if self.ended() || generation != self.generation {
            self.counts.stale += 1;
            return None;
        }
        let Some((id, content)) = checked(&received) else {
            self.counts.malformed += 1;
            return None;
        };
        if id.origin == self.origin {
            if !self.take_back(id.sequence, &received, now) {
                return None;
            }
        } else if !self.shared_with_others {
            self.counts.malformed += 1;
            return None;
        }
        match content {
            Content::Heartbeat => None,
            Content::Live(packet) => {
                self.counts.delivered += 1;
                self.clock.stop(now);
                Some(packet)
            }
        }
    }

    pub(super) fn delivered(&mut self, now: Instant) {
        self.clock.go_on(now);
    }

    /// Whether a frame has been under way for longer than `limit`: then the link is dead, whatever it says.
    pub(super) fn overdue(&self, now: Instant, limit: Duration) -> bool {
        let reading = self.clock.read(now);
        // Sequences are not in the order of sending once frames were put back, so look at all of the small window.
        self.under_way.values().any(|frame| reading.saturating_sub(frame.sent) > limit)
    }

    /// Turns from the current link to the next one. What had not come back goes first on it.
    pub(super) fn give_up_link(&mut self) {
        self.generation += 1;
        self.link_died = false;
        self.proved = false;
        for (_, frame) in std::mem::take(&mut self.under_way).into_iter().rev() {
            if let Some(queued) = frame.queued {
                self.queue.put_back(queued);
            }
        }
        self.under_way_bytes = 0;
        if self.health == Health::Up {
            self.health = Health::Replacing;
        }
    }

    fn next_id(&mut self) -> FrameId {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        FrameId { origin: self.origin, sequence }
    }

    fn pop_if_room(&mut self) -> Option<Queued> {
        let next = self.queue.next_len()?;
        let room = self.under_way.is_empty()
            || (self.under_way.len() < WINDOW_FRAMES && self.under_way_bytes + next <= WINDOW_BYTES);
        if room { self.queue.pop() } else { None }
    }

    fn note_sent(
        &mut self,
        sequence: u64,
        shard: Shard,
        frame: Bytes,
        queued: Option<Queued>,
        now: Instant,
    ) -> (Shard, Bytes) {
        self.under_way_bytes += frame.len();
        let sent = self.clock.read(now);
        self.under_way.insert(sequence, UnderWay { queued, shard, frame: frame.clone(), sent });
        (shard, frame)
    }

    /// Takes a frame of our own from the window. It must be byte for byte what was sent: on an external broker another
    /// party could answer in our name.
    fn take_back(&mut self, sequence: u64, received: &Received, now: Instant) -> bool {
        let Some(sent) = self.under_way.get(&sequence) else {
            self.counts.stale += 1;
            return false;
        };
        if sent.frame != received.frame || received.shard != Some(sent.shard) {
            self.counts.malformed += 1;
            return false;
        }
        self.under_way_bytes -= sent.frame.len();
        self.under_way.remove(&sequence);
        self.proved = true;
        self.last_proof = self.clock.read(now);
        self.health = Health::Up;
        true
    }
}

/// A frame that decodes and came by the topic where it belongs.
fn checked(received: &Received) -> Option<(FrameId, Content)> {
    let shard = received.shard?;
    let (id, content) = frame::decode(received.frame.clone()).ok()?;
    match &content {
        Content::Live(packet) if Shard::of(&packet.tenant, &packet.cabinet) != shard => None,
        Content::Live(_) | Content::Heartbeat => Some((id, content)),
    }
}

/// Time as the link sees it: it stands still while the sink works, so that a slow sink is not taken for a dead router.
struct LinkClock {
    started: Instant,
    stood_still: Duration,
    stopped: Option<Instant>,
}

impl LinkClock {
    fn new(now: Instant) -> Self {
        Self { started: now, stood_still: Duration::ZERO, stopped: None }
    }

    fn read(&self, now: Instant) -> Duration {
        let until = self.stopped.unwrap_or(now);
        until.saturating_duration_since(self.started).saturating_sub(self.stood_still)
    }

    fn stop(&mut self, now: Instant) {
        self.stopped = Some(now);
    }

    fn go_on(&mut self, now: Instant) {
        if let Some(stopped) = self.stopped.take() {
            self.stood_still += now.saturating_duration_since(stopped);
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::topics::Live;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);
    const BEAT: Duration = Duration::from_secs(1);

    fn packet(live: Live, payload: &str) -> LivePacket {
        let (tenant, cabinet) = ("acme".parse().unwrap(), "c1".parse().unwrap());
        LivePacket { tenant, cabinet, live, payload: Bytes::copy_from_slice(payload.as_bytes()) }
    }

    fn echo((shard, frame): (Shard, Bytes)) -> Received {
        Received { shard: Some(shard), frame }
    }

    /// A state whose link has brought its first heartbeat back, and the time at which it did.
    fn proved_state() -> (State, Instant) {
        let now = Instant::now();
        let mut state = State::new(7, false, now);
        let beat = state.next_to_send(now, BEAT).unwrap();
        assert_eq!(state.receive(0, echo(beat), now), None);
        assert_eq!(state.health, Health::Up);
        (state, now)
    }

    fn payloads(state: &mut State, now: Instant) -> Vec<Bytes> {
        let frames = std::iter::from_fn(|| state.next_to_send(now, BEAT));
        let decoded = frames.map(|(_, frame)| frame::decode(frame).unwrap().1);
        decoded
            .filter_map(|content| if let Content::Live(packet) = content { Some(packet.payload) } else { None })
            .collect()
    }

    #[test]
    fn idle_link_is_probed_once_per_heartbeat() {
        let (mut state, now) = proved_state();
        assert_eq!(state.until_heartbeat(now, BEAT), Some(BEAT));
        assert!(state.next_to_send(now + BEAT / 2, BEAT).is_none());
        assert!(state.next_to_send(now + BEAT, BEAT).is_some());
        assert_eq!(state.until_heartbeat(now + BEAT, BEAT), None);
        assert!(state.next_to_send(now + 9 * BEAT, BEAT).is_none(), "a frame under way is the probe");
    }

    #[test]
    fn frame_that_does_not_come_back_makes_the_link_overdue() {
        let (mut state, now) = proved_state();
        state.enqueue(&packet(Live::Event, "1")).unwrap();
        let sent = state.next_to_send(now, BEAT).unwrap();
        assert!(!state.overdue(now + LIMIT, LIMIT));
        assert!(state.overdue(now + LIMIT + BEAT, LIMIT));
        assert!(state.receive(0, echo(sent), now + LIMIT).is_some());
        assert!(!state.overdue(now + 9 * LIMIT, LIMIT));
    }

    #[test]
    fn slow_sink_is_not_taken_for_a_dead_link() {
        let (mut state, now) = proved_state();
        for text in ["1", "2"] {
            state.enqueue(&packet(Live::Event, text)).unwrap();
        }
        let first = state.next_to_send(now, BEAT).unwrap();
        let second = state.next_to_send(now, BEAT).unwrap();
        assert!(state.receive(0, echo(first), now).is_some());
        let later = now + 10 * LIMIT;
        assert!(!state.overdue(later, LIMIT), "the second waits behind the sink");
        state.delivered(later);
        assert!(!state.overdue(later + LIMIT, LIMIT));
        assert!(state.overdue(later + LIMIT + BEAT, LIMIT));
        assert!(state.receive(0, echo(second), later).is_some());
    }

    #[test]
    fn frame_that_comes_twice_is_delivered_once() {
        let (mut state, now) = proved_state();
        state.enqueue(&packet(Live::Event, "1")).unwrap();
        let sent = state.next_to_send(now, BEAT).unwrap();
        assert!(state.receive(0, echo(sent.clone()), now).is_some());
        assert!(state.receive(0, echo(sent), now).is_none());
        assert_eq!((state.counts.delivered, state.counts.stale), (1, 1));
    }

    #[test]
    fn forged_echo_neither_passes_nor_takes_the_place_of_the_true_one() {
        let (mut state, now) = proved_state();
        state.enqueue(&packet(Live::Event, "1")).unwrap();
        let (shard, frame) = state.next_to_send(now, BEAT).unwrap();
        let (id, _) = frame::decode(frame.clone()).unwrap();
        let forged = frame::encode_live(id, &packet(Live::Event, "2"));
        assert!(state.receive(0, echo((shard, forged)), now).is_none());
        assert!(state.receive(0, Received { shard: None, frame: frame.clone() }, now).is_none());
        assert_eq!(state.counts.malformed, 2);
        assert!(state.receive(0, echo((shard, frame)), now).is_some());
    }

    #[test]
    fn only_a_bus_that_is_shared_delivers_what_others_made() {
        let now = Instant::now();
        let others = packet(Live::Event, "theirs");
        let frame = frame::encode_live(FrameId { origin: 8, sequence: 0 }, &others);
        let shard = Shard::of(&others.tenant, &others.cabinet);
        let mut own = State::new(7, false, now);
        assert_eq!(own.receive(0, echo((shard, frame.clone())), now), None);
        assert_eq!(own.counts.malformed, 1);
        let mut shared = State::new(7, true, now);
        assert_eq!(shared.receive(0, echo((shard, frame)), now), Some(others));
        assert_eq!(shared.health, Health::Starting, "the frames of others prove nothing about ours");
    }

    #[test]
    fn next_link_starts_with_what_had_not_come_back_in_order() {
        let (mut state, now) = proved_state();
        for (live, text) in [(Live::Event, "1"), (Live::Telemetry, "2"), (Live::Presence, "3"), (Live::Event, "4")] {
            state.enqueue(&packet(live, text)).unwrap();
        }
        let first = state.next_to_send(now, BEAT).unwrap();
        let second = state.next_to_send(now, BEAT).unwrap();
        state.next_to_send(now, BEAT).unwrap();
        assert!(state.receive(0, echo(first), now).is_some());
        state.give_up_link();
        assert_eq!(state.health, Health::Replacing);
        assert!(state.receive(0, echo(second), now).is_none(), "the old link is not believed");
        assert_eq!(payloads(&mut state, now), ["2", "3", "4"]);
    }

    #[test]
    fn window_is_bounded_in_frames_and_bytes() {
        let (mut state, now) = proved_state();
        (0..200).for_each(|_| state.enqueue(&packet(Live::Event, "small")).unwrap());
        assert_eq!(payloads(&mut state, now).len(), WINDOW_FRAMES);
        let (mut state, now) = proved_state();
        let large = "x".repeat(PAYLOAD_MAX);
        (0..200).for_each(|_| state.enqueue(&packet(Live::Event, &large)).unwrap());
        assert_eq!(payloads(&mut state, now).len(), WINDOW_BYTES / PAYLOAD_MAX - 1);
    }
}
