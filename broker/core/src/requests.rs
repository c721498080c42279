//! Requests of people and integrations, and their answers.

mod bundles;
mod orders;

pub(crate) use orders::way_out;

use schemas::api::{
    AvailabilityPage, CourierDetail, EnrolmentOffer, FleetStatus, MessageState, OrderState, Reply, ReplyError, Request,
    RequestErrorCode, Rfc3339, Scope, StaffDetail, parse,
};
use schemas::cbor::Blob;
use schemas::enrolment::is_device_serial;
use schemas::ids::{CabinetId, Identity, Name, Role, SiteId, TenantId};
use schemas::messages::{
    Compartment, ConfirmOrder, FleetMillis, Instance, LoadOrder, OrderKey, PersonalCommand, RetrieveOrder, Size,
};
use schemas::topics::Stream;

use crate::cabinet::{Cabinet, Offer, Registration, UnlockWish};
use crate::core::FleetCore;
use crate::delegations::Signed;
use crate::effect::Effect;
use crate::intents::Intent;
use crate::keysets::{Chain, Put};
use crate::notify::{MessageRow, Worth};
use crate::order::{Wish, sealing_key};
use crate::policy;
use crate::roles::{Op, Reach, Right, authorise};
use crate::site::SiteChange;
use crate::staff::{Crew, as_staff};
use crate::tables::{CabinetRef, OrderRef};
use crate::turn::Turn;

/// Longest place of a cabinet and longest reason of an unlock, in bytes.
const TEXT_MAX: usize = 200;
/// Longest life of an enrolment token.
const OFFER_MAX_MILLIS: FleetMillis = 60 * 24 * 60 * 60 * 1_000;

/// Cabinets in an answer to `fleet.status` and `availability`.
const STATUS_PAGE: usize = 200;

/// Somebody who may do what is asked.
struct Asker {
    who: Identity,
    right: Right,
    scope: Scope,
    ticket: u64,
}

impl Asker {
    /// Whether the asker may see and touch orders of `integration`.
    fn covers(&self, integration: &Name) -> bool {
        match self.right {
            Right::Tenant => true,
            Right::Own => self.who.name == *integration,
        }
    }

    fn cabinet(&self, cabinet: CabinetId) -> CabinetRef {
        CabinetRef::new(self.who.tenant.clone(), cabinet)
    }

    fn order(&self, order: OrderKey) -> OrderRef {
        OrderRef { tenant: self.who.tenant.clone(), order }
    }
}

/// A refusal with the way out.
pub(crate) fn error(code: RequestErrorCode, message: impl Into<String>, hint: &str) -> ReplyError {
    ReplyError { code, message: message.into(), hint: Some(hint.to_owned()) }
}

impl FleetCore {
    /// Answers a request, or starts what will answer it.
    pub(crate) fn request(&mut self, turn: &mut Turn<'_>, ticket: u64, who: Identity, payload: &[u8]) {
        let reply = match self.decide(turn, ticket, who, payload) {
            Ok(Some(reply)) => reply,
            Ok(None) => return,
            Err(error) => Reply::Error(error),
        };
        turn.effect(Effect::Reply { ticket, reply });
    }

