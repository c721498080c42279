// What people choose for themselves before anything else: another language, and larger type.

import { button } from "/parts.js";
import { LANGUAGES, TEXTS, nameOf, speak } from "/texts.js";

// Where somebody begins, or is asked something. Staff and couriers have chosen when they log in.
const PAGES = ["keypad", "pin", "courierPin", "answer", "release"];

let drawn = "";

// As the next person is greeted.
export function blank() {
  return { language: LANGUAGES[0], large: false };
}

export function isChosen({ language, large }) {
  return language !== LANGUAGES[0] || large;
}

// The row stays as it is while nothing of it changes: buttons keep the focus of a keyboard.
export function applySpeech(state, draw) {
  const { language, large } = state;
  speak(language);
  document.documentElement.classList.toggle("large", large);
  const row = document.getElementById("speech");
  row.hidden = !PAGES.includes(state.page);
  if (drawn === `${language} ${large}`) return;
  drawn = `${language} ${large}`;
  const choose = (changed) => { Object.assign(state, changed); draw(); };
  row.setAttribute("aria-label", TEXTS.speech.choose);
  row.replaceChildren(
    ...LANGUAGES.filter((name) => name !== language).map((name) => button(nameOf(name), () => choose({ language: name }), { lang: name })),
    button("A+", () => choose({ large: !large }),
      { class: "type", "aria-label": `A+ ${TEXTS.speech.large}`, "aria-pressed": String(large) }));
}
