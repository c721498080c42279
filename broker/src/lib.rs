//! placeholder

pub mod bus;
