"""`python -m appliance.supervisor`: the whole life of `./build.sh run`."""

import argparse
import json
import os
import signal
import ssl
import sys
import time
import urllib.request
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from appliance.enrolment.lan import lan_addresses
from appliance.errors import Broken, Refusal
from appliance.settings import Settings, load_settings
from appliance.supervisor.preparation import (
    FirstSteps,
    prepare,
    refuse_overlapping_network,
    refuse_taken_ports,
    take_state,
)
from appliance.supervisor.processes import Supervisor

READY_WITHIN_SECONDS = 120


class NotReadyInTime(Broken):
    """The processes started but the product can't answer."""

    code = "not_ready_in_time"


def run(settings: Settings) -> None:
    """Starts, announces, tends and stops. Raises what preparation refuses, and NotReadyInTime."""
    refuse_taken_ports(settings)
    refuse_overlapping_network(settings)
    with take_state(settings):
        first_steps = prepare(settings)
        supervisor = Supervisor(settings, say)
        try:
            supervisor.start()
            wait_until_ready(supervisor, settings)
            announce(settings, first_steps)
            while True:
                supervisor.tend()
                time.sleep(0.2)
        except KeyboardInterrupt:
            say("stopping")
        finally:
            supervisor.stop()


def wait_until_ready(supervisor: Supervisor, settings: Settings) -> None:
    """Returns once the pool has a node that can answer and the pages are served. Raises NotReadyInTime."""
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while not (_answers(settings, "/health/ready") and _answers(settings, "/sign-in")):
        if time.monotonic() > deadline:
            raise NotReadyInTime(
                f"The product could not answer within {READY_WITHIN_SECONDS} s.",
                next_step=f"The ends of the logs in {settings.state_dir / 'log'}:\n{supervisor.log_tails()}",
            )
        supervisor.tend()
        time.sleep(0.1)


def announce(settings: Settings, first_steps: FirstSteps) -> None:
    """Says where to click, and the same for programs as the one line `ready {json}`."""
    base_url = _url_for_people(settings)
    say(f"Open {base_url} in a browser.")
    if first_steps.claim_code:
        say(f"The claim code is {first_steps.claim_code}")
    say("The built-in model is a small demo. The README tells how to get a real one.")
    facts = {
        "base_url": base_url,
        "api_base": f"{base_url}/v1",
        "claim_code": first_steps.claim_code,
        "demo_api_key": first_steps.demo_api_key,
    }
    print("ready", json.dumps({name: value for name, value in facts.items() if value}), flush=True)  # noqa: T201


def parse_arguments(arguments: list[str]) -> Settings:
    """Settings of a development run: the command line, then CELLULE_* for what it doesn't name.

    Exits with 2 and a sentence for a wrong argument.
    """
    state_home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    parser = argparse.ArgumentParser(prog="./build.sh run")
    parser.add_argument(
        "--port", type=int, default=8080, help="where to listen; the next one up has the metrics"
    )
    parser.add_argument("--state", type=Path, default=state_home / "cellule", help="what survives a restart")
    parser.add_argument("--lan", action="store_true", help="serve HTTPS on the LAN and let PCs join (root)")
    given = parser.parse_args(arguments)
    if given.lan and os.geteuid() != 0:
        parser.error("--lan makes tunnels and firewall rules: run it as root")
    asked_for = {
        "STATE_DIR": given.state.absolute(),
        "PORT": given.port,
        "METRICS_PORT": given.port + 1,
        "LISTEN_HOST": "0.0.0.0" if given.lan else "127.0.0.1",  # noqa: S104
        "TLS": given.lan,
        "HOST_SIMULATED": not given.lan,
        "DEVELOPMENT": True,
    }
    try:
        return load_settings(
            {**os.environ, **{f"CELLULE_{name}": str(value) for name, value in asked_for.items()}}
        )
    except ValidationError as error:
        parser.error("; ".join(f"--{e['loc'][0]}: {e['msg']}" for e in error.errors()))


def say(sentence: str) -> None:
    """A sentence for the person at the terminal; stdout is for the ready line alone."""
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201


def _url_for_people(settings: Settings) -> str:
    """Where other computers reach the box, if they may; otherwise where this one does."""
    addresses = lan_addresses() if settings.tls else ()
    return f"https://{addresses[0]}:{settings.port}" if addresses else settings.base_url


def _answers(settings: Settings, path: str) -> bool:
    # our own listener, with the box's own certificate
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(settings.base_url + path, timeout=5, context=context) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def _interrupt(*_: object) -> NoReturn:
    # once: an impatient second Ctrl-C must not break off the stopping
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """Runs until Ctrl-C or SIGTERM; exits with 1 and a sentence for what was refused."""
    settings = parse_arguments(sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        run(settings)
    except KeyboardInterrupt:
        say("stopped before anything was started")
    except Refusal as refusal:
        say(f"Stopped: {refusal.sentence}\n{refusal.next_step}")
        sys.exit(1)


if __name__ == "__main__":
    main()
