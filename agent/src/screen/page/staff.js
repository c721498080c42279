// The pages of staff: what is to be done, and one order on its way into a compartment or out of it.

import { button, el } from "/parts.js";
import { TEXTS } from "/texts.js";

const MAINTENANCE_MINUTES = 60;

export function listPage(state, tell, show) {
  const staff = state.view?.staff ?? { compartments: [], waiting: [], boards_silent: 0 };
  return el("section", { class: "list" },
    el("h1", {}, TEXTS.staff.list),
    el("p", { class: state.message ? "refusal" : "", role: state.message ? "alert" : "status" },
      state.message?.() ?? `${TEXTS.staff.hello({ name: state.staff.name })} ${staff.waiting.length > 0 ? TEXTS.staff.listHint : TEXTS.staff.none}`),
    staff.boards_silent > 0 && el("p", { class: "refusal" }, TEXTS.staff.boards({ count: staff.boards_silent })),
    ...staff.compartments.filter((seen) => seen.asks).map((seen) => question(seen.number, tell)),
    ...staff.compartments.filter((seen) => seen.audit_required && !seen.asks).map((seen) => audit(seen, tell)),
    ...(staff.releases ?? []).map((asked) => releaseRow(asked, tell)),
    ...(staff.unwanted ?? []).map((unwanted) => unwantedRow(unwanted, tell)),
    ...staff.waiting.flatMap((waiting) => [orderRow(waiting, tell), waiting.walk_in && !waiting.loading && giveUp(waiting, tell)]),
    button(TEXTS.walkIn.begin, () => show("walkIn")),
    button(TEXTS.round.begin, () => show("round")));
}

// All doors, the doubtful ones first: staff open one after another and look inside.
export function roundPage(state, tell, show, draw) {
  const compartments = [...(state.view?.staff?.compartments ?? [])];
  const atWork = state.view?.staff?.maintenance;
  compartments.sort((one, other) => other.audit_required - one.audit_required || one.number - other.number);
  return el("section", { class: "list" },
    el("h1", {}, TEXTS.round.title),
    el("p", { role: "status" }, state.swap ? TEXTS.swap.hint : state.message?.() ?? TEXTS.round.hint),
    ...compartments.filter((seen) => seen.swaps_with > seen.number).map((seen) => swapQuestion(seen, tell)),
    ...compartments.filter((seen) => seen.asks).map((seen) => question(seen.number, tell)),
    ...compartments.filter((seen) => seen.needs_cleaning).map((seen) => cleaning(seen.number, tell)),
    ...compartments.filter((seen) => seen.withdrawn).map((seen) => withdrawn(seen.number, tell)),
    atWork && work(atWork, tell),
    ...compartments.filter((seen) => !state.swap || seen.allocated).map((seen) => doorRow(seen, (number) => choose(state, number, tell, draw))),
    button(state.swap ? TEXTS.list.cancel : TEXTS.swap.begin, () => { state.swap = state.swap ? null : []; draw(); }),
    !atWork && button(TEXTS.maintenance.begin, () => tell("/api/maintenance", { minutes: MAINTENANCE_MINUTES })),
    button(TEXTS.emergency.begin, () => show("emergency")),
    button(TEXTS.list.back, () => show("list")));
}

// Two touches at different places: nobody opens everything by leaning on the screen.
export function emergencyPage(tell, show) {
  return el("section", { class: "wide warn" },
    el("h1", {}, TEXTS.emergency.begin),
    el("p", {}, TEXTS.emergency.why),
    button(TEXTS.emergency.no, () => show("round"), { class: "primary" }),
    button(TEXTS.emergency.yes, () => tell("/api/open-all", { confirm: "open all doors" })));
}

function withdrawn(number, tell) {
  return el("div", { class: "task" }, el("p", {}, TEXTS.round.withdrawn({ number })),
    button(TEXTS.round.restore({ number }), () => tell("/api/service", { compartment: number, in_service: true })));
}

// Doors that a mechanical key opens are nobody's break-in meanwhile.
function work({ name, millis }, tell) {
  return el("div", { class: "task" }, el("p", {}, TEXTS.maintenance.on({ name, minutes: Math.ceil(millis / 60000) })),
    button(TEXTS.maintenance.end, () => tell("/api/maintenance", { minutes: 0 })));
}

function cleaning(number, tell) {
  return el("div", { class: "task" }, el("p", {}, TEXTS.round.dirty({ number })),
    button(TEXTS.round.clean({ number }), () => tell("/api/cleaning", { compartment: number, needed: false })));
}

