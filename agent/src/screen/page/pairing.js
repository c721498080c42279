// A screen that is a computer of its own, before somebody has paired it with the cabinet.

import { button, el, grouped, hotline, keypad } from "/parts.js";
import { TEXTS } from "/texts.js";

export const CODE_DIGITS = 8;

let scan = false;

// Whether the key is of a scan: a customer's code pairs nothing, and uses up no try.
export function isScanned({ key }) {
  if (key === "Enter") {
    const ended = scan;
    scan = false;
    return ended;
  }
  scan ||= /^[^0-9]$/.test(key);
  return scan;
}

export function pairingPage(state, press, submit) {
  const hint = state.busy ? TEXTS.customer.checking : state.message?.() ?? TEXTS.pairing.hint;
  return el("section", { class: "entry" },
    el("div", { class: "say" },
      el("h1", {}, TEXTS.pairing.title),
      el("p", { class: state.message ? "hint refusal" : "hint", role: state.message ? "alert" : "status" }, hint),
      hotline(),
      el("output", { class: "display", "aria-label": TEXTS.pairing.display }, grouped(state.typed) || " ")),
    el("div", { class: "go" },
      button(TEXTS.pairing.go, submit, { class: "primary", disabled: state.busy || state.typed.length !== CODE_DIGITS })),
    keypad(press, state.busy, null));
}
