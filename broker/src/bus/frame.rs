//! The frame around a live packet on the bus.
//!
//! ```text
//! version  kind  origin  sequence  tenant length  tenant  cabinet length  cabinet  payload
//!    1      1      8        8            1          n            1           n     the rest
//! ```
//!
//! Numbers are big-endian. `origin` is a random number of the sending bus, `sequence` counts its frames from 0. A
//! heartbeat (kind 0) has no tenant, no cabinet and no payload. The frame is never empty, which matters: to a router an
//! empty publish means "forget what is retained".

use std::str;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use schemas::ids::{CabinetId, NAME_MAX, TenantId};
use schemas::topics::Live;

use super::LivePacket;

/// Longest payload of a live packet in bytes.
pub const PAYLOAD_MAX: usize = 32 * 1024;

/// Longest frame in bytes.
pub(super) const FRAME_MAX: usize = HEAD + 2 * (1 + NAME_MAX) + PAYLOAD_MAX;

const VERSION: u8 = 1;
const HEAD: usize = 2 + 8 + 8;

/// Which frame of which bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameId {
    pub(super) origin: u64,
    pub(super) sequence: u64,
}

/// What a frame carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    Heartbeat,
    Live(LivePacket),
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("frame ends early")]
    Truncated,
    #[error("frame is longer than {FRAME_MAX} bytes")]
    TooLong,
    #[error("frame has unknown version {0}")]
    UnknownVersion(u8),
    #[error("frame has unknown kind {0}")]
    UnknownKind(u8),
    #[error("frame names no valid tenant or cabinet")]
    BadName,
    #[error("heartbeat frame has more than a head")]
    HeartbeatWithContent,
}

pub(super) fn encode_heartbeat(id: FrameId) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD + 2);
    put_head(&mut out, 0, id);
    out.put_slice(&[0, 0]);
    out.freeze()
}

/// Writes a frame. The caller has checked the length of the payload; the names are short by construction.
pub(super) fn encode_live(id: FrameId, packet: &LivePacket) -> Bytes {
    let (tenant, cabinet) = (packet.tenant.as_str(), packet.cabinet.as_str());
    let mut out = BytesMut::with_capacity(HEAD + 2 + tenant.len() + cabinet.len() + packet.payload.len());
    put_head(&mut out, kind_of(packet.live), id);
    for name in [tenant, cabinet] {
        debug_assert!(name.len() <= NAME_MAX);
        out.put_u8(name.len().to_le_bytes()[0]);
        out.put_slice(name.as_bytes());
    }
    out.put_slice(&packet.payload);
    out.freeze()
}

/// Reads a frame. The payload shares the memory of `bytes`.
pub(super) fn decode(mut bytes: Bytes) -> Result<(FrameId, Content), FrameError> {
    if bytes.len() > FRAME_MAX {
        return Err(FrameError::TooLong);
    }
    if bytes.len() < HEAD {
        return Err(FrameError::Truncated);
    }
    let version = bytes.get_u8();
    if version != VERSION {
        return Err(FrameError::UnknownVersion(version));
    }
    let kind = bytes.get_u8();
    let id = FrameId { origin: bytes.get_u64(), sequence: bytes.get_u64() };
    let tenant = take_name(&mut bytes)?;
    let cabinet = take_name(&mut bytes)?;
    if bytes.len() > PAYLOAD_MAX {
        return Err(FrameError::TooLong);
    }
    if kind == 0 {
        let bare = tenant.is_empty() && cabinet.is_empty() && bytes.is_empty();
        return if bare { Ok((id, Content::Heartbeat)) } else { Err(FrameError::HeartbeatWithContent) };
    }
    let live = Live::ALL.into_iter().find(|live| kind_of(*live) == kind).ok_or(FrameError::UnknownKind(kind))?;
    let tenant = TenantId::new(text(&tenant)?).map_err(|_| FrameError::BadName)?;
    let cabinet = CabinetId::new(text(&cabinet)?).map_err(|_| FrameError::BadName)?;
    Ok((id, Content::Live(LivePacket { tenant, cabinet, live, payload: bytes })))
}

fn kind_of(live: Live) -> u8 {
    match live {
        Live::Presence => 1,
        Live::Event => 2,
        Live::Telemetry => 3,
        Live::Availability => 4,
    }
}

