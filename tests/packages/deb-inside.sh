# What deb.sh does within the small Debian: installs, looks, upgrades, removes, purges.
set -eu
cd /packages
fail() { echo "deb: inside: $1"; exit 1; }
mode() { [ "$(stat -c '%a %U:%G' "$1")" = "$2" ] || fail "$1 is $(stat -c '%a %U:%G' "$1"), not $2"; }

dpkg -i nt.deb >/dev/null
dpkg -V nt || fail "files are not those of the package"
nt version | grep -q '^nt ' || fail "nt version"
timeout 60 nt demo --once >/dev/null 2>&1 || fail "nt demo"
mode /usr/bin/nt '755 root:root'
mode /etc/nt '755 root:root'
mode /etc/nt/nt.toml '644 root:root'
mode /usr/lib/systemd/system/nt.service '644 root:root'
mode /usr/lib/systemd/system/nt@.service '644 root:root'
[ -z "$(find /etc/systemd /etc/init.d /etc/rc?.d -name '*nt*.service' -o -name nt)" ] || fail "something is enabled"
nt check /etc/nt/nt.toml >/dev/null || fail "nt.toml is not good"
# Also the settings that are commented out.
sed 's/^# \([a-z_]* = \)/\1/' /etc/nt/nt.toml > all.toml
nt check all.toml >/dev/null || fail "what nt.toml proposes is not good"
license=nt1aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwqxykjaq
sed "s/LICENSE/$license/" /usr/share/doc/nt/examples/client.toml > client.toml
nt check client.toml >/dev/null || fail "the example is not good"
man nt | grep -q 'license add' || fail "man nt"
man 5 nt.toml | grep -q public_host || fail "man nt.toml"
bash -c '. /usr/share/bash-completion/completions/nt && complete -p nt' >/dev/null || fail "completion of bash"

# A license that is made before the server has ever run; systemd moves the folder for its user.
nt license add nas >/dev/null 2>&1 || fail "nt license add"
[ -s /var/lib/nt/licenses.toml ] || fail "there is no state"
install -m 600 /dev/null /etc/nt/home.toml

# An upgrade keeps what was changed.
echo '# mine' >> /etc/nt/nt.toml
dpkg -i newer.deb >/dev/null
tail -n 1 /etc/nt/nt.toml | grep -q mine || fail "the upgrade has lost a setting"
nt license list | grep -q nas || fail "the upgrade has lost a license"
# Each script may come twice.
for script in "postinst configure 0.1.0-1" "prerm upgrade 9" "postrm upgrade 9"; do
    sh -c "sh /var/lib/dpkg/info/nt.$script && sh /var/lib/dpkg/info/nt.$script" || fail "$script"
done

dpkg -r nt >/dev/null
[ ! -e /usr/bin/nt ] || fail "the program is still there"
tail -n 1 /etc/nt/nt.toml | grep -q mine || fail "settings went before a purge"
[ -s /var/lib/nt/licenses.toml ] || fail "state went before a purge"

dpkg -i nt.deb >/dev/null
nt license list | grep -q nas || fail "installed again it knows nothing"
tail -n 1 /etc/nt/nt.toml | grep -q mine || fail "installed again it has other settings"

# A service of `nt install` has its state there as well.
mkdir -p /etc/systemd/system && touch /etc/systemd/system/nt.service
dpkg -P nt >/dev/null 2>&1
[ -s /var/lib/nt/licenses.toml ] || fail "the purge took the state of a service that is not the package's"
rm /etc/systemd/system/nt.service

dpkg -i nt.deb >/dev/null
mkdir -p /var/lib/private && mv /var/lib/nt /var/lib/private/nt && ln -s private/nt /var/lib/nt
dpkg -P nt >/dev/null 2>&1
[ ! -e /var/lib/private/nt ] && [ ! -L /var/lib/nt ] || fail "the purge has left state"
[ ! -e /etc/nt/nt.toml ] || fail "the purge has left settings"
[ -e /etc/nt/home.toml ] || fail "the purge took a license, which nobody can make again"
left=$(find /usr /etc /var/lib -path /var/lib/dpkg -prune -o \( -name nt -o -name 'nt.*' -o -name 'nt@*' -o -name _nt \) -print \
    | grep -v '^/etc/nt$' || :)
[ -z "$left" ] || fail "the purge has left $left"
