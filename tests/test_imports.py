"""What a process of the box imports before it answers: on a small machine that is most of a start.

Each line is what its process must be able to start without. What it needs later it imports where it uses it.
"""

import subprocess
import sys

import pytest

STARTS_WITHOUT = {
    "appliance.host.__main__": {"cryptography", "sqlite_utils", "appliance.host.simulated", "http"},
    "appliance.claim.__main__": {"werkzeug", "appliance.keeping", "appliance.host", "zeroconf"},
    "appliance.claim.serving": {"werkzeug", "appliance.keeping"},
    "appliance.boot.__main__": {"cryptography", "werkzeug", "appliance.enrolment", "appliance.keeping"},
    "appliance.console.__main__": {
        "werkzeug",
        "flask",
        "appliance.keeping",
        "zeroconf",
        "appliance.host.linux",
    },
    "appliance.engines.__main__": {"sqlite_utils", "cryptography", "flask", "appliance.host"},
    "appliance.pool.app": {"flask", "werkzeug", "appliance.keeping", "zeroconf", "appliance.host.linux"},
    "webadmin": {"zeroconf", "apscheduler", "tuf", "appliance.pool", "appliance.host.linux"},
}


@pytest.mark.parametrize("module", STARTS_WITHOUT)
def test_a_process_imports_only_what_its_start_needs(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not STARTS_WITHOUT[module] & set(done.stdout.split())


def test_a_model_is_built_when_it_is_first_used() -> None:
    """Building one takes milliseconds, there are hundreds, and a start uses few (`defer_build`)."""
    program = """if True:
        import appliance.jobs.__main__, appliance.pool.app, webadmin
        from pydantic import BaseModel

        def below(kind):
            for each in kind.__subclasses__():
                yield each
                yield from below(each)

        ours = [each for each in below(BaseModel) if each.__module__.startswith(("appliance", "webadmin"))]
        print(sum(each.__pydantic_complete__ for each in ours), len(ours))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    built, defined = map(int, done.stdout.split())
    assert built < 0.2 * defined
