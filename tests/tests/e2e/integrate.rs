//! docs/integrate-a-shop.md, its commands executed as they stand there, with mosquitto's clients and with paho-mqtt for Python.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, PATIENCE};
use fleet_tests::{World, program, usable};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const GUIDE: &str = include_str!("../../../docs/integrate-a-shop.md");
const SHOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/shop.py");
/// Where tests/scripts/install-tools.sh puts paho-mqtt.
const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");

/// The command of the block with this name.
fn command(name: &str) -> anyhow::Result<&'static str> {
    let (_, behind) = GUIDE.split_once(&format!("```sh {name}\n")).with_context(|| format!("no block {name}"))?;
    behind.split("```").next().context("the block has no end")
}

/// The folder of the shop, with the client beside its files.
struct Folder {
    path: PathBuf,
    port: String,
}

impl Folder {
    fn of(world: &World) -> anyhow::Result<Self> {
        let path = world.stage.layout().people().join("integration-shop");
        std::fs::copy(SHOP, path.join("shop.py")).context("copy shop.py")?;
        let settings = std::fs::read_to_string(path.join("fleet.toml"))?;
        let port = settings.lines().find_map(|line| line.strip_prefix("port = ")).context("a port")?.to_owned();
        Ok(Self { path, port })
    }

    fn start(&self, block: &str) -> anyhow::Result<Child> {
        Command::new("sh")
            .args(["-eu", "-c", &format!("exec {}", command(block)?)])
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

    async fn until(&mut self, words: &[&str]) -> anyhow::Result<()> {
        let has = |line: &String| words.iter().all(|word| line.contains(word));
        while !self.all.iter().any(has) {
            let line = timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.with_context(|| format!("{words:?} did not come: {:?}", self.all))??;
            self.all.push(line.with_context(|| format!("it ended before {words:?}: {:?}", self.all))?);
        }
        Ok(())
    }
}

#[tokio::test]
async fn the_commands_of_the_guide_put_an_order_and_show_what_becomes_of_it() -> anyhow::Result<()> {
    if !usable(program("mosquitto_pub").is_some() && program("mosquitto_sub").is_some(), "mosquitto-clients")? {
        return Ok(());
    }
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:M")).await?;
    let folder = Folder::of(&world)?;
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
    let paho = Path::new(PACKAGES).join("paho");
    if !usable(program("python3").is_some(), "python3")? || !usable(paho.exists(), "paho-mqtt (install-tools.sh)")? {
        return Ok(());
    }
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:M")).await?;
    let folder = Folder::of(&world)?;
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

    let stored = std::fs::read(folder.path.join("shop.db"))?;
    let database = String::from_utf8_lossy(&stored);
    let (_, code) = database.split_once(r#""code":""#).context("the message is on its disk")?;
    let code: String = code.chars().take_while(|c| *c != '"').collect();
    ensure!(!text.contains(&code), "the code is printed");
    ensure!(site.collect(&code).await? == door);
    let mut last = Heard::start(&folder, "python")?;
    last.until(&["A18 collected"]).await
}
