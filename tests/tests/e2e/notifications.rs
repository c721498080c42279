//! Messages that the fleet itself sends to people, by gateways and mail servers that fail in every way.

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use data_encoding::{BASE64, BASE64_MIME_PERMISSIVE};
use fleet_cli::stage::{CabinetPlan, Stage};
use fleet_tests::{Look, Site, World, order, until};
use hmac::{Hmac, KeyInit as _, Mac as _};
use schemas::api::{Notification, OrderState, Recipient};
use schemas::ids::Role;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::gateways::{Gateway, MailServer, Request, Turn};
use crate::shell::Shell;

const HOOK_KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";
const PASSWORD: &str = "hunter2-and-more";
const PHONE: &str = "0151 / 123 456-78";

fn ok() -> Turn {
    Turn::Answer(200, String::new())
}

fn taken(sid: &str) -> Turn {
    Turn::Answer(201, json!({ "sid": sid, "status": "queued", "error_code": null }).to_string())
}

/// A fleet whose broker logs all that it can say, and trusts servers of the fleet's own CA.
async fn start() -> anyhow::Result<(World, Shell)> {
    let stage = Stage::set_up("acme")?;
    let path = stage.layout().broker_toml();
    let text = std::fs::read_to_string(&path)?.replace("filter = \"info\"", "filter = \"debug\"");
    std::fs::write(&path, text + "\n[notify]\nroots = \"root.crt\"\n")?;
    let world = World::start_on(stage).await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    Ok((world, operator))
}

/// Writes what only the broker's host knows.
fn secret(world: &World, name: &str, origin: &str, secret: &str) -> anyhow::Result<PathBuf> {
    let folder = world.stage.layout().broker().join("notify/acme");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&path)?;
    std::io::Write::write_all(&mut file, format!("{origin}\n{secret}\n").as_bytes())?;
    Ok(path)
}

async fn put_channel(operator: &Shell, toml: &str) -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), toml)?;
    let said = operator.json(&["notify", "channel", "put", file.path().to_str().context("a path")?]).await?;
    ensure!(said == "done", "{said}");
    Ok(())
}

async fn store(world: &mut World, site: &Site, id: &str, recipient: Recipient) -> anyhow::Result<Notification> {
    let mut put = order(id, site.name(), "S");
    put.recipient = recipient;
    world.shop.put(&put).await?;
    site.load(&format!("shop/{id}")).await?;
    world.shop.until_state(id, OrderState::Stored).await?;
    world.shop.until_notified(id).await
}

fn by_phone() -> Recipient {
    Recipient { phone: Some(PHONE.to_owned()), email: None, language: Some("de".to_owned()) }
}

fn by_mail(address: &str) -> Recipient {
    Recipient { phone: None, email: Some(address.to_owned()), language: None }
}

/// As a receiver would check it that has only read the convention.
fn check_signature(request: &Request) -> anyhow::Result<Value> {
    let header = |name: &str| request.headers.get(name).with_context(|| format!("no {name}"));
    let signed = format!("{}.{}.{}", header("webhook-id")?, header("webhook-timestamp")?, request.body);
    let mut mac = Hmac::<Sha256>::new_from_slice(&BASE64.decode(HOOK_KEY.as_bytes())?)?;
    mac.update(signed.as_bytes());
    let expected = format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()));
    ensure!(*header("webhook-signature")? == expected, "another signature");
    Ok(serde_json::from_str(&request.body)?)
}

