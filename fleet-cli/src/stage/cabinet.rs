//! One cabinet of a stage: an agent process, and behind its serial port a simulated lock board.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use schemas::api::{Reply, Request};
use schemas::ids::CabinetId;
use schemas::messages::{Compartment, Instance};
use sim_board::{BoardConfig, SimBus, SimConfig};
use tokio::time::{Instant, sleep};

use crate::client::{Client, keysets};
use crate::setup::{self, Boards, CabinetFolder, CabinetOptions, Compartments};

use super::screen::Screen;
use super::{PATIENCE, Process, Stage};

/// What the machines of a stage would have on their labels.
const DEVICE_SERIAL: &str = "LF-DEMO-0001";

/// What a cabinet is to be like.
#[derive(Debug, Clone)]
pub struct CabinetPlan {
    pub name: String,
    /// As on the command line: `1-4:S,5-8:M,9:L`.
    pub compartments: String,
    /// The lock boards; compartments take their locks in order.
    pub boards: Vec<(u8, u8)>,
    /// Occupancy sensors: compartment, and the board and channel whose contact is short while something is inside.
    pub sensors: Vec<(u16, u8, u8)>,
    /// Somebody who closes each door after this time.
    pub person: Option<Duration>,
    /// Where the agent connects to instead of the broker: a carrier of the test.
    pub port: Option<u16>,
    /// A program and its arguments that the agent is started through, such as `env` with variables.
    pub launcher: Vec<OsString>,
    /// More words of `cabinet-agent enroll`.
    pub enrolment: Vec<OsString>,
}

impl CabinetPlan {
    pub fn new(name: &str, compartments: &str) -> Self {
        Self {
            name: name.into(),
            compartments: compartments.into(),
            boards: vec![(1, 24)],
            sensors: Vec::new(),
            person: None,
            port: None,
            launcher: Vec::new(),
            enrolment: Vec::new(),
        }
    }
}

/// A cabinet with its board. The agent may be stopped and started.
pub struct Cabinet {
    id: CabinetId,
    folder: CabinetFolder,
    plan: CabinetPlan,
    board: SimBus,
    log: PathBuf,
    agent_program: PathBuf,
    agent: Option<Process>,
}

impl Cabinet {
    /// Makes the cabinet's files and its board, and registers it at the running broker.
    pub async fn add(stage: &Stage, plan: CabinetPlan, operator: &Client) -> anyhow::Result<Self> {
        let id: CabinetId = plan.name.parse()?;
        let boards = plan.boards.iter().map(|(address, channels)| BoardConfig::new(*address, *channels));
        let link = stage.folder().join(format!("{id}.tty"));
        let config = SimConfig { link: Some(link.clone()), person: plan.person, ..SimConfig::new(boards) };
        let board = SimBus::start(config).context("start the simulated lock board")?;
        let compartments: Compartments = plan.compartments.parse().context("compartments of the stage")?;
        let named = (id.clone(), "demo-site".parse()?);
        let mut options = CabinetOptions::new(stage.layout(), named, DEVICE_SERIAL, compartments, link);
        let written: Vec<String> =
            plan.boards.iter().map(|(address, channels)| format!("{address}x{channels}")).collect();
        options.boards = written.join(",").parse::<Boards>().context("boards of the stage")?;
        // The address file tells which port it became.
        options.screen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        options.now = SystemTime::now();
        let folder = setup::cabinet(&options)?;
        wire_sensors(&folder, &board, &plan.sensors)?;
        let registration = folder.registration("1 Market Square, main entrance".into());
        keysets::put_first(operator, stage.layout()).await.context("give the fleet its keyset")?;
        let reply = operator.request(&registration).await?;
        anyhow::ensure!(reply == Reply::Done, "the broker did not register {id}: {reply:?}");
        let log = stage.log(&format!("agent-{id}"));
        let agent_program = stage.binaries().agent.clone();
        let made = Self { id, folder, plan, board, log, agent_program, agent: None };
        made.enroll().await?;
        Ok(made)
    }

    /// Gets the cabinet its certificate, as an installer does.
    async fn enroll(&self) -> anyhow::Result<()> {
        let arguments = [
            OsString::from("enroll"),
            "--settings".into(),
            self.folder.agent_toml().into(),
            "--token-file".into(),
            self.folder.token_file().into(),
            "--serial".into(),
            DEVICE_SERIAL.into(),
        ];
        let words = arguments.into_iter().chain(self.plan.enrolment.iter().cloned());
        let process = self.launch("enrolment", words)?;
        process.wait_for_success(PATIENCE).await
    }

    pub fn id(&self) -> &CabinetId {
        &self.id
    }

    /// Lets the agent connect to another port from its next start on.
    pub fn connect_through(&mut self, port: u16) {
        self.plan.port = Some(port);
    }

    /// The next start of the agent goes through this program.
    pub fn launch_through(&mut self, launcher: impl IntoIterator<Item = OsString>) {
        self.plan.launcher = launcher.into_iter().collect();
    }

    pub fn instance(&self) -> Instance {
        self.folder.instance()
    }

    pub fn folder(&self) -> &CabinetFolder {
        &self.folder
    }

    /// The simulated board: what really happens to the doors.
    pub fn board(&self) -> &SimBus {
        &self.board
    }

    /// Where a compartment is on the boards: (board, lock).
    pub fn place(&self, compartment: Compartment) -> anyhow::Result<(u8, u8)> {
        let mut index = compartment.number() - 1;
        for (board, channels) in &self.plan.boards {
            if index < u16::from(*channels) {
                return Ok((*board, u8::try_from(index + 1)?));
            }
            index -= u16::from(*channels);
        }
        anyhow::bail!("compartment {compartment} is on no board")
    }

