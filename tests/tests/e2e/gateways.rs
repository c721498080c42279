//! An HTTP gateway and a mail server that do what a test tells them, over real sockets.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use fleet_tests::{Look, until};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What a gateway does with the next request.
#[derive(Debug, Clone)]
pub(crate) enum Turn {
    Answer(u16, String),
    /// Takes it after so many milliseconds.
    Slow(u64),
    /// Reads the whole request and closes the connection.
    Cut,
    /// Reads the whole request and says nothing.
    Hang,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    turns: VecDeque<Turn>,
}

/// A gateway on 127.0.0.1.
pub(crate) struct Gateway {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
    usual: Turn,
}

impl Gateway {
    /// Without TLS; answers like this when nothing else was said.
    pub(crate) async fn start(usual: Turn) -> anyhow::Result<Self> {
        Self::start_with(usual, None).await
    }

    /// With the certificate and the key of these files.
    pub(crate) async fn start_tls(usual: Turn, certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        Self::start_with(usual, Some(acceptor(certificate, key)?)).await
    }

    async fn start_with(usual: Turn, tls: Option<TlsAcceptor>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr()?);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (shared, always) = (Arc::clone(&seen), usual.clone());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (shared, always, tls) = (Arc::clone(&shared), always.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => match tls.accept(tcp).await {
                            Ok(stream) => serve(stream, &shared, &always).await,
                            Err(error) => Err(error.into()),
                        },
                        None => serve(tcp, &shared, &always).await,
                    }
                });
            }
        });
        Ok(Self { url, seen, usual })
    }

    /// What it does next, one after another.
    pub(crate) fn then(&self, turns: impl IntoIterator<Item = Turn>) {
        self.lock().turns.extend(turns);
    }

    /// What it answers usually.
    pub(crate) fn then_usual(&self) {
        self.then([self.usual.clone()]);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    pub(crate) async fn until(&self, count: usize) -> anyhow::Result<Vec<Request>> {
        until(&format!("the gateway has {count} requests"), async || {
            let all = self.requests();
            Ok(Look::at((all.len() >= count).then(|| all.clone()), || format!("{} requests", all.len())))
        })
        .await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn acceptor(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, seen: &Mutex<Seen>, usual: &Turn) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().context("a method")?, words.next().context("a path")?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length: usize = headers.get("content-length").map_or(Ok(0), |length| length.parse())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let request = Request { method, path, headers, body: String::from_utf8(body)? };
    let turn = {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.requests.push(request);
        seen.turns.pop_front().unwrap_or_else(|| usual.clone())
    };
    match turn {
        Turn::Answer(status, body) => {
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await?;
            stream.shutdown().await?;
        }
        Turn::Slow(millis) => {
            tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
            stream.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n").await?;
            stream.shutdown().await?;
        }
        Turn::Cut => {}
        Turn::Hang => std::future::pending().await,
    }
    Ok(())
}

/// Mail that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) to: String,
    /// Headers and body as they came.
    pub(crate) text: String,
}

/// A mail server on 127.0.0.1. It takes AUTH PLAIN, with TLS not before that, and knows nobody whose name begins with `bounce`.
pub(crate) struct MailServer {
    pub(crate) address: String,
    seen: Arc<Mutex<Inbox>>,
}

#[derive(Default)]
struct Inbox {
    mails: Vec<Mail>,
    logins: Vec<String>,
    /// So many are read and not answered.
    cuts: usize,
}

/// When a mail server speaks TLS.
#[derive(Clone)]
enum MailTls {
    Never,
    Asked(TlsAcceptor),
    AtOnce(TlsAcceptor),
}

