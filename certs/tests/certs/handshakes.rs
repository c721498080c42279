//! Real rustls handshakes in memory: who gets in, who does not, and by whose word.

use std::sync::Arc;
use std::time::SystemTime;

use crate::fleet::mint::{mint, params};
use crate::fleet::{DAY, Fleet, Pair, clock_at, localhost, now};
use certs::{
    CertificateDer, ClientClock, ClientRoots, IdentityError, LeafRequest, ServerRoots, client_config, server_config,
};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use rustls::crypto::ring::default_provider;
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, HandshakeKind, PeerIncompatible, RootCertStore, version,
};

use rustls_pki_types::UnixTime;

fn peer(pair: &Pair) -> Vec<CertificateDer<'static>> {
    pair.server.peer_certificates().unwrap().to_vec()
}

/// A client that checks nothing of its own certificate: what a thief would run.
fn thief(fleet: &Fleet, chain: Vec<CertificateDer<'static>>, key: &p256::SecretKey) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(fleet.root.certificate().clone()).unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(crate::fleet::mint::pair(key));
    let config = ClientConfig::builder_with_details(Arc::new(default_provider()), clock_at(now()))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key.into())
        .unwrap();
    Arc::new(config)
}

fn der(pem: &str) -> CertificateDer<'static> {
    use rustls_pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// The broker's word on a client with a certificate that `authority` signed with `params`.
fn word_on(fleet: &Fleet, authority: &certs::CertificateAuthority, params: &rcgen::CertificateParams) -> Error {
    let minted = mint(authority, params);
    let chain = vec![der(&minted.pem), authority.certificate().clone()];
    Pair::refused_by_server(thief(fleet, chain, &minted.key), fleet.server_config())
}