    /// `None` when the answer comes later.
    fn decide(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: u64,
        who: Identity,
        payload: &[u8],
    ) -> Result<Option<Reply>, ReplyError> {
        if who.role == Role::Integration {
            let key = (who.tenant.clone(), who.name.clone());
            self.orders.quotas.request(&self.config.quota, key, turn.now)?;
        }
        let request: Request = parse(payload)
            .map_err(|why| error(RequestErrorCode::Malformed, why.to_string(), "asyncapi.yaml shows every request"))?;
        let op = Op::of(&request);
        let Some(right) = authorise(who.role, op) else {
            let text = format!("role {} may not ask for {}", who.role, op.as_str());
            return Err(error(RequestErrorCode::Forbidden, text, "PROTOCOL.md lists who may ask what"));
        };
        if self.identities.is_shut_out(&who) {
            let text = format!("certificates of {who} are revoked");
            return Err(error(RequestErrorCode::Forbidden, text, "ask an operator for a new one"));
        }
        let scope = self.identities.scope(&who);
        let asker = Asker { who, right, scope, ticket };
        self.check_scope(&asker, op, &request)?;
        match request {
            Request::CabinetAdd { cabinet, site, place, instance, enrolment } => {
                let registration = Registration { site, place, instance };
                self.add_cabinet(turn, &asker, cabinet, registration, enrolment).map(Some)
            }
            Request::CabinetReplace { cabinet, instance, enrolment } => {
                self.replace_cabinet(turn, &asker, cabinet, instance, enrolment).map(Some)
            }
            Request::CabinetWipe { cabinet, reason, with_orders } => {
                check_text("reason", &reason)?;
                let at = asker.cabinet(cabinet);
                self.cabinet(&at)?.order_wipe(turn, asker.who, reason, with_orders).map(Some)
            }
            Request::CabinetKeep { cabinet } => {
                self.cabinet(&asker.cabinet(cabinet))?.take_back_wipe(turn, &asker.who).map(Some)
            }
            Request::CabinetBreakGlass { cabinet, reason } => {
                check_text("reason", &reason)?;
                let at = asker.cabinet(cabinet);
                self.cabinet(&at)?.show_break_glass(turn, ticket, asker.who, reason).map(|()| None)
            }
            Request::CabinetList {} => Ok(Some(Reply::Cabinets(self.cabinet_list(&asker)))),
            Request::CabinetShow { cabinet } => {
                let detail = self.cabinet(&asker.cabinet(cabinet))?.detail();
                Ok(Some(Reply::Cabinet(Box::new(detail))))
            }
            Request::Availability { cabinet, after } => {
                self.availability(&asker, cabinet.as_ref(), after.as_ref()).map(Some)
            }
            Request::OrderPut { integration, order } => self.put_for(turn, &asker, integration, order).map(Some),
            Request::OrderList { cabinet, overdue } => {
                let own = (asker.right == Right::Own).then_some(&asker.who.name);
                let listed = |at: &CabinetId, state| {
                    cabinet.as_ref().is_none_or(|only| only == at)
                        && (!overdue || state == OrderState::Overdue)
                        && self.is_in_scope(&asker, at)
                };
                Ok(Some(Reply::Orders(self.orders.list(&asker.who.tenant, own, listed))))
            }
            Request::OrderShow { order } => self.show_order(&asker, order).map(Some),
            Request::OrderCancel { order } => self.cancel_for(turn, &asker, order).map(Some),
            Request::OrderChange { order, replaces, change } => {
                self.change_for(turn, &asker, order, replaces.as_ref(), &change).map(Some)
            }
            Request::OrderQuarantine { order, reason } => self.quarantine_for(turn, &asker, order, reason).map(Some),
            Request::OrderRelease { order, reason } => self.release_for(turn, &asker, order, &reason).map(Some),
            Request::OrderClose { order, closed_as, reason } => {
                self.close_for(turn, &asker, order, closed_as, reason).map(Some)
            }
            Request::OrderExtend { order, until } => {
                self.wish_for(turn, &asker, order, Wish::Extend(until.0)).map(Some)
            }
            Request::OrderResend { order } => self.wish_for(turn, &asker, order, Wish::Resend).map(Some),
            Request::OrderReissue { order } => self.wish_for(turn, &asker, order, Wish::Reissue).map(Some),
            Request::OrderOpen { order, token } => self.open_for(turn, &asker, order, token),
            Request::OrderLoad { order, compartment, size } => {
                check_choice(compartment, size)?;
                self.errand_for(turn, asker, LoadOrder { order, compartment, size }.into()).map(|()| None)
            }
            Request::OrderConfirm { order, inside, retrieving } => {
                self.errand_for(turn, asker, ConfirmOrder { order, inside, retrieving }.into()).map(|()| None)
            }
            Request::OrderRetrieve { order } => {
                self.errand_for(turn, asker, RetrieveOrder { order }.into()).map(|()| None)
            }
            Request::OrderMove { order, to } => self.move_for(turn, &asker, order, to).map(Some),
            Request::BundlePut { integration, bundle } => {
                self.put_bundle_for(turn, &asker, integration, bundle).map(Some)
            }
            Request::BundleShow { bundle } => self.show_bundle(&asker, bundle).map(Some),
            Request::BundleRelease { bundle } => self.release_bundle_for(turn, &asker, bundle).map(Some),
            Request::Unlock { cabinet, compartment, reason } => {
                check_text("reason", &reason)?;
                let at = asker.cabinet(cabinet);
                let wish = UnlockWish { ticket: Some(ticket), who: asker.who, compartment, reason };
                self.cabinet(&at)?.unlock(turn, wish).map(|()| None)
            }
            Request::UnlockList { cabinet, before } => {
                let at = asker.cabinet(cabinet);
                self.cabinet(&at)?;
                turn.effect(Effect::ReplyUnlocks { ticket, tenant: at.tenant, cabinet: at.cabinet, before });
                Ok(None)
            }
            Request::StaffAdd { name, until } => {
                let until = until.map(|until| until.0);
                self.staff.add(turn, &asker.who.tenant, &name, until, ticket).map(|()| None)
            }
            Request::StaffBadge { name } => self.staff.add_badge(turn, &asker.who.tenant, &name, ticket).map(|()| None),
            Request::StaffList {} => Ok(Some(Reply::StaffMembers(self.staff_list(&asker.who.tenant)))),
            Request::StaffRevoke { name } => self.revoke_staff(turn, &asker, &name).map(Some),
            Request::CourierAdd { name, until, scope } => {
                self.add_courier(turn, &asker, &name, (until.map(|until| until.0), scope)).map(|()| None)
            }
            Request::CourierBadge { name } => {
                self.couriers.add_badge(turn, &asker.who.tenant, &name, ticket).map(|()| None)
            }
            Request::CourierList {} => Ok(Some(Reply::Couriers(self.members(Crew::Couriers, &asker.who.tenant)))),
            Request::CourierRemove { name } => {
                let left = self.remove_member(turn, &asker, Crew::Couriers, &name)?;
                Ok(Some(Reply::Couriers(left)))
            }
            Request::IdentityRevoke { identity, reason } => {
                check_text("reason", &reason)?;
                let revoked = self.identities.revoke(turn, &asker.who, identity, reason)?;
                Ok(Some(Reply::Identity(Box::new(revoked))))
            }
            Request::IdentityList { role, after } => {
                Ok(Some(Reply::Identities(self.identities.page(&asker.who.tenant, role, after.as_ref()))))
            }
            Request::PersonScope { identity, scope } => {
                let scoped = self.identities.set_scope(turn, &asker.who, identity, scope)?;
                Ok(Some(Reply::Identity(Box::new(scoped))))
            }
            Request::IntegrationQuota { integration, limits } => {
                let tenant = &asker.who.tenant;
                if let Some(limits) = limits {
                    self.orders.quotas.set(turn, tenant, &integration, &limits);
                }
                let key = (tenant.clone(), integration);
                let (_, open) = self.orders.counts_of(&key);
                Ok(Some(Reply::Quota(self.orders.quotas.detail(&self.config.quota, key, open))))
            }
            Request::PolicyShow {} => Ok(Some(self.policy(&asker))),
            Request::PolicyPut { replaces, policies, live } => {
                self.put_policies(turn, &asker, replaces, *policies, live).map(Some)
            }
            Request::PolicyPreview { policies } => {
                let policies = policy::checked(*policies)?;
                Ok(Some(Reply::PolicyPreview(self.orders.preview(turn, &asker.who.tenant, &policies))))
            }
            Request::SiteSet { site, zone, hours, closed } => {
                let change = SiteChange { zone, hours, closed };
                self.orders.sites.set(turn, &asker.who, &site, change)?;
                Ok(Some(self.site(turn, &asker, &site)?))
            }
            Request::SiteShow { site } => self.site(turn, &asker, &site).map(Some),
            Request::SiteList { after } => {
                let Asker { who, scope, .. } = &asker;
                Ok(Some(Reply::Sites(self.orders.sites.page(&who.tenant, scope, after.as_ref(), turn.now))))
            }
            Request::Rows { stream: Stream::Status, after } => {
                let Asker { who: Identity { tenant, name, .. }, .. } = asker;
                turn.effect(Effect::ReplyRows { ticket, tenant, integration: name, after });
                Ok(None)
            }
            Request::ChannelPut { channel } => {
                let name = channel.name.clone();
                self.orders.outbox.put_channel(turn, &asker.who.tenant, *channel)?;
                turn.alarm(format!("{} has said how channel {name} sends messages to people", asker.who));
                Ok(Some(Reply::Done))
            }
            Request::ChannelList {} => {
                let all = self.orders.outbox.channels.list(&asker.who.tenant);
                Ok(Some(Reply::Channels(all.into_iter().cloned().collect())))
            }
            Request::ChannelRemove { name } => {
                self.orders.outbox.remove_channel(turn, &asker.who.tenant, &name)?;
                Ok(Some(Reply::Done))
            }
            Request::ChannelTest { name, to } => {
                let dispatch = Box::new(self.orders.outbox.test(turn, &asker.who.tenant, &name, &to)?);
                turn.effect(Effect::ReplyTested { ticket, dispatch });
                Ok(None)
            }
            Request::TemplatePut { template } => {
                self.orders.outbox.templates.put(turn, &asker.who.tenant, template)?;
                Ok(Some(Reply::Done))
            }
            Request::TemplateShow { kind, language } => {
                let shown = self.orders.outbox.templates.show(&asker.who.tenant, kind, &language);
                Ok(Some(Reply::Template(Box::new(shown))))
            }
            Request::TemplateRemove { kind, language } => {
                self.orders.outbox.templates.remove(turn, &asker.who.tenant, kind, &language)?;
                Ok(Some(Reply::Done))
            }
            Request::MessageList { undelivered, order, after } => {
                Ok(Some(self.messages(&asker, undelivered, order.as_ref(), after.as_deref())))
            }
            Request::FleetStatus { after } => {
                let status = Box::new(self.status(turn.now, &asker, after.as_ref()));
                turn.effect(Effect::ReplyStatus { ticket, status });
                Ok(None)
            }
            Request::Backup {} => {
                turn.effect(Effect::Backup { ticket });
                Ok(None)
            }
            Request::Challenge { cabinet, compartment } => {
                self.cabinet(&asker.cabinet(cabinet))?.challenge_for(turn, ticket, compartment).map(|()| None)
            }
            Request::UnlockSigned { cabinet, envelope, delegation, reason } => {
                check_text("reason", &reason)?;
                self.unlock_signed(turn, asker, cabinet, (envelope.0, delegation.0, reason)).map(|()| None)
            }
            Request::KeysetPut { envelope } => self.put_keyset(turn, &asker, envelope.0).map(Some),
            Request::KeysetList {} => {
                let own = self.cabinets.iter().filter(|(at, _)| at.tenant == asker.who.tenant);
                let held = own.map(|(at, cabinet)| (&at.cabinet, cabinet.keyset_held()));
                let list = match self.keysets.of(&asker.who.tenant) {
                    Some(chain) => chain.list(held),
                    None => Chain::default().list(held),
                };
                Ok(Some(Reply::Keysets(Box::new(list))))
            }
            Request::Rows { stream: Stream::Notifications, .. } => {
                let text = "rows of `notifications` are not handed out a second time: they hold codes";
                Err(error(RequestErrorCode::Forbidden, text, "each is sent until it is acknowledged"))
            }
        }
    }

