//! `fleet cabinet break-glass`.

use std::process::ExitCode;

use schemas::api::{BreakGlassShown, Reply, Request};
use schemas::ids::CabinetId;

use super::context::{Context, other_answer};
use super::output;

/// Digits are read out on the phone, and typed, in groups of so many.
const GROUP: usize = 5;

pub(super) fn run(context: &Context, cabinet: CabinetId, reason: String) -> anyhow::Result<ExitCode> {
    let reply = context.ask(&context.folder()?, &Request::CabinetBreakGlass { cabinet, reason })?;
    let Reply::BreakGlass(shown) = &reply else { return Err(other_answer()) };
    match context.json {
        true => output::json(&reply)?,
        false => output::text(&told(shown))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn told(shown: &BreakGlassShown) -> String {
    let code = output::plain(&shown.code);
    let digits: Vec<char> = code.chars().collect();
    let groups: Vec<String> = digits.chunks(GROUP).map(|group| group.iter().collect()).collect();
    format!(
        "Break-glass code of cabinet {}: {}\n\n\
         Staff type it at the screen behind \"Staff\". It lets them in once, without a\n\
         network, until they leave or do nothing for a minute. That you were shown it is\n\
         on record, and the cabinet tells of its use once it is connected; then the code\n\
         is replaced, used or not.",
        shown.cabinet,
        groups.join(" "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_comes_in_groups_that_can_be_read_out() {
        let shown = BreakGlassShown { cabinet: "berlin-01".parse().unwrap(), code: "0123456789".repeat(2) + "01234" };
        let text = told(&shown);
        assert!(text.starts_with("Break-glass code of cabinet berlin-01: 01234 56789 01234 56789 01234\n"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
}
