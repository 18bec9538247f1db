"""What a part says of itself, one port above the one where it computes: the contract, and how it is asked.

The head asks before it loads and every second from then on; the agent asks for its report.
"""

import http.client
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.engines.sharding.parts import PartAddress
from appliance.errors import TryAgain

STATUS_PATH = "/health/ready"
_ANSWER_LIMIT_BYTES = 65536
Bytes = Annotated[int, Field(ge=0, le=1 << 50)]


class PartSilent(TryAgain):
    """The part does not tell how it is: it is off, it is starting, or the way to it is cut."""

    code = "part_silent"
    http_status = 503


class PartStatus(BaseModel):
    """`instance` changes with every start; `build` must be the head's own, for the protocol changes."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    ready: bool
    instance: Annotated[str, Field(max_length=64)]
    build: Annotated[str, Field(max_length=64)]
    device: Annotated[str, Field(max_length=120)]
    memory_bytes: Bytes
    """What it lends."""
    used_bytes: Bytes = 0
    used_by: Annotated[str, Field(max_length=64)] = ""
    """Address of the head that it computes for now; it has one at a time."""

    @property
    def free_bytes(self) -> int:
        return max(0, self.memory_bytes - self.used_bytes)


def ask_part(address: PartAddress, timeout_seconds: float) -> PartStatus:
    """One question. Raises PartSilent."""
    connection = http.client.HTTPConnection(str(address.host), address.status_port, timeout=timeout_seconds)
    try:
        connection.request("GET", STATUS_PATH)
        return PartStatus.model_validate_json(connection.getresponse().read(_ANSWER_LIMIT_BYTES))
    except (OSError, http.client.HTTPException, ValidationError) as error:
        reason = error.__class__.__name__ if isinstance(error, ValidationError) else str(error)
        raise PartSilent(
            f"The part on {address} does not answer ({reason}).",
            retry_after_seconds=5,
            next_step="See whether that machine is on and its worker runs.",
        ) from error
    finally:
        connection.close()