    /// Messages about orders that the asker sees.
    fn messages(&self, asker: &Asker, undelivered: bool, order: Option<&OrderKey>, after: Option<&str>) -> Reply {
        let tenant = &asker.who.tenant;
        let listed = |row: &MessageRow| {
            order.is_none_or(|only| *only == row.order)
                && (!undelivered || self.is_missed(tenant, row))
                && self.is_in_scope(asker, &row.cabinet)
        };
        Reply::Messages(self.orders.outbox.page(tenant, after, listed))
    }

    /// Its recipient does not get it, and has use for it.
    fn is_missed(&self, tenant: &TenantId, row: &MessageRow) -> bool {
        row.state == MessageState::Undelivered && self.orders.worth(tenant, row) != Worth::Nothing
    }

    fn site(&self, turn: &Turn<'_>, asker: &Asker, site: &SiteId) -> Result<Reply, ReplyError> {
        let shown = self.orders.sites.show(&asker.who.tenant, site, turn.now)?;
        Ok(Reply::Site(Box::new(shown)))
    }

    fn unlock_signed(
        &mut self,
        turn: &mut Turn<'_>,
        asker: Asker,
        cabinet: CabinetId,
        (envelope, delegation, reason): (Vec<u8>, Vec<u8>, String),
    ) -> Result<(), ReplyError> {
        let Asker { who, ticket, .. } = asker;
        let at = CabinetRef::new(who.tenant.clone(), cabinet);
        let keyset = self.keysets.of(&who.tenant).and_then(Chain::newest_keyset).ok_or_else(|| {
            let text = "the fleet was given no keyset, so nobody can open with a key of his own";
            error(RequestErrorCode::Refused, text, "`fleet keys rotate admin` makes a key that delegates")
        })?;
        let now = turn.now;
        let instance = self.cabinet(&at)?.instance();
        let signed = Signed { who: &who, at: &at, instance, now };
        let command = signed.judge(&keyset, &envelope, &delegation)?;
        let message = PersonalCommand { envelope: Blob(envelope), delegation: Blob(delegation) };
        // The cabinet finds the part by itself; what is said and written down here names its door.
        let meant = match command.action.order() {
            None => command.action.clone(),
            Some(order) => {
                let order = OrderRef { tenant: at.tenant.clone(), order: order.clone() };
                self.about_a_part(&order, command.action.clone())
            }
        };
        let cabinet = self.cabinet(&at)?;
        let compartment = cabinet.expected(&meant)?;
        let wish = UnlockWish { ticket: Some(ticket), who, compartment, reason };
        cabinet.unlock_signed(turn, wish, command, message)
    }

