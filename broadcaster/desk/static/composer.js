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
  return { words, text: byHand() ? field("text").value : "", own_texts };
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
  const unit = channel.length === 1 ? channel.unit.slice(0, -1) : channel.unit;
  const of = channel.limit === null ? "" : ` of ${channel.limit.toLocaleString("en")}`;
  put("length", `${channel.length.toLocaleString("en")} ${unit}${of}`);
  put("headline", channel.headline);
  put("text", channel.text);
  put("fault", channel.fault ? `${channel.fault.why} ${channel.fault.do}` : "");
  box.querySelector("[data-fault]")?.toggleAttribute("hidden", !channel.fault);
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
    box.querySelector("[data-show]")?.setAttribute("href", `#f-${PHRASES.includes(at) ? at : "text"}`);
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

function keep() {
  if (!form) return;
  const fields = [...new FormData(form)].filter(([name]) => !/^(composed|seen_|act)/.test(name));
  sessionStorage.setItem(key, JSON.stringify({ at: Date.now(), fields }));
}

/** Puts back what was typed before a reload or a sign-out; the facts stay as they are now. */
function putBack() {
  const kept = JSON.parse(sessionStorage.getItem(key) ?? "null");
  if (!form || !kept) return;
  const now = JSON.stringify([...new FormData(form)].filter(([name]) => !/^(composed|seen_|act)/.test(name)));
  if (now === JSON.stringify(kept.fields)) return;
  const sent = new Set(kept.fields.map((/** @type {string[]} */ pair) => pair.join("\n")));
  for (const element of form.elements) {
    if (!(element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement || element instanceof HTMLSelectElement)) continue;
    if (!element.name || /^(composed|seen_|act)/.test(element.name)) continue;
    if (element instanceof HTMLInputElement && /checkbox|radio/.test(element.type))
      element.checked = sent.has(`${element.name}\n${element.value}`);
    else {
      const pair = kept.fields.find((/** @type {string[]} */ each) => each[0] === element.name);
      if (pair) element.value = pair[1];
    }
  }
  document.getElementById("later")?.setAttribute("open", "");
  tellKept(new Date(kept.at).toLocaleTimeString("en-GB"));
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
  if (form.dataset.fresh !== undefined) putBack();
  form.querySelector(".first")?.remove(); // the preview is live
  let pause = 0;
  form.addEventListener("input", () => {
    keep();
    showOrigins();
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
  void preview();
}

