//! Sites: where cabinets stand, what time it is there, and when people get in.

mod clock;
mod row;
mod zones;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use schemas::api::{
    ClosedDates, OpeningHours, ReplyError, RequestErrorCode, Rfc3339, Scope, SiteDetail, SitePage, ZoneName,
};
use schemas::ids::{Identity, SiteId, TenantId};
use schemas::messages::FleetMillis;

use crate::requests::error;
use crate::rows::NotificationRow;
use crate::tables::{CabinetRef, SITES};
use crate::turn::Turn;

pub(crate) use clock::SiteClock;
use row::Said;
pub(crate) use row::SiteRow;
use zones::{DEFAULT, Zones, meant_by};

/// Sites in an answer: with every date on which they are closed it has to stay a message.
const PAGE: usize = 50;

/// What is to be another of a site. What is left out stays.
#[derive(Debug, Clone)]
pub(crate) struct SiteChange {
    pub(crate) zone: Option<ZoneName>,
    pub(crate) hours: Option<OpeningHours>,
    pub(crate) closed: Option<ClosedDates>,
}

struct Kept {
    row: SiteRow,
    said: Said,
    clock: Arc<SiteClock>,
    /// The zone is not in the database any more.
    is_lost: bool,
}

/// The sites of all tenants.
#[derive(Default)]
pub(crate) struct Sites {
    zones: Zones,
    kept: BTreeMap<(TenantId, SiteId), Kept>,
    stands: BTreeMap<CabinetRef, SiteId>,
}

impl Sites {
    /// A cabinet stands there.
    pub(crate) fn stand(&mut self, cabinet: CabinetRef, site: SiteId) {
        self.stands.insert(cabinet, site);
    }

    /// False where the row is damaged. A zone that there is no more is none: its site goes by UTC, and the fleet works on.
    pub(crate) fn restore(&mut self, tenant: TenantId, site: SiteId, row: SiteRow) -> bool {
        let Some(said) = row.said() else { return false };
        let kept = self.keep(row, said);
        self.kept.insert((tenant, site), kept);
        true
    }

    fn keep(&mut self, row: SiteRow, said: Said) -> Kept {
        let found = self.zones.find(said.zone.as_str());
        let is_lost = found.is_none();
        let (name, zone) = found.unwrap_or((DEFAULT, TimeZone::UTC));
        let clock = SiteClock { name, zone, hours: said.hours.clone(), closed: said.closed.clone() };
        Kept { row, said, clock: Arc::new(clock), is_lost }
    }

    /// What has to be said of zones that sites have and that this version does not know, if anything.
    pub(crate) fn lost_zones(&self) -> Option<String> {
        let lost = self.kept.iter().filter(|(_, kept)| kept.is_lost);
        let sites: Vec<String> =
            lost.map(|((tenant, site), kept)| format!("{tenant}/{site} ({})", kept.said.zone)).collect();
        let (first, count) = (sites.first()?, sites.len());
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        Some(format!(
            "this version has no such time zone: site {first}{more}; times there are in UTC until `fleet site set` names another"
        ))
    }

    /// The clock of the site where a cabinet stands, if somebody has set one.
    pub(crate) fn clock_of(&self, cabinet: &CabinetRef) -> Option<Arc<SiteClock>> {
        let site = self.stands.get(cabinet)?;
        self.kept.get(&(cabinet.tenant.clone(), site.clone())).map(|kept| kept.clock.clone())
    }

    /// Changes a site at which a cabinet stands. What is said a second time is written once.
    pub(crate) fn set(
        &mut self,
        turn: &mut Turn<'_>,
        by: &Identity,
        site: &SiteId,
        change: SiteChange,
    ) -> Result<(), ReplyError> {
        self.check_known(&by.tenant, site)?;
        let key = (by.tenant.clone(), site.clone());
        let before = self.kept.get(&key).map(|kept| kept.said.clone());
        let zone = match change.zone {
            Some(zone) => Some(self.known_zone(&zone)?),
            None => before.as_ref().map(|said| said.zone.clone()),
        };
        let Some(zone) = zone.or_else(|| DEFAULT.parse().ok()) else { return Ok(()) };
        let held = |held: fn(&Said) -> &ClosedDates| before.as_ref().map(held).cloned();
        let said = Said {
            zone,
            hours: change.hours.or_else(|| before.as_ref().map(|said| said.hours.clone())).unwrap_or_default(),
            closed: change.closed.or_else(|| held(|said| &said.closed)).unwrap_or_default(),
        };
        if before.as_ref() == Some(&said) {
            return Ok(());
        }
        let row = SiteRow::new(&said, by.clone(), turn.now);
        turn.put(SITES, format!("{}/{site}", by.tenant), &row);
        let kept = self.keep(row, said);
        self.kept.insert(key, kept);
        Ok(())
    }

