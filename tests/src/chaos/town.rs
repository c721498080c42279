//! A fleet of real processes behind bad networks, with its people, and the means to kill and to start each process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context as _, bail};
use fleet_cli::client::Client;
use fleet_cli::stage::{Cabinet, CabinetPlan, PATIENCE, Process, Stage};
use schemas::api::{Reply, Request, StaffIssued};
use schemas::ids::{CabinetId, Name, Role};
use schemas::messages::Compartment;
use sim_board::LockFault;
use tokio::task::JoinSet;

use super::backend::{Desk, Wanted, read_rows, unlock_doors, write_orders};
use super::front::{customers, staff};
use super::hall::{Hall, close_doors};
use super::history::{Happening, History, Victim};
use super::knowledge::Knowledge;
use super::pace::Pace;
use super::proxy::{Damage, Proxy, Weather};
use crate::sim::Dice;

const CABINETS: [&str; 2] = ["berlin-01", "berlin-02"];
const SHOPS: [&str; 2] = ["shop", "bakery"];
/// As on the command line.
const COMPARTMENTS: &str = "1-4:S,5-6:M";
const DOORS: u16 = 6;
/// Locks are on the first board; the second one carries the sensors that see whether something is inside.
const BOARDS: [(u8, u8); 2] = [(1, 8), (2, 8)];

pub(super) struct Town {
    stage: Stage,
    pub(super) halls: Vec<Hall>,
    agents: BTreeMap<CabinetId, Process>,
    /// In front of the gate, for each cabinet and for each person.
    proxies: Vec<Proxy>,
    ports: BTreeMap<CabinetId, u16>,
    pub(super) history: History,
    pub(super) known: Knowledge,
    pub(super) pace: Pace,
    pub(super) pin: String,
    people: JoinSet<anyhow::Result<()>>,
}

impl Town {
    /// Everything runs, nobody acts yet.
    pub(super) async fn build(dice: &mut Dice) -> anyhow::Result<Self> {
        let mut stage = Stage::set_up("acme")?;
        stage.start_signer().await?;
        stage.start_broker().await?;
        let operator = stage.client(Role::Operator, "admin").await?;
        let reply = operator.request(&Request::StaffAdd { name: "sam".parse()?, until: None }).await?;
        let Reply::Staff(StaffIssued { pin, .. }) = reply else { bail!("no PIN: {reply:?}") };
        let mut town = Self {
            stage,
            halls: Vec::new(),
            agents: BTreeMap::new(),
            proxies: Vec::new(),
            ports: BTreeMap::new(),
            history: History::begin(),
            known: Knowledge::default(),
            pace: Pace::new(),
            pin,
            people: JoinSet::new(),
        };
        for name in CABINETS {
            town.add_cabinet(name, &operator, dice).await?;
        }
        for hall in &town.halls {
            hall.cabinet.until_online().await?;
            hall.cabinet.until_book_held(&operator).await?;
        }
        operator.close().await;
        Ok(town)
    }

    async fn add_cabinet(&mut self, name: &str, operator: &Client, dice: &mut Dice) -> anyhow::Result<()> {
        let sensors = (1..=DOORS).zip(1..).map(|(compartment, channel)| (compartment, BOARDS[1].0, channel)).collect();
        let plan = CabinetPlan { boards: BOARDS.to_vec(), sensors, ..CabinetPlan::new(name, COMPARTMENTS) };
        let cabinet = Cabinet::add(&self.stage, plan, operator).await?;
        let id = cabinet.id().clone();
        let port = self.add_proxy(dice).await?;
        self.ports.insert(id.clone(), port);
        self.halls.push(Hall::new(cabinet, self.history.clone(), self.known.clone(), self.pace.clone()));
        self.start(&Victim::Agent(id)).await
    }

    async fn add_proxy(&mut self, dice: &mut Dice) -> anyhow::Result<u16> {
        let proxy = Proxy::start(self.stage.port(), dice.number()).await?;
        let port = proxy.port();
        self.proxies.push(proxy);
        Ok(port)
    }

    /// Everybody begins to act.
    pub(super) async fn populate(&mut self, dice: &mut Dice) -> anyhow::Result<()> {
        let cabinets: Vec<CabinetId> = self.halls.iter().map(|hall| hall.id().clone()).collect();
        let wanted = Wanted::default();
        for name in SHOPS {
            let (reader, writer) =
                (self.desk(Role::Integration, name, dice).await?, self.desk(Role::Integration, name, dice).await?);
            let name: Name = name.parse()?;
            self.people.spawn(read_rows(reader, name.clone(), Dice::new(dice.number())));
            self.people.spawn(write_orders(writer, name, cabinets.clone(), Dice::new(dice.number())));
        }
        let doors: Vec<Compartment> = (1..=DOORS).filter_map(Compartment::new).collect();
        let all = cabinets.iter().flat_map(|cabinet| doors.iter().map(|door| (cabinet.clone(), *door))).collect();
        let desk = self.desk(Role::Operator, "admin", dice).await?;
        self.people.spawn(unlock_doors(desk, wanted.clone(), all, Dice::new(dice.number())));
        for hall in self.halls.clone() {
            let mut next = || Dice::new(dice.number());
            self.people.spawn(staff(hall.clone(), self.pin.clone(), wanted.clone(), next()));
            self.people.spawn(customers(hall.clone(), next()));
            self.people.spawn(close_doors(hall, doors.clone(), next()));
        }
        Ok(())
    }

