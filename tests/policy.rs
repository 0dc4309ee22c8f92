//! The lists of policy: what they take, what they refuse and how, and what they then permit.

use std::net::IpAddr;

use nt::policy::{Allow, Cidr, HostSet, LIST_ITEMS_MAX, Networks, PortSet, VisitSet};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn ports_are_read_and_shown() {
    for (text, shown, count) in [
        ("80", "80", 1),
        ("80, 443 ,1024-65535", "80,443,1024-65535", 64514),
        ("443,80", "80,443", 2),
        ("10-20,15-30,31,33", "10-31,33", 23),
        ("65535,65534", "65534-65535", 2),
        ("1-65535,5", "1-65535", 65535),
        ("none", "none", 0),
    ] {
        let set = PortSet::parse(text).expect(text);
        assert_eq!(set.to_string(), shown);
        assert_eq!(PortSet::parse(shown), Ok(set.clone()));
        assert_eq!(set.count(), count);
        let all: Vec<u16> = set.iter().collect();
        let by_index: Vec<u16> = (0..).map_while(|index| set.nth(index)).collect();
        assert_eq!(all, by_index);
        assert_eq!(all.len(), count as usize);
        let members: Vec<u16> = (0..=u16::MAX).filter(|&port| set.contains(port)).collect();
        assert_eq!(all, members);
    }
    assert_eq!(PortSet::default().to_string(), "1024-65535");
}

#[test]
fn wrong_ports_are_named() {
    for (text, error) in [
        ("", "the list of ports `` has an empty part"),
        ("80,,443", "the list of ports `80,,443` has an empty part"),
        ("0", "port `0` is not in 1..65535"),
        ("65536", "port `65536` is not in 1..65535"),
        ("99999999999999999999", "port `99999999999999999999` is not in 1..65535"),
        ("+80", "port `+80` is not in 1..65535"),
        ("http", "port `http` is not in 1..65535"),
        ("80-", "port `` is not in 1..65535"),
        ("90-80", "ports `90-80` run backwards: write 80-90"),
        ("80-90-100", "port `90-100` is not in 1..65535"),
    ] {
        assert_eq!(PortSet::parse(text), Err(error.to_string()));
    }
    assert!(PortSet::parse(&"1,".repeat(LIST_ITEMS_MAX + 1)).is_err());
}

