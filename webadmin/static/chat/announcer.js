/**
 * What a screen reader hears of an answer: that it began, and when it has ended its text if that is short.
 * Never the pieces as they come: they would be read over each other.
 */
import { ANSWER_STATES } from "./conversations.js";
import { words } from "./wording.js";

const READ_OUT_LENGTH = 600;

export class Announcer {
    #region;
    #heard = new Map(); // answer id → state

    /** @param {HTMLElement} region an aria-live="polite" region that nobody sees */
    constructor(region) {
        this.#region = region;
    }

    say(text) {
        this.#region.textContent = text;
    }

    /** @param {{id: string, state: string, text: string, trouble: object|null}} answer of the conversation that is shown */
    answerChanged(answer) {
        if (this.#heard.get(answer.id) === answer.state) return;
        this.#heard.set(answer.id, answer.state);
        if (answer.state === ANSWER_STATES.streaming) return; // "waiting" was said already
        this.say(this.#sentence(answer));
    }

    #sentence({ state, text, trouble }) {
        if (state === ANSWER_STATES.waiting) return words("hear_waiting");
        if (trouble) return words(`trouble_${trouble.kind}`);
        if (state === ANSWER_STATES.stopped) return words("stopped");
        return text.length <= READ_OUT_LENGTH ? words("hear_answer", { text }) : words("hear_complete");
    }
}
