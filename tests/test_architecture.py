"""The rules of the design that a machine can hold: who imports whom, sizes, names, types, pins."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(p for folder in ("appliance", "webadmin") for p in (ROOT / folder).rglob("*.py"))
NAMES_THAT_SAY_NOTHING = {"utils", "helpers", "common", "manager", "controllers", "services", "misc"}
LONGEST_FILE_LINES = 400
LONGEST_FUNCTION_LINES = 60

FORBIDDEN = {
    # an engine and a worker also run on an employee's PC, where neither people nor the pool exist
    "appliance/engines": ("appliance.pool", "appliance.people", "appliance.storage", "webadmin"),
    "appliance/worker": ("appliance.pool", "appliance.people", "appliance.storage", "webadmin"),
    "appliance/storage": ("appliance.pool", "appliance.people", "appliance.engines", "webadmin"),
    "appliance": ("webadmin",),
}


def imports(path: Path) -> Iterator[str]:
    """Every module named in an import of `path`; for `from a import b` both a and a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_package_imports_only_what_it_may(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in SOURCES
        if path.is_relative_to(ROOT / folder)
        for name in imports(path)
        for forbidden in FORBIDDEN[folder]
        if name == forbidden or name.startswith(forbidden + ".")
    ]
    assert not wrong


def test_webadmin_imports_packages_only_through_their_public_init() -> None:
    packages = {p.parent.name for p in (ROOT / "appliance").glob("*/__init__.py")}
    wrong = [
        f"{path.relative_to(ROOT)} imports {node.module}"
        for path in SOURCES
        if path.is_relative_to(ROOT / "webadmin")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
        for parts in [node.module.split(".")]
        if parts[0] == "appliance" and len(parts) > 2 and parts[1] in packages
    ]
    assert not wrong


def programs_called(path: Path) -> Iterator[str]:
    """What could be the name of a program: the first text of each list, tuple and call in `path`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.List | ast.Tuple):
            first = node.elts[:1]
        elif isinstance(node, ast.Call):
            first = node.args[:1]
        else:
            continue
        yield from (
            each.value for each in first if isinstance(each, ast.Constant) and type(each.value) is str
        )


def test_only_the_linux_host_calls_the_system_tools() -> None:
    tools = {"wg", "nft", "ip", "ss", "wireguard-go"}
    allowed = ROOT / "appliance" / "host" / "linux"
    callers = {path: tools & set(programs_called(path)) for path in SOURCES}
    assert set().union(*(found for path, found in callers.items() if path.is_relative_to(allowed))) == tools
    assert not [
        (str(path.relative_to(ROOT)), found)
        for path, found in callers.items()
        if found and not path.is_relative_to(allowed)
    ]


def test_files_and_functions_stay_small_and_are_named_for_something() -> None:
    wrong = []
    for path in SOURCES:
        text = path.read_text()
        if path.stem in NAMES_THAT_SAY_NOTHING:
            wrong.append(f"{path.relative_to(ROOT)}: a name that says nothing")
        if text.count("\n") > LONGEST_FILE_LINES:
            wrong.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                length = node.end_lineno - node.lineno
                if length > LONGEST_FUNCTION_LINES:
                    wrong.append(f"{path.relative_to(ROOT)} {node.name}: {length} lines")
    assert not wrong


def test_every_module_opens_with_its_promise() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check"],
        ["ruff", "format", "--check"],
        [sys.executable, "-m", "mypy"],
    ],
    ids=lambda command: " ".join(command[-2:]),
)
@pytest.mark.timeout(420)  # without a cache the types of everything take a while
def test_the_linters_agree(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_every_dependency_in_the_locks_is_pinned_with_a_hash() -> None:
    for lock in (
        "appliance/requirements.lock",
        "tests/requirements.lock",
        "hwprofiles/wheels/requirements.lock",
        "hwprofiles/wheels/conversion.lock",
    ):
        text = (ROOT / lock).read_text()
        entries = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert len(entries) >= 3
        for entry, following in zip(text.split("\n")[:-1], text.split("\n")[1:], strict=True):
            if entry and not entry.startswith((" ", "#")):
                assert "==" in entry and following.lstrip().startswith("--hash=sha256:"), entry
        assert "http://" not in text and "https://" not in text
