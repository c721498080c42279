//! The connection to the fleet: hello, welcome, challenges, telemetry and the events on their way.

use schemas::cbor::{self, Blob};
use schemas::crypto::seal;
use schemas::messages::{
    Challenge, CompartmentState, Down, Hello, KeysetApplied, KeysetRefused, MESSAGE_MAX, PROTOCOL_MINOR, PepperOffer,
    RefusalReason, Stamp, Telemetry, Welcome,
};

use crate::bay::Bay;
use crate::core::CabinetCore;
use crate::keyset::Refused;
use crate::records::{KEYSET_KEY, TIME_KEY};
use crate::tables::META;
use crate::turn::Turn;
use crate::{Config, Effect};

/// Between two answers to `ask`.
const ASK_MILLIS: u64 = 1_000;
/// How long the fleet may take to its PUBACK of a hello, and from there to its welcome, before hello is said again.
const WELCOME_MILLIS: u64 = 30_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Offline,
    /// Hello is on its way. Nothing else is sent before the welcome.
    Greeting {
        again_at: u64,
    },
    Welcomed {
        telemetry_at: u64,
    },
}

impl Link {
    pub(crate) fn deadline(self) -> Option<u64> {
        match self {
            Self::Offline => None,
            Self::Greeting { again_at } => Some(again_at),
            Self::Welcomed { telemetry_at } => Some(telemetry_at),
        }
    }
}

impl CabinetCore {
    /// Connected, and the fleet has welcomed this cabinet.
    pub(crate) fn is_online(&self) -> bool {
        matches!(self.link, Link::Welcomed { .. })
    }

    pub(crate) fn handle_connected(&mut self, turn: &mut Turn) {
        self.outbox.disconnected();
        self.link = Link::Greeting { again_at: turn.now + WELCOME_MILLIS };
        let hello = self.hello(turn);
        turn.effect(Effect::SendHello(cbor::encode(&hello)));
    }

    pub(crate) fn handle_disconnected(&mut self, turn: &mut Turn) {
        self.outbox.disconnected();
        if self.is_online()
            && let Some(row) = self.clock.fell_silent(turn.now)
        {
            turn.put(META, TIME_KEY, &row);
        }
        self.link = Link::Offline;
    }

    pub(crate) fn handle_hello_acked(&mut self, now: u64) {
        if let Link::Greeting { again_at } = &mut self.link {
            *again_at = now + WELCOME_MILLIS;
        }
    }

    /// The PUBACK is the first effect: it comes behind the journal and before any pulse.
    pub(crate) fn handle_down(&mut self, turn: &mut Turn, token: u64, payload: &[u8]) {
        turn.effect(Effect::AckDown { token });
        let down = if payload.len() > MESSAGE_MAX { None } else { cbor::decode(payload).ok() };
        match down {
            Some(Down::Welcome(welcome)) => self.handle_welcome(turn, &welcome),
            Some(Down::Command(signed)) => self.handle_command(turn, &signed.envelope.0),
            Some(Down::Personal(personal)) => self.handle_personal(turn, &personal),
            Some(Down::Codes(signed)) => self.handle_codes(turn, &signed.envelope.0),
            Some(Down::Ask(_)) => self.handle_ask(turn),
            Some(Down::Config(signed)) => self.handle_config(turn, &signed.envelope.0),
            Some(Down::Keyset(update)) => {
                if let Err(refused) = self.handle_keyset(turn, update.envelope.0) {
                    self.refuse_keyset(turn, refused);
                }
            }
            None => self.refuse_command(turn, None, RefusalReason::Malformed),
        }
    }

    pub(crate) fn handle_welcome(&mut self, turn: &mut Turn, welcome: &Welcome) {
        if self.link != Link::Offline {
            self.outbox.welcomed(turn, welcome);
            if let Link::Greeting { .. } = self.link {
                self.link = Link::Welcomed { telemetry_at: turn.now };
                self.told = None;
            }
        }
    }

    fn handle_ask(&mut self, turn: &mut Turn) {
        let soon = self.asked_at.is_some_and(|asked| turn.now.saturating_sub(asked) < ASK_MILLIS);
        if let (Link::Welcomed { .. }, false) = (self.link, soon) {
            self.asked_at = Some(turn.now);
            let challenge = self.challenges.current(turn.now, &mut turn.draws);
            turn.effect(Effect::SendChallenge(cbor::encode(&challenge)));
        }
    }

