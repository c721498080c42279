//! Rounds: people act, the network breaks, something is killed at a bad moment, its disk is held against what was told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use fleet_cli::client::Client;
use fleet_cli::stage::Screen;
use schemas::api::{Reply, Request};
use schemas::cbor;
use schemas::messages::{Compartment, Event};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::checker::{ALWAYS, AT_REST, Evidence, cabinet_forgets_nothing, judge};
use super::hall::Hall;
use super::history::{At, Happening, Shown, Victim};
use super::pace::Mode;
use super::proxy::{Damage, Weather};
use super::stores::{CabinetDisk, read_cabinet, read_fleet};
use super::town::Town;
use crate::sim::Dice;

/// How long the right moment for a kill is waited for.
const MOMENT: Duration = Duration::from_secs(3);
/// How long everybody may take to finish once nothing is killed any more. Not a measure of speed.
const REST: Duration = Duration::from_secs(90);
/// A look at whether all is quiet can be too early by what is on its way just then.
const LOOKS: usize = 5;
/// Lines of the history that a failure shows.
const SHOWN: usize = 60;

/// How long and how hard.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub rounds: u64,
    pub seed: u64,
    /// After so many rounds everything comes to rest and is compared.
    pub rest_every: u64,
}

/// What was done and seen.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub rounds: u64,
    pub rests: u64,
    pub kills: BTreeMap<&'static str, u64>,
    pub orders: usize,
    pub pulses: usize,
    pub events: u64,
    /// What people did and heard, by kind.
    pub happenings: BTreeMap<&'static str, u64>,
    pub damage: Damage,
    pub seconds: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: &BTreeMap<&'static str, u64>| -> String {
            let counts: Vec<String> = counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
            counts.join(", ")
        };
        write!(
            f,
            "{} rounds, killed {}, at rest and compared {} times; {} orders, {} pulses, {} events; {} connections, \
             {} cut, {} stalls, {} drips; {} s; {}",
            self.rounds,
            list(&self.kills),
            self.rests,
            self.orders,
            self.pulses,
            self.events,
            self.damage.connections,
            self.damage.cuts,
            self.damage.stalls,
            self.damage.drips,
            self.seconds,
            list(&self.happenings)
        )
    }
}

/// A kill comes right behind one of these, or a little later.
type Moment = fn(&Happening) -> bool;

const MOMENTS: [Moment; 8] = [
    |what| matches!(what, Happening::PutAsked { .. }),
    |what| matches!(what, Happening::PutAcknowledged { .. }),
    |what| matches!(what, Happening::StatusTold { .. }),
    |what| matches!(what, Happening::NotificationTold { .. }),
    |what| matches!(what, Happening::Entered { .. }),
    |what| matches!(what, Happening::Answered { shown: Shown::Opening(_), .. }),
    |what| matches!(what, Happening::StaffAsked { .. }),
    |what| matches!(what, Happening::UnlockAsked { .. }),
];

/// Runs the rounds; an error names the seed, the round and the rule, and where the logs are.
pub async fn run(options: Options) -> anyhow::Result<Report> {
    let mut dice = Dice::new(options.seed);
    let town = Town::build(&mut dice).await?;
    let mut run = Run { town, dice, disks: BTreeMap::new(), since: 0, report: Report::default() };
    let began = Instant::now();
    let went = run.rounds(options).await;
    run.report.seconds = began.elapsed().as_secs();
    run.report.damage = run.town.damage();
    run.report.orders = run.town.known.count();
    for entry in run.town.history.entries() {
        *run.report.happenings.entry(entry.what.kind()).or_default() += 1;
    }
    match went {
        Ok(()) => {
            run.town.end().await?;
            Ok(run.report)
        }
        Err(error) => {
            let lines = run.post_mortem().await.context("keep what is left of a failed run")?;
            let (folder, round) = (run.town.keep_folder(), run.report.rounds + 1);
            let last = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
            Err(error.context(format!(
                "seed {}, round {round}; logs, disks and history in {}; the last of it:\n{last}\n",
                options.seed,
                folder.display(),
            )))
        }
    }
}

struct Run {
    town: Town,
    dice: Dice,
    /// As each cabinet's disk was seen last.
    disks: BTreeMap<schemas::ids::CabinetId, CabinetDisk>,
    since: At,
    report: Report,
}

impl Run {
    async fn rounds(&mut self, options: Options) -> anyhow::Result<()> {
        self.town.populate(&mut self.dice).await?;
        for round in 1..=options.rounds {
            self.round().await?;
            self.report.rounds = round;
            if round % options.rest_every == 0 || round == options.rounds {
                self.rest().await?;
            }
        }
        Ok(())
    }

