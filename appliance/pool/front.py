"""Who is calling, when nginx stands before the pool: what nginx alone writes into the head of a request.

nginx puts its own words in the place of these headers, whatever a client sent (rootfs/etc/nginx/nginx.conf),
and nobody else reaches the pool's socket but the box's own processes, which send none of them.
"""

import ipaddress

from appliance.pool.asgi import Headers

_LOCAL = "127.0.0.1"
End = tuple[str, int]
"""Address and port; nginx tells no port, so it is 0."""


def ends_before_front(headers: Headers) -> tuple[End, End, str]:
    """`client`, `server` and `scheme` of an ASGI scope: those of the client's connection with nginx."""
    said = dict(headers)
    scheme = "https" if said.get(b"x-forwarded-proto") == b"https" else "http"
    return _end(said.get(b"x-forwarded-for")), _end(said.get(b"x-cellule-reached")), scheme


def _end(text: bytes | None) -> End:
    """The address in `text`; this machine itself where nginx said none."""
    return (str(ipaddress.ip_address(text.decode("ascii"))) if text else _LOCAL, 0)
