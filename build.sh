#!/usr/bin/env bash
# The one entry: ./build.sh help
set -euo pipefail
shopt -s inherit_errexit
CALLED_FROM=$PWD
cd "$(dirname "$0")"

CACHE="${CELLULE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cellule}"
STATE="${XDG_STATE_HOME:-$HOME/.local/state}/cellule"

usage() {
    cat <<'TEXT'
Cellule Appliance

  ./build.sh run [--port N] [--state DIR] [--lan]
                          start the product with its demo model; Ctrl-C stops it.
                          Without --lan it answers on this machine only; with --lan it serves
                          HTTPS on the LAN and other PCs can join as workers (needs root)
  ./build.sh engine --model FILE.gguf --name NAME [--state DIR]
                          give a box that runs from the same DIR one more model; Ctrl-C takes it away
  ./build.sh convert FOLDER OUT [--weights fp16|int8|int4|int4-cw|int4-gq] [--state FILE]
                          make an OpenVINO model of a folder with safetensors; Ctrl-C stops it and leaves
                          nothing. The first call sets up the converter (1.6 GB)
  ./build.sh converter    set up the converter alone, and print its Python; a box that is started then
                          converts what admins bring as safetensors
  ./build.sh python ARGS  the product's own Python: -m appliance.hardware says what this machine is
  ./build.sh worker join  lend this PC to a box (needs root); asks for the invitation's code.
                          worker run starts it again, worker status tells how it stands
  ./build.sh test [ARGS]  run the tests (ARGS go to pytest: tests/pool -k queue)
  ./build.sh image [--variant small|shipped] [--keys DIR]
                          build the appliance: a disk image, an update bundle and their bill of
                          materials, in build/image (needs root; without --keys it makes keys of its own)
  ./build.sh boot [--variant small|shipped] [--tpm] [--fresh]
                          start that image as a virtual machine and say where to click; Ctrl-A X ends it
  ./build.sh test image [ARGS]
                          every test of the image in virtual machines (needs root; core: -m core)
  ./build.sh release VERSION [--variant V] --keys DIR --channel DIR [--notes-en FILE] [--notes-fr FILE]
                          [--wave 5@0h,50@48h,100@96h] [--min-version V]
                          build, sign and put a release into a channel's folder
  ./build.sh bench [NAME] measure embeddings, engine, gateway, handout, join, openvino, simulation or image (needs
                          root) against their peers, or sharding against its prediction (all without NAME)
  ./build.sh lock [image|drivers]
                          pin the dependencies of pyproject.toml anew, with hashes; those of the image; drivers
                          that Debian doesn't have (image/README.md)
  ./build.sh help         this text

The first call sets up what is missing: Debian packages, a Python environment, and the llama.cpp
engine, which is compiled once (about 9 minutes on 2 cores). They are kept in ~/.cache/cellule
(CELLULE_CACHE moves it) and found again by a hash of their recipe.
TEXT
}

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf '\n\033[31mStopped:\033[0m %s\n%s\n' "$1" "${2:-}" >&2; exit 1; }

# Debian package → why it is needed
declare -A NEEDED_TO_RUN=(
    [python3-venv]="the Python environment"
    [g++]="compiles the engine, once"
    [libgomp1]="the engine's threads"
)
declare -A NEEDED_FOR_TUNNELS=(
    [iproute2]="network interfaces"
    [nftables]="the firewall of box and workers"
    [wireguard-tools]="tunnels"
    [wireguard-go]="tunnels without the kernel module"
)
declare -A NEEDED_TO_TEST=(
    [iputils-ping]="tunnel checks"
    [chromium]="the browser of the web tests"
    [restic]="backups"
    [openssh-server]="a NAS by SFTP"
    [nginx-light]="the box's front, and the gateway's peer in benchmarks"
)
declare -A NEEDED_FOR_THE_IMAGE=(
    [mmdebstrap]="bootstraps the tools root of the image"
    [debian-archive-keyring]="signatures of Debian's packages"
    [openssl]="keys of development images"
)

# packages NAME_OF_TABLE...: installs what is missing, naming each package and why
packages() {
    local table name missing=()
    for table in "$@"; do
        local -n reasons=$table
        for name in "${!reasons[@]}"; do
            dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' && continue
            missing+=("$name")
            say "needs the Debian package $name: ${reasons[$name]}"
        done
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "this is not a Debian machine" "Install by hand: ${missing[*]}"
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "installing packages needs root" "Run as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -q >&2 || say "some package lists could not be refreshed; going on"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >&2 \
        || die "apt-get could not install: ${missing[*]}" "Check the machine's package sources (apt-get update), then repeat the command."
}

