//! `fleet cabinet add`: the settings that are copied to a cabinet, and the token by which it gets its certificate.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use certs::{
    Fingerprint, create_private, ensure_private_dir, read_certificates, read_private, replace_private, write_public,
};
use schemas::api::{EnrolmentOffer, Request, Rfc3339};
use schemas::enrolment::{Token, TokenSecret, is_device_serial};
use schemas::ids::{CabinetId, SiteId};
use schemas::messages::Instance;

use super::SetupError;
use super::boards::{Boards, ByteOrder, Lock, Polarity};
use super::compartments::Compartments;
use super::init::millis;
use super::layout::Layout;
use super::making::Making;
use super::text::quoted;

/// How long a token is good for, if nothing else is said: long enough to send a person there.
pub const TOKEN_LIFE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// What a new cabinet is.
#[derive(Debug)]
pub struct CabinetOptions<'a> {
    pub layout: &'a Layout,
    pub cabinet: CabinetId,
    pub site: SiteId,
    /// Of the cabinet's computer, as on its label.
    pub device_serial: String,
    pub compartments: Compartments,
    pub boards: Boards,
    /// The serial port of the lock boards, as the cabinet's computer calls it.
    pub port: PathBuf,
    pub polarity: Polarity,
    pub byte_order: ByteOrder,
    /// Where the cabinet's screen is served, on its loopback only.
    pub screen: SocketAddr,
    /// How long the token is good for.
    pub valid_for: Duration,
    pub now: SystemTime,
}

impl<'a> CabinetOptions<'a> {
    /// A cabinet with one board of the commonest kind.
    pub fn new(
        layout: &'a Layout,
        (cabinet, site): (CabinetId, SiteId),
        device_serial: impl Into<String>,
        compartments: Compartments,
        port: impl Into<PathBuf>,
    ) -> Self {
        Self {
            layout,
            cabinet,
            site,
            device_serial: device_serial.into(),
            compartments,
            boards: Boards::default(),
            port: port.into(),
            polarity: Polarity::default(),
            byte_order: ByteOrder::default(),
            screen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            valid_for: TOKEN_LIFE,
            now: SystemTime::now(),
        }
    }
}

/// A cabinet's folder, still on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CabinetFolder {
    pub path: PathBuf,
    pub token: Token,
}

impl CabinetFolder {
    const TOKEN: &'static str = "enrolment.token";

    /// Finds a cabinet in a folder that `fleet cabinet add` made.
    pub fn open(path: &Path) -> Result<Self, SetupError> {
        let file = path.join(Self::TOKEN);
        if !file.exists() {
            return Err(SetupError::NotACabinet(path.into()));
        }
        let text = read_private(&file)?;
        let wrong = |what: String| SetupError::Settings { path: file.clone(), what };
        let text = std::str::from_utf8(&text).map_err(|error| wrong(error.to_string()))?;
        let token = text.parse().map_err(|error| wrong(format!("{error}")))?;
        Ok(Self { path: path.into(), token })
    }

    pub fn cabinet(&self) -> &CabinetId {
        &self.token.cabinet
    }

    pub fn instance(&self) -> Instance {
        self.token.instance
    }

    pub fn agent_toml(&self) -> PathBuf {
        self.path.join("agent.toml")
    }

    pub fn board_toml(&self) -> PathBuf {
        self.path.join("board.toml")
    }

    pub fn token_file(&self) -> PathBuf {
        self.path.join(Self::TOKEN)
    }

    /// What makes the cabinet known to the fleet, and its token with it.
    pub fn registration(&self, place: String) -> Request {
        let (cabinet, site, instance) = (self.token.cabinet.clone(), self.token.site.clone(), self.token.instance);
        Request::CabinetAdd { cabinet, site, place, instance, enrolment: Some(offer(&self.token)) }
    }

    /// What lets other hardware take this cabinet's place.
    pub fn replacement(&self) -> Request {
        let (cabinet, instance) = (self.token.cabinet.clone(), self.token.instance);
        Request::CabinetReplace { cabinet, instance, enrolment: offer(&self.token) }
    }
}

fn offer(token: &Token) -> EnrolmentOffer {
    let (secret_hash, device_serial) = (token.secret.hash(), token.device_serial.clone());
    EnrolmentOffer { secret_hash, device_serial, expires: Rfc3339(token.expires) }
}

/// Makes a cabinet's folder: its settings, the profile of its boards, and a token. No key: that is made on the cabinet.
pub fn cabinet(options: &CabinetOptions<'_>) -> Result<CabinetFolder, SetupError> {
    let layout = options.layout;
    let locks = check(options)?;
    let place = layout.cabinet(&options.cabinet);
    if place.exists() {
        return Err(SetupError::Exists(place));
    }
    let named = (options.cabinet.clone(), options.site.clone());
    let token = new_token(layout, named, &options.device_serial, options.valid_for, options.now)?;
    ensure_private_dir(&layout.cabinets())?;
    let making = Making::at(&place)?;
    let folder = making.path();
    create_private(&folder.join(CabinetFolder::TOKEN), format!("{token}\n").as_bytes())?;
    write_public(&folder.join("agent.toml"), agent_toml(options).as_bytes())?;
    write_public(&folder.join("board.toml"), board_toml(options, &locks).as_bytes())?;
    making.finish()?;
    Ok(CabinetFolder { path: place, token })
}

