// What the screen shows. One state, drawn anew at each change; the agent decides everything else.

import * as cabinet from "/cabinet.js";
import * as couriers from "/courier.js";
import * as deposits from "/deposit.js";
import { LETTERS, SCANNED_CODE, appToken, button, clock, el, fullpad, grouped, hotline, keypad, letterpad } from "/parts.js";
import { CODE_DIGITS, isScanned, pairingPage } from "/pairing.js";
import { sound, touch } from "/sounds.js";
import { applySpeech, blank as greeting, isChosen } from "/speech.js";
import { asksForScan, emergencyPage, isOver, jobPage, listPage, roundPage } from "/staff.js";
import { TEXTS } from "/texts.js";
import { blank, take, walkInPage } from "/walkin.js";

const DIGITS_MAX = 12;
const LETTERS_MAX = 10;
const LETTERS_ONLY = new RegExp(`^[${LETTERS}]{1,${LETTERS_MAX}}$`, "i");
const BREAK_GLASS_DIGITS = 25;
const SCAN_MAX = 64;
const WHOLE_SCAN = /Q[A-Z2-7]{26}$/i;
// Labels are scanned, not typed: what came so long before is of a scan that broke off.
const SCAN_PAUSE = 2000;
const VIEW_MILLIS = 10000;
const TYPED_IDLE = 45000;
const DOORS_IDLE = 60000;
const THANKS_MILLIS = 6000;
const RELEASE_IDLE = 120000;
const ANSWER_MIN = 4;
const ANSWER_IDLE = 60000;
const STAFF_IDLE = 60000;
const DEPOSIT_IDLE = 120000;
// Between two ticks of a screen that is awake, at most.
const ASLEEP = 5000;
const WAKING = 2000;
const BOOK_OLD = Number(document.documentElement.dataset.oldHours) * 3600000;

export const state = {
  link: "connecting", // connected, lost, outOfOrder, noKey, unpaired
  view: null,
  ...greeting(), // language and large type
  page: "keypad", // keypad, pin, courierPin, doors, answer, release, deposit, courier, courierLabel, list, walkIn, round, emergency, job
  typed: "",
  form: null, // digits or letters, where somebody has asked for the other keypad
  asks: "", // what is asked for behind a code: pin, birth_date, document_number, postcode
  message: null, // a function that says it, so that it follows a change of language
  busy: false,
  chosen: null, // of several doors, the one that somebody has tapped
  doors: new Map(), // number -> { is: opening | open | closed | push | silent | help, order }
  beeping: new Set(),
  lockedUntil: 0,
  staff: null, // { name }
  job: null,
  courier: null, // { name }
  parcel: couriers.blank(),
  deposit: null, // { number, is: opening | open | closed | push | silent | help | asking | stored | over, empty }
  swap: null, // doors that were chosen to be exchanged
  walkIn: blank(),
  reportable: false, // the code that was refused was used before
  away: false, // nobody has seen the page for a while: what it shows may be over
};

let touched = performance.now();
let shown = "";
let keyed = 0;
let ticked = { date: Date.now(), at: performance.now() };
let unfocused = null; // the button that had the focus before it could not be pressed for a moment

// --- what people do ---

export function show(page, message = null) {
  Object.assign(state, { page, message, typed: "", form: null });
  touched = performance.now();
  draw();
}

// For whoever comes next.
function greet(message) {
  Object.assign(state, greeting());
  show("keypad", message);
}

function press(key) {
  if (state.busy) return;
  state.message = null;
  if (key === "clear") state.typed = "";
  else if (key === "back") state.typed = isScan() ? "" : state.typed.slice(0, -1);
  else if (state.typed.length < most()) state.typed += key;
  draw();
}

function most() {
  if (state.link === "unpaired") return CODE_DIGITS;
  if (state.page === "pin") return BREAK_GLASS_DIGITS;
  if (state.page === "courierLabel") return SCAN_MAX;
  return byLetters() ? LETTERS_MAX : DIGITS_MAX;
}

function isScan() {
  return state.page !== "answer" && /[^0-9]/.test(state.typed) && !hasLetters();
}

// A code of letters: what a scanner delivers has other ones in it, or more of them.
function hasLetters() {
  return state.page === "keypad" && LETTERS_ONLY.test(state.typed);
}

// Which keypad stands on the screen.
function byLetters() {
  return state.page === "keypad" && (state.form ?? (state.view?.code_letters ? "letters" : "digits")) === "letters";
}

function otherPad() {
  const form = byLetters() ? "digits" : "letters";
  Object.assign(state, { form, typed: "", message: null });
  draw();
}

