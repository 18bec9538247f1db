"""Who is looking at the page, and whether they may: decided before any page's own code runs.

Every page needs a signed-in account unless it is marked `@public`, and an admin if it is marked
`@admins_only`; forgetting a mark closes a page, it never opens one. Until the box is claimed there is
only the claim page; an account with an initial password sees only the page where it is replaced.
"""

from collections.abc import Callable
from typing import TypeVar

from flask import Flask, abort, current_app, g, redirect, request, url_for
from werkzeug.wrappers import Response

from appliance.claim import is_claimed
from appliance.people import SESSION_COOKIE, Account, account_of_session
from webadmin.database import cellule

View = TypeVar("View", bound=Callable[..., object])


def public(view: View) -> View:
    """Marks a page that anybody may see."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


def admins_only(view: View) -> View:
    """Marks a page that needs the role of an admin; others get 403."""
    view.is_for_admins = True  # type: ignore[attr-defined]
    return view


def current_account() -> Account | None:
    """The account that this request's session belongs to."""
    account: Account | None = g.get("account")
    return account


def signed_in() -> Account:
    """The same, on a page that nobody else reaches."""
    account = current_account()
    assert account is not None, "only pages marked @public run without an account"
    return account


def client_address() -> str:
    """The address that the pool saw; over the unix socket without the pool there is none."""
    return request.remote_addr or "local"


def home() -> str:
    """Where this visitor's work is: the overview for admins, the chat for everybody else."""
    account = current_account()
    if account is None:
        return url_for("signin.show")
    return url_for("overview.show" if account.is_admin else "chat.page")


def install(app: Flask) -> None:
    """Looks up the account and applies the marks before each request."""
    app.before_request(_admit)


def _admit() -> Response | None:
    if request.endpoint == "static":
        return None
    token = request.cookies.get(SESSION_COOKIE)
    g.account = account_of_session(cellule(), token) if token else None
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None or getattr(view, "is_public", False):
        # unknown paths go on to their 404
        return None
    if g.account is None:
        return _ask_to_sign_in()
    if g.account.must_change_password and request.blueprint != "account":
        return redirect(url_for("account.show"), 303)
    if getattr(view, "is_for_admins", False) and not g.account.is_admin:
        abort(403)
    return None


def _ask_to_sign_in() -> Response:
    if not is_claimed(cellule()):
        return redirect(url_for("claim.show"), 303)
    if request.path.endswith(".json"):
        # a script that polls must not take the sign-in page for its answer
        abort(401)
    if request.method != "GET":
        # a form from before the session ended is no page to come back to
        return redirect(url_for("signin.show"), 303)
    return redirect(url_for("signin.show", next=request.full_path.rstrip("?")), 303)
