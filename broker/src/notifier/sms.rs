//! SMS by gateways that take a POST.

use std::sync::Arc;

use data_encoding::BASE64;
use fleet_core::{Codes, Dispatch, Outcome, Receipt};
use rustls::ClientConfig;
use schemas::api::{Accepted, BodyFormat};
use schemas::web::WebUrl;
use serde_json::Value;

use super::http::{Answer, Post, get, outcome_of, post};
use super::secret::Secret;

const FORM: &str = "application/x-www-form-urlencoded";

/// The form that Twilio takes. The gateway's id of the message is `sid`.
pub(super) async fn twilio(
    dispatch: &Dispatch,
    codes: &Codes,
    url: &WebUrl,
    (account, from): (&str, &str),
    secret: &Secret,
    tls: Option<&Arc<ClientConfig>>,
) -> Outcome {
    let url = url.at(format!("/2010-04-01/Accounts/{account}/Messages.json"));
    let text = dispatch.text(codes);
    let body = form([("To", dispatch.to.as_str()), ("From", from), ("Body", &text)].into_iter());
    let headers = vec![("authorization", basic(account, secret)), ("idempotency-key", dispatch.id.clone())];
    match post(Post { url: &url, content_type: FORM, headers, body: body.into_bytes() }, tls).await {
        Ok(answer) => twilio_said(&answer),
        Err(outcome) => outcome,
    }
}

fn basic(account: &str, secret: &Secret) -> String {
    format!("Basic {}", BASE64.encode(format!("{account}:{}", secret.reveal()).as_bytes()))
}

/// Reads the resource of a message, whose `reference` has letters and digits only.
pub(super) async fn twilio_receipt(
    reference: &str,
    url: &WebUrl,
    account: &str,
    secret: &Secret,
    tls: Option<&Arc<ClientConfig>>,
) -> Receipt {
    let url = url.at(format!("/2010-04-01/Accounts/{account}/Messages/{reference}.json"));
    match get(&url, vec![("authorization", basic(account, secret))], tls).await {
        Ok(answer) => receipt_said(reference, &answer),
        Err(_) => Receipt::NotYet,
    }
}

/// Only a message of that name that is over says anything.
fn receipt_said(reference: &str, answer: &Answer) -> Receipt {
    let said: Value = serde_json::from_slice(answer.body.as_deref().unwrap_or_default()).unwrap_or_default();
    if !(200..300).contains(&answer.status) || said["sid"].as_str() != Some(reference) {
        return Receipt::NotYet;
    }
    match said["status"].as_str() {
        Some("delivered" | "read") => Receipt::Delivered,
        Some("undelivered" | "failed" | "canceled") => {
            let code = said["error_code"].as_i64().filter(|code| (1..100_000).contains(code));
            let code = code.map(|code| format!(", code {code}")).unwrap_or_default();
            Receipt::Undelivered { detail: format!("not delivered{code}") }
        }
        Some(_) | None => Receipt::NotYet,
    }
}

/// A success may have an error inside, and is none without a `sid`.
fn twilio_said(answer: &Answer) -> Outcome {
    let said: Value = serde_json::from_slice(answer.body.as_deref().unwrap_or_default()).unwrap_or_default();
    let code = ["error_code", "code"].iter().find_map(|field| said[*field].as_i64());
    // Theirs have five digits: what has more may be a pickup code or a number.
    let (is_error, code) = (code.is_some(), code.filter(|code| (1..100_000).contains(code)));
    if !(200..300).contains(&answer.status) {
        return outcome_of(answer.status, code);
    }
    let failed = matches!(said["status"].as_str(), Some("failed" | "undelivered" | "canceled"));
    match said["sid"].as_str() {
        _ if is_error || failed => {
            let code = code.map(|code| format!(", code {code}")).unwrap_or_default();
            Outcome::Refused { detail: format!("HTTP {} with an error inside{code}", answer.status) }
        }
        Some(sid) if is_reference(sid) => Outcome::Accepted { reference: Some(sid.to_owned()) },
        Some(_) | None => Outcome::Unknown { detail: format!("HTTP {} without a message in it", answer.status) },
    }
}

