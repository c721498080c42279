//! Speaking to a token: its library, a session with it, and the one key that a session is for.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::error::TokenError;
use super::uri::{TokenName, TokenUri};
use crate::files::read_private;
use crate::keys::Passphrase;

/// Curves as CKA_EC_PARAMS names them: an object identifier in DER, and for Ed25519 also a name (PKCS#11 3.0, 6.3.3).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const ED25519_BY_NAME: &[u8] = b"\x13\x0cedwards25519";
/// Length of the ids of keys that are made here.
const ID: usize = 16;

/// What a key is for, and with it everything that the two kinds do not have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    P256,
    Ed25519,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::Ed25519 => "Ed25519",
        }
    }

    fn key_type(self) -> KeyType {
        match self {
            Self::P256 => KeyType::EC,
            Self::Ed25519 => KeyType::EC_EDWARDS,
        }
    }

    fn curve(self) -> &'static [u8] {
        match self {
            Self::P256 => P256,
            Self::Ed25519 => ED25519,
        }
    }

    fn is_curve(self, parameters: &[u8]) -> bool {
        parameters == self.curve() || self == Self::Ed25519 && parameters == ED25519_BY_NAME
    }

    fn making(self) -> (Mechanism<'static>, &'static str) {
        match self {
            Self::P256 => (Mechanism::EccKeyPairGen, "CKM_EC_KEY_PAIR_GEN"),
            Self::Ed25519 => (Mechanism::EccEdwardsKeyPairGen, "CKM_EC_EDWARDS_KEY_PAIR_GEN"),
        }
    }

    fn signing(self) -> (Mechanism<'static>, &'static str) {
        match self {
            Self::P256 => (Mechanism::Ecdsa, "CKM_ECDSA"),
            Self::Ed25519 => (Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)), "CKM_EDDSA"),
        }
    }

    /// The point of a public key: PKCS#11 wraps it into an OCTET STRING, and some tokens do not.
    fn point(self, attribute: &[u8]) -> Option<Vec<u8>> {
        let length: usize = match self {
            Self::P256 => 65,
            Self::Ed25519 => 32,
        };
        let bare = match attribute {
            [0x04, said, point @ ..] if attribute.len() == length + 2 && usize::from(*said) == length => point,
            point => point,
        };
        (bare.len() == length).then(|| bare.to_vec())
    }
}

/// One key in a token. The session with it is opened again when it was lost.
pub(super) struct Link {
    uri: TokenUri,
    kind: Kind,
    /// Where the URI names no file with a PIN.
    pin: Option<Passphrase>,
    open: Mutex<Option<Open>>,
}

struct Open {
    session: Session,
    key: ObjectHandle,
}

impl Link {
    /// Finds the key and checks that it is of this kind; returns the point of its public half, too.
    pub(super) fn open(uri: &TokenUri, kind: Kind, pin: Option<&Passphrase>) -> Result<(Self, Vec<u8>), TokenError> {
        if !uri.names_a_key() {
            return Err(TokenError::NoName { token: uri.token_text() });
        }
        let open = Open::new(uri, kind, pin)?;
        let point = public_point(&open, uri, kind)?;
        let link = Self { uri: uri.clone(), kind, pin: pin.cloned(), open: Mutex::new(Some(open)) };
        Ok((link, point))
    }

    /// A key that is looked for when it signs, and not before: a cabinet starts without its token, too.
    pub(super) fn later(uri: TokenUri, kind: Kind) -> Self {
        Self { uri, kind, pin: None, open: Mutex::new(None) }
    }

    pub(super) fn uri(&self) -> &TokenUri {
        &self.uri
    }

