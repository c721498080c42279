//! Where the signer is reached: a Unix socket on the broker's host, or TLS from another one. Who is not the broker is not heard.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use certs::{ServerPeer, TlsIdentity};
use rustls::ServerConfig;
use schemas::ids::{Identity, Role};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use super::accounts;
use crate::driver::Clock;
use crate::places::{Place, Places};
use crate::settings::SignerSettings;

/// Strangers that are shaking hands, at once, and how long one of them is let alone while others wait.
const HANDSHAKES: usize = 64;
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(2);
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long accepting rests after it failed: without file descriptors it would fail again at once.
const ACCEPT_REST: Duration = Duration::from_millis(200);
/// At most one line in the log per this time about peers that are not heard.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Why the signer cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("signer socket `{path}` is in use by a running signer; stop that one first")]
    InUse { path: PathBuf },
    #[error("open signer socket `{path}`; check that its folder exists and is writable")]
    Socket {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("give signer socket `{path}` to group {group}; the signer's user has to be a member")]
    Group {
        path: PathBuf,
        group: u32,
        #[source]
        source: io::Error,
    },
    #[error("listen on {address} for the broker; if the port is in use, set tcp.listen to another one")]
    Tcp {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// Who may come, and where.
#[derive(Clone)]
pub enum Door {
    Socket(SocketDoor),
    Tls(TlsDoor),
}

impl Door {
    /// The door that settings describe.
    pub fn of(settings: &SignerSettings) -> anyhow::Result<Self> {
        let tcp = &settings.tcp;
        if tcp.listen.is_empty() {
            let SignerSettings { socket, socket_group, peer_user, .. } = settings;
            let group = (!socket_group.is_empty()).then(|| accounts::group(socket_group)).transpose();
            let own = rustix::process::geteuid().as_raw();
            let peer = if peer_user.is_empty() { Ok(own) } else { accounts::user(peer_user) };
            let (group, peer) = (group.context("read socket_group")?, peer.context("read peer_user")?);
            return Ok(Self::Socket(SocketDoor { path: socket.clone(), group, peer }));
        }
        certs::check_certificate_file(&tcp.certificate, SystemTime::now())?;
        let own = TlsIdentity::read(&tcp.certificate, &tcp.key, None)?;
        let tenant = settings.tenant.parse().context("read the tenant")?;
        let broker = Identity::new(Role::Server, tenant, tcp.broker.parse().context("read tcp.broker")?);
        let broker = ServerPeer::from_file(&tcp.root, broker)?;
        let clock = Clock::start();
        let tls = Arc::new(certs::signer_server_config(&own, &broker, Arc::new(clock.clone()))?);
        Ok(Self::Tls(TlsDoor { listen: tcp.listen.parse().context("read tcp.listen")?, tls, broker, clock }))
    }
}

/// A Unix socket.
#[derive(Debug, Clone)]
pub struct SocketDoor {
    pub path: PathBuf,
    /// The group that may connect beside the owner.
    pub group: Option<u32>,
    /// The one user that is heard.
    pub peer: u32,
}

/// A TCP port with mutual TLS.
#[derive(Clone)]
pub struct TlsDoor {
    pub listen: SocketAddr,
    pub tls: Arc<ServerConfig>,
    pub broker: ServerPeer,
    pub clock: Clock,
}

/// A broker that may be heard.
pub(super) struct Arrived {
    pub(super) stream: Stream,
    pub(super) from: IpAddr,
}

/// One connection, in both directions.
pub(super) type Stream = Box<dyn Duplex>;

pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The open door.
pub struct Listener(Open);

enum Open {
    Socket(UnixListener, SocketDoor),
    Tls(mpsc::Receiver<Arrived>, SocketAddr),
}

impl Listener {
    /// Opens the door. Whoever comes from now on waits until he is served.
    pub async fn open(door: Door) -> Result<Self, ListenError> {
        match door {
            Door::Socket(door) => Ok(Self(Open::Socket(listen(&door).await?, door))),
            Door::Tls(door) => {
                let failed = |source| ListenError::Tcp { address: door.listen, source };
                let listener = TcpListener::bind(door.listen).await.map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                let (arrived, arrivals) = mpsc::channel(1);
                tokio::spawn(shake_hands(listener, door, arrived));
                Ok(Self(Open::Tls(arrivals, address)))
            }
        }
    }

    /// Where it listens, for the log.
    pub fn place(&self) -> String {
        match &self.0 {
            Open::Socket(_, door) => door.path.display().to_string(),
            Open::Tls(_, address) => address.to_string(),
        }
    }

    /// The next broker. Everybody else is sent away.
    pub(super) async fn next(&mut self, seldom: &mut Seldom) -> Arrived {
        loop {
            match &mut self.0 {
                Open::Socket(listener, door) => match listener.accept().await {
                    Ok((stream, _)) => {
                        let user = stream.peer_cred().map(|peer| peer.uid());
                        if user.as_ref().is_ok_and(|user| *user == door.peer) {
                            return Arrived { stream: Box::new(stream), from: Ipv4Addr::LOCALHOST.into() };
                        }
                        if let Some(refused) = seldom.tell() {
                            let user = user.map_or_else(|_| "unknown".to_owned(), |user| user.to_string());
                            warn!(
                                user,
                                expected = door.peer,
                                refused,
                                "signer: another user than the broker's is refused"
                            );
                        }
                    }
                    Err(error) => rest(seldom, &error).await,
                },
                Open::Tls(arrivals, _) => match arrivals.recv().await {
                    Some(arrived) => return arrived,
                    // The task ends only when this end is gone.
                    None => std::future::pending().await,
                },
            }
        }
    }
}

async fn rest(seldom: &mut Seldom, error: &io::Error) {
    if let Some(times) = seldom.tell() {
        warn!(%error, times, "signer: cannot accept");
    }
    tokio::time::sleep(ACCEPT_REST).await;
}

/// Opens the socket for its owner, and its group if there is one. A file that a dead signer left behind is removed.
async fn listen(door: &SocketDoor) -> Result<UnixListener, ListenError> {
    let path = &door.path;
    let failed = |source| ListenError::Socket { path: path.clone(), source };
    match UnixStream::connect(path).await {
        Ok(_) => return Err(ListenError::InUse { path: path.clone() }),
        // Nobody listens there, or there is nothing, or it is no socket: all but the first are looked at below.
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {}
        Err(error) => return Err(failed(error)),
    }
    remove_socket(path).map_err(failed)?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    // The folder decides who may connect between bind and here; who is heard does not depend on either.
    let mode = if door.group.is_some() { 0o660 } else { 0o600 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    if let Some(group) = door.group {
        std::os::unix::fs::chown(path, None, Some(group)).map_err(|source| ListenError::Group {
            path: path.clone(),
            group,
            source,
        })?;
    }
    Ok(listener)
}

fn remove_socket(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is a file, not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes TCP connections, each shaking hands beside the others, and passes on the broker's.
async fn shake_hands(listener: TcpListener, door: TlsDoor, arrived: mpsc::Sender<Arrived>) {
    let places = Places::new(HANDSHAKES, HANDSHAKE_PATIENCE, &[]);
    let door = Arc::new(door);
    let mut seldom = Seldom::default();
    let (refusals, mut refused) = mpsc::channel::<(SocketAddr, String)>(HANDSHAKES);
    loop {
        tokio::select! {
            () = arrived.closed() => return,
            Some((address, why)) = refused.recv() => {
                if let Some(times) = seldom.tell() {
                    warn!(%address, why, refused = times, "signer: a peer that is not the broker is refused");
                }
            }
            accepted = async {
                places.room().await;
                listener.accept().await
            } => match accepted {
                Ok((tcp, address)) => {
                    let mut place = places.enter(address.ip());
                    let (door, arrived, refusals) = (Arc::clone(&door), arrived.clone(), refusals.clone());
                    tokio::spawn(async move {
                        match admit(&door, tcp, &mut place).await {
                            Ok(stream) => {
                                drop(place);
                                // The signer ends.
                                let _ = arrived.send(Arrived { stream: Box::new(stream), from: address.ip() }).await;
                            }
                            // When so many wait to be told, one more line says nothing new.
                            Err(why) => drop(refusals.try_send((address, why))),
                        }
                    });
                }
                Err(error) => rest(&mut seldom, &error).await,
            },
        }
    }
}

/// The broker's connection, or in words why it is none.
async fn admit(door: &TlsDoor, tcp: TcpStream, place: &mut Place) -> Result<TlsStream<TcpStream>, String> {
    // Questions are small, and an unlock waits for each.
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    let acceptor = TlsAcceptor::from(Arc::clone(&door.tls));
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE_MAX, acceptor.accept(tcp)) => shaken,
        () = place.evicted() => return Err("others need its place".to_owned()),
    };
    let stream = shaken.map_err(|_| "the TLS handshake took too long".to_owned())?;
    let stream = stream.map_err(|error| format!("TLS handshake: {error}"))?;
    let tls = stream.get_ref().1;
    if tls.alpn_protocol() != Some(certs::ALPN_SIGNER) {
        return Err("it does not speak the signer's protocol".to_owned());
    }
    let chain = tls.peer_certificates().unwrap_or_default();
    let peer = door.broker.identity_of(chain, door.clock.system_time()).map_err(|error| format!("{error:?}"))?;
    info!(broker = %peer.identity, until = ?peer.not_after, "signer: broker connected");
    Ok(stream)
}

/// Says at most once a second that something happened, and how often it has.
#[derive(Default)]
pub(super) struct Seldom {
    times: u64,
    told: Option<Instant>,
}

impl Seldom {
    fn tell(&mut self) -> Option<u64> {
        self.times += 1;
        if self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return None;
        }
        self.told = Some(Instant::now());
        Some(self.times)
    }
}
