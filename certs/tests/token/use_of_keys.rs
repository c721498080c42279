//! Keys that are made in a token, sign, and go again.

use std::sync::Arc;
use std::time::SystemTime;

use certs::{
    Authority, CertificateAuthority, CertificationRequest, ClientRoots, Ed25519Key, Ed25519Token, LeafKey, LeafRequest,
    P256Key, P256Token, ServerRoots, TlsIdentity, client_config, generate_p256, server_config, sweep_token,
    system_clock, write_token_uri,
};
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use ed25519_dalek::VerifyingKey;
use p256::ecdsa::signature::Verifier as _;
use rustls::{ClientConnection, ServerConnection};
use schemas::crypto::envelope::{self, Scope, public_entry};
use schemas::messages::KeyPurpose;

use crate::bench::{pin, with_tokens};

#[test]
fn a_key_is_made_in_the_token_and_signs_there() {
    with_tokens("use_of_keys::a_key_is_made_in_the_token_and_signs_there", &["safe"], |bench| {
        let made = P256Token::make(&bench.key("safe", "tls"), None).unwrap();
        let signature = p256::ecdsa::Signature::from_der(&made.sign(b"hello").unwrap()).unwrap();
        p256::ecdsa::VerifyingKey::from(made.public_key()).verify(b"hello", &signature).unwrap();
        // With its id it is found again, also by its written name.
        let again = P256Token::open(&made.uri().to_string().parse().unwrap(), None).unwrap();
        assert_eq!(again.public_key(), made.public_key());

        let made = Ed25519Token::make(&bench.without_pin("safe", "unlock"), Some(&pin())).unwrap();
        let signature = ed25519_dalek::Signature::from_bytes(&made.sign(b"hello").unwrap());
        VerifyingKey::from_bytes(&made.public_key()).unwrap().verify_strict(b"hello", &signature).unwrap();
        let path = bench.folder.join("unlock.key");
        write_token_uri(&path, made.uri()).unwrap();
        let named = Ed25519Key::open(&path, Some(&pin())).unwrap();
        assert_eq!(named.public_key(), made.public_key());
        let tenant = "acme".parse().unwrap();
        let scope = Scope::Tenant { tenant: &tenant, purpose: KeyPurpose::Keyset };
        let signed = envelope::try_sign(vec![0x01], scope, &named).unwrap();
        assert!(envelope::open(&signed, scope, &[public_entry(&named, KeyPurpose::Keyset)]).is_ok());
    });
}

/// Asked of the token by hand, not by the code that made it.
#[test]
fn what_is_made_cannot_be_taken_out_and_only_signs() {
    with_tokens("use_of_keys::what_is_made_cannot_be_taken_out_and_only_signs", &["safe"], |bench| {
        P256Token::make(&bench.key("safe", "a"), None).unwrap();
        Ed25519Token::make(&bench.key("safe", "b"), None).unwrap();
        let session = bench.session("safe");
        let keys = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap();
        assert_eq!(keys.len(), 2);
        for key in keys {
            let wanted = [
                Attribute::Local(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::AlwaysSensitive(true),
                Attribute::Extractable(false),
                Attribute::NeverExtractable(true),
                Attribute::Sign(true),
                Attribute::Decrypt(false),
                Attribute::Derive(false),
                Attribute::SignRecover(false),
                Attribute::Unwrap(false),
            ];
            let asked: Vec<AttributeType> = wanted.iter().map(Attribute::attribute_type).collect();
            assert_eq!(session.get_attributes(key, &asked).unwrap(), wanted);
            assert_eq!(session.get_attributes(key, &[AttributeType::Value]).unwrap(), []);
        }
    });
}

#[test]
fn a_cabinet_asks_for_a_certificate_and_connects_with_a_key_in_a_token() {
    with_tokens(
        "use_of_keys::a_cabinet_asks_for_a_certificate_and_connects_with_a_key_in_a_token",
        &["safe"],
        |bench| {
            let (now, fleet) = (SystemTime::now(), "acme".parse().unwrap());
            let key: P256Key = P256Token::make(&bench.key("safe", "c1"), None).unwrap().into();
            let request = CertificationRequest::make(&key, Some("LF-1")).unwrap();
            let request = CertificationRequest::read(&request).unwrap();
            let root = CertificateAuthority::new_root(&fleet, generate_p256().unwrap(), now).unwrap();
            let below = |authority| root.new_intermediate(authority, generate_p256().unwrap(), now).unwrap();
            let (servers, cabinets, people) =
                (below(Authority::Servers), below(Authority::Cabinets), below(Authority::People));
            let issued =
                cabinets.issue(&LeafRequest::client("cabinet:acme:c1".parse().unwrap()), &request.key, now).unwrap();

            let path = bench.folder.join("current.pem");
            TlsIdentity::write_bundle(&path, &key, &[issued.certificate]).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("pkcs11:") && !text.contains("PRIVATE"), "{text}");
            let own = TlsIdentity::read_bundle(&path).unwrap();
            assert_eq!(TlsIdentity::token_uri_of_bundle(&path).unwrap().as_ref(), key.uri());

            let server_key = generate_p256().unwrap();
            let asked =
                LeafRequest::server("server:acme:broker".parse().unwrap(), vec!["localhost".try_into().unwrap()]);
            let issued = servers.issue(&asked, &LeafKey::from(&server_key), now).unwrap();
            let server_path = bench.folder.join("server.pem");
            let chain = [issued.certificate, servers.certificate().clone()];
            let server = TlsIdentity::write_bundle(&server_path, &server_key.into(), &chain).unwrap();
            let roots = ClientRoots::new(
                std::slice::from_ref(cabinets.certificate()),
                std::slice::from_ref(people.certificate()),
            )
            .unwrap();
            let server_config = server_config(&server, &roots, system_clock()).unwrap();
            let trusted = ServerRoots::new(std::slice::from_ref(root.certificate()), "acme".parse().unwrap()).unwrap();
            let client_config = client_config(&own, &trusted, system_clock()).unwrap();
            let mut client = ClientConnection::new(Arc::new(client_config), "localhost".try_into().unwrap()).unwrap();
            let mut server = ServerConnection::new(Arc::new(server_config)).unwrap();
            while client.is_handshaking() || server.is_handshaking() {
                let mut wire = Vec::new();
                client.write_tls(&mut wire).unwrap();
                server.read_tls(&mut wire.as_slice()).unwrap();
                server.process_new_packets().unwrap();
                let mut wire = Vec::new();
                server.write_tls(&mut wire).unwrap();
                client.read_tls(&mut wire.as_slice()).unwrap();
                client.process_new_packets().unwrap();
            }
            let shown = roots.identity_of(server.peer_certificates().unwrap(), now).unwrap();
            assert_eq!(shown.identity.to_string(), "cabinet:acme:c1");
        },
    );
}

