//! The time that a stored order has: reminders, the end of its window, the grace behind it.

use schemas::api::{Grace, Percent, Policy, RejectReason};
use schemas::cbor_map;
use schemas::messages::FleetMillis;

use crate::policy::InForce;
use crate::site::SiteClock;

cbor_map! {
    /// A reminder that is still to come.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Reminder {
        /// Share of the window, for its name.
        1 => percent: u8,
        2 => at: FleetMillis,
    }
}

cbor_map! {
    /// By the policy of the moment when the order was stored: another one changes nothing here by itself.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Window {
        /// Version of the policies.
        1 => policy: u64,
        /// When the order was stored, by the cabinet's word.
        2 => from: FleetMillis,
        3 => ends: FleetMillis,
        /// By their moments.
        4 => reminders: Vec<Reminder>,
        /// How long the code works behind the end. Left out: until staff begin to take the order back.
        5 opt => grace: Option<FleetMillis>,
        6 => needs_time: bool,
        7 => refrigerated: bool,
        /// Somebody has moved the end: policies do so no more.
        8 => extended: bool,
        /// It stands still while the cabinet could not open.
        9 => pauses: bool,
        /// Since when it stands still.
        10 opt => paused: Option<FleetMillis>,
        /// How long it has stood still, all pauses that are over taken together.
        11 => stood: FleetMillis,
        /// Furthest end that a site which is closed may bring, without the pauses. Left out: it ends whatever the hours.
        30 opt => latest: Option<FleetMillis>,
        /// No reminder comes while the site is closed.
        31 opt => reminds_when_open: Option<bool>,
    }
}

/// What has come of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// The newest of the reminders that are due: one message is enough after an outage.
    Remind(u8),
    Ended,
    Nothing,
}

impl Window {
    pub(crate) fn begin(
        policy: InForce<'_>,
        rules: &Policy,
        from: FleetMillis,
        refrigerated: bool,
        site: Option<&SiteClock>,
    ) -> Self {
        let cooled = rules.cooled_window_minutes.filter(|_| refrigerated);
        let span = cooled.unwrap_or(rules.window_minutes).millis();
        let mut window = Self {
            policy: policy.version,
            from,
            ends: from.saturating_add(span),
            reminders: Vec::new(),
            grace: match rules.grace {
                Grace::None => Some(0),
                Grace::Minutes(minutes) => Some(minutes.millis()),
                Grace::UntilRetrieved => None,
            },
            needs_time: rules.needs_time,
            refrigerated,
            extended: false,
            pauses: rules.pauses,
            paused: None,
            stood: 0,
            latest: (rules.ends_when_open == Some(true)).then(|| from.saturating_add(rules.longest_minutes.millis())),
            reminds_when_open: rules.reminds_when_open.filter(|said| *said),
        };
        window.end_when_open(site);
        window.remind(from, &rules.reminders_percent, site);
        window
    }

    /// Moves an end at which nobody gets in.
    fn end_when_open(&mut self, site: Option<&SiteClock>) {
        if let (Some(site), Some(latest)) = (site, self.latest) {
            self.ends = site.end_when_open(self.ends, latest.saturating_add(self.stood));
        }
    }

    /// Moves reminders that would come while nobody gets in. One whose opening comes too late is better sent at night than never.
    fn remind_when_open(&mut self, site: Option<&SiteClock>) {
        if let (Some(site), Some(true)) = (site, self.reminds_when_open) {
            let ends = self.ends;
            self.reminders.iter_mut().for_each(|reminder| reminder.at = site.when_open(reminder.at, ends));
        }
    }

    /// Places the reminders between `from` and the end.
    fn remind(&mut self, from: FleetMillis, shares: &[Percent], site: Option<&SiteClock>) {
        let span = self.ends.saturating_sub(from);
        let reminder = |share: &Percent| Reminder { percent: share.count(), at: from.saturating_add(share.of(span)) };
        self.reminders = shares.iter().map(reminder).collect();
        self.remind_when_open(site);
    }

    /// The same window by other policies. An end that somebody has set stays; a reminder whose moment is over is not sent.
    pub(crate) fn under(
        &self,
        policy: InForce<'_>,
        rules: &Policy,
        now: FleetMillis,
        site: Option<&SiteClock>,
    ) -> Self {
        let mut next = Self::begin(policy, rules, self.from, self.refrigerated, site);
        if next.pauses {
            (next.paused, next.stood) = (self.paused, self.stood);
        }
        if self.extended {
            (next.ends, next.extended, next.latest) = (self.ends, true, None);
            next.reminders.clone_from(&self.reminders);
        } else if next.pauses {
            next.shift(self.stood, site);
        }
        next.reminders.retain(|reminder| reminder.at > now);
        next
    }

