//! The filter before the codec: walks a packet whole and refuses whatever MQTT 5 does not allow a client to send here.

use crate::gate::rule::{Offence, Rule};

/// User properties that one packet may have; each becomes two allocations in the codec.
const USER_PROPERTIES_MAX: usize = 32;
/// Filters that one SUBSCRIBE or UNSUBSCRIBE may have.
const FILTERS_MAX: usize = 64;

/// How far a connection is: which packet types a server may receive now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gate) enum Phase {
    /// Nothing but CONNECT.
    Greeting,
    /// After CONNACK.
    Open,
}

/// A packet that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checked {
    Connect,
    Publish { pkid: Option<u16> },
    PubAck { pkid: u16, taken: bool },
    Subscribe,
    Unsubscribe,
    Ping,
    Disconnect,
}

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;

/// Judges the first byte: is this type expected now, are its flags right (MQTT 5 table 2-2)?
pub(super) fn check_type(first: u8, phase: Phase) -> Result<(), Offence> {
    let (kind, flags) = (first >> 4, first & 0x0f);
    if (kind == CONNECT) != (phase == Phase::Greeting) {
        return Err(Offence::new(Rule::UnexpectedPacket, "packet type is not expected here"));
    }
    let expected = match kind {
        PUBLISH => return check_publish_flags(flags),
        SUBSCRIBE | UNSUBSCRIBE => 0b0010,
        CONNECT | PUBACK | PINGREQ | DISCONNECT => 0,
        0 => return Err(Offence::new(Rule::Malformed, "packet type 0")),
        _ => return Err(Offence::new(Rule::UnexpectedPacket, "packet type is not expected here")),
    };
    if flags != expected {
        return Err(Offence::new(Rule::Malformed, "reserved flags of the fixed header"));
    }
    Ok(())
}

fn check_publish_flags(flags: u8) -> Result<(), Offence> {
    let (dup, qos, retain) = (flags & 0b1000 != 0, (flags >> 1) & 0b11, flags & 1 != 0);
    match qos {
        0 if dup => Err(Offence::new(Rule::Malformed, "DUP with QoS 0")),
        2 => Err(Offence::new(Rule::QosTwo, "QoS 2 is not supported")),
        3 => Err(Offence::new(Rule::Malformed, "QoS 3")),
        _ if retain => Err(Offence::new(Rule::Retained, "retained messages are not supported")),
        _ => Ok(()),
    }
}

/// Walks the body of a packet whose first byte passed [`check_type`].
pub(super) fn check(first: u8, body: &[u8]) -> Result<Checked, Offence> {
    let mut cursor = Cursor(body);
    let checked = match first >> 4 {
        CONNECT => connect(&mut cursor)?,
        PUBLISH => return publish(&mut cursor, (first >> 1) & 0b11),
        PUBACK => puback(&mut cursor)?,
        SUBSCRIBE => subscribe(&mut cursor)?,
        UNSUBSCRIBE => unsubscribe(&mut cursor)?,
        PINGREQ => Checked::Ping,
        DISCONNECT => disconnect(&mut cursor)?,
        _ => return Err(Offence::new(Rule::UnexpectedPacket, "packet type is not expected here")),
    };
    if !cursor.is_empty() {
        return Err(malformed("bytes after the end of the packet"));
    }
    Ok(checked)
}

/// Section 3.1. A will, a login and extended authentication end here: the certificate is the only credential, and the
/// connection itself is the presence.
fn connect(cursor: &mut Cursor<'_>) -> Result<Checked, Offence> {
    let name = cursor.binary()?;
    let level = cursor.u8()?;
    match (name, level) {
        (b"MQTT", 5) => {}
        (b"MQTT", 4) | (b"MQIsdp", 3) => return Err(Offence::new(Rule::OldProtocol, "speak MQTT 5")),
        _ => return Err(Offence::new(Rule::UnknownProtocol, "speak MQTT 5")),
    }
    let flags = cursor.u8()?;
    if flags & 1 != 0 {
        return Err(malformed("reserved CONNECT flag"));
    }
    let (will, will_qos, will_retain) = (flags & 0b100 != 0, (flags >> 3) & 0b11, flags & 0b10_0000 != 0);
    if will_qos == 3 || (!will && (will_qos != 0 || will_retain)) {
        return Err(malformed("will flags of CONNECT"));
    }
    cursor.u16()?;
    let properties = cursor.properties(&[
        Property::SESSION_EXPIRY,
        Property::AUTH_METHOD,
        Property::AUTH_DATA,
        Property::PROBLEM_INFO,
        Property::RESPONSE_INFO,
        Property::RECEIVE_MAXIMUM,
        Property::TOPIC_ALIAS_MAXIMUM,
        Property::USER,
        Property::PACKET_MAXIMUM,
    ])?;
    cursor.text()?;
    if will && will_retain {
        return Err(Offence::new(Rule::RetainedWill, "retained messages are not supported"));
    }
    if will && will_qos == 2 {
        return Err(Offence::new(Rule::QosTwoWill, "QoS 2 is not supported"));
    }
    if will {
        return Err(Offence::new(Rule::Will, "a will is not taken: presence comes from the connection itself"));
    }
    if flags & 0b1100_0000 != 0 {
        return Err(Offence::new(Rule::Login, "the certificate is the credential: send no user name or password"));
    }
    if properties.has(Property::AUTH_METHOD) || properties.has(Property::AUTH_DATA) {
        return Err(Offence::new(Rule::ExtendedAuth, "extended authentication is not supported"));
    }
    Ok(Checked::Connect)
}

