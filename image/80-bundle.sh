#!/usr/bin/env bash
# Step 8: the signed update bundle, which RAUC streams: blocks that the box has in a slot are not fetched.
#
#   80-bundle.sh VERSION KEYS    $OUT gets cellule-VERSION-VARIANT.raucb
source "$(dirname "$0")/where.sh"

VERSION=$1 KEYS=$2 BUNDLE="$WORK/bundle" TARGET="$OUT/cellule-$VERSION-$VARIANT.raucb"

rm -rf "$BUNDLE" "$TARGET" && mkdir -p "$BUNDLE"
cp "$WORK"/slot/{verity.img,kernel.efi,kernel.sha256,root.addon.efi,uuids} "$BUNDLE/"
ln "$WORK/slot/root.img" "$BUNDLE/root.img"
install -m755 "$IMAGE/bundle-hook" "$BUNDLE/hook"
echo "$VERSION" >"$BUNDLE/version"
cat >"$BUNDLE/manifest.raucm" <<MANIFEST
[update]
compatible=$COMPATIBLE
version=$VERSION

[bundle]
format=verity

[hooks]
filename=hook

[image.rootfs]
filename=root.img
adaptive=block-hash-index

[image.verity]
filename=verity.img
hooks=post-install
MANIFEST
# how a box would look at the bundle
sed "s/@COMPATIBLE@/$COMPATIBLE/; s|^path=.*|path=$KEYS/bundle-ca.pem|; /^\[handlers\]/,/^$/d; s/^bootloader=custom/bootloader=noop/" \
    "$SOURCE/rootfs/etc/rauc/system.conf" >"$WORK/rauc.conf"
in_tools --bind "$OUT" --bind "$KEYS" -- sh -euc "
    rauc bundle --cert='$KEYS/bundle.pem' --key='$KEYS/bundle.key' --mksquashfs-args='-comp zstd -Xcompression-level 3 -b 16k' \
        '$BUNDLE' '$TARGET'
    rauc --conf='$WORK/rauc.conf' info --output-format=json '$TARGET' >'$WORK/bundle.json'
" >"$WORK/bundle.log" 2>&1 || { cat "$WORK/bundle.log" >&2; die "the bundle could not be made"; }
