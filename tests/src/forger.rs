//! Whoever owns the network and, for a test, a signing key: makes commands that the fleet never made.

use std::time::Duration;

use anyhow::Context as _;
use ed25519_dalek::SigningKey;
use fleet_cli::stage::Stage;
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{self, Scope};
use schemas::ids::{CabinetId, TenantId};
use schemas::messages::{
    Action, Book, BookChange, Challenge, CodesEnvelope, CodesMessage, Command, CommandId, Compartment, Down, Expect,
    Instance, KeyPurpose, Rules, Signed, Unlock,
};

use crate::site::Site;

/// For whom something is signed.
#[derive(Debug, Clone)]
pub struct Target {
    pub tenant: TenantId,
    pub cabinet: CabinetId,
    pub instance: Instance,
    /// In whose name.
    pub requester: String,
}

impl Target {
    /// What the cabinet believes itself to be.
    pub fn of(stage: &Stage, site: &Site) -> Self {
        Self {
            tenant: stage.layout().settings().tenant.clone(),
            cabinet: site.cabinet.id().clone(),
            instance: site.cabinet.instance(),
            requester: "operator:acme:admin".into(),
        }
    }

    fn scope(&self, purpose: KeyPurpose) -> Scope<'_> {
        Scope::Cabinet { tenant: &self.tenant, cabinet: &self.cabinet, instance: self.instance, purpose }
    }

    /// An unlock in a payload of the `down` topic.
    pub fn unlock(
        &self,
        key: &SigningKey,
        challenge: Challenge,
        compartment: Compartment,
        expects: Expect,
    ) -> anyhow::Result<Vec<u8>> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).context("no random numbers")?;
        let command = Command {
            id: CommandId(id),
            challenge,
            issued: 0,
            action: Action::Unlock(Unlock { compartment, expects }),
            requester: self.requester.clone(),
        };
        let envelope = Blob(envelope::sign(cbor::encode(&command), self.scope(KeyPurpose::Unlock), key));
        Ok(cbor::encode(&Down::Command(Signed { envelope })))
    }

    /// A book that replaces everything, in a payload of the `down` topic.
    pub fn book(&self, key: &SigningKey, version: u64) -> Vec<u8> {
        let changes = vec![BookChange::Rules(Rules { code_digits: 6, break_glass: None, code_letters: None })];
        let book = CodesMessage::Book(Book { version, base: 0, issued: 0, changes });
        let envelope = Blob(envelope::sign(cbor::encode(&book), self.scope(KeyPurpose::Codes), key));
        cbor::encode(&Down::Codes(CodesEnvelope { envelope }))
    }
}

/// Time since boot, through suspend: the clock by which a command grows old.
pub fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(now.tv_sec.try_into().unwrap_or_default(), now.tv_nsec.try_into().unwrap_or_default())
}
