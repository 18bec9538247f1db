/**
 * One streamed answer of /v1/chat/completions, asked with the sign-in cookie of this origin.
 *
 * Yields what happens in the order it happens; throws a Trouble when the answer can't come, and ends without
 * `done` never: a stream that stops before its end is an `interrupted` Trouble. Aborting the signal throws
 * the signal's AbortError and makes the server free the engine's slot.
 */
import { EventStreamParser } from "./sse.js";
import { Trouble, troubleOfEvent, troubleOfResponse } from "./trouble.js";

// The pool takes a cookie only with this type, which no form of another site can send.
const HEADERS = { "content-type": "application/json" };

/**
 * @param {string} endpoint path of the chat completions
 * @param {object} body the OpenAI request without `stream`
 * @param {AbortSignal} signal
 * @yields {{kind: "accepted", node: string, queuePosition: number, requestId: string|null}
 *        | {kind: "text", text: string}
 *        | {kind: "done", finishReason: string|null, completionTokens: number|null}}
 */
export async function* streamCompletion(endpoint, body, signal) {
    const request = { ...body, stream: true, stream_options: { include_usage: true } };
    const response = await reach(endpoint, { method: "POST", headers: HEADERS, body: JSON.stringify(request), signal });
    if (!response.ok) throw troubleOfResponse(response, await response.text().catch(() => ""));
    const requestId = response.headers.get("x-request-id");
    yield {
        kind: "accepted",
        node: decoded(response.headers.get("x-cellule-node") ?? ""),
        queuePosition: Number(response.headers.get("x-cellule-queue-position")) || 0,
        requestId,
    };
    yield* readAnswer(response, requestId);
}

/** @returns {Promise<{id: string, demo: boolean}[]>} the models that can answer a chat now */
export async function listModels(endpoint) {
    const response = await reach(endpoint, { headers: HEADERS });
    const body = await response.text();
    if (!response.ok) throw troubleOfResponse(response, body);
    const chatting = JSON.parse(body).data.filter(({ kind = "text" }) => kind === "text");
    return chatting.map((model) => ({ id: model.id, demo: Boolean(model.demo) }));
}

/** A name as a header carries it, percent-encoded UTF-8; as it came if it is no such thing. */
function decoded(name) {
    try {
        return decodeURIComponent(name);
    } catch {
        return name;
    }
}

async function reach(endpoint, options) {
    try {
        return await fetch(endpoint, { credentials: "same-origin", cache: "no-store", redirect: "error", ...options });
    } catch (error) {
        throw error.name === "AbortError" ? error : new Trouble("unreachable");
    }
}

async function* readAnswer(response, requestId) {
    let finishReason = null;
    let completionTokens = null;
    for await (const { data } of events(response.body, requestId)) {
        if (data === "[DONE]") {
            yield { kind: "done", finishReason, completionTokens };
            return;
        }
        const chunk = parsed(data, requestId);
        if (chunk.error) throw troubleOfEvent(chunk.error, requestId);
        completionTokens = chunk.usage?.completion_tokens ?? completionTokens;
        const choice = chunk.choices?.[0];
        finishReason = choice?.finish_reason ?? finishReason;
        if (choice?.delta?.content) yield { kind: "text", text: choice.delta.content };
    }
    throw new Trouble("interrupted", { requestId });
}

async function* events(body, requestId) {
    const parser = new EventStreamParser();
    const reader = body.getReader();
    try {
        while (true) {
            const { done, value } = await reader.read().catch((error) => {
                throw error.name === "AbortError" ? error : new Trouble("interrupted", { requestId });
            });
            if (done) return;
            yield* parser.push(value);
        }
    } finally {
        reader.cancel().catch(() => {}); // it is closed already when the answer is complete
    }
}

function parsed(data, requestId) {
    try {
        return JSON.parse(data);
    } catch {
        throw new Trouble("interrupted", { requestId });
    }
}
