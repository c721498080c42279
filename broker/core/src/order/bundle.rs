//! Bundles: several orders of an integration that somebody takes with one credential, at one cabinet or at several.
//!
//! A bundle lies with its orders: both are of one integration. Its secrets are made once; each cabinet derives its own verifiers
//! of them. The credential goes out when every order that is still to come is inside and its cabinet holds the credential for it;
//! once more when something changes that its holder would not understand.

use std::collections::{BTreeMap, BTreeSet};

use schemas::api::{
    BundleDetail, BundleDoor, BundleNamed, BundlePut, BundledOrder, NotificationKind, OrderState, RejectReason,
    Rfc3339, parse,
};
use schemas::cbor::Blob;
use schemas::cbor_map;
use schemas::ids::{Name, OrderId, TenantId};
use schemas::messages::{CredentialKind, OrderKey};
use schemas::topics::Stream;

use crate::config::{CodeForm, Config};
use crate::intents::{BundleSecrets, Deliver, Intent, Issue};
use crate::jobs::Job;
use crate::order::parts::Part;
use crate::order::put::{hash, too_long};
use crate::order::window::Window;
use crate::order::{Order, Orders};
use crate::rows::{DoorRow, NotificationRow, RecipientRow};
use crate::signing::{MakeSealed, SignerRequest};
use crate::tables::{BUNDLES, OrderRef, StreamRef};
use crate::turn::Turn;

/// One length for all cabinets: more than the guess budget asks of any of them.
const DIGITS: u8 = 10;
const LETTERS: u8 = 8;

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Bundle {
        1 => bundle: OrderKey,
        2 => orders: Vec<OrderId>,
        /// Left out once all its orders are over.
        3 opt => recipient: Option<RecipientRow>,
        4 opt => deliver_to: Option<Name>,
        /// SHA-256 of the content in hexadecimal.
        5 => content: String,
        6 opt => code: Option<Blob>,
        7 opt => qr: Option<Blob>,
        /// Messages so far.
        8 => messages: u32,
        /// What the newest message said that it opens.
        9 => told: Vec<OrderId>,
        /// True: its code is of letters.
        10 opt => letters: Option<bool>,
        /// True: it is that of one order in several compartments, and nobody sees it.
        28 opt => whole: Option<bool>,
        /// True: it has another code since its last message.
        29 opt => anew: Option<bool>,
    }
}

cbor_map! {
    /// That an order is in a bundle.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct InBundle {
        1 => bundle: OrderId,
        /// Where its cabinet stands, once that holds the credential for it.
        2 opt => ready: Option<String>,
    }
}

impl Bundle {
    fn new(turn: &Turn<'_>, at: &OrderRef, orders: Vec<OrderId>, recipient: RecipientRow, content: String) -> Self {
        Self {
            bundle: at.order.clone(),
            orders,
            recipient: Some(recipient),
            deliver_to: None,
            content,
            code: None,
            qr: None,
            messages: 0,
            told: Vec::new(),
            letters: (turn.code_form == CodeForm::Letters).then_some(true),
            whole: None,
            anew: None,
        }
    }

    /// Writes it, and has the secrets made that it lacks.
    fn begin(&self, turn: &mut Turn<'_>, at: &OrderRef) {
        turn.put(BUNDLES, at.key(), self);
        self.wanted(at).into_iter().for_each(|job| turn.want(job));
    }

    fn secrets(&self) -> Option<BundleSecrets> {
        let (code, qr) = (self.code.clone()?, self.qr.clone()?);
        Some(BundleSecrets { bundle: self.bundle.clone(), code, qr, letters: self.letters })
    }

    /// What is made for it: something to type and something to scan.
    fn kinds(&self) -> [CredentialKind; 2] {
        let typed = if self.letters == Some(true) { CredentialKind::Letters } else { CredentialKind::Digits };
        [typed, CredentialKind::Qr]
    }

    fn lacks(&self, kind: CredentialKind) -> bool {
        self.kinds().contains(&kind) && if kind.is_typed() { self.code.is_none() } else { self.qr.is_none() }
    }

