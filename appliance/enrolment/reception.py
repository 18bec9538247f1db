"""The box's side of enrolment, one method for each call of a worker.

A caller who can't prove the invitation's secret learns nothing: not whether the invitation exists, and the
same work is done either way. Only to one who has proven it are the reasons of a refusal told. Runs in one
thread, which owns the connections and what is remembered.
"""

import logging
import secrets
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from time import monotonic

from pydantic import ValidationError
from sqlite_utils import Database

from appliance.clock import now
from appliance.enrolment.adopting import adopted_engines
from appliance.enrolment.challenges import Challenges, OpenChallenge
from appliance.enrolment.contract import (
    REPORT_PATH,
    Challenge,
    DesiredState,
    Hello,
    Receipt,
    StatusAnswer,
    StatusRequest,
    Submission,
    WorkerConfig,
    WorkerFacts,
    WorkerReport,
    WorkerState,
)
from appliance.enrolment.exchange import (
    ExchangeKeys,
    Transcript,
    WeakKey,
    box_proof,
    derive_keys,
    poll_proof,
    proofs_match,
    worker_proof,
)
from appliance.enrolment.invitations import invitation_secret
from appliance.enrolment.keys import wireguard_text
from appliance.enrolment.records import Worker
from appliance.enrolment.rules import desired_state
from appliance.enrolment.wishes import wish_for
from appliance.enrolment.workers import (
    poll_key_of,
    redeem_invitation,
    worker_by_id,
    worker_by_tunnel_address,
)
from appliance.enrolment.wrong_attempts import WrongAttempts
from appliance.errors import NotTrusted, Refused, TryAgain
from appliance.handout.desk import Desk
from appliance.handout.hours import HandoutChoice, handout_permission
from appliance.handout.serving import Right
from appliance.hardware import keep_hardware, read_told
from appliance.settings import TUNNEL_BOX_ADDRESS
from appliance.storage import read_choice

log = logging.getLogger("cellule.enrolment")


class EnrolmentDenied(NotTrusted):
    """The proof is wrong, or there is nothing that could be proven: the two look the same."""

    code = "enrolment_denied"
    http_status = 403


class FactsRefused(Refused):
    """The facts are authentic, but not in the form of the contract."""

    code = "facts_refused"
    http_status = 422


class NotAWorker(NotTrusted):
    """A report that did not come through a worker's tunnel."""

    code = "not_a_worker"
    http_status = 403


class NotToHave(Refused):
    """A worker gets the files of its own models only."""

    code = "not_to_have"
    http_status = 403


class HandoutPaused(TryAgain):
    """Models travel at another time of the day."""

    code = "handout_paused"
    http_status = 503


