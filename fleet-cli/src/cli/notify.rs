//! `fleet notify`: channels, templates, and what became of messages to people.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use schemas::api::{
    Channel, Language, MessageDetail, MessageState, MessageTemplate, MessageTested, NotificationKind, Reply, Request,
    Rfc3339, TemplateShown, UndeliveredReason, Via,
};
use schemas::ids::Name;
use schemas::messages::OrderKey;

use super::args::parse_since;
use super::context::{Context, block_on, other_answer};
use super::failure::Usage;
use super::output::{self, table};
use crate::client::Client;
use crate::folder::PersonFolder;

/// Longest file of a channel or a text, in bytes.
const FILE_MAX: u64 = 16 * 1024;

#[derive(Debug, clap::Subcommand)]
pub(super) enum NotifyCommand {
    /// By which ways messages go out
    #[command(subcommand)]
    Channel(ChannelCommand),
    /// What messages say
    #[command(subcommand)]
    Template(TemplateCommand),
    /// What became of messages
    #[command(after_help = "\
Examples:
  fleet notify list --undelivered
  fleet notify list --order shop/A17

Neither codes nor addresses are shown. Messages that were accepted are listed
for a day, those that were not for two weeks.")]
    List {
        /// Only those that nobody gets
        #[arg(long)]
        undelivered: bool,
        /// Only about this one
        #[arg(long, value_name = "INTEGRATION/ORDER")]
        order: Option<OrderKey>,
    },
    /// Send again what nobody got
    #[command(after_help = "\
Examples:
  fleet notify resend --reason refused
  fleet notify resend --channel sms --since 2026-11-25T08:00:00Z --yes 3

Shows whose messages these are; with --yes and their number they are asked for
again, by the channels as they are now. The codes are the same, but behind a
restored store. A code goes out twenty times at most.
Without --reason only what certainly reached nobody and may do so now: refused,
not_delivered, no_code, no_channel. Reminders and codes of bundles are left out.")]
    Resend(ResendArgs),
    /// Send a made-up message with the code 000000
    #[command(after_help = "\
Example:
  fleet notify test --channel sms --to '+49 151 12345678'

It is sent once, whatever comes of it. A webhook needs no --to.")]
    Test {
        /// The channel's name
        #[arg(long, value_name = "NAME")]
        channel: Name,
        /// A phone number or a mail address
        #[arg(long, value_name = "ADDRESS", default_value = "")]
        to: String,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct ResendArgs {
    /// Only those that this channel was the last to try
    #[arg(long, value_name = "NAME")]
    channel: Option<Name>,
    /// Only for this reason: refused, gave_up, not_delivered, …
    #[arg(long, value_name = "REASON")]
    reason: Option<UndeliveredReason>,
    /// Only those made since then, such as 2026-11-25T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<Rfc3339>,
    /// So many orders at most, the oldest first
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    most: u16,
    /// Send them, if they are still so many
    #[arg(long, value_name = "NUMBER")]
    yes: Option<usize>,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum ChannelCommand {
    /// Put the channel of a file, in the place of the one with its name
    #[command(after_help = "\
Example:
  fleet notify channel example sms_twilio > sms.toml
  (edit it)
  fleet notify channel put sms.toml
  fleet notify test --channel sms --to '+49 151 12345678'

No secret is in that file. It names one on the broker's host, in the folder
`notify.secrets` of broker.toml: <tenant>/<secret>, for its owner only (0600).
The first line of that says where it may be sent, the second is the secret.")]
    Put {
        /// TOML, as `fleet notify channel example` writes it
        file: PathBuf,
    },
    /// Write a channel that can be edited
    Example {
        /// What it speaks
        kind: ChannelKind,
    },
    /// All channels, in the order in which they are tried
    List,
    /// Remove a channel; what waits for it goes by the next one
    Remove {
        /// The channel's name
        name: Name,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum ChannelKind {
    Webhook,
    SmsTwilio,
    SmsHttp,
    Email,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum TemplateCommand {
    /// Say what messages of a kind say in a language
    #[command(after_help = "\
Examples:
  fleet notify template put pickup_code de \\
      --text 'Abholcode {code}, {place}[, Fach {compartment}][, bis {until}]'
  fleet notify template put reminder en --file reminder.txt \\
      --subject 'Your order {order} waits'

Fields: {code} {place} {compartment} {until} {order} {instruction} {doors}.
What is in [ ] is left out where one of its fields is empty. For messages that
are made from then on.")]
    #[command(override_usage = "fleet notify template put [OPTIONS] <KIND> <LANGUAGE>")]
    Put {
        /// pickup_code, reminder, deposit_code, bundle_code, …
        kind: NotificationKind,
        /// Such as de or en-GB
        language: Language,
        /// What it says
        #[arg(long, required_unless_present = "file", conflicts_with = "file")]
        text: Option<String>,
        /// A file with that, in UTF-8
        #[arg(long)]
        file: Option<PathBuf>,
        /// The subject of a mail; without {code}
        #[arg(long)]
        subject: Option<String>,
    },
    /// How a message reads, with made-up fields
    Show {
        /// pickup_code, reminder, deposit_code, bundle_code, …
        kind: NotificationKind,
        /// Such as de or en-GB
        language: Language,
    },
    /// Go back to what is used without this template
    Remove {
        /// pickup_code, reminder, deposit_code, bundle_code, …
        kind: NotificationKind,
        /// Such as de or en-GB
        language: Language,
    },
}

pub(super) fn run(context: &Context, command: NotifyCommand) -> anyhow::Result<ExitCode> {
    match command {
        NotifyCommand::Channel(command) => channel(context, command),
        NotifyCommand::Template(command) => template(context, command),
        NotifyCommand::List { undelivered, order } => list(context, undelivered, order),
        NotifyCommand::Resend(args) => resend(context, &args),
        NotifyCommand::Test { channel, to } => test(context, channel, to),
    }
}

fn channel(context: &Context, command: ChannelCommand) -> anyhow::Result<ExitCode> {
    let (request, said) = match command {
        ChannelCommand::Example { kind } => {
            output::text(example(kind).trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        ChannelCommand::Put { file } => {
            let channel = Box::new(read_channel(&file)?);
            let said = format!("Channel {} is in use. Try it: `fleet notify test --channel {0}`", channel.name);
            (Request::ChannelPut { channel }, said)
        }
        ChannelCommand::Remove { name } => {
            let said = format!("Channel {name} is removed.");
            (Request::ChannelRemove { name }, said)
        }
        ChannelCommand::List => (Request::ChannelList {}, String::new()),
    };
    let reply = context.ask(&context.folder()?, &request)?;
    if context.json {
        output::json(&reply)?;
    } else if let Reply::Channels(all) = &reply {
        output::show(channel_table(all), "There is no channel: integrations tell their recipients themselves.")?;
    } else if reply == Reply::Done {
        output::text(&said)?;
    } else {
        return Err(other_answer());
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<String, Usage> {
    let usage = |why: String| Usage(format!("`{}`: {why}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| usage(error.to_string()))?;
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(|error| usage(error.to_string()))?;
    if text.len() as u64 > FILE_MAX {
        return Err(usage(format!("longer than {FILE_MAX} bytes")));
    }
    Ok(text)
}

/// What is wrong with a file is said here already.
fn read_channel(path: &Path) -> Result<Channel, Usage> {
    let usage = |why: String| Usage(format!("channel `{}`: {why}", path.display()));
    let channel: Channel = toml::from_str(&read(path)?).map_err(|error| usage(error.to_string()))?;
    channel.check().map_err(|error| usage(error.to_string()))?;
    Ok(channel)
}

fn channel_table(all: &[Channel]) -> comfy_table::Table {
    let mut rows = table(["channel", "rank", "kind", "to", "secret", "next after"]);
    for channel in all {
        let kind = match channel.via {
            Via::Webhook { .. } => "webhook",
            Via::SmsTwilio { .. } => "sms_twilio",
            Via::SmsHttp { .. } => "sms_http",
            Via::Email { .. } => "email",
        };
        let after = channel.fallback_after_minutes.map(|after| format!("{} min", after.count())).unwrap_or_default();
        let (name, rank) = (channel.name.to_string(), channel.rank.to_string());
        rows.add_row([name, rank, kind.to_owned(), channel.origin(), channel.secret.to_string(), after]);
    }
    rows
}

fn template(context: &Context, command: TemplateCommand) -> anyhow::Result<ExitCode> {
    let request = match command {
        TemplateCommand::Put { kind, language, text, file, subject } => {
            let text = match (text, file) {
                (Some(text), _) => text,
                (None, Some(file)) => read(&file)?.trim_end().to_owned(),
                (None, None) => return Err(Usage("name --text or --file".to_owned()).into()),
            };
            Request::TemplatePut { template: MessageTemplate { kind, language, text, subject } }
        }
        TemplateCommand::Show { kind, language } => Request::TemplateShow { kind, language },
        TemplateCommand::Remove { kind, language } => Request::TemplateRemove { kind, language },
    };
    let reply = context.ask(&context.folder()?, &request)?;
    match (&request, &reply) {
        _ if context.json => output::json(&reply)?,
        (_, Reply::Template(shown)) => output::text(&template_text(shown))?,
        (Request::TemplateRemove { .. }, Reply::Done) => output::text("The template is removed.")?,
        (_, Reply::Done) => output::text("Messages that are made from now on follow the template.")?,
        _ => return Err(other_answer()),
    }
    Ok(ExitCode::SUCCESS)
}

fn template_text(shown: &TemplateShown) -> String {
    let TemplateShown { template, is_default, preview, preview_subject } = shown;
    let whose = if *is_default { "default" } else { "own" };
    let MessageTemplate { language, text, subject, .. } = template;
    let subject = subject.as_deref().unwrap_or_default();
    let plain = |text: &str| text.lines().map(output::plain).collect::<Vec<_>>().join("\n");
    format!(
        "Language  {language} ({whose})\nText      {}\nSubject   {}\n\n{}\n{}",
        plain(text),
        plain(subject),
        plain(preview_subject),
        plain(preview)
    )
}

/// All messages of a list, the oldest first. `shown`: each page as JSON.
fn messages(
    context: &Context,
    folder: &PersonFolder,
    undelivered: bool,
    order: Option<&OrderKey>,
    shown: bool,
) -> anyhow::Result<Vec<MessageDetail>> {
    let mut all: Vec<MessageDetail> = Vec::new();
    loop {
        let after = all.last().map(|last| last.id.clone());
        let reply = context.ask(folder, &Request::MessageList { undelivered, order: order.cloned(), after })?;
        if shown {
            output::json(&reply)?;
        }
        let Reply::Messages(page) = reply else { return Err(other_answer()) };
        let is_last = !page.more || page.messages.is_empty();
        all.extend(page.messages);
        if is_last {
            break;
        }
    }
    all.sort_by_key(|message| message.at.0);
    Ok(all)
}

/// What is asked for again as an order's message. What a bundle is called may also be an order's name.
fn is_of_an_order(kind: NotificationKind) -> bool {
    match kind {
        NotificationKind::PickupCode | NotificationKind::DepositCode => true,
        NotificationKind::Reminder | NotificationKind::BundleCode | NotificationKind::BundleChanged => false,
    }
}

/// Certainly nobody has it, and another try may come to something else.
fn is_worth_another_try(reason: UndeliveredReason) -> bool {
    match reason {
        UndeliveredReason::Refused
        | UndeliveredReason::NotDelivered
        | UndeliveredReason::NoCode
        | UndeliveredReason::NoChannel => true,
        UndeliveredReason::NoAddress
        | UndeliveredReason::BadNumber
        | UndeliveredReason::GaveUp
        | UndeliveredReason::TooMany
        | UndeliveredReason::Restored => false,
    }
}

/// What is to be sent again: one message of each order, the newest.
fn chosen(args: &ResendArgs, all: Vec<MessageDetail>) -> Vec<MessageDetail> {
    let wanted = |message: &MessageDetail| {
        is_of_an_order(message.kind)
            && args.channel.as_ref().is_none_or(|channel| message.channel.as_ref() == Some(channel))
            && message
                .reason
                .is_some_and(|reason| args.reason.map_or(is_worth_another_try(reason), |only| reason == only))
            && args.since.is_none_or(|since| message.at.0 >= since.0)
    };
    let mut newest: BTreeMap<OrderKey, MessageDetail> = BTreeMap::new();
    for message in all.into_iter().filter(wanted) {
        newest.insert(message.order.clone(), message);
    }
    let mut chosen: Vec<_> = newest.into_values().collect();
    chosen.sort_by_key(|message| message.at.0);
    chosen.truncate(args.most.into());
    chosen
}

fn resend(context: &Context, args: &ResendArgs) -> anyhow::Result<ExitCode> {
    let folder = context.folder()?;
    let chosen = chosen(args, messages(context, &folder, true, None, false)?);
    let Some(shown) = args.yes else {
        if context.json {
            output::json(&chosen)?;
        } else {
            output::show(message_table(&chosen), "There is nothing to be sent again.")?;
            if !chosen.is_empty() {
                output::text(&format!("\nNothing is sent yet: `--yes {}` does that.", chosen.len()))?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    };
    if shown != chosen.len() {
        return Err(Usage(format!("they are {} now; look at them again, without --yes", chosen.len())).into());
    }
    let (replies, ended) = block_on(async {
        let client = Client::connect(&folder).await?;
        let mut replies = Vec::new();
        let mut ended = Ok(());
        for message in &chosen {
            let order = message.order.clone();
            match client.request(&Request::OrderResend { order: order.clone() }).await {
                Ok(reply) => replies.push((order, reply)),
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            }
        }
        client.close().await;
        Ok::<_, anyhow::Error>((replies, ended))
    })??;
    // What was asked for is said also where the connection then broke.
    let code = resent(context, &replies)?;
    ended.map_err(anyhow::Error::from)?;
    Ok(code)
}

fn resent(context: &Context, replies: &[(OrderKey, Reply)]) -> anyhow::Result<ExitCode> {
    let refusal = |(order, reply): &'_ (OrderKey, Reply)| {
        if let Reply::Error(error) = reply { Some((order.clone(), error.clone())) } else { None }
    };
    let refused: Vec<_> = replies.iter().filter_map(refusal).collect();
    let sent = replies.len() - refused.len();
    if context.json {
        let refused: BTreeMap<_, _> = refused.iter().map(|(order, error)| (order.to_string(), error)).collect();
        output::json(&serde_json::json!({ "sent": sent, "refused": refused }))?;
    } else {
        output::text(&format!(
            "{sent} are asked for once more; `fleet notify list --undelivered` shows what becomes of them."
        ))?;
        for (order, error) in &refused {
            output::text(&format!("{order} does not: {} ({})", output::plain(&error.message), error.code))?;
        }
    }
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list(context: &Context, undelivered: bool, order: Option<OrderKey>) -> anyhow::Result<ExitCode> {
    let folder = context.folder()?;
    let all = messages(context, &folder, undelivered, order.as_ref(), context.json)?;
    if !context.json {
        let empty =
            if undelivered { "Nobody waits for a message that will not come." } else { "There are no messages." };
        output::show(message_table(&all), empty)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn message_table(all: &[MessageDetail]) -> comfy_table::Table {
    let mut rows = table(["made", "order", "kind", "cabinet", "channel", "state"]);
    for message in all {
        let channel = message.channel.as_ref().map(Name::to_string).unwrap_or_default();
        let (kind, cabinet) = (message.kind.to_string(), message.cabinet.to_string());
        rows.add_row([
            output::time(message.at),
            message.order.to_string(),
            kind,
            cabinet,
            channel,
            state_text(message),
        ]);
    }
    rows
}

fn state_text(message: &MessageDetail) -> String {
    let detail = message.detail.as_deref().map(|detail| format!(" ({})", output::plain(detail))).unwrap_or_default();
    match (message.state, message.reason) {
        (MessageState::Undelivered, Some(reason)) => format!("undelivered: {reason}{detail}"),
        (MessageState::Queued, _) if message.attempts > 0 => format!("queued, {} tries{detail}", message.attempts),
        (state, _) => format!("{state}{detail}"),
    }
}

fn test(context: &Context, channel: Name, to: String) -> anyhow::Result<ExitCode> {
    let reply = context.ask(&context.folder()?, &Request::ChannelTest { name: channel, to })?;
    let Reply::Tested(MessageTested { channel, accepted, detail, reference }) = &reply else {
        return Err(other_answer());
    };
    if context.json {
        output::json(&reply)?;
    } else if *accepted {
        let reference = reference.as_deref().map(|name| format!(", as {}", output::plain(name))).unwrap_or_default();
        output::text(&format!("Channel {channel} has taken the message{reference}."))?;
    } else {
        let detail = detail.as_deref().map(output::plain).unwrap_or_default();
        output::text(&format!("Channel {channel} has not taken the message: {detail}"))?;
    }
    Ok(if *accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn example(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Webhook => {
            r#"# On the broker's host: <notify.secrets>/<tenant>/hook, for its owner only (0600)
#   https://hooks.example.com/lockers
#   whsec_… (24 to 64 random bytes in base64)
name = "hook"
rank = 100              # the lowest is tried first
secret = "hook"
# integrations = ["shop"]        # only for their orders
# fallback_after_minutes = 10    # then the next channel has it

[via]
kind = "webhook"
url = "https://hooks.example.com/lockers"
"#
        }
        ChannelKind::SmsTwilio => {
            r#"# On the broker's host: <notify.secrets>/<tenant>/sms, for its owner only (0600)
#   https://api.twilio.com
#   the account's auth token
name = "sms"
rank = 100              # the lowest is tried first
secret = "sms"
# fallback_after_minutes = 10    # then the next channel has it

[via]
kind = "sms_twilio"
url = "https://api.twilio.com"
account = "AC00000000000000000000000000000000"
from = "+15550100"
# Numbers without a country code: 0151 … is +49 151 …
# home = { country_code = "49", trunk = "0" }
# Ask for some hours what became of a message: one that is not delivered goes
# by the next channel, or is listed. Its address is kept until then.
# receipts = true
"#
        }
        ChannelKind::SmsHttp => {
            r#"# On the broker's host: <notify.secrets>/<tenant>/sms, for its owner only (0600)
#   https://sms.example.com/v1/messages
#   Bearer … (the whole value of the header)
name = "sms"
rank = 100              # the lowest is tried first
secret = "sms"
# fallback_after_minutes = 10    # then the next channel has it

[via]
kind = "sms_http"
url = "https://sms.example.com/v1/messages"
format = "json"         # or "form"
body = { to = "{to}", message = "{text}", reference = "{id}" }
header = "authorization"
# A gateway may answer 200 with an error inside: what has to be in its answer.
accepted = { statuses = [200, 201, 202], pointer = "/status", value = "ok", reference = "/id" }
# home = { country_code = "49", trunk = "0" }
"#
        }
        ChannelKind::Email => {
            r#"# On the broker's host: <notify.secrets>/<tenant>/mail, for its owner only (0600)
#   smtp://mail.example.com:465
#   the password
name = "mail"
rank = 200              # the lowest is tried first
secret = "mail"

[via]
kind = "email"
# TLS from the first byte. Without implicit_tls, as at port 587, STARTTLS is asked
# for: what is said before it nobody has proven.
host = "mail.example.com:465"
implicit_tls = true
user = "lockers"
# A mail that is sent back later is not seen: look into this mailbox.
from = "Lockers <lockers@example.com>"
"#
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_again_is_one_message_of_each_order_that_was_asked_for() {
        let message = |order: &str, at: u64, channel: Option<&str>, reason| MessageDetail {
            id: format!("msg_{at}"),
            order: order.parse().unwrap(),
            kind: NotificationKind::PickupCode,
            cabinet: "c1".parse().unwrap(),
            state: MessageState::Undelivered,
            at: Rfc3339(at),
            channel: channel.map(|name| name.parse().unwrap()),
            attempts: 1,
            next: None,
            reason: Some(reason),
            detail: None,
            reference: None,
        };
        let of = |kind, message| MessageDetail { kind, ..message };
        let all = || {
            vec![
                message("shop/A1", 10, Some("sms"), UndeliveredReason::Refused),
                message("shop/A2", 20, None, UndeliveredReason::NoAddress),
                message("shop/A1", 30, Some("sms"), UndeliveredReason::GaveUp),
                message("shop/A3", 40, Some("mail"), UndeliveredReason::Refused),
                // Bundles that are called like orders, and what says less than the code's own message.
                of(NotificationKind::BundleCode, message("shop/A3", 50, Some("mail"), UndeliveredReason::Refused)),
                of(NotificationKind::BundleChanged, message("shop/A4", 51, Some("sms"), UndeliveredReason::Refused)),
                of(NotificationKind::Reminder, message("shop/A5", 52, Some("sms"), UndeliveredReason::Refused)),
            ]
        };
        let args = |channel: Option<&str>, reason, since: Option<u64>, most| ResendArgs {
            channel: channel.map(|name| name.parse().unwrap()),
            reason,
            since: since.map(Rfc3339),
            most,
            yes: None,
        };
        for (args, expected) in [
            (args(None, None, None, 100), &["shop/A1 10", "shop/A3 40"][..]),
            (args(None, None, None, 1), &["shop/A1 10"]),
            (args(Some("sms"), None, None, 100), &["shop/A1 10"]),
            (args(None, Some(UndeliveredReason::GaveUp), None, 100), &["shop/A1 30"]),
            (args(None, Some(UndeliveredReason::NoAddress), None, 100), &["shop/A2 20"]),
            (args(None, Some(UndeliveredReason::Refused), None, 100), &["shop/A1 10", "shop/A3 40"]),
            (args(None, None, Some(31), 100), &["shop/A3 40"]),
        ] {
            let all = chosen(&args, all());
            let all: Vec<_> = all.iter().map(|one| format!("{} {}", one.order, one.at.0)).collect();
            assert_eq!(all, expected, "{args:?}");
        }
    }

    #[test]
    fn every_example_is_a_channel() {
        for kind in [ChannelKind::Webhook, ChannelKind::SmsTwilio, ChannelKind::SmsHttp, ChannelKind::Email] {
            let channel: Channel = toml::from_str(example(kind)).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
            channel.check().unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        }
    }
}
