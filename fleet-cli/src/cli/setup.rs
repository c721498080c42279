//! `fleet init`.

use std::path::Path;
use std::process::ExitCode;

use schemas::ids::Role;
use serde_json::json;

use super::args::InitArgs;
use super::context::{Context, passphrase, token};
use super::output;
use crate::setup::{self, InitOptions, Layout};

pub(super) fn init(context: &Context, args: InitArgs) -> anyhow::Result<ExitCode> {
    let mut options = InitOptions::new(args.dir, args.tenant, args.host)?;
    if let Some(name) = args.name {
        options.name = name;
    }
    options.other_hosts = args.other_host;
    options.port = args.port;
    options.enrolment_port = args.enrolment_port;
    options.listen = args.listen;
    options.signer = args.signer;
    options.operator = args.operator;
    options.passphrase = passphrase(args.passphrase_file.as_deref())?;
    options.root_tokens = [token(args.root_1_pkcs11.as_deref())?, token(args.root_2_pkcs11.as_deref())?];
    let layout = setup::init(&options)?;
    let operator = layout.person(Role::Operator, &options.operator);
    if context.json {
        output::json(&json!({
            "fleet": layout.dir(),
            "tenant": layout.settings().tenant,
            "host": layout.settings().host,
            "port": layout.settings().port,
            "broker": layout.broker_toml(),
            "signer": layout.signer_toml(),
            "operator": operator,
            "offline": layout.offline(),
            "encrypted": options.passphrase.is_some(),
        }))?;
    } else {
        output::text(&made_fleet(&layout, &operator, &options))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn made_fleet(layout: &Layout, operator: &Path, options: &InitOptions) -> String {
    let settings = layout.settings();
    let dir = layout.dir().display();
    let beside = if options.signer.is_some() { "on a host of its own" } else { "beside the broker" };
    let encryption = if options.passphrase.is_some() {
        "The keys in offline/ and ca/ are encrypted with your passphrase.\n\
         Those in signer/ and broker/ are plain, 0600: both start unattended."
    } else {
        "All keys are plain files, 0600. To encrypt those in offline/ and ca/,\n\
         start over with --passphrase-file; signer/ and broker/ start unattended\n\
         and stay plain."
    };
    format!(
        "Made the fleet of {tenant} at {host}:{port} in {dir}\n\
         \n\
         offline/   root keys: carry them to a safe, then delete them here\n\
         ca/        issues certificates; for the machine where you add people\n\
         signer/    signs commands and codes, issues cabinets' certificates;\n\
         \x20          a process of its own {beside}\n\
         broker/    the ports that cabinets, people and backends reach\n\
         public/    TLS root, keyset, public root keys: no secrets\n\
         people/    one folder for each person and integration\n\
         cabinets/  one folder for each cabinet, to be copied there: settings, a token\n\
         \n\
         {encryption}\n\
         \n\
         Next:\n\
         \x20 fleet-broker signer --settings {signer}\n\
         \x20 fleet-broker --settings {broker}\n\
         \x20 fleet cabinet add CABINET --fleet {dir} --site SITE --place TEXT \\\n\
         \x20     --serial TEXT --compartments 1-4:S,5-8:M --board /dev/ttyUSB0\n\
         \n\
         You are {operator}: give it with --as, or in FLEET_AS.",
        tenant = settings.tenant,
        host = settings.host,
        port = settings.port,
        signer = layout.signer_toml().display(),
        broker = layout.broker_toml().display(),
        operator = operator.display(),
    )
}