impl MailServer {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::start_with("127.0.0.1", MailTls::Never).await
    }

    /// With the certificate and the key of these files, from the first byte or behind STARTTLS.
    pub(crate) async fn start_tls(certificate: &Path, key: &Path, at_once: bool) -> anyhow::Result<Self> {
        Self::start_tls_at("127.0.0.1", certificate, key, at_once).await
    }

    /// The same at another address of this machine.
    pub(crate) async fn start_tls_at(ip: &str, certificate: &Path, key: &Path, at_once: bool) -> anyhow::Result<Self> {
        let tls = acceptor(certificate, key)?;
        Self::start_with(ip, if at_once { MailTls::AtOnce(tls) } else { MailTls::Asked(tls) }).await
    }

    async fn start_with(ip: &str, tls: MailTls) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let address = listener.local_addr()?.to_string();
        let seen = Arc::new(Mutex::new(Inbox::default()));
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move { welcome(tcp, &shared, tls).await });
            }
        });
        Ok(Self { address, seen })
    }

    /// The next mail is read, and the connection closed without an answer.
    pub(crate) fn cut_next(&self) {
        self.lock().cuts += 1;
    }

    pub(crate) fn logins(&self) -> Vec<String> {
        self.lock().logins.clone()
    }

    pub(crate) async fn until(&self, count: usize) -> anyhow::Result<Vec<Mail>> {
        until(&format!("the mail server has {count} mails"), async || {
            let all = self.lock().mails.clone();
            Ok(Look::at((all.len() >= count).then(|| all.clone()), || format!("{} mails", all.len())))
        })
        .await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inbox> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn welcome(tcp: TcpStream, seen: &Mutex<Inbox>, tls: MailTls) -> anyhow::Result<()> {
    match tls {
        MailTls::Never => talk(tcp, seen, true, false).await.map(drop),
        MailTls::AtOnce(tls) => talk(tls.accept(tcp).await?, seen, true, false).await.map(drop),
        MailTls::Asked(tls) => match talk(tcp, seen, true, true).await? {
            Some(tcp) => talk(tls.accept(tcp).await?, seen, false, false).await.map(drop),
            None => Ok(()),
        },
    }
}

/// Returns the stream where the other side has asked for TLS. Without that a server that `wants_tls` takes nothing.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    seen: &Mutex<Inbox>,
    greets: bool,
    wants_tls: bool,
) -> anyhow::Result<Option<S>> {
    let mut stream = BufReader::new(stream);
    if greets {
        stream.write_all(b"220 mail.test ESMTP\r\n").await?;
    }
    let mut to = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" if wants_tls => "250-mail.test\r\n250 STARTTLS".to_owned(),
            "STARTTLS" if wants_tls => {
                stream.write_all(b"220 go on\r\n").await?;
                return Ok(Some(stream.into_inner()));
            }
            _ if wants_tls && verb != "QUIT" => "530 TLS first".to_owned(),
            "EHLO" => "250-mail.test\r\n250-8BITMIME\r\n250 AUTH PLAIN".to_owned(),
            "AUTH" => {
                seen.lock().unwrap_or_else(PoisonError::into_inner).logins.push(line.to_owned());
                "235 welcome".to_owned()
            }
            "MAIL" => "250 ok".to_owned(),
            "RCPT" if line.contains("<bounce") => format!("550 {line}: nobody has this name"),
            "RCPT" => {
                to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                "250 ok".to_owned()
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let text = data(&mut stream).await?;
                let mut inbox = seen.lock().unwrap_or_else(PoisonError::into_inner);
                inbox.mails.push(Mail { to: std::mem::take(&mut to), text });
                if inbox.cuts > 0 {
                    inbox.cuts -= 1;
                    bail!("cut");
                }
                "250 taken".to_owned()
            }
            // What it has taken it has taken, and some servers have no goodbye.
            "QUIT" => continue,
            _ => "502 no".to_owned(),
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

async fn data(stream: &mut (impl AsyncBufReadExt + Unpin)) -> anyhow::Result<String> {
    let mut text = String::new();
    loop {
        let before = text.len();
        if stream.read_line(&mut text).await? == 0 {
            bail!("the mail breaks off");
        }
        if text[before..].trim_end() == "." {
            text.truncate(before);
            return Ok(text);
        }
    }
}
