//! The keys of a fleet after `fleet init`: new ones beside the old, old ones out, another root; each in a new keyset.
//!
//! Nothing here speaks to the fleet. What is signed lies in `public/keysets/` before anybody hears of it, so that a
//! keyset that was not delivered can be put again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use certs::{
    Ed25519Key, KeyError, Passphrase, TokenError, create_private, ensure_private_dir, generate_ed25519, generate_p256,
    read_ed25519, read_p256, write_ed25519, write_p256, write_public,
};
use data_encoding::HEXLOWER;
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{self, Scope, key_id, public_entry};
use schemas::messages::{Key, KeyId, KeyPurpose, Keyset, Roots};

use super::SetupError;
use super::delegations::make_admin_key;
use super::init::millis;
use super::layout::Layout;
use super::tokens::{self, Place, open_key};

/// Which of the two roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    First,
    Second,
}

impl Root {
    fn number(self) -> u8 {
        match self {
            Self::First => 1,
            Self::Second => 2,
        }
    }
}

/// Where the roots' keys are, and what opens them.
#[derive(Debug)]
pub struct RootKeys<'a> {
    /// `offline/` of the fleet's folder, unless they were carried away.
    pub folder: PathBuf,
    /// Of keys in tokens it is the PIN, where their files name none.
    pub passphrase: Option<&'a Passphrase>,
    /// Where another root or admin key is made.
    pub place: Place<'a>,
}

/// A keyset in the fleet's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedKeyset {
    pub envelope: Vec<u8>,
    pub keyset: Keyset,
}

/// What is wrong with the keys in the folder, or with what was asked of them.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("`{}` is no keyset: {what}", path.display())]
    NotAKeyset { path: PathBuf, what: String },
    #[error("keyset {version} in the folder is signed by no root of the one before it; is it from another fleet?")]
    Broken { version: u64 },
    #[error(
        "no key of a root in force is in `{}`; bring the folder with keyset-root-1.key or keyset-root-2.key, and name it with --roots", .0.display()
    )]
    NoRoot(PathBuf),
    #[error("keyset {version} has no key {id}; `fleet keys list` shows them")]
    NoSuchKey { version: u64, id: KeyId },
    #[error("{id} is the only {purpose} key; `fleet keys rotate {purpose}` puts another beside it first")]
    OnlyOne { id: KeyId, purpose: KeyPurpose },
    #[error("keys of purpose {0} are not rotated; choose unlock, codes, config, pepper or admin")]
    Purpose(KeyPurpose),
    #[error("no admin key of the newest keyset is in `{}`; `fleet keys rotate admin` makes one", .0.display())]
    NoAdmin(PathBuf),
    #[error("`{}` is not there; whoever keeps the admin key makes it with `fleet keys delegate`", .0.display())]
    NoDelegation(PathBuf),
    #[error("`{}` is not there; give the public half of the person's key with --public", .0.display())]
    NoPerson(PathBuf),
    #[error("the public key is not 32 bytes in hexadecimal; `fleet keys own` shows it")]
    PublicKey,
    #[error("such a delegation is refused: {0}")]
    Delegation(schemas::messages::DelegationError),
    #[error("`{}` has no file of {purpose} key {id}, which the keyset names", folder.display())]
    NoFile { purpose: KeyPurpose, id: KeyId, folder: PathBuf },
    #[error("`{}` has no line `{key} = ...` under [keys] that can be changed; write `{key} = {value}` there", path.display())]
    SignerSettings { path: PathBuf, key: KeyPurpose, value: String },
}

/// The keysets that were signed in this folder, the newest last.
pub fn keysets(layout: &Layout) -> Result<Vec<SignedKeyset>, SetupError> {
    let mut found = BTreeMap::new();
    let mut paths = vec![newest_file(layout)];
    match fs::read_dir(folder(layout)) {
        Ok(entries) => paths.extend(entries.filter_map(Result::ok).map(|entry| entry.path())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(SetupError::Io { what: "read folder", path: folder(layout), source }),
    }
    for path in paths.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "cose")) {
        let signed = read_keyset(&path)?;
        found.insert(signed.keyset.version, signed);
    }
    Ok(found.into_values().collect())
}

fn folder(layout: &Layout) -> PathBuf {
    layout.public().join("keysets")
}

fn newest_file(layout: &Layout) -> PathBuf {
    layout.public().join("keyset.cose")
}

fn read_keyset(path: &Path) -> Result<SignedKeyset, SetupError> {
    let envelope = fs::read(path).map_err(|source| SetupError::Io { what: "read", path: path.into(), source })?;
    let not = |what: String| KeysError::NotAKeyset { path: path.into(), what };
    let payload = envelope::unverified_payload(&envelope).map_err(|error| not(error.to_string()))?;
    let keyset = cbor::decode(&payload).map_err(|error| not(error.to_string()))?;
    Ok(SignedKeyset { envelope, keyset })
}

