"""The core daemon on a real database: jobs run by themselves, decisions reach the host."""

import base64
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from appliance.clock import now
from appliance.host import Host, HostFailed, this_machine
from appliance.jobs.daemon import Daemon
from appliance.jobs.silence import forget_old_reports, silent_workers
from appliance.jobs.table import JOBS, Job
from appliance.settings import SILENT_AFTER_SECONDS, Settings
from appliance.storage import open_activity, open_cellule
from tests.waiting import wait_until


def add_worker(settings: Settings, name: str, state: str, address: str | None) -> None:
    with open_cellule(settings.state_dir) as database:
        database["invitations"].insert({"id": name, "label": name, "created_at": 1, "expires_at": 2})
        database["workers"].insert(
            {
                "id": name,
                "name": name,
                "public_key": base64.b64encode(os.urandom(32)).decode(),
                "invitation_id": name,
                "state": state,
                "short_code": "1",
                "poll_key": b"k",
                "facts": "{}",
                "tunnel_address": address,
                "created_at": 1.0,
            }
        )


def report(settings: Settings, node: str, at: float) -> None:
    with open_activity(settings.state_dir) as activity:
        activity["node_reports"].upsert({"node": node, "at": at, "report": "{}"}, pk="node")


def test_a_worker_is_silent_once_its_last_report_is_old_and_only_if_approved(settings: Settings) -> None:
    for name, state in (
        ("heard", "approved"),
        ("quiet", "approved"),
        ("gone", "revoked"),
        ("new", "pending"),
    ):
        add_worker(settings, name, state, None)
    report(settings, "heard", now() - SILENT_AFTER_SECONDS + 5)
    report(settings, "quiet", now() - SILENT_AFTER_SECONDS - 1)
    report(settings, "gone", now())
    with open_cellule(settings.state_dir) as database, open_activity(settings.state_dir) as activity:
        assert silent_workers(database, activity, now()) == ["quiet"]
        forget_old_reports(database, activity, now())
        assert {row["node"] for row in activity["node_reports"].rows} == {"heard", "quiet"}


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_every_job_runs_on_a_fresh_box_and_may_be_repeated(settings: Settings, job: Job) -> None:
    assert isinstance(job.run(settings), str)
    assert isinstance(job.run(settings), str)


@contextmanager
def daemon_running(settings: Settings) -> Iterator[Host]:
    host = this_machine(settings)
    daemon = Daemon(settings, host)
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        yield host
    finally:
        daemon.stop.set()
        thread.join(10)
        assert not thread.is_alive()


def peers(settings: Settings, host: Host) -> set[str]:
    return {
        str(network)
        for peer in host.tunnel_status(settings.wireguard_interface).peers
        for network in peer.allowed_ips
    }


def test_an_approved_worker_becomes_a_peer_and_a_revoked_one_is_gone_within_two_seconds(
    settings: Settings,
) -> None:
    add_worker(settings, "desk-1", "approved", "10.77.0.2")
    with daemon_running(settings) as host, open_cellule(settings.state_dir) as database:
        wait_until(lambda: peers(settings, host) == {"10.77.0.2/32"}, within_seconds=2, what="a peer")
        database.execute("UPDATE workers SET state = 'revoked', revoked_at = ? WHERE id = 'desk-1'", [now()])
        wait_until(lambda: not peers(settings, host), within_seconds=2, what="the peer is gone")


def test_a_failing_job_is_not_the_end_of_the_daemon(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    turns: list[int] = []

    def fails(_: Settings) -> str:
        turns.append(1)
        raise RuntimeError("planted")

    monkeypatch.setattr("appliance.jobs.daemon.JOBS", (Job("planted", 0.05, fails),))
    with daemon_running(settings):
        wait_until(lambda: len(turns) >= 3, within_seconds=10, what="three turns")
    assert "job planted failed" in caplog.text


def test_a_job_overlaps_itself_as_far_as_its_entry_says(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    turns: list[int] = []
    go_on = threading.Event()

    def takes_long(_: Settings) -> str:
        begun.append(1)
        go_on.wait(30)
        return ""

    def counts(_: Settings) -> str:
        turns.append(1)
        return ""

    jobs = (Job("planted", 0.05, takes_long, at_once=2), Job("counted", 0.05, counts))
    monkeypatch.setattr("appliance.jobs.daemon.JOBS", jobs)
    with daemon_running(settings):
        wait_until(lambda: len(begun) == 2, within_seconds=10, what="two runs at once")
        seen = len(turns)
        wait_until(lambda: len(turns) >= seen + 5, within_seconds=10, what="the other job goes on")
        assert len(begun) == 2
        go_on.set()


def test_a_job_tells_the_same_thing_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    turns: list[int] = []

    def counts(_: Settings) -> str:
        turns.append(1)
        return "early" if len(turns) < 4 else "late"

    monkeypatch.setattr("appliance.jobs.daemon.JOBS", (Job("planted", 0.05, counts),))
    with caplog.at_level(logging.INFO), daemon_running(settings):
        wait_until(lambda: len(turns) >= 6, within_seconds=10, what="six turns")
    assert caplog.messages.count("job planted: early") == 1
    assert caplog.messages.count("job planted: late") == 1


def test_the_box_is_announced_though_its_network_cant_be_reconciled(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    refreshed: list[int] = []

    class Announced:
        def __init__(self, _: Settings) -> None:
            pass

        def refresh(self) -> None:
            refreshed.append(1)

        def close(self) -> None:
            pass

    def refused(*_: object) -> None:
        raise HostFailed("planted")

    monkeypatch.setattr("appliance.jobs.daemon.Announcer", Announced)
    monkeypatch.setattr("appliance.jobs.daemon.reconcile_network", refused)
    with daemon_running(settings.model_copy(update={"tls": True})):
        wait_until(lambda: refreshed, within_seconds=5, what="a refresh")
