//! The app flow: the screen shows a token, and a command that carries it back opens the door of an order.
//!
//! Whoever signs for the fleet but stands nowhere near has to guess. Two tokens are good at one time, of 40 bits each, and after
//! five wrong ones none is taken for five minutes (THREAT-MODEL.md has what that comes to).

use schemas::messages::{AppClosed, OpenOrder, OrderKey, PresenceToken, RefusalReason};

use crate::EntryRefusal;
use crate::commands::REQUESTER_MAX;
use crate::core::CabinetCore;
use crate::entry::valid;
use crate::link::Link;
use crate::records::{CollectUse, CommandRight};
use crate::turn::Turn;

/// How long a token is shown before another one takes its place.
pub const TOKEN_SHOWN_MILLIS: u64 = 30_000;
/// How long it is good: as long again as it was shown, because an app and a network take their time.
pub const TOKEN_LIFE_MILLIS: u64 = 60_000;
/// So many wrong ones within [`APP_CLOSED_MILLIS`], and none is taken for as long.
pub const WRONG_TOKENS_MAX: usize = 5;
pub const APP_CLOSED_MILLIS: u64 = 300_000;

#[derive(Debug)]
struct Shown {
    token: PresenceToken,
    since: u64,
}

/// The tokens of this run. In memory only: after a restart nobody holds one that was shown before, as little as a challenge.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    /// The one on the screen, and in front of it the one before.
    shown: Vec<Shown>,
    /// When the last ones were wrong.
    wrong: Vec<u64>,
    closed_until: Option<u64>,
}

impl Presence {
    pub(crate) fn deadline(&self) -> Option<u64> {
        let next = self.shown.last().map(|shown| shown.since + TOKEN_SHOWN_MILLIS);
        next.into_iter().chain(self.closed_until).min()
    }

    pub(crate) fn token(&self) -> Option<PresenceToken> {
        self.shown.last().map(|shown| shown.token)
    }

    fn is_closed(&self, now: u64) -> bool {
        self.closed_until.is_some_and(|until| now < until)
    }

    /// Looks at each of them, whichever it is.
    fn has(&self, token: &PresenceToken, now: u64) -> bool {
        let good = self.shown.iter().filter(|shown| now < shown.since + TOKEN_LIFE_MILLIS);
        good.filter(|shown| shown.token == *token).count() > 0
    }

    fn use_up(&mut self, token: &PresenceToken) {
        self.shown.retain(|shown| shown.token != *token);
    }

    /// Until when none is taken, if this wrong one was one too many.
    fn count_wrong(&mut self, now: u64) -> Option<u64> {
        self.wrong.retain(|at| now.saturating_sub(*at) < APP_CLOSED_MILLIS);
        self.wrong.push(now);
        if self.wrong.len() < WRONG_TOKENS_MAX {
            return None;
        }
        self.wrong.clear();
        self.shown.clear();
        self.closed_until = Some(now + APP_CLOSED_MILLIS);
        self.closed_until
    }

    /// Shows another one if it is time for that. Without a fleet nobody could use it.
    fn show(&mut self, turn: &mut Turn, useful: bool) {
        self.closed_until = self.closed_until.filter(|until| turn.now < *until);
        self.shown.retain(|shown| useful && turn.now < shown.since + TOKEN_LIFE_MILLIS);
        let fresh = self.shown.last().is_some_and(|shown| turn.now < shown.since + TOKEN_SHOWN_MILLIS);
        if useful && !fresh && self.closed_until.is_none() {
            let token = PresenceToken::from_random(turn.draws.bytes());
            self.shown.push(Shown { token, since: turn.now });
        }
    }
}

impl CabinetCore {
    pub(crate) fn show_token(&mut self, turn: &mut Turn) {
        let online = matches!(self.link, Link::Welcomed { .. });
        let useful = self.config.app_token && online && self.end.is_none();
        if self.config.app_token {
            self.presence.show(turn, useful);
        }
    }

