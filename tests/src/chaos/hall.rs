//! The room in front of a cabinet: its doors as they really are, and what people put in and take out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use fleet_cli::stage::{Cabinet, Screen};
use schemas::ids::CabinetId;
use schemas::messages::{Compartment, OrderKey};
use serde_json::Value;
use sim_board::Door;
use tokio::time::{Instant, sleep};

use super::authority::PulseSeen;
use super::history::{Happening, History};
use super::knowledge::{Goods, Knowledge};
use super::pace::Pace;
use crate::sim::Dice;

/// Nobody opens, reaches in and closes faster: polls of the lock bus are told apart by less.
const FASTEST: Duration = Duration::from_millis(900);
/// How often somebody looks at the doors.
const LOOK: Duration = Duration::from_millis(15);

/// A cabinet and everything around it that a kill of its agent does not touch.
#[derive(Clone)]
pub(super) struct Hall {
    pub(super) cabinet: Arc<Cabinet>,
    pub(super) history: History,
    pub(super) known: Knowledge,
    pub(super) pace: Pace,
    /// Held while somebody reaches into a compartment or closes a door.
    hands: Arc<Mutex<()>>,
}

impl Hall {
    pub(super) fn new(cabinet: Cabinet, history: History, known: Knowledge, pace: Pace) -> Self {
        Self { cabinet: Arc::new(cabinet), history, known, pace, hands: Arc::default() }
    }

    pub(super) fn id(&self) -> &CabinetId {
        self.cabinet.id()
    }

    /// The screen of the agent that runs now, if one does.
    pub(super) fn screen(&self) -> Option<Screen> {
        Screen::from_address_file(&self.cabinet.folder().path.join("screen.url")).ok()
    }

    pub(super) fn is_open(&self, compartment: Compartment) -> anyhow::Result<bool> {
        let (board, lock) = self.cabinet.place(compartment)?;
        Ok(self.cabinet.board().door(board, lock).context("look at a door")? == Door::Open)
    }

    pub(super) fn pulses(&self) -> anyhow::Result<Vec<PulseSeen>> {
        let pulses = self.cabinet.board().pulses();
        let seen = pulses.iter().map(|pulse| {
            anyhow::ensure!(pulse.kind == sim_board::PulseKind::One, "a pulse of another kind: {pulse:?}");
            let compartment = self.cabinet.compartment_at(pulse.board, pulse.lock)?;
            Ok(PulseSeen { at: self.history.at(pulse.at), cabinet: self.id().clone(), compartment })
        });
        seen.collect()
    }

    /// Waits until the door stands open, for as long as somebody would stand there.
    pub(super) async fn until_open(&self, compartment: Compartment, patience: Duration) -> anyhow::Result<bool> {
        let give_up = Instant::now() + patience;
        while Instant::now() < give_up {
            if self.is_open(compartment)? {
                return Ok(true);
            }
            sleep(LOOK).await;
        }
        Ok(false)
    }

    /// Staff put an order behind an open door. Whatever is there already is a scandal.
    pub(super) fn put_in(&self, order: &OrderKey, compartment: Compartment) -> anyhow::Result<()> {
        let _hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_open(compartment)? {
            return Ok(());
        }
        if let Some(other) = self.known.goods_in(self.id(), compartment) {
            let text = format!("staff shall put {order} where {other} is");
            self.history.note(Happening::Surprised { cabinet: self.id().clone(), compartment, text });
        } else if self.known.move_goods(order, Goods::Staff, Goods::Inside(compartment)) {
            self.cabinet.set_inside(compartment, true)?;
        }
        Ok(())
    }

    /// Somebody reaches for an order behind an open door.
    pub(super) fn take_out(&self, order: &OrderKey, compartment: Compartment, to: Goods) -> anyhow::Result<bool> {
        let _hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
        let took = self.is_open(compartment)? && self.known.move_goods(order, Goods::Inside(compartment), to);
        if took {
            self.cabinet.set_inside(compartment, false)?;
        }
        Ok(took)
    }

    /// Somebody's goods are where another's should be.
    pub(super) fn look_for_strangers(&self, order: &OrderKey, compartment: Compartment) -> anyhow::Result<()> {
        let _hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = self.known.goods_in(self.id(), compartment)
            && other != *order
            && self.is_open(compartment)?
        {
            let text = format!("who came for {order} finds {other}");
            self.history.note(Happening::Surprised { cabinet: self.id().clone(), compartment, text });
        }
        Ok(())
    }

    /// The first compartment that the screen shows to staff with `field` true.
    pub(super) fn first_marked(view: &Value, field: &str) -> Option<Compartment> {
        view["staff"]["compartments"].as_array()?.iter().find(|shown| shown[field] == true).and_then(number)
    }
}

fn number(shown: &Value) -> Option<Compartment> {
    Compartment::new(u16::try_from(shown["number"].as_u64()?).ok()?)
}

/// Passers-by who close doors that stand open, sooner or later.
pub(super) async fn close_doors(hall: Hall, compartments: Vec<Compartment>, mut dice: Dice) -> anyhow::Result<()> {
    let mut open: BTreeMap<Compartment, Instant> = BTreeMap::new();
    // Doors are closed in quiet times too, so the guard is not kept.
    while hall.pace.next(&mut dice, 200).await.is_some() {
        for compartment in &compartments {
            let _hands = hall.hands.lock().unwrap_or_else(PoisonError::into_inner);
            if !hall.is_open(*compartment)? {
                open.remove(compartment);
            } else if open.entry(*compartment).or_insert_with(Instant::now).elapsed() >= FASTEST && !dice.one_in(4) {
                hall.cabinet.close_door(*compartment)?;
                open.remove(compartment);
            }
        }
    }
    Ok(())
}
