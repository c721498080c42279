//! Limits and periods that an operator may set.

use schemas::api::QuotaLimits;
use schemas::ids::Name;
use schemas::messages::CredentialKind;
use serde::{Deserialize, Serialize};

/// What new codes are made of that somebody types. Those that are out keep their form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeForm {
    #[default]
    Digits,
    Letters,
}

impl CodeForm {
    pub(crate) fn kind(self) -> CredentialKind {
        match self {
            Self::Digits => CredentialKind::Digits,
            Self::Letters => CredentialKind::Letters,
        }
    }
}

/// Settings of the core; the defaults serve a fleet of thousands of cabinets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Most orders of one integration that are kept, finished ones included.
    pub orders_per_integration: usize,
    /// How much one integration may ask for, unless an operator has said otherwise for it.
    pub quota: QuotaLimits,
    /// How long a reservation is safe from an order that finds no other compartment.
    pub reservation_millis: u64,
    /// How often an order can be extended, sent again or given another code, all taken together.
    pub wishes_per_order: u32,
    /// How long a finished order is remembered, so that its id cannot be used again by mistake.
    pub order_retention_millis: u64,
    /// Which integration tells the recipients of walk-ins. Left out: the only one that there is.
    pub walk_in: Option<Name>,
    /// Walk-ins of one cabinet whose recipients are told within a day; the others wait.
    pub walk_ins_per_day: u32,
    /// Whether a backend may have the door of its order opened for whoever has read the token of the cabinet's screen.
    pub open_by_app: bool,
    /// Whether each cabinet has a break-glass code in its book.
    pub break_glass: bool,
    /// What new codes of orders and bundles are made of. PINs are of digits.
    pub code_form: CodeForm,
    /// Messages to people that one channel sends in a minute, at most; the others wait.
    pub messages_per_minute: u32,
    /// Acknowledged rows of a stream that are kept for `rows` requests.
    pub acked_rows_kept: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            orders_per_integration: 1_000_000,
            quota: QuotaLimits::default(),
            reservation_millis: 30 * 60 * 1_000,
            wishes_per_order: 20,
            order_retention_millis: 90 * 24 * 60 * 60 * 1_000,
            walk_in: None,
            walk_ins_per_day: 200,
            open_by_app: false,
            break_glass: true,
            code_form: CodeForm::default(),
            messages_per_minute: 600,
            acked_rows_kept: 10_000,
        }
    }
}
