"""The recipe's commands: `python -m appliance.models.demo train|export|evaluate` (README.md says when).

`train` leaves tokenizer and weights in --work, `export` writes the GGUF file and its hash from them,
`evaluate` asks that file the held-out questions and writes report.json and the table of README.md.
"""

import argparse
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

from appliance.models.demo import DEMO_MODEL_HASH_PATH, DEMO_MODEL_PATH, verify_demo_model

HERE = Path(__file__).parent
STEPS = 7000


def main() -> int:
    """Runs one command; it raises what the step raises."""
    parser = argparse.ArgumentParser(prog="python -m appliance.models.demo")
    parser.add_argument("command", choices=("train", "export", "evaluate"))
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache" / "cellule" / "demo-model")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--resume", action="store_true", help="train the weights in --work further")
    parser.add_argument("--seconds", type=float, help="end the training after this time instead")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    arguments.work.mkdir(parents=True, exist_ok=True)
    match arguments.command:
        case "train":
            _train(arguments.work, arguments.steps, arguments.seconds, resume=arguments.resume)
        case "export":
            _export(arguments.work)
        case "evaluate":
            _evaluate()
    return 0


def _train(work: Path, steps: int, seconds: float | None, *, resume: bool) -> None:
    from tokenizers import Tokenizer

    from appliance.models.demo.network import Shape
    from appliance.models.demo.tokenizer import VOCABULARY, train_tokenizer
    from appliance.models.demo.training import FURTHER, Schedule, train

    if resume:
        tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
        schedule = replace(FURTHER, steps=steps)
    else:
        tokenizer = train_tokenizer(seed=1)
        tokenizer.save(str(work / "tokenizer.json"))
        schedule = Schedule(steps)
    made = train(tokenizer, Shape(VOCABULARY), schedule, work / "weights.pt", resume=resume, seconds=seconds)
    logging.info("trained for %d steps", made)


def _export(work: Path) -> None:
    import hashlib

    import torch

    from appliance.models.demo.gguf_writing import write_gguf
    from appliance.models.demo.network import Shape
    from appliance.models.demo.tokenizer import VOCABULARY, read_vocabulary

    vocabulary = read_vocabulary(work / "tokenizer.json")
    write_gguf(DEMO_MODEL_PATH, torch.load(work / "weights.pt"), Shape(VOCABULARY), vocabulary)
    digest = hashlib.sha256(DEMO_MODEL_PATH.read_bytes()).hexdigest()
    DEMO_MODEL_HASH_PATH.write_text(f"{digest}  {DEMO_MODEL_PATH.name}\n", encoding="ascii")


def _evaluate() -> None:
    from appliance.models.demo.evaluation import evaluate, table

    verify_demo_model()
    report = evaluate(DEMO_MODEL_PATH)
    text = json.dumps(report, indent=1, ensure_ascii=False)
    (HERE / "report.json").write_text(text + "\n", encoding="utf-8")
    logging.info("%s", table(report))
    readme = HERE / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition("<!-- report -->\n")
    after = rest.partition("<!-- end of report -->\n")[2]
    marked = f"<!-- report -->\n{table(report)}<!-- end of report -->\n"
    readme.write_text(before + marked + after, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
