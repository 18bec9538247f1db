/** For each kind of trouble, what the person can do next: the buttons that its sentence is followed by. */

/** kind of trouble → actions, the likeliest first. `continue` needs a text that can be continued. */
export const REMEDIES = Object.freeze({
    signed_out: ["sign_in", "retry"],
    forbidden: ["reload"],
    too_long: ["new_conversation", "edit"],
    too_large: ["edit"],
    model_missing: ["retry"],
    busy: ["retry"],
    no_node: ["retry"],
    rejected: ["edit", "retry"],
    broken: ["continue", "retry"],
    unreachable: ["retry"],
    interrupted: ["continue", "retry"],
    reloaded: ["continue", "retry"],
});

/** Kinds whose own sentence from the server tells the person something that ours can't. */
const SAYS_MORE = new Set(["too_long", "rejected", "broken"]);

/**
 * @param {{kind: string, said?: string, requestId?: string|null}} trouble
 * @param {boolean} hasText whether a part of the answer came
 * @returns {{sentenceKey: string, detail: string, actions: string[]}}
 */
export function remedyOf(trouble, hasText) {
    const kind = trouble.kind in REMEDIES ? trouble.kind : "broken";
    return {
        sentenceKey: `trouble_${kind}`,
        detail: SAYS_MORE.has(kind) ? trouble.said ?? "" : "",
        actions: REMEDIES[kind].filter((action) => action !== "continue" || hasText),
    };
}

/** Whole seconds until a moment, 0 once it has passed. */
export const secondsUntil = (moment, nowMs = Date.now()) => Math.max(0, Math.ceil(((moment ?? 0) - nowMs) / 1000));
