"""What nginx serves with, laid out in a folder that it reads: `python -m appliance.claim.serving FOLDER`.

    web.pem   for people: the company's certificate if it can be served, otherwise the box's own
    box.pem   for workers, which pin the box's own key

Each file holds certificate, chain and key together, so that the two never come from different moments.
systemd hands over (LoadCredential) the pair that the host broker settled on for now and the one that is
kept; in the place of a file that doesn't exist the word "none".
"""

import logging
import os
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path

from appliance.claim.certificate import ensure_certificate
from appliance.errors import Refusal
from appliance.settings import Settings, load_settings

log = logging.getLogger("cellule.certificates")
_NONE = "none"
Pair = tuple[str, str]
"""Certificate (chain, leaf first) and private key, both PEM."""


def lay_out(settings: Settings, folder: Path, candidates: Iterable[Pair]) -> None:
    """Writes both files into `folder`; for people the first of `candidates` that can be served.

    Raises CertificateKeyUnusable.
    """
    own = ensure_certificate(settings)
    own_pair = own.cert_path.read_text(), own.key_path.read_text()
    _write(folder / "box.pem", "\n".join(own_pair))
    _write(folder / "web.pem", "\n".join(_for_people(candidates, own_pair)))


def _for_people(candidates: Iterable[Pair], own_pair: Pair) -> Pair:
    for pair in candidates:
        if _NONE in pair:
            continue
        if pair[1].strip() == own_pair[1].strip():
            return own_pair  # the copy may be from before it was renewed
        if _can_be_served(pair):
            return pair
    return own_pair


def _can_be_served(pair: Pair) -> bool:
    # here, for every start waits for this, and most boxes have no certificate of the company
    from appliance.host import InvalidCertificate, check_certificate

    try:
        check_certificate(*pair)
    except InvalidCertificate as error:
        # with a pair that nginx refuses nobody could open the page that mends it
        log.error("the company's certificate can't be served: %s", error)
        return False
    return True


def _write(path: Path, content: str) -> None:
    """In one step; the group, which the folder hands down, may read it."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o640)
    draft.replace(path)


def handed_over() -> list[Pair]:
    """The pairs that systemd handed over, the one for now first."""
    return [(_credential(f"{name}.crt"), _credential(f"{name}.key")) for name in ("served", "kept")]


def _credential(name: str) -> str:
    try:
        return Path(os.environ["CREDENTIALS_DIRECTORY"], name).read_text()
    except (KeyError, FileNotFoundError):
        return _NONE


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        lay_out(load_settings(), Path(sys.argv[1]), handed_over())
    except Refusal as refusal:
        sys.exit(f"{refusal.sentence} {refusal.next_step}".strip())


if __name__ == "__main__":
    main()
