/** The messages of the conversation that is shown, brought up to date at most once a frame. */
import { AnswerView } from "./answer.js";
import { isRunning } from "./conversations.js";
import { QuestionView } from "./question.js";

/** A long answer takes longer to render: never spend more than about a quarter of the time on it. */
const REST_FACTOR = 3;

export class Transcript {
    #list;
    #on;
    #conversation = null;
    #views = new Map(); // message id → view
    #isScheduled = false;
    #restUntil = 0;

    /**
     * @param {HTMLElement} list where the messages go
     * @param {{act: (action: string) => void, resend: (text: string) => void, grown: () => void}} on
     */
    constructor(list, on) {
        this.#list = list;
        this.#on = on;
        setInterval(() => this.#views.forEach((view) => view.tick?.()), 1000);
    }

    /** Shows `conversation` from scratch. */
    show(conversation) {
        this.#conversation = conversation;
        this.#views.clear();
        this.#list.replaceChildren();
        this.update();
    }

    /** Makes the page equal the conversation, now. */
    update() {
        const startedAt = performance.now();
        const { messages } = this.#conversation;
        const ids = new Set(messages.map(({ id }) => id));
        for (const [id, view] of this.#views) {
            if (!ids.has(id)) this.#forget(id, view);
        }
        const isBusy = isRunning(messages.at(-1));
        const lastQuestion = messages.findLast((message) => message.role === "user");
        for (const message of messages) {
            const view = this.#views.get(message.id) ?? this.#add(message);
            view.update(message.role === "user" ? message === lastQuestion && !isBusy : message === messages.at(-1));
        }
        this.#on.grown();
        const now = performance.now();
        this.#restUntil = now + REST_FACTOR * (now - startedAt);
    }

    /** Makes the page equal the conversation soon: text may come faster than it can be read or drawn. */
    updateSoon() {
        if (this.#isScheduled) return;
        this.#isScheduled = true;
        setTimeout(() => requestAnimationFrame(() => {
            this.#isScheduled = false;
            this.update();
        }), Math.max(0, this.#restUntil - performance.now()));
    }

    editLastQuestion() {
        const question = this.#conversation.messages.findLast((message) => message.role === "user");
        if (question && !isRunning(this.#conversation.messages.at(-1))) this.#views.get(question.id).edit();
    }

    #add(message) {
        const view = message.role === "user" ? new QuestionView(message, this.#on.resend) : new AnswerView(message, this.#on.act);
        this.#views.set(message.id, view);
        this.#list.append(view.root);
        return view;
    }

    #forget(id, view) {
        view.root.remove();
        this.#views.delete(id);
    }
}