// A scanner types like a keyboard and ends with Enter.
function keyboard(event) {
  touched = performance.now();
  touch();
  if (event.ctrlKey || event.altKey || event.metaKey || state.busy) return;
  if (state.link === "unpaired" && isScanned(event)) return;
  if (event.key === "Enter" && state.typed !== "") {
    event.preventDefault();
    submit();
  } else if (event.key === "Backspace") {
    press("back");
  } else if (event.key === "Escape") {
    press("clear");
  } else if (takesKey(event.key) && state.typed.length < SCAN_MAX) {
    const pause = event.timeStamp - keyed > SCAN_PAUSE;
    keyed = event.timeStamp;
    if (!asksForScan(state) && ["doors", "release", "deposit", "job", "round", "emergency"].includes(state.page)) return scanElsewhere(event.key);
    state.message = null;
    if (pause && ["list", "courier", "job"].includes(state.page)) state.typed = "";
    state.typed += event.key;
    draw();
  }
}

function takesKey(key) {
  if (state.link === "unpaired") return /^[0-9]$/.test(key) && state.typed.length < CODE_DIGITS;
  if (/^[0-9A-Za-z._-]$/.test(key)) return true;
  return key === "/" && (state.page === "list" || asksForScan(state)) || key === "+" && state.page === "walkIn" || couriers.takesKey(state.page, key);
}

// Another customer scans while the doors of the one before are still on the screen, or staff the label of the next order.
function scanElsewhere(key) {
  if (state.page === "job" && !isOver(state)) return;
  if (state.deposit) {
    if (!deposits.isOver(state.deposit)) return;
    endDeposit();
  }
  state.job = null;
  if (state.staff || state.courier) show(state.staff ? "list" : "courier");
  else greet();
  state.typed = key;
  draw();
}

function submit() {
  if (state.typed === "" || state.busy) return;
  if (state.link === "unpaired") return pair();
  // Before it a scan may have broken off.
  state.typed = WHOLE_SCAN.exec(state.typed)?.[0] ?? state.typed;
  if (state.page === "pin") enterStaff();
  else if (state.page === "answer" && state.typed.length <= DIGITS_MAX) answer();
  else if (state.page === "answer") {
    // No answer is so long: somebody scans another code.
    state.page = "keypad";
    enter();
  }
  else if (state.page === "courierPin") enterCourier();
  else if (state.page === "courier" || state.page === "courierLabel") couriers.bring(state, show);
  else if (state.page === "list") scanLabel();
  else if (state.page === "job") scanFound();
  else if (state.page === "walkIn") {
    take(state, state.typed);
    state.typed = "";
    draw();
  }
  else if (locked() && !isScan()) state.typed = "";
  else enter();
}

async function pair() {
  const code = state.typed;
  if (code.length !== CODE_DIGITS) return;
  Object.assign(state, { typed: "", message: null, busy: true });
  draw();
  const paired = await cabinet.pair(code);
  if (paired) return location.reload();
  Object.assign(state, { busy: false, message: () => (paired === false ? TEXTS.pairing.wrong : TEXTS.refused.no_answer) });
  draw();
}

async function enter() {
  entered(await submitTo("/api/enter"));
}

// Behind the right code. A wrong one may be tried again, as long as nobody says that the code comes first.
async function answer() {
  const said = await submitTo("/api/answer", "answer");
  if (said?.result === "refused") sound("refused");
  if (said?.result === "refused" && ["wrong_answer", "not_a_code", "busy", "no_answer"].includes(said.reason)) {
    return show("answer", () => (said.reason === "not_a_code" ? TEXTS.answer.notOne : TEXTS.refused[said.reason]));
  }
  entered(said);
}

function entered(answer) {
  if (!answer) return;
  if (answer.result === "answer_needed") {
    state.asks = answer.prompt;
    return show("answer");
  }
  if (answer.result === "opening") return opening(answer.compartments);
  if (answer.result === "staff") return beginStaff(answer);
  if (answer.result === "courier") return beginCourier(answer);
  if (answer.result === "deposit") return beginDeposit(answer);
  if (answer.result === "release_needed") return show("release");
  sound("refused");
  show("keypad", refusal(answer));
  state.reportable = answer.reason === "used";
  draw();
}

function enterStaff() {
  return enterPin("/api/staff", "pin");
}

function enterCourier() {
  return enterPin("/api/courier", "courierPin");
}

// A badge is known at either place.
async function enterPin(path, page) {
  const answer = await submitTo(path);
  if (!answer) return;
  if (answer.result === "staff") return beginStaff(answer);
  if (answer.result === "courier") return beginCourier(answer);
  sound("refused");
  const wrong = answer.result === "refused" && (answer.reason === "wrong" || answer.reason === "not_a_code");
  show(answer.result === "locked" ? "keypad" : page, wrong ? () => TEXTS.staff.wrong : refusal(answer));
}

// Letters of a token are capitals, whatever a scanner's caps lock makes of them.
async function submitTo(path, name = "secret") {
  const typed = state.typed.toUpperCase();
  Object.assign(state, { typed: "", message: null, busy: true });
  draw();
  try {
    const { status, body } = await cabinet.send(path, { [name]: typed });
    if (status === 200) return body;
    return { result: "refused", reason: status === 422 ? "not_a_code" : "no_answer" };
  } catch {
    return { result: "refused", reason: "no_answer" };
  } finally {
    state.busy = false;
    refresh();
  }
}

