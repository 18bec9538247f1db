/** The list of this tab's conversations: open, rename in place, delete with a way back. */
import { isRunning } from "./conversations.js";
import { element, iconButton } from "./elements.js";
import { words } from "./wording.js";

const UNDO_MS = 10_000;

export class Sidebar {
    #list;
    #undo;
    #conversations;
    #on;
    #undoTimer = null;

    /**
     * @param {HTMLElement} list
     * @param {HTMLElement} undo where "deleted · undo" is shown
     * @param {import("./conversations.js").Conversations} conversations
     * @param {{open: (conversation: object) => void, remove: (conversation: object) => () => void}} on
     */
    constructor(list, undo, conversations, on) {
        this.#list = list;
        this.#undo = undo;
        this.#conversations = conversations;
        this.#on = on;
        // as long as a person is about to press it, it stays
        for (const name of ["mouseenter", "focusin"]) undo.addEventListener(name, () => clearTimeout(this.#undoTimer));
        for (const name of ["mouseleave", "focusout"]) undo.addEventListener(name, () => this.#hideUndoLater());
    }

    update() {
        if (this.#list.querySelector("input")) return; // a title is being written
        const focused = document.activeElement?.closest?.("[data-conversation]");
        const place = focused && [...focused.querySelectorAll("button")].indexOf(document.activeElement);
        this.#list.replaceChildren(...this.#conversations.all.map((conversation) => this.#entry(conversation)));
        if (focused) this.#buttonsOf(focused.dataset.conversation)[place]?.focus();
    }

    #buttonsOf(id) {
        return this.#list.querySelectorAll(`[data-conversation="${id}"] button`);
    }

    #entry(conversation) {
        const isCurrent = conversation.id === this.#conversations.currentId;
        const isEmpty = conversation.messages.length === 0;
        const isBusy = isRunning(conversation.messages.at(-1));
        const state = isBusy ? words("list_answering") : conversation.isUnread ? words("list_unread") : "";
        const name = { title: conversation.title || words("untitled") };
        const open = element(
            "button",
            {
                type: "button",
                class: "chat-conversation-open",
                "aria-current": isCurrent ? "true" : null,
                title: name.title,
                onclick: () => this.#on.open(conversation),
                ondblclick: () => isEmpty || this.#rename(entry, conversation),
            },
            element("span", { class: "chat-conversation-title" }, name.title),
            state ? dot(state, isBusy) : null,
        );
        const entry = element("li", { class: "chat-conversation", "data-conversation": conversation.id }, open);
        if (!isEmpty) {
            entry.append(
                iconButton("edit", words("rename", name), () => this.#rename(entry, conversation), { "data-action": "rename" }),
                iconButton("delete", words("delete", name), () => this.#remove(conversation), { "data-action": "delete" }),
            );
        }
        return entry;
    }

    #rename(entry, conversation) {
        const label = words("rename_label");
        const field = element("input", { type: "text", maxlength: "120", "aria-label": label, class: "chat-rename" });
        field.value = conversation.title;
        let isDone = false; // removing the field blurs it as well
        const end = (title) => {
            if (isDone) return;
            isDone = true;
            field.remove();
            this.#conversations.rename(conversation, title);
            this.#buttonsOf(conversation.id)[0]?.focus();
        };
        field.addEventListener("keydown", (event) => {
            if (event.key === "Enter" && !event.isComposing) end(field.value);
            if (event.key === "Escape") {
                event.stopPropagation();
                end(conversation.title);
            }
        });
        field.addEventListener("blur", () => end(field.value));
        entry.replaceChildren(field);
        field.select();
    }

    #remove(conversation) {
        const putBack = this.#on.remove(conversation);
        const title = element("span", {}, words("deleted", { title: conversation.title }));
        const attributes = { type: "button", class: "button button--quiet button--small" };
        const button = element("button", attributes, words("undo"));
        button.addEventListener("click", () => {
            this.#hideUndo();
            putBack();
            this.#buttonsOf(conversation.id)[0]?.focus();
        });
        this.#undo.replaceChildren(title, button);
        this.#undo.hidden = false;
        this.#hideUndoLater();
        button.focus(); // the button that had it is gone
    }

    #hideUndoLater() {
        clearTimeout(this.#undoTimer);
        this.#undoTimer = setTimeout(() => this.#hideUndo(), UNDO_MS);
    }

    #hideUndo() {
        clearTimeout(this.#undoTimer);
        this.#undo.hidden = true;
        this.#undo.replaceChildren();
    }
}

const dot = (state, isBusy) =>
    element("span", { class: `chat-dot${isBusy ? " chat-dot-busy" : ""}`, role: "img", "aria-label": state, title: state });
