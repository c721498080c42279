use bytes::{Bytes, BytesMut};

use super::encode::{self, Announcement, Publish};
use super::{Greeting, Inbound, Phase, Published, Wish, take};
use crate::gate::rule::Rule;

const MAX: usize = 1024;

fn read(phase: Phase, bytes: &[u8]) -> Result<Option<Inbound>, Rule> {
    take(&mut BytesMut::from(bytes), phase, MAX).map_err(|offence| offence.rule)
}

/// One good packet of each type that a client may send.
fn good() -> Vec<(Phase, Vec<u8>)> {
    vec![
        (
            Phase::Greeting,
            [
                &[0x10, 0x20, 0x00, 0x04][..],
                b"MQTT",
                &[0x05, 0x02, 0x00, 0x1e],
                // Receive Maximum 10, Maximum Packet Size 2048
                &[0x08, 0x21, 0x00, 0x0a, 0x27, 0x00, 0x00, 0x08, 0x00],
                &[0x00, 0x0b],
                b"cabinet:a:c",
            ]
            .concat(),
        ),
        (Phase::Open, [&[0x32, 0x0e, 0x00, 0x03][..], b"a/b", &[0x00, 0x07, 0x04, 0x03, 0x00, 0x01], b"jhi"].concat()),
        (Phase::Open, [&[0x30, 0x0a, 0x00, 0x03][..], b"a/b", &[0x00], b"1234"].concat()),
        (Phase::Open, vec![0x40, 0x02, 0x00, 0x07]),
        (Phase::Open, vec![0x40, 0x08, 0x00, 0x07, 0x87, 0x04, 0x1f, 0x00, 0x01, b'x']),
        (Phase::Open, [&[0x82, 0x09, 0x00, 0x01, 0x00, 0x00, 0x03][..], b"a/b", &[0x01]].concat()),
        (Phase::Open, [&[0xa2, 0x08, 0x00, 0x02, 0x00, 0x00, 0x03][..], b"a/b"].concat()),
        (Phase::Open, vec![0xc0, 0x00]),
        (Phase::Open, vec![0xe0, 0x00]),
        (Phase::Open, vec![0xe0, 0x01, 0x04]),
    ]
}

#[test]
fn good_packets_are_read_as_what_they_say() {
    let read: Vec<Inbound> = good().into_iter().map(|(phase, bytes)| read(phase, &bytes).unwrap().unwrap()).collect();
    let publish = |pkid, payload: &'static [u8], content_type: Option<&str>| {
        Inbound::Publish(Published {
            pkid,
            topic: "a/b".to_owned(),
            payload: Bytes::from_static(payload),
            content_type: content_type.map(str::to_owned),
            response_topic: None,
            correlation: None,
        })
    };
    let expected = [
        Inbound::Connect(Greeting {
            client_id: "cabinet:a:c".to_owned(),
            keep_alive: 30,
            receive_maximum: 10,
            packet_max: 2048,
            problem_info: true,
        }),
        publish(Some(7), b"hi", Some("j")),
        publish(None, b"1234", None),
        Inbound::PubAck { pkid: 7, taken: true },
        Inbound::PubAck { pkid: 7, taken: false },
        Inbound::Subscribe {
            pkid: 1,
            wishes: vec![Wish { filter: "a/b".to_owned(), at_least_once: true }],
            rows_as: None,
        },
        Inbound::Unsubscribe { pkid: 2, filters: vec!["a/b".to_owned()] },
        Inbound::Ping,
        Inbound::Disconnect,
        Inbound::Disconnect,
    ];
    assert_eq!(read, expected);
}

#[test]
fn a_packet_in_pieces_is_waited_for_and_leaves_the_next_one_alone() {
    for (phase, bytes) in good() {
        for cut in 0..bytes.len() {
            assert_eq!(read(phase, &bytes[..cut]), Ok(None), "{bytes:02x?} up to {cut}");
        }
        let mut two = BytesMut::from(&[bytes.as_slice(), &[0xc0, 0x00]].concat()[..]);
        assert!(matches!(take(&mut two, phase, MAX), Ok(Some(_))));
        assert_eq!(&two[..], [0xc0, 0x00]);
    }
}

#[test]
fn each_phase_takes_only_its_own_packets() {
    for (phase, bytes) in good() {
        let other = if phase == Phase::Open { Phase::Greeting } else { Phase::Open };
        assert_eq!(read(other, &bytes), Err(Rule::UnexpectedPacket));
    }
}

#[test]
fn a_length_that_is_not_the_shortest_or_over_the_limit_is_refused_before_the_body_is_there() {
    assert_eq!(read(Phase::Open, &[0x32, 0x80, 0x00]), Err(Rule::Malformed));
    assert_eq!(read(Phase::Open, &[0x32, 0xff, 0xff, 0xff, 0xff]), Err(Rule::Malformed));
    assert_eq!(read(Phase::Open, &[0x32, 0xff, 0x07]), Err(Rule::PacketTooLarge));
    assert_eq!(read(Phase::Open, &[0x32, 0xfd, 0x07]), Ok(None));
}

/// A small generator, so that a failing round can be repeated from its number.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % sides
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.roll(256)).unwrap()
    }
}

