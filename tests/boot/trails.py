"""Breadcrumbs of invented boots, for the tests of the story."""

from appliance.boot.breadcrumbs import Boot, Breadcrumb, Outcome, Running

BEGAN = 1_790_000_000.0
"""Epoch seconds of boot number 0; each following one starts 300 s later."""
CHECKS = ("data-partition", "storage", "broker", "pool", "webadmin", "front", "accelerator", "answer")
NOW = Running("1.0", "a", "now")


def boot(number: int, version: str, *steps: str, slot: str = "", boot_id: str = "") -> Boot:
    """One start that came through `steps`, 10 s each; a step that begins with ! failed."""
    crumbs = tuple(
        Breadcrumb(
            step=step.removeprefix("!"),
            outcome=Outcome.FAILED if step.startswith("!") else Outcome.OK,
            sentence=f"About {step.removeprefix('!')}.",
            version=version,
            slot=slot or ("a" if version == "1.0" else "b"),
            boot_seconds=10.0 * (place + 1),
            at=BEGAN + 300 * number + 10 * (place + 1),
            log="the log around" if step.startswith("!") and step != "!verdict" else "",
        )
        for place, step in enumerate(steps)
    )
    return Boot(number, boot_id or f"boot{number}", crumbs)


def good(number: int, version: str = "1.0", *, end: str = "stopped") -> Boot:
    """A start in normal running, ended by `end` ("" for a power cut)."""
    steps = ("data", "start", *CHECKS, "verdict", "running", *([end] if end else []))
    return boot(number, version, *steps)


def this_boot(number: int) -> Boot:
    """The start on the old slot that tells the story."""
    return boot(number, "1.0", "data", "start", *CHECKS, "verdict", boot_id=NOW.boot_id)
