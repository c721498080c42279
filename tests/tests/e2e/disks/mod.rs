//! Disks that fail, fill up, are read-only or damaged, under the real processes: nothing is promised that is not on them,
//! and where waiting can mend it nobody has to lend a hand.

mod damaged;
mod failing;
mod full;
mod read_only;
#[allow(dead_code, reason = "the tests of the store need more kinds of disks")]
#[path = "../../../../schemas/store/tests/full_disk/small_disk.rs"]
mod small_disk;
mod waits;
