//! Messages of the codes key: books, the fleet's time, and openings by the screen's token.

use schemas::cbor;
use schemas::crypto::envelope;
use schemas::messages::{Book, BookApplied, BookRefused, CodesMessage, FleetTime, KeyPurpose, RefusalReason};

use crate::book::Binding;
use crate::core::CabinetCore;
use crate::keyset::refusal;
use crate::records::TIME_KEY;
use crate::tables::META;
use crate::turn::Turn;

impl CabinetCore {
    pub(crate) fn handle_codes(&mut self, turn: &mut Turn, bytes: &[u8]) {
        let opened = envelope::open(bytes, self.scope(KeyPurpose::Codes), self.keys.keys());
        let message = opened
            .map_err(refusal)
            .and_then(|opened| cbor::decode(&opened.payload).map_err(|_| RefusalReason::Malformed));
        match message {
            Ok(CodesMessage::Book(book)) => self.handle_book(turn, book),
            Ok(CodesMessage::Time(time)) => self.handle_time(turn, &time),
            Ok(CodesMessage::Open(open)) => self.handle_open_order(turn, open),
            Err(reason) => self.refuse_codes(turn, None, reason),
        }
    }

    fn handle_book(&mut self, turn: &mut Turn, book: Book) {
        let version = book.version;
        if version == self.book.version() {
            // Delivered again: it is in force, and the fleet has been told.
            return;
        }
        let inside = self.orders_inside();
        let binding = Binding { device_key: &self.config.device_key, pepper: self.identity.pepper_version, inside };
        match self.book.apply(turn, book, &binding) {
            Ok(()) => self.record(turn, BookApplied { version }),
            Err(reason) => self.refuse_codes(turn, Some(version), reason),
        }
    }

    fn handle_time(&mut self, turn: &mut Turn, time: &FleetTime) {
        match self.challenges.check(&time.challenge, turn.now) {
            Ok(made) => {
                if let Some(row) = self.clock.set(time.now, &time.challenge, made, turn.now) {
                    turn.put(META, TIME_KEY, &row);
                }
                if time.mark.is_some_and(|mark| self.outbox.is_put_back(turn, mark)) {
                    self.begin_epoch(turn);
                }
            }
            Err(reason) => self.refuse_codes(turn, None, reason),
        }
    }

    fn refuse_codes(&mut self, turn: &mut Turn, version: Option<u64>, reason: RefusalReason) {
        if self.refusals.admit_codes(version, reason, turn.now) {
            self.record(turn, BookRefused { version, reason });
        }
    }
}
