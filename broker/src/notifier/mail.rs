//! Mail by SMTP: TLS unless the server is this host, one message a connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fleet_core::{Codes, Dispatch, Outcome};
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, MailParameter};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use schemas::web::MailHost;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failed;
use super::secret::Secret;

/// Until the server would take a message.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);
/// Bytes that a server says in one conversation.
const READ_MAX: usize = 256 * 1024;

pub(super) struct Server<'a> {
    pub(super) host: &'a MailHost,
    pub(super) implicit_tls: bool,
    pub(super) is_tls: bool,
    pub(super) certificates: &'a [CertificateDer<'static>],
    pub(super) https: Option<&'a Arc<ClientConfig>>,
}

pub(super) async fn send(
    dispatch: &Dispatch,
    codes: &Codes,
    server: &Server<'_>,
    user: Option<&str>,
    from: &str,
    secret: &Secret,
) -> Outcome {
    let Ok(from) = from.parse::<Mailbox>() else { return failed("the sender is no mail address") };
    let domain = from.email.domain().to_owned();
    let Some(message) = message(dispatch, codes, from) else {
        return Outcome::Refused { detail: "the address is none".to_owned() };
    };
    let hello = ClientId::Domain(domain);
    let mut smtp = match timeout(CONNECT_WITHIN, connect(server, &hello, user, secret)).await {
        Ok(Ok(smtp)) => smtp,
        Ok(Err(outcome)) => return outcome,
        Err(_) => return failed("no connection in time"),
    };
    let sent = deliver(&mut smtp, &message).await;
    // It is taken or not, whatever the server says to a goodbye.
    let _ = timeout(GOODBYE_WITHIN, smtp.abort()).await;
    sent.map_or_else(|error| outcome_of(&error), |_| Outcome::Accepted { reference: None })
}

/// Command by command: lettre's own way waits for an answer to the goodbye that follows a refusal.
async fn deliver(smtp: &mut AsyncSmtpConnection, message: &Message) -> Result<(), lettre::transport::smtp::Error> {
    let envelope = message.envelope();
    let mut addresses = envelope.to().iter().chain(envelope.from());
    let options = match addresses.all(|address| address.to_string().is_ascii()) {
        true => Vec::new(),
        false => vec![MailParameter::SmtpUtfEight],
    };
    smtp.command(Mail::new(envelope.from().cloned(), options)).await?;
    for to in envelope.to() {
        smtp.command(Rcpt::new(to.clone(), Vec::new())).await?;
    }
    smtp.command(Data).await?;
    smtp.message(&message.formatted()).await.map(drop)
}

/// Nothing is sent by then: what goes wrong is known.
async fn connect(
    server: &Server<'_>,
    hello: &ClientId,
    user: Option<&str>,
    secret: &Secret,
) -> Result<AsyncSmtpConnection, Outcome> {
    let at = (server.host.host.as_str(), server.host.port);
    let tcp = TcpStream::connect(at).await.map_err(|_| failed("no connection"))?;
    let tcp = Bounded { stream: tcp, left: READ_MAX };
    let known = |error| {
        let outcome = outcome_of(&error);
        if matches!(outcome, Outcome::Unknown { .. }) { failed("no connection") } else { outcome }
    };
    let stream: Box<dyn AsyncTokioStream> = match server.https.filter(|_| server.implicit_tls) {
        Some(tls) => {
            let name = ServerName::try_from(server.host.host.clone()).map_err(|_| failed("the host has no name"))?;
            let connector = TlsConnector::from(Arc::clone(tls));
            Box::new(Wrapped(connector.connect(name, tcp).await.map_err(|_| failed("TLS failed"))?))
        }
        None => Box::new(tcp),
    };
    let mut smtp = AsyncSmtpConnection::connect_with_transport(stream, hello).await.map_err(known)?;
    if server.is_tls && !server.implicit_tls {
        let tls = server.tls().ok_or_else(|| failed("TLS cannot be set up"))?;
        smtp.starttls(tls, hello).await.map_err(known)?;
    }
    if let Some(user) = user {
        let credentials = Credentials::new(user.to_owned(), secret.reveal().to_owned());
        smtp.auth(DEFAULT_MECHANISMS, &credentials).await.map_err(known)?;
    }
    Ok(smtp)
}

