/** How an answer came about: a button under it that names node and speed, and tells the rest when asked. */
import { element, icon } from "./elements.js";
import { amount, measure, words } from "./wording.js";

const PANEL_HEIGHT_PIXELS = 190;
let made = 0;

/**
 * Shown on hover and keyboard focus by the style sheet, and on tap by aria-expanded.
 *
 * @param {{node?: string, model?: string, requestId?: string, tokens?: number,
 *          firstTokenSeconds?: number|null, tokensPerSecond?: number|null}} facts of an answer that has ended
 * @returns {HTMLElement|null} null when no node ever took the question
 */
export function factsOf(facts) {
    if (!facts.node && !facts.tokens) return null;
    const id = `facts-${(made += 1)}`;
    const panel = element("div", { class: "chat-facts-panel", role: "tooltip", id }, list(facts));
    const summary = [facts.node, facts.tokensPerSecond && words("tokens_per_second", { number: measure(facts.tokensPerSecond) })];
    const button = element(
        "button",
        {
            type: "button",
            class: "chat-facts-button",
            "aria-describedby": id,
            "aria-expanded": "false",
            onclick: () => button.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") === "false")),
            onblur: () => button.setAttribute("aria-expanded", "false"),
            onkeydown: (event) => event.key === "Escape" && button.blur(),
        },
        icon("node"),
        element("span", { class: "visually-hidden" }, words("about_answer")),
        summary.filter(Boolean).join(" · "),
    );
    const place = () => box.classList.toggle("is-below", hasNoRoomAbove(button));
    const box = element("div", { class: "chat-facts", onpointerenter: place, onfocusin: place }, button, panel);
    return box;
}

/** Near the upper end of the scrolled messages the panel would be cut off. */
function hasNoRoomAbove(button) {
    const above = button.getBoundingClientRect().top - button.closest(".chat-scroller").getBoundingClientRect().top;
    return above < PANEL_HEIGHT_PIXELS;
}

function list(facts) {
    const rows = [
        ["fact_node", facts.node],
        ["fact_model", facts.model],
        ["fact_first_token", facts.firstTokenSeconds != null && words("seconds", { number: measure(facts.firstTokenSeconds) })],
        ["fact_speed", facts.tokensPerSecond && words("tokens_per_second", { number: measure(facts.tokensPerSecond) })],
        ["fact_place", facts.queuePosition > 0 && amount(facts.queuePosition)],
        ["fact_length", facts.tokens && words("tokens", { number: amount(facts.tokens) })],
        ["fact_request", facts.requestId],
    ];
    const present = rows.filter(([, value]) => value);
    return element("dl", {}, ...present.flatMap(([key, value]) => [element("dt", {}, words(key)), element("dd", {}, value)]));
}
