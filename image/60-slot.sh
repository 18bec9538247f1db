#!/usr/bin/env bash
# Step 6: what one slot holds: the root as erofs, its verity tree, the kernel image and the addon that names the root.
#
#   60-slot.sh VERSION KEYS      $WORK/slot gets root.img verity.img roothash uuids kernel.efi root.addon.efi
#
# The root hash stands in an addon of the kernel image, not in the image itself: the image stays the same bytes from
# release to release as long as kernel and initrd do, and an update doesn't fetch it again.
source "$(dirname "$0")/where.sh"

VERSION=$1 KEYS=$2 SLOT="$WORK/slot"

# console= comes last on the serial line, so that is where the kernel's own words go; tty1 is the console program's.
# Of the kernel's security modules those that have something to do here: no unit has a policy for the others.
# A root that fails its check is not read on: the machine restarts, and tries used up are the other slot's turn.
COMMAND_LINE="rootfstype=erofs ro console=tty0 console=ttyS0,115200 panic=5 rd.shell=0 rd.emergency=reboot quiet loglevel=4
    lsm=lockdown,yama,landlock systemd.show_status=no systemd.gpt_auto=no systemd.verity_root_options=panic-on-corruption systemd.machine_id=firmware"

# 128 bits of the root hash as a UUID: the partition's own identity says what must be in it
# (Discoverable Partitions Specification)
as_uuid() { echo "$1" | sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/\1-\2-\3-\4-\5/'; }

rm -rf "$SLOT" && mkdir -p "$SLOT"
# no version in it: systemd-boot sorts by the file's name then, which has the version
grep -v '^IMAGE_VERSION=' "$ROOT/usr/lib/os-release" >"$WORK/os-release"

in_tools --bind "$WORK" --bind "$KEYS" -- sh -euc "
    cd '$SLOT'
    KEYS='$KEYS'; $SIGN
    mkfs.erofs -zlz4hc,9 -C16384 -T $SOURCE_DATE_EPOCH --all-time -U clear --quiet root.img '$ROOT'
    truncate -s %4096 root.img
    veritysetup format --salt=\$(echo cellule $VERSION | sha256sum | cut -c1-64) \
        --uuid=\$(python3 -c 'import uuid; print(uuid.uuid5(uuid.NAMESPACE_DNS, \"cellule $VERSION\"))') \
        --root-hash-file=roothash root.img verity.img >verity.txt
    ukify build --linux='$WORK/vmlinuz' --initrd='$WORK/initrd.img' --os-release=@'$WORK/os-release' \
        --uname=\$(ls '$ROOT/usr/lib/modules') --cmdline='$(echo $COMMAND_LINE)' --output=unsigned.efi
    sign unsigned.efi kernel.efi
    ukify build --cmdline=\"roothash=\$(cat roothash)\" --stub=/usr/lib/systemd/boot/efi/addonx64.efi.stub --output=unsigned.addon.efi
    sign unsigned.addon.efi root.addon.efi
    rm unsigned*
" >"$WORK/slot.log" 2>&1 || { cat "$WORK/slot.log" >&2; die "the slot could not be made"; }

hash=$(cat "$SLOT/roothash")
echo "$(as_uuid "$hash") $(as_uuid "${hash:32}")" >"$SLOT/uuids"
(cd "$SLOT" && sha256sum kernel.efi >kernel.sha256)
