//! One schedule from a seed, from the first start to the check of everything at the end.

use std::fmt;

use super::coverage::Coverage;
use super::decisions::Decision;
use super::dice::Dice;
use super::sabotage::Sabotage;
use super::world::{CABS, Happening, World};

/// Facts and faults of a schedule at least.
pub const INPUTS_MIN: u64 = 200;
pub const FAULTS_MIN: u64 = 3;

/// How fast things happen. Most schedules are short and busy; what needs its time comes in the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Busy,
    Brisk,
    Calm,
}

impl Pace {
    pub(super) fn of(seed: u64) -> Self {
        match Dice::at(seed, 0, u64::MAX - 1).below(20) {
            0 => Self::Calm,
            1..=4 => Self::Brisk,
            _ => Self::Busy,
        }
    }

    fn rough_millis(self, dice: &mut Dice) -> u64 {
        match self {
            Self::Busy => dice.between(45_000, 150_000),
            Self::Brisk => dice.between(300_000, 1_200_000),
            Self::Calm => dice.between(3_600_000, 5_400_000),
        }
    }

    /// What a long wait of a calm schedule becomes.
    pub(super) fn wait(self, millis: u64) -> u64 {
        match self {
            Self::Busy => millis / 12,
            Self::Brisk => millis / 4,
            Self::Calm => millis,
        }
    }
}

/// How a schedule is played.
#[derive(Debug, Clone)]
pub struct Options {
    /// Simulated time with people, faults and an adversary at work; drawn from the seed, if it is not given.
    pub rough_millis: Option<u64>,
    pub sabotage: Option<Sabotage>,
    /// Steps that a failure shows.
    pub shown: usize,
    /// Decisions whose name begins like one of these are not taken.
    pub without: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { rough_millis: None, sabotage: None, shown: 60, without: Vec::new() }
    }
}

/// What a schedule without a broken invariant did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Over every input, step and fault; the same for the same seed.
    pub hash: u64,
    pub steps: u64,
    pub crashes: u64,
    /// Facts that were handed to a core.
    pub inputs: u64,
    /// Faults that were drawn, and crashes within a step; what is lost or doubled on the way is not counted.
    pub faults: u64,
    pub simulated_millis: u64,
    pub coverage: Coverage,
    pub decisions: Vec<Decision>,
}

/// A broken invariant, with what came before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub seed: u64,
    pub invariant: &'static str,
    pub text: String,
    /// How long times were rough, or were to be.
    pub rough_millis: u64,
    /// The newest steps, one line each.
    pub history: Vec<String>,
    /// What was decided until then.
    pub decisions: Vec<Decision>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.history {
            writeln!(f, "{line}")?;
        }
        write!(f, "seed {}: {}: {}", self.seed, self.invariant, self.text)
    }
}

/// Plays the schedule of `seed`.
pub fn run(seed: u64, options: &Options) -> Result<Report, Failure> {
    run_decisions(seed, options, None)
}

/// Plays the schedule of `seed` with these of its decisions only.
pub fn run_kept(seed: u64, options: &Options, kept: &[Decision]) -> Result<Report, Failure> {
    run_decisions(seed, options, Some(kept))
}

/// Nothing is written down at first. Whoever wants to see a failing history has it played once more.
fn run_decisions(seed: u64, options: &Options, kept: Option<&[Decision]>) -> Result<Report, Failure> {
    let quiet = Options { shown: 0, ..options.clone() };
    let played = play(seed, &quiet, kept);
    if options.shown > 0 && played.is_err() { play(seed, options, kept) } else { played }
}

