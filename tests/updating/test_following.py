"""From the channel to the new release that runs, over real HTTP, with the machine's simulated twin."""

import threading
from datetime import time

import pytest

from appliance.boot import Attempt, Ending, RollbackStory, record_damaged, refuse_release
from appliance.host import Busy, HostFailed, InstallPlan, MachinePlan, SlotState
from appliance.storage import open_activity, open_cellule
from appliance.updating.choice import UpdateChoice
from appliance.updating.found import Found, look_soon
from appliance.updating.installs import (
    InstallUnderWay,
    NothingToRestartInto,
    Stage,
    list_installs,
    order_install,
    progress_of,
    restart_soon,
)
from appliance.updating.release import Origin
from appliance.updating.window import Window
from tests.updating.box import Box
from tests.updating.conftest import ALWAYS
from tests.updating.serving import ChannelServer
from tests.updating.vendor import DAY, MONDAY, Vendor

NIGHT = Window(begins=time(2), ends=time(5))


def test_the_whole_way_by_itself(connected: Box, vendor: Vendor) -> None:
    vendor.publish("1.1.0")
    connected.turn()
    assert connected.install().stage is Stage.ORDERED
    assert connected.install().ordered_by is None
    connected.until(Stage.INSTALLED)
    assert connected.host.machine_status().version == "0.1.0", "installed is not running"
    held = connected.until(Stage.HELD)
    assert connected.host.machine_status().version == "1.1.0"
    assert held.restarts == 1
    events = [event for event, subject in connected.audit() if subject == "1.1.0"]
    assert events == ["box:release:installed", "box:release:running"]
    assert connected.turn() == "", "and nothing more"


def test_the_installer_gets_the_address_and_the_hash_that_were_signed(
    connected: Box, vendor: Vendor, server: ChannelServer
) -> None:
    vendor.publish("1.1.0")
    connected.turn()
    connected.quick_turn()
    plan = connected.host.box.install
    release = connected.the("1.1.0").release
    assert plan == InstallPlan(
        source=f"{server.url}targets/cellule-1.1.0.raucb",
        manifest_hash=release.manifest_hash,
        version="1.1.0",
    )


def test_it_waits_for_the_window_to_install_and_again_to_restart(
    connected: Box, vendor: Vendor, server: ChannelServer
) -> None:
    connected.choose(UpdateChoice(channel_url=server.url, window=NIGHT))
    vendor.publish("1.1.0")
    connected.at = MONDAY + DAY + 12 * 3600
    connected.turn()
    assert connected.found() == [("1.1.0", Origin.CHANNEL)]
    assert list_installs(connected.db) == []
    connected.at = MONDAY + 2 * DAY + 5 * 3600 - 35
    connected.turn()
    connected.quick_turn()
    assert connected.install().stage is Stage.INSTALLING
    connected.turn(60)
    connected.turn(60)
    assert connected.install().stage is Stage.INSTALLED, "the window closed meanwhile"
    connected.at = MONDAY + 3 * DAY + 2 * 3600
    connected.until(Stage.HELD)


def test_an_admin_needs_no_window(connected: Box, vendor: Vendor, server: ChannelServer) -> None:
    connected.choose(UpdateChoice(channel_url=server.url, automatic=False))
    vendor.publish("1.1.0")
    connected.turn()
    order_install(connected.db, connected.the("1.1.0"), by="ana", restart_now=False, at=connected.at)
    connected.until(Stage.INSTALLED)
    connected.turn(3600)
    assert connected.install().stage is Stage.INSTALLED
    restart_soon(connected.db)
    assert connected.until(Stage.HELD).ordered_by == "ana"
    with pytest.raises(NothingToRestartInto):
        restart_soon(connected.db)


