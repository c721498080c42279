//! The guides in docs, their commands executed as they stand there, with mosquitto's clients and with paho-mqtt for Python.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, PATIENCE};
use fleet_tests::{World, order, program, usable};
use schemas::ids::Role;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const SHOP: &str = include_str!("../../../docs/integrate-a-shop.md");
const PLATFORM: &str = include_str!("../../../docs/integrate-a-delivery-platform.md");
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
/// Where tests/scripts/install-tools.sh puts paho-mqtt.
const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");

/// The folder of an integration, with the clients beside its files, and its guide.
struct Folder {
    path: PathBuf,
    port: String,
    guide: &'static str,
}

impl Folder {
    fn of(world: &World, integration: &str, guide: &'static str) -> anyhow::Result<Self> {
        let path = world.stage.layout().people().join(format!("integration-{integration}"));
        for client in ["shop.py", "delivery.py"] {
            std::fs::copy(Path::new(DOCS).join(client), path.join(client)).context(client)?;
        }
        let settings = std::fs::read_to_string(path.join("fleet.toml"))?;
        let port = settings.lines().find_map(|line| line.strip_prefix("port = ")).context("a port")?.to_owned();
        Ok(Self { path, port, guide })
    }

    /// The command of the block with this name.
    fn command(&self, name: &str) -> anyhow::Result<&'static str> {
        let (_, behind) =
            self.guide.split_once(&format!("```sh {name}\n")).with_context(|| format!("no block {name}"))?;
        behind.split("```").next().context("the block has no end")
    }

    fn start(&self, block: &str) -> anyhow::Result<Child> {
        Command::new("sh")
            .args(["-eu", "-c", &format!("exec {}", self.command(block)?)])
            .current_dir(&self.path)
            .env("HOST", "127.0.0.1")
            .env("PORT", &self.port)
            .env("PYTHONPATH", PACKAGES)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {block}"))
    }

    async fn run(&self, block: &str) -> anyhow::Result<()> {
        let out =
            timeout(PATIENCE, self.start(block)?.wait_with_output()).await.with_context(|| block.to_owned())??;
        ensure!(out.status.success(), "{block}: {}", String::from_utf8_lossy(&out.stdout));
        Ok(())
    }

    /// What the client has on its disk.
    fn kept(&self, database: &str) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(self.path.join(database))?).into_owned())
    }
}

fn with_mosquitto() -> anyhow::Result<bool> {
    usable(program("mosquitto_pub").is_some() && program("mosquitto_sub").is_some(), "mosquitto-clients")
}

fn with_python() -> anyhow::Result<bool> {
    let paho = Path::new(PACKAGES).join("paho");
    Ok(usable(program("python3").is_some(), "python3")? && usable(paho.exists(), "paho-mqtt (install-tools.sh)")?)
}

