"""Connections outward that a part of the box keeps open while an admin's choice needs them."""

from appliance.host.contract import Host, Unsupported
from appliance.host.machine import Outbound


def keep_open(host: Host, why: str, wanted: tuple[Outbound, ...]) -> None:
    """Of the connections opened for `why`, exactly these; those of others stay. Safe to repeat.

    Not while a change is on trial: a plan that is kept would end it.
    """
    try:
        plan = host.machine_plan()
    except Unsupported:
        return  # a development machine, whose connections are its own
    others = tuple(each for each in plan.outbound if each.why != why)
    if (*others, *wanted) != plan.outbound:
        host.apply_machine(plan.model_copy(update={"outbound": (*others, *wanted)}))
