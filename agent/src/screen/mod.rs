//! The cabinet's screen: a page and a small HTTP interface for one browser on the same machine.
//!
//! Loopback alone is no protection: every web page that the browser ever shows, and every program on the machine, can
//! reach it. So each call needs the secret of this start, and must come from our own page under our own address. The same
//! holds for the one screen that may be a computer of its own (`paired`).

mod address;
mod answers;
mod api;
mod brand;
mod connections;
mod guard;
mod languages;
mod notes;
mod pages;
pub mod paired;
pub mod port;
mod server;
#[cfg(test)]
mod texts;

pub use brand::BrandSection;
pub use languages::Language;
pub use notes::Notes;
pub use port::{ScreenRequest, ScreenView};
pub use server::{Screen, ScreenError};