function refusal(answer) {
  if (answer.result === "locked") {
    state.lockedUntil = performance.now() + answer.millis;
    return null;
  }
  if (answer.result === "second_part_needed") {
    if (state.view) state.view.second_part_needed = true;
    return null;
  }
  if (answer.reason === "not_a_code") return notACode;
  return () => TEXTS.refused[answer.reason] ?? TEXTS.refused.no_answer;
}

function notACode() {
  const letters = state.view?.code_letters;
  return letters ? TEXTS.refused.not_a_code_of_letters({ count: letters }) : TEXTS.refused.not_a_code({ count: state.view?.code_digits ?? 8 });
}

function opening(numbers) {
  const before = state.doors;
  state.chosen = null;
  // The news of a fast door may have come before this answer.
  state.doors = new Map(numbers.map((number) => [number, before.get(number)?.fresh ? before.get(number) : { is: "opening" }]));
  show("doors");
}

export async function tell(path, body) {
  touched = performance.now();
  try {
    const { status } = await cabinet.send(path, body);
    if (status >= 400) show(state.page, () => TEXTS.refused.no_answer);
  } catch {
    show(state.page, () => TEXTS.refused.no_answer);
  }
  refresh();
}

function beginDeposit({ session, compartment: number }) {
  const before = state.doors.get(number);
  cabinet.setSession(session);
  state.deposit = { number, is: before?.fresh ? before.is : "opening" };
  state.doors = new Map();
  show("deposit");
}

function endDeposit(message) {
  state.deposit = null;
  if (state.courier) return show("courier", message);
  cabinet.setSession(null);
  show("keypad", message);
}

// What is asked or told of the one door that somebody puts an order into.
function deposit(number, now) {
  if (!state.deposit && !state.courier) return;
  state.deposit = { number, ...now };
  show("deposit");
}

function beginStaff({ session, name }) {
  cabinet.setSession(session);
  Object.assign(state, { staff: { name }, job: null, deposit: null });
  show("list");
  refresh();
}

function endStaff(message) {
  cabinet.setSession(null);
  Object.assign(state, { staff: null, job: null, swap: null, walkIn: blank() });
  if (state.view) state.view.staff = null;
  greet(message);
}

// Somebody who was interrupted goes on at the same door.
function beginCourier({ session, name, compartment: number }) {
  cabinet.setSession(session);
  const seen = state.view?.doors.find((one) => one.number === number);
  const is = isOpen(seen?.door) ? "open" : seen?.try_again ? "push" : "asking";
  Object.assign(state, { courier: { name }, parcel: couriers.blank(), job: null, deposit: number ? { number, is } : null, doors: new Map() });
  show(number ? "deposit" : "courier");
  refresh();
}

function endCourier(message) {
  cabinet.setSession(null);
  Object.assign(state, { courier: null, deposit: null, parcel: couriers.blank() });
  greet(message);
}

// Whoever is sent away in the middle says what is behind the door that stands open for them.
function courierOver(message) {
  if (state.deposit && !deposits.isOver(state.deposit)) state.courier = null;
  else endCourier(message);
}

function staffButton() {
  if (state.courier) {
    cabinet.send("/api/logout", {}).catch(() => {});
    endCourier();
    refresh();
  } else if (state.staff) {
    cabinet.send("/api/logout", {}).catch(() => {});
    endStaff();
    refresh();
  } else if (state.deposit) {
    endDeposit();
  } else {
    show(state.page === "pin" || state.page === "courierPin" ? "keypad" : "pin");
  }
}

// A label shows the order's reference, with or without the integration before it. Of an order in several compartments each scan
// opens the next one that is to be loaded.
async function scanLabel() {
  const label = state.typed;
  state.typed = "";
  // Whoever scans at once, or an order that has just come, is ahead of the list.
  if (labelled(label).length === 0) await refresh();
  if (state.page !== "list") return;
  const found = labelled(label);
  if (found.length === 1) return tell("/api/load", { order: found[0].order, larger: false });
  // The next scan may have begun.
  state.message = notToLoad(label, found.length);
  draw();
}

function notToLoad(label, found) {
  if (SCANNED_CODE.test(label)) return () => TEXTS.staff.notALabel;
  return found > 1 ? () => TEXTS.staff.severalLabels({ label }) : () => TEXTS.staff.unknownLabel({ label });
}

// What lies behind a door that staff have looked into: an order that waits, or one that the book has elsewhere.
async function scanFound() {
  const label = state.typed;
  const { number } = state.job;
  state.typed = "";
  await refresh();
  if (state.page !== "job" || state.job?.number !== number || !asksForScan(state)) return;
  const { waiting = [], compartments = [], unwanted = [] } = state.view?.staff ?? {};
  const orders = new Set([...waiting, ...unwanted].map(({ order }) => order).concat(compartments.flatMap((seen) => seen.orders)));
  const found = [...orders].filter((order) => isNamed(order, label));
  if (found.length === 1) return tell("/api/found", { compartment: number, order: found[0] });
  state.message = found.length > 1 ? () => TEXTS.round.several({ label }) : SCANNED_CODE.test(label) ? () => TEXTS.staff.notALabel : () => TEXTS.round.unknown({ label });
  draw();
}

