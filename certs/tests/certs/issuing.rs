//! What the CAs issue and refuse, and what their files say when something is wrong.

use std::error::Error;
use std::fs;
use std::time::Duration;

use crate::fleet::{DAY, Fleet, localhost, now};
use certs::{
    Authority, CertificateAuthority, CertificateDer, ClientRoots, Fingerprint, IssueError, LeafKey, LeafRequest,
    LoadError, Passphrase, ServerRoots, Subject, Summary, TlsIdentity, check_certificate_file, generate_p256,
    read_certificates, write_p256, write_public,
};
use p256::pkcs8::EncodePublicKey;
use x509_parser::parse_x509_certificate;

fn client(identity: &str) -> LeafRequest {
    LeafRequest::client(identity.parse().unwrap())
}

/// An error and its causes in one line, as a program prints them.
fn line(error: &dyn Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", line(cause))).unwrap_or_default();
    format!("{error}{cause}")
}

#[test]
fn a_leaf_carries_its_identity_and_nothing_more_than_its_role_needs() {
    let fleet = Fleet::new();
    let key = generate_p256().unwrap();
    let issued = fleet.cabinets.issue(&client("cabinet:acme:one"), &LeafKey::from(&key), now()).unwrap();
    assert_eq!(issued.summary.subject, Subject::Leaf("cabinet:acme:one".parse().unwrap()));
    assert_eq!(issued.summary.not_before, now() - DAY / 24);
    assert_eq!(issued.summary.not_after, now() + DAY * 730);
    assert_eq!(issued.summary.public_key, key.public_key());
    assert_eq!(issued.pem().matches("BEGIN CERTIFICATE").count(), 1);

    let (_, parsed) = parse_x509_certificate(&issued.certificate).unwrap();
    assert_eq!(parsed.key_usage().unwrap().unwrap().value.flags, 1, "digital signature alone");
    let basic = parsed.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && !basic.value.ca);
    assert_eq!(parsed.subject().to_string(), "O=acme, OU=cabinet, CN=one");
}

#[test]
fn the_cas_are_limited_to_one_step_and_one_side() {
    let fleet = Fleet::new();
    for (ca, length, server, client) in [
        (&fleet.servers, 0, true, false),
        (&fleet.cabinets, 0, false, true),
        (&fleet.people, 0, false, true),
        (&fleet.root, 1, false, false),
    ] {
        let (_, parsed) = parse_x509_certificate(ca.certificate()).unwrap();
        let basic = parsed.basic_constraints().unwrap().unwrap();
        assert!(basic.critical && basic.value.ca);
        assert_eq!(basic.value.path_len_constraint, Some(length));
        assert!(parsed.key_usage().unwrap().unwrap().value.key_cert_sign());
        let usage = parsed.extended_key_usage().unwrap();
        let usage = usage.as_ref().map_or((false, false), |found| (found.value.server_auth, found.value.client_auth));
        assert_eq!(usage, (server, client), "{}", ca.authority());
    }
}

#[test]
fn serial_numbers_do_not_repeat() {
    let fleet = Fleet::new();
    let key = LeafKey::from(&generate_p256().unwrap());
    let serial = || fleet.people.issue(&client("operator:acme:eve"), &key, now()).unwrap().summary.serial;
    assert_ne!(serial(), serial());
}

#[test]
fn each_authority_issues_its_own_roles_only() {
    let fleet = Fleet::new();
    let key = LeafKey::from(&generate_p256().unwrap());
    for authority in [&fleet.root, &fleet.servers, &fleet.cabinets, &fleet.people] {
        for role in schemas::ids::Role::ALL {
            let mut request = client(&format!("{role}:acme:one"));
            if Authority::of(role) == Authority::Servers {
                request.names.push(localhost());
            }
            let issued = authority.issue(&request, &key, now());
            assert_eq!(issued.is_ok(), Authority::of(role) == authority.authority(), "{role}");
        }
    }
    let key = generate_p256().unwrap();
    let error = fleet.cabinets.new_intermediate(Authority::People, key.clone(), now()).unwrap_err().to_string();
    assert_eq!(error, "the cabinets' CA does not issue certificates for the operators' CA");
    assert!(matches!(fleet.root.new_intermediate(Authority::Root, key, now()), Err(IssueError::WrongIssuer { .. })));
}

#[test]
fn a_server_needs_a_name_and_a_client_may_have_none() {
    let fleet = Fleet::new();
    let key = LeafKey::from(&generate_p256().unwrap());
    let nameless = LeafRequest::server("server:acme:gate".parse().unwrap(), Vec::new());
    assert!(matches!(fleet.servers.issue(&nameless, &key, now()), Err(IssueError::NoServerName)));
    let mut named = client("cabinet:acme:one");
    named.names.push(localhost());
    assert!(matches!(fleet.cabinets.issue(&named, &key, now()), Err(IssueError::ClientWithServerName(_))));
}