    fn put_keyset(&mut self, turn: &mut Turn<'_>, asker: &Asker, envelope: Vec<u8>) -> Result<Reply, ReplyError> {
        let tenant = &asker.who.tenant;
        let taken = self.keysets.put(turn, &asker.who, envelope)? == Put::Taken;
        if let Some(chain) = self.keysets.of(tenant).filter(|_| taken) {
            let own = self.cabinets.iter_mut().filter(|(at, _)| at.tenant == *tenant);
            own.for_each(|(_, cabinet)| cabinet.send_keysets(turn, chain));
            let key = chain.newest_keyset().as_ref().and_then(sealing_key);
            self.orders.set_sealing_key(tenant.clone(), key);
        }
        Ok(Reply::Done)
    }

    /// Refuses whatever reaches beyond what the asker sees. A list leaves it out instead.
    fn check_scope(&self, asker: &Asker, op: Op, request: &Request) -> Result<(), ReplyError> {
        if asker.scope.is_tenant() {
            return Ok(());
        }
        if op.reach() == Reach::Tenant {
            return Err(out_of_scope("the whole tenant", asker));
        }
        let (covered, what) = match request {
            Request::CabinetList {}
            | Request::SiteList { .. }
            | Request::MessageList { .. }
            | Request::FleetStatus { .. }
            | Request::Availability { cabinet: None, .. }
            | Request::OrderList { cabinet: None, .. } => {
                return Ok(());
            }
            Request::CabinetAdd { cabinet, site, .. } => {
                (asker.scope.covers(cabinet, Some(site)), format!("cabinet {cabinet} at {site}"))
            }
            Request::CabinetShow { cabinet }
            | Request::CabinetReplace { cabinet, .. }
            | Request::CabinetWipe { cabinet, .. }
            | Request::CabinetKeep { cabinet }
            | Request::CabinetBreakGlass { cabinet, .. }
            | Request::Unlock { cabinet, .. }
            | Request::Challenge { cabinet, .. }
            | Request::UnlockSigned { cabinet, .. }
            | Request::UnlockList { cabinet, .. }
            | Request::Availability { cabinet: Some(cabinet), .. }
            | Request::OrderList { cabinet: Some(cabinet), .. } => {
                (self.is_in_scope(asker, cabinet), format!("cabinet {cabinet}"))
            }
            Request::OrderPut { order, .. } => {
                let at = order.cabinet.as_ref().map(|cabinet| self.is_in_scope(asker, cabinet));
                let site = order.site.as_ref().map(|site| asker.scope.covers_site(site));
                (at.or(site).unwrap_or(true), "where the order is to go".to_owned())
            }
            Request::SiteSet { site, .. } | Request::SiteShow { site } => {
                (asker.scope.covers_site(site), format!("site {site}"))
            }
            Request::OrderMove { order, to } => {
                let found = self.orders.find(&asker.order(order.clone()));
                let from = found.is_none_or(|found| self.is_in_scope(asker, &found.cabinet));
                (from && self.is_in_scope(asker, to), format!("order {order} or cabinet {to}"))
            }
            Request::OrderShow { order }
            | Request::OrderCancel { order }
            | Request::OrderChange { order, .. }
            | Request::OrderQuarantine { order, .. }
            | Request::OrderRelease { order, .. }
            | Request::OrderClose { order, .. }
            | Request::OrderExtend { order, .. }
            | Request::OrderOpen { order, .. }
            | Request::OrderLoad { order, .. }
            | Request::OrderConfirm { order, .. }
            | Request::OrderRetrieve { order }
            | Request::OrderResend { order }
            | Request::OrderReissue { order } => {
                let found = self.orders.find(&asker.order(order.clone()));
                // One that is unknown is said to be unknown.
                let covered = found.is_none_or(|found| self.is_in_scope(asker, &found.cabinet));
                (covered, format!("order {order}"))
            }
            Request::StaffAdd { .. }
            | Request::StaffBadge { .. }
            | Request::StaffList {}
            | Request::StaffRevoke { .. }
            | Request::CourierAdd { .. }
            | Request::CourierBadge { .. }
            | Request::CourierList {}
            | Request::CourierRemove { .. }
            | Request::IdentityRevoke { .. }
            | Request::IdentityList { .. }
            | Request::PersonScope { .. }
            | Request::IntegrationQuota { .. }
            | Request::PolicyShow {}
            | Request::PolicyPut { .. }
            | Request::PolicyPreview { .. }
            | Request::ChannelPut { .. }
            | Request::ChannelList {}
            | Request::ChannelRemove { .. }
            | Request::ChannelTest { .. }
            | Request::TemplatePut { .. }
            | Request::TemplateShow { .. }
            | Request::TemplateRemove { .. }
            | Request::BundlePut { .. }
            | Request::BundleShow { .. }
            | Request::BundleRelease { .. }
            | Request::Rows { .. }
            | Request::KeysetPut { .. }
            | Request::KeysetList {}
            | Request::Backup {} => return Ok(()),
        };
        if covered { Ok(()) } else { Err(out_of_scope(&what, asker)) }
    }

