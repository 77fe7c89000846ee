// The composer, live: what each channel would post as one types, and nothing typed is ever lost.

import { say } from "./live.js";

const form = /** @type {HTMLFormElement | null} */ (document.getElementById("composer"));

/** @param {string} name */
const field = (name) =>
  /** @type {HTMLInputElement} */ (form?.elements.namedItem(name));

const PHRASES = ["source", "hazard", "place", "guidance", "time"];

/** What the desk is asked to render: the same words that the form would send. */
function typed() {
  const words = Object.fromEntries(
    PHRASES.map((name) => [
      name,
      {
        text: field(name).value.trim(),
        origin: origin(name),
        verified: field(`verified_${name}`).checked,
      },
    ]),
  );
  const own_texts = Object.fromEntries(
    [...(form?.querySelectorAll("textarea[name^=text_]") ?? [])]
      .map((area) => /** @type {HTMLTextAreaElement} */ (area))
      .filter((area) => area.value.trim())
      .map((area) => [area.name.slice(5), area.value]),
  );
  const alt = field("picture").value ? field("alt").value : "";
  return { words, text: byHand() ? field("text").value : "", own_texts, alt };
}

/** @param {string} name */
function origin(name) {
  const untouched = field(name).value.trim() === field(`was_${name}`).value;
  return untouched ? field(`origin_${name}`).value : "typed";
}

/** Whether somebody wrote the text by hand, so that the phrases no longer make it. */
const byHand = () => {
  const text = field("text").value.trim();
  return text !== "" && text !== field("composed").value.trim();
};

// --- The preview -----------------------------------------------------------------------------

let asked = 0;

async function preview() {
  const mine = ++asked;
  const hand = byHand();
  const answer = await fetch("/api/v1/preview", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Broadcaster": "1" },
    body: JSON.stringify(typed()),
  }).catch(() => null);
  if (!answer?.ok || mine !== asked) return;
  const shown = await answer.json();
  if (!hand && !byHand()) field("text").value = field("composed").value = shown.text;
  for (const channel of shown.channels) showChannel(channel);
  showMissing(shown.faults);
  showChecks(shown.checks);
}

/** @param {any} channel */
function showChannel(channel) {
  const box = form?.querySelector(`[data-channel="${CSS.escape(channel.channel)}"]`);
  if (!box) return;
  const put = (/** @type {string} */ part, /** @type {string} */ text) => {
    const element = box.querySelector(`[data-${part}]`);
    if (element) element.textContent = text;
  };
  put("length", channel.counted);
  put("headline", channel.headline);
  showParts(/** @type {HTMLElement | null} */ (box.querySelector("[data-text]")), channel.parts);
  put("notes", channel.notes.join(" "));
  box.querySelector("[data-notes]")?.toggleAttribute("hidden", !channel.notes.length);
  put("fault", channel.fault ? `${channel.fault.why} ${channel.fault.do}` : "");
  box.querySelector("[data-fault]")?.toggleAttribute("hidden", !channel.fault);
}

/**
 * The words in passages, as that platform reads them; joined, they are what is posted.
 * @param {HTMLElement | null} words
 * @param {{text: string, mark: string | null, folded: boolean}[]} parts
 */
function showParts(words, parts) {
  let folded = false;
  words?.replaceChildren(
    ...parts.map((part) => {
      if (!part.mark && !part.folded) return part.text;
      const passage = document.createElement("span");
      passage.className = `${part.mark ?? ""}${part.folded ? " folded" : ""}`;
      passage.textContent = part.text;
      if (part.folded && !folded) passage.dataset.more = words.dataset.more;
      folded = part.folded;
      return passage;
    }),
  );
}

/**
 * A channel that is off is written to only where what is put right may be read.
 * @param {boolean} begins  whether the ticks are as they were left, which they then stay
 */
function showOff(begins = false) {
  const kind = form?.querySelector("[name=kind]:checked");
  const mends = /correction|retraction/.test(/** @type {HTMLInputElement} */ (kind)?.value);
  const about = mends ? /** @type {any} */ (form?.elements.namedItem("corrects"))?.value : "";
  for (const box of /** @type {NodeListOf<HTMLElement>} */ (form?.querySelectorAll("[data-there]"))) {
    const out = !about || !box.dataset.there?.split(" ").includes(about);
    const tick = /** @type {HTMLInputElement} */ (box.querySelector("[name=channels]"));
    if (box.hidden && !out && !begins) tick.checked = true;
    box.hidden = tick.disabled = out;
  }
}

/** @param {{why: string}[]} faults */
function showMissing(faults) {
  const missing = document.getElementById("missing");
  if (!missing) return;
  missing.textContent = faults.map((fault) => fault.why).join(" ");
  missing.hidden = !faults.length;
}