#[test]
fn a_lifetime_can_be_shortened_only_and_ends_with_the_ca() {
    let fleet = Fleet::new();
    let key = LeafKey::from(&generate_p256().unwrap());
    let mut request = client("technician:acme:tom");
    for bad in [Duration::ZERO, DAY * 91] {
        request.lifetime = Some(bad);
        assert!(matches!(fleet.people.issue(&request, &key, now()), Err(IssueError::Lifetime { longest: 90, .. })));
    }
    request.lifetime = Some(DAY);
    assert_eq!(fleet.people.issue(&request, &key, now()).unwrap().summary.not_after, now() + DAY);

    let end = now() + Authority::People.lifetime();
    request.lifetime = None;
    assert_eq!(fleet.people.issue(&request, &key, end - DAY).unwrap().summary.not_after, end);
    let error = fleet.people.issue(&request, &key, end).unwrap_err().to_string();
    assert_eq!(error, "the certificate of the operators' CA expired on 2032-11-20; make a new one first");
}

#[test]
fn nothing_is_issued_by_a_clock_that_was_never_set() {
    let fleet = Fleet::new();
    let never = std::time::UNIX_EPOCH + DAY;
    let error = CertificateAuthority::new_root(&"acme".parse().unwrap(), generate_p256().unwrap(), never).unwrap_err();
    assert_eq!(error.to_string(), "the clock of this machine says 1970-01-02; set it before issuing certificates");
    let key = LeafKey::from(&generate_p256().unwrap());
    for wrong in [never, now() + DAY * 365 * 200, std::time::UNIX_EPOCH - DAY] {
        let refused = fleet.cabinets.issue(&client("cabinet:acme:one"), &key, wrong);
        assert!(matches!(refused, Err(IssueError::Clock(_))));
    }
}

#[test]
fn a_public_key_from_a_device_is_taken_if_it_is_p256() {
    let key = generate_p256().unwrap().public_key();
    let spki = key.to_public_key_der().unwrap();
    assert!(LeafKey::from_spki_der(spki.as_bytes()).is_ok());
    let mut trailing = spki.as_bytes().to_vec();
    trailing.push(0);
    let mut off_the_curve = spki.as_bytes().to_vec();
    *off_the_curve.last_mut().unwrap() ^= 1;
    let signing = certs::generate_ed25519().unwrap().verifying_key().to_public_key_der().unwrap();
    for bad in [&[][..], &trailing, &off_the_curve, signing.as_bytes(), &spki.as_bytes()[..60]] {
        assert!(matches!(LeafKey::from_spki_der(bad), Err(IssueError::PublicKey)));
    }
}

#[test]
fn a_ca_survives_its_files() {
    let fleet = Fleet::new();
    let (certificate, key) = (fleet.path("ca.pem"), fleet.path("ca.key"));
    let passphrase = Passphrase::new("correct horse");
    write_public(&certificate, fleet.cabinets.certificate_pem().as_bytes()).unwrap();
    write_p256(&key, fleet.cabinets.key(), Some(&passphrase)).unwrap();

    let error = CertificateAuthority::open(&certificate, &key, None).unwrap_err();
    assert_eq!(error.to_string(), format!("key `{}` is encrypted; give its passphrase", key.display()));
    let opened = CertificateAuthority::open(&certificate, &key, Some(&passphrase)).unwrap();
    assert_eq!(opened.authority(), Authority::Cabinets);
    assert_eq!(opened.fleet().as_str(), "acme");
    let leaf = opened.issue(&client("cabinet:acme:one"), &LeafKey::from(&generate_p256().unwrap()), now()).unwrap();
    assert!(fleet.client_roots().identity_of(&[leaf.certificate], now()).is_ok());
}

#[test]
fn files_that_do_not_belong_together_are_named() {
    let fleet = Fleet::new();
    let (ca, ca_key) = (fleet.path("ca.pem"), fleet.path("ca.key"));
    write_public(&ca, fleet.cabinets.certificate_pem().as_bytes()).unwrap();
    write_p256(&ca_key, fleet.people.key(), None).unwrap();
    let wanted = format!(
        "certificate `{}` does not belong to key `{}`; use the two that were made together",
        ca.display(),
        ca_key.display()
    );
    assert_eq!(CertificateAuthority::open(&ca, &ca_key, None).unwrap_err().to_string(), wanted);

    let leaf = fleet.path("leaf.pem");
    let key = LeafKey::from(&generate_p256().unwrap());
    let issued = fleet.cabinets.issue(&client("cabinet:acme:one"), &key, now()).unwrap();
    write_public(&leaf, issued.pem().as_bytes()).unwrap();
    assert!(matches!(TlsIdentity::read(&leaf, &ca_key, None), Err(LoadError::KeyMismatch { .. })));
    assert!(matches!(TlsIdentity::read(&ca, &ca_key, None), Err(LoadError::WrongSubject { .. })));
    assert!(matches!(CertificateAuthority::open(&leaf, &ca_key, None), Err(LoadError::WrongSubject { .. })));
    let missing = fleet.path("none.pem");
    let error = TlsIdentity::read(&missing, &ca_key, None).unwrap_err().to_string();
    assert_eq!(error, format!("`{}` does not exist", missing.display()));
}

