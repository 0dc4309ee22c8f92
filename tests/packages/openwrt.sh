#!/bin/sh
# What OpenWrt's init script starts for some /etc/config/nt, under busybox's ash with stubs of procd and UCI, and
# whether nt takes these command lines: openwrt.sh PROJECT [NT]
set -eu
project=$1
stubs=$project/tests/packages/openwrt
command -v busybox >/dev/null || { echo "openwrt: skipped: wants busybox"; exit 0; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/etc/config"

# The script, with the files that it names below a folder of the check's own.
script=$scratch/nt.init
sed "s#/etc/nt/#$scratch/etc/nt/#g" "$project/packaging/openwrt/nt.init" > "$script"
run() { STUBS=$stubs ROOT=$scratch timeout 20 busybox ash "$stubs/rc.common" "$script" "$@" 2>&1; }
fail() { echo "openwrt: $1"; exit 1; }
# Whether what is started for a configuration (standard input) is what stands in a file.
expect() {
    sed "s#/etc/nt/#$scratch/etc/nt/#g" > "$scratch/etc/config/nt"
    said=$(run start | sed "s#$scratch##g") || true
    [ "$said" = "$1" ] || fail "for
$(cat "$scratch/etc/config/nt")
came
$said
and not
$1"
}
common='respawn:3600 respawn:5 respawn:0 limits:nofile=65536 65536 term_timeout:40 stderr:1'

cat "$project/packaging/openwrt/client.config" "$project/packaging/openwrt/server.config" > "$scratch/shipped"
# What the package has starts nothing.
expect '' < "$scratch/shipped"

# A client and a server; the license gets its mode, and is on no command line.
mkdir -p "$scratch/etc/nt"
echo nt1aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwqxykjaq@vps.example.com > "$scratch/etc/nt/home.license"
chmod 644 "$scratch/etc/nt/home.license"
expect "public: /usr/bin/nt -s --http :80 --log json
  env:STATE_DIRECTORY=/etc/nt/public.state $common
home: /usr/bin/nt -c @/etc/nt/home.license 2222:22 8080:192.168.1.7:80 --visit nas/ssh:2223 --allow loopback --via http://proxy:3128 --ca webpki --plain
  file:/etc/nt/home.license $common" <<'UCI'
config client 'home'
	option enabled '1'
	option license '/etc/nt/home.license'
	list map '2222:22'
	list map '8080:192.168.1.7:80'
	list visit 'nas/ssh:2223'
	option allow 'loopback'
	option plain '1'
	option ca 'webpki'
	option via 'http://proxy:3128'

config client 'other'
	option license '/etc/nt/other.license'

config server public
	option enabled 'yes'
	option http ':80'
	option log "json"
UCI
[ "$(stat -c %a "$scratch/etc/nt/home.license")" = 600 ] || fail "the license has not got mode 600"
# A file that is right already is not written: its change time stays.
before=$(stat -c %z "$scratch/etc/nt/home.license")
run start >/dev/null
[ "$(stat -c %z "$scratch/etc/nt/home.license")" = "$before" ] || fail "the license was touched again"

# What is wrong is said, and the other sections go on.
expect "log: /etc/config/nt, section shown: the option license names a file that has LICENSE@HOST in it, mode 600
log: /etc/config/nt, section empty: neither the option license nor the option config says which server
log: /etc/config/nt, section lost: there is no /etc/nt/lost.license
log: /etc/config/nt, section told: a license or password would show in ps: put it into a file, mode 600, and name that by license or config
log: /etc/config/nt, section proxied: a license or password would show in ps: put it into a file, mode 600, and name that by license or config
good: /usr/bin/nt -c @/etc/nt/home.license
  file:/etc/nt/home.license $common" <<'UCI'
config client 'shown'
	option enabled '1'
	option license 'nt1aaaq@vps.example.com'
config client 'empty'
	option enabled '1'
config client 'lost'
	option enabled '1'
	option license '/etc/nt/lost.license'
config client 'told'
	option enabled '1'
	option license '/etc/nt/home.license'
	list map 'blog.example.com:80,auth=me:secret'
config client 'proxied'
	option enabled '1'
	option license '/etc/nt/home.license'
	option via 'socks5://me:secret@proxy:1080'
config client 'good'
	option enabled '1'
	option license '/etc/nt/home.license'
UCI

# The package nt-client says that it is no server.
sed -i "s/^ROLES=.*/ROLES='client'/" "$script"
expect "log: /etc/config/nt, section public: the package nt-client has no server in it: install nt instead
home: /usr/bin/nt -c @/etc/nt/home.license 2222:22
  file:/etc/nt/home.license $common" <<'UCI'
config server 'public'
	option enabled '1'
config client 'home'
	option enabled '1'
	option license '/etc/nt/home.license'
	list map '2222:22'
UCI
[ "$(run triggers)" = 'reloaded with: nt' ] || fail "a change of /etc/config/nt is not seen"

# nt itself takes such lines.
nt=${2:-$project/dist/nt-$(uname -m)}
if [ -x "$nt" ]; then
    for line in "-s --http :80 --log json" \
        "-c @$scratch/etc/nt/home.license 2222:22 --visit nas/ssh:2223 --allow loopback --via http://proxy:3128 --ca webpki --plain"; do
        timeout 20 "$nt" install --print --system procd $line >/dev/null 2>&1 || fail "nt does not take: $line"
    done
fi
echo "openwrt: good"
