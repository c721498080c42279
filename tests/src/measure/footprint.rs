//! Sizes of files and memory of processes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use fleet_cli::stage::Process;
use tokio::time::sleep;

use super::figures::Figure;
use super::programs::AgentPrograms;
use super::site::Site;

/// After this time without anything to do a process is at rest.
pub(super) const QUIET: Duration = Duration::from_secs(10);
const SIZE_GOAL_MEGABYTES: f64 = 4.5;
const MEMORY_GOAL_MEBIBYTES: f64 = 6.0;

/// Memory of a process, in KiB (`/proc/<id>/status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    /// All pages that are in memory, those of the program file included.
    pub(super) resident: u64,
    /// Those of them that no file backs: heap and stacks.
    pub(super) anonymous: u64,
    /// Most that was ever resident.
    pub(super) peak: u64,
}

impl Memory {
    pub(super) fn of(process: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{process}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        Self::parse(&status).with_context(|| format!("understand {path}"))
    }

    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        Some(Self { resident: field("VmRSS")?, anonymous: field("RssAnon")?, peak: field("VmHWM")? })
    }

    /// Lets the peak begin again from what is resident now.
    pub(super) fn forget_peak(process: u32) -> anyhow::Result<()> {
        let path = format!("/proc/{process}/clear_refs");
        fs::write(&path, "5").with_context(|| format!("write {path}"))
    }
}

/// Broker and signer before anything connects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Servers {
    broker: Memory,
    signer: Memory,
}

impl Servers {
    pub(super) async fn read(broker: &Process, signer: &Process) -> anyhow::Result<Self> {
        sleep(QUIET).await;
        let of = |process: &Process| Memory::of(process.id().context("the process does not run")?);
        Ok(Self { broker: of(broker)?, signer: of(signer)? })
    }
}

pub(super) fn sizes(programs: &AgentPrograms) -> anyhow::Result<Vec<Figure>> {
    let size = |path: &Path| -> anyhow::Result<u64> {
        Ok(fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.len())
    };
    Ok(vec![
        Figure::megabytes("agent: file, profile `cabinet`", size(&programs.cabinet)? as f64)
            .at_most(SIZE_GOAL_MEGABYTES),
        Figure::megabytes("agent: file, profile `release`", size(&programs.release)? as f64),
        Figure::megabytes("broker and signer: file, profile `release`", size(&programs.broker)? as f64),
    ])
}

pub(super) fn without_cabinets(site: &Site) -> Vec<Figure> {
    let Servers { broker, signer } = site.servers;
    vec![
        Figure::mebibytes("broker: resident, ready, nothing connected", broker.resident),
        Figure::mebibytes("… of that heap and stacks", broker.anonymous),
        Figure::mebibytes("signer: resident, ready", signer.resident),
        Figure::mebibytes("… of that heap and stacks", signer.anonymous),
    ]
}

/// The agent, connected and welcomed, doors polled, nothing else to do.
pub(super) async fn at_rest(site: &Site) -> anyhow::Result<Vec<Figure>> {
    let agent = site.agent_id()?;
    sleep(QUIET).await;
    let memory = Memory::of(agent)?;
    Ok(vec![
        Figure::mebibytes("agent: resident, connected, at rest", memory.resident).at_most(MEMORY_GOAL_MEBIBYTES),
        Figure::mebibytes("… of that heap and stacks", memory.anonymous),
        Figure::mebibytes("agent: peak until then", memory.peak),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_process_is_read_by_field() {
        let status = "Name:\tx\nVmHWM:\t  900 kB\nVmRSS:\t  800 kB\nRssAnon:\t  300 kB\nRssFile:\t 500 kB\n";
        assert_eq!(Memory::parse(status), Some(Memory { resident: 800, anonymous: 300, peak: 900 }));
        assert_eq!(Memory::parse("VmHWM:\t  900 kB\nVmRSS:\t  many kB\nRssAnon:\t  300 kB\n"), None);
        assert!(Memory::of(std::process::id()).unwrap().resident > 0);
    }
}
