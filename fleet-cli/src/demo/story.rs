//! The story, step by step, each seen from outside: on a topic, at the screen, or on the lock bus.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use ed25519_dalek::SigningKey;
use schemas::api::{LiveEvent, Notification, OrderPut, OrderState, Reply, Request, StaffIssued, Status};
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{self, Scope};
use schemas::ids::{OrderId, Role};
use schemas::messages::{
    Action, Command, CommandId, Compartment, Down, Expect, KeyPurpose, OrderKey, Signed, Unlock, UnlockOutcome,
};

use crate::client::{Client, IntegrationClient, LiveItem, LiveStream, Row};
use crate::stage::{Cabinet, CabinetPlan, Carrier, PATIENCE, Screen, Stage};

use super::timeline::{Timeline, say};

const SHOP: &str = "shop";
const CABINET: &str = "market-square";

/// A running fleet, and the people in the story.
pub(super) struct Story {
    stage: Stage,
    operator: Client,
    watch: LiveStream,
    shop: IntegrationClient,
    cabinet: Cabinet,
    carrier: Carrier,
    pin: String,
    /// The staff's session at the screen, once they have logged in.
    session: String,
    /// Number of the newest notification that the shop has.
    notified: u64,
}

impl Story {
    pub(super) async fn set_up(timeline: &mut Timeline) -> anyhow::Result<Self> {
        timeline.part("Setting up");
        timeline.begin("make the fleet's files (fleet init)");
        let mut stage = Stage::set_up("acme")?;
        timeline.saw("fleet", "roots, CAs, certificates, signing keys and settings are made");
        timeline.begin("start the signer and the broker");
        stage.start_signer().await?;
        stage.start_broker().await?;
        timeline
            .saw("broker", &format!("listens on 127.0.0.1:{} (TLS 1.3, MQTT 5); the signer runs apart", stage.port()));
        timeline.begin("connect the operator");
        let operator = stage.client(Role::Operator, "admin").await?;
        let watch = operator.subscribe_live(None).await?;
        timeline.saw("operator", "connected with a certificate of the operators' CA");

        timeline.begin("add the cabinet (fleet cabinet add)");
        let mut plan = CabinetPlan::new(CABINET, "1-4:S,5-8:M,9-10:L");
        plan.person = Some(Duration::from_millis(400));
        let mut cabinet = Cabinet::add(&stage, plan.clone(), &operator).await?;
        // The carrier sees every byte between cabinet and broker; later it turns hostile.
        let carrier = Carrier::start(&stage, cabinet.id()).await?;
        cabinet.connect_through(carrier.port());
        cabinet.start_agent().await?;
        cabinet.until_online().await?;
        timeline.saw("cabinet", "ten doors on a simulated XOR board; connected, hello and welcome exchanged");

        timeline.begin("give a member of staff a PIN (fleet staff add)");
        let reply = operator.request(&Request::StaffAdd { name: "sam".parse()?, until: None }).await?;
        let Reply::Staff(StaffIssued { pin, .. }) = reply else { bail!("no PIN: {reply:?}") };
        cabinet.until_book_held(&operator).await?;
        timeline.saw("operator", "Sam of the store staff got a PIN; the cabinet got its verifier in a signed book");
        let shop = stage.integration(SHOP).await?;
        Ok(Self { stage, operator, watch, shop, cabinet, carrier, pin, session: String::new(), notified: 0 })
    }

