//! `fleet init`: keys, CAs, keyset, settings of broker and signer, and the first operator.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use certs::{
    Authority, CertificateAuthority, Ed25519Key, KeyError, LeafKey, LeafRequest, Passphrase, ServerName, TokenUri,
    create_private, ensure_private_dir, generate_ed25519, generate_p256, write_ed25519, write_p256, write_public,
};
use data_encoding::HEXLOWER;
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{self, Scope, key_id, public_entry};
use schemas::ids::{Identity, Name, Role, TenantId};
use schemas::messages::{FleetMillis, Key, KeyPurpose, Keyset, Roots};

use super::SetupError;
use super::layout::{FleetSettings, Layout};
use super::making::Making;
use super::person::{PersonOptions, copy_public, make_person};
use super::text::quoted;
use super::tokens::{Place, forget_key, make_key};

/// What a new fleet is to be.
#[derive(Debug)]
pub struct InitOptions {
    pub dir: PathBuf,
    pub tenant: TenantId,
    /// The fleet's name in the certificates of its CAs.
    pub name: Name,
    /// How cabinets and people reach the broker: a DNS name or an IPv4 address.
    pub host: String,
    /// More names that the broker's certificate is to be good for.
    pub other_hosts: Vec<String>,
    pub port: u16,
    /// Where cabinets enrol.
    pub enrolment_port: u16,
    /// Where the broker listens; on all addresses if left out.
    pub listen: Option<SocketAddr>,
    /// `host:port` at which the broker reaches a signer on another host; beside it, behind a socket, if left out.
    pub signer: Option<String>,
    /// The first operator.
    pub operator: Name,
    /// Encrypts the keys in `offline/` and `ca/`. Of a token it is the PIN, where the URI names no file with it.
    pub passphrase: Option<Passphrase>,
    /// Tokens in which the first and the second root of keysets are made; without one it is made in a file.
    pub root_tokens: [Option<TokenUri>; 2],
    pub now: SystemTime,
}

impl InitOptions {
    /// A fleet at `host`:8883 with the operator `admin`, named like its tenant, without a passphrase.
    pub fn new(
        dir: impl Into<PathBuf>,
        tenant: TenantId,
        host: impl Into<String>,
    ) -> Result<Self, schemas::ids::IdError> {
        Ok(Self {
            dir: dir.into(),
            name: tenant.as_str().parse()?,
            tenant,
            host: host.into(),
            other_hosts: Vec::new(),
            port: 8883,
            enrolment_port: 8884,
            listen: None,
            signer: None,
            operator: "admin".parse()?,
            passphrase: None,
            root_tokens: [None, None],
            now: SystemTime::now(),
        })
    }
}

/// Makes a fleet in a folder that does not exist yet, or is empty.
pub fn init(options: &InitOptions) -> Result<Layout, SetupError> {
    let names = server_names(options)?;
    let remote = options.signer.as_deref().map(RemoteSigner::parse).transpose()?;
    refuse_occupied(&options.dir)?;
    if options.port == 0 || options.enrolment_port == 0 {
        return Err(SetupError::PortZero);
    }
    let making = Making::at(&options.dir)?;
    let settings = FleetSettings {
        tenant: options.tenant.clone(),
        name: options.name.clone(),
        host: options.host.clone(),
        port: options.port,
        enrolment_port: options.enrolment_port,
    };
    let layout = Layout::new(making.path(), settings);
    for folder in [layout.offline(), layout.ca(), layout.signer(), layout.broker(), layout.public(), layout.people()] {
        ensure_private_dir(&folder)?;
    }
    ensure_private_dir(&layout.cabinets())?;
    let authorities = Authorities::make(&layout, options)?;
    let signer = make_signer(&layout, options, &authorities, remote.as_ref())?;
    let mut in_tokens = InTokens { options, keys: Vec::new() };
    make_keyset(&layout, options, signer, &mut in_tokens)?;
    make_broker(&layout, options, &authorities, names)?;
    let (path, text) = layout.settings_file()?;
    write_public(&path, text.as_bytes())?;
    make_person(
        &PersonOptions {
            layout: &layout,
            role: Role::Operator,
            name: options.operator.clone(),
            passphrase: None,
            now: options.now,
        },
        &authorities.people,
    )?;
    making.finish()?;
    in_tokens.keys.clear();
    Layout::open(&options.dir)
}

