//! `nt install` and `nt uninstall`: the files of each manager of services, and what is done with them.

#![cfg(unix)]

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nt::cli::{self, Command as Asked};
use nt::commands::{self, Machine, Output};
use nt::server_ref::Source;
use nt::service::{End, MARK, Service, System, Word, license_file};

#[path = "e2e/process.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "whether a program is there is asked of it"
)]
mod process;
#[path = "service/sockets.rs"]
mod sockets;

const LICENSE: &str = "nt1aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwqxykjaq";
const NT: &str = env!("CARGO_BIN_EXE_nt");
const UNIT: &str = "/etc/systemd/system/nt.service";
const SOCKET: &str = "/etc/systemd/system/nt.socket";

/// A machine of its own: its files are in a folder, and what is run there is written down.
struct Scratch {
    root: PathBuf,
    ran: RefCell<Vec<String>>,
    /// Commands that begin so fail.
    fails: &'static str,
}

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("nt-service-{}-{count}", std::process::id()));
        fs::create_dir(&root).expect("a directory of its own");
        Self { root, ran: RefCell::default(), fails: "none" }
    }

    /// The same with systemd.
    fn systemd() -> Self {
        let scratch = Self::new();
        fs::create_dir_all(scratch.root.join("run/systemd/system")).expect("mine");
        scratch
    }

    /// The same where commands that begin so fail.
    fn that_fails(mut self, begin: &'static str) -> Self {
        self.fails = begin;
        self
    }

    /// Runs `nt WORDS`, in which LICENSE stands for one.
    fn run_with(&self, words: &[&str], env: Option<&str>) -> Result<Output, String> {
        let words: Vec<String> = words.iter().map(|word| word.replace("LICENSE", LICENSE)).collect();
        let asked = cli::parse(&words, env.map(|text| text.replace("LICENSE", LICENSE)));
        let run = |words: &[String]| {
            let words = words.join(" ");
            self.ran.borrow_mut().push(words.clone());
            if words.starts_with(self.fails) { Err(format!("`{words}` failed")) } else { Ok(()) }
        };
        let mut machine = Machine {
            root: self.root.clone(),
            program: "/usr/local/bin/nt".to_owned(),
            read: &mut read,
            run: Box::new(run),
        };
        match asked.map_err(|exit| exit.text)? {
            Asked::Install(args) => commands::install(*args, &mut machine),
            Asked::Uninstall(args) => commands::uninstall(&args, &mut machine),
            other => panic!("{other:?}"),
        }
    }

    fn run(&self, words: &str) -> Result<Output, String> {
        self.run_with(&words.split_whitespace().collect::<Vec<_>>(), None)
    }

    fn ok(&self, words: &str) -> Output {
        self.run(words).expect(words)
    }

    fn file(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(&path[1..])).expect(path)
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.root.join(&path[1..])).expect(path).permissions().mode() & 0o777
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(&path[1..]);
        fs::create_dir_all(path.parent().expect("a folder")).expect("mine");
        fs::write(path, text).expect("mine");
    }

    /// Every file, below the root.
    fn files(&self) -> Vec<String> {
        let (mut folders, mut files) = (vec![self.root.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("mine") {
                let path = entry.expect("mine").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(format!("/{}", path.strip_prefix(&self.root).expect("below").display()));
                }
            }
        }
        files.sort();
        files
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// The files that the operator has.
fn read(source: Source<'_>) -> Result<String, String> {
    match source {
        Source::Stdin | Source::File("/etc/mine") => Ok(format!("{LICENSE}@filed\n")),
        Source::File("/etc/c.toml") => {
            Ok("server = \"@/etc/mine\"\nmap = [\"80:unix:/run/app.sock\"]".to_owned())
        }
        Source::File("/etc/whole.toml") => Ok(format!("server = \"{LICENSE}@configured\"")),
        Source::File("/etc/s.toml") => Ok("certs = \"/etc/certs\"".to_owned()),
        Source::File("/etc/rel.toml") => Ok("certs = \"certs\"".to_owned()),
        Source::File("/etc/state.toml") => Ok("state = \"/srv/nt\"".to_owned()),
        Source::File(path) => Err(format!("cannot read {path}")),
    }
}

/// Words that mean something to one or another format.
const NASTY: &[&str] = &[
    "",
    " ",
    "a b  c",
    "'",
    "\"",
    "it's \"so\"",
    "%",
    "%n%%i",
    "$HOME",
    "${HOME}",
    "$$",
    "a$",
    "$(true)",
    "`true`",
    "\\",
    "a\\",
    "\\n\\x41",
    ";",
    "#",
    "*",
    "/*",
    "[a-z]?",
    "~",
    "-",
    "@x",
    "!x",
    "a=b",
    "&amp;<b>&",
    "]]>",
    "-->",
    "grün ☃ \u{a0}x",
    "|&;()<>{}",
    "word0",
    "\"$word0\"",
];

fn nasty() -> Service {
    let words = std::iter::once("-c").chain(NASTY.iter().copied());
    Service {
        name: "nt".to_owned(),
        program: "/opt/a b/it's %n$HOME\\\"`x`/nt".to_owned(),
        words: words.map(|word| Word::Plain(word.to_owned())).collect(),
        end: End::Client { paths: Vec::new(), offered: false, low_ports: false },
    }
}

/// What systemd makes of ExecStart (systemd.syntax(7), systemd.service(5)): words are unquoted, `%%` and, but in the
/// first, `$$` stand for one of them.
fn words_of_unit(unit: &str) -> Vec<String> {
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command line");
    let (mut words, mut letters) = (Vec::new(), line.chars().peekable());
    while letters.peek().is_some() {
        let (mut word, mut within) = (String::new(), false);
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => match letters.next() {
                    Some(escaped @ ('\\' | '"')) => word.push(escaped),
                    other => panic!("an escape that systemd reads otherwise: {other:?}"),
                },
                '"' => within = !within,
                ' ' if !within => break,
                '\'' | ';' | '#' if !within => panic!("{letter} without quotes"),
                other => word.push(other),
            }
        }
        assert!(!within, "a quote that does not end: {line}");
        let alone = word.replace("%%", "");
        assert!(!alone.contains('%'), "a specifier: {word}");
        let word = word.replace("%%", "%");
        let first = words.is_empty();
        assert!(first || !word.replace("$$", "").contains('$'), "a variable: {word}");
        words.push(if first { word } else { word.replace("$$", "$") });
    }
    words
}

