"""What a key does: the page that follows and, sometimes, a deed to perform. Pure.

Nothing that destroys happens on one key: a reset wants the name of the box, a disk its name twice, a restart
a letter on a page of its own. Escape always leads back, and so does Enter on an empty line.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from appliance.console.facts import Facts
from appliance.console.network_form import NetworkForm, Problem, edited, form_of, moved, plan_of, typed
from appliance.console.texts import LANGUAGES
from appliance.host.machine import Disk, DiskInstallState, NetworkPlan

TRIAL_SECONDS = 90
_EMPTY_FORM = NetworkForm()


class Page(StrEnum):
    """What is on the screen."""

    HOME = "home"
    NETWORK = "network"
    TRIAL = "trial"
    FINGERPRINT = "fingerprint"
    RESTART = "restart"
    RESET = "reset"
    DISK = "disk"
    DISK_AGAIN = "disk_again"
    DISK_PROGRESS = "disk_progress"
    QR = "qr"
    WORKING = "working"
    GOODBYE = "goodbye"


class Deed(StrEnum):
    """What `effects` can perform."""

    TRY_NETWORK = "try_network"
    KEEP_NETWORK = "keep_network"
    UNDO_NETWORK = "undo_network"
    RESTART = "restart"
    TURN_OFF = "turn_off"
    RESET = "reset"
    INSTALL = "install"
    SPEAK = "speak"


@dataclass(frozen=True)
class Effect:
    """A deed with what it needs."""

    deed: Deed
    network: NetworkPlan | None = None
    disk: str = ""
    language: str = ""


@dataclass(frozen=True)
class Menu:
    """`typed` is the line being typed; `said` a sentence's key (or a refusal's own sentence as detail)."""

    page: Page = Page.HOME
    typed: str = ""
    form: NetworkForm = _EMPTY_FORM
    disk: str = ""
    said: Problem | None = None
    seconds_left: int = 0


Next = tuple[Menu, Effect | None]
HOME = Menu()


def step(menu: Menu, key: str, facts: Facts) -> Next:
    """`key` is one printable character or: enter, escape, backspace, tab, up, down, left, right."""
    if menu.page in {Page.WORKING, Page.GOODBYE}:
        return menu, None
    if menu.page is Page.TRIAL:
        return _trial(menu, key)
    if key == "escape":
        return HOME, None
    return _PAGES[menu.page](menu, key, facts)


def tick(menu: Menu, seconds_left: int) -> Next:
    """The countdown of a network on trial."""
    if menu.page is not Page.TRIAL:
        return menu, None
    if seconds_left <= 0:
        return _working(), Effect(Deed.UNDO_NETWORK)
    return replace(menu, seconds_left=seconds_left), None


def after(effect: Effect, before: Menu, refusal: str | None) -> Menu:
    """The page when a deed is done, or was refused; `before` is where it was asked for."""
    if refusal is not None:
        back = HOME if effect.deed in {Deed.KEEP_NETWORK, Deed.UNDO_NETWORK, Deed.SPEAK} else before
        return replace(back, typed="", said=Problem("refused", refusal))
    match effect.deed:
        case Deed.TRY_NETWORK:
            return Menu(Page.TRIAL, seconds_left=TRIAL_SECONDS)
        case Deed.KEEP_NETWORK:
            return replace(HOME, said=Problem("network_kept"))
        case Deed.UNDO_NETWORK:
            return replace(HOME, said=Problem("network_undone"))
        case Deed.RESTART:
            return Menu(Page.GOODBYE, said=Problem("restarting"))
        case Deed.TURN_OFF:
            return Menu(Page.GOODBYE, said=Problem("turning_off"))
        case Deed.RESET:
            return Menu(Page.GOODBYE, said=Problem("resetting"))
        case Deed.INSTALL:
            return Menu(Page.DISK_PROGRESS, disk=effect.disk)
        case Deed.SPEAK:
            return HOME


def installable(facts: Facts) -> tuple[Disk, ...]:
    """The disks that the box can be copied to."""
    disks = facts.machine.disks if facts.machine else ()
    return tuple(disk for disk in disks if not disk.is_boot_disk and not disk.removable)


def _working() -> Menu:
    return Menu(Page.WORKING)


def _home(menu: Menu, key: str, facts: Facts) -> Next:
    match key:
        case "1" if facts.machine is not None and facts.plan is not None:
            return Menu(Page.NETWORK, form=form_of(facts.machine, facts.plan.network)), None
        case "2":
            return Menu(Page.FINGERPRINT), None
        case "3":
            return Menu(Page.RESTART), None
        case "4":
            return Menu(Page.RESET), None
        case "5":
            other = LANGUAGES[(LANGUAGES.index(facts.language) + 1) % len(LANGUAGES)]
            return HOME, Effect(Deed.SPEAK, language=other)
        case "6" if facts.runs_from_stick:
            status = facts.disk_install
            running = status is not None and status.state is not DiskInstallState.IDLE
            return Menu(Page.DISK_PROGRESS if running else Page.DISK), None
        case "7":
            return Menu(Page.QR), None
    return replace(menu, said=None), None


def _network(menu: Menu, key: str, _facts: Facts) -> Next:
    form = menu.form
    if key in {"up", "down", "tab"}:
        return replace(menu, form=moved(form, -1 if key == "up" else 1), said=None), None
    if key != "enter":
        return replace(menu, form=typed(form, key), said=None), None
    if not form.is_at_end:
        return replace(menu, form=moved(form, 1), said=None), None
    plan = plan_of(form)
    if isinstance(plan, Problem):
        return replace(menu, said=plan), None
    return _working(), Effect(Deed.TRY_NETWORK, network=plan)


def _trial(menu: Menu, key: str) -> Next:
    if key == "enter":
        return _working(), Effect(Deed.KEEP_NETWORK)
    if key == "escape":
        return _working(), Effect(Deed.UNDO_NETWORK)
    return menu, None


def _back(_menu: Menu, key: str, _facts: Facts) -> Next:
    return (HOME if key in {"enter", "2", "7"} else _menu), None


def _restart(menu: Menu, key: str, _facts: Facts) -> Next:
    match key.lower():
        case "r":
            return _working(), Effect(Deed.RESTART)
        case "o":
            return _working(), Effect(Deed.TURN_OFF)
        case "enter":
            return HOME, None
    return menu, None


def _reset(menu: Menu, key: str, facts: Facts) -> Next:
    if key != "enter":
        return _line(menu, key), None
    if not menu.typed.strip():
        return HOME, None
    if menu.typed.strip() != facts.name:
        return replace(menu, typed="", said=Problem("reset_wrong")), None
    return _working(), Effect(Deed.RESET)


def _disk(menu: Menu, key: str, facts: Facts) -> Next:
    if key != "enter":
        return _line(menu, key), None
    name = menu.typed.strip()
    if not name:
        return HOME, None
    if name not in {disk.name for disk in installable(facts)}:
        return replace(menu, typed="", said=Problem("install_unknown")), None
    return Menu(Page.DISK_AGAIN, disk=name), None


def _disk_again(menu: Menu, key: str, _facts: Facts) -> Next:
    if key != "enter":
        return _line(menu, key), None
    if not menu.typed.strip():
        return HOME, None
    if menu.typed.strip() != menu.disk:
        return Menu(Page.DISK, said=Problem("install_differs")), None
    return _working(), Effect(Deed.INSTALL, disk=menu.disk)


def _disk_progress(menu: Menu, key: str, facts: Facts) -> Next:
    state = facts.disk_install.state if facts.disk_install else None
    if key == "enter" and state is DiskInstallState.INSTALLED:
        # off, not a restart: the box still runs from the stick, and couldn't even shut down without it
        return _working(), Effect(Deed.TURN_OFF)
    if key == "enter" and state is DiskInstallState.FAILED:
        return Menu(Page.DISK), None
    return menu, None


def _line(menu: Menu, key: str) -> Menu:
    typed_now = edited(menu.typed, key)
    return menu if typed_now == menu.typed else replace(menu, typed=typed_now, said=None)


_PAGES = {
    Page.HOME: _home,
    Page.NETWORK: _network,
    Page.FINGERPRINT: _back,
    Page.QR: _back,
    Page.RESTART: _restart,
    Page.RESET: _reset,
    Page.DISK: _disk,
    Page.DISK_AGAIN: _disk_again,
    Page.DISK_PROGRESS: _disk_progress,
}
