//! An operator who follows the live view and forgets nothing.

use std::sync::{Arc, Mutex, PoisonError};

use fleet_cli::client::{Client, LiveItem};
use schemas::api::LiveEvent;
use tokio::task::JoinHandle;

use crate::until::{Look, until};

/// Live events since the start of the watch.
pub struct Watch {
    seen: Arc<Mutex<Vec<LiveEvent>>>,
    task: JoinHandle<()>,
}

impl Watch {
    pub async fn start(client: &Client) -> anyhow::Result<Self> {
        let mut live = client.subscribe_live(None).await?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let events = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            // The end of the connection is the end of the watch: a test that stops the broker starts another one.
            while let Ok(item) = live.next().await {
                match item {
                    LiveItem::Event(event) => events.lock().unwrap_or_else(PoisonError::into_inner).push(event),
                    LiveItem::Presence(_) | LiveItem::Telemetry(_) | LiveItem::Availability(_) | LiveItem::Lost(_) => {}
                }
            }
        });
        Ok(Self { seen, task })
    }

    /// All events so far.
    pub fn events(&self) -> Vec<LiveEvent> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those of one kind.
    pub fn of_kind(&self, kind: &str) -> Vec<LiveEvent> {
        self.events().into_iter().filter(|event| event.kind == kind).collect()
    }

    /// Waits for an event.
    pub async fn until(&self, what: &str, wanted: impl Fn(&LiveEvent) -> bool) -> anyhow::Result<LiveEvent> {
        until(what, async || {
            let events = self.events();
            let found = events.iter().find(|event| wanted(event)).cloned();
            Ok(Look::at(found, || events.iter().map(|event| format!("\n  {}", event.text)).collect()))
        })
        .await
    }

    /// Waits until `count` commands were refused for this reason, and says that there were no more.
    pub async fn until_refused(&self, reason: &str, count: usize) -> anyhow::Result<()> {
        let refusals = || {
            let refused = self.of_kind("command_refused");
            refused.into_iter().filter(|event| event.text.ends_with(reason)).count()
        };
        until(&format!("{count} refusals `{reason}` are reported"), async || {
            let found = refusals();
            Ok(Look::at((found >= count).then_some(()), || {
                let texts: Vec<_> = self.of_kind("command_refused").into_iter().map(|event| event.text).collect();
                format!("{found}; refusals: {texts:?}")
            }))
        })
        .await?;
        anyhow::ensure!(refusals() == count, "`{reason}` was reported {} times", refusals());
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
