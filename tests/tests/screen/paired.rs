//! A screen that is a computer of its own: paired by a code once, over TLS that its browser checks, from one address.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use fleet_cli::stage::free_port;
use fleet_tests::{Site, World, program, usable};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;

use crate::browser::{Browser, SMALL, Size, UPRIGHT};
use crate::hostile::{attempts, elsewhere};
use crate::people::{plan, stored};
use crate::words;

/// A cabinet with the settings of such a screen, which is on the same machine here.
struct Stand {
    world: World,
    site: Site,
    port: u16,
    settings: [String; 2],
}

impl Stand {
    async fn set_up() -> anyhow::Result<Self> {
        let world = World::start().await?;
        let port = free_port()?;
        let settings = [
            format!("CABINET_AGENT__SCREEN__PAIRED__LISTEN=127.0.0.1:{port}"),
            "CABINET_AGENT__SCREEN__PAIRED__PEER=127.0.0.1".to_owned(),
        ];
        let mut plan = plan("1-4:S", 0);
        plan.launcher = std::iter::once("env".into()).chain(settings.iter().map(Into::into)).collect();
        let site = world.cabinet(plan).await?;
        Ok(Self { world, site, port, settings })
    }

    fn base(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn agent_toml(&self) -> PathBuf {
        self.site.cabinet.folder().agent_toml()
    }

    /// What a technician types at a terminal of the cabinet; returns what is printed.
    async fn command(&self, more: Option<&str>) -> anyhow::Result<String> {
        let mut command = Command::new("env");
        command.args(&self.settings).arg(&self.world.stage.binaries().agent);
        command.arg("pair-screen").arg("--settings").arg(self.agent_toml()).args(more);
        let output = command.output().await.context("run cabinet-agent pair-screen")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    async fn code(&self) -> anyhow::Result<String> {
        let said = self.command(None).await?;
        let first = said.lines().next().unwrap_or_default();
        let code: String = first.rsplit(": ").next().unwrap_or_default().split(' ').collect();
        ensure!(code.len() == 8, "{said}");
        ensure!(said.contains(&self.base()) && said.contains("--certificate"), "{said}");
        Ok(code)
    }
}

/// A browser that trusts what the agent has made for it, as after its installation on the tablet.
async fn trusting(home: &Path, stand: &Stand, size: Size) -> anyhow::Result<Option<Browser>> {
    if !usable(program("certutil").is_some(), "certutil (libnss3-tools)")? {
        return Ok(None);
    }
    let certificate = home.join("screen.crt");
    std::fs::write(&certificate, stand.command(Some("--certificate")).await?)?;
    let store = home.join(".pki/nssdb");
    std::fs::create_dir_all(&store)?;
    let store = format!("sql:{}", store.display());
    for words in [vec!["-N", "--empty-password"], vec!["-A", "-n", "screen", "-t", "C,,", "-i"]] {
        let mut command = Command::new("certutil");
        command.args(["-d", &store]).args(&words);
        if words.ends_with(&["-i"]) {
            command.arg(&certificate);
        }
        let done = command.status().await.context("run certutil")?;
        ensure!(done.success(), "certutil {words:?}: {done}");
    }
    Browser::start_at_home(size, Some(home)).await
}

async fn pair(browser: &mut Browser, code: &str) -> anyhow::Result<()> {
    browser.heading(words::PAIR_SCREEN).await?;
    browser.tap_each(code).await?;
    browser.tap(words::PAIR).await
}

async fn status(browser: &mut Browser, path: &str, method: &str, key: &str) -> anyhow::Result<u16> {
    let body = if method == "POST" { ", body: '{}'" } else { "" };
    browser
        .run(&format!(
            "fetch('{path}', {{ method: '{method}', headers: {{ 'x-screen-key': '{key}', \
             'content-type': 'application/json' }}{body} }}).then((one) => one.status)"
        ))
        .await
}

#[tokio::test]
async fn a_tablet_is_paired_once_and_works_like_the_cabinets_own_screen() -> anyhow::Result<()> {
    let mut stand = Stand::set_up().await?;
    let home = tempfile::tempdir()?;
    let Some(mut browser) = trusting(home.path(), &stand, SMALL).await? else { return Ok(()) };
    let told = stored(&mut stand.world, &stand.site, &["A1", "A2"]).await?;
    let base = stand.base();

    // Nobody but the technician can pair it, and nothing is shown before.
    browser.open(&format!("{base}/")).await?;
    browser.heading(words::PAIR_SCREEN).await?;
    browser.good("pairing").await?;
    browser.document("pairing").await?;
    ensure!(status(&mut browser, "/api/view", "GET", "").await? == 403);
    let code = stand.code().await?;
    // Customers who scan theirs there use up no try.
    for _ in 0..6 {
        browser.scan(&told[0].qr).await?;
    }
    let wrong: String = code.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect();
    pair(&mut browser, &wrong).await?;
    browser.read(words::PAIRS_NOTHING).await?;
    pair(&mut browser, &code).await?;
    browser.heading(words::TYPE_CODE).await?;

    // A customer at the tablet, with the network down.
    stand.world.stage.stop_broker().await?;
    let before = stand.site.cabinet.pulses();
    browser.tap_each(&told[0].code).await?;
    browser.tap(words::OPEN_THE_DOOR).await?;
    let door = stand.site.until_pulses(before + 1).await?;
    ensure!(told[0].compartment == Some(door));
    browser.heading(&words::door_is(door.number(), "open")).await?;
    stand.site.cabinet.close_door(door)?;
    browser.read(words::GOODBYE).await?;

    // It stays paired when the agent loses its power, and when the page is loaded anew.
    stand.site.cabinet.kill_agent().await?;
    browser.heading(words::LOST).await?;
    stand.site.start_agent().await?;
    browser.heading(words::TYPE_CODE).await?;
    browser.reload().await?;
    browser.heading(words::TYPE_CODE).await?;
    let key: String = browser.run("localStorage.getItem('screen-key')").await?;
    ensure!(status(&mut browser, "/api/view", "GET", &key).await? == 200);
    // It pairs no other.
    for path in ["/api/pairing", "/api/pairing/end"] {
        ensure!(status(&mut browser, path, "POST", &key).await? == 404, "{path}");
    }

    // Another device, even one that saw the code being typed, gets nothing.
    browser.open(&format!("{base}/")).await?;
    pair(&mut browser, &code).await?;
    browser.read(words::PAIRS_NOTHING).await?;
    ensure!(status(&mut browser, "/api/view", "GET", "").await? == 403);
    // Paired in the place of the first, it leaves that one with nothing.
    let second = stand.code().await?;
    browser.types(&second).await?;
    browser.press("Enter").await?;
    browser.heading(words::TYPE_CODE).await?;
    ensure!(status(&mut browser, "/api/view", "GET", &key).await? == 403);
    // In the middle of what somebody does there.
    browser.tap(words::STAFF).await?;
    browser.types("471").await?;
    stand.command(Some("--end")).await?;
    browser.heading(words::PAIR_SCREEN).await?;
    ensure!(browser.text("output").await?.trim().is_empty(), "what somebody typed is shown");

    let log = std::fs::read_to_string(stand.site.cabinet.log())?;
    let secrets = [&code, &second, &key, &told[0].code];
    ensure!(secrets.iter().all(|secret| !log.contains(secret.as_str())), "a code or a key is in the log");
    Ok(())
}

#[tokio::test]
async fn whoever_else_is_on_the_tablet_or_the_cable_gets_nothing() -> anyhow::Result<()> {
    let mut stand = Stand::set_up().await?;
    let home = tempfile::tempdir()?;
    let Some(mut browser) = trusting(home.path(), &stand, UPRIGHT).await? else { return Ok(()) };
    let told = stored(&mut stand.world, &stand.site, &["A1"]).await?.remove(0);
    let base = stand.base();
    browser.open(&format!("{base}/")).await?;
    browser.heading(words::PAIR_SCREEN).await?;
    browser.good("pairing").await?;
    let code = stand.code().await?;
    pair(&mut browser, &code).await?;
    browser.heading(words::TYPE_CODE).await?;
    let mut key: String = browser.run("localStorage.getItem('screen-key')").await?;
    let before = stand.site.cabinet.pulses();

    // Other pages in the same browser, though they know everything that the paired one knows.
    let other = elsewhere().await?;
    for origin in [format!("http://127.0.0.1:{other}"), format!("http://shop.test:{other}")] {
        browser.go(&format!("{origin}/")).await?;
        let came_to: Vec<String> = browser.run(&attempts(&base, &key, &told.code)).await?;
        ensure!(came_to.is_empty(), "{origin} got {came_to:?}");
        let kept: Option<String> = browser.run("localStorage.getItem('screen-key')").await?;
        ensure!(kept.is_none(), "the key is another page's");
        // It has even heard of a code that is good. Sent as browsers let any page send it, and as our own page does.
        let code = stand.code().await?;
        for how in ["mode: 'no-cors'", "headers: { 'content-type': 'application/json' }"] {
            let sent = format!(
                "fetch('{base}/pair', {{ method: 'POST', body: JSON.stringify({{ code: '{code}' }}), {how} }})"
            );
            let got: String = browser.run(&format!("{sent}.then((one) => one.text(), () => '')")).await?;
            ensure!(got.is_empty(), "{origin} got {got}");
        }
        browser.go(&format!("{base}/")).await?;
        browser.heading(words::TYPE_CODE).await?;
        ensure!(status(&mut browser, "/api/view", "GET", &key).await? == 200, "{origin} has paired itself");
        // The page would load itself anew when its key ends: from a place of the same origin without it.
        browser.go(&format!("{base}/style.css")).await?;
        let ours = format!(
            "fetch('/pair', {{ method: 'POST', body: JSON.stringify({{ code: '{code}' }}), \
             headers: {{ 'content-type': 'application/json' }} }}).then((one) => one.json()).then((one) => one.key)"
        );
        key = browser.run(&ours).await?;
        ensure!(status(&mut browser, "/api/view", "GET", &key).await? == 200, "{origin} has used the code up");
        let _: serde_json::Value = browser.run(&format!("localStorage.setItem('screen-key', '{key}')")).await?;
    }
    browser.go(&format!("{base}/")).await?;
    browser.heading(words::TYPE_CODE).await?;

    // The cabinet's own screen has another key, which is not good here, and is not answered while this one is paired.
    let own = stand.site.screen()?.url();
    let (own, own_key) = own.split_once("/#key=").context("the screen's address")?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let view = async |key: &str| http.get(format!("{own}/api/view")).header("x-screen-key", key).send().await;
    ensure!(view(own_key).await?.status() == 403 && view(&key).await?.status() == 403);
    ensure!(status(&mut browser, "/api/view", "GET", own_key).await? == 403);

    // From another address the connection ends without a word; plain text gets no answer; whoever is silent holds up nobody.
    let agent = SocketAddr::from((Ipv4Addr::LOCALHOST, stand.port));
    for (address, is_answered) in [([127, 0, 0, 1], true), ([127, 0, 0, 2], false)] {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((address, 0)))?;
        let mut plain = socket.connect(agent).await?;
        let mut said = Vec::new();
        // Of somebody who is not answered the connection is gone by now, or soon.
        let _ = plain.write_all(format!("GET / HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n\r\n", stand.port).as_bytes()).await;
        let _ = plain.read_to_end(&mut said).await;
        // An alert of TLS, and nothing else.
        let word: &[u8] = if is_answered { &[0x15, 3, 3, 0, 2, 2] } else { &[] };
        ensure!(said.starts_with(word) && said.len() < 8 && said.is_empty() != is_answered, "{address:?}: {said:?}");
    }
    let mut silent = Vec::new();
    for _ in 0..24 {
        silent.push(TcpStream::connect(agent).await?);
    }
    browser.tap_each(&told.code).await?;
    browser.tap(words::OPEN_THE_DOOR).await?;
    stand.site.until_pulses(before + 1).await.map(drop)
}
