//! From rows to a core: first start, every later start, and what a former run left without an outcome.

use std::collections::BTreeMap;

use schemas::cbor::{self, Blob, CborError};
use schemas::crypto::codes::Pepper;
use schemas::crypto::rest;
use schemas::ids::Name;
use schemas::messages::{Compartment, CredentialId, Epoch, OrderKey, Salt, Started};
use schemas::step::{Step, Store, StoreError, Table};
use serde::de::DeserializeOwned;

use crate::bay::{ActiveUse, Bay, Phase};
use crate::book::HeldBook;
use crate::challenges::Challenges;
use crate::commands::Commands;
use crate::core::CabinetCore;
use crate::keyset::Keys;
use crate::link::Link;
use crate::lockout::Lockout;
use crate::outbox::Outbox;
use crate::records::{
    BOOK_KEY, FORMAT, FORMAT_KEY, Fault, IDENTITY_KEY, IdentityRow, KEYSET_KEY, LOCKOUT_KEY, OUTBOX_KEY, OutboxRow,
    PULSE_KEY, TIME_KEY, UseRow, WIPE_KEY, WIPED_KEY,
};
use crate::tables::{BAYS, COMMANDS, COURIERS, CREDENTIALS, EVENTS, META, ORDERS, STAFF, USES, bay_of_key, event_key};
use crate::time::FleetClock;
use crate::turn::Turn;
use crate::uses::RECOVERY_MILLIS;
use crate::wipe::{End, WipeRow};
use crate::{Config, DeviceKey, Effect, Moment};

const PEPPER_LABEL: &[u8] = b"locker-fleet/1 cabinet pepper";
const PEPPER_FIRST: u32 = 1;

