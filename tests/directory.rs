//! The directory of licenses: written and read back, changed, damaged.

use nt::directory::{Directory, Entry};
use nt::license::License;
use nt::mapping;

fn license(first: u8) -> License {
    License::from_random(std::array::from_fn(|i| first + u8::try_from(i).expect("short")))
}

fn sample() -> Directory {
    let mut directory = Directory::default();
    directory.add(Entry::new("default", &license(0)).expect("a name")).expect("new");
    let mut nas = Entry::new("nas.Home_1-x", &license(1)).expect("a name");
    nas.ports = "80,443,2000-3000".parse_ports();
    nas.hosts = nt::policy::HostSet::parse("*.example.com,blog.example.org").expect("names");
    nas.add_map("2222:22").expect("a mapping");
    nas.add_map(" 2300-2310:192.168.1.5:7000-7010").expect("a range");
    nas.add_map("0:22").and_then(|()| nas.add_map("0:22")).expect("any port, twice");
    nas.add_map("ssh:22/private").expect("a private name");
    nas.visits = nt::policy::VisitSet::parse("default/ssh,box/*").expect("visits");
    nas.visitors = nt::policy::Networks::parse("10.0.0.0/8,2001:db8::/32").expect("networks");
    nas.add_map("blog.example.org:80,auth=me:pass\"word\\").expect("a name");
    (nas.max_mappings, nas.max_visitors, nas.revoked) = (Some(20), Some(0), true);
    directory.add(nas).expect("new");
    directory
}

trait ParsePorts {
    fn parse_ports(&self) -> nt::policy::PortSet;
}

impl ParsePorts for str {
    fn parse_ports(&self) -> nt::policy::PortSet {
        nt::policy::PortSet::parse(self).expect("ports")
    }
}

#[test]
fn what_is_written_is_read_back() {
    let directory = sample();
    let toml = directory.to_toml();
    assert_eq!(Directory::parse(&toml), Ok(directory.clone()));
    assert_eq!(Directory::parse(&toml).expect("good").to_toml(), toml);
    assert_eq!(Directory::parse(""), Ok(Directory::default()));
    assert_eq!(Directory::parse(&Directory::default().to_toml()), Ok(Directory::default()));
    // A list with nothing in it lets nobody in; where there is none, everybody may come.
    let closed =
        Directory::parse(&toml.replace("visitors = [\"10.0.0.0/8\", \"2001:db8::/32\"]", "visitors = []"));
    let closed = closed.expect("good");
    let visitors = |name| closed.by_name(name).expect("known").visitors.to_string();
    assert_eq!([visitors("nas.Home_1-x"), visitors("default")], ["none", "any"]);
    assert_eq!(Directory::parse(&closed.to_toml()), Ok(closed.clone()));
    let names: Vec<_> = directory.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["default", "nas.Home_1-x"]);
    assert_eq!(directory.by_name("nas.Home_1-x").expect("known").maps.len(), 6);
    // The license is nowhere in the file.
    for first in [0, 1] {
        let text = license(first).text();
        assert!(!toml.contains(&text[16..48]) && !toml.contains("08090a0b0c0d0e0f10"));
    }
}

#[test]
fn the_text_is_as_documented() {
    let mut directory = Directory::default();
    let mut entry = Entry::new("a", &license(0)).expect("a name");
    entry.add_map("8080").expect("a mapping");
    directory.add(entry).expect("new");
    assert_eq!(
        directory.to_toml(),
        "# The licenses of this server. Secret: it lets one pose as the server. It lets nobody log in.\n\
         # Written by `nt license ...`; comments of your own are lost then. Read again when it changes.\n\
         \n[[license]]\n\
         name = \"a\"\n\
         id = \"0001020304050607\"\n\
         public = \"80abc566b68cd5334cff4edaf10ff9b0722e47720c55b817fbb2aa7b82692754\"\n\
         mac = \"ee9166fcbed884950c19e1a85176e27a158164852417b81b876d11c09c148c9d\"\n\
         ports = \"1024-65535\"\n\
         hosts = []\n\
         map = [\"8080\"]\n"
    );
}

