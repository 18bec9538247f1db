"""The chat page: one document; what is asked and answered goes from the browser straight to /v1 of this origin.

The page and its server side keep no conversation: they live in the browser tab (static/chat/conversations.js).
"""

from flask import Blueprint, render_template, url_for

from webadmin.chat.wording import suggestions, wording
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
            "signIn": url_for("signin.show"),
            "page": url_for("chat.page"),
        },
        "words": wording(),
    }
    return render_template("chat/page.html", config=config, suggestions=suggestions())
