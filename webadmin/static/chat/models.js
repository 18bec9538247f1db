/** Which model answers: the picker, and the notice that a demo is a demo. */
import { listModels } from "./completion.js";
import { element } from "./elements.js";
import { addresses, words } from "./wording.js";

export class ModelPicker {
    #field;
    #notice;
    #demos = new Set();
    #wanted = null;
    #chosen;

    /**
     * @param {HTMLSelectElement} field
     * @param {HTMLElement} notice shown while the chosen model is a demo
     * @param {(model: string) => void} chosen
     */
    constructor(field, notice, chosen) {
        this.#field = field;
        this.#notice = notice;
        this.#chosen = chosen;
        field.addEventListener("change", () => this.#choose(field.value));
        field.addEventListener("pointerdown", () => this.load()); // models come and go with the machines
    }

    /** Asks the box what can answer now. Throws nothing: without an answer the question itself will tell why. */
    async load() {
        const models = await listModels(addresses.models).catch(() => null);
        if (models === null || models.length === 0) return;
        this.#demos = new Set(models.filter((model) => model.demo).map((model) => model.id));
        const options = models.map(({ id, demo }) => element("option", { value: id }, demo && !/demo/i.test(id) ? words("demo_model", { name: id }) : id));
        if (this.#isShown(models)) return;
        this.#field.replaceChildren(...options);
        this.#field.disabled = false;
        this.show(this.#wanted);
    }

    /** Shows a conversation's model, or a real one before a demo where it has none that still exists. */
    show(model) {
        this.#wanted = model;
        const ids = [...this.#field.options].map(({ value }) => value).filter(Boolean);
        if (ids.length === 0) return;
        this.#choose(ids.includes(model) ? model : ids.find((id) => !this.#demos.has(id)) ?? ids[0]);
    }

    #isShown(models) {
        const options = [...this.#field.options].map(({ value }) => value);
        return !this.#field.disabled && options.join("\n") === models.map(({ id }) => id).join("\n");
    }

    #choose(model) {
        this.#field.value = model;
        this.#notice.hidden = !this.#demos.has(model);
        if (model !== this.#wanted) {
            this.#wanted = model;
            this.#chosen(model);
        }
    }
}