fn form(body: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| {
        let bytes = text.replace('+', " ").into_bytes();
        let (mut out, mut at) = (Vec::new(), 0);
        while let Some(byte) = bytes.get(at) {
            let hex = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
            let decoded = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
            out.push(decoded.unwrap_or(*byte));
            at += if decoded.is_some() { 3 } else { 1 };
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    body.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (decode(name), decode(value))).collect()
}

/// States of the messages about an order, by the list that staff see.
async fn until_state(operator: &Shell, order: &str, state: &str) -> anyhow::Result<Value> {
    until(&format!("the message about {order} is {state}"), async || {
        let list = operator.json(&["notify", "list", "--order", &format!("shop/{order}")]).await?;
        let all = list["messages"]["messages"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|message| message["state"] == state);
        Ok(Look::at(found, || list.to_string()))
    })
    .await
}

/// Neither a code nor an address nor a secret is in a log.
fn check_logs(world: &World, told: &[&Notification], more: &[&str]) -> anyhow::Result<()> {
    let mut logs = 0;
    for entry in std::fs::read_dir(world.stage.folder())? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        logs += 1;
        let codes = told.iter().flat_map(|told| [told.code.as_str(), told.qr.as_str()]);
        for hidden in codes.chain(more.iter().copied()).chain(["15112345678", "123 456-78", PASSWORD, HOOK_KEY]) {
            ensure!(!text.contains(hidden), "`{hidden}` is in {}", path.display());
        }
    }
    ensure!(logs >= 2, "only {logs} logs");
    Ok(())
}

#[tokio::test]
async fn a_webhook_over_tls_is_signed_and_repeated_with_the_same_bytes_until_it_is_taken() -> anyhow::Result<()> {
    let (mut world, operator) = start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let broker = world.stage.layout().broker();
    let gateway = Gateway::start_tls(ok(), &broker.join("server.crt"), &broker.join("server.key")).await?;
    let path = secret(&world, "hook", &format!("{}/lockers?a=b", gateway.url), &format!("whsec_{HOOK_KEY}"))?;
    let via = format!("[via]\nkind = \"webhook\"\nurl = \"{}/lockers?a=b\"\n", gateway.url);
    put_channel(&operator, &format!("name = \"hook\"\nsecret = \"hook\"\n{via}")).await?;

    // The gateway reads it and is gone; then it fails; then it takes it.
    gateway.then([Turn::Cut, Turn::Answer(503, "later".into())]);
    let told = store(&mut world, &site, "A17", by_phone()).await?;
    let all = gateway.until(3).await?;
    ensure!(all[0].path == "/lockers?a=b" && all[0].headers["content-type"] == "application/json", "{all:?}");
    for request in &all {
        let body = check_signature(request)?;
        ensure!(request.headers["webhook-id"] == all[0].headers["webhook-id"] && request.body == all[0].body);
        ensure!(body["type"] == "notification.pickup_code" && body["data"]["id"] == told.id.as_str(), "{body}");
        ensure!(
            body["data"]["code"] == told.code.as_str() && body["data"]["n"] == told.n && body["integration"] == "shop"
        );
        ensure!(
            body["text"]
                .as_str()
                .is_some_and(|text| text.starts_with("Ihre Bestellung A17") && text.contains(&told.code))
        );
    }
    until_state(&operator, "A17", "accepted").await?;

    // Killed while the gateway thinks: nobody knows whether it was taken.
    gateway.then([Turn::Hang]);
    let second = store(&mut world, &site, "A18", by_phone()).await?;
    gateway.until(4).await?;
    world.stage.kill_broker().await?;
    world.start_broker().await?;
    let all = gateway.until(5).await?;
    check_signature(&all[4])?;
    ensure!(all[3].headers["webhook-id"] == all[4].headers["webhook-id"] && all[3].body == all[4].body, "{all:?}");
    ensure!(all[3].headers["webhook-id"] != all[0].headers["webhook-id"]);
    until_state(&operator, "A18", "accepted").await?;

    // A broker that stops in good order hears what it has asked for; what is accepted is accepted.
    gateway.then([Turn::Slow(1_500)]);
    let third = store(&mut world, &site, "A19", by_phone()).await?;
    gateway.until(6).await?;
    world.stage.stop_broker().await?;
    world.start_broker().await?;
    until_state(&operator, "A19", "accepted").await?;
    gateway.then_usual();
    let tested = operator.json(&["notify", "test", "--channel", "hook"]).await?;
    ensure!(tested["tested"]["accepted"] == true, "{tested}");
    let all = gateway.requests();
    let test = check_signature(all.last().context("a request")?)?;
    ensure!(all.len() == 7 && test["test"] == true && test["data"]["code"] == "000000", "{test}");

    // A file that is open to others, or for another server, is not used.
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    operator.run(&["notify", "test", "--channel", "hook"]).await.map(drop)?;
    secret(&world, "hook", &format!("{}/other", gateway.url), &format!("whsec_{HOOK_KEY}"))?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let output = operator.run(&["notify", "test", "--channel", "hook"]).await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.code() == Some(1) && said.contains("the secret is for another server"), "{output:?}");
    ensure!(gateway.requests().len() == 7);

    site.collect(&told.code).await?;
    world.shop.until_state("A17", OrderState::Collected).await?;
    check_logs(&world, &[&told, &second, &third], &[])
}

