//! What an installer can set: `agent.toml`, and beside it the profile of the lock boards.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use certs::TokenUri;
use fleet_settings::{Checks, Settings};
use schemas::ids::{CabinetId, TenantId};
use schemas::messages::{Compartment, Instance, Size};
use serde::{Deserialize, Serialize};

use crate::identity::{KeyPlaceError, key_place};
use crate::screen::paired::Folder;
use crate::screen::{BrandSection, Language};

/// `agent.toml`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentSettings {
    pub tenant: String,
    pub cabinet: String,
    /// The enrolment instance, 16 bytes in hexadecimal.
    pub instance: String,
    pub fleet: FleetSection,
    pub keys: KeysSection,
    pub data: DataSection,
    pub board: BoardSection,
    pub screen: ScreenSection,
    pub log: LogSection,
    pub compartments: Vec<CompartmentRow>,
}

/// How the fleet is reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetSection {
    pub host: String,
    pub port: u16,
    /// The fleet's TLS root.
    pub roots: PathBuf,
    /// Folder of the cabinet's key and certificate, made by `cabinet-agent enroll`.
    pub identity: PathBuf,
    /// A token in which this cabinet's keys are made, as a PKCS#11 URI; empty: files. Enrolment writes it, and a change
    /// takes effect with the next renewal.
    pub pkcs11: String,
    /// Port at which the certificate is renewed.
    pub enrolment_port: u16,
    /// Seconds between MQTT pings. A cabinet that is silent for one and a half times that is taken for offline.
    pub keep_alive_seconds: u16,
    /// Longest wait between attempts to connect, in seconds.
    pub backoff_max_seconds: u32,
}

impl Default for FleetSection {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 8883,
            roots: "identity/root.crt".into(),
            identity: "identity".into(),
            pkcs11: String::new(),
            enrolment_port: 8884,
            keep_alive_seconds: 200,
            backoff_max_seconds: 60,
        }
    }
}

impl FleetSection {
    /// The token of new keys.
    pub fn key_place(&self) -> Option<Result<TokenUri, KeyPlaceError>> {
        (!self.pkcs11.is_empty()).then(|| key_place(&self.pkcs11))
    }
}

/// What the agent believes signatures of.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysSection {
    /// Public keys of the two roots of keysets: Ed25519, 32 bytes in hexadecimal.
    pub roots: [String; 2],
    /// A keyset to begin with. Empty: the fleet sends it in the first session.
    pub keyset: PathBuf,
    /// The key that protects codes at rest. Made at the first start.
    pub device: PathBuf,
}

impl Default for KeysSection {
    fn default() -> Self {
        Self { roots: Default::default(), keyset: PathBuf::new(), device: "device.key".into() }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    pub store: PathBuf,
    /// Kilobytes of the disk that are kept for pickups when it is full otherwise. One pickup takes about one.
    pub reserve_kilobytes: u32,
}

impl Default for DataSection {
    fn default() -> Self {
        Self { store: "cabinet.redb".into(), reserve_kilobytes: 4_096 }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardSection {
    /// The profile of the bus: a TOML file (agent/src/boards/profile.rs).
    pub profile: PathBuf,
}

impl Default for BoardSection {
    fn default() -> Self {
        Self { profile: "board.toml".into() }
    }
}

/// Signs of the screen's hotline.
const HOTLINE_MAX: usize = 32;
/// A year.
const BOOK_OLD_HOURS_MAX: u32 = 8_760;

/// The screen: its address, loopback only, and what it says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScreenSection {
    pub listen: SocketAddr,
    /// A file with the address and the secret of this start, for the browser on the cabinet (0600).
    pub address_file: PathBuf,
    /// Shows a token by which an app has the door of an order opened for whoever stands there. The fleet has to allow it
    /// too (`orders.open_by_app` in broker.toml).
    pub app_token: bool,
    /// The number that people call who cannot get any further, as it is to be read. Empty: they are sent to staff only.
    pub hotline: String,
    /// The languages that people choose from; the first is the one that everybody is greeted in.
    pub languages: Vec<Language>,
    /// How loud the screen's tones are, 0 (none) to 100.
    pub volume: u8,
    /// From how many hours without the fleet on the screen says that newer codes do not work here.
    pub book_old_hours: u32,
    pub brand: BrandSection,
    pub paired: PairedSection,
}

/// A screen that is a computer of its own, such as a tablet, at the other end of a cable. Without addresses there is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedSection {
    /// Address and port of the agent's end of the cable, such as `192.168.77.1:8443`.
    pub listen: String,
    /// Address of the screen's end: the only one that is answered.
    pub peer: String,
    /// What the screen has to trust, and who is paired (0700).
    pub folder: PathBuf,
}

impl Default for PairedSection {
    fn default() -> Self {
        Self { listen: String::new(), peer: String::new(), folder: "paired-screen".into() }
    }
}

/// Those below are of root.
const PORT_MIN: u16 = 1024;

/// Both ends of the cable to a paired screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    pub listen: SocketAddr,
    pub peer: IpAddr,
}

