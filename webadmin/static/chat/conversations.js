/**
 * The conversations of this browser tab.
 *
 * They live in sessionStorage under the account's own key and nowhere else: the server keeps none, closing the
 * tab forgets them, and the conversations of another account that used the same tab are removed at start.
 * Every change is an event `change` with {conversation, what: "list" | "messages" | "answer"}, and is written
 * within SAVE_WITHIN_MS, so that a reload loses nothing that could be seen.
 *
 * message of a person  {id, role: "user", text}
 * answer               {id, role: "assistant", text, state, trouble, facts}; states: see ANSWER_STATES
 */

export const ANSWER_STATES = Object.freeze({
    waiting: "waiting", // sent, nothing came yet
    streaming: "streaming",
    complete: "complete",
    cut: "cut", // the answer reached its length limit
    stopped: "stopped", // by the person
    interrupted: "interrupted", // by the network, the server or a reload; what came is kept
    failed: "failed", // nothing came
});

const RUNNING = new Set([ANSWER_STATES.waiting, ANSWER_STATES.streaming]);
export const isRunning = (message) => RUNNING.has(message?.state);

const KEY_PREFIX = "cellule-chat:";
/** Raised when the shape of what is stored changes. */
const FORMAT = 1;
const SAVE_WITHIN_MS = 400;
const TITLE_LENGTH = 48;

export class Conversations extends EventTarget {
    #storage;
    #key;
    #saveTimer = null;
    #isForgotten = false;
    /** Newest first. */
    all = [];
    currentId = null;
    /** False once the tab's storage was full: then only this page holds the newest messages. */
    isKept = true;