/// Changes, inserts, removes or appends a few bytes; half of the time the length is put right again, so that the
/// change reaches the inner parsers.
fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(bytes.len());
        match dice.roll(4) {
            0 => bytes[at] = dice.byte(),
            1 => bytes.insert(at, dice.byte()),
            2 if bytes.len() > 2 => drop(bytes.remove(at)),
            _ => bytes.extend((0..dice.roll(8)).map(|_| dice.byte())),
        }
    }
    let body = bytes.len().saturating_sub(2);
    if dice.roll(2) == 0 && body < 128 && bytes.len() >= 2 {
        bytes[1] = u8::try_from(body).unwrap();
    }
}

#[test]
fn no_mutation_of_a_packet_panics_or_passes_the_filter_but_not_the_codec() {
    let mut passed = 0;
    for round in 1..=300_000_u64 {
        let mut dice = Dice(round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let goods = good();
        let (phase, mut bytes) = goods[dice.roll(goods.len())].clone();
        mutate(&mut dice, &mut bytes);
        match take(&mut BytesMut::from(&bytes[..]), phase, MAX) {
            Ok(Some(_)) => passed += 1,
            Ok(None) => {}
            // The filter knows what the codec takes: a packet that only the codec refuses is a hole in the filter.
            Err(offence) => assert_ne!(offence.detail, "packet cannot be decoded", "round {round}: {bytes:02x?}"),
        }
    }
    assert!(passed > 10_000, "only {passed} mutations were still packets");
}

#[test]
fn no_random_bytes_panic() {
    for round in 1..=100_000_u64 {
        let mut dice = Dice(round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let length = dice.roll(64);
        let bytes: Vec<u8> = (0..length).map(|_| dice.byte()).collect();
        for phase in [Phase::Greeting, Phase::Open] {
            let mut inbox = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take(&mut inbox, phase, MAX) {}
        }
    }
}

fn written(write: impl FnOnce(&mut BytesMut) -> Result<(), encode::EncodeError>) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(&mut out).unwrap();
    out.to_vec()
}

#[test]
fn what_the_gate_sends_is_byte_for_byte_as_the_specification_says() {
    let announced = Announcement { receive_maximum: 32, packet_max: 65_536, keep_alive: 60 };
    #[rustfmt::skip]
    let connack = [
        0x20, 0x1d, 0x00, 0x00, 0x1a,
        0x11, 0, 0, 0, 0,    // Session Expiry Interval 0
        0x21, 0, 32,         // Receive Maximum
        0x24, 1,             // Maximum QoS
        0x25, 0,             // Retain Available
        0x27, 0, 1, 0, 0,    // Maximum Packet Size
        0x22, 0, 0,          // Topic Alias Maximum
        0x28, 1,             // Wildcard Subscription Available
        0x29, 0,             // Subscription Identifiers Available
        0x2a, 0,             // Shared Subscription Available
        0x13, 0, 60,         // Server Keep Alive
    ];
    let mut connack = connack.to_vec();
    connack[1] = u8::try_from(connack.len() - 2).unwrap();
    connack[4] = u8::try_from(connack.len() - 5).unwrap();
    assert_eq!(written(|out| encode::connack_accepted(out, announced)), connack);

    use rumqttd::protocol::{DisconnectReasonCode, PubAckReason, SubscribeReasonCode, UnsubAckReason};
    assert_eq!(written(|out| encode::puback(out, 258, PubAckReason::Success, None)), [0x40, 2, 1, 2]);
    assert_eq!(
        written(|out| encode::puback(out, 1, PubAckReason::NotAuthorized, Some("no"))),
        [0x40, 9, 0, 1, 0x87, 5, 0x1f, 0, 2, b'n', b'o']
    );
    assert_eq!(
        written(|out| encode::suback(
            out,
            1,
            vec![SubscribeReasonCode::QoS1, SubscribeReasonCode::NotAuthorized],
            None
        )),
        [0x90, 5, 0, 1, 0, 0x01, 0x87]
    );
    assert_eq!(
        written(|out| encode::unsuback(out, 1, vec![UnsubAckReason::NoSubscriptionExisted])),
        [0xb0, 4, 0, 1, 0, 0x11]
    );
    assert_eq!(written(encode::pingresp), [0xd0, 0]);
    assert_eq!(
        written(|out| encode::disconnect(out, DisconnectReasonCode::SessionTakenOver, "x")),
        [0xe0, 6, 0x8e, 4, 0x1f, 0, 1, b'x']
    );
}

#[test]
fn a_publish_carries_its_properties_within_its_size_bound() {
    let payload = Bytes::from_static(b"hi");
    let correlation = Bytes::from_static(b"q");
    let full = Publish {
        pkid: Some(258),
        topic: "a",
        payload: &payload,
        content_type: Some("j"),
        correlation: Some(&correlation),
        n: Some(u64::MAX),
    };
    let bytes = written(|out| encode::publish(out, &full));
    #[rustfmt::skip]
    let expected = [
        &[0x32, 42, 0, 1, b'a', 1, 2, 34][..],
        &[0x09, 0, 1, b'q'],                                  // Correlation Data
        &[0x26, 0, 1, b'n', 0, 20], b"18446744073709551615",  // User Property
        &[0x03, 0, 1, b'j'],                                  // Content Type
        b"hi",
    ].concat();
    assert_eq!(bytes, expected);
    assert!(bytes.len() <= full.size_bound());
    let bare = Publish { pkid: None, topic: "a", payload: &payload, content_type: None, correlation: None, n: None };
    assert_eq!(written(|out| encode::publish(out, &bare)), [0x30, 6, 0, 1, b'a', 0, b'h', b'i']);
}
