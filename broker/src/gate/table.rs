//! Who is connected: by identity, by connection, and who watches a tenant's live topics.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use schemas::ids::{CabinetId, Identity, Role, TenantId};
use schemas::topics::{Live, LiveFilter};

use super::conn::{Claim, Conn, Terms};
use super::limits::GateSettings;
use super::lock;
use super::port::{ConnId, Gone, Holder};
use super::quota::Quota;
use super::rule::Rule;

/// The connection table. Every operation is a short critical section that never waits for a peer.
pub(super) struct Table {
    inner: Mutex<Inner>,
}

struct Inner {
    next: u64,
    stopping: bool,
    by_identity: HashMap<Arc<Identity>, Vec<Arc<Conn>>>,
    by_id: HashMap<ConnId, Arc<Conn>>,
    watchers: HashMap<TenantId, Vec<Watcher>>,
    quotas: HashMap<Arc<Identity>, Arc<Quota>>,
    cabinets: usize,
}

struct Watcher {
    conn: Arc<Conn>,
    filters: Vec<LiveFilter>,
}

/// A connection that is in the table now.
pub(super) struct Registered {
    pub(super) conn: Arc<Conn>,
    pub(super) quota: Arc<Quota>,
    pub(super) replaced: Option<Replaced>,
}

/// The connection that had the same client id until now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replaced {
    pub(super) old: Holder,
    pub(super) old_silent_for: Duration,
}

impl Table {
    pub(super) fn new() -> Self {
        let inner = Inner {
            next: 1,
            stopping: false,
            by_identity: HashMap::new(),
            by_id: HashMap::new(),
            watchers: HashMap::new(),
            quotas: HashMap::new(),
            cabinets: 0,
        };
        Self { inner: Mutex::new(inner) }
    }

    /// Enters a connection. An older one with the same client id is out at once and told so; its own task does the rest.
    pub(super) fn register(&self, claim: Claim, terms: Terms, settings: &GateSettings) -> Result<Registered, Rule> {
        let now = Instant::now();
        let mut inner = lock(&self.inner);
        if inner.stopping {
            return Err(Rule::TooManyConnections);
        }
        let old = inner
            .by_identity
            .get(&claim.who)
            .and_then(|conns| conns.iter().find(|conn| conn.claim.suffix == claim.suffix).map(Arc::clone));
        if old.is_none() {
            inner.check_room(&claim.who, settings)?;
        }
        let replaced = old
            .as_ref()
            .map(|old| Replaced { old: old.holder(), old_silent_for: now.saturating_duration_since(old.heard()) });
        let mut conn = Conn::new(ConnId(inner.next), claim, terms);
        inner.next += 1;
        if let Some(old) = old {
            conn.takeovers = old.takeovers.saturating_add(1);
            inner.remove(&old);
            old.close(Gone::TakenOver);
        }
        let conn = Arc::new(conn);
        let quota = inner.enter(&conn, settings, now);
        Ok(Registered { conn, quota, replaced })
    }

    /// Takes a connection out, unless a takeover already did.
    pub(super) fn remove(&self, conn: &Arc<Conn>) {
        lock(&self.inner).remove(conn);
    }

    /// The session without suffix: for a cabinet its only one.
    pub(super) fn main_session(&self, who: &Identity) -> Option<Arc<Conn>> {
        let inner = lock(&self.inner);
        inner.by_identity.get(who)?.iter().find(|conn| conn.claim.suffix.is_none()).cloned()
    }

    pub(super) fn conn(&self, id: ConnId) -> Option<Arc<Conn>> {
        lock(&self.inner).by_id.get(&id).cloned()
    }

    pub(super) fn sessions_of(&self, who: &Identity) -> Vec<Arc<Conn>> {
        lock(&self.inner).by_identity.get(who).cloned().unwrap_or_default()
    }

    /// Refuses all who come from now on and returns those who are here.
    pub(super) fn stop(&self) -> Vec<Arc<Conn>> {
        let mut inner = lock(&self.inner);
        inner.stopping = true;
        inner.by_id.values().cloned().collect()
    }

    /// Cabinets, and sessions of all others.
    pub(super) fn sizes(&self) -> (usize, usize) {
        let inner = lock(&self.inner);
        (inner.cabinets, inner.by_id.len() - inner.cabinets)
    }

