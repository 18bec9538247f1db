"""The worker's pure decisions: engines from a desired state, a tunnel from a configuration, delays."""

import json
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from pydantic import ValidationError

from appliance.engines.__main__ import read_arguments
from appliance.engines.restarting import STEADY_SECONDS, RestartDelay
from appliance.enrolment.contract import DesiredEngine, WorkerConfig
from appliance.handout.contract import Link
from appliance.hardware.profile import Setting
from appliance.settings import WORKER_ENGINE_PORTS, WORKER_HANDOUT_PORT, WORKER_PART_PORTS
from appliance.worker.agent import LONGEST_RETRY_SECONDS, retry_delay_seconds
from appliance.worker.desired import Changes, EngineSpec, plan_engines
from appliance.worker.engine_process import engine_command
from appliance.worker.membership import Membership, MembershipDamaged, MembershipStore
from appliance.worker.model_files import find_model
from appliance.worker.tunnel import (
    GreedyConfig,
    permitted_links,
    report_address,
    worker_firewall,
    worker_tunnel,
)

FIRST, SECOND, *_ = WORKER_ENGINE_PORTS


def everywhere(model: str) -> Path:
    return Path(f"/models/{model}.gguf")


def wanted(model: str = "demo", slots: int = 4) -> DesiredEngine:
    return DesiredEngine(model=model, slots=slots, context_tokens=2048)


def running(model: str = "demo", slots: int = 4, port: int = FIRST) -> EngineSpec:
    return EngineSpec(model, everywhere(model), slots, 2048, port)


def test_the_first_engine_takes_the_first_port() -> None:
    assert plan_engines([wanted()], [], everywhere) == Changes(start=(running(),))


def test_what_runs_as_wanted_is_left_alone() -> None:
    assert plan_engines([wanted()], [running()], everywhere) == Changes()


def test_other_numbers_mean_a_restart_on_the_port_that_becomes_free() -> None:
    changes = plan_engines([wanted(slots=8)], [running(slots=4)], everywhere)
    assert changes == Changes(stop=(running(slots=4),), start=(running(slots=8),))


def test_a_second_model_takes_the_next_port_while_the_first_stays() -> None:
    changes = plan_engines([wanted("large"), wanted()], [running()], everywhere)
    assert changes == Changes(start=(running("large", port=SECOND),))


def test_nothing_desired_stops_everything() -> None:
    assert plan_engines([], [running()], everywhere) == Changes(stop=(running(),))


def test_a_missing_model_is_left_out_with_its_reason_and_disturbs_nobody() -> None:
    changes = plan_engines([wanted("absent"), wanted()], [], lambda m: everywhere(m) if m == "demo" else None)
    assert changes.start == (running(),)
    assert changes.left_out == ("The model absent is not on this machine.",)


def test_more_answers_at_once_than_an_engine_can_give_are_left_out_and_end_nothing() -> None:
    changes = plan_engines([wanted("large", slots=129), wanted()], [], everywhere)
    assert changes.start == (running(),)
    assert changes.left_out == ("large can't give 129 answers at once, only 1 to 128.",)


def test_every_setting_of_a_profile_reaches_the_engine_as_it_was_written() -> None:
    settings: dict[str, Setting] = {
        "n_gpu_layers": 20, "repack": False, "share": 0.5, "model": "7", "name": "true", "url": "http://[::1]:1",
    }  # fmt: skip
    profiled = wanted().model_copy(update={"settings": settings, "device": "vulkan", "prompt_tokens": 512})
    [spec] = plan_engines([profiled], [], everywhere).start
    options, _ = read_arguments(engine_command(spec, IPv4Address("127.0.0.1"))[3:])
    assert options.settings == settings
    assert [type(value) for value in options.settings.values()] == [str, int, str, bool, float, str]
    assert (options.device, options.prompt_tokens, options.slots) == ("vulkan", 512, 4)


def test_other_files_under_the_same_name_mean_a_restart() -> None:
    changes = plan_engines([wanted()], [running()], lambda _: Path("/models/new.gguf"))
    assert [spec.file for spec in changes.start] == [Path("/models/new.gguf")]
    assert changes.stop == (running(),)


def test_while_new_files_are_on_their_way_what_runs_goes_on() -> None:
    assert plan_engines([wanted(slots=8)], [running(slots=4)], lambda _: None) == Changes()


def test_more_engines_than_ports_are_left_out() -> None:
    many = [wanted(f"m{number}") for number in range(len(WORKER_ENGINE_PORTS) + 1)]
    changes = plan_engines(many, [], everywhere)
    assert [spec.port for spec in changes.start] == list(WORKER_ENGINE_PORTS)
    assert len(changes.left_out) == 1


@pytest.mark.parametrize("name", ["../secrets", "/etc/passwd", "a/b", ".hidden", "", "x" * 65])
def test_a_model_name_is_no_way_out_of_the_folder(tmp_path: Path, name: str) -> None:
    assert find_model(tmp_path, name) is None


def test_a_model_of_the_workers_own_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "qwen3-4b.gguf").touch()
    assert find_model(tmp_path, "qwen3-4b") == tmp_path / "models" / "qwen3-4b.gguf"
    assert find_model(tmp_path, "other") is None


