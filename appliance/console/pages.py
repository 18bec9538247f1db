"""The pages behind the keys: title, body and the keys that work there. Pure."""

from appliance.console.facts import Facts, Trouble
from appliance.console.home import gigabytes, grouped, say, wrapped
from appliance.console.menu import Menu, Page, installable
from appliance.console.network_form import NetworkForm
from appliance.console.qr import blanks
from appliance.console.texts import text
from appliance.host.machine import DiskInstallState

Body = tuple[str, list[str], str]
_LABEL = 16


def page(facts: Facts, menu: Menu, language: str, width: int) -> Body:
    """The body's lines are at most `width` long."""
    title, body, keys = _PAGES[menu.page](facts, menu, language, width)
    if menu.said and menu.page is not Page.GOODBYE:
        body += ["", *wrapped(say(menu, language), width, first=" ! ", rest="   ")]
    return title, body, keys


def qr(facts: Facts, language: str, rows: int) -> list[str]:
    """The address as a QR code that any terminal can draw."""
    code = blanks(facts.scan_url) if facts.scan_url else (text(language, "no_url"),)
    room = [""] if len(code) < rows else []
    return [*room, *(f"  {line}" for line in code), *room]


def _network(facts: Facts, menu: Menu, language: str, _width: int) -> Body:
    form = menu.form
    cards = facts.machine.interfaces if facts.machine else ()
    lines = [
        " "
        + text(
            language,
            "network_now",
            card=card.name if card.carrier else f"{card.name} {text(language, 'no_carrier')}",
            addresses=" ".join(map(str, card.addresses)) or text(language, "network_no_address"),
        )
        for card in cards[:4]
    ]
    return (
        text(language, "network_title"),
        [*lines, "", *(_field(form, name, language) for name in form.fields)],
        text(language, "network_keys"),
    )


def _field(form: NetworkForm, name: str, language: str) -> str:
    focused = form.focus == name
    if name == "method":
        value = f"< {text(language, f'method_{form.method}')} >"
    elif name == "card":
        value = f"< {form.card} >"
    else:
        value = getattr(form, name) + ("_" if focused else "")
    return f" {'>' if focused else ' '} {text(language, f'field_{name}'):<{_LABEL}}{value}"


def _trial(facts: Facts, menu: Menu, language: str, width: int) -> Body:
    urls = [f"   {url}" for url in facts.urls]
    body = wrapped(text(language, "trial_text", seconds=menu.seconds_left), width)
    return text(language, "trial_title"), [*body, "", *urls], text(language, "trial_keys")


def _fingerprint(facts: Facts, _menu: Menu, language: str, width: int) -> Body:
    body = []
    for key, value in (("certificate", facts.certificate), ("authority", facts.authority)):
        lines = grouped(value) if value else (text(language, "none_yet"),)
        body += [f" {text(language, f'fingerprint_{key}')}", *(f"   {line}" for line in lines), ""]
    body += wrapped(text(language, "fingerprint_how"), width)
    return text(language, "fingerprint_title"), body, text(language, "back")


def _restart(_facts: Facts, _menu: Menu, language: str, width: int) -> Body:
    body = wrapped(text(language, "restart_text"), width)
    return text(language, "restart_title"), body, text(language, "restart_keys")


def _reset(facts: Facts, menu: Menu, language: str, width: int) -> Body:
    body = [
        *wrapped(text(language, "reset_text"), width),
        "",
        *wrapped(text(language, "reset_type", name=facts.name), width),
        f"   {menu.typed}_",
    ]
    return text(language, "reset_title"), body, text(language, "back")


def _disk(facts: Facts, menu: Menu, language: str, width: int) -> Body:
    disks = installable(facts)
    listed = [f"   {disk.name:<12}{gigabytes(disk.size_bytes, language):>10}  {disk.model}" for disk in disks]
    body = [*wrapped(text(language, "install_text"), width), ""]
    if disks:
        key = "install_again" if menu.page is Page.DISK_AGAIN else "install_type"
        body += [*listed, "", *wrapped(text(language, key, disk=menu.disk), width), f"   {menu.typed}_"]
    else:
        body += wrapped(text(language, "install_none"), width)
    return text(language, "install_title"), body, text(language, "back")


def _disk_progress(facts: Facts, menu: Menu, language: str, width: int) -> Body:
    status = facts.disk_install
    state = str(status.state) if status else "idle"
    if state in {DiskInstallState.COPYING, DiskInstallState.VERIFYING} and facts.is_told(Trouble.BROKER_AWAY):
        state = "lost"
    sentence = text(
        language,
        f"install_{state}",
        disk=(status.disk if status else "") or menu.disk,
        percent=status.percent if status else 0,
        sentence=status.error if status else "",
    )
    filled = (width - 6) * (status.percent if status else 0) // 100
    bar = f" [{'#' * filled}{'.' * (width - 6 - filled)}]"
    return text(language, "install_title"), [*wrapped(sentence, width), "", bar], text(language, "back")


def _working(_facts: Facts, _menu: Menu, language: str, _width: int) -> Body:
    return text(language, "working"), [], ""


def _goodbye(_facts: Facts, menu: Menu, language: str, _width: int) -> Body:
    return say(menu, language), [], ""


_PAGES = {
    Page.NETWORK: _network,
    Page.TRIAL: _trial,
    Page.FINGERPRINT: _fingerprint,
    Page.RESTART: _restart,
    Page.RESET: _reset,
    Page.DISK: _disk,
    Page.DISK_AGAIN: _disk,
    Page.DISK_PROGRESS: _disk_progress,
    Page.WORKING: _working,
    Page.GOODBYE: _goodbye,
}
