//! A cabinet, its lock boards, and the people in front of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{Cabinet, Carrier, PATIENCE, Screen};
use schemas::messages::Compartment;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::until::{Look, until};

/// A cabinet of the world.
pub struct Site {
    pub cabinet: Cabinet,
    /// Between the cabinet and the broker, where the test asked for one.
    carrier: Option<Carrier>,
    pin: String,
    session: Mutex<Option<String>>,
    /// Pulses that somebody in front of the cabinet or an operator asked for.
    expected: AtomicUsize,
}

impl Site {
    pub(crate) fn new(cabinet: Cabinet, carrier: Option<Carrier>, pin: String) -> Self {
        Self { cabinet, carrier, pin, session: Mutex::new(None), expected: AtomicUsize::new(0) }
    }

    pub fn name(&self) -> &str {
        self.cabinet.id().as_str()
    }

    pub fn carrier(&self) -> anyhow::Result<&Carrier> {
        self.carrier.as_ref().context("this cabinet has no carrier")
    }

    pub fn screen(&self) -> anyhow::Result<Screen> {
        self.cabinet.screen()
    }

    /// Staff log in at the screen, and again when their session is over.
    pub async fn session(&self) -> anyhow::Result<String> {
        let mut held = self.session.lock().await;
        let screen = self.screen()?;
        if let Some(session) = held.as_ref()
            && !screen.view(Some(session)).await?["staff"].is_null()
        {
            return Ok(session.clone());
        }
        let session = screen.staff(&self.pin).await?;
        *held = Some(session.clone());
        Ok(session)
    }

    pub async fn start_agent(&mut self) -> anyhow::Result<()> {
        self.cabinet.start_agent().await
    }

    /// What the screen shows of a compartment to staff.
    pub async fn until_shown(
        &self,
        compartment: Compartment,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let screen = self.screen()?;
        until(&format!("compartment {compartment} is {what}"), async || {
            let view = screen.view(Some(&self.session().await?)).await?;
            let all = view["staff"]["compartments"].as_array().cloned().unwrap_or_default();
            let shown = all.into_iter().find(|one| one["number"] == compartment.number()).unwrap_or_default();
            Ok(if holds(&shown) { Look::Seen(shown) } else { Look::NotYet(shown.to_string()) })
        })
        .await
    }

    /// Waits until the compartment is free and its door closed.
    pub async fn until_free(&self, compartment: Compartment) -> anyhow::Result<()> {
        let free = |shown: &Value| shown["door"] == "closed" && shown["allocated"] == false;
        self.until_shown(compartment, "free and closed", free).await.map(drop)
    }

    pub async fn until_door(&self, compartment: Compartment, door: &str) -> anyhow::Result<()> {
        self.until_shown(compartment, door, |shown| shown["door"] == door).await.map(drop)
    }

    /// Staff open a compartment for an order that waits. Exactly one lock is pulsed; its door stands open.
    pub async fn open_for(&self, order: &str) -> anyhow::Result<Compartment> {
        let (screen, session) = (self.screen()?, self.session().await?);
        let waits = |view: &Value| view["staff"]["waiting"].to_string().contains(&format!("{order}\""));
        screen.until_in(Some(&session), PATIENCE, "the order is listed", waits).await?;
        let before = self.cabinet.pulses();
        screen.load(&session, order).await?;
        let pulse = self.until_pulses(before + 1).await?;
        self.until_door(pulse, "open").await?;
        Ok(pulse)
    }

    /// What the screen has said behind number `after`, with the number of the newest; without one, only that.
    pub async fn notes(&self, after: Option<u64>) -> anyhow::Result<(Vec<Value>, u64)> {
        let (screen, session) = (self.screen()?, self.session().await?);
        let url = screen.url();
        let (base, key) = url.split_once("/#key=").context("the screen's address")?;
        let http = reqwest::Client::builder().no_proxy().build().context("make an HTTP client")?;
        let query = after.map(|after| format!("?after={after}")).unwrap_or_default();
        let call = http.get(format!("{base}/api/notes{query}"));
        let call = call.header("x-screen-key", key).header("x-staff-session", session);
        let bytes = call.send().await.context("ask for notes")?.bytes().await.context("read the notes")?;
        let page: Value = serde_json::from_slice(&bytes).context("the notes")?;
        let next = page["next"].as_u64().with_context(|| format!("no number in {page}"))?;
        Ok((page["notes"].as_array().cloned().unwrap_or_default(), next))
    }

