#!/usr/bin/env bash
# Step 3: the initrd, which opens the verified root and nothing else. It depends on Debian's packages alone, so
# a release that changes only our code ships the same one.
#
#   30-initrd.sh BASE.tar FOLDER     FOLDER gets initrd.img and vmlinuz
source "$(dirname "$0")/where.sh"

MODULES='systemd systemd-initrd systemd-udevd systemd-modules-load systemd-veritysetup base fs-lib shutdown
    kernel-modules rootfs-block udev-rules dm'
DRIVERS='virtio_pci virtio_blk virtio_scsi sd_mod nvme ahci usb_storage uas xhci_pci mmc_block sdhci_pci
    erofs dm_verity dm_mod i6300esb iTCO_wdt'

LATER='tty vc mem memory misc bdi workqueue input leds rtc thermal'

main() {
    local base=$1 target=$2 folder
    folder="$CACHE/initrd-$VARIANT-$( (sha256sum <"$base"; cat "$IMAGE/30-initrd.sh") | sha256sum | cut -c1-16)"
    if ! (cd "$folder" 2>/dev/null && sha256sum --status -c sha256); then
        say "making the initrd"
        rm -rf "$folder" "$folder.new" && mkdir -p "$folder.new/root"
        tar --xattrs --xattrs-include='*' --numeric-owner -C "$folder.new/root" -xf "$base"
        mkdir -p "$folder.new/root/etc/systemd/system.conf.d"
        # a hang before the root is open must end in a reboot, too
        printf '[Manager]\nRuntimeWatchdogSec=2min\n' >"$folder.new/root/etc/systemd/system.conf.d/watchdog.conf"
        # the disk first; a terminal, and all that lies open anyway, can wait for the root's own udev
        mkdir -p "$folder.new/root/etc/systemd/system/systemd-udev-trigger.service.d"
        printf '[Service]\nExecStart=\nExecStart=-udevadm trigger --type=devices --action=add %s\n' \
            "--prioritized-subsystem=pci,virtio,block $(printf -- '--subsystem-nomatch=%s ' $LATER)" \
            >"$folder.new/root/etc/systemd/system/systemd-udev-trigger.service.d/disk.conf"
        in_tools --bind "$folder.new" -- sh -euc "
            cd '$folder.new/root'
            mount -t proc proc proc; mount --rbind /dev dev
            for folder in tmp run var/tmp; do mount -t tmpfs tmpfs \$folder; done
            kernel=\$(ls usr/lib/modules)
            chroot . env TMPDIR=/tmp SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH dracut --quiet --force --no-hostonly --no-hostonly-cmdline \
                --early-microcode --reproducible --kver \$kernel --modules '$(echo $MODULES)' --add-drivers '$(echo $DRIVERS)' \
                --filesystems erofs --install /etc/systemd/system.conf.d/watchdog.conf \
                --install /etc/systemd/system/systemd-udev-trigger.service.d/disk.conf --zstd /tmp/initrd.img
            cp tmp/initrd.img '$folder.new/initrd.img'
            cp boot/vmlinuz-\$kernel '$folder.new/vmlinuz'
        " >&2 || die "the initrd could not be made" "The lines above say why."
        rm -rf "$folder.new/root"
        (cd "$folder.new" && sha256sum initrd.img vmlinuz >sha256)
        mv "$folder.new" "$folder"
    fi
    cp "$folder/initrd.img" "$folder/vmlinuz" "$target/"
}

main "$@"
