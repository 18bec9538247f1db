"""The one entry: what it offers, what the product says of it, and what it says when a step fails."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.bench.__main__ import BENCHES

ROOT = Path(__file__).parents[1]
TOLD = [
    ROOT / "README.md",
    *(ROOT / "appliance").rglob("*.py"),
    *(ROOT / "webadmin" / "templates").rglob("*.html"),
]


def build(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "build.sh"), *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_names_every_command_that_the_product_tells_people_to_use() -> None:
    offered = set(re.findall(r"^  \./build\.sh (\w+)", build("help").stdout, re.MULTILINE))
    assert {"run", "test", "bench", "help"} <= offered
    told = {
        (command, path.name) for path in TOLD for command in re.findall(r"build\.sh (\w+)", path.read_text())
    }
    assert told
    assert not [(command, where) for command, where in told if command not in offered]


def test_what_the_readme_calls_by_python_runs_on_a_fresh_clone(tmp_path: Path) -> None:
    """Debian has no `python`, and its python3 none of our packages."""
    told = re.findall(r"`([^`]*)python3? -m appliance", (ROOT / "README.md").read_text())
    assert told and set(told) == {"./build.sh "}
    (tmp_path / "machines.csv").write_text("name,cpu,memory_gb\nPC,i5-12400,16\n")
    bare = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": ""}
    simulate = [
        "-m",
        "appliance.placement",
        "simulate",
        "--inventory",
        "machines.csv",
        "--models",
        "qwen3-1.7b",
    ]
    done = subprocess.run(
        [str(ROOT / "build.sh"), "python", *simulate, "--models", "qwen3-1.7b", "--employees", "5"],
        env=os.environ | bare, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert "1 x PC" in done.stdout, done.stderr


@pytest.mark.parametrize("command", ["convert", "run", "image"])
@pytest.mark.parametrize("asked", ["--help", "-h"])
def test_a_command_tells_how_it_is_called(command: str, asked: str) -> None:
    assert build(command, asked).stdout == build("help").stdout


def test_help_names_every_bench() -> None:
    said = build("help").stdout.partition("bench [NAME]")[2].partition("./build.sh")[0]
    assert set(BENCHES) <= set(re.findall(r"\w+", said))


def test_run_takes_no_value_after_lan_and_nobody_says_it_does() -> None:
    wrong = [str(path) for path in TOLD if re.search(r"--lan [A-Z]", path.read_text())]
    assert not wrong


def test_an_unknown_command_is_a_sentence() -> None:
    done = build("fly")
    assert done.returncode == 1
    assert "there is no command 'fly'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "{file}"], "--name NAME"),
        (["--model", "{file}", "--name"], "--name needs a value"),
        (["--model", "{file}", "--name", "../x"], "can't be a model's name"),
        (["--slots", "3"], "does not know --slots"),
        (["--model", "{missing}", "--name", "m"], "there is no model file {missing}"),
        (["--model", "{file}", "--name", "m", "--state", "{missing}"], "no box runs from {missing}"),
    ],
)
def test_an_engine_that_cant_be_started_says_why(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    places = {"file": str(tmp_path / "m.gguf"), "missing": str(tmp_path / "none")}
    Path(places["file"]).touch()
    done = build("engine", *(argument.format(**places) for argument in arguments))
    assert done.returncode == 1
    assert sentence.format(**places) in done.stderr


def test_an_engine_s_model_is_looked_for_where_one_stands(tmp_path: Path) -> None:
    (tmp_path / "my model.gguf").touch()
    done = subprocess.run(
        [str(ROOT / "build.sh"), "engine", "--model", "my model.gguf", "--name", "m", "--state", "/none"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "no box runs from /none" in done.stderr, "the file was found"


def test_a_cache_that_cant_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = build("run", CELLULE_CACHE=str(tmp_path / "file" / "cache"))
    assert done.returncode == 1
    assert "Stopped:" in done.stderr and "CELLULE_CACHE=" in done.stderr


@pytest.mark.parametrize("named", [False, True])
def test_root_is_told_that_its_folders_are_not_those_of_who_called_sudo(tmp_path: Path, named: bool) -> None:
    home, programs = tmp_path / "ana", tmp_path / "programs"
    for folder in (home / ".cache" / "cellule", home / ".local" / "state" / "cellule", programs):
        folder.mkdir(parents=True)
    for name, answer in (("id", "0"), ("getent", f"ana:x:1000:1000::{home}:/bin/sh")):
        (programs / name).write_text(f"#!/bin/sh\necho '{answer}'\n")
        (programs / name).chmod(0o755)
    # it stops at a cache that can't be made
    (tmp_path / "file").touch()
    done = build(
        "run",
        *(["--state", str(tmp_path)] if named else []),
        PATH=f"{programs}:{os.environ['PATH']}",
        SUDO_USER="ana",
        CELLULE_CACHE="",
        XDG_CACHE_HOME=str(tmp_path / "file"),
        XDG_STATE_HOME=str(tmp_path / "root"),
    )
    assert f"in {tmp_path / 'file'}/cellule, apart from those of ana" in done.stderr
    assert (f"--state {home}/.local/state/cellule" in done.stderr) is not named


def test_two_at_once_take_turns_in_setting_up(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    holder = subprocess.Popen(["flock", str(lock), "sh", "-c", "echo held; read line"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert holder.stdout and holder.stdout.readline() == "held\n"
    # a machine without any Python ends the second one as soon as its turn has come
    second = subprocess.Popen(
        [str(ROOT / "build.sh"), "run"],
        env=os.environ | {"CELLULE_CACHE": str(tmp_path), "PATH": _path_without_python(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert second.stderr
    assert any("waiting for it" in line for line in second.stderr)
    holder.communicate("go\n", timeout=10)
    assert "Python 3.11 or newer is needed" in second.stderr.read()
    assert second.wait(30) == 1


def _path_without_python(folder: Path) -> str:
    programs = folder / "programs"
    programs.mkdir()
    for name in (
        "bash",
        "env",
        "mkdir",
        "flock",
        "dpkg-query",
        "grep",
        "dirname",
        "sha256sum",
        "cut",
        "uname",
    ):
        found = next(p / name for p in (Path("/usr/bin"), Path("/bin")) if (p / name).exists())
        (programs / name).symlink_to(found)
    return str(programs)
