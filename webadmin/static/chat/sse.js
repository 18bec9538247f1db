/**
 * Server-sent events from bytes, however the network cut them.
 *
 * Follows the event-stream grammar of the HTML standard (section 9.2.6): lines end in LF, CR or CRLF, a
 * blank line completes an event, several `data` lines join with LF, and an event that the stream's end
 * cuts off is dropped. A UTF-8 character or a CRLF split between two pieces is put together again.
 */
export class EventStreamParser {
    #decoder = new TextDecoder("utf-8"); // removes a byte order mark at the start
    #rest = "";
    #endedInCarriageReturn = false;
    #event = "";
    #data = [];

    /**
     * @param {Uint8Array} bytes the next piece of the body
     * @returns {{event: string, data: string}[]} the events that this piece completed, often none
     */
    push(bytes) {
        let text = this.#decoder.decode(bytes, { stream: true });
        if (text === "") return [];
        if (this.#endedInCarriageReturn && text.startsWith("\n")) text = text.slice(1);
        this.#endedInCarriageReturn = text.endsWith("\r");
        const lines = (this.#rest + text).split(/\r\n|\r|\n/);
        this.#rest = lines.pop();
        return lines.map((line) => this.#take(line)).filter(Boolean);
    }

    #take(line) {
        if (line === "") return this.#complete();
        const colon = line.indexOf(":");
        if (colon === 0) return null; // a comment, which keeps connections alive
        const field = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (field === "data") this.#data.push(value);
        if (field === "event") this.#event = value;
        return null;
    }

    #complete() {
        const event = { event: this.#event || "message", data: this.#data.join("\n") };
        const isEmpty = this.#data.length === 0;
        this.#event = "";
        this.#data = [];
        return isEmpty ? null : event;
    }
}
