"""The pool under gunicorn: `gunicorn -c appliance/pool/gunicorn_conf.py appliance.pool.app:app`."""

import ctypes
import os
import signal

from appliance.pool.logs import logging_config
from appliance.pool.server import STOP_SECONDS
from appliance.settings import load_settings
from appliance.watchdog import watchdog_of_this_process

_settings = load_settings()
_PR_SET_PDEATHSIG = 1

if _settings.listen_socket:
    bind = [f"unix:{_settings.listen_socket}"]
    umask = 0o111  # who reaches it is decided by its folder: nginx and nobody else
else:
    bind = [f"{_settings.listen_host}:{_settings.port}"]
workers = 1  # by decision: the fair queue and the free slots live in one memory
worker_class = "appliance.pool.server.PoolWorker"
keepalive = 75
graceful_timeout = STOP_SECONDS + 10  # after that gunicorn kills; the pool is done before
timeout = 60
control_socket_disable = True
logconfig_dict = logging_config()
# the worker tells systemd that it is ready; gunicorn would, before anything can answer
watchdog_of_this_process()

if _settings.tls and not _settings.listen_socket:
    from appliance.claim.certificate import ensure_certificate

    _certificate = ensure_certificate(_settings)
    certfile = str(_certificate.cert_path)
    keyfile = str(_certificate.key_path)


def post_fork(_arbiter: object, _worker: object) -> None:
    """Ties the worker's life to the arbiter's: an orphan would hold the port and keep a queue of its own."""
    arbiter = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != arbiter:
        os._exit(1)