impl PairedSection {
    /// `None` where there is no such screen.
    pub fn ends(&self) -> Option<Ends> {
        Some(Ends { listen: self.listen.parse().ok()?, peer: self.peer.parse().ok()? })
    }

    pub(crate) fn folder(&self) -> Folder {
        Folder::new(&self.folder)
    }

    fn check(&self, own: SocketAddr, problems: &mut Checks) {
        if self.listen.is_empty() && self.peer.is_empty() {
            return;
        }
        let Ok(listen) = self.listen.parse::<SocketAddr>() else {
            let what = "is no address and port of this end of the cable, such as 192.168.77.1:8443";
            return problems.problem("screen.paired.listen", what);
        };
        let Ok(peer) = self.peer.parse::<IpAddr>() else {
            let what = "is no address of the screen's end of the cable, such as 192.168.77.2";
            return problems.problem("screen.paired.peer", what);
        };
        if listen.port() < PORT_MIN {
            problems
                .problem("screen.paired.listen", "needs a port from 1024 on, such as 8443: the agent has no others");
        }
        if listen == own {
            problems.problem("screen.paired.listen", "is `screen.listen` itself");
        }
        for (key, address) in [("screen.paired.listen", listen.ip()), ("screen.paired.peer", peer)] {
            if !is_of_a_cable(address) {
                problems.problem(key, "is an address of a network; a cable has private ones, such as 192.168.77.1");
            }
        }
        if listen.is_ipv4() != peer.is_ipv4() {
            problems.problem("screen.paired.peer", "is of another kind than `screen.paired.listen`: IPv4 or IPv6");
        } else if listen.ip() == peer && !peer.is_loopback() {
            problems.problem("screen.paired.peer", "is this end of the cable itself");
        }
    }
}

/// Addresses that a cable can have; the internet leads to none of them. Loopback: the end of a tunnel through a USB cable.
fn is_of_a_cable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback(),
    }
}

impl Default for ScreenSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            address_file: "screen.url".into(),
            app_token: false,
            hotline: String::new(),
            languages: Language::ALL.into(),
            volume: 50,
            book_old_hours: 72,
            brand: BrandSection::default(),
            paired: PairedSection::default(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    pub filter: String,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { filter: "info".into() }
    }
}

/// One compartment of the inventory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompartmentRow {
    pub number: i64,
    pub size: Size,
    #[serde(default)]
    pub refrigerated: bool,
    #[serde(default)]
    pub restricted: bool,
    #[serde(default)]
    pub accessible: bool,
    /// Out of service: closed for new loads.
    #[serde(default)]
    pub out_of_service: bool,
}

