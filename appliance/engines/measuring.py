"""How fast an engine is on this machine: a real engine process, asked over its socket.

The faster engine of a node is chosen by this, not by a table. The figures are of a short fixed benchmark:
one long prompt for reading, then greedy answers alone and many at once.
"""

from pydantic import BaseModel, ConfigDict, Field

from appliance.hardware.profile import EngineName


class MeasuredSpeed(BaseModel):
    """What one engine did with one model on this machine."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    engine: EngineName
    device: str
    model: str
    load_seconds: float = Field(ge=0)
    """From the start of the process to its first token."""
    prompt_tokens_per_second: float = Field(ge=0)
    tokens_per_second_alone: float = Field(ge=0)
    """Generated, one answer running."""
    tokens_per_second_together: float = Field(ge=0)
    """Generated, of all answers, `together` of them running."""
    together: int = Field(ge=1)