/// The newest keyset of the folder.
pub fn newest_keyset(layout: &Layout) -> Result<SignedKeyset, SetupError> {
    let missing = || KeysError::NotAKeyset { path: newest_file(layout), what: "it is not there".to_owned() };
    Ok(keysets(layout)?.pop().ok_or_else(missing)?)
}

/// The two roots in force.
fn roots(layout: &Layout, newest: &Keyset) -> Result<Roots, SetupError> {
    if let Some(roots) = &newest.roots {
        return Ok(roots.clone());
    }
    let read = |root: Root| -> Result<Key, SetupError> {
        let path = public_file(layout, root);
        let text =
            fs::read_to_string(&path).map_err(|source| SetupError::Io { what: "read", path: path.clone(), source })?;
        let key = HEXLOWER.decode(text.trim().as_bytes()).ok();
        let key = key.map(|public| Key { id: key_id(&public), purpose: KeyPurpose::Keyset, public: Blob(public) });
        let wrong = || SetupError::Settings { path, what: "is not 32 bytes in hexadecimal".to_owned() };
        key.filter(Key::has_its_form).ok_or_else(wrong)
    };
    Ok(Roots { first: read(Root::First)?, second: read(Root::Second)? })
}

fn public_file(layout: &Layout, root: Root) -> PathBuf {
    layout.public().join(format!("keyset-root-{}.pub", root.number()))
}

impl RootKeys<'_> {
    /// A key of one of these roots.
    fn signer_of(&self, roots: &[&Key]) -> Result<Ed25519Key, SetupError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KeysError::NoRoot(self.folder.clone()).into());
            }
            Err(source) => return Err(SetupError::Io { what: "read folder", path: self.folder.clone(), source }),
        };
        let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        paths.sort();
        let is_root = |path: &&PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with("keyset-root-") && name.ends_with(".key")
        };
        // One may be damaged or have another passphrase: the other root is there for that.
        let mut failed = None;
        for path in paths.iter().filter(is_root) {
            match open_key(path, self.passphrase) {
                Ok(key) if roots.contains(&&public_entry(&key, KeyPurpose::Keyset)) => return Ok(key),
                Ok(_) => {}
                // The other root may be in the same token, and its tries are few.
                Err(error @ SetupError::Key(KeyError::Token(TokenError::PinWrong { .. }))) => return Err(error),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| KeysError::NoRoot(self.folder.clone()).into()))
    }
}

/// What is to be different in the next keyset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A new key in front of those of its purpose.
    Rotate(KeyPurpose),
    Retire(KeyId),
    /// Another key in the place of this root; the other root signs.
    Replace(Root),
    /// No unlock key: only people's own keys open doors remotely.
    PeopleOnly,
    /// The next epoch: every delegation that was made before is void.
    Void,
}

/// Makes what the change needs and signs the next keyset, with a version of at least `version_min`. It lies in the folder
/// when this returns; [`settle_signer`] then brings the signer's settings in line with it.
pub fn change(
    layout: &Layout,
    change: Change,
    version_min: u64,
    root_keys: &RootKeys<'_>,
    now: SystemTime,
) -> Result<SignedKeyset, SetupError> {
    let before = newest_keyset(layout)?;
    let in_force = roots(layout, &before.keyset)?;
    let version = version_min.max(before.keyset.version + 1);
    // Before anything is made: without a root there is no next keyset.
    let staying: Vec<&Key> = match change {
        Change::Replace(Root::First) => vec![&in_force.second],
        Change::Replace(Root::Second) => vec![&in_force.first],
        Change::Rotate(_) | Change::Retire(_) | Change::PeopleOnly | Change::Void => in_force.both().to_vec(),
    };
    let signer = root_keys.signer_of(&staying)?;
    let mut keyset = Keyset { version, issued: millis(now)?, roots: Some(in_force.clone()), ..before.keyset.clone() };
    match change {
        Change::Rotate(KeyPurpose::Admin) => {
            keyset.keys.insert(0, make_admin_key(layout, version, root_keys.place, root_keys.passphrase)?);
        }
        Change::Rotate(purpose) => keyset.keys.insert(0, make_key(layout, purpose, version)?),
        Change::Retire(id) => retire(&mut keyset, id, before.keyset.version)?,
        Change::PeopleOnly => {
            // Else nobody could open anything remotely.
            if keyset.keys_for(KeyPurpose::Admin).next().is_none() {
                return Err(KeysError::NoAdmin(layout.ca()).into());
            }
            keyset.keys.retain(|key| key.purpose != KeyPurpose::Unlock);
        }
        Change::Void => keyset.epoch = Some(keyset.epoch.unwrap_or(0) + 1),
        Change::Replace(root) => keyset.roots = Some(replace(in_force.clone(), root, version, root_keys)?),
    }
    keyset
        .check(&layout.settings().tenant, &in_force)
        .map_err(|error| KeysError::NotAKeyset { path: newest_file(layout), what: error.to_string() })?;
    let scope = Scope::Tenant { tenant: &layout.settings().tenant, purpose: KeyPurpose::Keyset };
    let envelope = envelope::try_sign(cbor::encode(&keyset), scope, &signer).map_err(KeyError::Token)?;
    let signed = SignedKeyset { envelope, keyset };
    keep(layout, &before)?;
    keep(layout, &signed)?;
    write_public(&newest_file(layout), &signed.envelope)?;
    for (root, key) in [Root::First, Root::Second].into_iter().zip(signed.keyset.roots.iter().flat_map(Roots::both)) {
        write_public(&public_file(layout, root), format!("{}\n", HEXLOWER.encode(&key.public.0)).as_bytes())?;
    }
    Ok(signed)
}

