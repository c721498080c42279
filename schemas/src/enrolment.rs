//! First contact of a cabinet: the one-time token that an operator gives to the installer, and the paths of EST (RFC 7030).

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::cbor::{self, Blob};
use crate::ids::{CabinetId, SiteId, TenantId};
use crate::messages::{FleetMillis, Instance};
use crate::{byte_id, cbor_map};

/// What a token begins with: its kind and its version.
const PREFIX: &str = "LF1";
/// Longest token, in characters. One with a host name of 60 characters has about 400.
pub const TOKEN_MAX: usize = 1_000;
/// First bytes of the SHA-256 of what follows them: a token that was typed wrong is told from one of another fleet.
const CHECKSUM: usize = 4;
const HOST_MAX: usize = 253;

/// Where the fleet answers (RFC 7030, 3.2.2).
pub const CACERTS: &str = "/.well-known/est/cacerts";
pub const SIMPLE_ENROLL: &str = "/.well-known/est/simpleenroll";
pub const SIMPLE_REENROLL: &str = "/.well-known/est/simplereenroll";

byte_id! {
    /// SHA-256 of a token's secret: what the fleet keeps of it. The secret has 128 random bits, so no slow hash is needed.
    pub struct SecretHash([u8; 32]);
}

/// Who has it may enrol the one cabinet that the token names, once.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct TokenSecret([u8; 16]);

impl TokenSecret {
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::new().chain_update(b"locker-fleet/1 enrolment").chain_update(self.0).finalize().into())
    }

    /// The password of HTTP Basic authentication (RFC 7617).
    pub fn password(&self) -> String {
        BASE32_NOPAD.encode(&self.0)
    }

    /// Reads a password. Letters may be small.
    pub fn from_password(text: &str) -> Option<Self> {
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
        bytes.try_into().map(Self).ok()
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

/// The user name of HTTP Basic authentication: `<tenant>/<cabinet>`. An identity's own text has colons, which it may not have.
pub fn user_name(tenant: &TenantId, cabinet: &CabinetId) -> String {
    format!("{tenant}/{cabinet}")
}

/// The opposite of [`user_name`].
pub fn from_user_name(text: &str) -> Option<(TenantId, CabinetId)> {
    let (tenant, cabinet) = text.split_once('/')?;
    Some((tenant.parse().ok()?, cabinet.parse().ok()?))
}

cbor_map! {
    #[derive(Clone, PartialEq, Eq)]
    struct Wire {
        1 => tenant: TenantId,
        2 => site: SiteId,
        3 => cabinet: CabinetId,
        4 => device_serial: String,
        5 => instance: Instance,
        6 => secret: Blob,
        7 => expires: FleetMillis,
        8 => host: String,
        9 => mqtt_port: u16,
        10 => enrolment_port: u16,
        11 => tls_root: Blob,
        12 => keyset_roots: Vec<Blob>,
    }
}

/// A one-time right to enrol one cabinet, and everything by which the cabinet knows its fleet.
///
/// As text: `LF1`, then base32 (RFC 4648, without padding) of four bytes of checksum and the CBOR map. Its alphabet is that of
/// the dense mode of QR codes.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub tenant: TenantId,
    pub site: SiteId,
    pub cabinet: CabinetId,
    /// Of the cabinet's computer: the token is of no use on another one.
    pub device_serial: String,
    /// What signatures for this installation will be bound to.
    pub instance: Instance,
    pub secret: TokenSecret,
    pub expires: FleetMillis,
    pub host: String,
    pub mqtt_port: u16,
    pub enrolment_port: u16,
    /// SHA-256 of the DER of the TLS root.
    pub tls_root: [u8; 32],
    /// Ed25519 public keys of the two roots of keysets.
    pub keyset_roots: [[u8; 32]; 2],
}

/// Why a text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("no enrolment token: it has to begin with `{PREFIX}`, as printed by `fleet cabinet add`")]
    NotAToken,
    #[error("the enrolment token is damaged or not whole; copy all of it again")]
    Damaged,
    #[error("the enrolment token has a field that cannot be: make a new one with `fleet cabinet add`")]
    Content,
}

impl fmt::Display for Token {
    /// The whole token, with its secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wire = Wire {
            tenant: self.tenant.clone(),
            site: self.site.clone(),
            cabinet: self.cabinet.clone(),
            device_serial: self.device_serial.clone(),
            instance: self.instance,
            secret: Blob(self.secret.0.to_vec()),
            expires: self.expires,
            host: self.host.clone(),
            mqtt_port: self.mqtt_port,
            enrolment_port: self.enrolment_port,
            tls_root: Blob(self.tls_root.to_vec()),
            keyset_roots: self.keyset_roots.iter().map(|root| Blob(root.to_vec())).collect(),
        };
        let body = cbor::encode(&wire);
        let bytes = [&Sha256::digest(&body)[..CHECKSUM], &body].concat();
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&bytes))
    }
}

/// Without the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}/{}/{} for {})", self.tenant, self.site, self.cabinet, self.device_serial)
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Reads a token. White space in it is passed over, and letters may be small: it may have come by mail.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let plain: String = text.chars().filter(|c| !c.is_whitespace()).take(TOKEN_MAX + 1).collect();
        let plain = plain.to_ascii_uppercase();
        let body = plain.strip_prefix(PREFIX).ok_or(TokenError::NotAToken)?;
        if plain.len() > TOKEN_MAX {
            return Err(TokenError::Damaged);
        }
        let bytes = BASE32_NOPAD.decode(body.as_bytes()).map_err(|_| TokenError::Damaged)?;
        let (checksum, body) = bytes.split_at_checked(CHECKSUM).ok_or(TokenError::Damaged)?;
        if Sha256::digest(body)[..CHECKSUM] != *checksum {
            return Err(TokenError::Damaged);
        }
        let wire: Wire = cbor::decode(body).map_err(|_| TokenError::Content)?;
        Self::checked(wire).ok_or(TokenError::Content)
    }
}

