//! The other direction: whoever owns the connection speaks to the fleet in a cabinet's name.
//!
//! What goes up is believed for its certificate alone; he has none, but he sits behind the one who checks it. So he can
//! tell the fleet whatever he likes about a cabinet (ARCHITECTURE.md, Known limits), and of a schedule in which he did only
//! that is demanded what holds always. To take an event away and acknowledge it himself is less: the fleet misses it, and
//! hears it with the next connection that he lets be.

use schemas::cbor::{self, Blob};
use schemas::messages::{
    AuditRequired, BookApplied, Challenge, Collected, Compartment, CredentialId, Event, Fact, Hello, Loading, Nonce,
    OrderKey, Retrieved, Stamp, Stored, StoredBy, UnlockDone, UnlockOutcome, Uplink,
};
use schemas::topics::Up;

use super::ledger::Cab;
use super::world::{CABS, Mark, World, constant};

/// Messages to the fleet that are kept, the newest ones.
const KEPT_MAX: usize = 60;

impl World {
    /// A message to the fleet passes. True: it does not, and its PUBACK is forged.
    pub(super) fn forger_sees(&mut self, cab: Cab, up: Up, payload: &[u8], mark: Mark) -> bool {
        if !self.rough {
            return false;
        }
        let kept = &mut self.adversary.kept_up;
        if kept.len() == KEPT_MAX {
            kept.remove(0);
        }
        kept.push((cab, up, payload.to_vec()));
        let takes =
            matches!(mark, Mark::Event { .. }) && self.dice.one_in(120) && self.decides("an event is taken away");
        if takes {
            self.coverage.count("adversary", "event taken away");
        }
        takes
    }

    /// He says something in the name of a cabinet, if this is a schedule in which he does.
    pub(super) fn forger_acts(&mut self) {
        let cab = self.dice.index(CABS);
        if !self.adversary.forges_up || !self.fleet.connected()[cab] {
            return;
        }
        if self.dice.one_in(3) {
            let Some((_, up, payload)) = self.dice.pick(&self.adversary.kept_up).cloned() else { return };
            if self.decides("repeats upwards") {
                self.say(cab, up, payload, "repeated upwards");
            }
        } else if self.decides("forges upwards") {
            match self.dice.below(6) {
                0 => self.forge_hello(cab),
                1 => self.forge_challenge(cab),
                _ => self.forge_event(cab),
            }
        }
    }

    fn say(&mut self, cab: Cab, up: Up, payload: Vec<u8>, how: &'static str) {
        self.coverage.count("adversary", how);
        self.tell(|| format!("adversary: a {how} {} of cabinet {cab}", up.as_str()));
        self.adversary.was_believed = true;
        self.cabinet_says(cab, up, payload);
    }

    fn forge_hello(&mut self, cab: Cab) {
        let kept = self.adversary.kept_up.iter().rev().find(|(of, up, _)| *of == cab && *up == Up::Hello);
        let Some(hello) = kept.and_then(|(_, _, payload)| cbor::decode::<Hello>(payload).ok()) else { return };
        let more = self.dice.below(20);
        let hello = match self.dice.below(3) {
            0 => Hello { book: hello.book + more, ..hello },
            1 => Hello { newest: hello.newest + more, ..hello },
            _ => Hello { newest: 0, oldest: 1, ..hello },
        };
        self.say(cab, Up::Hello, cbor::encode(&hello), "forged upwards");
    }

    fn forge_challenge(&mut self, cab: Cab) {
        let made = self.ledger.challenges.keys().rfind(|(of, _)| *of == cab).map(|(_, challenge)| *challenge);
        let Some(made) = made else { return };
        let challenge = Challenge { counter: made.counter + 1, nonce: Nonce(self.dice.bytes()), ..made };
        self.say(cab, Up::Challenge, cbor::encode(&challenge), "forged upwards");
    }

    fn forge_event(&mut self, cab: Cab) {
        let Some(epoch) = self.cabs[cab].epoch else { return };
        let made = self.ledger.challenges.keys().rfind(|(of, _)| *of == cab).map(|(_, challenge)| *challenge);
        let Some(challenge) = made else { return };
        let n = self.ledger.stored.get(&(cab, epoch.to_string())).copied().unwrap_or(0) + 1;
        let at = Stamp {
            boot: self.cabs[cab].boot(),
            boot_millis: self.cabs[cab].boot_millis(self.now),
            fleet_millis: None,
            uncertainty_millis: None,
        };
        let compartment = self.some_door(cab);
        let orders: Vec<OrderKey> = self.ledger.orders.keys().cloned().collect();
        let Some(order) = self.dice.pick(&orders).cloned() else { return };
        let fact = self.invent(cab, compartment, order);
        let record = if self.dice.one_in(12) { b"nonsense".to_vec() } else { cbor::encode(&Event { at, fact }) };
        let uplink = Uplink { challenge, epoch, n, record: Blob(record) };
        self.say(cab, Up::Event, cbor::encode(&uplink), "forged upwards");
    }

    fn invent(&mut self, cab: Cab, compartment: Compartment, order: OrderKey) -> Fact {
        let staff = constant("ann");
        match self.dice.below(7) {
            0 => Loading { order, compartment, staff }.into(),
            1 => Stored { order, compartment, by: StoredBy::Staff, staff }.into(),
            2 => {
                let credential = CredentialId(self.dice.bytes());
                Collected { order, compartment, credential, confirmed: true }.into()
            }
            3 => Retrieved { order, compartment, staff }.into(),
            4 => BookApplied { version: self.signer.newest.get(&self.cabs[cab].id).copied().unwrap_or(0) }.into(),
            5 => AuditRequired { compartment, order: None }.into(),
            _ => {
                let commands: Vec<_> = self.signer.commands.values().map(|(_, command)| command.id).collect();
                match self.dice.pick(&commands) {
                    Some(id) => UnlockDone { id: *id, compartment, outcome: UnlockOutcome::Opened }.into(),
                    None => AuditRequired { compartment, order: Some(order) }.into(),
                }
            }
        }
    }
}
