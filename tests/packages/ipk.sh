#!/bin/sh
# What is in the packages of OpenWrt, unpacked as opkg does it, whether the program in there runs (in qemu where it is of
# another machine), and what its init script starts: ipk.sh PROJECT. Where there is an opkg (OPKG=PATH), it is asked too.
set -eu
project=$1
export LC_ALL=C
fail() { echo "ipk: $1"; exit 1; }
command -v busybox >/dev/null || { echo "ipk: skipped: wants busybox"; exit 0; }
stubs=$project/tests/packages/openwrt
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# How a file for this architecture is run here; nothing where it cannot be.
runner() {
    case $1 in
        "$(uname -m)") echo env ;;
        aarch64*) command -v qemu-aarch64-static ;;
        arm_*) command -v qemu-arm-static ;;
        i386*) echo env ;;
        mipsel*) echo "$(command -v qemu-mipsel-static) -cpu 24Kc" ;;
        mips_*) echo "$(command -v qemu-mips-static) -cpu 24Kc" ;;
        riscv64*) command -v qemu-riscv64-static ;;
    esac
}

# A package put on a system by opkg, changed, put on again, and taken away.
opkg=${OPKG:-$(command -v opkg || :)}
[ -n "$opkg" ] || echo "ipk: opkg is not here: not asked"
installed() {
    system=$scratch/system
    rm -rf "$system"
    mkdir -p "$system/tmp" "$system/var/lock" "$system/usr/lib/opkg"
    : > "$scratch/opkg.conf"
    ask() {
        IPKG_NO_SCRIPT=1 timeout 60 "$opkg" -f "$scratch/opkg.conf" --offline-root "$system" --add-dest root:/ \
            --add-arch "$arch:10" "$@" >/dev/null 2>&1
    }
    ask install "$ipk" && [ -x "$system/usr/bin/nt" ] || fail "$name: opkg does not install it"
    [ "$(stat -c %a "$system/etc/config/nt")" = 600 ] || fail "$name: the mode of /etc/config/nt"
    echo '# mine' >> "$system/etc/config/nt"
    ask install --force-reinstall "$ipk" || fail "$name: opkg does not install it again"
    grep -q mine "$system/etc/config/nt" || fail "$name: opkg has lost a setting"
    other=$project/dist/packages/nt-client_${name#*_}
    if [ "$package" = nt ] && [ -f "$other" ]; then
        ! ask install "$other" || fail "nt and nt-client are there together"
    fi
    ask remove "$package" && [ ! -e "$system/usr/bin/nt" ] || fail "$name: opkg does not remove it"
}

found=
for ipk in "$project"/dist/packages/*.ipk; do
    [ -f "$ipk" ] || continue
    found=1
    name=${ipk##*/}
    package=${name%%_*}
    rm -rf "$scratch/ipk" "$scratch/root" "$scratch/control"
    mkdir "$scratch/ipk" "$scratch/root" "$scratch/control"
    busybox tar -xzf "$ipk" -C "$scratch/ipk"
    [ "$(cat "$scratch/ipk/debian-binary")" = 2.0 ] || fail "$name is of no known format"
    busybox tar -xzf "$scratch/ipk/control.tar.gz" -C "$scratch/control"
    busybox tar -xzf "$scratch/ipk/data.tar.gz" -C "$scratch/root"
    arch=$(sed -n 's/^Architecture: //p' "$scratch/control/control")
    version=$(sed -n 's/^Version: //p' "$scratch/control/control")
    [ "$name" = "${package}_${version}_$arch.ipk" ] || fail "$name says that it is ${package}_${version}_$arch"
    [ "$(cat "$scratch/control/conffiles")" = /etc/config/nt ] || fail "$name: conffiles"
    is=$(tar -tvzf "$scratch/ipk/data.tar.gz" | awk '!/^d/ { print $1, $2, $6 }')
    [ "$is" = "-rw------- 0/0 ./etc/config/nt
-rwxr-xr-x 0/0 ./etc/init.d/nt
-rw-r--r-- 0/0 ./lib/upgrade/keep.d/nt
-rwxr-xr-x 0/0 ./usr/bin/nt" ] || fail "$name has
$is"
    for script in postinst prerm; do
        # As where a firmware is put together: there is nothing to start.
        IPKG_INSTROOT=$scratch/root busybox ash "$scratch/control/$script" || fail "$name: $script"
    done

    # What stands in its configuration starts nothing; a client section does, and a server one as far as it can.
    start() { STUBS=$stubs ROOT=$scratch/root timeout 20 busybox ash "$stubs/rc.common" "$scratch/root/etc/init.d/nt" start 2>&1 || :; }
    [ -z "$(start)" ] || fail "$name starts something unasked"
    printf "config server 'public'\n\toption enabled '1'\n" > "$scratch/root/etc/config/nt"
    case $package in
        nt) start | grep -qx 'public: /usr/bin/nt -s' ;;
        nt-client) start | grep -q 'nt-client has no server in it' ;;
    esac || fail "$name: for a server came $(start)"

    [ -z "$opkg" ] || installed

    run=$(runner "$arch")
    run=${run# -cpu 24Kc}
    if [ -z "$run" ]; then
        echo "ipk: $name: not run: wants qemu-user-static"
        continue
    fi
    timeout 60 $run "$scratch/root/usr/bin/nt" version 2>/dev/null | grep -q '^nt ' || fail "$name: nt version"
    if [ "$package" = nt ]; then
        timeout 120 $run "$scratch/root/usr/bin/nt" demo --once >/dev/null 2>&1 || fail "$name: nt demo"
    fi
done
[ -n "$found" ] || fail "no packages: make packages"

# The same bytes once more.
export VERSION MAINTAINER SOURCE_DATE_EPOCH
VERSION=${version%-1}
MAINTAINER=$(sed -n 's/^Maintainer: //p' "$scratch/control/control")
SOURCE_DATE_EPOCH=$(date -ud "$(tar -tvzf "$ipk" --full-time --utc | awk 'NR == 1 { print $4, $5 }')" +%s)
mkdir "$scratch/out"
sh "$project/packaging/openwrt/build.sh" "$package" "$scratch/root/usr/bin/nt" "$arch" "$scratch/tree" "$scratch/out"
cmp -s "$ipk" "$scratch/out/$name" || fail "$name: built again it has other bytes"
echo "ipk: good"
