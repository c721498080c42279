//! `fleet order load|loaded|retrieve|retrieved`: what staff do at a screen, asked for from afar.

use std::process::ExitCode;

use schemas::api::{Reply, Request, UnlockResult};
use schemas::messages::{Action, ConfirmOrder, LoadOrder, OrderKey, RetrieveOrder, UnlockOutcome};

use super::args::SignArgs;
use super::context::{Context, other_answer, passphrase};
use super::{output, own_keys};
use crate::folder::PersonFolder;
use crate::setup;

/// Has the fleet sign the command, or signs it with the own key of the folder.
pub(super) fn run(
    context: &Context,
    folder: &PersonFolder,
    action: Action,
    sign: SignArgs,
) -> anyhow::Result<ExitCode> {
    let reply = if sign.own_key || setup::has_own_key(folder.path()) {
        signed(context, folder, action.clone(), sign)?
    } else {
        context.ask(folder, &asked(&action)?)?
    };
    tell(context, &action, &reply)
}

fn asked(action: &Action) -> anyhow::Result<Request> {
    Ok(match action.clone() {
        Action::Load(LoadOrder { order, compartment, size }) => Request::OrderLoad { order, compartment, size },
        Action::Confirm(ConfirmOrder { order, inside, retrieving }) => {
            Request::OrderConfirm { order, inside, retrieving }
        }
        Action::Retrieve(RetrieveOrder { order }) => Request::OrderRetrieve { order },
        Action::Unlock(_) => return Err(other_answer()),
    })
}

fn signed(context: &Context, folder: &PersonFolder, action: Action, sign: SignArgs) -> anyhow::Result<Reply> {
    let passphrase = passphrase(sign.passphrase_file.as_deref())?;
    let order = action.order().cloned().ok_or_else(other_answer)?;
    let reply = context.ask(folder, &Request::OrderShow { order })?;
    let Reply::Order(shown) = reply else { return Err(other_answer()) };
    let reason = match &action {
        Action::Load(_) | Action::Unlock(_) => "to load it",
        Action::Confirm(_) => "what is inside",
        Action::Retrieve(_) => "to take it out",
    };
    let at = (shown.summary.cabinet, None);
    own_keys::command(context, folder, at, reason.to_owned(), passphrase.as_ref(), |_| action)
}

fn tell(context: &Context, action: &Action, reply: &Reply) -> anyhow::Result<ExitCode> {
    if context.json {
        output::json(reply)?;
    }
    let order = action.order().ok_or_else(other_answer)?;
    let text = match (action, reply) {
        (Action::Confirm(word), Reply::Done) => taken(word),
        (Action::Load(_), Reply::Unlock(result)) => door(result, order, "loaded")?,
        (Action::Retrieve(_), Reply::Unlock(result)) => door(result, order, "retrieved")?,
        _ => return Err(other_answer()),
    };
    if !context.json {
        output::text(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn taken(word: &ConfirmOrder) -> String {
    let ConfirmOrder { order, inside, retrieving } = word;
    match (inside, retrieving) {
        (true, false) => format!("Order {order} is stored."),
        (false, false) => format!("Order {order} is not inside: load it again."),
        (true, true) => format!("Order {order} is still inside."),
        (false, true) => format!("Order {order} was taken out."),
    }
}

/// What became of the door. `then`: what to say of the order where no sensor can.
fn door(result: &UnlockResult, order: &OrderKey, then: &str) -> anyhow::Result<String> {
    let UnlockResult { cabinet, compartment, .. } = result;
    let next = format!("Once it is closed and no sensor tells: fleet order {then} {order}");
    match result.outcome {
        UnlockOutcome::Opened => {
            Ok(format!("Opened compartment {compartment} of {cabinet} for order {order}.\n\n{next}"))
        }
        UnlockOutcome::OutcomeUnknown => Ok(format!(
            "Unlocked compartment {compartment} of {cabinet} for order {order}. No sensor says whether it opened: ask whoever \
             is there.\n\n{next}"
        )),
        UnlockOutcome::NotOpened => anyhow::bail!(
            "compartment {compartment} of {cabinet} was pulsed and its door stayed closed, so nothing has changed; ask \
             someone there to push the door, then ask again, or name another compartment"
        ),
        UnlockOutcome::NotSent => anyhow::bail!(
            "compartment {compartment} of {cabinet} was not pulsed, so nothing has changed; its lock board does not answer"
        ),
    }
}

#[cfg(test)]
mod tests {
    use schemas::messages::{CommandId, Compartment};

    use super::*;

    #[test]
    fn people_read_which_compartment_it_is_and_what_to_say_then() {
        let order: OrderKey = "shop/A17".parse().unwrap();
        let result = |outcome| UnlockResult {
            cabinet: "berlin-01".parse().unwrap(),
            compartment: Compartment::new(4).unwrap(),
            outcome,
            command: CommandId([1; 16]),
        };
        let opened = door(&result(UnlockOutcome::Opened), &order, "loaded").unwrap();
        assert!(opened.starts_with("Opened compartment 4 of berlin-01 for order shop/A17."), "{opened}");
        assert!(opened.ends_with("fleet order loaded shop/A17"), "{opened}");
        assert!(door(&result(UnlockOutcome::OutcomeUnknown), &order, "loaded").unwrap().contains("No sensor"));
        for outcome in [UnlockOutcome::NotOpened, UnlockOutcome::NotSent] {
            assert!(door(&result(outcome), &order, "loaded").unwrap_err().to_string().contains("nothing has changed"));
        }
    }
}