    /// From an order on a topic to an open door, with the broker away when the customer comes.
    pub(super) async fn order_to_open_door(&mut self, timeline: &mut Timeline) -> anyhow::Result<()> {
        timeline.part("An order, from the shop to the customer");
        timeline.begin("the shop publishes order A17");
        self.shop.put_order(&order("A17")?).await?;
        timeline.saw("shop", "published order A17 (size M, retail) with its own certificate");
        let reserved = self.status("A17", OrderState::Reserved).await?;
        timeline.saw("shop", &format!("heard: reserved{}", at_door(reserved.compartment)));

        let door = self.load(timeline, "A17").await?;
        timeline.begin("the pickup code reaches the shop");
        let notification = self.notification().await?;
        ensure!(notification.order.as_str() == "A17" && notification.compartment == Some(door), "{notification:?}");
        timeline.saw(
            "shop",
            &format!(
                "has the notification: code {}, {}, \"{}\"",
                masked(&notification.code),
                notification.place,
                notification.instruction
            ),
        );

        timeline.begin("stop the broker");
        self.stage.stop_broker().await?;
        self.screen()?.until(PATIENCE, "the cabinet is offline", |view| view["online"] == false).await?;
        timeline.saw("broker", "stopped; the cabinet is on its own");
        timeline.begin("the customer types the code");
        let pulses = self.cabinet.pulses();
        let answer = self.screen()?.enter(&notification.code).await?;
        ensure!(answer.body["result"] == "opening", "the screen said {answer:?}");
        self.cabinet.until_pulsed(door, 2).await?;
        ensure!(self.cabinet.pulses() == pulses + 1, "another lock was pulsed too");
        timeline.saw("customer", &format!("typed the code at the keypad, offline: door {door} opened, and no other"));
        timeline.begin("the customer closes the door");
        self.until_free(door).await?;
        timeline.saw("customer", "took the order and closed the door");

        timeline.begin("start the broker again");
        self.shop_reconnects().await?;
        let collected = self.status("A17", OrderState::Collected).await?;
        timeline.saw("broker", "started again; the cabinet delivered what had happened, in order, once");
        timeline.saw("shop", &format!("heard: collected at {}, the time at the door", collected.at));
        self.check_history(&collected, "A17").await?;

        timeline.begin("the same code again");
        let pulses = self.cabinet.pulses();
        let again = self.screen()?.enter(&notification.code).await?;
        ensure!(again.body["result"] == "refused", "the screen said {again:?}");
        ensure!(self.cabinet.pulses() == pulses, "a door was pulsed");
        timeline.saw("customer", "typed the same code again: refused, nothing moved");
        Ok(())
    }

    /// A signed command opens; whatever the owner of the network makes of it does not.
    pub(super) async fn operator_and_attackers(&mut self, timeline: &mut Timeline) -> anyhow::Result<()> {
        timeline.part("A signed command, and those who would like to have one");
        let door = Compartment::new(9).context("a door")?;
        timeline.begin("the operator unlocks door 9 (fleet unlock)");
        let before = self.carrier.commands().len();
        let request =
            Request::Unlock { cabinet: self.cabinet.id().clone(), compartment: door, reason: "demo".to_owned() };
        let reply = self.operator.request(&request).await?;
        let Reply::Unlock(result) = reply else { bail!("the reply was {reply:?}") };
        ensure!(result.outcome == UnlockOutcome::Opened, "the outcome was {}", result.outcome);
        self.cabinet.until_pulsed(door, 1).await?;
        timeline.saw("operator", "unlocked door 9 by a command that the signer signed: opened");
        self.until_closed(door).await?;

        let pulses = self.cabinet.pulses();
        timeline.begin("the carrier sends the same bytes again");
        let command = self.carrier.commands().into_iter().nth(before).context("the carrier saw no command")?;
        self.carrier.inject(&command).await?;
        self.refused("replayed").await?;
        timeline.saw("carrier", "sent the same bytes again: refused as replayed, and reported");

        timeline.begin("the carrier forges a command");
        let forged = self.command(&SigningKey::from_bytes(&[7; 32]), door, Expect::empty()).await?;
        self.carrier.inject(&forged).await?;
        self.refused("unknown_key").await?;
        timeline.saw("carrier", "signed a command with a key of its own: refused, and reported");

        timeline.begin("a genuine command that names the wrong content");
        let key = self.stage.signing_key(KeyPurpose::Unlock)?;
        let wrong = OrderKey { integration: SHOP.parse()?, order: "A99".parse()? };
        let misled = self.command(&key, door, Expect::order(wrong)).await?;
        self.carrier.inject(&misled).await?;
        self.refused("wrong_content").await?;
        timeline.saw("carrier", "delivered a genuine command that names an order which is not there: refused");
        ensure!(self.cabinet.pulses() == pulses, "a door was pulsed for an attacker");
        timeline.saw("lock board", &format!("saw {pulses} pulses in all, none of them for the carrier"));
        Ok(())
    }

