//! Connections: presence, the hello that opens one, and challenges.

use schemas::api::{LivePresence, Rfc3339};
use schemas::cbor;
use schemas::messages::{
    Ask, Challenge, CodesEnvelope, Compartment, CompartmentState, Down, Epoch, EventMark, FleetMillis, FleetTime,
    Hello, Welcome,
};
use schemas::topics::Live;

use crate::cabinet::records::{EventRow, Inside, Said};
use crate::cabinet::{Cabinet, Link, OpenLink};
use crate::deadlines::Deadline;
use crate::effect::Effect;
use crate::jobs::Job;
use crate::rows::json;
use crate::signing::{SignTime, SignerRequest};
use crate::tables::{EVENTS, SAID, event_key};
use crate::turn::Turn;

/// A challenge younger than this may be signed; the cabinet takes it until it is 30 s old.
pub(super) const CHALLENGE_FRESH_MILLIS: u64 = 10_000;
/// A cabinet answers at most one `ask` in this time.
const ASK_EVERY_MILLIS: u64 = 1_000;
const TIME_EVERY_MILLIS: u64 = 6 * 60 * 60 * 1_000;
/// Most compartments of a cabinet: their numbers end at 999.
const COMPARTMENTS_MAX: usize = 999;

/// Epochs of a cabinet whose marks are kept.
const FORMER_MAX: usize = 16;
/// Far above what a cabinet counts in its life, and exact in every language.
pub(super) const NUMBER_MAX: u64 = 1 << 53;

impl Cabinet {
    pub(crate) fn connected(&mut self, turn: &mut Turn<'_>) {
        self.gone(turn, "connected anew");
        self.link = Link::Silent;
    }

    /// The connection ended. An unlock that was sent goes on: its outcome can come with the next connection.
    pub(crate) fn gone(&mut self, turn: &mut Turn<'_>, reason: &str) {
        let was_online = self.is_online();
        self.link = Link::Offline;
        self.doors.clear();
        if was_online {
            turn.not_due(&Deadline::Time(self.at.clone()));
            self.abandon_unsent_unlocks(turn);
            self.abandon_challenges(turn);
            self.tell_presence(turn, Some(reason.to_owned()));
        }
    }

    pub(crate) fn hello(&mut self, turn: &mut Turn<'_>, payload: &[u8]) {
        if self.link == Link::Offline {
            return self.close(turn, "no connection is known");
        }
        let hello: Hello = match cbor::decode(payload) {
            Ok(hello) => hello,
            Err(error) => return self.close(turn, format!("hello: {error}")),
        };
        if let Err(reason) = self.plausible(&hello) {
            turn.alarm_of(&self.at, format!("cabinet {}: {reason}", self.at));
            return self.close(turn, reason);
        }
        self.count_from(turn, &hello);
        let repeated = self.is_online();
        // In the same connection nothing of what was sent is lost.
        let keyset_sent = self.open_link().map_or(0, |open| open.keyset_sent);
        self.link = Link::Open(OpenLink {
            challenge: hello.challenge,
            heard: turn.now,
            asked: None,
            book_sent: None,
            rebased: false,
            time_due: true,
            keyset_sent,
            app: hello.app == Some(true),
            errands: hello.errands == Some(true),
        });
        let welcome = Welcome { epoch: hello.epoch, high_water: self.progress.high_water };
        self.down(turn, &Down::from(welcome));
        if !repeated {
            self.tell_presence(turn, None);
        }
        turn.want(Job::Time(self.at.clone()));
        let knew_couriers = self.said.couriers;
        self.said(turn, &hello);
        self.seen_before = self.progress.last_seen.replace(turn.now);
        self.compare_book(turn, hello.book);
        self.compare_couriers(turn, knew_couriers);
        self.put_progress(turn);
        self.drop_lost_reservations(turn);
        self.forget_old_commands(turn);
        self.compare_wipe(turn, &hello);
        turn.want(Job::Secrets(self.at.clone()));
    }

