//! What goes wrong between a person and the fleet, said so that the person knows what to do.

use std::error::Error;
use std::io;
use std::time::Duration;

use certs::LoadError;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode};
use rumqttc::v5::{ConnectionError, StateError};
use schemas::ids::{IdError, Identity};

/// Why the fleet was not reached, or did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Folder(#[from] LoadError),
    #[error("{0} may not do this; use an integration's folder")]
    NotAnIntegration(Identity),
    #[error("nothing answers at {address} ({reason}); check that the broker runs, and the address in fleet.toml")]
    Unreachable { address: String, reason: String },
    #[error("host of {address} is not known ({reason}); check the address in fleet.toml, and the network")]
    UnknownHost { address: String, reason: String },
    #[error("{address} is not this fleet's broker ({reason}); check the address and root.crt")]
    ServerRefused { address: String, reason: String },
    #[error("the fleet does not take the certificate of {identity} ({reason}); ask an operator for a new folder")]
    CertificateRefused { identity: Identity, reason: String },
    #[error("the fleet does not let {identity} in; it was revoked or belongs to another fleet; ask an operator")]
    NotAdmitted { identity: Identity },
    #[error("{identity} has too many sessions open; close another one first")]
    TooManySessions { identity: Identity },
    #[error("the fleet refused the connection: {reason}")]
    ConnectionRefused { reason: String },
    /// A message was answered with an error: its reason string, or the name of the reason code.
    #[error("the fleet refused the message: {reason}")]
    Refused { reason: String },
    #[error("the fleet does not let {identity} read {filter}: {reason}")]
    Subscription { identity: Identity, filter: String, reason: String },
    #[error("{what} took longer than {} s; see `fleet cabinet list` for whether the cabinet is online", after.as_secs())]
    Timeout { what: &'static str, after: Duration },
    #[error("the connection to the fleet was lost: {reason}")]
    Lost { reason: String },
    #[error("{what} of the fleet cannot be read ({reason}); `fleet` and broker may be of different versions")]
    Unreadable { what: &'static str, reason: String },
    #[error("the message has {size} bytes, more than the {max} that the fleet takes")]
    TooLong { size: usize, max: usize },
    #[error("this machine gives no random bytes")]
    NoRandom(#[from] getrandom::Error),
    #[error("make a client id")]
    ClientId(#[from] IdError),
}

impl ClientError {
    /// What the fleet itself said, where it said something.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused { reason } | Self::Subscription { reason, .. } | Self::Lost { reason } => Some(reason),
            Self::Folder(_)
            | Self::NotAnIntegration(_)
            | Self::Unreachable { .. }
            | Self::UnknownHost { .. }
            | Self::ServerRefused { .. }
            | Self::CertificateRefused { .. }
            | Self::NotAdmitted { .. }
            | Self::TooManySessions { .. }
            | Self::ConnectionRefused { .. }
            | Self::Timeout { .. }
            | Self::Unreadable { .. }
            | Self::TooLong { .. }
            | Self::NoRandom(_)
            | Self::ClientId(_) => None,
        }
    }

    /// Whether the folder is what has to change.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Folder(_) | Self::NotAnIntegration(_))
    }

    /// Whether the same attempt can succeed later: the broker starts, or the network comes back.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::UnknownHost { .. } | Self::Timeout { .. } | Self::Lost { .. })
    }
}

/// Where and as whom a connection was tried.
pub(super) struct Attempt<'a> {
    pub(super) address: &'a str,
    pub(super) identity: &'a Identity,
}

impl Attempt<'_> {
    /// Why it did not come to a session.
    pub(super) fn failed(&self, error: &ConnectionError) -> ClientError {
        let (address, identity) = (self.address.to_owned(), self.identity.clone());
        if let ConnectionError::ConnectionRefused(code) = error {
            return self.refused(*code);
        }
        if let Some(tls) = tls_cause(error) {
            let reason = tls.to_string();
            // An alert is the server's verdict on us; everything else is ours on the server.
            return match matches!(tls, rustls::Error::AlertReceived(_)) {
                true => ClientError::CertificateRefused { identity, reason },
                false => ClientError::ServerRefused { address, reason },
            };
        }
        let reason = innermost(error);
        if let Some(io) = io_cause(error)
            && io.raw_os_error().is_none()
            && io.to_string().contains("lookup address")
        {
            return ClientError::UnknownHost { address, reason };
        }
        ClientError::Unreachable { address, reason }
    }

    fn refused(&self, code: ConnectReturnCode) -> ClientError {
        let identity = self.identity.clone();
        if [ConnectReturnCode::NotAuthorized, ConnectReturnCode::Banned].contains(&code) {
            ClientError::NotAdmitted { identity }
        } else if code == ConnectReturnCode::QuotaExceeded {
            ClientError::TooManySessions { identity }
        } else if [ConnectReturnCode::ServerBusy, ConnectReturnCode::ServerUnavailable].contains(&code) {
            ClientError::ConnectionRefused { reason: "it is busy; try again in a minute".to_owned() }
        } else {
            ClientError::ConnectionRefused { reason: words(&format!("{code:?}")) }
        }
    }
}

