"""A worker whose messages are seen, changed or lost on the way, by standing between it and `pinned_post`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from appliance.enrolment import pinned, redeeming
from appliance.enrolment.pinned import Address, BoxUnreachable, PinnedAnswer

Change = Callable[[str, dict[str, Any]], None]


@dataclass
class Wire:
    """`sent` has every (path, body) in order; `change` may rewrite a message before it goes.

    `lose` names a path whose next answer is lost.
    """

    sent: list[tuple[str, bytes]] = field(default_factory=list)
    change: Change | None = None
    lose: str | None = None

    def post(self, address: Address, pin: bytes, path: str, body: str | bytes) -> PinnedAnswer:
        message = orjson.loads(body)
        if self.change:
            self.change(path, message)
        encoded = orjson.dumps(message)
        self.sent.append((path, encoded))
        answer = pinned.pinned_post(address, pin, path, encoded)
        if self.lose == path:
            self.lose = None
            raise BoxUnreachable("The answer was lost.", retry_after_seconds=0)
        return answer

    def last(self, path: str) -> bytes:
        return [body for sent_path, body in self.sent if sent_path == path][-1]


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    between = Wire()
    monkeypatch.setattr(redeeming, "pinned_post", between.post)
    return between
