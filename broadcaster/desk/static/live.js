// What moves on a page moves here: times tick, and pieces that changed are fetched again.
// Without this script every page works all the same; it then shows what was so when it was loaded.

const policy = globalThis.trustedTypes?.createPolicy("broadcaster", { createHTML: (html) => html });

/** @param {string} html @returns {Document} */
export function parse(html) {
  return new DOMParser().parseFromString(
    /** @type {string} */ (policy ? policy.createHTML(html) : html),
    "text/html",
  );
}

/** Says something once to whoever listens instead of looking. @param {string} words */
export function say(words) {
  const said = document.getElementById("said");
  if (said && said.textContent !== words) said.textContent = words;
}

// --- Times ---------------------------------------------------------------------------------

/** As broadcaster.clock.age does. @param {number} seconds */
function age(seconds) {
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

/** @param {number} seconds */
function left(seconds) {
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** @param {number} number */
const two = (number) => String(number).padStart(2, "0");

const AGO = /(just now|\d+ (?:s|min|h|days) ago)$/;

function tick() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const past = Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000);
    const text = time.textContent ?? "";
    let now = text;
    if ("until" in time.dataset) now = left(Math.max(0, -past));
    else if ("count" in time.dataset) now = `${two(Math.floor(past / 60))}:${two(past % 60)}`;
    else if (AGO.test(text)) now = text.replace(AGO, age(Math.max(0, past)));
    if (now !== text) time.textContent = now;
  }
}

// --- Pieces --------------------------------------------------------------------------------

/** @type {Set<string>} */
const due = new Set();
let pressed = /** @type {Element | null} */ (null);

/** Whether swapping an element would take something out of somebody's hands. @param {Element} piece */
function busy(piece) {
  const active = document.activeElement;
  const typing = active?.matches("input, textarea, select") && piece.contains(active);
  return typing || (pressed && piece.contains(pressed)) || piece.querySelector("details[open] form");
}

const TYPED = "textarea[id], input[id]:not([type=checkbox], [type=radio], [type=file])";

/** Takes over what somebody typed and has not sent. @param {Element} old @param {Element} fresh */
function keepTyped(old, fresh) {
  for (const field of old.querySelectorAll(TYPED)) {
    const { id, value, defaultValue } = /** @type {HTMLTextAreaElement} */ (field);
    const twin = fresh.querySelector(`#${CSS.escape(id)}`);
    if (value !== defaultValue && twin) /** @type {HTMLTextAreaElement} */ (twin).value = value;
  }
}

/** @param {Element} old @param {Element} fresh */
export function swap(old, fresh) {
  keepTyped(old, fresh);
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const address = focused?.getAttribute("href");
  for (const details of old.querySelectorAll("details[open][id]"))
    fresh.querySelector(`#${CSS.escape(details.id)}`)?.setAttribute("open", "");
  const alert = old.querySelector("#not-stopped");
  if (alert) fresh.querySelector('form[action$="/stop"]')?.append(alert);
  const before = old.querySelector("[data-say]")?.textContent;
  old.replaceWith(fresh);
  if (focused) {
    const again = focused.id
      ? document.getElementById(focused.id)
      : address && fresh.querySelector(`[href="${CSS.escape(address)}"]`);
    /** @type {HTMLElement | null} */ (again || fresh.closest("main"))?.focus({ preventScroll: true });
  }
  const after = fresh.querySelector("[data-say]")?.textContent;
  if (after && after !== before) say(after.trim());
}

/** The newest state of this page's pieces. @param {Document} page @param {Iterable<string>} ids */
function show(page, ids) {
  for (const id of ids) {
    const old = document.getElementById(id);
    const fresh = page.getElementById(id);
    if (!old || !fresh || old.isEqualNode(fresh)) continue;
    if (busy(old)) due.add(id); // taken in hand while its newest state was on the way
    else swap(old, document.adoptNode(fresh));
  }
  tick();
  document.dispatchEvent(new Event("shown"));
}

/** What a script fetches by itself keeps nobody signed in. */
const UNUSED = { "X-Refresh": "1" };
let fetching = false;
/** What moved while the page was fetched: its new pieces may show it, where the old did not. @type {Set<string>} */
const meanwhile = new Set();

async function refresh() {
  if (fetching) return;
  const ready = [...due].filter((id) => {
    const piece = document.getElementById(id);
    return piece && !busy(piece);
  });
  if (!ready.length) return;
  fetching = true;
  meanwhile.clear();
  ready.forEach((id) => due.delete(id));
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html", ...UNUSED } });
    if (answer.redirected && new URL(answer.url).pathname === "/sign-in")
      return signedOut(answer.url);
    if (answer.ok) {
      show(parse(await answer.text()), ready);
      mark(meanwhile);
    } else ready.forEach((id) => due.add(id));
  } catch {
    ready.forEach((id) => due.add(id));
  } finally {
    fetching = false;
    if (due.size) setTimeout(refresh, 1000);
  }
}

/** Has the pieces that show any of these fetched again. @param {Set<string>} changes */
function mark(changes) {
  for (const piece of document.querySelectorAll("[data-live][id]")) {
    const names = /** @type {HTMLElement} */ (piece).dataset.live?.split(" ") ?? [];
    if (changes.has("all") || names.some((name) => changes.has(name))) due.add(piece.id);
  }
}

