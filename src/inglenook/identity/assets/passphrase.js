// Sends a hash of the passphrase in its place, so that the passphrase itself never leaves the browser (spec/03 §3).
"use strict";

const form = document.getElementById("login-form");
const field = document.getElementById("password");
const trusted = document.getElementById("trusted-device-token");
if (trusted) {
  try {
    trusted.value = localStorage.getItem("trusted-device-token") || "";
  } catch {
    // storage may be refused: the second factor is asked again, nothing else
  }
}

async function derive(key, salt, iterations) {
  const material = await crypto.subtle.importKey("raw", key, "PBKDF2", false, ["deriveBits"]);
  const bits = await crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, material, 256);
  return new Uint8Array(bits);
}

async function hashed(passphrase, salt, iterations) {
  const text = new TextEncoder();
  const password = text.encode(passphrase);
  const master = await derive(password, text.encode(salt), iterations);
  return btoa(String.fromCharCode(...(await derive(master, password, 1))));
}

function hidden(name, value) {
  const input = document.createElement("input");
  input.type = "hidden";
  input.name = name;
  input.value = value;
  form.append(input);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const iterations = Number(form.dataset.iterations);
  form.querySelector("button[type=submit]").disabled = true;
  if (iterations > 0 && window.crypto && crypto.subtle) {
    hidden("passphrase", await hashed(field.value, form.dataset.salt, iterations));
  } else {
    hidden("passphrase", field.value);
    hidden("clear", "true");
  }
  field.disabled = true;
  form.submit();
});

window.addEventListener("pageshow", (event) => {
  if (event.persisted) {
    location.reload();
  }
});
