"""Takes everything secret out of a text, in whatever form it stands there, and counts what it took. Pure.

Every rule and every known secret is looked for in every view of the text (`disguises`); what is found is
replaced in the original. When in doubt it takes out too much.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from appliance.support.redaction.disguises import View, views
from appliance.support.redaction.known import Known, Pseudonyms
from appliance.support.redaction.rules import RULES, Rule


@dataclass(frozen=True)
class Redacted:
    """`removed` counts by the rule's name."""

    text: str
    removed: Mapping[str, int]


@dataclass(frozen=True, order=True)
class _Find:
    start: int
    end: int
    name: str
    instead: str


class Redactor:
    """Made once for a bundle or a session; `redact` any number of texts with it."""

    def __init__(self, known: Known, pseudonyms: Pseudonyms, *, hide_addresses: bool) -> None:
        rules = [rule for rule in RULES if hide_addresses or not rule.optional]
        self._pseudonyms = pseudonyms
        self._rules = [(rule, rule.compiled(joined=False)) for rule in rules if not rule.joined_only]
        self._joined_rules = [(rule, rule.compiled(joined=True)) for rule in rules if not rule.one_line]
        self._secrets = _any_of(known.secrets)
        self._names = _any_name(known.names)
        self._kinds = {name.casefold(): kind for name, kind in known.names.items()}

    def redact(self, text: str) -> Redacted:
        """The text without secrets."""
        finds = sorted({find for view in views(text) for find in self._finds(view)})
        pieces: list[str] = []
        removed: Counter[str] = Counter()
        at = 0
        for find in _merged(finds):
            pieces += (text[at : find.start], find.instead)
            removed[find.name] += 1
            at = find.end
        return Redacted("".join((*pieces, text[at:])), dict(removed))

    def _finds(self, view: View) -> Iterator[_Find]:
        for rule, pattern in self._joined_rules if view.joints else self._rules:
            for found in pattern.finditer(view.text):
                group = "secret" if "secret" in pattern.groupindex else 0
                yield from self._find(view, found.span(group), rule.name, self._instead(rule, found[group]))
        for found in self._secrets.finditer(view.text):
            yield from self._find(view, found.span(), "known-secret", "[secret removed]")
        for found in self._names.finditer(view.text):
            kind = self._kinds.get(found[0].casefold(), "user")
            yield from self._find(view, found.span(), kind, self._pseudonyms.of(kind, found[0]))

    def _find(self, view: View, span: tuple[int, int], name: str, instead: str) -> Iterator[_Find]:
        # inside of one line it was found before the lines were joined, with its boundaries
        if span[0] < span[1] and (not view.joints or view.crosses_joint(*span)):
            yield _Find(*view.origin(*span), name, instead)

    def _instead(self, rule: Rule, value: str) -> str:
        return self._pseudonyms.of(rule.stands_for, value) if rule.stands_for else f"[{rule.name} removed]"


def _merged(finds: list[_Find]) -> Iterator[_Find]:
    """Overlapping ones become one, named by the widest."""
    current: _Find | None = None
    for find in finds:
        if current is None or find.start >= current.end:
            if current is not None:
                yield current
            current = find
            continue
        widest = max(current, find, key=lambda each: each.end - each.start)
        current = _Find(current.start, max(current.end, find.end), widest.name, widest.instead)
    if current is not None:
        yield current


def _any_of(texts: frozenset[str]) -> re.Pattern[str]:
    """The texts with their groups parted by dashes, by spaces or not at all, in any case."""
    patterns = (
        r"[\s-]*".join(re.escape(group) for group in re.split(r"[\s-]+", text) if group)
        for text in sorted(texts, key=len, reverse=True)
    )
    return _alternatives(patterns)


def _any_name(names: Mapping[str, str]) -> re.Pattern[str]:
    return _alternatives(rf"(?<!\w){re.escape(name)}(?!\w)" for name in sorted(names, key=len, reverse=True))


def _alternatives(patterns: Iterator[str]) -> re.Pattern[str]:
    return re.compile("|".join(patterns) or r"(?!)", re.IGNORECASE)
