//! Names over HTTP and TLS, as bad visitors or bad luck have them: one test each, named for what must not happen.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nt::reason::Reason;
use rustix::process::Signal;

use super::certificates::certificate;
use super::harness::{BOTH, Backend, Kind, SOON, Server, port, visit};
use super::https;
use super::process::{eventually, mortal, need};
use super::web::{Message, Site, Talk, backend, mirror};

const ASK: &str = "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n";

/// Whoever waits longer than this for its answer waits in vain.
fn impatient(port: u16) -> Talk {
    let stream = visit(port);
    stream.set_read_timeout(Some(SOON)).unwrap();
    Talk::new(stream)
}

/// What a visitor who was served before is told now: a last answer, or the end.
fn is_sent_away(visitor: &mut Talk) -> bool {
    let _ = visitor.stream().write_all(ASK.as_bytes());
    let answer: Message = visitor.hear().unwrap_or_default();
    answer.from() == "nobody" && (answer.is_end() || answer.values("connection") == ["close"])
}

#[test]
fn a_host_of_many_letters_overruns_nothing() {
    for kind in BOTH {
        let (real, public) = (mirror("real"), port());
        let site = Site::new(
            kind,
            &[format!("a.example.com:{}", real.port), format!("{public}:{}/http", real.port)],
        );
        let zeros = "0".repeat(8000);
        for host in [format!("a.example.com:{zeros}"), format!("[::1]:{zeros}"), "a".repeat(8000)] {
            for port in [site.port(), public] {
                let mut visitor = impatient(port);
                let answer = visitor.get(&host, "/");
                assert_eq!(answer.line(), "400 Bad Request", "{kind:?}: {}", &host[..20]);
                assert_eq!(visitor.rest().unwrap(), b"");
            }
        }
        for port in [site.port(), public] {
            assert_eq!(impatient(port).get("a.example.com", "/").from(), "real", "{kind:?}");
        }
    }
}

/// What openssl says first to a server of this name.
fn hello_for(name: &str) -> Vec<u8> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut openssl = mortal("openssl");
    openssl.args(["s_client", "-connect", &address, "-servername", name]);
    let mut openssl =
        openssl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut hello = vec![0; 5];
    stream.read_exact(&mut hello).unwrap();
    let length = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
    hello.resize(5 + length, 0);
    stream.read_exact(&mut hello[5..]).unwrap();
    drop(stream);
    openssl.wait().unwrap();
    hello
}

/// The header that says who visits, and all that the visitor said at once, are more than one payload.
#[test]
fn a_long_first_flight_behind_a_header_overruns_nothing() {
    if !need(&["openssl"]) {
        return;
    }
    let hello = hello_for("a.example.com");
    for (version, begins) in [("v1", &b"PROXY TCP4 127.0.0.1 "[..]), ("v2", b"\r\n\r\n\0\r\nQUIT\n!")] {
        let (tell, told) = mpsc::channel();
        let real = Backend::new(move |mut stream| {
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all);
            let _ = tell.send(all);
        });
        let site = https::Site::new(|_| (), &[format!("a.example.com:{}/tls,proxy={version}", real.port)]);
        for length in [hello.len(), 15_000, 15_740, 16_300, 16_380, 16_384, 18_000, 100_000] {
            let said: Vec<u8> = hello.iter().copied().chain((0..=255).cycle()).take(length).collect();
            let mut visitor = visit(site.https);
            visitor.write_all(&said).unwrap();
            visitor.shutdown(Shutdown::Write).unwrap();
            let got = told.recv_timeout(SOON).unwrap();
            assert!(got.starts_with(begins), "{version}: {}", got[..got.len().min(60)].escape_ascii());
            assert!(got.ends_with(&said), "{version}: {} bytes of {length} came", got.len());
            assert!(got.len() < length + 110, "{version}: more than was said came");
        }
    }
}

