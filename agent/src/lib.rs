//! The agent of one cabinet.

pub mod boards;
