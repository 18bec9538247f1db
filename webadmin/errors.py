"""Error pages in the layout, and refusals of the appliance said in the visitor's language.

A page that can show a refusal beside its form does so itself; what reaches this module becomes a page with
the refusal's status. An error nobody foresaw is logged with its trace and shown without it.
"""

import logging
import math
import sqlite3

from flask import Flask, Response, jsonify, make_response, render_template, request
from flask.globals import request_ctx
from flask_babel import gettext
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from appliance.errors import Refusal, TryAgain
from webadmin.refusals import explain
from webadmin.signin import answer_stale_form

log = logging.getLogger("webadmin")


def install(app: Flask) -> None:
    """Registers the handlers."""
    app.register_error_handler(CSRFError, _stale_form)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Refusal, _refusal)
    app.register_error_handler(sqlite3.OperationalError, _storage_away)
    app.register_error_handler(Exception, _our_bug)


def _stale_form(error: CSRFError) -> WerkzeugResponse:
    return answer_stale_form() if request.endpoint == "signin.sign_in" else _http_error(error)


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    titles = {
        400: gettext("This request can't be read"),
        401: gettext("Your session has ended. Sign in again."),
        403: gettext("This page is for admins"),
        404: gettext("There is no such page"),
        405: gettext("There is no such page"),
        413: gettext("That is too much at once"),
        503: gettext("The box is busy"),
    }
    hints = {
        400: gettext("The form may be too old. Go back, reload the page and try again."),
        403: gettext("Ask an admin of your company if you need something from it."),
        404: gettext("Check the address, or start again from the first page."),
        405: gettext("Check the address, or start again from the first page."),
        413: gettext("Send less text."),
        503: gettext("Wait a few seconds, then reload the page."),
    }
    # what a standard exception brings along: Allow of a 405, Location of a redirect
    headers = dict(error.get_headers()) if error.response is None else dict(error.response.headers)
    kept = {name: value for name, value in headers.items() if name in {"Allow", "Location", "Retry-After"}}
    return _answer(status, titles.get(status, error.name), hints.get(status, ""), kept)


def _refusal(error: Refusal) -> Response:
    headers = {}
    if isinstance(error, TryAgain):
        headers["Retry-After"] = str(math.ceil(error.retry_after_seconds))
    return _answer(error.http_status, explain(error), "", headers)


def _storage_away(error: sqlite3.OperationalError) -> Response:
    log.error("storage: %s %s: %s", request.method, request.endpoint, error)
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        hint = gettext("Nothing was changed. An admin must make room, then it works again.")
        return _answer(507, gettext("The disk of the box is full"), hint, {})
    hint = gettext("Wait a few seconds, then reload the page.")
    return _answer(503, gettext("The box can't reach its storage"), hint, {"Retry-After": "5"})


def _our_bug(error: Exception) -> Response:
    log.exception("unforeseen error in %s %s", request.method, request.endpoint)
    hint = gettext("It is not your fault; it was written to the log. Try again, or tell an admin.")
    return _answer(500, gettext("Something went wrong in the box"), hint, {})


def _answer(status: int, title: str, hint: str, headers: dict[str, str]) -> Response:
    if request_ctx.url_adapter is None:
        # the Host header is no host name: no page can be drawn, for its links could not be made
        response = Response(title, status, mimetype="text/plain")
    elif request.path.endswith(".json"):
        response = jsonify(error={"status": status, "message": title})
        response.status_code = status
    else:
        response = make_response(render_template("error.html", status=status, title=title, hint=hint), status)
    response.headers.update(headers)
    return response
