//! Lock boards, locks and door contacts, as the agent's bus meets them: also silent, slow, crossed and lying ones.

use std::collections::BTreeMap;

use cabinet_core::{DoorSeen, Input};
use schemas::messages::{Compartment, Occupancy, OrderKey};

use super::ledger::{Cab, Seen};
use super::sabotage::Sabotage;
use super::world::{Happening, World};

/// The compartments from this number on hang on the second board.
const SECOND_FROM: u16 = 4;
const BOARDS: [u32; 2] = [1, 2];

/// What is wrong with a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Its status is not heard.
    Silent(Locks),
    /// What it says comes seconds later.
    Late,
}

/// What becomes of the pulses of a silent board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locks {
    /// No byte of them leaves: the port is lost.
    Lost,
    /// They are sent and nothing moves.
    Dead,
    /// They are sent and the door opens, unheard.
    Work,
}

/// What is wrong with the wires of one door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wiring {
    /// Its contact says open, whatever it is.
    SaysOpen,
    /// Its contact and that of another door are exchanged.
    ContactOf(Compartment),
    /// Its lock and that of another door are exchanged.
    LockOf(Compartment),
}

/// The lock bus of a cabinet, and everything behind it.
#[derive(Debug, Default)]
pub(super) struct Bus {
    /// Pulses that wait: where, and until when.
    waiting: BTreeMap<u64, (Compartment, u64)>,
    troubles: BTreeMap<u32, Trouble>,
    wiring: BTreeMap<Compartment, Wiring>,
}

impl Bus {
    /// Whether an order of the core to pulse this door is under way.
    pub(super) fn pulses(&self, at: Compartment) -> bool {
        self.waiting.values().any(|(pulsed, _)| *pulsed == at)
    }

    /// The agent is gone. What was to be pulsed: number, where, and until when.
    pub(super) fn abandon(&mut self) -> Vec<(u64, Compartment, u64)> {
        std::mem::take(&mut self.waiting).into_iter().map(|(pulse, (at, not_after))| (pulse, at, not_after)).collect()
    }

    fn silent(&self, at: Compartment) -> Option<Locks> {
        match self.troubles.get(&board_of(at))? {
            Trouble::Silent(locks) => Some(*locks),
            Trouble::Late => None,
        }
    }

    fn is_late(&self, at: Compartment) -> bool {
        self.troubles.get(&board_of(at)) == Some(&Trouble::Late)
    }

    /// No word of this door can be relied upon just now.
    pub(super) fn is_doubtful(&self, at: Compartment) -> bool {
        self.troubles.contains_key(&board_of(at)) || self.wiring.contains_key(&at)
    }
}

fn board_of(at: Compartment) -> u32 {
    if at.number() < SECOND_FROM { BOARDS[0] } else { BOARDS[1] }
}

/// Pulses and their results.
impl World {
    pub(super) fn order_pulse(&mut self, cab: Cab, pulse: u64, at: Compartment, not_after: u64) {
        let run = self.cabs[cab].run;
        self.cabs[cab].bus.waiting.insert(pulse, (at, not_after));
        // Mostly at once, sometimes behind a board that does not answer.
        let wait = if self.fails("bus slow", 12) { self.dice.below(33_000) } else { self.dice.between(10, 600) };
        self.later(wait, Happening::BusPulses { cab, run, pulse, at, not_after });
    }

    pub(super) fn bus_pulses(&mut self, cab: Cab, run: u64, pulse: u64, at: Compartment, not_after: u64) {
        if self.cabs[cab].run != run || !self.cabs[cab].is_up() {
            return;
        }
        self.cabs[cab].bus.waiting.remove(&pulse);
        let late = self.cabs[cab].boot_millis(self.now) > not_after && self.sabotage != Some(Sabotage::LatePulse);
        if late {
            self.coverage.count("faults", "pulse too late");
        }
        let lost = self.cabs[cab].bus.silent(at) == Some(Locks::Lost);
        if lost {
            self.coverage.count("faults", "pulse to a lost port");
        }
        let sent = !late && !lost && !self.fails("pulse not sent", 15);
        if sent {
            self.pulse_lock(cab, pulse, at);
            if self.sabotage == Some(Sabotage::DoublePulse) || self.repeats_for_a_person(cab, pulse) {
                self.pulse_lock(cab, pulse, at);
            }
        }
        let slow = self.cabs[cab].bus.is_late(at);
        let wait = if slow { self.dice.below(4_000) } else { self.dice.between(5, 100) };
        self.later(wait, Happening::BusAnswers { cab, run, pulse, sent });
    }