fn refuse_occupied(dir: &Path) -> Result<(), SetupError> {
    match fs::read_dir(dir).map(Iterator::count) {
        Ok(0) => Ok(()),
        Ok(_) => Err(SetupError::NotEmpty(dir.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(SetupError::NotEmpty(dir.into())),
        Err(source) => Err(SetupError::Io { what: "read folder", path: dir.into(), source }),
    }
}

fn server_names(options: &InitOptions) -> Result<Vec<ServerName<'static>>, SetupError> {
    std::iter::once(&options.host).chain(&options.other_hosts).map(|host| server_name(host)).collect()
}

fn server_name(host: &str) -> Result<ServerName<'static>, SetupError> {
    let wrong = || SetupError::Host(host.to_owned());
    let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong())?;
    // The MQTT library of agent and CLI joins host and port with a colon, so an IPv6 address has no form that works.
    if matches!(name, ServerName::IpAddress(address) if IpAddr::from(address).is_ipv6()) {
        return Err(wrong());
    }
    Ok(name)
}

/// A signer on another host.
struct RemoteSigner {
    name: ServerName<'static>,
    listen: SocketAddr,
}

impl RemoteSigner {
    fn parse(address: &str) -> Result<Self, SetupError> {
        let wrong = || SetupError::SignerAddress(address.to_owned());
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let name = server_name(host)?;
        let listen =
            if let ServerName::IpAddress(address) = name { address.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        Ok(Self { name, listen: SocketAddr::new(listen, port) })
    }
}

/// The root, gone after `init`, and the authorities below it that go on working.
struct Authorities {
    servers: CertificateAuthority,
    cabinets: CertificateAuthority,
    people: CertificateAuthority,
}

impl Authorities {
    fn make(layout: &Layout, options: &InitOptions) -> Result<Self, SetupError> {
        let passphrase = options.passphrase.as_ref();
        let root = CertificateAuthority::new_root(&options.name, generate_p256()?, options.now)?;
        write_p256(&layout.offline().join("root.key"), root.key(), passphrase)?;
        write_public(&layout.public().join("root.crt"), root.certificate_pem().as_bytes())?;
        let below = |authority: Authority| -> Result<CertificateAuthority, SetupError> {
            let made = root.new_intermediate(authority, generate_p256()?, options.now)?;
            // The key of the cabinets' CA is the signer's: cabinets enrol and renew without an operator.
            if authority != Authority::Cabinets {
                write_p256(&layout.ca().join(format!("{}.key", authority.as_str())), made.key(), passphrase)?;
            }
            let certificate = layout.ca().join(format!("{}.crt", authority.as_str()));
            write_public(&certificate, made.certificate_pem().as_bytes())?;
            Ok(made)
        };
        Ok(Self {
            servers: below(Authority::Servers)?,
            cabinets: below(Authority::Cabinets)?,
            people: below(Authority::People)?,
        })
    }
}

/// The keys of the signer. Returns those that cabinets are to believe.
fn make_signer(
    layout: &Layout,
    options: &InitOptions,
    authorities: &Authorities,
    remote: Option<&RemoteSigner>,
) -> Result<Vec<Key>, SetupError> {
    let (signer, cabinets) = (layout.signer(), &authorities.cabinets);
    // In plain: the signer has to start by itself after a power cut.
    let [unlock, codes, config] = [generate_ed25519()?, generate_ed25519()?, generate_ed25519()?];
    let secrets = generate_ed25519()?;
    let pepper = generate_p256()?;
    write_ed25519(&signer.join("unlock.key"), &unlock, None)?;
    write_ed25519(&signer.join("codes.key"), &codes, None)?;
    write_ed25519(&signer.join("config.key"), &config, None)?;
    write_ed25519(&signer.join("secrets.key"), &secrets, None)?;
    write_p256(&signer.join("pepper.key"), &pepper, None)?;
    write_p256(&signer.join("cabinets.key"), cabinets.key(), None)?;
    create_private(&signer.join("cabinets.crt"), cabinets.certificate_pem().as_bytes())?;
    if let Some(remote) = remote {
        make_signer_certificate(layout, options, &authorities.servers, remote)?;
    }
    create_private(&layout.signer_toml(), signer_toml(&options.tenant, remote).as_bytes())?;

    let pepper = pepper.public_key().to_sec1_bytes().into_vec();
    Ok(vec![
        public_entry(&unlock, KeyPurpose::Unlock),
        public_entry(&codes, KeyPurpose::Codes),
        public_entry(&config, KeyPurpose::Config),
        Key { id: key_id(&pepper), purpose: KeyPurpose::Pepper, public: Blob(pepper) },
    ])
}

/// Keys of this fleet in tokens. If the fleet does not come about, they are removed as its folder is.
struct InTokens<'o> {
    options: &'o InitOptions,
    keys: Vec<TokenUri>,
}

