"""The page of people."""

from flask import Blueprint, render_template

from webadmin.visitor import admins_only

blueprint = Blueprint("people", __name__)


@blueprint.get("/people")
@admins_only
def show() -> str:
    """The page."""
    return render_template("people.html")
