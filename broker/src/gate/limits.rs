//! The gate's settings and their defaults.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Smallest "maximum packet size" of a client that the gate can work with: its own answers have to fit.
pub(super) const CLIENT_PACKET_MIN: usize = 1024;

/// Everything about the gate that can be set.
#[derive(Debug, Clone)]
pub struct GateSettings {
    pub listen: SocketAddr,
    /// Largest packet of a cabinet, in bytes.
    pub cabinet_packet_max: usize,
    /// Largest packet of an integration or a person, in bytes.
    pub session_packet_max: usize,
    /// Sockets at once; more are answered "server busy".
    pub connections_max: usize,
    /// Connections between accept and CONNACK; one more pushes the oldest out.
    pub half_open_max: usize,
    /// The same for one address; more from there are closed at once.
    pub half_open_per_address: usize,
    /// Addresses without a bound of their own, such as a carrier's NAT.
    pub address_allow_list: Vec<IpAddr>,
    /// From accept to a valid CONNECT.
    pub greeting_timeout: Duration,
    /// Longest keepalive in seconds; it is also what a client without one gets.
    pub keep_alive_max: u16,
    /// PUBLISHes of one client that wait for the disk (Receive Maximum).
    pub receive_maximum: u16,
    /// PUBLISHes to one client that wait for its PUBACK, at most; the client may ask for less.
    pub send_window: u16,
    /// Commands that wait for one cabinet beyond the window.
    pub down_queue_max: usize,
    /// Answers that wait for one session.
    pub response_queue_max: usize,
    /// Live messages that wait for one slow session before they are dropped.
    pub live_queue_max: usize,
    /// A cabinet that leaves a command unacknowledged for so long is unreachable.
    pub downlink_timeout: Duration,
    /// A peer that takes no byte for so long is gone.
    pub write_stall: Duration,
    /// How long a closing connection may take to read its DISCONNECT.
    pub close_linger: Duration,
    /// Sessions of one person or integration.
    pub sessions_per_identity: usize,
    /// Live filters of one session.
    pub live_filters_max: usize,
    /// Packets per second of one identity, and how many at once.
    pub packets_per_second: u32,
    pub packet_burst: u32,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8883),
            cabinet_packet_max: 64 * 1024,
            session_packet_max: 256 * 1024,
            connections_max: 50_000,
            half_open_max: 2_048,
            half_open_per_address: 128,
            address_allow_list: Vec::new(),
            greeting_timeout: Duration::from_secs(10),
            keep_alive_max: 60,
            receive_maximum: 32,
            send_window: 32,
            down_queue_max: 256,
            response_queue_max: 64,
            live_queue_max: 256,
            downlink_timeout: Duration::from_secs(10),
            write_stall: Duration::from_secs(15),
            close_linger: Duration::from_secs(1),
            sessions_per_identity: 8,
            live_filters_max: 16,
            packets_per_second: 200,
            packet_burst: 1_000,
        }
    }
}
