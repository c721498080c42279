//! The keysets of a tenant: what its cabinets have to take, one after another, to believe the newest.
//!
//! The fleet believes no keyset because of who sent it: the first one names its roots, and from then on each is signed by
//! a root that the one before has left in force. What a cabinet believes it decides by its own pinned roots.

use std::collections::BTreeMap;

use schemas::api::{KeysetHolders, KeysetKept, KeysetKey, KeysetList, ReplyError, RequestErrorCode, Rfc3339};
use schemas::cbor::{self, Blob};
use schemas::cbor_map;
use schemas::crypto::envelope::{self, EnvelopeError, Scope};
use schemas::ids::{CabinetId, Identity, TenantId};
use schemas::messages::{FleetMillis, KeyId, KeyPurpose, Keyset, Roots};
use schemas::step::numbered_key;

use crate::requests::error;
use crate::tables::KEYSETS;
use crate::turn::Turn;

/// Changes of roots of one tenant: with one a month, twenty years.
pub const ROOT_CHANGES_MAX: usize = 256;
/// Cabinets that an answer names for each version.
const NAMES_MAX: usize = 100;

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct KeysetRow {
        1 => version: u64,
        2 => envelope: Blob,
        /// In force once this one is taken.
        3 => roots: Roots,
        /// It changes the roots: without it no later one can be taken.
        4 => lasting: bool,
        5 => put: FleetMillis,
        6 => by: String,
        7 => signer: KeyId,
    }
}

/// The keysets of one tenant: all that changed the roots, and the newest.
#[derive(Default)]
pub(crate) struct Chain {
    rows: BTreeMap<u64, KeysetRow>,
}

#[derive(Default)]
pub(crate) struct Keysets {
    chains: BTreeMap<TenantId, Chain>,
}

/// What became of a keyset that somebody put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    Taken,
    HeldAlready,
}

impl Keysets {
    pub(crate) fn restore(&mut self, tenant: TenantId, row: KeysetRow) {
        self.chains.entry(tenant).or_default().rows.insert(row.version, row);
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&TenantId, &Chain)> {
        self.chains.iter()
    }

    pub(crate) fn of(&self, tenant: &TenantId) -> Option<&Chain> {
        self.chains.get(tenant)
    }

    /// `keyset.put`. The same bytes again change nothing.
    pub(crate) fn put(&mut self, turn: &mut Turn<'_>, who: &Identity, envelope: Vec<u8>) -> Result<Put, ReplyError> {
        let chain = self.chains.entry(who.tenant.clone()).or_default();
        if chain.rows.values().any(|row| row.envelope.0 == envelope) {
            return Ok(Put::HeldAlready);
        }
        let row = chain.judge(who, envelope, turn.now)?;
        let superseded = chain.newest().filter(|newest| !newest.lasting).map(|newest| newest.version);
        if let Some(version) = superseded {
            chain.rows.remove(&version);
            turn.remove(KEYSETS, row_key(&who.tenant, version));
        }
        turn.put(KEYSETS, row_key(&who.tenant, row.version), &row);
        chain.rows.insert(row.version, row);
        Ok(Put::Taken)
    }
}

fn row_key(tenant: &TenantId, version: u64) -> Vec<u8> {
    numbered_key(&format!("{tenant}/keyset"), version)
}

impl Chain {
    pub(crate) fn newest(&self) -> Option<&KeysetRow> {
        self.rows.values().next_back()
    }

    /// What the newest says.
    pub(crate) fn newest_keyset(&self) -> Option<Keyset> {
        read(&self.newest()?.envelope.0).ok()
    }

    /// Keysets that a cabinet with version `held` has to take, in their order.
    pub(crate) fn after(&self, held: u64) -> impl Iterator<Item = &KeysetRow> {
        self.rows.range(held.saturating_add(1)..).map(|(_, row)| row)
    }

