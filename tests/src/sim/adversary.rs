//! Whoever owns the bus: sees every message to a cabinet, and may keep, repeat, reorder, change, misdirect and forge.

use ed25519_dalek::SigningKey;
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{Scope, public_entry, sign};
use schemas::messages::{
    Action, Book, CodesEnvelope, CodesMessage, Command, CommandId, Down, Expect, FleetTime, KeyPurpose, Keyset,
    KeysetUpdate, Signed, Unlock, Welcome,
};
use schemas::topics::Up;

use super::dice::Dice;
use super::ledger::{Cab, Seen};
use super::sabotage::Sabotage;
use super::world::{CABS, Happening, START, World};

/// Messages that are kept, the newest ones.
const KEPT_MAX: usize = 400;

#[derive(Debug)]
pub(super) struct Adversary {
    kept: Vec<(Cab, Vec<u8>)>,
    pub(super) kept_up: Vec<(Cab, Up, Vec<u8>)>,
    /// This is a schedule in which he speaks to the fleet in the name of cabinets.
    pub(super) forges_up: bool,
    /// He has done so.
    pub(super) was_believed: bool,
}

impl Adversary {
    pub(super) fn new(seed: u64) -> Self {
        let forges_up = Dice::at(seed, 0, u64::MAX - 2).one_in(6);
        Self { kept: Vec::new(), kept_up: Vec::new(), forges_up, was_believed: false }
    }
}

impl World {
    /// A message passes. Returns how long it takes, and whether it is held back for later.
    pub(super) fn adversary_sees(&mut self, cab: Cab, payload: &[u8]) -> (u64, bool) {
        let kept = &mut self.adversary.kept;
        if kept.len() == KEPT_MAX {
            kept.remove(0);
        }
        kept.push((cab, payload.to_vec()));
        if !self.rough {
            return (self.dice.between(5, 200), false);
        }
        match self.dice.below(40) {
            0 if self.decides("a message is held back") => {
                self.coverage.count("adversary", "held back");
                (0, true)
            }
            1..=3 if self.fails("downlink slow", 1) => (self.dice.below(9_000), false),
            _ => (self.dice.between(5, 300), false),
        }
    }

    pub(super) fn adversary_acts(&mut self) {
        if !self.rough {
            return;
        }
        let wait = self.draw_wait(100, 60_000);
        self.later(wait, Happening::AdversaryActs);
        self.forger_acts();
        let Some((from, payload)) = self.dice.pick(&self.adversary.kept).cloned() else { return };
        if self.sabotage == Some(Sabotage::StaleCommand) {
            self.feed_board(from, &payload);
        }
        let how = self.dice.below(5);
        if !self.decides(["repeats", "misdirects", "changes", "reorders", "forges"][how as usize]) {
            return;
        }
        match how {
            0 => self.inject(from, payload, "repeated"),
            1 => self.inject((from + 1) % CABS, payload, "misdirected"),
            2 => {
                let changed = self.flip(payload);
                self.inject(from, changed, "changed");
            }
            3 => {
                let newest: Vec<_> = self.adversary.kept.iter().rev().take(5).cloned().collect();
                // The newest ones in another order.
                for (cab, payload) in newest {
                    self.inject(cab, payload, "reordered");
                }
            }
            _ => {
                let cab = self.dice.index(CABS);
                let forged = self.forge(cab);
                self.inject(cab, cbor::encode(&forged), "forged");
            }
        }
    }

    fn inject(&mut self, cab: Cab, payload: Vec<u8>, how: &'static str) {
        if self.cabs[cab].conn.is_some() {
            self.coverage.count("adversary", how);
            self.tell(|| format!("adversary: a {how} message for cabinet {cab}"));
            self.hand_down(cab, payload, None);
        }
    }

    fn flip(&mut self, mut payload: Vec<u8>) -> Vec<u8> {
        let at = self.dice.index(payload.len());
        payload[at] ^= 1 << self.dice.below(8);
        payload
    }

    /// Own keys, and everything else as it should be.
    fn forge(&mut self, cab: Cab) -> Down {
        let key = SigningKey::from_bytes(&self.dice.bytes());
        let (tenant, cabinet, instance) = (self.tenant.clone(), self.name_of(cab), self.cabs[cab].instance());
        let scope = |purpose| Scope::Cabinet { tenant: &tenant, cabinet: &cabinet, instance, purpose };
        let newest = self.ledger.challenges.keys().rfind(|(of, _)| *of == cab).map(|(_, challenge)| *challenge);
        let Some(challenge) = newest else { return Down::Ask(Default::default()) };
        match self.dice.below(5) {
            0 => {
                let doors: Vec<_> = self.cabs[cab].doors.keys().copied().collect();
                let compartment = doors[self.dice.index(doors.len())];
                let action = Action::Unlock(Unlock { compartment, expects: Expect::empty() });
                let id = CommandId(self.dice.bytes());
                let command = Command { id, challenge, issued: START, action, requester: "operator:acme:eve".into() };
                Signed { envelope: Blob(sign(cbor::encode(&command), scope(KeyPurpose::Unlock), &key)) }.into()
            }
            1 if self.sabotage == Some(Sabotage::CodesKeyStolen) => {
                let book = Book { version: u64::from(u32::MAX), base: 0, issued: START, changes: Vec::new() };
                let book = CodesMessage::from(book);
                CodesEnvelope { envelope: self.signer.steal_codes(cbor::encode(&book), scope(KeyPurpose::Codes)) }
                    .into()
            }
            1 => {
                let time = CodesMessage::from(FleetTime { challenge, now: START / 2, mark: None });
                CodesEnvelope { envelope: Blob(sign(cbor::encode(&time), scope(KeyPurpose::Codes), &key)) }.into()
            }
            2 => {
                let keys = vec![public_entry(&key, KeyPurpose::Unlock)];
                let keyset = Keyset::new(tenant.clone(), 9, START, keys);
                let scope = Scope::Tenant { tenant: &tenant, purpose: KeyPurpose::Keyset };
                KeysetUpdate { envelope: Blob(sign(cbor::encode(&keyset), scope, &key)) }.into()
            }
            3 => match self.cabs[cab].epoch {
                // Not signed by design: it can waste time, and nothing else.
                Some(epoch) => Welcome { epoch, high_water: self.dice.below(300) }.into(),
                None => Down::Ask(Default::default()),
            },
            _ => Down::Ask(Default::default()),
        }
    }

    /// The sabotage of a shell that believes any command that was once genuine.
    fn feed_board(&mut self, cab: Cab, payload: &[u8]) {
        let Ok(Down::Command(signed)) = cbor::decode::<Down>(payload) else { return };
        let Some((_, command)) = self.signer.commands.get(&signed.envelope.0) else { return };
        let Action::Unlock(unlock) = &command.action else { return };
        let (at, cabinet) = (unlock.compartment, &self.cabs[cab]);
        let boot_millis = cabinet.boot_millis(self.now);
        let boot = command.challenge.boot;
        self.see(Seen::Pulsed { cab, boot, boot_millis, pulse: u64::MAX, at });
    }
}
