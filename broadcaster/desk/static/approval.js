// The decision, on a bad line: kept with its key until the desk has answered, sent again until then.
// The key makes it one decision however often it arrives. Without this script the form just posts.

import { moved, parse, say, swap } from "./live.js";
import { prove } from "./passkey.js";

const PATIENCE_MS = 15_000;
const LONGEST_PAUSE_MS = 15_000;
const AWAY = "Not sent: the line or the desk is away. It is kept here, and sent again by itself.";
const UNPROVEN =
  "Your passkey was not used, so nothing was decided. Press the button again to try once more.";
const RECEIPT = "The desk has decided about this. Asking for the receipt…";

const id = /** @type {HTMLElement} */ (document.getElementById("request")).dataset.request;
const key = `decision:${id}`;
let tries = 0;
let again = 0;
let busy = false;

/** @returns {{fields: string[][], digest: string} | null} */
const kept = () => JSON.parse(localStorage.getItem(key) ?? "null");

/** @param {string} words @param {boolean} [stoppable] */
function tell(words, stoppable = false) {
  const notice = document.getElementById("sending");
  if (!notice) return;
  notice.hidden = false;
  notice.replaceChildren(words);
  if (!stoppable) return;
  const stop = document.createElement("button");
  stop.type = "button";
  stop.textContent = "Stop trying";
  stop.addEventListener("click", giveUp);
  notice.append(" ", stop);
}

function giveUp() {
  clearTimeout(again);
  localStorage.removeItem(key);
  location.reload();
}

async function send() {
  const decision = kept();
  if (!decision || busy) return;
  busy = true;
  const asked = document.getElementById("state");
  clearTimeout(again);
  form()?.classList.add("sent");
  tell(form() ? (tries ? "Not sent yet. Sending again…" : "Sending…") : RECEIPT);
  try {
    const answer = await fetch(location.pathname, {
      method: "POST",
      body: new URLSearchParams(decision.fields),
      headers: { Accept: "text/html", "X-Broadcaster": "1" }, // answered without a redirect
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (answer.status >= 500) throw new Error("the desk cannot take it now");
    const page = parse(await answer.text());
    if (!page.getElementById("request")) return location.assign(answer.url);
    localStorage.removeItem(key);
    if (new URL(answer.url).pathname !== location.pathname) return location.assign(answer.url);
    const newer = asked !== document.getElementById("state"); // fetched while it was on its way
    show(page);
    if (newer) moved(["all"]);
  } catch {
    const pause = Math.min(1000 * 2 ** tries++, LONGEST_PAUSE_MS);
    if (form()) tell(AWAY, true);
    again = setTimeout(send, pause);
  } finally {
    busy = false;
  }
}

/** @param {Document} page */
function show(page) {
  const old = document.getElementById("request");
  const fresh = page.getElementById("request");
  if (!old || !fresh) return;
  swap(old, document.adoptNode(fresh));
  document.title = page.title;
  const first = document.getElementById("refused") ?? document.getElementById("state");
  scrollTo({ top: 0 });
  first?.focus({ preventScroll: true });
  say((first?.querySelector("[data-say]") ?? first)?.textContent?.trim() ?? "");
}

const form = () => /** @type {HTMLFormElement | null} */ (document.getElementById("decide"));

/** @param {SubmitEvent} event */
async function decide(event) {
  const target = /** @type {HTMLFormElement} */ (event.target);
  const pressed = event.submitter;
  if (target.id !== "decide" || !(pressed instanceof HTMLButtonElement)) return;
  event.preventDefault();
  const note = target.querySelector("#n-returned");
  if (pressed.value === "returned" && note instanceof HTMLTextAreaElement && !note.value.trim()) {
    note.setAttribute("aria-invalid", "true");
    note.focus();
    return say("Write what should change.");
  }
  const data = new FormData(target, pressed);
  const fields = [...data].map(([name, value]) => [name, String(value)]);
  if (target.dataset.asks) {
    const asks = JSON.parse(target.dataset.asks);
    try {
      fields.push(["proof", JSON.stringify(await prove(asks[pressed.value]))]);
    } catch {
      tell(UNPROVEN);
      return say(UNPROVEN);
    }
  }
  localStorage.setItem(key, JSON.stringify({ fields, digest: data.get("digest") }));
  tries = 0;
  void send();
}

document.addEventListener("submit", decide);
document.addEventListener("shown", () => {
  if (!form()) void send(); // decided, and the answer may have been lost: the key finds it
});
addEventListener("online", send);
document.addEventListener("visibilitychange", send);

// A decision that was on its way when the page was reloaded goes on, if the words are the same.
const digest = form()?.querySelector("[name=digest]")?.getAttribute("value");
if (kept() && kept()?.digest === digest) void send();
else localStorage.removeItem(key);