    /// Writes beside the logs what was told and what each cabinet wrote down; returns what was told.
    async fn post_mortem(&mut self) -> anyhow::Result<Vec<String>> {
        let folder = self.town.keep_folder();
        let entries = self.town.history.entries();
        let lines: Vec<String> = entries.iter().map(|entry| format!("{:>9} {:?}", entry.at, entry.what)).collect();
        std::fs::write(folder.join("history.log"), lines.join("\n"))?;
        for victim in self.town.victims() {
            // It may be dead already.
            let _ = self.town.kill(&victim).await;
            let Victim::Agent(id) = victim else { continue };
            let disk = read_cabinet(&self.town.cabinet_store(&id)?)?;
            let events = disk.events.iter().map(|(n, record)| format!("{n} {:?}", cbor::decode::<Event>(record)));
            let rest = [format!("{:?}", disk.bays), format!("{} uses, {} pulses", disk.uses, disk.pulses)];
            std::fs::write(folder.join(format!("{id}.events")), events.chain(rest).collect::<Vec<_>>().join("\n"))?;
        }
        Ok(lines)
    }

    async fn round(&mut self) -> anyhow::Result<()> {
        let dice = &mut self.dice;
        self.town.set_weather(|| match dice.below(10) {
            0..=4 => Weather::CALM,
            5..=7 => Weather::BAD_4G,
            _ => Weather::STORM,
        });
        let stuck = self.stick_a_lock()?;
        let seen = self.town.history.len();
        let moment = MOMENTS[self.dice.index(MOMENTS.len())];
        // Without such a moment in time any other is as good.
        self.town.history.until(seen, MOMENT, moment).await;
        sleep(Duration::from_millis(if self.dice.one_in(2) { 0 } else { self.dice.between(0, 250) })).await;
        let victims = self.choose_victims();
        for victim in &victims {
            self.kill(victim).await?;
        }
        self.judge_the_dead(&victims)?;
        sleep(Duration::from_millis(self.dice.between(0, 900))).await;
        for victim in &victims {
            self.town.start(victim).await?;
        }
        if let Some((hall, compartment)) = stuck {
            self.town.set_stuck(&hall, compartment, false)?;
        }
        self.town.check_people()
    }

    fn stick_a_lock(&mut self) -> anyhow::Result<Option<(Hall, Compartment)>> {
        if !self.dice.one_in(6) {
            return Ok(None);
        }
        let hall = self.dice.pick(&self.town.halls).cloned();
        let compartment = u16::try_from(self.dice.between(1, 4)).ok().and_then(Compartment::new);
        let Some((hall, compartment)) = hall.zip(compartment) else { return Ok(None) };
        self.town.set_stuck(&hall, compartment, true)?;
        Ok(Some((hall, compartment)))
    }

    fn choose_victims(&mut self) -> Vec<Victim> {
        let all = self.town.victims();
        let mut chosen: Vec<Victim> = match self.dice.below(10) {
            0..=3 => vec![Victim::Broker],
            4 => vec![Victim::Signer],
            // One of the agents, which are behind the first two.
            5..=8 => vec![all[2 + self.dice.index(all.len() - 2)].clone()],
            _ => all.iter().filter(|_| self.dice.one_in(2)).cloned().collect(),
        };
        if chosen.is_empty() {
            chosen.push(Victim::Broker);
        }
        chosen
    }

    async fn kill(&mut self, victim: &Victim) -> anyhow::Result<()> {
        let name = match victim {
            Victim::Broker => "broker",
            Victim::Signer => "signer",
            Victim::Agent(_) => "agent",
        };
        *self.report.kills.entry(name).or_default() += 1;
        self.town.kill(victim).await
    }

    /// Holds the disks of dead processes against what was told.
    fn judge_the_dead(&mut self, dead: &[Victim]) -> anyhow::Result<()> {
        let evidence = self.evidence(dead)?;
        if dead.contains(&Victim::Broker) {
            judge(&evidence, &ALWAYS).map_err(anyhow::Error::msg)?;
        }
        Ok(())
    }

    /// Reads the disks of dead processes. Cabinets are compared with what their disks held before.
    fn evidence(&mut self, dead: &[Victim]) -> anyhow::Result<Evidence> {
        let mut evidence = Evidence { since: self.since, ..Evidence::default() };
        for hall in &self.town.halls {
            evidence.pulses.extend(hall.pulses()?);
        }
        for victim in dead {
            let Victim::Agent(id) = victim else { continue };
            let disk = read_cabinet(&self.town.cabinet_store(id)?)?;
            let pulses = evidence.pulses.iter().filter(|pulse| pulse.cabinet == *id).count();
            cabinet_forgets_nothing(id, self.disks.get(id), &disk, pulses as u64).map_err(anyhow::Error::msg)?;
            self.disks.insert(id.clone(), disk.clone());
            evidence.cabinets.insert(id.clone(), disk);
        }
        if dead.contains(&Victim::Broker) {
            evidence.fleet = read_fleet(&self.town.fleet_store())?;
        }
        evidence.told = self.town.history.entries();
        Ok(evidence)
    }

