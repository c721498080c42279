//! Codes and PINs that the signer makes: whole or not at all, and for the pepper that a cabinet has.

use fleet_core::Effect;
use fleet_core::signing::SignerRequest;
use schemas::messages::{BookChange, CredentialKind, Size};

use crate::books::{books, held, put};
use crate::handover::load;
use crate::world::{World, c1};

#[test]
fn a_pin_of_an_old_pepper_that_waits_is_not_sent_and_one_of_the_present_one_is_sent_as_it_was() {
    let mut world = World::new(&[Size::S; 5]);
    world.cabinet(&c1()).applies = false;
    world.add_staff("sam");
    let lost = books(&world).last().unwrap().clone();
    world.disconnect(&c1());
    world.connect(&c1());
    let again = books(&world).last().unwrap().clone();
    assert_eq!((again.version, again.base, &again.changes), (lost.version, lost.base, &lost.changes));
    world.disconnect(&c1());
    let cabinet = world.cabinet(&c1());
    (cabinet.pepper, cabinet.applies) = (Some(2), true);
    cabinet.books.clear();
    world.connect(&c1());
    for change in books(&world).iter().flat_map(|book| &book.changes) {
        assert!(!matches!(change, BookChange::PutStaff(put) if put.pepper != 2), "{change:?}");
    }
    assert_eq!(held(books(&world)), (0, 0, 1));
}

#[test]
fn a_code_is_not_announced_by_a_whole_book_that_lacks_it() {
    let mut world = World::new(&[Size::S; 2]);
    world.cabinet(&c1()).applies = false;
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    world.disconnect(&c1());
    world.makes_secrets = false;
    let cabinet = world.cabinet(&c1());
    (cabinet.pepper, cabinet.applies) = (Some(2), true);
    cabinet.books.clear();
    world.connect(&c1());
    assert_eq!(held(books(&world)), (1, 0, 0), "for its new pepper no verifier is made yet");
    assert!(world.notifications().is_empty());
    world.makes_secrets = true;
    world.pass(60_000);
    assert_eq!((held(books(&world)), world.notifications().len()), ((1, 2, 0), 1));
}

#[test]
fn an_answer_of_the_signer_that_leaves_something_out_is_none() {
    let mut world = World::new(&[Size::S]);
    put(&mut world, "A1");
    world.leaves_one_out = true;
    let alarms = world.alarms();
    load(&mut world, "A1", 1);
    assert_eq!((world.alarms(), world.notifications().len()), (alarms + 1, 0));
    world.pass(1_000);
    assert_eq!((world.alarms(), world.notifications().len()), (alarms + 1, 1));
}

#[test]
fn what_waits_for_the_signer_is_asked_for_again_when_the_fleet_starts() {
    let mut world = World::new(&[Size::S; 100]);
    put(&mut world, "A1");
    world.makes_secrets = false;
    load(&mut world, "A1", 1);
    world.makes_secrets = true;
    world.signer_asked.clear();
    world.restart();
    let items = world.signer_asked.iter().find_map(|asked| match asked {
        SignerRequest::MakeSecrets(asked) => Some(asked.items.iter().map(|item| (item.kind, item.digits)).collect()),
        _ => None,
    });
    let expected: Vec<_> = vec![(CredentialKind::Digits, 8), (CredentialKind::Qr, 0)];
    assert_eq!(items, Some(expected), "although nobody is connected");
}

#[test]
fn a_pin_that_the_signer_cannot_open_is_named_and_the_others_work() {
    let mut world = World::new(&[Size::S]);
    world.add_staff("sam");
    world.add_staff("sue");
    world.disconnect(&c1());
    (world.cabinet(&c1()).pepper, world.leaves_one_out) = (Some(2), true);
    world.cabinet(&c1()).books.clear();
    let alarms = world.alarms();
    world.connect(&c1());
    let Some(Effect::Alarm { text }) = world.seen.iter().rfind(|seen| matches!(seen, Effect::Alarm { .. })) else {
        panic!()
    };
    assert!(text.ends_with("a sealed secret of sue"), "{text}");
    assert_eq!((world.alarms(), held(books(&world))), (alarms + 1, (0, 0, 1)));
}

#[test]
fn a_code_that_the_signer_cannot_open_and_nobody_was_told_is_made_anew() {
    let mut world = World::new(&[Size::S; 2]);
    world.cabinet(&c1()).applies = false;
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    world.disconnect(&c1());
    let cabinet = world.cabinet(&c1());
    (cabinet.pepper, cabinet.applies) = (Some(2), true);
    cabinet.books.clear();
    world.leaves_one_out = true;
    world.signer_asked.clear();
    world.connect(&c1());
    let asked = world.signer_asked.iter().filter_map(|asked| match asked {
        SignerRequest::MakeSecrets(asked) => {
            Some(asked.items.iter().map(|item| (item.kind, item.sealed.is_some())).collect::<Vec<_>>())
        }
        _ => None,
    });
    let (digits, qr) = (CredentialKind::Digits, CredentialKind::Qr);
    assert_eq!(asked.collect::<Vec<_>>(), [vec![(digits, true), (qr, true)], vec![(qr, false)]]);
    assert_eq!((held(books(&world)), world.notifications().len()), ((1, 2, 0), 1));
}
