//! What `setup` makes: layout, permissions, keys that fit, settings that read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use certs::{
    CertificateAuthority, ClientRoots, LeafKey, LeafRequest, Passphrase, ServerRoots, TlsIdentity, is_encrypted,
    read_certificates, read_ed25519, read_p256,
};
use fleet_cli::folder::{FolderError, PersonFolder};
use fleet_cli::setup::{
    self, CabinetFolder, CabinetOptions, InitOptions, Layout, PersonOptions, PlanError, SetupError,
};
use schemas::api::Request;
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{self, Scope, key_id, public_entry};
use schemas::ids::{CabinetId, Role, TenantId};
use schemas::messages::{Key, KeyPurpose, Keyset};
use tempfile::TempDir;

fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

fn options(folder: &TempDir) -> InitOptions {
    InitOptions::new(folder.path().join("fleet"), tenant(), "localhost").unwrap()
}

/// One fleet without a passphrase.
fn fleet() -> (TempDir, Layout) {
    let folder = tempfile::tempdir().unwrap();
    let layout = setup::init(&options(&folder)).unwrap();
    (folder, layout)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Every file below `dir`, relative to it, sorted; folders end in a slash.
fn tree(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, base: &Path, all: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(base).unwrap().display().to_string();
            if path.is_dir() {
                all.push(format!("{name}/"));
                walk(&path, base, all);
            } else {
                all.push(name);
            }
        }
    }
    let mut all = Vec::new();
    walk(dir, dir, &mut all);
    all.sort();
    all
}

fn table(path: &Path) -> toml::Table {
    fs::read_to_string(path).unwrap().parse().unwrap()
}

#[test]
fn a_new_fleet_has_this_layout_and_nothing_is_open_to_others() {
    let (folder, layout) = fleet();
    let names = tree(layout.dir());
    insta::assert_snapshot!(names.join("\n"));
    assert_eq!(mode(layout.dir()), 0o700);
    for name in &names {
        let path = layout.dir().join(name);
        let secret =
            path.extension().is_some_and(|kind| kind == "key") || name.starts_with("signer/") && !path.is_dir();
        let expected = match (path.is_dir(), secret) {
            (true, _) => 0o700,
            (false, true) => 0o600,
            (false, false) if name.starts_with("broker/") && name.ends_with(".toml") => 0o600,
            (false, false) => 0o644,
        };
        assert_eq!(mode(&path), expected, "{name}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_folder_with_anything_in_it_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("fleet");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("precious"), "x").unwrap();
    let error = setup::init(&options(&folder)).unwrap_err();
    assert!(matches!(&error, SetupError::NotEmpty(_)) && error.is_usage(), "{error}");
    assert_eq!(tree(folder.path()), ["fleet/", "fleet/precious"]);

    fs::remove_file(dir.join("precious")).unwrap();
    let layout = setup::init(&options(&folder)).unwrap();
    assert!(matches!(setup::init(&options(&folder)), Err(SetupError::NotEmpty(_))), "a fleet is never overwritten");
    assert_eq!(Layout::open(layout.dir()).unwrap().settings(), layout.settings());
}

#[test]
fn a_file_in_the_way_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("fleet"), "x").unwrap();
    assert!(matches!(setup::init(&options(&folder)), Err(SetupError::NotEmpty(_))));
}

#[test]
fn hosts_that_cannot_work_are_refused_before_anything_is_made() {
    for host in ["", "lockers.example.com:8883", "::1", "[::1]", "a b", "https://lockers.example.com", "-"] {
        let folder = tempfile::tempdir().unwrap();
        let mut options = options(&folder);
        options.host = host.to_owned();
        let error = setup::init(&options).unwrap_err();
        assert!(matches!(&error, SetupError::Host(_)) && error.is_usage(), "{host:?}: {error}");
        assert_eq!(tree(folder.path()), Vec::<String>::new());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder);
    options.port = 0;
    assert!(matches!(setup::init(&options), Err(SetupError::PortZero)));
}

fn pinned_roots(layout: &Layout) -> Vec<Key> {
    ["keyset-root-1.pub", "keyset-root-2.pub"]
        .iter()
        .map(|name| {
            let text = fs::read_to_string(layout.public().join(name)).unwrap();
            let public = data_encoding::HEXLOWER.decode(text.trim().as_bytes()).unwrap();
            Key { id: key_id(&public), purpose: KeyPurpose::Keyset, public: Blob(public) }
        })
        .collect()
}

