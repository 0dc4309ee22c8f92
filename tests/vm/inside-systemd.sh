#!/bin/sh
# Within the machine of run.sh, at each of two boots: what `nt install` makes of nt under systemd.
. /usr/local/lib/common.sh

pid() { systemctl show -p MainPID --value "$1"; }
is() { systemctl is-active --quiet "$1"; }

first() {
    pages
    holds "a server is installed" nt install -s
    license=$(nt license add vm 2>/dev/null | tail -1)
    nt install -c "$license@127.0.0.1" 8080:files:/srv/www --name nt-client
    holds "the client is active" within 20 is nt-client
    holds "a visitor is served" within 20 page hello
    say "$(systemctl show -p Type,NotifyAccess,StatusText,WatchdogUSec,User,DynamicUser nt | tr '\n' ' ')"
    say "$(systemctl show -p Type,NotifyAccess,StatusText,WatchdogUSec,User,DynamicUser nt-client | tr '\n' ' ')"
    holds "nt status shows the server" shows 'of 2 clients' nt status
    holds "nt status shows the client" shows 'client .* of 127.0.0.1' nt status
    nt status
    ls -lan /run/nt /run/nt/nt-client
    say "another user: $(HOME=/nonexistent setpriv --reuid=65534 --regid=65534 --clear-groups nt status 2>&1)"
    holds "a license is revoked, and the server says so" nt license revoke default
    holds "no license is in the journal of the client" sh -c '! journalctl -u nt-client | grep nt1'
    holds "no license is in its unit or on its command line" \
        sh -c "! grep -q nt1 /etc/systemd/system/nt-client.service && ! tr '\\0' ' ' </proc/$(pid nt-client)/cmdline | grep nt1"
    systemctl --version | head -1
    say "security: $(systemd-analyze security nt | tail -1); $(systemd-analyze security nt-client | tail -1)"
    for unit in nt nt-client; do holds "$unit may little" systemd-analyze security --threshold=20 "$unit"; done

    failures
    reloads
    sockets
    journalctl -u nt -u nt-client -o short-monotonic --no-hostname | grep -v nt1 | tail -80
    say "priorities in the journal: $(journalctl -u nt -u nt-client _COMM=nt -o json --output-fields=PRIORITY | sed 's/.*PRIORITY":"\(.\)".*/\1/' | sort | uniq -c | tr '\n' ' ')"
}

failures() {
    killed 15
    old=$(pid nt)
    kill -STOP "$old"
    began=$(date +%s)
    holds "a server that stands still is started again" within 60 anew nt "$old"
    say "after $(($(date +%s) - began)) s"
    holds "and a visitor is served" within 60 page hello
    curl -s --limit-rate 10M -o /tmp/large http://127.0.0.1:8080/large &
    visit=$!
    sleep 1
    holds "a client is stopped" systemctl stop nt-client
    holds "a visit that was on the way is whole" wait $visit
    holds "to its last byte" cmp /srv/www/large /tmp/large
    systemctl start nt-client
    within 30 page hello
    holds "a server is restarted" systemctl restart nt
    holds "and its client comes back" within 30 page hello
}

reloads() {
    printf 'map = ["8080:files:/srv/www"]\n' >/etc/nt/client.toml
    nt install -c @/etc/nt/nt-client.license --config /etc/nt/client.toml --name nt-client
    grep -n 'config' /etc/systemd/system/nt-client.service
    holds "a client with settings serves" within 20 page hello
    old=$(pid nt-client)
    printf 'map = ["8080:files:/srv/www", "8081:files:/srv/www"]\n' >/etc/nt/client.toml
    holds "settings that everybody may read are reloaded" systemctl reload nt-client
    holds "and count" within 20 page hello 8081
    holds "in the same process" [ "$(pid nt-client)" = "$old" ]
    : >/etc/nt/nt.toml
    holds "a server with settings is installed" nt install -s --config /etc/nt/nt.toml
    holds "and serves" within 30 page hello
    old=$(pid nt)
    echo 'plain = "127.0.0.1:9000"' >/etc/nt/nt.toml
    holds "its settings are reloaded" systemctl reload nt
    holds "and count" within 20 nc.openbsd -z 127.0.0.1 9000
    holds "in the same process" [ "$(pid nt)" = "$old" ]
    nt install -s
    chmod 600 /etc/nt/client.toml
    nt install -c @/etc/nt/nt-client.license --config /etc/nt/client.toml --name nt-client
    grep -n -B1 'config' /etc/systemd/system/nt-client.service
    holds "settings that are root's alone are handed over" within 20 page hello
    printf 'map = ["8080:files:/srv/www"]\n' >/etc/nt/client.toml
    systemctl restart nt-client
    holds "and count at a restart" within 20 sh -c '! curl -sf -o /dev/null http://127.0.0.1:8081/hello'
}