fn put_head(out: &mut BytesMut, kind: u8, id: FrameId) {
    out.put_slice(&[VERSION, kind]);
    out.put_u64(id.origin);
    out.put_u64(id.sequence);
}

fn take_name(bytes: &mut Bytes) -> Result<Bytes, FrameError> {
    let length = usize::from(*bytes.first().ok_or(FrameError::Truncated)?);
    bytes.advance(1);
    if length > bytes.len() {
        return Err(FrameError::Truncated);
    }
    Ok(bytes.split_to(length))
}

fn text(bytes: &[u8]) -> Result<&str, FrameError> {
    str::from_utf8(bytes).map_err(|_| FrameError::BadName)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: FrameId = FrameId { origin: 0x0102_0304_0506_0708, sequence: 9 };

    fn packet(payload: &'static [u8]) -> LivePacket {
        LivePacket {
            tenant: "acme".parse().unwrap(),
            cabinet: "c1".parse().unwrap(),
            live: Live::Event,
            payload: Bytes::from_static(payload),
        }
    }

    #[test]
    fn wire_bytes_of_version_1_are_pinned() {
        let head = [1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9];
        let expected = [&head[..], b"\x04acme\x02c1", b"\xff\0{}"].concat();
        assert_eq!(encode_live(ID, &packet(b"\xff\0{}")), expected);
        assert_eq!(decode(expected.into()), Ok((ID, Content::Live(packet(b"\xff\0{}")))));
        let beat = [1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0];
        assert_eq!(encode_heartbeat(ID), &beat[..]);
        assert_eq!(decode(Bytes::copy_from_slice(&beat)), Ok((ID, Content::Heartbeat)));
    }

    #[test]
    fn every_kind_and_an_empty_payload_survive() {
        for live in Live::ALL {
            let packet = LivePacket { live, ..packet(b"") };
            assert_eq!(decode(encode_live(ID, &packet)), Ok((ID, Content::Live(packet))));
        }
    }

    #[test]
    fn every_cut_within_the_head_or_the_names_is_refused() {
        let whole = encode_live(ID, &packet(b""));
        for end in 0..whole.len() {
            assert!(decode(whole.slice(..end)).is_err(), "a frame cut at {end} was taken");
        }
    }

    #[test]
    fn bad_frames_are_refused_for_their_reason() {
        let whole = encode_live(ID, &packet(b"x")).to_vec();
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            decode(bytes.into()).unwrap_err()
        };
        assert_eq!(with(0, 2), FrameError::UnknownVersion(2));
        assert_eq!(with(1, 5), FrameError::UnknownKind(5));
        assert_eq!(with(1, 0), FrameError::HeartbeatWithContent);
        assert_eq!(with(18, 200), FrameError::Truncated);
        assert_eq!(with(18, 0), FrameError::Truncated);
        assert_eq!(with(19, b'A'), FrameError::BadName);
        assert_eq!(with(19, 0xff), FrameError::BadName);
        assert_eq!(with(24, b'/'), FrameError::BadName);
    }

    #[test]
    fn payload_over_the_limit_is_refused_at_any_length_of_the_names() {
        let exact = LivePacket { payload: Bytes::from(vec![b'x'; PAYLOAD_MAX]), ..packet(b"") };
        let frame = encode_live(ID, &exact);
        assert!(decode(frame.clone()).is_ok());
        assert_eq!(decode([&frame[..], b"x"].concat().into()), Err(FrameError::TooLong));
        assert_eq!(decode(vec![1; FRAME_MAX + 1].into()), Err(FrameError::TooLong));
    }

    #[test]
    fn each_frame_has_one_encoding_whatever_byte_is_changed() {
        let whole = encode_live(ID, &packet(b"{\"door\":\"open\"}")).to_vec();
        for at in 0..whole.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let Ok((id, content)) = decode(bytes.clone().into()) else { continue };
                let again = match content {
                    Content::Heartbeat => encode_heartbeat(id),
                    Content::Live(packet) => encode_live(id, &packet),
                };
                assert_eq!(again, bytes, "byte {at} changed to {byte}");
            }
        }
    }
}
