#!/bin/sh
# A package for Debian and its like, of a static nt: build.sh NT ARCHITECTURE PAGES FOLDER OUT
# Wants VERSION, MAINTAINER and SOURCE_DATE_EPOCH. Needs no root and no debhelper: dpkg-deb sorts the files, gives them
# to root and keeps them at that date, so that two builds are the same bytes.
set -eu
nt=$1 arch=$2 pages=$3 root=$4 out=$5
here=$(cd "$(dirname "$0")" && pwd)
export LC_ALL=C
umask 022

if readelf -lW "$nt" | grep -q INTERP; then
    echo "$nt is not static, and packages say that it needs nothing: make dist makes it" >&2
    exit 1
fi

rm -rf "$root"
put() { install -D -m "$1" "$2" "$root$3"; }
zip() { gzip -9n < "$1" > "$root/zip" && put 644 "$root/zip" "$2" && rm "$root/zip"; }
mkdir -p "$root"

put 755 "$nt" /usr/bin/nt
put 644 "$here/nt.toml" /etc/nt/nt.toml
put 644 "$pages/nt.service" /usr/lib/systemd/system/nt.service
put 644 "$pages/nt@.service" /usr/lib/systemd/system/nt@.service
zip "$pages/nt.1" /usr/share/man/man1/nt.1.gz
zip "$pages/nt.toml.5" /usr/share/man/man5/nt.toml.5.gz
put 644 "$pages/nt.bash" /usr/share/bash-completion/completions/nt
put 644 "$pages/_nt" /usr/share/zsh/vendor-completions/_nt
put 644 "$pages/nt.fish" /usr/share/fish/vendor_completions.d/nt.fish
put 644 "$here/client.toml" /usr/share/doc/nt/examples/client.toml
# A static file is one by intent; lintian takes one that can stand at any address for a library.
case $(readelf -hW "$nt") in
    *DYN*) static=shared-library-lacks-prerequisites ;;
    *) static=statically-linked-binary ;;
esac
sed "s/@STATIC@/$static/" "$here/lintian-overrides" > "$root/overrides"
put 644 "$root/overrides" /usr/share/lintian/overrides/nt
rm "$root/overrides"
zip "$pages/licenses" /usr/share/doc/nt/licenses.gz
zip "$here/../../CHANGELOG.md" /usr/share/doc/nt/changelog.gz

sed 's/^/ /' "$pages/libraries" > "$root/libraries"
sed -n '/^Permission is hereby/,$ { s/^$/./; s/^/ /; p }' "$here/../../LICENSE" > "$root/expat"
sed -e "/^@LIBRARIES@/ { r $root/libraries" -e 'd }' -e "/^@EXPAT@/ { r $root/expat" -e 'd }' "$here/copyright" \
    > "$root/text"
put 644 "$root/text" /usr/share/doc/nt/copyright
rm "$root/libraries" "$root/expat"
{
    printf 'nt (%s-1) unstable; urgency=medium\n\n  * What is new is told in changelog.gz.\n\n' "$VERSION"
    printf ' -- %s  %s\n' "$MAINTAINER" "$(date -Rud "@$SOURCE_DATE_EPOCH")"
} > "$root/text"
zip "$root/text" /usr/share/doc/nt/changelog.Debian.gz
rm "$root/text"

size=$(find "$root" -type f -printf '%s\n' | awk '{ k += int(($1 + 1023) / 1024) } END { print k }')
mkdir "$root/DEBIAN"
sed "s/@VERSION@/$VERSION-1/; s/@ARCH@/$arch/; s/@MAINTAINER@/$MAINTAINER/; s/@SIZE@/$size/" "$here/control" \
    > "$root/DEBIAN/control"
echo /etc/nt/nt.toml > "$root/DEBIAN/conffiles"
(cd "$root" && find etc usr -type f | sort | xargs md5sum) > "$root/DEBIAN/md5sums"
for script in postinst prerm postrm; do put 755 "$here/$script" "/DEBIAN/$script"; done
find "$root" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +

dpkg-deb --root-owner-group -Zxz --build "$root" "$out/nt_$VERSION-1_$arch.deb" > "$root.log" || { cat "$root.log"; exit 1; }
