//! What an operator can set, for the broker and for the signer beside it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use fleet_core::CodeForm;
use fleet_settings::{Checks, Settings};
use fleet_store::{OpenError, RedbStore};
use schemas::api::QuotaLimits;
use schemas::ids::Name;
use serde::{Deserialize, Serialize};

use crate::gate::GateSettings;

/// Topic and properties of a packet, in bytes: with them a payload of the protocol's limit still fits.
const PACKET_OVERHEAD: usize = 1024;

/// `broker.toml`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSettings {
    pub gate: GateSection,
    pub tls: TlsSection,
    pub store: StoreSection,
    pub signer: SignerSection,
    pub enrolment: EnrolmentSection,
    /// Of each integration; `fleet integration quota` changes them for one.
    pub quotas: QuotaLimits,
    pub codes: CodesSection,
    pub orders: OrdersSection,
    pub notify: NotifySection,
    pub log: LogSection,
}

/// What cabinets have in their books besides what orders need.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodesSection {
    /// A break-glass code for each cabinet. Without it nobody gets in by one, also where the network stays away for weeks.
    pub break_glass: bool,
    /// What new codes of orders and bundles are made of, `digits` or `letters`.
    pub form: CodeForm,
}

impl Default for CodesSection {
    fn default() -> Self {
        Self { break_glass: true, form: CodeForm::default() }
    }
}

/// How orders are treated.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrdersSection {
    /// The integration that hears of walk-ins and tells their recipients. Left out: the only one that there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub walk_in: Option<Name>,
    /// Walk-ins of one cabinet whose recipients are told within a day. The others wait, with an alarm.
    pub walk_ins_per_day: u32,
    /// Lets backends have the door of an order opened for whoever has read the token of the cabinet's screen. The cabinet has
    /// to show tokens (`screen.app_token` in its agent.toml).
    pub open_by_app: bool,
}

impl Default for OrdersSection {
    fn default() -> Self {
        let core = fleet_core::Config::default();
        Self { walk_in: core.walk_in, walk_ins_per_day: core.walk_ins_per_day, open_by_app: core.open_by_app }
    }
}

/// How the fleet itself sends messages to people, for tenants that have channels.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifySection {
    /// Folder of the channels' secrets: `<tenant>/<name>`, each a file for its owner only. Its first line is where the secret
    /// may be sent (`https://api.twilio.com`, `smtp://mail.example.com:587`), its second the secret.
    pub secrets: PathBuf,
    /// Certificates of the CAs (PEM) that vouch for gateways and mail servers.
    pub roots: PathBuf,
    /// Messages by one channel in a minute, at most; the others wait.
    pub messages_per_minute: u32,
}

impl Default for NotifySection {
    fn default() -> Self {
        let messages_per_minute = fleet_core::Config::default().messages_per_minute;
        let roots = "/etc/ssl/certs/ca-certificates.crt".into();
        Self { secrets: "notify".into(), roots, messages_per_minute }
    }
}

/// The one port that the world can reach.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSection {
    pub listen: SocketAddr,
    pub connections_max: usize,
    pub sessions_per_identity: usize,
    /// Packets per second of one identity.
    pub packets_per_second: u32,
    /// Addresses without a bound on half-open connections, here and at the enrolment port: a carrier's NAT puts a whole fleet behind one.
    pub address_allow_list: Vec<IpAddr>,
}

impl Default for GateSection {
    fn default() -> Self {
        let gate = GateSettings::default();
        Self {
            listen: gate.listen,
            connections_max: gate.connections_max,
            sessions_per_identity: gate.sessions_per_identity,
            packets_per_second: gate.packets_per_second,
            address_allow_list: gate.address_allow_list,
        }
    }
}

impl GateSection {
    pub fn to_gate(&self) -> GateSettings {
        GateSettings {
            listen: self.listen,
            connections_max: self.connections_max,
            sessions_per_identity: self.sessions_per_identity,
            packets_per_second: self.packets_per_second,
            address_allow_list: self.address_allow_list.clone(),
            cabinet_packet_max: schemas::messages::MESSAGE_MAX + PACKET_OVERHEAD,
            session_packet_max: schemas::api::JSON_MAX + PACKET_OVERHEAD,
            ..GateSettings::default()
        }
    }
}

