"""What a worker and the box say to each other, before and after the worker belongs to the fleet.

Enrolment is three calls over TLS whose key the invitation pins: hello (a challenge), submit (the proof,
with the facts of the machine), status (until an admin has decided). An approved worker then sends
`WorkerReport` every few seconds through its tunnel; the answer is the state that it should be in.

Bytes travel as hex. A field that one side does not know is ignored, so that box and worker can be of
different versions.
"""

import base64
import binascii
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from appliance.engines.adopted.servers import ServerKind
from appliance.engines.options import Kind
from appliance.handout.contract import MOST_MODELS, HandoutOrders, ModelProgress
from appliance.hardware.profile import EngineName, Setting
from appliance.models.bundle import Bundle

HELLO_PATH = "/enrol/hello"
SUBMIT_PATH = "/enrol/submit"
STATUS_PATH = "/enrol/status"
REPORT_PATH = "/enrol/report"
LONGEST_MACHINE_RECORD = 128 * 1024
"""Characters; the tools of a machine with many cards print much."""


class WorkerState(StrEnum):
    """Pending until an admin compares the short code; revoked is final: a new code makes a new worker."""

    PENDING = "pending"
    APPROVED = "approved"
    REVOKED = "revoked"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters are not allowed")
    return text.strip()


def _key(text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise ValueError("a WireGuard key is 32 bytes in base64")
    return text


def _endpoint(text: str) -> str:
    host, _, port = text.rpartition(":")
    IPv4Address(host)
    if not (port.isdecimal() and port.isascii() and 1 <= int(port) <= 65535):
        raise ValueError("an endpoint ends with a port")
    return text


def _https(text: str) -> str:
    url = urlsplit(text)
    # reading the port refuses one that is none
    if url.scheme != "https" or not url.hostname or url.port == 0:
        raise ValueError("a report goes to an https address")
    return text


Bytes16 = Annotated[bytes, Field(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, Field(min_length=32, max_length=32)]
InvitationId = Annotated[bytes, Field(min_length=4, max_length=4)]
WorkerId = Annotated[str, Field(min_length=1, max_length=40)]
Name = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)]
Line = Annotated[str, Field(max_length=120), AfterValidator(_printable)]
Words = Annotated[str, Field(max_length=400), AfterValidator(_printable)]
"""What an engine or a part says of itself."""
PublicKey = Annotated[str, AfterValidator(_key)]
Endpoint = Annotated[str, Field(max_length=21), AfterValidator(_endpoint)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Message(BaseModel):
    """Frozen; bytes as hex in JSON; NaN and infinities refused."""

    model_config = ConfigDict(
        defer_build=True, frozen=True, ser_json_bytes="hex", val_json_bytes="hex", allow_inf_nan=False
    )


class WorkerFacts(Message):
    """What the machine says of itself. Shown to the admin; nothing is allowed because of it."""

    name: Name
    agent_version: Line = ""
    os: Line = ""
    cpu: Line = ""
    cores: int = Field(default=0, ge=0, le=4096)
    memory_bytes: int = Field(default=0, ge=0, le=1 << 50)
    gpus: tuple[Line, ...] = Field(default=(), max_length=16)
    mac_addresses: tuple[Annotated[str, Field(pattern=r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$")], ...] = Field(
        default=(), max_length=16
    )
    """Lower case; kept so that the machine can be woken later."""


class Hello(Message):
    """The worker asks for a challenge. Answered alike whether or not the invitation exists."""

    invitation_id: InvitationId
    public_key: Bytes32
    nonce: Bytes16


class Challenge(Message):
    """Valid once, for half a minute."""

    challenge_id: Bytes16
    ephemeral_key: Bytes32
    nonce: Bytes16


class Submission(Message):
    """`facts` is the JSON text of WorkerFacts exactly as it was authenticated by `mac`."""

    challenge_id: Bytes16
    facts: str = Field(max_length=8192)
    mac: Bytes32


class Receipt(Message):
    """The box's own proof that it knows the invitation's secret, over the worker id that it gave."""

    worker_id: WorkerId
    mac: Bytes32


class StatusRequest(Message):
    """`mac` is made with the poll key that both sides derived; the key itself never travels."""

    worker_id: WorkerId
    nonce: Bytes16
    mac: Bytes32


class WorkerConfig(Message):
    """All that an approved worker needs for its tunnel and its reports."""

    box_public_key: PublicKey
    """WireGuard's, base64."""
    endpoint: Endpoint
    """IPv4:PORT (udp) of the box's WireGuard."""
    tunnel_address: IPv4Address
    box_tunnel_address: IPv4Address
    allowed_ips: tuple[IPv4Network, ...]
    report_url: Annotated[str, Field(max_length=200), AfterValidator(_https)]
    """https, reached through the tunnel, pinned to the box's certificate key like every other call."""


class StatusAnswer(Message):
    """`config` is there only when `state` is approved."""

    state: WorkerState
    config: WorkerConfig | None = None


class EngineEnding(Message):
    """How an engine's process last ended by itself; it is started again, later each time."""

    at: float
    """Epoch seconds, by the worker's clock."""
    said: Words
    restarts: int = Field(default=0, ge=0)
    is_running: bool = False
    """Whether it was started again already."""
    failed_loads: int = Field(default=0, ge=0)
    """So many starts in a row ended before it was ever ready."""


class EngineReport(Message):
    """An engine's readiness answer, and the port of the worker's tunnel address where it listens."""

    model: Name
    port: Port
    ready: bool
    stopping: bool = False
    """It finishes what it answers and takes nothing new."""
    slots: int = Field(ge=0, le=4096)
    busy: int = Field(default=0, ge=0, le=4096)
    waiting: int = Field(default=0, ge=0)
    context_tokens: int = Field(default=0, ge=0)
    tokens_per_second: float = Field(default=0.0, ge=0)
    demo: bool = False
    kind: Kind = Kind.TEXT
    engine: EngineName = EngineName.LLAMA_CPP
    device: Line = "CPU"
    """As it was told at its start: OpenVINO's device, or llama.cpp's backend."""
    device_names: tuple[Line, ...] = Field(default=(), max_length=32)
    """Of llama.cpp: the devices beside the processor that compute, as their driver calls them."""
    prompt_tokens: int = Field(default=0, ge=0)
    """A longer prompt is refused here; 0: as the context allows."""
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    trouble: Words = ""
    """Why it is not ready, a sentence."""
    fingerprint: str = Field(default="", max_length=400, pattern=r"^[0-9a-f:,]*$")
    """Of an adopted server's model, by which another one under the same name is noticed."""
    ending: EngineEnding | None = None
    """None where it has not ended by itself since the box wanted it."""


ModelId = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]


class FoundModel(Message):
    """A model that a server says it has, by the server's own name."""

    id: ModelId
    context_tokens: int = Field(default=0, ge=0)
    is_embedding: bool = False


class FoundServer(Message):
    """A server that the owner of the machine runs, on this port of its loopback. It may be adopted."""

    kind: ServerKind
    port: Port
    slots: int = Field(default=0, ge=0, le=4096)
    """Answers that it says it makes at once; 0: not told."""
    needs_key: bool = False
    models: tuple[FoundModel, ...] = Field(default=(), max_length=64)


class PartReport(Message):
    """How the worker's part of a split model is; `memory_bytes` 0 while it does not say."""

    port: Port
    ready: bool
    memory_bytes: int = Field(default=0, ge=0, le=1 << 50)
    used_bytes: int = Field(default=0, ge=0, le=1 << 50)
    used_by: Line = ""
    device: Line = ""
    trouble: Words = ""
    """Why it is not ready, where it has ended."""


class WorkerLoad(Message):
    """What the person at the machine is using it for."""

    cpu_percent: float = Field(default=0.0, ge=0, le=100)
    user_active: bool = False


class WorkerReport(Message):
    """Who reports is known by the tunnel address that the report came from, never by its `name`."""

    name: Name
    agent_version: Line = ""
    facts: WorkerFacts | None = None
    engines: tuple[EngineReport, ...] = Field(default=(), max_length=16)
    load: WorkerLoad = WorkerLoad()
    part: PartReport | None = None
    """None where it lends no memory."""
    machine: str = Field(default="", max_length=LONGEST_MACHINE_RECORD)
    """The record of the machine (hardware.MachineFacts, JSON): once a minute, "" in between."""
    models: tuple[ModelProgress, ...] = Field(default=(), max_length=MOST_MODELS)
    """Those that were handed out, or are on their way."""
    avoided: tuple[IPv4Address, ...] = Field(default=(), max_length=64)
    """Workers that gave a wrong piece."""
    found_servers: tuple[FoundServer, ...] = Field(default=(), max_length=16)
    """Servers of the machine's owner, looked for now and then."""


class DesiredPart(Message):
    """Memory that the worker should lend to a split model whose head is the box."""

    memory_bytes: int = Field(ge=1 << 20, le=1 << 50)
    device: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]{0,19}$")] = "CPU"
    """As llama.cpp names it: CPU, CUDA0, Vulkan0."""


class DesiredEngine(Message):
    """An engine that the worker should run, on its tunnel address."""

    model: str
    slots: int
    context_tokens: int = 0
    """Of one sequence; 0 for as many as the model has, so that a prompt fits on every node or on none."""
    engine: EngineName = EngineName.LLAMA_CPP
    kind: Kind = Kind.TEXT
    device: str = "CPU"
    """OpenVINO's device, or llama.cpp's backend."""
    settings: dict[str, Setting] = Field(default_factory=dict)
    prompt_tokens: int = 0
    """A longer prompt is refused and answered elsewhere; 0: as the context allows."""
    bundle: Bundle | None = None
    """The model's files, fetched from the box or another worker; None: the one that ships."""


class DesiredState(Message):
    """The state that the worker should bring itself into, and when to report again."""

    state: Literal[WorkerState.APPROVED, WorkerState.REVOKED]
    report_every_seconds: float = Field(default=5, gt=0)
    engines: tuple[DesiredEngine, ...] = ()
    part: DesiredPart | None = None
    models: tuple[Bundle, ...] = ()
    """To be held ready beside those of the engines."""
    handout: HandoutOrders = HandoutOrders()

    @property
    def bundles(self) -> tuple[Bundle, ...]:
        """The models that the worker should have, the most urgent first, each once."""
        named = (*(engine.bundle for engine in self.engines), *self.models)
        return tuple({bundle.digest: bundle for bundle in named if bundle is not None}.values())