    /// What the token makes of `data`: for P-256 a digest, for Ed25519 the whole message.
    pub(super) fn sign(&self, data: &[u8]) -> Result<Vec<u8>, TokenError> {
        let (mechanism, name) = self.kind.signing();
        let mut held = self.held();
        if let Some(open) = held.take() {
            match open.session.sign(&mechanism, open.key, data) {
                Ok(signature) => {
                    *held = Some(open);
                    return Ok(signature);
                }
                Err(error) if is_lost(&error) => {}
                Err(error) => return Err(failed(&self.uri, "sign", &error, (self.kind, name))),
            }
        }
        // Once: the token was pulled and is back, or its library was started again.
        let open = Open::new(&self.uri, self.kind, self.pin.as_ref())?;
        let signature = open.session.sign(&mechanism, open.key, data);
        let signature = signature.map_err(|error| failed(&self.uri, "sign", &error, (self.kind, name)))?;
        *held = Some(open);
        Ok(signature)
    }

    /// The session is whole or gone, whoever panicked.
    fn held(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("uri", &self.uri).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Open {
    fn new(uri: &TokenUri, kind: Kind, pin: Option<&Passphrase>) -> Result<Self, TokenError> {
        let session = log_in(uri, pin, Access::Read)?;
        let key = private_key(&session, uri, kind)?;
        Ok(Self { session, key })
    }
}

/// Makes a key with the URI's label and an id of its own; returns its URI. With `alone` no other key may have that label.
pub(super) fn make(
    uri: &TokenUri,
    kind: Kind,
    pin: Option<&Passphrase>,
    alone: bool,
) -> Result<(Link, Vec<u8>), TokenError> {
    let token = || uri.token_text();
    let label = uri.object().ok_or_else(|| TokenError::NoName { token: token() })?.as_bytes().to_vec();
    let session = log_in(uri, pin, Access::Write)?;
    if alone && !labelled(&session, uri, ObjectClass::PRIVATE_KEY)?.is_empty() {
        return Err(TokenError::Exists { key: uri.key_text(), token: token() });
    }
    let mut id = [0; ID];
    getrandom::fill(&mut id)?;
    let both = [Attribute::Token(true), Attribute::Label(label), Attribute::Id(id.to_vec())];
    let mut public = both.to_vec();
    public.extend([
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::KeyType(kind.key_type()),
        Attribute::EcParams(kind.curve().to_vec()),
    ]);
    let mut private = both.to_vec();
    private.extend([
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::KeyType(kind.key_type()),
        Attribute::Sign(true),
        // Left out, these are as each token likes.
        Attribute::Decrypt(false),
        Attribute::Derive(false),
        Attribute::SignRecover(false),
        Attribute::Unwrap(false),
    ]);
    let (mechanism, name) = kind.making();
    let made = session.generate_key_pair(&mechanism, &public, &private);
    let (public, private) = made.map_err(|error| failed(uri, "make a key", &error, (kind, name)))?;
    // A token that made something else than it was asked for must not keep it.
    Link::open(&uri.with_id(id.to_vec()), kind, pin).inspect_err(|_| {
        for object in [private, public] {
            // The first error is the one that matters.
            let _ = session.destroy_object(object);
        }
    })
}

/// Removes every key with the URI's label whose id is not among `keep`. Returns how many.
pub(super) fn sweep(uri: &TokenUri, keep: &[&[u8]], pin: Option<&Passphrase>) -> Result<usize, TokenError> {
    if uri.object().is_none() {
        return Err(TokenError::NoName { token: uri.token_text() });
    }
    let session = log_in(uri, pin, Access::Write)?;
    let told = |error| plainly(uri, "remove a key", &error);
    let mut removed = 0;
    // The private half first: cut off here, the public one is found the next time.
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        for object in labelled(&session, uri, class)? {
            let id = attribute(&session, object, AttributeType::Id).map_err(told)?;
            let Some(Attribute::Id(id)) = id else { continue };
            if !keep.contains(&id.as_slice()) {
                session.destroy_object(object).map_err(told)?;
                removed += usize::from(class == ObjectClass::PRIVATE_KEY);
            }
        }
    }
    Ok(removed)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// The libraries of this process, by path. They stay loaded: what a library has started may outlive its last session.
static LIBRARIES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

fn library(path: &Path) -> Result<Pkcs11, TokenError> {
    let refused = |error: &Error| {
        let why = if let Error::LibraryLoading(source) = error { source.to_string() } else { error.to_string() };
        TokenError::Module { path: path.into(), why }
    };
    let mut loaded = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    let library = match loaded.get(path) {
        Some(library) => library.clone(),
        None => {
            let library = Pkcs11::new(path).map_err(|error| refused(&error))?;
            loaded.insert(path.to_owned(), library.clone());
            library
        }
    };
    match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(library),
        Err(error) => Err(refused(&error)),
    }
}

/// The one token that the URI names.
fn token(library: &Pkcs11, uri: &TokenUri) -> Result<(Slot, TokenInfo), TokenError> {
    let slots = library.get_slots_with_token().map_err(|error| plainly(uri, "look for it", &error))?;
    let mut found = Vec::new();
    for slot in slots {
        // One that was pulled in this moment is not the one.
        if let Ok(info) = library.get_token_info(slot)
            && info.token_initialized()
            && fits(&uri.token, &info)
        {
            found.push((slot, info));
        }
    }
    let more = found.len() > 1;
    match found.pop() {
        Some(_) if more => Err(TokenError::SeveralTokens { token: uri.token_text() }),
        Some(one) => Ok(one),
        None => Err(TokenError::NoToken { token: uri.token_text(), module: uri.module().into() }),
    }
}

fn fits(name: &TokenName, info: &TokenInfo) -> bool {
    let same = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
    same(&name.label, info.label())
        && same(&name.serial, info.serial_number())
        && same(&name.manufacturer, info.manufacturer_id())
        && same(&name.model, info.model())
}

/// A session with the token, with the PIN if it wants one.
fn log_in(uri: &TokenUri, pin: Option<&Passphrase>, access: Access) -> Result<Session, TokenError> {
    let library = library(uri.module())?;
    let (slot, info) = token(&library, uri)?;
    let opened = match access {
        Access::Read => library.open_ro_session(slot),
        Access::Write => library.open_rw_session(slot),
    };
    let session = opened.map_err(|error| plainly(uri, "open a session", &error))?;
    if !info.login_required() {
        return Ok(session);
    }
    let pin = pin_of(uri, pin)?;
    let tried = (uri.module().to_owned(), uri.token_text(), pin);
    let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    if refused.contains(&tried) {
        return Err(TokenError::PinWrong { token: uri.token_text() });
    }
    PinState::of(&info).check(uri)?;
    match session.login(UserType::User, Some(&AuthPin::from(String::from(tried.2.as_str())))) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
        Err(error) => {
            let error = pin_refused(uri, &error);
            if matches!(error, TokenError::PinWrong { .. }) {
                refused.push(tried);
            }
            Err(error)
        }
    }
}

