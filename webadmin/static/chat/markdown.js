/**
 * Answers as markup that can do nothing but be read.
 *
 * Three walls, each enough alone against what a model may write: raw HTML is text for the markdown parser,
 * DOMPurify lets through the tags and attributes listed here only, and the page's content security policy
 * runs no script and loads nothing from elsewhere. Links are http, https or mailto, open in a tab that
 * knows nothing of this page, and only when clicked. Images become links: nothing is fetched by reading.
 */
import MarkdownIt from "../vendor/markdown-it.min.js";
import "../vendor/purify.min.js";

const SAFE_LINK = /^(?:https?:\/\/|mailto:)/i;
const PURIFY = {
    ALLOWED_TAGS: ["a", "blockquote", "br", "code", "del", "em", "h4", "h5", "h6", "hr", "li", "ol", "p",
        "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"],
    ALLOWED_ATTR: ["class", "href", "start", "title"],
    ALLOWED_URI_REGEXP: SAFE_LINK,
    ADD_URI_SAFE_ATTR: ["start"], // of a numbered list; not an address
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
};

const purify = globalThis.DOMPurify;
purify.addHook("afterSanitizeAttributes", (node) => {
    if (node.nodeName !== "A") return;
    node.setAttribute("rel", "noopener noreferrer nofollow");
    node.setAttribute("target", "_blank");
});

const markdown = MarkdownIt({ html: false, linkify: true, breaks: true });
markdown.linkify.set({ fuzzyLink: false }); // README.md is a file, not a site in Moldova
markdown.validateLink = (address) => SAFE_LINK.test(address);
markdown.renderer.rules.image = imageAsLink;
markdown.renderer.rules.fence = codeBlock;
markdown.core.ruler.push("headings_below_the_page", headingsBelowThePage);
markdown.core.ruler.push("alignment_as_class", alignmentAsClass);

/**
 * The top-level blocks of a text, each as HTML. While an answer grows only the last ones change, so the page
 * replaces those and leaves what is being read, selected or copied alone.
 *
 * @param {string} text
 * @param {boolean} isGrowing whether more text may come; an emphasis that is still open is shown as such then
 * @returns {string[]}
 */
export function blocksOf(text, isGrowing) {
    const env = {};
    const blocks = [];
    let depth = 0;
    for (const token of markdown.parse(isGrowing ? withMarksClosed(text) : text, env)) {
        if (depth === 0 && token.nesting >= 0) blocks.push([]);
        depth += token.nesting;
        blocks.at(-1).push(token);
    }
    return blocks.map((tokens) => markdown.renderer.render(tokens, markdown.options, env));
}

/** @returns {DocumentFragment} `html` with everything that is not on the list removed */
export const safeFragment = (html) => purify.sanitize(html, PURIFY);

/**
 * The markup of highlighted code, or null for a language that is not known. The highlighter is fetched with
 * the first code block that is complete.
 *
 * @returns {Promise<DocumentFragment|null>}
 */
export async function highlighted(code, language) {
    const { default: highlighter } = await import("../vendor/highlight.min.js");
    if (!highlighter.getLanguage(language)) return null;
    return safeFragment(highlighter.highlight(code, { language, ignoreIllegals: true }).value);
}

/** Closes what the last paragraph has opened, so that no bare `**` flickers by while a bold word is written. */
function withMarksClosed(text) {
    const fences = text.match(/^ {0,3}```/gm) ?? [];
    if (fences.length % 2 === 1) return text;
    const start = text.lastIndexOf("\n\n") + 1;
    const before = text.slice(0, start);
    const last = text.slice(start).replace(/!?\[([^\]\n]*)\]\([^)\s]*$/, "$1"); // half an address
    if ((last.match(/`/g) ?? []).length % 2 === 1) return `${before}${last}\``;
    if ((last.match(/\*\*/g) ?? []).length % 2 === 0) return before + last;
    return before + (last.endsWith("**") ? last.slice(0, -2) : `${last.trimEnd()}**`);
}

const escapeHtml = (text) => markdown.utils.escapeHtml(text);

function imageAsLink(tokens, place, options, env, renderer) {
    const address = tokens[place].attrGet("src");
    const label = escapeHtml(renderer.renderInlineAsText(tokens[place].children, options, env) || address);
    const depth = tokens.slice(0, place).reduce((sum, { type }) => sum + (type === "link_open") - (type === "link_close"), 0);
    return depth > 0 ? label : `<a href="${escapeHtml(address)}">${label}</a>`;
}

function codeBlock(tokens, place) {
    const language = /^[\w+#.-]{1,20}/.exec(tokens[place].info.trim())?.[0].toLowerCase() ?? "";
    const code = escapeHtml(tokens[place].content);
    return `<pre><code${language && ` class="language-${language}"`}>${code}</code></pre>`;
}

// The page has h1, its parts h2, each message h3: what an answer titles comes below, or the outline is nonsense.
function headingsBelowThePage(state) {
    for (const token of state.tokens) {
        if (token.type.startsWith("heading_")) token.tag = `h${Math.min(6, Number(token.tag[1]) + 3)}`;
    }
}

// markdown-it marks a column's alignment with a style attribute, which the policy forbids.
function alignmentAsClass(state) {
    for (const token of state.tokens) {
        const alignment = /^text-align:(\w+)$/.exec(token.attrGet("style") ?? "")?.[1];
        if (alignment) token.attrs = [["class", `align-${alignment}`]];
    }
}
