#!/bin/sh
# Whether Alpine's APKBUILD puts together what it should, and what its OpenRC script would start: alpine.sh PROJECT
# Neither abuild nor OpenRC is asked: package() runs with a folder in place of theirs.
set -eu
project=$1
here=$project/packaging/alpine
export LC_ALL=C
fail() { echo "alpine: $1"; exit 1; }
command -v busybox >/dev/null || { echo "alpine: skipped: wants busybox"; exit 0; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for script in APKBUILD nt.initd nt.confd; do
    busybox ash -n "$here/$script" || fail "$script is no script"
done
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$project/Cargo.toml" | head -n 1)
grep -qx "pkgver=$version" "$here/APKBUILD" || fail "APKBUILD is not of version $version"

mkdir -p "$scratch/src"
tar -xzf "$project/target/packages/nt.tar.gz" -C "$scratch/src" || fail "no source: make -f packaging/Makefile alpine"
for file in "$scratch"/src/nt/nt-*; do
    case ${file##*/nt-} in
        i686) arch=x86 ;;
        arm) arch=armhf ;;
        mips*) continue ;;
        *) arch=${file##*/nt-} ;;
    esac
    rm -rf "$scratch/pkg"
    CARCH=$arch srcdir=$scratch/src pkgdir=$scratch/pkg timeout 60 busybox ash -euc ". '$here/APKBUILD'; package" \
        || fail "package() for $arch"
    is=$(cd "$scratch/pkg" && find . -type f | sort | tr '\n' ' ')
    [ "$is" = "./etc/conf.d/nt ./etc/init.d/nt ./etc/nt/nt.toml ./usr/bin/nt \
./usr/share/bash-completion/completions/nt ./usr/share/fish/vendor_completions.d/nt.fish ./usr/share/licenses/nt/LICENSE \
./usr/share/licenses/nt/libraries ./usr/share/licenses/nt/licenses ./usr/share/man/man1/nt.1 ./usr/share/man/man5/nt.toml.5 \
./usr/share/zsh/site-functions/_nt " ] || fail "for $arch came $is"
    if [ "$arch" = "$(uname -m)" ]; then
        timeout 60 "$scratch/pkg/usr/bin/nt" version 2>/dev/null | grep -q '^nt ' || fail "nt version"
        timeout 60 "$scratch/pkg/usr/bin/nt" check "$scratch/pkg/etc/nt/nt.toml" >/dev/null || fail "nt.toml"
    fi
done

# What the script comes to, and what it refuses.
starts() {
    timeout 20 busybox ash -c 'RC_SVCNAME=$1; checkpath() { :; }; eerror() { echo "$1"; }; eval "$2"; . "$3"
        start_pre && echo "$supervisor $command $command_args; $STATE_DIRECTORY"' sh "$1" "$2" "$here/nt.initd"
}
[ "$(starts nt '')" = 'supervise-daemon /usr/bin/nt -s --config /etc/nt/nt.toml; /var/lib/nt' ] || fail "$(starts nt '')"
[ "$(starts nt.home 'command_args="-c @/etc/nt/license 2222:22"')" \
    = 'supervise-daemon /usr/bin/nt -c @/etc/nt/license 2222:22; /var/lib/nt.home' ] || fail "a client"
starts nt 'command_args="-c nt1aaaq@vps 22"' | grep -q 'everybody can read a license' || fail "a license is shown"
echo "alpine: good"
