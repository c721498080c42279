//! What every command needs: who asks, and in which form to answer.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use certs::Passphrase;
use schemas::api::{Reply, Request};

use super::failure::Usage;
use super::output;
use crate::client::Client;
use crate::folder::PersonFolder;

pub(super) struct Context {
    pub(super) json: bool,
    /// From `--as` or FLEET_AS.
    pub(super) person: Option<PathBuf>,
}

impl Context {
    /// The folder of whoever asks: `--as`, FLEET_AS, or the current folder.
    pub(super) fn folder(&self) -> anyhow::Result<PersonFolder> {
        self.folder_or(Path::new("."))
    }

    /// The same with another folder to fall back to.
    pub(super) fn folder_or(&self, default: &Path) -> anyhow::Result<PersonFolder> {
        Ok(PersonFolder::open(self.person.as_deref().unwrap_or(default))?)
    }

    /// Asks the fleet one thing. An error in the answer is an error here.
    pub(super) fn ask(&self, folder: &PersonFolder, request: &Request) -> anyhow::Result<Reply> {
        let reply = block_on(async {
            let client = Client::connect(folder).await?;
            let reply = client.request(request).await;
            client.close().await;
            reply
        })??;
        let Reply::Error(error) = &reply else { return Ok(reply) };
        if self.json {
            output::json(&reply)?;
        }
        let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        Err(anyhow::anyhow!("{} ({}){hint}", error.message, error.code))
    }
}

/// Runs one command's talk with the fleet.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    Ok(runtime.block_on(work))
}

/// An answer of a kind that does not belong to the question.
pub(super) fn other_answer() -> anyhow::Error {
    anyhow::anyhow!("the fleet answered something else than was asked; `fleet` and broker may be of different versions")
}

/// Reads a passphrase file: one line, for its owner only.
pub(super) fn passphrase(path: Option<&Path>) -> anyhow::Result<Option<Passphrase>> {
    let Some(path) = path else { return Ok(None) };
    let bytes = certs::read_private(path).map_err(|error| Usage(format!("read the passphrase: {error}")))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Usage(format!("passphrase file `{}` is not UTF-8 text", path.display())))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.contains('\n') {
        return Err(Usage(format!("passphrase file `{}` has more than one line", path.display())).into());
    }
    Ok(Some(Passphrase::new(text)))
}