    /// Its secrets that are still to be made.
    fn wanted(&self, at: &OrderRef) -> Vec<Job> {
        let lacking = self.kinds().into_iter().filter(|kind| self.lacks(*kind));
        lacking.filter(|_| self.recipient.is_some()).map(|kind| Job::Bundle(at.clone(), kind)).collect()
    }

    fn is_whole(&self) -> bool {
        self.whole == Some(true)
    }

    /// Its holder has heard of the code that it has.
    fn is_announced(&self) -> bool {
        self.messages > 0 && self.anew != Some(true)
    }

    fn members(&self, at: &OrderRef) -> Vec<OrderRef> {
        self.orders.iter().map(|order| at.sibling(order)).collect()
    }
}

/// Bundles by tenant and name.
#[derive(Default)]
pub(crate) struct Bundles(BTreeMap<OrderRef, Bundle>);

impl Bundles {
    /// It has a credential that opens something.
    pub(super) fn has_secrets(&self, at: &OrderRef) -> bool {
        self.0.get(at).is_some_and(|bundle| bundle.secrets().is_some())
    }

    pub(crate) fn restore(&mut self, at: OrderRef, bundle: Bundle) {
        self.0.insert(at, bundle);
    }

    /// Whether no backend has a bundle of this name.
    pub(super) fn is_free_for_whole(&self, at: &OrderRef) -> bool {
        self.0.get(at).is_none_or(Bundle::is_whole)
    }

    /// The one of this name that people and backends know.
    fn named(&self, at: &OrderRef) -> Option<&Bundle> {
        self.0.get(at).filter(|bundle| !bundle.is_whole())
    }

    /// Secrets that were to be made when the last run ended.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = Job> {
        self.0.iter().flat_map(|(at, bundle)| bundle.wanted(at))
    }

    pub(crate) fn next_secret(&self, at: &OrderRef, kind: CredentialKind) -> Option<SignerRequest> {
        self.0.get(at).filter(|bundle| bundle.recipient.is_some() && bundle.lacks(kind))?;
        let digits = match kind {
            CredentialKind::Digits => DIGITS,
            CredentialKind::Letters => LETTERS,
            CredentialKind::Qr => 0,
        };
        Some(MakeSealed { tenant: at.tenant.clone(), kind, digits }.into())
    }
}

impl Order {
    /// Its window, and the credential of its bundle instead of a code of its own; nothing while that is not made yet.
    pub(super) fn issue(&self, window: &Window, bundles: &Bundles, at: &OrderRef) -> Option<Issue> {
        let bundle = match self.bundle_of(at) {
            None => None,
            Some(bundle) => Some(bundles.0.get(&bundle)?.secrets()?),
        };
        let (order, expires, needs_time) = (self.order.clone(), window.expires(), window.needs_time);
        Some(Issue { order, expires, needs_time, bundle })
    }

    fn bundle_of(&self, at: &OrderRef) -> Option<OrderRef> {
        self.bundle.as_ref().map(|of| at.sibling(&of.bundle))
    }

    /// Its code is that of its bundle once the cabinet holds it, and until then one that nobody needs.
    pub(super) fn door(&self) -> Option<DoorRow> {
        let open = matches!(self.state, OrderState::Stored | OrderState::Overdue | OrderState::Collecting);
        let place = self.bundle.as_ref().filter(|_| open)?.ready.clone()?;
        Some(DoorRow {
            order: self.order.order.clone(),
            cabinet: self.cabinet.clone(),
            compartment: self.compartment?,
            place,
            until: self.window.as_ref().map(|window| window.ends),
            until_local: None,
            zone: None,
        })
    }

    /// Whether a bundle waits for it: it is to come, or is inside and not yet to be opened by the bundle's credential.
    fn is_awaited(&self) -> bool {
        match self.state {
            OrderState::Created | OrderState::Ready | OrderState::Reserved | OrderState::Loading => true,
            OrderState::Stored | OrderState::Overdue => self.door().is_none(),
            OrderState::Collecting
            | OrderState::Collected
            | OrderState::CollectedUnconfirmed
            | OrderState::Cancelled
            | OrderState::Rejected
            | OrderState::Retrieved
            | OrderState::Recalled
            | OrderState::Disputed
            | OrderState::PartlyCollected
            | OrderState::Quarantined => false,
        }
    }

