"""The network as somebody types it: fields of text, and the plan they make or what is wrong with it. Pure."""

from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, NetmaskValueError

from pydantic import ValidationError

from appliance.host.machine import AddressMethod, MachineStatus, NetworkPlan

LONGEST_TYPED = 60


@dataclass(frozen=True)
class Problem:
    """`key` is a sentence of `texts`, with its detail."""

    key: str
    detail: str = ""


@dataclass(frozen=True)
class NetworkForm:
    """`cards` are those of the machine; `card` is "" for every wired one. `field` has the cursor."""

    method: AddressMethod = AddressMethod.DHCP
    card: str = ""
    address: str = ""
    gateway: str = ""
    dns: str = ""
    cards: tuple[str, ...] = ()
    field: int = 0

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of those to fill in, in their order."""
        if self.method is AddressMethod.DHCP:
            return ("method",)
        card = ("card",) if len(self.cards) > 1 else ()
        return ("method", *card, "address", "gateway", "dns")

    @property
    def focus(self) -> str:
        return self.fields[self.field]

    @property
    def is_at_end(self) -> bool:
        return self.field == len(self.fields) - 1


def form_of(machine: MachineStatus, plan: NetworkPlan) -> NetworkForm:
    """Filled in with how things are, so that an address from DHCP can be made static as it is."""
    cards = sorted(machine.interfaces, key=lambda card: (not card.addresses, not card.carrier, card.name))
    found = next((address for card in cards for address in card.addresses), None)
    address = plan.address or found
    gateway = plan.gateway or machine.gateway
    return NetworkForm(
        method=plan.method,
        card=plan.interface or (cards[0].name if cards else ""),
        address=str(address or ""),
        gateway=str(gateway or ""),
        dns=" ".join(map(str, plan.dns or machine.dns[:3])),
        cards=tuple(card.name for card in cards),
    )


def typed(form: NetworkForm, key: str) -> NetworkForm:
    """After a key in the focused field: a choice turns, a text grows or shrinks."""
    focus = form.focus
    if focus == "method":
        other = AddressMethod.STATIC if form.method is AddressMethod.DHCP else AddressMethod.DHCP
        return replace(form, method=other) if key in {" ", "left", "right"} else form
    if focus == "card":
        if key not in {" ", "left", "right"} or form.card not in form.cards:
            return form
        step = -1 if key == "left" else 1
        return replace(form, card=form.cards[(form.cards.index(form.card) + step) % len(form.cards)])
    text = edited(getattr(form, focus), key)
    match focus:
        case "address":
            return replace(form, address=text)
        case "gateway":
            return replace(form, gateway=text)
    return replace(form, dns=text)


def edited(line: str, key: str) -> str:
    """A line of text after a key."""
    if key == "backspace":
        return line[:-1]
    return line + key if len(key) == 1 and len(line) < LONGEST_TYPED else line


def moved(form: NetworkForm, by: int) -> NetworkForm:
    """With the cursor in another field."""
    return replace(form, field=(form.field + by) % len(form.fields))


def plan_of(form: NetworkForm) -> NetworkPlan | Problem:
    """The plan, or the first thing that is wrong."""
    if form.method is AddressMethod.DHCP:
        return NetworkPlan()
    try:
        address = IPv4Interface(form.address.strip())
    except (AddressValueError, NetmaskValueError, ValueError):
        return Problem("address_form")
    if "/" not in form.address:
        return Problem("address_form")
    try:
        gateway = IPv4Address(form.gateway.strip()) if form.gateway.strip() else None
    except AddressValueError:
        return Problem("gateway_form")
    try:
        dns = tuple(IPv4Address(each) for each in form.dns.replace(",", " ").split())
    except AddressValueError:
        return Problem("dns_form")
    if len(dns) > 3:
        return Problem("dns_form")
    if gateway == address.ip:
        return Problem("gateway_itself")
    if gateway is not None and gateway not in address.network:
        return Problem("gateway_outside", str(address.network))
    try:
        return NetworkPlan(
            interface=form.card or None,
            method=AddressMethod.STATIC,
            address=address,
            gateway=gateway,
            dns=dns,
        )
    except ValidationError:
        return Problem("address_unusable")
