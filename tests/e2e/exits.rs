//! Exits: the client is a proxy into its network, for curl and for another nt; and folders, which it serves itself.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::{Arc, Mutex};

use super::harness::{BOTH, Backend, Folder, Kind, SOON, Server, echoes, port, visit};
use super::process::{eventually, need};
use super::programs::{nginx, random_file, run, same};
use super::rest::{Nt, at_rest};
use super::via;
use super::web::Site;

const ALLOW: &str = "127.0.0.0/8:1024-65535";

/// A client with these exits, ready, that may go to `allow`.
fn exits(server: &Server, kind: Kind, allow: &str, maps: &[String]) -> Nt {
    let client = server.client_with(kind, &server.license, maps, |command| {
        command.args(["--allow", allow]);
    });
    for map in maps {
        let public = map.split(':').next().unwrap_or_default();
        client.wait_for(&format!(":{public} -> "), SOON);
    }
    client
}

fn curl() -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "60", "--noproxy", ""]);
    command
}

/// What curl could not do, in its own words.
fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn curl_goes_out_by_the_client() {
    if !need(&["nginx", "curl"]) {
        return;
    }
    for kind in BOTH {
        let (folder, mut server) = (Folder::new(), Server::start());
        let (_nginx, target) = nginx(&folder);
        let [socks, http, known_socks, known_http] = [(); 4].map(|()| port());
        let maps = [
            format!("{socks}:socks5"),
            format!("{http}:http-proxy"),
            format!("{known_socks}:socks5,auth=me:hunter2"),
            format!("{known_http}:http-proxy,auth=me:hunter2"),
        ];
        let mut client = exits(&server, kind, ALLOW, &maps);
        let big = random_file(&folder, "www/big", 20_000_000, 61);
        let copy = folder.join("copy");
        let ways: [&[&str]; 7] = [
            &["--socks5", &format!("127.0.0.1:{socks}")],
            &["--socks5-hostname", &format!("127.0.0.1:{socks}")],
            &["--proxy", &format!("http://127.0.0.1:{http}")],
            &["--proxytunnel", "--proxy", &format!("http://127.0.0.1:{http}")],
            &["--socks5-hostname", &format!("me:hunter2@127.0.0.1:{known_socks}")],
            &["--proxy", &format!("http://me:hunter2@127.0.0.1:{known_http}")],
            &["--proxytunnel", "--proxy", &format!("http://me:hunter2@127.0.0.1:{known_http}")],
        ];
        for way in ways {
            let url = |path: &str| format!("http://localhost:{target}/{path}");
            run(curl().args(way).arg("--output").arg(&copy).arg(url("big")));
            assert!(same(&big, &copy), "{kind:?} {way:?}: the download differs");
            run(curl().args(way).arg("--upload-file").arg(&big).arg(url("sent")));
            assert!(same(&big, &folder.join("www/sent")), "{kind:?} {way:?}: the upload differs");
            // Several requests, of which a proxy for HTTP makes several connections.
            let four = run(curl().args(way).args(["--range", "0-9"]).arg(url("big?[1-4]")));
            assert_eq!(four.stdout.len(), 40, "{kind:?} {way:?}");
        }
        let url = format!("http://localhost:{target}/big");
        for (way, why) in [
            (["--socks5", &format!("127.0.0.1:{known_socks}")], "No authentication method"),
            (["--socks5", &format!("me:wrong@127.0.0.1:{known_socks}")], "rejected"),
            (["--proxy", &format!("http://127.0.0.1:{known_http}")], "407"),
            (["--proxy", &format!("http://me:wrong@127.0.0.1:{known_http}")], "407"),
        ] {
            let what = fails(curl().args(way).arg(&url));
            assert!(what.contains(why), "{kind:?} {way:?}: {what}");
        }
        at_rest([&mut server.process, &mut client]);
        let said = [client.log().lines(), server.process.log().lines()].concat().concat();
        assert!(!said.contains("hunter2"), "{kind:?}: a password is told");
        assert_eq!(said.matches("anybody who finds it").count(), 2, "{kind:?}: {said}");
    }
}

