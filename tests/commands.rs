//! The commands that need no tunnel, on a real state directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nt::cli::{self, Command};
use nt::commands::{self, Output};
use nt::license::License;
use nt::state::StateDir;

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nt-commands-{}-{count}", std::process::id()));
        fs::create_dir(&path).expect("a directory of its own");
        Self(path)
    }

    /// Runs `nt WORDS`, with this state directory where a license command wants one.
    fn run(&self, words: &str, terminal: bool) -> Result<Output, String> {
        let mut args: Vec<String> = words.split_whitespace().map(str::to_string).collect();
        if args[0] == "license" {
            args.extend(["--state".to_string(), self.0.display().to_string()]);
        }
        match cli::parse(&args, None).expect(words) {
            Command::License(command) => commands::license(&command, terminal),
            Command::Check(check) => commands::check(&check),
            other => panic!("{other:?}"),
        }
    }

    fn ok(&self, words: &str) -> Output {
        self.run(words, false).expect(words)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("mine");
        path.display().to_string()
    }

    fn state(&self) -> StateDir {
        StateDir::open(Some(Path::new(&self.0))).expect("a state directory")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn last_license(output: &Output) -> License {
    let last = output.stdout.lines().last().expect("a line");
    assert!(output.stdout.ends_with('\n'));
    License::parse(last).expect("a license")
}

#[test]
fn a_license_is_made_and_printed_once() {
    let scratch = Scratch::new();
    let output = scratch
        .ok("license add nas --ports 22,2000-3000 --hosts a.example.com --map 2222:22 --max-mappings \
            3 --max-visitors 9 --visitors 10.0.0.0/8,::1");
    let license = last_license(&output);
    assert_eq!(output.stdout, format!("{}\n", license.text()), "alone");
    assert_eq!(
        output.stderr,
        format!(
            "License `nas` is in {}.\n\
             Keep the line below secret: it is the license, and it is not kept here.\n\
             On the machine behind NAT, with this server's name or address for HOST:\n  nt -c LICENSE@HOST\n",
            scratch.0.display()
        )
    );
    let directory = scratch.state().load_licenses().expect("good");
    let entry = directory.by_id(license.id()).expect("known");
    assert_eq!(entry.verifier, license.verifier());
    assert_eq!(
        (entry.ports.to_string().as_str(), entry.hosts.to_string().as_str()),
        ("22,2000-3000", "a.example.com")
    );
    assert_eq!(entry.visitors.to_string(), "10.0.0.0/8,::1");
    assert_eq!((entry.maps.len(), entry.max_mappings, entry.max_visitors), (1, Some(3), Some(9)));

    let other = scratch.run("license add other", true).expect("made");
    let text = last_license(&other).text();
    assert!(other.stderr.ends_with(&format!("\n  nt -c {text}@HOST 8080\n")), "{}", other.stderr);
    assert_ne!(text, license.text());
    for entry in fs::read_dir(&scratch.0).expect("mine") {
        let file = fs::read_to_string(entry.expect("mine").path()).expect("text");
        assert!(!file.contains(&text) && !file.contains(&license.text()));
    }
}

#[test]
fn licenses_are_looked_after() {
    let scratch = Scratch::new();
    let nothing =
        format!("There are no licenses in {}; `nt license add NAME` makes one.\n", scratch.0.display());
    assert_eq!(scratch.ok("license list"), Output { stdout: String::new(), stderr: nothing });
    let old = last_license(&scratch.ok("license add nas --map 2222:22"));
    scratch.ok("license add b --ports none --hosts *.example.com");
    let new = last_license(&scratch.ok("license rotate nas"));
    let directory = scratch.state().load_licenses().expect("good");
    // Both are good until the new one is used.
    assert_eq!(directory.by_id(old.id()), directory.by_id(new.id()));
    let newer = last_license(&scratch.ok("license rotate nas --now"));
    let directory = scratch.state().load_licenses().expect("good");
    assert_eq!((directory.by_id(old.id()), directory.by_id(new.id())), (None, None));
    let new = newer;
    assert_eq!(directory.by_id(new.id()).expect("known").map_texts, ["2222:22"]);
    let output = scratch.ok("license revoke b");
    assert_eq!(output.stderr, "License `b` is refused from now on.\n");
    assert_eq!(
        scratch.ok("license list").stdout,
        "NAME  STATE    PORTS       HOSTS          MAPPINGS\n\
         b     revoked  none        *.example.com  0\n\
         nas   good     1024-65535  none           1\n"
    );
    // A password that a person put into the file is not shown.
    let file = scratch.0.join("licenses.toml");
    let text =
        fs::read_to_string(&file).expect("a file").replace("2222:22", "a.example.com:80,auth=me:hunter2");
    fs::write(&file, text).expect("mine");
    assert_eq!(
        scratch.ok("license show nas").stdout,
        format!(
            "name              nas\nid                {}\nstate             good\n\
             ports             1024-65535\nhosts             none\nvisits            none\nvisitors from     any\n\
             clients at once   1\nmappings at most  no bound\nvisitors at most  no bound\nmaps              a.example.com:80,...\n",
            new.id()
        )
    );
    assert_eq!(scratch.ok("license remove nas").stderr, "License `nas` is forgotten.\n");
    assert_eq!(scratch.state().load_licenses().expect("good").len(), 1);
}

#[test]
fn what_cannot_be_added_is_named_and_changes_nothing() {
    let scratch = Scratch::new();
    scratch.ok("license add nas");
    let before = fs::read(scratch.0.join("licenses.toml")).expect("a file");
    for (words, what) in [
        (
            "add nas",
            "there is a license `nas` already; `nt license rotate nas` makes a new one in \
            its place",
        ),
        ("add a/b", "the name `a/b` is not 1 to 64 letters, digits, dots, underscores and hyphens"),
        ("add x --ports 0", "--ports: port `0` is not in 1..65535"),
        (
            "add x --hosts nas",
            "--hosts: name `nas` has no dot: a public name looks like \
            `blog.example.com`",
        ),
        ("add x --map 2222:x:y", "--map: in `2222:x:y`: port `y` is not in 1..65535"),
        ("add x --map 8080 --map 8080:1", "--map: `8080` is published twice by this license"),
        ("add x --map 22", "license `x` may not publish port 22; its ports: 1024-65535"),
        ("add x --map 0:1 --ports none", "license `x` may publish no ports"),
        (
            "add x --hosts a.com --map a.com:80,accept-proxy=::1",
            "a.com:80: `accept-proxy` does not go with a name, which is known too late for it; leave it out",
        ),
        (
            "add x --visitors 10.0.0.1/8,::1",
            "--visitors: `10.0.0.1/8` has bits behind its prefix: write 10.0.0.0/8, or \
            10.0.0.1/32 for this one address",
        ),
        ("add x --max-visitors -1", "--max-visitors: write a number from 0 to 4294967295, or none"),
        ("add x --max-mappings many", "--max-mappings: write a number from 0 to 4294967295, or none"),
        ("show nsa", "there is no license `nsa`; did you mean `nas`? (`nt license list` shows all)"),
        ("revoke x", "there is no license `x` (`nt license list` shows all)"),
        ("rotate x", "there is no license `x` (`nt license list` shows all)"),
        ("remove x", "there is no license `x` (`nt license list` shows all)"),
    ] {
        assert_eq!(scratch.run(&format!("license {words}"), false), Err(what.to_string()), "{words}");
    }
    assert_eq!(fs::read(scratch.0.join("licenses.toml")).expect("a file"), before);
}

#[test]
fn files_are_checked() {
    let scratch = Scratch::new();
    scratch.ok("license add nas");
    let licenses = scratch.0.join("licenses.toml").display().to_string();
    let good = |file: &str, what: &str| {
        let output = scratch.ok(&format!("check {file}"));
        assert_eq!(output.stdout, format!("{file} is good: {what}\n"));
    };
    good(&licenses, "1 license");
    let text = fs::read_to_string(&licenses).expect("a file");
    good(&scratch.file("copy.toml", &text), "1 license");
    good(&scratch.file("s.toml", "listen = \":1\""), "the settings of a server");
    good(&scratch.file("c.toml", "map = [\"80\"]"), "the settings of a client");
    good(&scratch.file("empty.toml", ""), "the settings of a server");
    let wrong = |name: &str, text: &[u8], what: &str| {
        let file = scratch.file(name, text);
        assert_eq!(scratch.run(&format!("check {file}"), false), Err(what.replace("FILE", &file)));
    };
    wrong(
        "s.toml",
        b"\nlisen = 1",
        "FILE, line 2: there is no setting `lisen` here; did you mean \
        `listen`?",
    );
    wrong(
        "s.toml",
        b"admin = \":1\"",
        "FILE: `admin` has to be an address of loopback, as in 127.0.0.1:9001: it is not encrypted; reach it through a \
         tunnel",
    );
    wrong(
        "c.toml",
        b"map = [\"a.com:80,accept-proxy=::1\"]",
        "FILE: a.com:80: `accept-proxy` does not go with a name, which is known too late for it; leave it out",
    );
    wrong(
        "copy.toml",
        text.replace("1024-65535", "x").as_bytes(),
        "FILE, line 9: port `x` is not in 1..65535",
    );
    wrong(
        "copy.toml",
        text.replace("map = []", "map = [\"22\"]").as_bytes(),
        "FILE: license `nas` may not publish port 22; its ports: 1024-65535",
    );
    wrong("x", b"\xff", "`FILE` is not text");
    wrong("x", &vec![b'#'; (1 << 20) + 1], "`FILE` is longer than 1048576 bytes");
    assert!(
        scratch
            .run("check /nonexistent", false)
            .expect_err("no file")
            .starts_with("cannot read `/nonexistent`: ")
    );
}

#[test]
fn the_version_says_what_is_in_it() {
    let text = commands::version();
    assert!(text.starts_with(concat!("nt ", env!("CARGO_PKG_VERSION"), "\ntarget: ")), "{text}");
    assert!(text.contains("rustls with ring"));
}
