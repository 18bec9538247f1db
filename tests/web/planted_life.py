"""States of a box's life, written as the box writes them: what pages must tell, in every language."""

from sqlite_utils import Database

from appliance.boot import Attempt, Ending, RollbackStory, places, refuse_release
from appliance.boot.word import Kind, Word
from appliance.host.contract import HostFailed
from appliance.keeping.history import Recorder, Work
from appliance.keeping.targets import BackupChoice, SmbTarget
from appliance.keeping.troubles import trouble_in
from appliance.settings import Settings
from appliance.storage import write_choice
from appliance.support.bundle import Bundle, BundleState
from appliance.updating import ChannelState, Found, Origin, Release, Stage, UpdateChoice, order_install
from appliance.updating.found import record_look
from appliance.updating.installs import Progress, list_installs, move_install, record_progress

NOTES = {
    "en": "Answers begin 30 % sooner on the NPU.\nBackups to S3 folders.",
    "fr": "Les réponses commencent 30 % plus tôt sur le NPU.\nSauvegardes vers S3.",
}
LOG = "\n".join(
    f"Nov 21 04:1{minute}:02 cellule cellule-pool[311]: could not bind 127.0.0.1:8080: address already in use"
    for minute in range(6)
)
FAILED = Attempt(
    ending=Ending.CHECK_FAILED,
    at=1_790_000_000.0,
    boot_id="abc",
    last_good_step="broker",
    check="pool",
    sentence="The pool does not answer: [Errno 2] No such file or directory. (waited 60 s)",
    log=LOG,
)
STORY = RollbackStory(
    version="1.2.0",
    slot="b",
    tries=3,
    attempts=(
        Attempt(ending=Ending.NEVER_ARRIVED),
        Attempt(
            ending=Ending.HUNG, at=1_789_999_500.0, boot_id="abb", last_good_step="storage", silent_seconds=31
        ),
        FAILED,
    ),
    running_version="1.1.0",
    root_hash="0f" * 32,
)
TROUBLES = {
    Work.TEST: "mount error(13): Permission denied",
    Work.BACKUP: "Fatal: something that nobody foresaw",
    Work.DRILL: "Save failed: no space left on device",
    Work.CHECK: "Is there a repository at the following location?",
}
"""What restic or mount said, by work."""


def rolled_back(db: Database) -> None:
    """A release that used up its tries."""
    refuse_release(db, STORY)


def bad_start(settings: Settings, kind: Kind) -> None:
    """This start is not good."""
    word = Word(
        kind=kind,
        version="1.1.0",
        check="storage",
        sentence="The file cellule.db is damaged (database disk image is malformed). It was left as it is.",
        next_step="Restore a backup.",
    )
    file = places(settings).verdict
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(word.model_dump_json())


def nightly_target(db: Database) -> None:
    target = SmbTarget(host="nas.example", share="backups", username="box")
    write_choice(db, BackupChoice(target=target, nightly_at="02:30", chosen_at=1.0), chosen_by=None)


def failed_backups(activity: Database, at: float) -> None:
    """Every kind of run failed, each in its own way."""
    for work, words in TROUBLES.items():
        with Recorder(activity, work, lambda: at):
            raise trouble_in(words)


def release(version: str, at: float) -> Release:
    return Release(
        version=version,
        manifest_hash="ab" * 32,
        compatible="cellule-amd64",
        published_at=int(at) - 86_400,
        notes=NOTES,
        bundle=f"cellule-{version}.raucb",
        sha256="cd" * 32,
        size_bytes=204_000_000,
    )


def an_install(
    db: Database, version: str, at: float, *stages: Stage, code: str = "", error: str = ""
) -> None:
    """An install from the channel that came through these stages."""
    found = Found(release(version, at), Origin.CHANNEL, "https://updates.example/x.raucb", at)
    order_install(db, found, by="ana", restart_now=False, at=at)
    for stage in stages:
        told = (code, error) if stage is stages[-1] else ("", "")
        move_install(db, list_installs(db)[0], stage, at=at, code=told[0], error=told[1])


def past_installs(db: Database, at: float) -> None:
    """One that ran, one that was undone, one of which the machine's refusal is told."""
    an_install(db, "1.1.0", at - 9e6, Stage.INSTALLING, Stage.INSTALLED, Stage.RESTARTING, Stage.HELD)
    an_install(db, "1.2.0", at - 5e5, Stage.INSTALLING, Stage.INSTALLED, Stage.RESTARTING, Stage.ROLLED_BACK)
    refused = HostFailed("The disk of the box has no partition root-b.")
    an_install(db, "1.2.1", at - 4e5, Stage.FAILED, code=refused.code, error=refused.sentence)
    error = "Failed updating slot rootfs.1: failed to start casync"
    an_install(db, "1.2.1", at - 3e5, Stage.INSTALLING, Stage.FAILED, code="install_failed", error=error)


def installing(db: Database, activity: Database, at: float, percent: int = 55) -> None:
    an_install(db, "1.3.0", at - 60, Stage.INSTALLING)
    install = list_installs(db)[0]
    record_progress(activity, install, Progress(percent, "Copying image to rootfs.1", at))


def channel_away(db: Database, activity: Database, at: float, code: str, sentence: str) -> None:
    url = "https://updates.example/stable/"
    write_choice(db, UpdateChoice(channel_url=url), chosen_by=None)
    state = ChannelState(url, at, at - 90_000, at - 7200, 3, code, sentence, at + 1800)
    record_look(activity, state)


def refused_stick(activity: Database, at: float) -> None:
    activity.execute(
        """INSERT INTO offline_checks
        (origin, path, name, state, asked_by, asked_at, ended_at, code, sentence)
        VALUES ('stick', '', 'USB', 'refused', 'ana', ?, ?, 'host_failed', ?)""",
        [at - 30, at, "The USB stick can't be read: mount: wrong fs type"],
    )


def undone_change(db: Database, at: float) -> None:
    """A change of the network that the machine refused."""
    error = (
        "The network 10.77.0.0/16 overlaps 10.77.0.0/16, which the tunnels use."
        " Use another network, or a smaller one."
    )
    db.execute(
        """INSERT INTO guarded_changes (id, kind, state, begun_at, begun_by, ended_at, error)
        VALUES ('x', 'network', 'undone', ?, 'ana', ?, ?)""",
        [at - 90, at, error],
    )


def broken_bundle(settings: Settings, at: float, state: BundleState = BundleState.FAILED) -> None:
    folder = settings.state_dir / "support"
    folder.mkdir(exist_ok=True)
    bundle = Bundle(state=state, requested_by="ana", requested_at=at, percent=40, step="logs", error="logs")
    (folder / "bundle.json").write_text(bundle.model_dump_json())
