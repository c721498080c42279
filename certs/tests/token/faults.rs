//! What goes wrong with tokens, and what is said of it.

use std::fs;

use certs::{CertificationRequest, Ed25519Token, P256Key, P256Token, TokenError, sweep_token};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::types::AuthPin;

use crate::bench::{Bench, PIN, pin, replace, with_tokens};

const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

fn refusal(bench: &Bench, object: &str) -> String {
    P256Token::open(&bench.key("safe", object), None).unwrap_err().to_string()
}

#[test]
fn a_token_that_is_not_there_is_named() {
    with_tokens("faults::a_token_that_is_not_there_is_named", &["safe"], |bench| {
        let error = P256Token::open(&bench.key("other", "c1"), None).unwrap_err().to_string();
        let library = bench.library.display();
        assert_eq!(
            error,
            format!(
                "there is no token `other`; plug it in, or see which ones there are: `pkcs11-tool --module {library} -L`"
            )
        );
    });
}

#[test]
fn a_library_that_cannot_be_loaded_is_named() {
    with_tokens("faults::a_library_that_cannot_be_loaded_is_named", &["safe"], |bench| {
        let text = bench.folder.join("text.so");
        fs::write(&text, "no library").unwrap();
        for (path, why) in [
            ("/nowhere/p11.so", "No such file"),
            (text.to_str().unwrap(), "too short"),
            // A library, and none of PKCS#11.
            ("/proc/self/exe", ""),
        ] {
            let uri = format!("pkcs11:token=safe;object=a?module-path={path}").parse().unwrap();
            let error = P256Token::open(&uri, Some(&pin())).unwrap_err().to_string();
            assert!(error.starts_with(&format!("load PKCS#11 library `{path}`: ")) && error.contains(why), "{error}");
            assert!(error.ends_with("is the token's software installed, for this kind of machine?"), "{error}");
        }
    });
}

#[test]
fn a_wrong_pin_is_refused_and_not_tried_again() {
    with_tokens("faults::a_wrong_pin_is_refused_and_not_tried_again", &["safe"], |bench| {
        let file = bench.pin_file("safe");
        for wrong in ["314159", "3", &"9".repeat(300)] {
            replace(&file, wrong);
            for _ in 0..2 {
                let error = refusal(bench, "c1");
                assert!(error.starts_with("token `safe` refuses this PIN; it is not tried again"), "{error}");
            }
        }
        replace(&file, &format!("{PIN}\n"));
        P256Token::make(&bench.key("safe", "c1"), None).unwrap();
        // Even if it were the right one by now, it is not shown to the token again.
        bench.session("safe").set_pin(&AuthPin::from(PIN.to_owned()), &AuthPin::from("314159".to_owned())).unwrap();
        replace(&file, "314159");
        let error = refusal(bench, "c1");
        assert!(error.starts_with("token `safe` refuses this PIN; it is not tried again"), "{error}");
    });
}

#[test]
fn a_pin_that_cannot_be_read_is_never_guessed() {
    use std::os::unix::fs::PermissionsExt as _;
    with_tokens("faults::a_pin_that_cannot_be_read_is_never_guessed", &["safe"], |bench| {
        let file = bench.pin_file("safe");
        for bad in ["", "\n", "27 18\n28", "2718\r\n", "\0"] {
            replace(&file, bad);
            let error = P256Token::open(&bench.key("safe", "c1"), Some(&pin())).unwrap_err();
            assert!(matches!(&error, TokenError::PinText(path) if *path == file), "{bad:?}: {error}");
        }
        replace(&file, PIN);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = P256Token::open(&bench.key("safe", "c1"), None).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.to_string() == "read the PIN" && source.contains("chmod 600"), "{error}: {source}");
        fs::remove_file(&file).unwrap();
        let error = P256Token::open(&bench.key("safe", "c1"), None).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().ends_with("does not exist"));
        let error = P256Token::open(&bench.without_pin("safe", "c1"), None).unwrap_err().to_string();
        assert!(error.starts_with("token `safe` wants a PIN; name a private file with it"), "{error}");
    });
}

#[test]
fn a_key_that_is_missing_ambiguous_or_nameless_is_said() {
    with_tokens("faults::a_key_that_is_missing_ambiguous_or_nameless_is_said", &["safe"], |bench| {
        assert!(refusal(bench, "c1").starts_with("token `safe` has no private key `c1`; see what it has: "));
        let uri = bench.key("safe", "c1");
        let first = P256Token::make(&uri, None).unwrap();
        P256Token::make(&uri, None).unwrap();
        assert_eq!(refusal(bench, "c1"), "token `safe` has several private keys `c1`; name one by its id, id=%…");
        P256Token::open(first.uri(), None).unwrap();
        let error = Ed25519Token::make(&uri, None).unwrap_err().to_string();
        assert_eq!(error, "token `safe` has a key `c1` already; choose another label, or remove it first");
        let nameless = bench.named("token=safe", "safe");
        for error in [
            P256Token::open(&nameless, None).unwrap_err(),
            P256Token::make(&nameless, None).unwrap_err(),
            sweep_token(&nameless, &[], None).unwrap_err(),
        ] {
            assert!(matches!(error, TokenError::NoName { .. }), "{error}");
        }
    });
}