    /// Everything is finished, killed once more, and compared as a whole.
    async fn rest(&mut self) -> anyhow::Result<()> {
        self.town.set_weather(|| Weather::CALM);
        self.town.pace.set(Mode::Finishing);
        for look in 1.. {
            self.until_quiet().await?;
            let still = self.town.pace.still().await;
            let all = self.town.victims();
            for victim in &all {
                self.town.kill(victim).await?;
            }
            let evidence = self.evidence(&all)?;
            judge(&evidence, &ALWAYS).map_err(anyhow::Error::msg)?;
            let rested = judge(&evidence, &AT_REST).map_err(anyhow::Error::msg);
            let early = rested.as_ref().is_err_and(|error| error.to_string().contains("come_to_rest"));
            if !early || look == LOOKS {
                rested?;
            }
            self.since = self.town.history.now();
            for victim in [Victim::Signer, Victim::Broker].iter().chain(all.iter().skip(2)) {
                self.town.start(victim).await?;
            }
            if !early {
                self.report.rests += 1;
                self.report.pulses = evidence.pulses.len();
                self.report.events = evidence.cabinets.values().map(CabinetDisk::newest).sum();
                self.town.pace.set(Mode::Busy);
                drop(still);
                return self.town.check_people();
            }
        }
        Ok(())
    }

    /// Waits until nothing is under way as far as anybody can see.
    async fn until_quiet(&mut self) -> anyhow::Result<()> {
        let observer = self.town.observer().await?;
        let mut sessions = vec![None; self.town.halls.len()];
        let give_up = Instant::now() + REST;
        loop {
            let restless = self.restless(&observer, &mut sessions).await;
            let Some(restless) = restless else { break };
            anyhow::ensure!(Instant::now() < give_up, "nothing comes to rest: {restless}");
            self.town.check_people()?;
            sleep(Duration::from_millis(150)).await;
        }
        observer.close().await;
        Ok(())
    }

    /// What is under way still.
    async fn restless(&self, observer: &Client, sessions: &mut [Option<(Screen, String)>]) -> Option<String> {
        let under_way = self.town.known.all(|_, known| !known.is_over());
        if let Some((order, known)) = under_way.first() {
            return Some(format!(
                "order {order} at {} is {:?} in {:?}, its goods are {:?}",
                known.cabinet, known.state, known.compartment, known.goods
            ));
        }
        for (hall, session) in self.town.halls.iter().zip(sessions) {
            let restless = self.restless_hall(hall, observer, session).await;
            match restless {
                Ok(None) => {}
                Ok(Some(what)) => return Some(format!("{}: {what}", hall.id())),
                Err(error) => return Some(format!("{}: {error:#}", hall.id())),
            }
        }
        None
    }

    async fn restless_hall(
        &self,
        hall: &Hall,
        observer: &Client,
        session: &mut Option<(Screen, String)>,
    ) -> anyhow::Result<Option<String>> {
        if session.is_none() {
            let screen = hall.screen().context("no screen")?;
            let id = screen.staff(&self.town.pin).await?;
            *session = Some((screen, id));
        }
        let Some((screen, id)) = session.as_ref() else { return Ok(Some("no session".to_owned())) };
        let view = timeout(MOMENT, screen.view(Some(id))).await.context("the screen does not answer")??;
        if view["staff"].is_null() {
            *session = None;
            return Ok(Some("the session of staff is over".to_owned()));
        }
        if let Some(what) = restless_view(&view) {
            return Ok(Some(what));
        }
        let reply = observer.request(&Request::CabinetShow { cabinet: hall.id().clone() }).await?;
        let Reply::Cabinet(shown) = reply else { anyhow::bail!("the reply was {reply:?}") };
        let held = shown.book_held == shown.book_wanted;
        Ok((!held).then(|| format!("has book {} of {}", shown.book_held, shown.book_wanted)))
    }
}

fn restless_view(view: &Value) -> Option<String> {
    if view["online"] != true {
        return Some("is offline".to_owned());
    }
    if view["staff"]["outbox"] != 0 {
        return Some(format!("has {} events to send", view["staff"]["outbox"]));
    }
    let compartments = view["staff"]["compartments"].as_array().map(Vec::as_slice).unwrap_or_default();
    let busy = compartments.iter().find(|shown| {
        let marked = ["fault", "allocated", "audit_required", "asks", "try_again"];
        shown["door"] != "closed" || shown["occupancy"] != "empty" || marked.iter().any(|field| shown[*field] == true)
    });
    busy.map(Value::to_string)
}
