//! Bytes between agent and broker for one unlock and for one door event.
//!
//! Nothing is decrypted: three things are done that differ by one message each, and what they cost is subtracted.
//! An unlock that opens is a command, a door event and a result; on a stuck lock it is the same without the door event; a
//! door that is pushed shut is a door event alone. Each message is answered by a PUBACK.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use fleet_cli::client::{LiveItem, LiveStream};
use fleet_cli::stage::PATIENCE;
use schemas::messages::UnlockOutcome;
use sim_board::LockFault;
use tokio::time::{Instant, sleep, timeout};

use super::figures::Figure;
use super::relay::{Direction, Record, Relay};
use super::samples::Samples;
use super::site::{PERSON, Site, compartment};
use super::unlocks::space;

/// After so long without a record everything that belongs together has gone through.
pub(super) const SETTLED: Duration = Duration::from_millis(300);
/// Between samples of telemetry there are 30 s or more. So much of them is used.
const WINDOW: Duration = Duration::from_secs(18);
/// A challenge is too old to sign for after 10 s.
const CHALLENGE_OLD: Duration = Duration::from_secs(12);

/// What was seen of one kind of exchange, each time.
#[derive(Default)]
struct Seen {
    up: Vec<usize>,
    down: Vec<usize>,
    first_down: Vec<usize>,
    first_up: Vec<usize>,
}

impl Seen {
    fn add(&mut self, records: &[Record]) {
        let of = |direction| records.iter().filter(move |record| record.direction == direction);
        let size = |record: &Record| record.size;
        self.up.push(of(Direction::Up).map(size).sum());
        self.down.push(of(Direction::Down).map(size).sum());
        self.first_down.extend(of(Direction::Down).map(size).next());
        self.first_up.extend(of(Direction::Up).map(size).next());
    }

    fn both(&self) -> anyhow::Result<f64> {
        median(self.up.iter().zip(&self.down).map(|(up, down)| up + down))
    }
}

/// Bytes.
const COMMAND_GOAL: f64 = 400.0;
const COLD_GOAL: f64 = 1_000.0;

pub(super) struct Traffic {
    pub(super) figures: Vec<Figure>,
    /// The fleet's time: a challenge that is asked for, and a signed message about as long as a command.
    pub(super) time: f64,
}

pub(super) async fn measure(site: &Site, relay: &Relay) -> anyhow::Result<Traffic> {
    site.cabinet.board().set_person(None);
    let mut live = site.operator.subscribe_live(Some(site.cabinet.id())).await?;
    let (mut opening, mut stuck, mut closing, mut asking) =
        (Seen::default(), Seen::default(), Seen::default(), Seen::default());
    // A door that stands open is told in the next sample, and that it was closed again in the one after that.
    unlock(site, relay, 0, UnlockOutcome::Opened).await?;
    let began = next_telemetry(&mut live).await?;
    close(site, relay, 0).await?;
    let mut index = 1;
    while began.elapsed() < WINDOW {
        opening.add(&unlock(site, relay, index, UnlockOutcome::Opened).await?);
        closing.add(&close(site, relay, index).await?);
        stuck.add(&unlock_stuck(site, relay, index + 1).await?);
        index += 2;
    }
    next_telemetry(&mut live).await?;
    sleep(CHALLENGE_OLD).await;
    asking.add(&unlock(site, relay, index, UnlockOutcome::Opened).await?);
    close(site, relay, index).await?;
    site.cabinet.board().set_person(Some(PERSON));

    let (opened, unlocked, closed) = (opening.both()?, stuck.both()?, closing.both()?);
    let command = median(stuck.first_down.iter().copied())?;
    let command_ack = median(stuck.first_up.iter().copied())?;
    let event_ack = median(closing.down.iter().copied())?;
    let figures = vec![
        Figure::bytes("wire: one unlock: command, result, two PUBACKs", unlocked),
        Figure::bytes("… the signed command, to the cabinet", command).at_most(COMMAND_GOAL),
        Figure::bytes("… its PUBACK", command_ack),
        Figure::bytes("… the result event and its PUBACK", unlocked - command - command_ack),
        Figure::bytes("wire: a door that opened: event and PUBACK", opened - unlocked),
        Figure::bytes("wire: a door that closed: event and PUBACK", closed),
        Figure::bytes("… of that the PUBACK", event_ack),
        Figure::bytes("wire: unlock after 12 s of silence: challenge asked for in addition", asking.both()? - opened),
        Figure::bytes("wire: such a cold unlock in all, the door event with it", asking.both()?).at_most(COLD_GOAL),
    ];
    Ok(Traffic { figures, time: asking.both()? - opened + command + command_ack })
}

async fn unlock(site: &Site, relay: &Relay, index: usize, expected: UnlockOutcome) -> anyhow::Result<Vec<Record>> {
    space(std::time::Instant::now()).await?;
    let mark = relay.mark();
    site.unlock(compartment(index)?, expected).await?;
    relay.settled(mark, 4, SETTLED).await
}

async fn unlock_stuck(site: &Site, relay: &Relay, index: usize) -> anyhow::Result<Vec<Record>> {
    let (board, lock) = site.cabinet.place(compartment(index)?)?;
    site.cabinet.board().set_lock_fault(board, lock, LockFault::Stuck)?;
    let records = unlock(site, relay, index, UnlockOutcome::NotOpened).await?;
    site.cabinet.board().set_lock_fault(board, lock, LockFault::None)?;
    Ok(records)
}

async fn close(site: &Site, relay: &Relay, index: usize) -> anyhow::Result<Vec<Record>> {
    let mark = relay.mark();
    site.cabinet.close_door(compartment(index)?)?;
    let records = relay.settled(mark, 2, SETTLED).await?;
    ensure!(records.len() == 2, "a closed door was {} records", records.len());
    Ok(records)
}

/// Waits until a sample of telemetry has come: the next is 30 s away at least.
pub(super) async fn next_telemetry(live: &mut LiveStream) -> anyhow::Result<Instant> {
    let wait = async {
        loop {
            match live.next().await? {
                LiveItem::Telemetry(_) => return anyhow::Ok(Instant::now()),
                LiveItem::Lost(_) => bail!("live messages were lost"),
                LiveItem::Presence(_) | LiveItem::Event(_) | LiveItem::Availability(_) => {}
            }
        }
    };
    timeout(PATIENCE, wait).await.context("no telemetry came")?
}

/// The median: messages that once shared a record, or a challenge in between, do not count.
fn median(samples: impl IntoIterator<Item = usize>) -> anyhow::Result<f64> {
    let samples = Samples::new(samples.into_iter().map(|size| size as f64)).context("nothing went over the wire")?;
    Ok(samples.median())
}
