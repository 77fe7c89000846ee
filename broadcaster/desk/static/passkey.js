// Passkeys: what the desk asks, handed to the browser, and the browser's answer as JSON.
// By hand and not by parseCreationOptionsFromJSON, which phones of a few years ago do not have.

/** @param {string} text @returns {Uint8Array<ArrayBuffer>} */
function bytes(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (character) => character.charCodeAt(0));
}

/** @param {ArrayBuffer} buffer */
function text(buffer) {
  const plain = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** @param {any[] | undefined} listed */
const known = (listed) => (listed ?? []).map((each) => ({ ...each, id: bytes(each.id) }));

/** @param {PublicKeyCredential} made @param {object} response */
const said = (made, response) => ({
  id: made.id,
  rawId: text(made.rawId),
  type: made.type,
  clientExtensionResults: made.getClientExtensionResults(),
  response,
});

export const possible = () => "PublicKeyCredential" in globalThis;

/** Proves who holds this device, by finger, face or PIN. @param {any} options */
export async function prove(options) {
  const publicKey = {
    ...options,
    challenge: bytes(options.challenge),
    allowCredentials: known(options.allowCredentials),
  };
  const made = /** @type {PublicKeyCredential} */ (await navigator.credentials.get({ publicKey }));
  const response = /** @type {AuthenticatorAssertionResponse} */ (made.response);
  return said(made, {
    clientDataJSON: text(response.clientDataJSON),
    authenticatorData: text(response.authenticatorData),
    signature: text(response.signature),
  });
}

/** Makes a passkey on this device. @param {any} options */
export async function make(options) {
  const publicKey = {
    ...options,
    challenge: bytes(options.challenge),
    user: { ...options.user, id: bytes(options.user.id) },
    excludeCredentials: known(options.excludeCredentials),
  };
  const made = /** @type {PublicKeyCredential} */ (
    await navigator.credentials.create({ publicKey })
  );
  const response = /** @type {AuthenticatorAttestationResponse} */ (made.response);
  return said(made, {
    clientDataJSON: text(response.clientDataJSON),
    attestationObject: text(response.attestationObject),
  });
}
