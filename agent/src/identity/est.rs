//! The agent's side of EST (RFC 7030): one request a connection, small answers, a limit on time.

use std::sync::Arc;
use std::time::Duration;

use certs::{BUNDLE_MAX, CertificateDer, unbundle};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// From the first packet to the last byte of the answer.
const REQUEST_MAX: Duration = Duration::from_secs(25);
/// A bundle in base64 with its line breaks.
const BODY_MAX: usize = BUNDLE_MAX * 3 / 2;

/// Where the fleet's enrolment port is.
#[derive(Debug, Clone)]
pub struct Fleet {
    pub host: String,
    pub port: u16,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EstError {
    #[error("`{0}` is neither a host name nor an address")]
    Host(String),
    #[error("reach the fleet at {host}:{port}")]
    Unreachable { host: String, port: u16, source: std::io::Error },
    #[error("the fleet at {host}:{port} does not answer")]
    Silent { host: String, port: u16 },
    #[error("the fleet does not speak HTTP")]
    Http(#[from] hyper::Error),
    #[error("the fleet's answer is too long or was cut off")]
    Body,
    #[error("the fleet's answer is not a bundle of certificates")]
    Bundle,
    #[error("the fleet refuses ({status}): {text}")]
    Refused { status: u16, text: String },
}

impl EstError {
    /// Whether asking again, with nothing changed, can help.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Http(_) | Self::Body => true,
            Self::Refused { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE.as_u16(),
            Self::Host(_) | Self::Bundle => false,
        }
    }
}

impl Fleet {
    /// Asks for certificates that everyone may have.
    pub async fn get(&self, tls: Arc<ClientConfig>, path: &str) -> Result<Vec<CertificateDer<'static>>, EstError> {
        let request = Request::get(path).header(header::HOST, &self.host).body(Full::default());
        self.ask(tls, request).await
    }

    /// Sends a certification request in DER, with the user and the password of a token if there is one.
    pub async fn post(
        &self,
        tls: Arc<ClientConfig>,
        path: &str,
        basic: Option<(&str, &str)>,
        csr: &[u8],
    ) -> Result<Vec<CertificateDer<'static>>, EstError> {
        let mut request = Request::post(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/pkcs10")
            .header("content-transfer-encoding", "base64");
        if let Some((user, password)) = basic {
            let encoded = data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes());
            request = request.header(header::AUTHORIZATION, format!("Basic {encoded}"));
        }
        let body = data_encoding::BASE64.encode(csr);
        self.ask(tls, request.body(Full::from(body.into_bytes()))).await
    }

    async fn ask(
        &self,
        tls: Arc<ClientConfig>,
        request: Result<Request<Full<Bytes>>, hyper::http::Error>,
    ) -> Result<Vec<CertificateDer<'static>>, EstError> {
        // Only the host comes from outside, and a host that is none is found here or in a moment.
        let request = request.map_err(|_| EstError::Host(self.host.clone()))?;
        let silent = |_| EstError::Silent { host: self.host.clone(), port: self.port };
        timeout(REQUEST_MAX, self.converse(tls, request)).await.map_err(silent)?
    }

    async fn converse(
        &self,
        tls: Arc<ClientConfig>,
        request: Request<Full<Bytes>>,
    ) -> Result<Vec<CertificateDer<'static>>, EstError> {
        let (host, port) = (self.host.as_str(), self.port);
        let unreachable = |source| EstError::Unreachable { host: host.to_owned(), port, source };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| EstError::Host(host.to_owned()))?;
        let tcp = TcpStream::connect((host, port)).await.map_err(unreachable)?;
        let stream = TlsConnector::from(tls).connect(name, tcp).await.map_err(unreachable)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driving = tokio::spawn(connection);
        let answered = sender.send_request(request).await;
        let outcome = match answered {
            Ok(response) => {
                let status = response.status();
                let body = Limited::new(response.into_body(), BODY_MAX).collect().await.map_err(|_| EstError::Body);
                body.and_then(|body| read(status, &body.to_bytes()))
            }
            Err(error) => Err(error.into()),
        };
        driving.abort();
        outcome
    }
}

fn read(status: StatusCode, body: &[u8]) -> Result<Vec<CertificateDer<'static>>, EstError> {
    if status != StatusCode::OK {
        // For a person: a line, whatever the other side has sent.
        let line = String::from_utf8_lossy(body);
        let text = line.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(300).collect();
        return Err(EstError::Refused { status: status.as_u16(), text });
    }
    let text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let der = data_encoding::BASE64.decode(&text).map_err(|_| EstError::Bundle)?;
    unbundle(&der).map_err(|_| EstError::Bundle)
}