#[test]
fn every_client_role_gets_in_as_itself() {
    let fleet = Fleet::new();
    let (server, roots) = (fleet.server_config(), fleet.client_roots());
    for role in ["cabinet", "integration", "operator", "staff", "support", "technician", "auditor"] {
        let identity = format!("{role}:acme:one");
        let pair = Pair::connect(fleet.client_config(&identity), server.clone());
        let found = roots.identity_of(&peer(&pair), now()).unwrap();
        assert_eq!(found.identity.to_string(), identity);
        assert_eq!(found.serial.as_str().len(), 40);
        assert_eq!(pair.server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        assert_eq!(pair.server.alpn_protocol(), Some(certs::ALPN_MQTT));
        assert_eq!(pair.server.peer_certificates().unwrap().len(), 1, "a client sends its leaf only");
    }
}

#[test]
fn the_client_learns_which_server_it_reached() {
    let fleet = Fleet::new();
    let pair = Pair::connect(fleet.client_config("cabinet:acme:one"), fleet.server_config());
    let chain = pair.client.peer_certificates().unwrap();
    assert_eq!(fleet.server_roots().identity_of(chain, now()).unwrap().identity.to_string(), "server:acme:gate");
}

#[test]
fn a_client_without_alpn_is_served() {
    let fleet = Fleet::new();
    let mut client = ClientConfig::clone(&fleet.client_config("integration:acme:shop"));
    client.alpn_protocols.clear();
    assert_eq!(Pair::connect(Arc::new(client), fleet.server_config()).server.alpn_protocol(), None);
}

#[test]
fn a_resumed_session_gives_the_same_identity_and_its_end_is_seen() {
    let fleet = Fleet::new();
    let (client, server, roots) =
        (fleet.client_config("cabinet:acme:one"), fleet.server_config(), fleet.client_roots());
    let first = Pair::connect(client.clone(), server.clone());
    assert_eq!(first.server.handshake_kind(), Some(HandshakeKind::Full));
    let second = Pair::connect(client, server);
    assert_eq!(second.server.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(roots.identity_of(&peer(&first), now()).unwrap(), roots.identity_of(&peer(&second), now()).unwrap());
    assert!(matches!(
        roots.identity_of(&peer(&second), now() + DAY * 1000),
        Err(IdentityError::Refused { source: Error::InvalidCertificate(CertificateError::ExpiredContext { .. }), .. })
    ));
}

#[test]
fn a_ticket_is_worth_nothing_after_the_settings_are_made_anew() {
    let fleet = Fleet::new();
    let client = fleet.client_config("cabinet:acme:one");
    Pair::connect(client.clone(), fleet.server_config());
    let again = Pair::connect(client, fleet.server_config());
    assert_eq!(again.server.handshake_kind(), Some(HandshakeKind::Full));
}

#[test]
fn plaintext_is_refused() {
    let fleet = Fleet::new();
    let mut server = rustls::ServerConnection::new(fleet.server_config()).unwrap();
    // An MQTT 5 CONNECT.
    server.read_tls(&mut &b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02c1"[..]).unwrap();
    assert!(matches!(server.process_new_packets(), Err(Error::InvalidMessage(_))));
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let fleet = Fleet::new();
    let mut roots = RootCertStore::empty();
    roots.add(fleet.root.certificate().clone()).unwrap();
    let client = ClientConfig::builder_with_details(Arc::new(default_provider()), clock_at(now()))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let error = Pair::refused_by_server(Arc::new(client), fleet.server_config());
    assert_eq!(error, Error::NoCertificatesPresented);
}

#[test]
fn a_client_that_speaks_tls_1_2_only_is_refused() {
    let fleet = Fleet::new();
    let mut roots = RootCertStore::empty();
    roots.add(fleet.root.certificate().clone()).unwrap();
    let client = ClientConfig::builder_with_details(Arc::new(default_provider()), clock_at(now()))
        .with_protocol_versions(&[&version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let error = Pair::refused_by_server(Arc::new(client), fleet.server_config());
    assert_eq!(error, Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled));
}

#[test]
fn a_client_of_another_fleet_is_refused() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    for identity in ["cabinet:acme:one", "operator:acme:eve"] {
        let stranger = client_config(&other.client(identity), &fleet.server_roots(), clock_at(now())).unwrap();
        let error = Pair::refused_by_server(Arc::new(stranger), fleet.server_config());
        assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
    }
}

#[test]
fn the_cabinets_ca_cannot_make_an_operator_and_the_operators_ca_no_cabinet() {
    let fleet = Fleet::new();
    for (authority, urn) in [
        (&fleet.cabinets, "urn:locker-fleet:operator:acme:eve"),
        (&fleet.cabinets, "urn:locker-fleet:integration:acme:shop"),
        (&fleet.people, "urn:locker-fleet:cabinet:acme:one"),
        (&fleet.servers, "urn:locker-fleet:cabinet:acme:one"),
        (&fleet.root, "urn:locker-fleet:operator:acme:eve"),
    ] {
        let error = word_on(&fleet, authority, &params(&[urn]));
        assert_eq!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer), "{urn}");
    }
}

#[test]
fn a_ca_made_by_the_cabinets_ca_vouches_for_nobody() {
    let fleet = Fleet::new();
    let mut below = params(&["urn:locker-fleet-ca:cabinets:acme"]);
    below.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    below.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let below_ca = mint(&fleet.cabinets, &below);
    let issuer = rcgen::Issuer::from_ca_cert_pem(&below_ca.pem, crate::fleet::mint::pair(&below_ca.key)).unwrap();
    let key = certs::generate_p256().unwrap();
    let leaf =
        params(&["urn:locker-fleet:cabinet:acme:one"]).signed_by(&crate::fleet::mint::pair(&key), &issuer).unwrap();
    let chain = vec![leaf.der().clone(), der(&below_ca.pem), fleet.cabinets.certificate().clone()];
    let error = Pair::refused_by_server(thief(&fleet, chain, &key), fleet.server_config());
    assert_eq!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer));
}

#[test]
fn a_certificate_without_exactly_one_identity_is_refused() {
    let fleet = Fleet::new();
    let (one, two) = ("urn:locker-fleet:cabinet:acme:one", "urn:locker-fleet:cabinet:acme:two");
    for (uris, wanted) in [
        (&[][..], "0 URIs"),
        (&[one, two], "2 URIs"),
        (&[one, "https://example.org"], "2 URIs"),
        (&["https://example.org"], "not of a fleet"),
        (&["urn:locker-fleet:cabinet:acme:One"], "not of a fleet"),
        (&["urn:locker-fleet:cabinet:acme:one~two"], "not of a fleet"),
    ] {
        let error = word_on(&fleet, &fleet.cabinets, &params(uris)).to_string();
        assert!(error.contains(wanted), "{uris:?}: {error}");
    }
}

#[test]
fn a_client_certificate_with_other_names_or_usages_is_refused() {
    let fleet = Fleet::new();
    let good = params(&["urn:locker-fleet:cabinet:acme:one"]);
    let mut named = good.clone();
    named.subject_alt_names.push(SanType::DnsName("localhost".try_into().unwrap()));
    assert!(word_on(&fleet, &fleet.cabinets, &named).to_string().contains("a name that its role may not have"));
    for usages in [
        vec![],
        vec![ExtendedKeyUsagePurpose::ServerAuth],
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::Any],
    ] {
        let mut other = good.clone();
        other.extended_key_usages = usages;
        let error = word_on(&fleet, &fleet.cabinets, &other).to_string();
        assert!(error.contains("not for client authentication only"), "{error}");
    }
}

