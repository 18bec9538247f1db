/** One question on the page; the last one can be edited and sent again. */
import { copyFrom, element, iconButton } from "./elements.js";
import { fitHeight, sendsWith } from "./composer.js";
import { words } from "./wording.js";

export class QuestionView {
    root = element("article", { class: "chat-message", "data-role": "user" });
    #question;
    #resend;
    #shown = null;

    /**
     * @param {{text: string}} question
     * @param {(text: string) => void} resend replaces this question
     */
    constructor(question, resend) {
        this.#question = question;
        this.#resend = resend;
    }

    /** @param {boolean} isEditable whether this is the last question and nothing is being answered */
    update(isEditable) {
        if (this.#shown === isEditable) return;
        this.#shown = isEditable;
        const { text } = this.#question;
        const copy = iconButton("copy", words("copy"), () => copyFrom(copy, text, words), { "data-action": "copy" });
        this.root.replaceChildren(
            element("h3", { class: "visually-hidden" }, words("question_heading")),
            element(
                "footer",
                { class: "chat-actions" },
                copy,
                isEditable ? iconButton("edit", words("action_edit"), () => this.edit(), { "data-action": "edit" }) : null,
            ),
            element("div", { class: "chat-bubble" }, text),
        );
    }

    edit() {
        const field = element("textarea", { "aria-label": words("edit_label"), rows: "1", class: "chat-edit-field" });
        const send = () => (field.value.trim() ? this.#resend(field.value.trim()) : field.focus());
        const leave = () => {
            this.#shown = null;
            this.update(true);
            this.root.querySelector("[data-action=edit]").focus();
        };
        field.value = this.#question.text;
        field.addEventListener("input", () => fitHeight(field));
        field.addEventListener("keydown", (event) => {
            if (sendsWith(event)) {
                event.preventDefault();
                send();
            } else if (event.key === "Escape") {
                event.stopPropagation();
                leave();
            }
        });
        const cancel = element("button", { type: "button", class: "button button--quiet button--small", onclick: leave }, words("cancel"));
        const resend = element("button", { type: "button", class: "button button--small", onclick: send }, words("send"));
        const buttons = element("p", { class: "chat-edit-actions" }, cancel, resend);
        this.root.replaceChildren(element("div", { class: "chat-edit" }, field, buttons));
        fitHeight(field);
        field.focus();
    }
}
