//! The grammar of mappings: what it takes and how it shows it, what it refuses in which words, and
//! that whatever it shows it reads back.

use nt::entropy::Entropy;
use nt::mapping::{self, Indexed, MAPPING_PORTS_MAX, Mapping};

fn parse_one(text: &str) -> Mapping {
    mapping::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Text, and the canonical text of what it stands for.
const TAKEN: [(&str, &str); 85] = [
    ("8080", "8080:8080"),
    (" 8080\n", "8080:8080"),
    ("2222:22", "2222:22"),
    ("02222:0022", "2222:22"),
    ("2222:127.0.0.1:22", "2222:22"),
    ("2222:192.168.1.5:22", "2222:192.168.1.5:22"),
    ("2222:nas.lan:22", "2222:nas.lan:22"),
    ("2222:NAS:22", "2222:nas:22"),
    ("2222:my_app:22", "2222:my_app:22"),
    ("2222:localhost:22", "2222:localhost:22"),
    ("0:22", "0:22"),
    ("0:nas:22", "0:nas:22"),
    ("53:192.168.1.1:53/udp", "53:192.168.1.1:53/udp"),
    ("53/udp", "53:53/udp"),
    ("8080/tcp", "8080:8080"),
    ("2222:22/tcp", "2222:22"),
    ("8080:80/http", "8080:80/http"),
    ("8443:80/https", "8443:80/https"),
    ("127.0.0.1:8081:80", "127.0.0.1:8081:80"),
    ("127.0.0.1:8081:192.168.1.5:80", "127.0.0.1:8081:192.168.1.5:80"),
    ("127.0.0.1:0:80", "127.0.0.1:0:80"),
    ("127.0.0.1:8081:nas:80/udp", "127.0.0.1:8081:nas:80/udp"),
    ("[::1]:8081:80", "[::1]:8081:80"),
    ("[::1]:8081:[::1]:80", "[::1]:8081:[::1]:80"),
    ("[::]:8081:80", "[::]:8081:80"),
    ("[::ffff:10.0.0.1]:8081:80", "10.0.0.1:8081:80"),
    ("2222:[fd00::5]:22", "2222:[fd00::5]:22"),
    ("2222:[FD00:0::5]:22", "2222:[fd00::5]:22"),
    ("2222:[::ffff:127.0.0.1]:22", "2222:22"),
    ("2222:unix:/run/app.sock", "2222:unix:/run/app.sock"),
    ("2222:unix:/run/a:b", "2222:unix:/run/a:b"),
    ("2222:unix:/run/tcp/tcp", "2222:unix:/run/tcp/tcp"),
    ("2222:unix:/run/app.sock/tcp", "2222:unix:/run/app.sock"),
    ("2222:unix:/run/app.sock/http", "2222:unix:/run/app.sock/http"),
    ("2222:unix:/tcp/tcp", "2222:unix:/tcp/tcp"),
    ("127.0.0.1:2222:unix:/run/app.sock", "127.0.0.1:2222:unix:/run/app.sock"),
    ("1080:socks5", "1080:socks5"),
    ("127.0.0.1:0:socks5/tcp", "127.0.0.1:0:socks5"),
    ("3128:http-proxy,auth=me:secret", "3128:http-proxy,auth=me:secret"),
    ("1080:socks5:80", "1080:socks5:80"),
    ("8080:files:/srv/www", "8080:files:/srv/www"),
    ("8080:files:/srv/www/http,auth=me:secret", "8080:files:/srv/www/http,auth=me:secret"),
    ("8080:files:/srv/http/tcp", "8080:files:/srv/http/tcp"),
    ("www.example.com:files:/", "www.example.com:files:/"),
    ("www.example.com/docs:files:/srv/docs/https", "www.example.com/docs:files:/srv/docs/https"),
    ("ssh:22/private", "ssh:22/private"),
    ("SSH:nas.lan:22/private", "ssh:nas.lan:22/private"),
    ("web:unix:/run/app.sock/private", "web:unix:/run/app.sock/private"),
    ("out:socks5/private,auth=me:secret", "out:socks5/private,auth=me:secret"),
    ("blog.example.com:unix:/run/app.sock", "blog.example.com:unix:/run/app.sock"),
    ("blog.example.com:unix:/run/tcp/http", "blog.example.com:unix:/run/tcp/http"),
    ("blog.example.com:3000", "blog.example.com:3000"),
    ("Blog.Example.com.:3000", "blog.example.com:3000"),
    ("blog.example.com:192.168.1.5:3000", "blog.example.com:192.168.1.5:3000"),
    ("blog.example.com:[fd00::5]:3000", "blog.example.com:[fd00::5]:3000"),
    ("blog.example.com:3000/http", "blog.example.com:3000"),
    ("blog.example.com:3000/https", "blog.example.com:3000/https"),
    ("blog.example.com:3000/tls", "blog.example.com:3000/tls"),
    ("nas.lan:22", "nas.lan:22"),
    ("*.example.com:3000", "*.example.com:3000"),
    ("*.example.com:3000/tls", "*.example.com:3000/tls"),
    ("example.com/api:4000", "example.com/api:4000"),
    ("example.com/:4000", "example.com:4000"),
    ("example.com/api/v1/:4000/https", "example.com/api/v1:4000/https"),
    ("example.com/http:4000", "example.com/http:4000"),
    ("3com.example:80", "3com.example:80"),
    ("2222:22,proxy=v1", "2222:22,proxy=v1"),
    ("2222:22,proxy=v2,allow=10.0.0.0/8,rate=2M", "2222:22,proxy=v2,allow=10.0.0.0/8,rate=2M"),
    ("2222:22, rate=2000000 , proxy=v2", "2222:22,proxy=v2,rate=2M"),
    ("2222:22,allow=10.0.0.0/8+fd00::/8+1.2.3.4", "2222:22,allow=10.0.0.0/8+fd00::/8+1.2.3.4"),
    ("2222:22,rate=1500", "2222:22,rate=1500"),
    ("53:53/udp,rate=1K", "53:53/udp,rate=1K"),
    ("2222:22,accept-proxy=10.0.0.1,check=tcp", "2222:22,accept-proxy=10.0.0.1,check=tcp"),
    ("8080:80/http,check=http:/health?x=1", "8080:80/http,check=http:/health?x=1"),
    ("a.example:80,host=Inner.lan:8080", "a.example:80,host=inner.lan:8080"),
    ("a.example:80,host=10.0.0.1", "a.example:80,host=10.0.0.1"),
    ("a.example:80,auth=me:pass:word=x", "a.example:80,auth=me:pass:word=x"),
    ("a.example:80,header=X-A:b c,header=X-B: d", "a.example:80,header=X-A:b c,header=X-B:d"),
    ("65535:1", "65535:1"),
    ("1:65535", "1:65535"),
    ("6000-6000:7000", "6000:7000"),
    ("6000-6010", "6000-6010:6000-6010"),
    ("6000-6010:7000-7010/udp", "6000-6010:7000-7010/udp"),
    ("06000-06010:Nas.lan.:7000-7010,proxy=v2", "6000-6010:nas.lan:7000-7010,proxy=v2"),
    ("[::1]:8081-8082:[::1]:80-81", "[::1]:8081-8082:[::1]:80-81"),
];

#[test]
fn what_is_taken() {
    for (text, canonical) in TAKEN {
        let mapping = parse_one(text);
        assert_eq!(mapping.to_string(), canonical, "{text}");
        assert_eq!(parse_one(canonical), mapping, "{text}");
    }
}

#[test]
fn a_range_has_parts() {
    for (text, first, last, count) in [
        ("6000-6010:7000-7010", "6000:7000", "6010:7010", 11),
        ("6000-6010", "6000:6000", "6010:6010", 11),
        ("6000-6010/udp", "6000:6000/udp", "6010:6010/udp", 11),
        ("6000-6010:192.168.1.5:7000-7010", "6000:192.168.1.5:7000", "6010:192.168.1.5:7010", 11),
        ("[::1]:6000-6001:[::2]:1-2,rate=1K", "[::1]:6000:[::2]:1,rate=1K", "[::1]:6001:[::2]:2,rate=1K", 2),
        ("64512-65535", "64512:64512", "65535:65535", MAPPING_PORTS_MAX),
    ] {
        let mapping = parse_one(text);
        let end = mapping.count();
        assert_eq!(usize::from(end), count);
        assert_eq!(mapping.part(0, 1), parse_one(first));
        assert_eq!(mapping.part(end - 1, 1), parse_one(last));
        assert_eq!(mapping.part(0, end), mapping);
    }
    let range = parse_one("6000-6010:nas:7000-7010");
    assert_eq!(range.part(3, 2), parse_one("6003-6004:nas:7003-7004"));
    assert_eq!(range.part(9, 5), parse_one("6009-6010:nas:7009-7010"), "no further than it goes");
    assert_eq!(range.target.part(3, 1).to_string(), "nas:7003");
    let public = "[::]:6003".parse().expect("an address");
    assert_eq!(range.part(3, 2).shown_at(public, Some("vps.example.com")), "vps.example.com:6003-6004");
    assert_eq!(range.part(3, 1).shown_at(public, None), "[::]:6003");
    let named = parse_one("blog.example.com:80");
    assert_eq!(named.part(0, 1), named);
}

/// What two mappings cannot both have.
#[test]
fn mappings_collide() {
    for (one, other, shared) in [
        ("80", "80:22", Some("80")),
        ("6000-6010", "6010-6020", Some("6010")),
        ("6000-6010", "6003-6005:1-3", Some("6003-6005")),
        ("6000-6010", "6011-6020", None),
        ("0:22", "0:22", None),
        ("80", "80/udp", None),
        ("[::1]:80:80", "80", None),
        ("[::1]:80:80", "[::1]:79-81:1-3", Some("[::1]:80")),
        ("a.com:80", "a.com:81", Some("a.com")),
        ("a.com:80", "a.com/api:81", None),
        ("a.com:80", "a.com:81/tls", None),
    ] {
        let (one, other) = (parse_one(one), parse_one(other));
        let found = one.collision(&other).map(|public| public.to_string());
        assert_eq!(found.as_deref(), shared, "{one} and {other}");
        assert_eq!(other.collision(&one), one.collision(&other));
    }
}

/// The index of a range stands for all of its ports.
#[test]
fn mappings_are_found_by_index() {
    let mut indexed = Indexed::default();
    for (index, text) in [(0, "80"), (1, "6000-6010"), (12, "81"), (0x8001, "5000-5001")] {
        indexed.insert(index, parse_one(text));
    }
    let at = |index| indexed.find(index).map(|(mapping, offset)| mapping.part(offset, 1).public.to_string());
    let found: Vec<Option<String>> = [0, 1, 11, 12, 13, 0x8000, 0x8002, 0x8003].map(at).into();
    let public = ["80", "6000", "6010", "81", "", "", "5001", ""];
    assert_eq!(found, public.map(|text| (!text.is_empty()).then(|| text.to_owned())));
    for (indexes, overlapping) in [
        (0..1, vec![0]),
        (5..6, vec![1]),
        (5..13, vec![1, 12]),
        (13..14, vec![]),
        (0..0x8001, vec![0, 1, 12]),
    ] {
        assert_eq!(indexed.overlapping(indexes.clone()), overlapping, "{indexes:?}");
    }
    assert_eq!((indexed.count(0..0x8000), indexed.count(0..u16::MAX)), (13, 15));
}

/// Text, and what the error says behind "in `TEXT`: ".
const REFUSED: [(&str, &str); 91] = [
    ("", "there is no mapping; the simplest is a port, as in `8080`"),
    ("2222:70000", "port `70000` is not in 1..65535"),
    ("70000", "port `70000` is not in 1..65535"),
    ("99999999999999999999:22", "port `99999999999999999999` is not in 1..65535"),
    ("2222:0", "only the public port may be 0"),
    ("2222:nas:0", "only the public port may be 0"),
    ("0", "0 is any public port, but of no target: write `0:22`"),
    ("0-10", "0 (any free port) cannot be part of a range"),
    ("00:22", "0 (any free port) cannot be part of a range"),
    ("0:7000-7001", "0 is 1 port, 7000-7001 is 2 ports: both sides need as many"),
    ("6010-6000", "the range `6010-6000` runs backwards"),
    ("6000-6010:7000-7005", "6000-6010 is 11 ports, 7000-7005 is 6 ports: both sides need as many"),
    ("6000-6010:7000", "6000-6010 is 11 ports, 7000 is 1 port: both sides need as many"),
    ("1-1025", "1025 ports are more than the 1024 that one range may have"),
    ("6000-", "port `` is not in 1..65535"),
    ("6000-6010-6020", "port `6010-6020` is not in 1..65535"),
    ("6000-6001:unix:/x", "a range of ports cannot go to unix:/x"),
    (":22", "a part is empty; a mapping is PUBLIC:TARGET, as in `2222:22`"),
    ("2222:", "a part is empty; a mapping is PUBLIC:TARGET, as in `2222:22`"),
    ("2222::22", "an IPv6 address stands in brackets, as in `2222:[fd00::5]:22`"),
    ("2222:fd00::5:22", "an IPv6 address stands in brackets, as in `2222:[fd00::5]:22`"),
    ("::1:8081:80", "an IPv6 address stands in brackets, as in `2222:[fd00::5]:22`"),
    ("2222:[fd00::5", "a bracket is not closed"),
    ("2222:fd00::5]:22", "brackets stand around an IPv6 address, as in `[fd00::5]`"),
    ("2222:a[::1]:22", "brackets stand around an IPv6 address, as in `[fd00::5]`"),
    ("2222:[::1]x:22", "`[::1]x` is not an IPv6 address"),
    ("2222:[[::1]]:22", "brackets stand around an IPv6 address, as in `[fd00::5]`"),
    ("2222:[10.0.0.1]:22", "`[10.0.0.1]` is not an IPv6 address"),
    ("2222:[fe80::1%eth0]:22", "`[fe80::1%eth0]` is not an IPv6 address"),
    ("2222:nas.lan", "the target `nas.lan` has no port, as in `nas.lan:2222`"),
    ("0:nas.lan", "the target `nas.lan` has no port, as in `nas.lan:22`"),
    ("2222:192.168.1.5", "the target `192.168.1.5` has no port, as in `192.168.1.5:2222`"),
    ("2222:22:nas", "the target's host comes before its port: `nas:22`"),
    ("2222:22:33", "name `22` ends in a number, but is no IPv4 address"),
    ("2222:10.0.0.256:22", "name `10.0.0.256` ends in a number, but is no IPv4 address"),
    (
        "2222:10.0.0.1:22:33",
        "there are too many parts; a mapping is PUBLIC:HOST:PORT, an IPv6 address in brackets",
    ),
    ("2222:nas:ssh", "port `ssh` is not in 1..65535"),
    ("127.0.0.1", "a public address needs its port and a target, as in `127.0.0.1:8081:80`"),
    (
        "127.0.0.1:8081",
        "this could be the public side or the target: write `127.0.0.1:8081:8081` or `8081:127.0.0.1:8081`",
    ),
    (
        "[::1]:8081/udp",
        "this could be the public side or the target: write `[::1]:8081:8081` or `8081:[::1]:8081`",
    ),
    ("127.0.0.1:nas:22", "port `nas` is not in 1..65535"),
    ("127.0.0.1:unix:/x", "port `unix:/x` is not in 1..65535"),
    ("1.2.3:22", "name `1.2.3` ends in a number, but is no IPv4 address"),
    ("blog.example.com", "a public name needs a target, as in `blog.example.com:3000`"),
    ("example.com/api", "a public name needs a target, as in `example.com/api:3000`"),
    (
        "nas:22",
        "name `nas` has no dot: a public name looks like `blog.example.com`; for a target write \
            `22:nas:22`",
    ),
    ("nas:x:22", "name `nas` has no dot: a public name looks like `blog.example.com`"),
    ("blog.example.com:80-81", "a name goes to one port, not to a range"),
    ("blog..com:80", "name `blog..com` has two dots in a row or begins with one"),
    ("a.*.com:80", "name `a.*.com` has a `*` that is not its whole first label, as in `*.example.com`"),
    ("*:80", "name `*` has a `*` that is not its whole first label, as in `*.example.com`"),
    ("2222:*.lan:22", "name `*.lan` has a `*`: a target is one host"),
    ("bücher.de:80", "name `bücher.de` has letters outside ASCII: write its xn-- form"),
    ("a.com:80/tcp", "/tcp carries no name: write a public port, or /http, /https or /tls"),
    ("a.com:80/udp", "/udp carries no name: write a public port, or /http, /https or /tls"),
    ("a.com/x:80/tls", "/tls cannot see a path: leave it out, or let the server end TLS with /https"),
    ("443:443/tls", "/tls tells visitors apart by name: write a public name, or /tcp for all of a port"),
    ("53:unix:/x/udp", "it takes no datagrams: /udp needs a target HOST:PORT"),
    ("1080:socks5/udp", "it takes no datagrams: /udp needs a target HOST:PORT"),
    ("1080:socks5/http", "a proxy is not /http: leave the kind out"),
    ("1080-1081:socks5", "a range of ports cannot go to socks5"),
    ("a.com:http-proxy", "a proxy has no name: write a public port"),
    ("a.com:files:/srv/tls", "TLS does not end at the client: /tls needs a target that speaks it"),
    ("8080:files:srv", "the path of a folder begins with /, `srv` does not"),
    ("files:/srv", "a folder can only be a target: write the public port first, as in `8080:files:/srv/www`"),
    ("2:files.:2", "a host cannot be called `files`: write its address"),
    (
        "a.com:22/private",
        "`a.com` is no name of a private mapping: letters, digits and hyphens, as in `ssh:22/private`",
    ),
    (
        "2222:22/private",
        "`2222` is no name of a private mapping: letters, digits and hyphens, as in `ssh:22/private`",
    ),
    ("2:unix.:2", "a host cannot be called `unix`: write its address"),
    ("2:UNIX:2", "a host cannot be called `unix`: write its address"),
    ("53:53/upd", "`upd` is not a kind (tcp, udp, http, https, tls, private); did you mean `udp`?"),
    ("53:53/", "`` is not a kind (tcp, udp, http, https, tls, private)"),
    ("53:53/sctp", "`sctp` is not a kind (tcp, udp, http, https, tls, private)"),
    ("a.com:80/api", "`api` is not a kind; a path stands behind the public name: `a.com/api:80`"),
    ("a.com/a//b:80", "the path `/a//b` has an empty part, `.` or `..` in it"),
    ("a.com/../b:80", "the path `/../b` has an empty part, `.` or `..` in it"),
    ("a.com/a%2e:80", "the path `/a%2e` contains '%', which a path here may not"),
    ("a.com/a b:80", "the path `/a b` contains ' ', which a path here may not"),
    ("8080/udp:80", "the kind stands at the end: `8080:80/udp`"),
    (
        "unix:/run/x",
        "a Unix socket can only be a target: write the public port first, as in `2222:unix:/run/app.sock`",
    ),
    ("2222:unix:run/x", "the path of a Unix socket begins with /, `run/x` does not"),
    ("2222:unix:/tcp", "the path of a Unix socket begins with /, `` does not"),
    ("2222:unix:/a b", "the path `/a b` contains a space"),
    ("2222 22", "name `2222 22` contains ' ': a name has letters, digits and hyphens"),
    ("-c", "name `-c` has a part that begins or ends with a hyphen"),
    ("+22", "name `+22` contains '+': a name has letters, digits and hyphens"),
    ("22:+22", "name `+22` contains '+': a name has letters, digits and hyphens"),
    ("2222:22\x07", "name `22\\u{7}` contains '\\u{7}': a name has letters, digits and hyphens"),
    ("/", "name `` is empty"),
    ("[]:1:2", "`[]` is not an IPv6 address"),
    ("22:22:22:22", "there are too many parts; a mapping is PUBLIC:HOST:PORT, an IPv6 address in brackets"),
];

#[test]
fn what_is_refused_and_how() {
    for (text, what) in REFUSED {
        let error = mapping::parse(text).expect_err(text).to_string();
        let quoted = text.replace('\x07', "\\u{7}");
        assert_eq!(error, format!("in `{quoted}`: {what}"));
    }
    assert!(mapping::parse(&format!("2222:unix:/{}", "a".repeat(103))).is_err());
    assert!(mapping::parse(&"9".repeat(100_000)).is_err());
    assert!(mapping::parse(&"[".repeat(4096)).is_err());
}

/// Options, and what the error says.
const REFUSED_OPTIONS: [(&str, &str); 34] = [
    ("2222:22,", "`` is not an option (proxy, allow, rate, host, auth, header, accept-proxy, check)"),
    ("2222:22,proxy", "option `proxy` has no value"),
    (
        "2222:22,porxy=v2",
        "`porxy` is not an option (proxy, allow, rate, host, auth, header, accept-proxy, check); \
            did you mean `proxy`?",
    ),
    (
        "2222:22,Proxy=v2",
        "`Proxy` is not an option (proxy, allow, rate, host, auth, header, accept-proxy, check); \
            did you mean `proxy`?",
    ),
    ("2222:22,proxy=", "option `proxy` has no value"),
    ("2222:22,proxy=v3", "option `proxy`: `v3` is not v1 or v2"),
    ("2222:22,proxy=v2/udp", "option `proxy`: `v2/udp` is not v1 or v2"),
    ("2222:22,proxy=v1,proxy=v2", "option `proxy` comes twice"),
    ("2222:22,allow=10.0.0.0", "OK"),
    (
        "ssh:22/private,allow=10.0.0.0/8",
        "option `allow` does not go with /private: who may visit is said by the `visit` of the licenses",
    ),
    (
        "2222:22,allow=10.0.0.1/8",
        "option `allow`: `10.0.0.1/8` has bits behind its prefix: write 10.0.0.0/8, or \
            10.0.0.1/32 for this one address",
    ),
    ("2222:22,allow=10.0.0.0/8+", "option `allow`: `` is not a network such as 10.0.0.0/8 or fd00::/8"),
    ("2222:22,rate=0", "option `rate`: `0` is nothing: leave it out for no bound"),
    (
        "2222:22,rate=fast",
        "option `rate`: `fast` is not a number of bytes such as 500K, 2M or 1G (K is 1000)",
    ),
    ("2222:22,rate=99999999999G", "option `rate`: `99999999999G` is too large"),
    ("2222:22,host=a.b", "option `host` needs /http or /https: nothing else is looked into"),
    ("2222:22,auth=a:b", "option `auth` needs /http or /https: nothing else is looked into"),
    ("a.com:80/tls,header=a:b", "option `header` needs /http or /https: nothing else is looked into"),
    ("53:53/udp,proxy=v1", "option `proxy`: /udp needs v2, v1 knows no datagrams"),
    ("53:53/udp,check=tcp", "option `check` does not go with /udp"),
    ("53:53/udp,accept-proxy=::1", "option `accept-proxy` does not go with /udp"),
    ("a.com:80,host=a b", "option `host`: name `a b` contains ' ': a name has letters, digits and hyphens"),
    ("a.com:80,host=a:b", "option `host`: port `b` is not in 1..65535"),
    ("a.com:80,auth=hunter2", "option `auth`: write USER:PASSWORD, without spaces or commas"),
    ("a.com:80,auth=:hunter2", "option `auth`: write USER:PASSWORD, without spaces or commas"),
    ("a.com:80,auth=me:", "option `auth`: write USER:PASSWORD, without spaces or commas"),
    ("a.com:80,auth=me:hunt er2", "option `auth`: write USER:PASSWORD, without spaces or commas"),
    ("a.com:80,header=hunter2", "option `header`: write NAME:VALUE, in visible ASCII and without commas"),
    (
        "a.com:80,header=X Y:hunter2",
        "option `header`: write NAME:VALUE, in visible ASCII and \
        without commas",
    ),
    ("a.com:80,header=X:hunter2\n", "OK"),
    (
        "a.com:80,header=X:hunter2\r\nY:z",
        "option `header`: write NAME:VALUE, in visible ASCII and without commas",
    ),
    ("a.com:80,header=Content-Length:2", "option `header`: `Content-Length` is not for you to set"),
    ("a.com:80,check=https:/", "option `check`: `https:/` is not tcp or http:/PATH"),
    ("a.com:80,check=http:x", "option `check`: `http:x` is not tcp or http:/PATH"),
];

#[test]
fn which_options_are_refused_and_how() {
    for (text, what) in REFUSED_OPTIONS {
        let (route, _) = text.split_once(',').expect("an option");
        match mapping::parse(text) {
            Ok(_) => assert_eq!(what, "OK", "{text}"),
            Err(error) => {
                assert_eq!(error.to_string(), format!("in `{route}`: {what}"));
                assert!(!error.to_string().contains("hunter2"));
            }
        }
    }
}

#[test]
fn nothing_secret_is_printed() {
    let mapping = parse_one("a.com:80,auth=me:hunter2,header=Authorization:hunter2");
    assert!(mapping.to_string().contains("hunter2"));
    assert_eq!(mapping.route().to_string(), "a.com:80");
    let unserved = parse_one("a.com:80,auth=me:hunter2,accept-proxy=::1").served().expect_err("not served");
    for shown in [format!("{mapping:?}"), unserved] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    for text in ["a.com:80,auht=me:hunter2", "a.com:80,auth= hunter2", "a.com:80,header=hunter2,x"] {
        let error = mapping::parse(text).expect_err(text);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let license = "nt1aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwqxykjaq@host:22";
    let error = mapping::parse(license).expect_err("a license is no mapping");
    assert!(!format!("{error} {error:?}").contains("aaaqeay"), "{error:?}");
}

#[test]
fn a_frame_carries_one_mapping() {
    for text in [
        "8080:8080",
        "0:22",
        "1000-2000:1000-2000",
        "2222:unix:/x,proxy=v1",
        "blog.example.com:80",
        "*.a.b/c:1/https",
    ] {
        assert_eq!(Mapping::from_wire(text).map(|mapping| mapping.to_string()).as_deref(), Some(text));
    }
    for text in
        ["1000-3000:1000-3000", "6000-6001:7000", "53:53/tls", "a.com:1,accept-proxy=::1", "", "nonsense"]
    {
        assert_eq!(Mapping::from_wire(text), None, "{text}");
    }
}

#[test]
fn what_this_version_serves() {
    for text in [
        "8080",
        "0:22",
        "127.0.0.1:1:nas:2",
        "[::1]:1:[::2]:2",
        "2222:unix:/run/app.sock",
        "1:2,proxy=v1",
        "1:2,proxy=v2",
        "53:192.168.1.1:53/udp",
        "53:53/udp,proxy=v2",
        "a.com:80",
        "*.a.com/b:80,host=c.d,auth=e:f,header=g:h,proxy=v1",
        "80:80/http",
    ] {
        assert_eq!(parse_one(text).served(), Ok(()));
    }
    let what =
        "a.com:80: `accept-proxy` does not go with a name, which is known too late for it; leave it out";
    assert_eq!(parse_one("a.com:80,accept-proxy=10.0.0.0/8").served(), Err(what.to_string()));
}

/// Draws texts of the grammar, most of them valid, and letters that do not belong.
struct Writer(Entropy);

impl Writer {
    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.0.below(words.len() as u64)).expect("an index")]
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.0.below(100) < percent
    }

    fn port(&mut self) -> String {
        let widest = [10, 1000, 65536, 70000][usize::try_from(self.0.below(4)).expect("an index")];
        self.0.below(widest).to_string()
    }

    fn route(&mut self) -> String {
        let hosts = ["nas", "10.0.0.1", "[fd00::5]", "127.0.0.1", "a_b", "[::ffff:1.2.3.4]", "X.y."];
        let names = ["a.com", "*.b.com", "a.com/x", "Q.r.S.", "a.com/tcp/y/", "1.x", "a.com/(v)"];
        let paths = ["/run/x", "/tcp", "/a/udp", "/a:b", "/http/tls", "/é"];
        let public = match self.0.below(4) {
            0 => self.one_of(&names).to_string(),
            1 => format!("{}:{}", self.one_of(&["1.2.3.4", "[::1]", "[::]", "0.0.0.0"]), self.port()),
            _ => self.port(),
        };
        let target = match self.0.below(4) {
            0 => String::new(),
            1 => format!(":{}", self.port()),
            2 => format!(":{}:{}", self.one_of(&hosts), self.port()),
            _ => format!(":unix:{}", self.one_of(&paths)),
        };
        let kind = self.one_of(&["", "", "/tcp", "/udp", "/http", "/https", "/tls"]);
        format!("{public}{target}{kind}")
    }

    fn mapping(&mut self) -> String {
        let mut text = self.route();
        let options = [
            ",proxy=v1",
            ",proxy=v2",
            ",allow=10.0.0.0/8",
            ",allow=::/0+1.2.3.4",
            ",rate=2M",
            ",rate=1001",
            ",host=X.y",
            ",host=nas:80",
            ",auth=a:b:c=",
            ",header=A:b c",
            ",header=B:=;",
            ",accept-proxy=10.0.0.1",
            ",check=tcp",
            ",check=http:/x?y",
        ];
        while self.chance(30) {
            text.push_str(self.one_of(&options));
        }
        if self.chance(20) {
            let mut letters: Vec<char> = text.chars().collect();
            let at = usize::try_from(self.0.below(letters.len() as u64)).expect("an index");
            match self.0.below(3) {
                0 => drop(letters.remove(at)),
                1 => letters.insert(at, ['/', ':', '[', ']', ',', '0', 'é', ' ', '-', '.', '='][at % 11]),
                _ => letters.swap(at, 0),
            }
            text = letters.into_iter().collect();
        }
        text
    }
}

#[test]
fn whatever_is_shown_is_read_back() {
    let mut writer = Writer(Entropy::new([7; 32]));
    let mut taken = 0;
    for _ in 0..50_000 {
        let text = writer.mapping();
        if let Ok(mapping) = mapping::parse(&text) {
            let shown = mapping.to_string();
            assert_eq!(mapping::parse(&shown), Ok(mapping), "{text} is shown as {shown}");
            taken += 1;
        }
    }
    assert!(taken > 10_000, "only {taken} of the texts were taken");
}
