//! Whatever a person or a file says, nothing panics, and what is taken shows itself as text that is taken.

use nt::config;
use nt::directory::Directory;
use nt::entropy::Entropy;
use nt::license::License;
use nt::mapping;
use nt::names::{Use, host_name};
use nt::policy::{Allow, Cidr, HostSet, PortSet};
use nt::server_ref::{ServerRef, ServerWord};
use nt::text::{closest, parse_bytes, quote, show_bytes};

const SEEDS: [&str; 14] = [
    "nt1aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwqxykjaq",
    "nt1aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwqxykjaq@a:1,[::1]:2",
    "loopback,lan,10.0.0.0/8:1-2,[fd00::/8]:3,unix:/x",
    "80,443,1024-65535",
    "fd00::/8",
    "::ffff:10.0.0.0/104",
    "*.example.com,a.b",
    "2M",
    "2222:[fd00::5]:22/tcp,proxy=v2,allow=10.0.0.0/8+::/0",
    "a.com/x:unix:/run/tcp/http,auth=a:b,header=X:y z,check=http:/z",
    "[::]:9002",
    "listen = \"[::]:9002\"\n[limits]\nmemory = \"64M\"\n",
    "map = [\"80\", '''81''']\nallow = \"lan\"\nserver = \"@x\"",
    "[[license]]\nname = \"a\"\nid = \"0001020304050607\"\nmap = [\"\\u0038\"]\n",
];

const LETTERS: [char; 24] = [
    '"',
    '\\',
    '[',
    ']',
    ':',
    '/',
    ',',
    '-',
    '.',
    '*',
    '@',
    '=',
    '+',
    '0',
    '9',
    'a',
    'n',
    'é',
    '\u{0}',
    '\n',
    ' ',
    '%',
    '\u{10ffff}',
    '#',
];

/// A seed, cut, joined with another, and with letters put in or left out.
fn garble(entropy: &mut Entropy) -> String {
    let mut below = |n: usize| usize::try_from(entropy.below(n as u64)).expect("an index");
    let mut letters: Vec<char> = SEEDS[below(SEEDS.len())].chars().collect();
    if below(4) == 0 {
        letters.truncate(below(letters.len()));
        letters.extend(SEEDS[below(SEEDS.len())].chars().skip(below(10)));
    }
    for _ in 0..below(5) {
        let at = below(letters.len() + 1);
        match below(3) {
            0 if at < letters.len() => drop(letters.remove(at)),
            1 if at < letters.len() => letters[at] = LETTERS[below(LETTERS.len())],
            _ => letters.insert(at, LETTERS[below(LETTERS.len())]),
        }
    }
    letters.into_iter().collect()
}

fn read_everything(text: &str) {
    if let Ok(license) = License::parse(text) {
        assert_eq!(License::parse(&license.text()), Ok(license));
    }
    if let Ok(server) = ServerRef::parse(text) {
        let shown = format!("{}@{}", server.license.text(), server.hosts_text());
        assert_eq!(ServerRef::parse(&shown), Ok(server));
    }
    if let Ok(allow) = Allow::parse(text) {
        assert_eq!(Allow::parse(&allow.to_string()), Ok(allow));
    }
    if let Ok(ports) = PortSet::parse(text) {
        assert_eq!(PortSet::parse(&ports.to_string()), Ok(ports));
    }
    if let Ok(cidr) = Cidr::parse(text) {
        assert_eq!(Cidr::parse(&cidr.to_string()), Ok(cidr));
    }
    if let Ok(hosts) = HostSet::parse(text) {
        assert_eq!(HostSet::parse(&hosts.to_string()), Ok(hosts));
    }
    if let Ok(bytes) = parse_bytes(text) {
        assert_eq!(parse_bytes(&show_bytes(bytes)), Ok(bytes));
    }
    if let Ok(directory) = Directory::parse(text) {
        assert_eq!(Directory::parse(&directory.to_toml()), Ok(directory));
    }
    if let Ok(mapping) = mapping::parse(text) {
        assert_eq!(mapping::parse(&mapping.to_string()), Ok(mapping));
    }
    for used in [Use::Dial, Use::Publish] {
        if let Ok(name) = host_name(text, used) {
            assert_eq!(host_name(&name, used), Ok(name));
        }
    }
    let _ = config::parse_server(text);
    let _ = config::parse_client(text);
    let _ = config::parse_either(text);
    let _ = config::parse_listen(text);
    let _ = ServerWord::parse(text);
    let _ = ServerWord::is_meant_by(text);
    let _ = closest(text, &["license", "é"]);
    assert!(!quote(text).contains(char::is_control));
    let args: Vec<String> = text.split(' ').map(str::to_string).collect();
    let _ = nt::cli::parse(&args, Some(text.to_string()));
    for role in ["-s", "-c", "license"] {
        let _ = nt::cli::parse(&[&[role.to_string()], &args[..]].concat(), None);
    }
}

#[test]
fn nothing_panics_and_what_is_taken_is_shown_well() {
    SEEDS.into_iter().for_each(read_everything);
    let mut entropy = Entropy::new([3; 32]);
    for _ in 0..20_000 {
        read_everything(&garble(&mut entropy));
    }
}
