#!/bin/sh
# Whether the package of this machine installs on Debian, works, and goes again: deb.sh PROJECT, as root. It happens in a
# small Debian below target/, made once by debootstrap, on a layer that is thrown away; no service manager is there, and
# none is started.
set -eu
project=$1
export LC_ALL=C.UTF-8
fail() { echo "deb: $1"; exit 1; }
for need in debootstrap unshare dpkg-deb; do
    command -v $need >/dev/null || { echo "deb: skipped: wants $need"; exit 0; }
done
[ "$(id -u)" = 0 ] || { echo "deb: skipped: wants to be root"; exit 0; }
arch=$(dpkg --print-architecture)
set -- "$project"/dist/packages/nt_*_"$arch".deb
[ -f "$1" ] || fail "no package for $arch: make packages"
deb=$1
work=$project/target/packages

# Every package, also those of other machines.
if command -v lintian >/dev/null; then
    for each in "$project"/dist/packages/nt_*.deb; do
        said=$(timeout 300 lintian --allow-root --fail-on error,warning "$each") || fail "$each: $said"
    done
else
    echo "deb: lintian is not here: not asked"
fi

base=$work/bookworm
if [ ! -e "$base.made" ]; then
    rm -rf "$base"
    mkdir -p "$work"
    timeout 800 debootstrap --variant=minbase --include=man-db bookworm "$base" > "$work/debootstrap.log" 2>&1 \
        || fail "debootstrap failed: $work/debootstrap.log"
    touch "$base.made"
fi

# The same once more, in another folder, and a newer one to upgrade to.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/out"
export VERSION MAINTAINER SOURCE_DATE_EPOCH
VERSION=$(dpkg-deb -f "$deb" Version | sed 's/-1$//')
MAINTAINER=$(dpkg-deb -f "$deb" Maintainer)
SOURCE_DATE_EPOCH=$(dpkg-deb --fsys-tarfile "$deb" | tar -tv --full-time --utc | awk 'NR == 1 { print $4 "T" $5 "Z" }')
SOURCE_DATE_EPOCH=$(date -d "$SOURCE_DATE_EPOCH" +%s)
build() { sh "$project/packaging/deb/build.sh" "$project/dist/nt-$(uname -m)" "$arch" "$work/pages" "$scratch/tree" "$scratch/out"; }
build
cmp -s "$deb" "$scratch/out/${deb##*/}" || fail "built again it has other bytes"
VERSION=$VERSION.1
build
cp "$scratch/out/nt_$VERSION-1_$arch.deb" "$scratch/newer.deb"
cp "$deb" "$scratch/nt.deb"
cp "$project/tests/packages/deb-inside.sh" "$scratch"

# What is written there is gone with the mount.
timeout 300 unshare --mount --pid --fork --kill-child sh -euc '
    mkdir "$2/layer" "$2/root"
    mount -t tmpfs layer "$2/layer"
    mkdir "$2/layer/upper" "$2/layer/work"
    mount -t overlay -o "lowerdir=$1,upperdir=$2/layer/upper,workdir=$2/layer/work" root "$2/root"
    mount -t proc proc "$2/root/proc"
    mkdir "$2/root/packages"
    cp "$2"/*.deb "$2/deb-inside.sh" "$2/root/packages"
    exec chroot "$2/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive sh /packages/deb-inside.sh' sh "$base" "$scratch" </dev/null || fail "see above"
echo "deb: good"
