"""What is kept of a process's last words."""

import subprocess
import sys

import pytest

from appliance.engines.endings import KILLED
from appliance.engines.last_words import LastWords, last_line


def told(program: str) -> str:
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    words = LastWords(process)
    process.wait(20)
    return words.told()


def test_how_it_ended_and_what_it_said_last() -> None:
    program = "import sys; sys.stderr.write('first\\n\\nlast\\n\\n'); sys.exit(3)"
    assert told(program) == "It ended with status 3: last"
    assert told("import os; os.kill(os.getpid(), 11)") == "It ended by signal SIGSEGV: it said nothing"


def test_who_is_killed_has_no_last_word() -> None:
    program = "import os, sys; sys.stderr.write('answered\\n'); sys.stderr.flush(); os.kill(os.getpid(), 9)"
    assert told(program) == f"It ended by signal SIGKILL: {KILLED}"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (b"2026-01-01 12:00:00,000 CRITICAL appliance.engines It is broken.\n", "It is broken."),
        (b"ValueError: x\n", "ValueError: x"),
        (b"\x1b[31mred\tand \xff\n", "[31mred and \ufffd"),
        (b"\n", ""),
        (b"a" * 1000, "a" * 300),
    ],
)
def test_a_line_becomes_printable_and_short(written: bytes, kept: str) -> None:
    assert last_line(written) == kept