    /// A keyset from the fleet or from the settings.
    pub(crate) fn handle_keyset(&mut self, turn: &mut Turn, bytes: Vec<u8>) -> Result<(), Refused> {
        let Some(applied) = self.keys.apply(bytes, &self.config.tenant)? else { return Ok(()) };
        turn.put(META, KEYSET_KEY, &applied.row);
        self.record(turn, KeysetApplied { version: applied.version, root: applied.root });
        if applied.pepper_key_changed {
            self.seal_walk_ins_again(turn);
        }
        if applied.pepper_key_changed && self.link != Link::Offline {
            // The offer of the pepper is in hello only, and it is sealed to that key.
            self.handle_connected(turn);
        }
        Ok(())
    }

    pub(crate) fn refuse_keyset(&mut self, turn: &mut Turn, refused: Refused) {
        let Refused { version, reason } = refused;
        if self.refusals.admit_keyset(version, reason, turn.now) {
            self.record(turn, KeysetRefused { version, reason });
        }
    }

    fn hello(&mut self, turn: &mut Turn) -> Hello {
        Hello {
            minor: PROTOCOL_MINOR,
            agent: self.config.agent.clone(),
            instance: self.config.instance,
            boot: self.config.boot,
            challenge: self.challenges.current(turn.now, &mut turn.draws),
            epoch: self.outbox.epoch(),
            newest: self.outbox.newest(),
            oldest: self.outbox.oldest(),
            book: self.book.version(),
            keyset: self.keys.version(),
            compartments: self.bays.values().map(|bay| bay.info().clone()).collect(),
            pepper: self.pepper_offer(turn),
            open_commands: self.open_commands(),
            app: self.config.app_token.then_some(true),
            errands: Some(true),
            shares: Some(true),
            couriers: Some(true),
        }
    }

    /// None once nothing is to be derived for this cabinet any more.
    fn pepper_offer(&self, turn: &mut Turn) -> Option<PepperOffer> {
        if self.is_ending() {
            return None;
        }
        let key = self.keys.pepper_key()?;
        let (config, identity) = (&self.config, &self.identity);
        let (version, salt) = (identity.pepper_version, identity.salt);
        let aad = seal::pepper_aad(&config.tenant, &config.cabinet, config.instance, version, salt);
        let entropy = seal::Entropy { ephemeral: turn.draws.secret_key(), nonce: turn.draws.bytes() };
        let sealed = seal::seal(&identity.pepper.0, &key, &aad, &entropy).ok()?;
        Some(PepperOffer { version, salt, sealed: Blob(sealed) })
    }

    pub(crate) fn link_due(&mut self, turn: &mut Turn) {
        match self.link {
            Link::Greeting { again_at } if again_at <= turn.now => self.handle_connected(turn),
            Link::Welcomed { telemetry_at } if telemetry_at <= turn.now => self.send_telemetry(turn),
            Link::Offline | Link::Greeting { .. } | Link::Welcomed { .. } => {}
        }
    }

    fn send_telemetry(&mut self, turn: &mut Turn) {
        // At least a second, or a zero in the settings would never let the core rest.
        let every = self.config.telemetry_every_millis.max(1_000);
        self.link = Link::Welcomed { telemetry_at: turn.now.saturating_add(every) };
        if let Some(last) = &self.told
            && turn.now.saturating_sub(last.at.boot_millis) < Config::TELEMETRY_IDLE_MILLIS
            && self.sample(turn.now, last.challenge, last.at) == *last
        {
            return;
        }
        let challenge = self.challenges.current(turn.now, &mut turn.draws);
        let sample = self.sample(turn.now, challenge, self.clock.stamp(turn.now));
        turn.effect(Effect::SendTelemetry(cbor::encode(&sample)));
        self.told = Some(sample);
    }

    fn sample(&self, now: u64, challenge: Challenge, at: Stamp) -> Telemetry {
        let wrong = self.lockout.wrong_today(now, self.clock.now(now));
        let state = |bay: &Bay| CompartmentState {
            number: bay.number(),
            door: bay.door_state(),
            occupancy: bay.occupancy,
            allocated: !bay.is_free(),
            fault: bay.fault.is_some().then_some(true),
        };
        Telemetry {
            challenge,
            at,
            compartments: self.bays.values().map(state).collect(),
            boards_silent: self.boards_silent(),
            outbox: self.outbox.waiting(),
            book: self.book.version(),
            wrong_codes_today: u32::try_from(wrong).unwrap_or(u32::MAX),
            disk_low: self.disk_low.then_some(true),
        }
    }

    /// What this turn has written goes out behind everything else, as far as the window allows.
    pub(crate) fn send_events(&mut self, turn: &mut Turn) {
        if let Some((from, to)) = self.outbox.next_batch() {
            let challenge = self.challenges.current(turn.now, &mut turn.draws);
            turn.effect(Effect::SendEvents { from, to, challenge, epoch: self.outbox.epoch() });
        }
    }
}
