//! Requests about bundles.

use schemas::api::{BundlePut, Reply, ReplyError, RequestErrorCode};
use schemas::ids::Name;
use schemas::messages::OrderKey;

use super::orders::way_out;
use super::{Asker, error};
use crate::core::FleetCore;
use crate::order::too_long;
use crate::turn::Turn;

impl FleetCore {
    pub(super) fn put_bundle_for(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        integration: Name,
        put: BundlePut,
    ) -> Result<Reply, ReplyError> {
        if !put.recipient.fits() {
            return Err(error(RequestErrorCode::Malformed, too_long(), "shorten it"));
        }
        let owner = (asker.who.tenant.clone(), integration);
        self.orders.put_bundle(turn, &self.config, owner, put).map(|()| Reply::Done).map_err(|(order, reason)| {
            let (code, hint) = way_out(reason);
            error(code, format!("no bundle was made: order {order}: {reason}"), hint)
        })
    }

    pub(super) fn show_bundle(&self, asker: &Asker, bundle: OrderKey) -> Result<Reply, ReplyError> {
        let covered = asker.covers(&bundle.integration);
        let at = asker.order(bundle);
        let found = covered.then(|| self.orders.bundle_detail(&at)).flatten();
        found.map(|detail| Reply::Bundle(Box::new(detail))).ok_or_else(|| unknown(&at.order))
    }

    pub(super) fn release_bundle_for(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        bundle: OrderKey,
    ) -> Result<Reply, ReplyError> {
        let covered = asker.covers(&bundle.integration);
        let at = asker.order(bundle);
        let released = covered && self.orders.release_bundle(turn, &at);
        if released { Ok(Reply::Done) } else { Err(unknown(&at.order)) }
    }
}

fn unknown(bundle: &OrderKey) -> ReplyError {
    let hint = "it was never made, was released, or all its orders are over and forgotten";
    error(RequestErrorCode::Unknown, format!("there is no bundle {bundle}"), hint)
}
