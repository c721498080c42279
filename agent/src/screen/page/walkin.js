// An order that no backend has announced: staff type the phone number of whoever is to get it.

import * as cabinet from "/cabinet.js";
import { SCANNED_CODE, SIZES, button, el, keypad } from "/parts.js";
import { TEXTS } from "/texts.js";

const PHONE_DIGITS = [8, 15];
const REFERENCE_MAX = 64;

export function blank() {
  return { phone: "", reference: "", size: "M", category: "retail", cooled: false, busy: false };
}

// Keys of the page are digits of the number; what a scanner or a keyboard types is the label, unless it begins with +.
export function press(state, key) {
  const draft = state.walkIn;
  if (key === "clear") draft.phone = "";
  else if (key === "back") draft.phone = draft.phone.slice(0, -1);
  else if (draft.phone.length < PHONE_DIGITS[1]) draft.phone += key;
}

export function take(state, typed) {
  if (typed.startsWith("+")) state.walkIn.phone = typed.replace(/[^0-9]/g, "").slice(0, PHONE_DIGITS[1]);
  else if (/^[0-9A-Za-z._-]+$/.test(typed) && !SCANNED_CODE.test(typed)) state.walkIn.reference = typed.slice(0, REFERENCE_MAX);
}

export async function begin(state, show) {
  const draft = state.walkIn;
  if (draft.busy || draft.phone.length < PHONE_DIGITS[0]) return;
  draft.busy = true;
  const { phone, reference, size, category, cooled } = draft;
  try {
    const { status, body } = await cabinet.send("/api/walk-in", { phone: `+${phone}`, size, category, ...(reference && { reference }), ...(cooled && { wants: { refrigerated: true } }) });
    if (status >= 400) show("walkIn", () => TEXTS.walkIn.refused[body?.error] ?? TEXTS.refused.no_answer);
    else state.walkIn = blank();
  } catch {
    show("walkIn", () => TEXTS.refused.no_answer);
  } finally {
    draft.busy = false;
  }
}

export function walkInPage(state, show, draw) {
  const draft = state.walkIn;
  const pick = (name, value, text) => button(text, () => { draft[name] = value; draw(); },
    { class: draft[name] === value ? "primary" : "", "aria-pressed": String(draft[name] === value) });
  const cools = state.view?.staff?.compartments.some((seen) => seen.refrigerated);
  const reference = state.typed || draft.reference;
  const pressed = (key) => { state.message = null; press(state, key); draw(); };
  return el("section", { class: "entry much" },
    el("div", { class: "say" },
      el("h1", {}, TEXTS.walkIn.title),
      el("p", { class: state.message ? "refusal" : "", role: state.message ? "alert" : "status" }, state.message?.() ?? TEXTS.walkIn.hint),
      el("output", { class: "display phone", "aria-label": TEXTS.walkIn.display }, `+${draft.phone}`),
      el("p", {}, reference ? TEXTS.walkIn.reference({ label: reference }) : TEXTS.walkIn.noReference),
      el("div", { class: "picks", role: "group", "aria-label": TEXTS.walkIn.size }, ...SIZES.map((size) => pick("size", size, size))),
      el("div", { class: "picks", role: "group", "aria-label": TEXTS.walkIn.category },
        ...Object.entries(TEXTS.staff.category).map(([name, text]) => pick("category", name, text)))),
    el("div", { class: "go" },
      button(TEXTS.walkIn.go, () => begin(state, show), { class: "primary", disabled: draft.busy || draft.phone.length < PHONE_DIGITS[0] }),
      cools && button(TEXTS.walkIn.cooled, () => { draft.cooled = !draft.cooled; draw(); }, { class: draft.cooled ? "primary" : "", "aria-pressed": String(draft.cooled) }),
      button(TEXTS.list.back, () => { state.walkIn = blank(); show("list"); })),
    keypad(pressed, draft.busy));
}
