// The calls to the agent. The key of this start comes in the fragment of the address and goes out in a header only.

const KEY_NAME = "screen-key";
const RETRY_MILLIS = 2000;
const CALL_MILLIS = 20000;
const POLL_MILLIS = 40000;

let key = "";
let session = null;

// True if there is a key. A reload keeps it; the address bar does not.
export function takeKey() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) sessionStorage.setItem(KEY_NAME, given);
  history.replaceState(null, "", "/");
  key = sessionStorage.getItem(KEY_NAME) ?? "";
  return key !== "";
}

export function setSession(value) {
  session = value;
}

function headers(extra) {
  const all = { "x-screen-key": key, ...extra };
  if (session) all["x-staff-session"] = session;
  return all;
}

async function request(path, options, millis) {
  const response = await fetch(path, { ...options, cache: "no-store", signal: AbortSignal.timeout(millis) });
  const text = await response.text();
  return { status: response.status, body: text ? JSON.parse(text) : {} };
}

export function read(path, millis = CALL_MILLIS) {
  return request(path, { headers: headers() }, millis);
}

export function send(path, body) {
  const options = { method: "POST", headers: headers({ "content-type": "application/json" }), body: JSON.stringify(body) };
  return request(path, options, CALL_MILLIS);
}

// Asks for notes for ever. `on.notes` gets each batch, `on.state` whether the agent answers.
export async function follow(on) {
  let next = null;
  for (;;) {
    try {
      const path = next === null ? "/api/notes" : `/api/notes?after=${next}`;
      const asked = session;
      const { status, body } = await read(path, POLL_MILLIS);
      if (status === 403) {
        on.state("noKey");
        return;
      }
      if (status === 200) {
        const first = next === null;
        next = body.next;
        on.state("connected");
        // Notes for a session that was left meanwhile concern nobody.
        if (body.notes.length > 0 || first) on.notes(body.notes.filter((note) => asked === session || isPublic(note)));
        continue;
      }
      // The agent does not know the session, or is not able to answer: begin again from what there is.
      if (status === 401) on.loggedOut();
    } catch {
      on.state("lost");
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MILLIS));
  }
}

function isPublic(note) {
  return ["opened", "closed", "push_door", "call_staff", "beep"].includes(note.note);
}