/// Why a session ended.
pub(super) fn ended(error: &ConnectionError) -> String {
    let ConnectionError::MqttState(state) = error else { return innermost(error) };
    if matches!(state, StateError::ConnectionAborted) {
        return "closed by the other side".to_owned();
    }
    let StateError::ServerDisconnect { reason_code, reason_string } = state else { return innermost(state) };
    if let Some(text) = reason_string {
        text.clone()
    } else if *reason_code == DisconnectReasonCode::SessionTakenOver {
        "the same identity connected from elsewhere".to_owned()
    } else {
        words(&format!("{reason_code:?}"))
    }
}

/// `QuotaExceeded` as `quota exceeded`.
pub(super) fn words(name: &str) -> String {
    let mut text = String::new();
    for (index, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && index > 0 {
            text.push(' ');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| next_cause(*error))
}

/// What an error wraps, also where it does not say so: an I/O error shows the source of what it wraps instead, and
/// rumqttc's errors of reading a packet show nothing.
fn next_cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    if let Some(StateError::Deserialization(inner)) = error.downcast_ref::<StateError>() {
        return Some(inner);
    }
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn tls_cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn io_cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    const CLOSED: [io::ErrorKind; 4] = [
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::BrokenPipe,
    ];
    if io_cause(error).is_some_and(|io| CLOSED.contains(&io.kind())) {
        return "closed by the other side".to_owned();
    }
    let last = causes(error).last().map(ToString::to_string).unwrap_or_default();
    last.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(error: &ConnectionError) -> ClientError {
        let identity = "operator:acme:eve".parse().unwrap();
        Attempt { address: "lockers.example.com:8883", identity: &identity }.failed(error)
    }

    fn tls(error: rustls::Error) -> ConnectionError {
        ConnectionError::Io(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn a_refused_port_says_where_and_what_to_check() {
        let error = said(&ConnectionError::Io(io::Error::from_raw_os_error(111)));
        let text = error.to_string();
        assert!(text.contains("lockers.example.com:8883") && text.contains("broker runs"), "{text}");
        assert!(error.may_pass());
    }

    #[test]
    fn an_alert_is_about_ones_own_certificate_and_anything_else_about_the_servers() {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateExpired);
        assert!(matches!(said(&tls(alert)), ClientError::CertificateRefused { .. }));
        // TLS 1.3: the verdict on the client comes with the first packet.
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
        let read = rumqttc::v5::mqttbytes::Error::Io(io::Error::new(io::ErrorKind::InvalidData, alert));
        let late = ConnectionError::MqttState(StateError::Deserialization(read));
        assert!(matches!(said(&late), ClientError::CertificateRefused { .. }));
        let other = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let error = said(&tls(other));
        assert!(matches!(error, ClientError::ServerRefused { .. }));
        assert!(!error.may_pass());
    }

    #[test]
    fn refusals_of_the_broker_are_told_apart() {
        let refused = |code| said(&ConnectionError::ConnectionRefused(code));
        assert!(matches!(refused(ConnectReturnCode::NotAuthorized), ClientError::NotAdmitted { .. }));
        assert!(matches!(refused(ConnectReturnCode::QuotaExceeded), ClientError::TooManySessions { .. }));
        let text = refused(ConnectReturnCode::UnsupportedProtocolVersion).to_string();
        assert_eq!(text, "the fleet refused the connection: unsupported protocol version");
    }

    #[test]
    fn the_servers_own_words_win() {
        let disconnect = |reason_string| {
            ConnectionError::MqttState(StateError::ServerDisconnect {
                reason_code: DisconnectReasonCode::SessionTakenOver,
                reason_string,
            })
        };
        assert_eq!(ended(&disconnect(Some("revoked".to_owned()))), "revoked");
        assert_eq!(ended(&disconnect(None)), "the same identity connected from elsewhere");
    }

    #[test]
    fn a_connection_that_breaks_is_said_without_the_librarys_words() {
        let eof = io::Error::new(io::ErrorKind::UnexpectedEof, "peer closed connection without sending close_notify");
        let read = rumqttc::v5::mqttbytes::Error::Io(eof);
        let error = ConnectionError::MqttState(StateError::Deserialization(read));
        assert_eq!(ended(&error), "closed by the other side");
    }
}
