"""The page of overview."""

from flask import Blueprint, render_template

from webadmin.visitor import admins_only

blueprint = Blueprint("overview", __name__)


@blueprint.get("/overview")
@admins_only
def show() -> str:
    """The page."""
    return render_template("overview.html")