/// What a token says of its PIN.
#[derive(Debug, Clone, Copy)]
struct PinState {
    set: bool,
    locked: bool,
    last_try: bool,
}

impl PinState {
    fn of(info: &TokenInfo) -> Self {
        Self { set: info.user_pin_initialized(), locked: info.user_pin_locked(), last_try: info.user_pin_final_try() }
    }

    /// Whether a PIN may be tried.
    fn check(self, uri: &TokenUri) -> Result<(), TokenError> {
        let token = uri.token_text();
        match self {
            Self { set: false, .. } => Err(TokenError::PinNotSet { token }),
            Self { locked: true, .. } => Err(TokenError::PinLocked { token }),
            Self { last_try: true, .. } => Err(TokenError::PinLastTry { token, module: uri.module().into() }),
            Self { .. } => Ok(()),
        }
    }
}

/// Library, token and PIN.
type Tried = (PathBuf, String, Zeroizing<String>);

/// PINs that were wrong. A connection that is tried again and again must not use up the tries that a token allows.
static REFUSED: Mutex<Vec<Tried>> = Mutex::new(Vec::new());

fn pin_refused(uri: &TokenUri, error: &Error) -> TokenError {
    let token = uri.token_text();
    let Error::Pkcs11(code, _) = error else { return plainly(uri, "log in", error) };
    if matches!(code, RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange) {
        TokenError::PinWrong { token }
    } else if *code == RvError::PinLocked {
        TokenError::PinLocked { token }
    } else if *code == RvError::UserPinNotInitialized {
        TokenError::PinNotSet { token }
    } else {
        plainly(uri, "log in", error)
    }
}

