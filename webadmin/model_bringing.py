"""Models of one's own: uploaded from the browser, on a USB stick, in a folder of the NAS."""

from dataclasses import dataclass

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from pydantic import ValidationError
from werkzeug.wrappers import Response

from appliance.clock import now
from appliance.errors import Refusal
from appliance.host import brokered
from appliance.models import (
    LARGEST_CHUNK_BYTES,
    Carried,
    CarriedOrder,
    Get,
    GetState,
    LargerThanMemory,
    UploadOrder,
    Weights,
    ask_get,
    carried_models,
    medium,
    received_bytes,
    unfinished_gets,
)
from webadmin import models_in_words
from webadmin.database import activity, box_settings, cellule
from webadmin.model_shelf import read_entries
from webadmin.refusals import explain
from webadmin.visitor import admins_only, client_address, signed_in

blueprint = Blueprint("model_bringing", __name__)

ORIGINS = ("stick", "nas")
CHUNK_BYTES = min(LARGEST_CHUNK_BYTES, 4 * 2**20)
"""Of an upload: less than the front takes for a page's form, and quickly sent again when the line is cut."""


@dataclass(frozen=True)
class Found:
    """What lies on a medium."""

    origin: str
    models: tuple[Carried, ...]


@blueprint.get("/models/bring")
@admins_only
def show() -> Response:
    """The page."""
    return _page(200)


@blueprint.post("/models/bring/look")
@admins_only
def look() -> Response:
    """What is on the stick or in the NAS folder, to choose from."""
    origin = request.form.get("origin", "")
    if origin not in ORIGINS:
        return _page(400)
    try:
        return _page(200, found=_looked(origin))
    except Refusal as error:
        return _page(error.http_status, error=explain(error), wrong=origin)


@blueprint.post("/models/bring/carried")
@admins_only
def get() -> Response:
    """Has the core copy one model from there."""
    origin, name = request.form.get("origin", ""), request.form.get("name", "").strip()
    try:
        order = CarriedOrder.model_validate(
            {
                "origin": origin,
                "path": request.form.get("path", ""),
                "entry": request.form.get("entry", ""),
                "licence_accepted": request.form.get("accepted") == "yes",
                "even_if_too_large": request.form.get("even_if_too_large") == "yes",
                "weights": request.form.get("weights", Weights.INT8.value),
            }
        )
        ask_get(
            box_settings(),
            cellule(),
            activity(),
            name,
            order,
            by=signed_in().name,
            at=now(),
            address=client_address(),
        )
    except ValidationError:
        return _page(400, error=gettext("Choose one of the models that were found."), wrong=origin)
    except Refusal as error:
        return _refused(origin, error)
    flash(gettext("%(name)s is on its way.", name=name))
    return redirect(url_for("models.show"), 303)


def _looked(origin: str) -> Found:
    with medium(box_settings(), brokered(box_settings()), origin) as folder:
        return Found(origin, tuple(carried_models(folder)))


def _refused(origin: str, error: Refusal) -> Response:
    """With the list again, so that one word can be mended and sent anew."""
    try:
        found = _looked(origin)
    except Refusal:
        found = None
    too_large = isinstance(error, LargerThanMemory)
    return _page(error.http_status, found=found, error=explain(error), wrong=origin, too_large=too_large)


def _page(
    status: int, *, found: Found | None = None, error: str = "", wrong: str = "", too_large: bool = False
) -> Response:
    entries = sorted(read_entries().values(), key=lambda entry: entry.title.lower())
    return make_response(
        render_template(
            "models_bring.html",
            found=found,
            error=error,
            wrong=wrong,
            too_large=too_large,
            sent=request.form,
            can_convert=box_settings().converter is not None,
            entries=[entry for entry in entries if entry.licence.commercial_use],
            waiting=_cut_uploads(),
            chunk_bytes=CHUNK_BYTES,
            words=models_in_words,
        ),
        status,
    )


def _cut_uploads() -> list[tuple[Get, dict[str, int], list[dict[str, object]]]]:
    """Uploads that still come, or whose page was closed: what is here of each file, and all of it."""
    return [
        (
            get,
            received_bytes(box_settings().state_dir, get),
            [{"path": file.path, "size_bytes": file.size_bytes} for file in get.order.files],
        )
        for get in unfinished_gets(activity())
        if get.state is GetState.RECEIVING and not get.cancelled and isinstance(get.order, UploadOrder)
    ]
