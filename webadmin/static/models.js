// Says beside each get how fast it comes and how long the rest takes. Without this only the bytes are told.

import { Speed } from "./transfer.js";

const speeds = new Map();

document.addEventListener("livestate", (event) => {
  for (const element of document.querySelectorAll("[data-speed]")) {
    const [key, all] = [element.dataset.speed, Number(element.dataset.sizeBytes)];
    if (!speeds.has(key)) speeds.set(key, new Speed());
    const speed = speeds.get(key);
    speed.add((event.detail.shares[key] ?? 0) * all);
    element.textContent = speed.words(element.dataset.words, all);
  }
});
