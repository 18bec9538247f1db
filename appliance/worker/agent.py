"""The life of an enrolled worker: tunnel up, engines as desired, a report every few seconds.

Level-triggered throughout: tunnel and rules are made as planned again and again, each report carries
everything, each answer is the whole desired state. When the tunnel stays silent the box is asked on the
LAN who we are to it, at its last address or wherever mDNS finds it. So a box that moved is found again,
and a revocation is heard although the tunnel is cut.
"""

import logging
import random
import time

from pydantic import ValidationError

from appliance import VERSION
from appliance.enrolment.contract import (
    REPORT_PATH,
    DesiredState,
    WorkerConfig,
    WorkerReport,
    WorkerState,
)
from appliance.enrolment.pinned import Address, BoxRefused, BoxUnreachable, pinned_post
from appliance.enrolment.redeeming import Approved, Pending, Revoked
from appliance.errors import NotTrusted, Refusal
from appliance.host import Host
from appliance.worker.engines import Engines
from appliance.worker.facts import current_load, machine_facts
from appliance.worker.handout import Handout
from appliance.worker.lent_part import LentPart
from appliance.worker.membership import Membership, MembershipStore
from appliance.worker.model_store import ModelStore
from appliance.worker.network import WorkerNetwork
from appliance.worker.presence import Presence
from appliance.worker.recognition import MachineRecord
from appliance.worker.server_search import ServerSearch
from appliance.worker.standing import FindBoxes, ask_standing
from appliance.worker.tunnel import report_address

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
REPORT_TIMEOUT_SECONDS = 3.0
SHORTEST_REPORT_SECONDS, LONGEST_REPORT_SECONDS = 1.0, 60.0
LONGEST_RETRY_SECONDS = 10.0


class WorkerRevoked(NotTrusted):
    """The box took this worker out of its fleet; final."""

    code = "worker_revoked"


def retry_delay_seconds(failures: int, jitter: float) -> float:
    """1 s, then doubling up to LONGEST_RETRY_SECONDS; `jitter` in 0..1 keeps a fleet from calling in step."""
    return min(2.0 ** (failures - 1), LONGEST_RETRY_SECONDS) * (0.75 + 0.5 * jitter)