#[test]
fn tidying_up_leaves_named_keys_and_those_of_others() {
    with_tokens("use_of_keys::tidying_up_leaves_named_keys_and_those_of_others", &["safe"], |bench| {
        let (own, other) = (bench.key("safe", "c1"), bench.key("safe", "c10"));
        let kept = P256Token::make(&own, None).unwrap();
        let mut gone = vec![P256Token::make(&own, None).unwrap()];
        gone.push(P256Token::make(&own, None).unwrap());
        let neighbour = P256Token::make(&other, None).unwrap();
        let named = [kept.uri().clone()];
        assert_eq!(sweep_token(&own, &named, None).unwrap(), 2);
        assert_eq!(sweep_token(&own, &named, None).unwrap(), 0);
        for key in [kept, neighbour] {
            P256Token::open(key.uri(), None).unwrap().sign(b"x").unwrap();
        }
        for key in gone {
            let error = P256Token::open(key.uri(), None).unwrap_err().to_string();
            assert!(error.contains("has no private key `c1`, id "), "{error}");
        }
        let left = bench.session("safe").find_objects(&[]).unwrap();
        assert_eq!(left.len(), 4, "two pairs, no public half of a key that is gone");
    });
}

#[test]
fn several_threads_sign_with_one_key() {
    with_tokens("use_of_keys::several_threads_sign_with_one_key", &["safe"], |bench| {
        let key = P256Token::make(&bench.key("safe", "c1"), None).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..20_u8).for_each(|n| drop(key.sign(&[n]).unwrap())));
            }
        });
    });
}

#[test]
fn one_of_several_tokens_is_found_by_what_it_says_of_itself() {
    with_tokens(
        "use_of_keys::one_of_several_tokens_is_found_by_what_it_says_of_itself",
        &["same", "same", "x"],
        |bench| {
            let error = P256Token::make(&bench.key("same", "c1"), None).unwrap_err().to_string();
            assert_eq!(error, "several tokens are `same`; name one by its serial number, serial=…");
            let library = cryptoki::context::Pkcs11::new(&bench.library).unwrap();
            let slots = library.get_slots_with_token().unwrap();
            let infos: Vec<_> = slots.into_iter().map(|slot| library.get_token_info(slot).unwrap()).collect();
            let same: Vec<_> = infos.iter().filter(|info| info.label() == "same").collect();
            assert_eq!(same.len(), 2);
            for info in same {
                let named = format!("token=same;serial={};model=SoftHSM%20v2;object=c1", info.serial_number());
                P256Token::make(&bench.named(&named, "same"), None).unwrap().sign(b"x").unwrap();
            }
            let other = bench.named("token=same;model=Other;object=c1", "same");
            assert!(
                P256Token::open(&other, None).unwrap_err().to_string().starts_with("there is no token `same`, model")
            );
        },
    );
}
