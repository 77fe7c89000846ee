// A form that needs a passkey first: `data-make` or `data-prove` hold what is asked of it; where
// `data-ask` names an address, that is fetched anew each time. The answer goes into its last field;
// where a new device is asked about and the present one first, that one's goes into `proof`.

import { say } from "./live.js";
import { make, possible, prove } from "./passkey.js";

/** @param {SubmitEvent} event */
async function first(event) {
  const form = /** @type {HTMLFormElement} */ (event.target);
  const field = /** @type {HTMLInputElement | null} */ (form.querySelector("[name=passkey]"));
  if (!field || field.value) return;
  event.preventDefault();
  const notice = /** @type {HTMLElement} */ (form.querySelector("[role=alert]"));
  try {
    const asked = form.dataset.ask
      ? await (await fetch(form.dataset.ask, { method: "POST" })).json()
      : JSON.parse(form.dataset.make ?? form.dataset.prove ?? "");
    const proof = /** @type {HTMLInputElement | null} */ (form.querySelector("[name=proof]"));
    if (proof && asked.prove) proof.value = JSON.stringify(await prove(asked.prove));
    field.value = JSON.stringify(
      await ("make" in form.dataset ? make(asked.make ?? asked) : prove(asked)),
    );
    form.submit();
  } catch {
    notice.hidden = false;
    notice.textContent = possible()
      ? "No passkey was used, and nothing has happened. Try again, or use another device."
      : "This browser knows no passkeys. Use another one, or another device.";
    say(notice.textContent);
  }
}

document.addEventListener("submit", first);
