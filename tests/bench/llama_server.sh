#!/usr/bin/env bash
# Builds llama-server, the engine's peer in the benchmark, from the sdist that the engine's wheel came from.
#
#   llama_server.sh OUT_FOLDER      needs the engine's Python environment on PATH and g++
#
# It links the wheel's own libraries (libllama, libllama-common, libggml and its CPU variants), so that both
# sides run the very same kernels (with the same AMX fix) and only what stands above them is compared; and
# what remains to be built is less than half: 79 steps of 178, 260 seconds of processor time. The caller
# caches OUT_FOLDER by a hash over this file and the wheel's recipe.
set -euo pipefail

out=$(mkdir -p "$1" && cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
recipe="$here/../../hwprofiles/wheels"
version=$(sed -n 's/^VERSION=//p' "$recipe/llama_cpp.sh")
sdist_sha256=$(sed -n 's/^SDIST_SHA256=//p' "$recipe/llama_cpp.sh")
engine=$(python -c 'import importlib.util as u; print(u.find_spec("llama_cpp").submodule_search_locations[0])')
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

python -m venv "$work/venv"
export PATH="$work/venv/bin:$PATH"
pip install --quiet --require-hashes -r "$recipe/requirements.lock"
printf 'llama-cpp-python==%s --hash=sha256:%s\n' "$version" "$sdist_sha256" >"$work/sdist.txt"
pip download --quiet --no-deps --no-build-isolation --no-binary :all: --require-hashes \
    -r "$work/sdist.txt" -d "$work"
tar -xzf "$work/llama_cpp_python-$version.tar.gz" -C "$work"

source="$work/llama_cpp_python-$version/vendor/llama.cpp"
cat >"$work/wheel.cmake" <<END
foreach(library llama llama-common)
    add_library(\${library} SHARED IMPORTED GLOBAL)
    set_target_properties(\${library} PROPERTIES IMPORTED_LOCATION "$engine/lib/lib\${library}.so")
endforeach()
target_compile_definitions(llama INTERFACE LLAMA_SHARED)
target_include_directories(llama INTERFACE "$source/include")
target_link_libraries(llama INTERFACE ggml)
find_package(Threads REQUIRED)
target_compile_definitions(llama-common INTERFACE LLAMA_SUBPROCESS)
target_include_directories(llama-common INTERFACE "$source/common")
target_link_libraries(llama-common INTERFACE llama vendor::nlohmann vendor::sheredom Threads::Threads)
END
# the wheel's libraries in the place of those that would be built from src and common, which then have
# nothing to install either
sed -i -E "s|^add_subdirectory\(src\)|include($work/wheel.cmake)|
    s|^ *add_subdirectory\(common\)||
    /^ *install\(TARGETS llama(-common)? LIBRARY/d" "$source/CMakeLists.txt"

cmake -S "$source" -B "$work/build" -G Ninja \
    -DCMAKE_BUILD_TYPE=Release -DLLAMA_USE_SYSTEM_GGML=ON -Dggml_DIR="$engine/lib/cmake/ggml" \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_SERVER=ON \
    -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF \
    -DBUILD_SHARED_LIBS=ON -DCMAKE_BUILD_RPATH_USE_ORIGIN=ON >"$out/build.log" 2>&1 \
    && cmake --build "$work/build" --target llama-server -j "${JOBS:-$(nproc)}" >>"$out/build.log" 2>&1 \
    || { tail -n 40 "$out/build.log" >&2; echo "llama-server did not build: $out/build.log" >&2; exit 1; }

cp "$work"/build/bin/* "$out/"
# the server looks for the CPU variants beside itself
cp -L "$engine"/lib/libggml*.so "$engine"/lib/libllama.so "$engine"/lib/libllama-common.so "$out/"
