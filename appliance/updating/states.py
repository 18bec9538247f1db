"""The releases of a box as people meet them: found, installed, running. Pure."""

from dataclasses import dataclass

from appliance.host import SlotState
from appliance.updating.deciding import Facts, Judgement, Why, judge
from appliance.updating.found import Found
from appliance.updating.installs import Install, Stage
from appliance.updating.moving import Box
from appliance.updating.version_order import place_of


@dataclass(frozen=True)
class Running:
    """`is_tried`: the boot was not judged yet. `since`: epoch seconds of its first start here, if that is
    known.
    """

    version: str
    is_tried: bool
    since: float | None


@dataclass(frozen=True)
class Candidate:
    """A release that was found and is newer than the running one, with why it is not installed (yet)."""

    found: Found
    judgement: Judgement


@dataclass(frozen=True)
class ReleaseStates:
    """`installed` waits for a restart; `fallback` is what the other slot would start with otherwise."""

    running: Running
    installed: Install | None
    found: tuple[Candidate, ...]
    fallback: str


def release_states(founds: list[Found], installs: list[Install], box: Box, facts: Facts) -> ReleaseStates:
    """`installs` newest first. Of several ways to the same release, one that needs no network counts.

    What is being installed, or is installed and waits, is not among the found.
    """
    newest = installs[0] if installs else None
    waiting = newest if newest and newest.stage in {Stage.INSTALLED, Stage.RESTARTING} else None
    others = [each.version for each in box.slots if not each.booted and each.state is SlotState.GOOD]
    moving = newest.version if newest and not newest.stage.is_over else ""
    return ReleaseStates(
        Running(box.running, box.is_on_trial, _since(installs, box.running)),
        waiting,
        tuple(each for each in _candidates(founds, facts) if each.found.release.version != moving),
        next(iter(others), ""),
    )


def _since(installs: list[Install], version: str) -> float | None:
    started = (
        each for each in installs if each.version == version and each.stage in {Stage.TRYING, Stage.HELD}
    )
    return next((install.stage_at for install in started), None)


def _candidates(founds: list[Found], facts: Facts) -> list[Candidate]:
    by_version: dict[str, Candidate] = {}
    for found in sorted(founds, key=lambda each: each.origin.is_offline):
        candidate = Candidate(found, judge(found, facts))
        hidden = {Why.NOT_NEWER, Why.OTHER_KIND}
        if not hidden & {reason.why for reason in candidate.judgement.blocking}:
            by_version[found.release.version] = candidate
    return sorted(by_version.values(), key=lambda each: place_of(each.found.release.version), reverse=True)
