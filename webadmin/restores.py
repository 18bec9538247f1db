"""Restore: a file is uploaded or a backup of the NAS chosen, checked, shown, and swapped in by a restart.

On a box that nobody has claimed, the claim code stands for an admin: a blank box becomes the old one.
"""

import tempfile
from collections.abc import Callable
from typing import IO

from flask import (
    Blueprint,
    abort,
    current_app,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.sansio.blueprints import BlueprintSetupState
from flask_babel import gettext
from flask_wtf.csrf import CSRFError, ValidationError, validate_csrf
from werkzeug.datastructures import MultiDict
from werkzeug.formparser import FormDataParser
from werkzeug.wrappers import Response

from appliance.claim import check_claim_code, is_claimed
from appliance.clock import now
from appliance.errors import Refusal
from appliance.host import Unsupported, brokered
from appliance.keeping import (
    KeepingRequests,
    NothingToRestore,
    Restore,
    RestoreStep,
    confirm_restore,
    discard_restore,
    last_restore,
    parse_backup_key,
    require_space,
    stage_archive,
    undo_restore,
)
from appliance.storage import read_choice, write_choice
from webadmin import backups_in_words
from webadmin.database import activity, box_settings, cellule
from webadmin.refusals import explain
from webadmin.signin import client_address
from webadmin.visitor import admins_only, home, public, signed_in

blueprint = Blueprint("restores", __name__)
UPLOAD_LIMIT_BYTES = 16 * 2**30
CONFIRMATION = "RESTORE"
"""Typed to restore over a box that is in use; the same word in every language."""


# these two read their own form: the upload goes to the data partition, and may be larger than a page's form
@blueprint.record_once
def _own_forms(state: BlueprintSetupState) -> None:
    for view in (upload, upload_blank):
        state.app.extensions["csrf"].exempt(view)


@blueprint.get("/backups/restore")
@admins_only
def show() -> Response:
    """What was checked, and what restoring it would do."""
    return _page(200)


@blueprint.post("/backups/restore/file")
@admins_only
def upload() -> Response:
    """Checks an uploaded backup; changes nothing."""
    try:
        _stage_upload(_read_upload())
    except Refusal as error:
        return _page(error.http_status, error=explain(error))
    return redirect(url_for("restores.show"), 303)


@blueprint.post("/backups/restore/snapshot/<snapshot>")
@admins_only
def from_target(snapshot: str) -> Response:
    """Has the core fetch and check a backup; changes nothing."""
    try:
        wished = KeepingRequests.model_validate(
            read_choice(cellule(), KeepingRequests).model_dump()
            | {"check_at": now(), "check_snapshot": snapshot}
        )
    except ValueError:
        abort(404)
    write_choice(cellule(), wished, chosen_by=signed_in().id)
    return redirect(url_for("backups.show"), 303)


@blueprint.post("/backups/restore/confirm")
@admins_only
def confirm() -> Response:
    """Swaps the checked backup in, by a restart."""
    if request.form.get("confirmation", "").strip().upper() != CONFIRMATION:
        return _page(400, error=gettext("Type %(word)s to restore.", word=CONFIRMATION))
    return _decide(lambda: confirm_restore(box_settings(), asked_by=signed_in().name))


@blueprint.post("/backups/restore/undo")
@admins_only
def undo() -> Response:
    """Back to the state before the last restore, by a restart."""
    return _decide(lambda: undo_restore(box_settings(), asked_by=signed_in().name))


@blueprint.post("/backups/restore/discard")
@admins_only
def discard() -> Response:
    """Forgets the checked backup."""
    try:
        discard_restore(box_settings())
    except Refusal as error:
        return _page(error.http_status, error=explain(error))
    flash(gettext("The checked backup was put away. Nothing was changed."))
    return redirect(url_for("backups.show"), 303)


@blueprint.get("/restore")
@public
def blank() -> Response:
    """The form of a box that nobody has claimed."""
    if is_claimed(cellule()):
        return redirect(home(), 303)
    return _blank_page(200)


@blueprint.post("/restore")
@public
def upload_blank() -> Response:
    """A blank box becomes the one in the file, by a restart."""
    if is_claimed(cellule()):
        return redirect(home(), 303)
    try:
        form, file = _read_upload()
        check_claim_code(cellule(), activity(), box_settings(), form.get("code", ""), client_address())
        _stage_upload((form, file))
        confirm_restore(box_settings(), asked_by="")
    except Refusal as error:
        return _blank_page(error.http_status, error=explain(error))
    _restart()
    return _blank_page(200)


def _read_upload() -> tuple[MultiDict[str, str], IO[bytes]]:
    """The fields and the file of a form, the file on the data partition. Checks the form's token."""

    def place(
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        require_space(box_settings().state_dir, 2 * (total_content_length or 0))
        return tempfile.TemporaryFile(dir=box_settings().state_dir)

    parser = FormDataParser(stream_factory=place, max_content_length=UPLOAD_LIMIT_BYTES, silent=True)
    request.max_content_length = UPLOAD_LIMIT_BYTES
    _, form, files = parser.parse_from_environ(request.environ)
    try:
        validate_csrf(form.get("csrf_token"))
    except ValidationError as error:
        raise CSRFError(str(error)) from error
    if "file" not in files:
        raise NothingToRestore("No file was chosen.", next_step="Choose the backup file.")
    return form, files["file"].stream


def _stage_upload(sent: tuple[MultiDict[str, str], IO[bytes]]) -> Restore:
    form, file = sent
    key = parse_backup_key(form.get("backup_key", ""))
    file.seek(0)
    return stage_archive(box_settings(), file, key, source="file")


def _decide(decision: Callable[[], Restore]) -> Response:
    try:
        decision()
    except Refusal as error:
        return _page(error.http_status, error=explain(error))
    _restart()
    return redirect(url_for("restores.show"), 303)


def _restart() -> None:
    try:
        brokered(box_settings()).reboot()
    except Unsupported:
        current_app.logger.info("a restore waits for the next start")
    except Refusal as error:
        flash(explain(error))


def _page(status: int, *, error: str = "") -> Response:
    restore = last_restore(box_settings())
    if restore is None and not error:
        return redirect(url_for("backups.show"), 303)
    return make_response(
        render_template(
            "backups_restore.html",
            restore=restore,
            RestoreStep=RestoreStep,
            words=backups_in_words,
            error=error,
            confirmation=CONFIRMATION,
        ),
        status,
    )


def _blank_page(status: int, *, error: str = "") -> Response:
    restore = last_restore(box_settings())
    waits = restore is not None and restore.step is RestoreStep.PENDING
    return make_response(
        render_template("backups_blank.html", restore=restore if waits else None, error=error), status
    )
