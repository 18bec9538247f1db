"""The page of workers."""

from flask import Blueprint, render_template

from webadmin.visitor import admins_only

blueprint = Blueprint("workers", __name__)


@blueprint.get("/workers")
@admins_only
def show() -> str:
    """The page."""
    return render_template("workers.html")
