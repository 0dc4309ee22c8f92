#!/bin/sh
# The Makefile of OpenWrt's feed, read by make with stubs of OpenWrt's own: what each of its packages is made of, and
# whether what it takes of the sources can be compiled: feed.sh PROJECT
set -eu
project=$1
export LC_ALL=C
here=$project/packaging/openwrt
fail() { echo "feed: $1"; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

feed() {
    make -s -C "$here" TOPDIR="$project/tests/packages/openwrt/topdir" PKG_BUILD_DIR="$scratch/source" \
        PKG_INSTALL_DIR="$scratch/built" DESTDIR="$scratch/$1" "$2"
}
mkdir -p "$scratch/source" "$scratch/built/bin"
echo program > "$scratch/built/bin/nt"
feed source prepare || fail "the feed's Makefile does not find its sources"
${CARGO:-cargo} check --quiet --locked --manifest-path "$scratch/source/Cargo.toml" --bin nt \
    --target-dir "$project/target/packages/openwrt" || fail "what the feed's Makefile takes of the sources does not compile"
for package in nt nt-client; do
    feed "$package" "install-$package" || fail "the feed's Makefile does not install $package"
    is=$(cd "$scratch/$package" && find . -type f -printf '%M %p\n' | sort -k 2)
    [ "$is" = "-rw------- ./etc/config/nt
-rwxr-xr-x ./etc/init.d/nt
-rwxr-xr-x ./usr/bin/nt" ] || fail "the feed's $package has
$is"
done
cat "$here/client.config" "$here/server.config" | cmp -s - "$scratch/nt/etc/config/nt" || fail "the feed's nt has another configuration"
cmp -s "$scratch/nt-client/etc/config/nt" "$here/client.config" || fail "the feed's nt-client has another one"
cmp -s "$scratch/nt/etc/init.d/nt" "$here/nt.init" || fail "the feed's nt has another script"
grep -qx "ROLES='client'" "$scratch/nt-client/etc/init.d/nt" || fail "the feed's nt-client says that it is a server"
echo "feed: good"
