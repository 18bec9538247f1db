"""GenAI's pipeline alone, for the benchmark; arguments MODEL SLOTS KV_BLOCKS, a round for each line read.

A line is JSON with the prompts (token ids) and how many tokens each answer has; what goes back is JSON with
the tokens made and the seconds of the processor and of the clock. Nothing of the appliance is in the way.
"""

import json
import sys
import time

import numpy as np

from appliance.engines.openvino.library import genai, openvino


def main() -> None:
    model, slots, blocks = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    scheduler = genai.SchedulerConfig()
    scheduler.enable_prefix_caching = True
    scheduler.max_num_seqs, scheduler.num_kv_blocks = slots, blocks
    properties = {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
    pipeline = genai.ContinuousBatchingPipeline(model, genai.Tokenizer(model), scheduler, "CPU", **properties)
    print("ready", flush=True)
    number = 0
    for line in sys.stdin:
        asked = json.loads(line)
        cpu, began = time.process_time(), time.monotonic()
        handles = []
        for prompt in asked["prompts"]:
            config = genai.GenerationConfig()
            config.max_new_tokens, config.ignore_eos = asked["tokens"], True
            tensor = openvino.Tensor(np.array([prompt], np.int64))
            handles.append(pipeline.add_request(number, tensor, config))
            number += 1
        while pipeline.has_non_finished_requests():
            pipeline.step()
        made = sum(len(handle.read_all()[0].generated_ids) for handle in handles)
        seconds = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.monotonic() - began}
        print(json.dumps({"tokens": made, **seconds}), flush=True)


if __name__ == "__main__":
    main()
