//! Cuts packets out of the byte stream, by the fixed header of MQTT 5 section 2.1.

use bytes::BytesMut;

use super::strict::{self, Phase};
use crate::gate::rule::{Offence, Rule};

/// Bytes of the longest "remaining length".
const LENGTH_MAX: usize = 4;

/// One whole packet.
pub(super) struct Frame {
    pub(super) first: u8,
    header: usize,
    pub(super) bytes: BytesMut,
}

impl Frame {
    /// What follows the fixed header.
    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(self.header..).unwrap_or_default()
    }
}

/// Cuts one packet off the front. Its type and its length are judged as soon as the header is there.
pub(super) fn cut(inbox: &mut BytesMut, phase: Phase, max: usize) -> Result<Option<Frame>, Offence> {
    let Some((&first, rest)) = inbox.split_first() else { return Ok(None) };
    strict::check_type(first, phase)?;
    let Some((length, length_bytes)) = remaining_length(rest)? else { return Ok(None) };
    let header = 1 + length_bytes;
    let whole = header + length;
    if whole > max {
        return Err(Offence::new(Rule::PacketTooLarge, "packet is larger than the announced maximum"));
    }
    if inbox.len() < whole {
        return Ok(None);
    }
    Ok(Some(Frame { first, header, bytes: inbox.split_to(whole) }))
}

/// The length and how many bytes it took.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Offence> {
    let mut length = 0;
    for (index, byte) in bytes.iter().take(LENGTH_MAX).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            if index > 0 && *byte == 0 {
                return Err(Offence::new(Rule::Malformed, "remaining length is not in its shortest form"));
            }
            return Ok(Some((length, index + 1)));
        }
    }
    if bytes.len() >= LENGTH_MAX {
        return Err(Offence::new(Rule::Malformed, "remaining length has more than four bytes"));
    }
    Ok(None)
}
