//! What the fleet and the signer say to each other. The signer is a process of its own: the only one with keys.

use schemas::cbor::Blob;
use schemas::ids::{CabinetId, TenantId};
use schemas::messages::{
    Book, Command, ConfigCommand, CredentialId, CredentialKind, FleetMillis, FleetTime, Instance, OpenOrder, OrderKey,
    PepperOffer, Verifier,
};
use schemas::{cbor_map, cbor_union};
use zeroize::{Zeroize, ZeroizeOnDrop};

cbor_map! {
    /// Sign with the key of purpose `unlock`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SignCommand {
        1 => tenant: TenantId,
        2 => cabinet: CabinetId,
        3 => instance: Instance,
        4 => command: Command,
    }
}

cbor_map! {
    /// Sign as [`CodesMessage::Book`](schemas::messages::CodesMessage) with the key of purpose `codes`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SignBook {
        1 => tenant: TenantId,
        2 => cabinet: CabinetId,
        3 => instance: Instance,
        4 => book: Book,
    }
}

cbor_map! {
    /// Sign as [`CodesMessage::Time`](schemas::messages::CodesMessage) with the key of purpose `codes`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SignTime {
        1 => tenant: TenantId,
        2 => cabinet: CabinetId,
        3 => instance: Instance,
        4 => time: FleetTime,
    }
}

cbor_map! {
    /// Sign as [`CodesMessage::Open`](schemas::messages::CodesMessage) with the key of purpose `codes`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SignOpen {
        1 => tenant: TenantId,
        2 => cabinet: CabinetId,
        3 => instance: Instance,
        4 => open: OpenOrder,
    }
}

cbor_map! {
    /// One secret to make, or to derive anew for another pepper.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SecretItem {
        /// Echoed in [`SecretMade`].
        1 => id: CredentialId,
        2 => kind: CredentialKind,
        /// Digits or letters of a new secret that is typed. Means nothing for a token, and beside `sealed`.
        3 => digits: u8,
        /// An existing secret: derive its verifier only.
        4 opt => sealed: Option<Blob>,
        /// It is the answer to the second factor of this order, as [`AnswerKept`] has it, and no code.
        50 opt => answers: Option<OrderKey>,
    }
}

cbor_map! {
    /// Make secrets for a cabinet, or verifiers of existing ones, with the cabinet's pepper.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct MakeSecrets {
        1 => tenant: TenantId,
        2 => cabinet: CabinetId,
        3 => instance: Instance,
        4 => pepper: PepperOffer,
        5 => items: Vec<SecretItem>,
    }
}

cbor_map! {
    /// Make a secret without a verifier: a PIN that is derived for each cabinet later.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct MakeSealed {
        1 => tenant: TenantId,
        2 => kind: CredentialKind,
        /// As in [`SecretItem`].
        3 => digits: u8,
    }
}

cbor_map! {
    /// Open a sealed secret, for a notification or a PIN. Asked by the shell, never by the core.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Reveal {
        1 => tenant: TenantId,
        2 => sealed: Blob,
    }
}

cbor_map! {
    /// Issue a certificate to a cabinet's key, with the cabinets' CA.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct IssueCertificate {
        1 => tenant: TenantId,
        2 => cabinet: CabinetId,
        /// SubjectPublicKeyInfo in DER.
        3 => key: Blob,
        4 => now: FleetMillis,
    }
}

cbor_map! {
    /// Sign with the key of purpose `config`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SignConfig {
        1 => tenant: TenantId,
        2 => cabinet: CabinetId,
        3 => instance: Instance,
        4 => command: ConfigCommand,
    }
}

cbor_map! {
    /// Open the phone number of a walk-in, which a cabinet has sealed to the key of the pepper.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct OpenPhone {
        1 => tenant: TenantId,
        2 => cabinet: CabinetId,
        3 => instance: Instance,
        4 => order: OrderKey,
        5 => sealed: Blob,
    }
}

cbor_map! {
    /// Take the answer to the second factor of an order, which was sealed to the key of the pepper when it came, into the signer's own
    /// keeping: peppers' keys are replaced, and the order may be kept for long.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct KeepAnswer {
        1 => tenant: TenantId,
        2 => order: OrderKey,
        3 => sealed: Blob,
    }
}

cbor_union! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum SignerRequest {
        1 => SignCommand(SignCommand),
        2 => SignBook(SignBook),
        3 => SignTime(SignTime),
        4 => MakeSecrets(MakeSecrets),
        5 => MakeSealed(MakeSealed),
        6 => Reveal(Reveal),
        7 => IssueCertificate(IssueCertificate),
        8 => SignConfig(SignConfig),
        11 => OpenPhone(OpenPhone),
        12 => KeepAnswer(KeepAnswer),
        13 => SignOpen(SignOpen),
    }
}

cbor_map! {
    /// Answer to each kind of signing: a COSE_Sign1.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Envelope { 1 => envelope: Blob }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SecretMade {
        1 => id: CredentialId,
        2 => verifier: Verifier,
        3 => sealed: Blob,
    }
}

cbor_map! {
    /// Answer to [`MakeSecrets`], in the order of its items. One whose sealed secret cannot be opened is left out.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Secrets { 1 => items: Vec<SecretMade> }
}

cbor_map! {
    /// Answer to [`MakeSealed`].
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Sealed { 1 => sealed: Blob }
}

cbor_map! {
    /// Answer to [`Reveal`].
    #[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
    pub struct Revealed { 1 => text: String }
}

/// Holds a code.
impl std::fmt::Debug for Revealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Revealed(..)")
    }
}

cbor_map! {
    /// Answer to [`IssueCertificate`]: X.509 in DER.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Certificate { 1 => certificate: Blob }
}

cbor_map! {
    /// Answer to [`OpenPhone`]. Left out: it was not sealed to this signer by that cabinet, or is no phone number.
    #[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
    pub struct PhoneOpened { 1 opt => phone: Option<String> }
}

/// Personal data.
impl std::fmt::Debug for PhoneOpened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PhoneOpened(..)")
    }
}

cbor_map! {
    /// Answer to [`KeepAnswer`].
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AnswerKept {
        1 => sealed: Blob,
        /// The same for the same answer to the same order. Who has not the signer's key learns nothing by it.
        2 => tag: Blob,
    }
}

cbor_map! {
    /// The signer did not do it. The reason holds no secret.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Failed { 1 => reason: String }
}

cbor_union! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum SignerReply {
        1 => Envelope(Envelope),
        2 => Secrets(Secrets),
        3 => Sealed(Sealed),
        4 => Revealed(Revealed),
        5 => Failed(Failed),
        6 => Certificate(Certificate),
        11 => PhoneOpened(PhoneOpened),
        12 => AnswerKept(AnswerKept),
    }
}

#[cfg(test)]
mod tests {
    use schemas::cbor;

    use super::*;

    #[test]
    fn requests_and_replies_read_back_as_themselves() {
        let request = SignerRequest::from(MakeSealed {
            tenant: "acme".parse().unwrap(),
            kind: CredentialKind::Digits,
            digits: 8,
        });
        assert_eq!(cbor::decode::<SignerRequest>(&cbor::encode(&request)), Ok(request));
        let reply = SignerReply::from(Failed { reason: "key file is gone".into() });
        assert_eq!(cbor::decode::<SignerReply>(&cbor::encode(&reply)), Ok(reply));
    }

    #[test]
    fn a_revealed_code_shows_in_no_debug_output() {
        let reply = SignerReply::from(Revealed { text: "12345678".into() });
        assert!(!format!("{reply:?}").contains("1234"));
    }
}