/// An answer that begins before its request is whole, and not with all of its head.
#[test]
fn a_head_in_pieces_does_not_hold_up_the_body_of_its_request() {
    for kind in BOTH {
        let real = backend(|talk| {
            talk.head()?;
            talk.bytes(10)?;
            talk.say("HTTP/1.1 200 OK\r\nContent-Le");
            thread::sleep(Duration::from_secs(1));
            talk.say("ngth: 2\r\n\r\n");
            talk.bytes(10)?;
            talk.say("ok");
            Ok(())
        });
        let site = Site::new(kind, &[format!("a.example.com:{}", real.port)]);
        let mut visitor = impatient(site.port());
        visitor.say("POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 20\r\n\r\n0123456789");
        // The first piece of the answer is there by then, and the second is not.
        thread::sleep(Duration::from_millis(500));
        visitor.say("0123456789");
        let answer = visitor.hear().expect("an answer, once all of the body has come");
        assert_eq!((answer.line(), answer.text().as_str()), ("200 OK", "ok"), "{kind:?}");
    }
}

#[test]
fn a_request_in_two_records_is_a_request() {
    if !need(&["openssl"]) {
        return;
    }
    let real = mirror("real");
    let site = https::Site::new(
        |folder| _ = certificate(folder, "a", &["a.example.com"]),
        &[format!("a.example.com:{}/https", real.port)],
    );
    for length in [2048, 3000, 7500] {
        let mut openssl: Command = mortal("openssl");
        openssl.args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{}", site.https)]);
        openssl.args(["-servername", "a.example.com"]);
        let pipes = openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut openssl = pipes.spawn().unwrap();
        let mut input = openssl.stdin.take().unwrap();
        let head = "GET / HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\nX-Long: ";
        write!(input, "{head}{}", "y".repeat(length)).unwrap();
        // It has said hello by then, and this is a record of its own.
        thread::sleep(Duration::from_secs(1));
        write!(input, "\r\n\r\n").unwrap();
        let mut answer = String::new();
        openssl.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
        drop(input);
        openssl.wait().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\nX-From: real\r\n"), "{length} bytes: {answer:?}");
    }
}

/// The operator takes away what a visitor still uses.
#[test]
fn what_a_license_permits_no_more_is_not_served_on_a_connection_that_stays() {
    for kind in BOTH {
        let (real, server) = (mirror("real"), Server::start_with_names());
        let (public, other) = (port(), port());
        let ports = public.to_string();
        let license = server.license(&["add", "a", "--hosts", "a.example.com", "--ports", &ports]);
        let mappings = [format!("a.example.com:{}", real.port), format!("{public}:{}/http", real.port)];
        let client = server.client_with(kind, &license, &mappings, |_| {});
        client.wait_for(&format!("http://a.example.com:{} -> ", server.names.unwrap()), SOON);
        client.wait_for(&format!(":{public}/http -> 127.0.0.1:{} ready", real.port), SOON);
        let mut visitors = [server.names.unwrap(), public].map(impatient);
        for visitor in &mut visitors {
            assert_eq!(visitor.get("a.example.com", "/").from(), "real", "{kind:?}");
        }
        let file = server.folder.join("state/licenses.toml");
        let text = fs::read_to_string(&file).unwrap();
        let less = text.replace("a.example.com", "b.example.com").replace(&ports, &other.to_string());
        assert_ne!(text, less);
        fs::write(&file, less).unwrap();
        eventually("it is read", SOON, || {
            impatient(server.names.unwrap()).get("a.example.com", "/").from() == "nobody"
        });
        for visitor in &mut visitors {
            assert_eq!(visitor.get("a.example.com", "/").from(), "nobody", "{kind:?}");
        }
    }
}

