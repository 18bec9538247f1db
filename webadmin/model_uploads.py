"""The upload of a model in chunks, for the script of the page (static/models_upload.js).

begin → where each file goes on → chunks in order → the core checks what came. Answers are JSON; a refusal
has a code and a sentence in the visitor's language. The page closed or the line cut, the same files go on
where they were.
"""

from flask import Blueprint, current_app, jsonify, request
from flask_babel import gettext
from flask_wtf.csrf import CSRFError, validate_csrf
from pydantic import ValidationError
from werkzeug.exceptions import ClientDisconnected
from werkzeug.wrappers import Response
from wtforms.validators import ValidationError as InvalidToken

from appliance.clock import now
from appliance.errors import Refusal
from appliance.models import Get, GetState, UploadOrder, ask_get, receive_chunk, received_bytes
from webadmin.database import activity, box_settings, cellule
from webadmin.model_bringing import CHUNK_BYTES
from webadmin.model_shelf import asked_get
from webadmin.refusals import explain
from webadmin.visitor import admins_only, client_address, signed_in

blueprint = Blueprint("model_uploads", __name__)


# its body is a piece of a file, larger than a page's form may be, and the token comes in a header
@blueprint.record_once
def _own_body(state: object) -> None:
    state.app.extensions["csrf"].exempt(chunk)  # type: ignore[attr-defined]


@blueprint.post("/models/uploads")
@admins_only
def begin() -> tuple[Response, int]:
    """Says what will come."""
    given = request.get_json(silent=True)
    try:
        if not isinstance(given, dict):
            raise TypeError
        name = str(given.pop("name", "")).strip()
        order = UploadOrder.model_validate(given)
    except (ValidationError, TypeError):
        return _refused("upload_refused", gettext("These files can't be a model. Choose others."), 400)
    try:
        get = ask_get(
            box_settings(),
            cellule(),
            activity(),
            name,
            order,
            by=signed_in().name,
            at=now(),
            address=client_address(),
        )
    except Refusal as error:
        return _refused(error.code, explain(error), error.http_status)
    return _told(get)


@blueprint.get("/models/uploads/<get_id>.json")
@admins_only
def show(get_id: str) -> tuple[Response, int]:
    """Where each file goes on."""
    return _told(asked_get(get_id))


@blueprint.post("/models/uploads/<get_id>/chunk")
@admins_only
def chunk(get_id: str) -> tuple[Response, int]:
    """One piece of one file: ?path=…&offset=…, the bytes as the body."""
    try:
        validate_csrf(request.headers.get("X-CSRFToken"))
    except InvalidToken as error:
        raise CSRFError(str(error)) from error
    try:
        get = asked_get(get_id)
    except Refusal as error:
        return _refused(error.code, explain(error), error.http_status)
    request.max_content_length = CHUNK_BYTES
    offset = request.args.get("offset", "")
    try:
        data = request.get_data(cache=False)
    except ClientDisconnected:
        return _refused("upload_cut", gettext("The connection was lost."), 400)
    try:
        get = receive_chunk(
            box_settings().state_dir,
            activity(),
            get.id,
            path=request.args.get("path", ""),
            offset=int(offset) if offset.isascii() and offset.isdigit() else -1,
            data=data,
        )
    except Refusal as error:
        return _refused(error.code, explain(error), error.http_status)
    if get.state is not GetState.RECEIVING:
        current_app.logger.info("a model was uploaded")
    return _told(get)


def _told(get: Get) -> tuple[Response, int]:
    received = received_bytes(box_settings().state_dir, get) if isinstance(get.order, UploadOrder) else {}
    return jsonify(id=get.id, state=get.state, cancelled=get.cancelled, received=received), 200


def _refused(code: str, message: str, status: int) -> tuple[Response, int]:
    return jsonify(error={"code": code, "message": message}), status
