#!/bin/sh
# Which libraries are linked into nt, under which licenses, and the texts of those that have to go along with it:
# libraries.sh FOLDER writes `libraries` and `licenses` there. A library that may be had under the Apache License is.
set -eu
out=$1
cd "$(dirname "$0")/.."
export LC_ALL=C
${CARGO:-cargo} tree --locked --quiet -e normal,no-proc-macro --prefix none --format '{p}: {l}' \
    --target "$(uname -m)-unknown-linux-musl" | sed '/^nt v/d; s/ v/ /; s/ (\*)$//' | sort -u > "$out/libraries"

: > "$out/licenses"
while IFS=' ' read -r name version license; do
    case $license in
        *'OR Apache-2.0'* | *'Apache-2.0 OR'* | *Apache-2.0/* | */Apache-2.0*) continue ;;
    esac
    printf '%s %s %s\n\n' "$name" "$version" "$license" >> "$out/licenses"
    texts=$(ls "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$name-${version%:}"/LICENSE* 2>/dev/null || :)
    [ -n "$texts" ] || { echo "$name ${version%:} brings no text of its license" >&2; continue; }
    for text in $texts; do
        cat "$text" >> "$out/licenses"
        echo >> "$out/licenses"
    done
done < "$out/libraries"
