//! Makes the files of a fleet: its folder, its people's and its cabinets'.
//!
//! Every folder is made beside its place and moved there when it is whole, so that no failure leaves half a fleet behind.

mod boards;
mod cabinet;
mod compartments;
mod delegations;
mod error;
mod init;
mod keys;
mod layout;
mod making;
mod person;
mod receipts;
mod text;
mod tokens;

pub use boards::{Boards, ByteOrder, Polarity};
pub use cabinet::{CabinetFolder, CabinetOptions, TOKEN_LIFE, cabinet, new_cabinet_token};
pub use compartments::{Compartments, PlannedCompartment};
pub use delegations::{DelegationOptions, MadeDelegation, OwnKey, delegate, has_own_key, make_own_key, own_key};
pub use error::{PlanError, SetupError};
pub use init::{InitOptions, init};
pub use keys::{
    Change, KeysError, Root, RootKeys, SignedKeyset, change, forget_key, keysets, newest_keyset, settle_signer,
};
pub use layout::{FleetSettings, Layout};
pub use person::{PersonOptions, person, renew_person};
pub use receipts::{WorthlessReceipt, check_receipt, keep_receipt};
pub use tokens::Place;