    /// From here on the screen is listened to: see [`Self::until_said`].
    pub async fn listen(&self) -> anyhow::Result<u64> {
        Ok(self.notes(None).await?.1)
    }

    /// Waits until the screen says something of this name behind number `after`, and listens on behind that.
    pub async fn until_said(&self, name: &str, after: &mut u64) -> anyhow::Result<Value> {
        let from = *after;
        let (said, next) = until(&format!("the screen says {name}"), async || {
            let (notes, next) = self.notes(Some(from)).await?;
            let said = notes.iter().find(|note| note["note"] == name).cloned();
            Ok(Look::at(said.map(|said| (said, next)), || format!("{notes:?}")))
        })
        .await?;
        *after = next;
        Ok(said)
    }

    /// Staff want to load an order, and the screen says why they cannot.
    pub async fn load_refused(&self, order: &str) -> anyhow::Result<String> {
        let mut after = self.listen().await?;
        self.screen()?.load(&self.session().await?, order).await?;
        Ok(self.until_said("staff_refused", &mut after).await?["reason"].to_string())
    }

    /// Staff load an order, close the door and say that it is inside.
    pub async fn load(&self, order: &str) -> anyhow::Result<Compartment> {
        let compartment = self.open_for(order).await?;
        self.cabinet.close_door(compartment)?;
        self.confirm(compartment, true).await?;
        Ok(compartment)
    }

    /// Staff answer the screen's question after the door was closed.
    pub async fn confirm(&self, compartment: Compartment, inside: bool) -> anyhow::Result<()> {
        self.until_shown(compartment, "asking", |shown| shown["asks"] == true).await?;
        self.screen()?.confirm(&self.session().await?, compartment.number(), inside).await.map(drop)
    }

    /// A customer types or scans what opens one door, and closes it.
    pub async fn collect(&self, secret: &str) -> anyhow::Result<Compartment> {
        let compartment = self.enter(secret).await?;
        self.until_door(compartment, "open").await?;
        self.cabinet.close_door(compartment)?;
        self.until_free(compartment).await?;
        Ok(compartment)
    }

    /// A customer types or scans what opens one door; it is pulsed, and no other.
    pub async fn enter(&self, secret: &str) -> anyhow::Result<Compartment> {
        let before = self.cabinet.pulses();
        let answer = self.screen()?.enter(secret).await?;
        ensure!(answer.body["result"] == "opening", "the screen said {answer:?}");
        let compartment = self.until_pulses(before + 1).await?;
        ensure!(
            answer.body["compartments"] == serde_json::json!([compartment.number()]),
            "the screen named another door than {compartment}: {answer:?}"
        );
        Ok(compartment)
    }

    /// Waits until that many pulses were given in all, by no doing of anybody at the screen.
    pub async fn until_opened_remotely(&self, compartment: Compartment, count: usize) -> anyhow::Result<()> {
        let opened = self.until_pulses(count).await?;
        ensure!(opened == compartment, "door {opened} was opened instead of {compartment}");
        self.until_door(compartment, "open").await
    }

    /// Waits for pulse number `count` of this cabinet; fails if there are more. Returns its compartment.
    pub async fn until_pulses(&self, count: usize) -> anyhow::Result<Compartment> {
        let pulses = self.cabinet.board().until_pulses(count, PATIENCE).await?;
        ensure!(pulses.len() == count, "more locks were pulsed than asked for: {pulses:?}");
        self.expected.store(count, Ordering::Relaxed);
        let pulse = pulses.last().context("no pulse")?;
        self.cabinet.compartment_at(pulse.board, pulse.lock)
    }

    /// Fails if any lock was pulsed beyond what was asked for so far.
    pub fn no_more_pulses(&self) -> anyhow::Result<()> {
        let (seen, expected) = (self.cabinet.pulses(), self.expected.load(Ordering::Relaxed));
        ensure!(seen == expected, "{seen} pulses instead of {expected}: {:?}", self.cabinet.board().pulses());
        Ok(())
    }
}