#[tokio::test]
async fn an_sms_that_is_refused_inside_a_success_goes_out_as_mail_and_what_bounces_is_listed() -> anyhow::Result<()> {
    let (mut world, operator) = start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let (sms, mail) = (Gateway::start(taken("SM1")).await?, MailServer::start().await?);
    secret(&world, "sms", &sms.url, PASSWORD)?;
    secret(&world, "mail", &format!("smtp://{}", mail.address), PASSWORD)?;
    let home = "home = { country_code = \"49\", trunk = \"0\" }";
    let via =
        format!("[via]\nkind = \"sms_twilio\"\nurl = \"{}\"\naccount = \"AC1\"\nfrom = \"Lockers\"\n{home}\n", sms.url);
    put_channel(&operator, &format!("name = \"sms\"\nrank = 1\nsecret = \"sms\"\nplain = true\n{via}")).await?;
    let from = "Lockers <lockers@example.com>";
    let via = format!("[via]\nkind = \"email\"\nhost = \"{}\"\nuser = \"me\"\nfrom = \"{from}\"\n", mail.address);
    put_channel(&operator, &format!("name = \"mail\"\nsecret = \"mail\"\nplain = true\n{via}")).await?;

    let first = store(&mut world, &site, "A17", by_phone()).await?;
    let request = sms.until(1).await?.remove(0);
    let fields = form(&request.body);
    ensure!(request.path == "/2010-04-01/Accounts/AC1/Messages.json", "{request:?}");
    ensure!(
        request.headers["authorization"] == format!("Basic {}", BASE64.encode(format!("AC1:{PASSWORD}").as_bytes()))
    );
    ensure!(fields["To"] == "+4915112345678" && fields["From"] == "Lockers" && fields["Body"].contains(&first.code));
    let accepted = until_state(&operator, "A17", "accepted").await?;
    ensure!(accepted["reference"] == "SM1" && accepted["channel"] == "sms", "{accepted}");

    // An error inside of a success; and the mail server reads the mail and is gone.
    sms.then([Turn::Answer(
        200,
        json!({ "sid": "SM2", "error_code": 30003, "message": "to +4915112345678" }).to_string(),
    )]);
    mail.cut_next();
    let both = Recipient { email: Some("kim@example.com".to_owned()), ..by_phone() };
    let second = store(&mut world, &site, "A18", both).await?;
    let mails = mail.until(2).await?;
    let id = |text: &str| text.lines().find(|line| line.starts_with("Message-ID: ")).map(str::to_owned);
    for mail in &mails {
        let (head, body) = mail.text.split_once("\r\n\r\n").context("a body")?;
        let text = String::from_utf8(BASE64_MIME_PERMISSIVE.decode(body.as_bytes())?)?;
        ensure!(mail.to == "kim@example.com" && text.contains(&second.code), "{mail:?}");
        ensure!(head.contains("Subject: Abholbereit: A18") && head.contains(&format!("From: {from}")), "{head}");
        ensure!(id(&mail.text).is_some() && id(&mail.text) == id(&mails[0].text), "{mails:?}");
    }
    let accepted = until_state(&operator, "A18", "accepted").await?;
    ensure!(accepted["channel"] == "mail" && sms.requests().len() == 2, "{accepted}");
    let login = format!("AUTH PLAIN {}", BASE64.encode(format!("\0me\0{PASSWORD}").as_bytes()));
    ensure!(mail.logins().contains(&login), "{:?}", mail.logins());

    // Nobody has this name; and a number that is none.
    let third = store(&mut world, &site, "A19", by_mail("bounce@example.com")).await?;
    let message = until_state(&operator, "A19", "undelivered").await?;
    ensure!(message["reason"] == "refused" && message["detail"] == "SMTP 550", "{message}");
    let nobody = Recipient { phone: Some("see notes".to_owned()), ..Recipient::default() };
    let fourth = store(&mut world, &site, "A20", nobody).await?;
    let staff = Shell::of(&world, Role::Support, "sue")?;
    let list = staff.json(&["notify", "list", "--undelivered"]).await?;
    let all = list["messages"]["messages"].as_array().context("a list")?;
    let reasons: BTreeMap<_, _> = all.iter().map(|one| (one["order"].as_str(), one["reason"].as_str())).collect();
    ensure!(reasons == [(Some("shop/A19"), Some("refused")), (Some("shop/A20"), Some("bad_number"))].into(), "{list}");
    ensure!(!list.to_string().contains("bounce") && !list.to_string().contains("notes"), "{list}");
    // Whoever came for it all the same misses no message.
    site.collect(&third.code).await?;
    world.shop.until_state("A19", OrderState::Collected).await?;
    let list = staff.json(&["notify", "list", "--undelivered"]).await?;
    ensure!(list["messages"]["messages"].as_array().is_some_and(|all| all.len() == 1), "{list}");
    check_logs(&world, &[&first, &second, &third, &fourth], &["bounce@", "kim@example.com", "see notes"])
}

