// Parts of pages. Texts go in as text nodes only.

import { TEXTS } from "/texts.js";

// Of compartments.
export const SIZES = ["S", "M", "L", "XL"];

// What a scanner delivers of a QR code or a badge: no label, and nothing to keep.
export const SCANNED_CODE = /^Q[A-Z2-7]{26}$/i;

export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") element.addEventListener("click", value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function button(text, on, attributes = {}) {
  return el("button", { type: "button", on, ...attributes }, text);
}

export function keypad(press, disabled, other) {
  const key = (name, label, text) =>
    button(text, () => press(name), { class: name.length > 1 ? "key word" : "key", "aria-label": label, disabled });
  const digits = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((digit) => key(String(digit), String(digit), String(digit)));
  return el("div", { class: other ? "keypad both" : "keypad", role: "group", "aria-label": TEXTS.keys.pad }, ...digits,
    key("clear", TEXTS.keys.clearName, TEXTS.keys.clear), key("0", "0", "0"), key("back", TEXTS.keys.backName, TEXTS.keys.back),
    other && button(TEXTS.keys.toLetters, other, { class: "key word other", disabled }));
}

// The letters that codes are made of.
export const LETTERS = "BCDFGHJKLMNPRSTVWXZ";

export function letterpad(press, disabled, other) {
  const key = (name, label, text) => button(text, () => press(name), { class: name.length > 1 ? `key word ${name}` : "key", "aria-label": label, disabled });
  return el("div", { class: "keypad letters", role: "group", "aria-label": TEXTS.keys.pad },
    ...[...LETTERS].map((letter) => key(letter, letter, letter)), key("back", TEXTS.keys.backName, TEXTS.keys.back),
    key("clear", TEXTS.keys.clearName, TEXTS.keys.clear), other && button(TEXTS.keys.toDigits, other, { class: "key word other", disabled }));
}

// All that an answer to a second factor is made of; a label has `signs` as well.
export function fullpad(press, disabled, signs = "") {
  const key = (name, label, text) => button(text, () => press(name), { class: name.length > 1 ? `key word ${name}` : "key", "aria-label": label, disabled });
  return el("div", { class: signs ? "keypad full signs" : "keypad full", role: "group", "aria-label": TEXTS.keys.pad },
    ...[...`1234567890ABCDEFGHIJKLMNOPQRSTUVWXYZ${signs}`].map((one) => key(one, one, one)), key("clear", TEXTS.keys.clearName, TEXTS.keys.clear),
    key("back", TEXTS.keys.backName, TEXTS.keys.back));
}

// What an app passes on to have a door opened: to be scanned or read.
export function appToken(app) {
  if (!app) return null;
  const svg = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  // Readers want four modules of white around it.
  const code = svg("svg", { viewBox: `-4 -4 ${app.side + 8} ${app.side + 8}`, role: "img", "aria-label": TEXTS.app.code });
  code.append(svg("path", { d: app.path }));
  return el("div", { class: "app" }, code, el("p", {}, TEXTS.app.how, el("b", {}, app.token)));
}

// Whom somebody calls who gets no further here.
export function hotline() {
  const { hotline: number } = document.documentElement.dataset;
  return number ? el("p", { class: "hotline" }, TEXTS.hotline({ number })) : null;
}

// A code in groups, of four as they stand in the message.
export function grouped(digits, size = 4) {
  return digits.replace(new RegExp(`(.{${size}})(?=.)`, "g"), "$1 ");
}

export function clock(millis) {
  const seconds = Math.ceil(millis / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
