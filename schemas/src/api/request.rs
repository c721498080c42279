//! Requests of people and integrations (MQTT 5 request and response) and their replies.

use serde::{Deserialize, Serialize};

use crate::cbor_code;
use crate::enrolment::SecretHash;
use crate::ids::{CabinetId, Identity, Name, OrderId, Role, SiteId};
use crate::messages::{
    CommandId, Compartment, DoorState, Instance, Occupancy, OrderKey, PresenceToken, Prompt, RefusalReason, Size,
    UnlockOutcome,
};
use crate::topics::Stream;

use super::{
    AttributeFlags, Availability, BundleDetail, BundlePut, ChallengeIssued, Channel, ClosedAs, ClosedDates,
    ContentHash, FleetStatus, HexBytes, IdentityDetail, IdentityPage, KeysetList, Language, MessagePage,
    MessageTemplate, MessageTested, NotificationKind, OpeningHours, OrderContent, OrderPut, OrderState, PartStatus,
    Policies, PolicyChange, PolicyDetail, QuotaDetail, QuotaOverrides, Rfc3339, Scope, SiteDetail, SitePage, Status,
    TemplateShown, ZoneName,
};

/// What is asked, by `op`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", deny_unknown_fields)]
pub enum Request {
    /// Operator: makes a cabinet known, so that it may connect. Repeating it with the same content does nothing.
    #[serde(rename = "cabinet.add")]
    CabinetAdd {
        cabinet: CabinetId,
        site: SiteId,
        place: String,
        instance: Instance,
        /// By which its device gets its certificate.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        enrolment: Option<EnrolmentOffer>,
    },
    /// Operator: lets another device, or the same one with nothing left on it, enrol as this cabinet. From the moment that it
    /// does, `instance` is the cabinet's, and what was signed for the former one is void.
    #[serde(rename = "cabinet.replace")]
    CabinetReplace { cabinet: CabinetId, instance: Instance, enrolment: EnrolmentOffer },
    /// Operator: what this cabinet knows and holds of keys is to be erased, as soon as it is heard of. Repeating it does
    /// nothing.
    #[serde(rename = "cabinet.wipe")]
    CabinetWipe {
        cabinet: CabinetId,
        reason: String,
        /// Although orders are inside, whose doors nobody can open any more.
        #[serde(default)]
        with_orders: bool,
    },
    /// Operator: takes a wipe back that was not sent yet.
    #[serde(rename = "cabinet.keep")]
    CabinetKeep { cabinet: CabinetId },
    /// Operator or support: shows the break-glass code of a cabinet that is not connected, by which staff get in once.
    #[serde(rename = "cabinet.break_glass")]
    CabinetBreakGlass { cabinet: CabinetId, reason: String },
    #[serde(rename = "cabinet.list")]
    CabinetList {},
    /// What is free for new orders at each cabinet. A page at a time.
    #[serde(rename = "availability")]
    Availability {
        /// Only this cabinet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cabinet: Option<CabinetId>,
        /// Only cabinets behind this one: the last one of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<CabinetId>,
    },
    #[serde(rename = "cabinet.show")]
    CabinetShow { cabinet: CabinetId },
    /// Operator: puts an order in the name of an integration.
    #[serde(rename = "order.put")]
    OrderPut { integration: Name, order: OrderPut },
    #[serde(rename = "order.list")]
    OrderList {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cabinet: Option<CabinetId>,
        /// Only those whose window is over.
        #[serde(default)]
        overdue: bool,
    },
    #[serde(rename = "order.show")]
    OrderShow { order: OrderKey },
    #[serde(rename = "order.cancel")]
    OrderCancel { order: OrderKey },
    /// Another content of an order that is not loaded; of one that is, another recipient.
    #[serde(rename = "order.change")]
    OrderChange {
        order: OrderKey,
        /// The content that the change was made for. Left out: whatever is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<ContentHash>,
        change: Box<OrderContent>,
    },
    /// Nobody is to get a stored order: its code dies, staff take it out.
    #[serde(rename = "order.quarantine")]
    OrderQuarantine { order: OrderKey, reason: String },
    /// Operator or support: an order in quarantine may be handed out after all, with another code.
    #[serde(rename = "order.release")]
    OrderRelease { order: OrderKey, reason: String },
    /// Operator or support: ends an order that hangs.
    #[serde(rename = "order.close")]
    OrderClose {
        order: OrderKey,
        #[serde(rename = "as")]
        closed_as: ClosedAs,
        reason: String,
    },
    /// Opens the door of a stored order for whoever stands at the screen and has read its token.
    #[serde(rename = "order.open")]
    OrderOpen { order: OrderKey, token: PresenceToken },
    /// Opens a compartment for an order that is to be loaded, by a signed command. The cabinet chooses which.
    #[serde(rename = "order.load")]
    OrderLoad {
        order: OrderKey,
        /// This one, if it is free and the order fits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compartment: Option<Compartment>,
        /// One of this size at least. Not beside a compartment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<Size>,
    },
    /// Says whether an order is inside behind a closed door where no sensor can: of one that is being loaded, or taken out.
    #[serde(rename = "order.confirm")]
    OrderConfirm {
        order: OrderKey,
        inside: bool,
        #[serde(default)]
        retrieving: bool,
    },
    /// Opens the compartment of an order that is to be taken out, by a signed command.
    #[serde(rename = "order.retrieve")]
    OrderRetrieve { order: OrderKey },
    /// Gives a stored order more time; its code stays.
    #[serde(rename = "order.extend")]
    OrderExtend { order: OrderKey, until: Rfc3339 },
    /// Sends the same code in another message.
    #[serde(rename = "order.resend")]
    OrderResend { order: OrderKey },
    /// Makes another code. The old one works until the cabinet holds the new one.
    #[serde(rename = "order.reissue")]
    OrderReissue { order: OrderKey },
    /// Lets an order that is not loaded go to another cabinet, if that has room for it.
    #[serde(rename = "order.move")]
    OrderMove { order: OrderKey, to: CabinetId },
    /// Operator: makes one credential for several orders of an integration.
    #[serde(rename = "bundle.put")]
    BundlePut { integration: Name, bundle: BundlePut },
    #[serde(rename = "bundle.show")]
    BundleShow { bundle: OrderKey },
    /// The credential dies; each order that is still inside gets a code of its own.
    #[serde(rename = "bundle.release")]
    BundleRelease { bundle: OrderKey },
    /// Operator or support: opens one compartment now, by a signed command.
    #[serde(rename = "unlock")]
    Unlock { cabinet: CabinetId, compartment: Compartment, reason: String },
    /// Who opened compartments of a cabinet, by what right, when, why, and what became of it: the newest first.
    #[serde(rename = "unlock.list")]
    UnlockList {
        cabinet: CabinetId,
        /// Only those with a smaller number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
    },
    /// Operator: gives a member of staff a PIN for all cabinets of the tenant. The reply shows it once.
    #[serde(rename = "staff.add")]
    StaffAdd {
        name: Name,
        /// Until when PIN and badge work; left out for no end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Rfc3339>,
    },
    /// Operator: gives a member of staff a badge beside the PIN: a token for a barcode. The reply shows it once.
    #[serde(rename = "staff.badge")]
    StaffBadge { name: Name },
    /// Staff, and which cabinets do not hold the newest about them yet.
    #[serde(rename = "staff.list")]
    StaffList {},
    /// Operator: PIN and badge die at each cabinet with its next book.
    #[serde(rename = "staff.revoke")]
    StaffRevoke { name: Name },
    /// Operator: gives a courier who comes again and again a PIN to put parcels in. The reply shows it once. Again for the same
    /// name: another PIN and this scope.
    #[serde(rename = "courier.add")]
    CourierAdd {
        name: Name,
        /// Until when PIN and badge work; left out for no end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Rfc3339>,
        /// At which cabinets; left out for all of the tenant.
        #[serde(default, skip_serializing_if = "Scope::is_tenant")]
        scope: Scope,
    },
    /// Operator: gives a courier a badge beside the PIN: a token for a barcode. The reply shows it once.
    #[serde(rename = "courier.badge")]
    CourierBadge { name: Name },
    /// Couriers, and which cabinets do not hold the newest about them yet.
    #[serde(rename = "courier.list")]
    CourierList {},
    /// Operator: PIN and badge die at each cabinet with its next book.
    #[serde(rename = "courier.remove")]
    CourierRemove { name: Name },
    /// Operator: every certificate of this identity that was issued up to now is void. One that is issued later works.
    #[serde(rename = "identity.revoke")]
    IdentityRevoke { identity: Identity, reason: String },
    /// Operator or auditor: who connected with which certificate, and who was revoked. A page at a time.
    #[serde(rename = "identity.list")]
    IdentityList {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<Role>,
        /// Only those behind this one: the last one of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Identity>,
    },
    /// Operator: what of the tenant a person sees and touches from now on. Everything, as long as nobody said.
    #[serde(rename = "person.scope")]
    PersonScope { identity: Identity, scope: Scope },
    /// Operator: how much an integration may ask for, and where it stands. With `limits` these are its own from now on; what
    /// they leave out, be it everything, is as in the settings.
    #[serde(rename = "integration.quota")]
    IntegrationQuota {
        integration: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limits: Option<QuotaOverrides>,
    },
    /// Operator or auditor: the rules of time that orders follow.
    #[serde(rename = "policy.show")]
    PolicyShow {},
    /// Operator: other rules of time for orders that are stored from now on.
    #[serde(rename = "policy.put")]
    PolicyPut {
        /// The version that these were made from. Another one meanwhile is a conflict.
        replaces: u64,
        policies: Box<Policies>,
        /// For orders that are stored already, too.
        #[serde(default)]
        live: bool,
    },
    /// Operator: which stored orders would change with these.
    #[serde(rename = "policy.preview")]
    PolicyPreview { policies: Box<Policies> },
    /// Operator: the time zone of a site where a cabinet stands, and when people get in there. What is left out stays; a site
    /// that nobody has set has the zone UTC and is always open. For orders that are stored from now on.
    #[serde(rename = "site.set")]
    SiteSet {
        site: SiteId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<ZoneName>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hours: Option<OpeningHours>,
        /// All of them: an empty list for none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        closed: Option<ClosedDates>,
    },
    #[serde(rename = "site.show")]
    SiteShow { site: SiteId },
    /// Sites where cabinets stand. A page at a time.
    #[serde(rename = "site.list")]
    SiteList {
        /// Only those behind this one: the last one of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<SiteId>,
    },
    /// Operator: a way by which the fleet itself sends messages to people. In the place of the one with this name.
    #[serde(rename = "channel.put")]
    ChannelPut { channel: Box<Channel> },
    /// Operator or auditor: in the order in which they are tried.
    #[serde(rename = "channel.list")]
    ChannelList {},
    /// Operator: what waits for this channel goes by the next one.
    #[serde(rename = "channel.remove")]
    ChannelRemove { name: Name },
    /// Operator: sends a made-up message with the code 000000 to an address, now and once.
    #[serde(rename = "channel.test")]
    ChannelTest { name: Name, to: String },
    /// Operator: what messages of a kind say in a language. For messages that are made from now on.
    #[serde(rename = "template.put")]
    TemplatePut { template: MessageTemplate },
    /// Operator or auditor: what a message of this kind says to somebody with this language.
    #[serde(rename = "template.show")]
    TemplateShow { kind: NotificationKind, language: Language },
    /// Operator: the default, or that of the language without its country, again.
    #[serde(rename = "template.remove")]
    TemplateRemove { kind: NotificationKind, language: Language },
    /// What became of messages that the fleet itself sends. A page at a time, by their ids.
    #[serde(rename = "message.list")]
    MessageList {
        /// Only those that their recipients will not get, and whose orders still wait.
        #[serde(default)]
        undelivered: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order: Option<OrderKey>,
        /// Only those behind this one: the last one of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// How the fleet and its cabinets are. A page of cabinets at a time.
    #[serde(rename = "fleet.status")]
    FleetStatus {
        /// Only cabinets behind this one: the last one of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<CabinetId>,
    },
    /// Integration: rows of an own stream behind number `after`, without moving the cursor.
    #[serde(rename = "rows")]
    Rows { stream: Stream, after: u64 },
    /// Operator: writes a backup of the fleet's store into a file on the broker's host, while the fleet works.
    #[serde(rename = "backup")]
    Backup {},
    /// Operator: gives the fleet a keyset, a COSE_Sign1 of a root. The fleet hands it on to the cabinets.
    #[serde(rename = "keyset.put")]
    KeysetPut { envelope: HexBytes },
    #[serde(rename = "keyset.list")]
    KeysetList {},
    /// Operator or support: what has to be named in an unlock that is signed with an own key.
    #[serde(rename = "challenge")]
    Challenge {
        cabinet: CabinetId,
        /// Left out where the cabinet is to choose one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compartment: Option<Compartment>,
    },
    /// Operator or support: opens one compartment now, or says what is inside, by a command that the asker has signed.
    #[serde(rename = "unlock.signed")]
    UnlockSigned { cabinet: CabinetId, envelope: HexBytes, delegation: HexBytes, reason: String },
}

/// What the fleet knows of an enrolment token (crate::enrolment). The newest of a cabinet counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentOffer {
    pub secret_hash: SecretHash,
    pub device_serial: String,
    pub expires: Rfc3339,
}

