//! Reading the state from the store.

use std::collections::BTreeMap;

use schemas::cbor;
use schemas::ids::{Identity, TenantId};
use schemas::messages::{Compartment, OrderKey};
use schemas::step::{RESTORED, Store, Table, number_of_key};
use schemas::topics::Stream;
use serde::de::DeserializeOwned;

use crate::cabinet::{
    Booked, BundleAt, Cabinet, ChangeSet, CommandRow, GlassRow, Inside, Issued, Offer, Progress, Registration, Said,
    StaffAt, WipeRow,
};
use crate::config::Config;
use crate::core::{FleetCore, OpenError};
use crate::deadlines::Deadline;
use crate::identities::{Identities, IdentityRow};
use crate::intents::{Intent, Intents};
use crate::jobs::Job;
use crate::keysets::{KeysetRow, Keysets};
use crate::notify::{ChannelRow, MessageRow, TemplateRow};
use crate::order::{Bundle, Order, Orders, sealing_key};
use crate::policy::PolicyRow;
use crate::quotas::QuotaRow;
use crate::site::SiteRow;
use crate::staff::{Crew, Staff, StaffList};
use crate::streams::Head;
use crate::tables::{
    BOOK, BOOKED, BREAK_GLASS, BUNDLES, BUNDLES_AT, CABINETS, CHANNELS, COMMANDS, COMPARTMENTS, COURIERS, COURIERS_AT,
    CabinetRef, FORMAT, FORMAT_KEY, IDENTITIES, INTENTS, ISSUED, KEYSETS, LANDED_KEY, MESSAGES, META, OFFERS, ORDERS,
    OrderRef, POLICIES, PROGRESS, QUOTAS, SAID, SITES, STAFF, STAFF_AT, STREAMS, StreamRef, TEMPLATES, WIPES,
};
use crate::turn::Agenda;

pub(crate) fn open(config: Config, store: &dyn Store) -> Result<FleetCore, OpenError> {
    let meta = read_meta(store)?;
    let is_new = !meta.contains_key(FORMAT_KEY.as_bytes());
    let restored = meta.get(RESTORED.1.as_bytes()).copied();
    let mut core = FleetCore {
        config,
        cabinets: Default::default(),
        orders: Orders::default(),
        staff: StaffList::new(Crew::Staff),
        couriers: StaffList::new(Crew::Couriers),
        keysets: Keysets::default(),
        identities: Identities::default(),
        alarms: BTreeMap::new(),
        agenda: Agenda::default(),
        is_new,
        is_begun: false,
        restored,
    };
    core.orders.streams.restore_leap(meta.get(LANDED_KEY.as_bytes()).copied().unwrap_or(0));
    read_cabinets(&mut core, store)?;
    read_sites(&mut core, store)?;
    read_orders(&mut core, store)?;
    read_staff(&mut core, store)?;
    read_keysets(&mut core, store)?;
    read_identities(&mut core, store)?;
    read_quotas(&mut core, store)?;
    read_policies(&mut core, store)?;
    read_outbox(&mut core, store)?;
    let mut intents = Vec::new();
    each::<Intent>(store, INTENTS, |key, intent| {
        intents.push((number_of_key(key.bytes).ok_or_else(|| key.stray())?, intent));
        Ok(())
    })?;
    core.agenda.intents = Intents::restored(intents);
    find_work(&mut core);
    Ok(core)
}

/// The single numbers. A store of another format is not touched.
fn read_meta(store: &dyn Store) -> Result<BTreeMap<Vec<u8>, u64>, OpenError> {
    let mut rows = BTreeMap::new();
    each::<u64>(store, META, |key, value| {
        rows.insert(key.bytes.to_vec(), value);
        Ok(())
    })?;
    match rows.get(FORMAT_KEY.as_bytes()) {
        None | Some(&FORMAT) => Ok(rows),
        Some(&found) => Err(OpenError::Format { found }),
    }
}

