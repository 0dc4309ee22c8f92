#!/bin/sh
# Whether the image of a container is made, and runs as nobody in particular: container.sh PROJECT, as root. buildah
# makes and runs it, within target/, in a chroot: no engine is asked.
set -eu
project=$1
fail() { echo "container: $1"; exit 1; }
command -v buildah >/dev/null || { echo "container: skipped: wants buildah"; exit 0; }
[ "$(id -u)" = 0 ] || { echo "container: skipped: wants to be root"; exit 0; }
work=$project/target/packages
[ -f "$work/container/nt-amd64" ] || { echo "container: skipped: wants dist/nt-x86_64"; exit 0; }
store=$work/images
scratch=$(mktemp -d)
# Images have a driver that copies, which needs nothing of the kernel.
image() { timeout 120 buildah --root "$store" --runroot "$scratch/run" --storage-driver vfs "$@"; }
finish() {
    image rm -a >/dev/null 2>&1 || :
    image rmi -a -f >/dev/null 2>&1 || :
    for mount in $(awk -v store="$store" 'index($2, store) == 1 { print $2 }' /proc/mounts); do umount "$mount"; done
    rm -rf "$scratch" "$store"
}
trap finish EXIT

image bud --isolation chroot -t nt "$work/container" >"$scratch/log" 2>&1 || fail "$(cat "$scratch/log")"
made=$(image from --pull-never nt)
run() { image run --isolation chroot "$made" "$@"; }
run /nt version 2>/dev/null | grep -q '^nt ' || fail "nt version"
run /nt demo --once >/dev/null 2>&1 || fail "nt demo"
run /nt license add nas >/dev/null 2>&1 || fail "its user cannot write the state"
run /nt license list 2>/dev/null | grep -q nas || fail "the state is not kept"
is=$(image inspect --type image --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}} {{.OCIv1.Config.Volumes}}' nt)
[ "$is" = '65532:65532 [/nt] [-s] map[/var/lib/nt:{}]' ] || fail "the image has $is"
root=$(image mount "$made")
files=$(cd "$root" && find . -xdev -type f ! -path './var/lib/nt/*' ! -path './etc/*' ! -path './run/*')
[ "$files" = ./nt ] || fail "there are other files: $files"
image umount "$made" >/dev/null
echo "container: good"
