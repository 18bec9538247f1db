"""An office LAN for virtual boxes: a Lab with a DHCP server, on which a machine can be plugged in by a tap.

    with Office("pc") as office:
        tap = office.plug_in_machine("52:54:00:00:00:01")
        with office.inside("pc"):
            ...

No way leads out of it: what a box sends, it sends to this LAN.
"""

import subprocess
from itertools import count
from pathlib import Path

from tests.netlab import Lab

IN_TOOLS = Path(__file__).parents[2] / "image" / "in-tools"
FIRST_LEASE, LAST_LEASE = "10.99.0.100", "10.99.0.199"


class Office(Lab):
    """Computers as in Lab; the first one, "router", gives out addresses and knows no world behind it."""

    def __init__(self, *names: str) -> None:
        super().__init__("router", *names)
        self._taps = count()

    def open_for_business(self) -> None:
        """Starts the DHCP server; leases are in `leases`."""
        self.leases = Path(self._logs.name) / "leases"
        self.popen(
            "router",
            [
                "bash", str(IN_TOOLS), "--bind", self._logs.name, "--",
                "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0",
                "--bind-interfaces", f"--dhcp-range={FIRST_LEASE},{LAST_LEASE},255.255.255.0,1h",
                f"--dhcp-leasefile={self.leases}", "--dhcp-option=3", "--dhcp-option=6", "--no-ping",
                "--dhcp-authoritative", "--user=root", "--log-facility=-",
            ],
        )  # fmt: skip

    def plug_in_machine(self) -> str:
        """A tap on the LAN's bridge, for QEMU started in the namespace "lan"; its name."""
        tap, lan = f"tap{next(self._taps)}", self.namespace("lan")
        for arguments in (
            ("tuntap", "add", "dev", tap, "mode", "tap"),
            ("link", "set", tap, "master", "lan", "up"),
        ):
            subprocess.run(["ip", "-n", lan, *arguments], check=True)
        return tap

    def lease_of(self, mac: str) -> str | None:
        """The address that the DHCP server gave to the network card `mac`, or None so far."""
        if not self.leases.exists():
            return None
        for line in self.leases.read_text().splitlines():
            _until, card, address, *_ = line.split()
            if card == mac:
                return address
        return None