impl Drop for InTokens<'_> {
    fn drop(&mut self) {
        for key in &self.keys {
            forget_key(key, self.options.passphrase.as_ref());
        }
    }
}

/// The roots, and the keyset that tells cabinets to believe `keys`.
fn make_keyset(
    layout: &Layout,
    options: &InitOptions,
    keys: Vec<Key>,
    in_tokens: &mut InTokens<'_>,
) -> Result<(), SetupError> {
    let mut make = |name: &str, token: Option<&TokenUri>| -> Result<Ed25519Key, SetupError> {
        let path = layout.offline().join(format!("{name}.key"));
        let key = make_key(&path, Place::of(token), name, options.passphrase.as_ref())?;
        in_tokens.keys.extend(key.uri().cloned());
        let public = format!("{}\n", HEXLOWER.encode(&key.public_key()));
        write_public(&layout.public().join(format!("{name}.pub")), public.as_bytes())?;
        Ok(key)
    };
    let [first_token, second_token] = options.root_tokens.each_ref().map(Option::as_ref);
    let (first, second) = (make("keyset-root-1", first_token)?, make("keyset-root-2", second_token)?);
    let scope = Scope::Tenant { tenant: &options.tenant, purpose: KeyPurpose::Keyset };
    // The roots are named although cabinets pin them: so the fleet knows them too.
    let root = |key: &Ed25519Key| public_entry(key, KeyPurpose::Keyset);
    let roots = Some(Roots { first: root(&first), second: root(&second) });
    let keyset = Keyset { roots, ..Keyset::new(options.tenant.clone(), 1, millis(options.now)?, keys) };
    let envelope = envelope::try_sign(cbor::encode(&keyset), scope, &first).map_err(KeyError::Token)?;
    Ok(write_public(&layout.public().join("keyset.cose"), &envelope)?)
}

/// By which a broker on another host knows its signer. A server's certificate, as the broker has one.
fn make_signer_certificate(
    layout: &Layout,
    options: &InitOptions,
    servers: &CertificateAuthority,
    remote: &RemoteSigner,
) -> Result<(), SetupError> {
    let signer = layout.signer();
    let key = generate_p256()?;
    let name = "signer".parse().map_err(|_| SetupError::Host("signer".to_owned()))?;
    let identity = Identity::new(Role::Server, options.tenant.clone(), name);
    let request = LeafRequest::server(identity, vec![remote.name.clone()]);
    let issued = servers.issue(&request, &LeafKey::from(&key), options.now)?;
    write_public(&signer.join("signer.crt"), issued.pem().as_bytes())?;
    write_p256(&signer.join("signer.key"), &key, None)?;
    copy_public(layout, "root.crt", &signer.join("root.crt"))
}

fn make_broker(
    layout: &Layout,
    options: &InitOptions,
    authorities: &Authorities,
    names: Vec<ServerName<'static>>,
) -> Result<(), SetupError> {
    let broker = layout.broker();
    let key = generate_p256()?;
    let name = "broker".parse().map_err(|_| SetupError::Host("broker".to_owned()))?;
    let identity = Identity::new(Role::Server, options.tenant.clone(), name);
    let issued = authorities.servers.issue(&LeafRequest::server(identity, names), &LeafKey::from(&key), options.now)?;
    write_public(&broker.join("server.crt"), issued.pem().as_bytes())?;
    write_p256(&broker.join("server.key"), &key, None)?;
    for authority in [&authorities.cabinets, &authorities.people] {
        let path = broker.join(format!("{}.crt", authority.authority().as_str()));
        write_public(&path, authority.certificate_pem().as_bytes())?;
    }
    copy_public(layout, "root.crt", &broker.join("root.crt"))?;
    let everywhere = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), options.port);
    let listen = options.listen.unwrap_or(everywhere);
    let text = broker_toml(listen, SocketAddr::new(listen.ip(), options.enrolment_port), options.signer.as_deref());
    create_private(&layout.broker_toml(), text.as_bytes())?;
    Ok(())
}