fn play(seed: u64, options: &Options, kept: Option<&[Decision]>) -> Result<Report, Failure> {
    let mut world = World::new(seed, options, kept);
    world.set_up();
    world.be_rough(options.rough_millis);
    if world.broken.is_none() {
        world.heal();
    }
    if world.broken.is_none() {
        world.check_quiet();
    }
    if world.broken.is_none() {
        world.collect_all();
    }
    match world.broken.take() {
        Some(broken) => Err(Failure {
            seed,
            invariant: broken.invariant,
            text: broken.text,
            rough_millis: world.rough_millis,
            history: world.history(),
            decisions: world.decisions.taken().to_vec(),
        }),
        None => Ok(Report {
            hash: world.hash(),
            steps: world.steps,
            crashes: world.crashes,
            inputs: world.inputs,
            faults: world.faults,
            simulated_millis: world.now,
            decisions: world.decisions.taken().to_vec(),
            coverage: world.coverage,
        }),
    }
}

impl World {
    /// The operator makes cabinets and staff known, everything starts and finds each other.
    fn set_up(&mut self) {
        self.scans = Dice::at(self.seed(), 0, u64::MAX - 13).one_in(2);
        self.apps = Dice::at(self.seed(), 0, u64::MAX - 8).one_in(3) && self.decides("there are apps");
        if self.managers_come() {
            self.begin_time(&mut Dice::at(self.seed(), 0, u64::MAX - 10));
            self.has_glass =
                Dice::at(self.seed(), 0, u64::MAX - 12).one_in(2) && self.decides("there are break-glass codes");
        }
        self.has_channels = Dice::at(self.seed(), 0, u64::MAX - 14).one_in(3) && self.decides("there are channels");
        if Dice::at(self.seed(), 0, u64::MAX - 11).one_in(3) && self.decides("cabinets are larger") {
            self.cabinets_are_larger();
        }
        self.start_fleet();
        for cab in 0..CABS {
            let (cabinet, instance) = (self.name_of(cab), self.cabs[cab].instance());
            self.ask(format!(
                r#"{{"op":"cabinet.add","cabinet":"{cabinet}","site":"mall","place":"Main Street","instance":"{instance}"}}"#
            ));
            self.start_cabinet(cab);
        }
        self.ask(r#"{"op":"staff.add","name":"ann"}"#.to_owned());
        if self.has_channels {
            self.put_channels();
        }
        self.run_until(30_000);
    }

    /// Most schedules have them; the others stay those of before there were any.
    fn others_come(&self) -> bool {
        !Dice::at(self.seed(), 0, u64::MAX - 3).one_in(4)
    }

    fn couriers_come(&self) -> bool {
        Dice::at(self.seed(), 0, u64::MAX - 6).one_in(2)
    }

    fn answerers_come(&self) -> bool {
        Dice::at(self.seed(), 0, u64::MAX - 7).one_in(2)
    }

    fn managers_come(&self) -> bool {
        Dice::at(self.seed(), 0, u64::MAX - 9).one_in(2)
    }

    fn be_rough(&mut self, millis: Option<u64>) {
        self.rough = true;
        self.rough_millis = millis.unwrap_or_else(|| self.pace.rough_millis(&mut Dice::at(self.seed(), 0, u64::MAX)));
        for happening in
            [Happening::SomebodyActs, Happening::FaultStrikes, Happening::AdversaryActs, Happening::CopiesAreMade]
        {
            self.later(0, happening);
        }
        if self.others_come() {
            self.later(0, Happening::OthersAct);
        }
        if self.couriers_come() {
            self.later(0, Happening::CouriersAct);
        }
        if self.apps {
            self.later(0, Happening::AppsAct);
        }
        if self.managers_come() {
            self.later(0, Happening::ManagersAct);
        }
        if self.answerers_come() {
            self.later(0, Happening::AnswerersAct);
        }
        if self.sabotage == Some(Sabotage::Undetermined) {
            self.mix(&UNDETERMINED.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_be_bytes());
        }
        self.run_until(self.now + self.rough_millis);
        // A schedule in which little happened goes on.
        while millis.is_none() && self.broken.is_none() && (self.inputs < INPUTS_MIN || self.faults < FAULTS_MIN) {
            self.rough_millis += 30_000;
            self.run_until(self.now + 30_000);
        }
    }
}

/// What a sabotaged schedule lets decide besides its seed.
static UNDETERMINED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