def config(allowed_ips: str = "10.77.0.1/32") -> WorkerConfig:
    return WorkerConfig(
        box_public_key="A" * 43 + "=",
        endpoint="192.168.1.10:51820",
        tunnel_address=IPv4Address("10.77.3.4"),
        box_tunnel_address=IPv4Address("10.77.0.1"),
        allowed_ips=(IPv4Network(allowed_ips),),
        report_url="https://10.77.0.1:8443/enrol/report",
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("box_public_key", ""),
        ("box_public_key", "A" * 44),
        ("box_public_key", "\u00e9" * 44),
        ("box_public_key", "A" * 43),
        ("endpoint", "192.168.1.10"),
        ("endpoint", "192.168.1.10:"),
        ("endpoint", "192.168.1.10:65536"),
        ("endpoint", "192.168.1.999:51820"),
        ("endpoint", "box.example:51820"),
        ("endpoint", "192.168.1.10:51820\nAllowedIPs = 0.0.0.0/0"),
        ("report_url", "http://10.77.0.1:8443/enrol/report"),
        ("report_url", "https://10.77.0.1:front/enrol/report"),
        ("report_url", "https://10.77.0.1:99999/enrol/report"),
        ("report_url", "https://[10.77.0.1/enrol/report"),
    ],
)
def test_a_malformed_configuration_is_refused_when_it_is_read(field: str, value: str, tmp_path: Path) -> None:
    good = config().model_dump(mode="json")
    assert WorkerConfig.model_validate(good) == config()
    with pytest.raises(ValidationError, match=field):
        WorkerConfig.model_validate(good | {field: value})
    membership = Membership(
        name="pc",
        invitation_id=bytes(4),
        worker_id="w",
        short_code="1",
        poll_key=bytes(32),
        pin=bytes(32),
        address=("192.168.1.10", 8443),
        interface="cellule0",
        config=config(),
    ).model_dump(mode="json")
    (tmp_path / "membership.json").write_text(json.dumps(membership | {"config": good | {field: value}}))
    with pytest.raises(MembershipDamaged, match=r"membership\.json"):
        MembershipStore(tmp_path).load()


def test_the_tunnel_reaches_the_box_and_nothing_else() -> None:
    plan = worker_tunnel(config("10.77.0.0/16"), "cellule0")
    (peer,) = plan.peers
    assert peer.allowed_ips == (IPv4Network("10.77.0.1/32"),)
    assert peer.endpoint == "192.168.1.10:51820"
    assert str(plan.address) == "10.77.3.4/32"


def test_a_configuration_that_draws_other_traffic_is_refused() -> None:
    with pytest.raises(GreedyConfig):
        worker_tunnel(config("0.0.0.0/0"), "cellule0")


def test_the_rules_offer_engines_to_the_box_and_call_its_front() -> None:
    rules = worker_firewall(config(), "cellule0", report_address(config())[1])
    assert (rules.others, rules.offered_ports, rules.called_ports) == (
        (IPv4Address("10.77.0.1"),),
        (*WORKER_ENGINE_PORTS, *WORKER_PART_PORTS),
        (8443,),
    )
    # a company may use the rest of the range for its own network
    assert {str(network) for network in rules.guarded} == {"10.77.3.4/32", "10.77.0.1/32"}


def a_link(number: int, key: str = "B", **digests: tuple[str, ...]) -> Link:
    return Link(
        public_key=key * 43 + "=",
        tunnel_address=IPv4Address(f"10.77.0.{number}"),
        endpoint="192.168.1.11:40000",
        **digests,
    )


def test_a_linked_worker_gets_one_address_and_one_port_in_the_direction_that_is_meant() -> None:
    links = (a_link(5, gives=("0" * 64,)), a_link(6, "C", takes=("0" * 64,)))
    _box, *peers = worker_tunnel(config(), "cellule0", links).peers
    assert [peer.allowed_ips for peer in peers] == [
        (IPv4Network("10.77.0.5/32"),),
        (IPv4Network("10.77.0.6/32"),),
    ]
    rules = worker_firewall(config(), "cellule0", 8443, links)
    assert rules.others == (IPv4Address("10.77.0.1"),)
    assert [(link.offered_ports, link.called_ports) for link in rules.links] == [
        ((), (WORKER_HANDOUT_PORT,)),
        ((WORKER_HANDOUT_PORT,), ()),
    ]
    assert IPv4Network("10.77.0.5/32") in rules.guarded
    assert WORKER_HANDOUT_PORT not in WORKER_ENGINE_PORTS


def test_a_link_takes_nothing_from_the_box_from_ourselves_or_from_another() -> None:
    good = a_link(5, gives=("0" * 64,))
    greedy = (
        good,
        a_link(1, "C"),  # the box's address
        good.model_copy(update={"tunnel_address": config().tunnel_address}),
        good.model_copy(update={"tunnel_address": IPv4Address("192.168.1.5")}),
        a_link(7, "A"),  # the box's key
        a_link(5, "D"),  # another's address
        a_link(8, "B"),  # another's key
    )
    assert permitted_links(config(), greedy) == (good,)


def test_retries_grow_to_a_limit_and_scatter() -> None:
    assert [retry_delay_seconds(n, 0.5) for n in range(1, 6)] == [1, 2, 4, 8, LONGEST_RETRY_SECONDS]
    assert retry_delay_seconds(60, 1.0) <= 1.25 * LONGEST_RETRY_SECONDS
    assert retry_delay_seconds(1, 0.0) < retry_delay_seconds(1, 1.0)


def test_an_engine_that_keeps_dying_is_started_less_and_less_often() -> None:
    delay = RestartDelay()
    assert [delay.after(1) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert delay.after(STEADY_SECONDS) == 0
    assert delay.after(1) == 0.5