// A door that is tapped opens, or is one of the two whose orders are to be exchanged.
function choose(state, number, tell, draw) {
  if (!state.swap) return tell("/api/look", { compartment: number });
  if (!state.swap.includes(number)) state.swap.push(number);
  const [one, other] = state.swap;
  if (other !== undefined) {
    state.swap = null;
    tell("/api/swap", { one, other });
  }
  draw();
}

function swapQuestion({ number, swaps_with: other }, tell) {
  const answer = (swapped) => tell("/api/confirm-swap", { compartment: number, swapped });
  return el("div", { class: "task" }, el("p", {}, TEXTS.swap.ask_swapped({ one: number, two: other })),
    button(TEXTS.swap.yes, () => answer(true), { class: "primary" }), button(TEXTS.swap.no, () => answer(false)));
}

function doorRow({ number, door, allocated, orders, audit_required: doubtful, needs_cleaning: dirty, fault, in_service: serves }, choose) {
  const inside = orders.map((order) => order.split("/")[1]).join(", ") || TEXTS.round.held;
  const facts = [allocated ? inside : TEXTS.round.free, doubtful && TEXTS.round.doubtful, dirty && TEXTS.round.needsCleaning,
    fault && TEXTS.round.fault, serves === false && TEXTS.round.outOfService, TEXTS.round.door[door]].filter(Boolean).join(" · ");
  const name = TEXTS.door({ number });
  return button(el("b", {}, name), () => choose(number), { class: "order", "aria-label": `${name}, ${facts}`, "data-facts": facts });
}

function question(number, tell) {
  const answer = (inside) => tell("/api/confirm", { compartment: number, inside });
  return el("div", { class: "task" }, el("p", {}, TEXTS.staff.asks({ number })),
    button(TEXTS.job.yes, () => answer(true), { class: "primary" }), button(TEXTS.job.no, () => answer(false)));
}

function audit({ number, allocated }, tell) {
  const ask = allocated ? TEXTS.staff.auditHeld({ number }) : TEXTS.staff.audit({ number });
  const yes = allocated ? TEXTS.staff.auditHeldYes({ number }) : TEXTS.staff.auditYes({ number });
  return el("div", { class: "task" }, el("p", {}, ask),
    button(yes, () => tell("/api/confirm", { compartment: number, inside: allocated })));
}

// Somebody stands there with the right code of restricted goods.
function releaseRow({ order, compartment: number }, tell) {
  const reference = order.split("/")[1];
  return el("div", { class: "task" }, el("p", {}, TEXTS.release.ask({ order: reference, number })),
    button(TEXTS.release.yes({ order: reference }), () => tell("/api/release", { order }), { class: "primary" }));
}

// Taken out by staff: overdue, or wanted back.
function unwantedRow({ order, compartment, why, part }, tell) {
  const [integration, reference] = order.split("/");
  const facts = [TEXTS.unwanted[why] ?? why, part && TEXTS.staff.part(part), TEXTS.staff.inside({ number: compartment }), integration].filter(Boolean).join(" · ");
  return button(el("b", {}, TEXTS.unwanted.take({ order: reference })), () => tell("/api/retrieve", { order }), { class: "order unwanted", "aria-label": `${TEXTS.unwanted.take({ order: reference })}, ${facts}`, "data-facts": facts });
}

function giveUp({ order }, tell) {
  const [, reference] = order.split("/");
  return button(TEXTS.walkIn.giveUp({ order: reference }), () => tell("/api/drop-walk-in", { order }));
}

function orderRow({ order, size, category, compartment, loading, missing, deposit, part }, tell) {
  const [integration, reference] = order.split("/");
  const facts = [part && TEXTS.staff.part(part), TEXTS.staff.size({ size }), TEXTS.staff.category[category] ?? category, compartment && TEXTS.staff.inside({ number: compartment }),
    loading && TEXTS.staff.begun, missing && TEXTS.staff.missing, TEXTS.staff.deposit[deposit], integration].filter(Boolean).join(" · ");
  return button(el("b", {}, reference), () => tell("/api/load", { order, larger: false }), { class: "order", "aria-label": `${reference}, ${facts}`, "data-facts": facts });
}