/// Makes a new token for a cabinet that the fleet knows, and keeps it in the cabinet's folder.
pub fn new_cabinet_token(
    layout: &Layout,
    named: (CabinetId, SiteId),
    device_serial: &str,
    valid_for: Duration,
    now: SystemTime,
) -> Result<CabinetFolder, SetupError> {
    let path = layout.cabinet(&named.0);
    let token = new_token(layout, named, device_serial, valid_for, now)?;
    ensure_private_dir(&layout.cabinets())?;
    ensure_private_dir(&path)?;
    replace_private(&path.join(CabinetFolder::TOKEN), format!("{token}\n").as_bytes())?;
    Ok(CabinetFolder { path, token })
}

fn new_token(
    layout: &Layout,
    (cabinet, site): (CabinetId, SiteId),
    device_serial: &str,
    valid_for: Duration,
    now: SystemTime,
) -> Result<Token, SetupError> {
    if !is_device_serial(device_serial) {
        return Err(SetupError::DeviceSerial(device_serial.to_owned()));
    }
    let (mut instance, mut secret) = (Instance([0; 16]), [0; 16]);
    getrandom::fill(&mut instance.0)?;
    getrandom::fill(&mut secret)?;
    let root = read_certificates(&layout.public().join("root.crt"))?;
    let root = root.first().ok_or_else(|| SetupError::NotAFleet(layout.dir().into()))?;
    let fleet = layout.settings();
    Ok(Token {
        tenant: fleet.tenant.clone(),
        site,
        cabinet,
        device_serial: device_serial.to_owned(),
        instance,
        secret: TokenSecret::new(secret),
        expires: millis(now + valid_for)?,
        host: fleet.host.clone(),
        mqtt_port: fleet.port,
        enrolment_port: fleet.enrolment_port,
        tls_root: Fingerprint::of(root).0,
        keyset_roots: [read_root(layout, "keyset-root-1.pub")?, read_root(layout, "keyset-root-2.pub")?],
    })
}

fn check(options: &CabinetOptions<'_>) -> Result<Vec<Lock>, SetupError> {
    if !options.port.is_absolute() {
        return Err(SetupError::SerialPort(options.port.clone()));
    }
    if !options.screen.ip().is_loopback() {
        return Err(SetupError::Screen(options.screen));
    }
    Ok(options.boards.assign(&options.compartments)?)
}

fn read_root(layout: &Layout, name: &str) -> Result<[u8; 32], SetupError> {
    let path = layout.public().join(name);
    let text =
        fs::read_to_string(&path).map_err(|source| SetupError::Io { what: "read", path: path.clone(), source })?;
    let bytes = data_encoding::HEXLOWER.decode(text.trim().as_bytes()).ok();
    let wrong = || SetupError::Settings { path, what: "is not 32 bytes in hexadecimal".to_owned() };
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)
}

fn agent_toml(options: &CabinetOptions<'_>) -> String {
    let mut text = format!(
        "# Settings of the agent on cabinet {cabinet}. Paths are relative to this file. What is not here has its default;\n\
         # who the cabinet is and where its fleet, is in identity/identity.toml once it is enrolled.\n\
         \n\
         [keys]\n\
         # Made at the first start; never leaves the cabinet.\n\
         device = \"device.key\"\n\
         \n\
         [data]\n\
         store = \"cabinet.redb\"\n\
         # Kept for pickups when the disk is full otherwise.\n\
         reserve_kilobytes = 4096\n\
         \n\
         [board]\n\
         profile = \"board.toml\"\n\
         \n\
         [screen]\n\
         listen = {screen}\n\
         address_file = \"screen.url\"\n\
         \n\
         [log]\n\
         filter = \"info\"\n",
        cabinet = options.cabinet,
        screen = quoted(&options.screen.to_string()),
    );
    for compartment in options.compartments.iter() {
        push_line(&mut text, format_args!("\n[[compartments]]"));
        push_line(&mut text, format_args!("number = {}", compartment.number));
        push_line(&mut text, format_args!("size = \"{}\"", compartment.size));
        let has = compartment.attributes;
        for (name, set) in
            [("refrigerated", has.refrigerated), ("restricted", has.restricted), ("accessible", has.accessible)]
        {
            if set {
                push_line(&mut text, format_args!("{name} = true"));
            }
        }
    }
    text
}

fn board_toml(options: &CabinetOptions<'_>, locks: &[Lock]) -> String {
    let mut text = format!(
        "# The lock boards of cabinet {cabinet}. Boards differ in polarity and byte order: open one door and look.\n\
         \n\
         family = \"xor\"\n\
         polarity = \"{polarity}\"\n\
         byte_order = \"{byte_order}\"\n\
         pulse_ms = 300\n\
         \n\
         boards = [\n",
        cabinet = options.cabinet,
        polarity = options.polarity.as_str(),
        byte_order = options.byte_order.as_str(),
    );
    for board in options.boards.iter() {
        push_line(&mut text, format_args!("    {{ address = {}, channels = {} }},", board.address, board.channels));
    }
    push_line(&mut text, format_args!("]\n\n# Which lock opens which compartment.\nmapping = ["));
    for lock in locks {
        let Lock { compartment, board, lock } = lock;
        push_line(&mut text, format_args!("    {{ compartment = {compartment}, board = {board}, lock = {lock} }},"));
    }
    let port = quoted(&options.port.to_string_lossy());
    push_line(&mut text, format_args!("]\n\n[transport]\nkind = \"serial\"\npath = {port}\nbaud = 9600"));
    text
}

fn push_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}
