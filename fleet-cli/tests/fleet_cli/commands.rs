//! Exit codes, one-line errors and JSON of the command.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use fleet_cli::setup::{self, Layout, PersonOptions};
use schemas::ids::Role;
use serde_json::Value;
use tempfile::TempDir;

/// Runs `fleet` in `dir`.
fn fleet(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fleet")).args(arguments).current_dir(dir).env_remove("FLEET_AS").output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A fleet in `acme/` whose broker does not run: nothing listens at its port.
fn made() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    // Free a moment ago, and nobody else is told this number.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let output = fleet(folder.path(), &["init", "acme", "--tenant", "acme", "--host", "127.0.0.1", "--port", &port]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    folder
}

const ADD: [&str; 15] = [
    "cabinet",
    "add",
    "berlin-01",
    "--fleet",
    "acme",
    "--site",
    "berlin",
    "--place",
    "Bob's hall",
    "--serial",
    "LF-0007",
    "--compartments",
    "1-4:S,5-8:M",
    "--board",
    "/dev/ttyUSB0",
];

/// Failed with this code and one line that has this text.
fn failed(output: &Output, expected_code: i32, expected: &str) {
    let said = stderr(output);
    assert_eq!(code(output), expected_code, "{said}");
    assert!(said.contains(expected), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("error: "), "{said}");
}

#[test]
fn init_says_what_is_where_and_what_comes_next() {
    let folder = tempfile::tempdir().unwrap();
    let output = fleet(folder.path(), &["init", "acme", "--tenant", "acme", "--host", "lockers.example.com"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let place = folder.path().canonicalize().unwrap();
    insta::assert_snapshot!(stdout(&output).replace(place.to_str().unwrap(), "/srv"));
}

#[test]
fn init_over_a_fleet_is_wrong_usage() {
    let folder = made();
    let again = fleet(folder.path(), &["init", "acme", "--tenant", "acme", "--host", "localhost"]);
    failed(&again, 2, "exists already and is not empty");
}

#[test]
fn a_passphrase_file_has_to_be_private_and_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passphrase");
    let init = |text: &str, mode: u32| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let arguments = ["init", "acme", "--tenant", "acme", "--host", "localhost", "--passphrase-file", "passphrase"];
        fleet(folder.path(), &arguments)
    };
    failed(&init("correct horse\n", 0o644), 2, "chmod 600 passphrase");
    failed(&init("correct horse\nbattery\n", 0o600), 2, "more than one line");
    failed(&init("short\n", 0o600), 2, "fewer than");
    failed(&init("\n", 0o600), 2, "fewer than");
    assert_eq!(code(&init("correct horse\n", 0o600)), 0);

    let add = |passphrase: &[&str]| {
        let arguments = [&["person", "add", "--fleet", "acme", "support", "ben"], passphrase].concat();
        fleet(folder.path(), &arguments)
    };
    failed(&add(&[]), 2, "is encrypted; give its passphrase");
    assert_eq!(code(&add(&["--passphrase-file", "passphrase"])), 0);
}

