//! `cabinet-agent enroll`: what an installer types, and what he reads.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use schemas::enrolment::{TOKEN_MAX, Token, is_device_serial};
use tokio::runtime::Builder;

use crate::boards;
use crate::fleet_time::FleetTime;
use crate::identity::{Enrollment, enroll, key_place};
use crate::process::RunError;

/// Where a machine tells its serial number: device tree (ARM boards), and DMI (PCs; for root only).
const SERIAL_FILES: [&str; 2] = ["/proc/device-tree/serial-number", "/sys/class/dmi/id/product_serial"];

/// What is asked for on the command line.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cabinet-agent enroll --settings /etc/cabinet-agent/agent.toml < token.txt
  cabinet-agent enroll --settings agent.toml --serial LF-0007 --token-file token.txt
  cabinet-agent enroll --settings agent.toml --pkcs11 \\
      'pkcs11:token=cabinet?module-path=/usr/lib/p11.so&pin-source=file:/etc/cabinet-agent/pin' < token.txt

The token is read from standard input, so that it does not stand in the list of
processes. Interrupted, the command can be given again with the same token.")]
pub struct SetupArguments {
    /// Private file with the token [default: standard input]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Serial number of this machine [default: what the machine itself says]
    #[arg(long, value_name = "TEXT")]
    serial: Option<String>,
    /// Hardware in which the key is made and stays, a URI that begins with `pkcs11:` [default: a file]
    #[arg(long, value_name = "URI")]
    pkcs11: Option<String>,
}

/// Enrols this machine. The identity goes into the folder of the settings file.
pub fn run(arguments: &SetupArguments, settings: Option<&Path>) -> Result<(), RunError> {
    let token = read_token(arguments.token_file.as_deref())?;
    let base = settings.and_then(Path::parent).filter(|base| *base != Path::new("")).unwrap_or(Path::new("."));
    let ask = Enrollment {
        device_serial: device_serial(arguments.serial.as_deref())?,
        base: base.to_owned(),
        pkcs11: pkcs11(arguments.pkcs11.as_deref())?,
        clock: Arc::new(FleetTime::new(boards::boot_clock())),
        token,
    };
    let runtime = Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let made = runtime.block_on(enroll(&ask)).map_err(anyhow::Error::from)?;
    let token = &ask.token;
    // The installer's answer, not a log.
    #[allow(clippy::print_stdout, reason = "the answer to a command")]
    {
        println!("Enrolled as cabinet {} of {} at {}.", token.cabinet, token.tenant, token.site);
        println!("Its certificate renews itself; this one ends on {}.", made.last_day());
        println!("Next: start the agent, `cabinet-agent --settings {}`.", base.join("agent.toml").display());
    }
    Ok(())
}

/// Not read by clap: its error repeats what was typed, and somebody may have typed a PIN.
fn pkcs11(given: Option<&str>) -> Result<Option<certs::TokenUri>, RunError> {
    let wrong = |error| RunError::Settings(format!("--pkcs11 {error}"));
    given.map(|text| key_place(text).map_err(wrong)).transpose()
}

fn read_token(file: Option<&Path>) -> Result<Token, RunError> {
    let mut text = zeroize::Zeroizing::new(String::new());
    // Line breaks and spaces come on top.
    let limit = 2 * TOKEN_MAX as u64;
    match file {
        Some(path) => {
            let bytes = certs::read_private(path).map_err(anyhow::Error::from)?;
            text.push_str(std::str::from_utf8(&bytes).context("the token file is no text")?);
        }
        None => {
            let read = std::io::stdin().take(limit).read_to_string(&mut text);
            read.context("read the token from standard input")?;
        }
    }
    Ok(text.parse::<Token>().map_err(anyhow::Error::from)?)
}

fn device_serial(given: Option<&str>) -> Result<String, RunError> {
    let own = || {
        let read = |path: &&str| std::fs::read_to_string(path).ok();
        let texts = SERIAL_FILES.iter().filter_map(read);
        texts
            .map(|text| text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned())
            .find(|text| is_device_serial(text))
    };
    let serial = given.map(str::to_owned).or_else(own);
    let serial = serial.context("this machine does not tell its serial number; give it with --serial")?;
    if !is_device_serial(&serial) {
        return Err(anyhow::anyhow!("`{serial}` is no serial number: 1 to 64 characters without spaces").into());
    }
    Ok(serial)
}