/// The first code in what was kept or printed.
fn code_in(text: &str) -> anyhow::Result<String> {
    let (_, code) = text.split_once(r#""code":""#).context("no message with a code")?;
    Ok(code.chars().take_while(|c| *c != '"').collect())
}

/// What a listener prints.
struct Heard {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    all: Vec<String>,
}

impl Heard {
    fn start(folder: &Folder, block: &str) -> anyhow::Result<Self> {
        let mut child = folder.start(block)?;
        let lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
        Ok(Self { child, lines, all: Vec::new() })
    }

    /// The first line with all these words.
    async fn until(&mut self, words: &[&str]) -> anyhow::Result<String> {
        let has = |line: &&String| words.iter().all(|word| line.contains(word));
        loop {
            if let Some(line) = self.all.iter().find(has) {
                return Ok(line.clone());
            }
            let line = timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.with_context(|| format!("{words:?} did not come: {:?}", self.all))??;
            self.all.push(line.with_context(|| format!("it ended before {words:?}: {:?}", self.all))?);
        }
    }
}

#[tokio::test]
async fn the_commands_of_the_guide_put_an_order_and_show_what_becomes_of_it() -> anyhow::Result<()> {
    if !with_mosquitto()? {
        return Ok(());
    }
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:M")).await?;
    let folder = Folder::of(&world, "shop", SHOP)?;
    let mut heard = Heard::start(&folder, "listen")?;
    folder.run("put").await?;
    heard.until(&["shop/status", r#""order":"A17""#, r#""state":"reserved""#]).await?;
    site.load("shop/A17").await?;
    heard.until(&["shop/status", r#""order":"A17""#, r#""state":"stored""#]).await?;
    heard.until(&["shop/notifications", r#""order":"A17""#, r#""code":"#, "+49 151 12345678"]).await?;
    Ok(())
}

#[tokio::test]
async fn the_python_client_of_the_guide_loses_nothing_and_hears_nothing_twice_however_it_ends() -> anyhow::Result<()> {
    if !with_python()? {
        return Ok(());
    }
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:M")).await?;
    let folder = Folder::of(&world, "shop", SHOP)?;
    let mut heard = Heard::start(&folder, "python")?;
    folder.run("python-put").await?;
    heard.until(&["A18 reserved"]).await?;
    heard.child.kill().await?;

    // While it is away.
    let door = site.load("shop/A18").await?;
    let mut again = Heard::start(&folder, "python")?;
    again.until(&["A18 stored"]).await?;
    again.until(&["A18 pickup_code for +49 151 12345678"]).await?;
    again.child.kill().await?;
    let text = again.all.join("\n") + &heard.all.join("\n");
    ensure!(heard.all.iter().all(|line| !again.all.contains(line)), "told twice: {text}");

    let code = code_in(&folder.kept("shop.db")?)?;
    ensure!(!text.contains(&code), "the code is printed");
    ensure!(site.collect(&code).await? == door);
    let mut last = Heard::start(&folder, "python")?;
    last.until(&["A18 collected"]).await.map(drop)
}

#[tokio::test]
async fn the_commands_for_a_delivery_platform_give_a_driver_one_code_and_tell_what_does_not_come() -> anyhow::Result<()>
{
    if !with_mosquitto()? {
        return Ok(());
    }
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:M")).await?;
    world.stage.person(Role::Integration, "rides")?;
    let (platform, shop) = (Folder::of(&world, "rides", PLATFORM)?, Folder::of(&world, "shop", PLATFORM)?);
    let mut heard = Heard::start(&platform, "listen")?;
    for block in ["put-1", "put-2", "bundle"] {
        platform.run(block).await?;
    }
    let status = |order: &str, state: &str| {
        ["rides/status".to_owned(), format!(r#""order":"{order}""#), format!(r#""state":"{state}""#)]
    };
    heard.until(&status("R1", "reserved").each_ref().map(String::as_str)).await?;
    heard.until(&status("R2", "reserved").each_ref().map(String::as_str)).await?;
    let door = site.load("rides/R1").await?;
    heard.until(&status("R1", "stored").each_ref().map(String::as_str)).await?;
    ensure!(!heard.all.iter().any(|line| line.contains("notifications")), "announced without R2: {:?}", heard.all);
    platform.run("cancel").await?;
    let told = heard.until(&["rides/notifications", "bundle_code", "run-7", "+49 151 33333333"]).await?;
    ensure!(!told.contains("R2"), "{told}");
    ensure!(site.collect(&code_in(&told)?).await? == door);
    heard.until(&status("R1", "collected").each_ref().map(String::as_str)).await?;

    // A shop's orders, and what is brought.
    world.shop.put(&order("A19", "berlin-01", "M")).await?;
    world.shop.until_decided("A19").await?;
    shop.run("shop-bundle").await?;
    let door = site.load("shop/A19").await?;
    let told = heard.until(&["rides/notifications", "bundle_code", "run-8"]).await?;
    ensure!(site.collect(&code_in(&told)?).await? == door);
    platform.run("put-in").await?;
    heard.until(&["rides/notifications", "deposit_code", "R9"]).await?;
    Ok(())
}

#[tokio::test]
async fn the_python_client_for_a_delivery_platform_shows_a_list_that_gets_shorter() -> anyhow::Result<()> {
    if !with_python()? {
        return Ok(());
    }
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:M")).await?;
    world.stage.person(Role::Integration, "rides")?;
    let folder = Folder::of(&world, "rides", PLATFORM)?;
    let mut heard = Heard::start(&folder, "python")?;
    for block in ["python-put-1", "python-put-2", "python-bundle"] {
        folder.run(block).await?;
    }
    for order in ["R3", "R4"] {
        heard.until(&[order, "reserved"]).await?;
    }
    let first = site.load("rides/R3").await?;
    let second = site.load("rides/R4").await?;
    let line = |door| format!("R3 at berlin-01 door {door}");
    heard.until(&["run-9 bundle_code:", &line(first), &format!("R4 at berlin-01 door {second}")]).await?;
    folder.run("python-cancel").await?;
    let shorter = heard.until(&["run-9 bundle_changed:", &line(first)]).await?;
    ensure!(!shorter.contains("R4"), "{shorter}");

    let code = code_in(&folder.kept("rides.db")?)?;
    ensure!(!heard.all.join("\n").contains(&code), "the code is printed");
    ensure!(site.collect(&code).await? == first, "what was cancelled opens too");
    heard.until(&["R3 collected"]).await.map(drop)
}
