//! Names over TLS: ended on the server with the right certificate, passed through by the name alone, and clients on the
//! same port. The far ends are curl and openssl.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::certificates::certificate;
use super::harness::{Backend, Folder, SOON, nt, port, visit};
use super::process::{eventually, mortal, need};
use super::programs::{random_file, run, same};
use super::rest::{Nt, end};
use super::servers;

/// A server of names with certificates of its own, and a client that came by the same port.
pub struct Site {
    folder: Arc<Folder>,
    pub https: u16,
    http: u16,
    server: Nt,
    client: Nt,
}

impl Site {
    /// `make` puts certificates into a folder.
    pub fn new(make: impl FnOnce(&Folder), mappings: &[String]) -> Self {
        super::waiting::begin();
        let folder = Arc::new(Folder::new());
        let (tunnel, http, https) = (port(), port(), port());
        make(&folder);
        let settings = folder.write("nt.toml", format!("certs = \"{}\"\n", folder.path().display()));
        let mut server = mortal(nt());
        server.arg("-s").arg("--state").arg(folder.join("state")).arg("--config").arg(settings);
        for (flag, port) in [("--listen", tunnel), ("--http", http), ("--https", https)] {
            server.args([flag, &format!("127.0.0.1:{port}")]);
        }
        let server = Nt::start(&mut server, &[tunnel, https]);
        let line = server.wait_for("nt -c nt1", SOON);
        let license = line.split("nt -c ").nth(1).unwrap().split('@').next().unwrap().to_owned();
        server.wait_for("visitors of https names", SOON);
        server.note_untouched();
        let file = folder.write("license", format!("{license}@127.0.0.1:{https}\n"));
        let mut client = mortal(nt());
        let client = Nt::start(client.arg("-c").arg(format!("@{}", file.display())).args(mappings), &[https]);
        for _ in mappings {
            client.wait_for("ready", SOON);
        }
        Self { folder, https, http, server, client }
    }

    /// curl, which finds every name here and trusts this certificate alone.
    fn curl(&self, trusted: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "60", "--cacert"]);
        curl.arg(self.folder.join(&format!("{trusted}.crt")));
        curl.args(["--connect-to", &format!("::127.0.0.1:{}", self.https)]);
        curl
    }

    fn fetch(&self, trusted: &str, url: &str) -> String {
        String::from_utf8_lossy(&run(self.curl(trusted).arg(url)).stdout).into_owned()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !thread::panicking() {
            end([&mut self.client, &mut self.server]);
        }
    }
}

/// nginx that speaks TLS and HTTP/2 itself, with this certificate of the folder.
fn nginx_over_tls(folder: &Folder, name: &str) -> (super::process::Process, u16) {
    let path = folder.path().display();
    let keys = format!("ssl_certificate {path}/{name}.crt; ssl_certificate_key {path}/{name}.key;");
    servers::nginx(folder, "ssl http2", &format!("{keys} root {path}/www; dav_methods PUT;"))
}

#[test]
fn tls_ends_here_with_the_certificate_of_the_name() {
    if !need(&["nginx", "curl", "openssl"]) {
        return;
    }
    let files = Folder::new();
    let (_nginx, target) = super::programs::nginx(&files);
    files.write("www/small", "it works\n");
    let site = Site::new(
        |folder| {
            certificate(folder, "blog", &["blog.example.com"]);
            certificate(folder, "wild", &["*.wild.example.com"]);
        },
        &[format!("blog.example.com:{target}/https"), format!("*.wild.example.com:{target}/https")],
    );
    assert_eq!(site.fetch("blog", "https://blog.example.com/small"), "it works\n");
    assert_eq!(site.fetch("wild", "https://a.wild.example.com/small"), "it works\n");
    // The other certificate is not shown for it.
    assert!(!site.curl("wild").arg("https://blog.example.com/small").status().unwrap().success());

    // 50 requests over one connection: curl counts connections.
    let mut counted = site.curl("blog");
    counted.args(["--write-out", "%{num_connects}\n", "--output", "/dev/null"]);
    let count = run(counted.arg("https://blog.example.com/small?[1-50]"));
    let connects: u32 =
        String::from_utf8_lossy(&count.stdout).lines().map(|line| line.parse::<u32>().unwrap()).sum();
    assert_eq!(connects, 1, "connections for 50 requests");

    let big = random_file(&files, "www/big", 20_000_000, 7);
    let copy = files.join("copy");
    run(site.curl("blog").arg("--output").arg(&copy).arg("https://blog.example.com/big"));
    assert!(same(&big, &copy), "the download differs");
    run(site.curl("blog").arg("--upload-file").arg(&big).arg("https://blog.example.com/sent"));
    assert!(same(&big, &files.join("www/sent")), "the upload differs");
}

