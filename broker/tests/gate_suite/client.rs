//! A client that says what a test wants byte by byte, and reads with another codec than the gate's.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectReturnCode, Disconnect, Packet, PubAck, PubAckReason, Publish, SubAck, SubscribeReasonCode,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind};

use crate::fixture::{PATIENCE, World, client_tls};

pub(crate) struct Client {
    stream: TlsStream<TcpStream>,
    inbox: BytesMut,
}

impl Client {
    /// A TLS connection without a CONNECT.
    pub(crate) async fn tls(world: &World, identity: &str) -> Self {
        Self::tls_with(world.address, Arc::new(client_tls(identity))).await
    }

    pub(crate) async fn tls_with(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let stream = TlsConnector::from(config).connect(name, tcp).await.unwrap();
        Self { stream, inbox: BytesMut::new() }
    }

    pub(crate) fn handshake_kind(&self) -> HandshakeKind {
        self.stream.get_ref().1.handshake_kind().unwrap()
    }

    /// A connected client whose client id is its identity.
    pub(crate) async fn connect(world: &World, identity: &str) -> Self {
        Self::connect_as(world, identity, identity).await
    }

    pub(crate) async fn connect_as(world: &World, identity: &str, client_id: &str) -> Self {
        let mut client = Self::tls(world, identity).await;
        client.send(&connect(client_id)).await;
        let connack = client.connack().await;
        assert_eq!(connack.code, ConnectReturnCode::Success, "{connack:?}");
        assert!(!connack.session_present);
        client
    }

    /// A connected client with a subscription that was granted QoS 1.
    pub(crate) async fn subscribed(world: &World, identity: &str, filters: &[&str]) -> Self {
        let mut client = Self::connect(world, identity).await;
        let codes = client.subscribe(filters).await;
        assert!(codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_))), "{codes:?}");
        client
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends as much as the gate takes; it may close in the middle.
    pub(crate) async fn send_if_open(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// The next packet, or `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("nothing came in time")
    }

    async fn read(&mut self) -> Option<Packet> {
        loop {
            let before = self.inbox.clone();
            match Packet::read(&mut self.inbox, None) {
                Ok(packet) => return Some(packet),
                Err(rumqttc::v5::mqttbytes::Error::InsufficientBytes(_)) => self.inbox = before,
                Err(error) => panic!("the gate sent {before:02x?}: {error}"),
            }
            match self.stream.read_buf(&mut self.inbox).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Everything until the end, as bytes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = self.inbox.to_vec();
        let read = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        // A peer that closes without close_notify is as gone as one that does.
        let _ = read.expect("the connection did not end in time");
        rest
    }

    pub(crate) async fn connack(&mut self) -> ConnAck {
        match self.next().await {
            Some(Packet::ConnAck(connack)) => connack,
            other => panic!("expected CONNACK, got {other:?}"),
        }
    }

    pub(crate) async fn puback(&mut self) -> PubAck {
        match self.next().await {
            Some(Packet::PubAck(puback)) => puback,
            other => panic!("expected PUBACK, got {other:?}"),
        }
    }

    pub(crate) async fn expect_puback(&mut self, pkid: u16, reason: PubAckReason) {
        let puback = self.puback().await;
        assert_eq!((puback.pkid, puback.reason), (pkid, reason), "{puback:?}");
    }

    pub(crate) async fn publish_from_gate(&mut self) -> Publish {
        match self.next().await {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("expected PUBLISH, got {other:?}"),
        }
    }

    pub(crate) async fn disconnect(&mut self) -> Disconnect {
        match self.next().await {
            Some(Packet::Disconnect(disconnect)) => disconnect,
            other => panic!("expected DISCONNECT, got {other:?}"),
        }
    }

    /// The gate says DISCONNECT with this code, and then nothing.
    pub(crate) async fn expect_disconnect(&mut self, code: u8) {
        let disconnect = self.disconnect().await;
        assert_eq!(disconnect.reason_code as u8, code, "{disconnect:?}");
        assert_eq!(self.next().await, None, "the connection stayed open");
    }

    pub(crate) async fn subscribe(&mut self, filters: &[&str]) -> Vec<SubscribeReasonCode> {
        self.send(&subscribe(1, filters)).await;
        self.suback().await.return_codes
    }

    pub(crate) async fn suback(&mut self) -> SubAck {
        match self.next().await {
            Some(Packet::SubAck(suback)) => suback,
            other => panic!("expected SUBACK, got {other:?}"),
        }
    }

    /// Proves that the gate still serves this client.
    pub(crate) async fn ping(&mut self) {
        self.send(&PINGREQ).await;
        assert!(matches!(self.next().await, Some(Packet::PingResp(_))));
    }
}

