#!/bin/sh
# dlltool.sh WORDS: zig's dlltool, in one word as rustc wants it.
exec python3 -m ziglang dlltool "$@"
