//! Every request by every role, in the own tenant and another, inside the scope and outside.

use fleet_core::Input;
use schemas::api::{
    ClosedAs, EnrolmentOffer, HexBytes, OrderContent, Reply, Request, RequestErrorCode, Rfc3339, Scope,
};
use schemas::enrolment::TokenSecret;
use schemas::messages::{Instance, Size};
use schemas::topics::Stream;

use crate::world::{FakeCabinet, START, World, c1, door, shop, who};

const EVE: &str = "operator:acme:eve";

/// One request of each operation about a cabinet and the order there; `n` keeps names apart.
fn requests(cabinet: &str, site: &str, n: usize) -> Vec<(&'static str, Request)> {
    let cabinet_id = || cabinet.parse().unwrap();
    let order = || format!("shop/{cabinet}").parse().unwrap();
    let put = format!(r#"{{"order":"N{n}","cabinet":"{cabinet}","size":"S","category":"retail","ready":false}}"#);
    vec![
        ("cabinet.list", Request::CabinetList {}),
        ("cabinet.show", Request::CabinetShow { cabinet: cabinet_id() }),
        (
            "cabinet.add",
            Request::CabinetAdd {
                cabinet: cabinet_id(),
                site: site.parse().unwrap(),
                place: "Main Street 1".into(),
                instance: Instance([7; 16]),
                enrolment: None,
            },
        ),
        ("order.list", Request::OrderList { cabinet: None, overdue: false }),
        ("order.list of one", Request::OrderList { cabinet: Some(cabinet_id()), overdue: false }),
        ("order.show", Request::OrderShow { order: order() }),
        ("order.put", Request::OrderPut { integration: shop(), order: serde_json::from_str(&put).unwrap() }),
        ("unlock", Request::Unlock { cabinet: cabinet_id(), compartment: door(1), reason: "x".into() }),
        ("order.cancel", Request::OrderCancel { order: order() }),
        ("order.change", Request::OrderChange { order: order(), replaces: None, change: content() }),
        ("order.quarantine", Request::OrderQuarantine { order: order(), reason: "x".into() }),
        ("order.release", Request::OrderRelease { order: order(), reason: "x".into() }),
        ("order.close", Request::OrderClose { order: order(), closed_as: ClosedAs::Cancelled, reason: "x".into() }),
        ("order.extend", Request::OrderExtend { order: order(), until: Rfc3339(START + 1) }),
        ("order.resend", Request::OrderResend { order: order() }),
        ("order.reissue", Request::OrderReissue { order: order() }),
        ("unlock.list", Request::UnlockList { cabinet: cabinet_id(), before: None }),
        ("staff.add", Request::StaffAdd { name: format!("s{n}").parse().unwrap(), until: None }),
        ("staff.badge", Request::StaffBadge { name: "sam".parse().unwrap() }),
        ("staff.list", Request::StaffList {}),
        ("staff.revoke", Request::StaffRevoke { name: "sam".parse().unwrap() }),
        (
            "courier.add",
            Request::CourierAdd { name: format!("c{n}").parse().unwrap(), until: None, scope: Scope::Tenant },
        ),
        ("courier.badge", Request::CourierBadge { name: "jo".parse().unwrap() }),
        ("courier.list", Request::CourierList {}),
        ("courier.remove", Request::CourierRemove { name: "jo".parse().unwrap() }),
        ("identity.list", Request::IdentityList { role: None, after: None }),
        ("identity.revoke", Request::IdentityRevoke { identity: who("support:acme:gone"), reason: "x".into() }),
        ("person.scope", Request::PersonScope { identity: who("support:acme:gone"), scope: Scope::Tenant }),
        ("integration.quota", Request::IntegrationQuota { integration: shop(), limits: None }),
        ("policy.show", Request::PolicyShow {}),
        ("policy.put", Request::PolicyPut { replaces: 0, policies: Box::default(), live: true }),
        ("policy.preview", Request::PolicyPreview { policies: Box::default() }),
        ("fleet.status", Request::FleetStatus { after: None }),
        ("rows", Request::Rows { stream: Stream::Status, after: 0 }),
        ("backup", Request::Backup {}),
        ("keyset.list", Request::KeysetList {}),
        ("keyset.put", Request::KeysetPut { envelope: HexBytes(vec![1]) }),
        ("cabinet.wipe", Request::CabinetWipe { cabinet: cabinet_id(), reason: "stolen".into(), with_orders: false }),
        // It was told already.
        ("cabinet.keep", Request::CabinetKeep { cabinet: cabinet_id() }),
        (
            "cabinet.replace",
            Request::CabinetReplace {
                cabinet: cabinet_id(),
                instance: Instance([8; 16]),
                enrolment: EnrolmentOffer {
                    secret_hash: TokenSecret::new([1; 16]).hash(),
                    device_serial: "LF-0007".into(),
                    expires: Rfc3339(START + 1_000),
                },
            },
        ),
    ]
}

fn content() -> Box<OrderContent> {
    Box::new(OrderContent { hold_minutes: Some(60.try_into().unwrap()), ..OrderContent::default() })
}

/// Cabinets c1 in the mall and c2 at the port, both connected, with an order each.
fn world() -> World {
    let mut world = World::new(&[Size::S, Size::S]);
    let add = Request::CabinetAdd {
        cabinet: "c2".parse().unwrap(),
        site: "port".parse().unwrap(),
        place: "Main Street 1".into(),
        instance: Instance([7; 16]),
        enrolment: None,
    };
    assert_eq!(world.ask(EVE, &add), Some(Reply::Done));
    world.cabinets.insert("c2".parse().unwrap(), FakeCabinet::new("c2", &[Size::S, Size::S]));
    world.connect(&"c2".parse().unwrap());
    world.add_staff("sam");
    world.ask(EVE, &Request::CourierAdd { name: "jo".parse().unwrap(), until: None, scope: Scope::Tenant });
    for cabinet in ["c1", "c2"] {
        world.put(&format!(r#"{{"order":"{cabinet}","cabinet":"{cabinet}","size":"S","category":"retail"}}"#));
    }
    world
}

/// `+` was done or is under way, `-` forbidden, `?` as if there were no such thing, `!` refused for what it is about.
fn outcome(world: &mut World, by: &str, request: &Request) -> char {
    match world.ask(by, request) {
        Some(Reply::Error(error)) => match error.code {
            RequestErrorCode::Forbidden => '-',
            RequestErrorCode::Unknown => '?',
            _ => '!',
        },
        Some(_) | None => '+',
    }
}

fn row(by: &str, cabinet: &str, site: &str, prepare: impl FnOnce(&mut World)) -> String {
    let mut world = world();
    prepare(&mut world);
    requests(cabinet, site, 1).iter().map(|(_, request)| outcome(&mut world, by, request)).collect()
}

fn scope(world: &mut World, by: &str, identity: &str, scope: Scope) -> Option<Reply> {
    world.ask(by, &Request::PersonScope { identity: who(identity), scope })
}

fn mall() -> Scope {
    Scope::Sites(vec!["mall".parse().unwrap()])
}

#[test]
fn each_role_does_what_the_table_says() {
    for (role, expected) in [
        ("operator", "+++++++++!!!!!!!+++++++++++++++++-++!+!+"),
        ("support", "++-+++-++!!!!!!!+-----------------------"),
        ("technician", "++------------------------------+--+----"),
        ("auditor", "++-+++----------+--+---+-+---+--+--+----"),
        ("staff", "----------------------------------------"),
        ("integration", "---+++--+!!--!!!-----------------+------"),
        ("cabinet", "----------------------------------------"),
        ("server", "----------------------------------------"),
    ] {
        let name = if role == "integration" { "shop" } else { "kim" };
        assert_eq!(row(&format!("{role}:acme:{name}"), "c1", "mall", |_| {}), expected, "{role}");
    }
}

#[test]
fn nobody_reaches_another_tenant() {
    for role in ["operator", "support", "technician", "auditor", "staff", "integration"] {
        let mut world = world();
        // With a cabinet of its own of the same name there would be something to see.
        let all = requests("c1", "mall", 2).into_iter().filter(|(op, _)| *op != "cabinet.add");
        for (op, request) in all {
            let name = if role == "integration" { "shop" } else { "kim" };
            let reply = world.ask(&format!("{role}:umbra:{name}"), &request);
            match (op, reply) {
                ("cabinet.list", Some(Reply::Cabinets(list))) => assert_eq!(list, [], "{role}"),
                ("order.list" | "order.list of one", Some(Reply::Orders(list))) => assert_eq!(list, [], "{role}"),
                ("staff.list", Some(Reply::StaffMembers(list))) => {
                    assert!(list.iter().all(|one| one.name.as_str() == "s2"))
                }
                ("courier.list", Some(Reply::Couriers(list))) => {
                    assert!(list.iter().all(|one| one.name.as_str() == "c2"))
                }
                ("identity.list", Some(Reply::Identities(page))) => assert_eq!(page.identities, [], "{role}"),
                // Made in the own tenant, beside the one that is asked about. Rows are of the own streams.
                ("staff.add" | "courier.add" | "backup" | "fleet.status" | "rows", None) => {}
                // What is put there is no keyset, and there is none to list.
                ("keyset.list", Some(Reply::Keysets(list))) => {
                    assert_eq!((list.newest, list.kept.len()), (0, 0), "{role}")
                }
                ("keyset.put", Some(Reply::Error(_))) => {}
                // Of the integration of that name in the own tenant.
                // Of the own tenant, which has no orders.
                ("policy.show" | "policy.put", Some(Reply::Policy(_))) => {}
                ("policy.preview", Some(Reply::PolicyPreview(changes))) => assert_eq!(changes, [], "{role}"),
                ("integration.quota", Some(Reply::Quota(detail))) => assert_eq!(detail.open_orders, 0, "{role}"),
                (op, reply) => {
                    let Some(Reply::Error(error)) = reply else { panic!("{role}: {op} gave {reply:?}") };
                    let codes = [RequestErrorCode::Forbidden, RequestErrorCode::Unknown, RequestErrorCode::Refused];
                    assert!(codes.contains(&error.code), "{role}: {op} gave {error:?}");
                }
            }
        }
        assert!(world.cabinets[&c1()].commands.is_empty(), "{role}: a door was opened from another tenant");
        assert_eq!(world.told("shop"), ["c1 reserved", "c2 reserved"], "{role}");
        assert_eq!(world.core.revocations().count() + world.core.scopes().count(), 0, "{role}");
    }
}

/// Inside the scope a person does what the role may; what reaches over the whole tenant is never inside.
#[test]
fn a_scope_takes_away_whatever_is_outside_it() {
    let cabinets = || Scope::Cabinets(vec!["c1".parse().unwrap()]);
    for limit in [mall as fn() -> Scope, cabinets] {
        for (role, inside, outside) in [
            ("operator", "+++++++++!!!!!!!+---------------+----+!+", "+--+----------------------------+-------"),
            ("support", "++-+++-++!!!!!!!+-----------------------", "+--+------------------------------------"),
            ("technician", "++------------------------------+-------", "+-------------------------------+-------"),
            ("auditor", "++-+++----------+---------------+-------", "+--+----------------------------+-------"),
            ("staff", "----------------------------------------", "----------------------------------------"),
        ] {
            let by = format!("{role}:acme:kim");
            let limited = |world: &mut World| {
                assert!(matches!(scope(world, EVE, &by, limit()), Some(Reply::Identity(_))));
            };
            assert_eq!(row(&by, "c1", "mall", limited), inside, "{role} inside {:?}", limit());
            assert_eq!(row(&by, "c2", "port", limited), outside, "{role} outside {:?}", limit());
        }
    }
}

#[test]
fn lists_leave_out_what_is_outside_the_scope() {
    let mut world = world();
    let (tom, sue) = ("technician:acme:tom", "support:acme:sue");
    for (who, limit) in [(tom, mall()), (sue, Scope::Cabinets(vec!["c2".parse().unwrap(), "c9".parse().unwrap()]))] {
        scope(&mut world, EVE, who, limit);
    }
    world.restart();
    let cabinets = |world: &mut World, by| match world.ask(by, &Request::CabinetList {}) {
        Some(Reply::Cabinets(list)) => list.into_iter().map(|one| one.cabinet.to_string()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(cabinets(&mut world, tom), ["c1"]);
    assert_eq!(cabinets(&mut world, sue), ["c2"]);
    assert_eq!(cabinets(&mut world, EVE), ["c1", "c2"]);
    let Some(Reply::Orders(orders)) = world.ask(sue, &Request::OrderList { cabinet: None, overdue: false }) else {
        panic!()
    };
    assert_eq!(orders.iter().map(|order| order.cabinet.as_str()).collect::<Vec<_>>(), ["c2"]);
    scope(&mut world, EVE, sue, Scope::Tenant);
    assert_eq!(cabinets(&mut world, sue), ["c1", "c2"]);
    assert_eq!(world.core.scopes().count(), 1);
}

#[test]
fn a_scope_is_set_for_people_of_the_own_tenant_by_somebody_else() {
    let mut world = world();
    let code = |reply| match reply {
        Some(Reply::Error(error)) => Some(error.code),
        _ => None,
    };
    for (identity, limit, expected) in [
        (EVE, mall(), Some(RequestErrorCode::Refused)),
        ("operator:umbra:max", mall(), Some(RequestErrorCode::Forbidden)),
        ("integration:acme:shop", mall(), Some(RequestErrorCode::Refused)),
        ("cabinet:acme:c1", mall(), Some(RequestErrorCode::Refused)),
        ("server:acme:gate", mall(), Some(RequestErrorCode::Refused)),
        ("operator:acme:bob", Scope::Sites(Vec::new()), Some(RequestErrorCode::Malformed)),
        ("operator:acme:bob", Scope::Cabinets(vec![c1(); 201]), Some(RequestErrorCode::Malformed)),
        ("operator:acme:bob", mall(), None),
    ] {
        assert_eq!(code(scope(&mut world, EVE, identity, limit)), expected, "{identity}");
    }
    // So whoever is limited cannot widen it, neither alone nor with the help of another one who is limited.
    scope(&mut world, EVE, "operator:acme:ann", mall());
    let widened = scope(&mut world, "operator:acme:ann", "operator:acme:bob", Scope::Tenant);
    assert_eq!(code(widened), Some(RequestErrorCode::Forbidden));
    // A certificate that is renewed does not widen it.
    let certificate = fleet_core::CertificateSeen {
        id: schemas::api::CertificateId([1; 32]),
        issued: world.now,
        expires: world.now + 1_000,
    };
    world.handle(Input::Admitted { who: who("operator:acme:ann"), certificate });
    assert_eq!(world.core.scopes().count(), 2);
}
