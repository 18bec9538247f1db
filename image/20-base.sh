#!/usr/bin/env bash
# Step 2: the Debian half of the root, as a tar file: exactly the packages of packages/VARIANT.lock.
#
#   20-base.sh BASE.tar          FOLLOW=1 takes what the mirror has now and tells what differs from the lock
#   20-base.sh --lock            writes the lock anew from what the mirror has now
#
# The tar is cached by the hash of what it is made from, and its own hash is checked at every use.
source "$(dirname "$0")/where.sh"

LOCK="$IMAGE/packages/$VARIANT.lock"

wanted_packages() { names_in "$IMAGE/packages/root.txt"; names_in "$IMAGE/packages/$VARIANT.txt"; }
locked_packages() { names_in "$LOCK" | sed -n 's/^\(.*=.*\)$/\1/p'; }

# bootstrap FOLDER PACKAGE...: leaves base.tar and packages.lock in FOLDER
bootstrap() {
    local folder=$1
    shift
    rm -rf "$folder" && mkdir -p "$folder"
    sources >"$folder/sources.list"
    # the lock needs the hash of each package file, which only apt's lists have, and only while it installs
    cat >"$folder/write-lock" <<'HOOK'
#!/bin/sh
set -eu
dpkg-query --root="$1" -W -f '${Package}=${Version} ${Architecture}\n' | sort >"$1/../installed"
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-cache dumpavail | awk '
    /^Package: / { package = $2 } /^Version: / { version = $2 } /^Architecture: / { architecture = $2 }
    /^SHA256: / { print package "=" version " " architecture " sha256:" $2 }' | sort >"$1/../available"
HOOK
    cat >"$folder/run" <<RUN
#!/bin/sh
set -eu
mkdir /tmp/root
mmdebstrap --mode=root --variant=essential --format=directory --quiet \\
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \\
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \\
    --dpkgopt='path-include=/usr/share/doc/*/copyright' --dpkgopt='path-exclude=/usr/share/locale/*' \\
    --dpkgopt='path-exclude=/usr/share/i18n/*' --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt=force-unsafe-io \\
    --essential-hook='mkdir -p "\$1/etc/kernel"; echo layout=none >"\$1/etc/kernel/install.conf"' \\
    --customize-hook='sh $folder/write-lock "\$1"' \\
    --include="\$(cat $folder/include)" $SUITE /tmp/bootstrap/root $folder/sources.list
cp /tmp/bootstrap/installed /tmp/bootstrap/available $folder/
tar --numeric-owner --xattrs --xattrs-include='*' --sort=name -C /tmp/bootstrap/root -cf $folder/base.tar .
RUN
    sed -i 's|^mkdir /tmp/root$|mkdir -p /tmp/bootstrap|' "$folder/run"
    printf '%s,' "$@" | sed 's/,$//' >"$folder/include"
    in_tools --bind "$folder" -- sh "$folder/run" >&2 || return 1
    join -j1 <(sed 's/ /|/' "$folder/installed") <(sed 's/ /|/' "$folder/available" | sort) | tr '|' ' ' >"$folder/packages.lock"
    (cd "$folder" && sha256sum base.tar packages.lock >sha256)
}

tell_what_moved() {
    local moved
    moved=$(diff <(grep -v '^#' "$LOCK") "$1" | grep '^[<>]' | cut -c1-100) || true
    [ -z "$moved" ] || { say "the mirror has moved on since $(basename "$LOCK") was written:"; echo "$moved" >&2; }
}

write_lock() {
    local folder="$CACHE/lock-$VARIANT"
    mapfile -t packages < <(wanted_packages)
    bootstrap "$folder" "${packages[@]}" || die "the packages could not be installed" "The lines above say why."
    {
        echo "# Every Debian package of the $VARIANT image: name=version architecture hash of the package's file."
        cat "$folder/packages.lock"
    } >"$LOCK"
    say "$(basename "$LOCK"): $(grep -vc '^#' "$LOCK") packages"
}

main() {
    if [ "${1:-}" = --lock ]; then write_lock; return; fi
    local target=$1 folder packages
    folder="$CACHE/base-$VARIANT-$(cat "$LOCK" "$IMAGE/20-base.sh" "$IMAGE/packages/root.txt" "$IMAGE/packages/$VARIANT.txt" | sha256sum | cut -c1-16)"
    if ! (cd "$folder" 2>/dev/null && sha256sum --status -c sha256); then
        say "installing the Debian packages of the $VARIANT image, once: about a minute"
        mapfile -t packages < <(grep -v '^#' "$LOCK" | cut -d' ' -f1)
        if ! bootstrap "$folder.new" "${packages[@]}"; then
            [ -n "${FOLLOW:-}" ] || die "the mirror no longer has the packages of $(basename "$LOCK")" \
                "./build.sh lock image writes the lock anew; FOLLOW=1 builds once with what the mirror has."
            mapfile -t packages < <(wanted_packages)
            bootstrap "$folder.new" "${packages[@]}" || die "the packages could not be installed" "The lines above say why."
        fi
        tell_what_moved "$folder.new/packages.lock"
        rm -rf "$folder"
        mv "$folder.new" "$folder"
    fi
    ln -sf "$folder/base.tar" "$target"
    cp "$folder/packages.lock" "$(dirname "$target")/packages.lock"
}

main "$@"
