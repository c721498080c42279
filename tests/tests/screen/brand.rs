//! What an operator sets of the screen's look and sound.

use anyhow::ensure;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::World;
use serde_json::json;

use crate::browser::{Browser, LARGE, SMALL, Size, UPRIGHT};
use crate::people::stored;
use crate::words;

const NAME: &str = "Müller & Söhne \"24 h\" <Paketschrank>";

/// The least contrast that text may have on it: 4.54 to white.
const COLOUR: &str = "#767676";

/// Two by one pixels.
const LOGO: &[u8] = &[
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 2, 0, 0, 0, 1, 8, 2, 0, 0, 0, 123, 64, 232,
    221, 0, 0, 0, 15, 73, 68, 65, 84, 120, 218, 99, 224, 246, 90, 241, 255, 170, 23, 0, 9, 76, 3, 28, 212, 242, 136,
    47, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
];

/// Stands in the place of the browser's audio and writes down what would sound.
const HEARD: &str = "window.tones = []; window.AudioContext = class { \
    state = 'running'; currentTime = 0; destination = {}; \
    createGain() { return this.gained = { gain: { value: 1 }, connect: (to) => to }; } \
    createOscillator() { const own = { frequency: { value: 0 }, connect: (to) => to, stop() {}, \
      start: () => queueMicrotask(() => { if (this.gained.gain.value > 0) window.tones.push(own.frequency.value); }) }; return own; } };";

/// Browsers that keep a page silent: no audio at all, and one that may not begin.
const MUTE: [&str; 2] = [
    "window.AudioContext = class { constructor() { throw new Error('no audio'); } };",
    "window.AudioContext = class { state = 'suspended'; resume() { return Promise.reject(new Error('blocked')); } \
     createOscillator() { throw new Error('a tone for later'); } };",
];

const HEAD: &str = "(() => { const parts = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((part) => { \
    const value = part / 255; return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; }); \
    const light = (colour) => { const [red, green, blue] = parts(colour); return 0.2126 * red + 0.7152 * green + 0.0722 * blue; }; \
    const ratio = (one) => { const style = getComputedStyle(one); \
      const [low, high] = [light(style.color), light(style.backgroundColor)].sort((one, other) => one - other); return (high + 0.05) / (low + 0.05); }; \
    return [ratio(document.querySelector('header')), ratio(document.querySelector('button.primary'))]; })()";

async fn dressed(url: &str, size: Size) -> anyhow::Result<()> {
    let Some(mut browser) = Browser::start(size).await? else { return Ok(()) };
    browser.open(url).await?;
    browser.heading(words::TYPE_CODE).await?;
    let logo: (u32, String) = browser
        .run("[document.querySelector('#brand img').naturalWidth, document.querySelector('#brand img').alt]")
        .await?;
    ensure!(logo == (2, NAME.to_owned()), "{logo:?}");
    browser.good("brand").await?;
    browser.types("123456").await?;
    let plain: (f64, f64) = browser.run(HEAD).await?;
    ensure!((4.5..4.6).contains(&plain.0) && (4.5..4.6).contains(&plain.1), "contrast of the brand: {plain:?}");
    browser.tap("A+ Large text").await?;
    let large: (f64, f64) = browser.run(HEAD).await?;
    ensure!(large.0 > 7.0 && large.1 > 7.0, "with large text the contrast is {large:?}");
    browser.good("brand-large").await
}

#[tokio::test]
async fn a_brand_is_shown_and_never_takes_contrast_from_whoever_needs_it() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let settings = [("NAME", NAME), ("LOGO", "logo.png"), ("COLOUR", COLOUR), ("TEXT_COLOUR", "#ffffff")];
    let set = settings.map(|(key, value)| format!("CABINET_AGENT__SCREEN__BRAND__{key}={value}").into());
    let mut launcher = vec!["env".into()];
    launcher.extend(set);
    let plan = CabinetPlan { launcher, ..CabinetPlan::new("berlin-01", "1-3:S") };
    let site = world
        .cabinet_prepared(plan, |cabinet| {
            Ok(std::fs::write(cabinet.folder().agent_toml().with_file_name("logo.png"), LOGO)?)
        })
        .await?;
    let url = site.screen()?.url();
    for size in [SMALL, LARGE, UPRIGHT] {
        dressed(&url, size).await?;
    }
    let told = stored(&mut world, &site, &["A1", "A2", "A3"]).await?;
    let mut codes = told.iter().map(|told| told.code.clone());
    let mut code = || codes.next().unwrap_or_default();
    let Some(mut browser) = Browser::start(SMALL).await? else { return Ok(()) };

    browser.open_with(&url, json!({ "before": HEARD })).await?;
    browser.button(words::OPEN_THE_DOOR).await?;
    browser.scan("00000000").await?;
    browser.element(".refusal").await?;
    let refused: Vec<u32> = browser.run("window.tones.splice(0)").await?;
    browser.scan(&code()).await?;
    browser.element(".tile.open").await?;
    let opened: Vec<u32> = browser.run("window.tones.splice(0)").await?;
    ensure!(!refused.is_empty() && !opened.is_empty() && refused != opened, "{refused:?} and {opened:?}");
    site.cabinet.close_door(told[0].compartment.unwrap())?;
    browser.read(words::GOODBYE).await?;

    // No tones at all, without a fault of the page.
    for (before, volume) in [(MUTE[0], "50"), (MUTE[1], "50"), (HEARD, "0")] {
        let change = json!([["data-volume=\"50\"", format!("data-volume=\"{volume}\"")]]);
        browser.open_with(&url, json!({ "before": before, "change": change })).await?;
        browser.button(words::OPEN_THE_DOOR).await?;
        browser.tap("1").await?;
        browser.press("Escape").await?;
        browser.scan("00000000").await?;
        browser.element(".refusal").await?;
        let tones: usize = browser.run("window.tones?.length ?? 0").await?;
        let errors = browser.errors().await?;
        ensure!(tones == 0 && errors.is_empty(), "{tones} tones, {errors:?}");
    }

    // A door that stands open for too long.
    browser.open_with(&url, json!({ "before": HEARD })).await?;
    browser.heading(words::TYPE_CODE).await?;
    let view = site.screen()?.view(None).await?;
    let doors = json!([{ "number": 1, "door": "held_open", "try_again": false, "may_stay": false }]);
    let mut seen = view.clone();
    seen["doors"] = doors;
    browser.fake(json!({ "view": seen, "answers": {} })).await?;
    browser.reload().await?;
    browser.heading(words::TYPE_CODE).await?;
    browser.press("Escape").await?;
    browser.fake(json!({ "notes": [{ "note": "beep", "compartment": 1 }] })).await?;
    browser.element("#banner").await?;
    let close: Vec<u32> = browser.run("window.tones.splice(0)").await?;
    ensure!(close.iter().filter(|hertz| **hertz > 1000).count() == 2, "{close:?}");
    Ok(())
}