fn keep(layout: &Layout, signed: &SignedKeyset) -> Result<(), SetupError> {
    ensure_private_dir(&folder(layout))?;
    Ok(write_public(&folder(layout).join(format!("{}.cose", signed.keyset.version)), &signed.envelope)?)
}

/// Makes a key of the signer and its file.
fn make_key(layout: &Layout, purpose: KeyPurpose, version: u64) -> Result<Key, SetupError> {
    let path = layout.signer().join(format!("{purpose}-{version}.key"));
    match purpose {
        KeyPurpose::Unlock | KeyPurpose::Codes | KeyPurpose::Config => {
            let key = generate_ed25519()?;
            write_ed25519(&path, &key, None)?;
            Ok(public_entry(&key, purpose))
        }
        KeyPurpose::Pepper => {
            let key = generate_p256()?;
            write_p256(&path, &key, None)?;
            let public = key.public_key().to_sec1_bytes().into_vec();
            Ok(Key { id: key_id(&public), purpose, public: Blob(public) })
        }
        KeyPurpose::Update | KeyPurpose::Keyset | KeyPurpose::Admin => Err(KeysError::Purpose(purpose).into()),
    }
}

fn retire(keyset: &mut Keyset, id: KeyId, version: u64) -> Result<(), SetupError> {
    let found = keyset.keys.iter().find(|key| key.id == id).ok_or(KeysError::NoSuchKey { version, id })?;
    let purpose = found.purpose;
    if keyset.keys_for(purpose).count() < 2 {
        return Err(KeysError::OnlyOne { id, purpose }.into());
    }
    keyset.keys.retain(|key| key.id != id);
    Ok(())
}

/// Makes another root. The file of the one that goes stays where it is: nobody else knows whether it is lost.
fn replace(before: Roots, root: Root, version: u64, root_keys: &RootKeys<'_>) -> Result<Roots, SetupError> {
    let name = format!("keyset-root-{}-{version}", root.number());
    let path = root_keys.folder.join(format!("{name}.key"));
    let key = tokens::make_key(&path, root_keys.place, &name, root_keys.passphrase)?;
    let new = public_entry(&key, KeyPurpose::Keyset);
    Ok(match root {
        Root::First => Roots { first: new, ..before },
        Root::Second => Roots { second: new, ..before },
    })
}

/// Brings `signer.toml` in line with a keyset: of each purpose the files whose keys are in it, the newest first. Returns
/// the purposes whose line is another one now.
pub fn settle_signer(layout: &Layout, keyset: &Keyset, purposes: &[KeyPurpose]) -> Result<Vec<KeyPurpose>, SetupError> {
    let path = layout.signer_toml();
    let before = match fs::read_to_string(&path) {
        Ok(text) => text,
        // The signer's folder was carried to its own machine, and its settings are changed there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(SetupError::Io { what: "read", path, source }),
    };
    let mut text = before;
    let mut changed = Vec::new();
    for purpose in purposes.iter().copied() {
        let files = files_of(layout, purpose)?;
        let place = |id: &KeyId| keyset.keys.iter().position(|key| key.id == *id);
        let mut held: Vec<_> = files.iter().filter_map(|(path, id)| Some((place(id)?, path))).collect();
        held.sort();
        // Keys of a signer elsewhere have no file here, but not all of them.
        if let (Some(key), true) = (keyset.keys_for(purpose).next(), held.is_empty()) {
            return Err(KeysError::NoFile { purpose, id: key.id, folder: layout.signer() }.into());
        }
        let names = held.iter().filter_map(|(_, path)| path.file_name());
        let names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        // A fleet of before there was this purpose has no line for it, and needs none.
        if named(&text, purpose).unwrap_or_default() == names {
            continue;
        }
        let value = toml::Value::from(names);
        let by_hand = || KeysError::SignerSettings { path: path.clone(), key: purpose, value: value.to_string() };
        let edited = with_line(&text, purpose, &value).ok_or_else(by_hand)?;
        changed.push(purpose);
        text = edited;
    }
    if !changed.is_empty() {
        replace_private(&path, text.as_bytes())?;
    }
    Ok(changed)
}

