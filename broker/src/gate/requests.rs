//! What a session does with PUBLISH, SUBSCRIBE and UNSUBSCRIBE: the access list, then the driver or a refusal.

use std::sync::Arc;
use std::time::Instant;

use rumqttd::protocol::{PubAckReason, SubscribeReasonCode, UnsubAckReason};
use schemas::api::ContentType;
use schemas::ids::Identity;
use schemas::topics::{Filter, LiveFilter, Topic, Up};

use super::acl::{self, Publication, Subscription};
use super::codec::encode;
use super::codec::{Published, Wish};
use super::conn::OwnTopic;
use super::counters::Count;
use super::port::{Ack, GateInput, Receipt};
use super::rule::{Offence, Rule};
use super::session::{End, Session};
use super::wire::Wire;

impl Session {
    /// A refused QoS 1 message gets its reason in the PUBACK; QoS 0 has no answer, so the connection ends.
    pub(super) fn receive_publish(&mut self, publish: Published) -> Result<(), End> {
        let ack = match publish.pkid {
            None => None,
            Some(pkid) => {
                let place = self.conn.owe(pkid, self.shared.settings.receive_maximum)?;
                Some((place, Ack::new(Arc::clone(&self.conn), place)))
            }
        };
        let judged = self.judge_publish(&publish, ack.is_some());
        match (judged, ack) {
            (Ok(publication), ack) => self.accept_publish(publication, publish, ack.map(|(_, ack)| ack)),
            (Err(rule), Some((place, ack))) => {
                self.note_refusal(rule, "publish");
                self.conn.settle(place, Receipt { reason: puback_reason(rule), text: Some(rule.name().into()) });
                ack.forget();
            }
            (Err(rule), None) => return Err(Offence::new(rule, "publish with QoS 0").into()),
        }
        Ok(())
    }

    fn judge_publish(&self, publish: &Published, at_least_once: bool) -> Result<Publication, Rule> {
        let who = &self.conn.claim.who;
        let topic = Topic::parse(&publish.topic).map_err(|_| Rule::UnknownTopic)?;
        let publication = acl::publish(who, &topic, at_least_once)?;
        if let Some(response_topic) = &publish.response_topic {
            let own = Topic::Response { who: Identity::clone(who) };
            if publication != Publication::Request || Topic::parse(response_topic) != Ok(own) {
                return Err(Rule::ForeignResponseTopic);
            }
        }
        Ok(publication)
    }

    fn accept_publish(&mut self, publication: Publication, publish: Published, ack: Option<Ack>) {
        let conn = self.conn.id;
        let who = Identity::clone(&self.conn.claim.who);
        let Published { payload, content_type, correlation, .. } = publish;
        match (publication, ack) {
            (Publication::Up(up), ack) => self.accept_up(up, payload, ack),
            (Publication::OrderPut, Some(ack)) => {
                self.tell(GateInput::OrderPut { conn, integration: who, payload, content_type, ack });
            }
            (Publication::OrderCancel, Some(ack)) => {
                self.tell(GateInput::OrderCancel { conn, integration: who, payload, content_type, ack });
            }
            (Publication::OrderChange(change), Some(ack)) => {
                self.tell(GateInput::OrderChange { conn, integration: who, change, payload, content_type, ack });
            }
            (Publication::Request, Some(ack)) => {
                let suffix = self.conn.claim.suffix.clone();
                self.tell(GateInput::Request { conn, who, suffix, payload, content_type, correlation, ack });
            }
            // The access list lets none of these through with QoS 0.
            (
                Publication::OrderPut | Publication::OrderCancel | Publication::OrderChange(_) | Publication::Request,
                None,
            ) => {}
        }
    }

    fn accept_up(&mut self, up: Up, payload: bytes::Bytes, ack: Option<Ack>) {
        let who = &self.conn.claim.who;
        let Some(cabinet) = who.as_cabinet() else { return };
        if ack.is_none() && !self.quota.book_if_free(Instant::now()) {
            self.shared.counters.add(Count::TelemetryDropped);
            return;
        }
        let tenant = who.tenant.clone();
        self.tell(GateInput::CabinetUp { conn: self.conn.id, tenant, cabinet, up, payload, ack });
    }

    pub(super) fn receive_subscribe(
        &mut self,
        pkid: u16,
        wishes: Vec<Wish>,
        rows_as: Option<String>,
        wire: &mut Wire,
    ) -> Result<(), End> {
        let content = ContentType::named(rows_as.as_deref()).ok();
        let mut codes = Vec::with_capacity(wishes.len());
        let mut opened = Vec::new();
        let mut first_refusal = None;
        for wish in wishes {
            match self.judge_filter(&wish) {
                Ok(Subscription::Live(filter)) => {
                    match self.shared.table.watch(&self.conn, filter, self.shared.settings.live_filters_max) {
                        Ok(()) => codes.push(SubscribeReasonCode::QoS0),
                        Err(rule) => codes.push(self.refuse_filter(rule, &mut first_refusal)),
                    }
                }
                Ok(Subscription::Stream(stream)) => {
                    match content.filter(|content| self.conn.may_open(stream, *content)) {
                        Some(content) => {
                            codes.push(SubscribeReasonCode::QoS1);
                            opened.push((OwnTopic::Stream(stream), content));
                        }
                        None => codes.push(self.refuse_filter(Rule::ContentType, &mut first_refusal)),
                    }
                }
                Ok(own @ (Subscription::Down | Subscription::Response)) => {
                    codes.push(SubscribeReasonCode::QoS1);
                    opened.extend(own_topic(&own).map(|topic| (topic, ContentType::Json)));
                }
                Err(FilterRefusal::End(offence)) => return Err(offence.into()),
                Err(FilterRefusal::Code(rule)) => codes.push(self.refuse_filter(rule, &mut first_refusal)),
            }
        }
        let text = first_refusal.filter(|_| self.conn.terms.problem_info).map(Rule::name);
        encode::suback(&mut wire.outbox, pkid, codes, text)?;
        for (topic, content) in opened {
            self.open(topic, content);
        }
        Ok(())
    }

