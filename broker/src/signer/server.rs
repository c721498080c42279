//! The signer's process: few connections, bounded work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_core::signing::{Failed, SignerReply, SignerRequest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tracing::{info, warn};

use super::limits::{Limits, Meter, name};
use super::listener::{Listener, Seldom, Stream};
use super::service::Service;
use super::{DERIVATIONS_AT_ONCE, frame};
use crate::driver::Clock;
use crate::places::{Place, Places};

/// Brokers at once: one, and one that is being replaced. One more takes the place of the oldest, whose host may be gone.
const CONNECTIONS: usize = 4;
/// Requests of one connection that are under way, and their bytes.
const REQUESTS: usize = 256;
const REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// A broker that takes no answer for so long is gone.
const ANSWER_TAKEN: Duration = Duration::from_secs(30);
/// Secrets in one request; the fleet asks for sixteen.
const SECRETS_MAX: usize = 64;

/// Serves until the future is dropped.
pub async fn serve(service: Arc<Service>, mut listener: Listener, limits: &Limits) {
    info!(at = listener.place(), "signer ready");
    let shared = Arc::new(Shared {
        service,
        clock: Clock::start(),
        derivations: Semaphore::new(DERIVATIONS_AT_ONCE),
        meter: Meter::new(limits, Instant::now()),
    });
    let connections = Places::new(CONNECTIONS, Duration::ZERO, &[]);
    let mut seldom = Seldom::default();
    loop {
        let arrived = listener.next(&mut seldom).await;
        let place = connections.enter(arrived.from);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            if let Err(error) = converse(shared, arrived.stream, place).await {
                warn!(error = %format!("{:#}", anyhow::Error::new(error)), "signer connection ended");
            }
        });
    }
}

struct Shared {
    service: Arc<Service>,
    clock: Clock,
    derivations: Semaphore,
    meter: Meter,
}

/// Given back when the answer is written.
type Held = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// Reads requests and answers each as soon as it is done, in any order.
async fn converse(shared: Arc<Shared>, stream: Stream, mut place: Place) -> Result<(), frame::FrameError> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (replies, mut done) = mpsc::channel::<(u64, SignerReply, Held)>(REQUESTS);
    let mut writing = tokio::spawn(async move {
        while let Some((id, reply, held)) = done.recv().await {
            let written = timeout(ANSWER_TAKEN, frame::write(&mut writer, id, &reply)).await;
            written.map_err(|_| frame::FrameError::NotTaken)??;
            drop(held);
        }
        Ok(())
    });
    let under_way = Arc::new(Semaphore::new(REQUESTS));
    let memory = Arc::new(Semaphore::new(REQUEST_BYTES));
    let result = loop {
        let read = tokio::select! {
            read = read(&mut reader, &under_way, &memory) => read,
            // Nobody takes the answers any more: nothing is to be done for them either.
            ended = &mut writing => return ended.unwrap_or(Ok(())),
            () = place.evicted() => {
                info!("a newer connection of the broker takes the place of its oldest");
                writing.abort();
                return Ok(());
            }
        };
        let (id, request, held) = match read {
            Ok(Some(request)) => request,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        let (shared, replies) = (Arc::clone(&shared), replies.clone());
        tokio::spawn(async move {
            let reply = shared.answer(request).await;
            // A broker that left does not wait for its answers.
            let _ = replies.send((id, reply, held)).await;
        });
    };
    drop(replies);
    let _ = writing.await;
    result
}

/// The next request, once there is room for it.
async fn read(
    reader: &mut (impl tokio::io::AsyncRead + Unpin),
    under_way: &Arc<Semaphore>,
    memory: &Arc<Semaphore>,
) -> Result<Option<(u64, SignerRequest, Held)>, frame::FrameError> {
    // Neither is ever closed.
    let Ok(request) = Arc::clone(under_way).acquire_owned().await else { return Ok(None) };
    let Some(length) = frame::read_length(reader).await? else { return Ok(None) };
    let bytes = u32::try_from(length).map_err(|_| frame::FrameError::TooLarge(length))?;
    let Ok(bytes) = Arc::clone(memory).acquire_many_owned(bytes).await else { return Ok(None) };
    let (id, body) = frame::read_body(reader, length).await?;
    Ok(Some((id, body, (request, bytes))))
}

impl Shared {
    async fn answer(self: &Arc<Self>, request: SignerRequest) -> SignerReply {
        let asked = name(&request);
        if let SignerRequest::MakeSecrets(ask) = &request
            && ask.items.len() > SECRETS_MAX
        {
            return refused(asked, format!("at most {SECRETS_MAX} secrets are made at once"));
        }
        if let Err(reached) = self.meter.admit(&request, Instant::now()) {
            return Failed { reason: reached.to_string() }.into();
        }
        let derives = matches!(request, SignerRequest::MakeSecrets(_));
        let place = if derives { self.derivations.acquire().await.ok() } else { None };
        let shared = Arc::clone(self);
        let answered = tokio::task::spawn_blocking(move || shared.service.answer(request, shared.clock.now())).await;
        drop(place);
        match answered {
            Ok(SignerReply::Failed(failed)) => refused(asked, failed.reason),
            Ok(reply) => reply,
            Err(_) => refused(asked, "the signer failed on this request".to_owned()),
        }
    }
}

fn refused(asked: &'static str, reason: String) -> SignerReply {
    warn!(asked, reason, "request refused");
    Failed { reason }.into()
}
