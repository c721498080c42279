//! The whole fleet under test: real processes on a stage, the people around them, and what they can see.

pub mod chaos;
mod failing_disk;
mod forger;
mod journals;
pub mod measure;
mod people;
mod raw;
pub mod sim;
mod site;
mod tools;
mod until;
mod watch;
mod world;

pub use failing_disk::{DiskFault, FailingDisk};
pub use forger::{Target, since_boot};
pub use people::{Shop, order};
pub use raw::{Answered, RawClient};
pub use site::Site;
pub use tools::{program, usable};
pub use until::{Look, until};
pub use watch::Watch;
pub use world::World;