class Reception:
    """`pin` is the whole SHA-256 of the box's certificate key; `box_public_key` is WireGuard's, base64."""

    def __init__(
        self,
        db: Database,
        activity: Database,
        *,
        pin: bytes,
        box_public_key: str,
        wireguard_port: int,
        report_port: int,
        endpoints: Callable[[], dict[str, str]],
    ) -> None:
        self._db = db
        self._activity = activity
        self._pin = pin
        self._box_public_key = box_public_key
        self._wireguard_port = wireguard_port
        self._report_port = report_port
        self._challenges = Challenges()
        self._wrong = WrongAttempts()
        self._desk = Desk(endpoints)

    def hello(self, hello: Hello, address: str) -> Challenge:
        """A challenge, whether or not the invitation exists. Raises TooManyWrongAttempts."""
        self._wrong.check(address, monotonic())
        return self._challenges.give(hello, monotonic())

    def submit(self, submission: Submission, address: str) -> Receipt:
        """Redeems the invitation.

        Raises TooManyWrongAttempts, EnrolmentDenied, InvitationRefused and FactsRefused.
        """
        self._wrong.check(address, monotonic())
        challenge = self._challenges.take(submission.challenge_id, monotonic())
        keys = self._proven_keys(challenge, submission) if challenge else None
        if challenge is None or keys is None:
            raise self._denied(address)
        try:
            facts = WorkerFacts.model_validate_json(submission.facts)
        except ValidationError as error:
            raise FactsRefused(f"The machine's facts can't be read: {error.errors()[0]['msg']}.") from None
        worker = redeem_invitation(
            self._db,
            challenge.hello.invitation_id.hex(),
            public_key=wireguard_text(challenge.hello.public_key),
            facts=facts,
            short_code=keys.short_code,
            poll_key=keys.poll_key,
        )
        log.info("invitation %s redeemed by worker %s from %s", worker.invitation_id, worker.id, address)
        return Receipt(worker_id=worker.id, mac=box_proof(keys, submission.facts, worker.id))

    def status(self, request: StatusRequest, address: str, reached_host: str) -> StatusAnswer:
        """Where the worker stands; `reached_host` is the address of ours that it called.

        Raises TooManyWrongAttempts, EnrolmentDenied.
        """
        self._wrong.check(address, monotonic())
        poll_key = poll_key_of(self._db, request.worker_id)
        expected = poll_proof(poll_key or secrets.token_bytes(32), request.worker_id, request.nonce)
        if not proofs_match(expected, request.mac):
            raise self._denied(address)
        worker = worker_by_id(self._db, request.worker_id)
        return StatusAnswer(
            state=worker.state,
            config=self._config(worker, reached_host) if worker.state is WorkerState.APPROVED else None,
        )

    def report(self, report: WorkerReport, address: str) -> DesiredState:
        """Keeps the report and tells the desired state. Raises NotAWorker.

        `address` is the other end of the connection: through the tunnel nobody can have another's.
        """
        worker = worker_by_tunnel_address(self._db, address)
        if worker is None:
            raise NotAWorker("Reports are taken from workers, through their tunnel, and from nobody else.")
        if worker.state is WorkerState.APPROVED:
            # the name that the admin approved, whatever the machine calls itself today
            known = report.model_copy(update={"name": worker.name, "machine": ""})
            if report.machine and (facts := read_told(report.machine)):
                keep_hardware(self._activity, worker.id, facts, now())
            self._activity.execute(
                "INSERT INTO node_reports (node, at, report) VALUES (?, ?, ?)"
                " ON CONFLICT (node) DO UPDATE SET at = excluded.at, report = excluded.report",
                [worker.id, now(), known.model_dump_json()],
            )
        adopted = adopted_engines(self._db, worker.id)
        desired = desired_state(worker, wish_for(self._db, worker.id), adopted)
        if worker.state is not WorkerState.APPROVED:
            return desired
        return self._desk.advise(self._db, worker, report, desired)

    def may_have(self, address: str, sha256: str) -> Right:
        """Whether the worker at `address` may have pieces of a file now.

        Raises NotAWorker, NotToHave, HandoutPaused.
        """
        worker = worker_by_tunnel_address(self._db, address)
        if worker is None or worker.state is not WorkerState.APPROVED:
            raise NotAWorker("Models are given to workers, through their tunnel, and to nobody else.")
        bundles = desired_state(worker, wish_for(self._db, worker.id)).bundles
        if not any(file.sha256 == sha256 for bundle in bundles for file in bundle.files):
            raise NotToHave("This file belongs to no model that this worker should have.")
        choice = read_choice(self._db, HandoutChoice)
        permission = handout_permission(choice, now())
        if not permission.is_given:
            raise HandoutPaused(permission.reason, retry_after_seconds=permission.changes_in_seconds)
        return Right(worker.id, choice.box_bytes_per_second)

    def _proven_keys(self, challenge: OpenChallenge, submission: Submission) -> ExchangeKeys | None:
        hello = challenge.hello
        transcript = Transcript(
            pin=self._pin,
            invitation_id=hello.invitation_id,
            public_key=hello.public_key,
            nonce=hello.nonce,
            ephemeral_key=challenge.private_key.public_key().public_bytes_raw(),
            box_nonce=challenge.nonce,
        )
        # without an invitation a secret that nobody knows takes its place: the same steps, never a match
        secret = invitation_secret(self._db, hello.invitation_id.hex()) or secrets.token_bytes(16)
        try:
            keys = derive_keys(transcript, secret, challenge.private_key, hello.public_key)
        except WeakKey:
            return None
        return keys if proofs_match(worker_proof(keys, submission.facts), submission.mac) else None

    def _denied(self, address: str) -> EnrolmentDenied:
        self._wrong.count(address, monotonic())
        log.warning("a wrong proof from %s", address)
        return EnrolmentDenied(
            "The box does not know this invitation or worker.",
            next_step="An invitation can be used once and for a short time: ask the admin for a new one.",
        )

    def _config(self, worker: Worker, reached_host: str) -> WorkerConfig:
        assert worker.tunnel_address is not None
        return WorkerConfig(
            box_public_key=self._box_public_key,
            endpoint=f"{reached_host}:{self._wireguard_port}",
            tunnel_address=IPv4Address(worker.tunnel_address),
            box_tunnel_address=IPv4Address(TUNNEL_BOX_ADDRESS),
            allowed_ips=(IPv4Network(TUNNEL_BOX_ADDRESS),),
            report_url=f"https://{TUNNEL_BOX_ADDRESS}:{self._report_port}{REPORT_PATH}",
        )
