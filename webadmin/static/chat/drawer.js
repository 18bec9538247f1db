/** The conversation list on a narrow page: slides over the rest, which is out of reach meanwhile. */

const isNarrow = matchMedia("(max-width: 64rem)");

export class Drawer {
    #panel;
    #rest;
    #opener;
    #backdrop;

    /**
     * @param {HTMLElement} panel
     * @param {HTMLElement} rest what lies behind the open drawer
     * @param {HTMLButtonElement} opener
     * @param {HTMLButtonElement} closeButton
     * @param {HTMLElement} backdrop
     */
    constructor(panel, rest, opener, closeButton, backdrop) {
        this.#panel = panel;
        this.#rest = rest;
        this.#opener = opener;
        this.#backdrop = backdrop;
        opener.addEventListener("click", () => this.#set(true));
        for (const closer of [backdrop, closeButton]) closer.addEventListener("click", () => this.close());
        document.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
        isNarrow.addEventListener("change", () => this.#set(false));
        this.#set(false);
    }

    close() {
        if (this.#panel.classList.contains("is-open")) {
            this.#set(false);
            this.#opener.focus();
        }
    }

    #set(isOpen) {
        this.#panel.classList.toggle("is-open", isOpen);
        this.#panel.inert = isNarrow.matches && !isOpen; // off the page: no tab stop there
        this.#rest.inert = isOpen;
        this.#backdrop.hidden = !isOpen;
        this.#opener.setAttribute("aria-expanded", String(isOpen));
        if (isOpen) this.#panel.querySelector("button").focus();
    }
}
