// Hashes a new passphrase in the browser and makes the keys of the vault, which the server never sees open:
// a random key under the passphrase, and an RSA pair whose private half is under that key (spec/03 §3, §5).
"use strict";

const form = document.getElementById("new-pass-form");
const field = document.getElementById("password");
const again = document.getElementById("again");
const mismatch = document.getElementById("mismatch");
const text = new TextEncoder();

const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));

async function derive(key, salt, iterations) {
  const material = await crypto.subtle.importKey("raw", key, "PBKDF2", false, ["deriveBits"]);
  const bits = await crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, material, 256);
  return new Uint8Array(bits);
}

// HKDF-Expand (RFC 5869) for one block of 32 bytes
async function expand(key, info) {
  const hmac = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", hmac, new Uint8Array([...text.encode(info), 1])));
}

async function sealed(encryption, authentication, data) {
  const iv = crypto.getRandomValues(new Uint8Array(16));
  const aes = await crypto.subtle.importKey("raw", encryption, "AES-CBC", false, ["encrypt"]);
  const cipher = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-CBC", iv }, aes, data));
  const hmac = await crypto.subtle.importKey("raw", authentication, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", hmac, new Uint8Array([...iv, ...cipher])));
  return `2.${base64(iv)}|${base64(cipher)}|${base64(mac)}`;
}

async function fill(passphrase) {
  const password = text.encode(passphrase);
  const master = await derive(password, text.encode(form.dataset.salt), Number(form.dataset.iterations));
  const key = crypto.getRandomValues(new Uint8Array(64));
  const pair = await crypto.subtle.generateKey(
    { name: "RSA-OAEP", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-1" },
    true,
    ["encrypt", "decrypt"],
  );
  const secret = new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  form.elements.public_key.value = base64(new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey)));
  form.elements.private_key.value = await sealed(key.slice(0, 32), key.slice(32), secret);
  form.elements.key.value = await sealed(await expand(master, "enc"), await expand(master, "mac"), key);
  const sent = document.createElement("input");
  sent.type = "hidden";
  sent.name = "passphrase";
  sent.value = base64(await derive(master, password, 1));
  field.disabled = true;
  form.append(sent);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (field.value !== again.value) {
    mismatch.textContent = form.dataset.mismatch;
    mismatch.hidden = false;
    again.setAttribute("aria-invalid", "true");
    again.focus();
    return;
  }
  mismatch.hidden = true;
  form.querySelector("button[type=submit]").disabled = true;
  if (window.crypto && crypto.subtle) {
    await fill(field.value);
  }
  form.submit();
});