    fn repeats_for_a_person(&self, cab: Cab, pulse: u64) -> bool {
        let ordered = self.ledger.pulses.get(&(cab, self.cabs[cab].boot(), pulse));
        let by = ordered.and_then(|ordered| self.ledger.uses.get(ordered.by));
        self.sabotage == Some(Sabotage::DoublePulseForPeople) && by.is_some_and(|by| by.command.is_none())
    }

    pub(super) fn bus_answers(&mut self, cab: Cab, run: u64, pulse: u64, sent: bool) {
        if self.cabs[cab].run == run {
            self.take_cabinet(cab, Input::PulseResult { pulse, sent }, None);
        }
    }

    /// The lock itself: the door springs open, a little later, or it sticks.
    pub(super) fn pulse_lock(&mut self, cab: Cab, pulse: u64, at: Compartment) {
        let cabinet = &self.cabs[cab];
        let (boot, boot_millis) = (cabinet.boot(), cabinet.boot_millis(self.now));
        self.tell(|| format!("lock {at} of cabinet {cab} is pulsed ({pulse})"));
        self.see(Seen::Pulsed { cab, boot, boot_millis, pulse, at });
        self.coverage.count("doors", "pulsed");
        let by = self.ledger.pulses.get(&(cab, boot, pulse)).and_then(|ordered| self.ledger.uses.get(ordered.by));
        let remote = by.is_some_and(|by| by.command.is_some() && by.orders.is_empty());
        let doubtful = self.cabs[cab].bus.is_doubtful(at);
        let moved = match self.cabs[cab].bus.wiring.get(&at) {
            Some(Wiring::LockOf(other)) => *other,
            Some(Wiring::SaysOpen | Wiring::ContactOf(_)) | None => at,
        };
        if doubtful {
            self.coverage.count("doors", "pulsed with a word of it that is worth nothing");
            self.ledger.unnoticed.extend([(cab, at), (cab, moved)]);
        }
        if let Some(door) = self.cabs[cab].doors.get_mut(&moved).filter(|door| !door.open) {
            door.remote = remote || moved != at;
        }
        let now = self.now;
        let sticks = self.cabs[cab].stuck.get(&moved).is_some_and(|until| *until > now);
        let dead = self.sabotage == Some(Sabotage::DeadLocks) && !self.rough;
        let sticks = sticks || dead || self.strikes("lock sticks", 8);
        if !sticks || doubtful || !self.cabs[cab].has_heard(at) {
            self.release(cab, at);
        }
        if sticks || self.cabs[cab].bus.silent(at) == Some(Locks::Dead) {
            self.coverage.count("doors", "stuck");
            return;
        }
        let late = self.strikes("door opens late", 12);
        let wait = if late { self.dice.between(2_500, 9_000) } else { self.dice.between(50, 900) };
        self.later(wait, Happening::DoorOpens { cab, at: moved });
    }
}

/// What the contacts say.
impl World {
    /// The cabinet may see that this door opens, or believe it: a code that has asked for it may be used up. That is the code
    /// of what lies there, and of what lies there by the cabinet's word.
    pub(super) fn release(&mut self, cab: Cab, at: Compartment) {
        let goods = self.cabs[cab].doors.get(&at).map(|door| door.goods.clone()).unwrap_or_default();
        let booked: Vec<OrderKey> = self.ledger.orders_in(&(cab, at)).cloned().collect();
        for order in goods.into_iter().chain(booked) {
            if let Some(truth) = self.ledger.orders.get_mut(&order) {
                truth.released |= truth.opened;
            }
        }
    }

    pub(super) fn door_moved(&mut self, cab: Cab, at: Compartment) {
        let said_by = match self.cabs[cab].bus.wiring.get(&at) {
            Some(Wiring::ContactOf(other)) => *other,
            Some(Wiring::SaysOpen | Wiring::LockOf(_)) | None => at,
        };
        self.report_soon(cab, said_by);
    }