    /// Whether it can still be given another credential.
    fn may_be_bundled(&self) -> bool {
        matches!(
            self.state,
            OrderState::Created
                | OrderState::Ready
                | OrderState::Reserved
                | OrderState::Loading
                | OrderState::Stored
                | OrderState::Overdue
        )
    }
}

impl Orders {
    /// `orders/bundle` of an integration.
    pub(crate) fn bundle_payload(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        owner: (TenantId, Name),
        payload: &[u8],
    ) {
        let put = match parse::<BundlePut>(payload) {
            Err(error) => return turn.refuse(error.to_string()),
            Ok(put) if !put.recipient.fits() => return turn.refuse(too_long()),
            Ok(put) => put,
        };
        // The stream tells which order it fails for; a publisher gets no other answer.
        let _ = self.put_bundle(turn, config, owner, put);
    }

    /// `orders/unbundle` of an integration.
    pub(crate) fn unbundle_payload(
        &mut self,
        turn: &mut Turn<'_>,
        (tenant, integration): (TenantId, Name),
        payload: &[u8],
    ) {
        match parse::<BundleNamed>(payload) {
            Err(error) => turn.refuse(error.to_string()),
            Ok(BundleNamed { bundle }) => {
                let at = OrderRef { tenant, order: OrderKey { integration, order: bundle } };
                if !self.release_bundle(turn, &at) {
                    turn.refuse(format!("there is no bundle {}", at.order));
                }
            }
        }
    }

    /// Makes one credential for several orders. What is not done is told in the status stream too, with the order that it fails
    /// for, which is named in the error.
    pub(crate) fn put_bundle(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        (tenant, integration): (TenantId, Name),
        put: BundlePut,
    ) -> Result<(), (OrderId, RejectReason)> {
        let at = OrderRef { tenant, order: OrderKey { integration, order: put.bundle.clone() } };
        let content = hash(&put);
        if let Some(held) = self.bundles.0.get(&at) {
            if held.content == content && !held.is_whole() {
                return Ok(());
            }
            let first = put.orders.iter().next().cloned().unwrap_or(put.bundle);
            let both = Some([held.content.clone(), content]);
            self.reject(turn, &at.sibling(&first), RejectReason::OtherContent, both);
            return Err((first, RejectReason::OtherContent));
        }
        for order in put.orders.iter() {
            let member = at.sibling(order);
            if let Err(reason) = self.may_join(config, &member) {
                self.reject(turn, &member, reason, None);
                return Err((order.clone(), reason));
            }
        }
        let BundlePut { orders, recipient, deliver_to, .. } = put;
        let made = Bundle::new(turn, &at, orders.iter().cloned().collect(), recipient.into(), content);
        let bundle = Bundle { deliver_to, ..made };
        bundle.begin(turn, &at);
        for member in bundle.members(&at) {
            if let Some(order) = self.rows.get_mut(&member) {
                order.bundle = Some(InBundle { bundle: at.order.order.clone(), ready: None }.into());
                // It is one credential more for whoever collects it.
                order.asked = Some(order.asked() + 1);
            }
            self.tell_again(turn, &member);
        }
        self.bundles.0.insert(at, bundle);
        Ok(())
    }

    fn may_join(&self, config: &Config, at: &OrderRef) -> Result<(), RejectReason> {
        let order = self.named(at).ok_or(RejectReason::UnknownOrder)?;
        match &order.bundle {
            _ if order.part.is_some() => Err(RejectReason::SeveralCompartments),
            Some(_) => Err(RejectReason::InBundle),
            None if order.is_dropped_off() => Err(RejectReason::NotCollected),
            None if order.prompt().is_some() => Err(RejectReason::HasSecondFactor),
            None if !order.may_be_bundled() => Err(RejectReason::TooLate),
            None if order.asked() >= config.wishes_per_order => Err(RejectReason::TooOften),
            None => Ok(()),
        }
    }

