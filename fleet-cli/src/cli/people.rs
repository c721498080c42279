//! `fleet staff add`.

use std::process::ExitCode;

use schemas::api::{Reply, Request};

use super::args::StaffCommand;
use super::context::{Context, other_answer};
use super::output;

pub(super) fn run(context: &Context, command: StaffCommand) -> anyhow::Result<ExitCode> {
    let StaffCommand::Add { name } = command;
    let reply = context.ask(&context.folder()?, &Request::StaffAdd { name })?;
    let Reply::Staff(issued) = &reply else { return Err(other_answer()) };
    if context.json {
        output::json(&reply)?;
    } else {
        output::text(&format!(
            "PIN of {name}: {pin}\n\nHand it over now: it is shown this once and kept nowhere in readable form.",
            name = issued.name,
            pin = output::plain(&issued.pin),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