// With the integration before it, or without.
function isNamed(order, label) {
  return order === label || order?.split("/")[1] === label;
}

function labelled(label) {
  const waiting = state.view?.staff?.waiting ?? [];
  const named = waiting.filter(({ order, part }) => isNamed(order, label) || isNamed(part?.whole, label));
  const wholes = new Set(named.map(({ order, part }) => part?.whole ?? order));
  const next = named.filter(({ part }) => part).sort((one, other) => one.loading - other.loading || one.part.number - other.part.number);
  return wholes.size === 1 && next.length > 0 ? next.slice(0, 1) : named;
}

// --- what the cabinet says ---

// What comes behind a sleep may be of long ago.
function newsSound(name) {
  if (performance.now() - woke > WAKING) sound(name);
}

function note(news) {
  const { compartment: number } = news;
  switch (news.note) {
    case "opened":
      newsSound("opened");
      return door(number, { is: "open" });
    case "closed":
      state.beeping.delete(number);
      return door(number, { is: "closed" });
    case "push_door": return door(number, { is: "push" });
    case "lock_silent": return door(number, { is: "silent" });
    case "call_staff": return door(number, { is: "help", order: news.order });
    case "reported": return reported(news);
    case "beep":
      state.beeping.add(number);
      return newsSound("close");
    case "loading": return job({ kind: "load", order: news.order, number, phase: "opening" });
    case "beside":
      state.beside = news;
      return;
    case "retrieving": return job({ kind: "retrieve", order: news.order, number, phase: "opening" });
    case "looking": return job({ kind: "look", order: news.order, number, phase: "opening" });
    case "ask_release":
      // Of several doors some may be open by now.
      if (state.page === "doors") state.message = () => TEXTS.release.doors(listed(news.compartments));
      return;
    case "released": {
      // Whoever asked for it goes on as they have chosen.
      const { language, large } = state;
      staffButton();
      Object.assign(state, { language, large });
      return opening([number]);
    }
    case "swapping":
    case "ask_swapped": {
      const [one, two] = news.compartments;
      return show("round", () => TEXTS.swap[news.note]({ one, two }));
    }
    case "swap_over": return state.staff && show("round", () => (news.swapped ? TEXTS.swap.swapped : TEXTS.swap.asBefore));
    case "opening_all": {
      const numbers = news.passed_over;
      return show("round", () => (numbers.length > 0 ? TEXTS.emergency.openingBut({ numbers }) : TEXTS.emergency.opening));
    }
    case "depositing": return deposit(number, { is: "opening" });
    case "ask_deposited": return deposit(number, { is: "asking", empty: news.empty });
    // Of a door that another one has taken the place of, nothing more is told.
    case "deposit_over": return number === state.deposit?.number && deposit(number, { is: news.stored ? "stored" : "over" });
    case "deposit_refused":
      sound("refused");
      if (news.reason === "no_session" && state.courier) return endCourier(() => TEXTS.courier.ended);
      if (news.reason === "no_session") return endDeposit(() => TEXTS.depositRefused.no_session);
      if (news.reason === "not_expected") couriers.keepLabel(state);
      return show(state.page, () => TEXTS.depositRefused[news.reason]);
    case "ask_found": return about({ ...news, kind: "look" }, { phase: "asking" });
    case "audited": return audited(news);
    case "found": return about({ ...news, kind: "look" }, { phase: "found", from: news.from });
    case "ask_loaded": return about(news, { phase: "asking", empty: news.empty });
    case "stored": return about(news, { phase: "stored" });
    case "load_aborted": return about(news, { phase: "aborted" });
    case "staff_refused":
      sound("refused");
      if (news.reason === "no_session") return endStaff(() => TEXTS.staffRefused.no_session);
      return show(state.page, () => TEXTS.staffRefused[news.reason]);
    case "session_ended": return state.staff ? endStaff(() => TEXTS.staff.ended) : state.courier && courierOver(() => TEXTS.courier.ended);
  }
}

function door(number, now) {
  if (state.staff) {
    if (state.job?.number === number && !["asking", "stored", "aborted", "occupied", "missing"].includes(state.job.phase)) {
      const taken = state.job.kind === "retrieve" && now.is === "closed";
      state.job.phase = taken ? "retrieved" : now.is;
      touched = performance.now();
    }
    return;
  }
  if (state.deposit) {
    const { is } = state.deposit;
    if (state.deposit.number !== number || is === "stored" || is === "over" || (is === "asking" && now.is === "closed")) return;
    return deposit(number, now);
  }
  if (state.doors.has(number)) {
    touched = performance.now();
    const before = state.doors.get(number);
    state.doors.set(number, { ...now, reported: before.reported, stays: before.stays && now.is !== "opening" });
  } else if (state.busy) {
    state.doors.set(number, { ...now, fresh: true });
  } else if (state.page === "keypad" && state.typed === "" && now.is !== "closed") {
    // Nobody is typing: a door that opens by itself was opened for somebody in front of it.
    state.doors = new Map([[number, now]]);
    show("doors");
  }
}

