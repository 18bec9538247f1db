# Where things are, for every step of this folder: source it after setting VARIANT.
#
#   VARIANT   small (cloud kernel, for quick tests) or shipped (every driver and firmware)
#   CACHE     outlives builds; each entry is named by the hash of what it was made from
#   OUT       what the build leaves: disk, bundle, SBOM

set -euo pipefail
shopt -s inherit_errexit

IMAGE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SOURCE=$(dirname "$IMAGE")
VARIANT=${VARIANT:-small}
CACHE="${CELLULE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cellule}"
OUT=${OUT:-$SOURCE/build/image}
TOOLS="$CACHE/tools-$(cat "$IMAGE/packages/tools.txt" "$IMAGE/10-tools.sh" | sha256sum | cut -c1-16)"
# every time stamp in the image: two builds of one commit are the same bytes
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1767225600} # 2026-01-01T00:00:00Z
SUITE=trixie

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf '\n\033[31mStopped:\033[0m %s\n%s\n' "$1" "${2:-}" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "building the image needs root" "Repeat as root: chroot and mount are used, loop devices are not."

# the names in a list of packages, without its comments
names_in() { sed -e 's/#.*//' -e '/^\s*$/d' "$1" | tr -s ' \n' '\n'; }

# mirror_of LABEL: the address that this machine's own apt uses for Debian or for Debian-Security
mirror_of() {
    local found
    found=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' \
        | awk -v label="$1" '$1 == "Debian" && $2 == label { print $3; exit }')
    [ -n "$found" ] || die "this machine's apt knows no mirror of $1" "Run apt-get update; a Debian 12 or 13 with its usual sources is needed."
    echo "$found"
}

# what mmdebstrap installs from: Debian 13 and its kernel of backports, from the mirror of this machine
sources() {
    local debian security components='main contrib non-free non-free-firmware'
    debian=$(mirror_of Debian)
    security=$(mirror_of Debian-Security)
    printf 'deb %s %s %s\n' "$debian" "$SUITE" "$components" "$debian" "$SUITE-updates" "$components" \
        "$security" "$SUITE-security" "$components" "$debian" "$SUITE-backports" "$components"
}

# in_tools [--bind FOLDER]... -- COMMAND...: runs it inside the tools root, in mounts of its own that end with it.
# Each folder stands in there at the same path as out here.
in_tools() {
    local folders=()
    while [ "$1" = --bind ]; do folders+=("$2"); shift 2; done
    shift
    # exec: whoever waits for or kills this process has the command itself
    "${IN_TOOLS_EXEC:-command}" unshare --mount --propagation private bash -c '
        set -euo pipefail
        tools=$1; shift
        mount --bind "$tools" "$tools"
        mount -t proc proc "$tools/proc"
        mount --rbind /sys "$tools/sys"
        mount --rbind /dev "$tools/dev"
        mount -t tmpfs tmpfs "$tools/tmp"
        mount -t tmpfs tmpfs "$tools/run"
        while [ "$1" != -- ]; do mkdir -p "$tools$1"; mount --bind "$1" "$tools$1"; shift; done
        shift
        cp -L /etc/resolv.conf "$tools/etc/resolv.conf"
        exec chroot "$tools" "$@"
    ' _ "$TOOLS" "${folders[@]}" -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TMPDIR=/tmp \
        SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" VARIANT="$VARIANT" "$@"
}

# --- the shape of the disk: slots with room for four times what lies in them today ---
case "$VARIANT" in
    small) ESP_MIB=256 ROOT_MIB=1024 VERITY_MIB=16 ;;
    shipped) ESP_MIB=512 ROOT_MIB=3584 VERITY_MIB=48 ;;
    *) die "there is no variant '$VARIANT'" "small or shipped." ;;
esac
COMPATIBLE="cellule-x86-64-$VARIANT" # a bundle for another one is refused by RAUC
WORK="$OUT/work"
ROOT="$WORK/root"

# a shell function for the tools root: sign FILE SIGNED. The time of signing is part of a signature, so it is fixed, too.
SIGN='sign() { faketime -f "@2026-01-01 00:00:00" sbsign --key "$KEYS/secureboot.key" --cert "$KEYS/secureboot.pem" --output "$2" "$1"; }'
