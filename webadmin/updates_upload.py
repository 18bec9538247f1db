"""A file of releases from the browser to the data partition; the core checks it and tells on the page."""

import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from flask import Blueprint, current_app, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_wtf.csrf import CSRFError, validate_csrf
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.wrappers import Response
from wtforms.validators import ValidationError

from appliance.clock import now
from appliance.errors import Refusal
from appliance.people import AuditEvent, record_audit
from appliance.updating import LARGEST_ARCHIVE_BYTES, NoRoom, Origin, ask_check, check_room, incoming_dir
from webadmin import updates_in_words
from webadmin.database import activity, box_settings
from webadmin.refusals import explain
from webadmin.signin import client_address
from webadmin.visitor import admins_only, signed_in

blueprint = Blueprint("updates_upload", __name__)


# it reads its own form: the file goes to the data partition, and is larger than a page's form may be
@blueprint.record_once
def _own_form(state: object) -> None:
    state.app.extensions["csrf"].exempt(upload)  # type: ignore[attr-defined]


@blueprint.post("/updates/file")
@admins_only
def upload() -> Response:
    """Takes the file and asks the core to check it."""
    try:
        _receive()
    except Refusal as error:
        page = render_template("updates_refused.html", message=explain(error))
        return make_response(page, error.http_status)
    return redirect(url_for("updates.show"), 303)


def _receive() -> None:
    """Raises NoRoom, NothingChosen, CheckUnderWay; CSRFError."""
    check_room(box_settings(), request.content_length or 0)
    with ExitStack() as drafts:

        def place(*_: object, **__: object) -> IO[bytes]:
            return drafts.enter_context(tempfile.NamedTemporaryFile(dir=incoming_dir(box_settings())))

        form, files = _parse(place)
        try:
            validate_csrf(form.get("csrf_token"))
        except ValidationError as error:
            raise CSRFError(str(error)) from error
        file = files.get("file")
        if file is None or not file.filename:
            raise updates_in_words.NothingChosen(gettext("Choose the update file first."))
        file.stream.flush()
        kept = incoming_dir(box_settings()) / f"{secrets.token_hex(8)}.tar"
        # the draft's name goes with the request, this one stays until the core has checked it
        os.link(file.stream.name, kept)
    _ask(kept, Path(file.filename).name)


def _parse(place: Callable[..., IO[bytes]]) -> tuple[MultiDict[str, str], MultiDict[str, FileStorage]]:
    """The fields and the file of the form, the file where `place` puts it. Raises NoRoom."""
    parser = FormDataParser(stream_factory=place, max_content_length=LARGEST_ARCHIVE_BYTES, silent=True)
    request.max_content_length = LARGEST_ARCHIVE_BYTES
    try:
        _, form, files = parser.parse_from_environ(request.environ)
    except (RequestEntityTooLarge, OSError) as error:
        raise NoRoom("The file is larger than there is room for.") from error
    return form, files


def _ask(kept: Path, name: str) -> None:
    try:
        ask_check(activity(), Origin.UPLOAD, path=str(kept), name=name, by=signed_in().name, at=now())
    except Refusal:
        kept.unlink()
        raise
    current_app.logger.info("an update file was uploaded")
    record_audit(
        activity(),
        AuditEvent.ADMIN_RELEASE_UPLOADED,
        actor=signed_in().name,
        address=client_address(),
        subject=name,
    )
