//! The settings of a server that change while it runs: what is the same is not touched.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::Value;

use super::api::{ask, get};
use super::certificates::certificate;
use super::harness::{Backend, Folder, Kind, SOON, Server, echoes, nt, port, visit};
use super::operator::{download, unhurried};
use super::process::{eventually, mortal, need};
use super::rest::Nt;
use super::web;

/// A server whose settings stand in a file, and the file.
struct Settled {
    server: Server,
    lines: Vec<String>,
}

impl Settled {
    /// A server with these settings besides the port for clients under TLS.
    fn new(settings: &[&str]) -> Self {
        super::waiting::begin();
        let (folder, tls) = (Arc::new(Folder::new()), port());
        let mut lines = vec![at("listen", tls)];
        lines.extend(settings.iter().map(ToString::to_string));
        let mut command = mortal(nt());
        command.arg("-s").arg("--state").arg(folder.join("state"));
        command.arg("--config").arg(write(&folder, &lines));
        let process = Nt::start(&mut command, &[tls]);
        let line = process.wait_for("nt -c nt1", SOON);
        let license = line.split("nt -c ").nth(1).unwrap().split('@').next().unwrap().to_owned();
        process.wait_for("the API is served on", SOON);
        process.note_untouched();
        let server = Server { folder, process, tls, plain: 0, names: None, https: None, license };
        Self { server, lines }
    }

    /// Other settings, in the same order; they are read at once: what is said of that, and whether they hold.
    fn take(&mut self, settings: &[&str]) -> (bool, String) {
        self.lines.truncate(1);
        self.lines.extend(settings.iter().map(ToString::to_string));
        write(&self.server.folder, &self.lines);
        let mut command = Command::new(nt());
        let output =
            command.arg("reload").arg("--state").arg(self.server.folder.join("state")).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    }

    /// What the server says of the mapping of this name.
    fn mapping(&self, name: &str) -> Value {
        let all = get(&self.server, "/api/v1/mappings");
        let of_name = |one: &&Value| one["public"].as_str().is_some_and(|public| public.contains(name));
        all["mappings"].as_array().unwrap().iter().find(of_name).cloned().unwrap_or_default()
    }
}

fn write(folder: &Folder, lines: &[String]) -> std::path::PathBuf {
    folder.write("nt.toml", lines.join("\n") + "\n")
}

fn opens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn at(setting: &str, port: u16) -> String {
    format!("{setting} = \"127.0.0.1:{port}\"")
}

#[test]
fn a_server_takes_other_doors_and_loses_no_byte_of_what_runs() {
    let [http, moved, plain, admin, public, web] = [(); 6].map(|()| port());
    let (site, source) = (web::mirror("site"), unhurried());
    let mut settled = Settled::new(&[&at("http", http), &at("admin", admin)]);
    let maps = [
        format!("a.example:{}", site.port),
        format!("{public}:127.0.0.1:{}", source.port),
        format!("{web}:127.0.0.1:{}/http", site.port),
    ];
    let client = settled.server.client_with(Kind::Tls, &settled.server.license, &maps, |_| {});
    eventually("all are ready", SOON, || client.log().count(" ready") == 3);
    let visits: Vec<_> = (0..100).map(|_| download(public)).collect();
    let mut stays = web::Talk::new(visit(http));
    assert_eq!(stays.get("a.example", "/").from(), "site");

    let (taken, said) =
        settled.take(&[&at("http", moved), &at("plain", plain), "public_host = \"vps.example.com\""]);
    assert!(taken && said == "settings read: 2 listeners opened, 2 closed\n", "{said}");
    eventually("the new ones are open", SOON, || opens(moved) && opens(plain));
    eventually("the old ones are closed", SOON, || !opens(http) && !opens(admin));
    assert_eq!(get(&settled.server, "/api/v1/status")["public_host"], "vps.example.com");
    let target = format!("{{\"host\":\"127.0.0.1\",\"port\":{}}}", site.port);
    let bound = ask(&settled.server, "POST", "/api/v1/bind", &target).json();
    assert_eq!(bound["host"], "vps.example.com", "{bound}");
    eventually("the name is served there", SOON, || {
        web::Talk::new(visit(moved)).get("a.example", "/").from() == "site"
    });
    assert_eq!(stays.get("a.example", "/").from(), "site", "whoever had come in stays");
    eventually("the client knows where", SOON, || client.log().count(&format!("{moved}")) > 0);
    for visit in visits {
        assert_eq!(visit.recv_timeout(SOON).unwrap(), (40 * 100 * 1024, Ok(())));
    }
    assert_eq!(client.log().count("logged in"), 1);
    for same in [format!("{public} -> "), format!("{web}/http -> ")] {
        assert_eq!(settled.server.process.log().count(&same), 1, "{same}: it was bound again");
    }

    // Without it no name is served, and the client is told; when it is there again, it is served again.
    let (taken, said) = settled.take(&[&at("plain", plain)]);
    assert!(taken && said.starts_with("settings read: 0 listeners opened, 1 closed"), "{said}");
    eventually("it is down", SOON, || settled.mapping("a.example")["reason"].is_string());
    eventually("nor is HTTP spoken elsewhere", SOON, || !opens(web));
    let (taken, said) = settled.take(&[&at("plain", plain), &at("http", http)]);
    assert!(taken && said == "settings read: 1 listeners opened, 0 closed\n", "{said}");
    eventually("it is served again", SOON, || {
        opens(http) && web::Talk::new(visit(http)).get("a.example", "/").from() == "site"
    });
    eventually("and HTTP spoken", SOON, || opens(web));
    let (taken, said) = settled.take(&[&at("plain", plain), &at("http", http)]);
    assert!(taken && said == "nothing has changed\n", "{said}");
    assert_eq!(client.log().count("logged in"), 1);
}

