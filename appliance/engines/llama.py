"""The llama.cpp library with its CPU variants loaded, and silent.

Importing this module loads the backend that fits this processor best, through libllama's own handle: a
second handle would open a second, empty registry. Whatever uses llama.cpp takes `llama` from here, so
that nothing can run before that. The OpenMP threads sleep when there is nothing to do instead of
spinning, for the machine is somebody's PC.
"""

import ctypes
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read once, when libgomp is loaded below

from llama_cpp import llama_cpp as llama

__all__ = ["LIBRARY_FOLDER", "CType", "Pointer", "function", "llama", "silenced"]

Pointer = Any
"""A ctypes pointer into llama.cpp, for which no better type can be written."""
CType = Any
"""A ctypes type, such as ctypes.c_int32."""

LIBRARY_FOLDER = Path(llama.__file__).parent / "lib"
_log = logging.getLogger(__name__)
_LEVEL_ERROR = 4  # GGML_LOG_LEVEL_ERROR


@llama.llama_log_callback  # type: ignore[untyped-decorator]
def _pass_on_errors(level: int, text: bytes, _user_data: object) -> None:
    if level == _LEVEL_ERROR:
        _log.warning("llama.cpp: %s", text.decode("utf-8", "replace").partition("\n")[0])


def function(name: str, result: CType, *arguments: CType) -> Pointer:
    """A function of the library that the Python binding does not declare, with the types of its header."""
    found = getattr(llama._lib, name)
    found.restype, found.argtypes = result, list(arguments)
    return found


@contextmanager
def silenced() -> Iterator[None]:
    """What llama.cpp writes to stderr is dropped: of a bad grammar it prints the whole text, which is a
    caller's and belongs in no log. For a moment only: the whole process shares stderr.
    """
    stderr = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


llama.llama_log_set(_pass_on_errors, ctypes.c_void_p(0))
function("ggml_backend_load_all_from_path", None, ctypes.c_char_p)(str(LIBRARY_FOLDER).encode())
llama.llama_backend_init()