impl Token {
    fn checked(wire: Wire) -> Option<Self> {
        let key = |blob: &Blob| <[u8; 32]>::try_from(blob.0.as_slice()).ok();
        let [first, second] = wire.keyset_roots.as_slice() else { return None };
        let keyset_roots = [key(first)?, key(second)?];
        let host_fits = !wire.host.is_empty() && wire.host.len() <= HOST_MAX && wire.host.chars().all(is_host);
        if keyset_roots[0] == keyset_roots[1] || !host_fits || wire.mqtt_port == 0 || wire.enrolment_port == 0 {
            return None;
        }
        Some(Self {
            device_serial: Some(wire.device_serial).filter(|serial| is_device_serial(serial))?,
            tenant: wire.tenant,
            site: wire.site,
            cabinet: wire.cabinet,
            instance: wire.instance,
            secret: TokenSecret(wire.secret.0.try_into().ok()?),
            expires: wire.expires,
            host: wire.host,
            mqtt_port: wire.mqtt_port,
            enrolment_port: wire.enrolment_port,
            tls_root: key(&wire.tls_root)?,
            keyset_roots,
        })
    }
}

fn is_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._".contains(c)
}

/// Whether `text` can be the serial number of a cabinet's computer: 1 to 64 printable ASCII characters without spaces.
pub fn is_device_serial(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            tenant: "acme".parse().unwrap(),
            site: "berlin".parse().unwrap(),
            cabinet: "berlin-01".parse().unwrap(),
            device_serial: "LF-0007".into(),
            instance: Instance([7; 16]),
            secret: TokenSecret::new([9; 16]),
            expires: 1_800_000_000_000,
            host: "lockers.example.com".into(),
            mqtt_port: 8883,
            enrolment_port: 8884,
            tls_root: [1; 32],
            keyset_roots: [[2; 32], [3; 32]],
        }
    }

    #[test]
    fn a_token_is_read_as_it_was_written_also_from_a_mail() {
        let text = token().to_string();
        assert_eq!(text.parse::<Token>().unwrap(), token());
        let folded: String = text
            .to_lowercase()
            .as_bytes()
            .chunks(60)
            .flat_map(|line| [line, b" \r\n"].concat())
            .map(char::from)
            .collect();
        assert_eq!(folded.parse::<Token>().unwrap(), token());
        assert!(text.len() < 420, "{} characters", text.len());
    }

    #[test]
    fn a_token_of_this_version_has_pinned_bytes() {
        let text = token().to_string();
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
        assert_eq!((&text[..24], &hash[..16]), ("LF1SB3M7NFMAFSGCY3NMUBGM", "22518497aad857c3"));
    }

    #[test]
    fn a_wrong_letter_is_noticed() {
        let text = token().to_string();
        for at in PREFIX.len()..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
            let wrong = String::from_utf8(wrong).unwrap();
            // The last letter may hold bits that mean nothing; those are refused too.
            assert_eq!(wrong.parse::<Token>(), Err(TokenError::Damaged), "letter {at}");
        }
        for cut in PREFIX.len()..text.len() {
            assert!(text[..cut].parse::<Token>().is_err(), "{cut} letters");
        }
        for (text, why) in
            [("", TokenError::NotAToken), ("LF2ABC", TokenError::NotAToken), ("LF1", TokenError::Damaged)]
        {
            assert_eq!(text.parse::<Token>(), Err(why), "{text:?}");
        }
        assert_eq!(format!("LF1{}", "A".repeat(TOKEN_MAX)).parse::<Token>(), Err(TokenError::Damaged));
    }

    #[test]
    fn impossible_fields_are_refused() {
        let good = token();
        for bad in [
            Token { keyset_roots: [[2; 32]; 2], ..good.clone() },
            Token { host: String::new(), ..good.clone() },
            Token { host: "a b".into(), ..good.clone() },
            Token { host: "evil.example/?x".into(), ..good.clone() },
            Token { mqtt_port: 0, ..good.clone() },
            Token { enrolment_port: 0, ..good.clone() },
            Token { device_serial: "two words".into(), ..good.clone() },
        ] {
            assert_eq!(bad.to_string().parse::<Token>(), Err(TokenError::Content), "{bad:?}");
        }
    }

    #[test]
    fn the_secret_shows_nowhere_but_in_the_token_itself() {
        let debug = format!("{:?} {:?}", token(), token().secret);
        assert!(!debug.contains(&token().secret.password()) && !debug.contains("09"), "{debug}");
        let secret = TokenSecret::from_password(&token().secret.password().to_lowercase()).unwrap();
        assert_eq!(secret.hash(), token().secret.hash());
        assert!(TokenSecret::from_password("AAAA").is_none());
    }

    #[test]
    fn a_user_name_names_the_cabinet() {
        let (tenant, cabinet) = ("acme".parse().unwrap(), "c1".parse().unwrap());
        assert_eq!(from_user_name(&user_name(&tenant, &cabinet)), Some((tenant, cabinet)));
        for bad in ["acme", "/c1", "acme/", "acme/c1/x", "ACME/c1"] {
            assert_eq!(from_user_name(bad), None, "{bad}");
        }
    }
}
