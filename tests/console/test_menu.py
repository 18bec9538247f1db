"""Keys and what follows from them: nothing is lost by one key, and every way leads back."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.console.facts import Facts
from appliance.console.keyboard import decode, flush
from appliance.console.menu import HOME, Deed, Effect, Menu, Page, after, step, tick
from appliance.console.network_form import NetworkForm, Problem, form_of, plan_of
from appliance.host.machine import (
    AddressMethod,
    DiskInstallState,
    DiskInstallStatus,
    MachinePlan,
    NetworkPlan,
)
from tests.console.test_screen import FULL, MACHINE

STATIC = NetworkForm(
    method=AddressMethod.STATIC,
    card="enp3s0",
    address="192.168.1.20/24",
    gateway="192.168.1.1",
    dns="192.168.1.1 9.9.9.9",
    cards=("enp3s0", "enp4s0"),
)
KEYS = st.sampled_from([*"1234567 rRoOxyz/.", "enter", "backspace", "tab", "up", "down", "left", "right"])


def press(keys: list[str], facts: Facts = FULL, menu: Menu = HOME) -> tuple[Menu, list[Effect]]:
    effects = []
    for key in keys:
        menu, effect = step(menu, key, facts)
        if effect:
            effects.append(effect)
            menu = after(effect, menu, None)
    return menu, effects


@given(st.lists(KEYS, max_size=40))
def test_no_sequence_without_the_names_erases_anything(keys: list[str]) -> None:
    # "accueil" and "nvme0n1" can't be typed with these
    _, effects = press(keys)
    assert not [effect for effect in effects if effect.deed in {Deed.RESET, Deed.INSTALL}]


@given(st.lists(KEYS, max_size=20))
def test_escape_leads_back_from_everywhere(keys: list[str]) -> None:
    menu, _ = press(keys)
    if menu.page is not Page.GOODBYE:
        assert press(["escape"], menu=menu)[0].page is Page.HOME


def test_a_reset_and_an_install_want_the_names_and_nothing_else() -> None:
    _, effects = press(["4", *"accueil", "enter"])
    assert effects == [Effect(Deed.RESET)]
    assert press(["4", *"Accueil", "enter"])[1] == []
    assert press(["4", "enter"])[0] == HOME
    idle = replace(FULL, disk_install=None)
    _, effects = press(["6", *"nvme0n1", "enter", *"nvme0n1", "enter"], idle)
    assert effects == [Effect(Deed.INSTALL, disk="nvme0n1")]
    # the stick that the box runs from is no target
    assert press(["6", *"sda", "enter", *"sda", "enter"], idle)[1] == []


def test_an_installed_box_turns_off_before_its_stick_is_taken_away() -> None:
    done = replace(FULL, disk_install=DiskInstallStatus(state=DiskInstallState.INSTALLED, disk="nvme0n1"))
    _, effects = press(["6", "enter"], done)
    assert effects == [Effect(Deed.TURN_OFF)]


def test_a_network_on_trial_is_undone_when_nobody_keeps_it() -> None:
    menu = after(Effect(Deed.TRY_NETWORK), HOME, None)
    assert (menu.page, menu.seconds_left) == (Page.TRIAL, 90)
    menu, effect = tick(menu, 1)
    assert (menu.seconds_left, effect) == (1, None)
    assert tick(menu, 0)[1] == Effect(Deed.UNDO_NETWORK)
    assert step(menu, "x", FULL) == (menu, None)


def test_a_refused_deed_comes_back_to_its_page_with_the_reason() -> None:
    before = Menu(Page.NETWORK, form=STATIC)
    menu = after(Effect(Deed.TRY_NETWORK, network=NetworkPlan()), before, "The broker is away.")
    assert menu.page is Page.NETWORK and menu.form == STATIC
    assert menu.said == Problem("refused", "The broker is away.")


def test_without_the_broker_the_network_has_no_page() -> None:
    assert press(["1"], Facts())[0] == HOME


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"address": "192.168.1.20"}, "address_form"),
        ({"address": "192.168.1.20/33"}, "address_form"),
        ({"address": "192.168.1.256/24"}, "address_form"),
        ({"address": ""}, "address_form"),
        ({"gateway": "x"}, "gateway_form"),
        ({"gateway": "192.168.2.1"}, "gateway_outside"),
        ({"gateway": "192.168.1.20"}, "gateway_itself"),
        ({"dns": "one.one.one.one"}, "dns_form"),
        ({"dns": "1.1.1.1 2.2.2.2 3.3.3.3 4.4.4.4"}, "dns_form"),
        ({"address": "192.168.1.0/24"}, "address_unusable"),
        ({"address": "127.0.0.1/8", "gateway": ""}, "address_unusable"),
        ({"address": "192.168.1.1/31", "gateway": ""}, "address_unusable"),
    ],
)
def test_what_is_wrong_with_a_network_is_named(change: dict[str, str], problem: str) -> None:
    found = plan_of(replace(STATIC, **change))  # type: ignore[arg-type]
    assert isinstance(found, Problem) and found.key == problem


def test_a_typed_network_becomes_a_plan() -> None:
    plan = plan_of(STATIC)
    assert isinstance(plan, NetworkPlan)
    assert (str(plan.address), str(plan.gateway), plan.interface) == (
        "192.168.1.20/24",
        "192.168.1.1",
        "enp3s0",
    )
    assert [str(server) for server in plan.dns] == ["192.168.1.1", "9.9.9.9"]
    assert plan_of(replace(STATIC, method=AddressMethod.DHCP, address="x")) == NetworkPlan()
    # commas are what people type, too; a network without a way out is fine
    assert isinstance(plan_of(replace(STATIC, dns="1.1.1.1, 2.2.2.2", gateway="")), NetworkPlan)


def test_the_form_begins_with_how_things_are() -> None:
    form = form_of(MACHINE, MachinePlan().network)
    assert (form.method, form.card, form.address) == (AddressMethod.DHCP, "enp3s0", "192.168.100.200/24")
    assert form.fields == ("method",)


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        (b"a\xc3\xa9\r\n\t\x7f\x08", ["a", "é", "enter", "enter", "tab", "backspace", "backspace"]),
        (b"\x1b[A\x1b[B\x1bOC\x1b[D\x1b[Z", ["up", "down", "right", "left", "up"]),
        (b"\x1b[15~\x1b[1;5Hx", ["x"]),
        (b"\x03\x0c", ["escape", "repaint"]),
        (b"\x1b\x1bx", ["escape"]),
        (b"\x00\x01\xff\xfe\x80", []),
    ],
)
def test_bytes_become_keys(sent: bytes, keys: list[str]) -> None:
    assert decode(sent) == (keys, b"")
    # however the line cuts them
    pending, found = b"", []
    for at in range(len(sent)):
        more, pending = decode(pending + sent[at : at + 1])
        found += more
    assert found == keys


def test_a_lone_escape_is_a_key_once_nothing_follows() -> None:
    assert decode(b"\x1b") == ([], b"\x1b")
    assert flush(b"\x1b") == ["escape"]
    assert flush(b"\xc3") == []


@given(st.binary(max_size=60))
def test_no_bytes_break_the_keyboard(sent: bytes) -> None:
    keys, rest = decode(sent)
    assert all(key.isprintable() for key in keys)
    assert len(rest) <= 33
