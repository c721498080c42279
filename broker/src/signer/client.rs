//! The broker's side of the connection to the signer: asks without waiting, answers arrive with the ticket of the question.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use certs::ServerName;
use fleet_core::signing::{Failed, SignerReply, SignerRequest};
use rustls::ClientConfig;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tracing::{info, warn};

use super::frame;
use super::listener::Stream;

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Questions are open and nothing is answered: the signer hangs.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// From a connection to a signer on another host until it can be asked.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Where the signer is.
#[derive(Clone)]
pub enum Route {
    /// On this host, behind a Unix socket.
    Socket(PathBuf),
    /// On another one, over TLS.
    Tls { address: String, name: ServerName<'static>, tls: Arc<ClientConfig> },
}

impl Route {
    async fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Socket(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Tls { address, name, tls } => {
                let connected = async {
                    let tcp = TcpStream::connect(address).await?;
                    // Questions are small, and an unlock waits for each.
                    tcp.set_nodelay(true)?;
                    let stream = TlsConnector::from(Arc::clone(tls)).connect(name.clone(), tcp).await?;
                    Ok::<_, io::Error>(Box::new(stream) as Stream)
                };
                tokio::time::timeout(CONNECT_MAX, connected).await.map_err(|_| io::ErrorKind::TimedOut)?
            }
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Socket(path) => path.display().to_string(),
            Self::Tls { address, .. } => address.clone(),
        }
    }
}

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
    /// Why there is no connection; none while there is one.
    trouble: watch::Receiver<Option<String>>,
    /// Numbers belong to the connection's life, not to a driver's: an answer to a question of an earlier driver must
    /// not fit one of the next.
    next: Arc<AtomicU64>,
}

impl SignerClient {
    /// Starts the connection, which keeps itself up. Answers go to `answers`.
    pub fn start(route: Route, answers: mpsc::UnboundedSender<SignerAnswer>) -> Self {
        let (questions, asked) = mpsc::unbounded_channel();
        let (state, trouble) = watch::channel(None);
        let link = Link { route, asked, answers, open: Open::default(), state };
        tokio::spawn(link.run());
        Self { questions, trouble, next: Arc::default() }
    }

    /// Why the signer is not there, also while nobody asks it anything.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// Returns the ticket that the answer will have. Never waits: the number of open questions is bounded by the core,
    /// which asks one of a kind at a time.
    pub fn ask(&self, request: SignerRequest) -> u64 {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        // The task ends only when every client is gone.
        let _ = self.questions.send((ticket, request));
        ticket
    }
}

/// Whether a connection was worth anything.
#[derive(Clone, Copy)]
enum Heard {
    Answers,
    Nothing,
}

struct Link {
    route: Route,
    asked: mpsc::UnboundedReceiver<(u64, SignerRequest)>,
    answers: mpsc::UnboundedSender<SignerAnswer>,
    open: Open,
    /// See [`SignerClient::trouble`].
    state: watch::Sender<Option<String>>,
}

/// Questions without an answer.
#[derive(Default)]
struct Open {
    /// Frame id → ticket.
    tickets: HashMap<u64, u64>,
    /// When the signer last answered, or was first asked after a rest.
    since: Option<Instant>,
}

impl Open {
    fn ask(&mut self, id: u64, ticket: u64, now: Instant) {
        if self.tickets.is_empty() {
            self.since = Some(now);
        }
        self.tickets.insert(id, ticket);
    }

    fn answer(&mut self, id: u64, now: Instant) -> Option<u64> {
        self.since = Some(now);
        self.tickets.remove(&id)
    }

    /// When the signer counts as hanging; never while nothing is asked.
    fn gives_up_at(&self) -> Option<Instant> {
        self.since.filter(|_| !self.tickets.is_empty()).map(|since| since + SILENCE_MAX)
    }

    fn take_all(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.tickets).into_values().collect()
    }
}