#[test]
fn roots_come_from_files_and_swapped_files_are_named() {
    let fleet = Fleet::new();
    let (cabinets, people, root) = (fleet.path("cabinets.pem"), fleet.path("people.pem"), fleet.path("root.pem"));
    write_public(&cabinets, fleet.cabinets.certificate_pem().repeat(2).as_bytes()).unwrap();
    write_public(&people, fleet.people.certificate_pem().as_bytes()).unwrap();
    write_public(&root, fleet.root.certificate_pem().as_bytes()).unwrap();
    assert_eq!(read_certificates(&cabinets).unwrap().len(), 2);
    assert!(ClientRoots::from_files(&cabinets, &people).is_ok());
    assert!(ServerRoots::from_file(&root, "acme".parse().unwrap()).is_ok());
    let error = ClientRoots::from_files(&people, &cabinets).unwrap_err().to_string();
    let path = people.display();
    assert_eq!(
        error,
        format!("certificate `{path}` is of the operators' CA of acme; expected that of the cabinets' CA")
    );
}

#[test]
fn a_certificate_file_outside_its_time_says_so_in_one_line() {
    let fleet = Fleet::new();
    let path = fleet.path("cabinet.pem");
    let key = LeafKey::from(&generate_p256().unwrap());
    let issued = fleet.cabinets.issue(&client("cabinet:acme:one"), &key, now()).unwrap();
    write_public(&path, issued.pem().as_bytes()).unwrap();

    let summary = check_certificate_file(&path, now()).unwrap();
    assert_eq!(summary, issued.summary);
    assert_eq!(summary.fingerprint, Fingerprint::of(&issued.certificate));
    assert!(check_certificate_file(&path, summary.not_after).is_ok());
    let name = path.display();
    for (time, wanted) in [
        (now() + DAY * 731, format!("certificate `{name}` expired on 2028-11-21; replace it with a newly issued one")),
        (now() - DAY, format!("certificate `{name}` is valid only from 2026-11-21; check the clock of this machine")),
    ] {
        assert_eq!(line(&check_certificate_file(&path, time).unwrap_err()), wanted);
    }
}

#[test]
fn unreadable_certificate_files_are_named() {
    let fleet = Fleet::new();
    let path = fleet.path("bad.pem");
    let name = path.display().to_string();
    for (text, wanted) in [
        ("", "holds no certificate in PEM"),
        ("nonsense", "holds no certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", "holds no certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "cannot be used: not a valid X.509"),
    ] {
        fs::write(&path, text).unwrap();
        let error = line(&check_certificate_file(&path, now()).unwrap_err());
        assert!(error.contains(&name) && error.contains(wanted), "{text:?}: {error}");
    }
}

#[test]
fn no_changed_or_shortened_certificate_is_believed() {
    let fleet = Fleet::new();
    let key = LeafKey::from(&generate_p256().unwrap());
    let good = fleet.cabinets.issue(&client("cabinet:acme:one"), &key, now()).unwrap().certificate;
    let roots = fleet.client_roots();
    assert!(roots.identity_of(std::slice::from_ref(&good), now()).is_ok());
    for at in 0..good.len() {
        let shorter = CertificateDer::from(&good[..at]);
        assert!(Summary::read(&shorter).is_err() && roots.identity_of(&[shorter], now()).is_err(), "{at}");
        for bit in 0..8 {
            let mut changed = good.to_vec();
            changed[at] ^= 1 << bit;
            assert!(roots.identity_of(&[changed.into()], now()).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn debug_output_holds_no_key() {
    let fleet = Fleet::new();
    let own = fleet.client("cabinet:acme:one");
    assert!(format!("{own:?}").starts_with("TlsIdentity { summary: Summary { subject: Leaf(cabinet:acme:one), "));
    assert!(format!("{own:?}").ends_with(" }, .. }"));
    assert_eq!(format!("{:?}", fleet.cabinets), "CertificateAuthority { authority: Cabinets, fleet: acme, .. }");
}
