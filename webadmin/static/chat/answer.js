/** One answer on the page: its text, what is happening to it, and what can be done with it. */
import { ANSWER_STATES, isRunning } from "./conversations.js";
import { copyFrom, element, icon, iconButton } from "./elements.js";
import { factsOf } from "./facts.js";
import { Prose } from "./prose.js";
import { remedyOf, secondsUntil } from "./remedies.js";
import { amount, words } from "./wording.js";

const SLOW_AFTER_MS = 4000;

export class AnswerView {
    root = element("article", { class: "chat-message", "data-role": "assistant" });
    #answer;
    #act;
    #prose = new Prose();
    #status = element("p", { class: "chat-status" });
    #ending = element("div");
    #madeAt = Date.now();
    #endingShown = "";

    /**
     * @param {object} answer of conversations.js, changed in place as it grows
     * @param {(action: string) => void} act performs `continue`, `retry`, `edit`, `new_conversation`, …
     */
    constructor(answer, act) {
        this.#answer = answer;
        this.#act = act;
        const heading = element("h3", { class: "visually-hidden" }, words("answer_heading"));
        this.root.append(heading, this.#prose.root, this.#status, this.#ending);
    }

    /** Brings the page up to date with the answer; cheap when nothing changed. */
    update(isLast) {
        const answer = this.#answer;
        this.root.dataset.state = answer.state;
        this.#prose.show(answer.text, isRunning(answer));
        this.tick();
        const ending = JSON.stringify([answer.state, isLast, answer.trouble, isRunning(answer) || answer.facts]);
        if (ending === this.#endingShown) return; // or a button would lose the keyboard focus
        this.#endingShown = ending;
        this.#ending.replaceChildren(...(isRunning(answer) ? [] : this.#endingParts(isLast)));
        this.tick();
    }

    /** What changes with time alone: countdowns, and a word after a long silence. */
    tick() {
        const text = this.#statusText();
        if (this.#status.textContent !== text) this.#status.textContent = text;
        this.#status.hidden = text === "" && this.#answer.state !== ANSWER_STATES.waiting;
        const left = secondsUntil(this.#answer.trouble?.notBeforeMs);
        for (const button of this.#ending.querySelectorAll("[data-action=retry]")) {
            button.disabled = left > 0;
            button.querySelector(".chat-countdown").textContent = left > 0 ? ` ${words("in_seconds", { number: left })}` : "";
        }
    }

    #statusText() {
        const { state, pause, facts, queueLength } = this.#answer;
        if (state === ANSWER_STATES.stopped) return words("stopped");
        if (state === ANSWER_STATES.cut) return words("cut");
        if (state !== ANSWER_STATES.waiting) return "";
        if (pause) return words(`pause_${pause.kind}`, { number: secondsUntil(pause.untilMs) });
        if (facts.node) return words("reading", { node: facts.node });
        if (queueLength > 0) return words("queued", { number: amount(queueLength) });
        return Date.now() - this.#madeAt > SLOW_AFTER_MS ? words("slow") : "";
    }

    #endingParts(isLast) {
        const { trouble } = this.#answer;
        return [trouble && this.#troubleBox(trouble, isLast), this.#actions(isLast)].filter(Boolean);
    }

    #troubleBox(trouble, isLast) {
        const { sentenceKey, detail, actions } = remedyOf(trouble, this.#answer.text !== "");
        const reference = trouble.kind === "broken" && trouble.requestId;
        return element(
            "div",
            { class: "chat-trouble", "data-kind": trouble.kind },
            icon("warning"),
            element(
                "div",
                {},
                element("p", {}, words(sentenceKey)),
                detail ? element("p", { class: "chat-trouble-detail" }, detail) : null,
                reference ? element("p", { class: "chat-trouble-detail" }, words("reference", { id: reference })) : null,
                isLast ? element("p", { class: "chat-trouble-actions" }, ...actions.map((action) => this.#button(action))) : null,
            ),
        );
    }

    #button(action) {
        const countdown = element("span", { class: "chat-countdown" });
        const attributes = { type: "button", class: "button button--quiet button--small", "data-action": action };
        const onclick = () => this.#act(action);
        return element("button", { ...attributes, onclick }, words(`action_${action}`), countdown);
    }

    #actions(isLast) {
        const { text, state, trouble, facts } = this.#answer;
        const isCutShort = state === ANSWER_STATES.cut || state === ANSWER_STATES.stopped;
        const copy = iconButton("copy", words("copy"), () => copyFrom(copy, text, words), { "data-action": "copy" });
        const again = iconButton("again", words("action_regenerate"), () => this.#act("retry"), { "data-action": "regenerate" });
        const parts = [
            text && copy,
            isLast && !trouble && again,
            isLast && isCutShort && text && this.#button("continue"),
            factsOf(facts),
        ].filter(Boolean);
        return parts.length > 0 && element("footer", { class: "chat-actions" }, ...parts);
    }
}
