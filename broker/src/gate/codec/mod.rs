//! MQTT 5 packets of the gate: rumqttd's codec behind a strict filter of our own.
//!
//! rumqttd's `protocol::v5` is what the bus speaks too, so there is one codec in the process. Alone it is not enough for
//! a door: it panics on packet types that only a server sends, takes NUL, repeated properties and reserved bits, and does
//! not show the packet id of a PUBLISH. So every frame first passes [`strict`], which checks it whole and answers
//! the trivial types itself; only CONNECT, PUBLISH, SUBSCRIBE and UNSUBSCRIBE that passed reach rumqttd.
//! (`mqtt-protocol-core` would also bring its own session state, which the gate's planes do not have.)

pub(super) mod encode;
mod frame;
mod strict;

use bytes::{Bytes, BytesMut};
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{self, Protocol};

use super::rule::{Offence, Rule};
pub(super) use strict::Phase;

/// A packet from a client that is well-formed and allowed in the connection's phase.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inbound {
    Connect(Greeting),
    Publish(Published),
    PubAck {
        pkid: u16,
        taken: bool,
    },
    /// `rows_as`: the content type that rows of its streams are to have.
    Subscribe {
        pkid: u16,
        wishes: Vec<Wish>,
        rows_as: Option<String>,
    },
    Unsubscribe {
        pkid: u16,
        filters: Vec<String>,
    },
    Ping,
    Disconnect,
}

/// User property of a SUBSCRIBE: the content type of the rows.
const ROWS_AS: &str = "content-type";

/// What a CONNECT says, without what the gate refuses before it looks (will, login, extended authentication).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) client_id: String,
    /// Seconds; 0 means none.
    pub(super) keep_alive: u16,
    pub(super) receive_maximum: u16,
    pub(super) packet_max: usize,
    /// False: no reason strings outside CONNACK and DISCONNECT.
    pub(super) problem_info: bool,
}

/// A PUBLISH with QoS 0 (`pkid` is `None`) or 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) pkid: Option<u16>,
    pub(super) topic: String,
    /// A copy of its own: a slice would keep the read buffer alive for as long as the driver keeps the message.
    pub(super) payload: Bytes,
    pub(super) content_type: Option<String>,
    pub(super) response_topic: Option<String>,
    pub(super) correlation: Option<Bytes>,
}

/// One line of a SUBSCRIBE.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) filter: String,
    pub(super) at_least_once: bool,
}

/// Takes the next packet off the front of `inbox`; `Ok(None)` asks for more bytes. Packets over `max` bytes are
/// refused by their header, before they are buffered.
pub(super) fn take(inbox: &mut BytesMut, phase: Phase, max: usize) -> Result<Option<Inbound>, Offence> {
    let Some(frame) = frame::cut(inbox, phase, max)? else { return Ok(None) };
    match strict::check(frame.first, frame.body())? {
        strict::Checked::PubAck { pkid, taken } => Ok(Some(Inbound::PubAck { pkid, taken })),
        strict::Checked::Ping => Ok(Some(Inbound::Ping)),
        strict::Checked::Disconnect => Ok(Some(Inbound::Disconnect)),
        strict::Checked::Publish { pkid } => decode(frame.bytes, pkid).map(Some),
        strict::Checked::Connect | strict::Checked::Subscribe | strict::Checked::Unsubscribe => {
            decode(frame.bytes, None).map(Some)
        }
    }
}

fn decode(mut frame: BytesMut, pkid: Option<u16>) -> Result<Inbound, Offence> {
    let malformed = |_| Offence::new(Rule::Malformed, "packet cannot be decoded");
    let max = frame.len();
    match V5.read_mut(&mut frame, max).map_err(malformed)? {
        protocol::Packet::Connect(connect, properties, _, _, _) => Ok(Inbound::Connect(greeting(connect, properties))),
        protocol::Packet::Publish(publish, properties) => published(publish, properties, pkid).map(Inbound::Publish),
        protocol::Packet::Subscribe(subscribe, properties) => {
            let wish = |filter: protocol::Filter| Wish {
                filter: filter.path,
                at_least_once: filter.qos != protocol::QoS::AtMostOnce,
            };
            let wishes = subscribe.filters.into_iter().map(wish).collect();
            Ok(Inbound::Subscribe { pkid: subscribe.pkid, wishes, rows_as: properties.and_then(rows_as) })
        }
        protocol::Packet::Unsubscribe(unsubscribe, _) => {
            Ok(Inbound::Unsubscribe { pkid: unsubscribe.pkid, filters: unsubscribe.filters })
        }
        protocol::Packet::ConnAck(..)
        | protocol::Packet::PubAck(..)
        | protocol::Packet::PingReq(..)
        | protocol::Packet::PingResp(..)
        | protocol::Packet::SubAck(..)
        | protocol::Packet::PubRec(..)
        | protocol::Packet::PubRel(..)
        | protocol::Packet::PubComp(..)
        | protocol::Packet::UnsubAck(..)
        | protocol::Packet::Disconnect(..) => Err(Offence::new(Rule::UnexpectedPacket, "unexpected packet")),
    }
}

/// A SUBSCRIBE has no content type of its own, so it is a user property; of several the last one counts.
fn rows_as(properties: protocol::SubscribeProperties) -> Option<String> {
    let named = properties.user_properties.into_iter().rev().find(|(name, _)| name == ROWS_AS);
    named.map(|(_, content_type)| content_type)
}

fn greeting(connect: protocol::Connect, properties: Option<protocol::ConnectProperties>) -> Greeting {
    let properties = properties.as_ref();
    Greeting {
        client_id: connect.client_id,
        keep_alive: connect.keep_alive,
        receive_maximum: properties.and_then(|p| p.receive_maximum).unwrap_or(u16::MAX),
        packet_max: properties.and_then(|p| p.max_packet_size).map_or(usize::MAX, |max| max as usize),
        problem_info: properties.and_then(|p| p.request_problem_info) != Some(0),
    }
}

fn published(
    publish: protocol::Publish,
    properties: Option<protocol::PublishProperties>,
    pkid: Option<u16>,
) -> Result<Published, Offence> {
    let topic = String::from_utf8(publish.topic.to_vec())
        .map_err(|_| Offence::new(Rule::Malformed, "text is not UTF-8 or holds NUL"))?;
    let (content_type, response_topic, correlation) = match properties {
        None => (None, None, None),
        Some(p) => (p.content_type, p.response_topic, p.correlation_data),
    };
    Ok(Published {
        pkid,
        topic,
        payload: Bytes::copy_from_slice(&publish.payload),
        content_type,
        response_topic,
        correlation: correlation.map(|data| Bytes::copy_from_slice(&data)),
    })
}

#[cfg(test)]
mod tests;