    fn report_soon(&mut self, cab: Cab, at: Compartment) {
        // Two polls of the bus.
        let late = self.cabs[cab].bus.is_late(at);
        let wait = if late { self.dice.between(500, 20_000) } else { self.dice.between(200, 500) };
        let run = self.cabs[cab].run;
        self.later(wait, Happening::SensorReports { cab, run, at });
    }

    pub(super) fn sensor_reports(&mut self, cab: Cab, run: u64, at: Compartment) {
        let cabinet = &self.cabs[cab];
        if cabinet.run != run || !cabinet.is_up() || cabinet.bus.silent(at).is_some() {
            return;
        }
        let wiring = cabinet.bus.wiring.get(&at).copied();
        let contact = match wiring {
            Some(Wiring::ContactOf(other)) => other,
            Some(Wiring::SaysOpen | Wiring::LockOf(_)) | None => at,
        };
        let (Some(door), Some(behind)) = (cabinet.doors.get(&contact), cabinet.doors.get(&at)) else { return };
        let open = door.open || wiring == Some(Wiring::SaysOpen);
        let occupancy = match (behind.sensor, behind.goods.is_empty()) {
            (false, _) => Occupancy::Unknown,
            (true, false) => Occupancy::Occupied,
            (true, true) => Occupancy::Empty,
        };
        let truthful = wiring.is_none();
        if open && !truthful {
            self.release(cab, at);
            if self.ledger.awaits_opening((cab, at)) {
                // The cabinet believes that people did there what they came for.
                self.ledger.unnoticed.insert((cab, at));
            }
        }
        self.cabs[cab].hear(at);
        if let Some(door) = self.cabs[cab].doors.get_mut(&at) {
            door.noticed |= door.open && truthful;
        }
        let door = if open { DoorSeen::Open } else { DoorSeen::Closed };
        self.take_cabinet(cab, Input::Door { compartment: at, door, occupancy }, None);
    }

    /// What a new run hears of the boards that are silent.
    pub(super) fn report_silent_boards(&mut self, cab: Cab) {
        let silent: Vec<u32> = BOARDS
            .into_iter()
            .filter(|board| matches!(self.cabs[cab].bus.troubles.get(board), Some(Trouble::Silent(_))))
            .collect();
        for board in silent {
            self.take_cabinet(cab, Input::Board { board, answering: false }, None);
        }
    }
}

/// What goes wrong, and is mended.
impl World {
    pub(super) fn board_falls_silent(&mut self, cab: Cab) {
        let (name, locks) = match self.dice.below(3) {
            0 => ("silent board that sends nothing", Locks::Lost),
            1 => ("silent board with dead locks", Locks::Dead),
            _ => ("silent board with live locks", Locks::Work),
        };
        let board = BOARDS[self.dice.index(BOARDS.len())];
        self.coverage.count("faults", name);
        self.trouble(cab, &[board], Trouble::Silent(locks), name);
    }

    pub(super) fn port_is_lost(&mut self, cab: Cab) {
        self.coverage.count("faults", "port lost");
        self.trouble(cab, &BOARDS, Trouble::Silent(Locks::Lost), "port lost");
    }

    pub(super) fn board_is_slow(&mut self, cab: Cab) {
        let board = BOARDS[self.dice.index(BOARDS.len())];
        self.coverage.count("faults", "late board");
        self.trouble(cab, &[board], Trouble::Late, "late board");
    }

    fn trouble(&mut self, cab: Cab, boards: &[u32], trouble: Trouble, name: &str) {
        let wait = self.dice.between(2_000, 300_000);
        self.tell(|| format!("fault: {name} {boards:?} of cabinet {cab} for {} s", wait / 1_000));
        for board in boards {
            self.cabs[cab].bus.troubles.insert(*board, trouble);
            if matches!(trouble, Trouble::Silent(_)) {
                self.take_cabinet(cab, Input::Board { board: *board, answering: false }, None);
                for compartment in self.on_board(cab, *board) {
                    let silence = Input::Door { compartment, door: DoorSeen::Unknown, occupancy: Occupancy::Unknown };
                    self.take_cabinet(cab, silence, None);
                }
            }
            self.later(wait, Happening::BoardMended { cab, board: *board });
        }
    }

