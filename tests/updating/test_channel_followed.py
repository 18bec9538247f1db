"""What the box says and does when its channel stalls, is not to be trusted, or is not there."""

from pathlib import Path

from appliance.host import MachinePlan, Outbound
from appliance.keeping import ChangeKind, begin_change
from appliance.settings import Settings
from appliance.updating.choice import UpdateChoice
from appliance.updating.found import channel_state, found_releases, look_soon
from appliance.updating.release import Origin
from tests.updating.box import Box
from tests.updating.serving import ChannelServer, Fault
from tests.updating.vendor import Vendor


def test_without_a_channel_there_is_no_connection(box: Box, server: ChannelServer, vendor: Vendor) -> None:
    vendor.publish("1.1.0")
    for _ in range(3):
        box.turn(3600)
    assert server.asked == []
    assert box.host.machine_plan().outbound == ()
    assert box.found() == []


def test_a_channel_that_stalls_has_a_clear_state_and_is_asked_ever_more_rarely(
    connected: Box, server: ChannelServer, vendor: Vendor
) -> None:
    vendor.publish("0.1.0")
    connected.turn()
    answered_at = connected.at
    server.faults["/metadata/timestamp.json"] = Fault.BROKEN
    server.asked.clear()
    connected.turn(3700)
    failing_since = connected.at
    for _ in range(240):
        connected.turn(30)
    state = channel_state(connected.activity)
    assert state
    assert (state.answered_at, state.failing_since, state.code) == (answered_at, failing_since, "no_channel")
    assert server.asked.count("/metadata/timestamp.json") == 7, "at 0, 1, 3, 7, 15, 31 and 63 minutes"
    assert connected.found() == [("0.1.0", Origin.CHANNEL)], "what was found stays"
    server.faults.clear()
    look_soon(connected.activity)
    connected.turn()
    state = channel_state(connected.activity)
    assert state and (state.code, state.failing_since) == ("", None)


def test_a_channel_that_is_not_trusted_changes_nothing_and_is_told_once(
    connected: Box, vendor: Vendor, tmp_path: Path, server: ChannelServer
) -> None:
    connected.choose(UpdateChoice(channel_url=server.url, automatic=False))
    vendor.publish("1.1.0")
    connected.turn()
    other = Vendor(tmp_path / "other")
    other.publish("6.6.6")
    server.folder = other.channel
    for _ in range(3):
        connected.turn(3700)
    assert connected.found() == [("1.1.0", Origin.CHANNEL)]
    state = channel_state(connected.activity)
    assert state and state.code == "channel_not_trusted"
    assert [event for event, _ in connected.audit()] == ["box:release:refused"]


def test_the_channel_is_the_only_way_outward_that_is_opened(connected: Box, server: ChannelServer) -> None:
    other = Outbound(host="ntp.example.com", port=123, protocol="udp", why="time")
    connected.host.apply_machine(MachinePlan(outbound=(other,)))
    connected.turn()
    plan = connected.host.machine_plan()
    assert [(each.host, each.port) for each in plan.outbound] == [
        ("ntp.example.com", 123),
        ("127.0.0.1", server.server_address[1]),
    ]
    connected.choose(UpdateChoice())
    connected.turn()
    assert connected.host.machine_plan().outbound == (other,)
    assert found_releases(connected.activity) == [], "what a channel offered goes with it"


def test_a_network_change_on_trial_is_not_disturbed(connected: Box) -> None:
    plan = MachinePlan(hostname="elsewhere")
    begin_change(connected.db, connected.host, plan, ChangeKind.HOSTNAME, by="ana", at=connected.at)
    connected.host.apply_machine(plan, trial=True)
    connected.turn(5)
    assert connected.host.machine_status().hostname == "elsewhere"
    assert connected.host.machine_plan().outbound == ()


def test_a_box_without_a_key_says_so(settings: Settings, connected: Box, vendor: Vendor) -> None:
    (settings.state_dir / "updates" / "root.json").unlink()
    connected.turn()
    state = channel_state(connected.activity)
    assert state and state.code == "no_channel_key"
