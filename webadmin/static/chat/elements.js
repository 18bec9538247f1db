/** Elements of the page, made without any HTML in strings. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} tag
 * @param {Object<string, string|boolean|Function|null>} attributes `on…` functions listen; false and null are left out
 * @param {...(Node|string|null)} children
 */
export function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (typeof value === "function") made.addEventListener(name.slice(2), value);
        else if (value !== false && value !== null) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null));
    return made;
}

/** An icon of the page's sprite (templates/chat/icons.html). */
export function icon(name) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS(SVG, "use");
    use.setAttribute("href", `#icon-${name}`);
    svg.append(use);
    return svg;
}

/** A button that shows only an icon; its label is read out and shown on hover. */
export function iconButton(name, label, onclick, attributes = {}) {
    const named = { type: "button", class: "icon-button", "aria-label": label, title: label };
    return element("button", { ...named, onclick, ...attributes }, icon(name));
}

/** Copies text and tells on the button for a moment that it did. */
export async function copyFrom(button, text, words) {
    const [name, label] = (await copied(text)) ? ["check", words("copied")] : ["warning", words("copy_refused")];
    const use = button.querySelector("use");
    const { before } = button.dataset;
    if (before === undefined) button.dataset.before = use.getAttribute("href");
    use.setAttribute("href", `#icon-${name}`);
    button.title = label;
    button.setAttribute("aria-label", label);
    setTimeout(() => {
        use.setAttribute("href", button.dataset.before);
        button.title = words("copy");
        button.setAttribute("aria-label", words("copy"));
    }, 1600);
    return label;
}

async function copied(text) {
    try {
        await navigator.clipboard.writeText(text);
        return true;
    } catch {
        return copiedBySelection(text); // plain HTTP pages have no clipboard object
    }
}

function copiedBySelection(text) {
    const field = element("textarea", { class: "visually-hidden", readonly: true });
    const focused = document.activeElement;
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    focused?.focus();
    return done;
}