#[test]
fn a_server_certificate_does_not_get_in_as_a_client() {
    let fleet = Fleet::new();
    let mut server = params(&["urn:locker-fleet:server:acme:gate"]);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for authority in [&fleet.servers, &fleet.people] {
        assert!(word_on(&fleet, authority, &server).to_string().contains("presented by a client"));
    }
    let error = client_config(&fleet.server(), &fleet.server_roots(), clock_at(now())).unwrap_err().to_string();
    assert_eq!(error, "server:acme:gate cannot be the client of a connection");
}

#[test]
fn an_expired_and_a_future_certificate_are_refused_with_their_alert() {
    let fleet = Fleet::new();
    let client = fleet.client_config("technician:acme:tom");
    for (time, alert) in
        [(now() + DAY * 91, AlertDescription::CertificateExpired), (now() - DAY, AlertDescription::CertificateExpired)]
    {
        let server = server_config(&fleet.server(), &fleet.client_roots(), clock_at(time)).unwrap();
        let (of_client, of_server) = Pair::new(client.clone(), Arc::new(server)).run();
        assert!(matches!(of_server, Some(Error::InvalidCertificate(_))), "{of_server:?}");
        assert_eq!(of_client, Some(Error::AlertReceived(alert)));
    }
}

#[test]
fn no_leaf_counts_after_its_ca_expired_and_an_old_ca_counts_beside_a_new_one() {
    let (fleet, new) = (Fleet::new(), Fleet::new());
    let cabinets = [fleet.cabinets.certificate().clone(), new.cabinets.certificate().clone()];
    let roots = ClientRoots::new(&cabinets, &[fleet.people.certificate().clone()]).unwrap();
    let server = Arc::new(server_config(&fleet.server(), &roots, clock_at(now())).unwrap());
    for of in [&fleet, &new] {
        let client = client_config(&of.client("cabinet:acme:one"), &fleet.server_roots(), clock_at(now())).unwrap();
        let pair = Pair::connect(Arc::new(client), server.clone());
        assert!(roots.identity_of(&peer(&pair), now()).is_ok());
        let error = roots.identity_of(&peer(&pair), now() + DAY * 365 * 7).unwrap_err().to_string();
        assert_eq!(error, "the certificate of the cabinets' CA expired on 2032-11-20; trust a newer one");
    }
}

/// The client's word on a server with a certificate that `authority` signed with `params`.
fn word_on_server(fleet: &Fleet, authority: &certs::CertificateAuthority, params: &rcgen::CertificateParams) -> Error {
    let minted = mint(authority, params);
    let verifier = Arc::new(rustls::server::NoClientAuth);
    let chain = vec![der(&minted.pem), authority.certificate().clone()];
    let server = rustls::ServerConfig::builder_with_details(Arc::new(default_provider()), clock_at(now()))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            chain,
            rustls_pki_types::PrivatePkcs8KeyDer::from(crate::fleet::mint::pair(&minted.key)).into(),
        )
        .unwrap();
    let mut client = ClientConfig::clone(&fleet.client_config("cabinet:acme:two"));
    client.alpn_protocols.clear();
    Pair::refused_by_client(Arc::new(client), Arc::new(server))
}

#[test]
fn a_cabinet_or_its_ca_cannot_pose_as_the_server() {
    let fleet = Fleet::new();
    // A stolen cabinet certificate; even one with a server's host name.
    let cabinet = params(&["urn:locker-fleet:cabinet:acme:one"]);
    assert!(word_on_server(&fleet, &fleet.cabinets, &cabinet).to_string().contains("is not a server"));
    // The stolen key of a client CA, which writes what it likes into a leaf.
    let mut server = params(&["urn:locker-fleet:server:acme:gate"]);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.subject_alt_names.push(SanType::DnsName("localhost".try_into().unwrap()));
    for authority in [&fleet.cabinets, &fleet.people] {
        let error = word_on_server(&fleet, authority, &server);
        assert!(
            matches!(error, Error::InvalidCertificate(CertificateError::InvalidPurposeContext { .. })),
            "{error:?}"
        );
    }
    // A plain leaf and a client CA as server are no settings of ours either.
    let error = server_config(&fleet.client("cabinet:acme:one"), &fleet.client_roots(), clock_at(now())).unwrap_err();
    assert_eq!(error.to_string(), "cabinet:acme:one cannot be the server of a connection");
}

