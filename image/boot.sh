#!/usr/bin/env bash
# Starts a built image as a virtual machine, with its console here and its doors on this machine's loopback.
#
#   VARIANT=small boot.sh VERSION        TPM=1 gives it a TPM, FRESH=1 a new disk instead of the last run's
source "$(dirname "$0")/where.sh"

VERSION=$1 DISK="$OUT/cellule-$1-$VARIANT.raw" MACHINE="$OUT/machine-$VARIANT"
PORT=${PORT:-8443}
[ -e "$DISK" ] || die "there is no image $DISK" "./build.sh image --variant $VARIANT builds it."
[ -z "${FRESH:-}" ] || rm -rf "$MACHINE"
mkdir -p "$MACHINE/tpm"

"$IMAGE/10-tools.sh"
[ -e "$MACHINE/disk.qcow2" ] || in_tools --bind "$OUT" -- qemu-img create -q -f qcow2 -F raw -b "$DISK" "$MACHINE/disk.qcow2" 16G
[ -e "$MACHINE/vars.fd" ] || cp "$TOOLS/usr/share/OVMF/OVMF_VARS_4M.fd" "$MACHINE/vars.fd"

arguments=(
    -machine q35 -smp 2 -m 4096 -nodefaults -no-user-config -display none -serial mon:stdio
    -drive "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"
    -drive "if=pflash,format=raw,unit=1,file=$MACHINE/vars.fd"
    -drive "if=none,id=disk,format=qcow2,discard=unmap,file=$MACHINE/disk.qcow2" -device virtio-blk-pci,drive=disk
    -netdev "user,id=lan,hostfwd=tcp:127.0.0.1:$PORT-:443,hostfwd=udp:127.0.0.1:51820-:51820"
    -device virtio-net-pci,netdev=lan,romfile= -device virtio-rng-pci -device i6300esb -action watchdog=reset
    -uuid "$(cat "$MACHINE/uuid" 2>/dev/null || { cat /proc/sys/kernel/random/uuid | tee "$MACHINE/uuid"; })"
)
if [ -c /dev/kvm ] && (: <>/dev/kvm) 2>/dev/null; then
    arguments+=(-accel kvm -cpu host)
else
    # without these instructions it is emulated faster: a hash in a third of the time
    arguments+=(-accel tcg,thread=multi,tb-size=1024 -cpu max,avx=off,avx2=off,bmi1=off,bmi2=off,f16c=off,fma=off,sha-ni=off
        -smbios "type=11,value=io.systemd.stub.kernel-cmdline-extra=mitigations=off tsc=reliable no_timer_check")
    say "no KVM here: the machine is emulated, and takes about a minute to start"
fi
if [ -n "${TPM:-}" ]; then
    in_tools --bind "$MACHINE" -- swtpm socket --tpm2 --tpmstate "dir=$MACHINE/tpm" --ctrl "type=unixio,path=$MACHINE/tpm.sock" --daemon
    arguments+=(-chardev "socket,id=chip,path=$MACHINE/tpm.sock" -tpmdev emulator,id=tpm,chardev=chip -device tpm-crb,tpmdev=tpm)
fi
say "open https://127.0.0.1:$PORT and type the claim code that this console will show; Ctrl-A X turns the machine off"
IN_TOOLS_EXEC=exec in_tools --bind "$OUT" -- qemu-system-x86_64 "${arguments[@]}"