    fn is_in_scope(&self, asker: &Asker, cabinet: &CabinetId) -> bool {
        let known = self.cabinets.get(&asker.cabinet(cabinet.clone()));
        asker.scope.covers(cabinet, known.map(|known| &known.registration().site))
    }

    fn cabinet(&mut self, at: &CabinetRef) -> Result<&mut Cabinet, ReplyError> {
        self.cabinets.get_mut(at).ok_or_else(|| {
            let text = format!("there is no cabinet {}", at.cabinet);
            error(RequestErrorCode::Unknown, text, "`fleet cabinet list` shows all of them")
        })
    }

    fn add_cabinet(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        cabinet: CabinetId,
        registration: Registration,
        enrolment: Option<EnrolmentOffer>,
    ) -> Result<Reply, ReplyError> {
        check_text("place", &registration.place)?;
        let at = asker.cabinet(cabinet);
        let site = registration.site.clone();
        let offer =
            enrolment.map(|offer| checked_offer(turn.now, &asker.who, offer, registration.instance)).transpose()?;
        if let Some(known) = self.cabinets.get_mut(&at) {
            // The same request again: its answer was lost.
            if *known.registration() == registration && known.has_offer(offer.as_ref()) {
                return Ok(Reply::Done);
            }
            let text = format!("cabinet {} is known already, with another site, place or token", at.cabinet);
            let hint = "`fleet cabinet show` tells which; `fleet cabinet replace` makes a new token";
            return Err(error(RequestErrorCode::Conflict, text, hint));
        }
        let mut cabinet = Cabinet::register(turn, at.clone(), registration);
        if let Some(offer) = offer {
            cabinet.put_offer(turn, offer);
        }
        self.cabinets.insert(at.clone(), cabinet);
        self.orders.sites.stand(at.clone(), site.clone());
        let known = [&self.staff, &self.couriers].map(|list| list.of(&at.tenant, &at.cabinet, &site));
        turn.effect(Effect::Registered { tenant: at.tenant.clone(), cabinet: at.cabinet.clone(), site });
        known.into_iter().flatten().for_each(|hired| turn.send(Intent::to_cabinet(&at, hired)));
        Ok(Reply::Done)
    }