/// Why a cabinet's store cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("read the cabinet's store")]
    Store(#[from] StoreError),
    #[error("row in table `{table}` of the cabinet's store")]
    Row {
        table: &'static str,
        #[source]
        cause: CborError,
    },
    #[error("key of a row in table `{table}` of the cabinet's store has another form")]
    Key { table: &'static str },
    #[error("cabinet's store has format {found}; this agent reads format {FORMAT}")]
    Format { found: u64 },
    #[error("cabinet's store has rows but lacks `{0}`; restore it, or remove it to start with an empty cabinet")]
    Missing(&'static str),
    #[error("cabinet's store belongs to another enrolment; empty the compartments and remove it")]
    OtherInstance,
    #[error("pepper in the cabinet's store does not open: the device key is not the one that it was made with")]
    DeviceKey,
    #[error("newest event in the cabinet's store is not {newest}")]
    Outbox { newest: u64 },
    #[error("compartment {0} is in use by the cabinet's store but not in the settings")]
    StrayCompartment(Compartment),
    #[error("compartment {0} is in the settings twice")]
    DoubleCompartment(Compartment),
}

/// What was made with the store.
pub(crate) struct Identity {
    pub(crate) epoch: Epoch,
    pub(crate) salt: Salt,
    pub(crate) pepper_version: u32,
    pub(crate) pepper: Pepper,
}

impl CabinetCore {
    /// Reads the store, or fills an empty one. The step must be committed like any other before the core is used.
    pub fn open(mut config: Config, store: &dyn Store, moment: &Moment) -> Result<(Self, Step<Effect>), OpenError> {
        let mut turn = Turn::new(moment);
        let rows = Rows { store };
        let identity = identity(&config, &rows, &mut turn)?;
        let told: bool = rows.meta(WIPED_KEY)?.unwrap_or(false);
        let receipt = config.receipt.take();
        let wiped = told || receipt.is_some();
        if wiped {
            // A wiped cabinet has no doors.
            config.compartments.clear();
        }
        let mut core = load(config, identity, &rows, turn.now)?;
        core.end = if wiped { Some(End::Wiped) } else { core.end };
        core.outbox.begin_run();
        let started = Started { agent: core.config.agent.clone(), down_since: core.clock.down_since() };
        core.record(&mut turn, started);
        if let Some(receipt) = receipt.filter(|_| !told) {
            core.record_receipt(&mut turn, receipt);
        }
        core.release_unpulsed(&mut turn);
        core.drop_given_up(&mut turn);
        core.doubt_swaps(&mut turn);
        Ok((core, turn.finish()))
    }

    /// Staff had taken a compartment and its door was never unlocked: the offer to try again has gone with the run.
    fn release_unpulsed(&mut self, turn: &mut Turn) {
        let idle: Vec<_> = self.bays.values().filter(|bay| bay.active.is_none()).map(Bay::number).collect();
        for compartment in idle {
            self.never_unlocked(turn, compartment);
        }
    }
}

fn identity(config: &Config, rows: &Rows<'_>, turn: &mut Turn) -> Result<Identity, OpenError> {
    match rows.meta::<u64>(FORMAT_KEY)? {
        None if rows.is_empty()? => return Ok(first_identity(config, turn)),
        None => return Err(OpenError::Missing(FORMAT_KEY)),
        Some(FORMAT) => {}
        Some(found) => return Err(OpenError::Format { found }),
    }
    let row: IdentityRow = rows.meta(IDENTITY_KEY)?.ok_or(OpenError::Missing(IDENTITY_KEY))?;
    if row.instance != config.instance {
        return Err(OpenError::OtherInstance);
    }
    let pepper = rest::unprotect(&config.device_key.0, PEPPER_LABEL, &row.pepper.0);
    let pepper =
        pepper.ok().and_then(|plain| <[u8; 32]>::try_from(plain.as_slice()).ok()).ok_or(OpenError::DeviceKey)?;
    Ok(Identity { epoch: row.epoch, salt: row.salt, pepper_version: row.pepper_version, pepper: Pepper(pepper) })
}

impl CabinetCore {
    /// This store was put back to an earlier state: what it says about the compartments is of the past. No code opens what
    /// may be somebody else's until staff have looked, and the events go on under an epoch of their own.
    pub(crate) fn begin_epoch(&mut self, turn: &mut Turn) {
        self.identity.epoch = Epoch(turn.draws.bytes());
        let row = identity_row(&self.config, &self.identity, turn.draws.bytes());
        turn.put(META, IDENTITY_KEY, &row);
        self.outbox.begin_epoch(turn, self.identity.epoch);
        let all: Vec<_> = self.bays.iter().map(|(number, bay)| (*number, bay.content.order().cloned())).collect();
        for (compartment, order) in all {
            if let Some(bay) = self.bays.get_mut(&compartment) {
                bay.fault = Some(Fault::PutBack);
                self.save_bay(turn, compartment);
            }
            self.require_audit(turn, compartment, order);
        }
        self.handle_connected(turn);
    }
}

fn first_identity(config: &Config, turn: &mut Turn) -> Identity {
    let identity = Identity {
        epoch: Epoch(turn.draws.bytes()),
        salt: Salt(turn.draws.bytes()),
        pepper_version: PEPPER_FIRST,
        pepper: Pepper(turn.draws.block()),
    };
    turn.put(META, FORMAT_KEY, &FORMAT);
    let row = identity_row(config, &identity, turn.draws.bytes());
    turn.put(META, IDENTITY_KEY, &row);
    identity
}

fn identity_row(config: &Config, identity: &Identity, nonce: [u8; 12]) -> IdentityRow {
    let DeviceKey(key) = &config.device_key;
    IdentityRow {
        instance: config.instance,
        epoch: identity.epoch,
        salt: identity.salt,
        pepper_version: identity.pepper_version,
        pepper: Blob(rest::protect(key, PEPPER_LABEL, nonce, &identity.pepper.0)),
    }
}

fn load(config: Config, identity: Identity, rows: &Rows<'_>, now: u64) -> Result<CabinetCore, OpenError> {
    let bays = bays(&config, rows, now)?;
    let book = HeldBook::open(
        rows.meta(BOOK_KEY)?,
        rows.keyed(ORDERS, |key| std::str::from_utf8(key).ok()?.parse::<OrderKey>().ok())?,
        rows.keyed(CREDENTIALS, |key| key.try_into().ok().map(CredentialId))?,
        rows.keyed(STAFF, |key| std::str::from_utf8(key).ok()?.parse::<Name>().ok())?,
        rows.keyed(COURIERS, |key| std::str::from_utf8(key).ok()?.parse::<Name>().ok())?,
    );
    let commands = Commands::open(rows.all(COMMANDS)?).ok_or(OpenError::Key { table: COMMANDS.0 })?;
    Ok(CabinetCore {
        keys: Keys::open(rows.meta(KEYSET_KEY)?, &config.tenant, &config.roots),
        challenges: Challenges::new(config.boot),
        clock: FleetClock::open(config.boot, config.machine, rows.meta(TIME_KEY)?, now),
        outbox: Outbox::new(identity.epoch, outbox_row(rows)?),
        link: Link::Offline,
        asked_at: None,
        book,
        bays,
        pulses: rows.meta(PULSE_KEY)?.unwrap_or(0),
        commands,
        refusals: Default::default(),
        reports: Default::default(),
        lockout: Lockout::open(rows.meta(LOCKOUT_KEY)?, now),
        entries: Default::default(),
        sessions: Default::default(),
        deposits: Default::default(),
        couriers: Default::default(),
        releases: Default::default(),
        asked: Default::default(),
        emergency: Default::default(),
        maintenance: None,
        presence: Default::default(),
        silent_boards: Default::default(),
        told: None,
        disk_low: false,
        end: rows.meta::<WipeRow>(WIPE_KEY)?.map(|row| End::ordered(row, now)),
        now,
        config,
        identity,
    })
}

/// The marks must agree with the events: a store whose tables are of different times is not one to go on with.
fn outbox_row(rows: &Rows<'_>) -> Result<Option<OutboxRow>, OpenError> {
    let row: Option<OutboxRow> = rows.meta(OUTBOX_KEY)?;
    let newest = row.as_ref().map_or(0, |row| row.newest);
    let from = rows.store.scan(EVENTS, &event_key(newest), 2)?;
    let is_newest = |(key, _): &(Vec<u8>, Vec<u8>)| *key == event_key(newest);
    let sound = match from.as_slice() {
        // A new store, or one whose new epoch has no event of its own yet.
        [] => row.as_ref().is_none_or(|row| row.oldest == row.newest + 1),
        [only] => newest > 0 && is_newest(only),
        _ => false,
    };
    let ordered = row.as_ref().is_none_or(|row| {
        row.newest < u64::MAX
            && row.oldest >= 1
            && row.oldest <= row.newest + 1
            && row.acked <= row.newest
            && row.acked + 1 >= row.oldest
    });
    if sound && ordered { Ok(row) } else { Err(OpenError::Outbox { newest }) }
}

fn bays(config: &Config, rows: &Rows<'_>, now: u64) -> Result<BTreeMap<Compartment, Bay>, OpenError> {
    let mut held = rows.keyed(BAYS, bay_of_key)?;
    let mut bays = BTreeMap::new();
    for compartment in &config.compartments {
        let number = compartment.info.number;
        let mut bay = Bay::new(compartment.clone(), held.remove(&number));
        bay.unconfirmed_at = bay.content.unconfirmed_at(now);
        if bays.insert(number, bay).is_some() {
            return Err(OpenError::DoubleCompartment(number));
        }
    }
    // An empty compartment may leave the settings, one with goods may not.
    if let Some((stray, _)) = held.iter().find(|(_, row)| row.content.order().is_some()) {
        return Err(OpenError::StrayCompartment(*stray));
    }
    for (compartment, row) in rows.keyed::<_, UseRow>(USES, bay_of_key)? {
        let bay = bays.get_mut(&compartment).ok_or(OpenError::StrayCompartment(compartment))?;
        bay.active = Some(ActiveUse { row, phase: Phase::Recovering { until: now + RECOVERY_MILLIS } });
    }
    Ok(bays)
}

/// Reads rows strictly: what cannot be understood is an error, never skipped.
struct Rows<'a> {
    store: &'a dyn Store,
}

impl Rows<'_> {
    fn is_empty(&self) -> Result<bool, OpenError> {
        for table in crate::TABLES {
            if !self.store.scan(table, &[], 1)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn meta<T: DeserializeOwned>(&self, key: &'static str) -> Result<Option<T>, OpenError> {
        let found = self.store.scan(META, key.as_bytes(), 1)?.into_iter().find(|(held, _)| held == key.as_bytes());
        found.map(|(_, value)| decode(META, &value)).transpose()
    }

    fn all<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<(Vec<u8>, T)>, OpenError> {
        let rows = self.store.rows(table)?;
        rows.into_iter().map(|(key, value)| Ok((key, decode(table, &value)?))).collect()
    }

    fn keyed<K: Ord, T: DeserializeOwned>(
        &self,
        table: Table,
        key: impl Fn(&[u8]) -> Option<K>,
    ) -> Result<BTreeMap<K, T>, OpenError> {
        let rows = self.all(table)?.into_iter();
        rows.map(|(raw, row)| Ok((key(&raw).ok_or(OpenError::Key { table: table.0 })?, row))).collect()
    }
}

fn decode<T: DeserializeOwned>(table: Table, value: &[u8]) -> Result<T, OpenError> {
    cbor::decode(value).map_err(|cause| OpenError::Row { table: table.0, cause })
}
