//! The newest notes of the core, each for whom it is meant, and long polls that wait for them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cabinet_core::{ScreenNote, SessionId};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Notes that are kept for a page that was away for a moment.
const NOTES_MAX: usize = 256;
/// Far more than the core keeps alive; so a lost `SessionEnded` costs nothing.
const SESSIONS_MAX: usize = 64;

/// Where the main loop puts notes for the screen. Cheap to clone; any thread may push.
#[derive(Clone)]
pub struct Notes(Arc<Shared>);

struct Shared {
    ring: Mutex<Ring>,
    news: watch::Sender<News>,
}

/// What wakes long polls.
#[derive(Clone, Copy)]
struct News {
    newest: u64,
    closed: bool,
    /// The main loop is at rest: its store does not work.
    out_of_order: bool,
}

/// Notes are numbered from 1; `newest` is 0 while there is none.
#[derive(Default)]
struct Ring {
    newest: u64,
    notes: VecDeque<(Audience, ScreenNote)>,
    sessions: VecDeque<SessionId>,
}

enum Audience {
    Everyone,
    Sessions(Vec<SessionId>),
}

/// Notes for one page, and the number from which it has to ask on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) next: u64,
    pub(super) notes: Vec<ScreenNote>,
}

impl Notes {
    pub(super) fn new() -> Self {
        let news = watch::Sender::new(News { newest: 0, closed: false, out_of_order: false });
        Self(Arc::new(Shared { ring: Mutex::default(), news }))
    }

    pub fn push(&self, note: ScreenNote) {
        let newest = self.ring().push(note);
        // Pushes of several threads may come here in another order.
        self.0.news.send_modify(|news| news.newest = news.newest.max(newest));
    }

    /// The main loop starts over and knows none of the sessions any more.
    pub fn end_sessions(&self) {
        let sessions: Vec<SessionId> = self.ring().sessions.iter().copied().collect();
        for session in sessions {
            self.push(ScreenNote::SessionEnded { session });
        }
    }

    /// Says whether doors can open at all. As long as they cannot, every call of the page is told so.
    pub fn set_out_of_order(&self, out_of_order: bool) {
        self.0.news.send_modify(|news| news.out_of_order = out_of_order);
    }

    pub(super) fn is_out_of_order(&self) -> bool {
        self.0.news.borrow().out_of_order
    }

    pub(super) fn session_began(&self, session: SessionId) {
        self.ring().begin(session);
    }

    /// Whether this session has begun here and has not ended.
    pub(super) fn is_alive(&self, session: SessionId) -> bool {
        self.ring().sessions.iter().any(|other| same(*other, session))
    }

    /// Ends all long polls, now and later.
    pub(super) fn close(&self) {
        self.0.news.send_modify(|news| news.closed = true);
    }

    pub(super) fn newest(&self) -> u64 {
        self.ring().newest
    }

