//! The rules of one cabinet, without clocks, sockets, files or random numbers of their own.
//!
//! The shell feeds facts in as [`Input`]s. `CabinetCore::handle` answers with a step: rows, which the shell commits in
//! one transaction, and effects, which it carries out afterwards. So whatever the cabinet says or does is on its disk
//! first. If a commit fails, the shell throws the core away and opens it again from the store.

mod config;
mod effect;
mod input;
mod tables;
mod view;

pub use config::{CompartmentConfig, Config, DeviceKey, Moment};
pub use effect::{Effect, EntryRefusal, EntryResult, ScreenNote, StaffRefusal};
pub use input::{DoorSeen, Input, SessionId};
pub use tables::{EVENTS, TABLES, event_key};
pub use view::{CompartmentView, View, WaitingOrder};