#[test]
fn networks_contain_what_they_say() {
    for (net, shown, inside, outside) in [
        ("10.0.0.0/8", "10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
        ("0.0.0.0/0", "0.0.0.0/0", "255.255.255.255", "::1"),
        ("::/0", "::/0", "fd00::1", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"),
        ("10.0.0.1/32", "10.0.0.1", "10.0.0.1", "10.0.0.0"),
        ("fd00::/8", "fd00::/8", "fdff::1", "fe00::1"),
        ("fd00::5", "fd00::5", "fd00::5", "fd00::4"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8", "10.1.2.3", "::ffff:11.0.0.0"),
        ("::ffff:0:0/96", "0.0.0.0/0", "1.2.3.4", "::1"),
        ("172.16.0.0/12", "172.16.0.0/12", "172.31.255.255", "172.32.0.0"),
        ("192.168.1.128/25", "192.168.1.128/25", "192.168.1.128", "192.168.1.127"),
    ] {
        let cidr = Cidr::parse(net).expect(net);
        assert_eq!(cidr.to_string(), shown);
        assert_eq!(Cidr::parse(shown), Ok(cidr));
        assert!(cidr.contains(ip(inside)), "{net} {inside}");
        assert!(!cidr.contains(ip(outside)), "{net} {outside}");
    }
}

#[test]
fn wrong_networks_are_named() {
    for (text, error) in [
        ("", "`` is not a network such as 10.0.0.0/8 or fd00::/8"),
        ("10.0.0", "`10.0.0` is not a network such as 10.0.0.0/8 or fd00::/8"),
        ("nas/8", "`nas/8` is not a network such as 10.0.0.0/8 or fd00::/8"),
        ("[fd00::]/8", "`[fd00::]/8` is not a network such as 10.0.0.0/8 or fd00::/8"),
        ("10.0.0.0/33", "`10.0.0.0/33` has a prefix that is not in 0..32"),
        ("10.0.0.0/", "`10.0.0.0/` has a prefix that is not in 0..32"),
        ("10.0.0.0/+8", "`10.0.0.0/+8` has a prefix that is not in 0..32"),
        ("10.0.0.0/8/8", "`10.0.0.0/8/8` has a prefix that is not in 0..32"),
        ("::/129", "`::/129` has a prefix that is not in 0..128"),
        (
            "10.1.0.0/8",
            "`10.1.0.0/8` has bits behind its prefix: write 10.0.0.0/8, or 10.1.0.0/32 for this \
                one address",
        ),
    ] {
        assert_eq!(Cidr::parse(text), Err(error.to_string()));
    }
    assert!(Cidr::parse("::ffff:10.0.0.0/95").is_err());
}

#[test]
fn allowed_targets_are_permitted() {
    let tries: [(&str, &str, u16, bool); 30] = [
        ("loopback", "127.0.0.1", 22, true),
        ("loopback", "127.255.0.9", 22, true),
        ("loopback", "::1", 22, true),
        ("loopback", "::ffff:127.0.0.1", 22, true),
        ("loopback", "0.0.0.0", 22, false),
        ("loopback", "::", 22, false),
        ("loopback", "192.168.1.5", 22, false),
        ("lan", "127.0.0.1", 22, true),
        ("lan", "192.168.1.5", 22, true),
        ("lan", "172.32.0.1", 22, false),
        ("lan", "169.254.9.9", 22, true),
        ("lan", "fd12::1", 22, true),
        ("lan", "fc12::1", 22, true),
        ("lan", "fe80::1", 22, true),
        ("lan", "febf::1", 22, true),
        ("lan", "fec0::1", 22, false),
        ("lan", "8.8.8.8", 22, false),
        ("any", "8.8.8.8", 22, true),
        ("192.168.1.5:22", "192.168.1.5", 22, true),
        ("192.168.1.5:22", "192.168.1.5", 23, false),
        ("192.168.1.5:22", "127.0.0.1", 22, false),
        ("192.168.1.0/24:80-90", "192.168.1.200", 90, true),
        ("192.168.1.0/24:80-90", "192.168.1.200", 91, false),
        ("192.168.1.0/24", "192.168.1.200", 65535, true),
        ("[fd00::/16]:22", "fd00::7", 22, true),
        ("[fd00::/16]:22", "fd00::7", 2, false),
        ("[fd00::7]", "fd00::7", 2, true),
        ("fd00::/16", "fd00::7", 2, true),
        ("loopback, 10.0.0.1:80", "10.0.0.1", 80, true),
        ("unix:/run/x", "127.0.0.1", 22, false),
    ];
    for (list, address, port, permitted) in tries {
        let allow = Allow::parse(list).expect(list);
        assert_eq!(allow.permits(ip(address), port), permitted, "{list} {address} {port}");
        assert_eq!(Allow::parse(&allow.to_string()), Ok(allow));
    }
    assert_eq!(Allow::default().to_string(), "loopback");
    let unix = Allow::parse("lan,unix:/run/a:b").expect("a list");
    assert!(unix.permits_unix("/run/a:b") && !unix.permits_unix("/run/a"));
    assert!(Allow::parse("any").expect("a list").permits_unix("/x"));
}

#[test]
fn the_word_to_add_is_enough_and_no_more() {
    for (address, port, word) in [
        ("192.168.1.5", 22, "192.168.1.5:22"),
        ("::ffff:192.168.1.5", 22, "192.168.1.5:22"),
        ("fd00::5", 443, "[fd00::5]:443"),
        ("127.0.0.9", 22, "loopback"),
        ("::1", 22, "loopback"),
        ("0.0.0.0", 22, "0.0.0.0:22"),
    ] {
        assert_eq!(Allow::word_for(ip(address), port, port), word);
        let allow = Allow::parse(word).expect(word);
        assert!(allow.permits(ip(address), port));
        assert!(word == "loopback" || !allow.permits(ip(address), port + 1));
    }
    assert_eq!(Allow::word_for_unix("/run/app.sock"), "unix:/run/app.sock");
    assert!(Allow::parse("unix:/run/app.sock").expect("a word").permits_unix("/run/app.sock"));
}

#[test]
fn folders_are_permitted_by_their_very_path() {
    let allow = Allow::parse("lan,files:/srv/www").expect("a list");
    assert_eq!(allow.to_string(), "lan,files:/srv/www");
    assert_eq!(Allow::word_for_folder("/srv/www"), "files:/srv/www");
    assert!(allow.permits_folder("/srv/www") && allow.permits_folders());
    for path in ["/srv", "/srv/www/", "/srv/www/sub", "/srv/www/../www", "/"] {
        assert!(!allow.permits_folder(path), "{path}");
    }
    assert!(!allow.permits_unix("/srv/www"));
    // Whoever permits every target that can be connected to has not permitted to read files.
    let any = Allow::parse("any").expect("a list");
    assert!(!any.permits_folder("/srv/www") && !any.permits_folders());
}

#[test]
fn who_may_come_is_read_shown_and_matched() {
    let list = Networks::parse("10.0.0.0/8, 2001:db8::/32,192.0.2.1").expect("networks");
    assert_eq!(list.to_string(), "10.0.0.0/8,2001:db8::/32,192.0.2.1");
    for (address, welcome) in [
        ("10.255.0.1", true),
        ("::ffff:10.255.0.1", true),
        ("11.0.0.1", false),
        ("192.0.2.1", true),
        ("192.0.2.2", false),
        ("2001:db8:ffff::1", true),
        ("2001:db9::1", false),
        ("::1", false),
    ] {
        assert_eq!(list.welcome(address.parse().expect("an address")), welcome, "{address}");
    }
    let any = Networks::parse("any").expect("everybody");
    assert!(any.is_everybody() && any.welcome("::1".parse().expect("an address")));
    assert_eq!((any.to_string().as_str(), &any), ("any", &Networks::default()));
    let none = Networks::parse("none").expect("nobody");
    assert!(!none.is_everybody() && !none.welcome("::1".parse().expect("an address")));
    assert_eq!((none.to_string().as_str(), &none), ("none", &Networks::from_items([]).expect("nobody")));
    for bad in ["", "10.0.0.0/8,", "any,10.0.0.0/8", "none,10.0.0.0/8", "home", "10.0.0.1/8"] {
        assert!(Networks::parse(bad).is_err(), "{bad}");
    }
    let many = vec!["10.0.0.1"; LIST_ITEMS_MAX + 1].join(",");
    assert!(Networks::parse(&many).is_err(), "a list without bound");
}

#[test]
fn visits_are_read_shown_and_matched() {
    let set = VisitSet::parse("nas/ssh, box/*,nas/ssh").expect("visits");
    assert_eq!(set.to_string(), "box/*,nas/ssh");
    for (name, permitted) in [
        ("nas/ssh", true),
        ("box/anything", true),
        ("nas/web", false),
        ("nas/sshd", false),
        ("xbox/ssh", false),
        ("box", false),
        ("nas/ssh/", false),
        ("", false),
    ] {
        assert_eq!(set.contains(name), permitted, "{name}");
    }
    let all = VisitSet::parse("*").expect("visits");
    assert!(all.contains("nas/ssh") && all.contains("a/b"));
    assert_eq!(VisitSet::parse("none"), Ok(VisitSet::default()));
    assert!(!VisitSet::default().contains("nas/ssh"));
    assert_eq!(VisitSet::parse("nas/SSH").map(|set| set.contains("nas/ssh")), Ok(true));
    for bad in
        ["nas", "nas/", "/ssh", "nas/a/b", "nas/ssh,", "*/ssh", "nas/ssh:2222", "nas/s*", "a b/c", "nas/a.b"]
    {
        assert!(VisitSet::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn wrong_targets_are_named() {
    const FORMS: &str = "is not loopback, lan, any, a network (10.0.0.0/8), one with a port \
        (192.168.1.5:22), unix:/path or files:/path (names do not count here)";
    for (text, error) in [
        ("", "the list of allowed targets `` has an empty part".to_string()),
        ("lan,", "the list of allowed targets `lan,` has an empty part".to_string()),
        ("LAN", format!("`LAN` {FORMS}; did you mean `lan`?")),
        ("nas.lan:22", format!("`nas.lan:22` {FORMS}")),
        ("22", "`22` is a port: write where it is, as in 127.0.0.1:22".to_string()),
        ("unix:run/x", "`unix:run/x` is not a path that begins with /".to_string()),
        ("10.0.0.1:0", "port `0` is not in 1..65535".to_string()),
        ("10.0.0.1:", "port `` is not in 1..65535".to_string()),
        ("10.0.0.1:9-8", "the ports of `10.0.0.1:9-8` run backwards".to_string()),
        ("10.0.0.0/40:9", "`10.0.0.0/40` has a prefix that is not in 0..32".to_string()),
        ("[fd00::1:22", "`[fd00::1:22` has brackets that are not like [fd00::/8]:22".to_string()),
        ("[fd00::1]22", "`[fd00::1]22` has brackets that are not like [fd00::/8]:22".to_string()),
    ] {
        assert_eq!(Allow::parse(text), Err(error));
    }
}

#[test]
fn names_are_read_shown_and_matched() {
    let set = HostSet::parse("Blog.example.com, *.dev.example.com,blog.example.com").expect("names");
    assert_eq!(set.to_string(), "*.dev.example.com,blog.example.com");
    assert_eq!(HostSet::parse(&set.to_string()), Ok(set.clone()));
    for (name, contained) in [
        ("blog.example.com", true),
        ("a.blog.example.com", false),
        ("a.dev.example.com", true),
        ("a.b.dev.example.com", true),
        ("dev.example.com", false),
        ("evildev.example.com", false),
        ("*.dev.example.com", true),
        ("*.example.com", false),
    ] {
        assert_eq!(set.contains(name), contained, "{name}");
    }
    assert!(HostSet::default().is_empty() && !HostSet::default().contains("a.b"));
    assert_eq!(HostSet::parse("none"), Ok(HostSet::default()));
    assert_eq!(HostSet::default().to_string(), "none");
    assert!(HostSet::parse("").is_err() && HostSet::parse("*.").is_err() && HostSet::parse("a..b").is_err());
    let all = HostSet::parse("*").expect("every name");
    assert_eq!((&all, all.to_string().as_str()), (&HostSet::all(), "*"));
    assert!(all.contains("a.b") && all.contains("*.example.com"));
}