    /// The credential dies, and each order that is inside gets a code of its own. False where there is no such bundle.
    pub(crate) fn release_bundle(&mut self, turn: &mut Turn<'_>, at: &OrderRef) -> bool {
        if self.bundles.named(at).is_none() {
            return false;
        }
        let Some(bundle) = self.bundles.0.remove(at) else { return false };
        turn.remove(BUNDLES, at.key());
        for member in bundle.members(at) {
            let Some(order) = self.rows.get_mut(&member).filter(|order| order.is_in(at)) else { continue };
            order.bundle = None;
            let (state, window) = (order.state, order.window.clone());
            if state.is_final() {
                self.put_row(turn, &member);
            } else {
                self.tell_again(turn, &member);
            }
            if let (OrderState::Stored | OrderState::Overdue | OrderState::Collecting, Some(window)) = (state, window) {
                self.issue_again(turn, &member, &window);
            }
        }
        true
    }

    /// The signer made one of the bundle's secrets.
    pub(crate) fn bundle_secret_made(
        &mut self,
        turn: &mut Turn<'_>,
        at: &OrderRef,
        kind: CredentialKind,
        sealed: Blob,
    ) {
        let Some(bundle) = self.bundles.0.get_mut(at).filter(|bundle| bundle.lacks(kind)) else { return };
        let place = if kind.is_typed() { &mut bundle.code } else { &mut bundle.qr };
        *place = Some(sealed);
        turn.put(BUNDLES, at.key(), bundle);
        if bundle.secrets().is_none() {
            return;
        }
        for member in bundle.members(at) {
            let inside = |order: &&Order| matches!(order.state, OrderState::Stored | OrderState::Overdue);
            let window = self.rows.get(&member).filter(inside).and_then(|order| order.window.clone());
            if let Some(window) = window {
                self.issue_again(turn, &member, &window);
            }
        }
    }

    /// The cabinet holds the credential of its bundle for this order.
    pub(super) fn gathered(&mut self, turn: &mut Turn<'_>, at: &OrderRef, place: String) {
        let Some(bundled) = self.rows.get_mut(at).and_then(|order| order.bundle.as_mut()) else { return };
        bundled.ready = Some(place);
        self.put_row(turn, at);
        self.look_at_bundle(turn, at);
    }

    /// An order has changed: the holder of its bundle's credential may have to hear of it.
    pub(super) fn look_at_bundle(&mut self, turn: &mut Turn<'_>, order: &OrderRef) {
        if self.together {
            return;
        }
        let Some(at) = self.rows.get(order).and_then(|row| row.bundle_of(order)) else { return };
        let Some(bundle) = self.bundles.0.get(&at) else { return };
        let orders: Vec<&Order> = bundle.members(&at).iter().filter_map(|member| self.rows.get(member)).collect();
        let doors: Vec<DoorRow> = orders.iter().filter_map(|order| order.door()).collect();
        let over = orders.iter().all(|order| order.state.is_final());
        let kind = match bundle.is_announced() {
            false if doors.is_empty() || orders.iter().any(|order| order.is_awaited()) => None,
            false => Some(NotificationKind::BundleCode),
            true => {
                let taken =
                    |order: &&&Order| matches!(order.state, OrderState::Collected | OrderState::CollectedUnconfirmed);
                let taken: BTreeSet<&OrderId> = orders.iter().filter(taken).map(|order| &order.order.order).collect();
                let told: BTreeSet<&OrderId> = bundle.told.iter().filter(|order| !taken.contains(order)).collect();
                let now: BTreeSet<&OrderId> = doors.iter().map(|door| &door.order).collect();
                (told != now).then_some(NotificationKind::BundleChanged)
            }
        };
        if let Some(kind) = kind {
            self.tell_bundle(turn, &at, kind, doors);
        }
        if over && let Some(bundle) = self.bundles.0.get_mut(&at) {
            (bundle.recipient, bundle.code, bundle.qr) = (None, None, None);
            turn.put(BUNDLES, at.key(), bundle);
        }
    }

