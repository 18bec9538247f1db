"""How long and how much the pool tolerates, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Times in seconds, sizes in bytes."""

    queue_wait_seconds: float = 60.0
    """Longest wait for a free slot before 503."""
    load_wait_seconds: float = 180.0
    """The same while no node has the model in memory: it is being loaded because of this request."""
    load_queue_limit: int = 16
    """So many wait for a model that no node has in memory, so that the queue stays open to others."""
    body_seconds: float = 30.0
    """A request body that takes longer to arrive is refused with 408."""
    node_silent_seconds: float = 15.0
    """A node not heard of for so long leaves routing, and its unanswered requests go elsewhere."""
    node_forgotten_seconds: float = 300.0
    """After that its models are unknown here, where before they were only not available."""
    client_stall_seconds: float = 60.0
    """A client that takes nothing of a waiting stream for so long loses it, and its slot goes to others."""
    connect_seconds: float = 3.0
    attempts: int = 3
    """A request that broke this many nodes is not tried on yet another one."""
    health_every_seconds: float = 1.0
    health_timeout_seconds: float = 2.0
    refresh_every_seconds: float = 0.2
    """How often keys and workers are looked at for changes."""
    reports_every_seconds: float = 1.0
    """How often the workers' reports are read; they arrive every 5 s."""
    own_report_every_seconds: float = 2.0
    flush_every_seconds: float = 0.5
    """How often ledger lines are written to disk."""
