//! One request to a gateway: no redirect is followed, no proxy asked, and what comes back is bounded.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use schemas::web::WebUrl;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use fleet_core::Outcome;

/// Until there is a connection, with TLS.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// From the request to the end of the answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// From its status to its end.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const BODY_MAX: usize = 64 * 1_024;

pub(super) struct Post<'a> {
    pub(super) url: &'a WebUrl,
    pub(super) content_type: &'static str,
    /// Marked as secret: HTTP libraries show them in no debug output.
    pub(super) headers: Vec<(&'a str, String)>,
    pub(super) body: Vec<u8>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    /// None: it broke off, dripped, or was too long.
    pub(super) body: Option<Bytes>,
}

/// Sends it once. What did not come to an answer is an outcome: known not to be sent, or unknown.
pub(super) async fn post(post: Post<'_>, tls: Option<&Arc<ClientConfig>>) -> Result<Answer, Outcome> {
    let Post { url, content_type, headers, body } = post;
    exchange(url, build(url, headers, Some((content_type, body))), tls).await
}

/// Reads what is there.
pub(super) async fn get(
    url: &WebUrl,
    headers: Vec<(&str, String)>,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Answer, Outcome> {
    exchange(url, build(url, headers, None), tls).await
}

async fn exchange(
    url: &WebUrl,
    request: Option<Request<Full<Bytes>>>,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Answer, Outcome> {
    let not_sent = |detail: &str| Outcome::Failed { detail: detail.to_owned() };
    let request = request.ok_or_else(|| not_sent("the request cannot be made"))?;
    let connecting = async {
        let tcp = TcpStream::connect((url.host.as_str(), url.port)).await.map_err(|_| "no connection")?;
        if !url.tls {
            return Ok(Box::new(tcp) as Box<dyn Connection>);
        }
        let tls = tls.ok_or("no CA is trusted")?;
        let name = ServerName::try_from(url.host.clone()).map_err(|_| "the host has no name")?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.map_err(|_| "TLS failed")?;
        Ok(Box::new(stream) as Box<dyn Connection>)
    };
    let stream = match timeout(CONNECT_MAX, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(detail)) => return Err(not_sent(detail)),
        Err(_) => return Err(not_sent("no connection in time")),
    };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|_| not_sent("no connection"))?;
    let asking = async {
        let answer = sender.send_request(request).await.map_err(|_| "connection lost")?;
        let status = answer.status().as_u16();
        let body = timeout(BODY_WITHIN, Limited::new(answer.into_body(), BODY_MAX).collect()).await;
        // The status is known, whatever becomes of the rest.
        Ok::<_, &str>(Answer { status, body: body.ok().and_then(Result::ok).map(|body| body.to_bytes()) })
    };
    let answered = tokio::select! {
        answered = timeout(ANSWER_MAX, asking) => answered,
        _ = drive(connection) => Ok(Err("connection lost")),
    };
    let unknown = |detail: &str| Outcome::Unknown { detail: detail.to_owned() };
    match answered {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(detail)) => Err(unknown(detail)),
        Err(_) => Err(unknown("no answer in time")),
    }
}

/// Never ends before the answer is read: what it hands over at its end is read by the other branch first.
async fn drive<T>(connection: http1::Connection<T, Full<Bytes>>)
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let _ = connection.await;
    std::future::pending::<()>().await;
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

fn build(
    url: &WebUrl,
    headers: Vec<(&str, String)>,
    content: Option<(&'static str, Vec<u8>)>,
) -> Option<Request<Full<Bytes>>> {
    let method = if content.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::builder()
        .method(method)
        .uri(url.path.as_str())
        .header("host", url.authority())
        .header("user-agent", concat!("locker-fleet/", env!("CARGO_PKG_VERSION")));
    for (name, value) in headers {
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        request = request.header(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    let (content_type, body) = content.unzip();
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    request.body(Full::new(Bytes::from(body.unwrap_or_default()))).ok()
}

/// What a status says that is no success. A gateway that has an answer of its own kind for refusals is asked about that first.
pub(super) fn outcome_of(status: u16, code: Option<i64>) -> Outcome {
    let detail = match code {
        Some(code) => format!("HTTP {status}, code {code}"),
        None => format!("HTTP {status}"),
    };
    match status {
        // It may have been taken by whatever is behind what answers.
        408 | 500..=599 => Outcome::Unknown { detail },
        // The channel is wrong and not the message: somebody puts that right. Or: later.
        401..=405 | 407 | 425 | 429 | 300..=399 => Outcome::Failed { detail },
        _ => Outcome::Refused { detail },
    }
}
