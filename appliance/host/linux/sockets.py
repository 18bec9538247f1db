"""Open TCP connections with an address, ended now: else a stream to a cut worker hangs on."""

from ipaddress import IPv4Address

from appliance.host.linux.commands import call


def kill_connections(address: IPv4Address) -> None:
    """Ends each TCP connection whose other end is `address` (`ss -K`, kernel option INET_DIAG_DESTROY)."""
    call("ss", "-K", "-H", "-t", "dst", str(address))