    fn replace_cabinet(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        cabinet: CabinetId,
        instance: Instance,
        enrolment: EnrolmentOffer,
    ) -> Result<Reply, ReplyError> {
        let offer = checked_offer(turn.now, &asker.who, enrolment, instance)?;
        let cabinet = self.cabinet(&asker.cabinet(cabinet))?;
        if !cabinet.has_offer(Some(&offer)) {
            cabinet.put_offer(turn, offer);
        }
        Ok(Reply::Done)
    }

    fn cabinet_list(&self, asker: &Asker) -> Vec<schemas::api::CabinetSummary> {
        let own = self.cabinets.iter().filter(|(at, cabinet)| {
            at.tenant == asker.who.tenant && asker.scope.covers(&at.cabinet, Some(&cabinet.registration().site))
        });
        own.map(|(_, cabinet)| cabinet.summary()).collect()
    }

    /// Cabinets in use behind `after` that the asker sees.
    fn in_sight(&self, asker: &Asker, after: Option<&CabinetId>) -> impl Iterator<Item = (&CabinetRef, &Cabinet)> {
        self.cabinets.iter().filter(move |(at, cabinet)| {
            at.tenant == asker.who.tenant
                && after.is_none_or(|after| at.cabinet > *after)
                && !cabinet.is_wiped()
                && asker.scope.covers(&at.cabinet, Some(&cabinet.registration().site))
        })
    }