#[test]
fn the_keyset_verifies_with_the_pinned_roots_and_names_the_signers_keys() {
    let (_folder, layout) = fleet();
    let roots = pinned_roots(&layout);
    assert_ne!(roots[0].id, roots[1].id);
    let bytes = fs::read(layout.public().join("keyset.cose")).unwrap();
    let tenant = tenant();
    let scope = Scope::Tenant { tenant: &tenant, purpose: KeyPurpose::Keyset };
    let opened = envelope::open(&bytes, scope, &roots).unwrap();
    assert_eq!(opened.signer, roots[0].id);
    assert!(envelope::open(&bytes, scope, &roots[1..]).is_err());
    let other: TenantId = "umbra".parse().unwrap();
    let elsewhere = Scope::Tenant { tenant: &other, purpose: KeyPurpose::Keyset };
    assert!(envelope::open(&bytes, elsewhere, &roots).is_err());

    let keyset: Keyset = cbor::decode(&opened.payload).unwrap();
    assert_eq!((&keyset.tenant, keyset.version, keyset.keys.len()), (&tenant, 1, 4));
    let signer = layout.signer();
    let purposes = [KeyPurpose::Unlock, KeyPurpose::Codes, KeyPurpose::Config];
    for (file, purpose) in ["unlock.key", "codes.key", "config.key"].into_iter().zip(purposes) {
        let key = read_ed25519(&signer.join(file), None).unwrap();
        assert_eq!(keyset.keys_for(purpose).collect::<Vec<_>>(), [&public_entry(&key, purpose)]);
    }
    let pepper = read_p256(&signer.join("pepper.key"), None).unwrap().public_key().to_sec1_bytes();
    assert_eq!(pepper.len(), 65, "uncompressed");
    let held: Vec<_> = keyset.keys_for(KeyPurpose::Pepper).map(|key| key.public.0.clone()).collect();
    assert_eq!(held, [pepper.to_vec()]);
}

#[test]
fn the_root_keys_are_those_that_are_pinned_and_no_two_keys_are_the_same() {
    let (_folder, layout) = fleet();
    for (root, name) in pinned_roots(&layout).iter().zip(["keyset-root-1.key", "keyset-root-2.key"]) {
        let key = read_ed25519(&layout.offline().join(name), None).unwrap();
        assert_eq!(root.public.0, key.verifying_key().to_bytes());
    }
    let mut keys: Vec<_> = tree(layout.dir())
        .into_iter()
        .filter(|name| name.ends_with(".key"))
        .map(|name| fs::read(layout.dir().join(name)).unwrap())
        .collect();
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!((count, keys.len()), (13, 13));
}

#[test]
fn certificates_are_for_whom_they_say_and_each_side_takes_the_other() {
    let (_folder, layout) = fleet();
    let now = SystemTime::now();
    let broker = layout.broker();
    let clients = ClientRoots::from_files(&broker.join("cabinets.crt"), &broker.join("people.crt")).unwrap();
    let servers = ServerRoots::from_file(&layout.public().join("root.crt"), tenant()).unwrap();

    let server = read_certificates(&broker.join("server.crt")).unwrap();
    assert_eq!(servers.identity_of(&server, now).unwrap().identity.to_string(), "server:acme:broker");
    assert_eq!(
        TlsIdentity::read(&broker.join("server.crt"), &broker.join("server.key"), None).unwrap().identity().role,
        Role::Server
    );
    let operator = layout.person(Role::Operator, &"admin".parse().unwrap());
    let chain = read_certificates(&operator.join("person.crt")).unwrap();
    assert_eq!(clients.identity_of(&chain, now).unwrap().identity.to_string(), "operator:acme:admin");
    let signer = layout.signer();
    let online = CertificateAuthority::open(&signer.join("cabinets.crt"), &signer.join("cabinets.key"), None).unwrap();
    let request = LeafRequest::client("cabinet:acme:berlin-01".parse().unwrap());
    let issued = online.issue(&request, &LeafKey::from(&certs::generate_p256().unwrap()), now).unwrap();
    let chain = [issued.certificate];
    assert_eq!(clients.identity_of(&chain, now).unwrap().identity.to_string(), "cabinet:acme:berlin-01");
}

