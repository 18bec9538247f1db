"""How gunicorn serves the pages: one process with threads, on a unix socket that only the front opens."""

from appliance.settings import load_settings

_settings = load_settings()

bind = f"unix:{_settings.web_socket}"
worker_class = "gthread"
workers = 1
threads = 8
# whoever opens the socket is believed about the client's address: only the pool, as this same user, or nginx,
# which the socket's folder lets in
umask = 0o111 if _settings.listen_socket else 0o077
# the peer of a unix socket has no address; what it says was written by nginx or the pool
forwarded_allow_ips = "*"
keepalive = 30
timeout = 30
graceful_timeout = 5
limit_request_line = 4094
limit_request_fields = 60
loglevel = "warning"
# no access log here: the pool writes one line per request
accesslog = None
# heartbeat files of gunicorn must not wait for a disk
worker_tmp_dir = "/dev/shm"  # noqa: S108 the kernel's own memory file system; gunicorn unlinks its file at once
control_socket_disable = True
