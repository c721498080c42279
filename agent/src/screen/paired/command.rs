//! `cabinet-agent pair-screen`: asks the agent that runs for a code, as the browser on the cabinet would.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use certs::{FileError, LoadError};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::screen::address::{HTTPS_PORT, authority};
use crate::screen::answers::OfferAnswer;
use crate::screen::guard::KEY_HEADER;
use crate::settings::AgentSettings;

const ANSWER_MAX: usize = 1024;
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// What is asked for on the command line.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(after_help = "\
Examples:
  cabinet-agent pair-screen --settings /var/lib/cabinet-agent/agent.toml
  cabinet-agent pair-screen --settings agent.toml --certificate > screen.crt
  cabinet-agent pair-screen --settings agent.toml --end

The agent must be running, with `screen.paired.listen` and `screen.paired.peer`
in its settings; ask as the user it runs as. The screen that types the code takes
the place of the one before, and of the cabinet's own.")]
pub struct PairArguments {
    /// Let no screen but the cabinet's own be answered any more
    #[arg(long)]
    end: bool,
    /// Print what the other screen has to trust, as PEM, and make no code
    #[arg(long, conflicts_with = "end")]
    certificate: bool,
}

/// Why no screen can be paired now.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    #[error(
        "this cabinet has its own screen only; set `screen.paired.listen` and `screen.paired.peer`, then start the agent anew"
    )]
    NotSet,
    #[error("the agent is not running, or not by these settings")]
    NoAgent(#[source] FileError),
    #[error("`{0}` is not the address of a screen")]
    Address(String),
    #[error("the agent does not answer at {0}; is it running?")]
    Silent(SocketAddr),
    #[error("talk to the agent")]
    Http(#[from] hyper::Error),
    #[error("the agent refuses ({0}); is it running by these settings since they were changed?")]
    Refused(StatusCode),
    #[error(
        "no screen is answered any more, but the disk did not take that: the agent's log says why; until that is mended, \
         a start of the agent may bring the screen back"
    )]
    NotKept,
    #[error("the agent has made no certificate yet, or its folder is not to be read; its log says why")]
    Certificate(#[source] LoadError),
    #[error("the agent's answer cannot be read")]
    Answer,
    #[error("start the runtime")]
    Runtime(#[source] io::Error),
}

/// Prints what is to be typed at the other screen; what to do there.
pub fn pair(arguments: PairArguments, settings: &AgentSettings) -> Result<(), PairError> {
    let paired = &settings.screen.paired;
    let ends = paired.ends().ok_or(PairError::NotSet)?;
    if arguments.certificate {
        let trusted = paired.folder().authority(ends.listen.ip()).map_err(PairError::Certificate)?;
        #[allow(clippy::print_stdout, reason = "the answer to a command")]
        {
            print!("{trusted}");
        }
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(PairError::Runtime)?;
    let path = if arguments.end { "/api/pairing/end" } else { "/api/pairing" };
    let answer = match runtime.block_on(ask(settings, path)) {
        Err(PairError::Refused(StatusCode::SERVICE_UNAVAILABLE)) if arguments.end => return Err(PairError::NotKept),
        other => other?,
    };
    // A technician's answer, not a log.
    #[allow(clippy::print_stdout, reason = "the answer to a command")]
    if arguments.end {
        println!("No screen but the cabinet's own is answered any more.");
    } else {
        let OfferAnswer { code, seconds } = serde_json::from_slice(&answer).map_err(|_| PairError::Answer)?;
        let (first, second) = code.split_at_checked(code.len() / 2).ok_or(PairError::Answer)?;
        println!("Type this at the screen, within {} minutes: {first} {second}", seconds / 60);
        println!("It opens https://{}/", authority(ends.listen, HTTPS_PORT));
        println!("and has to trust what `--certificate` prints.");
    }
    Ok(())
}

async fn ask(settings: &AgentSettings, path: &str) -> Result<Bytes, PairError> {
    let line = certs::read_private(&settings.screen.address_file).map_err(PairError::NoAgent)?;
    let line = Zeroizing::new(String::from_utf8_lossy(&line).trim().to_owned());
    let (base, key) = line.split_once("/#key=").ok_or_else(|| PairError::Address(String::new()))?;
    let host = base.strip_prefix("http://").unwrap_or(base);
    let address: SocketAddr =
        host.parse().or_else(|_| format!("{host}:80").parse()).map_err(|_| PairError::Address(base.to_owned()))?;
    let request = Request::post(path)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .header(KEY_HEADER, key)
        .body(Full::new(Bytes::from_static(b"{}")))
        .map_err(|_| PairError::Address(base.to_owned()))?;
    let asked = timeout(ANSWER_TIME, converse(address, request));
    asked.await.map_err(|_| PairError::Silent(address))?
}

async fn converse(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<Bytes, PairError> {
    let stream = TcpStream::connect(address).await.map_err(|_| PairError::Silent(address))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await.map_err(|_| PairError::Answer)?;
    driving.abort();
    if status.is_success() { Ok(body.to_bytes()) } else { Err(PairError::Refused(status)) }
}
