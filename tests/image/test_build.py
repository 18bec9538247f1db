"""What the build leaves: the same bytes twice, a full bill of materials, and nothing that it should not."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.image.works import FIRST_VERSION, ROOT, Works

pytestmark = pytest.mark.core


def test_two_builds_give_the_same_root_hash_and_kernel_image(works: Works, tmp_path: Path) -> None:
    subprocess.run(
        [str(ROOT / "image" / "make.sh"), FIRST_VERSION, str(works.keys)],
        env=os.environ
        | {"VARIANT": "small", "OUT": str(tmp_path), "FOLLOW": "1", "WORKING_TREE": "1", "ONLY_BUNDLE": "1"},
        check=True,
    )
    first, second = works.out / "work" / "slot", tmp_path / "work" / "slot"
    for name in ("roothash", "kernel.sha256"):
        assert (second / name).read_text() == (first / name).read_text()


def test_the_bill_of_materials_is_valid_and_lists_what_is_inside(works: Works) -> None:
    text = (works.out / f"cellule-{FIRST_VERSION}-small.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    found = {component["name"]: component for component in bill["components"]}
    assert {"systemd", "rauc", "nginx-light", "Flask", "llama_cpp_python", "cellule-demo"} <= set(found)
    without_hash = [
        component["name"]
        for component in bill["components"]
        if component.get("purl", "").startswith("pkg:deb") and not component["hashes"][0]["content"]
    ]
    assert not without_hash
    assert found["systemd"]["licenses"]


def test_the_root_has_no_shell_service_and_no_private_key(works: Works) -> None:
    root = works.out / "work" / "root"
    units = {path.name for path in (root / "usr/lib/systemd/system").iterdir()}
    assert not {name for name in units if "ssh" in name and not name.endswith(".target")}
    private = [
        path for path in (root / "usr/lib/cellule").rglob("*")
        if path.is_file() and path.suffix in (".key", ".pem") and b"PRIVATE KEY" in path.read_bytes()
    ]  # fmt: skip
    assert not private
    accounts = dict(line.split(":")[:2] for line in (root / "etc/shadow").read_text().splitlines())
    assert {name for name, password in accounts.items() if not password.startswith(("!", "*"))} == set()


def test_the_root_is_as_small_as_promised(works: Works) -> None:
    megabytes = (works.out / "work" / "slot" / "root.img").stat().st_size / 1e6
    assert megabytes <= 400, f"{megabytes:.0f} MB"