#[test]
fn settings_of_broker_and_signer_are_toml_with_paths_that_exist() {
    let (_folder, layout) = fleet();
    let broker = table(&layout.broker_toml());
    assert_eq!(broker["gate"]["listen"].as_str(), Some("[::]:8883"));
    for key in ["certificate", "key", "cabinets_ca", "people_ca"] {
        assert!(layout.broker().join(broker["tls"][key].as_str().unwrap()).exists(), "{key}");
    }
    let signer = table(&layout.signer_toml());
    assert_eq!(signer["tenant"].as_str(), Some("acme"));
    for key in ["unlock", "codes", "pepper", "secrets", "cabinets_ca", "cabinets_ca_key"] {
        assert!(layout.signer().join(signer["keys"][key].as_str().unwrap()).exists(), "{key}");
    }
    let seen_by_broker = layout.broker().join(broker["signer"]["socket"].as_str().unwrap());
    let made_by_signer = layout.signer().join(signer["socket"].as_str().unwrap());
    assert_eq!(seen_by_broker.parent().unwrap().canonicalize().unwrap(), layout.signer().canonicalize().unwrap());
    assert_eq!(seen_by_broker.file_name(), made_by_signer.file_name());
}

#[test]
fn a_passphrase_encrypts_what_can_wait_for_a_person_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder);
    options.passphrase = Some(Passphrase::new("correct horse"));
    let layout = setup::init(&options).unwrap();
    for name in tree(layout.dir()).iter().filter(|name| name.ends_with(".key")) {
        let expected = name.starts_with("offline/") || name.starts_with("ca/");
        assert_eq!(is_encrypted(&layout.dir().join(name)).unwrap(), expected, "{name}");
    }
    let person = |passphrase: Option<&str>, name: &str| {
        let passphrase = passphrase.map(Passphrase::new);
        let options = PersonOptions {
            layout: &layout,
            role: Role::Support,
            name: name.parse().unwrap(),
            passphrase: passphrase.as_ref(),
            now: SystemTime::now(),
        };
        setup::person(&options).map(|folder| folder.identity().to_string())
    };
    for wrong in [None, Some("wrong horse")] {
        let error = person(wrong, "ben").unwrap_err();
        assert!(error.is_usage(), "{error}");
    }
    assert_eq!(person(Some("correct horse"), "ben").unwrap(), "support:acme:ben");
}

#[test]
fn a_short_passphrase_makes_no_fleet() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder);
    options.passphrase = Some(Passphrase::new("short"));
    let error = setup::init(&options).unwrap_err();
    assert!(error.is_usage(), "{error}");
    assert_eq!(tree(folder.path()), Vec::<String>::new());
}

#[allow(clippy::unwrap_in_result, reason = "the name is part of the test")]
fn person(layout: &Layout, role: Role, name: &str) -> Result<PersonFolder, SetupError> {
    let name = name.parse().unwrap();
    setup::person(&PersonOptions { layout, role, name, passphrase: None, now: SystemTime::now() })
}

#[test]
fn people_and_integrations_get_folders_and_machines_do_not() {
    let (_folder, layout) = fleet();
    for role in Role::ALL {
        match person(&layout, role, "kim") {
            Ok(folder) => {
                assert!(role.is_person() || role == Role::Integration, "{role}");
                assert_eq!(folder.path(), layout.person(role, &"kim".parse().unwrap()));
                assert_eq!(folder.identity().to_string(), format!("{role}:acme:kim"));
                assert_eq!((folder.host(), folder.port()), ("localhost", 8883));
                assert_eq!(mode(folder.path()), 0o700);
                assert_eq!(mode(&folder.path().join("person.key")), 0o600);
            }
            Err(error) => {
                assert!(matches!(role, Role::Server | Role::Cabinet), "{role}: {error}");
                assert!(matches!(error, SetupError::Role(_)));
            }
        }
    }
    assert!(matches!(person(&layout, Role::Support, "kim"), Err(SetupError::Exists(_))), "never made twice");
}