pub(crate) const PINGREQ: [u8; 2] = [0xc0, 0];

/// A packet of `first` and `body`.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let more = length >= 128;
        bytes.push((length % 128) as u8 | if more { 128 } else { 0 });
        length /= 128;
        if !more {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

pub(crate) fn binary(bytes: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

/// CONNECT with a keepalive of 30 s and no properties.
pub(crate) fn connect(client_id: &str) -> Vec<u8> {
    connect_with(5, 0b10, 30, &[], &text(client_id))
}

pub(crate) fn connect_with(level: u8, flags: u8, keep_alive: u16, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([level, flags]);
    body.extend(keep_alive.to_be_bytes());
    if level >= 5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend_from_slice(properties);
    }
    body.extend_from_slice(payload);
    packet(0x10, &body)
}

/// PUBLISH with QoS 1.
pub(crate) fn publish(pkid: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    publish_with(0x32, pkid, topic.as_bytes(), &[], payload)
}

/// PUBLISH with QoS 0.
pub(crate) fn publish0(topic: &str, payload: &[u8]) -> Vec<u8> {
    publish_with(0x30, 0, topic.as_bytes(), &[], payload)
}

/// PUBLISH with this first byte; QoS 0 has no packet id.
pub(crate) fn publish_with(first: u8, pkid: u16, topic: &[u8], properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = binary(topic);
    if first & 0b110 != 0 {
        body.extend(pkid.to_be_bytes());
    }
    body.push(u8::try_from(properties.len()).unwrap());
    body.extend_from_slice(properties);
    body.extend_from_slice(payload);
    packet(first, &body)
}

pub(crate) fn puback(pkid: u16) -> Vec<u8> {
    packet(0x40, &pkid.to_be_bytes())
}

pub(crate) fn puback_with(pkid: u16, reason: u8) -> Vec<u8> {
    let mut body = pkid.to_be_bytes().to_vec();
    body.push(reason);
    packet(0x40, &body)
}

/// SUBSCRIBE to all of these with QoS 1.
pub(crate) fn subscribe(pkid: u16, filters: &[&str]) -> Vec<u8> {
    subscribe_with(pkid, &[], filters)
}

/// The same, with rows in this form.
pub(crate) fn subscribe_as(pkid: u16, content_type: &str, filters: &[&str]) -> Vec<u8> {
    subscribe_with(pkid, &[vec![38], text("content-type"), text(content_type)].concat(), filters)
}

fn subscribe_with(pkid: u16, properties: &[u8], filters: &[&str]) -> Vec<u8> {
    let mut body = pkid.to_be_bytes().to_vec();
    body.push(u8::try_from(properties.len()).unwrap());
    body.extend_from_slice(properties);
    for filter in filters {
        body.extend(text(filter));
        body.push(1);
    }
    packet(0x82, &body)
}

pub(crate) fn unsubscribe(pkid: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = pkid.to_be_bytes().to_vec();
    body.push(0);
    for filter in filters {
        body.extend(text(filter));
    }
    packet(0xa2, &body)
}