    /// Keeps everything running and says how to go on by hand.
    pub(super) async fn stay(&mut self) -> anyhow::Result<()> {
        let people = self.stage.layout().people();
        let operator = people.join("operator-admin");
        let shop = people.join(format!("integration-{SHOP}"));
        let fleet = self.stage.binaries().fleet.display().to_string();
        say("Everything keeps running until Ctrl-C. To go on by hand:\n");
        say(&format!("  The cabinet's screen (staff PIN {}):\n    {}\n", self.pin, self.screen()?.url()));
        say(&format!("  Watch the cabinet:\n    {fleet} watch --as {}", operator.display()));
        say(&format!(
            "  Put an order:\n    {fleet} order put B1 --cabinet {CABINET} --size S --category retail --as {}",
            shop.display()
        ));
        say(&format!("  Look around:\n    {fleet} cabinet show {CABINET} --as {}", operator.display()));
        say(&format!("  Open a door:\n    {fleet} unlock {CABINET} 10 --reason test --as {}\n", operator.display()));
        say(&format!(
            "  Topics (mutual TLS on 127.0.0.1:{}, certificates in the folders above):\n    \
             v1/acme/integration/{SHOP}/orders/put   v1/acme/integration/{SHOP}/status   \
             v1/acme/integration/{SHOP}/notifications   v1/acme/live/#\n",
            self.stage.port()
        ));
        say(&format!("  Logs and files: {}", self.stage.folder().display()));
        tokio::signal::ctrl_c().await.context("wait for Ctrl-C")
    }

    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        self.cabinet.stop_agent().await?;
        self.stage.stop_broker().await
    }

    fn screen(&self) -> anyhow::Result<Screen> {
        self.cabinet.screen()
    }

    /// Staff log in and load the order; returns its door.
    async fn load(&mut self, timeline: &mut Timeline, order: &str) -> anyhow::Result<Compartment> {
        timeline.begin("staff log in at the cabinet");
        let screen = self.screen()?;
        let session = screen.staff(&self.pin).await?;
        self.session.clone_from(&session);
        timeline.saw("staff", "Sam logged in at the screen with the PIN");
        timeline.begin("staff load the order");
        let key = format!("{SHOP}/{order}");
        screen
            .until_in(Some(&session), PATIENCE, "the order is listed", |view| {
                view["staff"]["waiting"].to_string().contains(&key)
            })
            .await?;
        let pulses = self.cabinet.pulses();
        screen.load(&session, &key).await?;
        let loading = self.status(order, OrderState::Loading).await?;
        let door = loading.compartment.context("the status names no door")?;
        self.cabinet.until_pulsed(door, 1).await?;
        ensure!(self.cabinet.pulses() == pulses + 1, "another lock was pulsed too");
        timeline.saw("staff", &format!("chose {order}: door {door} opened on the lock board"));
        timeline.begin("staff close the door and confirm");
        screen
            .until_in(Some(&session), PATIENCE, "the screen asks", |view| compartment(view, door)["asks"] == true)
            .await?;
        screen.confirm(&session, door.number(), true).await?;
        timeline.saw("staff", "put the order in, closed the door and confirmed (this board has no occupancy sensor)");
        timeline.begin("the order is stored");
        let stored = self.status(order, OrderState::Stored).await?;
        timeline.saw("shop", &format!("heard: stored{}", at_door(stored.compartment)));
        Ok(door)
    }

    /// Takes rows until the order has this state. Every row is acknowledged.
    async fn status(&mut self, order: &str, state: OrderState) -> anyhow::Result<Status> {
        loop {
            let delivery =
                next_row(&mut self.shop).await.with_context(|| format!("waiting for {order} to be {state}"))?;
            let row = delivery.row.clone();
            self.shop.ack(delivery).await?;
            match row {
                Row::Status(status) if status.order.as_str() == order && status.state == state => return Ok(status),
                Row::Status(status) => {
                    ensure!(status.state != OrderState::Rejected, "the order was rejected: {status:?}");
                }
                // Its acknowledgement was lost with the broker.
                Row::Notification(again) if again.n <= self.notified => {}
                Row::Notification(early) => bail!("a notification came before its time: {early:?}"),
            }
        }
    }

    async fn notification(&mut self) -> anyhow::Result<Notification> {
        loop {
            let delivery = next_row(&mut self.shop).await.context("waiting for the notification")?;
            let row = delivery.row.clone();
            self.shop.ack(delivery).await?;
            if let Row::Notification(notification) = row {
                self.notified = notification.n;
                return Ok(*notification);
            }
        }
    }

    /// Everything of the order's life is there once and in order, also what happened while the broker was away.
    async fn check_history(&self, collected: &Status, order: &str) -> anyhow::Result<()> {
        let key = OrderKey { integration: SHOP.parse()?, order: order.parse()? };
        let reply = self.operator.request(&Request::OrderShow { order: key }).await?;
        let Reply::Order(detail) = reply else { bail!("the reply was {reply:?}") };
        // The clocks of fleet and cabinet differ by the way of a message: only times of one clock compare.
        let at_cabinet = detail.history.iter().skip_while(|(state, _)| *state != OrderState::Loading);
        let times: Vec<_> = at_cabinet.map(|(_, at)| *at).collect();
        ensure!(times.is_sorted(), "the history is out of order: {:?}", detail.history);
        let collections = detail.history.iter().filter(|(state, _)| *state == OrderState::Collected).count();
        ensure!(collections == 1, "collected {collections} times");
        ensure!(!collected.time_unverified, "the cabinet did not know the time");
        Ok(())
    }

    async fn shop_reconnects(&mut self) -> anyhow::Result<()> {
        self.stage.start_broker().await?;
        self.shop = self.stage.integration(SHOP).await?;
        self.operator = self.stage.client(Role::Operator, "admin").await?;
        self.watch = self.operator.subscribe_live(None).await?;
        self.cabinet.until_online().await
    }

    async fn until_free(&self, door: Compartment) -> anyhow::Result<()> {
        let free = |view: &serde_json::Value| {
            let shown = compartment(view, door);
            shown["door"] == "closed" && shown["allocated"] == false
        };
        self.screen()?.until_in(Some(&self.session().await?), PATIENCE, "the compartment is free", free).await.map(drop)
    }

    /// Staff log in again where they did nothing for a minute.
    async fn session(&self) -> anyhow::Result<String> {
        let screen = self.screen()?;
        if screen.view(Some(&self.session)).await?["staff"].is_null() {
            return screen.staff(&self.pin).await;
        }
        Ok(self.session.clone())
    }

    async fn until_closed(&self, door: Compartment) -> anyhow::Result<()> {
        let closed = |view: &serde_json::Value| compartment(view, door)["door"] == "closed";
        self.screen()?.until_in(Some(&self.session().await?), PATIENCE, "the door is closed", closed).await.map(drop)
    }

    /// Waits for the cabinet's report of a refused command.
    async fn refused(&mut self, reason: &str) -> anyhow::Result<()> {
        let wait = async {
            loop {
                if let LiveItem::Event(LiveEvent { kind, text, .. }) = self.watch.next().await?
                    && kind == "command_refused"
                    && text.contains(reason)
                {
                    return anyhow::Ok(());
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("no report of `{reason}` came"))?
    }

    /// A command for the challenge of the moment, signed with `key`.
    async fn command(&self, key: &SigningKey, compartment: Compartment, expects: Expect) -> anyhow::Result<Vec<u8>> {
        let challenge = self.carrier.until_challenge(None).await?;
        let mut id = [0; 16];
        getrandom::fill(&mut id).context("no random numbers")?;
        let command = Command {
            id: CommandId(id),
            challenge,
            issued: 0,
            action: Action::Unlock(Unlock { compartment, expects }),
            requester: "carrier".into(),
        };
        let scope = Scope::Cabinet {
            tenant: &self.stage.layout().settings().tenant,
            cabinet: self.cabinet.id(),
            instance: self.cabinet.instance(),
            purpose: KeyPurpose::Unlock,
        };
        let envelope = Blob(envelope::sign(cbor::encode(&command), scope, key));
        Ok(cbor::encode(&Down::Command(Signed { envelope })))
    }
}

async fn next_row(shop: &mut IntegrationClient) -> anyhow::Result<crate::client::Delivery> {
    Ok(tokio::time::timeout(PATIENCE, shop.next_row()).await.context("no row came")??)
}

fn order(id: &str) -> anyhow::Result<OrderPut> {
    let json = format!(
        r#"{{"order":"{id}","cabinet":"{CABINET}","size":"M","category":"retail","recipient":{{"phone":"+15550100"}}}}"#
    );
    let order: OrderPut = schemas::api::parse(json.as_bytes())?;
    debug_assert_eq!(order.order, id.parse::<OrderId>()?);
    Ok(order)
}

fn compartment(view: &serde_json::Value, door: Compartment) -> &serde_json::Value {
    view["staff"]["compartments"]
        .as_array()
        .and_then(|all| all.iter().find(|shown| shown["number"] == door.number()))
        .unwrap_or(&serde_json::Value::Null)
}

fn at_door(door: Option<Compartment>) -> String {
    door.map_or_else(String::new, |door| format!(", door {door}"))
}

/// Enough to see that there is one: the code is for the recipient.
fn masked(code: &str) -> String {
    format!("{}…{} ({} digits)", &code[..1], &code[code.len() - 1..], code.len())
}