#[test]
fn a_certificate_that_changes_is_shown_soon() {
    if !need(&["curl", "openssl"]) {
        return;
    }
    let page = Backend::new(|mut stream| {
        let mut head = [0; 4096];
        while matches!(stream.read(&mut head), Ok(1..)) {
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    });
    let mapping = format!("blog.example.com:{}/https", page.port);
    let site = Site::new(|folder| _ = certificate(folder, "blog", &["old.example.com"]), &[mapping]);
    let works = || site.curl("blog").arg("https://blog.example.com/").stderr(Stdio::null()).output().unwrap();
    assert!(!works().status.success(), "a certificate of another name is trusted");
    certificate(&site.folder, "blog", &["blog.example.com"]);
    site.server.wait_for("certificates read", SOON);
    assert_eq!(works().stdout, b"ok");

    // One that cannot be read leaves the one of before.
    fs::write(site.folder.join("blog.key"), "no key").unwrap();
    site.server.wait_for("the certificates of before still hold", SOON);
    assert_eq!(works().stdout, b"ok");
}

#[test]
fn what_is_passed_through_is_not_looked_into() {
    if !need(&["nginx", "curl", "openssl"]) {
        return;
    }
    let files = Folder::new();
    fs::create_dir_all(files.join("www")).unwrap();
    certificate(&files, "own", &["mail.example.com"]);
    let (_nginx, target) = nginx_over_tls(&files, "own");
    let big = random_file(&files, "www/big", 20_000_000, 8);
    let site = Site::new(|_| (), &[format!("mail.example.com:{target}/tls")]);
    fs::copy(files.join("own.crt"), site.folder.join("own.crt")).unwrap();
    let copy = files.join("copy");
    let mut download = site.curl("own");
    download.args(["--write-out", "%{http_version}", "--output"]).arg(&copy);
    // The real server's own certificate, and what it speaks besides HTTP/1.1.
    assert_eq!(run(download.arg("https://mail.example.com/big")).stdout, b"2");
    assert!(same(&big, &copy), "the download differs");
    run(site.curl("own").arg("--upload-file").arg(&big).arg("https://mail.example.com/sent"));
    assert!(same(&big, &files.join("www/sent")), "the upload differs");
}

/// HTTP/2, many requests at once on each of many connections: all of it is the real server's.
#[test]
fn visitors_from_elsewhere_are_kept_out_over_tls_too() {
    if !need(&["nginx", "curl", "openssl"]) {
        return;
    }
    let files = Folder::new();
    fs::create_dir_all(files.join("www")).unwrap();
    certificate(&files, "real", &["passed.example.com"]);
    files.write("www/small", "it works\n");
    let ((_nginx, target), (_other, plain)) =
        (nginx_over_tls(&files, "real"), super::programs::nginx(&files));
    let site = Site::new(
        |folder| _ = certificate(folder, "ended", &["ended.example.com"]),
        &[
            format!("ended.example.com:{plain}/https,allow=127.9.0.0/16"),
            format!("passed.example.com:{target}/tls,allow=127.9.0.0/16"),
        ],
    );
    fs::copy(files.join("real.crt"), site.folder.join("real.crt")).unwrap();
    let code = |trusted: &str, from: &str| {
        let mut curl = site.curl(trusted);
        curl.args(["--interface", from, "--write-out", "%{http_code}", "--output", "/dev/null"]);
        let url = format!("https://{}.example.com/small", if trusted == "real" { "passed" } else { trusted });
        String::from_utf8_lossy(&curl.arg(url).output().unwrap().stdout).into_owned()
    };
    for (trusted, away) in [("ended", "403"), ("real", "000")] {
        assert_eq!(code(trusted, "127.9.0.1"), "200", "{trusted}");
        assert_eq!(code(trusted, "127.8.0.1"), away, "{trusted}");
    }
}

#[test]
fn h2load_gets_all_that_it_asks_for_through_what_is_passed_on() {
    if !need(&["nginx", "h2load", "openssl"]) {
        return;
    }
    let files = Folder::new();
    fs::create_dir_all(files.join("www")).unwrap();
    files.write("www/small", "it works\n");
    certificate(&files, "own", &["mail.example.com"]);
    let (_nginx, target) = nginx_over_tls(&files, "own");
    let site = Site::new(|_| (), &[format!("mail.example.com:{target}/tls")]);
    let mut load = Command::new("h2load");
    load.args(["-n", "2000", "-c", "20", "-m", "10", &format!("--connect-to=127.0.0.1:{}", site.https)]);
    let said = run(load.arg("https://mail.example.com/small"));
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("Application protocol: h2"), "{said}");
    assert!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("status codes: 2000 2xx"), "{said}");
}

