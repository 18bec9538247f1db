"""Where things lie on the appliance. Tests give another root, with the files that the kernel would show."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """`kept` outlives restarts and is root's alone; `own_tls` holds the box's own tls.crt and tls.key."""

    kept: Path
    own_tls: Path
    root: Path = Path("/")

    @property
    def kernels(self) -> Path:
        """The kernel images of both slots, which systemd-boot chooses from."""
        return self.esp / "EFI/Linux"

    @property
    def esp(self) -> Path:
        return self.root / "efi"

    @property
    def partitions(self) -> Path:
        """Links to the partitions of the disk that the box runs from, by their labels, and to it (disk)."""
        return self.root / "dev/cellule"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def settled(self) -> Path:
        """What the broker decided for this boot: localtime, tls/served.crt and tls/served.key."""
        return self.run / "cellule-machine"

    @property
    def data_state(self) -> Path:
        """What data-partition left of this boot: device, opened, how, or trouble."""
        return self.run / "cellule-data"

    @property
    def kept_network(self) -> Path:
        """The network file that holds from the next start on, before the broker is there."""
        return self.root / "etc/cellule/network/50-cellule.network"

    @property
    def sys(self) -> Path:
        return self.root / "sys"

    @property
    def proc(self) -> Path:
        return self.root / "proc"

    @property
    def company_tls(self) -> Path:
        return self.root / "etc/cellule/tls"

    @property
    def media(self) -> Path:
        return self.run / "cellule-media"
