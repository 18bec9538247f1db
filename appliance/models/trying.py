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
    folder, kind = Path(sys.argv[1]), Kind(sys.argv[2])
    try:
        if kind is Kind.TEXT:
            _write_one_token(folder)
        else:
            options = EngineOptions(folder, "tried", engine=EngineName.OPENVINO, kind=kind)
            asyncio.run(load(options, EngineMetrics()).warm_up())
    except (Refusal, RuntimeError) as error:
        sys.stdout.write(f"Error: {str(error).splitlines()[-1]}\n")
        return 1
    return 0


def _write_one_token(folder: Path) -> None:
    import openvino_genai

    openvino_genai.LLMPipeline(folder, "CPU").generate("Bonjour", max_new_tokens=1, apply_chat_template=False)


if __name__ == "__main__":
    sys.exit(main())