    /// A command of the fleet's that carries a token. Refused for good, or one use of the order's door.
    pub(crate) fn handle_open_order(&mut self, turn: &mut Turn, open: OpenOrder) {
        match self.may_open(turn, &open) {
            Err(reason) => self.refuse_command(turn, Some(open.id), reason),
            Ok(not_after) => {
                self.presence.use_up(&open.token);
                self.commands.accept(turn, open.id);
                let OpenOrder { id, order, compartment, requester, .. } = open;
                let app = CommandRight { id, requester, told: false };
                let purpose =
                    CollectUse { credential: OpenOrder::credential(id), order, app: Some(app), released: None }.into();
                self.end_forgotten_load(turn, compartment);
                self.start_use(turn, compartment, purpose, not_after, 1);
            }
        }
    }

    /// In the order of PROTOCOL.md. Returns the boot clock after which nothing may be pulsed.
    fn may_open(&mut self, turn: &mut Turn, open: &OpenOrder) -> Result<u64, RefusalReason> {
        if open.requester.len() > REQUESTER_MAX {
            return Err(RefusalReason::Malformed);
        }
        let not_after = self.fresh(open.id, &open.challenge, turn.now)?;
        if !self.config.app_token {
            return Err(RefusalReason::NotEnabled);
        }
        if self.presence.is_closed(turn.now) {
            return Err(RefusalReason::TooOften);
        }
        if !self.presence.has(&open.token, turn.now) {
            self.wrong_token(turn);
            return Err(RefusalReason::NoSuchToken);
        }
        if !self.bays.contains_key(&open.compartment) {
            return Err(RefusalReason::UnknownCompartment);
        }
        if self.compartment_of(&open.order) != Some(open.compartment) {
            return Err(RefusalReason::WrongContent);
        }
        if self.book.credentials_of(&open.order).any(|row| row.is_guarded(&open.order)) {
            // Staff look at the person first.
            return Err(RefusalReason::NotEnabled);
        }
        self.app_may_collect(&open.order, turn.now).map_err(refused_as)?;
        match self.behind_one(&open.order) {
            Ok(compartment) if compartment == open.compartment => Ok(not_after),
            Ok(_) => Err(RefusalReason::WrongContent),
            Err((refusal, _)) => Err(refused_as(refusal)),
        }
    }

    fn wrong_token(&mut self, turn: &mut Turn) {
        if let Some(until_boot_millis) = self.presence.count_wrong(turn.now) {
            let wrong = u32::try_from(WRONG_TOKENS_MAX).unwrap_or(u32::MAX);
            self.record(turn, AppClosed { until_boot_millis, wrong });
        }
    }

    /// The same rules as for the order's code: without one in force, within its time, nothing opens by the app either.
    pub(crate) fn app_may_collect(&self, order: &OrderKey, now: u64) -> Result<(), EntryRefusal> {
        let mut refusal = EntryRefusal::Revoked;
        for row in self.book.credentials_of(order) {
            match valid(row).and_then(|()| self.right_to(row, order, now)) {
                Ok(()) => return Ok(()),
                Err(why) => refusal = why,
            }
        }
        Err(refusal)
    }
}

/// What the fleet is told of a rule that holds for codes.
fn refused_as(refusal: EntryRefusal) -> RefusalReason {
    match refusal {
        EntryRefusal::Used => RefusalReason::Used,
        EntryRefusal::Expired => RefusalReason::Expired,
        EntryRefusal::Revoked | EntryRefusal::TakenOut => RefusalReason::Revoked,
        EntryRefusal::TimeUnknown => RefusalReason::TimeUnknown,
        EntryRefusal::OutOfService | EntryRefusal::Missing => RefusalReason::OutOfService,
        EntryRefusal::NoRoom => RefusalReason::NoFittingCompartment,
        EntryRefusal::NotHere | EntryRefusal::Wrong => RefusalReason::WrongContent,
        EntryRefusal::Busy => RefusalReason::Busy,
        EntryRefusal::WrongAnswer | EntryRefusal::AnswersUsedUp | EntryRefusal::CodeFirst => RefusalReason::NotEnabled,
    }
}