fn read_cabinets(core: &mut FleetCore, store: &dyn Store) -> Result<(), OpenError> {
    each::<Registration>(store, CABINETS, |key, registration| {
        let at = key.cabinet()?;
        core.orders.sites.stand(at.clone(), registration.site.clone());
        core.cabinets.insert(at.clone(), Cabinet::restored(at, registration));
        Ok(())
    })?;
    for_cabinet::<Said>(core, store, SAID, |cabinet, _, said| {
        cabinet.restore_said(said);
        Ok(())
    })?;
    for_cabinet::<Progress>(core, store, PROGRESS, |cabinet, _, progress| {
        cabinet.restore_progress(progress);
        Ok(())
    })?;
    for_cabinet::<Inside>(core, store, COMPARTMENTS, |cabinet, key, inside| {
        let number = number_of_key(key.bytes).and_then(|n| u16::try_from(n).ok()).and_then(Compartment::new);
        cabinet.restore_inside(number.ok_or_else(|| key.stray())?, inside);
        Ok(())
    })?;
    for_cabinet::<Booked>(core, store, BOOKED, |cabinet, _, booked| {
        cabinet.restore_booked(booked);
        Ok(())
    })?;
    for_cabinet::<ChangeSet>(core, store, BOOK, |cabinet, _, set| {
        cabinet.restore_set(set);
        Ok(())
    })?;
    for_cabinet::<BundleAt>(core, store, BUNDLES_AT, |cabinet, _, bundle| {
        cabinet.restore_bundle(bundle);
        Ok(())
    })?;
    for_cabinet::<StaffAt>(core, store, STAFF_AT, |cabinet, _, staff| {
        cabinet.restore_member(Crew::Staff, staff);
        Ok(())
    })?;
    for_cabinet::<StaffAt>(core, store, COURIERS_AT, |cabinet, _, courier| {
        cabinet.restore_member(Crew::Couriers, courier);
        Ok(())
    })?;
    for_cabinet::<CommandRow>(core, store, COMMANDS, |cabinet, _, command| {
        cabinet.restore_command(command);
        Ok(())
    })?;
    for_cabinet::<Offer>(core, store, OFFERS, |cabinet, _, offer| {
        cabinet.enrolment().restore_offer(offer);
        Ok(())
    })?;
    for_cabinet::<WipeRow>(core, store, WIPES, |cabinet, _, row| {
        cabinet.restore_wipe(row);
        Ok(())
    })?;
    for_cabinet::<GlassRow>(core, store, BREAK_GLASS, |cabinet, _, row| {
        cabinet.restore_break_glass(row);
        Ok(())
    })?;
    for_cabinet::<Issued>(core, store, ISSUED, |cabinet, key, issued| {
        let n = number_of_key(key.bytes).ok_or_else(|| key.stray())?;
        cabinet.enrolment().restore_issued(n, issued);
        Ok(())
    })
}

fn read_sites(core: &mut FleetCore, store: &dyn Store) -> Result<(), OpenError> {
    each::<SiteRow>(store, SITES, |key, row| {
        let (tenant, site) = key.tenant()?;
        let site = site.parse().map_err(|_| key.stray())?;
        match core.orders.sites.restore(tenant, site, row) {
            true => Ok(()),
            false => Err(key.damaged("a zone, hours or a date that are none")),
        }
    })
}

fn read_orders(core: &mut FleetCore, store: &dyn Store) -> Result<(), OpenError> {
    each::<Order>(store, ORDERS, |key, order| {
        let (tenant, rest) = key.tenant()?;
        let named: OrderKey = rest.parse().map_err(|_| key.stray())?;
        core.orders.restore(OrderRef { tenant, order: named }, order);
        Ok(())
    })?;
    each::<Bundle>(store, BUNDLES, |key, bundle| {
        let (tenant, rest) = key.tenant()?;
        let named: OrderKey = rest.parse().map_err(|_| key.stray())?;
        core.orders.bundles.restore(OrderRef { tenant, order: named }, bundle);
        Ok(())
    })?;
    each::<Head>(store, STREAMS, |key, head| {
        let (tenant, rest) = key.tenant()?;
        let (integration, stream) = rest.split_once('/').ok_or_else(|| key.stray())?;
        let integration = integration.parse().map_err(|_| key.stray())?;
        let stream: Stream = stream.parse().map_err(|_| key.stray())?;
        core.orders.streams.restore(StreamRef { tenant, integration, stream }, head);
        Ok(())
    })
}