    /// A zone as the database writes it.
    fn known_zone(&mut self, zone: &ZoneName) -> Result<ZoneName, ReplyError> {
        let known = self.zones.find(zone.as_str()).and_then(|(name, _)| name.parse().ok());
        known.ok_or_else(|| {
            let text = format!("there is no time zone {zone}");
            let hint = match meant_by(zone.as_str()) {
                Some(meant) => format!("is it {meant}?"),
                None => "zones have names such as Europe/Berlin, as in the IANA database".to_owned(),
            };
            error(RequestErrorCode::Unknown, text, &hint)
        })
    }

    fn check_known(&self, tenant: &TenantId, site: &SiteId) -> Result<(), ReplyError> {
        if self.stands.iter().any(|(at, other)| at.tenant == *tenant && other == site) {
            return Ok(());
        }
        let text = format!("no cabinet stands at a site {site}");
        Err(error(RequestErrorCode::Unknown, text, "`fleet site list` shows all of them"))
    }

    pub(crate) fn show(&self, tenant: &TenantId, site: &SiteId, now: FleetMillis) -> Result<SiteDetail, ReplyError> {
        self.check_known(tenant, site)?;
        let here = self.stands.iter().filter(|(at, other)| at.tenant == *tenant && *other == site);
        Ok(self.detail(tenant, site, here.count(), now))
    }

    /// Sites behind `after` that somebody with this scope sees.
    pub(crate) fn page(&self, tenant: &TenantId, scope: &Scope, after: Option<&SiteId>, now: FleetMillis) -> SitePage {
        let mut counts: BTreeMap<&SiteId, usize> = BTreeMap::new();
        let own = self.stands.iter().filter(|(at, _)| at.tenant == *tenant);
        own.for_each(|(_, site)| *counts.entry(site).or_default() += 1);
        let seen = |site: &SiteId| after.is_none_or(|after| site > after) && scope.covers_site(site);
        let mut sites = counts.into_iter().filter(|(site, _)| seen(site));
        let page = sites.by_ref().take(PAGE).map(|(site, count)| self.detail(tenant, site, count, now)).collect();
        SitePage { sites: page, more: sites.next().is_some() }
    }

    fn detail(&self, tenant: &TenantId, site: &SiteId, cabinets: usize, now: FleetMillis) -> SiteDetail {
        let kept = self.kept.get(&(tenant.clone(), site.clone()));
        SiteDetail {
            site: site.clone(),
            cabinets: u32::try_from(cabinets).unwrap_or(u32::MAX),
            zone: kept.map(|kept| kept.said.zone.clone()),
            zone_unknown: kept.is_some_and(|kept| kept.is_lost),
            hours: kept.map(|kept| kept.said.hours.clone()).unwrap_or_default(),
            closed: kept.map(|kept| kept.said.closed.clone()).unwrap_or_default(),
            open: kept.is_none_or(|kept| kept.clock.is_open(now)),
            local: kept.map(|kept| kept.clock.shows(now)),
            by: kept.map(|kept| kept.row.by.clone()),
            at: kept.map(|kept| Rfc3339(kept.row.at)),
        }
    }

    /// What a clock at the cabinet shows at a moment, and the name of its zone. Nothing where nobody has set a zone.
    fn local(&self, cabinet: &CabinetRef, at: Option<FleetMillis>) -> Option<(String, String)> {
        let (clock, at) = (self.clock_of(cabinet)?, at?);
        Some((clock.shows(at), clock.zone_name().to_owned()))
    }

    /// The end of a window by the clock of the cabinet.
    pub(crate) fn until_local(&self, cabinet: &CabinetRef, until: Option<FleetMillis>) -> Option<String> {
        self.local(cabinet, until).map(|(shown, _)| shown)
    }

    /// The same message with its ends in local time. Written with the row: a message says the same each time that it is sent,
    /// also by a later version with other zones.
    pub(crate) fn localised(&self, tenant: &TenantId, mut row: NotificationRow) -> NotificationRow {
        for door in row.doors.iter_mut().flatten() {
            let at = CabinetRef::new(tenant.clone(), door.cabinet.clone());
            (door.until_local, door.zone) = self.local(&at, door.until).unzip();
        }
        // The end of a bundle is that of the door that ends first, wherever that is.
        let first = row.doors.iter().flatten().find(|door| door.until == row.until);
        (row.until_local, row.zone) = match first {
            Some(door) => (door.until_local.clone(), door.zone.clone()),
            None => self.local(&CabinetRef::new(tenant.clone(), row.cabinet.clone()), row.until).unzip(),
        };
        row
    }
}
