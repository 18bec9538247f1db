#!/usr/bin/env bash
# Makes the peer of the benchmark of a start: a bare Debian 13 on a disk of its own.
#
#   bare_debian.sh KERNEL DISK      KERNEL is the version of the image's own kernel, as in usr/lib/modules
#
# It is what debootstrap installs (every package that Debian calls required or important: systemd, udev, ifupdown,
# cron, apt's timers …) with dbus and that kernel, on ext4, with Debian's own initrd (initramfs-tools), its network by
# DHCP. Firmware, systemd-boot and the form of the kernel image are those of our own disk. A unit behind
# multi-user.target says so on the serial line, then turns the machine off.
VARIANT=small
source "$(dirname "$0")/../../image/where.sh"

KERNEL=$1 DISK=$2
HERE=$(dirname "$DISK")
ESP_MIB=256 ROOT_MIB=1536

install_it() {
    sources >"$HERE/sources.list"
    cat >"$HERE/arrived.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/echo multi-user.target is reached
ExecStart=systemctl --no-block poweroff
StandardOutput=tty
TTYPath=/dev/ttyS0
[Install]
WantedBy=multi-user.target
UNIT
    printf 'auto lo\niface lo inet loopback\nallow-hotplug enp0s2\niface enp0s2 inet dhcp\n' >"$HERE/interfaces"
    cat >"$HERE/run" <<RUN
set -eu
mkdir -p /tmp/bootstrap
mmdebstrap --mode=root --variant=important --format=directory --quiet --aptopt='Acquire::Languages "none"' \\
    --dpkgopt=force-unsafe-io --include=dbus,initramfs-tools,linux-image-$KERNEL \\
    --customize-hook='copy-in $HERE/arrived.service /etc/systemd/system' \\
    --customize-hook='copy-in $HERE/interfaces /etc/network' \\
    --customize-hook='chroot "\$1" systemctl enable --quiet arrived.service' \\
    --customize-hook='echo bare >"\$1/etc/hostname"; : >"\$1/etc/machine-id"' \\
    --customize-hook='echo "PARTLABEL=root / ext4 errors=remount-ro 0 1" >"\$1/etc/fstab"' \\
    $SUITE /tmp/bootstrap/root $HERE/sources.list
cd $HERE
cp /tmp/bootstrap/root/boot/vmlinuz-$KERNEL /tmp/bootstrap/root/boot/initrd.img-$KERNEL .
mke2fs -q -t ext4 -d /tmp/bootstrap/root root.img ${ROOT_MIB}M
ukify build --linux=vmlinuz-$KERNEL --initrd=initrd.img-$KERNEL --uname=$KERNEL --output=kernel.efi \\
    --cmdline='root=PARTLABEL=root ro console=tty0 console=ttyS0,115200 quiet'
truncate -s ${ESP_MIB}M esp.img
mkfs.vfat -F32 esp.img >/dev/null
export MTOOLS_SKIP_CHECK=1
mmd -i esp.img ::EFI ::EFI/BOOT ::EFI/Linux ::loader
mcopy -i esp.img /usr/lib/systemd/boot/efi/systemd-bootx64.efi ::EFI/BOOT/BOOTX64.EFI
printf 'timeout 0\\n' | mcopy -i esp.img - ::loader/loader.conf
mcopy -i esp.img kernel.efi ::EFI/Linux/debian.efi
truncate -s $((ESP_MIB + ROOT_MIB + 4))M disk.new
printf 'label: gpt\\nsize=${ESP_MIB}MiB, type=U, name=esp\\nsize=${ROOT_MIB}MiB, type=L, name=root\\n' | sfdisk --quiet disk.new
dd if=esp.img of=disk.new bs=1M seek=1 conv=notrunc,sparse status=none
dd if=root.img of=disk.new bs=1M seek=$((1 + ESP_MIB)) conv=notrunc,sparse status=none
RUN
    in_tools --bind "$HERE" -- sh "$HERE/run"
}

mkdir -p "$HERE"
"$IMAGE/10-tools.sh"
install_it >"$HERE/log" 2>&1 || { tail -n 20 "$HERE/log" >&2; die "the bare Debian could not be made" "The whole log: $HERE/log"; }
mv "$HERE/disk.new" "$DISK"
rm -f "$HERE"/{root.img,esp.img,kernel.efi}
