#!/usr/bin/env bash
# Step 4b: the drivers outside of the kernel that Debian 13 doesn't have, from packages that their makers publish.
#
#   45-drivers.sh ROOT DRIVERS.lock   installs exactly the packages of packages/VARIANT-drivers.lock, and copies that
#   45-drivers.sh --lock              writes that lock anew from the packages that lie in $DRIVERS
#
# They are found in $DRIVERS by their hash. An empty lock makes an image without them, which is told.
source "$(dirname "$0")/where.sh"

LOCK="${DRIVERS_LOCK:-$IMAGE/packages/$VARIANT-drivers.lock}"
DRIVERS="${DRIVERS:-$CACHE/drivers}"

write_lock() {
    local file
    compgen -G "$DRIVERS/*.deb" >/dev/null || die "there are no packages (*.deb) in $DRIVERS" "image/README.md says where they come from."
    {
        sed -n '/^#/p' "$LOCK"
        for file in "$DRIVERS"/*.deb; do
            # shellcheck disable=SC2016
            dpkg-deb --show --showformat='${Package}=${Version} ${Architecture} ' "$file"
            echo "sha256:$(sha256sum <"$file" | cut -d' ' -f1)"
        done | sort
    } >"$LOCK.new"
    mv "$LOCK.new" "$LOCK"
    say "$(basename "$LOCK"): $(grep -vc '^#' "$LOCK") packages"
}

# file_of HASH: the package in $DRIVERS with that hash
file_of() { (cd "$DRIVERS" 2>/dev/null && sha256sum -- *.deb 2>/dev/null) | awk -v hash="$1" '$1 == hash { print $2; exit }'; }

install_into() {
    local root=$1 package architecture digest file files=()
    while read -r package architecture digest; do
        file=$(file_of "${digest#sha256:}")
        [ -n "$file" ] || die "$package ($architecture) of $(basename "$LOCK") is not in $DRIVERS, or not with that hash" \
            "Put it there (DRIVERS=FOLDER names another folder); image/README.md says where it comes from."
        files+=("$DRIVERS/$file")
    done < <(pinned)
    in_tools --bind "$root" --bind "$DRIVERS" -- dpkg --root="$root" --force-unsafe-io --path-exclude='/usr/share/man/*' \
        --install "${files[@]}" >&2 || die "the drivers could not be installed" "dpkg's lines above say why."
}

pinned() { sed -e 's/#.*//' -e '/^\s*$/d' "$LOCK"; }

main() {
    if [ "$1" = --lock ]; then write_lock; return; fi
    local root=$1 copy=$2
    : >"$copy"
    [ -e "$LOCK" ] || return 0
    if [ -z "$(pinned)" ]; then
        say "no drivers are pinned in $(basename "$LOCK"): Intel's NPU and graphics will not be used (image/README.md, Drivers)"
        return
    fi
    install_into "$root"
    cp "$LOCK" "$copy"
}

main "$@"
