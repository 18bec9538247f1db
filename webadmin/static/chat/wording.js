/** What the page says, in the person's language, and what it must know of the box: one JSON block of the page. */

const config = JSON.parse(document.getElementById("chat-config").textContent);

/** @type {{account: string, language: string, completions: string, models: string, signIn: string, page: string}} */
export const addresses = config.addresses;
export const accountId = config.account;

const numbers = new Intl.NumberFormat(config.language, { maximumFractionDigits: 1 });
const precise = new Intl.NumberFormat(config.language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** The text `key` with its {names} filled in; a missing key is a bug that a test finds. */
export function words(key, values = {}) {
    const text = config.words[key];
    if (text === undefined) throw new Error(`no wording for ${key}`);
    return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export const amount = (number) => numbers.format(number);
export const seconds = (number) => (number < 10 ? precise : numbers).format(number);
