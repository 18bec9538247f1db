"""Which builds of the engine's library lie on the disk. Loads none of them."""

from importlib.util import find_spec
from pathlib import Path

_PREFIX, _SUFFIX = "libggml-cpu-", ".so"


def engine_builds() -> frozenset[str]:
    """The names of the builds: x64, haswell, …"""
    found = find_spec("llama_cpp")
    folders = found.submodule_search_locations if found else None
    files = Path(folders[0], "lib").glob(f"{_PREFIX}*{_SUFFIX}") if folders else ()
    return frozenset(file.name.removeprefix(_PREFIX).removesuffix(_SUFFIX) for file in files)