    /// Whether the hello can be of the registered cabinet.
    fn plausible(&self, hello: &Hello) -> Result<(), String> {
        if hello.instance != self.registration.instance {
            return Err("hello of another instance than the registered one".into());
        }
        if hello.compartments.items.len() > COMPARTMENTS_MAX {
            return Err(format!("hello with more than {COMPARTMENTS_MAX} compartments"));
        }
        let mut numbers: Vec<Compartment> = hello.compartments.items.iter().map(|info| info.number).collect();
        numbers.sort();
        if numbers.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("hello names a compartment twice".into());
        }
        // So that the fleet can count on from any of them.
        if [hello.newest, hello.book, hello.keyset].iter().any(|number| *number > NUMBER_MAX) {
            return Err("hello with impossible numbers".into());
        }
        if hello.oldest == 0 || hello.oldest > hello.newest.saturating_add(1) {
            return Err("hello with impossible event numbers".into());
        }
        Ok(())
    }

    /// Finds where the cabinet's events go on.
    fn count_from(&mut self, turn: &mut Turn<'_>, hello: &Hello) {
        match self.progress.epoch {
            Some(epoch) if epoch == hello.epoch => {
                if hello.newest < self.progress.high_water {
                    self.progress.unreconciled = Some(true);
                    turn.alarm_of(
                        &self.at,
                        format!(
                            "cabinet {} has events up to {} only, the fleet up to {}: its store was put back",
                            self.at, hello.newest, self.progress.high_water
                        ),
                    );
                }
            }
            Some(before) => {
                self.audit_all(turn);
                if self.takes_orders() {
                    turn.alarm_of(
                        &self.at,
                        format!(
                            "cabinet {} has another store: events of the former one after number {} may be missing, \
                         and loaded compartments need a look",
                            self.at, self.progress.high_water
                        ),
                    );
                }
                let former = self.progress.former.get_or_insert_default();
                former.push(EventMark { epoch: before, high_water: self.progress.high_water });
                let known = former.iter().position(|mark| mark.epoch == hello.epoch).map(|at| former.remove(at));
                if former.len() > FORMER_MAX {
                    former.remove(0);
                }
                self.progress.epoch = Some(hello.epoch);
                self.progress.high_water = known.map_or(0, |mark| mark.high_water);
                self.progress.unreconciled = Some(true);
            }
            None => self.progress.epoch = Some(hello.epoch),
        }
        if hello.oldest > self.progress.high_water.saturating_add(1) {
            self.accept_gap(turn, hello.epoch, hello.oldest - 1);
        }
    }

    /// Events up to `last` exist nowhere any more. Their place in the record says so.
    fn accept_gap(&mut self, turn: &mut Turn<'_>, epoch: Epoch, last: u64) {
        let first = self.progress.high_water + 1;
        let row =
            EventRow { arrived: turn.now, quarantined: false, record: cbor::Blob::default(), lost_to: Some(last) };
        turn.put(EVENTS, event_key(&self.at.tenant, &self.at.cabinet, epoch, first), &row);
        turn.alarm_of(&self.at, format!("cabinet {}: events {first} to {last} are lost (history gap)", self.at));
        self.progress.high_water = last;
        self.progress.unreconciled = Some(true);
    }

    pub(super) fn is_unreconciled(&self) -> bool {
        self.progress.unreconciled == Some(true)
    }

    /// The fleet's store was put back to an earlier state: what happened since is known to the cabinet alone.
    pub(crate) fn fleet_put_back(&mut self, turn: &mut Turn<'_>) {
        (self.progress.unreconciled, self.progress.restored) = (Some(true), Some(true));
        self.put_progress(turn);
    }

    /// The cabinet has told all its events, and says which compartments hold something. It is believed; where the fleet
    /// knows otherwise, or cannot read what it says, a person has to look.
    pub(super) fn reconcile(&mut self, turn: &mut Turn<'_>, states: &[CompartmentState]) {
        let mine: Vec<Compartment> = self.said.compartments.iter().map(|info| info.number).collect();
        for at in mine {
            let found = self.inside.get(&at).cloned().unwrap_or_default();
            let allocated = states.iter().find(|state| state.number == at).map(|state| state.allocated);
            let word = match allocated {
                Some(allocated) if allocated == found.order.is_some() => continue,
                Some(true) => "takes it for occupied",
                Some(false) => "takes it for free",
                None => "says nothing that the fleet can read",
            };
            turn.alarm_of(&self.at, format!("cabinet {}: compartment {at} needs a look, the cabinet {word}", self.at));
            let doubted = match allocated {
                Some(true) => Inside { claimed: Some(true), ..found },
                Some(false) | None => Inside { audit_required: true, ..found },
            };
            self.set_inside(turn, at, doubted);
        }
        self.progress.unreconciled = None;
        self.put_progress(turn);
        self.drop_lost_reservations(turn);
    }

    fn audit_all(&mut self, turn: &mut Turn<'_>) {
        let loaded: Vec<_> = self.inside.iter().filter(|(_, inside)| inside.order.is_some()).collect();
        let loaded: Vec<_> = loaded.into_iter().map(|(compartment, inside)| (*compartment, inside.clone())).collect();
        for (compartment, inside) in loaded {
            self.set_inside(turn, compartment, Inside { audit_required: true, ..inside });
        }
    }

    /// Keeps what the cabinet says about itself.
    fn said(&mut self, turn: &mut Turn<'_>, hello: &Hello) {
        let pepper = |said: &Said| said.pepper.as_ref().map(|pepper| (pepper.version, pepper.salt));
        let said = Said {
            agent: hello.agent.chars().take(64).collect(),
            keyset: hello.keyset,
            pepper: hello.pepper.clone(),
            compartments: hello.compartments.items.clone(),
            shares: hello.shares,
            couriers: if hello.couriers == Some(true) { Some(true) } else { self.said.couriers.map(|_| false) },
        };
        if said == self.said {
            return;
        }
        if hello.compartments.left_out > 0 {
            turn.alarm_of(&self.at, format!(
                "cabinet {}: {} of its compartments are of a kind that this fleet does not know: they get no orders",
                self.at, hello.compartments.left_out
            ));
        }
        let other_pepper = pepper(&said) != pepper(&self.said);
        let shares_no_more = self.said.shares == Some(true) && said.shares != Some(true);
        turn.put(SAID, self.at.key(), &said);
        self.said = said;
        if shares_no_more {
            self.doubt_what_shares(turn);
        }
        if other_pepper {
            self.forget_verifiers(turn);
        }
    }

    /// The cabinet's current challenge came, alone or with something else.
    pub(super) fn challenged(&mut self, turn: &mut Turn<'_>, challenge: Challenge) {
        let now = turn.now;
        let Some(open) = self.open_link() else {
            return;
        };
        // A sample may have been overtaken on its way: only a later challenge is news.
        if open.challenge.boot != challenge.boot || open.challenge.counter < challenge.counter {
            (open.challenge, open.heard) = (challenge, now);
        }
        if open.time_due {
            turn.want(Job::Time(self.at.clone()));
        }
        self.hand_out_challenge(turn);
        self.sign_waiting_unlocks(turn);
        self.sign_wipe(turn);
    }

    pub(crate) fn challenge(&mut self, turn: &mut Turn<'_>, payload: &[u8]) {
        if !self.is_online() {
            return self.close(turn, "a challenge before hello");
        }
        match cbor::decode(payload) {
            Ok(challenge) => self.challenged(turn, challenge),
            Err(error) => turn.refuse(format!("challenge: {error}")),
        }
    }

    /// A challenge that may be signed now, if one is known.
    pub(super) fn fresh_challenge(&self, now: FleetMillis) -> Option<Challenge> {
        match &self.link {
            Link::Open(open) => (now.saturating_sub(open.heard) <= CHALLENGE_FRESH_MILLIS).then_some(open.challenge),
            Link::Offline | Link::Silent => None,
        }
    }

    pub(super) fn ask_challenge(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        let Some(open) = self.open_link() else {
            return;
        };
        if open.asked.is_none_or(|asked| now.saturating_sub(asked) >= ASK_EVERY_MILLIS) {
            open.asked = Some(now);
            self.down(turn, &Down::from(Ask {}));
        }
    }

    /// The fleet's time is due again.
    pub(crate) fn time_due(&mut self, turn: &mut Turn<'_>) {
        if let Some(open) = self.open_link() {
            open.time_due = true;
            if self.fresh_challenge(turn.now).is_none() {
                self.ask_challenge(turn);
            }
            turn.want(Job::Time(self.at.clone()));
        }
    }

    /// The time to sign; none while no fresh challenge is known (the next one asks again).
    pub(crate) fn next_time(&mut self, now: FleetMillis) -> Option<SignerRequest> {
        let challenge = self.fresh_challenge(now)?;
        self.open_link().filter(|open| open.time_due)?;
        let (tenant, cabinet) = (self.at.tenant.clone(), self.at.cabinet.clone());
        let mark = self.progress.epoch.map(|epoch| EventMark { epoch, high_water: self.progress.high_water });
        let time = FleetTime { challenge, now, mark };
        Some(SignTime { tenant, cabinet, instance: self.registration.instance, time }.into())
    }

    pub(crate) fn time_signed(&mut self, turn: &mut Turn<'_>, envelope: cbor::Blob) {
        let Some(open) = self.open_link() else {
            return;
        };
        open.time_due = false;
        self.down(turn, &Down::from(CodesEnvelope { envelope }));
        turn.due(Deadline::Time(self.at.clone()), turn.now.saturating_add(TIME_EVERY_MILLIS));
    }

    /// Refuses the input and cuts the connection.
    pub(super) fn close(&mut self, turn: &mut Turn<'_>, reason: impl Into<String>) {
        let reason = reason.into();
        turn.refuse(reason.clone());
        turn.effect(Effect::CloseCabinet { tenant: self.at.tenant.clone(), cabinet: self.at.cabinet.clone(), reason });
    }

    fn tell_presence(&self, turn: &mut Turn<'_>, reason: Option<String>) {
        let presence =
            LivePresence { cabinet: self.at.cabinet.clone(), online: reason.is_none(), at: Rfc3339(turn.now), reason };
        self.live(turn, Live::Presence, json(&presence));
    }

    pub(super) fn live(&self, turn: &mut Turn<'_>, live: Live, payload: Vec<u8>) {
        turn.effect(Effect::Live { tenant: self.at.tenant.clone(), cabinet: self.at.cabinet.clone(), live, payload });
    }
}
