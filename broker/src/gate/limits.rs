//! The gate's settings and their defaults.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Smallest "maximum packet size" of a client that the gate can work with: its own answers have to fit.
pub(super) const CLIENT_PACKET_MIN: usize = 1024;

/// Largest packet that MQTT can express after its fixed header.
const PACKET_MAX: usize = 268_435_455;

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
            keep_alive_max: 200,
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

impl GateSettings {
    /// Everything that is wrong with these settings, in words for the operator.
    pub fn problems(&self) -> Vec<String> {
        let numbers = [
            ("connections_max", self.connections_max),
            ("half_open_max", self.half_open_max),
            ("half_open_per_address", self.half_open_per_address),
            ("keep_alive_max", usize::from(self.keep_alive_max)),
            ("receive_maximum", usize::from(self.receive_maximum)),
            ("send_window", usize::from(self.send_window)),
            ("down_queue_max", self.down_queue_max),
            ("response_queue_max", self.response_queue_max),
            ("live_queue_max", self.live_queue_max),
            ("sessions_per_identity", self.sessions_per_identity),
            ("live_filters_max", self.live_filters_max),
            ("packets_per_second", self.packets_per_second as usize),
            ("packet_burst", self.packet_burst as usize),
        ];
        let times = [
            ("greeting_timeout", self.greeting_timeout),
            ("downlink_timeout", self.downlink_timeout),
            ("write_stall", self.write_stall),
            ("close_linger", self.close_linger),
        ];
        let sizes = [("cabinet_packet_max", self.cabinet_packet_max), ("session_packet_max", self.session_packet_max)];
        let zero_numbers = numbers.iter().filter(|(_, value)| *value == 0).map(|(name, _)| *name);
        let zero_times = times.iter().filter(|(_, value)| value.is_zero()).map(|(name, _)| *name);
        let zeros = zero_numbers.chain(zero_times).map(|name| format!("`{name}` must not be 0"));
        let bad_sizes = sizes
            .iter()
            .filter(|(_, value)| !(CLIENT_PACKET_MIN..=PACKET_MAX).contains(value))
            .map(|(name, _)| format!("`{name}` must be {CLIENT_PACKET_MIN} to {PACKET_MAX} bytes"));
        zeros.chain(bad_sizes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound_and_every_mistake_is_named() {
        assert_eq!(GateSettings::default().problems(), [""; 0]);
        let wrong = GateSettings {
            receive_maximum: 0,
            write_stall: Duration::ZERO,
            cabinet_packet_max: 10,
            ..GateSettings::default()
        };
        assert_eq!(
            wrong.problems(),
            [
                "`receive_maximum` must not be 0",
                "`write_stall` must not be 0",
                "`cabinet_packet_max` must be 1024 to 268435455 bytes"
            ]
        );
    }
}
