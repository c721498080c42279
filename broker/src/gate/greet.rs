//! From an accepted socket to a session: TLS, identity, CONNECT, admission, CONNACK.

use std::net::SocketAddr;
use std::sync::Arc;

use schemas::ids::{ClientId, Identity, Role};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::server::TlsStream;

use super::codec::{self, Greeting, Inbound, Phase, encode};
use super::conn::{Claim, Terms};
use super::counters::Count;
use super::half_open::Place;
use super::limits::CLIENT_PACKET_MIN;
use super::port::{GateInput, Gone, Peer};
use super::rule::{Offence, Rule};
use super::session::Session;
use super::shared::Shared;
use super::table::Registered;
use super::wire::{Turn, Wire};

/// Greets one peer, within the time and the place that it has, and starts its session. `alive` is held until the
/// session is over.
pub(super) async fn greet(
    shared: Arc<Shared>,
    tcp: TcpStream,
    peer: SocketAddr,
    mut place: Place,
    alive: mpsc::Sender<()>,
) {
    let timeout = shared.settings.greeting_timeout;
    let mut stop = shared.stop.subscribe();
    let greeted = tokio::select! {
        greeted = tokio::time::timeout(timeout, shake_hands(&shared, tcp, peer)) => greeted,
        () = place.evicted() => return,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    drop(place);
    match greeted {
        Err(_) => shared.counters.add(Count::GreetingTimeout),
        Ok(Parting::Counted) => {}
        Ok(Parting::Refused(wire)) => wire.finish(shared.settings.close_linger).await,
        // A task of its own, so that the handshake's memory is given back.
        Ok(Parting::Session(session, wire)) => {
            tokio::spawn(async move {
                session.run(*wire).await;
                drop(alive);
            });
        }
    }
}

/// How a greeting ends.
enum Parting {
    /// Without a word.
    Counted,
    /// With a CONNACK that says why.
    Refused(Box<Wire>),
    Session(Box<Session>, Box<Wire>),
}

async fn shake_hands(shared: &Arc<Shared>, tcp: TcpStream, address: SocketAddr) -> Parting {
    // Small packets that somebody waits for; a socket that cannot do this still works.
    let _ = tcp.set_nodelay(true);
    let Ok(stream) = TlsAcceptor::from(shared.tls()).accept(tcp).await else {
        shared.counters.add(Count::HandshakeFailed);
        return Parting::Counted;
    };
    let peer = match identify(shared, &stream) {
        Ok(peer) => peer,
        Err(reason) => {
            shared.counters.add(Count::Unidentified);
            tracing::warn!(%address, reason, "certificate names nobody of this fleet");
            return Parting::Counted;
        }
    };
    let mut wire = Wire::new(stream);
    let greeting = match read_connect(shared, &mut wire, &peer).await {
        Some(Ok(greeting)) => greeting,
        Some(Err(offence)) => return refuse(shared, wire, &peer, offence.rule, offence.detail),
        None => {
            shared.counters.add(Count::HandshakeFailed);
            return Parting::Counted;
        }
    };
    match admit(shared, &peer, address, &greeting) {
        Ok(registered) => begin(shared, wire, peer, registered, &greeting),
        Err((rule, reason)) => refuse(shared, wire, &peer, rule, &reason),
    }
}

fn identify(shared: &Shared, stream: &TlsStream<TcpStream>) -> Result<Peer, String> {
    let (_, tls) = stream.get_ref();
    if tls.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Err("not TLS 1.3".to_owned());
    }
    let chain = tls.peer_certificates().ok_or("no certificate")?;
    (shared.identify)(chain)
}

/// `None`: the peer left, or its first packet was no CONNECT, which deserves no answer (section 3.1).
async fn read_connect(shared: &Shared, wire: &mut Wire, peer: &Peer) -> Option<Result<Greeting, Offence>> {
    let max = shared.packet_max(peer.identity.role);
    loop {
        match codec::take(&mut wire.inbox, Phase::Greeting, max) {
            Ok(Some(Inbound::Connect(greeting))) => return Some(Ok(greeting)),
            Ok(Some(_)) => return None,
            Ok(None) => {}
            Err(offence) if offence.rule == Rule::UnexpectedPacket => {
                shared.counters.add_broken(offence.rule);
                return None;
            }
            Err(offence) => return Some(Err(offence)),
        }
        match wire.turn(true).await {
            Ok(Turn::Received | Turn::Drained) => {}
            Ok(Turn::Ended) | Err(_) => return None,
        }
    }
}

