//! What every family of boards must be able to do; the bus knows no bytes.

use std::fmt;

use super::contacts::Contacts;
use super::place::{BoardAddress, LockPlace};

/// The codec of one family: requests to bytes, bytes to what they mean. No clock, no port, no memory.
pub trait LockFamily: fmt::Debug + Send + Sync {
    /// The request that pulses one lock. The board times the pulse; no request switches power on until told otherwise.
    fn pulse(&self, place: LockPlace) -> Vec<u8>;

    /// The request for the state of a whole board.
    fn board_query(&self, board: BoardAddress) -> Vec<u8>;

    /// The request for the state of one lock, asked where a board's answer was [`Answer::Ambiguous`].
    fn lock_query(&self, place: LockPlace) -> Vec<u8>;

    /// Reads everything that came since [`Self::board_query`] was written.
    fn read_board(&self, board: BoardAddress, channels: u8, bytes: &[u8]) -> Reading;

    /// Reads everything that came since [`Self::lock_query`] was written; contacts hold this one lock.
    fn read_lock(&self, place: LockPlace, bytes: &[u8]) -> Reading;

    /// Reads what came unasked, or after a pulse: the boards whose doors may have moved.
    fn read_unasked(&self, bytes: &[u8]) -> Reading;
}

/// What some bytes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub answer: Answer,
    /// Boards that said unasked that something moved. They are polled at once; the frame itself is not believed.
    pub moved: Vec<BoardAddress>,
    /// Whole frames, echoes included.
    pub frames: usize,
    /// Bytes that belong to no frame.
    pub noise: usize,
}

/// The state that was asked for, if it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Not yet, or not at all.
    Missing,
    /// The only candidate is byte for byte the request: a reply, or its echo.
    Ambiguous,
    Contacts(Contacts),
}
