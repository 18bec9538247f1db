// Texts that scripts say, in the visitor's language: the page carries them in its body.

const texts = JSON.parse(document.body.dataset.texts ?? "{}");

/** The text of that name, with %(name)s replaced by `values`. Texts of other pages can be handed over as `from`. */
export function text(name, values = {}, from = texts) {
  const pattern = from[name];
  if (pattern === undefined) throw new Error(`no text named ${name}`);
  return pattern.replace(/%\((\w+)\)s/g, (_, key) => String(values[key]));
}

export const locale = document.documentElement.lang;