#[test]
fn an_exit_leads_nowhere_but_where_the_client_allows() {
    if !need(&["curl"]) {
        return;
    }
    let (mut server, echo) = (Server::start(), Backend::echo());
    let [socks, http] = [(); 2].map(|()| port());
    let maps = [format!("{socks}:socks5"), format!("{http}:http-proxy")];
    let allow = format!("127.0.0.1:{}", echo.port);
    let mut client = exits(&server, Kind::Tls, &allow, &maps);
    let ways = [("--socks5-hostname", socks, "(2)"), ("--proxytunnel", http, "403")];
    for (way, exit, why) in ways {
        let exit = format!("127.0.0.1:{exit}");
        let way: &[&str] = if way == "--proxytunnel" { &[way, "--proxy", &exit] } else { &[way, &exit] };
        for (url, word) in [
            (format!("http://127.0.0.1:{}/", server.port(Kind::Tls)), "loopback"),
            ("http://10.1.2.3:8080/".to_owned(), "10.1.2.3:8080"),
            ("http://[fd00::7]:8080/".to_owned(), "[fd00::7]:8080"),
            // What may not be reached is not looked up.
            ("http://no-such-name.example:8080/".to_owned(), "lan"),
        ] {
            let what = fails(curl().args(way).arg("--globoff").arg(&url));
            assert!(what.contains(why), "{way:?} {url}: {what}");
            client.wait_for(&format!("start with --allow {allow},{word}"), SOON);
        }
    }
    // Nor by a name that stands for an address.
    let mut stream = visit(http);
    stream.write_all(b"CONNECT 0.0.0.0:80 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    at_rest([&mut server.process, &mut client]);
}

/// Whoever answers need not close the connection, and the visitor may have more to say.
#[test]
fn a_real_server_hears_one_request_and_nothing_that_is_for_another() {
    let mut server = Server::start();
    // Each connection by itself, and told apart by its path: one of before may come late, or still say something.
    let heard = Arc::new(Mutex::new(Vec::<Vec<u8>>::new()));
    let hears = heard.clone();
    let backend = Backend::new(move |mut stream| {
        let mut piece = [0; 4096];
        let at = {
            let mut all = hears.lock().unwrap();
            all.push(Vec::new());
            all.len() - 1
        };
        // Who asked may have gone.
        _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
        while let Ok(n @ 1..) = stream.read(&mut piece) {
            hears.lock().unwrap()[at].extend_from_slice(&piece[..n]);
        }
    });
    let http = port();
    let mut client = exits(&server, Kind::Tls, ALLOW, &[format!("{http}:http-proxy,auth=me:hunter2")]);
    let login = "Proxy-Authorization: Basic bWU6aHVudGVyMg==\r\n";
    let place = format!("127.0.0.1:{}", backend.port);
    let head = |method: &str, more: &str| {
        format!("{method} http://{place}/ HTTP/1.1\r\nHost: {place}\r\n{login}{more}\r\n")
    };
    let other =
        format!("GET http://bank.example/ HTTP/1.1\r\nHost: bank.example\r\n{login}Cookie: secret\r\n\r\n");
    let long = "x".repeat(100_000);
    for (n, (request, body)) in [
        (head("GET", ""), String::new()),
        (head("POST", "Content-Length: 5\r\n"), "hello".to_owned()),
        (head("POST", "Content-Length: 100000\r\n"), long.clone()),
        (head("POST", "Transfer-Encoding: chunked\r\n"), format!("186a0\r\n{long}\r\n0\r\n\r\n")),
    ]
    .into_iter()
    .enumerate()
    {
        for at_once in [true, false] {
            let path = format!("/{n}{at_once}");
            let request = request.replace("/ HTTP", &format!("{path} HTTP"));
            let line = format!(" {path} HTTP/1.1\r\n");
            let is_last = |said: &&Vec<u8>| String::from_utf8_lossy(said).contains(&line);
            let last = || heard.lock().unwrap().iter().find(is_last).cloned().unwrap_or_default();
            let mut stream = visit(http);
            let mut answer = [0; 1024];
            stream.write_all(format!("{request}{body}").as_bytes()).unwrap();
            if !at_once {
                assert!(stream.read(&mut answer).unwrap() > 0, "{request}");
                eventually("the body is there", SOON, || last().ends_with(body.as_bytes()));
            }
            // It is the visitor's to find out that nobody takes it.
            _ = stream.write_all(other.as_bytes());
            while let Ok(1..) = stream.read(&mut answer) {}
            let heard = String::from_utf8_lossy(&last()).into_owned();
            let (_, behind) = heard.split_once("\r\n\r\n").unwrap_or_default();
            assert!(body.starts_with(behind), "{request}, at once: {at_once}: {} bytes", behind.len());
            assert!(!heard.contains("secret") && !heard.contains("Authorization"), "{heard}");
        }
    }
    at_rest([&mut server.process, &mut client]);
}

#[test]
fn another_nt_dials_out_by_an_exit() {
    let (mut server, echo) = (Server::start(), Backend::echo());
    let [socks, http] = [(); 2].map(|()| port());
    let maps = [format!("{socks}:socks5"), format!("{http}:http-proxy,auth=me:hunter2")];
    let mut client = exits(&server, Kind::Tls, ALLOW, &maps);
    for via in [format!("socks5://127.0.0.1:{socks}"), format!("http://me:hunter2@localhost:{http}")] {
        let license = server.license(&["add", &via[..4]]);
        let (inner, public) = via::client(&server, &license, "127.0.0.1", Kind::Tls, &via, echo.port);
        inner.wait_for(" ready", SOON);
        assert!(echoes(public), "{via}");
    }
    at_rest([&mut server.process, &mut client]);
}

#[test]
fn a_folder_is_served_to_ports_and_names_and_nothing_beside_it() {
    if !need(&["curl"]) {
        return;
    }
    for kind in BOTH {
        let (folder, copy) = (Folder::new(), Folder::new());
        std::fs::create_dir_all(folder.join("www/sub")).unwrap();
        let big = random_file(&folder, "www/sub/big.bin", 20_000_000, 62);
        folder.write("www/index.html", "<h1>home</h1>");
        folder.write("www/.env", "SECRET=1");
        folder.write("secret", "SECRET=2");
        std::os::unix::fs::symlink(folder.join("secret"), folder.join("www/link")).unwrap();
        let root = folder.join("www").display().to_string();
        let [open, known] = [(); 2].map(|()| port());
        let maps = [
            format!("{open}:files:{root}"),
            format!("{known}:files:{root},auth=me:hunter2"),
            format!("www.example.com:files:{root},auth=me:hunter2"),
        ];
        let mut site = Site::new(kind, &maps);
        let url = |port: u16, path: &str| format!("http://127.0.0.1:{port}/{path}");
        let said = |command: &mut Command| String::from_utf8(run(command).stdout).unwrap();

        assert_eq!(said(curl().arg(url(open, ""))), "<h1>home</h1>", "{kind:?}");
        assert!(said(curl().arg(url(open, "sub/"))).contains("<a href=\"big.bin\">"), "{kind:?}: a list");
        let whole = copy.join("copy");
        run(curl().arg("--output").arg(&whole).arg(url(open, "sub/big.bin")));
        assert!(same(&big, &whole), "{kind:?}: the download differs");
        let part = run(curl().args(["--range", "1000000-1000999"]).arg(url(open, "sub/big.bin")));
        assert_eq!(part.stdout, std::fs::read(&big).unwrap()[1_000_000..1_001_000], "{kind:?}: a part");
        let four = run(curl().args(["--write-out", "%{num_connects}"]).arg(url(open, "index.html?[1-4]")));
        assert_eq!(four.stdout.iter().filter(|&&b| b == b'1').count(), 8 + 1, "{kind:?}: one connection");

        for path in ["../secret", "%2e%2e/secret", "sub/../../secret", "link", ".env", "sub/%2e%2e%2f.env"] {
            let what = fails(curl().arg("--path-as-is").arg(url(open, path)));
            assert!(what.contains("40"), "{kind:?} {path}: {what}");
        }
        assert!(fails(curl().arg(url(known, ""))).contains("401"), "{kind:?}");
        assert_eq!(said(curl().args(["--user", "me:hunter2"]).arg(url(known, ""))), "<h1>home</h1>");
        let named = || {
            let mut command = curl();
            command.args(["--header", "Host: www.example.com"]).arg(url(site.port(), "index.html"));
            command
        };
        assert!(fails(&mut named()).contains("401"), "{kind:?}");
        assert_eq!(said(named().args(["--user", "me:hunter2"])), "<h1>home</h1>", "{kind:?}: by name");
        site.at_rest();
    }
}

#[test]
fn many_who_read_nothing_of_a_folder_take_it_from_nobody_for_long() {
    let (folder, mut server) = (Folder::new(), Server::start());
    std::fs::create_dir_all(folder.join("www")).unwrap();
    random_file(&folder, "www/big", 5_000_000, 63);
    let public = port();
    let map = format!("{public}:files:{}", folder.join("www").display());
    let mut client = server.client(Kind::Plain, &[map]);
    client.wait_for(" ready", SOON);
    let visitors: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = visit(public);
            stream.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            stream
        })
        .collect();
    drop(visitors);
    eventually("a visitor is served", SOON, || {
        let mut stream = visit(public);
        let mut answer = Vec::new();
        let asked = stream.write_all(b"HEAD /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        asked.is_ok() && stream.read_to_end(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1 200 OK\r\n")
    });
    at_rest([&mut server.process, &mut client]);
}
