//! What can be wrong with a key in a token, in words that say what to do.

use std::path::PathBuf;

use crate::files::FileError;

/// Why a key in a token cannot be used or made. Holds no PIN.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("this program was built without keys in tokens; build it with `--features pkcs11`")]
    NotBuilt,
    #[error("load PKCS#11 library `{}`: {why}; is the token's software installed, for this kind of machine?", path.display())]
    Module { path: PathBuf, why: String },
    #[error("there is no token {token}; plug it in, or see which ones there are: `pkcs11-tool --module {} -L`", module.display())]
    NoToken { token: String, module: PathBuf },
    #[error("several tokens are {token}; name one by its serial number, serial=…")]
    SeveralTokens { token: String },
    #[error("token {token} wants a PIN; name a private file with it: pin-source=file:/… in the URI")]
    PinNeeded { token: String },
    #[error("read the PIN")]
    PinFile(#[from] FileError),
    #[error("PIN file `{}` is not one line of text", .0.display())]
    PinText(PathBuf),
    #[error("token {token} refuses this PIN; it is not tried again, since a token locks itself after some wrong ones")]
    PinWrong { token: String },
    #[error(
        "token {token} has one try left before it locks itself, which is not spent here; \
         log in by hand once, `pkcs11-tool --module {} --login --test`", module.display()
    )]
    PinLastTry { token: String, module: PathBuf },
    #[error("the PIN of token {token} is locked after too many wrong ones; its security officer sets a new one")]
    PinLocked { token: String },
    #[error("token {token} has no PIN yet; its security officer sets one")]
    PinNotSet { token: String },
    #[error("the URI names token {token} and no key in it; give object=… (the key's label)")]
    NoName { token: String },
    #[error("token {token} has no private key {key}; see what it has: `pkcs11-tool --module {} --login -O`", module.display())]
    NoKey { key: String, token: String, module: PathBuf },
    #[error("token {token} has several private keys {key}; name one by its id, id=%…")]
    SeveralKeys { key: String, token: String },
    #[error("token {token} has a key {key} already; choose another label, or remove it first")]
    Exists { key: String, token: String },
    #[error("key {key} in token {token} is no {expected} key that signs")]
    OtherKind { key: String, token: String, expected: &'static str },
    #[error("key {key} in token {token} can be taken out of it; make one that cannot")]
    Extractable { key: String, token: String },
    #[error("token {token} has no public half of key {key}; put it beside the private one, with the same id")]
    NoPublic { key: String, token: String },
    #[error("token {token} cannot make or use {expected} keys ({mechanism})")]
    Unsupported { token: String, expected: &'static str, mechanism: &'static str },
    #[error("token {token} is gone ({what}); plug it in again")]
    Gone { token: String, what: String },
    #[error("token {token} signed with another key than {key} should be; was the key made anew?")]
    Signature { key: String, token: String },
    #[error("{doing} in token {token}: {what}")]
    Failed { doing: &'static str, token: String, what: String },
    #[error("this machine gives no random bytes")]
    NoRandom(#[from] getrandom::Error),
}
