"""The page for a start that is not good and serves no pages: plain HTML that nginx shows by itself. Pure."""

from html import escape

from appliance.boot.word import Kind, Word

_LEAD = {
    Kind.BAD_DATA: (
        "The data of this box needs help. Nothing was deleted or changed.",
        "Les données de ce boîtier ont besoin d’aide. Rien n’a été supprimé ni modifié.",
    ),
    Kind.BAD_RELEASE: (
        "This start of the box is not good. It may restart by itself; the screen of the box shows more.",
        "Ce démarrage du boîtier n’est pas bon. Il peut redémarrer de lui-même\N{NARROW NO-BREAK SPACE}; "
        "l’écran du boîtier en montre davantage.",
    ),
}


def trouble_page(word: Word) -> str:
    """What is wrong and what to do, in both languages; the box's own words are English."""
    english, french = _LEAD[word.kind]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="10">
<meta name="color-scheme" content="light dark">
<title>Cellule</title>
<style>
  :root {{ color-scheme: light dark; font: 1.0625rem/1.5 system-ui, sans-serif; }}
  main {{ max-width: 38rem; margin: 15vh auto 0; padding: 0 1.5rem; }}
  h1 {{ font-size: 1.25rem; margin: 0 0 .25rem; }}
  p {{ margin: 0 0 1rem; overflow-wrap: anywhere; }}
  .noted {{ border-left: .25rem solid #c2410c; padding-left: .75rem; }}
</style>
</head>
<body>
<main>
<h1>{escape(english)}</h1>
<p lang="fr">{escape(french)}</p>
<p class="noted">{escape(word.sentence)} {escape(word.next_step)}</p>
</main>
</body>
</html>
"""
