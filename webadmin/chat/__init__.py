"""The chat page: one document; questions and answers go between browser and /v1 of this origin.

The server keeps no conversation: they live in the browser tab (static/chat/conversations.js).
"""

from flask import Blueprint, Response, jsonify, render_template, url_for

from appliance.accounting import pool_overview
from appliance.clock import now
from webadmin.chat.wording import suggestions, wording
from webadmin.database import activity
from webadmin.languages import language
from webadmin.visitor import signed_in

blueprint = Blueprint("chat", __name__)


@blueprint.get("/chat")
def page() -> str:
    """The page, for anybody signed in; its scripts read `config` from a data block."""
    config = {
        "account": signed_in().id,
        "language": language(),
        "addresses": {
            "completions": "/v1/chat/completions",
            "models": "/v1/models",
            "queue": url_for("chat.queue"),
            "signIn": url_for("signin.show"),
            "page": url_for("chat.page"),
        },
        "words": wording(),
    }
    return render_template("chat/page.html", config=config, suggestions=suggestions(signed_in().is_admin))


@blueprint.get("/chat/queue.json")
def queue() -> Response:
    """How many questions wait for a free machine, as the pool last reported: {"waiting": number}."""
    return jsonify(waiting=pool_overview(activity(), now()).queue_length)
