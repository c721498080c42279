// The pages of a courier, who puts parcels in and sees nothing else: a label that is scanned or typed, or a phone number and a
// size.

import * as cabinet from "/cabinet.js";
import { SCANNED_CODE, SIZES, button, el, fullpad, keypad } from "/parts.js";
import { TEXTS } from "/texts.js";

const PHONE_DIGITS = [8, 15];
const REFERENCE = /^[0-9A-Za-z._-]{1,64}$/;

export function blank() {
  return { phone: "", label: "", size: "M", busy: false };
}

// A label may have the integration before the order, and a scanner may type a phone number.
export function takesKey(page, key) {
  return (page === "courier" || page === "courierLabel") && (key === "/" || key === "+");
}

// What was scanned goes with the phone number if it is typed next.
export function keepLabel(state) {
  if (!REFERENCE.test(state.parcel.asked ?? "") || SCANNED_CODE.test(state.parcel.asked)) return;
  state.parcel.label = state.parcel.asked;
}

export async function bring(state, show) {
  const label = state.typed;
  if (label.startsWith("+")) {
    state.parcel.phone = label.replace(/[^0-9]/g, "").slice(0, PHONE_DIGITS[1]);
    return show("courier");
  }
  if (SCANNED_CODE.test(label)) return show("courier", () => TEXTS.courier.refused.not_a_label);
  Object.assign(state.parcel, { asked: label, label: "" });
  show("courier");
  await tell(state, show, "/api/bring", { label });
}

async function bringTo(state, show) {
  const { phone, label, size } = state.parcel;
  const sent = await tell(state, show, "/api/bring-to", { phone: `+${phone}`, size, ...(label && { reference: label }) });
  if (sent) state.parcel = blank();
}

async function tell(state, show, path, body) {
  const draft = state.parcel;
  if (draft.busy) return false;
  draft.busy = true;
  try {
    const { status, body: said } = await cabinet.send(path, body);
    if (status < 400) return true;
    show("courier", () => TEXTS.courier.refused[said?.error] ?? TEXTS.walkIn.refused[said?.error] ?? TEXTS.refused.no_answer);
  } catch {
    show("courier", () => TEXTS.refused.no_answer);
  } finally {
    draft.busy = false;
  }
  return false;
}

export function courierPage(state, show, draw) {
  const draft = state.parcel;
  const press = (key) => {
    state.message = null;
    if (key === "clear") draft.phone = "";
    else if (key === "back") draft.phone = draft.phone.slice(0, -1);
    else if (draft.phone.length < PHONE_DIGITS[1]) draft.phone += key;
    draw();
  };
  const pick = (size) => button(size, () => { draft.size = size; draw(); },
    { class: draft.size === size ? "primary" : "", "aria-pressed": String(draft.size === size) });
  const label = state.typed || draft.label;
  return el("section", { class: "entry" },
    el("div", { class: "say" },
      el("h1", {}, TEXTS.courier.bring),
      el("p", { class: state.message ? "refusal" : "", role: state.message ? "alert" : "status" }, state.message?.() ?? TEXTS.courier.bringHint),
      el("output", { class: "display phone", "aria-label": TEXTS.walkIn.display }, `+${draft.phone}`),
      label && el("p", {}, TEXTS.courier.scanned({ label })),
      el("div", { class: "picks", role: "group", "aria-label": TEXTS.courier.size }, ...SIZES.map(pick))),
    el("div", { class: "go" },
      button(TEXTS.courier.open, () => bringTo(state, show), { class: "primary", disabled: draft.busy || draft.phone.length < PHONE_DIGITS[0] }),
      button(TEXTS.courier.type, () => show("courierLabel"))),
    keypad(press, draft.busy));
}

export function labelPage(state, show, press) {
  return el("section", { class: "entry" },
    el("div", { class: "say" },
      el("h1", {}, TEXTS.courier.label),
      el("p", { class: state.message ? "hint refusal" : "hint", role: state.message ? "alert" : "status" }, state.message?.() ?? TEXTS.courier.labelHint),
      el("output", { class: "display label", "aria-label": TEXTS.courier.labelDisplay }, state.typed || " ")),
    el("div", { class: "go" },
      button(TEXTS.courier.look, () => bring(state, show), { class: "primary", disabled: state.typed === "" }),
      button(TEXTS.list.cancel, () => show("courier"))),
    fullpad(press, false, "-."));
}