    /// The compartment behind a lock.
    pub fn compartment_at(&self, board: u8, lock: u8) -> anyhow::Result<Compartment> {
        let ahead = self.plan.boards.iter().take_while(|(address, _)| *address != board);
        let number = ahead.map(|(_, channels)| u16::from(*channels)).sum::<u16>() + u16::from(lock);
        Compartment::new(number).context("locks count from 1")
    }

    /// Somebody closes the door.
    pub fn close_door(&self, compartment: Compartment) -> anyhow::Result<()> {
        let (board, lock) = self.place(compartment)?;
        self.board.close(board, lock).map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// Somebody puts something in, or takes it out: what the occupancy sensor of this compartment sees.
    pub fn set_inside(&self, compartment: Compartment, inside: bool) -> anyhow::Result<()> {
        let sensor = self.plan.sensors.iter().find(|(number, ..)| *number == compartment.number());
        let (_, board, channel) = sensor.with_context(|| format!("compartment {compartment} has no sensor"))?;
        self.board.set_input(*board, *channel, inside).map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// Waits until the lock of this compartment was pulsed `times` times in all.
    pub async fn until_pulsed(&self, compartment: Compartment, times: usize) -> anyhow::Result<()> {
        let (board, lock) = self.place(compartment)?;
        self.board
            .until(PATIENCE, |seen| {
                let count = seen.pulses.iter().filter(|pulse| pulse.board == board && pulse.lock == lock).count();
                (count >= times).then_some(())
            })
            .await
            .map_err(|error| anyhow::anyhow!("door {compartment} was not pulsed {times} times: {error}"))
    }

    /// How often any lock was pulsed.
    pub fn pulses(&self) -> usize {
        self.board.pulses().len()
    }

    pub async fn start_agent(&mut self) -> anyhow::Result<()> {
        let mut arguments = vec!["--settings".into(), self.folder.agent_toml().into_os_string()];
        if let Some(port) = self.plan.port {
            arguments.extend(["--set".into(), format!("fleet.port={port}").into()]);
        }
        // Tests and the demo come back at once.
        arguments.extend(["--set".into(), "fleet.backoff_max_seconds=1".into()]);
        let process = self.launch("agent", arguments)?;
        process.wait_for_line("agent ready", PATIENCE).await?;
        self.agent = Some(process);
        Ok(())
    }

    fn launch(&self, name: &str, arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<Process> {
        let mut words = self.plan.launcher.iter().cloned().chain([self.agent_program.clone().into_os_string()]);
        let program = PathBuf::from(words.next().unwrap_or_default());
        Process::start(name, &program, words.chain(arguments), self.log.clone())
    }

    pub async fn stop_agent(&mut self) -> anyhow::Result<()> {
        match self.agent.take() {
            Some(process) => process.stop(PATIENCE).await,
            None => Ok(()),
        }
    }

    pub async fn kill_agent(&mut self) -> anyhow::Result<()> {
        match self.agent.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// What all runs of the agent have written.
    pub fn log(&self) -> &Path {
        &self.log
    }

    pub fn agent(&self) -> Option<&Process> {
        self.agent.as_ref()
    }

    /// The screen of the running agent.
    pub fn screen(&self) -> anyhow::Result<Screen> {
        Screen::from_address_file(&self.folder.path.join("screen.url"))
    }

    /// Waits until the fleet knows that everything which it wrote into the cabinet's book is in force there.
    pub async fn until_book_held(&self, operator: &Client) -> anyhow::Result<()> {
        let request = Request::CabinetShow { cabinet: self.id.clone() };
        let until = Instant::now() + PATIENCE;
        loop {
            let reply = operator.request(&request).await?;
            let Reply::Cabinet(shown) = &reply else { anyhow::bail!("the reply was {reply:?}") };
            if shown.book_held == shown.book_wanted && shown.book_held > 0 {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < until, "{} does not take its book", self.id);
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the cabinet's own screen says that the fleet has welcomed it.
    pub async fn until_online(&self) -> anyhow::Result<()> {
        self.screen()?.until(PATIENCE, "the cabinet is online", |view| view["online"] == true).await.map(drop)
    }
}

/// Adds the sensors to the profile of the boards, as an installer does by hand.
fn wire_sensors(folder: &CabinetFolder, board: &SimBus, sensors: &[(u16, u8, u8)]) -> anyhow::Result<()> {
    let path = folder.board_toml();
    let mut profile: toml::Table = std::fs::read_to_string(&path).context("read the boards' profile")?.parse()?;
    let mapping = profile.get_mut("mapping").and_then(toml::Value::as_array_mut).context("the profile maps nothing")?;
    for (compartment, address, channel) in sensors {
        let number = toml::Value::from(i64::from(*compartment));
        let row = mapping.iter_mut().find(|row| row.get("compartment") == Some(&number));
        let row = row.and_then(toml::Value::as_table_mut).context("a sensor of a compartment that is not there")?;
        let mut occupancy = toml::Table::new();
        occupancy.insert("board".into(), i64::from(*address).into());
        occupancy.insert("lock".into(), i64::from(*channel).into());
        occupancy.insert("occupied_when".into(), "short".into());
        row.insert("occupancy".into(), occupancy.into());
        board.set_input(*address, *channel, false).map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    if sensors.is_empty() {
        Ok(())
    } else {
        std::fs::write(&path, profile.to_string()).context("write the boards' profile")
    }
}
