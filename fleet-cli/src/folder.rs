//! The folder of a person or an integration: who they are, and where their fleet is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use certs::{LoadError, ServerRoots, TlsIdentity, check_certificate_file, client_config, system_clock};
use schemas::ids::{Identity, TenantId};
use serde::{Deserialize, Serialize};

use crate::setup::FleetSettings;

/// `fleet.toml` in a person's folder. Paths are relative to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonSettings {
    pub host: String,
    pub port: u16,
    pub tenant: TenantId,
    /// The fleet's TLS root.
    pub roots: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl PersonSettings {
    pub const FILE: &'static str = "fleet.toml";

    pub(crate) fn new(fleet: &FleetSettings) -> Self {
        Self {
            host: fleet.host.clone(),
            port: fleet.port,
            tenant: fleet.tenant.clone(),
            roots: "root.crt".into(),
            certificate: "person.crt".into(),
            key: "person.key".into(),
        }
    }
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error(
        "`{}` is no person's folder: it has no fleet.toml; give yours with `--as FOLDER` or in FLEET_AS", .0.display()
    )]
    Missing(PathBuf),
    #[error("read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}` is the folder of a fleet; give a person's, such as `--as {}/people/operator-admin`", .0.display(), .0.display())]
    OfAFleet(PathBuf),
    #[error("settings `{}`: {what}", path.display())]
    Settings { path: PathBuf, what: String },
    #[error("certificate in `{}` is {identity}, which is not of the tenant {tenant} of its fleet.toml", path.display())]
    OtherTenant { path: PathBuf, identity: Identity, tenant: TenantId },
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// A folder that was found whole: settings, certificate and key fit together.
#[derive(Debug, Clone)]
pub struct PersonFolder {
    path: PathBuf,
    settings: PersonSettings,
    identity: Identity,
    ends: SystemTime,
}

impl PersonFolder {
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let file = path.join(PersonSettings::FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(FolderError::Missing(path.into())),
            Err(source) => return Err(FolderError::Read { path: file, source }),
        };
        if toml::from_str::<FleetSettings>(&text).is_ok() {
            return Err(FolderError::OfAFleet(path.into()));
        }
        let settings: PersonSettings = toml::from_str(&text)
            .map_err(|error| FolderError::Settings { path: file.clone(), what: error.message().to_owned() })?;
        let folder = Self::read_identity(path, &settings)?;
        let (identity, ends) = (folder.identity().clone(), folder.summary().not_after);
        if identity.tenant != settings.tenant {
            return Err(FolderError::OtherTenant { path: path.into(), identity, tenant: settings.tenant });
        }
        Ok(Self { path: path.into(), settings, identity, ends })
    }

    fn read_identity(path: &Path, settings: &PersonSettings) -> Result<TlsIdentity, LoadError> {
        TlsIdentity::read(&path.join(&settings.certificate), &path.join(&settings.key), None)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// When the certificate ends.
    pub fn ends(&self) -> SystemTime {
        self.ends
    }

    pub fn host(&self) -> &str {
        &self.settings.host
    }

    pub fn port(&self) -> u16 {
        self.settings.port
    }

    /// The same person at another address. The server's certificate must name that host.
    pub fn at(mut self, host: &str, port: u16) -> Self {
        self.settings.host = host.to_owned();
        self.settings.port = port;
        self
    }

    /// Settings of the TLS connection; refuses a certificate that is not valid now.
    pub(crate) fn tls(&self) -> Result<Arc<rustls::ClientConfig>, LoadError> {
        check_certificate_file(&self.path.join(&self.settings.certificate), SystemTime::now())?;
        let own = Self::read_identity(&self.path, &self.settings)?;
        let roots = ServerRoots::from_file(&self.path.join(&self.settings.roots), self.settings.tenant.clone())?;
        Ok(Arc::new(client_config(&own, &roots, system_clock())?))
    }
}
