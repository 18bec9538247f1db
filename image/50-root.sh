#!/usr/bin/env bash
# Step 5: the root as it will be read for years: Debian's half, Python's half, rootfs/ and our own packages.
#
#   50-root.sh VERSION BASE.tar KEYS     makes $ROOT; KEYS is a folder as image/README.md describes it
source "$(dirname "$0")/where.sh"

VERSION=$1 BASE=$2 KEYS=$3

# our own files as git knows them: what lies about in a working tree must not get into a release, but into what is tested
own_files() { git -C "$SOURCE" ls-files -z --cached ${WORKING_TREE:+--others --exclude-standard} -- "$@"; }

copy_own_files() {
    own_files appliance webadmin hwprofiles \
        | (cd "$SOURCE" && tar --null -T - -cf - --ignore-failed-read) | tar -xf - -C "$ROOT/usr/lib/cellule"
    own_files rootfs | (cd "$SOURCE" && tar --null -T - -cf - --owner=0 --group=0) \
        | tar -xf - -C "$ROOT" --strip-components=1 --no-overwrite-dir
    rm -rf "$ROOT"/usr/lib/cellule/{webadmin/pictures,appliance/decisions,appliance/models/demo/corpus}
}

# only what makes, updates or documents Debian's half, and what an appliance without a shell has no use for
take_out() {
    rm -rf "$ROOT"/boot/* "$ROOT"/var/{cache,lib/apt,lib/dpkg,log,backups}/* "$ROOT"/usr/lib/dracut \
        "$ROOT"/usr/lib/modules/*/{build,source} "$ROOT"/usr/share/{man,locale,info,bash-completion,zsh,lintian,bug,menu} \
        "$ROOT"/usr/lib/python3/dist-packages "$ROOT"/usr/lib/python3*/{ensurepip,idlelib,pydoc_data,lib2to3,test} \
        "$ROOT"/etc/{cron.*,apt,dpkg,logrotate.d,init.d,rc?.d,fstab} "$ROOT"/usr/lib/cellule/site-packages/{bin,pip,pip-*}
    # of the world's languages those of the pages
    find "$ROOT/usr/lib/cellule/site-packages/babel/locale-data" -type f ! -name 'root.*' ! -name 'en*' ! -name 'fr*' -delete
    # each is a program that every start waits for, and what it looks for is never here
    rm -f "$ROOT"/usr/lib/systemd/system-generators/{rpc-pipefs,systemd-{debug,getty,gpt-auto,hibernate-resume,integritysetup}}-generator \
        "$ROOT"/usr/lib/systemd/system-generators/systemd-{rc-local,run,ssh,system-update,sysv}-generator
    # they were needed to make the initrd
    find "$ROOT/usr/lib/systemd" -name 'dracut-*' -delete
    find "$ROOT/usr/lib" -name __pycache__ -type d -prune -exec rm -rf {} +
}

name_the_release() {
    sed -i '/^IMAGE_/d' "$ROOT/usr/lib/os-release"
    printf 'IMAGE_ID=cellule\nIMAGE_VERSION=%s\nVARIANT_ID=%s\n' "$VERSION" "$VARIANT" >>"$ROOT/usr/lib/os-release"
    : >"$ROOT/etc/machine-id"
    echo cellule >"$ROOT/etc/hostname"
    ln -sf ../run/systemd/resolve/resolv.conf "$ROOT/etc/resolv.conf"
    ln -sf ../run/cellule-machine/localtime "$ROOT/etc/localtime"
    mkdir -p "$ROOT"/{data,efi} "$ROOT/etc/cellule"
    sed -i "s/@COMPATIBLE@/$COMPATIBLE/" "$ROOT/etc/rauc/system.conf"
}

# public halves only: what this box will believe
install_trust() {
    install -m644 "$KEYS/bundle-ca.pem" "$ROOT/etc/rauc/ca.pem"
    install -D -m644 "$KEYS/channel/root.json" "$ROOT/usr/lib/cellule/channel/root.json"
    install -D -m644 "$KEYS/support.pub" "$ROOT/usr/lib/cellule/vendor/support.pub"
}

finish_inside() {
    in_tools --bind "$ROOT" -- sh -euc "
        systemd-sysusers --root='$ROOT'
        find '$ROOT/usr/lib/modules' -name '*.ko.xz' -print0 | xargs -0 -r -n64 -P2 xz -d
        depmod -b '$ROOT' \$(ls '$ROOT/usr/lib/modules')
        PYTHONDONTWRITEBYTECODE=1 PYTHONPATH='$ROOT/usr/lib/cellule/site-packages' python3 -m babel.messages.frontend -q compile -d '$ROOT/usr/lib/cellule/webadmin/translations'
        # last, or stale code would run; without time stamps, for those of the image are all the same
        python3 -m compileall -q -f -j2 --invalidation-mode unchecked-hash -s '$ROOT' '$ROOT'/usr/lib/python3.13 '$ROOT'/usr/lib/cellule || true
    "
    rm -f "$ROOT"/etc/{passwd-,group-,shadow-,gshadow-,.pwd.lock} "$ROOT/etc/ld.so.cache~"
    # a date of last change is a date of building
    sed -i -E 's/^([^:]*:[^:]*):[0-9]*:/\1:20000:/' "$ROOT/etc/shadow"
}

rm -rf "$ROOT" && mkdir -p "$ROOT"
tar --xattrs --xattrs-include='*' --numeric-owner -C "$ROOT" -xf "$BASE"
"$IMAGE/45-drivers.sh" "$ROOT" "$WORK/drivers.lock"
mkdir -p "$ROOT/usr/lib/cellule"
copy_own_files
"$IMAGE/40-wheels.sh" "$ROOT/usr/lib/cellule"
take_out
name_the_release
install_trust
# tests build releases that differ, or fail, on purpose
[ -z "${OVERLAY:-}" ] || cp -a "$OVERLAY/." "$ROOT/"
finish_inside
"$IMAGE/sbom.py" --root "$ROOT" --packages "$WORK/packages.lock" --drivers "$WORK/drivers.lock" --version "$VERSION" --variant "$VARIANT" \
    --out "$ROOT/usr/lib/cellule/sbom.cdx.json"
cp "$ROOT/usr/lib/cellule/sbom.cdx.json" "$OUT/cellule-$VERSION-$VARIANT.cdx.json"
