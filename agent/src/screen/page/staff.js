// The pages of staff: what is to be done, and one order on its way into a compartment or out of it.

import { button, el } from "/parts.js";
import { TEXTS } from "/texts.js";

export function listPage(state, tell) {
  const staff = state.view?.staff ?? { compartments: [], waiting: [], boards_silent: 0 };
  return el("section", { class: "list" },
    el("h1", {}, TEXTS.staff.list),
    el("p", { class: state.message ? "refusal" : "", role: state.message ? "alert" : "status" },
      state.message || `${TEXTS.staff.hello(state.staff.name)} ${staff.waiting.length > 0 ? TEXTS.staff.listHint : TEXTS.staff.none}`),
    staff.boards_silent > 0 && el("p", { class: "refusal" }, TEXTS.staff.boards(staff.boards_silent)),
    ...staff.compartments.filter((seen) => seen.asks).map((seen) => question(seen.number, tell)),
    ...staff.compartments.filter((seen) => seen.audit_required && !seen.asks).map((seen) => audit(seen, tell)),
    ...staff.waiting.map((waiting) => orderRow(waiting, tell)));
}

function question(number, tell) {
  const answer = (inside) => tell("/api/confirm", { compartment: number, inside });
  return el("div", { class: "task" }, el("p", {}, TEXTS.staff.asks(number)),
    button(TEXTS.job.yes, () => answer(true), { class: "primary" }), button(TEXTS.job.no, () => answer(false)));
}

function audit({ number, allocated }, tell) {
  const [ask, yes] = allocated ? [TEXTS.staff.auditHeld, TEXTS.staff.auditHeldYes] : [TEXTS.staff.audit, TEXTS.staff.auditYes];
  return el("div", { class: "task" }, el("p", {}, ask(number)),
    button(yes(number), () => tell("/api/confirm", { compartment: number, inside: allocated })));
}

function orderRow({ order, size, category, compartment, loading }, tell) {
  const [integration, reference] = order.split("/");
  const facts = [TEXTS.staff.size(size), TEXTS.staff.category[category] ?? category, compartment && TEXTS.staff.inside(compartment),
    loading && TEXTS.staff.begun, integration].filter(Boolean).join(" · ");
  return button(el("b", {}, reference), () => tell("/api/load", { order, larger: false }), { class: "order", "aria-label": `${reference}, ${facts}`, "data-facts": facts });
}

const ENDS = {
  stored: (state) => ({ class: "open", title: TEXTS.job.stored, why: state.view?.online ? TEXTS.job.sent : TEXTS.job.queued }),
  retrieved: () => ({ class: "open", title: TEXTS.job.retrieved, why: "" }),
  aborted: () => ({ class: "help", title: TEXTS.job.aborted, why: TEXTS.job.abortedWhy }),
  help: () => ({ class: "help", title: TEXTS.job.help, why: TEXTS.job.helpWhy }),
};

export function jobPage(state, tell, show) {
  const { job } = state;
  const reference = job.order.split("/")[1];
  const list = (text, attributes) => button(text, () => { state.job = null; show("list"); }, attributes);
  const end = ENDS[job.phase]?.(state);
  if (end) {
    return layout(end.class, reference, job.number, end.title, [el("p", {}, end.why), list(TEXTS.job.next, { class: "primary" })]);
  }
  const refused = state.message && el("p", { class: "refusal", role: "alert" }, state.message);
  if (job.phase === "asking") {
    const answer = (inside) => tell("/api/confirm", { compartment: job.number, inside });
    return layout("push", reference, job.number, TEXTS.job.ask(reference), [
      job.empty && el("p", {}, TEXTS.job.askEmpty), refused,
      button(TEXTS.job.yes, () => answer(true), { class: "primary" }), button(TEXTS.job.no, () => answer(false))]);
  }
  if (job.phase === "push" || job.phase === "silent") {
    const how = job.phase === "push" ? TEXTS.doors.pushHow : TEXTS.doors.silentHow;
    const again = () => { job.phase = "opening"; tell("/api/again", { compartment: job.number }); };
    return layout("push", reference, job.number, TEXTS.doors[job.phase], [
      el("p", {}, how(job.number)), refused,
      button(TEXTS.doors.again(job.number), again, { class: "primary" }), list(TEXTS.job.list)]);
  }
  const larger = () => tell("/api/load", { order: job.order, larger: true });
  const what = job.phase === "open" ? TEXTS.job.open[job.kind] : TEXTS.job[job.phase];
  return layout(job.phase, TEXTS.job[job.kind](reference), job.number, "", [
    el("p", {}, what), refused,
    job.kind === "load" && job.phase !== "opening" && button(TEXTS.job.larger, larger), list(TEXTS.job.list)]);
}

function layout(look, above, number, below, next) {
  return el("section", { class: "doors" },
    el("div", { class: "tiles" }, el("div", { class: `tile ${look}` },
      el("h1", {}, el("span", {}, above), el("b", { "aria-label": TEXTS.door(number) }, String(number)), below && el("span", {}, below)))),
    el("div", { class: "next" }, ...next));
}
