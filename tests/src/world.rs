//! A fleet of real processes with its people.

use anyhow::bail;
use fleet_cli::client::Client;
use fleet_cli::stage::{Cabinet, CabinetPlan, Carrier, PATIENCE, Stage};
use schemas::api::{CabinetDetail, Reply, ReplyError, Request, StaffIssued, UnlockResult};
use schemas::ids::Role;
use schemas::messages::Compartment;

use crate::people::Shop;
use crate::site::Site;
use crate::until::{Look, until};
use crate::watch::Watch;

/// Broker, signer, an operator who watches, and a shop.
pub struct World {
    pub stage: Stage,
    pub operator: Client,
    pub watch: Watch,
    pub shop: Shop,
    pin: String,
}

impl World {
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_on(Stage::set_up("acme")?).await
    }

    /// A fleet whose files the test has prepared.
    pub async fn start_on(mut stage: Stage) -> anyhow::Result<Self> {
        stage.start_signer().await?;
        stage.start_broker().await?;
        let operator = stage.client(Role::Operator, "admin").await?;
        let watch = Watch::start(&operator).await?;
        let shop = Shop::connect(&stage, "shop").await?;
        let reply = operator.request(&Request::StaffAdd { name: "sam".parse()?, until: None }).await?;
        let Reply::Staff(StaffIssued { pin, .. }) = reply else { bail!("no PIN: {reply:?}") };
        Ok(Self { stage, operator, watch, shop, pin })
    }

    /// A cabinet that runs, is online and knows the staff's PIN.
    pub async fn cabinet(&self, plan: CabinetPlan) -> anyhow::Result<Site> {
        self.install(plan, false, |_| Ok(())).await
    }

    /// The same, with files that the test prepares before the first start.
    pub async fn cabinet_prepared(
        &self,
        plan: CabinetPlan,
        prepare: impl FnOnce(&Cabinet) -> anyhow::Result<()>,
    ) -> anyhow::Result<Site> {
        self.install(plan, false, prepare).await
    }

    /// The same with a carrier between cabinet and broker.
    pub async fn cabinet_behind_carrier(&self, plan: CabinetPlan) -> anyhow::Result<Site> {
        self.install(plan, true, |_| Ok(())).await
    }

    async fn install(
        &self,
        plan: CabinetPlan,
        carried: bool,
        prepare: impl FnOnce(&Cabinet) -> anyhow::Result<()>,
    ) -> anyhow::Result<Site> {
        let mut cabinet = Cabinet::add(&self.stage, plan, &self.operator).await?;
        prepare(&cabinet)?;
        let mut carrier = None;
        if carried {
            let started = Carrier::start(&self.stage, cabinet.id()).await?;
            cabinet.connect_through(started.port());
            carrier = Some(started);
        }
        cabinet.start_agent().await?;
        cabinet.until_online().await?;
        cabinet.until_book_held(&self.operator).await?;
        Ok(Site::new(cabinet, carrier, self.pin.clone()))
    }

    /// What a secret of the staff is: for tests that search logs.
    pub fn pin(&self) -> &str {
        &self.pin
    }

    /// The broker runs again: everybody connects anew.
    pub async fn start_broker(&mut self) -> anyhow::Result<()> {
        self.start_broker_alone().await?;
        self.shop.reconnect(&self.stage).await
    }

    /// The broker runs again, and the shop is still away.
    pub async fn start_broker_alone(&mut self) -> anyhow::Result<()> {
        self.stage.start_broker().await?;
        self.operator = self.stage.client(Role::Operator, "admin").await?;
        self.watch = Watch::start(&self.operator).await?;
        Ok(())
    }

    /// The operator asks for an unlock.
    pub async fn unlock(
        &self,
        site: &Site,
        compartment: Compartment,
    ) -> anyhow::Result<Result<UnlockResult, ReplyError>> {
        let cabinet = site.cabinet.id().clone();
        let request = Request::Unlock { cabinet, compartment, reason: "test".to_owned() };
        let reply = self.operator.request(&request).await?;
        if let Reply::Error(error) = reply {
            return Ok(Err(error));
        }
        let Reply::Unlock(result) = reply else { bail!("the reply was {reply:?}") };
        Ok(Ok(result))
    }

    /// What the fleet knows of a cabinet.
    pub async fn show(&self, site: &Site) -> anyhow::Result<CabinetDetail> {
        let reply = self.operator.request(&Request::CabinetShow { cabinet: site.cabinet.id().clone() }).await?;
        let Reply::Cabinet(detail) = reply else { bail!("the reply was {reply:?}") };
        Ok(*detail)
    }

    /// Waits until the fleet sees the cabinet go or come.
    pub async fn until_online(&self, site: &Site, online: bool) -> anyhow::Result<()> {
        let word = if online { "online" } else { "offline" };
        until(&format!("the fleet sees {} {word}", site.name()), async || {
            let summary = self.show(site).await?.summary;
            Ok(Look::at((summary.online == online).then_some(()), || format!("{summary:?}")))
        })
        .await
    }

    /// Waits until the cabinet knows that the fleet is gone.
    pub async fn until_alone(&self, site: &Site) -> anyhow::Result<()> {
        site.screen()?.until(PATIENCE, "the cabinet is offline", |view| view["online"] == false).await.map(drop)
    }
}
