#!/bin/sh
# Within the machine of run.sh, at each of two boots: what `nt install` makes of nt under OpenRC.
. /usr/local/lib/common.sh

# Of nt itself, not of supervise-daemon, which has it on its command line.
pid() { case $1 in nt) pgrep -f '^/usr/local/bin/nt -s' ;; *) pgrep -f '^/usr/local/bin/nt -c' ;; esac; }
is() { rc-service "$1" status; }

first() {
    pages
    holds "a server is installed" nt install -s
    license=$(nt license add vm 2>/dev/null | tail -1)
    printf 'map = ["8080:files:/srv/www"]\n' >/etc/nt/client.toml
    nt install -c "$license@127.0.0.1" --config /etc/nt/client.toml --name nt-client
    for name in nt nt-client; do holds "$name runs" within 20 is $name; done
    holds "a visitor is served" within 20 page hello
    holds "nt status shows the server" shows 'of [12] clients' nt status
    holds "nt status shows the client" shows 'client .* of 127.0.0.1' nt status
    ls -lan /run/nt /var/log/nt*.log
    holds "no license is in the client's log" sh -c '! grep nt1 /var/log/nt-client.log'
    killed 20
    old=$(pid nt-client)
    printf 'map = ["8080:files:/srv/www", "8081:files:/srv/www"]\n' >/etc/nt/client.toml
    holds "settings are reloaded" rc-service nt-client reload
    holds "and count" within 20 page hello 8081
    holds "in the same process" [ "$(pid nt-client)" = "$old" ]
    curl -s --limit-rate 10M -o /tmp/large http://127.0.0.1:8080/large &
    visit=$!
    sleep 1
    holds "a client is stopped" rc-service nt-client stop
    holds "a visit that was on the way is whole" wait $visit
    holds "to its last byte" cmp /srv/www/large /tmp/large
    holds "a client is started" rc-service nt-client start
    holds "a server is restarted" rc-service nt restart
    holds "and its client comes back" within 30 page hello
    tail -n 20 /var/log/nt.log /var/log/nt-client.log | grep -v nt1
}

second() {
    for name in nt nt-client; do holds "$name is there after a boot" within 30 is $name; done
    holds "and a visitor is served" within 30 page hello
    holds "the license is still there" shows vm nt license list
    holds "the client is uninstalled" nt uninstall --name nt-client
    holds "the server is uninstalled" nt uninstall
    holds "nothing is left that was written" sh -c '! find /etc/init.d /etc/runlevels /etc/rc* -name "nt*" | grep .'
    holds "nothing runs" sh -c '! pgrep -f "^/usr/local/bin/nt"'
    holds "the state is kept" [ -s /var/lib/nt/licenses.toml ]
    holds "and the license" [ -s /etc/nt/nt-client.license ]
}

# Nobody brings up loopback here: at the second boot nt is there before the network is.
ip link set lo up
both_boots
poweroff
