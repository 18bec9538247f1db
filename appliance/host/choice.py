"""The one place that decides which machine a process speaks to: the real one or its simulated twin.

Each is imported where it is chosen: most processes only ask the broker.
"""

from pathlib import Path

from appliance.host.client import BrokeredHost
from appliance.host.contract import Host
from appliance.settings import Settings


def this_machine(settings: Settings) -> Host:
    """The host that the broker itself acts on."""
    if settings.host_simulated:
        from appliance.host.simulated import SimulatedHost

        return SimulatedHost(settings.wireguard_key_path, settings.host_dir)
    from appliance.host.linux import LinuxHost
    from appliance.host.linux.places import Places

    places = Places(kept=settings.host_dir, own_tls=settings.secrets_dir) if settings.appliance else None
    return LinuxHost(settings.wireguard_key_path, settings.host_dir, places, settings.support_interface)


def brokered(settings: Settings) -> Host:
    """The host for every other process of the box: through the broker."""
    return BrokeredHost(settings.broker_socket)


def own_machine(key_path: Path, memory_dir: Path) -> Host:
    """The host of a worker, whose agent has root itself and needs no broker."""
    from appliance.host.linux import LinuxHost

    return LinuxHost(key_path, memory_dir)