impl Link {
    async fn run(mut self) {
        let mut backoff = BACKOFF_FIRST;
        loop {
            match self.connect().await {
                Some(Ok(stream)) => {
                    info!("signer connected");
                    self.state.send_replace(None);
                    match self.converse(stream).await {
                        None => return,
                        Some(Heard::Answers) => backoff = BACKOFF_FIRST,
                        Some(Heard::Nothing) => {}
                    }
                    warn!("signer connection lost");
                    self.state.send_replace(Some("the connection to the signer is lost".to_owned()));
                    self.fail_open();
                }
                Some(Err(error)) => {
                    let at = self.route.place();
                    warn!(%error, at, "signer is not reachable");
                    self.state.send_replace(Some(format!("the signer is not reachable at {at}: {error}")));
                }
                None => return,
            }
            if !self.wait(backoff).await {
                return;
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Answers what is asked meanwhile. `None` when nobody asks any more.
    async fn connect(&mut self) -> Option<io::Result<Stream>> {
        let route = self.route.clone();
        let mut connecting = std::pin::pin!(route.connect());
        loop {
            tokio::select! {
                connected = &mut connecting => return Some(connected),
                asked = self.asked.recv() => match asked {
                    Some((ticket, _)) => self.say(ticket, unreachable_signer()),
                    None => return None,
                },
            }
        }
    }

    /// `None` when nobody asks any more.
    async fn converse(&mut self, stream: Stream) -> Option<Heard> {
        let (mut reader, mut writer) = tokio::io::split(stream);
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
        let mut heard = Heard::Nothing;
        let ended = loop {
            tokio::select! {
                () = until(self.open.gives_up_at()) => {
                    warn!("the signer does not answer");
                    break Some(heard);
                }
                reply = replied.recv() => match reply {
                    Some((id, reply)) => {
                        heard = Heard::Answers;
                        self.answer(id, reply);
                    }
                    None => break Some(heard),
                },
                question = self.asked.recv() => match question {
                    None => break None,
                    Some((ticket, request)) => {
                        next += 1;
                        self.open.ask(next, ticket, Instant::now());
                        // A signer that is stopped takes nothing either, once its buffer is full.
                        match tokio::time::timeout(SILENCE_MAX, frame::write(&mut writer, next, &request)).await {
                            Ok(Ok(())) => {}
                            Ok(Err(error)) => {
                                warn!(error = %format!("{:#}", anyhow::Error::new(error)), "ask the signer");
                                break Some(heard);
                            }
                            Err(_) => {
                                warn!("the signer takes no question");
                                break Some(heard);
                            }
                        }
                    }
                },
            }
        };
        reading.abort();
        ended
    }

    fn answer(&mut self, id: u64, reply: SignerReply) {
        match self.open.answer(id, Instant::now()) {
            Some(ticket) => self.say(ticket, reply),
            None => warn!("the signer answered what was not asked"),
        }
    }

    /// Answers what comes in while the signer is away. False when nobody asks any more.
    async fn wait(&mut self, backoff: Duration) -> bool {
        let until = Instant::now() + backoff;
        loop {
            match tokio::time::timeout_at(until, self.asked.recv()).await {
                Ok(Some((ticket, _))) => self.say(ticket, unreachable_signer()),
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    fn fail_open(&mut self) {
        for ticket in self.open.take_all() {
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

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An unlock after a quiet night would be refused.
    #[test]
    fn a_signer_that_nobody_asked_for_long_does_not_count_as_hanging() {
        let start = Instant::now();
        let mut open = Open::default();
        assert_eq!(open.gives_up_at(), None);
        open.ask(1, 10, start);
        assert_eq!(open.answer(1, start), Some(10));
        assert_eq!(open.gives_up_at(), None);
        let later = start + SILENCE_MAX * 100;
        open.ask(2, 11, later);
        assert_eq!(open.gives_up_at(), Some(later + SILENCE_MAX));
    }

    #[test]
    fn a_signer_that_answers_others_but_never_one_is_not_given_up() {
        let start = Instant::now();
        let mut open = Open::default();
        open.ask(1, 10, start);
        open.ask(2, 11, start + SILENCE_MAX / 2);
        assert_eq!(open.gives_up_at(), Some(start + SILENCE_MAX), "a new question is no answer");
        open.answer(2, start + SILENCE_MAX / 2);
        assert_eq!(open.gives_up_at(), Some(start + SILENCE_MAX / 2 * 3));
        assert_eq!((open.take_all(), open.gives_up_at()), (vec![10], None));
    }
}