/// Makes a P-256 key by hand.
fn by_hand(bench: &Bench, label: &str, extractable: bool, signs: bool) {
    let session = bench.session("safe");
    let both = [Attribute::Token(true), Attribute::Label(label.into()), Attribute::Id(label.into())];
    let mut public = both.to_vec();
    public.extend([Attribute::KeyType(KeyType::EC), Attribute::EcParams(P256.to_vec())]);
    let mut private = both.to_vec();
    private.extend([
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(extractable),
        Attribute::Sign(signs),
    ]);
    session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).unwrap();
}

#[test]
fn a_key_of_another_kind_or_for_another_use_is_refused() {
    with_tokens("faults::a_key_of_another_kind_or_for_another_use_is_refused", &["safe"], |bench| {
        Ed25519Token::make(&bench.key("safe", "ed"), None).unwrap();
        P256Token::make(&bench.key("safe", "ec"), None).unwrap();
        by_hand(bench, "agree", false, false);
        by_hand(bench, "loose", true, true);
        by_hand(bench, "good", false, true);
        assert_eq!(refusal(bench, "ed"), "key `ed` in token `safe` is no P-256 key that signs");
        let error = Ed25519Token::open(&bench.key("safe", "ec"), None).unwrap_err().to_string();
        assert_eq!(error, "key `ec` in token `safe` is no Ed25519 key that signs");
        assert_eq!(refusal(bench, "agree"), "key `agree` in token `safe` is no P-256 key that signs");
        assert_eq!(refusal(bench, "loose"), "key `loose` in token `safe` can be taken out of it; make one that cannot");
        P256Token::open(&bench.key("safe", "good"), None).unwrap().sign(b"x").unwrap();

        let session = bench.session("safe");
        let public = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Label("good".into())];
        session.destroy_object(session.find_objects(&public).unwrap()[0]).unwrap();
        assert!(refusal(bench, "good").starts_with("token `safe` has no public half of key `good`"));
    });
}

#[test]
fn a_lost_session_is_opened_again() {
    with_tokens("faults::a_lost_session_is_opened_again", &["safe"], |bench| {
        let key = P256Token::make(&bench.key("safe", "c1"), None).unwrap();
        let unlock = Ed25519Token::make(&bench.without_pin("safe", "unlock"), Some(&pin())).unwrap();
        for _ in 0..3 {
            bench.lose_sessions();
            key.sign(b"x").unwrap();
            unlock.sign(b"x").unwrap();
        }
    });
}

#[test]
fn a_token_that_is_pulled_is_named_and_works_when_it_is_back() {
    with_tokens("faults::a_token_that_is_pulled_is_named_and_works_when_it_is_back", &["safe"], |bench| {
        let key = P256Key::from(P256Token::make(&bench.key("safe", "c1"), None).unwrap());
        let (place, away) = (bench.token_folder(), bench.folder.join("away"));
        fs::rename(&place, &away).unwrap();
        bench.lose_sessions();
        for _ in 0..2 {
            let error = key.sign(b"x").unwrap_err().to_string();
            assert!(error.starts_with("there is no token `safe`; plug it in"), "{error}");
        }
        let error = CertificationRequest::make(&key, None).unwrap_err().to_string();
        assert!(error.starts_with("there is no token `safe`; plug it in"), "{error}");
        fs::rename(&away, &place).unwrap();
        // SoftHSM looks for tokens when it starts.
        bench.lose_sessions();
        key.sign(b"x").unwrap();
        // The PIN was changed meanwhile.
        bench.lose_sessions();
        replace(&bench.pin_file("safe"), "161803");
        assert!(matches!(key.sign(b"x").unwrap_err(), TokenError::PinWrong { .. }));
        replace(&bench.pin_file("safe"), PIN);
        key.sign(b"x").unwrap();
    });
}

#[test]
fn a_key_that_was_removed_is_said_to_be() {
    with_tokens("faults::a_key_that_was_removed_is_said_to_be", &["safe"], |bench| {
        let uri = bench.key("safe", "c1");
        let key = P256Token::make(&uri, None).unwrap();
        assert_eq!(sweep_token(&uri, &[], None).unwrap(), 1);
        assert!(matches!(key.sign(b"x").unwrap_err(), TokenError::NoKey { .. }));
    });
}
