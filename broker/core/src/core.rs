//! The dispatcher: one input in, one step out.

use std::collections::BTreeMap;

use schemas::api::{AlarmSeen, Rfc3339, Scope};
use schemas::cbor::CborError;
use schemas::ids::{CabinetId, Identity, Name, Role, SiteId, TenantId};
use schemas::messages::FleetMillis;
use schemas::step::{RESTORED, Step, Store, StoreError};
use schemas::topics::{Stream, Up};

use crate::cabinet::{Cabinet, Cabinets};
use crate::config::Config;
use crate::deadlines::Deadline;
use crate::effect::Effect;
use crate::identities::Identities;
use crate::input::{Input, Moment};
use crate::intents::Intent;
use crate::jobs::Job;
use crate::keysets::Keysets;
use crate::notify::MessageRef;
use crate::order::Orders;
use crate::signing::{MakeSecrets, Secrets, SignerReply, SignerRequest};
use crate::staff::{Crew, StaffList};
use crate::tables::{CabinetRef, FORMAT, FORMAT_KEY, INTENTS, META, OrderRef, StreamRef};
use crate::turn::{Agenda, Turn};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("read the store")]
    Store(#[from] StoreError),
    #[error("the store has format {found}, this version reads format {FORMAT}: use the version that wrote it")]
    Format { found: u64 },
    #[error("row {key} of table {table} cannot be read")]
    Row {
        table: &'static str,
        key: String,
        #[source]
        source: CborError,
    },
    #[error("row {key} of table {table} belongs to nothing that is known")]
    Stray { table: &'static str, key: String },
}

/// The fleet's state and rules.
///
/// All state is in memory and follows from the rows; whoever fails to commit a step throws the core away and opens
/// it anew. Connections do not outlive that: a cabinet has to say hello again.
pub struct FleetCore {
    pub(crate) config: Config,
    pub(crate) cabinets: BTreeMap<CabinetRef, Cabinet>,
    pub(crate) orders: Orders,
    pub(crate) staff: StaffList,
    pub(crate) couriers: StaffList,
    pub(crate) keysets: Keysets,
    pub(crate) identities: Identities,
    /// The newest alarm about each cabinet, of this run only.
    pub(crate) alarms: BTreeMap<CabinetRef, AlarmSeen>,
    pub(crate) agenda: Agenda,
    pub(crate) is_new: bool,
    /// The first step of this run was taken.
    pub(crate) is_begun: bool,
    /// The store was put back to this moment, and nobody has been told yet.
    pub(crate) restored: Option<FleetMillis>,
}

impl FleetCore {
    /// Reads the state from `store`. What the last run left undone is due at once.
    pub fn open(config: Config, store: &dyn Store) -> Result<Self, OpenError> {
        crate::open::open(config, store)
    }

    /// Takes one fact.
    pub fn handle(&mut self, input: Input, moment: &Moment) -> Step<Effect> {
        let mut agenda = std::mem::take(&mut self.agenda);
        let mut turn = Turn::new(&mut agenda, moment);
        turn.code_form = self.config.code_form;
        if std::mem::take(&mut self.is_new) {
            turn.put(META, FORMAT_KEY, &FORMAT);
        }
        self.orders.see(turn.now);
        if let Some(taken) = self.restored.take() {
            self.put_back(&mut turn, taken);
        }
        if !std::mem::replace(&mut self.is_begun, true)
            && let Some(lost) = self.orders.sites.lost_zones()
        {
            turn.alarm(lost);
        }
        turn.not_due(&Deadline::Start);
        self.deliver(&mut turn);
        self.take(&mut turn, input);
        self.deliver(&mut turn);
        self.ask_signer(&mut turn);
        self.orders.send_messages(&mut turn, &self.config);
        self.alarms.extend(std::mem::take(&mut turn.alarmed));
        let step = turn.finish();
        self.agenda = agenda;
        step
    }

    /// When [`Input::Tick`] is due.
    pub fn poll_timeout(&self) -> Option<FleetMillis> {
        self.agenda.deadlines.first()
    }

    /// Registered cabinets and where they stand, for the gate's admission.
    pub fn cabinets(&self) -> impl Iterator<Item = (&TenantId, &CabinetId, &SiteId)> {
        self.cabinets.iter().map(|(at, cabinet)| (&at.tenant, &at.cabinet, &cabinet.registration().site))
    }

    /// What each person who has not the whole tenant sees, for the gate's live topics.
    pub fn scopes(&self) -> impl Iterator<Item = (&Identity, Scope)> {
        self.identities.scopes()
    }

    /// Certificates issued up to a moment are void, by identity: for the gate's admission.
    pub fn revocations(&self) -> impl Iterator<Item = (&Identity, FleetMillis)> {
        self.identities.revocations()
    }

    /// Cursor (newest acknowledged row) and newest row of a stream; 0 for none.
    pub fn heads(&self, tenant: &TenantId, integration: &Name, stream: Stream) -> (u64, u64) {
        let stream = StreamRef { tenant: tenant.clone(), integration: integration.clone(), stream };
        self.orders.streams.ends(&stream)
    }

    fn take(&mut self, turn: &mut Turn<'_>, input: Input) {
        match input {
            Input::Tick => self.tick(turn),
            Input::Admitted { who, certificate } => {
                let is_new = who.role == Role::Integration && !self.identities.knows(&who);
                let tenant = who.tenant.clone();
                self.identities.admitted(turn, who, certificate);
                if is_new {
                    self.compare_integrations(turn, tenant);
                }
            }
            Input::CabinetConnected { tenant, cabinet } => {
                self.with_cabinet(turn, tenant, cabinet, Cabinet::connected);
            }
            Input::CabinetGone { tenant, cabinet, reason } => {
                if let Some(cabinet) = self.cabinets.get_mut(&CabinetRef::new(tenant, cabinet)) {
                    cabinet.gone(turn, &reason);
                    cabinet.tell_availability(turn);
                }
            }
            Input::CabinetUp { tenant, cabinet, up, payload } => {
                let at = CabinetRef::new(tenant.clone(), cabinet.clone());
                self.with_cabinet(turn, tenant, cabinet, |cabinet, turn| cabinet.up(turn, up, &payload));
                if let (Some(cabinet), Some(chain)) = (self.cabinets.get_mut(&at), self.keysets.of(&at.tenant)) {
                    cabinet.follow_keysets(turn, chain);
                }
                if up == Up::Hello {
                    self.compare_break_glass(turn, &at);
                }
            }
            Input::OrderPut { tenant, integration, payload } => {
                let cabinets = Cabinets(&self.cabinets);
                self.orders.put_payload(turn, &self.config, (tenant, integration), &payload, &cabinets);
            }
            Input::OrderCancel { tenant, integration, payload } => {
                self.orders.cancel_payload(turn, &self.config, (tenant, integration), &payload);
            }
            Input::OrderChange { tenant, integration, change, payload } => {
                let cabinets = Cabinets(&self.cabinets);
                self.orders.wish_payload(turn, &self.config, (tenant, integration), change, &payload, &cabinets);
            }
            Input::Request { ticket, who, payload } => self.request(turn, ticket, who, &payload),
            Input::RowAcked { tenant, integration, stream, n } => {
                let stream = StreamRef { tenant, integration, stream };
                // A notification holds who gets what, and is never handed out again.
                let keep = match stream.stream {
                    Stream::Status => self.config.acked_rows_kept,
                    Stream::Notifications => 0,
                };
                self.orders.streams.acked(turn, &stream, n, keep);
            }
            Input::Signer { ticket, reply } => self.signer(turn, ticket, reply),
            Input::Notified { tenant, id, attempt, outcome } => {
                self.orders.outbox.outcome(turn, &MessageRef { tenant, id }, attempt, outcome);
            }
            Input::Receipt { tenant, id, reference, receipt } => {
                self.orders.outbox.receipt(turn, &MessageRef { tenant, id }, &reference, receipt);
            }
            Input::Enrol { tenant, cabinet, right, issue } => self.issue(turn, (tenant, cabinet), right, issue),
        }
    }

    /// The store is an earlier one than that of the last run. From here on the cabinets' facts win.
    fn put_back(&mut self, turn: &mut Turn<'_>, taken: FleetMillis) {
        let (table, key) = RESTORED;
        turn.remove(table, key);
        turn.alarm(format!(
            "the fleet's store was restored from a backup of {}: every cabinet is compared when it connects; revoke again \
             whoever was revoked since",
            Rfc3339(taken)
        ));
        self.cabinets.values_mut().for_each(|cabinet| cabinet.fleet_put_back(turn));
        self.orders.streams.leap(turn);
        self.orders.outbox.put_back(turn);
    }

    fn with_cabinet(
        &mut self,
        turn: &mut Turn<'_>,
        tenant: TenantId,
        cabinet: CabinetId,
        act: impl FnOnce(&mut Cabinet, &mut Turn<'_>),
    ) {
        match self.cabinets.get_mut(&CabinetRef::new(tenant.clone(), cabinet.clone())) {
            Some(cabinet) => {
                act(cabinet, turn);
                cabinet.tell_availability(turn);
            }
            None => {
                let reason = "the cabinet is not registered: `fleet cabinet add` makes it known".to_owned();
                turn.refuse(reason.clone());
                turn.effect(Effect::CloseCabinet { tenant, cabinet, reason });
            }
        }
    }

    /// Hands intents to their receivers until none is left.
    pub(crate) fn deliver(&mut self, turn: &mut Turn<'_>) {
        while let Some((n, intent)) = turn.agenda.intents.pop() {
            turn.remove(INTENTS, intent.key(n));
            match intent {
                Intent::ToCabinet(to) => {
                    if let Some(cabinet) = self.cabinets.get_mut(&CabinetRef::new(to.tenant, to.cabinet)) {
                        cabinet.take(turn, &self.config, to.body);
                        cabinet.tell_availability(turn);
                    }
                }
                Intent::ToOrder(to) => {
                    let from = CabinetRef::new(to.tenant.clone(), to.cabinet);
                    let at = OrderRef { tenant: to.tenant, order: to.order };
                    self.orders.take(turn, &self.config, &at, &from, to.body, &Cabinets(&self.cabinets));
                }
                Intent::Deliver(to) => self.orders.deliver_for(turn, to),
            }
        }
    }

    fn tick(&mut self, turn: &mut Turn<'_>) {
        while let Some(deadline) = turn.agenda.deadlines.pop_due(turn.now) {
            match deadline {
                Deadline::Start => {}
                Deadline::Retry(job) => turn.agenda.jobs.retry(job),
                Deadline::Time(at) => self.at(&at, |cabinet| cabinet.time_due(turn)),
                Deadline::Asked(at, id) => self.at(&at, |cabinet| cabinet.not_challenged(turn, &id)),
                Deadline::Unlocked(at, id) => self.at(&at, |cabinet| cabinet.not_unlocked(turn, &id)),
                Deadline::Challenge(at, ticket) => self.at(&at, |cabinet| cabinet.challenge_late(turn, ticket)),
                Deadline::BreakGlass(at) => self.compare_break_glass(turn, &at),
                Deadline::Wipe(at) => self.at(&at, |cabinet| cabinet.wipe_due(turn)),
                Deadline::Pin(crew, tenant, name, kind) => self.crew(crew).secret_late(turn, tenant, name, kind),
                Deadline::Window => self.orders.windows_due(turn, &self.config),
                Deadline::WalkIns => self.orders.walk_ins_due(turn, &self.config),
                Deadline::Sweep(tenant) => self.orders.sweep(turn, &self.config, &tenant),
                Deadline::Messages => {}
                Deadline::Retention => self.orders.forget_finished(turn, &self.config),
            }
        }
    }

    /// Walk-ins may have been waiting for an integration that tells their recipients.
    fn compare_integrations(&mut self, turn: &mut Turn<'_>, tenant: TenantId) {
        let only = self.identities.only_integration(&tenant);
        self.orders.set_only_integration(tenant, only);
        if self.orders.holds_walk_ins() {
            turn.due(Deadline::WalkIns, turn.now);
        }
    }

    fn compare_break_glass(&mut self, turn: &mut Turn<'_>, at: &CabinetRef) {
        let wanted = self.config.break_glass;
        self.at(at, |cabinet| cabinet.compare_break_glass(turn, wanted));
    }

    pub(crate) fn crew(&mut self, crew: Crew) -> &mut StaffList {
        match crew {
            Crew::Staff => &mut self.staff,
            Crew::Couriers => &mut self.couriers,
        }
    }

    /// The cabinets where somebody is to be known.
    fn where_known(&mut self, crew: Crew, tenant: &TenantId, name: &Name) -> Vec<CabinetRef> {
        let own = self.cabinets.iter().filter(|(at, _)| at.tenant == *tenant);
        let all: Vec<_> = own.map(|(at, cabinet)| (at.clone(), cabinet.registration().site.clone())).collect();
        let list = self.crew(crew);
        let here = all.into_iter().filter(|(at, site)| list.covers(tenant, name, &at.cabinet, site));
        here.map(|(at, _)| at).collect()
    }

    fn at(&mut self, at: &CabinetRef, act: impl FnOnce(&mut Cabinet)) {
        if let Some(cabinet) = self.cabinets.get_mut(at) {
            act(cabinet);
        }
    }

    /// Sends wanted jobs to the signer. What a job needs is read from the state only now.
    fn ask_signer(&mut self, turn: &mut Turn<'_>) {
        while let Some(job) = turn.agenda.jobs.next() {
            match self.signer_request(&job, turn.now) {
                Some(request) => {
                    let ticket = turn.agenda.jobs.ask(job, request.clone());
                    turn.effect(Effect::Signer { ticket, request });
                }
                None => turn.agenda.jobs.forget(&job),
            }
        }
    }

    fn signer_request(&mut self, job: &Job, now: FleetMillis) -> Option<SignerRequest> {
        match job {
            Job::Command(at, id) => self.cabinets.get(at)?.next_command(id, now),
            Job::Time(at) => self.cabinets.get_mut(at)?.next_time(now),
            Job::Book(at) => self.cabinets.get_mut(at)?.next_book(now),
            Job::Certificate(at) => self.cabinets.get(at)?.next_certificate(),
            Job::Wipe(at) => self.cabinets.get(at)?.next_wipe(now),
            Job::Secrets(at) => self.cabinets.get(at)?.next_secrets(),
            Job::Phone(at) => self.orders.next_phone(at),
            Job::Answer(at) => self.orders.next_answer(at),
            Job::Pin(crew, tenant, name, kind) => self.crew(*crew).next_secret(tenant, name, *kind),
            Job::Bundle(at, kind) => self.orders.bundles.next_secret(at, *kind),
        }
    }

    fn signer(&mut self, turn: &mut Turn<'_>, ticket: u64, reply: SignerReply) {
        // An answer to a question of an earlier run, or a second answer: whatever it was about was asked again.
        let Some((job, request)) = turn.agenda.jobs.answered(ticket) else {
            return;
        };
        let Err(failure) = self.signed(turn, &job, &request, reply) else {
            return;
        };
        turn.alarm(format!("the signer failed: {failure}"));
        // Somebody waits for these, and asks again himself.
        if let Job::Command(at, id) = &job {
            return self.at(at, |cabinet| cabinet.command_unsigned(turn, id, &failure));
        }
        if let Job::Certificate(at) = &job {
            return self.at(at, |cabinet| cabinet.certificate_failed(turn, &failure));
        }
        let wait = turn.agenda.jobs.failed(&job);
        turn.due(Deadline::Retry(job), turn.now.saturating_add(wait));
    }
}

impl FleetCore {
    /// Hands the signer's answer to whoever asked. An answer that is none of use is an error with its reason.
    fn signed(
        &mut self,
        turn: &mut Turn<'_>,
        job: &Job,
        request: &SignerRequest,
        reply: SignerReply,
    ) -> Result<(), String> {
        if let SignerReply::Failed(failed) = reply {
            return Err(failed.reason);
        }
        // Whoever takes the answer may want the same job again for what is left.
        turn.agenda.jobs.forget(job);
        match (job, request, reply) {
            (
                Job::Command(at, id),
                SignerRequest::SignCommand(_) | SignerRequest::SignOpen(_),
                SignerReply::Envelope(made),
            ) => {
                self.at(at, |cabinet| cabinet.command_signed(turn, id, made.envelope));
            }
            (Job::Time(at), SignerRequest::SignTime(_), SignerReply::Envelope(made)) => {
                self.at(at, |cabinet| cabinet.time_signed(turn, made.envelope));
            }
            (Job::Book(at), SignerRequest::SignBook(asked), SignerReply::Envelope(made)) => {
                self.at(at, |cabinet| cabinet.book_signed(turn, &asked.book, made.envelope));
            }
            (Job::Certificate(at), SignerRequest::IssueCertificate(_), SignerReply::Certificate(made)) => {
                self.certificate_made(turn, at, made.certificate);
            }
            (Job::Wipe(at), SignerRequest::SignConfig(_), SignerReply::Envelope(made)) => {
                self.at(at, |cabinet| cabinet.wipe_signed(turn, made.envelope));
            }
            (Job::Secrets(at), SignerRequest::MakeSecrets(asked), SignerReply::Secrets(made))
                if answers(asked, &made) =>
            {
                self.at(at, |cabinet| cabinet.secrets_made(turn, asked, made.items));
            }
            (Job::Bundle(at, kind), SignerRequest::MakeSealed(_), SignerReply::Sealed(made)) => {
                self.orders.bundle_secret_made(turn, at, *kind, made.sealed);
            }
            (Job::Phone(at), SignerRequest::OpenPhone(asked), SignerReply::PhoneOpened(made)) => {
                self.orders.phone_opened(turn, &self.config, at, asked, made.phone.as_deref());
            }
            (Job::Answer(at), SignerRequest::KeepAnswer(asked), SignerReply::AnswerKept(kept)) => {
                self.orders.answer_kept(turn, at, asked, kept);
            }
            (Job::Pin(crew, tenant, name, kind), SignerRequest::MakeSealed(_), SignerReply::Sealed(made)) => {
                if let Some(employ) = self.crew(*crew).secret_made(turn, tenant, name, *kind, made.sealed) {
                    for at in self.where_known(*crew, tenant, name) {
                        turn.send(Intent::to_cabinet(&at, crew.hire(employ.clone())));
                    }
                }
            }
            _ => return Err("its answer does not fit the question".into()),
        }
        Ok(())
    }
}

/// Whether each secret that was asked for was made, but for those that cannot be opened: what else is left out would be
/// asked for again without end.
fn answers(asked: &MakeSecrets, made: &Secrets) -> bool {
    let made: Vec<_> = made.items.iter().map(|made| made.id).collect();
    let owed = asked.items.iter().filter(|asked| asked.sealed.is_none() || made.contains(&asked.id));
    owed.map(|asked| asked.id).eq(made.iter().copied())
}
