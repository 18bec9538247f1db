/**
 * Questions become answers: one run per conversation, any number of conversations at once.
 *
 * A run writes into its own answer whatever the page shows meanwhile. What came is never thrown away: a run
 * that is stopped or dies leaves its text, marked. When the server says "later" with a time, the run waits
 * that time and asks again, at most PATIENT_ATTEMPTS times and never longer than PATIENT_SECONDS at once.
 */
import { streamCompletion } from "./completion.js";
import { ANSWER_STATES, promptMessages } from "./conversations.js";
import { watchQueue } from "./queue.js";
import { PASSES, Trouble } from "./trouble.js";

const PATIENT_ATTEMPTS = 4;
const PATIENT_SECONDS = 90;

export class Answering {
    #conversations;
    #addresses;
    #modelFor;
    #continuePrompt;
    #controllers = new Map(); // conversation id → AbortController

    /**
     * @param {import("./conversations.js").Conversations} conversations
     * @param {{completions: string, queue: string}} addresses
     * @param {{modelFor: (conversation: object) => Promise<string|null>, continuePrompt: string}} ask which model
     *     answers a conversation, and what a person would write to get the rest of an answer
     */
    constructor(conversations, addresses, { modelFor, continuePrompt }) {
        this.#conversations = conversations;
        this.#addresses = addresses;
        this.#modelFor = modelFor;
        this.#continuePrompt = continuePrompt;
    }

    send(conversation, text) {
        return this.#run(conversation, this.#conversations.ask(conversation, text));
    }

    /** Answers the last question anew; also how a failed answer is tried again. */
    regenerate(conversation) {
        this.#conversations.dropLastAnswer(conversation);
        return this.#run(conversation, this.#conversations.addAnswer(conversation));
    }

    replaceLastQuestion(conversation, text) {
        this.#conversations.takeLastQuestion(conversation);
        return this.send(conversation, text);
    }

    /** Asks for the rest of the last answer and appends it. */
    continueAnswer(conversation) {
        const answer = conversation.messages.at(-1);
        const messages = [...promptMessages(conversation.messages), { role: "user", content: this.#continuePrompt }];
        return this.#run(conversation, answer, messages);
    }

    stop(conversation) {
        this.#controllers.get(conversation.id)?.abort();
    }

    async #run(conversation, answer, messages = promptMessages(conversation.messages)) {
        const controller = new AbortController();
        this.#controllers.set(conversation.id, controller);
        Object.assign(answer, { state: ANSWER_STATES.waiting, trouble: null, facts: {} });
        this.#changed(conversation, answer);
        try {
            await this.#answerPatiently(conversation, answer, messages, controller.signal);
        } catch (error) {
            endEarly(answer, error);
        }
        this.#controllers.delete(conversation.id);
        this.#changed(conversation, answer);
    }

    async #answerPatiently(conversation, answer, messages, signal) {
        for (let attempt = 1; ; attempt += 1) {
            try {
                await this.#answerOnce(conversation, answer, messages, signal);
                return;
            } catch (error) {
                if (!passesSoon(error) || attempt === PATIENT_ATTEMPTS) throw error;
                answer.pause = { kind: error.kind, untilMs: Date.now() + error.retryAfterSeconds * 1000 };
                this.#changed(conversation, answer);
                await pause(error.retryAfterSeconds * 1000, signal).finally(() => delete answer.pause);
            }
        }
    }

    async #answerOnce(conversation, answer, messages, signal) {
        const watch = new StreamWatch();
        const model = await this.#modelFor(conversation);
        if (model === null) throw new Trouble("no_node");
        signal.throwIfAborted();
        answer.facts.model = model;
        const body = { model, messages };
        for await (const happening of this.#whileWatchingTheQueue(conversation, answer, body, signal)) {
            if (happening.kind === "accepted") {
                const { node, queuePosition, requestId } = happening;
                Object.assign(answer.facts, { node, queuePosition, requestId });
            } else if (happening.kind === "text") {
                watch.textCame();
                answer.state = ANSWER_STATES.streaming;
                answer.text += happening.text;
            } else {
                answer.state = happening.finishReason === "length" ? ANSWER_STATES.cut : ANSWER_STATES.complete;
                Object.assign(answer.facts, watch.facts(happening.completionTokens));
            }
            this.#changed(conversation, answer);
        }
    }

    async *#whileWatchingTheQueue(conversation, answer, body, signal) {
        const queueing = new AbortController();
        const seen = (waiting) => {
            answer.queueLength = waiting;
            this.#changed(conversation, answer);
        };
        watchQueue(this.#addresses.queue, seen, queueing.signal);
        try {
            for await (const happening of streamCompletion(this.#addresses.completions, body, signal)) {
                queueing.abort(); // a machine has taken the question
                yield happening;
            }
        } finally {
            queueing.abort();
            delete answer.queueLength;
        }
    }

    #changed(conversation, answer) {
        this.#conversations.answerChanged(conversation, answer);
    }
}

const SHORTEST_MEASURE_SECONDS = 0.2;

/** Times one stream: the wait before its first text, and the speed after it. */
class StreamWatch {
    #sentAt = performance.now();
    #firstAt = null;
    #lastAt = null;
    #pieces = 0;

    textCame() {
        this.#lastAt = performance.now();
        this.#firstAt ??= this.#lastAt;
        this.#pieces += 1;
    }

    /** @param {number|null} counted the server's exact count; without it each piece counts as one token */
    facts(counted) {
        const tokens = counted ?? this.#pieces;
        const seconds = (this.#lastAt - this.#firstAt) / 1000;
        const whole = (this.#lastAt - this.#sentAt) / 1000;
        // a short answer arrives in one piece: what lies between its tokens then is chance, not speed
        const isMeasured = seconds >= SHORTEST_MEASURE_SECONDS;
        return {
            tokens,
            firstTokenSeconds: this.#firstAt === null ? null : (this.#firstAt - this.#sentAt) / 1000,
            tokensPerSecond: tokens < 2 ? null : isMeasured ? (tokens - 1) / seconds : tokens / whole,
        };
    }
}

function passesSoon(error) {
    const { kind, retryAfterSeconds } = error;
    return PASSES.has(kind) && retryAfterSeconds !== null && retryAfterSeconds <= PATIENT_SECONDS;
}

function endEarly(answer, error) {
    if (error.name === "AbortError") {
        answer.state = ANSWER_STATES.stopped;
        return;
    }
    if (!(error instanceof Trouble)) console.error(error); // our bug: keep its trace where a developer looks
    const { kind = "broken", retryAfterSeconds = null, said = "", requestId = null } = error;
    answer.state = answer.text ? ANSWER_STATES.interrupted : ANSWER_STATES.failed;
    answer.trouble = {
        kind: answer.text && kind === "unreachable" ? "interrupted" : kind,
        said: error instanceof Trouble ? said : "",
        requestId,
        notBeforeMs: retryAfterSeconds === null ? null : Date.now() + retryAfterSeconds * 1000,
    };
}

function pause(milliseconds, signal) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, milliseconds);
        signal.addEventListener("abort", () => {
            clearTimeout(timer);
            reject(signal.reason); // an AbortError, as from fetch
        }, { once: true });
    });
}