    fn availability(
        &mut self,
        asker: &Asker,
        cabinet: Option<&CabinetId>,
        after: Option<&CabinetId>,
    ) -> Result<Reply, ReplyError> {
        if let Some(only) = cabinet {
            let cabinets = vec![self.cabinet(&asker.cabinet(only.clone()))?.availability()];
            return Ok(Reply::Availability(AvailabilityPage { cabinets, more: false }));
        }
        let (cabinets, more) = page(self.in_sight(asker, after).map(|(_, cabinet)| cabinet.availability()));
        Ok(Reply::Availability(AvailabilityPage { cabinets, more }))
    }

    /// What the core knows of it; the rest is the shell's.
    fn status(&self, now: FleetMillis, asker: &Asker, after: Option<&CabinetId>) -> FleetStatus {
        let seen = self.in_sight(asker, after);
        let (cabinets, more) = page(seen.map(|(at, cabinet)| cabinet.health(self.alarms.get(at).cloned())));
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let tenant = &asker.who.tenant;
        let keyset = self.keysets.of(tenant).and_then(Chain::newest).map_or(0, |row| row.version);
        let missed = |row: &MessageRow| self.is_missed(tenant, row) && self.is_in_scope(asker, &row.cabinet);
        FleetStatus {
            now: Rfc3339(now),
            version,
            keyset,
            disk_low: false,
            signer_failed: None,
            backup: None,
            undelivered: self.orders.outbox.count(tenant, missed) as u64,
            cabinets,
            more,
        }
    }

    fn staff_list(&self, tenant: &TenantId) -> Vec<StaffDetail> {
        self.members(Crew::Staff, tenant).into_iter().map(as_staff).collect()
    }

    fn members(&self, crew: Crew, tenant: &TenantId) -> Vec<CourierDetail> {
        let own = self.cabinets.iter().filter(|(at, _)| at.tenant == *tenant);
        let pending = own.flat_map(|(at, cabinet)| cabinet.pending(crew).map(|(name, gone)| (&at.cabinet, name, gone)));
        match crew {
            Crew::Staff => self.staff.list(tenant, pending),
            Crew::Couriers => self.couriers.list(tenant, pending),
        }
    }