    /// Moves the end. The shares of the reminders are of the time that is left then.
    pub(crate) fn extend(
        &mut self,
        until: FleetMillis,
        now: FleetMillis,
        rules: &Policy,
        site: Option<&SiteClock>,
    ) -> Result<(), RejectReason> {
        if until <= now || until <= self.ends {
            return Err(RejectReason::DeadlineNotLater);
        }
        if until > self.from.saturating_add(rules.longest_minutes.millis()) {
            return Err(RejectReason::DeadlineTooFar);
        }
        // Whoever names an end knows when the site is open.
        (self.ends, self.extended, self.latest) = (until, true, None);
        // Whoever names an end now knows of the pause up to here.
        self.paused = self.paused.map(|_| now);
        self.reminds_when_open = rules.reminds_when_open.filter(|said| *said);
        self.remind(now, &rules.reminders_percent, site);
        Ok(())
    }

    /// When the code stops to work, if ever by itself.
    pub(crate) fn expires(&self) -> Option<FleetMillis> {
        self.grace.map(|grace| self.ends.saturating_add(grace))
    }

    /// When something is to be done next, while the order is stored.
    pub(crate) fn due(&self) -> Option<FleetMillis> {
        let next = self.reminders.first().map_or(self.ends, |reminder| reminder.at.min(self.ends));
        self.paused.is_none().then_some(next)
    }

    /// Begins to stand still, also when it is heard of late. True if that is news.
    pub(crate) fn pause(&mut self, at: FleetMillis) -> bool {
        let news = self.pauses && self.paused.is_none() && at < self.ends;
        if news {
            self.paused = Some(at.max(self.from));
        }
        news
    }

    /// Goes on, with an end that is as much later as it stood still. True if that is news.
    pub(crate) fn resume(&mut self, at: FleetMillis, site: Option<&SiteClock>) -> bool {
        let Some(since) = self.paused.take() else { return false };
        let stood = at.saturating_sub(since);
        self.stood = self.stood.saturating_add(stood);
        self.shift(stood, site);
        true
    }

    fn shift(&mut self, by: FleetMillis, site: Option<&SiteClock>) {
        self.ends = self.ends.saturating_add(by);
        self.end_when_open(site);
        self.reminders.iter_mut().for_each(|reminder| reminder.at = reminder.at.saturating_add(by));
        self.remind_when_open(site);
    }

    /// Takes what is due, so that it is not due again.
    pub(crate) fn take_due(&mut self, now: FleetMillis) -> Due {
        if self.ends <= now {
            self.reminders.clear();
            return Due::Ended;
        }
        let due = self.reminders.iter().take_while(|reminder| reminder.at <= now).count();
        match self.reminders.drain(..due).next_back() {
            Some(newest) => Due::Remind(newest.percent),
            None => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::api::Policies;
    use schemas::messages::Category;

    use super::*;

    const MINUTE: u64 = 60_000;

    fn window(category: Category, refrigerated: bool) -> Window {
        let policies = Policies::default();
        Window::begin(InForce { version: 0, policies: &policies }, policies.of(category), 1_000, refrigerated, None)
    }

    #[test]
    fn food_keeps_longer_where_it_is_cooled_and_its_code_ends_with_its_window() {
        let (warm, cool) = (window(Category::Food, false), window(Category::Food, true));
        assert_eq!((warm.ends, cool.ends), (1_000 + 30 * MINUTE, 1_000 + 120 * MINUTE));
        assert_eq!((warm.expires(), cool.expires()), (Some(warm.ends), Some(cool.ends)));
        assert_eq!(window(Category::Retail, true).expires(), None);
    }

    #[test]
    fn each_reminder_is_due_once_and_of_several_that_were_missed_the_newest() {
        let mut retail = window(Category::Retail, false);
        let half = 1_000 + 36 * 60 * MINUTE;
        assert_eq!(retail.due(), Some(half));
        assert_eq!(retail.clone().take_due(half - 1), Due::Nothing);
        assert_eq!(retail.clone().take_due(retail.ends - 1), Due::Remind(90));
        assert_eq!([retail.take_due(half), retail.take_due(half)], [Due::Remind(50), Due::Nothing]);
        assert_eq!(retail.due(), Some(1_000 + 64 * 60 * MINUTE + 48 * MINUTE));
        assert_eq!((retail.take_due(retail.ends), retail.due()), (Due::Ended, Some(retail.ends)));
    }
}