/// A port's visitors are bound to the session that they came to, and another one takes its place.
#[test]
fn who_came_to_a_port_is_not_bound_to_a_client_that_is_gone() {
    for kind in BOTH {
        let (real, public) = (mirror("real"), port());
        let mut site = Site::new(kind, &[format!("{public}:{}/http", real.port)]);
        let mut kept = impatient(public);
        assert_eq!(kept.get("a.example.com", "/").from(), "real", "{kind:?}");
        site.client.kill();
        let mut waiting = impatient(public);
        waiting.say(ASK);
        site.client_again();
        // Who waits is served by the new one, and stays with it.
        assert_eq!(waiting.hear().unwrap().from(), "real", "{kind:?}");
        assert_eq!(waiting.get("a.example.com", "/").from(), "real", "{kind:?}");
        // Who has waited for nothing is not kept for nothing.
        assert!(is_sent_away(&mut kept), "{kind:?}");
        assert_eq!(kept.rest().unwrap_or_default(), b"", "{kind:?}");
        assert_eq!(impatient(public).get("a.example.com", "/").from(), "real", "{kind:?}");
    }
}

/// The real server may decode and resolve a path that nt takes as it is.
#[test]
fn no_spelling_of_a_path_leads_past_its_password() {
    for kind in BOTH {
        let (open, shut) = (mirror("open"), mirror("shut"));
        let site = Site::new(
            kind,
            &[
                format!("a.example.com:{}", open.port),
                format!("a.example.com/admin:{},auth=me:password", shut.port),
                format!("b.example.com:{}", open.port),
            ],
        );
        let mut visitor = impatient(site.port());
        assert_eq!(visitor.get("a.example.com", "/admin").line(), "401 Unauthorized", "{kind:?}");
        for path in [
            "/%61dmin",
            "/x/../admin",
            "/x/%2e%2e/admin",
            "//admin",
            "/./admin",
            "/admin%2f",
            "/x/..%2fadmin",
            "/x%5c..%5cadmin",
            "/..;/admin",
        ] {
            let answer = visitor.get("a.example.com", path);
            assert_eq!((answer.from(), answer.line()), ("nobody", "400 Bad Request"), "{kind:?}: {path}");
            // Where a name is one place all of it goes there.
            assert_eq!(visitor.get("b.example.com", path).from(), "open", "{kind:?}: {path}");
        }
        for path in ["/", "/administrator", "/x%20y"] {
            assert_eq!(visitor.get("a.example.com", path).from(), "open", "{kind:?}: {path}");
        }
    }
}

#[test]
fn a_license_does_not_take_a_part_of_a_name_that_is_served() {
    let (mine, theirs) = (mirror("mine"), mirror("theirs"));
    let server = Server::start_with_names();
    let [first, second] = [("first", "blog.example.com"), ("second", "*.example.com")]
        .map(|(name, hosts)| server.license(&["add", name, "--hosts", hosts]));
    let client = server.client_with(Kind::Tls, &first, &[format!("blog.example.com:{}", mine.port)], |_| {});
    client.wait_for(" ready", SOON);
    let mapping = format!("blog.example.com/login:{}", theirs.port);
    let thief = server.client_with(Kind::Tls, &second, &[mapping], |_| {});
    thief.wait_for(&Reason::NameTaken.to_string(), SOON);
    let mut visitor = impatient(server.names.unwrap());
    for path in ["/login", "/login/x", "/"] {
        assert_eq!(visitor.get("blog.example.com", path).from(), "mine", "{path}");
    }
}

#[test]
fn a_port_for_http_is_not_ready_where_no_names_are_served() {
    let (real, server) = (mirror("real"), Server::start());
    let client = server.client(Kind::Tls, &[format!("{}:{}/http", port(), real.port)]);
    client.wait_for(&Reason::NoDoor.to_string(), SOON);
}

/// A browser keeps its connection for minutes.
#[test]
fn a_stopping_client_does_not_wait_for_a_visitor_who_asks_for_nothing() {
    for kind in BOTH {
        let real = mirror("real");
        let mut site = Site::new(kind, &[format!("a.example.com:{}", real.port)]);
        let mut idle = impatient(site.port());
        assert_eq!(idle.get("a.example.com", "/").from(), "real", "{kind:?}");
        site.client.signal(Signal::TERM);
        assert_eq!(site.client.wait(SOON).code(), Some(0), "{kind:?}");
        let _ = idle.stream().write_all(ASK.as_bytes());
        let answer: Message = idle.hear().unwrap_or_default();
        assert_eq!(answer.from(), "nobody", "{kind:?}");
    }
}
