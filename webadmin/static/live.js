// Keeps the part of the page marked data-live true: every 2 seconds it asks for the words, bars and charts that
// changed; when the page is made of other things by now (another version), it fetches that part anew, and leaves
// the focus and what was unfolded as they were.

import { drawBars } from "./charts.js";
import { showMoments } from "./moments.js";
import { text } from "./texts.js";

const PERIOD_MILLISECONDS = 2000;
const status = document.querySelector("[data-live-status]");
const usualStatus = status?.textContent;

const part = () => document.querySelector("[data-live]");

function say(message, kind) {
  if (!status) return;
  status.textContent = message;
  status.className = `badge badge--dot badge--${kind}`;
}

function drawCharts(series) {
  for (const element of document.querySelectorAll("[data-chart]")) {
    drawBars(element, series?.[element.dataset.chart] ?? JSON.parse(element.dataset.series));
  }
}

function apply(state) {
  for (const element of part().querySelectorAll("[data-cell]")) {
    const words = state.cells[element.dataset.cell];
    if (words !== undefined && element.textContent !== words) element.textContent = words;
  }
  for (const element of part().querySelectorAll("[data-share]")) {
    element.value = state.shares[element.dataset.share] ?? 0;
  }
  for (const [id, at] of Object.entries(state.moments ?? {})) {
    const element = part().querySelector(`time[data-at="${CSS.escape(id)}"]`);
    if (element) element.dateTime = at;
  }
  drawCharts(state.series);
  document.dispatchEvent(new CustomEvent("livestate", { detail: state }));
}

/** Whether something was written or chosen there and not sent. */
function isChanged({ type, tagName, value, defaultValue, checked, defaultChecked, options, selectedIndex }) {
  if (type === "hidden") return false;
  if (type === "checkbox" || type === "radio") return checked !== defaultChecked;
  if (tagName === "SELECT") return selectedIndex !== Math.max(0, [...options].findIndex((each) => each.defaultSelected));
  return value !== defaultValue;
}

/** A dialog that is open, or a field that is being filled in, is not pulled away from under the hands. */
const inUse = () =>
  part().querySelector("dialog[open], form:focus-within input:not([type=hidden]), form:focus-within select") ||
  [...part().querySelectorAll("input, select, textarea")].some(isChanged);

/** What an element is to who uses it: the card that it stands in, its kind, and its words. */
function identity(element) {
  const card = element.closest("[aria-labelledby]")?.getAttribute("aria-labelledby");
  const { id, name, href, textContent } = element;
  return JSON.stringify([card, id, name, href, element.getAttribute("aria-label"), textContent.trim()]);
}

/** Of the fresh part, the only element that is what has the focus now; nothing rather than another one. */
function focusedIn(fresh) {
  const focused = document.activeElement;
  if (!part().contains(focused)) return undefined;
  const alike = [...fresh.querySelectorAll(focused.localName)].filter((each) => identity(each) === identity(focused));
  return alike.length === 1 ? alike[0] : undefined;
}

/** What can be unfolded, by the card that it stands in, its words, and how many alike stand before it. */
function folds(root) {
  const found = new Map();
  for (const details of root.querySelectorAll("details")) {
    const card = details.closest("[aria-labelledby]")?.getAttribute("aria-labelledby");
    let key = JSON.stringify([card, details.firstElementChild.textContent.trim()]);
    while (found.has(key)) key += "'";
    found.set(key, details);
  }
  return found;
}

/** What is unfolded stays so, wherever the fresh part has the same. */
function unfoldAsBefore(fresh) {
  const former = folds(part());
  for (const [key, details] of folds(fresh)) details.open = former.get(key)?.open ?? details.open;
}

async function fetchAnew() {
  const answer = await fetch(part().dataset.page, { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  if (!fresh || inUse()) return;
  const focused = focusedIn(fresh);
  unfoldAsBefore(fresh);
  part().replaceWith(fresh);
  focused?.focus({ preventScroll: true });
  showMoments(fresh);
  drawCharts();
}

async function follow() {
  try {
    if (!document.hidden) {
      const answer = await fetch(part().dataset.live, { headers: { Accept: "application/json" } });
      if (answer.status === 401 || answer.status === 403) return say(text("signed_out"), "bad");
      if (!answer.ok) throw new Error(String(answer.status));
      const state = await answer.json();
      if (state.version !== part().dataset.version && !inUse()) await fetchAnew();
      else apply(state);
      say(usualStatus, "ok");
    }
  } catch {
    say(text("offline"), "bad");
  }
  setTimeout(follow, PERIOD_MILLISECONDS);
}

drawCharts();
setTimeout(follow, PERIOD_MILLISECONDS);