/// Removes the file of a key that is retired. Cabinets that were not reached still believe it.
pub fn forget_key(layout: &Layout, retired: &Key) -> Result<(), SetupError> {
    if retired.purpose == KeyPurpose::Admin {
        return Ok(());
    }
    for (path, id) in files_of(layout, retired.purpose)? {
        if id == retired.id {
            fs::remove_file(&path).map_err(|source| SetupError::Io { what: "remove", path, source })?;
        }
    }
    Ok(())
}

/// Key files of a purpose in `signer/`, with the ids of their keys.
fn files_of(layout: &Layout, purpose: KeyPurpose) -> Result<Vec<(PathBuf, KeyId)>, SetupError> {
    let entries = match fs::read_dir(layout.signer()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(SetupError::Io { what: "read folder", path: layout.signer(), source }),
    };
    let mut found = Vec::new();
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(rest) = name.strip_prefix(purpose.as_str()).and_then(|rest| rest.strip_suffix(".key")) else {
            continue;
        };
        if !rest.is_empty() && !rest.starts_with('-') {
            continue;
        }
        let id = match purpose {
            KeyPurpose::Pepper => key_id(&read_p256(&path, None)?.public_key().to_sec1_bytes()),
            KeyPurpose::Unlock
            | KeyPurpose::Codes
            | KeyPurpose::Config
            | KeyPurpose::Update
            | KeyPurpose::Keyset
            | KeyPurpose::Admin => key_id(&read_ed25519(&path, None)?.verifying_key().to_bytes()),
        };
        found.push((path, id));
    }
    Ok(found)
}

/// The files that the settings name for a purpose.
fn named(text: &str, purpose: KeyPurpose) -> Option<Vec<String>> {
    let read: toml::Table = text.parse().ok()?;
    match read.get("keys")?.get(purpose.as_str())? {
        toml::Value::String(one) => Some(vec![one.clone()]),
        toml::Value::Array(several) => several.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Table(_) => None,
    }
}

/// `text` with another line `<purpose> = <value>` under `[keys]`; everything else stays as a person has written it.
fn with_line(text: &str, purpose: KeyPurpose, value: &toml::Value) -> Option<String> {
    let mut section = "";
    let mut found = false;
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            let trimmed = line.trim();
            if trimmed.starts_with('[') {
                section = trimmed;
            }
            let key = trimmed.split('=').next().unwrap_or_default().trim();
            let this = section == "[keys]" && key == purpose.as_str();
            found |= this;
            if this { format!("{purpose} = {value}") } else { line.to_owned() }
        })
        .collect();
    let edited = format!("{}\n", lines.join("\n"));
    // A value over several lines would leave its rest behind.
    let read: toml::Table = edited.parse().ok()?;
    let is = read.get("keys")?.get(purpose.as_str())? == value;
    (found && is).then_some(edited)
}

/// Replaces a file for its owner only, whole or not at all.
fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), SetupError> {
    let temporary = path.with_extension(format!("{:016x}.partial", getrandom::u64()?));
    create_private(&temporary, bytes)?;
    fs::rename(&temporary, path).map_err(|source| SetupError::Io { what: "replace", path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_the_signers_settings_changes_and_comments_stay() {
        let text =
            "# codes = \"no\"\ntenant = \"acme\"\n\n[keys]\n# Signs.\nunlock = \"unlock.key\"\ncodes = \"codes.key\"\n";
        let value = toml::Value::from(vec!["unlock-2.key", "unlock.key"]);
        let edited = with_line(text, KeyPurpose::Unlock, &value).unwrap();
        assert_eq!(edited, text.replace("\"unlock.key\"", "[\"unlock-2.key\", \"unlock.key\"]"));
        let again = with_line(&edited, KeyPurpose::Unlock, &toml::Value::from(Vec::<String>::new())).unwrap();
        assert_eq!(again, text.replace("\"unlock.key\"", "[]"));
    }

    #[test]
    fn settings_that_cannot_be_changed_by_a_line_are_left_to_a_person() {
        let value = toml::Value::from(vec!["unlock-2.key"]);
        for text in [
            "[keys]\ncodes = \"codes.key\"\n",
            "unlock = \"unlock.key\"\n",
            "[keys]\nunlock = [\n  \"unlock.key\",\n]\n",
            "keys = { unlock = \"unlock.key\" }\n",
        ] {
            assert_eq!(with_line(text, KeyPurpose::Unlock, &value), None, "{text}");
        }
    }
}
