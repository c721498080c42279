//! `cabinet-agent`: the process on a cabinet, and with `enroll` the command that makes it one.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fleet_settings::Sources;

use cabinet_agent::identity::identity_file;
use cabinet_agent::process::RunError;
use cabinet_agent::screen::paired::{self, PairArguments};
use cabinet_agent::setup::{self, SetupArguments};

/// The agent of one cabinet.
#[derive(Parser)]
#[command(version, after_help = "Example:\n  cabinet-agent --settings /etc/cabinet-agent/agent.toml")]
struct Arguments {
    /// The settings file; paths in it are relative to it.
    #[arg(long, value_name = "FILE", global = true)]
    settings: Option<PathBuf>,
    /// One setting that wins over file and environment.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Make this machine a cabinet of the fleet: with the token of `fleet cabinet add`, once.
    Enroll(SetupArguments),
    /// Make a code that pairs a screen which is a computer of its own.
    PairScreen(PairArguments),
}

fn main() -> ExitCode {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("error: another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::parse();
    let file = arguments.settings.as_deref();
    if let Some(Command::Enroll(enroll)) = &arguments.command {
        return finish(setup::run(enroll, file));
    }
    let base = file.and_then(std::path::Path::parent);
    let written = base.map(identity_file);
    let sources =
        Sources { file, written: written.as_deref(), env_prefix: Some("CABINET_AGENT"), flags: &arguments.set };
    match fleet_settings::load(&sources) {
        Ok(settings) => match arguments.command {
            Some(Command::PairScreen(pair)) => {
                finish(paired::pair(pair, &settings).map_err(|e| RunError::Failed(e.into())))
            }
            Some(Command::Enroll(_)) | None => finish(cabinet_agent::process::run(settings)),
        },
        Err(problems) => finish(Err(RunError::Settings(problems.to_string()))),
    }
}

fn finish(ended: Result<(), RunError>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        // Settings files that settings name, such as the board's profile, are settings too.
        Err(RunError::Settings(text)) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
        Err(RunError::Failed(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