#[test]
fn a_renewed_person_has_a_new_key_and_whatever_else_was_in_the_folder() {
    let (_folder, layout) = fleet();
    let made = person(&layout, Role::Technician, "tom").unwrap();
    fs::write(made.path().join("notes.txt"), "keep").unwrap();
    // A renewal before was cut off.
    fs::write(made.path().join("person.key.new"), "half a key").unwrap();
    let key = |folder: &PersonFolder| fs::read(folder.path().join("person.key")).unwrap();
    let (old, ends) = (key(&made), made.ends());
    let renew = |name: &str| {
        let now = SystemTime::now() + Duration::from_secs(60);
        let name = name.parse().unwrap();
        setup::renew_person(&PersonOptions { layout: &layout, role: Role::Technician, name, passphrase: None, now })
    };
    let renewed = renew("tom").unwrap();
    assert_eq!((renewed.path(), renewed.identity()), (made.path(), made.identity()));
    assert!(key(&renewed) != old && renewed.ends() > ends);
    assert_eq!(mode(&renewed.path().join("person.key")), 0o600);
    assert_eq!(tree(renewed.path()), ["fleet.toml", "notes.txt", "person.crt", "person.key", "root.crt"]);
    let error = renew("nobody").unwrap_err();
    assert!(matches!(error, SetupError::NoPerson(_)) && error.is_usage(), "{error}");
}

#[test]
fn a_renewal_that_was_cut_off_between_its_files_is_mended_by_another() {
    let (_folder, layout) = fleet();
    let made = person(&layout, Role::Technician, "tom").unwrap();
    let other = person(&layout, Role::Technician, "tim").unwrap();
    fs::copy(other.path().join("person.key"), made.path().join("person.key")).unwrap();
    assert!(PersonFolder::open(made.path()).is_err());
    let (role, name) = (Role::Technician, "tom".parse().unwrap());
    let options = PersonOptions { layout: &layout, role, name, passphrase: None, now: SystemTime::now() };
    setup::renew_person(&options).unwrap();
    PersonFolder::open(made.path()).unwrap();
}

#[test]
fn a_folder_that_is_none_or_does_not_fit_is_named() {
    let (folder, layout) = fleet();
    assert!(matches!(PersonFolder::open(folder.path()), Err(FolderError::Missing(_))));
    assert!(matches!(PersonFolder::open(layout.dir()), Err(FolderError::OfAFleet(_))));
    let eve = person(&layout, Role::Operator, "eve").unwrap();
    let file = eve.path().join("fleet.toml");
    let good = fs::read_to_string(&file).unwrap();
    for (bad, expected) in [
        (good.replace("port = 8883", "prt = 8883"), "unknown field `prt`"),
        (good.replace("port = 8883", "port = 88830"), "88830"),
        (good.replace("tenant = \"acme\"", "tenant = \"umbra\""), "not of the tenant umbra"),
        (good.replace("person.crt", "none.crt"), "none.crt"),
        ("port = ".to_owned(), "fleet.toml"),
    ] {
        fs::write(&file, bad).unwrap();
        let error = PersonFolder::open(eve.path()).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{expected}: {error}");
    }
}

fn cabinet_options<'a>(layout: &'a Layout, name: &str) -> CabinetOptions<'a> {
    let compartments = "1-4:S,5-8:M,9:L+refrigerated".parse().unwrap();
    let named = (name.parse().unwrap(), "berlin".parse().unwrap());
    CabinetOptions::new(layout, named, "LF-0007", compartments, "/dev/ttyUSB0")
}

fn cabinet(layout: &Layout, name: &str) -> CabinetFolder {
    setup::cabinet(&cabinet_options(layout, name)).unwrap()
}

#[test]
fn a_cabinet_gets_a_folder_that_is_whole_on_its_own() {
    let (_folder, layout) = fleet();
    let mut options = cabinet_options(&layout, "berlin-01");
    options.boards = "7x8,2x8".parse().unwrap();
    options.screen = "127.0.0.1:9090".parse().unwrap();
    let made = setup::cabinet(&options).unwrap();
    assert_eq!(made.path, layout.cabinet(made.cabinet()));
    assert_eq!(tree(&made.path), ["agent.toml", "board.toml", "enrolment.token"], "no key, no certificate");
    assert_eq!((mode(&made.path), mode(&made.token_file())), (0o700, 0o600));
    assert_eq!(CabinetFolder::open(&made.path).unwrap(), made);

    let agent = table(&made.agent_toml());
    assert_eq!(agent["screen"]["listen"].as_str(), Some("127.0.0.1:9090"));
    let token = &made.token;
    assert_eq!((token.host.as_str(), token.mqtt_port, token.enrolment_port), ("localhost", 8883, 8884));
    assert_eq!((token.site.as_str(), token.device_serial.as_str()), ("berlin", "LF-0007"));
    let root = read_certificates(&layout.public().join("root.crt")).unwrap();
    assert_eq!(token.tls_root, certs::Fingerprint::of(&root[0]).0);
    let pinned: Vec<_> = pinned_roots(&layout).iter().map(|root| root.public.0.clone()).collect();
    assert_eq!(token.keyset_roots.map(Vec::from), *pinned);
    let compartments = agent["compartments"].as_array().unwrap();
    assert_eq!(compartments.len(), 9);
    assert_eq!(compartments[8].as_table().unwrap(), &"number = 9\nsize = 'L'\nrefrigerated = true".parse().unwrap());

    let board = table(&made.board_toml());
    assert_eq!(board["transport"]["path"].as_str(), Some("/dev/ttyUSB0"));
    let place = |at: usize| {
        let row = &board["mapping"].as_array().unwrap()[at];
        ["compartment", "board", "lock"].map(|key| row[key].as_integer().unwrap())
    };
    assert_eq!((place(0), place(7), place(8)), ([1, 7, 1], [8, 7, 8], [9, 2, 1]));
}