cbor_code! {
    pub enum RequestErrorCode {
        0 => Malformed = "malformed",
        1 => Forbidden = "forbidden",
        2 => Unknown = "unknown",
        3 => Conflict = "conflict",
        4 => CabinetOffline = "cabinet_offline",
        5 => Refused = "refused",
        6 => Timeout = "timeout",
        7 => Unavailable = "unavailable",
    }
}

/// What went wrong, and what a person can do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyError {
    pub code: RequestErrorCode,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CabinetSummary {
    pub cabinet: CabinetId,
    pub site: SiteId,
    pub place: String,
    pub online: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Rfc3339>,
    pub compartments: u32,
    pub free: u32,
    pub agent: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompartmentDetail {
    pub number: Compartment,
    pub size: Size,
    pub attributes: AttributeFlags,
    pub in_service: bool,
    pub door: DoorState,
    pub occupancy: Occupancy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderKey>,
    /// Orders that are stored there besides `order`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<OrderKey>,
    pub audit_required: bool,
    /// It takes no order until staff say that it is clean.
    #[serde(default)]
    pub needs_cleaning: bool,
    /// Its lock failed, or another door opened instead, by the cabinet's last sample.
    #[serde(default)]
    pub fault: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CabinetDetail {
    pub summary: CabinetSummary,
    pub instance: Instance,
    /// Version of the book that the fleet wants there, and of the one that is in force there.
    pub book_wanted: u64,
    pub book_held: u64,
    pub keyset_held: u64,
    pub events: u64,
    pub compartments: Vec<CompartmentDetail>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wipe: Option<WipeDetail>,
}

/// That a cabinet is to be wiped, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WipeDetail {
    pub ordered: Rfc3339,
    pub by: Identity,
    pub reason: String,
    /// The cabinet may have heard of it: it is not taken back any more.
    pub sent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Rfc3339>,
    /// The cabinet's receipt, a COSE_Sign1 with its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<HexBytes>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderSummary {
    pub order: OrderKey,
    pub state: OrderState,
    pub cabinet: CabinetId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<Compartment>,
    pub since: Rfc3339,
    /// The end of its window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Rfc3339>,
    /// The same by the clock on the wall where its cabinet stands, if the zone of that site is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_local: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderDetail {
    pub summary: OrderSummary,
    pub size: Size,
    /// Of an order in several compartments: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartStatus>,
    pub history: Vec<(OrderState, Rfc3339)>,
    /// Digits of a code were made and handed to the notification stream. The code itself is never shown here.
    pub notified: bool,
    /// SHA-256 of the order's content, which a change may name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Its codes are withdrawn, and its cabinet has not heard of it yet: there they may still open.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoke_pending: bool,
    /// Who has put it into quarantine, or ended it, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intervened: Option<Intervened>,
    /// What the screen asks for behind its code. The answer is never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<Prompt>,
    /// Its code opens only when staff release it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub staff_release: bool,
    /// It may lie with other orders of its integration that have the same word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<OrderId>,
    /// The courier with a PIN of their own who is bringing it, or has brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub courier: Option<Name>,
}

/// What a person or a backend has done with an order out of turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervened {
    /// An identity.
    pub by: String,
    pub reason: String,
    pub at: Rfc3339,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlockResult {
    pub cabinet: CabinetId,
    pub compartment: Compartment,
    pub outcome: UnlockOutcome,
    pub command: CommandId,
}

cbor_code! {
    /// By what right a door was opened.
    pub enum UnlockRight {
        /// A signed command of a person.
        0 => Command = "command",
        /// A code that was typed, or shown to the scanner.
        1 => Credential = "credential",
        /// Staff at the screen.
        2 => Staff = "staff",
        /// None: forced, or a wrong door.
        3 => Nobody = "nobody",
        /// Somebody who came in by a break-glass code; `by` is who was shown it.
        4 => BreakGlass = "break_glass",
        /// The token of the screen, which the integration or the person in `by` has passed on.
        20 => App = "app",
        /// A courier who comes again and again; `by` has the name, as `courier:<tenant>:<name>`, which is no identity.
        70 => Courier = "courier",
    }
}

/// An opening of a door for the record. A command without `outcome` and `refused` is one that the cabinet has not said
/// the end of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlockRecord {
    /// Grows with every record of the cabinet.
    pub n: u64,
    pub compartment: Compartment,
    pub right: UnlockRight,
    /// The identity that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Which credential it was, in hexadecimal; says nothing of its digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// What the fleet believed to be inside, or what was to be loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandId>,
    pub at: Rfc3339,
    /// The cabinet did not know the time: `at` is when the fleet heard of it.
    pub time_unverified: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<UnlockOutcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusalReason>,
    /// When the fleet heard what became of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Rfc3339>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlockPage {
    pub unlocks: Vec<UnlockRecord>,
    /// Older ones follow behind the last one.
    pub more: bool,
}

