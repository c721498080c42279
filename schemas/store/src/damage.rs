//! Panics of redb, which may panic on pages that were damaged while it worked.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// redb found something that it believed impossible.
#[derive(Debug, thiserror::Error)]
#[error("its content contradicts itself: {0}")]
pub(crate) struct Damage(String);

/// Lets redb work and catches it when it panics. What it was working on is in doubt then: a transaction is not committed,
/// and the store has to be opened again, which compares all of it. Where panics end the process they do so here too.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Damage> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Damage(words(panic.as_ref())))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    // The words may hold bytes of a row, and a row may hold a name.
    text.and_then(|text| text.split([':', '`']).next()).unwrap_or("a panic").chars().take(120).collect()
}
