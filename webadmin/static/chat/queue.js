/** How long the box's queue is, asked again and again while a question waits in it. */

const FIRST_AFTER_MS = 1500; // most questions are taken before anybody wonders
const EVERY_MS = 2000; // the pool reports no more often

/**
 * Calls `seen` with the number of waiting questions until `signal` aborts. A failed request is no news: the
 * question's own request tells what is wrong.
 *
 * @param {string} address of the queue's report
 * @param {(waiting: number) => void} seen
 * @param {AbortSignal} signal
 */
export function watchQueue(address, seen, signal) {
    const ask = async () => {
        try {
            const response = await fetch(address, { signal, redirect: "error" });
            if (response.ok) seen((await response.json()).waiting);
        } catch {
            // see above
        }
        if (!signal.aborted) timer = setTimeout(ask, EVERY_MS);
    };
    let timer = setTimeout(ask, FIRST_AFTER_MS);
    signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
}
