"""What box and worker say of models on their way: orders in the desired state, progress in the report.

Only the box says who may fetch from whom. A worker that accuses another of a wrong piece loses no more than
its own link to it.
"""

from ipaddress import IPv4Address
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from appliance.host.plan import Endpoint, PublicKey
from appliance.models.bundle import Sha256

PIECES_PATH = "/enrol/pieces/"
"""GET {file's SHA-256} for its list of pieces, {file's SHA-256}/{index} for one piece."""
MOST_LINKS = 8
MOST_MODELS = 32
_MESSAGE = ConfigDict(defer_build=True, frozen=True, allow_inf_nan=False)

LOWEST_CAP_BYTES_PER_SECOND = 100_000
"""Below it a piece takes longer than who waits for it has patience."""


def _cap(bytes_per_second: int) -> int:
    if 0 < bytes_per_second < LOWEST_CAP_BYTES_PER_SECOND:
        raise ValueError(f"a cap is at least {LOWEST_CAP_BYTES_PER_SECOND} bytes per second, or 0 for none")
    return bytes_per_second


Rate = Annotated[int, Field(ge=0, le=1 << 40), AfterValidator(_cap)]
"""Bytes per second; 0: no cap."""
Bytes = Annotated[int, Field(ge=0, le=1 << 50)]


class Link(BaseModel):
    """Another worker to which a direct tunnel is made, as long as the orders name it."""

    model_config = _MESSAGE

    public_key: PublicKey
    tunnel_address: IPv4Address
    endpoint: Endpoint
    """Where the box sees it on the LAN."""
    gives: tuple[Sha256, ...] = Field(default=(), max_length=MOST_MODELS)
    """Digests of the models whose pieces we may ask it for."""
    has_all_of: tuple[Sha256, ...] = Field(default=(), max_length=MOST_MODELS)
    """Those of them that it has whole: the box need not give them."""
    takes: tuple[Sha256, ...] = Field(default=(), max_length=MOST_MODELS)
    """Digests of the models whose pieces it may ask us for."""


class Part(BaseModel):
    """Which pieces of a model this worker asks the box for first: part `number` of `of` equal ones."""

    model_config = _MESSAGE

    digest: Sha256
    number: int = Field(ge=0)
    of: int = Field(ge=1)


class HandoutOrders(BaseModel):
    """How this worker fetches and gives pieces now."""

    model_config = _MESSAGE

    may_fetch: bool = True
    reason: str = Field(default="", max_length=200)
    """Why not."""
    receive_bytes_per_second: Rate = 0
    send_bytes_per_second: Rate = 0
    busy_bytes_per_second: Rate = 0
    """Either way while somebody works at the machine, where that is less."""
    keep_free_bytes: Bytes = 0
    """Of the disk."""
    quota_bytes: Bytes = 0
    """Of all models together; 0: what the disk allows."""
    links: tuple[Link, ...] = Field(default=(), max_length=MOST_LINKS)
    parts: tuple[Part, ...] = Field(default=(), max_length=MOST_MODELS)


class ModelProgress(BaseModel):
    """How much of a model a worker has, and where it came from since the agent's start."""

    model_config = _MESSAGE

    digest: Sha256
    have_bytes: Bytes
    total_bytes: Bytes
    is_complete: bool = False
    """Every file had its hash."""
    from_box_bytes: Bytes = 0
    from_workers_bytes: Bytes = 0
    trouble: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    """A sentence for a person, where it does not go on."""