/// Section 3.3. The payload is whatever follows the properties.
fn publish(cursor: &mut Cursor<'_>, qos: u8) -> Result<Checked, Offence> {
    let topic = cursor.text()?;
    let pkid = if qos == 0 { None } else { Some(cursor.packet_id()?) };
    let properties = cursor.properties(&[
        Property::PAYLOAD_FORMAT,
        Property::MESSAGE_EXPIRY,
        Property::CONTENT_TYPE,
        Property::RESPONSE_TOPIC,
        Property::CORRELATION,
        Property::TOPIC_ALIAS,
        Property::USER,
    ])?;
    if properties.has(Property::TOPIC_ALIAS) {
        return Err(Offence::new(Rule::TopicAlias, "topic aliases are not supported"));
    }
    if topic.is_empty() {
        return Err(Offence::new(Rule::ProtocolError, "empty topic without an alias"));
    }
    Ok(Checked::Publish { pkid })
}

/// Section 3.4.
fn puback(cursor: &mut Cursor<'_>) -> Result<Checked, Offence> {
    let pkid = cursor.packet_id()?;
    if cursor.is_empty() {
        return Ok(Checked::PubAck { pkid, taken: true });
    }
    let taken = match cursor.u8()? {
        0x00 | 0x10 => true,
        0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99 => false,
        _ => return Err(malformed("unknown reason code in PUBACK")),
    };
    if !cursor.is_empty() {
        cursor.properties(&[Property::REASON, Property::USER])?;
    }
    Ok(Checked::PubAck { pkid, taken })
}

/// Section 3.8.
fn subscribe(cursor: &mut Cursor<'_>) -> Result<Checked, Offence> {
    cursor.packet_id()?;
    let properties = cursor.properties(&[Property::SUBSCRIPTION_ID, Property::USER])?;
    if properties.has(Property::SUBSCRIPTION_ID) {
        return Err(Offence::new(Rule::SubscriptionId, "subscription identifiers are not supported"));
    }
    each_filter(cursor, |cursor| {
        let options = cursor.u8()?;
        if options & 0b1100_0000 != 0 {
            return Err(malformed("reserved subscription options"));
        }
        if options & 0b11 == 3 || (options >> 4) & 0b11 == 3 {
            return Err(Offence::new(Rule::ProtocolError, "subscription options"));
        }
        Ok(())
    })?;
    Ok(Checked::Subscribe)
}

/// Section 3.10.
fn unsubscribe(cursor: &mut Cursor<'_>) -> Result<Checked, Offence> {
    cursor.packet_id()?;
    cursor.properties(&[Property::USER])?;
    each_filter(cursor, |_| Ok(()))?;
    Ok(Checked::Unsubscribe)
}

