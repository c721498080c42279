//! The signer's process: one Unix socket, few connections, bounded work.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fleet_core::signing::{Failed, SignerReply, SignerRequest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tracing::{info, warn};

use super::service::Service;
use super::{DERIVATIONS_AT_ONCE, frame};
use crate::driver::Clock;

/// Brokers at once: one, and one that is being replaced; the rest waits in the kernel's queue.
const CONNECTIONS: usize = 4;
/// Books, times, codes and reveals in a minute: a fleet of thousands of cabinets stays far below, a thief of all codes
/// does not.
const OTHERS_PER_MINUTE: u32 = 60_000;
/// Requests of one connection that are under way.
const REQUESTS: usize = 256;

/// Why the signer cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("signer socket `{path}` is in use by a running signer; stop that one first")]
    InUse { path: PathBuf },
    #[error("open signer socket `{path}`; check that its folder exists and is writable")]
    Listen {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What is done in a minute at most, whoever asks: so much a thief of the socket gets before he is noticed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub commands_per_minute: u32,
    pub certificates_per_minute: u32,
}

/// Serves until the future is dropped.
pub async fn serve(service: Arc<Service>, socket: &Path, limits: Limits) -> Result<(), ServeError> {
    let listener = listen(socket).await?;
    info!(socket = %socket.display(), "signer ready");
    let shared = Arc::new(Shared {
        service,
        clock: Clock::start(),
        derivations: Semaphore::new(DERIVATIONS_AT_ONCE),
        commands: Mutex::new(Minute::new(limits.commands_per_minute)),
        certificates: Mutex::new(Minute::new(limits.certificates_per_minute)),
        others: Mutex::new(Minute::new(OTHERS_PER_MINUTE)),
    });
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&connections).acquire_owned().await else {
            return Ok(());
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Err(error) = converse(shared, stream).await {
                        warn!(error = %format!("{:#}", anyhow::Error::new(error)), "signer connection ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "signer socket cannot accept");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Opens the socket for its owner alone. A file that a dead signer left behind is removed.
async fn listen(socket: &Path) -> Result<UnixListener, ServeError> {
    let failed = |source| ServeError::Listen { path: socket.to_owned(), source };
    match UnixStream::connect(socket).await {
        Ok(_) => return Err(ServeError::InUse { path: socket.to_owned() }),
        // Nobody listens there, or there is nothing, or it is no socket: all but the first are looked at below.
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {}
        Err(error) => return Err(failed(error)),
    }
    match std::fs::symlink_metadata(socket) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(socket).map_err(failed)?,
        Ok(_) => return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, "it is a file, not a socket"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(socket).map_err(failed)?;
    // The folder decides who may connect between bind and here: `fleet init` makes it 0700.
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

struct Shared {
    service: Arc<Service>,
    clock: Clock,
    derivations: Semaphore,
    commands: Mutex<Minute>,
    certificates: Mutex<Minute>,
    others: Mutex<Minute>,
}

/// Reads requests and answers each as soon as it is done, in any order.
async fn converse(shared: Arc<Shared>, stream: UnixStream) -> Result<(), frame::FrameError> {
    let (mut reader, mut writer) = stream.into_split();
    let (replies, mut done) = mpsc::channel::<(u64, SignerReply)>(REQUESTS);
    let mut writing = tokio::spawn(async move {
        while let Some((id, reply)) = done.recv().await {
            if frame::write(&mut writer, id, &reply).await.is_err() {
                break;
            }
        }
    });
    let under_way = Arc::new(Semaphore::new(REQUESTS));
    let result = loop {
        let read = tokio::select! {
            read = frame::read::<SignerRequest>(&mut reader) => read,
            // Nobody takes the answers any more: nothing is to be done for them either.
            _ = &mut writing => return Ok(()),
        };
        let (id, request) = match read {
            Ok(Some(frame)) => frame,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        let Ok(place) = Arc::clone(&under_way).acquire_owned().await else {
            break Ok(());
        };
        let (shared, replies) = (Arc::clone(&shared), replies.clone());
        tokio::spawn(async move {
            let reply = shared.answer(request).await;
            // A broker that left does not wait for its answers.
            let _ = replies.send((id, reply)).await;
            drop(place);
        });
    };
    drop(replies);
    let _ = writing.await;
    result
}

impl Shared {
    async fn answer(self: &Arc<Self>, request: SignerRequest) -> SignerReply {
        let kind = kind(&request);
        let derives = matches!(request, SignerRequest::MakeSecrets(_));
        if let SignerRequest::SignCommand(ask) = &request {
            let allowed = self.commands.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
            if !allowed {
                warn!(cabinet = %ask.cabinet, "limit of commands per minute reached");
                return Failed { reason: "limit of commands per minute reached".into() }.into();
            }
            info!(cabinet = %ask.cabinet, command = %ask.command.id, requester = ask.command.requester, "sign command");
        } else if let SignerRequest::IssueCertificate(ask) = &request {
            if !self.certificates.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()) {
                warn!(cabinet = %ask.cabinet, "limit of certificates per minute reached");
                return Failed { reason: "limit of certificates per minute reached".into() }.into();
            }
            info!(cabinet = %ask.cabinet, "issue certificate");
        } else {
            if !self.others.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()) {
                warn!(kind, "limit of requests per minute reached");
                return Failed { reason: "limit of requests per minute reached".into() }.into();
            }
            info!(kind, cabinet = cabinet_of(&request).unwrap_or_default(), "asked");
        }
        let place = if derives { self.derivations.acquire().await.ok() } else { None };
        let shared = Arc::clone(self);
        let answered = tokio::task::spawn_blocking(move || shared.service.answer(request, shared.clock.now())).await;
        drop(place);
        let reply = answered.unwrap_or_else(|_| Failed { reason: "the signer failed on this request".into() }.into());
        if let SignerReply::Failed(failed) = &reply {
            warn!(kind, reason = failed.reason, "request refused");
        }
        reply
    }
}

fn kind(request: &SignerRequest) -> &'static str {
    match request {
        SignerRequest::SignCommand(_) => "sign command",
        SignerRequest::SignBook(_) => "sign book",
        SignerRequest::SignTime(_) => "sign time",
        SignerRequest::MakeSecrets(_) => "make secrets",
        SignerRequest::MakeSealed(_) => "make sealed",
        SignerRequest::Reveal(_) => "reveal",
        SignerRequest::IssueCertificate(_) => "issue certificate",
    }
}

fn cabinet_of(request: &SignerRequest) -> Option<&str> {
    match request {
        SignerRequest::SignCommand(ask) => Some(ask.cabinet.as_str()),
        SignerRequest::SignBook(ask) => Some(ask.cabinet.as_str()),
        SignerRequest::SignTime(ask) => Some(ask.cabinet.as_str()),
        SignerRequest::MakeSecrets(ask) => Some(ask.cabinet.as_str()),
        SignerRequest::IssueCertificate(ask) => Some(ask.cabinet.as_str()),
        SignerRequest::MakeSealed(_) | SignerRequest::Reveal(_) => None,
    }
}

/// A bucket that fills evenly over a minute.
struct Minute {
    limit: f64,
    tokens: f64,
    filled: Instant,
}

impl Minute {
    fn new(limit: u32) -> Self {
        Self { limit: limit.into(), tokens: limit.into(), filled: Instant::now() }
    }

    fn take(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * self.limit / 60.0;
        self.tokens = (self.tokens + gained).min(self.limit);
        self.filled = now;
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_limited_and_the_limit_recovers() {
        let start = Instant::now();
        let mut minute = Minute { limit: 2.0, tokens: 2.0, filled: start };
        assert!(minute.take(start) && minute.take(start));
        assert!(!minute.take(start));
        assert!(!minute.take(start + Duration::from_secs(29)));
        assert!(minute.take(start + Duration::from_secs(31)));
    }
}
