"""The tunnel of a support session as data: one vendor, one port of the box, one end. Pure."""

from ipaddress import IPv4Address, IPv4Network
from typing import Self

from pydantic import Field, model_validator

from appliance.host.plan import Endpoint, Plan, PublicKey

SUPPORT_NETWORK = IPv4Network("10.78.0.0/16")
"""Both ends of the tunnel have addresses in it: a vendor can't ask for a way into the LAN."""
SUPPORT_INTERFACE = "wgsupport"
SUPPORT_PORT = 7800
"""The one port of the box that the vendor reaches: the service that performs named commands."""
LONGEST_SESSION_SECONDS = 8 * 3600.0
FIREWALL_MARK = 0xCE11


class SupportPlan(Plan):
    """A tunnel outward to `endpoint`, until `until` (epoch seconds); `public_key` is the vendor's."""

    public_key: PublicKey
    endpoint: Endpoint
    vendor_address: IPv4Address
    box_address: IPv4Address
    until: float = Field(ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _stays_in_its_network(self) -> Self:
        if self.vendor_address == self.box_address:
            raise ValueError("the two ends of the tunnel need addresses of their own")
        for address in (self.vendor_address, self.box_address):
            if address not in SUPPORT_NETWORK:
                raise ValueError(f"{address} is not in {SUPPORT_NETWORK}, which support sessions use")
        return self

    def seconds_left(self, now: float) -> float:
        """Until the end, at most LONGEST_SESSION_SECONDS; 0 or less when it is over."""
        return min(self.until - now, LONGEST_SESSION_SECONDS)


class SupportStatus(Plan):
    """`until` is 0 and the rest empty while no session is open. `handshake_at` is epoch seconds."""

    open: bool = False
    until: float = 0.0
    public_key: str = ""
    """The box's own one-time key."""
    handshake_at: float | None = None
    received_bytes: int = 0
    sent_bytes: int = 0