// Says what a person can do, at the door or where the code was refused.
function reported({ order, compartment: number }) {
  if (state.staff) return;
  if (state.doors.has(number)) state.doors.set(number, { ...state.doors.get(number), reported: order });
  else show("keypad", () => reportDone(order));
}

function reportDone(order) {
  return TEXTS.report.done({ order: order.split("/")[1] });
}

function job(begun) {
  state.job = begun;
  show("job");
}

function about({ kind = "load", order, compartment: number }, change) {
  if (!state.staff) return;
  if (state.job && state.job.number !== number && !isOver(state)) return;
  state.job = { kind, order, number, ...change };
  show("job");
}

// What is as it should be needs no touch: the round goes on.
function audited({ compartment: number, found }) {
  if (state.job && state.job.number !== number) return;
  if (found !== "as_booked") return about({ kind: "look", order: state.job?.order ?? null, compartment: number }, { phase: found });
  if (state.job) {
    state.job = null;
    show("round", () => TEXTS.round.asBooked({ number }));
  }
}

async function refresh() {
  const asked = state.staff;
  const asleep = naps;
  try {
    const { status, body } = await cabinet.read("/api/view");
    // Somebody logged in or out meanwhile: this is not for them.
    if (asked !== state.staff) return;
    if (status === 401 && state.staff) return endStaff(() => TEXTS.staff.ended);
    if (status !== 200) return;
    // What was asked before the screen slept is as old as what is hidden.
    if (asleep !== naps) return;
    state.view = body;
    if (state.away && !document.hidden) awake(body);
    state.lockedUntil = body.locked_millis ? performance.now() + body.locked_millis : 0;
    const stillOpen = (number) => body.doors.some((seen) => seen.number === number && seen.door !== "closed");
    state.beeping = new Set([...state.beeping].filter(stillOpen));
    // A code that was typed again names a door that stands open already: no news of it comes.
    if (state.deposit?.is === "opening" && body.doors.some((seen) => seen.number === state.deposit.number && isOpen(seen.door))) state.deposit.is = "open";
    if (state.staff && !body.staff) return endStaff(() => TEXTS.staff.ended);
    draw();
  } catch {
    // The notes tell whether the agent answers.
  }
}

// --- a screen that slept ---

let naps = 0;
let woke = -Infinity;

// What was true before is hidden, so that nobody reads it when the screen lights up.
function hide() {
  naps += 1;
  state.away = true;
  draw();
}

function wake() {
  if (document.hidden) return;
  naps += 1;
  woke = performance.now();
  state.away = true;
  tick();
  draw();
  cabinet.askAnew();
  refresh();
}

// Doors may have been opened and closed meanwhile.
function awake({ doors }) {
  state.away = false;
  for (const { number, door } of doors) {
    const before = state.doors.get(number);
    if (before && isOpen(door)) before.is = "open";
    else if (before?.is === "open" && door === "closed") before.is = "closed";
    if (state.deposit?.number === number && state.deposit.is === "open" && door === "closed") state.deposit.is = "closed";
    if (state.job?.number === number && state.job.phase === "open" && door === "closed") state.job.phase = "closed";
  }
}

function isOpen(door) {
  return door === "open" || door === "held_open" || door === "forced";
}

// --- what is shown ---

function locked() {
  return performance.now() < state.lockedUntil;
}

// Since when nothing of the fleet has come, as people read it.
function offlineSince() {
  const { online, offline } = state.view ?? {};
  if (online || !offline) return null;
  const form = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  return { time: form.format(new Date(offline.since)) };
}

// Codes that were sent out since then may not be known here.
function isOld() {
  const { online, offline } = state.view ?? {};
  return !online && (offline?.at_least_millis ?? 0) >= BOOK_OLD;
}

// A board was asked in vain, and of no door anything is known.
function noDoorAnswers() {
  const { doors = [], boards_silent: silent = 0 } = state.view ?? {};
  return silent > 0 && doors.every(({ door }) => door === "unknown");
}

// Said while nobody types.
function away() {
  const since = state.page === "keypad" && !state.typed && !state.message && !state.busy && offlineSince();
  if (!since) return [];
  return isOld() ? [el("p", { class: "away old" }, TEXTS.state.oldLong(since)), hotline()] : [el("p", { class: "away" }, TEXTS.state.since(since))];
}