def test_two_admins_at_once(connected: Box, vendor: Vendor) -> None:
    """Each with a connection of its own, at the same moment: one wins, the others are told."""
    vendor.publish("1.1.0")
    connected.choose(UpdateChoice(automatic=False))
    connected.host.apply_machine(MachinePlan())
    found = _find(connected, vendor)
    start, outcomes = threading.Barrier(6), list[str]()

    def press(name: str) -> None:
        with open_cellule(connected.settings.state_dir) as db:
            start.wait()
            try:
                order_install(db, found, by=name, restart_now=False, at=connected.at)
                outcomes.append("won")
            except InstallUnderWay as refusal:
                outcomes.append(refusal.code)

    threads = [threading.Thread(target=press, args=(f"admin-{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["install_under_way"] * 5 + ["won"]
    assert len(list_installs(connected.db)) == 1


def _find(box: Box, vendor: Vendor) -> Found:
    box.stick.symlink_to(vendor.channel)
    box.look_at_stick()
    return box.the("1.1.0")


def test_progress_survives_a_restart_of_the_core(connected: Box, vendor: Vendor) -> None:
    vendor.publish("1.1.0")
    connected.host.install_seconds = 20
    connected.turn()
    connected.quick_turn()
    connected.quick_turn(8)
    before = progress_of(connected.activity, connected.install())
    assert before and before.percent == 40 and before.step
    connected.start_core()
    connected.host.install_seconds = 20
    with open_activity(connected.settings.state_dir) as reopened:
        assert progress_of(reopened, connected.install()) == before
    connected.quick_turn(4)
    after = progress_of(connected.activity, connected.install())
    assert after and after.percent == 60
    connected.until(Stage.HELD)


def test_a_power_cut_in_mid_install_is_told_and_repeated_later(connected: Box, vendor: Vendor) -> None:
    vendor.publish("1.1.0")
    connected.turn()
    connected.quick_turn()
    connected.quick_turn(1)
    connected.host.reboot()
    connected.start_core()
    connected.turn()
    failed = connected.install()
    assert (failed.stage, failed.code) == (Stage.FAILED, "install_interrupted")
    assert connected.host.machine_status().version == "0.1.0"
    connected.turn()
    assert len(list_installs(connected.db)) == 1, "not at once"
    connected.turn(3700)
    connected.until(Stage.HELD)


def test_an_installer_that_refuses_is_told_in_its_words(
    connected: Box, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.publish("1.1.0")
    connected.turn()

    def refuse(_plan: InstallPlan) -> None:
        raise HostFailed("signature verification failed")

    monkeypatch.setattr(connected.host, "install_release", refuse)
    connected.quick_turn()
    failed = connected.install()
    assert (failed.stage, failed.code, failed.error) == (
        Stage.FAILED,
        "host_failed",
        "signature verification failed",
    )
    assert ("box:release:refused", "1.1.0") in connected.audit()


def test_a_busy_installer_is_asked_again(
    connected: Box, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.publish("1.1.0")
    connected.turn()
    real, calls = connected.host.install_release, list[int]()

    def busy_once(plan: InstallPlan) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise Busy("A release is being installed.")
        real(plan)

    monkeypatch.setattr(connected.host, "install_release", busy_once)
    connected.quick_turn()
    assert connected.install().stage is Stage.ORDERED
    connected.until(Stage.HELD)


def test_a_release_that_did_not_hold_is_not_tried_again(connected: Box, vendor: Vendor) -> None:
    vendor.publish("1.1.0")
    connected.turn()
    connected.until(Stage.INSTALLED)
    # as the boot loader and the verdict leave it after three tries
    story = RollbackStory(
        version="1.1.0", slot="b", tries=3, attempts=(Attempt(ending=Ending.HUNG),), running_version="0.1.0"
    )
    refuse_release(connected.db, story)
    slots = tuple(
        slot.model_copy(update={"state": SlotState.BAD, "tries_left": 0}) if slot.version == "1.1.0" else slot
        for slot in connected.host.slots()
    )
    connected.host.box = connected.host.box.model_copy(update={"slots": slots, "install": None})
    connected.turn()
    assert connected.install().stage is Stage.ROLLED_BACK
    connected.turn(2 * DAY)
    assert len(list_installs(connected.db)) == 1
    vendor.at = connected.at
    vendor.publish("1.2.0")
    connected.turn(3700)
    connected.until(Stage.HELD)
    assert connected.host.machine_status().version == "1.2.0"


def test_a_release_that_was_good_and_no_longer_starts_is_installed_again(
    connected: Box, vendor: Vendor
) -> None:
    vendor.publish("1.1.0")
    connected.turn()
    connected.until(Stage.HELD)
    # as the boot loader leaves it after five starts of a damaged copy
    slots = tuple(
        slot.model_copy(update={"state": SlotState.NO_LONGER_STARTS, "booted": False})
        if slot.version == "1.1.0"
        else slot.model_copy(update={"booted": True})
        for slot in connected.host.slots()
    )
    connected.host.box = connected.host.box.model_copy(update={"slots": slots, "install": None})
    assert connected.host.machine_status().version == "0.1.0"
    connected.turn()
    assert [each.version for each in list_installs(connected.db)] == ["1.1.0", "1.1.0"]
    connected.until(Stage.HELD)
    assert connected.host.machine_status().version == "1.1.0"
    assert connected.host.slots()[1].state is SlotState.GOOD


def test_what_no_longer_starts_is_looked_for_at_once(
    connected: Box, vendor: Vendor, server: ChannelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.publish("1.1.0")
    connected.turn()
    connected.until(Stage.HELD)
    before = len(server.asked)
    connected.turn()
    assert len(server.asked) == before, "it was looked a moment ago"
    monkeypatch.setattr("appliance.boot.damaged.now", lambda: connected.at + 1)
    never = (Attempt(ending=Ending.NEVER_ARRIVED),)
    story = RollbackStory(version="1.1.0", slot="b", tries=5, attempts=never, running_version="0.1.0")
    record_damaged(connected.db, story)
    connected.turn()
    after = len(server.asked)
    assert after > before
    connected.turn()
    assert len(server.asked) == after, "once is enough"


def test_the_way_back_is_not_written_over_while_a_release_is_on_trial(connected: Box, vendor: Vendor) -> None:
    vendor.publish("1.1.0")
    connected.turn()
    connected.until(Stage.INSTALLED)
    trying = tuple(
        slot.model_copy(update={"booted": slot.version == "1.1.0"}) for slot in connected.host.slots()
    )
    connected.host.box = connected.host.box.model_copy(update={"slots": trying, "install": None})
    vendor.publish("1.2.0")
    look_soon(connected.activity)
    for _ in range(4):
        connected.turn()
    assert connected.install().stage is Stage.TRYING
    assert len(list_installs(connected.db)) == 1
    good = tuple(
        slot.model_copy(update={"state": SlotState.GOOD, "tries_left": None})
        for slot in connected.host.slots()
    )
    connected.host.box = connected.host.box.model_copy(update={"slots": good})
    for _ in range(3):
        connected.turn()
    assert [(each.version, each.stage) for each in list_installs(connected.db)][1] == ("1.1.0", Stage.HELD)
    assert connected.install().version == "1.2.0"


def test_a_newer_release_replaces_one_that_waits(
    connected: Box, vendor: Vendor, server: ChannelServer
) -> None:
    connected.choose(UpdateChoice(channel_url=server.url, automatic=False))
    vendor.publish("1.1.0")
    connected.turn()
    order_install(connected.db, connected.the("1.1.0"), by="ana", restart_now=False, at=connected.at)
    connected.until(Stage.INSTALLED)
    vendor.publish("1.2.0")
    look_soon(connected.activity)
    connected.turn()
    order_install(connected.db, connected.the("1.2.0"), by="ana", restart_now=True, at=connected.at)
    connected.until(Stage.HELD)
    assert [(each.version, each.stage) for each in list_installs(connected.db)] == [
        ("1.2.0", Stage.HELD),
        ("1.1.0", Stage.REPLACED),
    ]


def test_a_hold_stops_what_is_installed_from_starting(
    connected: Box, vendor: Vendor, server: ChannelServer
) -> None:
    vendor.publish("1.1.0")
    connected.turn()
    connected.quick_turn()
    connected.choose(UpdateChoice(channel_url=server.url, window=ALWAYS, hold=True))
    connected.until(Stage.INSTALLED)
    for _ in range(5):
        connected.turn(3600)
    assert connected.install().stage is Stage.INSTALLED
