/** What the page says, in the person's language, and what it must know of the box: one JSON block of the page. */

const config = JSON.parse(document.getElementById("chat-config").textContent);

/** @type {{completions: string, models: string, queue: string, signIn: string, page: string}} */
export const addresses = config.addresses;
export const accountId = config.account;

const whole = new Intl.NumberFormat(config.language);
const measured = new Intl.NumberFormat(config.language, {
    maximumSignificantDigits: 3,
    maximumFractionDigits: 2,
    roundingPriority: "lessPrecision",
});

/** The text `key` with its {names} filled in; a missing key is a bug that a test finds. */
export function words(key, values = {}) {
    const text = config.words[key];
    if (text === undefined) throw new Error(`no wording for ${key}`);
    return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** A count. */
export const amount = (number) => whole.format(number);
/** Something measured, with as many digits as mean anything. */
export const measure = (number) => measured.format(number);
