"""What is wrong with a request's body, in a sentence that its author can act on: which field, and how. Pure.

pydantic tells one error for each member of a union, and names the member in the error's place. Here the error
is told that says most, at its place in the body as it was sent; what was given is never repeated.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_LONGEST_SENTENCE = 1000
_LONGEST_NAME = 200
_LOOKED_AT = 100


class Wrong(NamedTuple):
    """`param` is the top field, None where the body as a whole is wrong."""

    sentence: str
    param: str | None


def first_wrong(error: ValidationError, given: object = None) -> Wrong:
    """Of the first field that is wrong; `given` is the body, None where it has no places (a form)."""
    errors = error.errors(include_url=False, include_input=False)
    of_field = [one for one in errors[:_LOOKED_AT] if one["loc"][:1] == errors[0]["loc"][:1]]
    told = max(of_field, key=lambda one: (_says_more(one), len(_place(one, given))))
    place = ".".join(_place(told, given))
    param = told.get("ctx", {}).get("param") or (str(told["loc"][0]) if told["loc"] else None)
    if told["type"] == "extra_forbidden":
        sentence = f"There is no parameter '{place}' here."
    else:
        sentence = f"{place + ': ' if place else ''}{told['msg']}."
    return Wrong(sentence[:_LONGEST_SENTENCE], param[:_LONGEST_NAME] if param else None)


def _says_more(error: ErrorDetails) -> bool:
    """Than that the value is none of this kind, which all members of a union but one say."""
    return not error["type"].endswith("_type")


def _place(error: ErrorDetails, given: object) -> Sequence[str]:
    """Its keys and numbers in the body, without the names of union members among them."""
    loc = error["loc"]
    if given is None:
        return [str(part) for part in loc]
    place, at = list[str](), given
    for part in loc:
        match at, part:
            case dict(), _ if part in at:
                at = at[part]
            case list(), int() if part < len(at):
                at = at[part]
            case _ if error["type"] != "missing" or part is not loc[-1]:
                continue
            case _:
                pass
        place.append(str(part))
    return place
