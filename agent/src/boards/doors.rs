//! From contacts to doors: what each channel means, and when a change is believed.

use std::collections::BTreeMap;

use schemas::messages::{Compartment, Occupancy};

use super::contacts::{Contact, Contacts};
use super::place::{BoardAddress, LockNumber, LockPlace};
use super::profile::{Input, Profile, Slot};
use super::profile_text::OccupiedWhen;
use super::report::{BusReport, ContactReport, DoorReport, DoorSeen};

/// The believed state of every channel of a bus.
///
/// A contact is believed when two polls in a row agree. One poll is not enough: the check byte is a mere XOR, and a
/// door that bounces is not forced.
#[derive(Debug)]
pub(crate) struct Doors {
    profile: Profile,
    channels: BTreeMap<LockPlace, Channel>,
    meaning: BTreeMap<LockPlace, Compartment>,
}

/// What came of one poll.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) reports: Vec<BusReport>,
    /// Some contact differs from what is believed: ask again at once.
    pub(crate) doubtful: bool,
}

/// When a poll was asked and when its answer was read, in boot-clock milliseconds. The board looked at some moment between.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Poll {
    pub(crate) asked: u64,
    pub(crate) answered: u64,
}

#[derive(Debug, Clone, Copy)]
struct Channel {
    believed: Contact,
    /// When the last poll was asked that showed what is believed.
    confirmed: Option<u64>,
    /// Another contact, and when the first poll of the present row that showed it was answered.
    candidate: Option<(Contact, u64)>,
}

/// When a contact changed: not before `after`, not later than `at`.
#[derive(Debug, Clone, Copy)]
struct Change {
    at: u64,
    after: Option<u64>,
}

impl Doors {
    pub(crate) fn new(profile: Profile) -> Self {
        let unknown = Channel { believed: Contact::Unknown, confirmed: None, candidate: None };
        let places = profile.boards().flat_map(|(board, channels)| {
            LockNumber::up_to(channels).map(move |lock| (LockPlace { board, lock }, unknown))
        });
        let channels = places.collect();
        let mut meaning = BTreeMap::new();
        for (compartment, slot) in &profile.slots {
            meaning.insert(slot.lock, *compartment);
            meaning.extend(slot.occupancy.map(|input| (input.place, *compartment)));
        }
        Self { profile, channels, meaning }
    }

    /// Takes one poll of a board.
    pub(crate) fn observe(&mut self, board: BoardAddress, contacts: &Contacts, poll: Poll) -> Observed {
        let mut changes = Vec::new();
        let mut doubtful = false;
        for (place, channel) in self.channels.range_mut(places_of(board)) {
            changes.extend(channel.observe(contacts.of(place.lock), poll).map(|change| (*place, change)));
            doubtful |= channel.candidate.is_some();
        }
        Observed { reports: self.reports(changes), doubtful }
    }

    /// Forgets a board that does not answer any more.
    pub(crate) fn forget(&mut self, board: BoardAddress, at: u64) -> Vec<BusReport> {
        let mut changes = Vec::new();
        for (place, channel) in self.channels.range_mut(places_of(board)) {
            changes.extend(channel.forget(at).map(|change| (*place, change)));
        }
        self.reports(changes)
    }

    fn reports(&self, changes: Vec<(LockPlace, Change)>) -> Vec<BusReport> {
        let mut doors: BTreeMap<Compartment, Change> = BTreeMap::new();
        let mut reports = Vec::new();
        for (place, change) in changes {
            match self.meaning.get(&place) {
                // Door and sensor of one compartment changed in one poll: one report.
                Some(compartment) => {
                    doors.entry(*compartment).or_insert(change);
                }
                None => {
                    let (contact, Change { at, after }) = (self.contact(place), change);
                    reports.push(BusReport::Contact(ContactReport { place, contact, at, after }));
                }
            }
        }
        reports.extend(doors.into_iter().filter_map(|(compartment, change)| self.door_report(compartment, change)));
        reports
    }

    fn door_report(&self, compartment: Compartment, Change { at, after }: Change) -> Option<BusReport> {
        let Slot { lock, occupancy } = self.profile.slots.get(&compartment)?;
        let door: DoorSeen = self.profile.door(self.contact(*lock));
        let occupancy = occupancy.map_or(Occupancy::Unknown, |input| self.occupancy(input));
        Some(BusReport::Door(DoorReport { compartment, door, occupancy, at, after }))
    }

    fn occupancy(&self, input: Input) -> Occupancy {
        match (self.contact(input.place), input.occupied_when) {
            (Contact::Short, OccupiedWhen::Short) | (Contact::Open, OccupiedWhen::Open) => Occupancy::Occupied,
            (Contact::Short, OccupiedWhen::Open) | (Contact::Open, OccupiedWhen::Short) => Occupancy::Empty,
            (Contact::Unknown, OccupiedWhen::Short | OccupiedWhen::Open) => Occupancy::Unknown,
        }
    }

    fn contact(&self, place: LockPlace) -> Contact {
        self.channels.get(&place).map_or(Contact::Unknown, |channel| channel.believed)
    }
}

impl Channel {
    fn observe(&mut self, contact: Contact, poll: Poll) -> Option<Change> {
        if contact == self.believed {
            self.confirmed = Some(poll.asked);
            self.candidate = None;
            return None;
        }
        match self.candidate {
            Some((candidate, first)) if candidate == contact => {
                let change = Change { at: first, after: self.confirmed };
                *self = Self { believed: contact, confirmed: Some(poll.asked), candidate: None };
                Some(change)
            }
            Some(_) | None => {
                self.candidate = Some((contact, poll.answered));
                None
            }
        }
    }

