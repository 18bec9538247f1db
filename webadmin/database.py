"""One connection to each database file per thread, opened when a page first needs it."""

import threading

from flask import Flask, current_app
from sqlite_utils import Database

from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule


class Connections(threading.local):
    """What one thread has open."""

    cellule: Database | None = None
    activity: Database | None = None


def install(app: Flask) -> None:
    """Gives `app` its own connections, so that applications over different storage don't mix."""
    app.extensions["cellule_connections"] = Connections()


def box_settings() -> Settings:
    """The settings that the application was made with."""
    settings: Settings = current_app.config["CELLULE"]
    return settings


def cellule() -> Database:
    """What people decided: accounts, keys, invitations, workers."""
    connections: Connections = current_app.extensions["cellule_connections"]
    if connections.cellule is None:
        connections.cellule = open_cellule(box_settings().state_dir)
    return connections.cellule


def activity() -> Database:
    """What happened: ledger lines, node reports, sign-in attempts."""
    connections: Connections = current_app.extensions["cellule_connections"]
    if connections.activity is None:
        connections.activity = open_activity(box_settings().state_dir)
    return connections.activity