#[test]
fn a_server_of_another_tenant_name_or_fleet_is_refused() {
    let (fleet, stranger) = (Fleet::new(), Fleet::new());
    let server = |request: &LeafRequest, of: &Fleet| {
        Arc::new(server_config(&of.issue(request), &fleet.client_roots(), clock_at(now())).unwrap())
    };
    let client = fleet.client_config("cabinet:acme:one");

    let other_tenant = LeafRequest::server("server:other:gate".parse().unwrap(), vec![localhost()]);
    let error = Pair::refused_by_client(client.clone(), server(&other_tenant, &fleet)).to_string();
    assert!(error.contains("not a server of tenant acme"), "{error}");

    let names = vec!["example.org".try_into().unwrap(), "127.0.0.1".try_into().unwrap()];
    let other_name = LeafRequest::server("server:acme:gate".parse().unwrap(), names);
    let error = Pair::refused_by_client(client.clone(), server(&other_name, &fleet));
    assert!(matches!(error, Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })), "{error}");

    let good = LeafRequest::server("server:acme:gate".parse().unwrap(), vec![localhost()]);
    let error = Pair::refused_by_client(client, server(&good, &stranger));
    assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
}

#[test]
fn a_client_uses_its_own_clock() {
    let fleet = Fleet::new();
    let own = fleet.client("cabinet:acme:one");
    let late = client_config(&own, &fleet.server_roots(), clock_at(now() + DAY * 398)).unwrap();
    let error = Pair::refused_by_client(Arc::new(late), fleet.server_config());
    assert!(matches!(error, Error::InvalidCertificate(CertificateError::ExpiredContext { .. })), "{error}");
}

/// A clock that says the earliest time that it can be, or the time.
#[derive(Debug)]
struct Since(SystemTime, bool);

impl TimeProvider for Since {
    fn current_time(&self) -> Option<UnixTime> {
        clock_at(self.0).current_time()
    }
}

impl ClientClock for Since {
    fn is_earliest(&self) -> bool {
        self.1
    }
}

#[test]
fn a_client_that_knows_only_the_earliest_time_takes_what_began_later_and_nothing_that_has_ended() {
    let fleet = Fleet::new();
    let own = fleet.client("cabinet:acme:one");
    let at = |time, earliest| {
        let clock = Arc::new(Since(time, earliest));
        Arc::new(certs::client_config_without_time(&own, &fleet.server_roots(), clock).unwrap())
    };
    let long_ago = now() - DAY * 9_000;
    assert_eq!(Pair::new(at(long_ago, true), fleet.server_config()).run(), (None, None));
    let error = Pair::refused_by_client(at(long_ago, false), fleet.server_config());
    assert!(matches!(error, Error::InvalidCertificate(CertificateError::NotValidYetContext { .. })), "{error}");
    let error = Pair::refused_by_client(at(now() + DAY * 398, true), fleet.server_config());
    assert!(matches!(error, Error::InvalidCertificate(CertificateError::ExpiredContext { .. })), "{error}");
}

#[test]
fn an_address_is_a_server_name_too() {
    let fleet = Fleet::new();
    let names = vec!["127.0.0.1".try_into().unwrap(), "::1".try_into().unwrap()];
    let own = fleet.issue(&LeafRequest::server("server:acme:gate".parse().unwrap(), names));
    let server = server_config(&own, &fleet.client_roots(), clock_at(now())).unwrap();
    let client = fleet.client_config("cabinet:acme:one");
    let mut pair = Pair::new(client.clone(), Arc::new(server));
    pair.client = rustls::ClientConnection::new(client, "127.0.0.1".try_into().unwrap()).unwrap().into();
    assert_eq!(pair.run(), (None, None));
}

#[test]
fn an_empty_chain_and_a_ca_as_peer_have_no_identity() {
    let fleet = Fleet::new();
    let (clients, servers) = (fleet.client_roots(), fleet.server_roots());
    let ca = [fleet.cabinets.certificate().clone()];
    assert!(matches!(clients.identity_of(&[], now()), Err(IdentityError::NoCertificate)));
    assert!(matches!(servers.identity_of(&[], now()), Err(IdentityError::NoCertificate)));
    assert!(matches!(clients.identity_of(&ca, now()), Err(IdentityError::NotALeaf)));
    assert!(matches!(servers.identity_of(&ca, now()), Err(IdentityError::NotALeaf)));
}

#[test]
fn swapped_and_missing_roots_are_found_when_they_are_given() {
    let fleet = Fleet::new();
    let (cabinets, people) = ([fleet.cabinets.certificate().clone()], [fleet.people.certificate().clone()]);
    let error = ClientRoots::new(&people, &cabinets).unwrap_err().to_string();
    assert_eq!(error, "the operators' CA of acme was given as the cabinets' CA");
    assert_eq!(
        ClientRoots::new(&cabinets, &[]).unwrap_err().to_string(),
        "no certificate of the operators' CA was given"
    );
    let tenant: schemas::ids::TenantId = "acme".parse().unwrap();
    assert!(ServerRoots::new(&cabinets, tenant.clone()).is_err());
    assert!(ServerRoots::new(&[], tenant).is_err());
}