    fn refuse_filter(&mut self, rule: Rule, first: &mut Option<Rule>) -> SubscribeReasonCode {
        self.note_refusal(rule, "subscribe");
        first.get_or_insert(rule);
        suback_reason(rule)
    }

    fn judge_filter(&self, wish: &Wish) -> Result<Subscription, FilterRefusal> {
        if wish.filter.starts_with("$share/") {
            let offence = Offence::new(Rule::SharedSubscription, "shared subscriptions are not supported");
            return Err(FilterRefusal::End(offence));
        }
        let unreadable = if wish.filter.contains(['+', '#']) { Rule::Wildcard } else { Rule::UnknownFilter };
        let filter = Filter::parse(&wish.filter).map_err(|_| FilterRefusal::Code(unreadable))?;
        let subscription = acl::subscribe(&self.conn.claim.who, self.conn.claim.suffix.is_some(), filter)
            .map_err(FilterRefusal::Code)?;
        if let Subscription::Live(LiveFilter { cabinet: Some(cabinet), .. }) = &subscription
            && !self.shared.admission.sees(&self.conn.claim.who, cabinet)
        {
            return Err(FilterRefusal::Code(Rule::OutOfScope));
        }
        let durable = own_topic(&subscription).is_some();
        if durable && !wish.at_least_once {
            return Err(FilterRefusal::Code(Rule::WrongQos));
        }
        Ok(subscription)
    }

    /// `content`: of the rows, if it is a stream.
    fn open(&mut self, topic: OwnTopic, content: ContentType) {
        let new = self.conn.subscribe(topic, content);
        if let OwnTopic::Stream(stream) = topic
            && new
        {
            let integration = Identity::clone(&self.conn.claim.who);
            let window = self.conn.terms.window;
            self.tell(GateInput::StreamOpened { conn: self.conn.id, integration, stream, window, content });
        }
    }

    pub(super) fn receive_unsubscribe(&mut self, pkid: u16, filters: &[String], wire: &mut Wire) -> Result<(), End> {
        let mut reasons = Vec::with_capacity(filters.len());
        for text in filters {
            let had = self.close_filter(text);
            reasons.push(if had { UnsubAckReason::Success } else { UnsubAckReason::NoSubscriptionExisted });
        }
        Ok(encode::unsuback(&mut wire.outbox, pkid, reasons)?)
    }

    fn close_filter(&mut self, text: &str) -> bool {
        let Ok(filter) = Filter::parse(text) else { return false };
        let subscription = acl::subscribe(&self.conn.claim.who, self.conn.claim.suffix.is_some(), filter);
        match subscription {
            Ok(Subscription::Live(filter)) => self.shared.table.unwatch(&self.conn, &filter),
            Ok(own) => own_topic(&own).is_some_and(|topic| self.close(topic)),
            Err(_) => false,
        }
    }

    fn close(&mut self, topic: OwnTopic) -> bool {
        let had = self.conn.unsubscribe(topic);
        if let OwnTopic::Stream(stream) = topic
            && had
        {
            self.tell(self.stream_closed(stream));
        }
        had
    }
}

enum FilterRefusal {
    /// One line of the SUBACK.
    Code(Rule),
    /// What CONNACK said is not supported ends the connection (section 3.2.2.3).
    End(Offence),
}

fn own_topic(subscription: &Subscription) -> Option<OwnTopic> {
    match subscription {
        Subscription::Down => Some(OwnTopic::Down),
        Subscription::Stream(stream) => Some(OwnTopic::Stream(*stream)),
        Subscription::Response => Some(OwnTopic::Response),
        Subscription::Live(_) => None,
    }
}

fn puback_reason(rule: Rule) -> PubAckReason {
    if rule == Rule::UnknownTopic { PubAckReason::TopicNameInvalid } else { PubAckReason::NotAuthorized }
}

fn suback_reason(rule: Rule) -> SubscribeReasonCode {
    if rule == Rule::UnknownFilter {
        SubscribeReasonCode::TopicFilterInvalid
    } else if rule == Rule::Wildcard {
        SubscribeReasonCode::WildcardSubscriptionsNotSupported
    } else if rule == Rule::TooManySubscriptions {
        SubscribeReasonCode::QuotaExceeded
    } else if rule == Rule::WrongQos || rule == Rule::ContentType {
        // What must not be lost is not sent with QoS 0; a form is not guessed.
        SubscribeReasonCode::ImplementationSpecific
    } else {
        SubscribeReasonCode::NotAuthorized
    }
}
