# What the scripts within the machine share. Every line for people begins with `nt-vm:`; one with BAD is a promise that
# does not hold.
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
say() { echo "nt-vm: $*"; }

# Whether a command succeeds, and what that is for.
holds() {
    what=$1
    shift
    if "$@" >/tmp/said 2>&1; then say "ok   $what"; else say "BAD  $what" && sed 's/^/    /' /tmp/said; fi
}

# Waits until a command succeeds, for some seconds at most.
within() {
    end=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 0.3
    done
}

page() { curl -sf --max-time 20 -o /dev/null "http://127.0.0.1:${2:-8080}/$1"; }
# Whether a command says what a pattern is for.
shows() {
    pattern=$1
    shift
    "$@" | grep "$pattern"
}
# Another process than that of before, which is ready.
anew() { [ "$(pid "$1" || echo 0)" -gt 0 ] && [ "$(pid "$1")" != "$2" ] && is "$1"; }

# Services that are killed are started again, each within so many seconds.
killed() {
    for name in nt nt-client; do
        old=$(pid $name)
        kill -KILL "$old"
        holds "$name, killed, is started again" within "$1" anew $name "$old"
        holds "and a visitor is served" within 30 page hello
    done
}

# A folder to serve, with a file that takes a while.
pages() {
    mkdir -p /srv/www /etc/nt && echo hello >/srv/www/hello
    head -c 40000000 /dev/urandom >/srv/www/large
    chmod -R a+rX /srv/www
}

# Runs `first` at the first boot of a disk and `second` at the next. What is said passes a pipe: nt would otherwise take
# itself to be at a terminal.
both_boots() {
    {
        if [ -e /var/lib/second ]; then second; else touch /var/lib/second && first; fi
        say "all was looked at"
    } 2>&1 </dev/null | cat >/dev/console
}
