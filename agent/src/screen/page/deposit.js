// The page of somebody who puts an order in: one door, and what they can say about it.

import { button, el } from "/parts.js";
import { TEXTS } from "/texts.js";

const T = TEXTS.deposit;

export function isOver(deposit) {
  return deposit.is === "stored" || deposit.is === "over" || deposit.is === "help";
}

export function depositPage(state, tell, again, done) {
  const { number, is, empty } = state.deposit;
  const wish = (word) => tell("/api/deposit", { wish: word });
  const refused = state.message && el("p", { class: "refusal", role: "alert" }, state.message);
  const say = { open: T.open, closed: T.checking, stored: T.stored, over: state.courier ? TEXTS.courier.over : T.over, help: TEXTS.doors.call(number),
    asking: empty ? T.askEmpty : T.ask, push: TEXTS.doors.pushHow(number), silent: TEXTS.doors.silentHow(number) }[is] ?? T.opening;
  const choices = {
    open: [button(T.tooSmall, () => wish("too_small")), button(T.notEmpty, () => wish("not_empty"))],
    asking: [button(T.inside, () => wish("inside"), { class: "primary" }), button(T.again, () => wish("again")), button(T.giveUp, () => wish("give_up"))],
    push: [button(TEXTS.doors.again(number), () => again(number), { class: "primary" })],
    silent: [button(TEXTS.doors.again(number), () => again(number), { class: "primary" })],
  }[is] ?? [];
  const look = { stored: "open", over: "help", asking: "push" }[is] ?? is;
  return el("section", { class: "doors" },
    el("div", { class: "tiles" }, el("div", { class: `tile ${look}`, role: "status" },
      el("h1", {}, el("span", {}, TEXTS.doors.word), el("b", { "aria-label": TEXTS.door(number) }, String(number)), el("span", {}, T.is[is] ?? TEXTS.doors[is])))),
    el("div", { class: "next" }, el("p", {}, say), refused, ...choices,
      isOver(state.deposit) && button(state.courier ? TEXTS.courier.next : TEXTS.doors.done, done, { class: "primary" })));
}