/// Files of the TLS port.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The CA that issues cabinets' certificates, and nothing else.
    pub cabinets_ca: PathBuf,
    /// The CA that issues people's and integrations' certificates.
    pub people_ca: PathBuf,
}

impl Default for TlsSection {
    fn default() -> Self {
        Self {
            certificate: "server.crt".into(),
            key: "server.key".into(),
            cabinets_ca: "cabinets.crt".into(),
            people_ca: "people.crt".into(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSection {
    pub path: PathBuf,
    /// Folder for the files of `fleet backup`; made when it is first needed.
    pub backups: PathBuf,
    /// The newest files there that are kept: a folder that only grows ends as a full disk.
    pub backups_kept: u16,
    /// Kilobytes of the disk that are kept for the store when it is full otherwise.
    pub reserve_kilobytes: u32,
}

impl StoreSection {
    pub(crate) fn open(&self) -> Result<RedbStore, OpenError> {
        RedbStore::open_reserved(&self.path, self.reserve())
    }

    pub(crate) fn reopen(&self) -> Result<RedbStore, OpenError> {
        RedbStore::reopen_reserved(&self.path, self.reserve())
    }

    fn reserve(&self) -> u64 {
        u64::from(self.reserve_kilobytes) * 1_024
    }
}

impl Default for StoreSection {
    fn default() -> Self {
        Self { path: "fleet.redb".into(), backups: "backups".into(), backups_kept: 14, reserve_kilobytes: 65_536 }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignerSection {
    /// The Unix socket of the signer.
    pub socket: PathBuf,
    /// `host:port` of a signer on another host, in place of the socket. It shows a certificate for that host, below the TLS root.
    pub address: String,
    /// The signer's name in that certificate.
    pub name: String,
}

impl Default for SignerSection {
    fn default() -> Self {
        Self { socket: "signer.sock".into(), address: String::new(), name: "signer".to_owned() }
    }
}

/// Where cabinets enrol and renew (EST, RFC 7030). It shares certificate and CAs with the gate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentSection {
    pub listen: SocketAddr,
    /// The TLS root that is told to a cabinet, which knows its fingerprint from its token.
    pub root: PathBuf,
    pub connections_max: usize,
    /// How long after its end a certificate is still good for renewing it, and for nothing else: a cabinet may have been in a
    /// warehouse.
    pub grace_days: u32,
}

impl Default for EnrolmentSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8884)),
            root: "root.crt".into(),
            connections_max: 64,
            grace_days: 180,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    /// Level by target: `info`, `warn,fleet_broker::gate=debug` …
    pub filter: String,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { filter: "info".into() }
    }
}

impl Settings for BrokerSettings {
    fn check(&mut self, base: &Path, problems: &mut Checks) {
        problems.path("tls.certificate", &mut self.tls.certificate, base);
        problems.path("tls.key", &mut self.tls.key, base);
        problems.path("tls.cabinets_ca", &mut self.tls.cabinets_ca, base);
        problems.path("tls.people_ca", &mut self.tls.people_ca, base);
        problems.path("store.path", &mut self.store.path, base);
        problems.path("store.backups", &mut self.store.backups, base);
        problems.path("signer.socket", &mut self.signer.socket, base);
        if !self.signer.address.is_empty()
            && let Err(what) = host_of(&self.signer.address)
        {
            problems.problem("signer.address", what);
        }
        check_name("signer.name", &self.signer.name, problems);
        problems.path("enrolment.root", &mut self.enrolment.root, base);
        problems.path("notify.secrets", &mut self.notify.secrets, base);
        problems.path("notify.roots", &mut self.notify.roots, base);
        for (key, zero) in [
            ("notify.messages_per_minute", self.notify.messages_per_minute == 0),
            ("gate.connections_max", self.gate.connections_max == 0),
            ("gate.sessions_per_identity", self.gate.sessions_per_identity == 0),
            ("gate.packets_per_second", self.gate.packets_per_second == 0),
            ("store.backups_kept", self.store.backups_kept == 0),
            ("enrolment.connections_max", self.enrolment.connections_max == 0),
        ] {
            if zero {
                problems.problem(key, "must be at least 1");
            }
        }
        check_filter("log.filter", &self.log.filter, problems);
    }
}

/// `signer.toml`: the signer is a process of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignerSettings {
    /// The tenant that the keys belong to; requests for another one are refused.
    pub tenant: String,
    pub socket: PathBuf,
    /// The group, by name or number, that may open the socket beside its owner; empty: nobody else.
    pub socket_group: String,
    /// The one user, by name or number, whose connections are heard: the broker's. Empty: the signer's own.
    pub peer_user: String,
    pub tcp: SignerTcp,
    pub keys: SignerKeys,
    /// Commands that it signs in a minute, at most, whoever asks.
    pub commands_per_minute: u32,
    /// Certificates that it issues in a minute, at most.
    pub certificates_per_minute: u32,
    /// Codes and PINs that it makes, or derives for another pepper, in a minute.
    pub codes_per_minute: u32,
    /// Codes and PINs that it shows, for notifications, in a minute.
    pub reveals_per_minute: u32,
    /// Books and times that it signs in a minute: a time for every cabinet that connects.
    pub signatures_per_minute: u32,
    /// Commands that make a cabinet forget everything, in a minute. Few: whoever takes over the broker could empty a fleet.
    pub wipes_per_minute: u32,
    pub log: LogSection,
}

