/**
 * What can go wrong with a question, sorted by what the person can do about it.
 *
 * Pure: facts of a response in, one Trouble out. The sentences are in the page's wording (kind → sentence),
 * the server's own sentence is kept beside it where it says more.
 */

export class Trouble extends Error {
    /**
     * @param {string} kind one of KINDS
     * @param {{retryAfterSeconds?: number|null, said?: string, requestId?: string|null}} facts
     */
    constructor(kind, { retryAfterSeconds = null, said = "", requestId = null } = {}) {
        super(said || kind);
        Object.assign(this, { kind, retryAfterSeconds, said, requestId });
    }
}

/** Kinds that pass by themselves: the page waits the time the server asks for and tries again. */
export const PASSES = new Set(["busy", "no_node"]);

const KIND_OF_CODE = {
    context_length_exceeded: "too_long",
    model_not_found: "model_missing",
    model_fits_no_node: "model_missing",
};

const KIND_OF_STATUS = {
    401: "signed_out",
    403: "forbidden",
    404: "model_missing",
    413: "too_large",
    429: "busy",
    502: "no_node",
    503: "no_node",
    504: "no_node",
};

/** Seconds of a Retry-After header (RFC 9110, 10.2.3: seconds or a date), null when it has none. */
export function retryAfterSeconds(header, nowMs = Date.now()) {
    if (!header) return null;
    const seconds = /^\s*\d+(\.\d+)?\s*$/.test(header) ? Number(header) : (Date.parse(header) - nowMs) / 1000;
    return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}

/** The Trouble that a response with an error status means; `body` is its text, whatever it holds. */
export function troubleOfResponse(response, body) {
    const error = errorObject(body);
    const kind = KIND_OF_CODE[error.code] ?? KIND_OF_STATUS[response.status] ?? (response.status < 500 ? "rejected" : "broken");
    return new Trouble(kind, {
        retryAfterSeconds: retryAfterSeconds(response.headers.get("retry-after")),
        said: error.message,
        requestId: response.headers.get("x-request-id"),
    });
}

/** The Trouble of an error event inside a stream that had already begun. */
export function troubleOfEvent(error, requestId) {
    const kind = KIND_OF_CODE[error.code] ?? "interrupted";
    return new Trouble(kind, { said: typeof error.message === "string" ? error.message : "", requestId });
}

function errorObject(body) {
    try {
        const error = JSON.parse(body)?.error ?? {};
        return { code: error.code ?? "", message: typeof error.message === "string" ? error.message : "" };
    } catch {
        return { code: "", message: "" }; // an intermediate's HTML page
    }
}
