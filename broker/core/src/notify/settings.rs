//! Channels and templates of the tenants: what an operator puts.

use std::collections::BTreeMap;

use schemas::api::{
    CHANNELS_MAX, Channel, ChannelError, Language, MessageTemplate, NotificationKind, ReplyError, RequestErrorCode,
    SUBJECT_MAX, TEMPLATE_MAX, TEMPLATES_MAX, TemplateShown,
};
use schemas::cbor_map;
use schemas::ids::{Name, TenantId};

use super::defaults;
use super::instructions::how;
use super::template::{Carries, Fields, Template};
use crate::requests::error;
use crate::tables::{CHANNELS, TEMPLATES};
use crate::turn::Turn;

cbor_map! {
    /// JSON, because a gateway's body is JSON.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct ChannelRow { 1 => json: String }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct TemplateRow { 1 => text: String, 2 opt => subject: Option<String> }
}

#[derive(Default)]
pub(crate) struct Channels(BTreeMap<TenantId, BTreeMap<Name, Channel>>);

impl Channels {
    /// False: the row is none that this version can use.
    pub(crate) fn restore(&mut self, tenant: TenantId, row: &ChannelRow) -> bool {
        match serde_json::from_str::<Channel>(&row.json) {
            // A sender that was taken before senders were looked at so closely goes on.
            Ok(channel) if matches!(channel.check(), Ok(()) | Err(ChannelError::Sender)) => {
                self.0.entry(tenant).or_default().insert(channel.name.clone(), channel);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    pub(crate) fn put(&mut self, turn: &mut Turn<'_>, tenant: &TenantId, channel: Channel) -> Result<(), ReplyError> {
        let hint = "`fleet notify channel put --help` has one of each kind";
        channel.check().map_err(|why| error(RequestErrorCode::Malformed, why.to_string(), hint))?;
        let own = self.0.entry(tenant.clone()).or_default();
        if !own.contains_key(&channel.name) && own.len() >= CHANNELS_MAX {
            let text = format!("a tenant has at most {CHANNELS_MAX} channels");
            return Err(error(
                RequestErrorCode::Conflict,
                text,
                "remove one that is not used: `fleet notify channel list`",
            ));
        }
        let json =
            serde_json::to_string(&channel).map_err(|why| error(RequestErrorCode::Malformed, why.to_string(), hint))?;
        turn.put(CHANNELS, key(tenant, channel.name.as_str()), &ChannelRow { json });
        own.insert(channel.name.clone(), channel);
        Ok(())
    }

    pub(crate) fn remove(&mut self, turn: &mut Turn<'_>, tenant: &TenantId, name: &Name) -> Result<(), ReplyError> {
        self.find(tenant, name)?;
        turn.remove(CHANNELS, key(tenant, name.as_str()));
        if let Some(own) = self.0.get_mut(tenant) {
            own.remove(name);
        }
        Ok(())
    }

    pub(crate) fn find(&self, tenant: &TenantId, name: &Name) -> Result<&Channel, ReplyError> {
        let found = self.0.get(tenant).and_then(|own| own.get(name));
        found.ok_or_else(|| {
            let text = format!("there is no channel {name}");
            error(RequestErrorCode::Unknown, text, "`fleet notify channel list` shows all of them")
        })
    }

    /// In the order in which they are tried.
    pub(crate) fn list(&self, tenant: &TenantId) -> Vec<&Channel> {
        let mut all: Vec<_> = self.0.get(tenant).into_iter().flat_map(BTreeMap::values).collect();
        all.sort_by_key(|channel| channel.rank);
        all
    }

    /// The same, for orders of an integration.
    pub(crate) fn of(&self, tenant: &TenantId, integration: &Name) -> Vec<&Channel> {
        let mut all = self.list(tenant);
        all.retain(|channel| channel.integrations.is_empty() || channel.integrations.contains(integration));
        all
    }
}

#[derive(Default)]
pub(crate) struct Templates(BTreeMap<TenantId, BTreeMap<(NotificationKind, Language), TemplateRow>>);

/// A message as it reads, cut where the code belongs.
pub(crate) struct Written {
    pub(crate) text: Vec<String>,
    pub(crate) subject: String,
}

/// What is used for a kind and a language.
struct Chosen {
    language: String,
    text: String,
    subject: String,
    is_default: bool,
}

impl Templates {
    pub(crate) fn restore(&mut self, tenant: TenantId, kind: NotificationKind, language: Language, row: TemplateRow) {
        self.0.entry(tenant).or_default().insert((kind, language), row);
    }

    pub(crate) fn put(
        &mut self,
        turn: &mut Turn<'_>,
        tenant: &TenantId,
        put: MessageTemplate,
    ) -> Result<(), ReplyError> {
        let refuse = |what: String| {
            let hint = "the fields are {code}, {place}, {compartment}, {until}, {order}, {instruction}, {doors}; what is in [ ] is \
                        left out where its field is empty";
            error(RequestErrorCode::Malformed, what, hint)
        };
        let MessageTemplate { kind, language, text, subject } = put;
        Template::parse(&text, TEMPLATE_MAX, carries(kind)).map_err(|why| refuse(format!("text, {why}")))?;
        if let Some(subject) = &subject {
            Template::parse(subject, SUBJECT_MAX, Carries::Never).map_err(|why| refuse(format!("subject, {why}")))?;
        }
        let own = self.0.entry(tenant.clone()).or_default();
        let at = (kind, language);
        if !own.contains_key(&at) && own.len() >= TEMPLATES_MAX {
            let text = format!("a tenant has at most {TEMPLATES_MAX} templates");
            return Err(error(RequestErrorCode::Conflict, text, "remove one that is not used"));
        }
        let row = TemplateRow { text, subject };
        turn.put(TEMPLATES, template_key(tenant, kind, &at.1), &row);
        own.insert(at, row);
        Ok(())
    }

    pub(crate) fn remove(
        &mut self,
        turn: &mut Turn<'_>,
        tenant: &TenantId,
        kind: NotificationKind,
        language: &Language,
    ) -> Result<(), ReplyError> {
        let own = self.0.get_mut(tenant);
        if own.and_then(|own| own.remove(&(kind, language.clone()))).is_none() {
            let text = format!("there is no template of {kind} in {language}");
            return Err(error(RequestErrorCode::Unknown, text, "the defaults cannot be removed"));
        }
        turn.remove(TEMPLATES, template_key(tenant, kind, language));
        Ok(())
    }

    pub(crate) fn show(&self, tenant: &TenantId, kind: NotificationKind, language: &Language) -> TemplateShown {
        let chosen = self.choose(tenant, kind, Some(language));
        let example = Fields {
            place: "Main Street 1".into(),
            compartment: "7".into(),
            until: "2026-11-25 20:00 CET".into(),
            order: "A17".into(),
            instruction: how(&chosen.language).into(),
            doors: String::new(),
        };
        let Written { text, subject } = chosen.written(&example);
        let language = chosen.language.parse().unwrap_or_else(|_| language.clone());
        let template = MessageTemplate { kind, language, text: chosen.text, subject: Some(chosen.subject) };
        let preview = text.join("12345678");
        TemplateShown { template, is_default: chosen.is_default, preview, preview_subject: subject }
    }

    /// `fields` gets the tag of the template's language.
    pub(crate) fn write(
        &self,
        tenant: &TenantId,
        kind: NotificationKind,
        language: Option<&Language>,
        fields: impl FnOnce(&str) -> Fields,
    ) -> Written {
        let chosen = self.choose(tenant, kind, language);
        chosen.written(&fields(&chosen.language))
    }

    /// The tenant's own before the default, the language before it without its country, any of these before English.
    fn choose(&self, tenant: &TenantId, kind: NotificationKind, language: Option<&Language>) -> Chosen {
        let own = self.0.get(tenant);
        let wanted = language.map(|language| [language.as_str(), language.base()]).unwrap_or(["en"; 2]);
        for tag in [wanted[0], wanted[1], "en"] {
            let named = tag.parse::<Language>().ok().and_then(|tag| own?.get(&(kind, tag)));
            let default = defaults::text_of(tag, kind);
            let subject = || default.or_else(|| defaults::text_of("en", kind)).map(|(_, subject)| subject.to_owned());
            if let Some(row) = named {
                let subject = row.subject.clone().or_else(subject).unwrap_or_default();
                return Chosen { language: tag.to_owned(), text: row.text.clone(), subject, is_default: false };
            }
            if let Some((text, subject)) = default {
                let (text, subject) = (text.to_owned(), subject.to_owned());
                return Chosen { language: tag.to_owned(), text, subject, is_default: true };
            }
        }
        let (language, text, subject) = ("en".to_owned(), "{code}".to_owned(), "{order}".to_owned());
        Chosen { language, text, subject, is_default: true }
    }
}

impl Chosen {
    fn written(&self, fields: &Fields) -> Written {
        let read = |text: &str, carries| Template::parse(text, usize::MAX, carries).map(|read| read.fill(fields));
        // Read when it was put; a row that an other version has put and that this one cannot read still has the code.
        let text = read(&self.text, Carries::May).unwrap_or_else(|_| vec![String::new(); 2]);
        let subject = read(&self.subject, Carries::Never).map(|parts| parts.concat()).unwrap_or_default();
        Written { text, subject }
    }
}

/// What a bundle's holder is told about a changed list may go without the code, which is the same.
fn carries(kind: NotificationKind) -> Carries {
    match kind {
        NotificationKind::PickupCode
        | NotificationKind::Reminder
        | NotificationKind::DepositCode
        | NotificationKind::BundleCode => Carries::Must,
        NotificationKind::BundleChanged => Carries::May,
    }
}

fn key(tenant: &TenantId, rest: &str) -> String {
    format!("{tenant}/{rest}")
}

fn template_key(tenant: &TenantId, kind: NotificationKind, language: &Language) -> String {
    key(tenant, &format!("{kind}/{language}"))
}
