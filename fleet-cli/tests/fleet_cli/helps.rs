//! Every help text, as people see it.

use std::process::Command;

fn help(command: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_fleet")).args(command).arg("--help").env_remove("FLEET_AS").output();
    let output = output.unwrap();
    assert!(output.status.success() && !output.stdout.is_empty(), "fleet {command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn helps_fit_80_columns_and_stay_as_they_are() {
    let mut all = String::new();
    for command in [
        "",
        "init",
        "person",
        "person add",
        "person renew",
        "person list",
        "person scope",
        "person revoke",
        "operator",
        "integration",
        "integration quota",
        "integration revoke",
        "cabinet",
        "cabinet add",
        "cabinet register",
        "cabinet replace",
        "cabinet list",
        "cabinet show",
        "cabinet break-glass",
        "cabinet revoke",
        "order",
        "order put",
        "order list",
        "order show",
        "order change",
        "order cancel",
        "order quarantine",
        "order release",
        "order close",
        "order extend",
        "order resend",
        "order reissue",
        "order open",
        "order move",
        "bundle put",
        "bundle show",
        "bundle release",
        "policy",
        "policy show",
        "policy preview",
        "policy put",
        "site",
        "site set",
        "site show",
        "site list",
        "notify",
        "notify channel",
        "notify channel put",
        "notify channel example",
        "notify channel list",
        "notify channel remove",
        "notify template",
        "notify template put",
        "notify template show",
        "notify template remove",
        "notify list",
        "notify test",
        "unlock",
        "unlocks",
        "staff",
        "staff add",
        "staff badge",
        "staff list",
        "staff revoke",
        "courier",
        "courier add",
        "courier badge",
        "courier list",
        "courier remove",
        "watch",
        "backup",
        "restore",
        "doctor",
        "demo",
    ] {
        let text = help(&command.split_whitespace().collect::<Vec<_>>());
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "`fleet {command} --help`: {line}");
        }
        all.push_str(&format!("=== fleet {command}\n{text}\n"));
    }
    insta::assert_snapshot!(all);
}
