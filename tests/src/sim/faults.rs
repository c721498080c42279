//! What goes wrong by itself: networks, processes, machines, disks, the signer, lock boards and clocks.

use cabinet_core::Input;

use super::ledger::Cab;
use super::world::{CABS, Happening, World};

/// How often it is drawn, its name, and what it does, perhaps to this cabinet.
type Fault = (u64, &'static str, fn(&mut World, Cab));

const FAULTS: &[Fault] = &[
    (5, "connection breaks", World::connection_breaks),
    (2, "agent crash", |world, cab| world.crash_cabinet(cab, false)),
    (1, "cabinet power cut", |world, cab| world.crash_cabinet(cab, true)),
    (1, "fleet crash", |world, _| world.crash_fleet()),
    (1, "signer gone", |world, _| world.signer_goes()),
    (2, "no network", World::network_goes),
    (1, "cabinet disk full", World::cabinet_disk_full),
    (1, "cabinet disk low", World::cabinet_disk_low),
    (1, "fleet disk full", |world, _| world.fleet_disk_full()),
    (1, "fleet clock jumps", |world, _| world.fleet_clock_jumps()),
    (1, "fleet starts with a wrong clock", |world, _| world.fleet_starts_in_the_past()),
    (2, "cabinet suspends", World::cabinet_suspends),
    (1, "fleet is restored", |world, _| world.fleet_is_restored()),
    (1, "cabinet gets a new disk", World::cabinet_gets_a_new_disk),
    (1, "cabinet is put back", World::cabinet_is_put_back),
    (2, "board falls silent", World::board_falls_silent),
    (1, "board is slow", World::board_is_slow),
    (1, "port is lost", World::port_is_lost),
    (1, "contact says open", World::contact_says_open),
    (1, "contacts are exchanged", World::contacts_are_exchanged),
    (1, "locks are exchanged", World::locks_are_exchanged),
];

impl World {
    /// The next fault.
    pub(super) fn fault_strikes(&mut self) {
        if !self.rough {
            return;
        }
        let wait = self.draw_wait(1_000, 300_000);
        self.later(wait, Happening::FaultStrikes);
        let cab = self.dice.index(CABS);
        let mut drawn = self.dice.below(FAULTS.iter().map(|(often, _, _)| often).sum());
        for (often, what, strike) in FAULTS {
            if drawn < *often {
                if self.decides(what) {
                    self.faults += 1;
                    strike(self, cab);
                }
                return;
            }
            drawn -= often;
        }
    }

    fn connection_breaks(&mut self, cab: Cab) {
        if let Some(conn) = self.cabs[cab].conn {
            let (fleet, cabinet) = (self.dice.below(90_000), self.dice.below(60_000));
            // One direction may live on for a while: what was said is heard, and the answer is not, or the other way round.
            match self.dice.below(3) {
                0 => {
                    self.fault(&format!("connection {conn} breaks"));
                    self.cut(conn, fleet, cabinet);
                }
                side => {
                    self.coverage.count("faults", "connection broken one way");
                    self.fault(&format!(
                        "connection {conn} breaks {}",
                        if side == 1 { "upwards" } else { "downwards" }
                    ));
                    if let Some(wire) = self.wires.get_mut(&conn) {
                        (wire.up, wire.down) = (wire.up && side != 1, wire.down && side == 1);
                    }
                    let wait = self.dice.between(1, 20_000);
                    self.later(wait, Happening::Cuts { conn, fleet_after: fleet, cabinet_after: cabinet });
                }
            }
        }
    }

    fn signer_goes(&mut self) {
        self.signer.works = false;
        let wait = self.dice.between(1_000, 180_000);
        self.fault(&format!("no signer for {} s", wait / 1_000));
        self.later(wait, Happening::SignerReturns);
    }

    fn network_goes(&mut self, cab: Cab) {
        self.blocked[cab] = true;
        if let Some(conn) = self.cabs[cab].conn {
            self.cut(conn, 30_000, 30_000);
        }
        let wait = self.draw_wait(60_000, 3_600_000);
        self.fault(&format!("cabinet {cab} has no network for {} s", wait / 1_000));
        self.later(wait, Happening::NetworkReturns(cab));
    }

    fn cabinet_disk_full(&mut self, cab: Cab) {
        let wait = self.dice.between(1_000, 240_000);
        self.fault(&format!("the disk of cabinet {cab} is full for {} s", wait / 1_000));
        self.cabs[cab].store.set_full(true);
        self.later(wait, Happening::CabinetDiskFree(cab));
    }

    /// The store lives on its reserve: pickups go on, nothing new is loaded.
    fn cabinet_disk_low(&mut self, cab: Cab) {
        let wait = self.dice.between(1_000, 600_000);
        self.coverage.count("faults", "cabinet disk low");
        self.fault(&format!("the disk of cabinet {cab} is low for {} s", wait / 1_000));
        self.set_disk_low(cab, true);
        self.later(wait, Happening::CabinetDiskRoom(cab));
    }

    pub(super) fn set_disk_low(&mut self, cab: Cab, low: bool) {
        self.cabs[cab].disk_low = low;
        self.take_cabinet(cab, Input::Disk { low }, None);
    }

    fn fleet_disk_full(&mut self) {
        let wait = self.dice.between(1_000, 120_000);
        self.fault(&format!("the fleet's disk is full for {} s", wait / 1_000));
        self.fleet.store.set_full(true);
        self.later(wait, Happening::FleetDiskFree);
    }

    /// The machine sleeps: its boot clock runs on, and everything that it has to do is late.
    fn cabinet_suspends(&mut self, cab: Cab) {
        if self.cabs[cab].asleep_until > self.now {
            return;
        }
        let wait = self.dice.between(1_000, 600_000);
        self.coverage.count("faults", "cabinet suspends");
        self.fault(&format!("cabinet {cab} sleeps for {} s", wait / 1_000));
        self.cabs[cab].asleep_until = self.now + wait;
        if let Some(conn) = self.cabs[cab].conn.filter(|_| wait > 90_000) {
            // Nothing was heard of it for one and a half keep-alives.
            self.cut(conn, 90_000, wait);
        }
    }

    fn fault(&mut self, text: &str) {
        self.tell(|| format!("fault: {text}"));
    }
}
