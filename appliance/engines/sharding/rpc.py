"""llama.cpp's RPC backend, called through the registry that `llama` has loaded.

The backend is a library of its own that nothing links to, so its functions are found by name at run time
(`ggml_backend_reg_get_proc_address`, ggml-backend.h; the signatures are those of ggml-rpc.h). A lost
connection makes llama.cpp abort the process; `on_abort` hears of it first.
"""

import ctypes
import importlib.metadata
from collections.abc import Callable

from appliance.engines.llama import Pointer, function
from appliance.engines.llama_devices import Device, device_at, own_device
from appliance.errors import Broken

BUILD = importlib.metadata.version("llama-cpp-python")
_pointer, _text, _size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
_AbortCallback = ctypes.CFUNCTYPE(None, _text)
_AddServer = ctypes.CFUNCTYPE(_pointer, _text)
_StartServer = ctypes.CFUNCTYPE(None, _text, _text, _size, _size, ctypes.POINTER(_pointer))
_kept: list[object] = []
"""What llama.cpp holds a pointer to must not be collected."""


class RpcMissing(Broken):
    """This build of llama.cpp has no RPC backend."""

    code = "rpc_missing"


def serve(endpoint: str, device: Device, threads: int) -> None:
    """Computes for whoever connects to HOST:PORT, one after the other. Returns only where it can't listen."""
    devices = (_pointer * 1)(device.pointer)
    start = ctypes.cast(_procedure("ggml_backend_rpc_start_server"), _StartServer)
    start(endpoint.encode(), None, threads, 1, devices)


def connect(endpoint: str) -> Device:
    """The device of a part. A part that can't be reached aborts the process: ask for its status before."""
    registered = ctypes.cast(_procedure("ggml_backend_rpc_add_server"), _AddServer)(endpoint.encode())
    if not registered:
        raise Broken(f"llama.cpp can't use the part on {endpoint}.")
    return device_at(function("ggml_backend_reg_dev_get", _pointer, _pointer, _size)(registered, 0))


def on_abort(hear: Callable[[str], None]) -> None:
    """`hear` is called with llama.cpp's last words, in the thread that fails. When it returns, the process
    is aborted.
    """

    def called(message: bytes | None) -> None:
        hear((message or b"").decode("utf-8", "replace").strip())

    callback = _AbortCallback(called)
    _kept.append(callback)
    function("ggml_set_abort_callback", _pointer, _AbortCallback)(callback)


def cpu_buffer_type() -> Pointer:
    """Where the processor's tensors lie as they are in the file."""
    return function("ggml_backend_dev_buffer_type", _pointer, _pointer)(own_device("CPU").pointer)


def keep(value: object) -> None:
    """Keeps what llama.cpp points to for the life of the process."""
    _kept.append(value)


def _procedure(name: str) -> Pointer:
    registry = function("ggml_backend_reg_by_name", _pointer, _text)(b"RPC")
    find = function("ggml_backend_reg_get_proc_address", _pointer, _pointer, _text)
    found = find(registry, name.encode()) if registry else None
    if not found:
        raise RpcMissing("This llama.cpp was built without RPC.", next_step="Build it with GGML_RPC=ON.")
    return found
