// The calls to the agent. The key goes out in a header only. That of this start comes in the fragment of the address; a
// screen that is a computer of its own was given one that it keeps.

const KEY_NAME = "screen-key";
// Only the cable to such a screen has TLS.
const isElsewhere = location.protocol === "https:";
export const WITHOUT_KEY = isElsewhere ? "unpaired" : "noKey";
const RETRY_MILLIS = 2000;
const CALL_MILLIS = 20000;
const POLL_MILLIS = 40000;
const SHUT_OUT_MILLIS = 30000;

let key = "";
let session = null;
let poll = new AbortController();

// True if there is a key. A reload keeps it; the address bar does not.
export function takeKey() {
  if (isElsewhere) {
    try {
      key = localStorage.getItem(KEY_NAME) ?? "";
    } catch {
      // A browser that keeps nothing cannot be paired; it says so when somebody tries.
    }
    return key !== "";
  }
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) sessionStorage.setItem(KEY_NAME, given);
  history.replaceState(null, "", "/");
  key = sessionStorage.getItem(KEY_NAME) ?? "";
  return key !== "";
}

// Whether the code was the right one; null if nobody said so.
export async function pair(code) {
  try {
    // A code works once: whoever cannot keep the key must not use it up.
    localStorage.setItem("probe", "");
    localStorage.removeItem("probe");
    const { status, body } = await send("/pair", { code });
    if (status !== 200) return status === 403 ? false : null;
    localStorage.setItem(KEY_NAME, body.key);
    return true;
  } catch {
    return null;
  }
}

// The poll under way asks for somebody else: it ends, and the next one begins where it began.
export function setSession(value) {
  session = value;
  poll.abort();
}

// What has happened is told at once, even if the poll under way hangs.
export function askAnew() {
  poll.abort();
}

function headers(extra) {
  const all = { "x-screen-key": key, ...extra };
  if (session) all["x-staff-session"] = session;
  return all;
}

async function request(path, options, millis, signals = []) {
  const signal = AbortSignal.any([AbortSignal.timeout(millis), ...signals]);
  const response = await fetch(path, { ...options, cache: "no-store", signal });
  const text = await response.text();
  return { status: response.status, body: text ? JSON.parse(text) : {} };
}

export function read(path, millis = CALL_MILLIS, signals = []) {
  return request(path, { headers: headers() }, millis, signals);
}

export function send(path, body) {
  const options = { method: "POST", headers: headers({ "content-type": "application/json" }), body: JSON.stringify(body) };
  return request(path, options, CALL_MILLIS);
}

// Asks for notes for ever. `on.notes` gets each batch, `on.state` whether the agent answers.
export async function follow(on) {
  let next = null;
  for (;;) {
    poll = new AbortController();
    const { signal } = poll;
    try {
      const path = next === null ? "/api/notes" : `/api/notes?after=${next}`;
      const { status, body } = await read(path, POLL_MILLIS, [signal]);
      if (signal.aborted) continue;
      if (status === 403) {
        on.state(WITHOUT_KEY);
        if (!isElsewhere) return;
        // The key is kept: what shut it out may be mended at the cabinet.
        await new Promise((resolve) => setTimeout(resolve, SHUT_OUT_MILLIS));
        continue;
      }
      if (status === 200) {
        next = body.next;
        on.state("connected");
        if (body.notes.length > 0) on.notes(body.notes);
        continue;
      }
      if (status === 401) on.loggedOut();
      if (status === 503) on.state(body.error === "out_of_order" ? "outOfOrder" : "lost");
    } catch {
      if (signal.aborted) continue;
      on.state("lost");
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MILLIS));
  }
}
