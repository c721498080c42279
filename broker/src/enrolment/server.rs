//! Opens the enrolment port and serves it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::routing::{get, post};
use certs::{CertificateDer, ClientRoots, TlsIdentity};
use schemas::enrolment::{CACERTS, SIMPLE_ENROLL, SIMPLE_REENROLL};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::EnrolmentAsk;
use super::connections::{Handshaken, Peer};
use super::requests::{Desk, ca_certs, simple_enroll, simple_reenroll};
use crate::admission::Registry;
use crate::driver::Clock;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where, with which files, and how many at once.
#[derive(Debug, Clone)]
pub struct EnrolmentSettings {
    pub listen: SocketAddr,
    pub root: PathBuf,
    pub cabinets_ca: PathBuf,
    pub connections_max: usize,
    /// Addresses behind which many are at home: having many connections is no reason to lose one.
    pub address_allow_list: Vec<IpAddr>,
    pub grace_days: u32,
}

/// The port, open and not yet served.
pub struct EnrolmentPort {
    listener: Handshaken,
    address: SocketAddr,
    routes: Router,
}

impl EnrolmentPort {
    pub async fn bind(
        settings: &EnrolmentSettings,
        own: &TlsIdentity,
        clients: &ClientRoots,
        (registry, clock): (Arc<Registry>, Clock),
        asks: mpsc::Sender<EnrolmentAsk>,
    ) -> anyhow::Result<Self> {
        let grace = DAY * settings.grace_days;
        let tls = certs::enrolment_server_config(own, clients, Arc::new(clock.clone()), grace)?;
        let mut authorities: Vec<CertificateDer<'static>> = certs::read_certificates(&settings.root)?;
        authorities.extend(certs::read_certificates(&settings.cabinets_ca)?);
        let listen = settings.listen;
        let tcp = TcpListener::bind(listen).await.with_context(|| {
            format!("listen on {listen} for enrolment; if the port is in use, set enrolment.listen to another one")
        })?;
        let address = tcp.local_addr().context("read the enrolment port's address")?;
        let listener = Handshaken::start(tcp, Arc::new(tls), settings.connections_max, &settings.address_allow_list)
            .context("accept enrolments")?;
        let desk = Arc::new(Desk { asks, registry, clients: clients.clone(), clock, grace, authorities });
        let routes = Router::new()
            .route(CACERTS, get(ca_certs))
            .route(SIMPLE_ENROLL, post(simple_enroll))
            .route(SIMPLE_REENROLL, post(simple_reenroll))
            .with_state(desk);
        Ok(Self { listener, address, routes })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the future is dropped.
    pub async fn serve(self) -> std::io::Result<()> {
        axum::serve(self.listener, self.routes.into_make_service_with_connect_info::<Peer>()).await
    }
}
