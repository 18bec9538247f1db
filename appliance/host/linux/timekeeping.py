"""The time zone as a link in /run, where /etc/localtime of the image points, and timesyncd's servers."""

from appliance.host.contract import InvalidPlan
from appliance.host.linux.commands import call
from appliance.host.linux.network import make_public_folder, write_if_changed
from appliance.host.linux.places import Places


def check_timezone(places: Places, name: str) -> None:
    """Raises InvalidPlan when the machine knows no such zone."""
    if not (places.root / "usr/share/zoneinfo" / name).is_file():
        raise InvalidPlan(f"There is no time zone {name}.", next_step="Choose one such as Europe/Paris.")


def apply_time(places: Places, timezone: str, servers: tuple[str, ...]) -> None:
    """Without servers, only those that DHCP offers are asked: never one of the internet by default."""
    link = places.settled / "localtime"
    make_public_folder(link.parent)
    draft = link.with_name(".localtime.new")
    draft.unlink(missing_ok=True)
    draft.symlink_to(f"/usr/share/zoneinfo/{timezone}")
    draft.replace(link)
    text = f"[Time]\nNTP={' '.join(servers)}\nFallbackNTP=\n"
    if write_if_changed(places.run / "systemd/timesyncd.conf.d/50-cellule.conf", text):
        call("systemctl", "--no-block", "try-restart", "systemd-timesyncd")
