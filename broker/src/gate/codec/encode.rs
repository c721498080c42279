//! Writes the packets that the gate sends, with rumqttd's encoder.

use bytes::{BufMut, Bytes, BytesMut};
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{self, Packet, Protocol};

/// CONNACK of MQTT 3.1 and 3.1.1 with return code 1, "unacceptable protocol version".
pub(in crate::gate) const CONNACK_V4_UNACCEPTABLE_VERSION: [u8; 4] = [0x20, 0x02, 0x00, 0x01];

/// Longest reason string that is sent; the rest is cut off.
const REASON_MAX: usize = 160;

/// What does not depend on the payload in the largest PUBLISH: fixed header, packet id, lengths and property headers.
const PUBLISH_OVERHEAD: usize = 5 + 2 + 2 + 4 + 3 + 3 + 5 + 20;

/// The encoder refused. Sizes are checked before, so this ends a connection and says so.
#[derive(Debug, thiserror::Error)]
#[error("encode packet: {0}")]
pub(in crate::gate) struct EncodeError(protocol::Error);

/// What CONNACK announces about this gate (MQTT 5 section 3.2.2.3).
#[derive(Debug, Clone, Copy)]
pub(in crate::gate) struct Announcement {
    pub(in crate::gate) receive_maximum: u16,
    pub(in crate::gate) packet_max: usize,
    pub(in crate::gate) keep_alive: u16,
}

/// A PUBLISH to a client; `pkid` is `None` for QoS 0.
pub(in crate::gate) struct Publish<'a> {
    pub(in crate::gate) pkid: Option<u16>,
    pub(in crate::gate) topic: &'a str,
    pub(in crate::gate) payload: &'a Bytes,
    pub(in crate::gate) content_type: Option<&'a str>,
    pub(in crate::gate) correlation: Option<&'a Bytes>,
    /// Place in a durable stream, sent as user property `n`.
    pub(in crate::gate) n: Option<u64>,
}

impl Publish<'_> {
    /// At least as many bytes as the packet will have.
    pub(in crate::gate) fn size_bound(&self) -> usize {
        PUBLISH_OVERHEAD
            + self.topic.len()
            + self.payload.len()
            + self.content_type.map_or(0, str::len)
            + self.correlation.map_or(0, Bytes::len)
    }
}

pub(in crate::gate) fn connack_accepted(out: &mut BytesMut, announced: Announcement) -> Result<(), EncodeError> {
    let properties = protocol::ConnAckProperties {
        session_expiry_interval: Some(0),
        receive_max: Some(announced.receive_maximum),
        max_qos: Some(1),
        retain_available: Some(0),
        max_packet_size: Some(u32::try_from(announced.packet_max).unwrap_or(u32::MAX)),
        topic_alias_max: Some(0),
        // Wildcards exist below `live/` alone; a SUBACK refuses the others.
        wildcard_subscription_available: Some(1),
        subscription_identifiers_available: Some(0),
        shared_subscription_available: Some(0),
        server_keep_alive: Some(announced.keep_alive),
        ..protocol::ConnAckProperties::default()
    };
    let connack = protocol::ConnAck { session_present: false, code: protocol::ConnectReturnCode::Success };
    write(out, Packet::ConnAck(connack, Some(properties)))
}

pub(in crate::gate) fn connack_refused(
    out: &mut BytesMut,
    code: protocol::ConnectReturnCode,
    reason: &str,
) -> Result<(), EncodeError> {
    let properties =
        protocol::ConnAckProperties { reason_string: Some(cut(reason)), ..protocol::ConnAckProperties::default() };
    write(out, Packet::ConnAck(protocol::ConnAck { session_present: false, code }, Some(properties)))
}

pub(in crate::gate) fn puback(
    out: &mut BytesMut,
    pkid: u16,
    reason: protocol::PubAckReason,
    text: Option<&str>,
) -> Result<(), EncodeError> {
    let properties =
        text.map(|text| protocol::PubAckProperties { reason_string: Some(cut(text)), user_properties: Vec::new() });
    write(out, Packet::PubAck(protocol::PubAck { pkid, reason }, properties))
}

pub(in crate::gate) fn suback(
    out: &mut BytesMut,
    pkid: u16,
    return_codes: Vec<protocol::SubscribeReasonCode>,
    text: Option<&str>,
) -> Result<(), EncodeError> {
    let properties =
        text.map(|text| protocol::SubAckProperties { reason_string: Some(cut(text)), user_properties: Vec::new() });
    write(out, Packet::SubAck(protocol::SubAck { pkid, return_codes }, properties))
}

pub(in crate::gate) fn unsuback(
    out: &mut BytesMut,
    pkid: u16,
    reasons: Vec<protocol::UnsubAckReason>,
) -> Result<(), EncodeError> {
    write(out, Packet::UnsubAck(protocol::UnsubAck { pkid, reasons }, None))
}

pub(in crate::gate) fn pingresp(out: &mut BytesMut) -> Result<(), EncodeError> {
    write(out, Packet::PingResp(protocol::PingResp))
}

/// The reason string is never left out: without properties rumqttd announces one byte and writes two.
pub(in crate::gate) fn disconnect(
    out: &mut BytesMut,
    reason_code: protocol::DisconnectReasonCode,
    text: &str,
) -> Result<(), EncodeError> {
    let properties = protocol::DisconnectProperties {
        session_expiry_interval: None,
        reason_string: Some(cut(text)),
        user_properties: Vec::new(),
        server_reference: None,
    };
    write(out, Packet::Disconnect(protocol::Disconnect { reason_code }, Some(properties)))
}

pub(in crate::gate) fn publish(out: &mut BytesMut, publish: &Publish<'_>) -> Result<(), EncodeError> {
    let mut properties = protocol::PublishProperties {
        content_type: publish.content_type.map(str::to_owned),
        correlation_data: publish.correlation.cloned(),
        ..protocol::PublishProperties::default()
    };
    if let Some(n) = publish.n {
        properties.user_properties.push(("n".to_owned(), n.to_string()));
    }
    let properties = (properties != protocol::PublishProperties::default()).then_some(properties);
    write(out, Packet::Publish(packet(publish), properties))
}

fn packet(publish: &Publish<'_>) -> protocol::Publish {
    let Some(pkid) = publish.pkid else {
        return protocol::Publish::new(
            Bytes::copy_from_slice(publish.topic.as_bytes()),
            publish.payload.clone(),
            false,
        );
    };
    // rumqttd has no public constructor for QoS 1 but this one, which reads its own flat form.
    let topic_length = u16::try_from(publish.topic.len()).unwrap_or(u16::MAX);
    let mut flat = BytesMut::with_capacity(5 + publish.topic.len() + publish.payload.len());
    flat.put_u8(0b0011_0010);
    flat.put_u16(pkid);
    flat.put_u16(topic_length);
    flat.put_slice(publish.topic.as_bytes());
    flat.put_slice(publish.payload);
    protocol::Publish::deserialize(flat.freeze())
}

fn write(out: &mut BytesMut, packet: Packet) -> Result<(), EncodeError> {
    V5.write(packet, out).map(drop).map_err(EncodeError)
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(REASON_MAX).collect()
}
