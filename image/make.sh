#!/usr/bin/env bash
# All steps in order: VERSION and KEYS in, disk and bundle out, with what they weigh and how long they took.
#
#   VARIANT=small make.sh VERSION KEYS
source "$(dirname "$0")/where.sh"

VERSION=$1 KEYS=$2
# as the boxes order them: 1.4.0~rc1 comes before 1.4.0
[[ $VERSION =~ ^[0-9]+\.[0-9]+\.[0-9]+(~[A-Za-z0-9.]+)?$ ]] || die "'$VERSION' is not a version" "Like 1.4.2, or 1.4.2~rc1 before it."
mkdir -p "$OUT" "$WORK"

step() {
    local started=$EPOCHREALTIME title=$1
    shift
    "$@"
    printf '  %-34s %6.1f s\n' "$title" "$(awk "BEGIN { print $EPOCHREALTIME - $started }")" >&2
}

size() { numfmt --to=iec --format='%.1f' "$(stat -c %s "$1")"; }

say "building Cellule $VERSION ($VARIANT)"
step "tools root" "$IMAGE/10-tools.sh"
step "Debian packages" "$IMAGE/20-base.sh" "$WORK/base.tar"
step "initrd" "$IMAGE/30-initrd.sh" "$WORK/base.tar" "$WORK"
step "root" "$IMAGE/50-root.sh" "$VERSION" "$WORK/base.tar" "$KEYS"
step "slot" "$IMAGE/60-slot.sh" "$VERSION" "$KEYS"
[ -n "${ONLY_BUNDLE:-}" ] || step "disk" "$IMAGE/70-disk.sh" "$VERSION" "$KEYS"
step "bundle" "$IMAGE/80-bundle.sh" "$VERSION" "$KEYS"

cat >&2 <<TEXT

  Cellule $VERSION ($VARIANT), kernel $(ls "$ROOT/usr/lib/modules"), $(grep -vc '^#' "$WORK/packages.lock") Debian packages
  root hash      $(cat "$WORK/slot/roothash")
  root           $(size "$WORK/slot/root.img")  verity $(size "$WORK/slot/verity.img")  kernel image $(size "$WORK/slot/kernel.efi")
  bundle         $(size "$OUT/cellule-$VERSION-$VARIANT.raucb")  $OUT/cellule-$VERSION-$VARIANT.raucb
TEXT
[ -n "${ONLY_BUNDLE:-}" ] || echo "  disk           $(du -h "$OUT/cellule-$VERSION-$VARIANT.raw" | cut -f1) of $(size "$OUT/cellule-$VERSION-$VARIANT.raw")  $OUT/cellule-$VERSION-$VARIANT.raw" >&2
