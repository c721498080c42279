// Drives one browser for the tests in tests/tests/screen: one JSON command a line on standard input, one JSON answer a line.
// node driver.mjs /usr/bin/chromium

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import { problems } from "./layout.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
const PATIENCE = 30000;
const NOBODY_ELSE = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--host-resolver-rules=MAP *.test 127.0.0.1"];

const browser = await chromium.launch({ executablePath: process.argv[2], headless: true, args: NOBODY_ELSE });
let context = null;
let page = null;
let requests = [];
let errors = [];
let fake = null;
let asking = [];

// Calls of the page that the test answers in the place of the agent.
async function answer(route) {
  const { pathname, searchParams } = new URL(route.request().url());
  const path = pathname.replace("/api/", "");
  const after = Number(searchParams.get("after") ?? fake.notes.length);
  while (path === "notes" && searchParams.has("after") && fake.notes.length <= after && !fake.answers.notes) {
    await new Promise((resolve) => asking.push(resolve));
  }
  const given = fake.answers[path];
  if (given === "lost") return route.abort();
  if (given) return route.fulfill({ status: given.status, json: given.body });
  if (path === "view") return route.fulfill({ json: fake.view });
  if (path === "notes") return route.fulfill({ json: { next: fake.notes.length, notes: fake.notes.slice(after) } });
  return route.fulfill({ status: 202, body: "" });
}

function wake() {
  asking.splice(0).forEach((resolve) => resolve());
}

// Of several names one is enough: another language may say the same in two ways.
function found({ role, names, css }) {
  if (css) return page.locator(css).first();
  return either(names, (name) => page.getByRole(role, { name, exact: true }));
}

function either(texts, locate) {
  return texts.map(locate).reduce((one, other) => one.or(other)).first();
}

// The page as the agent serves it, but in this language, and with what the test wants to stand there.
async function changed(route, language, change) {
  const answer = await route.fetch();
  let body = await answer.text();
  const [all, , known] = /lang="(\w+)" data-languages="([^"]*)"/.exec(body) ?? [];
  const others = known.split(" ").filter((one) => one !== language);
  body = body.replace(all, `lang="${language}" data-languages="${[language, ...others].join(" ")}"`);
  for (const [from, to] of change) body = body.replace(from, to);
  return route.fulfill({ response: answer, body });
}

const COMMANDS = {
  async open({ url, width, height, touch, language, clock, before, change = [] }) {
    wake();
    await context?.close();
    fake = null;
    requests = [];
    errors = [];
    context = await browser.newContext({ viewport: { width, height }, hasTouch: touch, serviceWorkers: "block" });
    context.setDefaultTimeout(PATIENCE);
    context.on("request", (request) => requests.push({ url: request.url(), method: request.method(), status: null }));
    context.on("response", (response) => {
      const asked = requests.findLast(({ url, status }) => url === response.url() && status === null);
      if (asked) asked.status = response.status();
    });
    context.on("weberror", (error) => errors.push(String(error.error())));
    page = await context.newPage();
    if (before) await page.addInitScript(before);
    if (clock) await page.clock.install();
    if (language !== "en" || change.length > 0) {
      await page.route((one) => one.pathname === "/", (route) => changed(route, language, change).catch(() => {}));
    }
    await page.goto(url);
  },
  goto: async ({ url }) => (await page.goto(url))?.status() ?? null,
  reload: () => page.reload(),
  tap: (what) => found(what).tap(),
  press: ({ key }) => page.keyboard.press(key),
  type: ({ text }) => page.keyboard.type(text),
  see: (what) => found(what).waitFor(),
  // Of several pieces of text with these words one is enough.
  read: ({ texts }) => either(texts, (text) => page.getByText(text).filter({ visible: true })).waitFor(),
  gone: (what) => found(what).waitFor({ state: "detached" }),
  text: ({ css }) => page.locator(css).first().innerText(),
  run: ({ script }) => page.evaluate(script),
  focus: () => page.evaluate(() => {
    const one = document.activeElement;
    if (!one || one === document.body) return null;
    const style = getComputedStyle(one);
    const ring = one.matches(":focus-visible") && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    return { name: one.getAttribute("aria-label") ?? one.textContent, ring, heading: one.matches("h1, button:has(> h1)") };
  }),
  // A finger that rests on a button for longer than the page stays as it is.
  async hold({ meanwhile, ...what }) {
    // Drawn anew just now, it has no place for a moment.
    let box = null;
    for (let tries = 0; !box && tries < 100; tries += 1) box = await found(what).boundingBox();
    const client = await context.newCDPSession(page);
    const touchPoints = [{ x: box.x + box.width / 2, y: box.y + box.height / 2 }];
    await client.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints });
    await page.evaluate(meanwhile);
    await client.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  },
  async axe() {
    await page.evaluate(AXE);
    const { violations } = await page.evaluate((values) => axe.run(document, { runOnly: { type: "tag", values } }), RULES);
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}: ${failureSummary}`));
  },
  layout: () => page.evaluate(problems),
  picture: ({ path }) => page.screenshot({ path, animations: "disabled" }),
  requests: () => requests,
  errors: () => errors,
  async freeze() {
    const client = await context.newCDPSession(page);
    await client.send("Page.setWebLifecycleState", { state: "frozen" });
  },
  async thaw() {
    const client = await context.newCDPSession(page);
    await client.send("Page.setWebLifecycleState", { state: "active" });
  },
  // Each timer that is due goes off once, as behind the lid of a laptop.
  sleep: ({ millis }) => page.clock.fastForward(millis),
  // As a machine that slept: the wall clock has gone on, and the clock of the page has not.
  leap: async ({ millis }) => page.clock.setSystemTime(await page.evaluate(() => Date.now()) + millis),
  // From here on the test answers in the place of the agent, with what was given last.
  async fake({ view, answers, notes }) {
    const first = fake === null;
    fake ??= { answers: {}, notes: [] };
    Object.assign(fake, view && { view }, answers && { answers });
    fake.notes.push(...notes ?? []);
    if (first) await page.route((url) => url.pathname.startsWith("/api/"), (route) => answer(route).catch(() => {}));
    wake();
  },
};

// The test is over.
process.stdout.on("error", () => process.exit());
process.stdout.write(`${JSON.stringify({ ok: null })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const { op, ...given } = JSON.parse(line);
  let said;
  try {
    said = { ok: await COMMANDS[op](given) ?? null };
  } catch (error) {
    said = { error: String(error?.message ?? error) };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
}
wake();
await browser.close();
process.exit();