    fn tell_bundle(&mut self, turn: &mut Turn<'_>, at: &OrderRef, kind: NotificationKind, doors: Vec<DoorRow>) {
        let Some(bundle) = self.bundles.0.get_mut(at) else { return };
        let (Some(secrets), Some(recipient)) = (bundle.secrets(), bundle.recipient.clone()) else { return };
        if bundle.is_whole() {
            return self.tell_whole(turn, at, kind, doors);
        }
        bundle.messages = bundle.messages.saturating_add(1);
        bundle.told = doors.iter().map(|door| door.order.clone()).collect();
        turn.put(BUNDLES, at.key(), bundle);
        // A holder who has nothing left to open still hears that.
        let named = doors.first().map_or_else(|| bundle.orders.first(), |door| Some(&door.order));
        let Some(named) = named.map(|order| at.sibling(order)) else { return };
        let Some(order) = self.rows.get(&named) else { return };
        let row = NotificationRow {
            id: format!("bundle/{}/{}", at.order, bundle.messages),
            place: order.bundle.as_ref().and_then(|bundled| bundled.ready.clone()).unwrap_or_default(),
            code: secrets.code,
            qr: secrets.qr,
            recipient,
            kind: Some(kind),
            until: doors.iter().filter_map(|door| door.until).min(),
            bundle: Some(at.order.order.clone()),
            doors: Some(doors),
            ..Self::message(order, turn.now)
        };
        match bundle.deliver_to.clone().filter(|integration| *integration != at.order.integration) {
            Some(integration) => {
                let row = self.sites.localised(&at.tenant, row);
                turn.send(Intent::deliver(&at.tenant, integration, row, at.order.clone()));
            }
            None => self.notify(turn, &named, row),
        }
    }

    /// Another integration is to deliver this.
    pub(crate) fn deliver_for(&mut self, turn: &mut Turn<'_>, Deliver { tenant, integration, row, of }: Deliver) {
        let of = of.unwrap_or_else(|| OrderKey { integration: integration.clone(), order: row.order.clone() });
        let stream = StreamRef { tenant, integration, stream: Stream::Notifications };
        self.write_message(turn, stream, &of, row);
    }

    /// An order is forgotten; with the last one of a bundle the bundle is.
    pub(super) fn forget_bundled(&mut self, turn: &mut Turn<'_>, order: &OrderRef, gone: &Order) {
        let Some(at) = gone.bundle_of(order) else { return };
        let Some(bundle) = self.bundles.0.get(&at) else { return };
        let left = |member: &OrderRef| self.rows.get(member).is_some_and(|order| order.is_in(&at));
        if !bundle.members(&at).iter().any(left) {
            self.bundles.0.remove(&at);
            turn.remove(BUNDLES, at.key());
        }
    }

    pub(crate) fn bundle_detail(&self, at: &OrderRef) -> Option<BundleDetail> {
        let bundle = self.bundles.named(at)?;
        let shown = |order: &Order| BundledOrder {
            order: order.order.order.clone(),
            state: order.state,
            cabinet: order.cabinet.clone(),
            compartment: order.compartment,
            ready: order.door().is_some(),
            until: order.window.as_ref().map(|window| Rfc3339(window.ends)),
        };
        let members = bundle.members(at);
        let orders = members.iter().filter_map(|member| self.rows.get(member));
        Some(BundleDetail {
            bundle: bundle.bundle.clone(),
            deliver_to: bundle.deliver_to.clone(),
            orders: orders.filter(|order| order.is_in(at)).map(shown).collect(),
            messages: bundle.messages,
        })
    }
}

/// The credential of one order in several compartments.
impl Orders {
    pub(super) fn begin_whole_bundle(
        &mut self,
        turn: &mut Turn<'_>,
        at: &OrderRef,
        parts: &[Part],
        content: String,
        recipient: RecipientRow,
    ) {
        let orders = parts.iter().filter_map(Part::id).collect();
        let made = Bundle::new(turn, at, orders, recipient, content);
        let bundle = Bundle { whole: Some(true), ..made };
        bundle.begin(turn, at);
        self.bundles.0.insert(at.clone(), bundle);
    }

    pub(super) fn join_whole(&mut self, part: &OrderRef, whole: &OrderRef) {
        if let Some(order) = self.rows.get_mut(part) {
            order.bundle = Some(InBundle { bundle: whole.order.order.clone(), ready: None }.into());
        }
    }

    /// Whether its recipient has heard of the code of the whole order.
    pub(super) fn is_announced(&self, part: &OrderRef) -> bool {
        let bundle = self.rows.get(part).and_then(|row| row.bundle_of(part));
        bundle.and_then(|at| self.bundles.0.get(&at)).is_some_and(Bundle::is_announced)
    }

