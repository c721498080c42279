//! A rig over a real mosquitto on loopback, started from a configuration in a temporary directory.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use fleet_broker::bus::{Bus, ExternalBus, ExternalSettings, ExternalTransport, Sink};
use tempfile::TempDir;

use super::{Rig, timing};

pub(crate) const PREFIX: &str = "fleet/test";

/// A mosquitto of the test's own, and [`ExternalBus`]es that reach it.
pub(crate) struct MosquittoRig {
    directory: TempDir,
    port: u16,
    broker: Mutex<Option<Child>>,
    clients: AtomicU32,
}

impl MosquittoRig {
    /// A running broker, or `None` with a message where mosquitto is not installed.
    pub(crate) fn running() -> Option<Self> {
        let rig = Self::stopped("allow_anonymous true\n")?;
        rig.start_broker();
        Some(rig)
    }

    /// A broker that is configured but not started.
    pub(crate) fn stopped(config: &str) -> Option<Self> {
        if executable("mosquitto").is_none() {
            let required = std::env::var_os("REQUIRE_TOOLS").is_some_and(|value| value == "1");
            assert!(!required, "mosquitto is not on PATH but REQUIRE_TOOLS=1");
            println!("skipped: mosquitto is not on PATH");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!("listener {port} 127.0.0.1\npersistence false\nlog_dest none\nuser root\n{config}");
        fs::write(directory.path().join("mosquitto.conf"), config).unwrap();
        Some(Self { directory, port, broker: Mutex::new(None), clients: AtomicU32::new(0) })
    }

    /// Adds lines to the configuration of a broker that is not started yet.
    pub(crate) fn append_config(&self, lines: &str) {
        let file = self.directory.path().join("mosquitto.conf");
        let config = fs::read_to_string(&file).unwrap() + lines;
        fs::write(file, config).unwrap();
    }

    pub(crate) fn start_broker(&self) {
        let child = Command::new(executable("mosquitto").unwrap())
            .arg("-c")
            .arg(self.directory.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        *self.broker.lock().unwrap() = Some(child);
    }

    pub(crate) fn stop_broker(&self) {
        if let Some(mut child) = self.broker.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    pub(crate) fn settings(&self, transport: ExternalTransport) -> ExternalSettings {
        ExternalSettings {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            transport,
            client_id: format!("bus-{}", self.clients.fetch_add(1, Ordering::SeqCst)),
            prefix: PREFIX.to_owned(),
            timing: timing(),
        }
    }

    /// Publishes `message` to `topic` with mosquitto's own client.
    pub(crate) fn publish(&self, topic: &str, message: &[u8]) {
        let file = self.directory.path().join("message");
        fs::write(&file, message).unwrap();
        let status = Command::new(executable("mosquitto_pub").expect("mosquitto_pub is on PATH beside mosquitto"))
            .args(["-V", "5", "-h", "127.0.0.1", "-q", "1", "-p", &self.port.to_string(), "-t", topic, "-f"])
            .arg(&file)
            .status()
            .unwrap();
        assert!(status.success(), "mosquitto_pub could not publish to {topic}");
    }
}

impl Drop for MosquittoRig {
    fn drop(&mut self) {
        self.stop_broker();
    }
}

impl Rig for MosquittoRig {
    fn start(&self, sink: Sink) -> Box<dyn Bus> {
        Box::new(ExternalBus::start(self.settings(ExternalTransport::PlaintextLoopback), sink).unwrap())
    }

    fn inject(&self, shard: &str, message: &[u8]) {
        self.publish(&format!("{PREFIX}/live/{shard}"), message);
    }

    fn break_link(&self) {
        self.stop_broker();
        self.start_broker();
    }
}

/// Where `name` is on PATH, or where Debian puts daemons that an ordinary PATH leaves out.
fn executable(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}
