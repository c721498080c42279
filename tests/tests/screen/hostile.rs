//! Pages of others in the browser of the cabinet: they read nothing, open nothing, and nothing comes from elsewhere.

use anyhow::{Context as _, ensure};
use fleet_tests::World;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::browser::{Browser, SMALL};
use crate::people::{plan, stored};
use crate::words;

/// A server of somebody else on the same machine: an empty page for everything.
pub(crate) async fn elsewhere() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let page = "<!doctype html><title>elsewhere</title>";
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
                page.len()
            );
            if stream.read(&mut request).await.is_ok() {
                // Whoever has hung up gets nothing.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    Ok(port)
}

/// What a page of somebody else tries, though it knows address, key and a code. Each line is what it came to.
const ATTEMPTS: &str = r#"(async () => {
  const [base, key, secret] = ["BASE", "KEY", "SECRET"];
  const said = [];
  const tried = async (what, attempt) => {
    try { said.push(`${what}: ${await attempt()}`); } catch (error) { said.push(`${what}: refused`); }
  };
  const body = JSON.stringify({ secret });
  const read = async (options) => (await fetch(...options)).text();
  await tried("view with the key", () => read([`${base}/api/view`, { headers: { "x-screen-key": key } }]));
  await tried("view without it", () => read([`${base}/api/view`]));
  await tried("enter as JSON", () => read([`${base}/api/enter`, { method: "POST", body, headers: { "x-screen-key": key, "content-type": "application/json" } }]));
  await tried("the page itself", () => read([`${base}/`]));
  await tried("script", () => new Promise((resolve, reject) => {
    const script = document.createElement("script");
    Object.assign(script, { type: "text/javascript", src: `${base}/texts.js`, onload: () => resolve("loaded"), onerror: reject });
    document.head.append(script);
  }));
  // Sent without asking first, so that only the answer is kept from us: nothing may come of it.
  await fetch(`${base}/api/enter`, { method: "POST", body, mode: "no-cors", headers: { "content-type": "text/plain" } }).catch(() => {});
  await fetch(`${base}/api/view`, { mode: "no-cors" }).catch(() => {});
  const frame = document.createElement("iframe");
  frame.src = `${base}/#key=${key}`;
  await new Promise((resolve) => { frame.onload = resolve; document.body.append(frame); });
  await tried("frame", () => frame.contentWindow.document.body.textContent);
  return said.filter((line) => !line.endsWith(": refused"));
})()"#;

pub(crate) fn attempts(base: &str, key: &str, secret: &str) -> String {
    ATTEMPTS.replace("BASE", base).replace("KEY", key).replace("SECRET", secret)
}

/// A script in the page's own markup, one from elsewhere, an image, and a call to elsewhere.
const INJECTED: &str = r#"(async () => {
  const blocked = [];
  const call = new Promise((resolve) => document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => {
    blocked.push(effectiveDirective);
    if (effectiveDirective === "connect-src") resolve();
  }));
  const script = document.createElement("script");
  script.textContent = "window.injected = true";
  const other = document.createElement("script");
  other.src = "ELSEWHERE/evil.js";
  const image = document.createElement("img");
  image.src = "ELSEWHERE/pixel.png";
  const refused = Promise.all([other, image].map((one) => new Promise((resolve) => { one.onerror = resolve; })));
  document.body.append(script, other, image);
  image.setAttribute("onclick", "window.injected = true");
  image.click();
  await refused;
  await fetch("ELSEWHERE/").catch(() => call);
  return [window.injected ?? false, ...blocked.sort()];
})()"#;

#[tokio::test]
async fn foreign_pages_read_nothing_and_nothing_comes_from_elsewhere() -> anyhow::Result<()> {
    let Some(mut browser) = Browser::start(SMALL).await? else { return Ok(()) };
    let mut world = World::start().await?;
    let site = world.cabinet(plan("1-2:S", 0)).await?;
    let code = stored(&mut world, &site, &["A1"]).await?.remove(0).code;
    let url = site.screen()?.url();
    let (base, key) = url.split_once("/#key=").context("the screen's address")?;
    let port = base.rsplit_once(':').context("a port")?.1;
    let before = site.cabinet.pulses();
    let other = elsewhere().await?;

    // The page of the cabinet asks nobody but the agent, whatever is put into it.
    browser.open(&url).await?;
    browser.heading(words::TYPE_CODE).await?;
    let foreign = format!("http://127.0.0.1:{other}");
    let came_to: Vec<serde_json::Value> = browser.run(&INJECTED.replace("ELSEWHERE", &foreign)).await?;
    ensure!(came_to[0] == false, "an injected script ran");
    for directive in ["script-src-elem", "script-src-attr", "img-src", "connect-src"] {
        ensure!(came_to.iter().any(|one| one == directive), "{directive} blocked nothing: {came_to:?}");
    }
    let asked = browser.asked().await?;
    let reached = |one: &&crate::browser::Asked| one.status.is_some() && !one.url.starts_with(&format!("{base}/"));
    let strange: Vec<_> = asked.iter().filter(reached).collect();
    ensure!(asked.len() > 10 && strange.is_empty(), "the page asked {strange:?}");

    // Another port of this machine, another name of it, and a site of its own.
    for origin in [foreign.clone(), format!("http://localhost:{other}"), format!("http://shop.test:{other}")] {
        browser.open(&format!("{origin}/")).await?;
        let came_to: Vec<String> = browser.run(&attempts(base, key, &code)).await?;
        ensure!(came_to.is_empty(), "{origin} got {came_to:?}");
        let asked = browser.asked().await?;
        let answered = asked.iter().filter(|one| one.url.contains("/api/") && one.status == Some(200));
        ensure!(answered.count() == 0, "{asked:?}");
        ensure!(asked.iter().any(|one| one.url.ends_with("/api/enter") && one.method == "POST"), "{asked:?}");
    }

    // Another name that leads to the agent itself (DNS rebinding): neither the page nor a call is answered.
    for name in ["localhost", "rebound.test"] {
        let address = format!("http://{name}:{port}");
        ensure!(browser.go(&format!("{address}/#key={key}")).await? == Some(403), "{name}");
        let call =
            format!("fetch('/api/view', {{ headers: {{ 'x-screen-key': '{key}' }} }}).then((one) => one.status)");
        let status: Option<u16> = browser.run(&format!("{call}.catch(() => null)")).await?;
        ensure!(status.is_none_or(|status| status == 403), "{name}: {status:?}");
    }
    ensure!(site.cabinet.pulses() == before, "a foreign page opened a door");
    // Guesses with wrong keys have locked nobody out.
    browser.open(&url).await?;
    browser.button(words::OPEN_THE_DOOR).await?;
    browser.scan(&code).await?;
    site.until_pulses(before + 1).await.map(drop)
}
