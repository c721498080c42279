//! One browser with one page, and what a person does there. The other half is `tests/screen/driver.mjs`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fleet_tests::{program, usable};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::tongue::Tongue;

/// More than the driver itself waits for anything on the page.
const PATIENCE: Duration = Duration::from_secs(45);

/// A screen: name, width and height.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size(pub(crate) &'static str, u16, u16);

pub(crate) const SMALL: Size = Size("800x480", 800, 480);
pub(crate) const LARGE: Size = Size("1280x800", 1280, 800);
pub(crate) const UPRIGHT: Size = Size("600x1024", 600, 1024);

/// The end of its standard input is the end of the driver, and of its browser.
pub(crate) struct Browser {
    size: Size,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    touches: usize,
    keys: usize,
    /// None: English.
    tongue: Option<Tongue>,
}

/// What has the keyboard's focus.
#[derive(serde::Deserialize, Debug)]
pub(crate) struct Focus {
    pub(crate) name: String,
    /// Whether a ring is drawn around it.
    pub(crate) ring: bool,
    /// It is the heading of the page.
    pub(crate) heading: bool,
}

/// What the browser asked for on behalf of a page.
#[derive(serde::Deserialize, Debug)]
pub(crate) struct Asked {
    pub(crate) url: String,
    pub(crate) method: String,
    pub(crate) status: Option<u16>,
}

impl Browser {
    /// Starts a browser with an empty page; none where a tool is missing.
    pub(crate) async fn start(size: Size) -> anyhow::Result<Option<Self>> {
        Self::start_at_home(size, None).await
    }