/// For a broker on another host: TLS with certificates on both sides, in place of the socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignerTcp {
    /// Address and port; empty: the socket.
    pub listen: String,
    /// The signer's own certificate and key, from the servers' CA.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The TLS root, below which the broker's certificate has to be.
    pub root: PathBuf,
    /// The name in the broker's certificate. No other server, person or cabinet is heard.
    pub broker: String,
}

impl Default for SignerTcp {
    fn default() -> Self {
        Self {
            listen: String::new(),
            certificate: "signer.crt".into(),
            key: "signer.key".into(),
            root: "root.crt".into(),
            broker: "broker".to_owned(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignerKeys {
    /// Ed25519: signs commands. None where only people's own keys open doors.
    pub unlock: KeyFiles,
    /// Ed25519: signs books and time.
    pub codes: KeyFiles,
    /// Ed25519: signs commands that change what a cabinet is. None in a fleet that never made one.
    #[serde(default = "KeyFiles::none")]
    pub config: KeyFiles,
    /// P-256: cabinets seal their peppers to the newest; each of them opens what was sealed to it.
    pub pepper: KeyFiles,
    /// Ed25519 seed file that serves as the key under which codes lie in the fleet's store.
    pub secrets: PathBuf,
    /// Certificate and P-256 key of the cabinets' CA: cabinets enrol and renew while no operator is there.
    pub cabinets_ca: PathBuf,
    pub cabinets_ca_key: PathBuf,
}

/// The file of a key, or those of several, the newest first: that one signs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a path, or a list of paths with the newest first")]
pub enum KeyFiles {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

impl KeyFiles {
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }

    fn none() -> Self {
        Self::Several(Vec::new())
    }

    fn check(&mut self, key: &str, base: &Path, problems: &mut Checks) {
        match self {
            Self::One(path) => problems.path(key, path, base),
            Self::Several(paths) => paths.iter_mut().for_each(|path| problems.path(key, path, base)),
        }
    }
}

impl From<&str> for KeyFiles {
    fn from(path: &str) -> Self {
        Self::One(path.into())
    }
}

impl Default for SignerSettings {
    fn default() -> Self {
        Self {
            tenant: String::new(),
            socket: "signer.sock".into(),
            socket_group: String::new(),
            peer_user: String::new(),
            tcp: SignerTcp::default(),
            keys: SignerKeys {
                unlock: "unlock.key".into(),
                codes: "codes.key".into(),
                config: KeyFiles::none(),
                pepper: "pepper.key".into(),
                secrets: "secrets.key".into(),
                cabinets_ca: "cabinets.crt".into(),
                cabinets_ca_key: "cabinets.key".into(),
            },
            commands_per_minute: 600,
            certificates_per_minute: 600,
            codes_per_minute: 6_000,
            reveals_per_minute: 3_000,
            signatures_per_minute: 60_000,
            wipes_per_minute: 6,
            log: LogSection::default(),
        }
    }
}

impl Settings for SignerSettings {
    fn check(&mut self, base: &Path, problems: &mut Checks) {
        if let Err(error) = self.tenant.parse::<schemas::ids::TenantId>() {
            problems.problem("tenant", format!("is no tenant: {error}"));
        }
        problems.path("socket", &mut self.socket, base);
        let tcp = &mut self.tcp;
        if !tcp.listen.is_empty() && tcp.listen.parse::<SocketAddr>().is_err() {
            problems.problem("tcp.listen", "has to be `address:port`");
        }
        problems.path("tcp.certificate", &mut tcp.certificate, base);
        problems.path("tcp.key", &mut tcp.key, base);
        problems.path("tcp.root", &mut tcp.root, base);
        check_name("tcp.broker", &tcp.broker, problems);
        let keys = &mut self.keys;
        for (key, files, needed) in [
            ("keys.unlock", &mut keys.unlock, false),
            ("keys.codes", &mut keys.codes, true),
            ("keys.config", &mut keys.config, false),
            ("keys.pepper", &mut keys.pepper, true),
        ] {
            files.check(key, base, problems);
            if files.paths().is_empty() && needed {
                problems.problem(key, "needs at least one file");
            }
        }
        problems.path("keys.secrets", &mut self.keys.secrets, base);
        problems.path("keys.cabinets_ca", &mut self.keys.cabinets_ca, base);
        problems.path("keys.cabinets_ca_key", &mut self.keys.cabinets_ca_key, base);
        for (key, limit) in [
            ("commands_per_minute", self.commands_per_minute),
            ("certificates_per_minute", self.certificates_per_minute),
            ("codes_per_minute", self.codes_per_minute),
            ("reveals_per_minute", self.reveals_per_minute),
            ("signatures_per_minute", self.signatures_per_minute),
            ("wipes_per_minute", self.wipes_per_minute),
        ] {
            if limit == 0 {
                problems.problem(key, "must be at least 1");
            }
        }
        check_filter("log.filter", &self.log.filter, problems);
    }
}

fn check_filter(key: &str, filter: &str, problems: &mut Checks) {
    if let Err(error) = filter.parse::<tracing_subscriber::filter::Targets>() {
        problems.problem(key, format!("is no log filter: {error}"));
    }
}

fn check_name(key: &str, name: &str, problems: &mut Checks) {
    if let Err(error) = name.parse::<Name>() {
        problems.problem(key, format!("is no name: {error}"));
    }
}

/// The host in `host:port`, as a certificate names it.
pub(crate) fn host_of(address: &str) -> Result<certs::ServerName<'static>, String> {
    let (host, port) = address.rsplit_once(':').ok_or("has to be `host:port`")?;
    if port.parse::<u16>().map_or(true, |port| port == 0) {
        return Err(format!("`{port}` is no port"));
    }
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    certs::ServerName::try_from(host.to_owned()).map_err(|_| format!("`{host}` is no host name and no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signers_address_is_a_host_and_a_port() {
        for (address, host) in
            [("signer.internal:8885", "signer.internal"), ("10.0.0.7:1", "10.0.0.7"), ("[::1]:9", "::1")]
        {
            assert_eq!(host_of(address).unwrap().to_str(), host);
        }
        for wrong in ["", "signer", "signer:", "signer:0", "signer:65536", ":8885", "a b:1", "::1:x"] {
            assert!(host_of(wrong).is_err(), "{wrong}");
        }
    }
}