    // ---- live topics

    /// Adds a live filter to a session; `Err` if it has too many or has been taken over.
    pub(super) fn watch(&self, conn: &Arc<Conn>, filter: LiveFilter, max: usize) -> Result<(), Rule> {
        let mut inner = lock(&self.inner);
        if !inner.by_id.contains_key(&conn.id) {
            return Err(Rule::TooManySubscriptions);
        }
        let watchers = inner.watchers.entry(filter.tenant.clone()).or_default();
        let index = watchers.iter().position(|watcher| watcher.conn.id == conn.id).unwrap_or_else(|| {
            watchers.push(Watcher { conn: Arc::clone(conn), filters: Vec::new() });
            watchers.len() - 1
        });
        let filters = &mut watchers[index].filters;
        if filters.contains(&filter) {
            return Ok(());
        }
        if filters.len() >= max {
            return Err(Rule::TooManySubscriptions);
        }
        filters.push(filter);
        Ok(())
    }

    /// Takes a live filter off; says whether it was there.
    pub(super) fn unwatch(&self, conn: &Arc<Conn>, filter: &LiveFilter) -> bool {
        let mut inner = lock(&self.inner);
        let Some(watchers) = inner.watchers.get_mut(&filter.tenant) else { return false };
        let Some(watcher) = watchers.iter_mut().find(|watcher| watcher.conn.id == conn.id) else { return false };
        let before = watcher.filters.len();
        watcher.filters.retain(|other| other != filter);
        watcher.filters.len() < before
    }

    /// Sessions that see this live topic.
    pub(super) fn watchers(&self, tenant: &TenantId, cabinet: &CabinetId, live: Live) -> Vec<Arc<Conn>> {
        let inner = lock(&self.inner);
        let sees = |watcher: &&Watcher| watcher.filters.iter().any(|filter| filter.matches(tenant, cabinet, live));
        let watchers = inner.watchers.get(tenant).map(Vec::as_slice).unwrap_or_default();
        watchers.iter().filter(sees).map(|watcher| Arc::clone(&watcher.conn)).collect()
    }
}

impl Inner {
    fn check_room(&self, who: &Identity, settings: &GateSettings) -> Result<(), Rule> {
        if self.by_id.len() >= settings.connections_max {
            return Err(Rule::TooManyConnections);
        }
        if self.by_identity.get(who).map_or(0, Vec::len) >= settings.sessions_per_identity {
            return Err(Rule::TooManySessions);
        }
        Ok(())
    }

    fn enter(&mut self, conn: &Arc<Conn>, settings: &GateSettings, now: Instant) -> Arc<Quota> {
        let who = &conn.claim.who;
        self.by_id.insert(conn.id, Arc::clone(conn));
        self.by_identity.entry(Arc::clone(who)).or_default().push(Arc::clone(conn));
        if who.role == Role::Cabinet {
            self.cabinets += 1;
        }
        // A quota outlives its sessions until it is full again, so that reconnecting does not refill it.
        if self.quotas.len() > 2 * self.by_id.len() + 1024 {
            self.quotas.retain(|_, quota| Arc::strong_count(quota) > 1 || !quota.is_full(now));
        }
        let fresh = || Arc::new(Quota::new(settings.packets_per_second, settings.packet_burst, now));
        Arc::clone(self.quotas.entry(Arc::clone(who)).or_insert_with(fresh))
    }

    fn remove(&mut self, conn: &Arc<Conn>) {
        if self.by_id.remove(&conn.id).is_none() {
            return;
        }
        let who = &conn.claim.who;
        if who.role == Role::Cabinet {
            self.cabinets -= 1;
        }
        if let Some(conns) = self.by_identity.get_mut(who) {
            conns.retain(|other| other.id != conn.id);
            if conns.is_empty() {
                self.by_identity.remove(who);
            }
        }
        if let Some(watchers) = self.watchers.get_mut(&who.tenant) {
            watchers.retain(|watcher| watcher.conn.id != conn.id);
            if watchers.is_empty() {
                self.watchers.remove(&who.tenant);
            }
        }
    }
}