    /// A courier who is to come to other cabinets than before is gone at those.
    fn add_courier(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        name: &Name,
        wanted: (Option<FleetMillis>, Scope),
    ) -> Result<(), ReplyError> {
        let tenant = &asker.who.tenant;
        self.couriers.add_at(turn, tenant, name, wanted, asker.ticket)?;
        let own = self.cabinets.iter().filter(|(at, _)| at.tenant == *tenant);
        let is_here = |at: &CabinetRef, site: &SiteId| self.couriers.covers(tenant, name, &at.cabinet, site);
        for (at, _) in own.filter(|(at, cabinet)| !is_here(at, &cabinet.registration().site)) {
            turn.send(Intent::to_cabinet(at, Crew::Couriers.fire(name.clone())));
        }
        Ok(())
    }

    fn revoke_staff(&mut self, turn: &mut Turn<'_>, asker: &Asker, name: &Name) -> Result<Reply, ReplyError> {
        let left = self.remove_member(turn, asker, Crew::Staff, name)?;
        Ok(Reply::StaffMembers(left.into_iter().map(as_staff).collect()))
    }

    /// Returns where the end of it is under way.
    fn remove_member(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        crew: Crew,
        name: &Name,
    ) -> Result<Vec<CourierDetail>, ReplyError> {
        let tenant = &asker.who.tenant;
        self.crew(crew).revoke(turn, tenant, name)?;
        for at in self.cabinets.keys().filter(|at| at.tenant == *tenant) {
            turn.send(Intent::to_cabinet(at, crew.fire(name.clone())));
        }
        // Then the answer tells where the end of it is under way.
        self.deliver(turn);
        let mut left = self.members(crew, tenant);
        left.retain(|member| member.name == *name);
        Ok(left)
    }
}

/// A token that is good for years is a key under a doormat.
fn checked_offer(
    now: FleetMillis,
    by: &Identity,
    offer: EnrolmentOffer,
    instance: Instance,
) -> Result<Offer, ReplyError> {
    let EnrolmentOffer { secret_hash, device_serial, expires: Rfc3339(expires) } = offer;
    if !is_device_serial(&device_serial) {
        let text = "device_serial is no serial number of 1 to 64 printable characters";
        return Err(error(RequestErrorCode::Malformed, text, "read it from the device's label"));
    }
    if expires <= now || expires - now > OFFER_MAX_MILLIS {
        let days = OFFER_MAX_MILLIS / (24 * 60 * 60 * 1_000);
        let text = format!("a token has to expire within {days} days from now");
        return Err(error(RequestErrorCode::Malformed, text, "choose another --valid-for; compare the clocks"));
    }
    Ok(Offer { instance, secret: secret_hash, device_serial, expires, used: None, by: by.clone() })
}

/// As many as fit into one answer, and whether there are more.
fn page<T>(mut all: impl Iterator<Item = T>) -> (Vec<T>, bool) {
    let page = all.by_ref().take(STATUS_PAGE).collect();
    (page, all.next().is_some())
}

/// One of them says where an order goes, or none.
fn check_choice(compartment: Option<Compartment>, size: Option<Size>) -> Result<(), ReplyError> {
    if compartment.is_none() || size.is_none() {
        return Ok(());
    }
    let text = "a compartment and a size are named";
    Err(error(RequestErrorCode::Malformed, text, "name the compartment, or how large it has to be at least"))
}

pub(crate) fn check_text(field: &str, text: &str) -> Result<(), ReplyError> {
    if !text.trim().is_empty() && text.len() <= TEXT_MAX && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let message = format!("{field} is empty, longer than {TEXT_MAX} bytes, or has control characters");
    Err(error(RequestErrorCode::Malformed, message, "write it as one short line"))
}

fn out_of_scope(what: &str, asker: &Asker) -> ReplyError {
    let text = format!("{what} is outside the scope of {}", asker.who);
    error(RequestErrorCode::Forbidden, text, "an operator of the whole tenant can widen it: `fleet person scope`")
}
