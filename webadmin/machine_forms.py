"""The forms of the machine's page: from what was typed to a plan, or a sentence about the field to mend."""

from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from zoneinfo import available_timezones

from flask_babel import format_date, gettext
from pydantic import ValidationError

from appliance.errors import Refused
from appliance.host import AddressMethod, CertificateFacts, InvalidCertificate, MachinePlan, NetworkPlan
from appliance.settings import TUNNEL_NETWORK

Form = Mapping[str, str]


class FormRefused(Refused):
    """A field can't be as it was typed; the sentence is the visitor's."""

    code = "machine_form_refused"


def network_of(form: Form) -> NetworkPlan:
    """Raises FormRefused, which names the field."""
    interface, dns = form.get("interface") or None, _dns(form)
    if form.get("method") != AddressMethod.STATIC:
        return _plan(NetworkPlan, interface=interface, dns=dns)
    try:
        address = IPv4Interface(form.get("address", "").strip())
    except ValueError as error:
        raise FormRefused(
            gettext("Write the address with the length of its network, such as 192.168.1.20/24."),
            param="address",
        ) from error
    _check_address(address)
    gateway = _gateway(form.get("gateway", "").strip(), address)
    static = AddressMethod.STATIC
    return _plan(NetworkPlan, interface=interface, method=static, address=address, gateway=gateway, dns=dns)


def name_and_time_of(form: Form, before: MachinePlan) -> MachinePlan:
    """Raises FormRefused."""
    zone = form.get("timezone", "")
    if zone not in available_timezones():
        raise FormRefused(gettext("There is no such time zone."), param="timezone")
    servers = tuple(form.get("ntp_servers", "").replace(",", " ").split())
    name = form.get("hostname", "").strip().lower().removesuffix(".local")
    changed = {"hostname": name, "timezone": zone, "ntp_servers": servers}
    try:
        return MachinePlan.model_validate(before.model_dump() | changed)
    except ValidationError as error:
        if error.errors()[0]["loc"][0] == "hostname":
            sentence = gettext(
                "A name has small letters, digits and dashes, a letter or digit first and last."
            )
            raise FormRefused(sentence, param="hostname") from error
        raise FormRefused(
            gettext("Time servers are names or addresses, at most eight, with spaces between them."),
            param="ntp_servers",
        ) from error


def certificate_problem(error: InvalidCertificate) -> str:
    """What is wrong with a certificate or key, in the visitor's language."""
    return {
        "unreadable": gettext("The certificate is not text in PEM form (BEGIN CERTIFICATE)."),
        "chain_long": gettext("There are more than eight certificates in the chain."),
        "chain_broken": gettext("The chain is broken: each certificate must be issued by the one after it."),
        "signature_weak": gettext("The certificate is signed with SHA-1 or MD5, which browsers refuse."),
        "key_encrypted": gettext("The key is protected by a password. Paste it without one."),
        "key_unreadable": gettext("The key is not text in PEM form (BEGIN PRIVATE KEY)."),
        "key_kind": gettext("Browsers don't take a key of this kind. Use RSA or an elliptic curve."),
        "key_short": gettext("The RSA key is too short. It needs at least 2048 bits."),
        "key_of_another": gettext("The key does not belong to the first certificate."),
    }.get(error.problem, str(error))


def check_validity(facts: CertificateFacts, at: float) -> None:
    """Raises FormRefused for a certificate that browsers refuse today."""
    moment = datetime.fromtimestamp(at, UTC)
    if facts.not_after <= moment:
        raise FormRefused(
            gettext("The certificate expired on %(day)s.", day=format_date(facts.not_after)),
            param="certificate",
        )
    if facts.not_before > moment:
        raise FormRefused(
            gettext("The certificate is valid only from %(day)s on.", day=format_date(facts.not_before)),
            param="certificate",
        )
    if not facts.names:
        raise FormRefused(
            gettext("The certificate names no site (subject alternative names)."), param="certificate"
        )


def _dns(form: Form) -> tuple[IPv4Address, ...]:
    try:
        servers = tuple(map(IPv4Address, form.get("dns", "").replace(",", " ").split()))
    except ValueError as error:
        raise FormRefused(gettext("Name servers are addresses, such as 192.168.1.1."), param="dns") from error
    if len(servers) > 3:
        raise FormRefused(gettext("At most three name servers."), param="dns")
    return servers


def _check_address(address: IPv4Interface) -> None:
    if address.network.overlaps(IPv4Network(TUNNEL_NETWORK)):
        raise FormRefused(
            gettext(
                "%(network)s overlaps %(tunnels)s, which the tunnels to the workers use.",
                network=address.network,
                tunnels=TUNNEL_NETWORK,
            ),
            param="address",
        )
    try:
        NetworkPlan(method=AddressMethod.STATIC, address=address)
    except ValidationError as error:
        raise FormRefused(
            gettext("%(address)s is not an address that a machine can have.", address=address),
            param="address",
        ) from error


def _gateway(text: str, address: IPv4Interface) -> IPv4Address | None:
    if not text:
        return None
    try:
        gateway = IPv4Address(text)
    except ValueError as error:
        raise FormRefused(
            gettext("The gateway is an address, such as 192.168.1.1."), param="gateway"
        ) from error
    if gateway not in address.network or gateway == address.ip:
        raise FormRefused(
            gettext("The gateway must be another address of %(network)s.", network=address.network),
            param="gateway",
        )
    return gateway


def _plan(kind: type[NetworkPlan], **fields: object) -> NetworkPlan:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise FormRefused(gettext("This network can't be used."), param="address") from error
