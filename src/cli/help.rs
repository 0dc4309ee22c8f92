//! The pages of help that are read most, written by hand.

use crate::features;

/// The first page, and what of it means nothing to this build.
pub(super) fn top() -> String {
    let missing = features::left_out().collect::<Vec<_>>().join(", ");
    match missing.as_str() {
        "" => TOP.to_owned(),
        missing => {
            format!("{TOP}\nThis nt was built without the features {missing}: what needs them says so.\n")
        }
    }
}

/// The same without that.
pub(super) const TOP: &str = "\
nt publishes services that live behind NAT.

  nt -s                               be the server, on a machine with a public address
  nt -c LICENSE@HOST [MAPPING...]     be a client, on the machine behind NAT

First, on the server:   nt -s
It prints the line to paste on the client, such as
                        nt -c nt1...@vps.example.com 2222:22
and the client's port 22 is then port 2222 of the server.

Commands:
  license add NAME                    make a license for one more client, and print it
  license list | show | revoke | rotate | remove
  map add | remove | list NAME        the mappings that stand in a license
  plan [FILE]                         what would change if FILE were licenses.toml
  reload [FILE] [--confirm SECONDS]   have a running server look at its files now, or take FILE
  status [--json]                     how a running server is: clients, mappings, traffic
  check FILE                          say what is wrong with nt.toml or licenses.toml
  doctor [LICENSE@HOST [MAPPING...]]  say why a tunnel does not work: of a client, or of this server
  bench LICENSE@HOST                  say how much passes through a live tunnel, and how fast
  demo [--once]                       see a tunnel work on this machine
  install -s | -c ...                 run that at every boot, as a service of this machine
  uninstall                           and no longer
  version                             say which version this is

More: nt -s --help, nt -c --help, nt license --help, nt install --help
";

#[cfg(feature = "server")]
pub(super) const SERVE: &str = "\
Usage: nt -s [FLAGS]

Be the server. The first start makes a key and a license `default`, and prints the line to paste on
the client.

Flags:
  --listen ADDR:PORT    the tunnel port under TLS (default [::]:9002, IPv4 and IPv6)
  --plain ADDR:PORT     an unencrypted tunnel port as well (default off; 9000 by habit)
  --http ADDR:PORT      serve public names over HTTP, as in --http :80 (default off)
  --https ADDR:PORT     serve public names over TLS, as in --https :443 (default off), and clients as well;
                        certificates come from the folder `certs` of nt.toml
  --log text|json       how the log is written, on standard error (default text); NT_LOG=debug says more
  --memory BYTES        most memory for what is in transit, such as 64M (default a quarter of what there is)
  --config FILE         nt.toml, for what the flags do not name; flags count more
  --state DIR           where key and licenses are kept (default $STATE_DIRECTORY, else /var/lib/nt for
                        root, else $XDG_STATE_HOME/nt, else ~/.local/state/nt)
  --admin ADDR:PORT     serve the REST API on loopback too, for who brings the token in DIR/admin.token; on the
                        socket DIR/admin.sock it is always served

Examples:
  nt -s
  nt -s --listen 192.0.2.1:443 --state /srv/nt
  nt -s --http :80 --https :443
  nt -s --config /etc/nt/nt.toml
";

#[cfg(feature = "client")]
pub(super) const CLIENT: &str = "\
Usage: nt -c LICENSE@HOST[:PORT][,HOST2[:PORT]...] [MAPPING...] [FLAGS]
       nt -c @FILE [MAPPING...]      LICENSE@HOST is in FILE, where `ps` does not show it
       nt -c - [MAPPING...]          or comes on standard input
       NT_LICENSE=LICENSE@HOST nt -c [MAPPING...]

Be a client: keep the tunnel up, for ever, and publish what the mappings say.

Mappings, PUBLIC:TARGET as ssh and docker have them:
  8080                  public port 8080 to port 8080 of this machine
  2222:22               public port 2222 to port 22 of this machine
  2222:192.168.1.5:22   to another machine; [fd00::5] for IPv6, or a name
  2222:unix:/run/a.sock to a Unix socket
  0:22                  any free public port that the license allows
  6000-6010:7000-7010   a range, port by port
  53:192.168.1.1:53/udp UDP: each visitor's datagrams by themselves; the port may be TCP's as well
  127.0.0.1:8081:80     public at one address of the server only
  2222:22,proxy=v2      and tell the target who visits, by the PROXY protocol, v1 or v2;
                        accept-proxy=10.0.0.0/8 believes what fronts there say of it
  blog.example.com:3000 by name, where the server has --http; *.example.com for all below a name,
                        example.com/api:4000 for a path. Behind the target /https ends TLS on the
                        server, /tls passes it through; auth=USER:PASSWORD, host=NAME, header=NAME:VALUE
  1080:socks5           whatever visitors ask for, if --allow covers it; or http-proxy. With
                        auth=USER:PASSWORD for who knows it alone
  8080:files:/srv/www   a folder, read-only; by name, too
  ssh:22/private        no public place: for clients whose license may --visit it
                        rate=10M/2M holds its visitors together to so many bytes a second, to the target and from
                        it; allow=10.0.0.0/8 lets in visitors from there alone
  8080,check=http:/up   looks after the target, by check=tcp too: while it is sick, visitors go elsewhere