fn broker_toml(listen: SocketAddr, enrolment: SocketAddr, signer: Option<&str>) -> String {
    let signer = match signer {
        None => "# The signer runs beside the broker, as a process of its own: the broker process holds no key that opens a door.\n\
                 socket = \"../signer/signer.sock\"\n"
            .to_owned(),
        Some(address) => format!(
            "# The signer runs on another host and is reached over TLS. Both sides show certificates of the servers' CA.\n\
             address = {}\n",
            quoted(address)
        ),
    };
    format!(
        "# Settings of the broker. Paths are relative to this file. What is not here has its default.\n\
         \n\
         [gate]\n\
         # MQTT 5 over mutual TLS 1.3. This port and that of enrolment are all that the world can reach.\n\
         listen = {listen}\n\
         \n\
         [tls]\n\
         certificate = \"server.crt\"\n\
         key = \"server.key\"\n\
         # Who may issue cabinets, and who may issue people and integrations. Never the same.\n\
         cabinets_ca = \"cabinets.crt\"\n\
         people_ca = \"people.crt\"\n\
         \n\
         [enrolment]\n\
         # Where cabinets enrol with a token and renew their certificates (EST, RFC 7030).\n\
         listen = {enrolment}\n\
         root = \"root.crt\"\n\
         # How long after its end a certificate is still good for renewing it, and for nothing else.\n\
         grace_days = 180\n\
         \n\
         [store]\n\
         path = \"fleet.redb\"\n\
         # Files of `fleet backup`. Carry them away: a disk that dies takes both along.\n\
         backups = \"backups\"\n\
         # The newest ones that stay there.\n\
         backups_kept = 14\n\
         # Kept for the store when the disk is full otherwise.\n\
         reserve_kilobytes = 65536\n\
         \n\
         [signer]\n\
         {signer}\
         \n\
         [log]\n\
         filter = \"info\"\n",
        listen = quoted(&listen.to_string()),
        enrolment = quoted(&enrolment.to_string()),
    )
}

fn signer_toml(tenant: &TenantId, remote: Option<&RemoteSigner>) -> String {
    let door = match remote {
        None => "# Of its owner alone. With a user of its own for each process: `socket_group` may open it, `peer_user` is heard.\n\
                 socket = \"signer.sock\"\n"
            .to_owned(),
        Some(_) => String::new(),
    };
    let tcp = remote.map_or_else(String::new, |remote| {
        format!(
            "\n\
             [tcp]\n\
             # For the broker on another host, in place of a socket. Nobody but the server of this name is heard.\n\
             listen = {listen}\n\
             broker = \"broker\"\n\
             certificate = \"signer.crt\"\n\
             key = \"signer.key\"\n\
             root = \"root.crt\"\n",
            listen = quoted(&remote.listen.to_string())
        )
    });
    format!(
        "# Settings of the signer. Paths are relative to this file.\n\
         \n\
         # Requests for another tenant are refused.\n\
         tenant = {tenant}\n\
         {door}\
         # However many are asked for, no more commands than these are signed in a minute.\n\
         commands_per_minute = 600\n\
         # The same for certificates of cabinets.\n\
         certificates_per_minute = 600\n\
         # For codes and PINs that are made, and for those that are shown.\n\
         codes_per_minute = 6000\n\
         reveals_per_minute = 3000\n\
         # And for cabinets that are told to forget everything.\n\
         wipes_per_minute = 6\n\
         \n\
         [keys]\n\
         # Of unlock, codes, config and pepper one file or a list, the newest first: that one signs, and every pepper key opens.\n\
         # `fleet keys` changes these lines; SIGHUP or a restart takes them up.\n\
         # Signs commands that open doors.\n\
         unlock = \"unlock.key\"\n\
         # Signs books of codes, and the time.\n\
         codes = \"codes.key\"\n\
         # Signs commands that change what a cabinet is, such as that it forgets everything.\n\
         config = \"config.key\"\n\
         # Cabinets seal their peppers to it.\n\
         pepper = \"pepper.key\"\n\
         # Codes lie sealed with it in the broker's store.\n\
         secrets = \"secrets.key\"\n\
         # Issues certificates to cabinets, and to nobody else.\n\
         cabinets_ca = \"cabinets.crt\"\n\
         cabinets_ca_key = \"cabinets.key\"\n\
         {tcp}\
         \n\
         [log]\n\
         filter = \"info\"\n",
        tenant = quoted(tenant.as_str()),
    )
}

pub(super) fn millis(now: SystemTime) -> Result<FleetMillis, SetupError> {
    let since = now.duration_since(UNIX_EPOCH).map_err(|_| SetupError::Clock)?;
    u64::try_from(since.as_millis()).map_err(|_| SetupError::Clock)
}
