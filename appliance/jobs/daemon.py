"""The life of the core daemon: schedule the table of jobs, and reconcile the network with every decision.

Reconciling is level-triggered: at start, at every change of cellule.db (noticed within
NOTICE_SECONDS), and every RECONCILE_SECONDS whatever happens: nothing depends on one notice arriving.
"""

import logging
import threading
import time
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from sqlite_utils import Database

from appliance.clock import now
from appliance.enrolment.announcing import Announcer
from appliance.enrolment.reconcile import reconcile_network
from appliance.errors import Refusal
from appliance.host import Host
from appliance.jobs.state import JobState, write_job_states
from appliance.jobs.table import JOBS, Job
from appliance.models.getting import stopping
from appliance.settings import NOTICE_SECONDS, Settings
from appliance.storage import data_version, open_cellule

RECONCILE_SECONDS = 10.0
RETRY_SECONDS = 1.0
log = logging.getLogger("cellule.core")


class Daemon:
    """Runs until `stop` is set. `host` is the door to the machine."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host
        self._last_said: dict[str, str] = {}
        self._states: dict[str, JobState] = {}
        self._telling = threading.Lock()
        self._told_at = 0.0
        self._network_refusal = ""
        self.stop = threading.Event()

    def run(self) -> None:
        """Blocks until `stop`. A failing job or reconcile is logged and tried again, never the end of it."""
        scheduler = self._scheduled()
        announcer = Announcer(self._settings) if self._settings.tls else None
        stopping.clear()
        scheduler.start()
        try:
            self._follow_decisions(announcer)
        finally:
            # a download of hours goes on after the next start
            stopping.set()
            scheduler.shutdown(wait=False)
            if announcer:
                announcer.close()

    def _scheduled(self) -> BackgroundScheduler:
        # some take hours: nobody else shall wait for their threads
        pool = ThreadPoolExecutor(sum(job.at_once for job in JOBS))
        scheduler = BackgroundScheduler(timezone=UTC, executors={"default": pool})
        for job in JOBS:
            scheduler.add_job(
                self._run_job,
                "interval",
                [job],
                id=job.name,
                seconds=job.period_seconds,
                next_run_time=datetime.now(UTC),
                max_instances=job.at_once,
                coalesce=True,
                misfire_grace_time=None,
            )
        return scheduler

    def _run_job(self, job: Job) -> None:
        began = now()
        try:
            said = job.run(self._settings)
        except Exception as error:
            log.exception("job %s failed; it is tried again in %g s", job.name, job.period_seconds)
            self._tell(job, began, type(error).__name__, failed=True)
            return
        self._tell(job, began, said)
        # told when it changes, not at every turn
        if said and said != self._last_said.get(job.name):
            log.info("job %s: %s", job.name, said)
        self._last_said[job.name] = said

    def _tell(self, job: Job, began: float, said: str, *, failed: bool = False) -> None:
        """Keeps how the job ended; written when it differs, not at every turn."""
        state = JobState(began_at=began, seconds=round(now() - began, 3), failed=failed, said=said)
        with self._telling:
            former = self._states.get(job.name)
            self._states[job.name] = state
            if former is None or (former.failed, former.said) != (failed, said) or began - self._told_at > 60:
                self._told_at = began
                write_job_states(self._settings, self._states)

    def _follow_decisions(self, announcer: Announcer | None) -> None:
        with open_cellule(self._settings.state_dir) as database:
            seen, due_at = -1, 0.0
            while not self.stop.wait(NOTICE_SECONDS):
                version = data_version(database)
                if version == seen and time.monotonic() < due_at:
                    continue
                seen, due_at = version, time.monotonic() + RETRY_SECONDS
                # both, whatever becomes of the other: workers must find a box whose tunnel is being mended
                done = [self._reconcile(database), self._announce(announcer)]
                if all(done):
                    due_at = time.monotonic() + RECONCILE_SECONDS

    def _reconcile(self, database: Database) -> bool:
        try:
            reconcile_network(database, self._host, self._settings)
        except Refusal as refusal:
            if str(refusal) != self._network_refusal:
                log.warning("the network could not be reconciled: %s", refusal)
            self._network_refusal = str(refusal)
        except Exception:
            log.exception("the network could not be reconciled")
        else:
            self._network_refusal = ""
            return True
        return False

    def _announce(self, announcer: Announcer | None) -> bool:
        try:
            if announcer:
                announcer.refresh()
        except Exception:
            log.exception("the box could not be announced on the LAN")
            return False
        return True
