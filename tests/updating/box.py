"""A box with real storage and the simulated machine, whose core takes a turn when the test says so."""

from dataclasses import dataclass, field
from pathlib import Path

from sqlite_utils import Database

from appliance.host.simulated import SimulatedHost
from appliance.settings import Settings
from appliance.storage import write_choice
from appliance.updating.choice import UpdateChoice
from appliance.updating.following import hurry, watch
from appliance.updating.found import Found, found_releases
from appliance.updating.installs import Install, Stage, list_installs
from appliance.updating.looking import follow_channel
from appliance.updating.offline import follow_offline
from appliance.updating.offline_checks import Check, ask_check, newest_check
from appliance.updating.release import Origin
from tests.updating.vendor import Vendor


@dataclass
class Box:
    """`at` is its clock, epoch seconds."""

    settings: Settings
    db: Database
    activity: Database
    at: float
    host: SimulatedHost = field(init=False)

    def __post_init__(self) -> None:
        self.settings.host_dir.mkdir(parents=True, exist_ok=True)
        self.start_core()

    def start_core(self) -> None:
        """As after a restart of core and broker: nothing is remembered but what is in files."""
        self.host = SimulatedHost(self.settings.secrets_dir / "key", self.settings.host_dir, lambda: self.at)

    def trust(self, vendor: Vendor) -> None:
        root = self.settings.state_dir / "updates" / "root.json"
        root.parent.mkdir(exist_ok=True)
        root.write_bytes(vendor.first_root)

    def choose(self, choice: UpdateChoice) -> None:
        write_choice(self.db, choice, chosen_by=None)

    def turn(self, seconds: float = 30) -> str:
        """The slow job, after so long."""
        self.at += seconds
        said = watch(self.settings, self.host, at=self.at)
        return said or follow_channel(self.settings, self.host, clock=lambda: self.at)

    def quick_turn(self, seconds: float = 2) -> str:
        self.at += seconds
        return hurry(self.settings, self.host, at=self.at)

    def check(self) -> Check:
        """Does what was asked for, to its end."""
        follow_offline(self.settings, self.host, clock=lambda: self.at)
        check = newest_check(self.activity)
        assert check
        return check

    def upload(self, file: Path) -> Check:
        kept = self.settings.state_dir / "updates" / "incoming" / "x.tar"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(file.read_bytes())
        ask_check(self.activity, Origin.UPLOAD, path=str(kept), name=file.name, by="ana", at=self.at)
        return self.check()

    @property
    def stick(self) -> Path:
        return self.settings.host_dir / "stick"

    def look_at_stick(self) -> Check:
        ask_check(self.activity, Origin.STICK, path="", name="USB", by="ana", at=self.at)
        return self.check()

    def found(self) -> list[tuple[str, Origin]]:
        return [(each.release.version, each.origin) for each in found_releases(self.activity)]

    def the(self, version: str) -> Found:
        return next(each for each in found_releases(self.activity) if each.release.version == version)

    def install(self) -> Install:
        return list_installs(self.db)[0]

    def until(self, stage: Stage, *, turns: int = 40) -> Install:
        """Quick and slow turns until the newest install has come there."""
        for number in range(turns):
            if self.install().stage is stage:
                return self.install()
            self.quick_turn() if number % 4 else self.turn(2)
        raise AssertionError(f"it is {self.install()}, not {stage}")

    def audit(self) -> list[tuple[str, str]]:
        return [
            (row[0], row[1]) for row in self.activity.execute("SELECT event, subject FROM audit ORDER BY id")
        ]
