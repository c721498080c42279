//! The agent of one cabinet.

pub mod boards;
pub mod settings;
