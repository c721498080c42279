//! A disk that forgets what was not synced, and can fail at any of its operations.
//!
//! It keeps apart what a sync has brought to the medium and what was only written. Of what was only written a power cut
//! leaves any part: pages of which half is new, later pages without earlier ones, a length without its content. Lengths
//! reach the medium in their order, as file systems with a journal do it. The same seed gives the same images.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// What a power cut cannot split.
const SECTOR: usize = 512;

/// Something that changes the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
    Sync,
}

/// What becomes of the operation at which the disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The operation fails. Of a write a part is done; a sync loses what the kernel has then marked as clean.
    Io,
    /// There is no room.
    NoRoom,
}

/// How the medium takes a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Honesty {
    Honest,
    /// Every sync says yes and does nothing.
    Lies,
    /// Syncs say yes and bring a part of what was written.
    HalfTrue,
}

/// What a power cut leaves of the writes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Nothing,
    Everything,
    /// A prefix of them.
    Prefix,
    /// Any of them, in any order.
    Some,
    /// Any of them, and of each any sectors.
    Torn,
}

impl Kept {
    pub(crate) const ALL: [Self; 5] = [Self::Nothing, Self::Everything, Self::Prefix, Self::Some, Self::Torn];
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end as u64) as usize
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// What the medium holds, and what is still on its way there.
#[derive(Debug, Clone)]
pub(crate) struct Medium {
    durable: Vec<u8>,
    pending: Vec<Operation>,
    honesty: Honesty,
    chance: Chance,
}

impl Medium {
    fn take(&mut self, operation: &Operation) {
        match (operation, self.honesty) {
            (Operation::Write { .. } | Operation::SetLen(_), _) => self.pending.push(operation.clone()),
            (Operation::Sync, Honesty::Honest) => self.settle(Kept::Everything),
            (Operation::Sync, Honesty::Lies) => {}
            (Operation::Sync, Honesty::HalfTrue) => self.settle(Kept::Some),
        }
    }

    /// Brings the part that is kept to the medium and forgets the rest.
    fn settle(&mut self, kept: Kept) {
        lay(&mut self.durable, &self.pending, kept, &mut self.chance);
        self.pending.clear();
    }

    /// What is found after a power cut now.
    pub(crate) fn after_power_cut(&mut self, kept: Kept) -> Vec<u8> {
        let mut image = self.durable.clone();
        lay(&mut image, &self.pending, kept, &mut self.chance);
        image
    }
}

/// Lays the part of `pending` that is kept over an image.
fn lay(image: &mut Vec<u8>, pending: &[Operation], kept: Kept, chance: &mut Chance) {
    let count = match kept {
        Kept::Nothing => 0,
        Kept::Prefix => chance.below(pending.len() + 1),
        Kept::Everything | Kept::Some | Kept::Torn => pending.len(),
    };
    let lengths = pending.iter().filter(|operation| matches!(operation, Operation::SetLen(_))).count();
    let any = matches!(kept, Kept::Some | Kept::Torn);
    let mut lengths = if any { chance.below(lengths + 1) } else { lengths };
    for operation in &pending[..count] {
        match operation {
            Operation::SetLen(_) if lengths == 0 => {}
            Operation::SetLen(len) => {
                lengths -= 1;
                image.resize(*len, 0);
            }
            Operation::Write { offset, data } => {
                if !any || chance.flip() {
                    overlay(image, *offset, data, |_| kept != Kept::Torn || chance.flip());
                }
            }
            Operation::Sync => {}
        }
    }
}

/// Writes the sectors of `data` that are wanted, as far as the file reaches.
fn overlay(image: &mut [u8], offset: usize, data: &[u8], mut wanted: impl FnMut(usize) -> bool) {
    for (at, sector) in data.chunks(SECTOR).enumerate() {
        let start = (offset + at * SECTOR).min(image.len());
        let end = (start + sector.len()).min(image.len());
        if wanted(at) {
            image[start..end].copy_from_slice(&sector[..end - start]);
        }
    }
}

#[derive(Debug)]
struct State {
    /// What a process that reads it sees.
    live: Vec<u8>,
    medium: Medium,
    start: Medium,
    done: Vec<Operation>,
    fault: Option<(usize, Fault)>,
    failed: bool,
}

/// The disk. Copies are the same disk.
#[derive(Debug, Clone)]
pub(crate) struct Disk(Arc<Mutex<State>>);

impl Disk {
    pub(crate) fn holding(image: Vec<u8>, honesty: Honesty, seed: u64) -> Self {
        let medium = Medium { durable: image.clone(), pending: Vec::new(), honesty, chance: Chance(seed) };
        let start = medium.clone();
        Self(Arc::new(Mutex::new(State { live: image, medium, start, done: Vec::new(), fault: None, failed: false })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// How many operations have changed it.
    pub(crate) fn operations(&self) -> usize {
        self.state().done.len()
    }

    /// Fails once, when so many operations are done.
    pub(crate) fn fail_at(&self, operation: usize, fault: Fault) {
        self.state().fault = Some((operation, fault));
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state().failed
    }

    pub(crate) fn cut_power(&self, kept: Kept) -> Vec<u8> {
        self.state().medium.after_power_cut(kept)
    }

    /// Lets the kernel forget pages that are not what the medium holds, as opening a file with `RedbStore` does.
    pub(crate) fn drop_cache(&self) {
        let state = &mut *self.state();
        state.live = state.medium.after_power_cut(Kept::Everything);
    }

    /// The medium before this operation.
    pub(crate) fn at(&self, operation: usize) -> Medium {
        self.replay(operation, 1).next().unwrap().1
    }

    /// The medium before each `step`-th operation from `first` on, with the number of the operation.
    pub(crate) fn replay(&self, first: usize, step: usize) -> impl Iterator<Item = (usize, Medium)> + use<> {
        let state = self.state();
        let (mut medium, done) = (state.start.clone(), state.done.clone());
        let mut at = 0;
        (first..=done.len()).step_by(step).map(move |operation| {
            done[at..operation].iter().for_each(|operation| medium.take(operation));
            at = operation;
            (operation, medium.clone())
        })
    }

    fn change(&self, operation: Operation) -> io::Result<()> {
        let state = &mut *self.state();
        let failed = state.fault.take_if(|(at, _)| *at == state.done.len());
        if let Some((_, fault)) = failed {
            state.failed = true;
            return Err(state.fail(&operation, fault));
        }
        match &operation {
            Operation::Write { offset, data } => {
                let end = offset + data.len();
                if end > state.live.len() {
                    return Err(io::Error::other("a write beyond the end"));
                }
                state.live[*offset..end].copy_from_slice(data);
            }
            Operation::SetLen(len) => state.live.resize(*len, 0),
            Operation::Sync => {}
        }
        state.medium.take(&operation);
        state.done.push(operation);
        Ok(())
    }
}

impl State {
    fn fail(&mut self, operation: &Operation, fault: Fault) -> io::Error {
        if fault == Fault::NoRoom {
            return io::ErrorKind::StorageFull.into();
        }
        match operation {
            Operation::Write { offset, data } => {
                let part = data[..data.len() / 2].to_vec();
                overlay(&mut self.live, *offset, &part, |_| true);
                self.medium.take(&Operation::Write { offset: *offset, data: part });
            }
            Operation::Sync => self.medium.settle(Kept::Some),
            Operation::SetLen(_) => {}
        }
        io::Error::other("the medium failed")
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let range = place(offset)..place(offset) + out.len();
        out.copy_from_slice(state.live.get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Operation::SetLen(place(len)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(Operation::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Operation::Write { offset: place(offset), data: data.to_vec() })
    }
}
