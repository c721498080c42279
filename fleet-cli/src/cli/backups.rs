//! `fleet backup` and `fleet restore`.

use std::process::ExitCode;

use data_encoding::HEXLOWER;
use fleet_store::Seal;
use schemas::api::{BackupMade, Reply, Request, Rfc3339};

use super::args::RestoreArgs;
use super::context::{Context, other_answer};
use super::output;

pub(super) fn backup(context: &Context) -> anyhow::Result<ExitCode> {
    let reply = context.ask(&context.folder()?, &Request::Backup {})?;
    let Reply::Backup(made) = &reply else { return Err(other_answer()) };
    if context.json {
        output::json(&reply)?;
    } else {
        output::text(&format!(
            "{file} on the broker's host\n{content}\n\nCopy it to another machine: a disk that dies takes both along.",
            file = output::plain(&made.file),
            content = content(made),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn restore(context: &Context, args: &RestoreArgs) -> anyhow::Result<ExitCode> {
    let seal = match &args.to {
        None => fleet_store::verify(&args.backup)?,
        Some(store) => fleet_store::restore(&args.backup, store)?,
    };
    let shown = args.to.as_ref().unwrap_or(&args.backup);
    let made = made(&seal, shown.display().to_string());
    if context.json {
        output::json(&Reply::Backup(made))?;
        return Ok(ExitCode::SUCCESS);
    }
    let next = match &args.to {
        None => "The backup is whole.".to_owned(),
        Some(_) => {
            "The store is made. Start the broker: each cabinet is compared when it connects, its facts win, and \
                    what differs\nshows as `audit_required` in `fleet cabinet show`. Orders and staff that came after \
                    the backup have to be put again."
                .to_owned()
        }
    };
    output::text(&format!("{}\n{}\n\n{next}", output::plain(&made.file), content(&made)))?;
    Ok(ExitCode::SUCCESS)
}

fn made(seal: &Seal, file: String) -> BackupMade {
    BackupMade { file, taken: Rfc3339(seal.taken), rows: seal.rows, sha256: HEXLOWER.encode(&seal.digest.0) }
}

fn content(made: &BackupMade) -> String {
    format!("{} rows of {}\nSHA-256 {}", made.rows, made.taken, output::plain(&made.sha256))
}
