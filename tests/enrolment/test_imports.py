"""What runs on an employee's PC brings nothing of the box with it."""

import subprocess
import sys

WORKER_SIDE = """
import sys
import appliance.enrolment
assert "zeroconf" not in sys.modules
import appliance.enrolment.contract, appliance.enrolment.redeeming, appliance.enrolment.discovery
assert not {"llama_cpp", "openvino", "numpy"} & set(sys.modules)
parts = {name.split(".")[1] for name in sys.modules if name.startswith("appliance.")}
print(*sorted(parts & {"pool", "people", "claim", "jobs", "accounting"}))
"""


def test_the_workers_side_imports_nothing_of_the_box() -> None:
    done = subprocess.run([sys.executable, "-c", WORKER_SIDE], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
