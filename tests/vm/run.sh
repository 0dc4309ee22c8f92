#!/bin/sh
# nt as a service of Debian, in a virtual machine with a disk of its own: `make vm-check`, as root.
#   tests/vm/run.sh NT systemd|openrc
# The machine is built once, in target/vm, of the packages of this machine's release (to build it anew: remove that
# folder). They are unpacked, and nothing of them, a service manager least of all, ever runs outside. It has no network.
# What is checked stands in inside-*.sh, which runs there at two boots of one disk; NT is put in at each.
set -eu
nt=$1 system=$2
here=$(cd "$(dirname "$0")" && pwd)
vm=$here/../../target/vm

missing=
for need in qemu-system-x86_64:qemu-system-x86 cpio:cpio mke2fs:e2fsprogs apt-get:apt dpkg:dpkg; do
    command -v "${need%%:*}" >/dev/null || missing="$missing ${need#*:}"
done
[ -z "$missing" ] || { echo "vm-check wants these packages of Debian:$missing"; exit 1; }
[ "$(dpkg --print-architecture)" = amd64 ] || { echo "vm-check knows the kernel of amd64 only"; exit 1; }
[ "$(id -u)" = 0 ] || { echo "vm-check wants to be root: it makes a disk with files of root"; exit 1; }
# Where /dev/kvm is missing or does not do (NT_VM_ACCEL=tcg), every instruction is emulated: that takes some minutes.
[ -w /dev/kvm ] && accel=kvm || accel=tcg
accel=${NT_VM_ACCEL:-$accel}
mkdir -p "$vm"
vm=$(cd "$vm" && pwd)

# The files below FOLDER, as the kernel takes them at start.
pack() { (cd "$1" && find . | cpio --quiet -o -H newc); }

# Runs the machine with this disk until it is off, for at most ten minutes.
boot() {
    timeout 600 nice qemu-system-x86_64 -accel "$accel" -cpu max -m 1G -smp 1 -nographic -no-reboot -nic none \
        -kernel "$vm"/kernel/boot/vmlinuz-* -initrd "$vm/initrd" \
        -drive "file=$1,format=raw,if=virtio,cache=unsafe" -append "console=ttyS0 quiet panic=1 rw" </dev/null
}

# The kernel, and what finds the disk and puts the overlay onto it.
if [ ! -e "$vm/start" ]; then
    rm -rf "$vm/kernel" && mkdir -p "$vm/kernel"
    image=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p')
    (cd "$vm/kernel" && apt-get download "$image" busybox-static && for deb in *.deb; do dpkg -x "$deb" .; done)
    rm -rf "$vm/first" && mkdir -p "$vm/first/bin" "$vm/first/disk" "$vm/first/dev"
    cp "$vm/kernel/bin/busybox" "$vm/first/bin"
    for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
        find "$vm/kernel/lib/modules" -name "$module.ko" -exec cp {} "$vm/first" \;
        echo "insmod /$module.ko" >>"$vm/first/modules"
    done
    cat >"$vm/first/init" <<-'END'
	#!/bin/busybox sh
	/bin/busybox --install -s /bin
	mount -t devtmpfs none /dev
	. /modules
	until [ -e /dev/vda ]; do sleep 0.1; done
	mount -t ext4 /dev/vda /disk
	cp -a /overlay/. /disk/
	mount -o move /dev /disk/dev
	exec switch_root /disk /sbin/init
	END
    chmod +x "$vm/first/init"
    pack "$vm/first" >"$vm/start"
fi

# The disk: packages of this machine's release, unpacked. Nothing of them is run before the machine itself does.
base=$vm/$system.img
if [ ! -e "$base" ]; then
    case $system in
        systemd) manager=systemd-sysv ;;
        openrc) manager="openrc sysvinit-core" ;;
    esac
    rm -rf "$vm/tree" "$vm/debs" && mkdir -p "$vm/tree/usr" "$vm/debs/archives/partial"
    : >"$vm/none"
    # shellcheck disable=SC2086
    apt-get -qq -y --no-install-recommends --download-only -o Dir::State::status="$vm/none" -o Dir::Cache="$vm/debs" \
        install $manager base-files base-passwd bash coreutils curl dash diffutils findutils grep iproute2 mount \
        netcat-openbsd procps sed util-linux
    for folder in bin sbin lib lib64; do mkdir "$vm/tree/usr/$folder" && ln -s "usr/$folder" "$vm/tree/$folder"; done
    for deb in "$vm"/debs/archives/*.deb; do
        dpkg --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$vm/tree"
    done
    cp "$vm/tree/usr/share/base-passwd/passwd.master" "$vm/tree/etc/passwd"
    cp "$vm/tree/usr/share/base-passwd/group.master" "$vm/tree/etc/group"
    : >"$vm/tree/etc/machine-id"
    if [ "$system" = systemd ]; then
        mkdir -p "$vm/tree/etc/systemd/system/multi-user.target.wants"
        printf '[Service]\nExecStart=/usr/local/bin/inside\n' >"$vm/tree/etc/systemd/system/inside.service"
        ln -s ../inside.service "$vm/tree/etc/systemd/system/multi-user.target.wants"
    else
        cp "$vm/tree/usr/share/sysvinit/inittab" "$vm/tree/etc/inittab"
        for script in $(grep -l '^# Default-Start:.*S' "$vm"/tree/etc/init.d/*); do
            ln -s "/etc/init.d/${script##*/}" "$vm/tree/etc/runlevels/sysinit"
        done
        echo 'vm:2345:once:/usr/local/bin/inside' >>"$vm/tree/etc/inittab"
    fi
    rm -f "$base.new"
    mke2fs -q -t ext4 -d "$vm/tree" "$base.new" 1G
    mv "$base.new" "$base"
    rm -rf "$vm/tree" "$vm/debs"
fi

rm -rf "$vm/over"
over=$vm/over/overlay
mkdir -p "$over/usr/local/bin" "$over/usr/local/lib"
cp "$nt" "$over/usr/local/bin/nt"
cp "$here/common.sh" "$over/usr/local/lib/common.sh"
cp "$here/inside-$system.sh" "$over/usr/local/bin/inside"
{ cat "$vm/start"; pack "$vm/over"; } >"$vm/initrd"
cp --sparse=always "$base" "$vm/disk.img"
log=$vm/$system.log
for turn in first second; do
    boot "$vm/disk.img" 2>&1
done | sed -u 's/\r//g' | tee "$log" | sed -un 's/^.*nt-vm: //p'
rm "$vm/disk.img"
if grep -q 'nt-vm: BAD' "$log" || [ "$(grep -c 'nt-vm: all was looked at' "$log")" != 2 ]; then
    echo "see $log"
    exit 1
fi
