"""Whether models may come from the internet, from which hub, with which token; how much disk they fill."""

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from pydantic import ValidationError
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from appliance.models import (
    HUB_URL,
    ModelsChoice,
    Store,
    forget_hub_token,
    has_hub_token,
    keep_hub_token,
)
from appliance.people import AuditEvent
from appliance.storage import read_choice, write_choice
from webadmin.audit_noting import noted
from webadmin.database import box_settings, cellule
from webadmin.typed_numbers import field_value, typed_number
from webadmin.visitor import admins_only, signed_in

blueprint = Blueprint("model_sources", __name__)

_LONGEST_TOKEN = 200
_GB = 10**9


@blueprint.get("/models/internet")
@admins_only
def show() -> Response:
    """The page."""
    return _page(200)


@blueprint.post("/models/internet")
@admins_only
def choose() -> Response:
    """Internet or not, the hub, the quota."""
    try:
        chosen = chosen_in(request.form)
    except ValidationError as error:
        return _page(400, wrong={str(part) for problem in error.errors() for part in problem["loc"][:1]})
    former = read_choice(cellule(), ModelsChoice)
    if chosen != former:
        write_choice(cellule(), chosen, chosen_by=signed_in().id)
        noted(AuditEvent.ADMIN_MODELS_CHANGED, detail=what_changed(former, chosen))
    flash(gettext("Saved."))
    return redirect(url_for("model_sources.show"), 303)


@blueprint.post("/models/internet/token")
@admins_only
def keep_token() -> Response:
    """Keeps the token; it is never shown again."""
    token = request.form.get("token", "").strip()
    if (
        not token
        or len(token) > _LONGEST_TOKEN
        or not token.isascii()
        or not token.isprintable()
        or " " in token
    ):
        return _page(400, wrong={"token"})
    keep_hub_token(box_settings(), token)
    noted(AuditEvent.ADMIN_MODELS_CHANGED, detail="hub token kept")
    flash(gettext("The token is kept. It is never shown again."))
    return redirect(url_for("model_sources.show"), 303)


@blueprint.post("/models/internet/token/forget")
@admins_only
def forget_token() -> Response:
    """Removes the token from the box."""
    forget_hub_token(box_settings())
    noted(AuditEvent.ADMIN_MODELS_CHANGED, detail="hub token removed")
    flash(gettext("The token is removed."))
    return redirect(url_for("model_sources.show"), 303)


def chosen_in(form: MultiDict[str, str]) -> ModelsChoice:
    """What a form says. Raises pydantic.ValidationError."""
    quota = form.get("quota_gb", "").strip()
    try:
        quota_bytes: object = round(typed_number(quota) * _GB) if quota else None
    except ValueError:
        quota_bytes = quota
    return ModelsChoice.model_validate(
        {
            "internet_allowed": form.get("internet_allowed") == "yes",
            "hub_url": form.get("hub_url", "").strip() or HUB_URL,
            "quota_bytes": quota_bytes,
        }
    )


def what_changed(former: ModelsChoice, choice: ModelsChoice) -> str:
    """For the audit trail."""
    before, after = former.model_dump(), choice.model_dump()
    return ", ".join(
        f"{name}: {before[name]} → {after[name]}" for name in after if before[name] != after[name]
    )


def _page(status: int, *, wrong: set[str] | None = None) -> Response:
    choice = read_choice(cellule(), ModelsChoice)
    quota = choice.quota_bytes
    return make_response(
        render_template(
            "models_internet.html",
            choice=choice,
            quota_gb="" if quota is None else field_value(quota / _GB),
            used_bytes=Store(box_settings().state_dir).used_bytes(),
            usual_hub=HUB_URL,
            has_token=has_hub_token(box_settings()),
            wrong=wrong or set(),
            sent=request.form,
        ),
        status,
    )
