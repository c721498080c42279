//! `fleet demo`: a whole fleet on this machine, and one order from a backend to an open door.

mod story;
mod timeline;

use std::process::ExitCode;

use anyhow::Context as _;

use story::Story;
use timeline::Timeline;

/// How the demo runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoOptions {
    /// Keep everything running after the tour, until Ctrl-C.
    pub stay: bool,
}

/// Tells the story. The exit code is 0 only if every step was observed.
pub fn run(options: DemoOptions) -> anyhow::Result<ExitCode> {
    // What is built below `cargo run` is no part of the story's time.
    crate::stage::Binaries::find()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let mut timeline = Timeline::start();
        match tell(&mut timeline, options).await {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => {
                timeline.failed(&error);
                Ok(ExitCode::FAILURE)
            }
        }
    })
}

async fn tell(timeline: &mut Timeline, options: DemoOptions) -> anyhow::Result<()> {
    timeline.title("A fleet of one cabinet on this machine: real processes, real TLS, real bytes on the lock bus");
    let mut story = Story::set_up(timeline).await?;
    story.order_to_open_door(timeline).await?;
    story.operator_and_attackers(timeline).await?;
    timeline.done();
    if options.stay {
        story.stay().await?;
    }
    story.end().await
}
