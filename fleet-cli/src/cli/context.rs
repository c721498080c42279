//! What every command needs: who asks, and in which form to answer.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use certs::{Passphrase, TokenUri};
use schemas::api::{Reply, Request};
use zeroize::Zeroizing;

use super::failure::Usage;
use super::output;
use crate::client::Client;
use crate::folder::PersonFolder;

/// Far more than a line that anybody types.
const INPUT_MAX: u64 = 4_096;

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
        let folder = PersonFolder::open(self.person.as_deref().unwrap_or(default))?;
        let now = SystemTime::now();
        if let Some(days) = days_left(folder.ends(), now) {
            let identity = folder.identity();
            let (role, name) = (identity.role, &identity.name);
            let text = format!(
                "your certificate ends {}: have a new one made with `fleet person renew {role} {name} --fleet DIR`",
                in_days(days)
            );
            output::warning(&text, self.json);
        }
        Ok(folder)
    }

    /// Asks the fleet one thing. An error in the answer is an error here.
    pub(super) fn ask(&self, folder: &PersonFolder, request: &Request) -> anyhow::Result<Reply> {
        let reply = block_on(async {
            let client = Client::connect(folder).await?;
            let reply = client.request(request).await;
            client.close().await;
            reply
        })??;
        self.taken(reply)
    }

    /// An error in the answer is an error here.
    pub(super) fn taken(&self, reply: Reply) -> anyhow::Result<Reply> {
        let Reply::Error(error) = &reply else { return Ok(reply) };
        if self.json {
            output::json(&reply)?;
        }
        let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        Err(anyhow::anyhow!("{} ({}){hint}", error.message, error.code))
    }
}

/// A certificate that ends within this is worth a reminder.
const REMIND_WITHIN: Duration = Duration::from_secs(30 * DAY_SECONDS);
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Whole days that a certificate is still good, if it is time for a reminder and not too late for one.
pub(super) fn days_left(ends: SystemTime, now: SystemTime) -> Option<u64> {
    let left = ends.duration_since(now).ok().filter(|left| *left <= REMIND_WITHIN)?;
    Some(left.as_secs() / DAY_SECONDS)
}

pub(super) fn in_days(days: u64) -> String {
    match days {
        0 => "within a day".to_owned(),
        1 => "tomorrow".to_owned(),
        days => format!("in {days} days"),
    }
}

pub(super) fn check_reason(reason: &str) -> Result<(), Usage> {
    match reason.trim().is_empty() {
        true => Err(Usage("the reason is empty; say why, it is recorded".to_owned())),
        false => Ok(()),
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
    Ok(Some(Passphrase::new(private_line(path, "passphrase")?.as_str())))
}

/// The one line of a file that is for its owner only. `what` it is, for errors.
pub(super) fn private_line(path: &Path, what: &str) -> Result<Zeroizing<String>, Usage> {
    let bytes = certs::read_private(path).map_err(|error| Usage(format!("read the {what}: {error}")))?;
    let name = format!("{what} file `{}`", path.display());
    one_line(&bytes, &name)
}

/// What is piped in, or typed, up to its end: one line.
pub(super) fn line_of_input() -> anyhow::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::new());
    std::io::stdin().lock().take(INPUT_MAX).read_to_end(&mut bytes).context("read standard input")?;
    Ok(one_line(&bytes, "standard input")?)
}

fn one_line(bytes: &[u8], name: &str) -> Result<Zeroizing<String>, Usage> {
    let text = std::str::from_utf8(bytes).map_err(|_| Usage(format!("{name} is not UTF-8 text")))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.contains('\n') {
        return Err(Usage(format!("{name} has more than one line")));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// Reads `--pkcs11`. Not by clap: its error repeats what was typed, and somebody may have typed a PIN.
pub(super) fn token(text: Option<&str>) -> Result<Option<TokenUri>, Usage> {
    let read = |text: &str| text.parse().map_err(|error| Usage(format!("the token's URI {error}")));
    text.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_worth_a_reminder_in_its_last_thirty_days() {
        let now = SystemTime::now();
        let day = Duration::from_secs(DAY_SECONDS);
        for (left, expected) in [
            (day * 31, None),
            (day * 30 + Duration::from_secs(1), None),
            (day * 30, Some(30)),
            (day * 2 - Duration::from_secs(1), Some(1)),
            (Duration::from_secs(1), Some(0)),
        ] {
            assert_eq!(days_left(now + left, now), expected, "{left:?}");
        }
        assert_eq!(days_left(now - day, now), None, "it has ended, which is said elsewhere");
        assert_eq!([0, 1, 12].map(in_days), ["within a day", "tomorrow", "in 12 days"]);
    }
}