/// A PIN, shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaffIssued {
    pub name: Name,
    pub pin: String,
}

impl std::fmt::Debug for StaffIssued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StaffIssued({})", self.name)
    }
}

/// The PIN of a courier, shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CourierIssued {
    pub name: Name,
    pub pin: String,
}

impl std::fmt::Debug for CourierIssued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CourierIssued({})", self.name)
    }
}

/// A badge, shown once: the text of a barcode or QR code.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadgeIssued {
    pub name: Name,
    pub badge: String,
}

impl std::fmt::Debug for BadgeIssued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BadgeIssued({})", self.name)
    }
}

/// A break-glass code: digits that are typed at the cabinet's screen.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlassShown {
    pub cabinet: CabinetId,
    pub code: String,
}

impl std::fmt::Debug for BreakGlassShown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BreakGlassShown({})", self.cabinet)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaffDetail {
    pub name: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Rfc3339>,
    pub badge: bool,
    /// PIN and badge are dead at every cabinet that is not `pending`.
    pub revoked: bool,
    /// How many cabinets do not hold the newest about this member of staff yet, and the first twenty of them.
    pub pending_count: u32,
    pub pending: Vec<CabinetId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CourierDetail {
    pub name: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Rfc3339>,
    pub badge: bool,
    /// At which cabinets.
    #[serde(default, skip_serializing_if = "Scope::is_tenant")]
    pub scope: Scope,
    /// PIN and badge are dead at every cabinet that is not `pending`.
    pub removed: bool,
    /// How many cabinets do not hold the newest about this courier yet, and the first twenty of them. An agent that does not
    /// know couriers holds none.
    pub pending_count: u32,
    pub pending: Vec<CabinetId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusPage {
    pub rows: Vec<Status>,
    /// More rows follow behind the last one.
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvailabilityPage {
    pub cabinets: Vec<Availability>,
    /// More cabinets follow behind the last one.
    pub more: bool,
}

/// A backup that is whole and on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMade {
    /// Path on the broker's host.
    pub file: String,
    /// The moment whose rows it holds.
    pub taken: Rfc3339,
    pub rows: u64,
    /// Over all rows, in hexadecimal: what the seal in the file says too.
    pub sha256: String,
}

/// The answer to a [`Request`], under the name of what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Done,
    Error(ReplyError),
    Cabinets(Vec<CabinetSummary>),
    Cabinet(Box<CabinetDetail>),
    Availability(AvailabilityPage),
    Orders(Vec<OrderSummary>),
    Order(Box<OrderDetail>),
    Bundle(Box<BundleDetail>),
    Unlock(UnlockResult),
    Unlocks(UnlockPage),
    Staff(StaffIssued),
    Badge(BadgeIssued),
    BreakGlass(BreakGlassShown),
    StaffMembers(Vec<StaffDetail>),
    Courier(CourierIssued),
    Couriers(Vec<CourierDetail>),
    Identity(Box<IdentityDetail>),
    Identities(IdentityPage),
    Statuses(StatusPage),
    Backup(BackupMade),
    Keysets(Box<KeysetList>),
    Challenge(ChallengeIssued),
    Quota(QuotaDetail),
    Policy(Box<PolicyDetail>),
    PolicyPreview(Vec<PolicyChange>),
    Site(Box<SiteDetail>),
    Sites(SitePage),
    Channels(Vec<Channel>),
    Template(Box<TemplateShown>),
    Messages(MessagePage),
    Tested(MessageTested),
    Status(Box<FleetStatus>),
}
