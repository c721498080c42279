// The page of somebody who puts an order in: one door, and what they can say about it.

import { button, el } from "/parts.js";
import { TEXTS } from "/texts.js";

export function isOver(deposit) {
  return deposit.is === "stored" || deposit.is === "over" || deposit.is === "help";
}

export function depositPage(state, tell, again, done) {
  const { number, is, empty } = state.deposit;
  const wish = (word) => tell("/api/deposit", { wish: word });
  const refused = state.message && el("p", { class: "refusal", role: "alert" }, state.message());
  const say = { open: TEXTS.deposit.open, closed: TEXTS.deposit.checking, stored: TEXTS.deposit.stored, over: state.courier ? TEXTS.courier.over : TEXTS.deposit.over, help: TEXTS.doors.call({ number }),
    asking: empty ? TEXTS.deposit.askEmpty : TEXTS.deposit.ask, push: TEXTS.doors.pushHow({ number }), silent: TEXTS.doors.silentHow({ number }) }[is] ?? TEXTS.deposit.opening;
  const choices = {
    open: [button(TEXTS.deposit.tooSmall, () => wish("too_small")), button(TEXTS.deposit.notEmpty, () => wish("not_empty"))],
    asking: [button(TEXTS.deposit.inside, () => wish("inside"), { class: "primary" }), button(TEXTS.deposit.again, () => wish("again")), button(TEXTS.deposit.giveUp, () => wish("give_up"))],
    push: [button(TEXTS.doors.again({ number }), () => again(number), { class: "primary" })],
    silent: [button(TEXTS.doors.again({ number }), () => again(number), { class: "primary" })],
  }[is] ?? [];
  const look = { stored: "open", over: "help", asking: "push" }[is] ?? is;
  return el("section", { class: "doors" },
    el("div", { class: "tiles" }, el("div", { class: `tile ${look}`, role: "status" },
      el("h1", {}, el("span", {}, TEXTS.doors.word), el("b", { "aria-label": TEXTS.door({ number }) }, String(number)), el("span", {}, TEXTS.deposit.is[is] ?? TEXTS.doors[is])))),
    el("div", { class: "next" }, el("p", {}, say), refused, ...choices,
      isOver(state.deposit) && button(state.courier ? TEXTS.courier.next : TEXTS.doors.done, done, { class: "primary" })));
}
