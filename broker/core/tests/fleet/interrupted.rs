//! Stories that are broken off everywhere: after each commit, and between any two aggregates of a step.

use fleet_core::INTENTS;
use schemas::step::Store as _;

use crate::world::World;

/// At how many points a story was broken off.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) commits: usize,
    pub(crate) cuts: usize,
}

/// Plays the story once as a whole, and then once for each point at which it can be broken off.
pub(crate) fn everywhere(
    begin: impl Fn() -> World,
    story: impl Fn(&mut World),
    check: impl Fn(&mut World, &str),
) -> Tried {
    let check = |world: &mut World, what: &str| {
        check(world, what);
        assert!(world.store.rows(INTENTS).unwrap().is_empty(), "{what}: intents are left");
    };
    let mut whole = begin();
    let inputs = whole.handled..{
        story(&mut whole);
        whole.handled
    };
    check(&mut whole, "without a crash");
    let mut tried = Tried { commits: inputs.len(), cuts: 0 };
    for input in inputs {
        let mut world = begin();
        world.crash_after = Some(input);
        story(&mut world);
        check(&mut world, &format!("crash after commit {input}"));
        for cut in 0.. {
            let mut world = begin();
            world.cut_at = Some((input, cut));
            story(&mut world);
            // A restart has taken the wish for a cut away.
            if !world.crashed && world.cut_at.is_some() {
                break;
            }
            tried.cuts += 1;
            check(&mut world, &format!("input {input} cut at {cut}"));
        }
    }
    tried
}

/// After a crash the process starts again, and the cabinets come back. False where there was one.
pub(crate) fn survived(world: &mut World) -> bool {
    if !world.crashed {
        return true;
    }
    world.restart();
    let cabinets: Vec<_> = world.cabinets.keys().cloned().collect();
    cabinets.iter().for_each(|id| world.connect(id));
    false
}

/// A publisher repeats what was not acknowledged.
pub(crate) fn insist(world: &mut World, act: impl Fn(&mut World)) {
    loop {
        act(world);
        if survived(world) {
            return;
        }
    }
}
