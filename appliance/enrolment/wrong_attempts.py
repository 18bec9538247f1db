"""How many wrong proofs one address may send before it has to wait.

The secret has 128 bits and can't be guessed; this keeps a confused or hostile machine from filling the log
and the processor. Right proofs are never counted, so a whole office behind one address can enrol.
"""

from collections import OrderedDict, deque

from appliance.errors import TryAgain

ALLOWED = 10
WINDOW_SECONDS = 60.0
_MOST_ADDRESSES = 4096


class TooManyWrongAttempts(TryAgain):
    """This address sent too many wrong proofs."""

    code = "too_many_attempts"


class WrongAttempts:
    """For one thread. `at` is in seconds of any clock that never goes back."""

    def __init__(self) -> None:
        self._moments: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, address: str, at: float) -> None:
        """Raises TooManyWrongAttempts when `address` has used up what it is allowed."""
        moments = self._moments.get(address)
        if moments is None or len(moments) < ALLOWED:
            return
        wait_seconds = moments[0] + WINDOW_SECONDS - at
        if wait_seconds > 0:
            raise TooManyWrongAttempts(
                "Too many wrong attempts from this machine.", retry_after_seconds=wait_seconds
            )

    def count(self, address: str, at: float) -> None:
        """Remembers a wrong attempt. The addresses that were wrong most recently are remembered."""
        self._moments.setdefault(address, deque(maxlen=ALLOWED)).append(at)
        self._moments.move_to_end(address)
        while len(self._moments) > _MOST_ADDRESSES:
            self._moments.popitem(last=False)
