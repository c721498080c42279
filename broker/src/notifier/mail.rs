//! Mail by SMTP: TLS unless the server is this host, one message a connection.

use std::time::Duration;

use fleet_core::{Codes, Dispatch, Outcome};
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use rustls::pki_types::CertificateDer;
use schemas::web::MailHost;

use super::failed;
use super::secret::Secret;

/// For one command and its answer.
const COMMAND_MAX: Duration = Duration::from_secs(20);

pub(super) struct Server<'a> {
    pub(super) host: &'a MailHost,
    pub(super) implicit_tls: bool,
    pub(super) is_tls: bool,
    pub(super) certificates: &'a [CertificateDer<'static>],
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
    let Some(tls) = server.tls() else { return failed("TLS cannot be set up") };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host.host)
        .port(server.host.port)
        .tls(tls)
        .hello_name(ClientId::Domain(domain))
        .timeout(Some(COMMAND_MAX));
    if let Some(user) = user {
        transport = transport.credentials(Credentials::new(user.to_owned(), secret.reveal().to_owned()));
    }
    match transport.build().send(message).await {
        Ok(_) => Outcome::Accepted { reference: None },
        Err(error) => outcome_of(&error),
    }
}

impl Server<'_> {
    fn tls(&self) -> Option<Tls> {
        if !self.is_tls {
            return Some(Tls::None);
        }
        let mut parameters = TlsParameters::builder(self.host.host.clone()).certificate_store(CertificateStore::None);
        for certificate in self.certificates {
            // One that cannot be read vouches for nobody.
            if let Ok(certificate) = Certificate::from_der(certificate.to_vec()) {
                parameters = parameters.add_root_certificate(certificate);
            }
        }
        let parameters = parameters.build().ok()?;
        Some(if self.implicit_tls { Tls::Wrapper(parameters) } else { Tls::Required(parameters) })
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
