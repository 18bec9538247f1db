// Times in the reader's own zone and language. The server sends epoch seconds as ISO 8601 in <time datetime>.
// data-moment: "age" (3 minutes ago; a date when older than a day), "date", "time" (date and
// time), or "countdown" (minutes and seconds left).

import { locale, text } from "./texts.js";

const ages = new Intl.RelativeTimeFormat(locale, { numeric: "auto", style: "long" });
const dates = new Intl.DateTimeFormat(locale, { dateStyle: "medium" });
const times = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" });
const full = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "medium" });

function age(date) {
  const seconds = (date - Date.now()) / 1000;
  if (Math.abs(seconds) < 10) return ages.format(0, "second");
  if (Math.abs(seconds) < 90) return ages.format(Math.round(seconds), "second");
  if (Math.abs(seconds) < 3570) return ages.format(Math.round(seconds / 60), "minute");
  if (Math.abs(seconds) < 86400) return ages.format(Math.round(seconds / 3600), "hour");
  return dates.format(date);
}

function countdown(date) {
  const seconds = Math.floor((date - Date.now()) / 1000);
  if (seconds <= 0) return text("expired");
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

const styles = { age, countdown, date: (date) => dates.format(date), time: (date) => times.format(date) };

/** Writes all <time data-moment> under `root` anew. */
export function showMoments(root) {
  for (const element of root.querySelectorAll("time[data-moment]")) {
    const date = new Date(element.dateTime);
    const shown = styles[element.dataset.moment](date);
    if (element.textContent !== shown) element.textContent = shown;
    if (!element.title) element.title = full.format(date);
  }
}
