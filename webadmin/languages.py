"""French and English: chosen in the page, else by the account, else by the browser."""

import re
from urllib.parse import urlsplit

from flask import Blueprint, Flask, g, has_request_context, redirect, request
from flask_babel import Babel
from werkzeug.wrappers import Response

from appliance.people import set_language
from webadmin.database import box_settings, cellule
from webadmin.visitor import current_account, home, public

LANGUAGES = {"en": "English", "fr": "Français"}
COOKIE = "cellule_language"

blueprint = Blueprint("languages", __name__)


def install(app: Flask) -> None:
    """Makes Flask-Babel choose by `language`."""
    Babel(app, locale_selector=language, default_locale="en")


def language() -> str:
    """The code of the language that this request is answered in."""
    if not has_request_context():
        return "en"
    account = g.get("account")
    for candidate in (request.cookies.get(COOKIE), account.language if account else None):
        if candidate in LANGUAGES:
            return str(candidate)
    return request.accept_languages.best_match(LANGUAGES, "en") or "en"


def local_path(target: str | None) -> str | None:
    """`target` if it is a path of this site, else None: `//host` and `/\\host` lead elsewhere."""
    if not target or not target.startswith("/") or re.search(r"[\x00-\x20\x7f\\]", target):
        return None
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    return target if not parts.scheme and not parts.netloc and not target.startswith("//") else None


@blueprint.post("/language")
@public
def switch() -> Response:
    """Remembers the language in a cookie and, when signed in, with the account."""
    chosen = request.form.get("language", "")
    response = redirect(local_path(request.form.get("next")) or home(), 303)
    if chosen in LANGUAGES:
        response.set_cookie(
            COOKIE,
            chosen,
            max_age=365 * 86400,
            httponly=True,
            samesite="Strict",
            secure=box_settings().tls,
        )
        if account := current_account():
            set_language(cellule(), account.id, chosen)
    return response
