#!/usr/bin/env bash
# Step 4: the Python half of the root: third-party wheels, hash-checked, and the engine compiled in the tools root.
#
#   40-wheels.sh FOLDER          FOLDER gets site-packages/ and engine-packages/ as they lie in the image
#
# NumPy stands apart in engine-packages, on the path of the engine alone: sqlite-utils loads it wherever it finds it,
# and that would be a fifth of what every other process does to start.
#
# OpenVINO is in the shipped image only: the small one is for quick tests, and it would be half of it.
#
# The wheels come through this machine's own pip configuration; they are installed without any network.
source "$(dirname "$0")/where.sh"

HASHED=("$SOURCE/appliance/requirements.lock" "$SOURCE"/hwprofiles/wheels/{llama_cpp.sh,requirements.lock} "$IMAGE/40-wheels.sh")

# what the engine's recipe downloads, fetched out here so that the tools root needs no network
engine_wheel() {
    local folder
    folder="$CACHE/wheels/$(cat "$SOURCE"/hwprofiles/wheels/{llama_cpp.sh,requirements.lock} | sha256sum | cut -c1-16)-$SUITE"
    if ! (cd "$folder" 2>/dev/null && sha256sum --status -c sha256); then
        say "compiling the llama.cpp engine in the tools root, once: about 9 minutes on 2 cores"
        rm -rf "$folder" "$folder.new" && mkdir -p "$folder.new"
        # the path is compiled into nothing but asserts' texts, yet it must be the same everywhere
        in_tools --bind "$SOURCE" --bind "$folder.new" --bind /etc/ssl/certs -- env "${PIP[@]}" \
            nice "$SOURCE/hwprofiles/wheels/llama_cpp.sh" "$folder.new" >"$folder.new/steps" \
            || die "the engine did not compile" "The end of its log stands above."
        (cd "$folder.new" && rm -f steps && sha256sum ./*.whl >sha256)
        mv "$folder.new" "$folder"
    fi
    echo "$folder"
}

# pip's configuration of this machine, as variables: it has to hold inside the tools root as well
PIP=(PIP_DISABLE_PIP_VERSION_CHECK=1)
for name in PIP_INDEX_URL PIP_CERT SSL_CERT_FILE REQUESTS_CA_BUNDLE HTTPS_PROXY https_proxy NO_PROXY no_proxy; do
    [ -z "${!name:-}" ] || PIP+=("$name=${!name}")
done

# the lock without the entries that this variant does not have
wanted_packages() {
    if [ "$VARIANT" = small ]; then
        awk '/^[a-z]/ { left_out = /^openvino/ } !left_out' "$SOURCE/appliance/requirements.lock"
    else
        cat "$SOURCE/appliance/requirements.lock"
    fi
}

main() {
    local target=$1 cached engine
    cached="$CACHE/site-packages-$VARIANT-$(cat "${HASHED[@]}" | sha256sum | cut -c1-16)"
    engine=$(engine_wheel)
    if ! (cd "$cached" 2>/dev/null && sha256sum --status -c sha256); then
        say "installing the Python packages of the image"
        rm -rf "$cached" "$cached.new" && mkdir -p "$cached.new/wheels"
        wanted_packages >"$cached.new/lock"
        "${PYTHON:-python3}" -m pip download -qq --disable-pip-version-check --no-deps --require-hashes \
            --only-binary :all: --python-version 3.13 --implementation cp --platform manylinux_2_28_x86_64 \
            --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --platform manylinux_2_34_x86_64 --platform any \
            -r "$cached.new/lock" -d "$cached.new/wheels" \
            || die "the Python packages could not be fetched" "A network or a package mirror (pip config) is needed the first time."
        cp "$engine"/*.whl "$cached.new/wheels/"
        in_tools --bind "$cached.new" -- sh -c "
            python3 -m pip install --quiet --no-index --no-deps --no-compile --root-user-action ignore \
                --target '$cached.new/site-packages' '$cached.new'/wheels/*.whl"
        # where pip found a wheel is of this machine, and its records are for removing packages again
        rm -f "$cached.new"/site-packages/*.dist-info/{direct_url.json,RECORD,INSTALLER,REQUESTED}
        mkdir "$cached.new/engine-packages"
        mv "$cached.new"/site-packages/numpy* "$cached.new/engine-packages/"
        find "$cached.new"/*-packages \( -name tests -o -name test \) -type d -prune -exec rm -rf {} +
        tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
            -C "$cached.new" -cf "$cached.new/packages.tar" site-packages engine-packages
        rm -rf "$cached.new"/{site-packages,engine-packages,wheels,lock}
        (cd "$cached.new" && sha256sum packages.tar >sha256)
        mv "$cached.new" "$cached"
    fi
    mkdir -p "$target"
    tar -C "$target" -xf "$cached/packages.tar"
}

main "$@"