/** @param {any[]} checks */
function showChecks(checks) {
  for (const box of form?.querySelectorAll("[data-rule]") ?? []) {
    const check = checks.find((each) => each.rule === /** @type {HTMLElement} */ (box).dataset.rule);
    box.toggleAttribute("hidden", !check);
    if (!check) continue;
    const found = check.quotes.map((/** @type {any} */ each) =>
      each.quoted ? `“${each.quoted}” in ${each.where}` : each.where,
    );
    const at = check.quotes[0].places[0].field;
    /** @type {HTMLElement} */ (box.querySelector("[data-found]")).textContent = found.join("; ");
    /** @type {HTMLElement} */ (box.querySelector("[data-why]")).textContent = check.why;
    const typed = PHRASES.includes(at) || at === "alt" ? at : "text";
    box.querySelector("[data-show]")?.setAttribute("href", `#f-${typed}`);
  }
  const open = `${checks.length} ${checks.length === 1 ? "finding" : "findings"} open`;
  const words = checks.length ? open : "none open";
  const link = document.getElementById("checks-open");
  if (link) link.textContent = open;
  link?.toggleAttribute("hidden", !checks.length);
  const sum = document.getElementById("checks-sum");
  if (sum && sum.textContent?.trim() !== words) sum.textContent = words; // said once, not each key
}

function showOrigins() {
  for (const name of PHRASES) {
    const mark = field(name).closest(".phrase")?.querySelector(".origin");
    if (mark) mark.textContent = origin(name);
  }
  const by = document.getElementById("by");
  if (by)
    by.textContent = byHand()
      ? "Written by hand: the phrases above no longer change it. Empty it to compose it again."
      : "Composed from the phrases above. You may change it by hand.";
}

// --- What was typed is kept --------------------------------------------------------------------

const key = `composer:${form?.dataset.incident}`;

/** What is not kept: it is made anew, or is a file. */
const NOT_KEPT = /^(composed|seen_|act|file)/;

function keep() {
  if (!form) return;
  const fields = [...new FormData(form)].filter(([name]) => !NOT_KEPT.test(name));
  sessionStorage.setItem(key, JSON.stringify({ at: Date.now(), fields }));
}

/** Puts back what was typed before a reload or a sign-out; the facts stay as they are now. */
function putBack() {
  const kept = JSON.parse(sessionStorage.getItem(key) ?? "null");
  if (!form || !kept) return;
  const now = JSON.stringify([...new FormData(form)].filter(([name]) => !NOT_KEPT.test(name)));
  if (now === JSON.stringify(kept.fields)) return;
  const sent = new Set(kept.fields.map((/** @type {string[]} */ pair) => pair.join("\n")));
  for (const element of form.elements) {
    if (!(element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement || element instanceof HTMLSelectElement)) continue;
    if (!element.name || NOT_KEPT.test(element.name)) continue;
    if (element instanceof HTMLInputElement && /checkbox|radio/.test(element.type))
      element.checked = sent.has(`${element.name}\n${element.value}`);
    else {
      const pair = kept.fields.find((/** @type {string[]} */ each) => each[0] === element.name);
      if (pair) element.value = pair[1];
    }
  }
  showPicture();
  document.getElementById("later")?.setAttribute("open", "");
  tellKept(new Date(kept.at).toLocaleTimeString("en-GB"));
}

/** Shows the picture that the form names; its address tells what it is. */
function showPicture() {
  const digest = field("picture").value;
  const shown = /** @type {HTMLImageElement} */ (document.getElementById("shown-picture"));
  document.getElementById("pictured")?.toggleAttribute("hidden", !digest);
  if (digest && !shown.src.includes(digest))
    shown.src = `/incidents/${form?.dataset.incident}/pictures/${digest}.jpg`;
}

/** @param {string} at */
function tellKept(at) {
  const notice = document.getElementById("kept");
  if (!notice) return;
  const again = document.createElement("button");
  again.type = "button";
  again.textContent = "Begin afresh";
  again.addEventListener("click", () => {
    sessionStorage.removeItem(key);
    location.assign(location.pathname);
  });
  notice.replaceChildren(`This is what you typed until ${at}. `, again);
  notice.hidden = false;
}

// --- All of it ---------------------------------------------------------------------------------

if (new URLSearchParams(location.search).has("sent")) {
  sessionStorage.removeItem(key);
  history.replaceState(null, "", location.pathname + location.hash);
  say("Sent for approval.");
}

if (form) {
  if (location.pathname.endsWith("/picture")) history.replaceState(null, "", location.pathname.slice(0, -8));
  if (form.dataset.fresh !== undefined) putBack();
  else keep();
  for (const button of form.querySelectorAll(".first")) button.remove(); // the preview is live
  let pause = 0;
  form.addEventListener("input", () => {
    keep();
    showOrigins();
    showOff();
    clearTimeout(pause);
    pause = setTimeout(preview, 120);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      form.requestSubmit(/** @type {HTMLElement} */ (document.getElementById("send")));
    } else if (event.target instanceof HTMLInputElement) {
      event.preventDefault(); // Enter in a line sends nothing to a Commander
    }
  });
  form.addEventListener("submit", keep);
  showOrigins();
  showOff(true);
  void preview();
}

