// How fast bytes come and how long the rest takes, over the last seconds, in the visitor's language.

import { locale } from "./texts.js";

const WINDOW_MILLISECONDS = 20_000;
const LEAST_MILLISECONDS = 3_000;

const unit = (name, digits) => new Intl.NumberFormat(locale, { style: "unit", unit: name, maximumFractionDigits: digits });
const units = [[1e9, unit("gigabyte", 1)], [1e6, unit("megabyte", 1)], [1e3, unit("kilobyte", 0)]];
const spans = [[3600, unit("hour", 1)], [60, unit("minute", 0)], [1, unit("second", 0)]];

/** 12 kB, 3.4 MB, 1.2 GB. */
export function size(bytes) {
  const [scale, format] = units.find(([least]) => bytes >= least) ?? units.at(-1);
  return format.format(bytes / scale);
}

/** 8 seconds, 12 minutes, 1.5 hours. */
export function duration(seconds) {
  const [scale, format] = spans.find(([least]) => seconds >= least) ?? spans.at(-1);
  return format.format(Math.max(1, seconds / scale));
}

/** Remembers how much there was when; `words` has {speed} and {left}. */
export class Speed {
  #seen = [];

  add(bytes, at = performance.now()) {
    const last = this.#seen.at(-1);
    if (last && bytes < last.bytes) this.#seen = []; // another step has begun
    this.#seen.push({ bytes, at });
    while (this.#seen.length > 2 && at - this.#seen[1].at > WINDOW_MILLISECONDS) this.#seen.shift();
  }

  words(template, all) {
    const [first, last] = [this.#seen[0], this.#seen.at(-1)];
    if (!first || last.at - first.at < LEAST_MILLISECONDS || last.bytes === first.bytes) return "";
    const perSecond = ((last.bytes - first.bytes) / (last.at - first.at)) * 1000;
    return template.replace("{speed}", size(perSecond)).replace("{left}", duration((all - last.bytes) / perSecond));
  }
}
