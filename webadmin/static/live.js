// Keeps the part of the page marked data-live true: every 2 seconds it asks for the words, bars and charts that
// changed; when the page is made of other things by now (another version), it fetches that part anew, and leaves
// the focus where it was.

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

/** A dialog that is open, or a field that is being written in, is not pulled away from under the hands. */
const inUse = () => part().querySelector("dialog[open], details[open], form:focus-within input:not([type=hidden]), form:focus-within select");

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

async function fetchAnew() {
  const answer = await fetch(part().dataset.page, { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  if (!fresh || inUse()) return;
  const focused = focusedIn(fresh);
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