const ENDS = {
  stored: (state) => ({ class: "open", title: TEXTS.job.stored, why: state.view?.online ? TEXTS.job.sent : TEXTS.job.queued }),
  retrieved: () => ({ class: "open", title: TEXTS.job.retrieved, why: "" }),
  aborted: () => ({ class: "help", title: TEXTS.job.aborted, why: TEXTS.job.abortedWhy }),
  occupied: () => ({ class: "help", title: TEXTS.round.occupied, why: TEXTS.round.occupiedWhy }),
  found: ({ job, view }) => ({ class: "open", title: TEXTS.round.found, why: job.from ? TEXTS.round.foundFrom({ number: job.from }) : view?.online ? TEXTS.job.sent : TEXTS.job.queued }),
  missing: () => ({ class: "help", title: TEXTS.round.missing, why: TEXTS.round.missingWhy }),
  help: ({ job }) => ({ class: "help", title: TEXTS.job.help, why: job.kind === "load" ? TEXTS.job.helpWhy : TEXTS.job.helpReport }),
};

// Nothing is left to do at this door: the next label may be scanned.
export function isOver({ job }) {
  return !job || job.phase in ENDS;
}

// Somebody has looked behind a door, and its book may be wrong: a label corrects it.
export function asksForScan({ page, job }) {
  return page === "job" && job?.kind === "look" && (job.phase === "asking" || job.phase === "occupied");
}

export function jobPage(state, tell, show) {
  const { job } = state;
  const reference = job.order?.split("/")[1] ?? "";
  const back = job.kind === "look" ? "round" : "list";
  const list = (text, attributes) => button(text, () => { state.job = null; show(back); }, attributes);
  const end = ENDS[job.phase]?.(state);
  const refused = state.message && el("p", { class: "refusal", role: "alert" }, state.message());
  const scan = asksForScan(state) && el("p", {}, TEXTS.round.scan, state.typed && el("output", {}, ` ${state.typed}`));
  if (end) {
    return layout(end.class, reference, job.number, end.title, [el("p", {}, end.why), scan, refused,
      job.phase === "stored" && button(TEXTS.job.undo, () => tell("/api/undo", { order: job.order })), list(TEXTS[back].next, { class: "primary" })]);
  }
  const isHere = state.beside?.order === job.order && state.beside.compartment === job.number;
  const others = isHere ? state.beside.others.map((other) => other.split("/")[1]) : [];
  const beside = others.length > 0 && el("p", {}, TEXTS.job.beside({ orders: others }));
  if (job.phase === "asking") {
    const answer = (inside) => tell("/api/confirm", { compartment: job.number, inside });
    return layout("push", reference, job.number, reference ? TEXTS.job.ask({ order: reference }) : TEXTS.staff.asks(job), [
      job.empty && el("p", {}, TEXTS.job.askEmpty), beside, scan, refused,
      button(TEXTS.job.yes, () => answer(true), { class: "primary" }), button(TEXTS.job.no, () => answer(false))]);
  }
  if (job.phase === "push" || job.phase === "silent") {
    const how = job.phase === "push" ? TEXTS.doors.pushHow(job) : TEXTS.doors.silentHow(job);
    const again = () => { job.phase = "opening"; tell("/api/again", { compartment: job.number }); };
    return layout("push", reference, job.number, TEXTS.doors[job.phase], [
      el("p", {}, how), refused,
      button(TEXTS.doors.again(job), again, { class: "primary" }), list(TEXTS[back].back)]);
  }
  const dirty = () => tell("/api/cleaning", { compartment: job.number, needed: true });
  const seen = state.view?.staff?.compartments.find((one) => one.number === job.number);
  const withdraw = () => tell("/api/service", { compartment: job.number, in_service: false });
  const larger = () => tell("/api/load", { order: job.order, larger: true });
  const what = job.phase === "open" ? TEXTS.job.open[job.kind] : TEXTS.job[job.phase];
  const above = job.kind === "look" && !reference ? TEXTS.job.lookInto : TEXTS.job[job.kind]({ order: reference });
  return layout(job.phase, above, job.number, "", [
    el("p", {}, what), beside, refused,
    job.kind === "load" && job.phase !== "opening" && button(TEXTS.job.larger, larger),
    job.kind !== "load" && job.phase === "open" && !seen?.needs_cleaning && button(TEXTS.round.markDirty, dirty),
    job.kind === "look" && job.phase === "open" && seen?.in_service && button(TEXTS.round.withdraw, withdraw), list(TEXTS[back].back)]);
}

function layout(look, above, number, below, next) {
  return el("section", { class: "doors" },
    el("div", { class: "tiles" }, el("div", { class: `tile ${look}` },
      el("h1", {}, el("span", {}, above), el("b", { "aria-label": TEXTS.door({ number }) }, String(number)), below && el("span", {}, below)))),
    el("div", { class: "next" }, ...next));
}
