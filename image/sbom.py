#!/usr/bin/env python3
"""Writes the bill of materials of the root (CycloneDX 1.6): packages, drivers, wheels, the demo model.

Every Debian package carries the hash of its package file from the lock; licences are those that the
package's own copyright file (DEP-5) or the wheel's metadata state, and none is guessed. Nothing but the
standard library is used, so that the tools of the build need no packages of their own. The same root gives
the same bytes.
"""

import argparse
import datetime
import email.parser
import hashlib
import json
import os
import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]
DEBIAN = "pkg:deb/debian/{name}@{version}?arch={architecture}&distro=trixie"
OTHERS = "pkg:generic/{name}@{version}?arch={architecture}"


def packages(lock: Path, root: Path, purl_form: str) -> Iterator[Component]:
    """One component for each line `name=version architecture sha256:HASH` of the lock."""
    for line in lock.read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        package, architecture, digest = line.split()
        name, version = package.split("=", 1)
        purl = purl_form.format(name=name, version=quote(version), architecture=architecture)
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
            "hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}],
            **licences(debian_licences(root / "usr/share/doc" / name / "copyright")),
        }


def debian_licences(copyright_file: Path) -> list[str]:
    """The short names of licences in a machine-readable copyright file, in the order of mention."""
    if not copyright_file.is_file():
        return []
    found = re.findall(r"^License:[ \t]*(\S.*)$", copyright_file.read_text(errors="replace"), re.MULTILINE)
    return list(dict.fromkeys(name.strip() for name in found))


def wheels(site_packages: Path) -> Iterator[Component]:
    """One component for each distribution that lies in `site_packages`."""
    for metadata_file in sorted(site_packages.glob("*.dist-info/METADATA")):
        metadata = email.parser.HeaderParser().parsestr(metadata_file.read_text(errors="replace"))
        name, version = metadata["Name"], metadata["Version"]
        purl = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}"
        licence = metadata["License-Expression"] or metadata["License"] or ""
        stated = [licence] if licence and "\n" not in licence and len(licence) < 80 else []
        stated = stated or [
            line.rsplit(" :: ", 1)[-1]
            for line in metadata.get_all("Classifier", [])
            if line.startswith("License ::")
        ]
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
            **licences(stated),
        }


def models(folder: Path) -> Iterator[Component]:
    """The models that are part of the image."""
    for file in sorted(folder.glob("**/*.gguf")):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"model:{file.stem}@{digest[:12]}",
            "name": file.stem,
            "version": digest[:12],
            "hashes": [{"alg": "SHA-256", "content": digest}],
            **licences(["Apache-2.0"]),
        }


def licences(names: list[str]) -> Component:
    return {"licenses": [{"license": {"name": name}} for name in names]} if names else {}


def bill(components: list[Component], version: str, variant: str) -> Component:
    """The document around the components; its time is the fixed date of the source."""
    at = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.UTC)
    digest = hashlib.sha256(json.dumps(components).encode()).hexdigest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {
            "timestamp": at.isoformat(),
            "component": {"type": "operating-system", "name": f"cellule-{variant}", "version": version},
        },
        "components": components,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--root", "--packages", "--drivers", "--out"):
        parser.add_argument(name, type=Path, required=True)
    for name in ("--version", "--variant"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    product = given.root / "usr/lib/cellule"
    components = [
        *packages(given.packages, given.root, DEBIAN),
        *packages(given.drivers, given.root, OTHERS),
        *wheels(product / "site-packages"),
        *wheels(product / "engine-packages"),
        *models(product / "appliance/models"),
    ]
    given.out.write_text(json.dumps(bill(components, given.version, given.variant), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
