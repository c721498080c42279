//! Codes of letters, where the settings say so.

use std::collections::BTreeMap;

use fleet_core::signing::SignerRequest;
use fleet_core::{CodeForm, Config, Input};
use schemas::crypto::codes::Secret;
use schemas::messages::*;
use schemas::topics::OrderChange;

use crate::books::{books, put};
use crate::handover::load;
use crate::world::{FakeCabinet, World, c1, shop, tenant};

fn world(form: CodeForm) -> World {
    let mut world = World::with(config(form));
    world.add(FakeCabinet::new("c1", &[Size::S; 100]));
    world.connect(&c1());
    world
}

fn config(code_form: CodeForm) -> Config {
    Config { break_glass: false, code_form, ..Config::default() }
}

/// The broker is started again with other settings; its cabinet comes back.
fn now_with(world: &mut World, form: CodeForm) {
    world.config = config(form);
    world.restart();
    world.connect(&c1());
}

fn rules(world: &World) -> Vec<Option<u8>> {
    let changes = books(world).iter().flat_map(|book| &book.changes);
    let rules = changes.filter_map(|change| match change {
        BookChange::Rules(rules) => Some(rules.code_letters),
        _ => None,
    });
    rules.collect()
}

/// Kinds of the codes that the cabinet got for an order.
fn kinds(world: &World, id: &str) -> Vec<CredentialKind> {
    let kinds: BTreeMap<_, _> = books(world)
        .iter()
        .flat_map(|book| &book.changes)
        .filter_map(|change| match change {
            BookChange::PutCredential(put) if put.orders[0].order.as_str() == id => Some((put.id, put.kind)),
            BookChange::PutDeposit(put) if put.order.order.as_str() == id => Some((put.id, put.kind)),
            _ => None,
        })
        .collect();
    let mut kinds: Vec<_> = kinds.into_values().collect();
    kinds.sort_unstable_by_key(|kind| kind.as_str());
    kinds
}

#[test]
fn pickup_and_deposit_codes_are_of_letters_of_the_length_that_the_guess_budget_says() {
    let mut world = world(CodeForm::Letters);
    assert_eq!(rules(&world), [Some(7)]);
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    let asked = world.signer_asked.iter().find_map(|asked| match asked {
        SignerRequest::MakeSecrets(asked) => Some(asked.items.iter().map(|item| (item.kind, item.digits)).collect()),
        _ => None,
    });
    assert_eq!(asked, Some(vec![(CredentialKind::Letters, 7), (CredentialKind::Qr, 0)]));
    world.put(r#"{"order":"D1","cabinet":"c1","size":"S","category":"courier","deposit":"courier"}"#);
    for id in ["A1", "D1"] {
        assert_eq!(kinds(&world, id), [CredentialKind::Letters, CredentialKind::Qr], "{id}");
    }
    let sent: Vec<_> = world.notifications().iter().map(|sent| Secret::parse(&sent.code).unwrap().kind()).collect();
    assert_eq!(sent, [CredentialKind::Letters; 2]);
}

#[test]
fn orders_keep_the_form_that_their_code_has_and_the_screen_hears_of_the_new_one() {
    let mut world = world(CodeForm::Digits);
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    now_with(&mut world, CodeForm::Letters);
    assert_eq!(rules(&world), [None, Some(7)], "said once");
    put(&mut world, "A2");
    load(&mut world, "A2", 2);
    assert_eq!(kinds(&world, "A1"), [CredentialKind::Digits, CredentialKind::Qr]);
    assert_eq!(kinds(&world, "A2"), [CredentialKind::Letters, CredentialKind::Qr]);
    // A new pepper: the same codes, derived anew.
    world.disconnect(&c1());
    world.cabinet(&c1()).pepper = Some(2);
    world.connect(&c1());
    let last = books(&world).last().unwrap();
    assert!(last.changes.iter().all(|change| !matches!(change, BookChange::PutCredential(put) if put.pepper != 2)));
    assert_eq!(kinds(&world, "A1"), [CredentialKind::Digits, CredentialKind::Qr]);
    assert_eq!(kinds(&world, "A2"), [CredentialKind::Letters, CredentialKind::Qr]);
    now_with(&mut world, CodeForm::Digits);
    assert_eq!(rules(&world).last(), Some(&None));
    assert_eq!(world.notifications().len(), 2, "nobody hears of a code twice");
}

#[test]
fn a_bundle_keeps_the_form_of_its_code_wherever_it_is_derived() {
    let mut world = world(CodeForm::Letters);
    put(&mut world, "A1");
    world.makes_secrets = false;
    let payload = br#"{"bundle":"run-7","orders":["A1"],"recipient":{"phone":"driver"}}"#.to_vec();
    let (tenant, integration, change) = (tenant(), shop(), OrderChange::Bundle);
    world.handle(Input::OrderChange { tenant, integration, change, payload });
    world.makes_secrets = true;
    now_with(&mut world, CodeForm::Digits);
    let asked = world.signer_asked.iter().filter_map(|asked| match asked {
        SignerRequest::MakeSealed(asked) if asked.kind.is_typed() => Some((asked.kind, asked.digits)),
        _ => None,
    });
    assert!(asked.collect::<Vec<_>>().contains(&(CredentialKind::Letters, 8)));
    load(&mut world, "A1", 1);
    assert!(kinds(&world, "A1").starts_with(&[CredentialKind::Letters, CredentialKind::Qr]));
    let sent = world.notifications();
    assert_eq!(Secret::parse(&sent.last().unwrap().code).unwrap().kind(), CredentialKind::Letters);
}
