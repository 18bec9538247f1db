#!/usr/bin/env bash
# Makes the Python environment that converts models to OpenVINO: optimum-intel with torch for CPU, 1.6 GB.
#
#   conversion.sh OUT_FOLDER     OUT_FOLDER/bin/python is its Python; needs python3 -m venv
#
# The caller keeps it by a hash over this file and conversion.lock beside it. Everything is taken by its hash,
# so it does not matter which index a package comes from: the machine's own first, for torch then PyTorch's.
set -euo pipefail

out=$1
here=$(cd "$(dirname "$0")" && pwd)
torch_index=https://download.pytorch.org/whl/cpu

"${PYTHON:-python3}" -m venv "$out"
# --no-deps: the lock is complete, and leaves out torchvision, which would want another torch
install() { "$out/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$here/conversion.lock" "$@"; }
install || install --extra-index-url "$torch_index"
"$out/bin/python" -c 'import optimum.exporters.openvino, diffusers, torch; assert not torch.version.cuda'
touch "$out/complete"
