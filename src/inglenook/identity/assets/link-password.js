// Gives the password of a link without leaving the page, which is loaded again once it is right (spec/03 §11.3).
"use strict";

const form = document.getElementById("link-password-form");
const error = document.getElementById("link-error");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await fetch(form.action, {
    method: "POST",
    headers: { Accept: "application/json" },
    credentials: "include",
    body: new URLSearchParams(new FormData(form)),
  });
  if (answer.ok) {
    location.reload();
    return;
  }
  const body = await answer.json();
  error.textContent = body.error || body.errors[0].detail;
  error.hidden = false;
  form.elements.password.focus();
});
