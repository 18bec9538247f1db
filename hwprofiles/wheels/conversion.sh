#!/usr/bin/env bash
# Makes the Python environment that converts models to OpenVINO: optimum-intel with torch for CPU, 1.6 GB.
#
#   conversion.sh OUT_FOLDER     OUT_FOLDER/bin/python is its Python; needs python3 -m venv
#
# The caller keeps it by a hash over this file and conversion.lock beside it. Everything is taken by its hash, so it
# does not matter which index a package comes from. Torch for CPU is on few: where the machine's own doesn't have it,
# uv, which is in the lock for that, knows PyTorch's.
set -euo pipefail

out=$1
here=$(cd "$(dirname "$0")" && pwd)

"${PYTHON:-python3}" -m venv "$out"
# --no-deps: the lock is complete, and leaves out torchvision, which would want another torch
install() { "$out/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$1"; }
if ! install "$here/conversion.lock"; then
    awk '/^[a-z]/ { is_uv = /^uv==/ } is_uv' "$here/conversion.lock" >"$out/uv.lock"
    install "$out/uv.lock"
    "$out/bin/uv" pip install --quiet --python "$out/bin/python" --torch-backend cpu --no-deps --require-hashes \
        -r "$here/conversion.lock"
fi
"$out/bin/python" -c 'import optimum.exporters.openvino, diffusers, torch; assert not torch.version.cuda'
touch "$out/complete"
