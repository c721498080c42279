//! The cabinet's identity: how it comes by its certificate, keeps it, and gets the next one before it ends.

mod credentials;
mod enroll;
mod est;
mod renewal;
mod slots;

pub use credentials::{Attempt, Credentials};
pub use enroll::{EnrollError, Enrollment, enroll, identity_file};
pub use est::{EstError, Fleet};
pub use renewal::{Renewal, due_at};
pub use slots::{KeyPlaceError, Slot, Slots, key_place};
