/**
 * Where a question is written: grows with its text, keeps an unsent draft, Enter sends.
 *
 * Enter that ends an input method's composition never sends, nor does Enter on a touch keyboard, which has
 * no Shift+Enter to write a second line.
 */

const COMPOSING = 229; // keyCode while Safari confirms a composition with Enter, isComposing is false by then
const hasTouchKeyboard = matchMedia("(hover: none) and (pointer: coarse)");

/** Whether this keydown means "send". */
export const sendsWith = (event) =>
    event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== COMPOSING && !hasTouchKeyboard.matches;

/** Makes a textarea as high as its text; the style sheet sets the limit. */
export function fitHeight(field) {
    field.rows = 1;
    const { lineHeight, paddingTop, paddingBottom } = getComputedStyle(field);
    const lines = (field.scrollHeight - parseFloat(paddingTop) - parseFloat(paddingBottom)) / parseFloat(lineHeight);
    field.rows = Math.max(1, Math.round(lines)); // not style.height: the policy allows no inline style
}

export class Composer {
    #form;
    #field;
    #send;
    #stop;

    /**
     * @param {HTMLFormElement} form
     * @param {{send: (text: string) => void, stop: () => void, draft: (text: string) => void, editLast: () => void}} on
     */
    constructor(form, on) {
        this.#form = form;
        this.#field = form.elements.question;
        this.#send = form.elements.send;
        this.#stop = form.elements.stop;
        this.#field.addEventListener("input", () => {
            this.#fit();
            on.draft(this.#field.value);
        });
        this.#field.addEventListener("keydown", (event) => this.#key(event, on));
        this.#stop.addEventListener("click", () => on.stop());
        form.addEventListener("submit", (event) => {
            event.preventDefault();
            this.#submit(on);
        });
    }

    /** Shows a conversation's draft. */
    setText(text) {
        if (this.#field.value !== text) this.#field.value = text;
        this.#fit();
    }

    focus() {
        if (!hasTouchKeyboard.matches) this.#field.focus(); // it would cover half of a phone's page
    }

    /** While an answer runs the send button is a stop button. */
    setRunning(isRunning) {
        if (this.#stop.hidden !== isRunning) return;
        const hadFocus = document.activeElement === this.#stop || document.activeElement === this.#send;
        this.#send.hidden = isRunning;
        this.#stop.hidden = !isRunning;
        if (hadFocus) (isRunning ? this.#stop : this.#field).focus();
        this.#fit();
    }

    #key(event, on) {
        if (sendsWith(event)) {
            event.preventDefault();
            this.#submit(on);
        } else if (event.key === "Escape" && !this.#stop.hidden) {
            on.stop();
        } else if (event.key === "ArrowUp" && this.#field.value === "") {
            event.preventDefault();
            on.editLast();
        }
    }

    #submit(on) {
        const text = this.#field.value.trim();
        if (text && this.#send.hidden === false) on.send(text);
    }

    #fit() {
        this.#send.disabled = this.#field.value.trim() === "";
        fitHeight(this.#field);
    }
}