fn each_filter(
    cursor: &mut Cursor<'_>,
    mut after: impl FnMut(&mut Cursor<'_>) -> Result<(), Offence>,
) -> Result<(), Offence> {
    let mut count = 0;
    while !cursor.is_empty() {
        let filter = cursor.text()?;
        if filter.is_empty() {
            return Err(malformed("empty filter"));
        }
        after(cursor)?;
        count += 1;
        if count > FILTERS_MAX {
            return Err(Offence::new(Rule::TooManyFilters, "too many filters in one packet"));
        }
    }
    if count == 0 {
        return Err(Offence::new(Rule::ProtocolError, "no filter"));
    }
    Ok(())
}

/// Section 3.14. The reason of a client that leaves changes nothing here.
fn disconnect(cursor: &mut Cursor<'_>) -> Result<Checked, Offence> {
    if !cursor.is_empty() {
        cursor.u8()?;
    }
    if !cursor.is_empty() {
        cursor.properties(&[Property::SESSION_EXPIRY, Property::REASON, Property::USER])?;
    }
    Ok(Checked::Disconnect)
}

fn malformed(detail: &'static str) -> Offence {
    Offence::new(Rule::Malformed, detail)
}

/// A property identifier (section 2.2.2.2); all that a client may send are below 64.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Property(u8);

impl Property {
    const PAYLOAD_FORMAT: Self = Self(1);
    const MESSAGE_EXPIRY: Self = Self(2);
    const CONTENT_TYPE: Self = Self(3);
    const RESPONSE_TOPIC: Self = Self(8);
    const CORRELATION: Self = Self(9);
    const SUBSCRIPTION_ID: Self = Self(11);
    const SESSION_EXPIRY: Self = Self(17);
    const AUTH_METHOD: Self = Self(21);
    const AUTH_DATA: Self = Self(22);
    const PROBLEM_INFO: Self = Self(23);
    const RESPONSE_INFO: Self = Self(25);
    const REASON: Self = Self(31);
    const RECEIVE_MAXIMUM: Self = Self(33);
    const TOPIC_ALIAS_MAXIMUM: Self = Self(34);
    const TOPIC_ALIAS: Self = Self(35);
    const USER: Self = Self(38);
    const PACKET_MAXIMUM: Self = Self(39);
}

/// Which properties a packet had.
struct Seen(u64);

impl Seen {
    fn has(&self, property: Property) -> bool {
        self.0 & (1 << property.0) != 0
    }
}

/// Reads MQTT's data types (section 1.5) off the front of a slice.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Offence> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(malformed("packet ends early"))?;
        self.0 = tail;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8, Offence> {
        let (&byte, tail) = self.0.split_first().ok_or(malformed("packet ends early"))?;
        self.0 = tail;
        Ok(byte)
    }

    fn u16(&mut self) -> Result<u16, Offence> {
        Ok(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    fn u32(&mut self) -> Result<u32, Offence> {
        Ok(u32::from_be_bytes([self.u8()?, self.u8()?, self.u8()?, self.u8()?]))
    }

    fn packet_id(&mut self) -> Result<u16, Offence> {
        match self.u16()? {
            0 => Err(Offence::new(Rule::ProtocolError, "packet identifier 0")),
            pkid => Ok(pkid),
        }
    }

    fn varint(&mut self) -> Result<usize, Offence> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if shift > 0 && byte == 0 {
                    return Err(malformed("variable byte integer is not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(malformed("variable byte integer has more than four bytes"))
    }

    fn binary(&mut self) -> Result<&'a [u8], Offence> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    fn text(&mut self) -> Result<&'a str, Offence> {
        match std::str::from_utf8(self.binary()?) {
            Ok(text) if !text.contains('\0') => Ok(text),
            _ => Err(malformed("text is not UTF-8 or holds NUL")),
        }
    }

    fn flag(&mut self) -> Result<(), Offence> {
        match self.u8()? {
            0 | 1 => Ok(()),
            _ => Err(Offence::new(Rule::ProtocolError, "property is neither 0 nor 1")),
        }
    }

    fn nonzero(value: u32) -> Result<(), Offence> {
        if value == 0 { Err(Offence::new(Rule::ProtocolError, "property must not be 0")) } else { Ok(()) }
    }

    /// Walks a property list; each may come once, except user properties.
    fn properties(&mut self, allowed: &[Property]) -> Result<Seen, Offence> {
        let length = self.varint()?;
        let mut list = Cursor(self.take(length)?);
        let mut seen = Seen(0);
        let mut user_properties = 0;
        while !list.is_empty() {
            let property = Property(list.u8()?);
            if !allowed.contains(&property) {
                return Err(malformed("property is not allowed in this packet"));
            }
            if property == Property::USER {
                user_properties += 1;
                if user_properties > USER_PROPERTIES_MAX {
                    return Err(Offence::new(Rule::TooManyProperties, "too many user properties"));
                }
            } else if seen.has(property) {
                return Err(Offence::new(Rule::ProtocolError, "property comes twice"));
            }
            seen.0 |= 1 << property.0;
            list.property_value(property)?;
        }
        Ok(seen)
    }

    fn property_value(&mut self, property: Property) -> Result<(), Offence> {
        match property {
            Property::PAYLOAD_FORMAT | Property::PROBLEM_INFO | Property::RESPONSE_INFO => self.flag(),
            Property::MESSAGE_EXPIRY | Property::SESSION_EXPIRY => self.u32().map(drop),
            Property::PACKET_MAXIMUM => Self::nonzero(self.u32()?),
            Property::RECEIVE_MAXIMUM => Self::nonzero(u32::from(self.u16()?)),
            Property::TOPIC_ALIAS_MAXIMUM | Property::TOPIC_ALIAS => self.u16().map(drop),
            Property::SUBSCRIPTION_ID => self.varint().map(drop),
            Property::CORRELATION | Property::AUTH_DATA => self.binary().map(drop),
            Property::CONTENT_TYPE | Property::RESPONSE_TOPIC | Property::AUTH_METHOD | Property::REASON => {
                self.text().map(drop)
            }
            Property::USER => {
                self.text()?;
                self.text().map(drop)
            }
            _ => Err(malformed("unknown property")),
        }
    }
}
