"""What is wrong with a file that a person typed, a sentence for each thing, by the names that stand in it.

For files that are read by a pydantic model which allows no other names; several errors become one where they
have one cause.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def toml_files(folder: Path) -> list[Path]:
    """By name; not the hidden ones that editors and other systems put beside them, links to nowhere even."""
    return sorted(file for file in folder.glob("*.toml") if not file.name.startswith("."))


def what_is_wrong(model: type[BaseModel], error: ValidationError) -> list[str]:
    """Of a file that was to be a `model`."""
    return [_sentence(model, each) for each in _innermost(error)]


def _innermost(error: ValidationError) -> list[ErrorDetails]:
    """Without those that only follow from one within: a list that is too short for its item is bad."""
    errors = error.errors()
    return [
        outer
        for outer in errors
        if not any(
            inner["loc"][: len(outer["loc"])] == outer["loc"] for inner in errors if inner is not outer
        )
    ]


def _sentence(model: type[BaseModel], error: ErrorDetails) -> str:
    *outer, name = error["loc"] or ("",)
    where = " ".join(f"number {part + 1}" if isinstance(part, int) else f"[{part}]" for part in outer)
    within = f" in {where}" if where else ""
    named = f"Number {name + 1}" if isinstance(name, int) else f'"{name}"' if name else "it"
    match error["type"]:
        case "missing":
            return f"{named} is missing{within}."
        case "extra_forbidden":
            close = difflib.get_close_matches(str(name), _names_at(model, outer), 1)
            meant = f' Is "{close[0]}" meant?' if close else ""
            return f"there is no {named}{within}.{meant}"
        case "value_error":
            return f"{named}{within} {error['ctx']['error']}."
        case _:
            return f"{named}{within}: {error['msg']} (it is {error['input']!r})."


def _names_at(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The names that may stand there."""
    for part in path:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        model = next(
            each
            for each in (annotation, *get_args(annotation))
            if isinstance(each, type) and issubclass(each, BaseModel)
        )
    return list(model.model_fields)
