//! The broker's side of the signer's socket: asks without waiting, answers arrive with the ticket of the question.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_core::signing::{Failed, SignerReply, SignerRequest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::frame;

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The signer's answer to the question with this ticket.
#[derive(Debug)]
pub struct SignerAnswer {
    pub ticket: u64,
    pub reply: SignerReply,
}

/// Asks the signer. Every question gets exactly one answer: the signer's, or `Failed` when it cannot be reached.
#[derive(Clone)]
pub struct SignerClient {
    questions: mpsc::UnboundedSender<(u64, SignerRequest)>,
}

impl SignerClient {
    /// Starts the connection, which keeps itself up. Answers go to `answers`.
    pub fn start(socket: &Path, answers: mpsc::UnboundedSender<SignerAnswer>) -> Self {
        let (questions, asked) = mpsc::unbounded_channel();
        let link = Link { socket: socket.to_owned(), asked, answers, open: HashMap::new() };
        tokio::spawn(link.run());
        Self { questions }
    }

    /// Never waits. The number of open questions is bounded by the core, which asks one of a kind at a time.
    pub fn ask(&self, ticket: u64, request: SignerRequest) {
        // The task ends only when every client is gone.
        let _ = self.questions.send((ticket, request));
    }
}

struct Link {
    socket: PathBuf,
    asked: mpsc::UnboundedReceiver<(u64, SignerRequest)>,
    answers: mpsc::UnboundedSender<SignerAnswer>,
    /// Frame id → ticket.
    open: HashMap<u64, u64>,
}

impl Link {
    async fn run(mut self) {
        let mut backoff = BACKOFF_FIRST;
        loop {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => {
                    info!("signer connected");
                    backoff = BACKOFF_FIRST;
                    let (reader, writer) = stream.into_split();
                    if self.converse(reader, writer).await.is_none() {
                        return;
                    }
                    warn!("signer connection lost");
                    self.fail_open();
                }
                Err(error) => warn!(%error, socket = %self.socket.display(), "signer is not reachable"),
            }
            if !self.wait(backoff).await {
                return;
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// `None` when nobody asks any more.
    async fn converse(&mut self, mut reader: OwnedReadHalf, mut writer: OwnedWriteHalf) -> Option<()> {
        // Reading is a task of its own: half a frame must not be lost when a question comes in between.
        let (replies, mut replied) = mpsc::channel(64);
        let reading = tokio::spawn(async move {
            while let Ok(Some(frame)) = frame::read::<SignerReply>(&mut reader).await {
                if replies.send(frame).await.is_err() {
                    break;
                }
            }
        });
        let mut next = 0u64;
        let ended = loop {
            tokio::select! {
                reply = replied.recv() => match reply {
                    Some((id, reply)) => self.answer(id, reply),
                    None => break Some(()),
                },
                question = self.asked.recv() => match question {
                    None => break None,
                    Some((ticket, request)) => {
                        next += 1;
                        self.open.insert(next, ticket);
                        if let Err(error) = frame::write(&mut writer, next, &request).await {
                            warn!(%error, "ask the signer");
                            break Some(());
                        }
                    }
                },
            }
        };
        reading.abort();
        ended
    }

    fn answer(&mut self, id: u64, reply: SignerReply) {
        match self.open.remove(&id) {
            Some(ticket) => self.say(ticket, reply),
            None => warn!("the signer answered what was not asked"),
        }
    }

    /// Answers what comes in while the signer is away. False when nobody asks any more.
    async fn wait(&mut self, backoff: Duration) -> bool {
        let until = tokio::time::Instant::now() + backoff;
        loop {
            match tokio::time::timeout_at(until, self.asked.recv()).await {
                Ok(Some((ticket, _))) => self.say(ticket, unreachable_signer()),
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    fn fail_open(&mut self) {
        for ticket in std::mem::take(&mut self.open).into_values() {
            self.say(ticket, unreachable_signer());
        }
    }

    fn say(&self, ticket: u64, reply: SignerReply) {
        // The driver drops its end only when the process stops.
        let _ = self.answers.send(SignerAnswer { ticket, reply });
    }
}

fn unreachable_signer() -> SignerReply {
    Failed { reason: "the signer is not reachable".into() }.into()
}