    fn forget(&mut self, at: u64) -> Option<Change> {
        let after = self.confirmed;
        let known = self.believed != Contact::Unknown;
        *self = Self { believed: Contact::Unknown, confirmed: None, candidate: None };
        known.then_some(Change { at, after })
    }
}

fn places_of(board: BoardAddress) -> impl std::ops::RangeBounds<LockPlace> {
    let end = |lock| LockNumber::new(lock).map(|lock| LockPlace { board, lock });
    let bound = |place: Option<LockPlace>| place.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Included);
    (bound(end(1)), bound(end(LockNumber::MAX)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Compartment 1 with a sensor on channel 3; channel 2 has no meaning.
    fn doors() -> Doors {
        let profile = json!({
            "family": "xor",
            "transport": { "kind": "serial", "path": "/dev/ttyS1" },
            "polarity": "short_when_locked",
            "byte_order": "first_locks_last",
            "boards": [{ "address": 1, "channels": 3 }, { "address": 2, "channels": 1 }],
            "mapping": [
                { "compartment": 1, "board": 1, "lock": 1,
                  "occupancy": { "board": 1, "lock": 3, "occupied_when": "short" } },
                { "compartment": 2, "board": 2, "lock": 1 },
            ],
        });
        Doors::new(serde_json::from_value(profile).unwrap())
    }

    fn board(address: u8) -> BoardAddress {
        BoardAddress::new(address).unwrap()
    }

    fn poll(doors: &mut Doors, short: u64, at: u64) -> Observed {
        doors.observe(board(1), &Contacts::new(short, 3), Poll { asked: at, answered: at + 5 })
    }

    fn door(door: DoorSeen, occupancy: Occupancy, at: u64, after: Option<u64>) -> BusReport {
        BusReport::Door(DoorReport { compartment: Compartment::new(1).unwrap(), door, occupancy, at, after })
    }

    fn contact(contact: Contact, at: u64, after: Option<u64>) -> BusReport {
        let place = LockPlace { board: board(1), lock: LockNumber::new(2).unwrap() };
        BusReport::Contact(ContactReport { place, contact, at, after })
    }

    /// All closed and occupied, last asked at 20. Answers take 5.
    fn settled() -> Doors {
        let mut doors = doors();
        poll(&mut doors, 0b111, 10);
        poll(&mut doors, 0b111, 20);
        doors
    }

    #[test]
    fn nothing_is_believed_before_two_polls_agree() {
        let mut doors = doors();
        assert_eq!(poll(&mut doors, 0b111, 10), Observed { reports: vec![], doubtful: true });
        assert_eq!(
            poll(&mut doors, 0b111, 20),
            Observed {
                reports: vec![contact(Contact::Short, 15, None), door(DoorSeen::Closed, Occupancy::Occupied, 15, None)],
                doubtful: false
            }
        );
    }

    #[test]
    fn opened_door_is_reported_once_with_the_time_of_its_first_poll() {
        let mut doors = settled();
        assert_eq!(poll(&mut doors, 0b110, 30), Observed { reports: vec![], doubtful: true });
        assert_eq!(
            poll(&mut doors, 0b110, 40),
            Observed { reports: vec![door(DoorSeen::Open, Occupancy::Occupied, 35, Some(20))], doubtful: false }
        );
        assert_eq!(poll(&mut doors, 0b110, 50), Observed { reports: vec![], doubtful: false });
    }

    #[test]
    fn one_odd_poll_is_not_believed() {
        let mut doors = settled();
        poll(&mut doors, 0b110, 30);
        assert_eq!(poll(&mut doors, 0b111, 40), Observed { reports: vec![], doubtful: false });
        assert_eq!(poll(&mut doors, 0b110, 50), Observed { reports: vec![], doubtful: true });
    }

    #[test]
    fn door_and_sensor_that_change_together_make_one_report() {
        let mut doors = settled();
        poll(&mut doors, 0b010, 30);
        assert_eq!(poll(&mut doors, 0b010, 40).reports, [door(DoorSeen::Open, Occupancy::Empty, 35, Some(20))]);
    }

    #[test]
    fn channel_without_meaning_is_reported_as_contact() {
        let mut doors = settled();
        poll(&mut doors, 0b101, 30);
        assert_eq!(poll(&mut doors, 0b101, 40).reports, [contact(Contact::Open, 35, Some(20))]);
    }

    #[test]
    fn forgotten_board_makes_its_doors_unknown_at_once_and_only_once() {
        let mut doors = settled();
        assert_eq!(
            doors.forget(board(1), 60),
            [contact(Contact::Unknown, 60, Some(20)), door(DoorSeen::Unknown, Occupancy::Unknown, 60, Some(20))]
        );
        assert_eq!(doors.forget(board(1), 70), []);
    }

    #[test]
    fn boards_do_not_touch_each_others_doors() {
        let mut doors = settled();
        doors.observe(board(2), &Contacts::new(0, 1), Poll { asked: 30, answered: 31 });
        let seen = doors.observe(board(2), &Contacts::new(0, 1), Poll { asked: 40, answered: 41 });
        assert_eq!(seen.reports.len(), 1);
        assert_eq!(doors.forget(board(2), 50).len(), 1);
        assert_eq!(poll(&mut doors, 0b111, 60), Observed { reports: vec![], doubtful: false });
    }
}
