"""What happened to a release that the box gave up: a banner on the overview, a page, and a text to download.

Beside it on the overview stands what the console tells of the machine: a full disk, a wrong clock.
Damaged storage is told as that on every page, by name of what is wrong: nothing here tries to repair it.
"""

import logging
import sqlite3

from flask import Blueprint, Flask, abort, make_response, redirect, render_template, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response

from appliance.boot import (
    DamagedRelease,
    GivenUp,
    Word,
    find_given_up,
    full_text,
    given_up_releases,
    is_wrong_clock,
    places,
    put_away,
    read_word,
    room_when_short,
)
from appliance.clock import now
from webadmin import boot_in_words, figures
from webadmin.database import box_settings, cellule
from webadmin.layout import datetime_text
from webadmin.visitor import admins_only, signed_in

log = logging.getLogger("webadmin")

blueprint = Blueprint("boot", __name__)


@blueprint.get("/starts/<version>")
@admins_only
def story(version: str) -> str:
    """The page "What happened to release X"."""
    release = _release(version)
    over_at = release.over_at if isinstance(release, DamagedRelease) else None
    return render_template("boot.html", release=release, over_at=over_at, words=boot_in_words)


@blueprint.get("/starts/<version>.txt")
@admins_only
def download(version: str) -> Response:
    """The same as a text file, for a mail to the vendor."""
    response = make_response(full_text(_release(version).story))
    response.mimetype = "text/plain"
    response.headers["Content-Disposition"] = f'attachment; filename="cellule-{version}.txt"'
    return response


@blueprint.post("/starts/<version>/seen")
@admins_only
def seen(version: str) -> Response:
    """Puts the banner away for all admins; the page stays."""
    put_away(cellule(), _release(version).version, signed_in().id)
    return redirect(url_for("overview.show"), 303)


def install(app: Flask) -> None:
    """Gives templates the banner, and damaged storage its page."""
    app.jinja_env.globals["boot_banner"] = banner
    app.jinja_env.globals["machine_troubles"] = machine_troubles
    app.jinja_env.globals["boot_words"] = boot_in_words
    app.jinja_env.globals["room_text"] = figures.size
    app.jinja_env.globals["clock_text"] = datetime_text
    app.register_error_handler(sqlite3.DatabaseError, _storage_damaged)


def banner() -> tuple[Word | None, tuple[GivenUp, ...]]:
    """For admins: this start's verdict unless all is well, and what was given up and nobody put away."""
    word = read_word(places(box_settings()).verdict)
    unseen = tuple(release for release in given_up_releases(cellule()) if release.seen_at is None)
    return (word if word and (word.unwritten or not word.is_good) else None), unseen


def machine_troubles() -> tuple[int | None, float | None]:
    """For admins: the bytes that are left on a full disk, and what a wrong clock says, epoch seconds."""
    at = now()
    return room_when_short(places(box_settings()).data), at if is_wrong_clock(at) else None


def _release(version: str) -> GivenUp:
    return find_given_up(cellule(), version) or abort(404)


def _storage_damaged(error: sqlite3.DatabaseError) -> Response:
    log.error("storage is damaged: %s", error)
    return make_response(
        render_template(
            "error.html",
            status=503,
            title=gettext("The storage of the box is damaged"),
            hint=gettext("Nothing was changed. Restore a backup, or ask for help with the box."),
        ),
        503,
    )
