#!/bin/sh
# Whether Alpine's APKBUILD puts together what it should, and what its OpenRC script would start: alpine.sh PROJECT
# package() runs with a folder in place of abuild's. Where there are an abuild and an apk, they build and install as well.
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
cp "$here"/nt.initd "$here"/nt.confd "$scratch/src"
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

# Built by abuild for this machine, and put on a system, changed, put on again, and taken away by apk.
if command -v abuild >/dev/null && command -v apk >/dev/null && [ -f "$scratch/src/nt/nt-$(uname -m)" ]; then
    export HOME="$scratch/home" REPODEST="$scratch/repo" CARCH CHOST APK
    CARCH=$(uname -m) CHOST=$CARCH-alpine-linux-musl
    mkdir -p "$scratch/aports/testing/nt" "$scratch/system" "$HOME"
    cp "$here"/* "$project/target/packages/nt.tar.gz" "$scratch/aports/testing/nt"
    abuild-keygen -a -n >/dev/null 2>&1 || fail "abuild-keygen"
    APK="apk --root $scratch/system --no-network --keys-dir $HOME/.config/abuild"
    ask() { timeout 60 $APK --arch "$CARCH" --repository "$REPODEST/testing" "$@" >/dev/null 2>&1; }
    ask --initdb add || fail "apk makes no system"
    cd "$scratch/aports/testing/nt"
    { abuild -F checksum && timeout 120 abuild -F -d; } > "$scratch/abuild" 2>&1 || fail "abuild: $(tail -n 5 "$scratch/abuild")"
    if grep -E 'WARNING|ERROR' "$scratch/abuild"; then fail "abuild is not content"; fi
    all="nt nt-doc nt-openrc nt-bash-completion nt-zsh-completion nt-fish-completion"
    ask add $all || fail "apk does not install it"
    "$scratch/system/usr/bin/nt" version 2>/dev/null | grep -q '^nt ' || fail "what apk installed is no nt"
    [ -x "$scratch/system/etc/init.d/nt" ] && [ -f "$scratch/system/usr/share/man/man1/nt.1.gz" ] || fail "apk left something out"
    echo '# mine' >> "$scratch/system/etc/nt/nt.toml"
    ask fix --reinstall nt || fail "apk does not install it again"
    grep -q mine "$scratch/system/etc/nt/nt.toml" || fail "apk has lost a setting"
    ask del $all && [ ! -e "$scratch/system/usr/bin/nt" ] || fail "apk does not remove it"
else
    echo "alpine: abuild and apk are not here: not asked"
fi
echo "alpine: good"
