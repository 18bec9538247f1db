// Texts that scripts say, in the visitor's language: the page carries them in its body.

const texts = JSON.parse(document.body.dataset.texts);

/** The text of that name. */
export function text(name) {
  if (!(name in texts)) throw new Error(`no text named ${name}`);
  return texts[name];
}

export const locale = document.documentElement.lang;
