// Push: the browser says where it can be reached, and that goes into the form as it is.

import { say } from "./live.js";

// The one script address that may become a worker; the page's policy lets no other text run.
const policy = globalThis.trustedTypes?.createPolicy("worker", {
  createScriptURL: (address) => (address === "/sw.js" ? address : ""),
});

/** @param {string} key */
async function subscription(key) {
  const worker = /** @type {string} */ (/** @type {unknown} */ (policy?.createScriptURL("/sw.js") ?? "/sw.js"));
  await navigator.serviceWorker.register(worker);
  const { pushManager } = await navigator.serviceWorker.ready;
  const options = { userVisibleOnly: true, applicationServerKey: key };
  return JSON.stringify(await pushManager.subscribe(options));
}

/** @param {SubmitEvent} event */
async function first(event) {
  const form = /** @type {HTMLFormElement} */ (event.target);
  const key = form.dataset.push;
  const field = /** @type {HTMLInputElement} */ (form.elements.namedItem("address"));
  if (!key || field.value) return;
  event.preventDefault();
  const notice = /** @type {HTMLElement} */ (form.querySelector("[role=alert]"));
  try {
    field.value = await subscription(key);
    form.submit();
  } catch {
    notice.hidden = false;
    notice.textContent =
      "PushManager" in globalThis
        ? "This device was not added: notifications are not allowed here, or its push service did not answer. Allow them in the browser's settings, and try again."
        : "This browser knows no push. Use another one, or be called by SMS.";
    say(notice.textContent);
  }
}

document.addEventListener("submit", first);
