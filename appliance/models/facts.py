"""What a model says of itself, read from its files and nowhere else.

0, "" and empty mean: the files don't say.
"""

from pydantic import BaseModel, ConfigDict, Field

from appliance.engines.options import Kind
from appliance.models.bundle import ModelFormat


class ModelFacts(BaseModel):
    """Sizes in bytes, lengths in tokens, widths in values."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    format: ModelFormat
    kind: Kind
    architecture: str
    name: str = ""
    parameters: int = Field(ge=0)
    quantisation: str
    """As files are named after: Q4_K_M, int4."""
    weights_bytes: int = Field(ge=0)
    layers: int = Field(default=0, ge=0)
    heads: int = Field(default=0, ge=0)
    kv_heads: tuple[int, ...] = ()
    """Of each layer; 0 where a layer keeps no cache."""
    key_length: int = Field(default=0, ge=0)
    value_length: int = Field(default=0, ge=0)
    state_bytes: int = Field(default=0, ge=0)
    """What the layers without a cache remember of one sequence, however long it is."""
    sliding_window: int = Field(default=0, ge=0)
    """Some layers look back only so far."""
    embedding_width: int = Field(default=0, ge=0)
    feed_forward_width: int = Field(default=0, ge=0)
    context_tokens: int = Field(default=0, ge=0)
    """As trained."""
    has_plain_positions: bool = False
    """They are not stretched (rope scaling), which not every engine knows."""
    vocabulary: int = Field(default=0, ge=0)
    experts: int = Field(default=0, ge=0)
    experts_used: int = Field(default=0, ge=0)
    chat_template: bool = False
    tools_in_template: bool = False
    licence: str = ""
    pooling: str = ""
    """How an embedder makes one vector of many: mean, cls, last; rank for a reranker."""

    @property
    def kv_values_per_token(self) -> int:
        """Keys and values of all layers."""
        return sum(self.kv_heads) * (self.key_length + self.value_length)
