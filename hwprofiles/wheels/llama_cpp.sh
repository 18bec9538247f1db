#!/usr/bin/env bash
# Builds the llama-cpp-python wheel: every x86 CPU variant, chosen at run time, and the RPC backend.
#
#   llama_cpp.sh OUT_FOLDER      writes llama_cpp_python-*.whl there; needs python3 -m venv, g++, about 3 GB
#
# The caller caches the result by a hash over this file and requirements.lock beside it.
# Progress goes to stdout as "[done/total]"; the full log is OUT_FOLDER/build.log.
set -euo pipefail

VERSION=0.3.36
SDIST_SHA256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e

out=$(mkdir -p "$1" && cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$work/venv"
export PATH="$work/venv/bin:$PATH"
pip install --quiet --require-hashes -r "$here/requirements.lock"

printf 'llama-cpp-python==%s --hash=sha256:%s\n' "$VERSION" "$SDIST_SHA256" >"$work/sdist.txt"
pip download --quiet --no-deps --no-build-isolation --no-binary :all: --require-hashes \
    -r "$work/sdist.txt" -d "$work"
tar -xzf "$work/llama_cpp_python-$VERSION.tar.gz" -C "$work"
source_folder="$work/llama_cpp_python-$VERSION"

# gcc 12 drops the stores that fill the AMX tile configuration as dead: SIGILL on AMX processors.
# A barrier that claims to read the structure keeps them.
amx="$source_folder/vendor/llama.cpp/ggml/src/ggml-cpu/amx/mmq.cpp"
grep -q '_tile_loadconfig(&tc);' "$amx" || { echo "the AMX fix no longer applies: $amx" >&2; exit 1; }
sed -i 's|_tile_loadconfig(&tc);|__asm__ volatile("" :: "r"(\&tc) : "memory"); _tile_loadconfig(\&tc);|' "$amx"

export CMAKE_GENERATOR=Ninja CMAKE_BUILD_PARALLEL_LEVEL="${JOBS:-$(nproc)}"
export CMAKE_ARGS='-DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON -DGGML_RPC=ON
 -DLLAVA_BUILD=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=OFF
 -DLLAMA_BUILD_SERVER=OFF -DLLAMA_OPENSSL=OFF
 -DCMAKE_INSTALL_BINDIR=llama_cpp/lib -DCMAKE_INSTALL_LIBDIR=llama_cpp/lib
 -DCMAKE_INSTALL_INCLUDEDIR=llama_cpp/include
 -DCMAKE_INSTALL_RPATH=$ORIGIN -DCMAKE_PLATFORM_NO_VERSIONED_SONAME=ON'
CMAKE_ARGS=$(printf '%s' "$CMAKE_ARGS" | tr '\n' ' ')

pip wheel --no-deps --no-build-isolation -v "$source_folder" -C build-dir="$work/build" \
    -C install.strip=true -w "$work/wheel" 2>&1 \
    | tee "$out/build.log" | grep --line-buffered -oE '\[[0-9]+/[0-9]+\]' \
    || { tail -n 40 "$out/build.log" >&2; echo "the wheel did not build; the full log is $out/build.log" >&2; exit 1; }
mv "$work"/wheel/*.whl "$out/"