/// What `openssl s_client` says of this port, asked for this name.
fn s_client(port: u16, words: &[&str]) -> Output {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]).args(words);
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn names_that_nobody_serves_are_said_so_and_plain_http_is_sent_to_tls() {
    if !need(&["curl", "openssl"]) {
        return;
    }
    let echo = Backend::echo();
    let site = Site::new(|_| (), &[format!("blog.example.com:{}/https", echo.port)]);
    for words in [&["-servername", "other.example.com"][..], &["-noservername"]] {
        let said = s_client(site.https, words);
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains("unrecognized name"), "{words:?}: {said}");
    }
    // An older TLS, and what is no TLS at all.
    let old = s_client(site.https, &["-servername", "blog.example.com", "-tls1_2"]);
    assert!(!old.status.success(), "TLS 1.2 is spoken");
    let mut stranger = visit(site.https);
    stranger.write_all(b"GET / HTTP/1.1\r\nHost: blog.example.com\r\n\r\n").unwrap();
    assert!(!matches!(stranger.read(&mut [0; 1]), Ok(1..)), "an answer without TLS");

    let mut plain = visit(site.http);
    plain.write_all(b"GET /a?b HTTP/1.1\r\nHost: Blog.example.com\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    assert!(
        answer.contains(&format!("Location: https://blog.example.com:{}/a?b\r\n", site.https)),
        "{answer}"
    );
}

#[test]
fn a_hello_in_many_pieces_is_a_hello() {
    if !need(&["curl", "openssl"]) {
        return;
    }
    let files = Folder::new();
    certificate(&files, "own", &["mail.example.com"]);
    let page = Backend::new(|mut stream| {
        let mut head = [0; 4096];
        let _ = stream.read(&mut head);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    });
    let site = Site::new(
        |folder| _ = certificate(folder, "blog", &["blog.example.com"]),
        &[format!("blog.example.com:{}/https", page.port)],
    );
    // A relay that passes the visitor's first 600 bytes one by one.
    let https = site.https;
    let relay = Backend::new(move |visitor| {
        let server = TcpStream::connect(("127.0.0.1", https)).unwrap();
        server.set_nodelay(true).unwrap();
        let (mut from, mut to) = (visitor.try_clone().unwrap(), server.try_clone().unwrap());
        let up = thread::spawn(move || {
            let mut byte = [0; 1];
            for _ in 0..600 {
                if !matches!(from.read(&mut byte), Ok(1)) || to.write_all(&byte).is_err() {
                    return;
                }
                thread::sleep(Duration::from_micros(200));
            }
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
        let _ = std::io::copy(&mut &server, &mut &visitor);
        let _ = visitor.shutdown(std::net::Shutdown::Write);
        let _ = up.join();
    });
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "60", "--cacert"]);
    curl.arg(site.folder.join("blog.crt"));
    curl.args(["--connect-to", &format!("::127.0.0.1:{}", relay.port), "https://blog.example.com/"]);
    assert_eq!(run(&mut curl).stdout, b"ok");
}

#[test]
fn who_greets_and_says_no_more_is_let_go_and_others_are_served() {
    if !need(&["curl", "openssl"]) {
        return;
    }
    let page = Backend::new(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    });
    let site = Site::new(
        |folder| _ = certificate(folder, "blog", &["blog.example.com"]),
        &[format!("blog.example.com:{}/https", page.port)],
    );
    let silent: Vec<TcpStream> = (0..200).map(|_| visit(site.https)).collect();
    for (n, mut stream) in silent.iter().enumerate() {
        // The beginning of a hello, of every length up to 200.
        let _ = stream.write_all(&[&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 200]].concat()[..n]);
    }
    assert_eq!(site.fetch("blog", "https://blog.example.com/"), "ok");
    eventually("they are let go", SOON, || {
        silent.iter().all(|mut stream| {
            stream.set_nonblocking(true).unwrap();
            !matches!(stream.read(&mut [0; 16]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
        })
    });
    assert_eq!(site.fetch("blog", "https://blog.example.com/"), "ok");
}
