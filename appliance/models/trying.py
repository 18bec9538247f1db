"""python -m appliance.models.trying FOLDER KIND: does an OpenVINO model load and make one real answer?

In a process of its own, for a bad model may take the process with it. Ends with 0, or with 1 and a sentence.
"""

import asyncio
import sys
from pathlib import Path

from appliance.engines.loading import load
from appliance.engines.metrics import EngineMetrics
from appliance.engines.options import EngineOptions, Kind
from appliance.errors import Refusal
from appliance.hardware.profile import EngineName


def main() -> int:
    options = EngineOptions(
        Path(sys.argv[1]), "tried", engine=EngineName.OPENVINO, kind=Kind(sys.argv[2]), slots=1
    )
    try:
        asyncio.run(load(options, EngineMetrics()).warm_up())
    except (Refusal, RuntimeError) as error:
        sys.stdout.write(f"Error: {str(error).splitlines()[-1]}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