impl Settings for AgentSettings {
    fn check(&mut self, base: &Path, problems: &mut Checks) {
        if self.tenant.is_empty() && self.cabinet.is_empty() && self.instance.is_empty() {
            // One line instead of six that say the same.
            return problems.problem("tenant", "is missing: enrol this cabinet first, `cabinet-agent enroll --help`");
        }
        if let Err(error) = self.tenant.parse::<TenantId>() {
            problems.problem("tenant", format!("is no tenant: {error}"));
        }
        if let Err(error) = self.cabinet.parse::<CabinetId>() {
            problems.problem("cabinet", format!("is no cabinet: {error}"));
        }
        if let Err(error) = self.instance.parse::<Instance>() {
            problems.problem("instance", format!("is no instance: {error}"));
        }
        if self.fleet.host.is_empty() {
            problems.problem("fleet.host", "is missing");
        }
        if !(5..=900).contains(&self.fleet.keep_alive_seconds) {
            problems.problem("fleet.keep_alive_seconds", "must be 5 to 900");
        }
        if self.fleet.backoff_max_seconds == 0 {
            problems.problem("fleet.backoff_max_seconds", "must be at least 1");
        }
        if let Some(Err(error)) = self.fleet.key_place() {
            problems.problem("fleet.pkcs11", error.to_string());
        }
        problems.path("fleet.roots", &mut self.fleet.roots, base);
        problems.path("fleet.identity", &mut self.fleet.identity, base);
        if !self.keys.keyset.as_os_str().is_empty() {
            problems.path("keys.keyset", &mut self.keys.keyset, base);
        }
        problems.path("keys.device", &mut self.keys.device, base);
        problems.path("data.store", &mut self.data.store, base);
        problems.path("board.profile", &mut self.board.profile, base);
        problems.path("screen.address_file", &mut self.screen.address_file, base);
        if self.keys.roots[0] == self.keys.roots[1] {
            problems.problem("keys.roots", "must be two different keys");
        }
        if !self.screen.listen.ip().is_loopback() {
            problems.problem("screen.listen", "must be a loopback address: the screen has no other protection");
        }
        problems.path("screen.paired.folder", &mut self.screen.paired.folder, base);
        self.screen.paired.check(self.screen.listen, problems);
        self.screen.check_languages(problems);
        self.screen.check_hotline(problems);
        self.screen.check_numbers(problems);
        self.screen.brand.check(base, problems);
        if let Err(error) = self.log.filter.parse::<tracing_subscriber::filter::Targets>() {
            problems.problem("log.filter", format!("is no log filter: {error}"));
        }
        self.check_compartments(problems);
    }
}

impl ScreenSection {
    fn check_numbers(&self, problems: &mut Checks) {
        if self.volume > 100 {
            problems.problem("screen.volume", "must be 0 (no tones) to 100");
        }
        if !(1..=BOOK_OLD_HOURS_MAX).contains(&self.book_old_hours) {
            problems.problem("screen.book_old_hours", format!("must be 1 to {BOOK_OLD_HOURS_MAX}"));
        }
    }

    fn check_hotline(&self, problems: &mut Checks) {
        let digits = self.hotline.bytes().filter(u8::is_ascii_digit).count();
        let sound = self.hotline.bytes().all(|byte| byte.is_ascii_digit() || b"+ ()/-".contains(&byte));
        let is_number = sound && (3..=15).contains(&digits) && self.hotline.len() <= HOTLINE_MAX;
        if !(is_number || self.hotline.is_empty()) {
            let what = format!(
                "is no phone number: 3 to 15 digits, besides them + ( ) / - and spaces, {HOTLINE_MAX} signs at most"
            );
            problems.problem("screen.hotline", what);
        }
    }

    fn check_languages(&self, problems: &mut Checks) {
        if self.languages.is_empty() {
            problems.problem("screen.languages", "is empty; leave it out for all, or name at least one");
        }
        let mut seen = BTreeSet::new();
        for language in &self.languages {
            if !seen.insert(language) {
                problems.problem("screen.languages", format!("has \"{}\" twice", language.name()));
            }
        }
    }
}

impl AgentSettings {
    fn check_compartments(&self, problems: &mut Checks) {
        if self.compartments.is_empty() {
            problems.problem("compartments", "is empty; list each compartment with its number and size");
        }
        let mut seen = BTreeSet::new();
        for row in &self.compartments {
            if row.checked_number().is_none() {
                problems.problem(
                    "compartments",
                    format!("has number {}; it must be 1 to {}", row.number, Compartment::MAX),
                );
            } else if !seen.insert(row.number) {
                problems.problem("compartments", format!("has number {} twice", row.number));
            }
        }
    }
}