    pub(super) fn board_mended(&mut self, cab: Cab, board: u32) {
        let was = self.cabs[cab].bus.troubles.remove(&board);
        if let Some(Trouble::Silent(_)) = was {
            self.tell(|| format!("board {board} of cabinet {cab} answers again"));
            self.take_cabinet(cab, Input::Board { board, answering: true }, None);
            for at in self.on_board(cab, board) {
                self.report_soon(cab, at);
            }
        }
    }

    fn on_board(&self, cab: Cab, board: u32) -> Vec<Compartment> {
        self.cabs[cab].doors.keys().copied().filter(|at| board_of(*at) == board).collect()
    }

    pub(super) fn contact_says_open(&mut self, cab: Cab) {
        let at = self.some_door(cab);
        self.wire(cab, &[(at, Wiring::SaysOpen)], "contact always says open");
    }

    pub(super) fn contacts_are_exchanged(&mut self, cab: Cab) {
        let (one, other) = self.two_doors(cab);
        let wiring = [(one, Wiring::ContactOf(other)), (other, Wiring::ContactOf(one))];
        self.wire(cab, &wiring, "contacts of two doors exchanged");
    }

    pub(super) fn locks_are_exchanged(&mut self, cab: Cab) {
        let (one, other) = self.two_doors(cab);
        let wiring = [(one, Wiring::LockOf(other)), (other, Wiring::LockOf(one))];
        self.wire(cab, &wiring, "locks of two doors exchanged");
    }

    fn two_doors(&mut self, cab: Cab) -> (Compartment, Compartment) {
        let doors: Vec<_> = self.cabs[cab].doors.keys().copied().collect();
        let one = self.dice.index(doors.len());
        let other = (one + 1 + self.dice.index(doors.len() - 1)) % doors.len();
        (doors[one], doors[other])
    }

    fn wire(&mut self, cab: Cab, wiring: &[(Compartment, Wiring)], name: &'static str) {
        if wiring.iter().any(|(at, _)| self.cabs[cab].bus.wiring.contains_key(at)) {
            return;
        }
        let wait = self.dice.between(2_000, 1_200_000);
        self.coverage.count("faults", name);
        self.tell(|| format!("fault: {name}, {wiring:?} of cabinet {cab} for {} s", wait / 1_000));
        for (at, wrong) in wiring {
            self.cabs[cab].bus.wiring.insert(*at, *wrong);
            self.doubt_if_open(cab, *at);
            self.later(wait, Happening::WiringMended { cab, at: *at });
            self.report_soon(cab, *at);
        }
    }

    pub(super) fn wiring_mended(&mut self, cab: Cab, at: Compartment) {
        if self.cabs[cab].bus.wiring.remove(&at).is_some() {
            self.tell(|| format!("the wires of door {at} of cabinet {cab} are right again"));
            self.doubt_if_open(cab, at);
            self.report_soon(cab, at);
        }
    }

    /// Whoever does something at a door while its contact lies is not seen to do it.
    pub(super) fn doubt_if_open(&mut self, cab: Cab, at: Compartment) {
        if self.cabs[cab].doors.get(&at).is_some_and(|door| door.open) {
            self.ledger.unnoticed.insert((cab, at));
        }
    }

    /// Somebody comes to a door of which the cabinet has still to hear that it was closed: it takes that for their closing.
    pub(super) fn doubt_if_just_closed(&mut self, cab: Cab, at: Compartment) {
        if self.is_heard_open(cab, at) && self.cabs[cab].doors.get(&at).is_some_and(|door| !door.open) {
            self.ledger.unnoticed.insert((cab, at));
        }
    }

    pub(super) fn mend_boards(&mut self, cab: Cab) {
        for board in BOARDS {
            self.board_mended(cab, board);
        }
        let doors: Vec<_> = self.cabs[cab].doors.keys().copied().collect();
        for at in doors {
            self.wiring_mended(cab, at);
        }
    }
}
