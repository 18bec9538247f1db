"""One NAS folder for backups and models at once: mounted by the first, unmounted by the last."""

import threading
from pathlib import Path

import pytest

from appliance.host import HostFailed, NasKind, NasPlan
from appliance.host.linux import nas as linux_nas
from appliance.host.linux import safekeeping
from appliance.host.linux.safekeeping import LinuxSafekeeping
from appliance.host.simulated import SimulatedHost
from appliance.keeping import BackupChoice, NfsTarget, pack_box
from appliance.keeping.history import Work
from appliance.keeping.key import BackupKey
from appliance.keeping.nas import mounted_nas
from appliance.keeping.nightly import keep
from appliance.models import medium
from appliance.settings import Settings
from appliance.storage import open_cellule, write_choice

PLAN = NasPlan(kind=NasKind.NFS, host="nas.example", share="/share")
OTHER = PLAN.model_copy(update={"share": "/other"})
NAS = NfsTarget(host="nas.example", export="/share")


class Machine(SimulatedHost):
    """Shows a share at one place while it is mounted, as a real machine does."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.wireguard_key_path, settings.host_dir)
        self.place = settings.host_dir / "mounted"
        self.mounts = 0
        self._plan: NasPlan | None = None

    def mount_nas(self, plan: NasPlan) -> str:
        if plan == self._plan:
            return str(self.place)
        self.unmount_nas()
        self.place.symlink_to(super().mount_nas(plan))
        self.mounts, self._plan = self.mounts + 1, plan
        return str(self.place)

    def unmount_nas(self) -> None:
        self.place.unlink(missing_ok=True)
        self._plan = None


@pytest.fixture
def machine(box: Settings) -> Machine:
    machine = Machine(box)
    for share in ("share", "other"):
        (box.host_dir / "nas" / "nas.example" / share / "models").mkdir(parents=True)
    return machine


def test_a_model_that_comes_from_the_nas_holds_up_no_backup(
    box: Settings, machine: Machine, key: BackupKey
) -> None:
    with open_cellule(box.state_dir) as db:
        write_choice(db, BackupChoice(target=NAS, chosen_at=0.0), chosen_by=None)
    with medium(box, machine, "nas") as folder:
        assert keep(box, machine) == f"{Work.BACKUP}: done"
        assert folder.is_dir(), "it is not taken away from who reads there"
        pack_box(box, machine).content.close()
    assert not machine.place.exists() and machine.mounts == 1


def test_who_goes_last_unmounts(box: Settings, machine: Machine) -> None:
    came, leave = threading.Event(), threading.Event()

    def work() -> None:
        with mounted_nas(box, machine, PLAN):
            came.set()
            leave.wait(30)

    second = threading.Thread(target=work)
    with mounted_nas(box, machine, PLAN) as folder:
        second.start()
        assert came.wait(30)
    assert folder.is_dir(), "the first has gone, the second is still there"
    leave.set()
    second.join(30)
    assert not machine.place.exists() and machine.mounts == 1


def test_a_target_chosen_meanwhile_takes_the_place(box: Settings, machine: Machine) -> None:
    with mounted_nas(box, machine, PLAN), mounted_nas(box, machine, OTHER) as folder:
        assert folder.resolve().name == "other"
    assert not machine.place.exists()


def test_a_share_that_can_not_be_mounted_is_in_nobodys_way(box: Settings, machine: Machine) -> None:
    missing = PLAN.model_copy(update={"share": "/missing"})
    with pytest.raises(HostFailed), mounted_nas(box, machine, missing):
        pass
    machine.place.symlink_to("/of/one/that/was/killed")
    with mounted_nas(box, machine, PLAN) as folder:
        assert folder.is_dir()


def test_linux_keeps_what_is_mounted_by_the_same_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    mounted: list[NasPlan] = []

    def mount(plan: NasPlan) -> str:
        mounted.append(plan)
        return str(linux_nas.NAS_DIR)

    monkeypatch.setattr(safekeeping, "mount_nas", mount)
    monkeypatch.setattr(safekeeping, "unmount_nas", lambda: None)
    monkeypatch.setattr(safekeeping, "is_nas_mounted", lambda: True)
    host = LinuxSafekeeping()
    assert Path(host.mount_nas(PLAN)) == Path(host.mount_nas(PLAN)) == linux_nas.NAS_DIR
    host.mount_nas(OTHER)
    host.unmount_nas()
    host.mount_nas(OTHER)
    assert mounted == [PLAN, OTHER, OTHER]