fn read_staff(core: &mut FleetCore, store: &dyn Store) -> Result<(), OpenError> {
    each::<Staff>(store, STAFF, |key, staff| {
        let (tenant, _) = key.tenant()?;
        core.staff.restore(tenant, staff);
        Ok(())
    })?;
    each::<Staff>(store, COURIERS, |key, courier| {
        let (tenant, _) = key.tenant()?;
        core.couriers.restore(tenant, courier);
        Ok(())
    })
}

fn read_keysets(core: &mut FleetCore, store: &dyn Store) -> Result<(), OpenError> {
    each::<KeysetRow>(store, KEYSETS, |key, row| {
        let (tenant, _) = key.tenant()?;
        core.keysets.restore(tenant, row);
        Ok(())
    })?;
    for (tenant, chain) in core.keysets.all() {
        let key = chain.newest_keyset().as_ref().and_then(sealing_key);
        core.orders.set_sealing_key(tenant.clone(), key);
    }
    Ok(())
}

fn read_identities(core: &mut FleetCore, store: &dyn Store) -> Result<(), OpenError> {
    each::<IdentityRow>(store, IDENTITIES, |key, row| {
        let (tenant, rest) = key.tenant()?;
        let (role, name) = rest.split_once('/').ok_or_else(|| key.stray())?;
        let (role, name) = (role.parse().map_err(|_| key.stray())?, name.parse().map_err(|_| key.stray())?);
        core.identities.restore(Identity::new(role, tenant, name), row);
        Ok(())
    })
}

fn read_quotas(core: &mut FleetCore, store: &dyn Store) -> Result<(), OpenError> {
    each::<QuotaRow>(store, QUOTAS, |key, row| {
        let (tenant, integration) = key.tenant()?;
        let integration = integration.parse().map_err(|_| key.stray())?;
        core.orders.quotas.restore(tenant, integration, row);
        Ok(())
    })
}

fn read_policies(core: &mut FleetCore, store: &dyn Store) -> Result<(), OpenError> {
    each::<PolicyRow>(store, POLICIES, |key, row| {
        let tenant = key.text()?.parse().map_err(|_| key.stray())?;
        let policies = row.policies().ok_or_else(|| key.damaged("a number out of its range"))?;
        core.orders.policies.restore(tenant, row, policies);
        Ok(())
    })?;
    core.orders.give_windows();
    core.orders.find_sweeps();
    Ok(())
}

fn read_outbox(core: &mut FleetCore, store: &dyn Store) -> Result<(), OpenError> {
    let outbox = &mut core.orders.outbox;
    each::<ChannelRow>(store, CHANNELS, |key, row| {
        let (tenant, _) = key.tenant()?;
        // One of a later version is no reason to open no door: its messages go by another one, or are listed.
        outbox.channels.restore(tenant, &row);
        Ok(())
    })?;
    each::<TemplateRow>(store, TEMPLATES, |key, row| {
        let (tenant, rest) = key.tenant()?;
        let (kind, language) = rest.split_once('/').ok_or_else(|| key.stray())?;
        if let (Ok(kind), Ok(language)) = (kind.parse(), language.parse()) {
            outbox.templates.restore(tenant, kind, language, row);
        }
        Ok(())
    })?;
    for (bytes, value) in store.rows(MESSAGES)? {
        let (tenant, _) = Key { table: MESSAGES, bytes: &bytes }.tenant()?;
        // Nor is a message with a word that only a later version knows; that one finds it again.
        if let Ok(row) = cbor::decode::<MessageRow>(&value) {
            outbox.restore(tenant, row);
        }
    }
    Ok(())
}

