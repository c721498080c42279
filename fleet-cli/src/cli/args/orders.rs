//! `fleet order`, `fleet unlock` and `fleet unlocks`.

use std::path::PathBuf;

use clap::Subcommand;
use schemas::api::{AttributeFlags, ClosedAs, ContentHash, HoldMinutes, Rfc3339};
use schemas::ids::{CabinetId, Name, OrderId, SiteId};
use schemas::messages::{Category, Compartment, DepositKind, OrderKey, PresenceToken, Prompt, Size};

use super::moments::parse_end;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum OrderCommand {
    /// Put an order: in an integration's name, or as the integration
    Put(OrderPutArgs),
    /// All orders, or those of one cabinet
    List {
        #[arg(long)]
        cabinet: Option<CabinetId>,
        /// Only those whose window is over
        #[arg(long)]
        overdue: bool,
    },
    /// One order with its history
    Show {
        /// <integration>/<order>
        order: OrderKey,
    },
    /// Change an order: its size, its recipient ...
    Change(OrderChangeArgs),
    /// Cancel an order
    Cancel {
        /// <integration>/<order>
        order: OrderKey,
    },
    /// Let nobody get a stored order: its code dies, staff take it out
    Quarantine {
        /// <integration>/<order>
        order: OrderKey,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Let an order in quarantine be handed out, with another code
    Release {
        /// <integration>/<order>
        order: OrderKey,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// End an order that hangs
    #[command(after_help = "\
Example:
  fleet order close shop/A17 --end collected --reason 'customer has it'

For an order that is loading, collecting, disputed, recalled, overdue or in
quarantine, and stays so. Its compartment is to be looked at by staff.")]
    Close {
        /// <integration>/<order>
        order: OrderKey,
        /// What became of it: collected, retrieved or cancelled
        #[arg(long = "end", value_name = "STATE")]
        closed_as: ClosedAs,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Give a stored order more time; its code stays
    #[command(after_help = "\
Examples:
  fleet order extend shop/A17 --until 2026-12-31
  fleet order extend shop/A17 --until 2026-12-31T18:00:00Z

How far it can go is in the policy of its category.")]
    Extend {
        /// <integration>/<order>
        order: OrderKey,
        /// Last day (UTC) or moment when it can be collected
        #[arg(long, value_name = "TIME", value_parser = parse_end)]
        until: Rfc3339,
    },
    /// Send the same code in another message
    Resend {
        /// <integration>/<order>
        order: OrderKey,
    },
    /// Open its door for whoever reads you what the screen shows
    #[command(after_help = "\
Example:
  fleet order open shop/A17 --token KXQ7-M2PD

The token changes every 30 s and is good for one opening. Fleet and cabinet
have to be set to it: orders.open_by_app in broker.toml, screen.app_token in
agent.toml.")]
    Open {
        /// <integration>/<order>
        order: OrderKey,
        /// What the screen shows
        #[arg(long)]
        token: PresenceToken,
    },
    /// Open a compartment for whoever stands there to load the order
    #[command(after_help = "\
Examples:
  fleet order load shop/A17
  fleet order load shop/A17 --compartment 4
  fleet order load shop/A17 --size L

The cabinet chooses the compartment: the reserved one, or the smallest that
fits. The order is stored when the door is closed on it. Where no sensor can
tell, say so: fleet order loaded shop/A17")]
    Load {
        /// <integration>/<order>
        order: OrderKey,
        /// This one, if it is free and the order fits
        #[arg(long, value_name = "NUMBER", value_parser = parse_compartment, conflicts_with = "size")]
        compartment: Option<Compartment>,
        /// One of this size at least: S, M, L, XL
        #[arg(long)]
        size: Option<Size>,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Say that a loaded order is inside, where no sensor can
    #[command(after_help = "\
Examples:
  fleet order loaded shop/A17
  fleet order loaded shop/A17 --undo

The door has to be closed. With --undo nothing is inside: the compartment is
free again, and the order is to be loaded.")]
    Loaded {
        /// <integration>/<order>
        order: OrderKey,
        /// It is not inside
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Open its compartment for whoever stands there to take it out
    #[command(after_help = "\
Example:
  fleet order retrieve shop/A17

For an order that is overdue, recalled, cancelled, in quarantine or dropped
off. From then on its code is refused. Where the sensor still sees something
when the door is closed, say what is true: fleet order retrieved shop/A17")]
    Retrieve {
        /// <integration>/<order>
        order: OrderKey,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Say that an order was taken out, where no sensor can
    Retrieved {
        /// <integration>/<order>
        order: OrderKey,
        /// It is still inside
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Let an order that is not loaded go to another cabinet
    Move {
        /// <integration>/<order>
        order: OrderKey,
        /// The other cabinet
        #[arg(long, value_name = "CABINET")]
        to: CabinetId,
    },
    /// Make another code; the old one works until the new one does
    Reissue {
        /// <integration>/<order>
        order: OrderKey,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleet order put shop/A17 --cabinet berlin-01 --size M --phone +491701234567

Categories are retail, food, laundry, pharmacy, repair, courier. With - for a
file, the answer is read from standard input; a birth_date is DDMMYYYY.")]
pub(in crate::cli) struct OrderPutArgs {
    /// <integration>/<order>
    pub(in crate::cli) order: OrderKey,
    /// Where it is to be loaded
    #[arg(long, required_unless_present = "site")]
    pub(in crate::cli) cabinet: Option<CabinetId>,
    /// Instead: at whichever cabinet of this site has room
    #[arg(long, conflicts_with = "cabinet")]
    pub(in crate::cli) site: Option<SiteId>,
    /// Smallest size that it fits into: S, M, L or XL
    #[arg(long)]
    pub(in crate::cli) size: Size,
    /// Sizes of further compartments, such as M,L
    #[arg(long, value_name = "SIZES", value_delimiter = ',')]
    pub(in crate::cli) more: Vec<Size>,
    /// What kind of goods it is [default: retail]
    #[arg(long, default_value = "retail", hide_default_value = true)]
    pub(in crate::cli) category: Category,
    /// Needs a refrigerated compartment
    #[arg(long)]
    pub(in crate::cli) refrigerated: bool,
    /// Needs a restricted compartment
    #[arg(long)]
    pub(in crate::cli) restricted: bool,
    /// Needs a compartment at an accessible height
    #[arg(long)]
    pub(in crate::cli) accessible: bool,
    /// Phone number of the recipient
    #[arg(long)]
    pub(in crate::cli) phone: Option<String>,
    /// E-mail address of the recipient
    #[arg(long)]
    pub(in crate::cli) email: Option<String>,
    /// Language of the recipient, such as de or en-GB
    #[arg(long)]
    pub(in crate::cli) language: Option<String>,
    /// Staff may not load it yet
    #[arg(long)]
    pub(in crate::cli) not_ready: bool,
    /// Keep its compartment so long until it is loaded
    #[arg(long, value_name = "MINUTES")]
    pub(in crate::cli) hold: Option<HoldMinutes>,
    /// Who puts it in, if not staff: courier or drop_off
    #[arg(long, value_name = "WHO")]
    pub(in crate::cli) deposit: Option<DepositKind>,
    /// Its code opens only when staff there release it
    #[arg(long)]
    pub(in crate::cli) staff_release: bool,
    /// May lie in one door with others of this word
    #[arg(long, value_name = "WORD")]
    pub(in crate::cli) shares: Option<OrderId>,
    #[command(flatten)]
    pub(in crate::cli) second_factor: SecondFactorArgs,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SecondFactorArgs {
    /// File with the answer asked for behind its code
    #[arg(long, value_name = "F")]
    pub(in crate::cli) second_factor: Option<PathBuf>,
    /// pin, birth_date, document_number, postcode
    #[arg(long, value_name = "WHAT", requires = "second_factor")]
    pub(in crate::cli) asks_for: Option<Prompt>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum BundleCommand {
    /// Make one credential for several orders
    Put(BundlePutArgs),
    /// One bundle, with how far its orders are
    Show {
        /// <integration>/<bundle>
        bundle: OrderKey,
    },
    /// End it: each order inside gets a code of its own
    Release {
        /// <integration>/<bundle>
        bundle: OrderKey,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleet bundle put shop/run-7 A17 A18 --phone +491701234567

The orders may be at several cabinets. Their own codes die; the credential goes
out once, when every order is inside.")]
pub(in crate::cli) struct BundlePutArgs {
    /// <integration>/<bundle>
    pub(in crate::cli) bundle: OrderKey,
    /// Orders of the same integration, at most 64
    #[arg(required = true)]
    pub(in crate::cli) orders: Vec<OrderId>,
    /// Phone number of whoever takes them
    #[arg(long)]
    pub(in crate::cli) phone: Option<String>,
    /// E-mail address of whoever takes them
    #[arg(long)]
    pub(in crate::cli) email: Option<String>,
    /// Who delivers the credential, if another one
    #[arg(long, value_name = "INTEGRATION")]
    pub(in crate::cli) deliver_to: Option<Name>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fleet order change shop/A17 --size L --hold 120
  fleet order change shop/A17 --phone +491701234567 --language de
  fleet order change shop/A17 --second-factor ./pin

Once it is loaded, only its recipient can be another one. Another number or
address after the code went out brings another code; the old one then dies.")]
pub(in crate::cli) struct OrderChangeArgs {
    /// <integration>/<order>
    pub(in crate::cli) order: OrderKey,
    /// Smallest size that it fits into: S, M, L or XL
    #[arg(long)]
    pub(in crate::cli) size: Option<Size>,
    /// What kind of goods it is
    #[arg(long)]
    pub(in crate::cli) category: Option<Category>,
    /// What it needs: restricted,accessible; or none
    #[arg(long, value_name = "LIST", value_parser = parse_wants)]
    pub(in crate::cli) wants: Option<AttributeFlags>,
    /// Phone; with any of these: another recipient
    #[arg(long)]
    pub(in crate::cli) phone: Option<String>,
    /// E-mail address
    #[arg(long)]
    pub(in crate::cli) email: Option<String>,
    /// Language, such as de or en-GB
    #[arg(long)]
    pub(in crate::cli) language: Option<String>,
    /// Staff may load it now
    #[arg(long, conflicts_with = "not_ready")]
    pub(in crate::cli) ready: bool,
    /// Staff may not load it any more
    #[arg(long)]
    pub(in crate::cli) not_ready: bool,
    /// Keep its compartment so long until it is loaded
    #[arg(long, value_name = "MINUTES")]
    pub(in crate::cli) hold: Option<HoldMinutes>,
    #[command(flatten)]
    pub(in crate::cli) second_factor: SecondFactorArgs,
    /// Only if this is still its content
    #[arg(long, value_name = "HASH")]
    pub(in crate::cli) replaces: Option<ContentHash>,
}

fn parse_wants(text: &str) -> Result<AttributeFlags, String> {
    let mut wants = AttributeFlags::default();
    for word in text.split(',').filter(|word| *word != "none") {
        match word {
            "refrigerated" => wants.refrigerated = true,
            "restricted" => wants.restricted = true,
            "accessible" => wants.accessible = true,
            other => return Err(format!("`{other}` is none of none, refrigerated, restricted, accessible")),
        }
    }
    Ok(wants)
}

/// Who signs a command: the fleet, or the person.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SignArgs {
    /// Sign it with the own key of the folder, or fail
    #[arg(long)]
    pub(in crate::cli) own_key: bool,
    /// Private file that opens the own key
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleet unlock berlin-01 4 --reason 'customer called, door stuck'

Signed for this cabinet, carried out at most once, and recorded with your name
and the reason. If your folder has a key of your own (`fleet keys own`) and its
delegation, you sign it yourself.")]
pub(in crate::cli) struct UnlockArgs {
    pub(in crate::cli) cabinet: CabinetId,
    /// Number on the door
    #[arg(value_parser = parse_compartment)]
    pub(in crate::cli) compartment: Compartment,
    /// Why; it is recorded
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: String,
    #[command(flatten)]
    pub(in crate::cli) sign: SignArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleet unlocks berlin-01

Every opening, the newest first: by a command with who asked and why, by staff,
by a code (never its digits), and by force. The fleet keeps the newest 1,000 of
each cabinet. What was opened while a cabinet was away follows when it is back.")]
pub(in crate::cli) struct UnlocksArgs {
    pub(in crate::cli) cabinet: CabinetId,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub(in crate::cli) newest: usize,
}

fn parse_compartment(text: &str) -> Result<Compartment, &'static str> {
    let number = text.parse().ok().and_then(Compartment::new);
    number.ok_or("a compartment number is 1 to 999")
}
