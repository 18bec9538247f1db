#!/usr/bin/env bash
# Builds one more backend of llama.cpp for an engine that is installed: a library that lies beside the processor's.
#
#   llama_cpp.sh BACKEND OUT_FOLDER      cuda, rocm, vulkan or metal; OUT_FOLDER gets libggml-*.so and build.log
#
# The engine loads every library that it finds there and works, so copying the result into llama_cpp/lib of a worker is
# all. It is built from the sdist of the engine's wheel, and fits that version alone. Needs g++, about 2 GB, and:
#   vulkan   Debian 13's glslc, libvulkan-dev, spirv-headers; Debian 12's headers are too old, so unpack
#            libvulkan-dev of Debian 13 there and name its folder of headers: VULKAN_HEADERS=DIR
#   cuda     NVIDIA's CUDA toolkit (nvcc)         rocm   AMD's ROCm with hipcc, hipblas, rocblas
#   metal    macOS with the command line tools
# README.md says which of them were built and run.
set -euo pipefail

backend=$1
out=$(mkdir -p "$2" && cd "$2" && pwd)
wheels=$(cd "$(dirname "$0")/../wheels" && pwd)
version=$(sed -n 's/^VERSION=//p' "$wheels/llama_cpp.sh")
sdist_sha256=$(sed -n 's/^SDIST_SHA256=//p' "$wheels/llama_cpp.sh")

# an architecture of CUDA: real code for each generation that a profile names, and PTX for the next ones
case "$backend" in
    vulkan) library=vulkan options=(-DGGML_VULKAN=ON ${VULKAN_HEADERS:+"-DVulkan_INCLUDE_DIR=$VULKAN_HEADERS"}) ;;
    cuda) library=cuda options=(-DGGML_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=75-real;80-real;86-real;89-real;90-real;120-virtual") ;;
    rocm) library=hip options=(-DGGML_HIP=ON "-DAMDGPU_TARGETS=gfx1030;gfx1100;gfx1101;gfx1151;gfx1200;gfx1201") ;;
    metal) library=metal options=(-DGGML_METAL=ON -DGGML_METAL_EMBED_LIBRARY=ON) ;;
    *) echo "there is no backend '$backend': cuda, rocm, vulkan or metal" >&2; exit 2 ;;
esac

work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
export PATH="$work/venv/bin:$PATH"
pip install --quiet --require-hashes -r "$wheels/requirements.lock"
printf 'llama-cpp-python==%s --hash=sha256:%s\n' "$version" "$sdist_sha256" >"$work/sdist.txt"
pip download --quiet --no-deps --no-build-isolation --no-binary :all: --require-hashes -r "$work/sdist.txt" -d "$work"
tar -xzf "$work/llama_cpp_python-$version.tar.gz" -C "$work"

cmake -S "$work/llama_cpp_python-$version/vendor/llama.cpp" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU=OFF -DBUILD_SHARED_LIBS=ON -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_OPENSSL=OFF -DCMAKE_PLATFORM_NO_VERSIONED_SONAME=ON "${options[@]}" >"$out/build.log" 2>&1 \
    && cmake --build "$work/build" --target "ggml-$library" -j "${JOBS:-$(nproc)}" >>"$out/build.log" 2>&1 \
    || { tail -n 40 "$out/build.log" >&2; echo "the backend did not build: $out/build.log" >&2; exit 1; }
find "$work/build" -name "libggml-$library.*" -type f -exec cp {} "$out/" \;
strip --strip-unneeded "$out/libggml-$library.so" 2>/dev/null || true
