// Every word that people read, in each language of this screen: texts/en.json and its neighbours, which hold no code.
// TEXTS has their shape, in the language of now. What has no gaps is a string. What has some, or is said of a number of
// things, is a function of them by name: TEXTS.door({ number: 7 }), TEXTS.doors.leftOpen({ count: 2, numbers: [3, 7] }).

export let TEXTS;

// The agent writes its `screen.languages` into the page; the first is for whoever has chosen none.
export const LANGUAGES = document.documentElement.dataset.languages.split(" ");

// A switch must not wait for anything, so that all are here before the first page is drawn.
const spoken = new Map(await Promise.all(LANGUAGES.map(async (name) => [name, await load(name)])));
speak();

// From here on TEXTS is in this language; without one, or with one that this screen has not, in the first.
export function speak(name) {
  const chosen = spoken.has(name) ? name : LANGUAGES[0];
  TEXTS = spoken.get(chosen);
  document.documentElement.lang = chosen;
}

// What a language calls itself.
export function nameOf(name) {
  return spoken.get(name).speech.name;
}

async function load(name) {
  const answer = await fetch(`/texts/${name}.json`);
  const plurals = new Intl.PluralRules(name);
  const lists = new Intl.ListFormat(name);
  return formed(await answer.json());

  // The forms of a plural stand by the names that Intl.PluralRules gives them, and "other" is always one of them.
  function formed(text) {
    if (typeof text === "string") return text.includes("{") ? (values) => filled(text, values) : text;
    if (text.other) return (values) => filled(text[plurals.select(values.count)] ?? text.other, values);
    return Object.fromEntries(Object.entries(text).map(([key, inner]) => [key, formed(inner)]));
  }

  // Several things in one gap are listed as the language does it: 3, 7 and 9.
  function filled(text, values) {
    return text.replace(/{(\w+)}/g, (_, gap) => (Array.isArray(values[gap]) ? lists.format(values[gap].map(String)) : String(values[gap])));
  }
}