/// Any gateway: a body by template, and what says that it was accepted.
pub(super) async fn generic(
    dispatch: &Dispatch,
    codes: &Codes,
    url: &WebUrl,
    (format, body): (BodyFormat, &Value),
    (header, secret): (Option<&str>, &Secret),
    accepted: &Accepted,
    tls: Option<&Arc<ClientConfig>>,
) -> Outcome {
    let text = dispatch.text(codes);
    let filled = fill(body, &[("{to}", &dispatch.to), ("{text}", &text), ("{id}", &dispatch.id)]);
    let (content_type, body) = match format {
        BodyFormat::Json => ("application/json", filled.to_string()),
        BodyFormat::Form => {
            let fields = filled.as_object().into_iter().flatten();
            (FORM, form(fields.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))))
        }
    };
    let mut headers = vec![("idempotency-key", dispatch.id.clone())];
    if !secret.reveal().is_empty() {
        headers.push((header.unwrap_or("authorization"), secret.reveal().to_owned()));
    }
    match post(Post { url, content_type, headers, body: body.into_bytes() }, tls).await {
        Ok(answer) => generic_said(&answer, accepted),
        Err(outcome) => outcome,
    }
}

fn generic_said(answer: &Answer, accepted: &Accepted) -> Outcome {
    if !accepted.statuses.contains(&answer.status) {
        return match answer.status {
            200..300 => Outcome::Refused { detail: format!("HTTP {}", answer.status) },
            status => outcome_of(status, None),
        };
    }
    let said: Value = serde_json::from_slice(answer.body.as_deref().unwrap_or_default()).unwrap_or_default();
    if accepted.pointer.is_some() && answer.body.is_none() {
        return Outcome::Unknown { detail: format!("HTTP {}, and an answer that broke off", answer.status) };
    }
    if let Some(pointer) = &accepted.pointer {
        let found = said.pointer(pointer);
        let holds = match &accepted.value {
            Some(wanted) => found.is_some_and(|found| is_same(found, wanted)),
            None => found.is_some_and(|found| !found.is_null()),
        };
        if !holds {
            return Outcome::Refused { detail: format!("HTTP {} with an error inside", answer.status) };
        }
    }
    let reference = accepted.reference.as_ref().and_then(|pointer| said.pointer(pointer));
    let reference = reference.map(|found| found.as_str().map_or_else(|| found.to_string(), str::to_owned));
    Outcome::Accepted { reference: reference.filter(|reference| is_reference(reference)) }
}

/// `"0"` is what an operator writes for 0, and some gateways too.
fn is_same(found: &Value, wanted: &Value) -> bool {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    found == wanted || text(found) == text(wanted) && !found.is_object() && !found.is_array()
}

/// A name, and nothing that might be an address or a text.
fn is_reference(text: &str) -> bool {
    let named = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    (1..=128).contains(&text.len()) && named
}

