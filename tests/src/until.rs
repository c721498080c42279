//! Waiting on a condition.

use fleet_cli::stage::PATIENCE;
use tokio::time::{Duration, Instant, sleep};

const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What a look at the world came back with.
pub enum Look<T> {
    Seen(T),
    /// Not yet; what there was instead.
    NotYet(String),
}

impl<T> Look<T> {
    /// Seen, if there is something.
    pub fn at(found: Option<T>, instead: impl FnOnce() -> String) -> Self {
        found.map_or_else(|| Self::NotYet(instead()), Self::Seen)
    }
}

/// Looks until it is seen. In vain, the error says what was seen last.
pub async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Look<T>>>,
{
    let give_up = Instant::now() + PATIENCE;
    loop {
        match look().await? {
            Look::Seen(seen) => return Ok(seen),
            Look::NotYet(last) if Instant::now() >= give_up => {
                anyhow::bail!("waited in vain until {what}; last seen: {last}")
            }
            Look::NotYet(_) => sleep(LOOK_EVERY).await,
        }
    }
}