/// A server that sends without an end fills no memory.
#[derive(Debug)]
struct Bounded {
    stream: TcpStream,
    left: usize,
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        let Some(left) = self.left.checked_sub(into.filled().len() - before) else {
            return Poll::Ready(Err(io::Error::other("the server sends too much")));
        };
        self.left = left;
        read
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Bounded {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

/// TLS from the first byte.
#[derive(Debug)]
struct Wrapped(TlsStream<Bounded>);

impl AsyncRead for Wrapped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Wrapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Wrapped {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().0.peer_addr()
    }
}

impl Server<'_> {
    fn tls(&self) -> Option<TlsParameters> {
        let mut parameters = TlsParameters::builder(self.host.host.clone()).certificate_store(CertificateStore::None);
        for certificate in self.certificates {
            // One that cannot be read vouches for nobody.
            if let Ok(certificate) = Certificate::from_der(certificate.to_vec()) {
                parameters = parameters.add_root_certificate(certificate);
            }
        }
        parameters.build().ok()
    }
}

/// The same id for each try: a mail that came twice is one to whoever reads it.
fn message(dispatch: &Dispatch, codes: &Codes, from: Mailbox) -> Option<Message> {
    let to: Mailbox = Mailbox::new(None, dispatch.to.parse().ok()?);
    let id = format!("<{}@{}>", dispatch.id, from.email.domain());
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    Message::builder()
        .message_id(Some(id))
        .from(from)
        .to(to)
        .subject(dispatch.subject())
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
        .header(ContentType::TEXT_PLAIN)
        .header(ContentTransferEncoding::Base64)
        .body(dispatch.text(codes).to_string())
        .ok()
}

/// The server's own words may quote the address.
fn outcome_of(error: &lettre::transport::smtp::Error) -> Outcome {
    let code = error.status().map(u16::from);
    let detail = code.map_or_else(|| "SMTP".to_owned(), |code| format!("SMTP {code}"));
    match code {
        // Who sends is not believed: that is the channel's fault, and somebody puts it right.
        Some(530..=538) => Outcome::Failed { detail },
        Some(500..=599) => Outcome::Refused { detail },
        Some(_) => Outcome::Failed { detail },
        None if error.is_tls() => failed("TLS failed"),
        None if error.is_client() => failed("the mail server cannot do what is needed"),
        None => Outcome::Unknown { detail: "connection lost".to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use schemas::api::Channel;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// Whatever is taken when a channel is put can be sent from.
    #[test]
    fn every_sender_that_is_taken_is_one_here() {
        for from in [
            "a@example.com",
            "first.last+tag_x@mail-1.example.co.uk",
            "Lockers <lockers@example.com>",
            "Schließfächer Müller & Söhne <a@example.com>",
            "O'Neil 24-7 <a@example.com>",
            "取件柜 <a@example.com>",
        ] {
            let via = serde_json::json!({ "kind": "email", "host": "mail.example.com:465", "implicit_tls": true, "from": from });
            let channel = serde_json::json!({ "name": "mail", "secret": "mail", "via": via });
            serde_json::from_value::<Channel>(channel)
                .unwrap()
                .check()
                .unwrap_or_else(|error| panic!("{from}: {error}"));
            from.parse::<Mailbox>().unwrap_or_else(|error| panic!("{from}: {error}"));
        }
    }

    /// A greeting without an end: what is read of it is bounded, and nothing was sent.
    #[tokio::test]
    async fn a_server_that_does_not_stop_talking_fills_no_memory() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host: MailHost = listener.local_addr().unwrap().to_string().parse().unwrap();
        let talking = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut said = 0_usize;
            while stream
                .write_all(b"220-welcome to the mail server that has much to say about itself\r\n")
                .await
                .is_ok()
            {
                said += 66;
                assert!(said < 64 * 1024 * 1024, "it is read for ever");
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mail");
        fs::write(&path, format!("smtp://{host}\nhunter2\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let secret = Secret::read(&path, &format!("smtp://{host}")).unwrap();
        let server = Server { host: &host, implicit_tls: false, is_tls: false, certificates: &[], https: None };
        let hello = ClientId::Domain("example.com".to_owned());
        let outcome = timeout(Duration::from_secs(60), connect(&server, &hello, None, &secret)).await.unwrap();
        assert!(matches!(outcome, Err(Outcome::Failed { .. })), "{:?}", outcome.err());
        talking.await.unwrap();
    }
}
