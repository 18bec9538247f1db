"""What is left to set up after the claim: which steps were done, in any order and over any number of days.

Nothing of the product waits for it. A step that was done stays done; one that a later version adds is open on
a box that finished with an older one, and isn't asked for there.
"""

from collections.abc import Sequence

from appliance.storage import Choice


class SetupChoice(Choice):
    """`done` are ids of steps; `finished` when an admin has seen the end, whatever is open."""

    done: tuple[str, ...] = ()
    finished: bool = False

    def with_done(self, step: str) -> "SetupChoice":
        """The same with one more step done."""
        done = self.done if step in self.done else (*self.done, step)
        return SetupChoice(done=done, finished=self.finished)


def open_steps(choice: SetupChoice, steps: Sequence[str]) -> tuple[str, ...]:
    """Those of `steps` that are still to be done, in their order."""
    return tuple(step for step in steps if step not in choice.done)


def following(step: str, steps: Sequence[str]) -> str | None:
    """The step after `step`; None after the last."""
    at = steps.index(step) + 1
    return steps[at] if at < len(steps) else None
