"""The page of keys."""

from flask import Blueprint, render_template

from webadmin.visitor import admins_only

blueprint = Blueprint("keys", __name__)


@blueprint.get("/keys")
@admins_only
def show() -> str:
    """The page."""
    return render_template("keys.html")
