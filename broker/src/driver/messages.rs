//! Messages to people whose codes the signer is revealing.

use std::collections::HashMap;

use fleet_core::signing::{Reveal, SignerReply};
use fleet_core::{Codes, Dispatch};
use schemas::crypto::codes::Secret;

use crate::signer::SignerClient;

use super::tickets::{Purpose, Tickets};

#[derive(Default)]
pub(super) struct Messages {
    next: u64,
    open: HashMap<u64, Revealing>,
}

struct Revealing {
    dispatch: Dispatch,
    /// The code, and its text for a QR code.
    known: [Option<Secret>; 2],
}

/// What the signer's answer led to.
pub(super) enum Revealed {
    Ready(Box<Dispatch>, Codes),
    /// Try again later.
    Lost(Box<Dispatch>),
    /// The other secret is still to come; or this was asked for by nobody.
    Waiting,
}

impl Messages {
    /// Asks for the secrets of a message.
    pub(super) fn begin(&mut self, dispatch: Dispatch, signer: &SignerClient, tickets: &mut Tickets) {
        self.next += 1;
        for (index, sealed) in dispatch.sealed().into_iter().enumerate() {
            let asked = signer.ask(Reveal { tenant: dispatch.tenant.clone(), sealed: sealed.clone() }.into());
            tickets.expect(asked, Purpose::Message { key: self.next, index });
        }
        self.open.insert(self.next, Revealing { dispatch, known: [None, None] });
    }

    pub(super) fn revealed(&mut self, key: u64, index: usize, reply: &SignerReply) -> Revealed {
        let Some(mut revealing) = self.open.remove(&key) else { return Revealed::Waiting };
        let secret = match reply {
            SignerReply::Revealed(revealed) => Secret::parse(&revealed.text).ok(),
            SignerReply::Failed(_)
            | SignerReply::Envelope(_)
            | SignerReply::Secrets(_)
            | SignerReply::Sealed(_)
            | SignerReply::PhoneOpened(_)
            | SignerReply::AnswerKept(_)
            | SignerReply::Certificate(_) => None,
        };
        let (Some(secret), Some(place)) = (secret, revealing.known.get_mut(index)) else {
            return Revealed::Lost(Box::new(revealing.dispatch));
        };
        *place = Some(secret);
        if let [Some(code), Some(qr)] = &revealing.known {
            let codes = Codes::of(code, qr);
            return Revealed::Ready(Box::new(revealing.dispatch), codes);
        }
        self.open.insert(key, revealing);
        Revealed::Waiting
    }
}