    /// The same with another home folder, and so with what is trusted there.
    pub(crate) async fn start_at_home(size: Size, home: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("screen");
        let chromium = program("chromium");
        let here = usable(chromium.is_some(), "chromium")?
            && usable(program("node").is_some(), "node")?
            && usable(scripts.join("node_modules/axe-core").exists(), "axe-core (npm ci in tests/screen)")?
            && usable(
                scripts.join("node_modules/playwright-core").exists(),
                "playwright-core (npm ci in tests/screen)",
            )?;
        let Some(chromium) = chromium.filter(|_| here) else { return Ok(None) };
        let mut child = Command::new("node")
            .arg(scripts.join("driver.mjs"))
            .arg(chromium)
            .envs(home.map(|home| ("HOME", home)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start node")?;
        let (input, output) = (child.stdin.take().context("stdin")?, child.stdout.take().context("stdout")?);
        let mut browser =
            Self { size, input, output: BufReader::new(output).lines(), touches: 0, keys: 0, tongue: None };
        let _: Value = browser.heard("start").await?;
        Ok(Some(browser))
    }

    /// The pages speak this language from the next one on; tests go on naming everything in English.
    pub(crate) fn speak(&mut self, language: &str) -> anyhow::Result<()> {
        self.tongue = if language == "en" { None } else { Some(Tongue::of(language)?) };
        Ok(())
    }

    pub(crate) fn language(&self) -> &'static str {
        self.tongue.as_ref().map_or("en", |tongue| tongue.name)
    }

    /// How an English text stands on the pages.
    fn say(&self, english: &str) -> Vec<String> {
        self.tongue.as_ref().map_or_else(|| vec![english.to_owned()], |tongue| tongue.say(english))
    }

    async fn heard<T: DeserializeOwned>(&mut self, what: &str) -> anyhow::Result<T> {
        let line = timeout(PATIENCE, self.output.next_line()).await.with_context(|| format!("{what} hangs"))??;
        let said: Value = serde_json::from_str(&line.with_context(|| format!("the browser ended at {what}"))?)?;
        if let Some(error) = said["error"].as_str() {
            let page = self.shown().await;
            anyhow::bail!("{what}: {error}\nThe page was: {page}");
        }
        serde_json::from_value(said["ok"].clone()).with_context(|| format!("{what}: {said}"))
    }

    /// For errors.
    async fn shown(&mut self) -> String {
        let asked = self.input.write_all(b"{\"op\":\"text\",\"css\":\"body\"}\n").await;
        match (asked, timeout(PATIENCE, self.output.next_line()).await) {
            (Ok(()), Ok(Ok(Some(line)))) => line,
            _ => "unknown".to_owned(),
        }
    }

    async fn tell<T: DeserializeOwned>(&mut self, command: Value) -> anyhow::Result<T> {
        self.input.write_all(format!("{command}\n").as_bytes()).await.context("the browser has ended")?;
        self.heard(&command.to_string()).await
    }

    async fn does(&mut self, command: Value) -> anyhow::Result<()> {
        self.tell::<Value>(command).await.map(drop)
    }

    pub(crate) fn is(&self, size: Size) -> bool {
        self.size.0 == size.0
    }

    /// A new page in a new profile.
    pub(crate) async fn open(&mut self, url: &str) -> anyhow::Result<()> {
        self.open_with(url, json!({})).await
    }

    /// The same. `more`: `clock`, so that time can pass; `before`, a script ahead of those of the page; `change`, pairs of what
    /// stands in the page and what is to stand there instead.
    pub(crate) async fn open_with(&mut self, url: &str, more: Value) -> anyhow::Result<()> {
        let Size(_, width, height) = self.size;
        let mut command = more;
        let given = json!({
            "op": "open", "url": url, "width": width, "height": height, "touch": true, "language": self.language(),
        });
        if let (Some(command), Some(given)) = (command.as_object_mut(), given.as_object()) {
            command.extend(given.clone());
        }
        self.does(command).await
    }

    /// Nobody sees the page, and nothing of it runs.
    pub(crate) async fn freeze(&mut self) -> anyhow::Result<()> {
        self.does(json!({ "op": "freeze" })).await
    }

    pub(crate) async fn thaw(&mut self) -> anyhow::Result<()> {
        self.does(json!({ "op": "thaw" })).await
    }

    /// The machine sleeps for so long. Only for pages that were opened with a `clock`.
    pub(crate) async fn sleep(&mut self, seconds: u32) -> anyhow::Result<()> {
        self.does(json!({ "op": "sleep", "millis": u64::from(seconds) * 1000 })).await
    }

    /// The same, with a clock of the page that stood still meanwhile.
    pub(crate) async fn leap(&mut self, seconds: u32) -> anyhow::Result<()> {
        self.does(json!({ "op": "leap", "millis": u64::from(seconds) * 1000 })).await
    }

    /// What went wrong in scripts of the page.
    pub(crate) async fn errors(&mut self) -> anyhow::Result<Vec<String>> {
        self.tell(json!({ "op": "errors" })).await
    }

    /// Another page in the place of this one; returns the status of the answer.
    pub(crate) async fn go(&mut self, url: &str) -> anyhow::Result<Option<u16>> {
        self.tell(json!({ "op": "goto", "url": url })).await
    }

    pub(crate) async fn reload(&mut self) -> anyhow::Result<()> {
        self.does(json!({ "op": "reload" })).await
    }

    /// A finger on the button with this name.
    pub(crate) async fn tap(&mut self, button: &str) -> anyhow::Result<()> {
        self.touches += 1;
        self.does(json!({ "op": "tap", "role": "button", "names": self.say(button) })).await
    }

    /// A finger on the row of an order or a door.
    pub(crate) async fn tap_row(&mut self, name: &str) -> anyhow::Result<()> {
        self.touches += 1;
        let css = self.row(name);
        self.does(json!({ "op": "tap", "css": css })).await
    }

    /// A finger that stays on the button while `meanwhile` runs in the page.
    pub(crate) async fn hold(&mut self, button: &str, meanwhile: &str) -> anyhow::Result<()> {
        self.touches += 1;
        self.does(json!({ "op": "hold", "role": "button", "names": self.say(button), "meanwhile": meanwhile })).await
    }

    /// Each character on the keypad of the page.
    pub(crate) async fn tap_each(&mut self, typed: &str) -> anyhow::Result<()> {
        for key in typed.chars() {
            self.tap(&key.to_string()).await?;
        }
        Ok(())
    }

    /// Touches since the last time.
    pub(crate) fn take_touches(&mut self) -> usize {
        std::mem::take(&mut self.touches)
    }

    /// Keys since the last time.
    pub(crate) fn take_keys(&mut self) -> usize {
        std::mem::take(&mut self.keys)
    }

    pub(crate) async fn press(&mut self, key: &str) -> anyhow::Result<()> {
        self.keys += 1;
        self.does(json!({ "op": "press", "key": key })).await
    }

    pub(crate) async fn types(&mut self, text: &str) -> anyhow::Result<()> {
        self.keys += text.len();
        self.does(json!({ "op": "type", "text": text })).await
    }

    /// A scanner types like a keyboard and ends with Enter.
    pub(crate) async fn scan(&mut self, text: &str) -> anyhow::Result<()> {
        self.types(text).await?;
        self.press("Enter").await
    }

    /// Waits for a heading with this name.
    pub(crate) async fn heading(&mut self, name: &str) -> anyhow::Result<()> {
        self.does(json!({ "op": "see", "role": "heading", "names": self.say(name) })).await
    }

    /// Waits for a button with this name.
    pub(crate) async fn button(&mut self, name: &str) -> anyhow::Result<()> {
        self.does(json!({ "op": "see", "role": "button", "names": self.say(name) })).await
    }

    /// Waits for what a selector finds.
    pub(crate) async fn element(&mut self, css: &str) -> anyhow::Result<()> {
        self.does(json!({ "op": "see", "css": css })).await
    }

    /// Waits until a text is on the page.
    pub(crate) async fn read(&mut self, text: &str) -> anyhow::Result<()> {
        self.does(json!({ "op": "read", "texts": self.say(text) })).await
    }

    pub(crate) async fn text(&mut self, css: &str) -> anyhow::Result<String> {
        self.tell(json!({ "op": "text", "css": css })).await
    }

    /// What a script in the page comes to.
    pub(crate) async fn run<T: DeserializeOwned>(&mut self, script: &str) -> anyhow::Result<T> {
        self.tell(json!({ "op": "run", "script": script })).await
    }

    pub(crate) async fn focus(&mut self) -> anyhow::Result<Option<Focus>> {
        self.tell(json!({ "op": "focus" })).await
    }

    /// Presses Tab until the button has the focus; each stop on the way is visible.
    pub(crate) async fn tab_to(&mut self, button: &str) -> anyhow::Result<()> {
        self.button(button).await?;
        let names = self.say(button);
        self.tab_until(button, |name| names.iter().any(|one| one == name)).await
    }

    /// The same to the row of an order or a door.
    pub(crate) async fn tab_to_row(&mut self, name: &str) -> anyhow::Result<()> {
        let css = self.row(name);
        self.element(&css).await?;
        let begins = format!("{},", self.say(name).first().map_or(name, String::as_str));
        self.tab_until(name, |name| name.starts_with(&begins)).await
    }

    async fn tab_until(&mut self, what: &str, is: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let mut stops = Vec::new();
        for _ in 0..60 {
            self.press("Tab").await?;
            // Behind the last one comes the browser itself, or the page.
            let Some(focus) = self.focus().await? else { continue };
            ensure!(focus.ring, "nothing shows that {} has the focus", focus.name);
            if is(&focus.name) {
                return Ok(());
            }
            stops.push(focus.name);
        }
        anyhow::bail!("Tab does not come to {what}, but to {stops:?}")
    }

    /// Another page has come: what is read out first, and where Tab goes on, is its heading.
    pub(crate) async fn begins_at_heading(&mut self) -> anyhow::Result<()> {
        let focus = self.focus().await?;
        ensure!(focus.as_ref().is_some_and(|focus| focus.heading), "{focus:?} instead of the heading");
        Ok(())
    }

    /// What an order or a door of a list is called begins with its name.
    fn row(&self, name: &str) -> String {
        let said = self.say(name);
        format!(".order[aria-label^=\"{},\"]", said.first().map_or(name, String::as_str))
    }

    /// The focus is still at this button, and can be seen.
    pub(crate) async fn stays_at(&mut self, button: &str) -> anyhow::Result<()> {
        let focus = self.focus().await?;
        ensure!(
            focus.as_ref().is_some_and(|focus| self.say(button).contains(&focus.name) && focus.ring),
            "{focus:?} instead of {button}"
        );
        Ok(())
    }

    /// The test answers in the place of the agent from here on.
    pub(crate) async fn fake(&mut self, what: Value) -> anyhow::Result<()> {
        let mut command = what;
        command["op"] = "fake".into();
        self.does(command).await
    }

    pub(crate) async fn asked(&mut self) -> anyhow::Result<Vec<Asked>> {
        self.tell(json!({ "op": "requests" })).await
    }

    /// Everybody can use the page as it is now: rules of accessibility, sizes and places.
    pub(crate) async fn good(&mut self, name: &str) -> anyhow::Result<()> {
        let mut wrong: Vec<String> = self.wrong_by_rules(name).await?;
        wrong.extend(self.wrong_in_place(name).await?);
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    }

    /// Rules of accessibility that the page as it is now breaks.
    pub(crate) async fn wrong_by_rules(&mut self, name: &str) -> anyhow::Result<Vec<String>> {
        let wrong: Vec<String> = self.tell(json!({ "op": "axe" })).await?;
        let language = self.language();
        Ok(wrong.into_iter().map(|what| format!("{name} in {language}: {what}")).collect())
    }

    /// What is too small, outside or cut off. Leaves a picture.
    pub(crate) async fn wrong_in_place(&mut self, name: &str) -> anyhow::Result<Vec<String>> {
        let (size, language) = (self.size.0, self.language());
        self.picture(&pictures().join(size).join(language).join(format!("{name}.png"))).await?;
        let wrong: Vec<String> = self.tell(json!({ "op": "layout" })).await?;
        Ok(wrong.into_iter().map(|what| format!("{name} at {size} in {language}: {what}")).collect())
    }

    async fn picture(&mut self, path: &Path) -> anyhow::Result<()> {
        self.does(json!({ "op": "picture", "path": path })).await
    }

    /// A picture for the documents, where somebody wants them made anew.
    pub(crate) async fn document(&mut self, name: &str) -> anyhow::Result<()> {
        if std::env::var_os("REFRESH_SCREENS").is_none() || !self.is(SMALL) || self.tongue.is_some() {
            return Ok(());
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/screens");
        let path = folder.join(format!("{name}.png"));
        self.picture(&path).await?;
        let mut smaller = Command::new("pngquant");
        smaller.args(["--force", "--strip", "--speed=1", "--ext=.png"]).arg(&path);
        let done = smaller.status().await.context("run pngquant, which makes the pictures small")?;
        ensure!(done.success(), "pngquant: {done}");
        Ok(())
    }
}

pub(crate) fn pictures() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("screens")
}
