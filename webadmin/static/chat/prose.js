/** A growing answer as elements: only blocks that changed are replaced, code gets its copy button and colours. */
import { element, iconButton, copyFrom } from "./elements.js";
import { blocksOf, highlighted, safeFragment } from "./markdown.js";
import { words } from "./wording.js";

export class Prose {
    root = element("div", { class: "chat-prose" });
    #shown = [];

    /**
     * @param {string} text markdown so far
     * @param {boolean} isGrowing whether more may come, in the last block at least
     */
    show(text, isGrowing) {
        const blocks = blocksOf(text, isGrowing);
        blocks.forEach((html, place) => {
            const isFinal = !isGrowing || place < blocks.length - 1;
            const shown = this.#shown[place];
            if (shown?.html === html && shown.isFinal === isFinal) return;
            if (shown?.html === html) this.#finish(shown);
            else this.#put(place, html, isFinal);
        });
        for (const { node } of this.#shown.splice(blocks.length)) node.remove();
    }

    #put(place, html, isFinal) {
        const node = element("div", { class: "chat-block" });
        node.append(safeFragment(html));
        for (const pre of node.querySelectorAll("pre")) frameCode(pre);
        for (const table of node.querySelectorAll("table")) frameTable(table);
        const shown = { html, node, isFinal: false };
        const before = this.#shown[place];
        if (before) before.node.replaceWith(node);
        else this.root.append(node);
        this.#shown[place] = shown;
        if (isFinal) this.#finish(shown);
    }

    #finish(shown) {
        shown.isFinal = true;
        shown.node.querySelectorAll("pre > code[class^=language-]").forEach(colour);
    }
}

function frameCode(pre) {
    const code = pre.querySelector("code");
    const language = /language-(\S+)/.exec(code?.className ?? "")?.[1] ?? "";
    const copy = iconButton("copy", words("copy"), () => copyFrom(copy, code.textContent, words));
    const frame = element("div", { class: "chat-code" });
    pre.replaceWith(frame);
    pre.tabIndex = 0; // a long line is scrolled with the keyboard too
    frame.append(element("div", { class: "chat-code-bar" }, element("span", {}, language), copy), pre);
}

function frameTable(table) {
    const frame = element("div", { class: "chat-table", tabindex: "0" });
    table.replaceWith(frame);
    frame.append(table);
}

async function colour(code) {
    const language = code.className.replace("language-", "");
    const coloured = await highlighted(code.textContent, language).catch(() => null); // colours are a luxury
    if (coloured) code.replaceChildren(coloured);
}
