//! Keys of people: each makes an own one, and an admin key of the fleet says what it opens.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use certs::{Ed25519Key, KeyError, Passphrase, TokenError, ensure_private_dir, write_public};
use data_encoding::HEXLOWER;
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{self, Scope, public_entry};
use schemas::ids::{CabinetId, Identity, Name, Role};
use schemas::messages::{DelegatedCabinets, DelegatedTenant, Delegation, KeyPurpose};

use super::SetupError;
use super::init::millis;
use super::keys::{KeysError, newest_keyset};
use super::layout::Layout;
use super::tokens::{Place, make_key, open_key};

/// In a person's folder.
const OWN_KEY: &str = "unlock.key";
const OWN_PUBLIC: &str = "unlock.pub";
const DELEGATION: &str = "delegation.cose";

/// The own key of a person and what vouches for it.
pub struct OwnKey {
    pub key: Ed25519Key,
    pub delegation: Vec<u8>,
}

/// Whether a person's folder has both.
pub fn has_own_key(folder: &Path) -> bool {
    folder.join(OWN_KEY).exists() && folder.join(DELEGATION).exists()
}

/// Opens the own key in a person's folder.
pub fn own_key(folder: &Path, passphrase: Option<&Passphrase>) -> Result<OwnKey, SetupError> {
    let path = folder.join(DELEGATION);
    let delegation = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(KeysError::NoDelegation(path).into()),
        Err(source) => return Err(SetupError::Io { what: "read", path, source }),
    };
    Ok(OwnKey { key: open_key(&folder.join(OWN_KEY), passphrase)?, delegation })
}

/// Makes the own key of a person; returns its public half in hexadecimal. Made once: another one needs another delegation.
pub fn make_own_key(folder: &Path, place: Place<'_>, passphrase: Option<&Passphrase>) -> Result<String, SetupError> {
    let path = folder.join(OWN_KEY);
    if path.exists() {
        return Err(SetupError::Exists(path));
    }
    let key = make_key(&path, place, "unlock", passphrase)?;
    let public = HEXLOWER.encode(&key.public_key());
    write_public(&folder.join(OWN_PUBLIC), format!("{public}\n").as_bytes())?;
    Ok(public)
}

/// What a person may open with an own key.
#[derive(Debug)]
pub struct DelegationOptions<'a> {
    pub layout: &'a Layout,
    pub role: Role,
    pub name: Name,
    /// In hexadecimal. Left out: that of the person's folder in the fleet's, which is made if it has none.
    pub public: Option<String>,
    /// None: every cabinet of the tenant.
    pub cabinets: Vec<CabinetId>,
    pub valid: Duration,
    /// Where to write it. Left out: into the person's folder in the fleet's.
    pub out: Option<PathBuf>,
    /// Opens the admin key.
    pub passphrase: Option<&'a Passphrase>,
    pub now: SystemTime,
}

/// A delegation that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeDelegation {
    pub path: PathBuf,
    pub delegation: Delegation,
}

/// Signs a delegation with the newest admin key of the fleet's folder.
pub fn delegate(options: &DelegationOptions<'_>) -> Result<MadeDelegation, SetupError> {
    let layout = options.layout;
    let tenant = &layout.settings().tenant;
    let keyset = newest_keyset(layout)?.keyset;
    let admin = admin_key(layout, options.passphrase)?;
    let folder = layout.person(options.role, &options.name);
    let public = match &options.public {
        Some(public) => public.clone(),
        None => public_of(&folder)?,
    };
    let public = HEXLOWER.decode(public.trim().as_bytes()).map_err(|_| KeysError::PublicKey)?;
    let scope = match options.cabinets.as_slice() {
        [] => DelegatedTenant {}.into(),
        some => DelegatedCabinets { cabinets: some.to_vec() }.into(),
    };
    let delegation = Delegation {
        tenant: tenant.clone(),
        person: Identity::new(options.role, tenant.clone(), options.name.clone()),
        public: Blob(public),
        scope,
        epoch: keyset.epoch.unwrap_or(0),
        not_after: millis(options.now + options.valid)?,
    };
    delegation.check(tenant).map_err(KeysError::Delegation)?;
    let scope = Scope::Tenant { tenant, purpose: KeyPurpose::Admin };
    let envelope = envelope::try_sign(cbor::encode(&delegation), scope, &admin).map_err(KeyError::Token)?;
    let path = options.out.clone().unwrap_or_else(|| folder.join(DELEGATION));
    write_public(&path, &envelope)?;
    Ok(MadeDelegation { path, delegation })
}

/// The public key of the person in this folder of the fleet's; the key is made if there is none.
fn public_of(folder: &Path) -> Result<String, SetupError> {
    let path = folder.join(OWN_PUBLIC);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => {
            make_own_key(folder, Place::File, None)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(KeysError::NoPerson(folder.into()).into()),
        Err(source) => Err(SetupError::Io { what: "read", path, source }),
    }
}

/// Makes an admin key in `ca/`, where certificates of people are made too.
pub(super) fn make_admin_key(
    layout: &Layout,
    version: u64,
    place: Place<'_>,
    passphrase: Option<&Passphrase>,
) -> Result<schemas::messages::Key, SetupError> {
    ensure_private_dir(&layout.ca())?;
    let name = format!("admin-{version}");
    let key = make_key(&layout.ca().join(format!("{name}.key")), place, &name, passphrase)?;
    Ok(public_entry(&key, KeyPurpose::Admin))
}

/// The newest admin key that is in the newest keyset. One whose token is away is passed over if another is there.
fn admin_key(layout: &Layout, passphrase: Option<&Passphrase>) -> Result<Ed25519Key, SetupError> {
    let keyset = newest_keyset(layout)?.keyset;
    let entries = fs::read_dir(layout.ca()).map_err(|source| SetupError::Io {
        what: "read folder",
        path: layout.ca(),
        source,
    })?;
    let is_admin = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with("admin-") && name.ends_with(".key")
    };
    let (mut found, mut away) = (Vec::new(), None);
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_admin) {
        let key = match open_key(&path, passphrase) {
            Err(SetupError::Key(KeyError::Token(error @ TokenError::NoToken { .. }))) => {
                away = Some(SetupError::Key(error.into()));
                continue;
            }
            other => other?,
        };
        let entry = public_entry(&key, KeyPurpose::Admin);
        found.extend(keyset.keys.iter().position(|known| *known == entry).map(|place| (place, key)));
    }
    found.sort_by_key(|(place, _)| *place);
    let missing = || away.unwrap_or_else(|| KeysError::NoAdmin(layout.ca()).into());
    found.into_iter().next().map(|(_, key)| key).ok_or_else(missing)
}
