// The page of somebody who puts an order in: one door, and what they can say about it.

import { button, el } from "/parts.js";
import { TEXTS } from "/texts.js";

export function isOver(deposit) {
  return deposit.is === "stored" || deposit.is === "over" || deposit.is === "help";
}

export function depositPage(state, tell, again, done) {
  const { number, is, empty } = state.deposit;
  const texts = TEXTS.deposit;
  const wish = (word) => tell("/api/deposit", { wish: word });
  const refused = state.message && el("p", { class: "refusal", role: "alert" }, state.message());
  const say = { open: texts.open, closed: texts.checking, stored: texts.stored, over: state.courier ? TEXTS.courier.over : texts.over, help: TEXTS.doors.call({ number }),
    asking: empty ? texts.askEmpty : texts.ask, push: TEXTS.doors.pushHow({ number }), silent: TEXTS.doors.silentHow({ number }) }[is] ?? texts.opening;
  const choices = {
    open: [button(texts.tooSmall, () => wish("too_small")), button(texts.notEmpty, () => wish("not_empty"))],
    asking: [button(texts.inside, () => wish("inside"), { class: "primary" }), button(texts.again, () => wish("again")), button(texts.giveUp, () => wish("give_up"))],
    push: [button(TEXTS.doors.again({ number }), () => again(number), { class: "primary" })],
    silent: [button(TEXTS.doors.again({ number }), () => again(number), { class: "primary" })],
  }[is] ?? [];
  const look = { stored: "open", over: "help", asking: "push" }[is] ?? is;
  return el("section", { class: "doors" },
    el("div", { class: "tiles" }, el("div", { class: `tile ${look}`, role: "status" },
      el("h1", {}, el("span", {}, TEXTS.doors.word), el("b", { "aria-label": TEXTS.door({ number }) }, String(number)), el("span", {}, texts.is[is] ?? TEXTS.doors[is])))),
    el("div", { class: "next" }, el("p", {}, say), refused, ...choices,
      isOver(state.deposit) && button(state.courier ? TEXTS.courier.next : TEXTS.doors.done, done, { class: "primary" })));
}
