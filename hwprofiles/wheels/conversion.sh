#!/usr/bin/env bash
# Makes the Python environment that converts models to OpenVINO: optimum-intel with torch for CPU, 1.6 GB.
#
#   conversion.sh OUT_FOLDER     OUT_FOLDER/bin/python is its Python; needs python3 -m venv
#
# The caller keeps it by a hash over this file and conversion.lock beside it. Everything is taken by its hash, so it
# does not matter which index a package comes from. Torch for CPU is on few: where the machine's own doesn't have it,
# uv, which is in the lock for that, knows PyTorch's. The lock holds torch's wheel for Python 3.11 on x86_64; for any
# other the same version comes from PyTorch's own index, by TLS alone.
set -euo pipefail

out=$1
here=$(cd "$(dirname "$0")" && pwd)

"${PYTHON:-python3}" -m venv "$out"
# --no-deps: the lock is complete, and leaves out torchvision, which would want another torch
install() { "$out/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$1"; }
# only NAME: the lock's lines of that package; without NAME: all the others
only() { awk -v name="^$1==" '/^[a-z]/ { here = $0 ~ name } here' "$here/conversion.lock" >"$out/$1.lock"; }
without() { awk -v name="^$1==" '/^[a-z]/ { here = $0 ~ name } !here' "$here/conversion.lock" >"$out/without-$1.lock"; }
with_uv() { "$out/bin/uv" pip install --quiet --python "$out/bin/python" --torch-backend cpu --no-deps "$@"; }

if [ "$("$out/bin/python" -c 'import platform, sys; print(*sys.version_info[:2], platform.machine())')" != "3 11 x86_64" ]; then
    without torch
    only torch
    install "$out/without-torch.lock"
    with_uv "$(sed -n 's/^\(torch==[0-9.]*\).*/\1/p' "$out/torch.lock")"
elif ! install "$here/conversion.lock"; then
    only uv
    install "$out/uv.lock"
    with_uv --require-hashes -r "$here/conversion.lock"
fi
"$out/bin/python" -c 'import optimum.exporters.openvino, diffusers, torch; assert not torch.version.cuda'
touch "$out/complete"
