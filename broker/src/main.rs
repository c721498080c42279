//! `fleet-broker`: the broker, and with `signer` the process that holds the signing keys.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fleet_settings::{Problems, Settings, Sources};

/// The fleet's broker.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  fleet-broker --settings fleet/broker/broker.toml --set gate.listen=127.0.0.1:8883"
)]
struct Arguments {
    /// The settings file; paths in it are relative to it.
    #[arg(long, value_name = "FILE", global = true)]
    settings: Option<PathBuf>,
    /// One setting that wins over file and environment.
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
    #[command(subcommand)]
    role: Option<ProcessRole>,
}

#[derive(Subcommand)]
enum ProcessRole {
    /// Hold the signing keys and sign what the broker asks for.
    #[command(
        after_help = "Example:\n  fleet-broker signer --settings fleet/signer/signer.toml\n\nSIGHUP: read the settings again and take up the keys that they name."
    )]
    Signer,
}

fn main() -> ExitCode {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return fail("another TLS provider is installed already");
    }
    let arguments = Arguments::parse();
    match arguments.role {
        None => match read(&arguments, "FLEET_BROKER") {
            Ok(settings) => finish(fleet_broker::process::run_broker(settings)),
            Err(code) => code,
        },
        Some(ProcessRole::Signer) => match read(&arguments, "FLEET_SIGNER") {
            Ok(settings) => {
                let reread = || Ok(load(&arguments, "FLEET_SIGNER")?);
                finish(fleet_broker::process::run_signer(settings, reread))
            }
            Err(code) => code,
        },
    }
}

fn read<T: Settings>(arguments: &Arguments, env_prefix: &str) -> Result<T, ExitCode> {
    load(arguments, env_prefix).map_err(|problems| {
        eprintln!("{problems}");
        ExitCode::from(2)
    })
}

fn load<T: Settings>(arguments: &Arguments, env_prefix: &str) -> Result<T, Problems> {
    let file = arguments.settings.as_deref();
    fleet_settings::load(&Sources { file, written: None, env_prefix: Some(env_prefix), flags: &arguments.set })
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn fail(text: &str) -> ExitCode {
    eprintln!("error: {text}");
    ExitCode::FAILURE
}
