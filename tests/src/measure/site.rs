//! A fleet with one cabinet, whose agent is the program that is put on cabinets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use fleet_cli::client::Client;
use fleet_cli::stage::{Cabinet, CabinetPlan, PATIENCE, Process, Stage};
use schemas::api::{Reply, Request};
use schemas::ids::Role;
use schemas::messages::{Compartment, UnlockOutcome};
use tokio::time::{Instant, sleep};

use super::footprint::Servers;

/// One lock board with a compartment on each of its channels.
pub(super) const COMPARTMENTS: u16 = 24;
/// Somebody closes each door so long after it opened.
pub(super) const PERSON: Duration = Duration::from_millis(300);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Channels of a lock board at most.
const CHANNELS: u8 = 50;

/// What the measured cabinet is made of.
pub(super) struct SitePlan {
    pub(super) compartments: u16,
    /// Lock boards, by address and channels.
    pub(super) boards: Vec<(u8, u8)>,
    /// How long whoever opened a door leaves it open.
    pub(super) person: Duration,
}

impl SitePlan {
    pub(super) fn one_board() -> Self {
        Self { compartments: COMPARTMENTS, boards: vec![(1, 24)], person: PERSON }
    }

    /// As many boards as so many compartments need. They are asked one after another, so a door stays open for longer until each
    /// of them is sure to have been asked.
    pub(super) fn large(compartments: u16) -> anyhow::Result<Self> {
        let boards = u8::try_from(compartments.div_ceil(u16::from(CHANNELS)))?;
        let boards = (1..=boards).map(|address| (address, CHANNELS)).collect();
        Ok(Self { compartments, boards, person: Duration::from_secs(3) })
    }
}

pub(super) struct Site {
    pub(super) stage: Stage,
    pub(super) operator: Client,
    pub(super) cabinet: Cabinet,
    pub(super) servers: Servers,
    signer: Process,
    program: PathBuf,
    agent: Option<Process>,
}

impl Site {
    /// Starts signer and broker and makes the cabinet; its agent does not run yet.
    pub(super) async fn open(program: &Path, measured: SitePlan) -> anyhow::Result<Self> {
        let mut stage = Stage::set_up("acme")?;
        let arguments = ["signer".into(), "--settings".into(), stage.layout().signer_toml().into_os_string()];
        let signer = Process::start("signer", &stage.binaries().broker, arguments, stage.log("signer"))?;
        signer.wait_for_line("signer ready", PATIENCE).await?;
        stage.start_broker().await?;
        let servers = Servers::read(stage.broker().context("no broker runs")?, &signer).await?;
        let operator = stage.client(Role::Operator, "admin").await?;
        let SitePlan { compartments, boards, person } = measured;
        let mut plan = CabinetPlan::new("measured", &format!("1-{compartments}:M"));
        (plan.boards, plan.person) = (boards, Some(person));
        let cabinet = Cabinet::add(&stage, plan, &operator).await?;
        Ok(Self { stage, operator, cabinet, servers, signer, program: program.to_owned(), agent: None })
    }

    /// Starts the agent and waits until the fleet has welcomed it. The screen is not touched.
    pub(super) async fn start_agent(&mut self, port: u16) -> anyhow::Result<()> {
        // No ping comes between what is measured.
        self.start_agent_pinging(port, 900).await
    }

    pub(super) async fn start_agent_pinging(&mut self, port: u16, keep_alive_seconds: u16) -> anyhow::Result<()> {
        let mut arguments = vec!["--settings".into(), self.cabinet.folder().agent_toml().into_os_string()];
        for setting in [format!("fleet.port={port}"), format!("fleet.keep_alive_seconds={keep_alive_seconds}")] {
            arguments.extend(["--set".into(), setting.into()]);
        }
        let process = Process::start("agent", &self.program, arguments, self.stage.log("agent"))?;
        process.wait_for_line("agent ready", PATIENCE).await?;
        self.agent = Some(process);
        self.until_online(true).await
    }

    /// Stops the agent and waits until the fleet has noticed.
    pub(super) async fn stop_agent(&mut self) -> anyhow::Result<()> {
        let agent = self.agent.take().context("no agent runs")?;
        agent.stop(PATIENCE).await?;
        self.until_online(false).await
    }

    pub(super) fn agent_id(&self) -> anyhow::Result<u32> {
        self.agent.as_ref().and_then(Process::id).context("no agent runs")
    }

    /// Unlocks as the operator; anything but `expected` is an error.
    pub(super) async fn unlock(&self, compartment: Compartment, expected: UnlockOutcome) -> anyhow::Result<()> {
        let cabinet = self.cabinet.id().clone();
        let request = Request::Unlock { cabinet, compartment, reason: "measurement".into() };
        let reply = self.operator.request(&request).await?;
        let Reply::Unlock(result) = &reply else { bail!("the reply was {reply:?}") };
        ensure!(result.outcome == expected, "the outcome was {}", result.outcome);
        Ok(())
    }

    /// When the only pulse behind the first `before` ones came, and that it was on this compartment's lock.
    pub(super) fn pulse(&self, before: usize, compartment: Compartment) -> anyhow::Result<std::time::Instant> {
        let pulses = self.cabinet.board().pulses();
        let [pulse] = pulses.get(before..).unwrap_or_default() else {
            bail!("{} pulses instead of one", pulses.len().saturating_sub(before));
        };
        ensure!(self.cabinet.place(compartment)? == (pulse.board, pulse.lock), "another lock was pulsed");
        Ok(pulse.at)
    }

    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        self.stop_agent().await?;
        self.stage.stop_broker().await?;
        self.signer.stop(PATIENCE).await
    }

    async fn until_online(&self, wanted: bool) -> anyhow::Result<()> {
        let request = Request::CabinetShow { cabinet: self.cabinet.id().clone() };
        let until = Instant::now() + PATIENCE;
        loop {
            let reply = self.operator.request(&request).await?;
            let Reply::Cabinet(shown) = &reply else { bail!("the reply was {reply:?}") };
            if shown.summary.online == wanted {
                return Ok(());
            }
            ensure!(Instant::now() < until, "the cabinet's agent does not connect, or does not leave");
            sleep(LOOK_EVERY).await;
        }
    }
}

/// The `index`th compartment, going round.
pub(super) fn compartment(index: usize) -> anyhow::Result<Compartment> {
    let number = u16::try_from(index % usize::from(COMPARTMENTS))? + 1;
    Compartment::new(number).context("a compartment number")
}