    async fn desk(&mut self, role: Role, name: &str, dice: &mut Dice) -> anyhow::Result<Desk> {
        let port = self.add_proxy(dice).await?;
        let folder = self.stage.person(role, name)?.at("127.0.0.1", port);
        Ok(Desk { folder, history: self.history.clone(), known: self.known.clone(), pace: self.pace.clone() })
    }

    /// Fails with the reason of somebody who could not go on.
    pub(super) fn check_people(&mut self) -> anyhow::Result<()> {
        match self.people.try_join_next() {
            None => Ok(()),
            Some(ended) => ended.context("somebody panicked")?.context("somebody could not go on"),
        }
    }

    pub(super) fn set_weather(&self, mut pick: impl FnMut() -> Weather) {
        self.proxies.iter().for_each(|proxy| proxy.set_weather(pick()));
    }

    /// The lock of a door sticks, or works again.
    pub(super) fn set_stuck(&self, hall: &Hall, compartment: Compartment, stuck: bool) -> anyhow::Result<()> {
        let (board, lock) = hall.cabinet.place(compartment)?;
        let fault = if stuck { LockFault::Stuck } else { LockFault::None };
        hall.cabinet.board().set_lock_fault(board, lock, fault).context("set the fault of a lock")
    }

    pub(super) fn victims(&self) -> Vec<Victim> {
        let agents = self.halls.iter().map(|hall| Victim::Agent(hall.id().clone()));
        [Victim::Broker, Victim::Signer].into_iter().chain(agents).collect()
    }

    /// SIGKILL, and waits until the process is gone.
    pub(super) async fn kill(&mut self, victim: &Victim) -> anyhow::Result<()> {
        match victim {
            Victim::Broker => self.stage.kill_broker().await?,
            Victim::Signer => self.stage.kill_signer().await?,
            Victim::Agent(id) => match self.agents.remove(id) {
                Some(process) => process.kill().await?,
                None => bail!("the agent of {id} was dead before it was killed"),
            },
        }
        self.history.note(Happening::Killed { victim: victim.clone() });
        Ok(())
    }

    pub(super) async fn start(&mut self, victim: &Victim) -> anyhow::Result<()> {
        match victim {
            Victim::Broker => self.stage.start_broker().await?,
            Victim::Signer => self.stage.start_signer().await?,
            Victim::Agent(id) => {
                let process = self.start_agent(id).await?;
                self.agents.insert(id.clone(), process);
            }
        }
        self.history.note(Happening::Started { victim: victim.clone() });
        Ok(())
    }

    async fn start_agent(&self, id: &CabinetId) -> anyhow::Result<Process> {
        let hall = self.hall(id)?;
        let port = self.ports.get(id).context("a cabinet without a port")?;
        let settings = hall.cabinet.folder().agent_toml().into_os_string();
        let set = |what: String| [OsString::from("--set"), what.into()];
        let arguments = [OsString::from("--settings"), settings]
            .into_iter()
            .chain(set(format!("fleet.port={port}")))
            .chain(set("fleet.backoff_max_seconds=1".to_owned()));
        let log = self.stage.log(&format!("agent-{id}"));
        let process = Process::start("agent", &self.stage.binaries().agent, arguments, log)?;
        process.wait_for_line("agent ready", PATIENCE).await?;
        Ok(process)
    }

    fn hall(&self, id: &CabinetId) -> anyhow::Result<&Hall> {
        self.halls.iter().find(|hall| hall.id() == id).with_context(|| format!("no cabinet {id}"))
    }

    pub(super) fn fleet_store(&self) -> std::path::PathBuf {
        self.stage.layout().broker().join("fleet.redb")
    }

    pub(super) fn cabinet_store(&self, id: &CabinetId) -> anyhow::Result<std::path::PathBuf> {
        Ok(self.hall(id)?.cabinet.folder().path.join("cabinet.redb"))
    }

    /// An operator with a connection of good quality.
    pub(super) async fn observer(&self) -> anyhow::Result<Client> {
        self.stage.client(Role::Operator, "admin").await
    }

    pub(super) fn damage(&self) -> Damage {
        self.proxies.iter().map(Proxy::damage).fold(Damage::default(), |sum, one| Damage {
            connections: sum.connections + one.connections,
            cuts: sum.cuts + one.cuts,
            stalls: sum.stalls + one.stalls,
            drips: sum.drips + one.drips,
        })
    }

    /// Everybody goes home; the folder stays where somebody wants to look into it.
    pub(super) fn keep_folder(&mut self) -> std::path::PathBuf {
        self.stage.keep_folder();
        self.stage.folder().to_owned()
    }

    /// Waits for everybody's end.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        self.pace.set(super::pace::Mode::Over);
        let home = async {
            while let Some(ended) = self.people.join_next().await {
                ended.context("somebody panicked")??;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(Duration::from_secs(30), home).await.context("somebody does not go home")?
    }
}
