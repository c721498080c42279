//! `cabinet-agent`: the process on a cabinet.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fleet_settings::Sources;

/// The agent of one cabinet.
#[derive(Parser)]
#[command(version, after_help = "Example:\n  cabinet-agent --settings /etc/cabinet-agent/agent.toml")]
struct Arguments {
    /// The settings file; paths in it are relative to it.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// One setting that wins over file and environment.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

fn main() -> ExitCode {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("error: another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::parse();
    let file = arguments.settings.as_deref();
    let sources = Sources { file, env_prefix: Some("CABINET_AGENT"), flags: &arguments.set };
    let settings = match fleet_settings::load(&sources) {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    match cabinet_agent::process::run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        // Settings files that settings name, such as the board's profile, are settings too.
        Err(cabinet_agent::process::RunError::Settings(text)) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
        Err(cabinet_agent::process::RunError::Failed(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