#[tokio::test]
async fn any_gateway_is_spoken_to_by_template_and_a_wrong_template_is_refused() -> anyhow::Result<()> {
    let (mut world, operator) = start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let sms =
        Gateway::start(Turn::Answer(200, json!({ "results": [{ "status": 0, "id": "a-1" }] }).to_string())).await?;
    secret(&world, "sms", &format!("{}/send", sms.url), &format!("Key {PASSWORD}"))?;
    let channel = format!(
        "name = \"sms\"\nsecret = \"sms\"\nplain = true\n[via]\nkind = \"sms_http\"\nurl = \"{}/send\"\nheader = \"x-api-key\"\n\
         body = {{ messages = [{{ to = \"{{to}}\", text = \"{{text}}\", ref = \"{{id}}\" }}] }}\n\
         accepted = {{ pointer = \"/results/0/status\", value = \"0\", reference = \"/results/0/id\" }}\n",
        sms.url
    );
    put_channel(&operator, &channel).await?;
    let put = ["notify", "template", "put", "pickup_code", "en", "--text"];
    let refused = [&put[..], &["Code {cod}"]].concat();
    operator.fails(&refused, 1, "text, character 6: there is no such field").await?;
    operator.fails(&[&put[..], &["at {place}"]].concat(), 1, "{code} is missing").await?;
    operator.json(&[&put[..], &["\"{code}\" at {place}[ until {until}]"]].concat()).await?;
    let shown = operator.json(&["notify", "template", "show", "pickup_code", "en-US"]).await?;
    ensure!(shown["template"]["preview"] == "\"12345678\" at Main Street 1 until 2026-11-25 20:00 CET", "{shown}");

    // Without a Europe/Berlin the end is in UTC. The gateway refuses, and nobody else is there.
    let recipient = Recipient { phone: Some("+49 151 12345678".to_owned()), ..Recipient::default() };
    let first = store(&mut world, &site, "A17", recipient.clone()).await?;
    let request = sms.until(1).await?.remove(0);
    let body: Value = serde_json::from_str(&request.body)?;
    let message = &body["messages"][0];
    ensure!(request.path == "/send" && request.headers["x-api-key"] == format!("Key {PASSWORD}"), "{request:?}");
    ensure!(
        message["to"] == "+4915112345678" && message["ref"] == request.headers["idempotency-key"].as_str(),
        "{body}"
    );
    let text = message["text"].as_str().context("a text")?;
    ensure!(text.starts_with(&format!("\"{}\" at ", first.code)) && text.contains(" until 20"), "{text}");
    ensure!(until_state(&operator, "A17", "accepted").await?["reference"] == "a-1");
    sms.then([Turn::Answer(
        200,
        json!({ "results": [{ "status": 4, "error": "+4915112345678 is barred" }] }).to_string(),
    )]);
    let second = store(&mut world, &site, "A18", recipient.clone()).await?;
    let message = until_state(&operator, "A18", "undelivered").await?;
    ensure!(message["reason"] == "refused" && message["detail"] == "HTTP 200 with an error inside", "{message}");

    // A code that was replaced, and an order that was collected, while the gateway was away.
    sms.then([Turn::Answer(429, String::new())]);
    let third = store(&mut world, &site, "A19", recipient).await?;
    sms.until(3).await?;
    operator.json(&["order", "reissue", "shop/A19"]).await?;
    let renewed = world.shop.until_messages("A19", 2).await?;
    ensure!(renewed.code != third.code);
    sms.until(4).await?;
    until_state(&operator, "A19", "accepted").await?;
    let all = sms.requests();
    ensure!(
        all.len() == 4 && all[3].body.contains(&renewed.code) && !all[3].body.contains(&third.code),
        "{}",
        all.len()
    );
    check_logs(&world, &[&first, &second, &third, &renewed], &["barred"])
}

