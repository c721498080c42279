//! `fleet policy show|preview|put`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use schemas::api::{Grace, Policies, Policy, PolicyChange, PolicyDetail, Reply, Request};
use schemas::messages::Category;
use serde::Deserialize;

use super::context::{Context, other_answer};
use super::failure::Usage;
use super::output::{self, table};

/// Longest file of policies, in bytes.
const FILE_MAX: u64 = 64 * 1024;

#[derive(Debug, clap::Subcommand)]
pub(super) enum PolicyCommand {
    /// Write the policies as a file that can be edited
    #[command(after_help = "\
Example:
  fleet policy show > policies.toml")]
    Show,
    /// Which stored orders would change with the policies of a file
    Preview {
        /// TOML, as `fleet policy show` writes it
        file: PathBuf,
    },
    /// Put the policies of a file into force
    #[command(after_help = "\
Example:
  fleet policy show > policies.toml
  (edit it)
  fleet policy preview policies.toml
  fleet policy put policies.toml

An order keeps the window that it was stored with, unless --live is given. If
somebody else has put other policies meanwhile, nothing is changed.")]
    Put {
        /// TOML, as `fleet policy show` writes it
        file: PathBuf,
        /// For orders that are stored already, too
        #[arg(long)]
        live: bool,
    },
}

/// A file of policies.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    /// The version that it was made from.
    version: u64,
    policies: Policies,
}

