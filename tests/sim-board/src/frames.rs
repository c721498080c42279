//! The bytes of the XOR family as `vectors.tsv` shows them.

/// A request that a board understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Open { board: u8, lock: u8, seconds: Option<u8> },
    OpenAll { board: u8 },
    OpenMask { board: u8, mask: Vec<u8> },
    Hold { board: u8, lock: u8, on: bool },
    QueryOne { board: u8, lock: u8 },
    QueryAll { board: u8 },
}

pub(crate) const SHORT: u8 = 0x11;
pub(crate) const NOT_SHORT: u8 = 0x00;

/// Appends the check byte: the XOR of all bytes before it.
pub(crate) fn sealed(mut frame: Vec<u8>) -> Vec<u8> {
    frame.push(bcc(&frame));
    frame
}

pub(crate) fn contact_byte(short: bool) -> u8 {
    if short { SHORT } else { NOT_SHORT }
}

/// Takes the first whole request off the front of `buffer`, skipping bytes that start none.
pub(crate) fn take_request(buffer: &mut Vec<u8>, mask_len: impl Fn(u8) -> Option<usize>) -> Option<Request> {
    while let Some(&head) = buffer.first() {
        let lengths: &[usize] = match head {
            0x8A => &[5, 6],
            0x80 | 0x9A | 0x9B => &[5],
            0x90 => &[0],
            _ => &[],
        };
        let mut wait = false;
        for &length in lengths {
            let length = if head == 0x90 {
                match buffer.get(1) {
                    Some(&board) => mask_len(board).map_or(0, |mask| mask + 3),
                    None => usize::MAX,
                }
            } else {
                length
            };
            match buffer.get(..length) {
                None => wait = true,
                Some(frame) => {
                    if let Some(request) = read_request(frame) {
                        buffer.drain(..length);
                        return Some(request);
                    }
                }
            }
        }
        if wait {
            return None;
        }
        buffer.remove(0);
    }
    None
}

fn read_request(frame: &[u8]) -> Option<Request> {
    let (&check, body) = frame.split_last()?;
    if bcc(body) != check {
        return None;
    }
    match *body {
        [0x8A, board, 0, 0x11] => Some(Request::OpenAll { board }),
        [0x8A, board, lock, 0x11] => Some(Request::Open { board, lock, seconds: None }),
        [0x8A, board, lock, 0x11, seconds @ 1..=9] if lock != 0 => {
            Some(Request::Open { board, lock, seconds: Some(seconds) })
        }
        [0x80, board, 0, 0x33] => Some(Request::QueryAll { board }),
        [0x80, board, lock, 0x33] => Some(Request::QueryOne { board, lock }),
        [0x9A, board, lock, 0x11] => Some(Request::Hold { board, lock, on: true }),
        [0x9B, board, lock, 0x11] => Some(Request::Hold { board, lock, on: false }),
        [0x90, board, ref mask @ ..] if !mask.is_empty() => Some(Request::OpenMask { board, mask: mask.to_vec() }),
        _ => None,
    }
}

fn bcc(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |check, byte| check ^ byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(bytes: &[u8]) -> (Option<Request>, Vec<u8>) {
        let mut buffer = bytes.to_vec();
        (take_request(&mut buffer, |_| Some(3)), buffer)
    }

    #[test]
    fn request_is_found_behind_noise_and_leaves_the_rest() {
        let (request, rest) = take(&[0xFA, 0xFD, 0x8A, 0x01, 0x01, 0x11, 0x9B, 0x80]);
        assert_eq!(request, Some(Request::Open { board: 1, lock: 1, seconds: None }));
        assert_eq!(rest, [0x80]);
    }

    #[test]
    fn half_a_request_is_waited_for() {
        assert_eq!(take(&[0x8A, 0x01, 0x01]), (None, vec![0x8A, 0x01, 0x01]));
        assert_eq!(take(&[0x8A, 0x01, 0x01, 0x11, 0x03]), (None, vec![0x8A, 0x01, 0x01, 0x11, 0x03]));
        assert_eq!(take(&[0x90]), (None, vec![0x90]));
    }

    #[test]
    fn wrong_check_byte_is_no_request() {
        assert_eq!(take(&[0x80, 0x01, 0x00, 0x33, 0xB3]), (None, vec![]));
    }

    #[test]
    fn long_pulse_and_mask_are_understood() {
        let (request, _) = take(&[0x8A, 0x01, 0x01, 0x11, 0x03, 0x98]);
        assert_eq!(request, Some(Request::Open { board: 1, lock: 1, seconds: Some(3) }));
        let (request, _) = take(&[0x90, 0x01, 0x02, 0x02, 0x02, 0x93]);
        assert_eq!(request, Some(Request::OpenMask { board: 1, mask: vec![2, 2, 2] }));
    }
}
