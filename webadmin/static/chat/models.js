/** Which model answers: the picker, and the notice that a demo is a demo. */
import { listModels } from "./completion.js";
import { element } from "./elements.js";
import { addresses, words } from "./wording.js";

export class ModelPicker {
    #field;
    #demoNotice;
    #chosen;
    #demos = new Set();
    #wanted = null;
    #loading = null;

    /**
     * @param {HTMLSelectElement} field
     * @param {HTMLElement} demoNotice shown while the chosen model is a demo
     * @param {(model: string) => void} chosen by the person, or because the wanted one is gone
     */
    constructor(field, demoNotice, chosen) {
        this.#field = field;
        this.#demoNotice = demoNotice;
        this.#chosen = chosen;
        field.addEventListener("change", () => {
            this.#wanted = field.value;
            this.#show(field.value);
            chosen(field.value);
        });
        field.addEventListener("pointerdown", () => this.load()); // models come and go with the machines
    }

    /** Asks the box what can answer now. Never fails: without an answer, the question itself will tell why. */
    load() {
        this.#loading = this.#load().catch(() => {});
        return this.#loading;
    }

    /** Shows a conversation's model; null is one that was never asked for, and the best there is stands in for it. */
    show(model) {
        this.#wanted = model;
        const ids = this.#ids();
        if (ids.length === 0) return;
        const isThere = ids.includes(model);
        this.#show(isThere ? model : ids.find((id) => !this.#demos.has(id)) ?? ids[0]);
        if (model && !isThere) this.#chosen(this.#field.value);
    }

    /**
     * The model that is shown, null while none can answer. Throws the Trouble of a list that can't be had.
     *
     * @returns {Promise<string|null>}
     */
    async current() {
        await this.#loading;
        if (this.#ids().length === 0) await this.#load();
        return this.#field.value || null;
    }

    async #load() {
        const models = await listModels(addresses.models);
        const ids = models.map(({ id }) => id);
        if (models.length === 0 || ids.join("\n") === this.#ids().join("\n")) return;
        this.#demos = new Set(models.filter(({ demo }) => demo).map(({ id }) => id));
        this.#field.replaceChildren(...ids.map((id) => element("option", { value: id }, this.#label(id))));
        this.#field.disabled = false;
        this.show(this.#wanted);
    }

    #ids() {
        return [...this.#field.options].map(({ value }) => value).filter(Boolean);
    }

    #label(id) {
        return this.#demos.has(id) && !/demo/i.test(id) ? words("demo_model", { name: id }) : id;
    }

    #show(model) {
        this.#field.value = model;
        this.#demoNotice.hidden = !this.#demos.has(model);
    }
}