function keypadPage() {
  const texts = { pin: TEXTS.staff, courierPin: TEXTS.courier }[state.page] ?? TEXTS.customer;
  const hidden = texts !== TEXTS.customer || isScan();
  // Nobody types 25 digits blindly, and who reads them over a shoulder can use them no more.
  const long = state.typed.length > DIGITS_MAX;
  const value = isScan() ? TEXTS.customer.scanned : long ? grouped(state.typed, 5) : hidden ? "•".repeat(state.typed.length) : grouped(state.typed.toUpperCase());
  const hint = state.busy ? TEXTS.customer.checking : state.message?.() ?? texts.hint;
  const said = away();
  // What matters more takes the place of the hint.
  const isOldBook = said.length > 1;
  return el("section", { class: "entry" },
    el("div", { class: "say" },
      el("h1", {}, texts.title),
      !isOldBook && el("p", { class: state.message ? "hint refusal" : "hint", role: state.message ? "alert" : "status" }, hint),
      ...said,
      state.page === "keypad" && !state.typed && !state.message && appToken(state.view?.app),
      state.page === "keypad" && state.message && hotline(),
      el("output", { class: long ? "display long" : "display", "aria-label": texts.display }, value || " ")),
    el("div", { class: "go" },
      button(texts.go, submit, { class: "primary", disabled: state.busy || state.typed.length < (hasLetters() ? 5 : 6) }),
      state.page === "keypad" && state.reportable && state.message && button(TEXTS.report.button, () => { state.reportable = false; tell("/api/not-here", {}); }),
      state.page === "pin" && button(TEXTS.courier.begin, () => show("courierPin")),
      texts !== TEXTS.customer && button(TEXTS.staff.cancel, () => show("keypad"))),
    (byLetters() ? letterpad : keypad)(press, state.busy, state.page === "keypad" && state.view?.other_form ? otherPad : null));
}

function lockedPage() {
  const left = Math.max(0, state.lockedUntil - performance.now());
  return el("section", { class: "wide warn" },
    el("h1", {}, TEXTS.locked.title),
    el("p", {}, TEXTS.locked.why),
    el("p", { class: "huge", role: "timer", "aria-live": "off" }, clock(left)),
    el("p", { class: state.message ? "refusal" : "" }, state.busy ? TEXTS.customer.checking : state.message?.() ?? TEXTS.locked.scan),
    hotline(),
    appToken(state.view?.app));
}

function secondPartPage() {
  return el("section", { class: "wide warn" },
    el("h1", {}, TEXTS.secondPart.title),
    el("p", { class: state.message ? "refusal" : "" }, state.busy ? TEXTS.customer.checking : state.message?.() ?? TEXTS.secondPart.why),
    hotline());
}

// The code is right, and its holder has to say the rest. Nobody who looks over a shoulder reads it.
function answerPage() {
  const texts = TEXTS.answer;
  const pad = state.asks === "pin" || state.asks === "birth_date" ? keypad : fullpad;
  const hint = state.busy ? TEXTS.customer.checking : state.message?.() ?? texts.how[state.asks];
  return el("section", { class: "entry" },
    el("div", { class: "say" },
      el("h1", {}, texts.title[state.asks]),
      el("p", { class: state.message ? "hint refusal" : "hint", role: state.message ? "alert" : "status" }, hint),
      el("output", { class: "display", "aria-label": texts.display }, "•".repeat(state.typed.length) || " ")),
    el("div", { class: "go" },
      button(TEXTS.customer.go, submit, { class: "primary", disabled: state.busy || state.typed.length < ANSWER_MIN }),
      button(TEXTS.release.cancel, () => show("keypad"))),
    pad(press, state.busy));
}

// The code is right, and staff have to say the rest: a badge is scanned here, a PIN is typed as ever.
function releasePage() {
  return el("section", { class: "wide warn" },
    el("h1", {}, TEXTS.release.title),
    el("p", { role: "status" }, TEXTS.release.why),
    button(TEXTS.staff.enter, () => show("pin")),
    button(TEXTS.release.cancel, () => show("keypad")));
}

function doorsPage() {
  const doors = [...state.doors].sort(([one], [other]) => one - other);
  const all = (is) => doors.every(([, door]) => door.is === is);
  const call = doors.filter(([, door]) => door.is === "help");
  const push = doors.filter(([, door]) => door.is === "push" || door.is === "silent");
  const offered = (number) => state.view?.doors.some((seen) => seen.number === number && seen.may_stay);
  const leave = doors.filter(([number, door]) => door.is === "open" && !door.stays && offered(number));
  const stayed = doors.filter(([, door]) => door.stays).map(([number]) => number);
  const what = all("closed") ? TEXTS.doors.thanks : doors.length > 1 ? TEXTS.doors.takeAll : TEXTS.doors.take;
  const said = (number) => [
    leave.some(([one]) => one === number) && button(TEXTS.doors.stays({ number }), () => stays(number)),
    button(doors.length > 1 ? TEXTS.report.behind({ number }) : TEXTS.report.button, () => tellOf(number, "/api/not-here"))];
  const open = doors.filter(([, door]) => !door.reported && (door.is === "open" || door.is === "closed")).map(([number]) => number);
  // Of several doors one is tapped first: buttons for each of them would leave no room for the doors.
  const chosen = doors.length === 1 ? open[0] : open.find((number) => number === state.chosen);
  return el("section", { class: doors.length > 1 ? "doors many" : "doors" },
    el("div", { class: "tiles" }, ...doors.map(([number, door]) => doorTile(number, door, doors.length > 1 && open.includes(number)))),
    el("div", { class: "next" },
      ...push.map(([number, door]) => el("p", {}, door.is === "push" ? TEXTS.doors.pushHow({ number }) : TEXTS.doors.silentHow({ number }))),
      ...push.map(([number]) => button(TEXTS.doors.again({ number }), () => again(number), { class: "primary" })),
      ...call.map(([number, door]) => el("p", {}, TEXTS.doors.call({ number }), door.order && el("strong", {}, ` ${TEXTS.doors.reference({ order: door.order.split("/")[1] })}`))),
      call.length > 0 && hotline(),
      push.length + call.length === 0 && el("p", {}, what),
      state.message && el("p", { role: "alert" }, state.message()),
      stayed.length > 0 && el("p", {}, TEXTS.doors.stayed(listed(stayed))),
      doors.length > 1 && open.length > 0 && chosen === undefined && push.length + call.length === 0 && el("p", {}, TEXTS.doors.tap),
      ...doors.filter(([, door]) => door.reported).map(([, door]) => el("p", { role: "alert" }, reportDone(door.reported))),
      ...(chosen === undefined ? [] : said(chosen)),
      button(TEXTS.doors.done, () => show("keypad"))));
}

