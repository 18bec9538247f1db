// What every page does: copy buttons, dialogs, password reveal, toasts, menus, times in the reader's own zone.
// Pages work without it; it makes them quicker.

import { text } from "./texts.js";
import { showMoments } from "./moments.js";

const TOAST_MILLISECONDS = 4000;

function leaveLater(box) {
  setTimeout(() => {
    box.dataset.leaving = "";
    setTimeout(() => box.remove(), 350);
  }, TOAST_MILLISECONDS);
}

/** Copies the text beside `button`. navigator.clipboard exists over HTTPS and on localhost only. */
async function copyBeside(button) {
  const source = button.parentElement.querySelector("code, pre");
  const label = button.querySelector("span");
  const before = label.textContent;
  if (await copied(source)) {
    button.dataset.state = "done";
    label.textContent = text("copied");
  } else {
    label.textContent = text("copy_failed");
  }
  setTimeout(() => {
    delete button.dataset.state;
    label.textContent = before;
  }, 2000);
}

async function copied(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  }
}

function reveal(button) {
  const input = document.getElementById(button.dataset.reveal);
  const shown = input.type === "password";
  input.type = shown ? "text" : "password";
  button.setAttribute("aria-pressed", String(shown));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.matches("[data-copy]")) copyBeside(button);
  else if (button?.dataset.reveal) reveal(button);
  else if (button?.dataset.opens) document.getElementById(button.dataset.opens).showModal();
  else if (button?.matches("[data-closes]")) button.closest("dialog").close();
  // a click on the backdrop closes a dialog, a click beside a menu closes the menu
  if (event.target.matches("dialog")) event.target.close();
  closeMenusBeside(event.target);
});
document.addEventListener("focusin", (event) => closeMenusBeside(event.target));

/** The sheet of the navigation is beside its <details>, in the same list item. */
function closeMenusBeside(node) {
  for (const menu of document.querySelectorAll("[data-menu][open]")) {
    if (!(menu.closest("li") ?? menu).contains(node)) menu.open = false;
  }
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("[data-menu][open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// a double click must not make two keys
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) event.preventDefault();
  else event.target.dataset.sent = "yes";
});
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
  closeMenusBeside(null); // gone back to
});

for (const button of document.querySelectorAll("[data-reveal]")) button.hidden = false;
for (const box of document.querySelectorAll("[data-toast]")) leaveLater(box);
// a page that shows a secret once came as the answer to a form: loading it again must not make another secret
const shownOnce = document.querySelector("[data-address]");
if (shownOnce) history.replaceState(null, "", shownOnce.dataset.address);
showMoments(document);
setInterval(() => showMoments(document), 1000);