sockets() {
    holds "a server is installed whose ports systemd holds" nt install --socket -s --admin 127.0.0.1:9001
    systemctl status nt.socket nt --no-pager -n 3
    say "$(ss -Hltnp 'sport = :9002' | tr -s ' ')"
    holds "its client comes back" within 30 page hello
    systemctl restart nt &
    restart=$!
    refused=0 tries=0
    while kill -0 $restart 2>/dev/null; do
        nc.openbsd -z 127.0.0.1 9002 || refused=$((refused + 1))
        tries=$((tries + 1))
    done
    holds "while it is restarted nobody is refused" [ $refused = 0 ]
    say "of $tries who came"
    holds "and a visitor is served" within 30 page hello
    holds "both are started again" systemctl restart nt.socket
    holds "and a visitor is served" within 30 page hello
    holds "without it, it opens its ports itself" nt install -s
    holds "and systemd none" sh -c '! systemctl is-active nt.socket && [ ! -e /etc/systemd/system/nt.socket ]'
    holds "and a visitor is served" within 30 page hello
    # An address that is there late in a boot.
    printf '%s\n' '[Unit]' Before=network-online.target '[Service]' Type=oneshot RemainAfterExit=yes \
        'ExecStart=sh -c "sleep 5; ip address add 10.9.9.9/32 dev lo"' '[Install]' WantedBy=network-online.target \
        >/etc/systemd/system/late.service
    systemctl enable --now late
    holds "and again with it" nt install --socket -s --admin 127.0.0.1:9001 --plain 10.9.9.9:9000
    holds "a visitor is served" within 30 page hello
    systemctl stop nt.socket
    holds "both can be stopped" sh -c '! systemctl is-active nt && ! nc.openbsd -z 127.0.0.1 9002'
    nc.openbsd -lk 9001 &
    other=$!
    systemctl start nt
    holds "where a port is another's, systemd opens none" sh -c '! systemctl is-active nt.socket'
    kill $other
    holds "and nt does as soon as it can" within 30 page hello
    systemctl stop nt
    systemctl start nt
    holds "and it starts with them" systemctl is-active nt.socket
}

second() {
    for unit in nt nt-client nt.socket; do holds "$unit is there after a boot" within 30 is $unit; done
    holds "the socket has the address that was late" shows 10.9.9.9:9000 ss -Hltn
    holds "no attempt of it failed" sh -c '! journalctl -b -u nt.socket | grep -i fail'
    holds "and a visitor is served" within 30 page hello
    holds "what was revoked still is" shows 'default.*revoked' nt license list
    nt license list
    holds "the client is uninstalled" nt uninstall --name nt-client
    holds "the server is uninstalled" nt uninstall
    cat /tmp/said
    holds "nothing is left that was written" sh -c '! ls /etc/systemd/system | grep "^nt"'
    holds "nothing is left that is enabled" sh -c '! find /etc/systemd -name "nt*" | grep .'
    holds "nobody listens" sh -c '! ss -Hltn | grep 9002'
    holds "the state is kept" [ -s /var/lib/nt/licenses.toml ]
    holds "and the license" [ -s /etc/nt/nt-client.license ]
}

both_boots
systemctl poweroff
