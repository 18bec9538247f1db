"""Which certificate nginx serves: copies in /run, chosen at every start, so that a trial ends with the boot.

The company's pair is kept in /etc/cellule/tls; without one, the box's own is served.
"""

from pathlib import Path

from appliance.host.linux.places import Places
from appliance.private_file import replace

Pair = tuple[str, str]
"""Certificate (chain, leaf first) and private key, both PEM."""


def kept_pair(places: Places) -> Pair | None:
    """The company's pair that is kept."""
    return _read(places.company_tls / "company.crt", places.company_tls / "company.key")


def keep_pair(places: Places, pair: Pair | None) -> None:
    """Keeps the company's pair; None: forgets it."""
    certificate, key = places.company_tls / "company.crt", places.company_tls / "company.key"
    if pair is None:
        certificate.unlink(missing_ok=True)
        key.unlink(missing_ok=True)
    else:
        replace(key, pair[1].encode())
        replace(certificate, pair[0].encode())


def serve_pair(places: Places, pair: Pair | None) -> None:
    """Lays out the pair, or the box's own for None; cellule-certificates.path hands it to nginx."""
    pair = pair or _read(places.own_tls / "tls.crt", places.own_tls / "tls.key")
    served = places.settled / "tls"
    # None: the very first start, the box's own is being made
    if pair in {None, _read(served / "served.crt", served / "served.key")}:
        return
    replace(served / "served.key", pair[1].encode())
    replace(served / "served.crt", pair[0].encode())


def end_certificate_trial(places: Places) -> None:
    """At a start of the broker: serves the kept pair in the place of one that was on trial.

    Where nothing was laid out since the box started, nginx has the kept pair (appliance/claim/serving.py).
    """
    if (places.settled / "tls" / "served.crt").exists():
        serve_pair(places, kept_pair(places))


def _read(certificate: Path, key: Path) -> Pair | None:
    if certificate.is_file() and key.is_file():
        return certificate.read_text(), key.read_text()
    return None