A license may have mappings of its own on the server; then none is needed here.

Flags:
  --allow LIST          targets that the server's mappings may name: loopback (default), lan, any, CIDR,
                        CIDR:PORT, [CIDR]:PORT, unix:PATH, files:PATH, with commas between; what you map here
                        needs none, but what visitors of socks5 and http-proxy ask for does
  --visit NAME:PORT     bring visitors of this machine's PORT to a private mapping of another client, OWNER/NAME
  --via PROXY           reach the server through http://[USER:PASSWORD@]HOST:PORT or socks5://...;
                        `ps` shows a password here, so it had better stand in FILE
  --plain               use the unencrypted port (default 9000, else TLS on 9002); never by itself
  --ca webpki|FILE      check the server's certificate as browsers do, beyond what the license proves
  --memory BYTES        most memory for what is in transit, such as 4M (default a quarter of what there is); the
                        start says how many visitors that is
  --log text|json       how the log is written, on standard error (default text); NT_LOG=debug says more
  --config FILE         nt.toml, for what the flags do not name; flags count more

Examples:
  nt -c @/etc/nt/license 2222:22 8080
  nt -c nt1...@vps.example.com:443 0:192.168.1.5:3389
  nt -c @license --allow loopback,192.168.1.5:22
";

#[cfg(feature = "install")]
pub(super) const INSTALL: &str = "\
Usage: nt install [FLAGS] -s [FLAGS OF nt -s]
       nt install [FLAGS] -c LICENSE@HOST [MAPPING...] [FLAGS OF nt -c]

Have this machine run that command line now and at every boot. It is checked first; the service runs this very
program, and files are named by their whole paths. A license that is given as text, on standard input (-c -) or in
NT_LICENSE is put into /etc/nt/NAME.license, which root alone can read. A service that was installed before is
replaced.

Flags:
  --name NAME           what the service is called (default nt)
  --print               print what would be written and run, and do nothing
  --system SYSTEM       systemd, openrc, procd or launchd, where it is not found out
  --socket              of a server with systemd: have that open the ports, and hold them while nt is started again

Examples:
  nt install -s --http :80
  nt install --socket -s --https :443
  nt install -c @/etc/nt/license 2222:22 8080
  nt install --print --system systemd -c nt1...@vps.example.com 2222:22
";

#[cfg(feature = "doctor")]
pub(super) const DOCTOR: &str = "\
Usage: nt doctor LICENSE@HOST[:PORT][,HOST2[:PORT]...] [MAPPING...] [FLAGS OF nt -c]
       nt doctor @FILE [MAPPING...]      or -, or NT_LICENSE, as for nt -c
       nt doctor [--state DIR]           of the server of this machine

Look at all that a tunnel needs, one thing after the other, and say what to do where something is wrong. With a license
it looks from here, as the client does: DNS, clock, TCP, TLS, the login (beside a client that runs, which goes on), how
long the way takes and what gets lost on it; then the targets of the mappings, and their public places. Without one it
asks the server of this machine. Exit 0 when nothing is bad.

Flags:
  --json                an array of {check, subject, ok, says, do}; ok is null where a check could not be made
  --state DIR           the server's state directory

Examples:
  nt doctor @/etc/nt/license 2222:22 8080
  nt doctor --config /etc/nt/nt.toml
  nt doctor
";

#[cfg(feature = "doctor")]
pub(super) const BENCH: &str = "\
Usage: nt bench LICENSE@HOST[:PORT] [--seconds N] [--streams N] [--json] [FLAGS OF nt -c]

Measure a live tunnel, beside a client that runs: log in with one mapping to a service of this program's own, on a
free port of the license, and visit it from here. Latency, throughput each way, new connections a second. What passes
counts for the license's quota, and is held to its rate.

Flags:
  --seconds N           how long each figure is measured (default 3)
  --streams N           how many streams flow at once, where it is more than one (default 4)
  --json                for programs
  --plain               through the unencrypted port; also --via, --ca, --config, as for nt -c

Example:
  nt bench @/etc/nt/license --seconds 10
";

pub(super) const NO_SERVER: &str =
    "which server? Write nt -c LICENSE@HOST, nt -c @FILE, or set NT_LICENSE (see `nt -c --help`)";
