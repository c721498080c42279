//! Openings by the app: a backend asks for its order's door, for a person who has read the token of the cabinet's screen.

use schemas::api::{OrderOpen, RejectReason, parse};
use schemas::cbor::Blob;
use schemas::cbor_map;
use schemas::ids::{Identity, Name, Role, TenantId};
use schemas::messages::{CommandId, FleetMillis, OrderKey, PresenceToken};
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::intents::{Intent, NotOpened, OpenByApp};
use crate::order::{Order, Orders};
use crate::tables::{CabinetRef, OrderRef};
use crate::turn::Turn;

cbor_map! {
    /// The last opening that was asked for. The same one asked for again is not another one.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Opening {
        1 => command: CommandId,
        /// SHA-256 of the token, to know it again.
        2 => token: Blob,
        /// What came of it, once it was refused.
        3 opt => refused: Option<RejectReason>,
    }
}

/// What becomes of a wish to open.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The cabinet is asked by this command.
    Cabinet(CommandId),
    /// It was, for the same.
    Before,
}

fn digest(token: &PresenceToken) -> Blob {
    Blob(Sha256::digest(token.to_string()).to_vec())
}

impl Orders {
    /// `orders/open` of an integration.
    pub(super) fn open_payload(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        (tenant, integration): (TenantId, Name),
        payload: &[u8],
    ) {
        let asked = match parse::<OrderOpen>(payload) {
            Err(error) => return turn.refuse(error.to_string()),
            Ok(asked) => asked,
        };
        let by = Identity::new(Role::Integration, tenant.clone(), integration.clone());
        let at = OrderRef { tenant, order: OrderKey { integration, order: asked.order } };
        // The stream tells the outcome; a publisher gets no other answer.
        let _ = self.open(turn, config, &at, by, asked.token);
    }

    /// Asks the order's cabinet, or tells the integration why not. The order stays as it is until its door is open.
    pub(crate) fn open(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        by: Identity,
        token: PresenceToken,
    ) -> Result<Asked, RejectReason> {
        let Some(order) = self.named(at) else {
            self.reject(turn, at, RejectReason::UnknownOrder, None);
            return Err(RejectReason::UnknownOrder);
        };
        let hash = digest(&token);
        let last = order.opening.as_ref().filter(|last| last.token == hash).map(|last| last.refused);
        let refused = match last {
            Some(None) => return Ok(Asked::Before),
            // Delivered twice, it is no second guess. Another refusal may be over by now.
            Some(Some(RejectReason::NoSuchToken)) => Some(RejectReason::NoSuchToken),
            Some(Some(_)) | None => order.may_be_opened(config, turn.now).err(),
        };
        if let Some(reason) = refused {
            self.refuse(turn, at, reason);
            return Err(reason);
        }
        let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
        let command = CommandId(turn.draw());
        self.change(turn, at, |order, _| {
            order.asked = Some(order.asked() + 1);
            order.opening = Some(Box::new(Opening { command, token: hash, refused: None }));
        });
        self.put_row(turn, at);
        turn.send(Intent::to_cabinet(&cabinet, OpenByApp { order: at.order.clone(), command, token, by }));
        Ok(Asked::Cabinet(command))
    }

    /// Nothing was opened, or nobody can say so.
    pub(super) fn not_opened(&mut self, turn: &mut Turn<'_>, at: &OrderRef, said: &NotOpened) {
        let last = self.rows.get_mut(at).and_then(|order| order.opening.as_mut());
        let Some(last) = last.filter(|last| last.command == said.command && last.refused.is_none()) else { return };
        last.refused = Some(said.reason);
        self.put_row(turn, at);
        self.refuse(turn, at, said.reason);
    }
}

impl Order {
    /// Whether the door of the order may be asked for. What its cabinet knows better it says itself.
    fn may_be_opened(&self, config: &Config, now: FleetMillis) -> Result<(), RejectReason> {
        if !config.open_by_app || self.is_restricted() {
            return Err(RejectReason::NotEnabled);
        }
        self.has_to_be_inside(RejectReason::NotInside)?;
        if self.part.is_some() {
            return Err(RejectReason::SeveralCompartments);
        }
        if self.bundle.is_some() {
            return Err(RejectReason::InBundle);
        }
        if !self.notified {
            return Err(RejectReason::NoCodeYet);
        }
        self.may_be_told_anew(config, now)
    }
}
