//! A lock board profile as an installer writes it, in TOML or JSON.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A profile as it is written. Numbers are wide so that every wrong one is reported by [`super::Profile::check`], all together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileText {
    pub family: Family,
    pub transport: Transport,
    pub polarity: Polarity,
    pub byte_order: ByteOrder,
    /// The number of the first lock in `mapping` and on the installer's plan: 0 or 1.
    #[serde(default = "default_lock_base")]
    pub lock_base: i64,
    #[serde(default = "default_pulse_ms")]
    pub pulse_ms: i64,
    #[serde(default = "default_reply_timeout_ms")]
    pub reply_timeout_ms: i64,
    pub boards: Vec<BoardText>,
    /// May be empty while the bus is commissioned.
    #[serde(default)]
    pub mapping: Vec<MappingText>,
}

/// A family of boards: those that speak the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    Xor,
}

/// How the bus is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Transport {
    /// 8N1 without flow control.
    Serial {
        path: PathBuf,
        #[serde(default = "default_baud")]
        baud: i64,
    },
}

/// What the feedback contact of a lock does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Polarity {
    ShortWhenLocked,
    ShortWhenOpen,
}

/// Where locks 1 to 8 are in a board's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ByteOrder {
    FirstLocksLast,
    FirstLocksFirst,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardText {
    pub address: i64,
    pub channels: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingText {
    pub compartment: i64,
    pub board: i64,
    pub lock: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occupancy: Option<InputText>,
}

/// A spare channel that carries an occupancy sensor instead of a lock. It is never pulsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputText {
    pub board: i64,
    pub lock: i64,
    pub occupied_when: OccupiedWhen,
}

/// What an occupancy contact does when something lies in the compartment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OccupiedWhen {
    Short,
    Open,
}

fn default_lock_base() -> i64 {
    1
}

fn default_pulse_ms() -> i64 {
    300
}

fn default_reply_timeout_ms() -> i64 {
    150
}

fn default_baud() -> i64 {
    9600
}
