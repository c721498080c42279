//! The folder of a fleet: where everything is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use schemas::ids::{CabinetId, Name, Role, TenantId};
use serde::{Deserialize, Serialize};

use super::SetupError;

/// `fleet.toml` in the folder of a fleet: what later commands need to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetSettings {
    pub tenant: TenantId,
    /// The fleet's name in the certificates of its CAs.
    pub name: Name,
    /// How cabinets and people reach the broker.
    pub host: String,
    pub port: u16,
    /// Where cabinets enrol and renew their certificates, on the same host.
    #[serde(default = "enrolment_port")]
    pub enrolment_port: u16,
}

/// Of a fleet that was made without it.
fn enrolment_port() -> u16 {
    8884
}

/// The folder that `fleet init` makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    dir: PathBuf,
    settings: FleetSettings,
}

impl Layout {
    const SETTINGS: &'static str = "fleet.toml";

    /// Finds the fleet in `dir`.
    pub fn open(dir: &Path) -> Result<Self, SetupError> {
        let path = dir.join(Self::SETTINGS);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SetupError::NotAFleet(dir.into())),
            Err(source) => return Err(SetupError::Io { what: "read", path, source }),
        };
        let settings: FleetSettings =
            toml::from_str(&text).map_err(|error| SetupError::Settings { path, what: error.message().to_owned() })?;
        // A person who gets the same `fleet.toml` has other keys in it, so this one is the fleet's own.
        Ok(Self { dir: dir.into(), settings })
    }

    /// A fleet that is being made in `dir`.
    pub(super) fn new(dir: &Path, settings: FleetSettings) -> Self {
        Self { dir: dir.into(), settings }
    }

    /// The text of `fleet.toml`, and its path.
    pub(super) fn settings_file(&self) -> Result<(PathBuf, String), SetupError> {
        let path = self.dir.join(Self::SETTINGS);
        match toml::to_string(&self.settings) {
            Ok(text) => Ok((
                path,
                format!("# The fleet of this folder: read by `fleet person add`, `fleet cabinet add`.\n{text}"),
            )),
            Err(error) => Err(SetupError::Settings { path, what: error.to_string() }),
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn settings(&self) -> &FleetSettings {
        &self.settings
    }

    /// Root keys. They belong into a safe.
    pub fn offline(&self) -> PathBuf {
        self.dir.join("offline")
    }

    /// The CAs that issue certificates day by day.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca")
    }

    /// Everything that the signer needs, and only it.
    pub fn signer(&self) -> PathBuf {
        self.dir.join("signer")
    }

    /// Everything that the broker needs.
    pub fn broker(&self) -> PathBuf {
        self.dir.join("broker")
    }

    /// What everyone may read.
    pub fn public(&self) -> PathBuf {
        self.dir.join("public")
    }

    pub fn people(&self) -> PathBuf {
        self.dir.join("people")
    }

    pub fn cabinets(&self) -> PathBuf {
        self.dir.join("cabinets")
    }

    pub fn broker_toml(&self) -> PathBuf {
        self.broker().join("broker.toml")
    }

    pub fn signer_toml(&self) -> PathBuf {
        self.signer().join("signer.toml")
    }

    /// The folder of a person or an integration.
    pub fn person(&self, role: Role, name: &Name) -> PathBuf {
        self.people().join(format!("{role}-{name}"))
    }

    /// The folder that is copied to a cabinet.
    pub fn cabinet(&self, cabinet: &CabinetId) -> PathBuf {
        self.cabinets().join(cabinet.as_str())
    }
}