class Agent:
    """Works for an approved membership. `find_boxes` yields candidate addresses on the LAN."""

    def __init__(
        self, store: MembershipStore, membership: Membership, host: Host, find_boxes: FindBoxes
    ) -> None:
        assert membership.config is not None
        self._store = store
        self._membership = membership
        self._find_boxes = find_boxes
        self._network = WorkerNetwork(host, membership.interface, membership.config)
        self._models = ModelStore(store.folder / "models")
        self._handout = self._new_handout()
        self._engines = self._new_engines()
        self._part = LentPart(membership.config.tunnel_address)
        self._desired: DesiredState | None = None
        self._facts = machine_facts()
        self._machine = MachineRecord()
        self._servers = ServerSearch()
        self._presence = Presence()
        self._failures = 0

    def run(self) -> None:
        """Works until KeyboardInterrupt, leaving neither engine nor tunnel behind.

        Raises WorkerRevoked, with keys and models wiped, and what `Host` refuses at the start.
        """
        report_at = 0.0
        try:
            self._network.bring_up()
            self._network.wait_for_handshake()
            self._servers.start()
            while True:
                self._network.tend()
                is_news = self._run_what_has_come() | self._engines.tend() | self._part.tend()
                if is_news or time.monotonic() >= report_at:
                    report_at = time.monotonic() + self._report()
                time.sleep(TICK_SECONDS)
        except WorkerRevoked:
            self._store.wipe()
            self._engines.stop()
            self._handout.stop()
            self._models.wipe()
            raise
        finally:
            self._servers.stop()
            self._presence.close()
            self._engines.stop()
            self._part.stop()
            self._handout.stop()
            self._network.take_down()

    def _report(self) -> float:
        """One report; seconds until the next. Raises WorkerRevoked."""
        load = current_load(self._presence)
        report = WorkerReport(
            name=self._facts.name,
            agent_version=VERSION,
            facts=self._facts,
            engines=self._engines.reports(),
            load=load,
            part=self._part.report(),
            machine=self._machine.news(),
            models=self._handout.progress(),
            avoided=self._handout.avoided(),
            found_servers=self._servers.found(),
        )
        try:
            answer = pinned_post(
                report_address(self._network.config),
                self._membership.pin,
                REPORT_PATH,
                report.model_dump_json(),
                timeout_seconds=REPORT_TIMEOUT_SECONDS,
            )
            desired = DesiredState.model_validate_json(answer.body)
        except (Refusal, ValidationError) as error:
            return self._after_failure(error)
        if self._failures:
            log.info("the box answers again")
        self._failures = 0
        self._machine.was_told(report.machine)
        if desired.state is WorkerState.REVOKED:
            raise _revoked()
        self._desired = desired
        self._network.link(desired.handout.links)
        self._engines.apply(desired.engines, self._servers.ports())
        self._part.apply(desired.part)
        self._handout.obey(desired, self._engines.files(), is_busy=load.user_active)
        return min(max(desired.report_every_seconds, SHORTEST_REPORT_SECONDS), LONGEST_REPORT_SECONDS)

    def _after_failure(self, error: Exception) -> float:
        self._failures += 1
        log.warning("report %d failed: %s", self._failures, error)
        if _is_silence(error):
            self._network.call_anew()
            if self._network.wait_for_handshake() and self._failures == 1:
                return 0.0
            self._ask_on_lan()
        elif isinstance(error, BoxRefused):
            self._ask_on_lan()
        return retry_delay_seconds(self._failures, random.random())

    def _ask_on_lan(self) -> None:
        """Takes over what the box says of us on the LAN. Raises WorkerRevoked."""
        try:
            address, standing = ask_standing(self._membership, self._find_boxes)
        except Refusal as error:
            log.warning("%s", error)
            return
        match standing:
            case Revoked():
                raise _revoked()
            case Approved(config):
                self._adopt(address, config)
            case Pending():
                log.warning("the box has not approved this machine")

    def _adopt(self, address: Address, config: WorkerConfig) -> None:
        if (address, config) == (self._membership.address, self._membership.config):
            return
        log.info("the box is at %s now", address[0])
        moved = (config.tunnel_address, config.report_url) != (
            self._network.config.tunnel_address,
            self._network.config.report_url,
        )
        self._membership = self._membership.model_copy(update={"address": address, "config": config})
        self._store.save(self._membership)
        self._network.adopt(config)
        if moved:
            self._handout.stop()
            self._handout = self._new_handout()
            self._engines.stop()
            self._engines = self._new_engines()
            self._part.stop()
            self._part = LentPart(config.tunnel_address)

    def _run_what_has_come(self) -> bool:
        """A model that has just come is run at once; True when there is news of one for the box."""
        has_news = self._handout.has_news()
        if has_news and self._desired is not None:
            self._engines.apply(self._desired.engines, self._servers.ports())
        return has_news

    def _new_handout(self) -> Handout:
        config = self._membership.config
        assert config is not None
        return Handout(self._models, report_address(config), self._membership.pin, config.tunnel_address)

    def _new_engines(self) -> Engines:
        config = self._membership.config
        assert config is not None
        return Engines(self._store.folder, config.tunnel_address, self._handout.find)


def _is_silence(error: Exception) -> bool:
    # who refuses a connection is there: the box's front is starting, the tunnel is fine
    return isinstance(error, BoxUnreachable) and not isinstance(error.__cause__, ConnectionRefusedError)


def _revoked() -> WorkerRevoked:
    return WorkerRevoked(
        "This machine was taken out of the fleet; its keys are wiped.",
        next_step="To come back, ask the admin for an invitation and join again.",
    )