#[test]
fn each_installation_is_another_instance_and_none_is_made_twice() {
    let (_folder, layout) = fleet();
    let (first, second) = (cabinet(&layout, "berlin-01"), cabinet(&layout, "berlin-02"));
    assert_ne!(first.instance(), second.instance());
    assert_ne!(first.token.secret, second.token.secret);
    let error = setup::cabinet(&cabinet_options(&layout, "berlin-01")).unwrap_err();
    assert!(matches!(error, SetupError::Exists(_)));
    let Request::CabinetAdd { instance, place, enrolment, .. } = first.registration("Depot".to_owned()) else {
        panic!("not a cabinet.add")
    };
    assert_eq!((instance, place.as_str()), (first.instance(), "Depot"));
    assert_eq!(enrolment.unwrap().secret_hash, first.token.secret.hash());
    let named = ("berlin-01".parse().unwrap(), "berlin".parse().unwrap());
    let again = setup::new_cabinet_token(&layout, named, "LF-0008", setup::TOKEN_LIFE, SystemTime::now()).unwrap();
    assert_eq!(CabinetFolder::open(&first.path).unwrap(), again, "the newest token is the one that is kept");
    assert_ne!(again.instance(), first.instance());
}

#[test]
fn a_cabinet_that_cannot_work_is_refused_before_anything_is_made() {
    let (_folder, layout) = fleet();
    let refused = |change: fn(&mut CabinetOptions<'_>)| {
        let mut options = cabinet_options(&layout, "berlin-01");
        change(&mut options);
        let error = setup::cabinet(&options).unwrap_err();
        assert!(error.is_usage(), "{error}");
        assert_eq!(tree(&layout.cabinets()), Vec::<String>::new());
        error
    };
    assert!(matches!(refused(|options| options.port = PathBuf::from("ttyUSB0")), SetupError::SerialPort(_)));
    let spaces = refused(|options| options.device_serial = "two words".into());
    assert!(matches!(spaces, SetupError::DeviceSerial(_)));
    assert!(matches!(refused(|options| options.screen = "0.0.0.0:80".parse().unwrap()), SetupError::Screen(_)));
    let few = refused(|options| options.boards = "1x8".parse().unwrap());
    assert!(matches!(few, SetupError::Plan(PlanError::TooFewLocks { compartments: 9, locks: 8 })));
}

#[test]
fn odd_port_names_stay_what_they_are() {
    let (_folder, layout) = fleet();
    let mut options = cabinet_options(&layout, "berlin-01");
    options.port = PathBuf::from("/dev/serial/by-id/usb-\"x\\y\"\n[screen]");
    let made = setup::cabinet(&options).unwrap();
    assert_eq!(table(&made.board_toml())["transport"]["path"].as_str(), options.port.to_str());
}

#[test]
fn folders_that_are_no_fleet_and_no_cabinet_are_named() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Layout::open(folder.path()), Err(SetupError::NotAFleet(_))));
    assert!(matches!(CabinetFolder::open(folder.path()), Err(SetupError::NotACabinet(_))));
    let (_fleet, layout) = fleet();
    let eve = person(&layout, Role::Operator, "eve").unwrap();
    let error = Layout::open(eve.path()).unwrap_err();
    assert!(matches!(&error, SetupError::Settings { .. }) && error.is_usage(), "{error}");
    let unknown: CabinetId = "none".parse().unwrap();
    assert!(matches!(CabinetFolder::open(&layout.cabinet(&unknown)), Err(SetupError::NotACabinet(_))));
}
