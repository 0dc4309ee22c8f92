#!/bin/sh
# empty.sh WORDS: a C compiler and an archiver that make empty files of whatever names are theirs to make, and touch
# nothing that is there. Who only checks Rust links nothing, and needs no C library of another system for it.
for word; do
    # What Windows would be told has its flag and its name in one word.
    word=${word#-Fo}
    word=${word#-out:}
    case $word in
        *.o | *.a | *.lib) [ -e "$word" ] || : > "$word" ;;
    esac
done
