//! Files of which most is nothing, as they are checked in: the pages that hold something, each behind its number.
//!
//! redb's smallest file has 65 pages, and one of a few rows far more; no packer is among the dependencies for the rest.

use std::path::Path;

const MAGIC: &[u8; 8] = b"pages/1\n";
const PAGE: usize = 4096;

pub(crate) fn pack(file: &[u8]) -> Vec<u8> {
    assert!(file.len().is_multiple_of(PAGE), "a store has whole pages");
    let count = u32::try_from(file.len() / PAGE).unwrap();
    let mut packed = [&MAGIC[..], &count.to_be_bytes()].concat();
    for (number, page) in (0u32..).zip(file.chunks(PAGE)) {
        if page.iter().any(|byte| *byte != 0) {
            packed.extend(number.to_be_bytes());
            packed.extend(page);
        }
    }
    packed
}

pub(crate) fn unpack(path: &Path) -> Vec<u8> {
    let packed = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (count, pages) = packed.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk()).expect("packed pages");
    let mut file = vec![0; u32::from_be_bytes(*count) as usize * PAGE];
    let pages = pages.chunks_exact(4 + PAGE);
    assert!(pages.remainder().is_empty(), "{} is cut off", path.display());
    for page in pages {
        let (number, bytes) = page.split_first_chunk().unwrap();
        file[u32::from_be_bytes(*number) as usize * PAGE..][..PAGE].copy_from_slice(bytes);
    }
    file
}