impl CompartmentRow {
    pub fn checked_number(&self) -> Option<Compartment> {
        Compartment::new(u16::try_from(self.number).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use fleet_settings::{Problems, Sources, load};

    use super::*;

    /// The settings of an enrolled cabinet with this in the section of its screen.
    fn with_screen(lines: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        let enrolled = format!("tenant = \"acme\"\ncabinet = \"muc-01\"\ninstance = \"{:032x}\"\n", 7);
        let fleet = format!("[fleet]\nhost = \"fleet\"\n[keys]\nroots = [\"{:064x}\", \"{:064x}\"]\n", 1, 2);
        let rest = format!("[screen]\n{lines}\n[[compartments]]\nnumber = 1\nsize = \"M\"\n");
        std::fs::write(&file, enrolled + &fleet + &rest).unwrap();
        (folder, file)
    }

    fn screen(lines: &str) -> Result<ScreenSection, Problems> {
        let (_folder, file) = with_screen(lines);
        let settings: AgentSettings = load(&Sources { file: Some(&file), ..Sources::default() })?;
        Ok(settings.screen)
    }

    fn languages(lines: &str) -> Result<Vec<Language>, Problems> {
        Ok(screen(lines)?.languages)
    }

    #[test]
    fn screen_speaks_all_languages_unless_some_are_named_and_the_first_one_first() {
        assert_eq!(languages("").unwrap(), Language::ALL);
        assert_eq!(languages("languages = [\"pl\", \"zh\"]").unwrap(), [Language::Pl, Language::Zh]);
        for language in Language::ALL {
            let only = languages(&format!("languages = [\"{}\"]", language.name())).unwrap();
            assert_eq!(only, [language]);
        }
    }

    #[test]
    fn hotline_is_a_phone_number_as_people_write_it() {
        for number in ["", "110", "+49 (30) 123/456-78", "0800 1234567"] {
            assert_eq!(screen(&format!("hotline = \"{number}\"")).unwrap().hotline, number);
        }
        for wrong in [
            "12",
            "call us",
            "+49<b>30</b>123",
            "1234567890123456",
            "+49 30 123456 ()()()()()()()()()()()()",
            "\u{ff11}\u{ff12}\u{ff13}",
        ] {
            let problems = screen(&format!("hotline = \"{wrong}\"")).unwrap_err().to_string();
            assert!(problems.contains("`screen.hotline` is no phone number"), "{wrong}: {problems}");
        }
    }

    /// Why these lines are refused.
    fn refused(lines: &str) -> String {
        let (_folder, file) = with_screen(lines);
        let read: Result<AgentSettings, Problems> = load(&Sources { file: Some(&file), ..Sources::default() });
        read.unwrap_err().to_string()
    }

    #[test]
    fn numbers_of_the_screen_have_limits() {
        assert_eq!(screen("volume = 0\nbook_old_hours = 8760").unwrap().volume, 0);
        for (wrong, said) in [
            ("volume = 101", "`screen.volume` must be 0 (no tones) to 100"),
            ("volume = 256", "screen.volume"),
            ("volume = -1", "screen.volume"),
            ("book_old_hours = 0", "`screen.book_old_hours` must be 1 to 8760"),
            ("book_old_hours = 8761", "`screen.book_old_hours` must be 1 to 8760"),
        ] {
            assert!(refused(wrong).contains(said), "{wrong}: {}", refused(wrong));
        }
    }

    #[test]
    fn a_brand_has_a_name_and_colours() {
        let brand = |lines: &str| screen(&format!("[screen.brand]\n{lines}")).unwrap().brand;
        assert_eq!(brand("name = \"Müller & Söhne\"").name, "Müller & Söhne");
        assert_eq!(brand("colour = \"#c77700\"\ntext_colour = \"#000000\"").colour, "#c77700");
    }

    #[test]
    fn what_is_wrong_with_a_brand_is_said() {
        let long = format!("name = \"{}\"", "x".repeat(41));
        for (wrong, said) in [
            (long.as_str(), "`screen.brand.name` has 41 signs; 40 is the most"),
            ("name = \"a\\u0007b\"", "`screen.brand.name` has U+0007 in it"),
            ("name = \"a\\u202eb\"", "`screen.brand.name` has U+202E in it"),
            ("name = \" a\"", "`screen.brand.name` begins or ends with a space"),
            ("colour = \"red\"", "`screen.brand.colour` is no colour"),
            ("colour = \"#fff\"", "`screen.brand.colour` is no colour"),
            ("colour = \"#12345g\"", "`screen.brand.colour` is no colour"),
            ("colour = \"#1234567\"", "`screen.brand.colour` is no colour"),
            ("colour = \"#123456; } * { display: none\"", "`screen.brand.colour` is no colour"),
            ("text_colour = \"white\"", "`screen.brand.text_colour` is no colour"),
            ("colour = \"#777777\"", "has a contrast of 4.48 to `screen.brand.text_colour`; people need 4.5"),
            (
                "colour = \"#ffff00\"\ntext_colour = \"#000000\"",
                "has a contrast of 1.07 to the white page; people need 3",
            ),
            ("logo = \"logo.png\"", "`screen.brand.name` is missing"),
            ("loga = \"logo.png\"", "screen.brand.loga"),
        ] {
            let problems = refused(&format!("[screen.brand]\n{wrong}"));
            assert!(problems.contains(said), "{wrong}: {problems}");
        }
    }

    #[test]
    fn a_paired_screen_is_at_the_other_end_of_a_cable_or_refused() {
        let paired = |lines: &str| Ok::<_, Problems>(screen(&format!("[screen.paired]\n{lines}"))?.paired.ends());
        assert_eq!(paired("").unwrap(), None);
        for (listen, peer) in [
            ("192.168.77.1:8443", "192.168.77.2"),
            ("169.254.7.1:1024", "169.254.7.2"),
            ("[fd00::1]:8443", "fd00::2"),
            ("127.0.0.1:8443", "127.0.0.1"),
        ] {
            let ends = paired(&format!("listen = \"{listen}\"\npeer = \"{peer}\"")).unwrap().unwrap();
            assert_eq!((ends.listen.to_string(), ends.peer.to_string()), (listen.into(), peer.into()));
        }
        for (listen, peer, said) in [
            ("192.168.77.1:8443", "", "`screen.paired.peer` is no address"),
            ("", "192.168.77.2", "`screen.paired.listen` is no address"),
            ("192.168.77.1", "192.168.77.2", "`screen.paired.listen` is no address"),
            ("0.0.0.0:8443", "192.168.77.2", "`screen.paired.listen` is an address of a network"),
            ("203.0.113.7:8443", "192.168.77.2", "`screen.paired.listen` is an address of a network"),
            ("192.168.77.1:8443", "203.0.113.7", "`screen.paired.peer` is an address of a network"),
            ("192.168.77.1:0", "192.168.77.2", "`screen.paired.listen` needs a port"),
            ("192.168.77.1:443", "192.168.77.2", "`screen.paired.listen` needs a port"),
            ("127.0.0.1:8080", "127.0.0.1", "`screen.paired.listen` is `screen.listen` itself"),
            ("192.168.77.1:8443", "192.168.77.1", "`screen.paired.peer` is this end"),
            ("192.168.77.1:8443", "fd00::2", "`screen.paired.peer` is of another kind"),
            ("[fe80::1]:8443", "fe80::2", "`screen.paired.listen` is an address of a network"),
        ] {
            let problems = paired(&format!("listen = \"{listen}\"\npeer = \"{peer}\"")).unwrap_err().to_string();
            assert!(problems.contains(said), "{listen} {peer}: {problems}");
        }
    }

    #[test]
    fn languages_that_the_screen_has_not_are_refused() {
        for (wrong, said) in [
            ("[]", "`screen.languages` is empty"),
            ("[\"de\", \"en\", \"de\"]", "`screen.languages` has \"de\" twice"),
            ("[\"fr\"]", "the screen does not speak \"fr\"; it knows en, de, pl, es, zh"),
            ("[\"DE\"]", "does not speak \"DE\""),
            ("[\"\"]", "does not speak \"\""),
            ("[1]", "screen.languages"),
            ("\"de\"", "screen.languages"),
        ] {
            let problems = languages(&format!("languages = {wrong}")).unwrap_err().to_string();
            assert!(problems.contains(said) && problems.contains("screen.languages"), "{wrong}: {problems}");
        }
    }
}
