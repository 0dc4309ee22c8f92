#!/bin/sh
# Packages for OpenWrt's opkg, with nothing but tar: build.sh PACKAGE NT "ARCHITECTURE..." FOLDER OUT
# PACKAGE is nt, or nt-client. Wants VERSION, MAINTAINER and SOURCE_DATE_EPOCH.
set -eu
package=$1 nt=$2 archs=$3 root=$4 out=$5
here=$(cd "$(dirname "$0")" && pwd)
export LC_ALL=C
umask 022

rm -rf "$root"
put() { install -D -m "$1" "$2" "$root/$3"; }
# The same bytes whenever and by whomever it is packed.
pack() {
    tar -C "$1" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - . \
        | gzip -9n > "$2"
}

put 755 "$nt" data/usr/bin/nt
put 755 "$here/nt.init" data/etc/init.d/nt
put 600 "$here/client.config" data/etc/config/nt
install -d -m 755 "$root/data/etc/nt"
# Licenses and state, which a new firmware is to have as well.
install -d -m 755 "$root/data/lib/upgrade/keep.d"
echo /etc/nt/ > "$root/data/lib/upgrade/keep.d/nt"
case $package in
    nt)
        about='both ends' other=nt-client
        cat "$here/server.config" >> "$root/data/etc/config/nt"
        ;;
    nt-client)
        about='the client alone' other=nt
        sed -i "s/^ROLES=.*/ROLES='client'/" "$root/data/etc/init.d/nt"
        ;;
esac

size=$(find "$root/data" -type f -printf '%s\n' | awk '{ bytes += $1 } END { print bytes }')
for arch in $archs; do
    rm -rf "$root/control" "$root/ipk"
    mkdir -p "$root/control" "$root/ipk"
    sed "s/@PACKAGE@/$package/; s/@OTHER@/$other/; s/@ABOUT@/$about/; s/@VERSION@/$VERSION-1/; s/@ARCH@/$arch/
        s/@MAINTAINER@/$MAINTAINER/; s/@SIZE@/$size/" "$here/control" > "$root/control/control"
    echo /etc/config/nt > "$root/control/conffiles"
    for script in postinst prerm; do install -m 755 "$here/$script" "$root/control/$script"; done
    echo 2.0 > "$root/ipk/debian-binary"
    pack "$root/control" "$root/ipk/control.tar.gz"
    pack "$root/data" "$root/ipk/data.tar.gz"
    pack "$root/ipk" "$out/${package}_$VERSION-1_$arch.ipk"
done
