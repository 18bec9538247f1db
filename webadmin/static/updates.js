// Sends the update file with a progress bar; without this the form sends it all the same.

import { locale } from "./texts.js";

const form = document.querySelector("[data-upload]");
const sending = form.querySelector(".sending");
const refused = form.querySelector(".error");
const button = form.querySelector("button");
const megabytes = new Intl.NumberFormat(locale, { style: "unit", unit: "megabyte", maximumFractionDigits: 1 });

function fail(message) {
  sending.hidden = true;
  button.disabled = false;
  delete form.dataset.sent;
  refused.hidden = false;
  refused.textContent = message;
}

/** What the page that came back says, for it is the answer to a form. */
function messageOf(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  return (page.querySelector("[data-refusal]") ?? page.querySelector("h1"))?.textContent ?? form.dataset.lost;
}

function send() {
  const call = new XMLHttpRequest();
  call.upload.addEventListener("progress", (event) => {
    sending.querySelector("progress").value = event.loaded / event.total;
    const [done, all] = [event.loaded, event.total].map((bytes) => megabytes.format(bytes / 1e6));
    sending.querySelector("span").textContent = form.dataset.progress.replace("{done}", done).replace("{all}", all);
  });
  call.addEventListener("load", () => (call.status === 200 ? location.assign(call.responseURL) : fail(messageOf(call.responseText))));
  call.addEventListener("error", () => fail(form.dataset.lost));
  call.open("POST", form.action);
  call.send(new FormData(form));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  refused.hidden = true;
  sending.hidden = false;
  button.disabled = true;
  send();
});