/// Everything that has to be true before there is a session.
fn admit(shared: &Shared, peer: &Peer, address: SocketAddr, greeting: &Greeting) -> Result<Registered, (Rule, String)> {
    let refused = |rule: Rule| (rule, rule.name().to_owned());
    let client_id = own_client_id(&peer.identity, &greeting.client_id).map_err(refused)?;
    if greeting.packet_max < CLIENT_PACKET_MIN {
        return Err((Rule::PacketMaximumTooSmall, format!("maximum packet size must be {CLIENT_PACKET_MIN} or more")));
    }
    let ask = || {
        let answer = shared.admission.admit(peer);
        answer.map_err(|refused| (Rule::NotAdmitted, refused.reason))
    };
    ask()?;
    let claim = Claim {
        who: Arc::new(client_id.identity),
        suffix: client_id.suffix,
        fingerprint: peer.fingerprint,
        issued: peer.issued,
        peer: address,
    };
    let terms = Terms {
        window: greeting.receive_maximum.min(shared.settings.send_window).max(1),
        packet_max: greeting.packet_max,
        problem_info: greeting.problem_info,
    };
    let registered = shared.table.register(claim, terms, &shared.settings).map_err(refused)?;
    // Again: somebody shut out between the two is found either here or in the table.
    if let Err(refusal) = ask() {
        shared.table.remove(&registered.conn);
        registered.conn.close(Gone::ShuttingDown);
        return Err(refusal);
    }
    Ok(registered)
}

/// A cabinet's client id is its identity; people and integrations may add a suffix.
fn own_client_id(identity: &Identity, text: &str) -> Result<ClientId, Rule> {
    match identity.role {
        Role::Server => return Err(Rule::NoClientRole),
        Role::Cabinet
        | Role::Integration
        | Role::Operator
        | Role::Staff
        | Role::Support
        | Role::Technician
        | Role::Auditor => {}
    }
    let client_id: ClientId = text.parse().map_err(|_| Rule::ClientIdInvalid)?;
    if client_id.identity == *identity { Ok(client_id) } else { Err(Rule::ClientIdForeign) }
}

fn begin(shared: &Arc<Shared>, mut wire: Wire, peer: Peer, registered: Registered, greeting: &Greeting) -> Parting {
    let Registered { conn, quota, replaced } = registered;
    let claim = &conn.claim;
    let keep_alive = match greeting.keep_alive {
        0 => shared.settings.keep_alive_max,
        asked => asked.min(shared.settings.keep_alive_max),
    };
    let announcement = encode::Announcement {
        receive_maximum: shared.settings.receive_maximum,
        packet_max: shared.packet_max(claim.who.role),
        keep_alive,
    };
    if let Err(error) = encode::connack_accepted(&mut wire.outbox, announcement) {
        tracing::error!(%error, "CONNACK");
        shared.table.remove(&conn);
        return Parting::Counted;
    }
    shared.counters.add(Count::Connected);
    tracing::debug!(who = %claim.who, peer = %claim.peer, conn = %conn.id, "connected");
    let mut first = vec![GateInput::Admitted { conn: conn.id, peer }];
    if let Some(cabinet) = claim.who.as_cabinet() {
        let tenant = claim.who.tenant.clone();
        if let Some(replaced) = replaced {
            first.push(GateInput::DuplicateIdentity {
                tenant: tenant.clone(),
                cabinet: cabinet.clone(),
                old: replaced.old,
                new: conn.holder(),
                old_silent_for: replaced.old_silent_for,
                in_a_row: conn.takeovers,
            });
        }
        let (fingerprint, peer) = (claim.fingerprint, claim.peer);
        first.push(GateInput::CabinetConnected { conn: conn.id, tenant, cabinet, fingerprint, peer });
    }
    let session = Session::new(Arc::clone(shared), conn, quota, keep_alive, first);
    Parting::Session(Box::new(session), Box::new(wire))
}

/// Counts, logs and answers in the words of the client's own protocol version.
fn refuse(shared: &Shared, mut wire: Wire, peer: &Peer, rule: Rule, reason: &str) -> Parting {
    shared.counters.add_broken(rule);
    tracing::warn!(who = %peer.identity, %rule, reason, "CONNECT refused");
    if rule == Rule::OldProtocol {
        wire.outbox.extend_from_slice(&encode::CONNACK_V4_UNACCEPTABLE_VERSION);
        return Parting::Refused(Box::new(wire));
    }
    match encode::connack_refused(&mut wire.outbox, rule.connect_code(), reason) {
        Ok(()) => Parting::Refused(Box::new(wire)),
        Err(_) => Parting::Counted,
    }
}
