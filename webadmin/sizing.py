"""The sizing assistant: how many people a list of machines could serve, by replaying a day of requests."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from flask import Blueprint, make_response, render_template, request
from flask.blueprints import BlueprintSetupState
from flask_babel import format_decimal, gettext, lazy_gettext
from flask_wtf.csrf import CSRFError, validate_csrf
from werkzeug.wrappers import Response
from wtforms import ValidationError

from appliance.errors import Refusal
from appliance.hardware import profile_folders, profiles_in
from appliance.placement import Wishes, read_placement, sizing_models
from webadmin.box_in_words import in_words
from webadmin.database import box_settings, cellule
from webadmin.refusals import explain
from webadmin.typed_numbers import typed_number
from webadmin.visitor import admins_only

if TYPE_CHECKING:
    from appliance.placement import MachineKind, ModelNeed, Needed, Target, Way, Workload

blueprint = Blueprint("sizing", __name__)

EXAMPLE = """name;count;cpu;cores;memory_gb;gpu;hours
Office PC;40;Intel Core i5-12400;6;16;;8-18
CAD station;4;AMD Ryzen 9 7950X;16;64;RTX 4090;
NPU box;1;Intel Core Ultra 7 258V;8;32;;
"""
NUMBERS = {
    "employees": lazy_gettext("Employees"),
    "requests": lazy_gettext("Requests a day each"),
    "first_word": lazy_gettext("First word within … seconds, for 95 of 100"),
    "prompt_tokens": lazy_gettext("Tokens of a question, on average"),
    "answer_tokens": lazy_gettext("Tokens of an answer, on average"),
}
"""The form's fields for numbers, as it calls them."""
LARGEST_INVENTORY_BYTES = 1_000_000
LARGEST_FORM_BYTES = 2 * LARGEST_INVENTORY_BYTES + 64 * 1024
"""The lines, a file beside them, and the short fields."""
MOST_REQUESTS_A_DAY = 100_000
"""A day of more, tried with one model after another, takes longer than the front waits for a page."""
MOST_KINDS_SEARCHED = 6
"""Kinds of which the fewest machines are looked for: one takes up to four seconds."""
MOST_ROUTES_A_DAY = 40_000_000
"""Requests by machines, for a page that may replay the day with several models; `simulate` takes more."""


@dataclass(frozen=True)
class Question:
    """What is asked; numbers as typed, for the form to show again."""

    inventory: str = EXAMPLE
    employees: str = "300"
    requests: str = "20"
    first_word: str = "5"
    prompt_tokens: str = "600"
    answer_tokens: str = "250"
    model: str = ""
    needed: str = ""
    """"yes": also how many machines of each kind alone would be enough."""


@blueprint.record
def _check_token_ourselves(state: BlueprintSetupState) -> None:
    """The usual check reads the form before the page can let it be longer than other forms."""
    state.app.extensions["csrf"].exempt(answer)


@blueprint.get("/plan/sizing")
@admins_only
def show() -> Response:
    """The form with an example."""
    return _page(Question())


@blueprint.post("/plan/sizing")
@admins_only
def answer() -> Response:
    """The machines read, a model chosen, a day replayed; nothing is kept."""
    # the simulation brings the pool along, which no other page needs
    from appliance.placement import (
        InventoryUnusable,
        Target,
        Workload,
        inventory_text,
        read_inventory,
    )

    request.max_content_length = request.max_form_memory_size = LARGEST_FORM_BYTES
    try:
        validate_csrf(request.form.get("csrf_token"))
    except ValidationError as error:
        raise CSRFError(str(error)) from error
    question = _question()
    try:
        if data := _file():
            question = replace(question, inventory=inventory_text(data))
        employees = _number(question, "employees", 1, 100_000)
        requests = _number(question, "requests", 0.01, 10_000)
        target = Target(_number(question, "first_word", 0.1, 600))
        prompt = _number(question, "prompt_tokens", 1, 100_000)
        answer = _number(question, "answer_tokens", 1, 100_000)
        if employees * requests > MOST_REQUESTS_A_DAY:
            raise ValueError(gettext("More than 100,000 requests a day can't be replayed here."))
        profiles, _ = profiles_in(profile_folders(box_settings()))
        kinds = read_inventory(question.inventory, profiles)
        if employees * requests * sum(kind.count for kind in kinds) > MOST_ROUTES_A_DAY:
            raise ValueError(
                gettext(
                    "So many requests on so many machines can't be replayed here. "
                    "Ask for a part of your people on as large a part of the machines."
                )
            )
        models = sizing_models([question.model] if question.model else [])
        workload = Workload(round(employees), requests, (), prompt, answer)
    except ValueError as error:
        return _page(question, status=400, wrong=(str(error),))
    except InventoryUnusable as error:
        wrong = (*map(in_words, error.wrong), in_words(error.next_step))
        return _page(question, status=error.http_status, wrong=wrong)
    except Refusal as error:
        return _page(question, status=error.http_status, wrong=(explain(error),))
    return _answered(question, kinds, models, workload, target)


def _answered(
    question: Question,
    kinds: "Sequence[MachineKind]",
    models: "Sequence[ModelNeed]",
    workload: "Workload",
    target: "Target",
) -> Response:
    from appliance.placement import needed, size, unknown_cards

    wishes = Wishes(least_tokens_per_second=read_placement(cellule()).least_tokens_per_second)
    sized = size(kinds, models, workload, target, wishes=wishes)
    needs: tuple[Needed, ...] = ()
    apart = _apart(kinds)
    if question.needed and sized.simulated:
        taken = dict(sized.simulated.workload.models)
        model = next(each for each in models if each.name in taken)
        needs = needed(apart[:MOST_KINDS_SEARCHED], model, workload, target, wishes=wishes)
    return _page(
        question,
        kinds=kinds,
        sized=sized,
        unknown=unknown_cards(kinds),
        least=wishes.least_tokens_per_second,
        needs=needs,
        kinds_apart=len(apart),
    )


def _apart(kinds: "Sequence[MachineKind]") -> "list[MachineKind]":
    """One of those that compute alike, under the name of the first; what there is most of comes first."""
    count: Counter[tuple[Way, ...]] = Counter()
    first: dict[tuple[Way, ...], MachineKind] = {}
    for kind in kinds:
        count[kind.node.ways] += kind.count
        first.setdefault(kind.node.ways, kind)
    return [first[ways] for ways, _ in count.most_common()]


def _question() -> Question:
    form = request.form
    return Question(**{each.name: form.get(each.name, "") for each in fields(Question)})


def _file() -> bytes:
    """The file that was chosen in place of the lines, b"" for none."""
    file = request.files.get("file")
    return file.read(LARGEST_INVENTORY_BYTES + 1) if file is not None and file.filename else b""


def _number(question: Question, field: str, least: float, most: float) -> float:
    """Raises ValueError, which names the field as the form does."""
    typed: str = getattr(question, field)
    try:
        number = typed_number(typed)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise ValueError(
            gettext(
                "%(field)s: give a number from %(least)s to %(most)s, not “%(given)s”.",
                field=NUMBERS[field],
                least=format_decimal(least),
                most=format_decimal(most),
                given=typed[:20],
            )
        )
    return number


def _page(question: Question, *, status: int = 200, wrong: Sequence[str] = (), **facts: object) -> Response:
    names = [model.name for model in sizing_models()]
    page = render_template(
        "sizing.html", question=question, numbers=NUMBERS, wrong=wrong, names=names, **facts
    )
    return make_response(page, status)
