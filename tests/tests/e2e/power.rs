//! Power that fails between a pulse and what comes of it.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Look, Site, World, order, until};
use schemas::api::{LiveEvent, OrderState, Reply, Request};
use schemas::messages::{Compartment, UnlockOutcome};
use sim_board::LockFault;

use crate::machine::{can_be_started_again, started_again};

/// Acceptance 11, for an operator's unlock: what the sensor says at boot is the outcome, and where it says nothing that
/// settles it, the outcome is unknown.
#[tokio::test]
async fn a_power_cut_behind_a_remote_pulse_moves_no_door_and_has_an_honest_outcome() -> anyhow::Result<()> {
    if !can_be_started_again()? {
        return Ok(());
    }
    let world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    for (boot, outcome) in [(1, UnlockOutcome::OutcomeUnknown), (2, UnlockOutcome::Opened)] {
        let door = Compartment::new(2 + u16::try_from(boot)?).context("a door")?;
        let (board, lock) = unheard(&site, door)?;
        let cabinet = site.cabinet.id().clone();
        let request = Request::Unlock { cabinet, compartment: door, reason: "customer on the phone".to_owned() };
        let (asked, cut) = tokio::join!(world.operator.request(&request), async {
            site.cabinet.until_pulsed(door, 1).await?;
            site.cabinet.kill_agent().await?;
            if outcome == UnlockOutcome::Opened {
                site.cabinet.board().pry(board, lock)?;
            }
            start_again(&world, &mut site, boot).await
        });
        cut?;
        let Reply::Unlock(told) = asked? else { anyhow::bail!("no outcome") };
        ensure!(told.outcome == outcome, "{told:?}");
        ensure!(site.cabinet.pulses() == usize::try_from(boot)?, "a door moved at boot");
    }
    Ok(())
}

/// Acceptance 11, for customers: one of them took the goods while the power was out, and one never saw the door open.
#[tokio::test]
async fn a_power_cut_behind_a_customers_pulse_is_settled_by_the_sensor() -> anyhow::Result<()> {
    if !can_be_started_again()? {
        return Ok(());
    }
    let mut world = World::start().await?;
    let mut plan = CabinetPlan::new("berlin-01", "1-2:S");
    plan.boards = vec![(1, 12)];
    plan.sensors = vec![(1, 1, 11), (2, 1, 12)];
    let mut site = world.cabinet(plan).await?;
    let (mut codes, mut doors) = (Vec::new(), Vec::new());
    for id in ["A1", "A2"] {
        world.shop.put(&order(id, "berlin-01", "S")).await?;
        let door = site.open_for(&format!("shop/{id}")).await?;
        site.cabinet.set_inside(door, true)?;
        site.cabinet.close_door(door)?;
        world.shop.until_state(id, OrderState::Stored).await?;
        codes.push(world.shop.until_notified(id).await?);
        doors.push(door);
    }
    for (at, taken) in [true, false].into_iter().enumerate() {
        let boot = u32::try_from(at)? + 1;
        let (board, lock) = unheard(&site, doors[at])?;
        site.enter(&codes[at].code).await?;
        site.cabinet.kill_agent().await?;
        site.cabinet.set_inside(doors[at], !taken)?;
        site.cabinet.board().set_lock_fault(board, lock, LockFault::None)?;
        start_again(&world, &mut site, boot).await?;
    }
    let [taken, left] = [doors[0], doors[1]];
    until("the empty compartment needs a look", async || {
        let shown = world.show(&site).await?.compartments;
        let doubted: Vec<Compartment> = shown.iter().filter(|one| one.audit_required).map(|one| one.number).collect();
        Ok(Look::at((doubted == [taken]).then_some(()), || format!("{doubted:?}")))
    })
    .await?;
    let settled = |event: &LiveEvent| event.kind == "door_fault" && event.compartment == Some(left);
    world.watch.until("the cabinet has given up to know what came of it", settled).await?;
    site.no_more_pulses()?;
    ensure!(site.enter(&codes[1].code).await? == left, "who got nothing may try again");
    site.until_door(left, "open").await?;
    site.cabinet.set_inside(left, false)?;
    site.cabinet.close_door(left)?;
    world.shop.until_state("A2", OrderState::Collected).await?;
    Ok(())
}

/// The door moves so late that the agent is gone before it could hear of it. Returns board and lock.
fn unheard(site: &Site, door: Compartment) -> anyhow::Result<(u8, u8)> {
    let (board, lock) = site.cabinet.place(door)?;
    site.cabinet.board().set_lock_fault(board, lock, LockFault::Stuck)?;
    Ok((board, lock))
}

async fn start_again(world: &World, site: &mut Site, boot: u32) -> anyhow::Result<()> {
    site.cabinet.launch_through(started_again(world, boot)?);
    site.start_agent().await
}
