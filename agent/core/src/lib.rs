//! The rules of one cabinet, without clocks, sockets, files or random numbers of their own.
//!
//! The shell feeds facts in as [`Input`]s. [`CabinetCore::handle`] answers with a step: rows, which the shell commits in
//! one transaction, and effects, which it carries out afterwards. So whatever the cabinet says or does is on its disk
//! first. If a commit fails, the shell throws the core away and opens it again from the store.
//!
//! A shell opens the core, commits its first step, gives it the keyset of the settings, and from then on:
//! - calls it with [`Input::Tick`] when [`CabinetCore::poll_timeout`] comes;
//! - answers each [`Effect::Pulse`] with exactly one [`Input::PulseResult`], and reports doors in the order of the bus;
//! - answers each [`Effect::Derive`] and each [`Effect::DeriveAnswer`] with one [`Input::Derived`];
//! - says [`Input::Connected`] once per connection, after its subscription, and reports PUBACKs of that connection only.
//!
//! | idea | module |
//! |---|---|
//! | which fact concerns which rule, deadlines | `core` |
//! | rows to a core, first start, power cuts | `open` |
//! | hello, welcome, telemetry, events on their way | `link`, `outbox` |
//! | freshness and time | `challenges`, `time` |
//! | who may sign what | `keyset`, `commands`, `people`, `codes`, `refusals` |
//! | what may be loaded and what opens it | `book` |
//! | one pulse for one use, one outcome for each | `uses` |
//! | doors, and what they say about the content | `bay`, `doors`, `contents` |
//! | people at the screen | `app`, `entry`, `factor`, `release`, `deposit`, `courier`, `lockout`, `report`, `staff`, `walk_in`, `audit`, `swap`, `emergency` |
//! | the end of a cabinet | `wipe` |

mod app;
mod audit;
mod bay;
mod book;
mod break_glass;
mod bundle;
mod challenges;
mod codes;
mod commands;
mod config;
mod contents;
mod core;
mod courier;
mod deposit;
mod doors;
mod draws;
mod effect;
mod emergency;
mod entry;
mod errand;
mod factor;
mod found;
mod input;
mod keyset;
mod link;
mod lockout;
mod open;
mod outbox;
mod people;
mod records;
mod refusals;
mod release;
mod report;
mod service;
mod shared;
mod staff;
mod swap;
mod tables;
mod time;
mod turn;
mod uses;
mod view;
mod walk_in;
mod wipe;

pub use app::{APP_CLOSED_MILLIS, TOKEN_LIFE_MILLIS, TOKEN_SHOWN_MILLIS, WRONG_TOKENS_MAX};
pub use bay::{BEEP_MILLIS, HELD_STAFF_MILLIS, HELD_TECHNICIAN_MILLIS, PULSE_WINDOW_MILLIS};
pub use book::{COURIERS_MAX, CREDENTIALS_MAX, ORDERS_MAX, STAFF_MAX, TOMBSTONES_MAX, WALK_INS_MAX};
pub use challenges::CHALLENGE_ROTATION_MILLIS;
pub use commands::COMMANDS_MAX;
pub use config::{CompartmentConfig, Config, DeviceKey, MachineStart, Moment};
pub use contents::{REOPEN_MILLIS, STAFF_ANSWER_MILLIS, UNCONFIRMED_MILLIS};
pub use core::CabinetCore;
pub use courier::{
    COURIER_IDLE_MILLIS, NewParcel, NotALabel, ParcelLabel, TRIES_MILLIS, UNKNOWN_LABELS_MAX, is_scanned_code,
};
pub use deposit::{DEPOSIT_ANSWER_MILLIS, DEPOSIT_IDLE_MILLIS, DEPOSIT_MOVES_MAX};
pub use effect::{DepositRefusal, Effect, EntryRefusal, EntryResult, ScreenNote, StaffRefusal};
pub use emergency::APART_MILLIS;
pub use factor::{ANSWER_MILLIS, ANSWERS_AT_ONCE, WRONG_ANSWERS_MAX};
pub use input::{DepositWish, DoorSeen, Input, SessionId};
pub use lockout::{LOCK_MILLIS, WRONG_A_DAY_MAX, WRONG_MAX};
pub use open::OpenError;
pub use outbox::{HISTORY, OUTBOX_MAX, OUTBOX_WINDOW};
pub use release::{AskedRelease, RELEASE_MILLIS};
pub use report::REPORT_MILLIS;
pub use service::MaintenanceMinutes;
pub use staff::SESSION_IDLE_MILLIS;
pub use tables::{EVENTS, TABLES, event_key};
pub use time::EarliestTime;
pub use uses::{ATTEMPTS_MAX, PERSON_MILLIS, RECOVERY_MILLIS};
pub use view::{CompartmentView, OfflineView, PartView, UnwantedOrder, View, WaitingOrder};
pub use walk_in::NewWalkIn;
pub use wipe::LAST_WORDS_MILLIS;
