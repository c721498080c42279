//! Certificates and keys of a fleet: who issues what, how they are kept in files, and how rustls uses them.
//!
//! One offline root, and three authorities below it:
//!
//! ```text
//! root ─┬─ servers' CA    serverAuth   server
//!       ├─ cabinets' CA   clientAuth   cabinet                                              (online)
//!       └─ operators' CA  clientAuth   operator, staff, support, technician, integration, auditor
//! ```
//!
//! Servers get a CA of their own so that renewing a server's certificate does not bring the root out of its safe.
//! Which role may come from which authority is enforced by signatures, not by names: a broker trusts the cabinets' and
//! the operators' CA as separate anchors and checks each leaf against the anchor of its role, with nothing in between,
//! so whoever owns the online cabinets' CA cannot make an operator. A client trusts the root; the root limits each CA
//! to one extended key usage and a path length of zero, so only the servers' CA can make a server.
//!
//! Time comes in as an argument or as a rustls [`TimeProvider`](rustls::time_provider::TimeProvider): a cabinet without
//! a clock battery has its own idea of it.

mod authority;
mod certificate;
mod csr;
mod files;
mod held;
mod keys;
mod link;
mod load;
mod peers;
mod pkcs7;
mod profile;
mod tls;
mod token;

pub use authority::{CertificateAuthority, IssueError, Issued, LeafKey, LeafRequest, to_pem};
pub use certificate::{CertificateError, Fingerprint, Serial, SerialError, Subject, Summary};
pub use csr::{CSR_MAX, CertificationRequest, CsrError, DEVICE_SERIAL_MAX};
pub use files::{
    FileError, create_private, destroy_file, ensure_private_dir, read_private, remove_file, rename_file,
    replace_private, write_public,
};
pub use held::{Ed25519Key, P256Key, write_token_uri};
pub use keys::{
    KeyError, Passphrase, generate_ed25519, generate_p256, is_encrypted, read_ed25519, read_p256, write_ed25519,
    write_p256,
};
pub use link::{LinkCertificates, LinkError, link_authority_pem, link_server_config};
pub use load::{LoadError, TlsIdentity, check_certificate_file, read_certificates};
pub use peers::{ClientRoots, IdentityError, PeerIdentity, ServerRoots};
pub use pkcs7::{BUNDLE_MAX, BundleError, bundle, unbundle};
pub use profile::{Authority, Profile, Usage, profile};
pub use rustls_pki_types::{CertificateDer, ServerName};
pub use tls::{
    ALPN_HTTP, ALPN_MQTT, ALPN_SIGNER, ClientClock, ServerPeer, client_config, client_config_without_time,
    enrolment_client_config, enrolment_server_config, first_contact_config, server_config, signer_client_config,
    signer_server_config, system_clock,
};
pub use token::{Ed25519Token, P256Token, TOKENS, TokenError, TokenUri, URI_MAX, UriError, sweep_token};
