"""Programs of the machine, called with argument lists; a failure becomes an error with their own words.

Secrets go through standard input only: an argument list is public to every user of the machine.
"""

import logging
import subprocess

from appliance.host.contract import HostFailed, NotPermitted, Unsupported

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 20


def attempt(
    *argv: str, stdin: str | None = None, timeout_seconds: float = TIMEOUT_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Runs `argv` and returns how it ended, whatever that is. Raises Unsupported when it isn't installed."""
    try:
        return subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=timeout_seconds, check=False
        )
    except FileNotFoundError as error:
        raise Unsupported(
            f"The program {argv[0]} is not installed.",
            next_step="apt-get install iproute2 nftables wireguard-tools wireguard-go",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise HostFailed(f"{argv[0]} did not end within {timeout_seconds:g} s.") from error


def call(*argv: str, stdin: str | None = None, timeout_seconds: float = TIMEOUT_SECONDS) -> str:
    """The standard output of `argv`. Raises NotPermitted, HostFailed, Unsupported."""
    done = attempt(*argv, stdin=stdin, timeout_seconds=timeout_seconds)
    if done.returncode == 0:
        return done.stdout
    raise refusal(argv, done.stderr)


def refusal(argv: tuple[str, ...], stderr: str) -> NotPermitted | HostFailed:
    """The error for a program that failed with `stderr`."""
    if "not permitted" in stderr or "Permission denied" in stderr:
        return NotPermitted(
            f"The system did not permit {argv[0]} {argv[1] if len(argv) > 1 else ''}.".replace(" .", "."),
            next_step="Run it as root: changing the machine needs it.",
        )
    return HostFailed(f"{' '.join(argv[:4])} failed: {stderr.strip()[-500:]}")