    /// The notes after number `after` that are for `session`, or for everyone; waits for one at most this long.
    pub(super) async fn after(&self, after: u64, session: Option<SessionId>, wait: Duration) -> Page {
        let deadline = Instant::now() + wait;
        let mut news = self.0.news.subscribe();
        loop {
            let ends = {
                let news = news.borrow_and_update();
                news.closed || news.out_of_order
            };
            let page = self.ring().after(after, session);
            // A number of the future is of another start: the page has to begin again from what there is.
            if !page.notes.is_empty() || after > page.next || ends {
                return page;
            }
            if !matches!(timeout_at(deadline, news.changed()).await, Ok(Ok(()))) {
                return page;
            }
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // No step of a ring panics half-way, so a poisoned one is whole.
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn push(&mut self, note: ScreenNote) -> u64 {
        let audience = self.audience(&note);
        if let ScreenNote::SessionEnded { session } = note {
            self.sessions.retain(|other| *other != session);
        }
        if self.notes.len() == NOTES_MAX {
            self.notes.pop_front();
        }
        self.notes.push_back((audience, note));
        self.newest += 1;
        self.newest
    }

    /// What names an order is for staff, except the reference to tell the hotline.
    fn audience(&self, note: &ScreenNote) -> Audience {
        match note {
            ScreenNote::Opened { .. }
            | ScreenNote::Closed { .. }
            | ScreenNote::PushDoor { .. }
            | ScreenNote::LockSilent { .. }
            | ScreenNote::CallStaff { .. }
            | ScreenNote::Reported { .. }
            | ScreenNote::AskRelease { .. }
            | ScreenNote::Beep { .. } => Audience::Everyone,
            ScreenNote::Loading { session, .. }
            | ScreenNote::Retrieving { session, .. }
            | ScreenNote::Released { session, .. }
            | ScreenNote::Looking { session, .. }
            | ScreenNote::Swapping { session, .. }
            | ScreenNote::OpeningAll { session, .. }
            | ScreenNote::StaffRefused { session, .. }
            | ScreenNote::Depositing { session, .. }
            | ScreenNote::AskDeposited { session, .. }
            | ScreenNote::DepositOver { session, .. }
            | ScreenNote::DepositRefused { session, .. }
            | ScreenNote::SessionEnded { session } => Audience::Sessions(vec![*session]),
            ScreenNote::AskLoaded { .. }
            | ScreenNote::Beside { .. }
            | ScreenNote::AskFound { .. }
            | ScreenNote::Audited { .. }
            | ScreenNote::AskSwapped { .. }
            | ScreenNote::SwapOver { .. }
            | ScreenNote::Stored { .. }
            | ScreenNote::Found { .. }
            | ScreenNote::LoadAborted { .. } => Audience::Sessions(self.sessions.iter().copied().collect()),
        }
    }

    fn begin(&mut self, session: SessionId) {
        if self.sessions.len() == SESSIONS_MAX {
            self.sessions.pop_front();
        }
        self.sessions.push_back(session);
    }

    fn after(&self, after: u64, session: Option<SessionId>) -> Page {
        // `len` fits: at most NOTES_MAX.
        let oldest = self.newest - self.notes.len() as u64;
        let skip = usize::try_from(after.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let notes = self.notes.iter().skip(skip).filter(|(audience, _)| audience.has(session));
        Page { next: self.newest, notes: notes.map(|(_, note)| note.clone()).collect() }
    }
}

impl Audience {
    fn has(&self, session: Option<SessionId>) -> bool {
        match (self, session) {
            (Self::Everyone, _) => true,
            (Self::Sessions(sessions), Some(session)) => sessions.iter().any(|other| same(*other, session)),
            (Self::Sessions(_), None) => false,
        }
    }
}

fn same(one: SessionId, other: SessionId) -> bool {
    one.0.to_be_bytes().ct_eq(&other.0.to_be_bytes()).into()
}

#[cfg(test)]
mod tests {
    use schemas::messages::Compartment;

    use super::*;

    const ONE: SessionId = SessionId(1);
    const TWO: SessionId = SessionId(2);

    fn door(number: u16) -> Compartment {
        Compartment::new(number).unwrap()
    }

    fn opened(number: u16) -> ScreenNote {
        ScreenNote::Opened { compartment: door(number) }
    }

    fn stored() -> ScreenNote {
        ScreenNote::Stored { order: "pos/A17".parse().unwrap(), compartment: door(7) }
    }

    fn seen(ring: &Ring, session: Option<SessionId>) -> Vec<ScreenNote> {
        ring.after(0, session).notes
    }

    #[test]
    fn notes_of_a_session_reach_only_that_session() {
        let mut ring = Ring::default();
        let note = ScreenNote::Loading { session: ONE, order: "pos/A17".parse().unwrap(), compartment: door(7) };
        ring.push(note.clone());
        assert_eq!(seen(&ring, Some(ONE)), [note]);
        assert!(seen(&ring, Some(TWO)).is_empty());
        assert!(seen(&ring, None).is_empty());
    }

    #[test]
    fn notes_that_name_an_order_reach_the_staff_who_were_there() {
        let mut ring = Ring::default();
        ring.begin(ONE);
        ring.push(stored());
        ring.begin(TWO);
        assert_eq!(seen(&ring, Some(ONE)), [stored()]);
        assert!(seen(&ring, Some(TWO)).is_empty(), "came after the note");
        assert!(seen(&ring, None).is_empty());
        assert!(seen(&ring, Some(SessionId(3))).is_empty(), "never began");
    }

    #[test]
    fn ended_session_learns_that_it_ended_and_nothing_later() {
        let mut ring = Ring::default();
        ring.begin(ONE);
        let ended = ScreenNote::SessionEnded { session: ONE };
        ring.push(ended.clone());
        ring.push(stored());
        assert_eq!(seen(&ring, Some(ONE)), [ended]);
    }

    #[test]
    fn ring_keeps_the_newest_notes_and_says_where_to_go_on() {
        let mut ring = Ring::default();
        for n in 0..300 {
            ring.push(opened(n + 1));
        }
        let page = ring.after(0, None);
        assert_eq!((page.next, page.notes.len()), (300, NOTES_MAX));
        assert_eq!(page.notes.first(), Some(&opened(45)));
        assert_eq!(ring.after(299, None).notes, [opened(300)]);
        assert!(ring.after(300, None).notes.is_empty());
        assert!(ring.after(u64::MAX, None).notes.is_empty());
    }

    #[test]
    fn sessions_without_an_end_are_bounded() {
        let mut ring = Ring::default();
        for n in 0..1000 {
            ring.begin(SessionId(n));
        }
        assert_eq!(ring.sessions.len(), SESSIONS_MAX);
    }

    #[tokio::test]
    async fn number_of_another_start_is_answered_at_once() {
        let notes = Notes::new();
        notes.push(opened(7));
        let page = notes.after(99, None, Duration::from_secs(600)).await;
        assert_eq!(page, Page { next: 1, notes: vec![] });
    }

    #[tokio::test]
    async fn closing_ends_a_wait() {
        let notes = Notes::new();
        let waiting = tokio::spawn({
            let notes = notes.clone();
            async move { notes.after(0, None, Duration::from_secs(600)).await }
        });
        notes.close();
        assert_eq!(waiting.await.unwrap(), Page { next: 0, notes: vec![] });
    }
}
