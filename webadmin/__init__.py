"""The pages: claim, sign-in, overview, workers, keys, people and chat, as one Flask application.

`create_app` is what gunicorn calls. The application keeps nothing between requests but open database
connections; whatever counts is in storage. Only the pool reaches it, over a unix socket, so the client
address that the pool writes into X-Forwarded-For is believed.
"""

import logging

from flask import Flask
from flask_wtf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from appliance.settings import Settings, load_settings
from webadmin import (
    account,
    audit,
    backups,
    boot,
    chat,
    claim,
    database,
    errors,
    hardware,
    headers,
    keys,
    languages,
    layout,
    machine,
    model_bringing,
    model_catalogue,
    model_gets,
    model_handout,
    model_pins,
    model_sources,
    model_uploads,
    models,
    overview,
    people,
    plan,
    reset,
    restores,
    secret,
    signin,
    sizing,
    support,
    updates,
    updates_upload,
    visitor,
    wizard,
    workers,
)

BODY_LIMIT_BYTES = 64 * 1024
"""Pages only send short forms; chat talks to the pool."""
_PAGES = (
    claim,
    wizard,
    signin,
    overview,
    boot,
    chat,
    workers,
    models,
    model_gets,
    model_handout,
    model_pins,
    model_catalogue,
    model_bringing,
    model_uploads,
    model_sources,
    hardware,
    plan,
    sizing,
    keys,
    people,
    account,
    languages,
    backups,
    restores,
    reset,
    updates,
    updates_upload,
    machine,
    support,
    audit,
)
"""Each has a blueprint."""


def create_app(settings: Settings | None = None) -> Flask:
    """The application over the storage that `settings` name (CELLULE_* by default)."""
    settings = settings or load_settings()
    app = Flask(__name__)
    app.config.update(
        CELLULE=settings,
        SECRET_KEY=secret.form_secret(settings),
        SESSION_COOKIE_NAME="cellule_form",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_SECURE=settings.tls,
        MAX_CONTENT_LENGTH=BODY_LIMIT_BYTES,
        # a token lives as long as the form session it is bound to
        WTF_CSRF_TIME_LIMIT=None,
        TEMPLATES_AUTO_RELOAD=settings.development,
    )
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    logging.getLogger("webadmin").setLevel(logging.INFO)
    languages.install(app)
    database.install(app)
    # the visitor first: the answer to a missing form token is written in the visitor's language
    visitor.install(app)
    CSRFProtect(app)
    headers.install(app)
    errors.install(app)
    layout.install(app)
    boot.install(app)
    support.install(app)
    for page in _PAGES:
        app.register_blueprint(page.blueprint)
    return app