/// The PIN from the file that the URI names, or else the one that a person gave.
fn pin_of(uri: &TokenUri, given: Option<&Passphrase>) -> Result<Zeroizing<String>, TokenError> {
    let Some(path) = uri.pin_source() else {
        let given = given.ok_or_else(|| TokenError::PinNeeded { token: uri.token_text() })?;
        return Ok(Zeroizing::new(given.text().to_owned()));
    };
    let bytes = read_private(path)?;
    let text = std::str::from_utf8(&bytes).map(|text| text.strip_suffix('\n').unwrap_or(text));
    match text {
        Ok(pin) if !pin.is_empty() && !pin.chars().any(char::is_control) => Ok(Zeroizing::new(pin.to_owned())),
        Ok(_) | Err(_) => Err(TokenError::PinText(path.into())),
    }
}

/// The one private key that the URI names, if it is of this kind and cannot leave the token.
fn private_key(session: &Session, uri: &TokenUri, kind: Kind) -> Result<ObjectHandle, TokenError> {
    let (key, token) = (uri.key_text(), uri.token_text());
    let found = match labelled(session, uri, ObjectClass::PRIVATE_KEY)?.as_slice() {
        [] => return Err(TokenError::NoKey { key, token, module: uri.module().into() }),
        [one] => *one,
        _ => return Err(TokenError::SeveralKeys { key, token }),
    };
    let told = |error| plainly(uri, "read a key's attributes", &error);
    let has = |wanted: AttributeType| attribute(session, found, wanted).map_err(told);
    let kind_fits = has(AttributeType::KeyType)? == Some(Attribute::KeyType(kind.key_type()))
        && matches!(has(AttributeType::EcParams)?, Some(Attribute::EcParams(curve)) if kind.is_curve(&curve));
    if !kind_fits || has(AttributeType::Sign)? != Some(Attribute::Sign(true)) {
        return Err(TokenError::OtherKind { key, token, expected: kind.name() });
    }
    let stays = has(AttributeType::Sensitive)? == Some(Attribute::Sensitive(true))
        && has(AttributeType::Extractable)? == Some(Attribute::Extractable(false));
    if stays { Ok(found) } else { Err(TokenError::Extractable { key, token }) }
}

/// The point of the public half: the object with the same id.
fn public_point(open: &Open, uri: &TokenUri, kind: Kind) -> Result<Vec<u8>, TokenError> {
    let told = |error| plainly(uri, "read a public key", &error);
    let missing = || TokenError::NoPublic { key: uri.key_text(), token: uri.token_text() };
    let id = attribute(&open.session, open.key, AttributeType::Id).map_err(told)?.ok_or_else(missing)?;
    let template = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::KeyType(kind.key_type()), id];
    let found = open.session.find_objects(&template).map_err(told)?;
    let [public] = found.as_slice() else { return Err(missing()) };
    match attribute(&open.session, *public, AttributeType::EcPoint).map_err(told)? {
        Some(Attribute::EcPoint(point)) => kind.point(&point).ok_or_else(missing),
        _ => Err(missing()),
    }
}

/// Objects of this class with the URI's label and id, as far as it names them.
fn labelled(session: &Session, uri: &TokenUri, class: ObjectClass) -> Result<Vec<ObjectHandle>, TokenError> {
    let mut template = vec![Attribute::Class(class), Attribute::Token(true)];
    template.extend(uri.object().map(|label| Attribute::Label(label.as_bytes().to_vec())));
    template.extend(uri.id().map(|id| Attribute::Id(id.to_vec())));
    session.find_objects(&template).map_err(|error| plainly(uri, "look for a key", &error))
}

fn attribute(session: &Session, object: ObjectHandle, wanted: AttributeType) -> Result<Option<Attribute>, Error> {
    Ok(session.get_attributes(object, &[wanted])?.pop())
}

