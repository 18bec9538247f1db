// Follows the change that counts down: shows how it ended, or that the box has left this address.

const card = document.querySelector("[data-change]");
const lost = card.querySelector("[data-lost-place]");
const EVERY_MS = 2000;

async function look() {
  try {
    const answer = await fetch(card.dataset.change, { signal: AbortSignal.timeout(EVERY_MS) });
    if (answer.ok && (await answer.json()).state !== "pending") location.reload();
    lost.textContent = "";
  } catch {
    lost.textContent = card.dataset.lost;
  }
  setTimeout(look, EVERY_MS);
}

setTimeout(look, EVERY_MS);