# root's folders are root's own: what another user could have changed, root must not run
tell_root_of_its_own() {
    [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ] || return 0
    local home
    home=$(getent passwd "$SUDO_USER" | cut -d: -f6) || return 0
    if [ -z "${CELLULE_CACHE:-}" ] && [ -d "$home/.cache/cellule" ] && [ "$CACHE" != "$home/.cache/cellule" ]; then
        say "root keeps its own engine and Python environment in $CACHE, apart from those of $SUDO_USER"
    fi
    case " $* " in *" --state"*) return 0 ;; esac
    if [ -d "$home/.local/state/cellule" ] && [ "$STATE" != "$home/.local/state/cellule" ]; then
        say "this box's state is $STATE; the one of $SUDO_USER is another: --state $home/.local/state/cellule"
    fi
}

# --- the Python environment, one for each lock file and engine recipe -------------------------------

python3_of_the_machine() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    die "Python 3.11 or newer is needed" "Debian 12 and 13 have it: apt-get install python3"
}

hash_of() { cat "$@" | sha256sum | cut -c1-16; }

# the engine's wheel: built once, its own hash beside it and checked at every use
engine_wheel() {
    local folder wheel
    folder="$CACHE/wheels/$(hash_of hwprofiles/wheels/llama_cpp.sh hwprofiles/wheels/requirements.lock)-$(uname -m)"
    if ! (cd "$folder" 2>/dev/null && sha256sum --status -c sha256); then
        say "compiling the llama.cpp engine, once: about 9 minutes on 2 cores"
        rm -rf "$folder" "$folder.new"
        PYTHON="$PYTHON" hwprofiles/wheels/llama_cpp.sh "$folder.new" \
            | while read -r step; do printf '\r  %-12s' "$step" >&2; done \
            || die "the engine did not compile" "The end of the log stands above; free 3 GB of disk and repeat the command."
        printf '\n' >&2
        (cd "$folder.new" && sha256sum ./*.whl >sha256)
        mv "$folder.new" "$folder"
    fi
    wheel=("$folder"/*.whl)
    echo "${wheel[0]}"
}

# environment LOCK: makes or finds the virtual environment for it and sets $VENV
environment() {
    local lock=$1 wheel
    mkdir -p "$CACHE" 2>/dev/null || die "the cache $CACHE can't be made" "Name a folder that you may write: CELLULE_CACHE=DIR ./build.sh …"
    # two terminals at once must not build into the same folder
    exec 9>"$CACHE/lock"
    flock --nonblock 9 || { say "another build.sh is setting up; waiting for it"; flock 9; }
    PYTHON=$(python3_of_the_machine)
    wheel=$(engine_wheel)
    VENV="$CACHE/venv-$(hash_of "$lock" <("$PYTHON" -VV) <(sha256sum <"$wheel"))"
    if [ ! -e "$VENV/complete" ]; then
        say "setting up the Python environment"
        rm -rf "$VENV"
        "$PYTHON" -m venv "$VENV" || die "no virtual environment could be made" "apt-get install python3-venv"
        "$VENV/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$lock" \
            || die "the Python packages could not be installed" "A network or a package mirror (pip config) is needed the first time; repeat the command."
        "$VENV/bin/pip" install --quiet --disable-pip-version-check --no-deps "$wheel" \
            || die "the engine could not be installed" "Remove ${wheel%/*} and repeat the command: it is compiled anew."
        touch "$VENV/complete"
    fi
    "$VENV/bin/pybabel" -q compile -d webadmin/translations 2>/dev/null || die "the translations do not compile" "pybabel compile -d webadmin/translations tells where."
    exec 9>&-
    export PATH="$VENV/bin:$PATH" PYTHONPATH="$PWD"
}

# converter_folder: where the environment that converts models lies, or will
converter_folder() { echo "$CACHE/converter-$(hash_of hwprofiles/wheels/conversion.sh hwprofiles/wheels/conversion.lock <("$PYTHON" -VV))"; }

# converter: makes or finds the environment that converts models and sets $CELLULE_CONVERTER to its Python
converter() {
    local folder
    mkdir -p "$CACHE" 2>/dev/null || die "the cache $CACHE can't be made" "Name a folder that you may write: CELLULE_CACHE=DIR ./build.sh …"
    exec 8>"$CACHE/lock-converter"
    flock --nonblock 8 || { say "another build.sh is setting up the converter; waiting for it"; flock 8; }
    PYTHON=$(python3_of_the_machine)
    folder=$(converter_folder)
    if [ ! -e "$folder/complete" ]; then
        say "setting up the converter: 1.6 GB"
        rm -rf "$folder"
        PYTHON="$PYTHON" hwprofiles/wheels/conversion.sh "$folder" >&2 \
            || die "the converter could not be installed" "A network or a package mirror (pip config) is needed the first time; repeat the command."
    fi
    exec 8>&-
    export CELLULE_CONVERTER="$folder/bin/python"
}

# --- the commands ---------------------------------------------------------------------------------

run() {
    tell_root_of_its_own "$@"
    packages NEEDED_TO_RUN
    case " $* " in *" --lan "*) packages NEEDED_FOR_TUNNELS ;; esac
    environment appliance/requirements.lock
    [ ! -e "$(converter_folder)/complete" ] || CELLULE_CONVERTER="$(converter_folder)/bin/python"
    export CELLULE_CONVERTER
    exec python -m appliance.supervisor "$@"
}

engine() {
    local model='' name='' state=$STATE
    while [ $# -gt 0 ]; do
        [ $# -gt 1 ] || die "$1 needs a value" "./build.sh help shows the form."
        case "$1" in
            --model) model=$(cd "$CALLED_FROM" && realpath -m -- "$2") ;;
            --name) name=$2 ;;
            --state) state=$(realpath -m -- "$2") ;;
            *) die "engine does not know $1" "./build.sh help shows the form." ;;
        esac
        shift 2
    done
    [ -n "$model" ] && [ -n "$name" ] || die "engine needs --model FILE.gguf and --name NAME" "./build.sh help shows the form."
    # the name becomes part of a file's name
    [[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] || die "'$name' can't be a model's name" "Use letters, digits, dots and dashes."
    [ -f "$model" ] || die "there is no model file $model" "Name a GGUF file: --model FILE.gguf"
    [ -d "$state/run" ] || die "no box runs from $state" "Start it first (./build.sh run), or name its directory: --state DIR"
    [ -w "$state/run" ] || die "the box in $state belongs to another user" "Repeat the command as the user who started the box."
    packages NEEDED_TO_RUN
    environment appliance/requirements.lock
    exec python -m appliance.engines --model "$model" --name "$name" --listen "unix:$state/run/engine-$name.sock"
}

convert() {
    local given=() value=''
    [ $# -ge 2 ] || die "convert needs FOLDER and OUT" "./build.sh help shows the form."
    given=("$(cd "$CALLED_FROM" && realpath -m -- "$1")" "$(cd "$CALLED_FROM" && realpath -m -- "$2")")
    shift 2
    while [ $# -gt 0 ]; do
        [ $# -gt 1 ] || die "$1 needs a value" "./build.sh help shows the form."
        value=$2
        [ "$1" != --state ] || value=$(cd "$CALLED_FROM" && realpath -m -- "$2")
        given+=("$1" "$value")
        shift 2
    done
    packages NEEDED_TO_RUN
    environment appliance/requirements.lock
    converter
    exec python -m appliance.models.convert "${given[@]}"
}

worker() {
    packages NEEDED_TO_RUN NEEDED_FOR_TUNNELS
    environment appliance/requirements.lock
    exec env CELLULE_WORKER_COMMAND="sudo ./build.sh worker" python -m appliance.worker "$@"
}

run_tests() {
    if [ "${1:-}" = image ]; then
        shift
        test_image "$@"
    fi
    packages NEEDED_TO_RUN NEEDED_FOR_TUNNELS NEEDED_TO_TEST
    environment tests/requirements.lock
    if [ "$(id -u)" = 0 ]; then
        # what the box does as root is tried with the very programs of the image
        packages NEEDED_FOR_THE_IMAGE
        VARIANT=small image/10-tools.sh
        FOLLOW=1 VARIANT=small image/20-base.sh "$(mktemp -d)/base.tar"
    fi
    # those of the image take an hour; they are run by name
    [ $# -gt 0 ] || set -- tests --ignore tests/image
    exec python -m pytest "$@"
}

# --- the image ------------------------------------------------------------------------------------

# only root may chroot and mount, and only on a machine that lets it
prepare_image() {
    [ "$(id -u)" = 0 ] || die "the image needs root" "Repeat as root (sudo ./build.sh …): chroot and mount are used, loop devices are not."
    packages NEEDED_TO_RUN NEEDED_FOR_THE_IMAGE
    environment "$1"
}

test_image() {
    packages NEEDED_FOR_TUNNELS NEEDED_TO_TEST
    prepare_image tests/requirements.lock
    # two lanes, for most of a machine's time on a network is waiting; each file of tests is one box's story
    case " $* " in *" tests/image"*) ;; *) set -- tests/image "$@" ;; esac
    exec python -m pytest --timeout 1800 --numprocesses 2 --dist loadfile --no-loadscope-reorder -rP "$@"
}

# image_options ARGS...: sets VARIANT, KEYS, CHANNEL, TPM, FRESH and what PUBLISH gets
image_options() {
    PUBLISH=()
    VARIANT=shipped KEYS='' CHANNEL='' TPM='' FRESH='' VERSION=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)}
    while [ $# -gt 0 ]; do
        case "$1" in
            --tpm) TPM=1 && shift && continue ;;
            --fresh) FRESH=1 && shift && continue ;;
        esac
        [ $# -gt 1 ] || die "$1 needs a value, or is not known" "./build.sh help shows the form."
        case "$1" in
            --variant) VARIANT=$2 ;;
            --keys) KEYS=$(cd "$CALLED_FROM" && realpath -m -- "$2") ;;
            --channel) CHANNEL=$(cd "$CALLED_FROM" && realpath -m -- "$2") ;;
            --notes-en | --notes-fr) PUBLISH+=("$1" "$(cd "$CALLED_FROM" && realpath -m -- "$2")") ;;
            --wave | --min-version) PUBLISH+=("$1" "$2") ;;
            *) die "$1 is not known here" "./build.sh help shows the form." ;;
        esac
        shift 2
    done
    export VARIANT OUT="$PWD/build/image"
}

image() {
    image_options "$@"
    prepare_image appliance/requirements.lock
    if [ -z "$KEYS" ]; then
        KEYS="$CACHE/development-keys"
        image/keys.sh "$KEYS"
        say "signed with this machine's own development keys ($KEYS): for trying out, not for customers"
        # to try it out, any day's packages will do; a release takes exactly those of the lock, or stops
        export FOLLOW=1
    fi
    [ -e "$KEYS/bundle.key" ] || die "there are no keys in $KEYS" "image/keys.sh DIR makes them; image/README.md says what each is for."
    image/make.sh "$VERSION" "$KEYS"
}

boot() {
    image_options "$@"
    prepare_image appliance/requirements.lock
    TPM=$TPM FRESH=$FRESH exec image/boot.sh "$VERSION"
}

release() {
    [ $# -gt 0 ] || die "release needs a version" "./build.sh release 1.4.2 --keys DIR --channel DIR"
    VERSION=$1
    shift
    image_options "$@"
    [ -n "$KEYS" ] && [ -n "$CHANNEL" ] || die "release needs --keys DIR and --channel DIR" "image/README.md says what belongs there."
    prepare_image appliance/requirements.lock
    image/make.sh "$VERSION" "$KEYS"
    python -m appliance.updating.publish --version "$VERSION" --bundle "$OUT/cellule-$VERSION-$VARIANT.raucb" \
        --channel "$CHANNEL" --keys "$KEYS/channel" "${PUBLISH[@]}"
}

bench() {
    packages NEEDED_TO_RUN NEEDED_FOR_TUNNELS NEEDED_TO_TEST
    if [ "${1:-image}" = image ]; then
        prepare_image tests/requirements.lock
    else
        environment tests/requirements.lock
    fi
    exec python -m tests.bench "$@"
}

lock() {
    if [ "${1:-}" = drivers ]; then
        VARIANT=shipped exec image/45-drivers.sh --lock
    fi
    if [ "${1:-}" = image ]; then
        prepare_image tests/requirements.lock
        for variant in small shipped; do
            VARIANT=$variant image/10-tools.sh
            VARIANT=$variant image/20-base.sh --lock
        done
        return
    fi
    environment tests/requirements.lock
    local compile=(uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate)
    "${compile[@]}" pyproject.toml -o appliance/requirements.lock
    "${compile[@]}" pyproject.toml --group test -o tests/requirements.lock
    "${compile[@]}" --group pyproject.toml:wheel -o hwprofiles/wheels/requirements.lock
    # torch's wheels for CPU lie in PyTorch's own index, or where UV_FIND_LINKS says
    "${compile[@]}" --torch-backend cpu --no-emit-package torchvision --group pyproject.toml:conversion \
        -o hwprofiles/wheels/conversion.lock
}

command=${1:-help}
shift || true
# nothing is set up for who asks how a command is called; the others have a help of their own
case "$command ${1:-}" in
    *" -h" | *" --help") case "$command" in python | test | bench | worker) ;; *) set -- && command=help ;; esac ;;
esac
case "$command" in
    run) run "$@" ;;
    engine) engine "$@" ;;
    convert) convert "$@" ;;
    converter) packages NEEDED_TO_RUN && converter && echo "$CELLULE_CONVERTER" ;;
    python) packages NEEDED_TO_RUN && environment appliance/requirements.lock && cd "$CALLED_FROM" && exec python "$@" ;;
    worker) worker "$@" ;;
    test) run_tests "$@" ;;
    bench) bench "$@" ;;
    image) image "$@" ;;
    boot) boot "$@" ;;
    release) release "$@" ;;
    lock) lock "$@" ;;
    help | -h | --help) usage ;;
    *) usage >&2; die "there is no command '$command'" ;;
esac
