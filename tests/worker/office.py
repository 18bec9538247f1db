"""A box with its real processes, and PCs, on one LAN: what the worker tests and the join benchmark run in."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryDirectory

from sqlite_utils import Database

from appliance.enrolment import (
    Worker,
    WorkerState,
    approve_worker,
    create_invitation,
    list_workers,
    revoke_worker,
)
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from tests.netlab import Lab, settings_environment
from tests.waiting import wait_until

PORT = 8443
POOL = ("gunicorn", "-c", "appliance/pool/gunicorn_conf.py", "appliance.pool.app:app")


@dataclass
class Office:
    """The lab, the box's settings and its databases as an admin's pages see them."""

    lab: Lab
    folder: Path
    settings: Settings
    db: Database
    activity: Database
    agents: dict[str, Popen[bytes]] = field(default_factory=dict)

    def state_dir(self, pc: str) -> Path:
        return self.folder / pc

    def start_agent(self, pc: str, *arguments: str) -> Popen[bytes]:
        """The agent on a PC, with its own folder and, to join, its interface."""
        argv = [sys.executable, "-m", "appliance.worker", *arguments, "--state", str(self.state_dir(pc))]
        if arguments[0] == "join":
            argv += ["--interface", self.lab.tunnel_name(pc)]
        self.agents[pc] = self.lab.popen(pc, argv)
        return self.agents[pc]

    def invite(self, label: str) -> Path:
        """A file with a fresh code."""
        path = self.folder / f"code-{label}"
        path.write_text(create_invitation(self.db, self.settings, label, created_by=None).code + "\n")
        path.chmod(0o600)
        return path

    def pending(self) -> Worker:
        """The worker that waits for approval, once there is one."""
        return wait_until(
            lambda: next((w for w in list_workers(self.db) if w.state is WorkerState.PENDING), None),
            within_seconds=20,
            what="a worker has redeemed its invitation",
        )

    def approve(self, worker: Worker) -> Worker:
        return approve_worker(self.db, worker.id, approved_by=None, short_code=worker.short_code)

    def revoke(self, worker: Worker) -> None:
        revoke_worker(self.db, worker.id)

    def join(self, pc: str) -> Worker:
        """Invites, joins by mDNS, approves; returns when the tunnel carries a ping."""
        self.start_agent(pc, "join", "--code-file", str(self.invite(pc)))
        worker = self.approve(self.pending())
        assert worker.tunnel_address is not None
        wait_until(
            lambda: self.pings("box", str(worker.tunnel_address)), within_seconds=15, what="the tunnel is up"
        )
        return worker

    def pings(self, name: str, address: str) -> bool:
        """Whether one echo comes back within half a second."""
        return self.lab.run(name, ["ping", "-q", "-c1", "-W0.5", address], check=False).returncode == 0

    def has_report(self, worker: Worker) -> bool:
        return self.report_of(worker) is not None

    def report_of(self, worker: Worker) -> dict[str, object] | None:
        """The last report: {"at": epoch seconds, "report": JSON text}."""
        return next(self.activity["node_reports"].rows_where("node = ?", [worker.id]), None)


@contextmanager
def open_office(*pcs: str) -> Iterator[Office]:
    """The box's broker, core daemon and front as processes of their own in the box's namespace."""
    with TemporaryDirectory(prefix="cellule-") as name, Lab("box", *pcs, "client") as lab:
        folder = Path(name)
        # an engine runs as another user, who must be able to pass
        folder.chmod(0o755)
        settings = Settings(
            state_dir=folder / "box",
            listen_host="0.0.0.0",
            port=PORT,
            tls=True,
            wireguard_interface=lab.tunnel_name("box"),
        )
        for part in (settings.run_dir, settings.secrets_dir):
            part.mkdir(mode=0o700, parents=True)
        for argv in (
            (sys.executable, "-m", "appliance.host"),
            (sys.executable, "-m", "appliance.jobs"),
            POOL,
        ):
            lab.popen("box", argv, settings_environment(settings))
        with open_cellule(settings.state_dir) as db, open_activity(settings.state_dir) as activity:
            yield Office(lab, folder, settings, db, activity)