/// Finds in the state what is still to be done, and makes it due at once.
fn find_work(core: &mut FleetCore) {
    let FleetCore { config, cabinets, orders, staff, couriers, agenda, restored, identities, .. } = core;
    // Books, times and commands go to connected cabinets only; a secret can be made before.
    let secrets = cabinets.iter().filter(|(_, cabinet)| cabinet.next_secrets().is_some());
    secrets.for_each(|(at, _)| agenda.jobs.want(Job::Secrets(at.clone())));
    for tenant in identities.tenants_with_integrations() {
        let only = identities.only_integration(&tenant);
        orders.set_only_integration(tenant, only);
    }
    orders.sealed_phones().for_each(|at| agenda.jobs.want(Job::Phone(at.clone())));
    orders.sealed_answers().for_each(|at| agenda.jobs.want(Job::Answer(at.clone())));
    if orders.holds_walk_ins() {
        agenda.deadlines.set(Deadline::WalkIns, 0);
    }
    staff.wanted().chain(couriers.wanted()).for_each(|job| agenda.jobs.want(job));
    orders.bundles.wanted().for_each(|job| agenda.jobs.want(job));
    if let Some(at) = orders.retention_ends(config) {
        agenda.deadlines.set(Deadline::Retention, at);
    }
    orders.policies.sweeping().for_each(|tenant| agenda.deadlines.set(Deadline::Sweep(tenant.clone()), 0));
    for (at, cabinet) in cabinets.iter() {
        for (id, until) in cabinet.awaited_openings() {
            agenda.deadlines.set(Deadline::Unlocked(at.clone(), id), until);
        }
    }
    if let Some(at) = orders.first_due() {
        agenda.deadlines.set(Deadline::Window, at);
    }
    if let Some(at) = orders.outbox.first_due() {
        agenda.deadlines.set(Deadline::Messages, at);
    }
    if agenda.jobs.any_wanted()
        || !agenda.intents.is_empty()
        || restored.is_some()
        || orders.sites.lost_zones().is_some()
    {
        agenda.deadlines.set(Deadline::Start, 0);
    }
}

/// A key of a row, with what an error has to name.
struct Key<'a> {
    table: Table,
    bytes: &'a [u8],
}

impl Key<'_> {
    fn stray(&self) -> OpenError {
        OpenError::Stray { table: self.table.0, key: self.shown() }
    }

    fn damaged(&self, what: &str) -> OpenError {
        let source = cbor::CborError::Shape(what.into());
        OpenError::Row { table: self.table.0, key: self.shown(), source }
    }

    fn shown(&self) -> String {
        self.bytes.escape_ascii().to_string()
    }

    /// The text before the number, if there is one.
    fn text(&self) -> Result<&str, OpenError> {
        let text = self.bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        std::str::from_utf8(text).map_err(|_| self.stray())
    }

    fn tenant(&self) -> Result<(TenantId, &str), OpenError> {
        let (tenant, rest) = self.text()?.split_once('/').ok_or_else(|| self.stray())?;
        Ok((tenant.parse().map_err(|_| self.stray())?, rest))
    }

    fn cabinet(&self) -> Result<CabinetRef, OpenError> {
        let (tenant, rest) = self.tenant()?;
        let cabinet = rest.split('/').next().unwrap_or_default();
        Ok(CabinetRef::new(tenant, cabinet.parse().map_err(|_| self.stray())?))
    }
}

fn each<T: DeserializeOwned>(
    store: &dyn Store,
    table: Table,
    mut take: impl FnMut(&Key<'_>, T) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    for (bytes, value) in store.rows(table)? {
        let key = Key { table, bytes: &bytes };
        let record =
            cbor::decode(&value).map_err(|source| OpenError::Row { table: table.0, key: key.shown(), source })?;
        take(&key, record)?;
    }
    Ok(())
}

fn for_cabinet<T: DeserializeOwned>(
    core: &mut FleetCore,
    store: &dyn Store,
    table: Table,
    mut take: impl FnMut(&mut Cabinet, &Key<'_>, T) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    each::<T>(store, table, |key, record| {
        let cabinet = core.cabinets.get_mut(&key.cabinet()?).ok_or_else(|| key.stray())?;
        take(cabinet, key, record)
    })
}
