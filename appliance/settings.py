"""Where things are and how the processes listen: read once from CELLULE_* variables, then frozen.

A process never writes here. What an admin can change lives in storage; this is what systemd, or
`./build.sh run`, decides before anything starts.
"""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

TUNNEL_NETWORK = "10.77.0.0/16"
TUNNEL_BOX_ADDRESS = "10.77.0.1"
WIREGUARD_PORT = 51820
BOX_NODE = "box"
"""What the box itself is called among the nodes; a worker's id is never this."""
WORKER_ENGINE_PORT = 8000
"""The first engine of a worker listens here, on its tunnel address only; a second one on the next port."""
WORKER_ENGINE_PORTS = tuple(range(WORKER_ENGINE_PORT, WORKER_ENGINE_PORT + 4))
WORKER_HANDOUT_PORT = 8010
"""Here a worker gives pieces of models to those workers that the box names, on its tunnel address only."""
WORKER_PART_PORT = 8020
"""A worker that lends memory to a split model computes for its head here, on its tunnel address only."""
WORKER_PART_PORTS = (WORKER_PART_PORT, WORKER_PART_PORT + 1)
"""On the second it tells the head how it is."""
SILENT_AFTER_SECONDS = 15.0
"""A worker that has not reported for this long gets no request, and those it has are answered elsewhere."""
NOTICE_SECONDS = 0.2
"""How often a process looks whether people decided something new (storage.data_version)."""


class Settings(BaseModel):
    """Each field is the variable CELLULE_<FIELD IN CAPITALS>."""

    model_config = ConfigDict(frozen=True)

    state_dir: Path = Path("/var/lib/cellule")
    run_dir: Path = Field(default_factory=lambda given: given["state_dir"] / "run")
    """Unix sockets, emptied at every start. A socket path may have at most 107 bytes."""
    engines_dir: Path = Field(default_factory=lambda given: given["run_dir"])
    """Sockets of the box's engines: apart where these run as another user, who must not reach the others."""
    host_dir: Path = Field(default_factory=lambda given: given["state_dir"] / "host")
    """What the host broker remembers; on the image root's alone."""
    broker_socket: Path = Field(default_factory=lambda given: given["run_dir"] / "broker.sock")
    appliance: bool = False
    """This is the image on a machine of its own, with systemd and nginx around us."""
    listen_socket: Path | None = None
    """The pool listens here, behind nginx, instead of on listen_host and port, which are then nginx's."""
    front_socket: Path | None = None
    """Here nginx answers the verdict on a boot, by TLS; None where the pool is its own front."""
    listen_host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    metrics_port: int = Field(default=9464, ge=1, le=65535)
    tls: bool = False
    """Serve HTTPS with the box's own certificate; workers can join only then, for they pin its key."""
    host_simulated: bool = False
    """Use the simulated twin of the host broker: no root, no tunnel, no firewall."""
    wireguard_interface: str = Field(default="wg0", pattern=r"^[a-z][a-z0-9_]{0,14}$")
    wireguard_port: int = Field(default=WIREGUARD_PORT, ge=1, le=65535)
    support_interface: str = Field(default="wgsupport", pattern=r"^[a-z][a-z0-9_]{0,14}$")
    vendor_support_file: Path = Path("/usr/lib/cellule/vendor/support.pub")
    """Whom support is given by: see appliance/support/trust.py."""
    development: bool = False
    """Started by `./build.sh run`: a demo API key exists and the ready line is printed."""
    queue_limit: int = Field(default=256, ge=1)
    body_limit_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    sound_limit_bytes: int = Field(default=26 * 1024 * 1024, ge=1024)
    """Of a transcription's whole form; a node takes 25 MiB of sound and a little beside it."""
    converter: Path | None = None
    """The Python that makes OpenVINO models of safetensors, in an environment of its own."""
    engine_slots: int = Field(default=8, ge=1, le=256)

    @property
    def secrets_dir(self) -> Path:
        """Files that only the service user reads: keys, claim code, session secret."""
        return self.state_dir / "secrets"

    @property
    def restore_record(self) -> Path:
        """How far the last restore came (appliance/keeping); not there before the first one."""
        return self.state_dir / "keeping" / "restore.json"

    @property
    def web_socket(self) -> Path:
        return self.run_dir / "web.sock"

    @property
    def wireguard_key_path(self) -> Path:
        """The box's WireGuard key; on the image only root reads it, and everybody else asks the broker."""
        return (self.host_dir if self.appliance else self.secrets_dir) / "wireguard.key"

    @property
    def base_url(self) -> str:
        """How this machine itself reaches the front, without a slash at the end."""
        host = "127.0.0.1" if self.listen_host == "0.0.0.0" else self.listen_host  # noqa: S104
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def engine_specs_dir(self) -> Path:
        """What engines the box runs beside the demo model: see appliance/engines/spec.py."""
        return self.state_dir / "engines"

    @property
    def split_specs_dir(self) -> Path:
        """The same for heads of split models, which call workers: on the image a service apart runs them."""
        return self.state_dir / "split-engines"

    def engine_socket(self, model: str) -> Path:
        return self.engines_dir / f"engine-{model}.sock"

    def engine_sockets(self) -> tuple[Path, ...]:
        """The sockets that lie there now; nobody may listen on one of them."""
        return tuple(sorted(self.engines_dir.glob("engine-*.sock")))

    def environment(self) -> dict[str, str]:
        """The variables that make another process read the same settings."""
        set_fields = self.model_dump(exclude_none=True)
        return {f"CELLULE_{name.upper()}": str(value) for name, value in set_fields.items()}


def load_settings(environment: dict[str, str] | None = None) -> Settings:
    """Settings from CELLULE_* of `environment` (the process's own by default).

    Raises pydantic.ValidationError, which names the field, for a value out of range.
    """
    variables = os.environ if environment is None else environment
    given = {
        name: variables[f"CELLULE_{name.upper()}"]
        for name in Settings.model_fields
        if f"CELLULE_{name.upper()}" in variables
    }
    return Settings.model_validate(given)