// Doors as a text has them: one is said differently from several.
function listed(numbers) {
  return { count: numbers.length, numbers };
}

function tellOf(number, path) {
  state.chosen = null;
  tell(path, { compartment: number });
}

function choose(number) {
  state.chosen = state.chosen === number ? null : number;
  draw();
}

function doorTile(number, { is }, tappable) {
  const chosen = tappable && state.chosen === number;
  const attributes = tappable ? { on: () => choose(number), "aria-pressed": String(chosen), type: "button" } : { role: "status" };
  return el(tappable ? "button" : "div", { class: `tile ${is}${chosen ? " chosen" : ""}`, ...attributes },
    el("h1", { "aria-label": `${TEXTS.door({ number })} ${TEXTS.doors[is]}` },
      el("span", {}, TEXTS.doors.word), el("b", {}, String(number)), el("span", {}, TEXTS.doors[is])));
}

// Of several orders one may be for the next time.
function stays(number) {
  state.doors.get(number).stays = true;
  tellOf(number, "/api/not-taken");
  draw();
}

function again(number) {
  if (state.deposit) state.deposit.is = "opening";
  else state.doors.set(number, { is: "opening" });
  draw();
  tell("/api/again", { compartment: number });
}

function silentPage() {
  return el("section", { class: "wide warn" },
    el("h1", {}, TEXTS.state.outOfOrder),
    el("p", { class: state.message ? "refusal" : "" }, state.message?.() ?? TEXTS.state.doorsSilent),
    hotline());
}

// Which page that is, besides what stands on it.
function where() {
  if (["noKey", "outOfOrder", "lost", "unpaired"].includes(state.link)) return state.link;
  if (state.away) return "away";
  if (["keypad", "answer"].includes(state.page) && locked()) return "locked";
  if (state.page === "keypad" && noDoorAnswers()) return "silent";
  return state.page === "keypad" && state.view?.second_part_needed ? "secondPart" : state.page;
}

function page() {
  if (state.link === "unpaired") return pairingPage(state, press, submit);
  if (state.link === "noKey") return el("section", { class: "wide warn" }, el("h1", {}, TEXTS.state.lost), el("p", {}, TEXTS.state.noKey), hotline());
  if (state.link === "outOfOrder") return el("section", { class: "wide warn" }, el("h1", {}, TEXTS.state.outOfOrder), el("p", {}, TEXTS.state.outOfOrderLong), hotline());
  if (state.link === "lost") return el("section", { class: "wide warn" }, el("h1", {}, TEXTS.state.lost), el("p", {}, TEXTS.state.lostLong), hotline());
  if (state.away) return el("section", { class: "wide" }, el("h1", {}, TEXTS.customer.checking));
  switch (state.page) {
    case "doors": return doorsPage();
    case "deposit": return deposits.depositPage(state, tell, again, () => endDeposit());
    case "answer": return locked() ? lockedPage() : answerPage();
    case "release": return releasePage();
    case "courier": return couriers.courierPage(state, show, draw);
    case "courierLabel": return couriers.labelPage(state, show, press);
    case "list": return listPage(state, tell, show);
    case "walkIn": return walkInPage(state, show, draw);
    case "emergency": return emergencyPage(tell, show);
    case "round": return roundPage(state, tell, show, draw);
    case "job": return jobPage(state, tell, show);
    case "pin":
    case "courierPin": return keypadPage();
    default: return locked() ? lockedPage() : noDoorAnswers() ? silentPage() : state.view?.second_part_needed ? secondPartPage() : keypadPage();
  }
}

