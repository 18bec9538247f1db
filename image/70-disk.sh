#!/usr/bin/env bash
# Step 7: the disk: ESP, slot a filled, slot b empty. The data partition is made on the machine, at its first boot.
#
#   70-disk.sh VERSION KEYS      $OUT gets cellule-VERSION-VARIANT.raw
source "$(dirname "$0")/where.sh"

VERSION=$1 KEYS=$2 SLOT="$WORK/slot" DISK="$OUT/cellule-$VERSION-$VARIANT.raw"
read -r ROOT_UUID VERITY_UUID <"$SLOT/uuids"

make_table() {
    rm -f "$DISK"
    truncate -s $((ESP_MIB + 2 * ROOT_MIB + 2 * VERITY_MIB + 2))M "$DISK"
    # types: Discoverable Partitions Specification, for x86-64
    in_tools --bind "$OUT" -- sfdisk --quiet "$DISK" <<TABLE
label: gpt
label-id: $(python3 -c "import uuid; print(uuid.uuid5(uuid.NAMESPACE_DNS, 'cellule disk $VERSION'))")
unit: sectors
start=2048, size=${ESP_MIB}MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="esp", uuid=$(python3 -c "import uuid; print(uuid.uuid5(uuid.NAMESPACE_DNS, 'cellule esp $VERSION'))")
size=${ROOT_MIB}MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=$ROOT_UUID, name="root-a", attrs="GUID:60"
size=${VERITY_MIB}MiB, type=2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5, uuid=$VERITY_UUID, name="verity-a", attrs="GUID:60"
size=${ROOT_MIB}MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name="root-b", attrs="GUID:60"
size=${VERITY_MIB}MiB, type=2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5, name="verity-b", attrs="GUID:60"
TABLE
}

make_esp() {
    local kernel="cellule_${VERSION}_a.efi"
    rm -f "$WORK/esp.img" && truncate -s "${ESP_MIB}M" "$WORK/esp.img"
    printf 'timeout 0\neditor no\nconsole-mode keep\n' >"$WORK/loader.conf"
    in_tools --bind "$WORK" --bind "$KEYS" -- sh -euc "
        export MTOOLS_SKIP_CHECK=1; cd '$WORK'
        mkfs.vfat -F32 -n ESP -i CE11001E --invariant esp.img >/dev/null
        mmd -i esp.img ::EFI ::EFI/BOOT ::EFI/systemd ::EFI/Linux ::EFI/Linux/$kernel.extra.d ::loader
        KEYS='$KEYS'; $SIGN
        sign /usr/lib/systemd/boot/efi/systemd-bootx64.efi boot.efi
        mcopy -i esp.img boot.efi ::EFI/BOOT/BOOTX64.EFI
        mcopy -i esp.img loader.conf ::loader/
        mcopy -i esp.img slot/kernel.efi ::EFI/Linux/$kernel
        mcopy -i esp.img slot/root.addon.efi ::EFI/Linux/$kernel.extra.d/
    "
}

# put FILE NUMBER: writes it into that partition, leaving holes where it has them
put() {
    local start
    start=$(in_tools --bind "$OUT" -- sfdisk --json "$DISK" | python3 -c "import json, sys; print(json.load(sys.stdin)['partitiontable']['partitions'][$2]['start'])")
    dd if="$1" of="$DISK" bs=1M oflag=seek_bytes seek=$((start * 512)) conv=notrunc,sparse status=none
}

make_table
make_esp
put "$WORK/esp.img" 0
put "$SLOT/root.img" 1
put "$SLOT/verity.img" 2