#[test]
fn licenses_come_and_go() {
    let mut directory = sample();
    let entry = |name: &str, first| Entry::new(name, &license(first)).expect("a name");
    let taken =
        "there is a license `default` already; `nt license rotate default` makes a new one in its place";
    assert_eq!(directory.add(entry("default", 9)), Err(taken.to_string()));
    let same = "license `other` has the id 0001020304050607 of `default`";
    assert_eq!(directory.add(entry("other", 0)), Err(same.to_string()));
    directory.add(entry("other", 9)).expect("new");
    assert!(directory.replace(entry("other", 0)).is_err());
    assert_eq!(directory.by_id(license(9).id()).expect("known").name, "other");

    directory.rotate("other", &license(10), true).expect("known");
    assert_eq!(directory.by_id(license(9).id()), None);
    let other = directory.by_id(license(10).id()).expect("known");
    assert_eq!(other.verifier, license(10).verifier());

    directory.revoke("other").expect("known");
    assert!(directory.by_name("other").expect("still known").revoked);
    directory.rotate("other", &license(11), true).expect("known");
    assert!(!directory.by_name("other").expect("known").revoked);

    let nas = directory.by_name("nas.Home_1-x").expect("known").clone();
    directory.rotate("nas.Home_1-x", &license(12), true).expect("known");
    let mut rotated = directory.by_name("nas.Home_1-x").expect("known").clone();
    (rotated.id, rotated.verifier, rotated.revoked) = (nas.id, nas.verifier.clone(), nas.revoked);
    assert_eq!(rotated, nas, "rotation keeps the policy");

    assert_eq!(directory.remove("other").expect("known").name, "other");
    assert_eq!((directory.by_id(license(11).id()), directory.len()), (None, 2));
    let unknown = "there is no license `defualt`; did you mean `default`? (`nt license list` shows all)";
    for result in [
        directory.remove("defualt").map(drop),
        directory.revoke("defualt"),
        directory.rotate("defualt", &license(13), true),
        directory.replace(entry("defualt", 13)).map(drop),
    ] {
        assert_eq!(result, Err(unknown.to_string()));
    }
    assert_eq!(Directory::parse(&directory.to_toml()), Ok(directory));
}

#[test]
fn policy_is_said_plainly() {
    let directory = sample();
    let (default, nas) = (directory.by_name("default"), directory.by_name("nas.Home_1-x"));
    let (default, nas) = (default.expect("known"), nas.expect("known"));
    let one = |text: &str| mapping::parse(text).expect("a mapping");
    for text in ["1024:22", "65535:22", "0:22", "[::1]:8080:80"] {
        assert_eq!(default.permits(&one(text)), Ok(()));
    }
    for text in [
        "80:80",
        "2500",
        "2000-3000:1-1001",
        "a.example.com:1",
        "*.a.example.com:1",
        "blog.example.org:1/tls",
    ] {
        assert_eq!(nas.permits(&one(text)), Ok(()));
    }
    for (entry, text, what) in [
        (default, "22", "license `default` may not publish port 22; its ports: 1024-65535"),
        (default, "a.example.com:1", "license `default` may not publish a.example.com; its names: none"),
        (nas, "2999-3001", "license `nas.Home_1-x` may not publish port 3001; its ports: 80,443,2000-3000"),
        (nas, "81", "license `nas.Home_1-x` may not publish port 81; its ports: 80,443,2000-3000"),
        (
            nas,
            "example.com:1",
            "license `nas.Home_1-x` may not publish example.com; its names: *.example.com,blog.example.org",
        ),
    ] {
        assert_eq!(entry.permits(&one(text)), Err(what.to_string()));
    }
    let mut portless = default.clone();
    portless.ports = "none".parse_ports();
    let what = "license `default` may publish no ports";
    assert_eq!(portless.permits(&one("0:22")), Err(what.to_string()));
}

