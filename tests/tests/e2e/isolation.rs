//! Who may say and hear what, tried at the real gate.

use anyhow::ensure;
use fleet_cli::stage::{CabinetPlan, Stage};
use fleet_tests::{Answered, RawClient, World, order};
use schemas::api::{Reply, Request, RequestErrorCode};
use schemas::ids::Role;
use schemas::messages::{Compartment, Instance, OrderKey};
use schemas::topics::Stream;

#[tokio::test]
async fn an_integration_reaches_no_topic_of_others() -> anyhow::Result<()> {
    let world = World::start().await?;
    let folder = world.stage.person(Role::Integration, "rogue")?;
    for (n, filter) in [
        "v1/acme/integration/shop/status",
        "v1/acme/integration/shop/notifications",
        "v1/acme/integration/+/notifications",
        "v1/umbra/integration/rogue/status",
        "v1/acme/operator/admin/response",
        "v1/acme/cabinet/berlin-01/down",
        "v1/acme/live/#",
        "$share/all/v1/acme/integration/rogue/status",
        "#",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = RawClient::connect(&folder, &format!("integration:acme:rogue~s{n}")).await?;
        let answer = client.subscribe(filter).await?;
        ensure!(answer != Answered::Taken, "{filter} was granted");
    }
    for (n, topic) in [
        "v1/acme/integration/shop/orders/put",
        "v1/umbra/integration/rogue/orders/put",
        "v1/acme/integration/rogue/notifications",
        "v1/acme/operator/admin/request",
        "v1/acme/cabinet/berlin-01/down",
        "v1/acme/cabinet/berlin-01/up/event",
        "v1/acme/live/berlin-01/event",
        "é/x",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = RawClient::connect(&folder, &format!("integration:acme:rogue~p{n}")).await?;
        let answer = client.publish(topic, serde_json::to_vec(&order("A1", "berlin-01", "S"))?).await?;
        ensure!(answer != Answered::Taken, "{topic} was taken");
    }
    ensure!(RawClient::connect(&folder, "integration:acme:shop").await.is_err(), "somebody else's name was taken");
    ensure!(
        matches!(world.operator.request(&Request::OrderList { cabinet: None, overdue: false }).await?, Reply::Orders(list) if list.is_empty())
    );
    Ok(())
}

#[tokio::test]
async fn people_of_another_fleet_are_not_let_in() -> anyhow::Result<()> {
    let world = World::start().await?;
    let other = Stage::set_up("acme")?;
    let stranger = other.person(Role::Operator, "admin")?.at("127.0.0.1", world.stage.port());
    ensure!(fleet_cli::client::Client::connect(&stranger).await.is_err());
    Ok(())
}

#[tokio::test]
async fn each_role_may_ask_what_the_protocol_says() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    world.shop.until_decided("A17").await?;
    let (cabinet, door) = (site.cabinet.id().clone(), Compartment::new(3).unwrap());
    let foreign = OrderKey { integration: "shop".parse()?, order: "A17".parse()? };
    let requests = [
        Request::CabinetList {},
        Request::CabinetShow { cabinet: cabinet.clone() },
        Request::OrderList { cabinet: None, overdue: false },
        Request::OrderShow { order: foreign.clone() },
        Request::CabinetAdd {
            cabinet: "berlin-09".parse()?,
            site: "berlin".parse()?,
            place: "somewhere".to_owned(),
            instance: Instance([1; 16]),
            enrolment: None,
        },
        Request::StaffAdd { name: "kim".parse()?, until: None },
        Request::OrderPut { integration: "shop".parse()?, order: order("A18", "berlin-01", "S") },
        Request::Unlock { cabinet, compartment: door, reason: "test".to_owned() },
        Request::OrderCancel { order: foreign },
        Request::Rows { stream: Stream::Status, after: 0 },
    ];
    // `+` is answered, `-` forbidden, `?` as if there were no such thing.
    for (role, expected) in [
        (Role::Technician, "++--------"),
        (Role::Auditor, "++++------"),
        (Role::Staff, "----------"),
        (Role::Integration, "--+?----?+"),
        (Role::Support, "++++---++-"),
    ] {
        let client = world.stage.client(role, "somebody").await?;
        let mut found = String::new();
        for request in &requests {
            let reply = client.request(request).await?;
            let code = if let Reply::Error(error) = &reply { Some(error.code) } else { None };
            found.push(match code {
                Some(RequestErrorCode::Forbidden) => '-',
                Some(RequestErrorCode::Unknown) => '?',
                Some(other) => anyhow::bail!("{role}: {other} to {request:?}"),
                None => '+',
            });
        }
        ensure!(found == expected, "{role}: {found} instead of {expected}");
    }
    // Only support may open.
    site.until_opened_remotely(door, 1).await
}