    /// The row of a keyset that may follow the newest one.
    fn judge(&self, who: &Identity, envelope: Vec<u8>, now: FleetMillis) -> Result<KeysetRow, ReplyError> {
        let keyset = read(&envelope)?;
        let before = self.newest();
        let Some(under) = before.map(|row| &row.roots).or(keyset.roots.as_ref()).cloned() else {
            let text = "the first keyset of a tenant has to name its two roots, and this one names none";
            return Err(error(RequestErrorCode::Malformed, text, "`fleet keys push` puts one that does"));
        };
        let scope = Scope::Tenant { tenant: &who.tenant, purpose: KeyPurpose::Keyset };
        let opened = envelope::open(&envelope, scope, under.both()).map_err(not_signed)?;
        keyset.check(&who.tenant, &under).map_err(|why| malformed(format!("the keyset is refused: {why}")))?;
        if let Some(newest) = before.filter(|newest| keyset.version <= newest.version) {
            let text = format!("keyset {} is not newer than {}, which the fleet has", keyset.version, newest.version);
            return Err(error(RequestErrorCode::Conflict, text, "`fleet keys list` shows what the fleet has"));
        }
        let roots = keyset.roots.unwrap_or_else(|| under.clone());
        let lasting = before.is_none() || !roots.same_keys(&under);
        if lasting && self.rows.values().filter(|row| row.lasting).count() >= ROOT_CHANGES_MAX {
            let text = format!("the roots were changed {ROOT_CHANGES_MAX} times, which is the most that is kept");
            return Err(error(RequestErrorCode::Conflict, text, "pin the roots anew in the cabinets' settings"));
        }
        Ok(KeysetRow {
            version: keyset.version,
            envelope: Blob(envelope),
            roots,
            lasting,
            put: now,
            by: who.to_string(),
            signer: opened.signer,
        })
    }

    /// `keyset.list`: `held` are the cabinets of the tenant with the version that each said last.
    pub(crate) fn list<'c>(&self, held: impl Iterator<Item = (&'c CabinetId, u64)>) -> KeysetList {
        let newest = self.newest();
        let keyset = self.newest_keyset();
        let keys = keyset.iter().flat_map(|keyset| &keyset.keys);
        let kept = |row: &KeysetRow| KeysetKept {
            version: row.version,
            signer: row.signer,
            changes_roots: row.lasting,
            put: Rfc3339(row.put),
            by: row.by.clone(),
        };
        let mut holders: BTreeMap<u64, KeysetHolders> = BTreeMap::new();
        for (cabinet, version) in held {
            let row = holders.entry(version).or_insert(KeysetHolders { version, cabinets: 0, names: Vec::new() });
            row.cabinets = row.cabinets.saturating_add(1);
            if row.names.len() < NAMES_MAX {
                row.names.push(cabinet.clone());
            }
        }
        KeysetList {
            newest: newest.map_or(0, |row| row.version),
            keys: keys.map(|key| KeysetKey { id: key.id, purpose: key.purpose }).collect(),
            roots: newest.map(|row| row.roots.both().map(|root| root.id).to_vec()).unwrap_or_default(),
            kept: self.rows.values().map(kept).collect(),
            held: holders.into_values().collect(),
        }
    }
}

/// What an envelope says, before anybody vouches for it.
fn read(envelope: &[u8]) -> Result<Keyset, ReplyError> {
    let payload = envelope::unverified_payload(envelope).map_err(|_| malformed("the keyset is no COSE_Sign1"))?;
    cbor::decode(&payload).map_err(|why| malformed(format!("the keyset cannot be read: {why}")))
}

fn malformed(text: impl Into<String>) -> ReplyError {
    error(RequestErrorCode::Malformed, text, "PROTOCOL.md, Keys, says what is in one")
}

fn not_signed(why: EnvelopeError) -> ReplyError {
    let text = match why {
        EnvelopeError::UnknownKey => "the keyset is signed by none of the two roots in force".to_owned(),
        EnvelopeError::Malformed | EnvelopeError::Header | EnvelopeError::Signature => {
            format!("the keyset is refused: {why}")
        }
    };
    error(RequestErrorCode::Refused, text, "`fleet keys list` shows the roots in force")
}
