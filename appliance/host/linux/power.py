"""Restart and power off, in good order; the caller still gets its answer, for the order is only queued."""

from appliance.host.linux.commands import call


def reboot() -> None:
    call("systemctl", "--no-block", "reboot")


def power_off() -> None:
    call("systemctl", "--no-block", "poweroff")