#[test]
fn wrong_arguments_are_wrong_usage() {
    let folder = made();
    for (arguments, expected) in [
        (vec!["person", "add", "--fleet", "acme", "boss", "ben"], "unknown role `boss`"),
        (vec!["person", "add", "--fleet", "acme", "support", "Ben"], "name has a character outside"),
        (vec!["init", "other", "--host", "localhost"], "--tenant"),
        (vec!["unlock", "berlin-01", "0", "--reason", "x"], "a compartment number is 1 to 999"),
        (vec!["unlock", "berlin-01", "4"], "--reason"),
        (vec!["order", "put", "A17", "--cabinet", "c1", "--size", "M"], "A17"),
        (vec!["order", "put", "shop/A17", "--cabinet", "c1", "--size", "m"], "`m` is none of S, M, L, XL"),
        (vec!["fly"], "unrecognized subcommand"),
    ] {
        let output = fleet(folder.path(), &arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    }
    failed(&fleet(folder.path(), &["person", "add", "--fleet", "acme", "server", "x"]), 2, "no person");
    failed(&fleet(folder.path(), &["person", "add", "--fleet", "none", "support", "x"]), 2, "no fleet's folder");
    failed(&fleet(folder.path(), &["cabinet", "list"]), 2, "FLEET_AS");
    failed(&fleet(folder.path(), &["--as", "acme", "cabinet", "list"]), 2, "operator-admin");
    let reason = ["--as", "acme/people/operator-admin", "unlock", "berlin-01", "4", "--reason", " "];
    failed(&fleet(folder.path(), &reason), 2, "the reason is empty");
}

#[test]
fn a_cabinet_is_made_without_the_broker_and_the_command_for_later_is_printed() {
    let folder = made();
    let output = fleet(folder.path(), &[&ADD[..], &["--offline"]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("4 S, 4 M"), "{said}");
    let command = r"fleet cabinet register berlin-01 --fleet acme --place 'Bob'\''s hall'";
    assert!(said.contains(command), "{said}");
    // The token in lines, and as a code that a phone reads.
    let token: String =
        said.lines().skip_while(|line| !line.starts_with("LF1")).take_while(|line| !line.is_empty()).collect();
    let token: schemas::enrolment::Token = token.parse().unwrap();
    assert_eq!((token.device_serial.as_str(), token.cabinet.as_str()), ("LF-0007", "berlin-01"));
    assert!(said.contains("\u{2588}\u{2580}\u{2580}"), "{said}");
}

#[test]
fn a_broker_that_does_not_run_is_named_and_the_files_stay() {
    let folder = made();
    let output = fleet(folder.path(), &ADD);
    failed(&output, 1, "nothing answers at 127.0.0.1:");
    assert!(stderr(&output).contains("register it later with: fleet cabinet register"), "{}", stderr(&output));
    assert!(folder.path().join("acme/cabinets/berlin-01/agent.toml").exists());
    let again = fleet(folder.path(), &ADD);
    failed(&again, 2, "exists already");
}

#[test]
fn programs_get_json() {
    let folder = made();
    let document = |arguments: &[&str]| -> Value {
        let output = fleet(folder.path(), arguments);
        assert_eq!((code(&output), stdout(&output).lines().count()), (0, 1), "{}", stderr(&output));
        serde_json::from_str(&stdout(&output)).unwrap()
    };
    let person = document(&["--json", "person", "add", "--fleet", "acme", "integration", "shop"]);
    assert_eq!(person["identity"], "integration:acme:shop");
    let cabinet = document(&[&ADD[..], &["--offline", "--json"]].concat());
    assert_eq!((&cabinet["cabinet"], &cabinet["registered"]), (&"berlin-01".into(), &false.into()));
    assert_eq!(cabinet["instance"].as_str().map(str::len), Some(32));
    assert!(cabinet["token"].as_str().unwrap().parse::<schemas::enrolment::Token>().is_ok());

    let output = fleet(folder.path(), &["--json", "--as", "acme/people/operator-admin", "order", "list"]);
    assert_eq!(code(&output), 1);
    let error: Value = serde_json::from_str(&stderr(&output)).unwrap();
    assert!(error["failed"].as_str().unwrap().contains("nothing answers"), "{error}");
}

#[test]
fn an_integration_puts_only_its_own_orders() {
    let folder = made();
    let add = fleet(folder.path(), &["person", "add", "--fleet", "acme", "integration", "shop"]);
    assert_eq!(code(&add), 0);
    let put = |order: &str| {
        let arguments =
            ["--as", "acme/people/integration-shop", "order", "put", order, "--cabinet", "c1", "--size", "M"];
        fleet(folder.path(), &arguments)
    };
    failed(&put("other/A17"), 2, "name it shop/A17");
    failed(&put("shop/A17"), 1, "nothing answers");
}

#[test]
fn fleet_as_names_the_folder_too() {
    let folder = made();
    let output = Command::new(env!("CARGO_BIN_EXE_fleet"))
        .args(["staff", "add", "kim"])
        .current_dir(folder.path())
        .env("FLEET_AS", "acme/people/operator-admin")
        .output()
        .unwrap();
    failed(&output, 1, "nothing answers");
}

#[test]
fn every_command_warns_when_the_own_certificate_ends_soon() {
    let folder = made();
    let layout = Layout::open(&folder.path().join("acme")).unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    for (name, age, warned) in [("late", day * 70, true), ("early", day * 50, false)] {
        let (name, now) = (name.parse().unwrap(), SystemTime::now() - age);
        let options = PersonOptions { layout: &layout, role: Role::Technician, name, passphrase: None, now };
        let made = setup::person(&options).unwrap();
        let output = fleet(folder.path(), &["--as", made.path().to_str().unwrap(), "order", "list"]);
        let said = stderr(&output);
        assert_eq!((code(&output), said.lines().count()), (1, 1 + usize::from(warned)), "{said}");
        let text =
            "warning: your certificate ends in 19 days: have a new one made with `fleet person renew technician late";
        assert_eq!(said.contains(text), warned, "{said}");
        let json = fleet(folder.path(), &["--json", "--as", made.path().to_str().unwrap(), "order", "list"]);
        for line in stderr(&json).lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
    }
}

#[test]
fn who_may_be_revoked_is_checked_before_anybody_is_asked() {
    let folder = made();
    let revoke = |arguments: &[&str]| {
        let all = [&["--as", "acme/people/operator-admin"], arguments].concat();
        fleet(folder.path(), &all)
    };
    failed(&revoke(&["person", "revoke", "cabinet", "c1", "--reason", "x"]), 2, "fleet cabinet revoke");
    failed(&revoke(&["person", "revoke", "server", "gate", "--reason", "x"]), 2, "is no person");
    failed(&revoke(&["operator", "revoke", "bob", "--reason", " "]), 2, "the reason is empty");
    failed(&revoke(&["cabinet", "revoke", "c1", "--reason", "stolen"]), 1, "nothing answers");
    let renew = ["person", "renew", "--fleet", "acme", "operator", "bob"];
    failed(&revoke(&renew), 2, "make one with `fleet person add`");
}
