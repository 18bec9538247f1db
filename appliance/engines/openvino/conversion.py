"""A GGUF file as a folder in OpenVINO's own format, which is all that an NPU takes.

GenAI makes the network itself and can save it; no other program is needed. The folder lies beside the file,
named by the file's hash, or in a temporary place where nobody may write there. Of models whose heads share
keys (most of the newer ones) GenAI's network has shapes that an NPU can't fix: they need an export by
optimum-intel, and are refused here when they are loaded.
"""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from appliance.engines.openvino.files import MODEL_FILE, ModelFiles
from appliance.engines.openvino.library import genai, refusing_what_openvino_refuses

_VALUE_NAMED_AS_KEY = re.compile(r"(past_key_values\.\d+\.valuepresent\.\d+\.)key")
"""GenAI gives the cached values of each layer the name of its keys; an NPU then finds two of one name."""


def ir_of_gguf(files: ModelFiles) -> Path:
    """The folder with the same model; made at the first call for this content. Raises ModelUnusable."""
    parent = files.path.parent if os.access(files.path.parent, os.W_OK) else Path(tempfile.mkdtemp())
    folder = parent / f"{files.path.stem}-{files.sha256()[:16]}-openvino"
    if folder.exists():
        return folder
    unfinished = Path(tempfile.mkdtemp(prefix=".making-", dir=parent))
    try:
        _make(files, unfinished)
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    except OSError:
        if not folder.exists():  # else another process was faster
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _make(files: ModelFiles, folder: Path) -> None:
    source = folder / "source.gguf"
    source.symlink_to(files.path.absolute())  # GenAI saves beside what it reads
    with refusing_what_openvino_refuses(f"{files.path} can't be converted for this device"):
        tokenizer = genai.Tokenizer(source, enable_save_ov_model=True)
        genai.LLMPipeline(source, tokenizer, "CPU", enable_save_ov_model=True)
    source.unlink()
    network = folder / MODEL_FILE
    network.write_text(_VALUE_NAMED_AS_KEY.sub(r"\1value", network.read_text()))
    config = {
        "_name_or_path": files.name,
        "max_position_embeddings": files.context_tokens,
        # one layer with one head as wide as all of them: what is read back is only their product
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "head_dim": files.kv_bytes_per_token // 4,
    }
    (folder / "config.json").write_text(json.dumps(config))
    advised = files.sampling_defaults
    sampling = {"do_sample": True, "temperature": advised.temperature, "top_p": advised.top_p}
    sampling |= {"top_k": advised.top_k, "min_p": advised.min_p}
    (folder / "generation_config.json").write_text(json.dumps(sampling))