#[tokio::test]
async fn a_gateway_is_asked_what_became_of_a_message_and_what_nobody_got_is_sent_again_at_once() -> anyhow::Result<()> {
    let (mut world, operator) = start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let (sms, mail) = (Gateway::start(taken("SM9")).await?, MailServer::start().await?);
    secret(&world, "sms", &sms.url, PASSWORD)?;
    secret(&world, "mail", &format!("smtp://{}", mail.address), PASSWORD)?;
    let home = "home = { country_code = \"49\", trunk = \"0\" }\nreceipts = true";
    let via =
        format!("[via]\nkind = \"sms_twilio\"\nurl = \"{}\"\naccount = \"AC1\"\nfrom = \"Lockers\"\n{home}\n", sms.url);
    put_channel(&operator, &format!("name = \"sms\"\nrank = 1\nsecret = \"sms\"\nplain = true\n{via}")).await?;
    let via = format!("[via]\nkind = \"email\"\nhost = \"{}\"\nfrom = \"a@example.com\"\n", mail.address);
    put_channel(&operator, &format!("name = \"mail\"\nsecret = \"mail\"\nplain = true\n{via}")).await?;

    let state = |sid: &str, state: &str, code: Value| {
        Turn::Answer(
            200,
            json!({ "sid": sid, "status": state, "error_code": code, "to": "+4915112345678" }).to_string(),
        )
    };
    sms.then([taken("SM1"), state("SM1", "delivered", Value::Null)]);
    let first = store(&mut world, &site, "A17", by_phone()).await?;
    until_state(&operator, "A17", "delivered").await?;
    let asked = sms.requests().remove(1);
    ensure!(asked.method == "GET" && asked.path == "/2010-04-01/Accounts/AC1/Messages/SM1.json", "{asked:?}");
    ensure!(asked.body.is_empty() && asked.headers.contains_key("authorization"), "{asked:?}");

    // Taken, and not delivered: by mail, with the same code; and for whom there is no other way it is listed.
    sms.then([taken("SM2"), state("SM2", "undelivered", json!(30003))]);
    let both = Recipient { email: Some("kim@example.com".to_owned()), ..by_phone() };
    let second = store(&mut world, &site, "A18", both).await?;
    let mails = mail.until(1).await?;
    let (_, body) = mails[0].text.split_once("\r\n\r\n").context("a body")?;
    let text = String::from_utf8(BASE64_MIME_PERMISSIVE.decode(body.as_bytes())?)?;
    ensure!(text.contains(&second.code), "{text}");
    sms.then([taken("SM3"), state("SM3", "failed", json!(30005))]);
    let third = store(&mut world, &site, "A19", by_phone()).await?;
    let message = until_state(&operator, "A19", "undelivered").await?;
    ensure!(message["reason"] == "not_delivered" && message["detail"] == "not delivered, code 30005", "{message}");

    // Whoever looks after the fleet sees that, and sends it again once the gateway works.
    let doctor = operator.run(&["doctor"]).await?;
    ensure!(String::from_utf8_lossy(&doctor.stdout).contains("1 reach nobody"), "{doctor:?}");
    let requests = sms.requests().len();
    let shown = operator.json(&["notify", "resend", "--reason", "not_delivered"]).await?;
    ensure!(shown[0]["order"] == "shop/A19" && sms.requests().len() == requests, "{shown}");
    let none = operator.json(&["notify", "resend", "--reason", "refused", "--yes", "0"]).await?;
    ensure!(none["sent"] == 0, "{none}");
    // They are other ones than were looked at: nothing is sent.
    let other = operator.run(&["notify", "resend", "--yes", "2"]).await?;
    ensure!(other.status.code() == Some(2) && sms.requests().len() == requests, "{other:?}");
    sms.then([taken("SM4"), state("SM4", "delivered", Value::Null)]);
    let sent = operator
        .json(&["notify", "resend", "--channel", "sms", "--since", "2020-01-01T00:00:00Z", "--yes", "1"])
        .await?;
    ensure!(sent["sent"] == 1, "{sent}");
    let again = world.shop.until_messages("A19", 2).await?;
    ensure!(again.code == third.code, "another code");
    until_state(&operator, "A19", "delivered").await?;
    let list = operator.json(&["notify", "list", "--undelivered"]).await?;
    ensure!(list["messages"]["messages"].as_array().is_some_and(Vec::is_empty), "{list}");
    check_logs(&world, &[&first, &second, &third], &["kim@example.com", "30003 to"])
}

