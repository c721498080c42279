//! Every rule that a client can break: its name for counters and logs, and the reason code that answers it.

use std::fmt;

use rumqttd::protocol::{ConnectReturnCode, DisconnectReasonCode};

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident => $name:literal, $code:ident;)*) => {
        /// A rule that a client broke. Each is counted under its name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Rule {
            $($(#[$doc])* $variant,)*
        }

        impl Rule {
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            /// The name in counters and logs.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The reason code of the DISCONNECT that answers it, where it ends a connection.
            pub(super) fn disconnect_code(self) -> DisconnectReasonCode {
                match self {
                    $(Self::$variant => DisconnectReasonCode::$code,)*
                }
            }
        }
    };
}

rules! {
    // the shape of packets
    Malformed => "malformed", MalformedPacket;
    /// A type that a server does not receive, or not now; AUTH and all of QoS 2's handshake too.
    UnexpectedPacket => "unexpected-packet", ProtocolError;
    ProtocolError => "protocol-error", ProtocolError;
    PacketTooLarge => "packet-too-large", PacketTooLarge;
    TooManyProperties => "too-many-properties", ImplementationSpecificError;
    TooManyFilters => "too-many-filters", QuotaExceeded;
    // what CONNECT may not ask for
    OldProtocol => "old-protocol", ProtocolError;
    UnknownProtocol => "unknown-protocol", ProtocolError;
    Will => "will", ImplementationSpecificError;
    RetainedWill => "retained-will", RetainNotSupported;
    QosTwoWill => "qos2-will", QoSNotSupported;
    Login => "login", NotAuthorized;
    ExtendedAuth => "extended-auth", ProtocolError;
    PacketMaximumTooSmall => "packet-maximum-too-small", PacketTooLarge;
    ClientIdInvalid => "client-id-invalid", ProtocolError;
    /// The client id names somebody else than the certificate.
    ClientIdForeign => "client-id-foreign", NotAuthorized;
    NoClientRole => "no-client-role", NotAuthorized;
    NotAdmitted => "not-admitted", NotAuthorized;
    TooManySessions => "too-many-sessions", QuotaExceeded;
    TooManyConnections => "too-many-connections", ServerBusy;
    // what an open connection may not do
    QosTwo => "qos2", QoSNotSupported;
    Retained => "retained", RetainNotSupported;
    TopicAlias => "topic-alias", TopicAliasInvalid;
    SubscriptionId => "subscription-id", SubscriptionIdentifiersNotSupported;
    SharedSubscription => "shared-subscription", SharedSubscriptionNotSupported;
    /// A PUBACK for a packet id that the gate has not in flight.
    UnawaitedPuback => "unawaited-puback", ProtocolError;
    ReceiveMaximum => "receive-maximum", ReceiveMaximumExceeded;
    PacketIdInUse => "packet-id-in-use", ProtocolError;
    /// A consumer answered a durable row with an error. It gets the row again when it comes back.
    RowRefused => "row-refused", ImplementationSpecificError;
    // the access list
    UnknownTopic => "unknown-topic", TopicNameInvalid;
    ForeignTenant => "foreign-tenant", NotAuthorized;
    ForeignTopic => "foreign-topic", NotAuthorized;
    NotForRole => "not-for-role", NotAuthorized;
    /// A cabinet that the person's scope leaves out.
    OutOfScope => "out-of-scope", NotAuthorized;
    WrongQos => "wrong-qos", NotAuthorized;
    /// Rows in a form that there is not, or in another one than the open stream has.
    ContentType => "content-type", ImplementationSpecificError;
    ForeignResponseTopic => "foreign-response-topic", NotAuthorized;
    UnknownFilter => "unknown-filter", TopicFilterInvalid;
    Wildcard => "wildcard", WildcardSubscriptionsNotSupported;
    /// A stream has one consumer, the session without suffix.
    SuffixStream => "suffix-stream", NotAuthorized;
    TooManySubscriptions => "too-many-subscriptions", QuotaExceeded;
}

impl Rule {
    /// The reason code of the CONNACK that answers it, where it ends a connection before it began. A rule that a
    /// CONNECT cannot break is a protocol error there.
    pub(super) fn connect_code(self) -> ConnectReturnCode {
        match self {
            Self::Malformed => ConnectReturnCode::MalformedPacket,
            Self::PacketTooLarge | Self::PacketMaximumTooSmall => ConnectReturnCode::PacketTooLarge,
            Self::OldProtocol | Self::UnknownProtocol => ConnectReturnCode::UnsupportedProtocolVersion,
            Self::Will | Self::TooManyProperties => ConnectReturnCode::ImplementationSpecificError,
            Self::RetainedWill | Self::Retained => ConnectReturnCode::RetainNotSupported,
            Self::QosTwoWill | Self::QosTwo => ConnectReturnCode::QoSNotSupported,
            Self::Login => ConnectReturnCode::BadUserNamePassword,
            Self::ExtendedAuth => ConnectReturnCode::BadAuthenticationMethod,
            Self::ClientIdInvalid => ConnectReturnCode::ClientIdentifierNotValid,
            Self::ClientIdForeign | Self::NoClientRole | Self::NotAdmitted => ConnectReturnCode::NotAuthorized,
            Self::TooManySessions => ConnectReturnCode::QuotaExceeded,
            Self::TooManyConnections => ConnectReturnCode::ServerBusy,
            Self::UnexpectedPacket
            | Self::ProtocolError
            | Self::TooManyFilters
            | Self::TopicAlias
            | Self::SubscriptionId
            | Self::SharedSubscription
            | Self::UnawaitedPuback
            | Self::ReceiveMaximum
            | Self::PacketIdInUse
            | Self::RowRefused
            | Self::UnknownTopic
            | Self::ForeignTenant
            | Self::ForeignTopic
            | Self::NotForRole
            | Self::OutOfScope
            | Self::WrongQos
            | Self::ContentType
            | Self::ForeignResponseTopic
            | Self::UnknownFilter
            | Self::Wildcard
            | Self::SuffixStream
            | Self::TooManySubscriptions => ConnectReturnCode::ProtocolError,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A broken rule that ends the connection, with the words that the client gets to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offence {
    pub(super) rule: Rule,
    pub(super) detail: &'static str,
}

impl Offence {
    pub(super) fn new(rule: Rule, detail: &'static str) -> Self {
        Self { rule, detail }
    }
}
