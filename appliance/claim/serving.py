"""What nginx serves with, laid out in a folder that it reads: `python -m appliance.claim.serving FOLDER`.

    web.pem   for people: the company's certificate if it can be served, otherwise the box's own
    box.pem   for workers, which pin the box's own key

Each file holds certificate, chain and key together, so that the two never come from different moments. systemd
hands over the company's files (LoadCredential), or the word "none" for each that doesn't exist.
"""

import logging
import os
import secrets
import sys
from pathlib import Path

from appliance.claim.certificate import ensure_certificate
from appliance.errors import Refusal
from appliance.host import InvalidCertificate, check_certificate
from appliance.settings import Settings, load_settings

log = logging.getLogger("cellule.certificates")


def lay_out(settings: Settings, folder: Path, company: tuple[str, str]) -> None:
    """Writes both files into `folder`; `company` is certificate and key in PEM, or twice "none".

    Raises CertificateKeyUnusable.
    """
    own = ensure_certificate(settings)
    box = own.cert_path.read_text() + own.key_path.read_text()
    certificate, key = company
    _write(folder / "box.pem", box)
    _write(folder / "web.pem", certificate + "\n" + key if _can_be_served(certificate, key) else box)


def _can_be_served(certificate: str, key: str) -> bool:
    if certificate == "none":
        return False
    try:
        check_certificate(certificate, key)
    except InvalidCertificate as error:
        # a box that serves nothing could not be mended by its pages
        log.error("the company's certificate can't be served, the box's own is: %s", error)
        return False
    return True


def _write(path: Path, content: str) -> None:
    """In one step; the group, which the folder hands down, may read it."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o640)
    draft.replace(path)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    credentials = Path(os.environ["CREDENTIALS_DIRECTORY"])
    company = (credentials / "company.crt").read_text(), (credentials / "company.key").read_text()
    try:
        lay_out(load_settings(), Path(sys.argv[1]), company)
    except Refusal as refusal:
        sys.exit(f"{refusal.sentence} {refusal.next_step}".strip())


if __name__ == "__main__":
    main()