/// A text of the good file, what stands in its place, and what is said about that.
const DAMAGE: [(&str, &str, &str); 20] = [
    (
        "name = \"default\"",
        "name = \"a b\"",
        "line 5: the name `a b` is not 1 to 64 letters, digits, dots, underscores and hyphens",
    ),
    ("name = \"default\"\n", "", "line 4: `name` is missing here"),
    (
        "name = \"default\"",
        "name = \"nas.Home_1-x\"",
        "line 13: there is a license `nas.Home_1-x` already; `nt license rotate nas.Home_1-x` \
                makes a new one in its place",
    ),
    (
        "name = \"default\"",
        "nome = \"default\"",
        "line 5: there is no setting `nome` here; did you mean `name`?",
    ),
    (
        "[[license]]\nname = \"default\"",
        "[[licence]]\nname = \"default\"",
        "line 4: there is no setting `licence` here; did you mean `license`?",
    ),
    (
        "[[license]]\nname = \"default\"",
        "[license]\nname = \"default\"",
        "line 13: this is not TOML: duplicate key",
    ),
    (
        "id = \"0001",
        "id = \"001",
        "line 6: `id` is not 16 hexadecimal digits: restore the file, or rotate this license",
    ),
    (
        "mac = \"e",
        "mac = \"g",
        "line 8: `mac` is not 64 hexadecimal digits: restore the file, or rotate this license",
    ),
    (
        "mac = \"e",
        "mac = \"é",
        "line 8: `mac` is not 64 hexadecimal digits: restore the file, or rotate this license",
    ),
    (
        "public = \"8",
        "public = \"+",
        "line 7: `public` is not 64 hexadecimal digits: restore the file, or rotate this license",
    ),
    ("ports = \"1024-65535\"", "ports = \"1024-65536\"", "line 9: port `65536` is not in 1..65535"),
    ("ports = \"1024-65535\"", "ports = 1024", "line 9: `ports` has to be a string in quotes"),
    (
        "hosts = []",
        "hosts = [\n\"a.b\",\n\"x_.b\"]",
        "line 12: name `x_.b` contains '_': a name has letters, digits and hyphens",
    ),
    (
        "map = []",
        "map = [\"8080\",\n\"8080:80\"]",
        "line 12: `8080` is published twice by \
            this license",
    ),
    (
        "map = []",
        "map = [\"1-1024\", \"2000\"]",
        "line 11: a license has at most 1024 mappings, or ports of them",
    ),
    ("map = []", "map = \"8080\"", "line 11: `map` has to be strings in brackets, as in [\"8080\"]"),
    (
        "max_visitors = 0",
        "max_visitors = -1",
        "line 24: `max_visitors` has to be a number from 0 to 4294967295",
    ),
    (
        "visit = [\"box/*\", \"default/ssh\"]",
        "visit = [\"box/*\",\n\"ssh\"]",
        "line 22: `ssh` is not OWNER/NAME, OWNER/* or *",
    ),
    (
        "visitors = [\"10.0.0.0/8\", \"2001:db8::/32\"]",
        "visitors = [\"10.0.0.0/8\",\n\"home\"]",
        "line 23: `home` is not a network such as 10.0.0.0/8 or fd00::/8",
    ),
    ("revoked = true", "revoked = 1", "line 25: `revoked` has to be true or false"),
];

#[test]
fn what_is_wrong_is_named() {
    let good = sample().to_toml();
    for (from, to, error) in DAMAGE {
        assert!(good.contains(from), "{from}");
        let error_found = Directory::parse(&good.replacen(from, to, 1)).expect_err(to);
        assert_eq!(error_found.to_string(), error, "{to}");
    }
}

#[test]
fn names_of_licenses() {
    let long = "x".repeat(64);
    for name in ["a", "A.b_c-9", ".", long.as_str()] {
        assert!(Entry::new(name, &license(0)).is_ok());
    }
    for name in ["", "-a", "a b", "ä", "a/b", &format!("{long}x"), "a\n"] {
        assert!(Entry::new(name, &license(0)).is_err(), "{name}");
    }
}

/// Every bit of a good file, flipped: refused with a line, or read as values that can be written and
/// read again. No error repeats a key.
#[test]
fn every_flipped_bit_is_survived() {
    let good = sample().to_toml();
    let keys: Vec<&str> = good.lines().filter(|l| l.starts_with("mac")).map(|l| &l[7..39]).collect();
    let (mut refused, mut read) = (0, 0);
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(text) = String::from_utf8(bytes) else { continue };
        match Directory::parse(&text) {
            Err(error) => {
                refused += 1;
                let shown = error.to_string();
                assert!(error.line >= 1 && error.line <= text.lines().count() + 1, "{shown}");
                assert!(!shown.contains('\n') && shown.len() < 300, "{shown}");
                assert!(!keys.iter().any(|key| shown.contains(&key[..12])), "{shown}");
            }
            Ok(directory) => {
                read += 1;
                assert_eq!(Directory::parse(&directory.to_toml()), Ok(directory));
            }
        }
    }
    assert!(refused > 1000 && read > 1000, "{refused} refused, {read} read");
}

#[test]
fn nothing_secret_is_printed() {
    let directory = sample();
    let shown = format!("{directory:?}");
    assert!(shown.contains("default"));
    assert!(!shown.contains("word"), "{shown}");
    assert!(!shown.contains("ee9166fc"), "{shown}");
}
