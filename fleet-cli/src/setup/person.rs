//! `fleet person add` and `renew`: the folder with which a person or an integration reaches the fleet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use certs::{
    Authority, CertificateAuthority, KeyError, LeafKey, LeafRequest, LoadError, Passphrase, ensure_private_dir,
    generate_p256, write_p256, write_public,
};
use schemas::ids::{Identity, Name, Role};

use super::SetupError;
use super::layout::Layout;
use super::making::Making;
use crate::folder::{PersonFolder, PersonSettings};

/// Who is to get a folder.
#[derive(Debug)]
pub struct PersonOptions<'a> {
    pub layout: &'a Layout,
    pub role: Role,
    pub name: Name,
    /// Opens the key of the operators' CA, if it is encrypted.
    pub passphrase: Option<&'a Passphrase>,
    pub now: SystemTime,
}

/// Makes the folder of a person or an integration, with a certificate of the operators' CA.
pub fn person(options: &PersonOptions<'_>) -> Result<PersonFolder, SetupError> {
    make_person(options, &open_authority(options.layout, Authority::People, options.passphrase)?)
}

/// The same with an authority that is open already.
pub(super) fn make_person(
    options: &PersonOptions<'_>,
    authority: &CertificateAuthority,
) -> Result<PersonFolder, SetupError> {
    let PersonOptions { layout, role, .. } = *options;
    if !role.is_person() && role != Role::Integration {
        return Err(SetupError::Role(role));
    }
    if options.identity().is_reserved() {
        return Err(SetupError::Reserved(options.name.clone()));
    }
    let place = layout.person(role, &options.name);
    if place.exists() {
        return Err(SetupError::Exists(place));
    }
    ensure_private_dir(&layout.people())?;
    let making = Making::at(&place)?;
    let identity = options.identity();
    let settings = PersonSettings::new(layout.settings());
    let header = format!("# How {identity} reaches the fleet: `fleet --as <this folder>`.\n");
    let text = toml::to_string(&settings)
        .map_err(|error| SetupError::Settings { path: place.clone(), what: error.to_string() })?;

    let key = generate_p256()?;
    let issued = authority.issue(&LeafRequest::client(identity), &LeafKey::from(&key), options.now)?;
    write_p256(&making.path().join(&settings.key), &key, None)?;
    write_public(&making.path().join(&settings.certificate), issued.pem().as_bytes())?;
    copy_public(layout, "root.crt", &making.path().join(&settings.roots))?;
    write_public(&making.path().join(PersonSettings::FILE), format!("{header}{text}").as_bytes())?;
    making.finish()?;
    Ok(PersonFolder::open(&place)?)
}

/// A new key and certificate for somebody who has a folder here. The old ones go on working until they end or are
/// revoked.
pub fn renew_person(options: &PersonOptions<'_>) -> Result<PersonFolder, SetupError> {
    let place = options.layout.person(options.role, &options.name);
    if !place.join(PersonSettings::FILE).exists() {
        return Err(SetupError::NoPerson(place));
    }
    let authority = open_authority(options.layout, Authority::People, options.passphrase)?;
    let settings = PersonSettings::new(options.layout.settings());
    let (key_file, certificate) = (place.join(&settings.key), place.join(&settings.certificate));
    let key = generate_p256()?;
    let issued = authority.issue(&LeafRequest::client(options.identity()), &LeafKey::from(&key), options.now)?;
    let (new_key, new_certificate) = (with_suffix(&key_file), with_suffix(&certificate));
    // What a renewal left that was cut off.
    match fs::remove_file(&new_key) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(SetupError::Io { what: "remove", path: new_key, source });
        }
        Ok(()) | Err(_) => {}
    }
    write_p256(&new_key, &key, None)?;
    write_public(&new_certificate, issued.pem().as_bytes())?;
    // Cut off between the two, the folder is refused because they do not fit, and renewing again mends it.
    for (from, to) in [(new_key, key_file), (new_certificate, certificate)] {
        fs::rename(&from, &to).map_err(|source| SetupError::Io { what: "replace", path: to, source })?;
    }
    Ok(PersonFolder::open(&place)?)
}

impl PersonOptions<'_> {
    fn identity(&self) -> Identity {
        Identity::new(self.role, self.layout.settings().tenant.clone(), self.name.clone())
    }
}

fn with_suffix(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Opens a CA of the fleet.
pub(super) fn open_authority(
    layout: &Layout,
    authority: Authority,
    passphrase: Option<&Passphrase>,
) -> Result<CertificateAuthority, SetupError> {
    let name = authority.as_str();
    let (certificate, key) = (layout.ca().join(format!("{name}.crt")), layout.ca().join(format!("{name}.key")));
    match CertificateAuthority::open(&certificate, &key, passphrase) {
        Err(LoadError::Key(KeyError::PassphraseNeeded { path })) => Err(SetupError::PassphraseNeeded(path)),
        other => Ok(other?),
    }
}

/// Copies a file of `public/`.
pub(super) fn copy_public(layout: &Layout, name: &str, to: &Path) -> Result<(), SetupError> {
    let from = layout.public().join(name);
    let bytes = fs::read(&from).map_err(|source| SetupError::Io { what: "read", path: from, source })?;
    Ok(write_public(to, &bytes)?)
}