/** Fetches again the pieces that show any of these. @param {string[]} changes */
export function moved(changes) {
  changes.forEach((change) => meanwhile.add(change));
  mark(new Set(changes));
  void refresh();
}

// --- Whether we hear anything ----------------------------------------------------------------

const SILENT_MS = 20_000;
const AGAIN_MS = 5_000;
let heard = Date.now();
let gone = false;

/** @param {string} words */
function away(words) {
  const notice = document.getElementById("not-live");
  if (!notice || (!notice.hidden && notice.textContent === words)) return;
  notice.textContent = words;
  notice.hidden = false;
}

/** @param {string} address */
function signedOut(address) {
  gone = true;
  away("You are signed out. What you typed is kept in this tab. ");
  const link = document.createElement("a");
  link.href = address;
  link.textContent = "Sign in, and go on here";
  document.getElementById("not-live")?.append(link);
}

function hear() {
  heard = Date.now();
  if (gone) return;
  const notice = document.getElementById("not-live");
  if (notice) notice.hidden = true;
}

function listen() {
  const { since, only } = document.documentElement.dataset;
  const stream = new EventSource(`/events?since=${since ?? ""}&only=${only ?? ""}`);
  stream.addEventListener("open", hear);
  stream.addEventListener("here", hear);
  stream.addEventListener("changed", (event) => {
    hear();
    moved(JSON.parse(event.data));
  });
  stream.addEventListener("error", () => {
    if (stream.readyState !== EventSource.CLOSED) return; // it connects again by itself
    setTimeout(() => gone || listen(), AGAIN_MS);
    moved(["all"]); // and if we were signed out, this finds it
  });
}

function watch() {
  if (gone || Date.now() - heard < SILENT_MS) return;
  const since = new Date(heard).toLocaleTimeString("en-GB");
  away(
    `Not live since ${since}. What you see may be old: reload before you rely on it. ` +
      "What you send still goes to the desk, and the answer says whether it arrived.",
  );
}

if (document.querySelector("[data-live]")) {
  listen();
  setInterval(watch, 1000);
}
setInterval(tick, 1000);
addEventListener("pointerdown", (event) => (pressed = /** @type {Element} */ (event.target)));
for (const name of ["pointerup", "pointercancel"])
  addEventListener(name, () => {
    pressed = null;
    setTimeout(refresh, 300);
  });
addEventListener("focusout", () => setTimeout(refresh, 300));
addEventListener("pageshow", tick);

// A page that said no begins where it says so.
document.getElementById("refused")?.focus();

// --- Stop: it must arrive, and whoever pressed it must know when it has not ------------------

const NOT_RECEIVED =
  "Stop not received. It is sent again by itself: keep this page open, and telephone the PIO and the Watch Commander now.";
const TELEPHONE = " Or telephone the PIO and the Watch Commander now.";
/** Answers in the 400s that say nothing about the stop: it is sent again. */
const NOT_NOW = [408, 425, 429];

/** @param {SubmitEvent} event */
async function stop(event) {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (!form.action.endsWith("/stop")) return;
  event.preventDefault();
  const button = /** @type {HTMLButtonElement} */ (event.submitter);
  button.disabled = true;
  for (;;) {
    try {
      const answer = await fetch(form.action, {
        method: "POST",
        body: new URLSearchParams([...new FormData(form)].map(([name, value]) => [name, `${value}`])),
        headers: { Accept: "text/html" },
        signal: AbortSignal.timeout(5_000),
      });
      if (answer.ok && answer.redirected)
        return answer.url === location.href ? location.reload() : location.assign(answer.url);
      if (answer.status >= 400 && answer.status < 500 && !NOT_NOW.includes(answer.status)) {
        const why = answer.status === 401 ? signIn(form) : [refusalOf(await answer.text())];
        button.disabled = false;
        return notStopped(form, "NOT STOPPED", ...why, TELEPHONE);
      }
    } catch {
      // cut off: told below, and tried again
    }
    notStopped(form, NOT_RECEIVED);
    await new Promise((then) => setTimeout(then, 1_000));
  }
}

/** @param {HTMLFormElement} form @returns {(string | Node)[]} */
function signIn(form) {
  const link = document.createElement("a");
  const back = `${new URL(form.action).pathname.replace(/\/stop$/, "")}#stop`;
  link.href = `/sign-in?next=${encodeURIComponent(back)}`;
  link.textContent = "Sign in, and stop it there.";
  return [": you are signed out. ", link];
}

/** What a page of refusal says. @param {string} text */
function refusalOf(text) {
  const page = parse(text);
  const said = page.querySelector("#refused") ?? page.getElementById("main");
  const words = [...(said?.querySelectorAll("p, h1") ?? [])].slice(0, 2);
  return `. ${words.map((each) => each.textContent?.trim()).join(" ")}`;
}

/** @param {HTMLFormElement} form @param {(string | Node)[]} words */
function notStopped(form, ...words) {
  let notice = document.getElementById("not-stopped");
  if (!notice) {
    notice = document.createElement("p");
    notice.id = "not-stopped";
    notice.className = "notice error";
    notice.setAttribute("role", "alert");
    const there = form.isConnected ? form : document.querySelector('form[action$="/stop"]');
    there?.append(notice);
  }
  const said = document.createDocumentFragment();
  said.append(...words);
  if (said.textContent !== notice.textContent) notice.replaceChildren(said);
}

document.addEventListener("submit", stop);