/// Each text once: what is filled in is not looked at again.
fn fill(value: &Value, fields: &[(&str, &str)]) -> Value {
    match value {
        Value::String(text) => Value::String(fill_text(text, fields)),
        Value::Array(items) => items.iter().map(|item| fill(item, fields)).collect(),
        Value::Object(all) => {
            Value::Object(all.iter().map(|(name, item)| (name.clone(), fill(item, fields))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn fill_text(text: &str, fields: &[(&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let field = fields.iter().find(|(field, _)| rest.starts_with(field));
        let (put, read) = field.map_or(("{", 1), |(field, value)| (*value, field.len()));
        filled.push_str(put);
        rest = &rest[read..];
    }
    filled.push_str(rest);
    filled
}

fn form<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    fields.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect::<Vec<_>>().join("&")
}

/// application/x-www-form-urlencoded, as the URL standard has it.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b' ' => "+".to_owned(),
            byte if byte.is_ascii_alphanumeric() || b"*-._".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: Some(body.to_owned().into()) }
    }

    #[test]
    fn a_success_with_an_error_inside_is_none() {
        let accepted = Outcome::Accepted { reference: Some("SM1".into()) };
        assert_eq!(twilio_said(&answer(201, r#"{"sid":"SM1","status":"queued","error_code":null}"#)), accepted);
        for (status, body, outcome) in [
            (
                200,
                r#"{"sid":"SM1","status":"failed","error_code":30003}"#,
                "Refused { detail: \"HTTP 200 with an error inside, code 30003\" }",
            ),
            (
                200,
                r#"{"error_code":21211,"message":"+49 151 is no number"}"#,
                "Refused { detail: \"HTTP 200 with an error inside, code 21211\" }",
            ),
            (200, "<html>welcome</html>", "Unknown { detail: \"HTTP 200 without a message in it\" }"),
            (400, r#"{"code":21211,"message":"+49 151 is no number"}"#, "Refused { detail: \"HTTP 400, code 21211\" }"),
            (400, r#"{"code":12345678}"#, "Refused { detail: \"HTTP 400\" }"),
            (401, "{}", "Failed { detail: \"HTTP 401\" }"),
            (402, "{}", "Failed { detail: \"HTTP 402\" }"),
            (429, "{}", "Failed { detail: \"HTTP 429\" }"),
            (302, "", "Failed { detail: \"HTTP 302\" }"),
            (500, "", "Unknown { detail: \"HTTP 500\" }"),
        ] {
            assert_eq!(format!("{:?}", twilio_said(&answer(status, body))), outcome, "{status} {body}");
        }
    }

    #[test]
    fn a_receipt_is_that_of_the_message_and_of_one_that_is_over() {
        let said = |status: u16, body: &str| receipt_said("SM1", &answer(status, body));
        assert_eq!(said(200, r#"{"sid":"SM1","status":"delivered","error_code":null}"#), Receipt::Delivered);
        for (body, detail) in [
            (r#"{"sid":"SM1","status":"undelivered","error_code":30003}"#, "not delivered, code 30003"),
            (r#"{"sid":"SM1","status":"failed","error_code":12345678,"to":"+49"}"#, "not delivered"),
            (r#"{"sid":"SM1","status":"canceled"}"#, "not delivered"),
        ] {
            assert_eq!(said(200, body), Receipt::Undelivered { detail: detail.to_owned() }, "{body}");
        }
        for (status, body) in [
            (200, r#"{"sid":"SM2","status":"delivered"}"#),
            (200, r#"{"status":"failed"}"#),
            (200, r#"{"sid":"SM1","status":"sent"}"#),
            (200, r#"{"sid":"SM1"}"#),
            (200, "welcome"),
            (404, r#"{"sid":"SM1","status":"failed"}"#),
            (500, ""),
        ] {
            assert_eq!(said(status, body), Receipt::NotYet, "{status} {body}");
        }
        let cut = Answer { status: 200, body: None };
        assert_eq!(receipt_said("SM1", &cut), Receipt::NotYet);
    }

    #[test]
    fn what_counts_as_accepted_is_the_channels_own() {
        let by = |json: &str| serde_json::from_str::<Accepted>(json).unwrap();
        let rule = by(r#"{"pointer":"/messages/0/status","value":"0","reference":"/messages/0/id"}"#);
        let good = generic_said(&answer(200, r#"{"messages":[{"status":0,"id":"a-1"}]}"#), &rule);
        assert_eq!(good, Outcome::Accepted { reference: Some("a-1".into()) });
        for body in [r#"{"messages":[{"status":"4","id":"a-1"}]}"#, "{}", "OK"] {
            assert!(matches!(generic_said(&answer(200, body), &rule), Outcome::Refused { .. }), "{body}");
        }
        let cut = Answer { status: 200, body: None };
        assert!(matches!(generic_said(&cut, &rule), Outcome::Unknown { .. }), "it may have been taken");
        assert!(matches!(generic_said(&cut, &by("{}")), Outcome::Accepted { .. }));
        let odd = generic_said(&answer(200, r#"{"messages":[{"status":"0","id":"to +49 151"}]}"#), &rule);
        assert_eq!(odd, Outcome::Accepted { reference: None });
        assert!(matches!(generic_said(&answer(202, ""), &by(r#"{"statuses":[200]}"#)), Outcome::Refused { .. }));
        assert!(matches!(generic_said(&answer(503, ""), &by("{}")), Outcome::Unknown { .. }));
        assert!(matches!(generic_said(&answer(200, "OK"), &by("{}")), Outcome::Accepted { reference: None }));
    }

    #[test]
    fn a_body_is_filled_once_and_escaped_by_its_format() {
        let body = serde_json::json!({"to": ["{to}"], "m": {"text": "{x} \"{text}\" {id}", "n": 1}});
        let filled = fill(&body, &[("{to}", "+49"), ("{text}", "a \"b\" {to}"), ("{id}", "m1")]);
        assert_eq!(filled, serde_json::json!({"to": ["+49"], "m": {"text": "{x} \"a \"b\" {to}\" m1", "n": 1}}));
        assert_eq!(form([("a b", "+49 ä&=")].into_iter()), "a+b=%2B49+%C3%A4%26%3D");
    }
}