    /**
     * @param {Storage} storage the tab's sessionStorage
     * @param {string} accountId whose conversations these are
     */
    constructor(storage, accountId) {
        super();
        this.#storage = storage;
        this.#key = KEY_PREFIX + accountId;
        for (const key of Object.keys(storage)) {
            if (key.startsWith(KEY_PREFIX) && key !== this.#key) storage.removeItem(key);
        }
        this.#load();
        if (!this.current) this.create();
    }

    get current() {
        return this.find(this.currentId);
    }

    find(id) {
        return this.all.find((conversation) => conversation.id === id) ?? null;
    }

    /** Opens a new conversation, or the one that is still empty: there is never a pile of empty ones. */
    create(model = this.current?.model ?? null) {
        const empty = this.all.find((conversation) => conversation.messages.length === 0);
        const conversation = empty ?? { id: newId(), title: "", isNamed: false, model, messages: [], draft: "" };
        if (!empty) this.all.unshift(conversation);
        this.open(conversation.id);
        return conversation;
    }

    open(id) {
        this.currentId = id;
        this.current.isUnread = false;
        this.#changed(this.current, "list");
    }

    rename(conversation, title) {
        conversation.isNamed = Boolean(title.trim());
        conversation.title = title.trim() || titleOf(conversation);
        this.#changed(conversation, "list");
    }

    /** @returns {() => void} puts the conversation back where it was */
    remove(conversation) {
        const place = this.all.indexOf(conversation);
        const wasCurrent = conversation.id === this.currentId;
        this.all.splice(place, 1);
        if (wasCurrent) this.all.length ? this.open(this.all[Math.min(place, this.all.length - 1)].id) : this.create();
        this.#changed(conversation, "list");
        return () => {
            this.all.splice(place, 0, conversation);
            if (wasCurrent) this.open(conversation.id);
            else this.#changed(conversation, "list");
        };
    }

    /** Adds a question with its waiting answer, and returns the answer. */
    ask(conversation, text) {
        conversation.messages.push({ id: newId(), role: "user", text });
        if (!conversation.isNamed) conversation.title = titleOf(conversation);
        this.#moveToTop(conversation);
        return this.addAnswer(conversation);
    }

    addAnswer(conversation) {
        const answer = { id: newId(), role: "assistant", text: "", state: ANSWER_STATES.waiting, trouble: null, facts: {} };
        conversation.messages.push(answer);
        this.#changed(conversation, "messages");
        return answer;
    }

    /** Takes the last question and what followed it out of the conversation, and returns its text. */
    takeLastQuestion(conversation) {
        const place = conversation.messages.findLastIndex((message) => message.role === "user");
        const [question] = conversation.messages.splice(place);
        return question.text;
    }

    dropLastAnswer(conversation) {
        if (conversation.messages.at(-1)?.role === "assistant") conversation.messages.pop();
    }

    setDraft(conversation, text) {
        conversation.draft = text;
        this.#saveSoon();
    }

    setModel(conversation, model) {
        conversation.model = model;
        this.#changed(conversation, "list");
    }

    /** Tells that `answer` of `conversation` was changed in place. */
    answerChanged(conversation, answer) {
        const hasEnded = !isRunning(answer);
        if (hasEnded && conversation.id !== this.currentId) conversation.isUnread = true;
        this.#changed(conversation, "answer", answer);
        if (answer.state !== ANSWER_STATES.streaming) this.#changed(conversation, "list");
    }

    /** Writes now; for the moment before the page goes away. */
    save() {
        clearTimeout(this.#saveTimer);
        this.#saveTimer = null;
        if (this.#isForgotten) return;
        const wasKept = this.isKept;
        try {
            this.#storage.setItem(this.#key, JSON.stringify({ format: FORMAT, currentId: this.currentId, all: this.all }));
            this.isKept = true;
        } catch {
            this.isKept = false; // QuotaExceededError: the page says so
        }
        if (this.isKept !== wasKept) this.#tell(this.current, "list");
    }

    /** Forgets everything for good: the person signs out. */
    forget() {
        this.#isForgotten = true;
        this.#storage.removeItem(this.#key);
    }

    #load() {
        const stored = JSON.parse(this.#storage.getItem(this.#key));
        if (stored?.format !== FORMAT) return; // nothing yet, or written by another version of this page
        this.all = stored.all;
        this.currentId = stored.currentId;
        for (const answer of this.all.flatMap((conversation) => conversation.messages).filter(isRunning)) {
            answer.state = answer.text ? ANSWER_STATES.interrupted : ANSWER_STATES.failed;
            answer.trouble = { kind: "reloaded" };
        }
    }

    #moveToTop(conversation) {
        this.all = [conversation, ...this.all.filter((other) => other !== conversation)];
    }

    #changed(conversation, what, answer = null) {
        this.#saveSoon();
        this.#tell(conversation, what, answer);
    }

    #tell(conversation, what, answer = null) {
        this.dispatchEvent(new CustomEvent("change", { detail: { conversation, what, answer } }));
    }

    #saveSoon() {
        this.#saveTimer ??= setTimeout(() => this.save(), SAVE_WITHIN_MS);
    }
}

/**
 * The messages to send for an answer: all that both sides said. A question whose answer never came is left
 * out, for two questions in a row confuse chat templates; the last question is always there.
 *
 * @returns {{role: string, content: string}[]}
 */
export function promptMessages(messages) {
    const said = messages.filter((message, place) => {
        const answer = message.role === "user" ? messages[place + 1] : message;
        return answer === undefined || place >= messages.length - 2 || answer.text !== "";
    });
    return said.filter((message) => message.text !== "").map(({ role, text }) => ({ role, content: text }));
}

function titleOf(conversation) {
    const text = (conversation.messages.find((message) => message.role === "user")?.text ?? "").replace(/\s+/g, " ").trim();
    if (text.length <= TITLE_LENGTH) return text;
    const cut = text.slice(0, TITLE_LENGTH);
    return (cut.includes(" ") ? cut.slice(0, cut.lastIndexOf(" ")) : cut) + "…";
}

// crypto.randomUUID is missing on plain HTTP; these ids only tell messages of one tab apart.
const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
