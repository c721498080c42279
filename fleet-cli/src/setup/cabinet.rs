//! `fleet cabinet add`: the folder that is copied to a cabinet.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use certs::{
    Authority, LeafKey, LeafRequest, Passphrase, create_private, ensure_private_dir, generate_p256, write_p256,
    write_public,
};
use schemas::api::Request;
use schemas::ids::{CabinetId, Identity, SiteId};
use schemas::messages::Instance;
use serde::Deserialize;

use super::SetupError;
use super::boards::{Boards, ByteOrder, Lock, Polarity};
use super::compartments::Compartments;
use super::layout::Layout;
use super::making::Making;
use super::person::{copy_public, open_authority};
use super::text::quoted;

/// What a new cabinet is.
#[derive(Debug)]
pub struct CabinetOptions<'a> {
    pub layout: &'a Layout,
    pub cabinet: CabinetId,
    pub compartments: Compartments,
    pub boards: Boards,
    /// The serial port of the lock boards, as the cabinet's computer calls it.
    pub port: PathBuf,
    pub polarity: Polarity,
    pub byte_order: ByteOrder,
    /// Where the cabinet's screen is served, on its loopback only.
    pub screen: SocketAddr,
    /// Opens the key of the cabinets' CA, if it is encrypted.
    pub passphrase: Option<&'a Passphrase>,
    pub now: SystemTime,
}

impl<'a> CabinetOptions<'a> {
    /// A cabinet with one board of the commonest kind.
    pub fn new(layout: &'a Layout, cabinet: CabinetId, compartments: Compartments, port: impl Into<PathBuf>) -> Self {
        Self {
            layout,
            cabinet,
            compartments,
            boards: Boards::default(),
            port: port.into(),
            polarity: Polarity::default(),
            byte_order: ByteOrder::default(),
            screen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            passphrase: None,
            now: SystemTime::now(),
        }
    }
}

/// A cabinet's folder, still on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CabinetFolder {
    pub path: PathBuf,
    pub cabinet: CabinetId,
    pub instance: Instance,
}

impl CabinetFolder {
    /// Finds a cabinet in a folder that `fleet cabinet add` made.
    pub fn open(path: &Path) -> Result<Self, SetupError> {
        /// The part of `agent.toml` that the fleet has to know.
        #[derive(Deserialize)]
        struct Known {
            cabinet: CabinetId,
            instance: Instance,
        }
        let file = path.join("agent.toml");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SetupError::NotACabinet(path.into())),
            Err(source) => return Err(SetupError::Io { what: "read", path: file, source }),
        };
        let known: Known = toml::from_str(&text)
            .map_err(|error| SetupError::Settings { path: file, what: error.message().to_owned() })?;
        Ok(Self { path: path.into(), cabinet: known.cabinet, instance: known.instance })
    }

    pub fn agent_toml(&self) -> PathBuf {
        self.path.join("agent.toml")
    }

    pub fn board_toml(&self) -> PathBuf {
        self.path.join("board.toml")
    }

    /// What makes the cabinet known to the fleet.
    pub fn registration(&self, site: SiteId, place: String) -> Request {
        Request::CabinetAdd { cabinet: self.cabinet.clone(), site, place, instance: self.instance }
    }
}

/// Makes a cabinet's folder: its certificate and key, what it believes, its settings and the profile of its boards.
pub fn cabinet(options: &CabinetOptions<'_>) -> Result<CabinetFolder, SetupError> {
    let layout = options.layout;
    let locks = check(options)?;
    let place = layout.cabinet(&options.cabinet);
    if place.exists() {
        return Err(SetupError::Exists(place));
    }
    let authority = open_authority(layout, Authority::Cabinets, options.passphrase)?;
    ensure_private_dir(&layout.cabinets())?;
    let making = Making::at(&place)?;
    let folder = making.path();

    let key = generate_p256()?;
    let identity = Identity::cabinet(&layout.settings().tenant, &options.cabinet);
    let issued = authority.issue(&LeafRequest::client(identity), &LeafKey::from(&key), options.now)?;
    write_p256(&folder.join("cabinet.key"), &key, None)?;
    write_public(&folder.join("cabinet.crt"), issued.pem().as_bytes())?;
    copy_public(layout, "root.crt", &folder.join("root.crt"))?;
    copy_public(layout, "keyset.cose", &folder.join("keyset.cose"))?;

    let mut instance = Instance([0; 16]);
    getrandom::fill(&mut instance.0)?;
    let roots = [read_root(layout, "keyset-root-1.pub")?, read_root(layout, "keyset-root-2.pub")?];
    create_private(&folder.join("agent.toml"), agent_toml(options, instance, &roots).as_bytes())?;
    write_public(&folder.join("board.toml"), board_toml(options, &locks).as_bytes())?;
    making.finish()?;
    Ok(CabinetFolder { path: place, cabinet: options.cabinet.clone(), instance })
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

fn read_root(layout: &Layout, name: &str) -> Result<String, SetupError> {
    let path = layout.public().join(name);
    let text =
        fs::read_to_string(&path).map_err(|source| SetupError::Io { what: "read", path: path.clone(), source })?;
    let text = text.trim();
    match data_encoding::HEXLOWER.decode(text.as_bytes()) {
        Ok(bytes) if bytes.len() == 32 => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err(SetupError::Settings { path, what: "is not 32 bytes in hexadecimal".to_owned() }),
    }
}

fn agent_toml(options: &CabinetOptions<'_>, instance: Instance, roots: &[String; 2]) -> String {
    let fleet = options.layout.settings();
    let mut text = format!(
        "# Settings of the agent on cabinet {cabinet}. Paths are relative to this file. What is not here has its default.\n\
         \n\
         tenant = {tenant}\n\
         cabinet = {quoted_cabinet}\n\
         # Random, of this installation: what the fleet signs for another one is refused.\n\
         instance = \"{instance}\"\n\
         \n\
         [fleet]\n\
         host = {host}\n\
         port = {port}\n\
         roots = \"root.crt\"\n\
         certificate = \"cabinet.crt\"\n\
         key = \"cabinet.key\"\n\
         \n\
         [keys]\n\
         # The two public keys that say which keys may sign commands and codes.\n\
         roots = [\n    \"{root_1}\",\n    \"{root_2}\",\n]\n\
         keyset = \"keyset.cose\"\n\
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
        tenant = quoted(fleet.tenant.as_str()),
        quoted_cabinet = quoted(options.cabinet.as_str()),
        host = quoted(&fleet.host),
        port = fleet.port,
        root_1 = roots[0],
        root_2 = roots[1],
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
