//! Signing keys of people, admins and roots: in files, or in tokens that the files name.

use std::path::Path;

use certs::{
    Ed25519Key, Ed25519Token, KeyError, Passphrase, TokenError, TokenUri, generate_ed25519, sweep_token, write_ed25519,
    write_token_uri,
};

use super::SetupError;

/// Where a new key is made.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// In a file, encrypted if there is a passphrase.
    File,
    /// In this token. With the label of the URI, or one that says what the key is for.
    Token(&'a TokenUri),
}

impl<'a> Place<'a> {
    pub fn of(token: Option<&'a TokenUri>) -> Self {
        token.map_or(Self::File, Self::Token)
    }
}

/// Makes a key and the file that holds or names it. Of a token `passphrase` is the PIN, where the URI names no file with it.
pub(super) fn make_key(
    path: &Path,
    place: Place<'_>,
    label: &str,
    passphrase: Option<&Passphrase>,
) -> Result<Ed25519Key, SetupError> {
    match place {
        Place::File => {
            let key = generate_ed25519()?;
            write_ed25519(path, &key, passphrase)?;
            Ok(key.into())
        }
        Place::Token(uri) => {
            // Before a key is in the token that nobody would name.
            if path.exists() {
                return Err(SetupError::Exists(path.into()));
            }
            let labelled = match uri.object() {
                Some(_) => uri.clone(),
                None => uri.with_label(label).map_err(|source| KeyError::Uri { path: path.into(), source })?,
            };
            let key = Ed25519Token::make(&labelled, passphrase).map_err(token_error)?;
            write_token_uri(path, key.uri()).inspect_err(|_| forget_key(key.uri(), passphrase))?;
            Ok(key.into())
        }
    }
}

/// Opens the key that a file holds or names.
pub(super) fn open_key(path: &Path, passphrase: Option<&Passphrase>) -> Result<Ed25519Key, SetupError> {
    match Ed25519Key::open(path, passphrase) {
        Err(KeyError::PassphraseNeeded { path }) => Err(SetupError::PassphraseNeeded(path)),
        Err(KeyError::Token(error)) => Err(token_error(error)),
        other => Ok(other?),
    }
}

fn token_error(error: TokenError) -> SetupError {
    if let TokenError::PinNeeded { token } = error {
        return SetupError::PinNeeded(token);
    }
    KeyError::Token(error).into()
}

/// Removes the one key that a URI names by its id, after a failure that matters more than this one's.
pub(super) fn forget_key(uri: &TokenUri, passphrase: Option<&Passphrase>) {
    if uri.id().is_some() {
        let _ = sweep_token(uri, &[], passphrase);
    }
}