function draw() {
  const view = state.view;
  applySpeech(state, draw);
  document.title = TEXTS.title;
  document.getElementById("place").textContent = view ? TEXTS.cabinet({ name: view.cabinet }) : "";
  const status = document.getElementById("state");
  const now = state.link === "outOfOrder" ? "outOfOrder" : state.link === "connected" && view ? (view.online ? "online" : isOld() ? "old" : "offline") : "lost";
  status.textContent = ["connecting", "unpaired"].includes(state.link) || state.away ? "" : TEXTS.state[now];
  status.className = now;
  const staff = document.getElementById("staff");
  staff.hidden = state.link === "unpaired";
  staff.textContent = state.staff || state.courier ? TEXTS.staff.leave : state.page === "pin" || state.page === "courierPin" ? TEXTS.staff.cancel : TEXTS.staff.enter;
  const banner = document.getElementById("banner");
  banner.hidden = state.beeping.size === 0 || state.link !== "connected" || state.away;
  banner.textContent = banner.hidden ? "" : TEXTS.doors.leftOpen(listed([...state.beeping].sort((one, other) => one - other)));
  keepFocus(() => document.getElementById("stage").replaceChildren(page()));
}

// A page that is drawn anew leaves the focus of a keyboard, and the place in a list, where they were. Another page has it at its
// heading: that is read out first, and Tab goes on from there.
function keepFocus(replace) {
  const focused = document.activeElement?.closest("#stage") ? document.activeElement : null;
  const isFree = !focused && document.activeElement === document.body;
  const name = focused?.getAttribute("aria-label") ?? focused?.textContent ?? (isFree ? unfocused : null);
  const place = document.querySelector(".list")?.scrollTop ?? 0;
  replace();
  const list = document.querySelector(".list");
  const now = where();
  const isOther = shown !== now && shown !== "";
  if (list && shown === now) list.scrollTop = place;
  shown = now;
  unfocused = null;
  if (isOther || focused?.matches("h1")) return focusHeading();
  if (!name) return;
  const same = [...document.querySelectorAll("#stage button")].find((one) => (one.getAttribute("aria-label") ?? one.textContent) === name);
  same?.focus();
  if (same?.disabled) unfocused = name;
}

function focusHeading() {
  const heading = document.querySelector("#stage h1");
  const target = heading?.closest("button") ?? heading;
  if (target === heading) heading?.setAttribute("tabindex", "-1");
  target?.focus({ preventScroll: true });
}

// --- time ---

// Somebody has begun something, or chosen a language.
function isAway() {
  return state.typed || state.message || state.page === "pin" || state.page === "courierPin" || isChosen(state);
}

// The clock of the page stands still while the machine sleeps.
function sleptMillis() {
  const now = { date: Date.now(), at: performance.now() };
  const [all, awake] = [now.date - ticked.date, now.at - ticked.at];
  ticked = now;
  // A clock that was set looks like sleep: nobody is sent away from a door that is open.
  if (all - awake > ASLEEP && state.page !== "doors" && !state.deposit && !state.job) touched -= all - awake;
  return Math.max(all, awake);
}

function beat() {
  if (sleptMillis() > ASLEEP && !state.away) wake();
  else tick();
}

function tick() {
  const idle = performance.now() - touched;
  if (state.staff || state.courier && !state.deposit) {
    if (idle > STAFF_IDLE) staffButton();
  } else if (state.deposit) {
    if (idle <= (deposits.isOver(state.deposit) ? THANKS_MILLIS : DEPOSIT_IDLE)) return;
    if (state.courier && !deposits.isOver(state.deposit)) staffButton();
    else {
      endDeposit();
      if (!state.courier) greet();
    }
  } else if (state.page === "doors") {
    const closed = [...state.doors.values()].every((door) => door.is === "closed");
    if (idle > (closed ? THANKS_MILLIS : DOORS_IDLE)) greet();
  } else if (state.page === "release") {
    if (idle > RELEASE_IDLE) greet();
  } else if (state.page === "answer") {
    if (idle > ANSWER_IDLE && !state.busy) greet();
  } else if (idle > TYPED_IDLE && !state.busy && isAway()) {
    greet();
  }
  if (state.lockedUntil > 0 && state.page === "keypad") {
    if (!locked()) state.lockedUntil = 0;
    draw();
  }
}

function start() {
  document.addEventListener("pointerdown", () => { touched = performance.now(); touch(); });
  document.addEventListener("visibilitychange", () => (document.hidden ? hide() : wake()));
  document.addEventListener("freeze", hide);
  document.addEventListener("resume", wake);
  window.addEventListener("pageshow", ({ persisted }) => persisted && wake());
  document.addEventListener("keydown", keyboard);
  document.addEventListener("contextmenu", (event) => event.preventDefault());
  document.getElementById("staff").addEventListener("click", staffButton);
  setInterval(beat, 1000);
  if (!cabinet.takeKey()) {
    state.link = cabinet.WITHOUT_KEY;
    return draw();
  }
  draw();
  refresh();
  setInterval(refresh, VIEW_MILLIS);
  cabinet.follow({
    notes(batch) {
      batch.forEach(note);
      draw();
      refresh();
    },
    state(link) {
      if (state.link === link) return;
      // Nothing of what somebody did here stays on a screen that was shut out.
      if (link === "unpaired" && state.view) return location.reload();
      state.link = link;
      draw();
      if (link === "connected") refresh();
    },
    loggedOut() {
      if (state.staff) endStaff(() => TEXTS.staff.ended);
      else if (state.courier) endCourier(() => TEXTS.courier.ended);
    },
  });
}

start();