#[test]
fn settings_are_taken_as_a_whole_or_refused_as_a_whole() {
    let [http, plain, public] = [port(), port(), port()];
    let backend = Backend::echo();
    let mut settled = Settled::new(&[&at("http", http)]);
    let maps = [format!("{public}:127.0.0.1:{}", backend.port)];
    let client = settled.server.client_with(Kind::Tls, &settled.server.license, &maps, |_| {});
    client.wait_for(" ready", SOON);
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = other.local_addr().unwrap().port();
    let good = at("plain", plain);
    for (settings, what) in [
        (
            [good.clone(), at("htpp", http)],
            "line 3: there is no setting `htpp` here; did you mean `http`?".into(),
        ),
        (
            [good.clone(), at("admin", taken)],
            format!("line 3: `admin`: cannot serve the API on 127.0.0.1:{taken}: "),
        ),
        (
            [at("http", taken), good.clone()],
            format!("line 2: `http`: cannot serve visitors by name on 127.0.0.1:{taken}"),
        ),
        (
            [good.clone(), at("https", public)],
            format!("line 3: `https`: cannot serve visitors by name on 127.0.0.1:{public}"),
        ),
        (
            [good.clone(), at("https", plain)],
            format!("line 3: `https`: 127.0.0.1:{plain} is where `plain` is as well"),
        ),
        ([good.clone(), "admin = \"0.0.0.0:1\"".into()], "`admin` has to be an address of loopback".into()),
        (
            [good.clone(), "log = \"json\"".into()],
            "line 3: `log` has changed, and counts when nt is started again".into(),
        ),
        (
            [good.clone(), "[limits]\nvisitors = 9".into()],
            "line 3: `limits` has changed, and counts when".into(),
        ),
        ([good.clone(), "state = \"/nowhere\"".into()], String::new()),
        ([good, "certs = \"/nowhere\"".into()], "cannot read the folder of certificates /nowhere".into()),
    ] {
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let (accepted, said) = settled.take(&settings);
        if what.is_empty() {
            // What the command line says counts more than the file.
            assert!(accepted, "{said}");
            let (accepted, _) = settled.take(&[&at("http", http)]);
            assert!(accepted);
            continue;
        }
        assert!(!accepted && said.contains(&what) && said.contains("still hold"), "{settings:?}: {said}");
        assert!(!opens(plain) && opens(http) && echoes(public), "{settings:?}");
    }
    settled.server.process.signal(Signal::HUP);
    settled.server.process.wait_for("the settings of before still hold", SOON);
    // What has no memory of its own cannot come while it runs.
    let mut settled = Settled::new(&[]);
    let (accepted, said) = settled.take(&[&at("http", http)]);
    assert!(!accepted && said.contains("line 2: `http` has changed, and counts when"), "{said}");
}

#[test]
fn a_certificate_of_its_own_that_changes_is_shown_to_the_next_client() {
    if !need(&["openssl"]) {
        return;
    }
    let shown = |settled: &Settled| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-alpn", "nt/1", "-connect"]);
        command.arg(format!("127.0.0.1:{}", settled.server.tls)).stdin(Stdio::null());
        let seen = settled.server.folder.write("seen", command.output().unwrap().stdout);
        let mut command = Command::new("openssl");
        let names =
            command.args(["x509", "-noout", "-ext", "subjectAltName", "-in"]).arg(seen).output().unwrap();
        String::from_utf8_lossy(&names.stdout).into_owned()
    };
    let pair = |folder: &Folder, name: &str| {
        let path = |end: &str| folder.join(&format!("{name}.{end}")).display().to_string();
        [format!("cert = \"{}\"", path("crt")), format!("key = \"{}\"", path("key"))]
    };
    let echo = Backend::echo();
    let mut settled = Settled::new(&[]);
    let public = port();
    let maps = [format!("{public}:127.0.0.1:{}", echo.port)];
    let client = settled.server.client_with(Kind::Tls, &settled.server.license, &maps, |_| {});
    client.wait_for(" ready", SOON);
    let folder = Arc::clone(&settled.server.folder);
    certificate(&folder, "one", &["one.example.com"]);
    let [cert, key] = pair(&folder, "one");
    assert!(settled.take(&[&cert, &key]).0);
    assert!(shown(&settled).contains("one.example.com"));
    // The same files with something else in them.
    certificate(&folder, "one", &["two.example.com"]);
    eventually("it is shown", SOON, || shown(&settled).contains("two.example.com"));
    // Nothing that could be shown.
    fs::write(folder.join("one.key"), "no key").unwrap();
    settled.server.process.wait_for("the certificates of before still hold", SOON);
    assert!(shown(&settled).contains("two.example.com"));
    let [cert, _] = pair(&folder, "nobody");
    let (accepted, said) = settled.take(&[&cert, &key]);
    assert!(!accepted && said.contains("nobody.crt"), "{said}");
    assert!(shown(&settled).contains("two.example.com"));
    assert!(echoes(public));
    assert_eq!(client.log().count("logged in"), 1);
}
