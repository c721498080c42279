//! A person at the cabinet's screen: the calls that its page makes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const LOOK_EVERY: Duration = Duration::from_millis(25);

/// The screen of one start of an agent.
#[derive(Clone)]
pub struct Screen {
    http: reqwest::Client,
    base: String,
    key: String,
}

/// What a call came back with.
#[derive(Debug, Clone)]
pub struct ScreenAnswer {
    pub status: StatusCode,
    pub body: Value,
}

impl Screen {
    /// Reads the address file of the agent.
    pub fn from_address_file(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let (base, key) = text.trim().split_once("/#key=").context("the address file is not `http://…/#key=…`")?;
        let http = reqwest::Client::builder().no_proxy().build().context("make an HTTP client")?;
        Ok(Self { http, base: base.to_owned(), key: key.to_owned() })
    }

    /// For a browser.
    pub fn url(&self) -> String {
        format!("{}/#key={}", self.base, self.key)
    }

    /// Types a code or scans a QR text.
    pub async fn enter(&self, secret: &str) -> anyhow::Result<ScreenAnswer> {
        self.post("enter", None, &json!({ "secret": secret })).await
    }

    /// Types what the screen asks for behind a code.
    pub async fn answer(&self, answer: &str) -> anyhow::Result<ScreenAnswer> {
        self.post("answer", None, &json!({ "answer": answer })).await
    }

    /// Types a PIN; returns the session.
    pub async fn staff(&self, pin: &str) -> anyhow::Result<String> {
        let answer = self.post("staff", None, &json!({ "secret": pin })).await?;
        match answer.body["session"].as_str() {
            Some(session) => Ok(session.to_owned()),
            None => bail!("no staff session: {answer:?}"),
        }
    }

    pub async fn load(&self, session: &str, order: &str) -> anyhow::Result<ScreenAnswer> {
        self.post("load", Some(session), &json!({ "order": order, "larger": false })).await
    }

    pub async fn retrieve(&self, session: &str, order: &str) -> anyhow::Result<ScreenAnswer> {
        self.post("retrieve", Some(session), &json!({ "order": order })).await
    }

    pub async fn logout(&self, session: &str) -> anyhow::Result<ScreenAnswer> {
        self.post("logout", Some(session), &json!({})).await
    }

    pub async fn confirm(&self, session: &str, compartment: u16, inside: bool) -> anyhow::Result<ScreenAnswer> {
        self.post("confirm", Some(session), &json!({ "compartment": compartment, "inside": inside })).await
    }

    pub async fn view(&self, session: Option<&str>) -> anyhow::Result<Value> {
        let answer = self.call(Method::GET, "view", session, None).await?;
        if answer.status != StatusCode::OK {
            bail!("the screen answered {answer:?}");
        }
        Ok(answer.body)
    }

    /// Looks at the screen until `seen` holds; returns what was seen.
    pub async fn until(&self, patience: Duration, what: &str, seen: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.until_in(None, patience, what, seen).await
    }

    /// The same within a staff session.
    pub async fn until_in(
        &self,
        session: Option<&str>,
        patience: Duration,
        what: &str,
        seen: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let until = Instant::now() + patience;
        loop {
            let view = self.view(session).await?;
            if seen(&view) {
                return Ok(view);
            }
            if Instant::now() >= until {
                bail!("waited in vain until {what}; the screen last showed {view}");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Any other call of the page.
    pub async fn post(&self, path: &str, session: Option<&str>, body: &Value) -> anyhow::Result<ScreenAnswer> {
        self.call(Method::POST, path, session, Some(body)).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        session: Option<&str>,
        body: Option<&Value>,
    ) -> anyhow::Result<ScreenAnswer> {
        let mut request =
            self.http.request(method, format!("{}/api/{path}", self.base)).header("x-screen-key", &self.key);
        if let Some(session) = session {
            request = request.header("x-staff-session", session);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("call the screen: {path}"))?;
        let status = answer.status();
        let bytes = answer.bytes().await.context("read the screen's answer")?;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or(Value::Null) };
        Ok(ScreenAnswer { status, body })
    }
}