    /// Messages go to this recipient from now on.
    pub(super) fn address_whole(&mut self, turn: &mut Turn<'_>, at: &OrderRef, recipient: RecipientRow) {
        if let Some(bundle) = self.bundles.0.get_mut(at) {
            bundle.recipient = Some(recipient);
            turn.put(BUNDLES, at.key(), bundle);
        }
    }

    /// Another code for all parts; the old one works until their cabinet holds the new one.
    pub(super) fn reissue_whole(&mut self, turn: &mut Turn<'_>, at: &OrderRef) {
        let Some(bundle) = self.bundles.0.get_mut(at) else { return };
        (bundle.code, bundle.qr, bundle.anew) = (None, None, Some(true));
        bundle.letters = (turn.code_form == CodeForm::Letters).then_some(true);
        bundle.begin(turn, at);
        for part in bundle.members(at) {
            if let Some(bundled) = self.rows.get_mut(&part).and_then(|order| order.bundle.as_mut()) {
                bundled.ready = None;
                self.put_row(turn, &part);
            }
        }
    }

    /// One more message with the code that there is; none while another one is on its way.
    pub(super) fn tell_whole_again(&mut self, turn: &mut Turn<'_>, at: &OrderRef, kind: NotificationKind) {
        if !self.is_announced(at) {
            return;
        }
        let doors: Vec<DoorRow> =
            self.parts(at).iter().filter_map(|part| self.rows.get(part)).filter_map(|order| order.door()).collect();
        let first = self.parts(at).into_iter().next();
        if let Some(whole) = first.filter(|_| !doors.is_empty()) {
            self.tell_whole(turn, &whole, kind, doors);
        }
    }

    fn tell_whole(&mut self, turn: &mut Turn<'_>, at: &OrderRef, kind: NotificationKind, doors: Vec<DoorRow>) {
        let Some(bundle) = self.bundles.0.get_mut(at) else { return };
        let (Some(secrets), Some(recipient)) = (bundle.secrets(), bundle.recipient.clone()) else { return };
        // That nothing is left the status says.
        let Some(first) = doors.first().cloned() else { return };
        bundle.messages = bundle.messages.saturating_add(1);
        bundle.anew = None;
        bundle.told = doors.iter().map(|door| door.order.clone()).collect();
        turn.put(BUNDLES, at.key(), bundle);
        let number = bundle.messages;
        for part in bundle.members(at) {
            if let Some(order) = self.rows.get_mut(&part).filter(|order| !order.notified) {
                order.notified = true;
                self.put_row(turn, &part);
            }
        }
        let Some(order) = self.rows.get(at) else { return };
        let (word, kind) = match kind {
            NotificationKind::Reminder => ("reminder", NotificationKind::Reminder),
            NotificationKind::PickupCode
            | NotificationKind::DepositCode
            | NotificationKind::BundleCode
            | NotificationKind::BundleChanged => ("pickup-code", NotificationKind::PickupCode),
        };
        let of_whole = |door: DoorRow| DoorRow { order: at.order.order.clone(), ..door };
        let row = NotificationRow {
            id: format!("{word}/{}/{number}", at.order),
            kind: Some(kind),
            cabinet: first.cabinet,
            compartment: Some(first.compartment),
            place: first.place,
            code: secrets.code,
            qr: secrets.qr,
            recipient,
            until: doors.iter().filter_map(|door| door.until).min(),
            doors: Some(doors.into_iter().map(of_whole).collect()),
            ..Self::message(order, turn.now)
        };
        self.notify(turn, at, row);
    }
}

impl Order {
    fn is_in(&self, bundle: &OrderRef) -> bool {
        self.bundle.as_ref().is_some_and(|of| of.bundle == bundle.order.order)
    }
}

/// A door of a bundle for its API.
impl From<DoorRow> for BundleDoor {
    fn from(row: DoorRow) -> Self {
        let DoorRow { order, cabinet, compartment, place, until, until_local, zone } = row;
        Self { order, cabinet, compartment, place, until: until.map(Rfc3339), until_local, zone }
    }
}