/// Whether the session may be gone while the key is not.
fn is_lost(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::CryptokiNotInitialized
                | RvError::DeviceError
                | RvError::DeviceRemoved
                | RvError::KeyHandleInvalid
                | RvError::ObjectHandleInvalid
                | RvError::SessionClosed
                | RvError::SessionHandleInvalid
                | RvError::SlotIdInvalid
                | RvError::TokenNotPresent
                | RvError::UserNotLoggedIn,
            _
        )
    )
}

fn failed(uri: &TokenUri, doing: &'static str, error: &Error, (kind, mechanism): (Kind, &'static str)) -> TokenError {
    let cannot = matches!(
        error,
        Error::Pkcs11(
            RvError::MechanismInvalid
                | RvError::FunctionNotSupported
                | RvError::CurveNotSupported
                | RvError::DomainParamsInvalid,
            _
        )
    );
    if cannot {
        return TokenError::Unsupported { token: uri.token_text(), expected: kind.name(), mechanism };
    }
    plainly(uri, doing, error)
}

fn plainly(uri: &TokenUri, doing: &'static str, error: &Error) -> TokenError {
    let token = uri.token_text();
    let what = if let Error::Pkcs11(code, function) = error {
        // Not the library's own sentences, which are of many lines.
        format!("{function} says {code:?}")
    } else {
        error.to_string()
    };
    if is_lost(error) { TokenError::Gone { token, what } } else { TokenError::Failed { doing, token, what } }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    fn uri() -> TokenUri {
        "pkcs11:token=safe;object=c1?module-path=/usr/lib/p11.so".parse().unwrap()
    }

    /// SoftHSM never locks a PIN; these are the words of tokens that do.
    #[test]
    fn a_pin_that_is_locked_or_has_one_try_left_is_not_tried() {
        let good = PinState { set: true, locked: false, last_try: false };
        good.check(&uri()).unwrap();
        for (state, expected) in [
            (PinState { set: false, ..good }, "token `safe` has no PIN yet"),
            (PinState { locked: true, last_try: true, ..good }, "the PIN of token `safe` is locked after"),
            (PinState { last_try: true, ..good }, "token `safe` has one try left before it locks itself"),
        ] {
            let error = state.check(&uri()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let said = |code| pin_refused(&uri(), &Error::Pkcs11(code, Function::Login)).to_string();
        assert!(said(RvError::PinLocked).starts_with("the PIN of token `safe` is locked"));
        assert!(said(RvError::PinLenRange).starts_with("token `safe` refuses this PIN"));
        assert!(said(RvError::DeviceRemoved).starts_with("token `safe` is gone (Function::Login says DeviceRemoved)"));
    }

    #[test]
    fn a_token_that_lacks_a_mechanism_says_which() {
        let error = Error::Pkcs11(RvError::MechanismInvalid, Function::GenerateKeyPair);
        let error = failed(&uri(), "make a key", &error, (Kind::Ed25519, Kind::Ed25519.making().1));
        assert_eq!(error.to_string(), "token `safe` cannot make or use Ed25519 keys (CKM_EC_EDWARDS_KEY_PAIR_GEN)");
    }

    #[test]
    fn points_are_read_bare_and_wrapped_and_only_of_their_length() {
        let bare = [7; 32];
        let wrapped = [&[0x04, 32][..], &bare].concat();
        assert_eq!(Kind::Ed25519.point(&bare).unwrap(), bare);
        assert_eq!(Kind::Ed25519.point(&wrapped).unwrap(), bare);
        for bad in [&bare[..31], &wrapped[..33], &[&[0x04, 33][..], &bare].concat(), &[0x04], &[]] {
            assert_eq!(Kind::Ed25519.point(bad), None, "{bad:?}");
        }
        // A bare point of P-256 begins with the byte that an OCTET STRING begins with.
        let point = [&[0x04][..], &[0x41; 64]].concat();
        assert_eq!(Kind::P256.point(&point).unwrap(), point);
        assert_eq!(Kind::P256.point(&[&[0x04, 65][..], &point].concat()).unwrap(), point);
    }
}