#[tokio::test]
async fn mail_goes_over_tls_at_once_or_behind_starttls_and_over_nothing_else() -> anyhow::Result<()> {
    let (mut world, operator) = start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let broker = world.stage.layout().broker();
    let (certificate, key) = (broker.join("server.crt"), broker.join("server.key"));
    let login = format!("AUTH PLAIN {}", BASE64.encode(format!("\0me\0{PASSWORD}").as_bytes()));
    let mut told = Vec::new();
    for (id, at_once) in [("A17", true), ("A18", false)] {
        let mail = MailServer::start_tls(&certificate, &key, at_once).await?;
        secret(&world, "mail", &format!("smtp://{}", mail.address), PASSWORD)?;
        let via = format!(
            "[via]\nkind = \"email\"\nhost = \"{}\"\nimplicit_tls = {at_once}\nuser = \"me\"\nfrom = \"a@example.com\"\n",
            mail.address
        );
        put_channel(&operator, &format!("name = \"mail\"\nsecret = \"mail\"\n{via}")).await?;
        told.push(store(&mut world, &site, id, by_mail("kim@example.com")).await?);
        mail.until(1).await?;
        ensure!(mail.logins() == std::slice::from_ref(&login), "{:?}", mail.logins());
        until_state(&operator, id, "accepted").await?;
    }
    // A server that has no TLS to offer hears neither a password nor a message.
    let mail = MailServer::start().await?;
    secret(&world, "mail", &format!("smtp://{}", mail.address), PASSWORD)?;
    let via =
        format!("[via]\nkind = \"email\"\nhost = \"{}\"\nuser = \"me\"\nfrom = \"a@example.com\"\n", mail.address);
    put_channel(&operator, &format!("name = \"mail\"\nsecret = \"mail\"\n{via}")).await?;
    let output = operator.run(&["notify", "test", "--channel", "mail", "--to", "kim@example.com"]).await?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(mail.logins().is_empty());
    // A name that its certificate does not have.
    for at_once in [true, false] {
        let mail = MailServer::start_tls_at("127.0.0.2", &certificate, &key, at_once).await?;
        secret(&world, "mail", &format!("smtp://{}", mail.address), PASSWORD)?;
        let via = format!(
            "[via]\nkind = \"email\"\nhost = \"{}\"\nimplicit_tls = {at_once}\nuser = \"me\"\nfrom = \"a@example.com\"\n",
            mail.address
        );
        put_channel(&operator, &format!("name = \"mail\"\nsecret = \"mail\"\n{via}")).await?;
        let output = operator.run(&["notify", "test", "--channel", "mail", "--to", "kim@example.com"]).await?;
        ensure!(output.status.code() == Some(1) && mail.logins().is_empty(), "{output:?}");
        tokio::net::TcpStream::connect(&mail.address).await.context("somebody was there")?;
    }
    check_logs(&world, &told.iter().collect::<Vec<_>>(), &["kim@example.com"])
}