pub(super) fn run(context: &Context, command: PolicyCommand) -> anyhow::Result<ExitCode> {
    let request = match command {
        PolicyCommand::Show => Request::PolicyShow {},
        PolicyCommand::Preview { file } => Request::PolicyPreview { policies: Box::new(read(&file)?.policies) },
        PolicyCommand::Put { file, live } => {
            let PolicyFile { version, policies } = read(&file)?;
            Request::PolicyPut { replaces: version, policies: Box::new(policies), live }
        }
    };
    let reply = context.ask(&context.folder()?, &request)?;
    if context.json {
        output::json(&reply)?;
        return Ok(ExitCode::SUCCESS);
    }
    match (&request, &reply) {
        (Request::PolicyPut { live, .. }, Reply::Policy(detail)) => output::text(&put_text(detail.version, *live))?,
        (_, Reply::Policy(detail)) => output::text(file_text(detail).trim_end())?,
        (_, Reply::PolicyPreview(changes)) => output::show(change_table(changes), "No stored order would change.")?,
        _ => return Err(other_answer()),
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<PolicyFile> {
    let usage = |why: String| Usage(format!("policies `{}`: {why}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| usage(error.to_string()))?;
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(|error| usage(error.to_string()))?;
    if text.len() as u64 > FILE_MAX {
        return Err(usage(format!("longer than {FILE_MAX} bytes")).into());
    }
    Ok(parse(&text).map_err(usage)?)
}

/// What is wrong with a file is said here already, with its line.
fn parse(text: &str) -> Result<PolicyFile, String> {
    let file: PolicyFile = toml::from_str(text).map_err(|error| error.to_string())?;
    file.policies.check().map_err(|error| error.to_string())?;
    Ok(file)
}

fn put_text(version: u64, live: bool) -> String {
    let stored = match live {
        true => "Orders that are stored already follow them within a minute.",
        false => "Orders that are stored already keep the window that they have.",
    };
    format!("Policies of version {version} are in force. {stored}")
}

/// The policies as a file, so that what is shown can be edited and put.
fn file_text(detail: &PolicyDetail) -> String {
    let mut text = match (&detail.by, detail.at) {
        (Some(by), Some(at)) => format!("# Put by {by} at {}.\n", output::time(at)),
        _ => "# The defaults: nobody has put any yet.\n".to_owned(),
    };
    text.push_str(&format!("# The version that a put replaces.\nversion = {}\n", detail.version));
    for category in Category::ALL {
        text.push_str(&policy_text(*category, detail.policies.of(*category)));
    }
    text
}

fn policy_text(category: Category, policy: &Policy) -> String {
    let Policy {
        window_minutes,
        cooled_window_minutes,
        reminders_percent,
        grace,
        longest_minutes,
        pauses,
        needs_time,
        ends_when_open,
        reminds_when_open,
    } = policy;
    let mut text = format!("\n[policies.{category}]\nwindow_minutes = {}\n", window_minutes.count());
    if let Some(cooled) = cooled_window_minutes {
        text.push_str(&format!("cooled_window_minutes = {}\n", cooled.count()));
    }
    let reminders: Vec<_> = reminders_percent.iter().map(|share| share.count().to_string()).collect();
    let grace = match grace {
        Grace::None => "\"none\"".to_owned(),
        Grace::UntilRetrieved => "\"until_retrieved\"".to_owned(),
        Grace::Minutes(minutes) => format!("{{ minutes = {} }}", minutes.count()),
    };
    text.push_str(&format!(
        "reminders_percent = [{}]\ngrace = {grace}\nlongest_minutes = {}\npauses = {pauses}\nneeds_time = {needs_time}\n",
        reminders.join(", "),
        longest_minutes.count(),
    ));
    for (name, said) in [("ends_when_open", ends_when_open), ("reminds_when_open", reminds_when_open)] {
        if let Some(said) = said {
            text.push_str(&format!("{name} = {said}\n"));
        }
    }
    text
}

fn change_table(changes: &[PolicyChange]) -> comfy_table::Table {
    let mut table = table(["CATEGORY", "ORDERS", "OVERDUE AT ONCE", "AMONG THEM"]);
    for change in changes {
        let first: Vec<_> = change.first.iter().take(3).map(ToString::to_string).collect();
        let more = if change.first.len() > first.len() { " …" } else { "" };
        table.add_row([
            change.category.to_string(),
            change.orders.to_string(),
            change.overdue.to_string(),
            format!("{}{more}", first.join(" ")),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::api::{Minutes, Rfc3339};

    fn detail() -> PolicyDetail {
        let mut policies = Policies::default();
        policies.courier.grace = Grace::Minutes(Minutes::new(120).unwrap());
        policies.courier.reminders_percent.clear();
        PolicyDetail {
            version: 3,
            by: Some("operator:acme:eve".parse().unwrap()),
            at: Some(Rfc3339(1_795_378_500_007)),
            policies,
        }
    }

    #[test]
    fn what_is_shown_can_be_put_again_as_it_is() {
        let detail = detail();
        let file = parse(&file_text(&detail)).unwrap();
        assert_eq!(file, PolicyFile { version: 3, policies: detail.policies });
    }

    #[test]
    fn policies_read_as_a_file() {
        let text = file_text(&detail());
        let (start, food) = text.split_at(text.find("[policies.food]").unwrap());
        insta::assert_snapshot!(start.trim_end(), @r#"
        # Put by operator:acme:eve at 2026-11-22 20:15:00Z.
        # The version that a put replaces.
        version = 3

        [policies.retail]
        window_minutes = 4320
        reminders_percent = [50, 90]
        grace = "until_retrieved"
        longest_minutes = 43200
        pauses = true
        needs_time = false
        ends_when_open = true
        reminds_when_open = false
        "#);
        assert!(
            food.contains("cooled_window_minutes = 120\nreminders_percent = [50, 90]\ngrace = \"none\"\n"),
            "{food}"
        );
        assert!(food.contains("reminders_percent = []\ngrace = { minutes = 120 }\n"), "{food}");
    }

    #[test]
    fn a_mistake_in_a_file_is_named_with_its_line() {
        let good = file_text(&detail());
        for (from, to, named) in [
            ("window_minutes = 4320", "window_minutes = 0", "a span has 1 to 527040 minutes"),
            ("window_minutes = 4320", "windows_minutes = 4320", "unknown field `windows_minutes`"),
            ("version = 3", "", "missing field `version`"),
            ("[policies.food]", "[policies.foods]", "unknown field `foods`"),
            ("longest_minutes = 240", "longest_minutes = 60", "food: longest_minutes is shorter than a window"),
        ] {
            let error = parse(&good.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        assert!(parse(&good.replacen("= 4320", "= 0", 1)).unwrap_err().contains("line 6"));
    }

    #[test]
    fn a_preview_fits_80_columns_with_the_longest_names() {
        let order = format!("{}/{}", "i".repeat(32), "O".repeat(64)).parse::<schemas::messages::OrderKey>().unwrap();
        let change = |category, count: usize| PolicyChange {
            category,
            orders: u32::MAX,
            overdue: 0,
            first: vec![order.clone(); count],
        };
        let shown = change_table(&[change(Category::Retail, 4), change(Category::Food, 1)]).to_string();
        assert!(shown.lines().all(|line| line.trim_end().chars().count() <= 80), "{shown}");
        assert_eq!(shown.matches('…').count(), 1, "{shown}");
    }
}