/// What a shell prints, split at zeros.
fn shell(script: &str) -> Vec<String> {
    let output = Command::new("sh").arg("-c").arg(script).output().expect("a shell");
    assert!(output.status.success(), "{}\n{script}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.split_terminator('\0').map(str::to_owned).collect()
}

fn words_of_plist(plist: &str) -> Vec<String> {
    let array =
        plist.split("<array>").nth(1).and_then(|rest| rest.split("</array>").next()).expect("an array");
    let words = array.split("<string>").skip(1).map(|rest| rest.split("</string>").next().expect("an end"));
    let plain = |word: &str| word.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    words
        .map(|word| {
            assert!(!word.contains('<'), "{word}");
            plain(word)
        })
        .collect()
}

#[test]
fn every_word_comes_to_the_program_as_it_was_written() {
    let service = nasty();
    let mut meant = vec![service.program.clone(), "-c".to_owned()];
    meant.extend(NASTY.iter().map(ToString::to_string));
    assert_eq!(words_of_unit(&service.text(System::Systemd)), meant);
    assert_eq!(words_of_plist(&service.text(System::Launchd)), meant);
    // As supervise-daemon.sh of OpenRC runs it.
    let script = service.text(System::OpenRc) + "\neval printf \"'%s\\0'\" $command $command_args\n";
    assert_eq!(shell(&script), meant);
    let stubs = "procd_open_instance() { :; }; procd_close_instance() { :; }
                 procd_set_param() { [ \"$1\" != command ] || { shift; printf '%s\\0' \"$@\"; }; }\n";
    assert_eq!(shell(&format!("{stubs}{}\nstart_service\n", service.text(System::Procd))), meant);
}

#[test]
fn a_file_that_is_handed_over_may_have_any_path() {
    let word = Word::File { before: "@", path: "/etc/50% off/it's $5".to_owned(), id: "license" };
    let service = Service { words: vec![Word::Plain("-c".to_owned()), word], ..nasty() };
    let unit = service.text(System::Systemd);
    assert!(unit.contains("\nLoadCredential=license:/etc/50%% off/it's $5\n"), "{unit}");
    assert!(unit.contains(" -c @${CREDENTIALS_DIRECTORY}/license\n"), "{unit}");
    assert_eq!(words_of_plist(&service.text(System::Launchd))[2], "@/etc/50% off/it's $5");
}

#[test]
fn a_client_is_installed_with_its_license_in_a_file_of_its_own() {
    let whole = ["install", "-c", "LICENSE@vps:443", "2222:22", "--allow=lan", "--name", "tunnel"];
    let own = ["install", "--name=tunnel", "-c", "2222:22", "--allow", "lan"];
    let piped = ["install", "--name", "tunnel", "--client", "-", "2222:22", "--allow", "lan"];
    for (words, env, server) in
        [(&whole[..], None, "vps:443"), (&own, Some("LICENSE@vps:443"), "vps:443"), (&piped, None, "filed")]
    {
        let scratch = Scratch::systemd();
        let output = scratch.run_with(words, env).expect("good");
        let (unit, license) = ("/etc/systemd/system/tunnel.service", "/etc/nt/tunnel.license");
        assert_eq!(scratch.files(), [license, unit]);
        assert_eq!(scratch.file(license), format!("{LICENSE}@{server}\n"));
        assert_eq!((scratch.mode(license), scratch.mode(unit)), (0o600, 0o644));
        let text = scratch.file(unit);
        let role =
            words.iter().find(|word| word.ends_with("-c") || word.ends_with("-client")).expect("a role");
        let line =
            format!("/usr/local/bin/nt {role} @${{CREDENTIALS_DIRECTORY}}/license 2222:22 --allow lan");
        assert!(text.contains(&format!("\nExecStart={line}\n")), "{text}");
        assert!(text.contains(&format!("\nLoadCredential=license:{license}\n")), "{text}");
        assert!(text.starts_with(&format!("# {MARK}\n")));
        for told in [&text, &output.stderr, &output.stdout] {
            assert!(!told.contains(&LICENSE[3..]), "{told}");
        }
        let ran = ["systemctl daemon-reload", "systemctl enable tunnel", "systemctl restart tunnel"];
        assert_eq!(*scratch.ran.borrow(), ran);
    }
}

#[test]
fn a_license_in_a_file_stays_there() {
    let scratch = Scratch::systemd();
    scratch.ok("install -c @/etc/mine 2222:22");
    let unit = scratch.file("/etc/systemd/system/nt.service");
    assert_eq!(scratch.files(), ["/etc/systemd/system/nt.service"]);
    assert!(unit.contains("\nLoadCredential=license:/etc/mine\n"), "{unit}");
    // Named in the settings, it is handed over as well; in the settings themselves, it comes with them.
    scratch.ok("install -c --config /etc/c.toml");
    let unit = scratch.file("/etc/systemd/system/nt.service");
    let line = "-c @${CREDENTIALS_DIRECTORY}/license --config ${CREDENTIALS_DIRECTORY}/config\n";
    assert!(unit.contains(line), "{unit}");
    for line in ["LoadCredential=license:/etc/mine", "LoadCredential=config:/etc/c.toml"] {
        assert!(unit.lines().any(|own| own == line), "{unit}");
    }
    scratch.ok("install -c --config /etc/whole.toml 80");
    let unit = scratch.file("/etc/systemd/system/nt.service");
    assert!(unit.contains(" -c --config ${CREDENTIALS_DIRECTORY}/config 80\n"), "{unit}");
    // Elsewhere nt is root, and reads them itself.
    let output = scratch.ok("install --print --system openrc -c @/etc/mine --config /etc/c.toml");
    assert!(
        output.stdout.contains("word1=@/etc/mine\nword2=--config\nword3=/etc/c.toml\n"),
        "{}",
        output.stdout
    );
}

#[test]
fn a_bad_line_is_refused_and_nothing_is_changed() {
    let scratch = Scratch::systemd();
    for (words, what) in [
        ("install", "which command line should the service run?"),
        ("install 2222:22", "which command line should the service run?"),
        ("install demo", "which command line should the service run?"),
        ("install version -s", "which command line should the service run?"),
        ("install -s --lisen :1", "`--lisen` is not known here; did you mean `--listen`?"),
        ("install -s --listen x", "--listen"),
        ("install -s --config /etc/none", "cannot read /etc/none"),
        ("install -s --config s.toml", "cannot read s.toml"),
        ("install -s --config /etc/rel.toml", "certs is a path from where you are"),
        ("install -s --state /srv/nt", "systemd keeps the state of its service in /var/lib/nt"),
        ("install -s --config /etc/state.toml", "leave --state out, and move there what is in /srv/nt"),
        ("install --system openrc -s --state here", "here is a path from where you are"),
        ("install -c", "which server?"),
        ("install -c LICENSE 80", "names no server"),
        ("install -c LICENSE@vps 0x", "0x"),
        ("install -c LICENSE@vps 80 80", "`80` is mapped twice"),
        ("install -c @/etc/none 80", "cannot read /etc/none"),
        ("install -c @/etc/mine --ca x.pem", "x.pem is a path from where you are"),
        ("install --name a/b -s", "--name: `a/b` is not 1 to 64 letters"),
        ("install --name ../x -s", "--name: `../x` is not"),
        ("install --name -x -s", "--name: `-x` is not"),
        ("install -s --name", "--name needs a word behind it"),
        ("install --system sysv -s", "--system: `sysv` is none of systemd, openrc, procd, launchd"),
        ("install --socket -c LICENSE@vps 80", "--socket has the ports of a server opened"),
        ("install --socket --system openrc -s", "--socket is for systemd: openrc does not"),
        ("install --socket -s --http [::]:0", "--socket wants every port by its number, and [::]:0 is any"),
        ("uninstall", "there is no service nt that `nt install` wrote"),
        ("uninstall --name /", "--name: `/` is not"),
        ("uninstall x", "`x` is not known here"),
    ] {
        let error = scratch.run(words).expect_err(words);
        assert!(error.contains(what), "{words}: {error}");
        assert!(!error.contains(&LICENSE[3..]), "{error}");
    }
    let line_end = scratch.run_with(&["install", "-c", "LICENSE@vps", "--config", "/a\n[Install]"], None);
    assert!(line_end.expect_err("two lines").contains("a line end"));
    assert_eq!(scratch.files(), [""; 0]);
    assert!(scratch.ran.borrow().is_empty());
}

#[test]
fn a_file_that_nt_did_not_write_is_left_alone() {
    let scratch = Scratch::systemd();
    let unit = "/etc/systemd/system/nt.service";
    let late = format!("[Unit]\n\n# {MARK}\n");
    for foreign in ["[Service]\nExecStart=/usr/local/bin/nt -s\n", "", &late] {
        scratch.write(unit, foreign);
        for words in ["install -c LICENSE@vps", "uninstall"] {
            let error = scratch.run(words).expect_err(words);
            assert!(
                error.contains("/etc/systemd/system/nt.service was not written by `nt install`"),
                "{error}"
            );
        }
        assert_eq!(scratch.file(unit), foreign);
    }
    scratch.write("/usr/lib/systemd/system/cron.service", "[Service]\n");
    let error = scratch.run("install --name cron -s").expect_err("taken");
    assert!(error.contains("there is a service cron already"), "{error}");
    assert_eq!(scratch.files(), [unit, "/usr/lib/systemd/system/cron.service"]);
    assert!(scratch.ran.borrow().is_empty());
}

#[test]
fn what_was_installed_is_replaced_and_uninstalled_on_every_system() {
    for (system, stops) in [
        (System::Systemd, &["systemctl disable --now nt", "systemctl daemon-reload"][..]),
        (System::OpenRc, &["rc-service nt stop", "rc-update delete nt"]),
        (System::Procd, &["/etc/init.d/nt stop", "/etc/init.d/nt disable"]),
        (System::Launchd, &["launchctl bootout system/nt"]),
    ] {
        let scratch = Scratch::new();
        let install = format!("install --system {} -c LICENSE@vps", system.word());
        scratch.ok(&format!("{install} 1111:22"));
        scratch.ok(&format!("{install} 2222:22"));
        let (file, license) = (system.file("nt"), license_file("nt"));
        let log = system.log_file("nt");
        let mut files: Vec<String> = [license.clone(), file.clone()].into_iter().chain(log.clone()).collect();
        files.sort();
        assert!(log.iter().all(|log| scratch.mode(log) == 0o600), "a license may come into the log");
        assert_eq!(scratch.files(), files);
        assert!(scratch.file(&file).contains("2222:22") && !scratch.file(&file).contains("1111:22"));
        assert!(scratch.file(&file).lines().take(2).any(|line| line.contains(MARK)));
        assert_eq!(scratch.mode(&file), system.mode());
        assert!(!scratch.file(&file).contains(&LICENSE[3..]));
        let state = format!("{}/licenses.toml", system.state("nt"));
        scratch.write(&state, "");
        scratch.ran.borrow_mut().clear();
        let output = scratch.ok("uninstall");
        let mut files: Vec<String> = [license.clone(), state].into_iter().chain(log).collect();
        files.sort();
        assert_eq!(scratch.files(), files, "state and license are kept");
        for kept in [&license, &system.state("nt")] {
            assert!(output.stderr.contains(&format!("{kept} is kept.")), "{}", output.stderr);
        }
        assert_eq!(*scratch.ran.borrow(), stops);
        assert!(scratch.run("uninstall").is_err());
    }
}

#[test]
fn a_manager_that_fails_is_told_of() {
    let scratch = Scratch::systemd().that_fails("systemctl restart");
    let error = scratch.run("install -s").expect_err("it does not start");
    assert!(error.contains("the files are written, but `systemctl restart nt` failed"), "{error}");
    assert!(error.contains("journalctl -u nt") && error.contains("nt uninstall --name nt"), "{error}");
    // A service that does not run, or that its manager does not know, can be uninstalled all the same.
    let scratch = Scratch::systemd().that_fails("systemctl");
    assert!(scratch.run("install -s").is_err());
    let output = scratch.ok("uninstall");
    assert!(output.stderr.contains("Warning: `systemctl disable --now nt` failed"), "{}", output.stderr);
    assert_eq!(scratch.files(), [""; 0]);
}

#[test]
fn printing_does_nothing() {
    let scratch = Scratch::new();
    for system in System::ALL.map(System::word) {
        let output = scratch.ok(&format!("install --print --system {system} -c LICENSE@vps 2222:22"));
        assert!(output.stdout.lines().take(2).any(|line| line.contains(MARK)), "{}", output.stdout);
        assert!(output.stderr.contains("/etc/nt/nt.license, mode 600"), "{}", output.stderr);
        for told in [output.stdout, output.stderr] {
            assert!(!told.contains(&LICENSE[3..]), "{told}");
        }
    }
    assert_eq!(scratch.files(), [""; 0]);
    assert!(scratch.ran.borrow().is_empty());
}

#[test]
#[cfg(not(target_os = "macos"))]
fn the_manager_is_found_out() {
    for (sign, system) in [
        ("/run/systemd/system/x", System::Systemd),
        ("/sbin/procd", System::Procd),
        ("/etc/openwrt_release", System::Procd),
        ("/sbin/openrc-run", System::OpenRc),
    ] {
        let scratch = Scratch::new();
        let error = scratch.run("install -s").expect_err("none");
        assert!(error.contains("say which by --system, of systemd, openrc, procd, launchd"), "{error}");
        scratch.write(sign, "");
        scratch.ok("install -s");
        assert!(scratch.files().contains(&system.file("nt")), "{sign}");
    }
}

/// The unit for this command line.
fn unit(words: &str) -> String {
    Scratch::new().ok(&format!("install --print --system systemd {words}")).stdout
}

#[test]
fn a_unit_may_what_its_command_line_needs() {
    let has = |words: &str, lines: &[&str]| {
        let unit = unit(words);
        for line in lines {
            assert_eq!(unit.lines().filter(|own| own == line).count(), 1, "{words}: {line}: {unit}");
        }
    };
    let client = "-c LICENSE@vps";
    has("-s", &["StateDirectory=nt", "AmbientCapabilities=CAP_NET_BIND_SERVICE", "ProtectHome=yes"]);
    has("-s --name two", &["StateDirectory=two"]);
    has("-s --config /etc/s.toml", &["AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_DAC_READ_SEARCH"]);
    has(client, &["CapabilityBoundingSet=", "PrivateUsers=yes", "ProtectHome=yes"]);
    has(&format!("{client} --visit nas/ssh:2222"), &["CapabilityBoundingSet="]);
    has(&format!("{client} --visit nas/ssh:22"), &["AmbientCapabilities=CAP_NET_BIND_SERVICE"]);
    has(&format!("{client} 80:files:/srv/www"), &["ProtectHome=yes"]);
    for seen in
        ["80:files:/home/me/www", "80:unix:/run/user/1000/app.sock", "--allow any", "--allow files:/home/me"]
    {
        has(&format!("{client} {seen}"), &["ProtectHome=read-only"]);
    }
    has(&format!("{client} 80:files:/homes"), &["ProtectHome=yes"]);
    for words in ["-s", client] {
        has(
            words,
            &["Type=notify", "NotifyAccess=main", "WatchdogSec=30", "Restart=on-failure", "DynamicUser=yes"],
        );
    }
    assert!(!unit(client).contains("StateDirectory"), "a client has no state");
    // Below root's folder for it, where `nt status` looks.
    has(client, &["RuntimeDirectory=nt/nt", "RuntimeDirectoryMode=0700"]);
    has(&format!("{client} --name two --visit nas/ssh:22"), &["RuntimeDirectory=nt/two"]);
    assert!(!unit("-s").contains("RuntimeDirectory"), "a server is asked by its state's socket");
}

#[test]
fn an_operator_is_warned() {
    let warned = |words: &str, what: &str| {
        let output = Scratch::new().ok(&format!("install --print --system systemd -c LICENSE@vps {words}"));
        assert!(output.stderr.contains(what), "{words}: {}", output.stderr);
        assert_eq!(output.stderr.contains("Warning: "), !what.is_empty(), "{words}: {}", output.stderr);
    };
    warned("80", "");
    warned("80:files:/tmpfs", "");
    warned("1080:socks5,auth=me:hunter2", "everybody on this machine can read the password");
    warned("--via http://me:hunter2@proxy:3128", "everybody on this machine can read the password");
    warned("80:unix:/tmp/app.sock", "/tmp/app.sock is not there for the service");
    for place in ["/home/me/nt", "/tmp/nt", "/root/nt"] {
        let service = Service { program: place.to_owned(), ..nasty() };
        assert!(service.warnings(System::OpenRc)[0].contains("/usr/local/bin"), "{place}");
    }
}

/// Command lines of every kind.
const LINES: &[&str] = &[
    "-s",
    "-s --http :80 --https :443 --config /etc/s.toml",
    "--socket -s --https :443 --admin 127.0.0.1:9001",
    "--socket -s --listen 192.0.2.1:443 --plain [fe80::1%1]:9000",
    "-c LICENSE@vps 2222:22 8080",
    "-c @/etc/mine 80:files:/home/me/www 81:unix:/run/app.sock --visit nas/ssh:22",
];

#[test]
fn systemd_understands_the_units_and_finds_little_that_they_may_do() {
    if !process::need(&["systemd-analyze"]) {
        return;
    }
    let folder = Scratch::new();
    let analyze = |words: &[&str], file: &PathBuf| {
        let output = Command::new("systemd-analyze").args(words).arg(file).output().expect("it runs");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.success(), said.concat())
    };
    for line in LINES {
        // Verified is that the program is there, as well.
        let unit = unit(line).replace("/usr/local/bin/nt", NT);
        let (unit, socket) = unit.split_once(&format!("# {SOCKET}\n")).unwrap_or((&unit, ""));
        let file = folder.root.join("nt.service");
        fs::write(&file, unit).expect("mine");
        if !socket.is_empty() {
            let file = folder.root.join("nt.socket");
            fs::write(&file, socket).expect("mine");
            let (good, said) = analyze(&["verify", "--man=no"], &file);
            assert!(good && !said.contains("nt.s"), "{line}: {said}\n{socket}");
        }
        let (good, said) = analyze(&["verify", "--man=no"], &file);
        assert!(good && !said.contains("nt.s"), "{line}: {said}\n{unit}");
        let (good, said) = analyze(&["security", "--offline=true", "--threshold=20"], &file);
        assert!(good, "{line}: {said}");
    }
    let mut service = nasty();
    service.program = NT.to_owned();
    let file = folder.root.join("nasty.service");
    fs::write(&file, service.text(System::Systemd)).expect("mine");
    let (good, said) = analyze(&["verify", "--man=no"], &file);
    assert!(good && !said.contains("nasty.service"), "{said}");
}

#[test]
fn the_program_prints_a_unit_for_whoever_asks() {
    let output = Command::new(NT)
        .args(["install", "--print", "--system", "systemd", "-c", &format!("{LICENSE}@vps"), "2222:22"])
        .output()
        .expect("it runs");
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("/nt -c @${CREDENTIALS_DIRECTORY}/license 2222:22\n"), "{said}");
}
