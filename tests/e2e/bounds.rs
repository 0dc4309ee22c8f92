//! What a license may: how much passes, how often visitors come, until when, and what was counted.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::data::Pattern;
use super::harness::{BOTH, Backend, Folder, Kind, SOON, Server, port, visit};
use super::process::eventually;
use super::rest::Nt;
use super::udp::stop;
use super::web::{Talk, mirror};

/// What a rate lets pass at once after a rest, where the rate is a small one.
const BURST: u64 = 16_380;

/// Says something to each visitor for as long as it listens.
fn fountain() -> Backend {
    Backend::new(|stream| _ = Pattern::new(7).write(stream, u64::MAX))
}

/// A license, and a client with it that publishes this.
fn published(server: &Server, kind: Kind, words: &[&str], mapping: String) -> Nt {
    let license = server.license(&[&["add", "shop"], words].concat());
    let client = server.client_with(kind, &license, &[mapping], |_| {});
    client.wait_for(" ready", SOON);
    client
}

/// All that comes until the end, and whether that was a cut; of what never ends, enough to see that.
fn drink(stream: &mut TcpStream) -> (u64, bool) {
    let (mut drunk, mut glass) = (0, [0; 4_096]);
    loop {
        match stream.read(&mut glass) {
            Ok(0) => return (drunk, false),
            Ok(_) if drunk > 20_000_000 => {
                stream.shutdown(Shutdown::Both).unwrap();
                return (drunk, false);
            }
            Ok(n) => drunk += n as u64,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (drunk, true),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Whether a visitor is cut before it has heard anything.
fn is_cut(port: u16) -> bool {
    // Who is cut at once may hear of it before he knows that he was connected.
    let end = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut visitor| {
        visitor.set_read_timeout(Some(SOON))?;
        visitor.write_all(b"?")?;
        visitor.read(&mut [0])
    });
    matches!(end, Err(error) if [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()))
}

fn counters(folder: &Folder) -> String {
    std::fs::read_to_string(folder.join("state/counters.toml")).unwrap_or_default()
}

/// The number behind the first `key = `.
fn counted(folder: &Folder, key: &str) -> u64 {
    let text = counters(folder);
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
    line.map_or(0, |number| number.parse().unwrap())
}

/// Puts another line in the place of one in licenses.toml, as a person does.
fn edit(server: &Server, from: &str, to: &str) {
    let path = server.folder.join("state/licenses.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} does not stand in\n{text}");
    server.folder.write("state/licenses.edited", text.replace(from, to));
    std::fs::rename(server.folder.join("state/licenses.edited"), &path).unwrap();
}

fn stop_server(server: &mut Server) {
    server.process.signal(Signal::TERM);
    assert_eq!(server.process.wait(SOON).code(), Some(0), "asked to stop");
}

#[test]
fn visitors_share_a_rate_evenly_and_never_pass_it() {
    for kind in BOTH {
        for (license, option) in [(&["--rate", "-/200K"][..], ""), (&[], ",rate=-/200K")] {
            let (server, real, public) = (Server::start(), fountain(), port());
            let mapping = format!("{public}:127.0.0.1:{}{option}", real.port);
            let _client = published(&server, kind, license, mapping);
            let begun = Instant::now();
            let mut visitors: Vec<TcpStream> = (0..4).map(|_| visit(public)).collect();
            let mut drunk = [0_u64; 4];
            let mut patterns: Vec<Pattern> = (0..4).map(|_| Pattern::new(7)).collect();
            for visitor in &visitors {
                visitor.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            }
            while drunk.iter().sum::<u64>() < 300_000 {
                assert!(begun.elapsed() < SOON, "{kind:?}: {drunk:?}");
                for (n, visitor) in visitors.iter_mut().enumerate() {
                    let mut glass = [0; 16_384];
                    if let Ok(length @ 1..) = visitor.read(&mut glass) {
                        let (same, end) = patterns[n].read_some(&glass[..length], length as u64);
                        assert_eq!((same, end), (length as u64, Ok(())), "{kind:?}: other bytes");
                        drunk[n] += length as u64;
                    }
                }
            }
            // What came cannot have come sooner, however slow this machine is.
            let most = BURST.max(50_000) + 200_000 * begun.elapsed().as_millis() as u64 / 1_000;
            assert!(drunk.iter().sum::<u64>() <= most, "{kind:?}: {drunk:?}, {most} at most");
            let (least, most) = (drunk.iter().min().unwrap(), drunk.iter().max().unwrap());
            assert!(least * 3 > *most, "{kind:?}: {drunk:?}");
        }
    }
}

/// What a visitor says is held back, too, and nobody else is.
#[test]
fn a_rate_to_the_client_holds_up_no_answers_and_no_other_mapping() {
    let (server, public, free) = (Server::start(), port(), port());
    let (echo, real) =
        (Backend::echo(), Backend::new(|stream| _ = std::io::copy(&mut &stream, &mut std::io::sink())));
    let license = server.license(&["add", "shop"]);
    let mappings =
        [format!("{public}:127.0.0.1:{},rate=1K/-", real.port), format!("{free}:127.0.0.1:{}", echo.port)];
    let client = server.client_with(Kind::Tls, &license, &mappings, |_| {});
    eventually("both are ready", SOON, || client.log().count(" ready") == 2);
    let mut slow = visit(public);
    slow.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let said = (0..).map(|_| slow.write(&[0; 65_536])).take_while(Result::is_ok).count();
    assert!(said < 1_000, "all of it was taken");
    for _ in 0..100 {
        let mut other = visit(free);
        other.write_all(&[1; 10_000]).unwrap();
        other.read_exact(&mut [0; 10_000]).unwrap();
    }
    // What it has said would leave for an hour.
    rustix::net::sockopt::set_socket_linger(&slow, Some(Duration::ZERO)).unwrap();
}

#[test]
fn datagrams_over_a_rate_are_dropped() {
    let (server, public) = (Server::start(), port());
    let real = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mapping = format!("{public}:127.0.0.1:{}/udp,rate=1K/-", real.local_addr().unwrap().port());
    let client = published(&server, Kind::Tls, &[], mapping);
    let begun = Instant::now();
    let visitor = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for _ in 0..100 {
        visitor.send_to(&[0; 1_000], (Ipv4Addr::LOCALHOST, public)).unwrap();
    }
    real.set_read_timeout(Some(SOON)).unwrap();
    real.recv_from(&mut [0; 2_000]).unwrap();
    real.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let came = 1 + (0..).map_while(|_| real.recv_from(&mut [0; 2_000]).ok()).count() as u64;
    let most = (BURST + begun.elapsed().as_millis() as u64) / 1_000 + 1;
    assert!((10..=most).contains(&came), "{came} came, {most} at most");
    stop(client);
}

#[test]
fn a_quota_stops_at_its_last_byte() {
    for kind in BOTH {
        let (mut server, real, public) = (Server::start(), fountain(), port());
        let mapping = format!("{public}:127.0.0.1:{}", real.port);
        let client = published(&server, kind, &["--quota", "1M"], mapping);
        let (drunk, cut) = drink(&mut visit(public));
        assert!(cut && drunk <= 1_000_000, "{kind:?}: {drunk} bytes, cut: {cut}");
        server.process.wait_for("shop: 80 % of its quota", SOON);
        server.process.wait_for("shop: its quota for this month is used up; nothing passes", SOON);
        assert!(is_cut(public), "{kind:?}: visitors come on");
        // It is not forgotten when the server starts again.
        stop_server(&mut server);
        let text = counters(&server.folder);
        assert!(text.contains("\nup = 1000000\nmonth = 1000000\n"), "{kind:?}: {text}");
        server.again();
        eventually("the client is back", SOON, || client.log().count(" ready") == 2);
        assert!(is_cut(public), "{kind:?}: the quota is forgotten");
        // More of it counts at once.
        edit(&server, "quota = \"1M\"", "quota = \"3M\"");
        server.process.wait_for("licenses.toml read", SOON);
        let (more, cut) = drink(&mut visit(public));
        assert!(cut && (1..=2_000_000).contains(&more), "{kind:?}: {more} bytes, cut: {cut}");
        server.process.wait_for("shop: its quota for this month is used up", SOON);
    }
}

#[test]
fn beyond_a_quota_it_goes_on_slowly_if_that_is_said() {
    let (server, real, public) = (Server::start(), fountain(), port());
    let mapping = format!("{public}:127.0.0.1:{}", real.port);
    let _client = published(&server, Kind::Plain, &["--quota", "1M", "--over-quota", "1K"], mapping);
    let mut visitor = visit(public);
    let mut glass = vec![0; 1_000_000];
    visitor.read_exact(&mut glass).unwrap();
    server.process.wait_for("it goes on slowly", SOON);
    visitor.read_exact(&mut glass[..1_000]).expect("more comes");
    assert!(!is_cut(public), "visitors come on");
}

#[test]
fn all_that_passes_is_counted_by_license_and_mapping_over_restarts() {
    for kind in BOTH {
        let (mut server, echo, public) = (Server::start(), Backend::echo(), port());
        let (site, names) = (mirror("real"), port());
        let license = server.license(&["add", "shop"]);
        let mappings =
            [format!("{public}:127.0.0.1:{}", echo.port), format!("{names}:127.0.0.1:{}", site.port)];
        let client = server.client_with(kind, &license, &mappings, |_| {});
        eventually("both are ready", SOON, || client.log().count(" ready") == 2);
        let once = |bytes: usize| {
            let mut visitor = visit(public);
            let said = vec![9; bytes];
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut all = Vec::new();
                    (&visitor).read_to_end(&mut all).unwrap();
                    assert_eq!(all.len(), bytes);
                });
                (&visitor).write_all(&said).unwrap();
                visitor.shutdown(Shutdown::Write).unwrap();
            });
            visitor.flush().unwrap();
        };
        once(5_000_000);
        once(17);
        stop_server(&mut server);
        let line = format!("\"5000017 5000017 {public}:{}\"", echo.port);
        let text = counters(&server.folder);
        assert!(
            text.contains(&line) && text.contains("\ndown = 5000017\nup = 5000017\n"),
            "{kind:?}: {text}"
        );
        server.again();
        eventually("the client is back", SOON, || client.log().count(" ready") == 4);
        once(83);
        stop_server(&mut server);
        assert_eq!(counted(&server.folder, "down"), 5_000_100, "{kind:?}");
        assert_eq!(counted(&server.folder, "up"), 5_000_100, "{kind:?}");
    }
}

#[test]
fn a_file_of_counters_that_is_damaged_stops_nobody() {
    let mut server = Server::start();
    stop_server(&mut server);
    server.folder.write("state/counters.toml", "[[license]]\nname = \"shop\"\ndown = \"much\"\n");
    server.again();
    server.process.wait_for("counters.toml, line 3: ", SOON);
    server.process.wait_for("traffic is counted anew", SOON);
    // It is as good as ever, and may be asked to stop.
    server.process.wait_for("the API is served on", SOON);
    assert!(server.folder.join("state/counters.toml.bad").exists());
}

#[test]
fn a_license_is_good_until_its_last_day() {
    for kind in BOTH {
        let (server, echo, public) = (Server::start(), Backend::echo(), port());
        let mapping = format!("{public}:127.0.0.1:{}", echo.port);
        let client = published(&server, kind, &["--expires", "2d"], mapping.clone());
        let mut visitor = visit(public);
        visitor.write_all(b"?").unwrap();
        visitor.read_exact(&mut [0]).unwrap();
        let shown = server.folder.join("state/licenses.toml");
        let text = std::fs::read_to_string(shown).unwrap();
        let line = text.lines().find(|line| line.starts_with("expires")).unwrap().to_owned();
        edit(&server, &line, "expires = \"2025-12-31\"");
        let end = visitor.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "{kind:?}: the visit goes on");
        client.wait_for("this license has expired", SOON);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, public)).is_err(), "{public} is open");
        let late = server.license(&["add", "late", "--expires", "2026-01-01"]);
        let client = server.client_with(kind, &late, &[mapping], |_| {});
        client.wait_for("this license has expired", SOON);
    }
}

#[test]
fn a_rotated_license_is_good_until_the_new_one_is_used() {
    for kind in BOTH {
        let (mut server, echo, public) = (Server::start(), Backend::echo(), port());
        let mapping = [format!("{public}:127.0.0.1:{}", echo.port)];
        let old = server.license(&["add", "shop"]);
        let with = |server: &Server, license: &str| server.client_with(kind, license, &mapping, |_| {});
        let mut first = with(&server, &old);
        first.wait_for(" ready", SOON);
        let new = server.license(&["rotate", "shop"]);
        server.process.wait_for("licenses.toml read", SOON);
        // It goes on, and can come again.
        assert!(!is_cut(public), "{kind:?}");
        first.signal(Signal::TERM);
        first.wait(SOON);
        let mut first = with(&server, &old);
        first.wait_for(" ready", SOON);
        assert!(!is_cut(public), "{kind:?}");
        let second = with(&server, &new);
        second.wait_for(" ready", SOON);
        first.wait_for("a newer login of the same license took over", SOON);
        first.kill();
        assert!(!is_cut(public), "{kind:?}");
        let late = with(&server, &old);
        late.wait_for("this license was rotated, and the new one is in use", SOON);
        // Even a server that was killed remembers that.
        let met = format!("met = \"{}\"", nt::license::License::parse(&new).unwrap().id());
        eventually("it is kept", SOON, || counters(&server.folder).contains(&met));
        server.process.kill();
        server.again();
        let late = with(&server, &old);
        late.wait_for("this license was rotated, and the new one is in use", SOON);
        eventually("the new one is back", SOON, || second.log().count(" ready") == 2);
        // What leaked is stopped at once.
        server.license(&["rotate", "shop", "--now"]);
        second.wait_for("it may have been replaced", SOON);
    }
}

#[test]
fn who_comes_too_often_is_banned_and_others_are_not() {
    let (server, echo, site) = (Server::start(), Backend::echo(), mirror("real"));
    let [tcp, web, udp] = [port(), port(), port()];
    let real = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let license = server.license(&["add", "shop", "--connects", "5/h"]);
    let mappings = [
        format!("{tcp}:127.0.0.1:{}", echo.port),
        format!("{web}:127.0.0.1:{}", site.port),
        format!("{udp}:127.0.0.1:{}/udp", real.local_addr().unwrap().port()),
    ];
    let client = server.client_with(Kind::Tls, &license, &mappings, |_| {});
    eventually("all are ready", SOON, || client.log().count(" ready") == 3);
    for _ in 0..5 {
        assert!(!is_cut(tcp));
    }
    assert!(is_cut(tcp), "one too many");
    let line = server.process.wait_for("banned for 10 s", SOON);
    assert!(line.contains("visitor 127.0.0.1 of shop banned for 10 s: more connections than 5/h"), "{line}");
    assert!(is_cut(tcp) && is_cut(web), "all mappings of the license count together");
    let visitor = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    visitor.send_to(b"?", (Ipv4Addr::LOCALHOST, udp)).unwrap();
    real.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(real.recv_from(&mut [0; 9]).is_err(), "a datagram of who is banned");
    let other = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 9), 0)).unwrap();
    other.send_to(b"!", (Ipv4Addr::LOCALHOST, udp)).unwrap();
    real.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(real.recv_from(&mut [0; 9]).unwrap().0, 1, "others are welcome");
    stop(client);
}

#[test]
fn who_asks_too_often_is_told_so() {
    let (server, site) = (Server::start_with_names(), mirror("real"));
    let words = ["add", "shop", "--connects", "2/h", "--hosts", "a.example.com"];
    let license = server.license(&words);
    let mapping = format!("a.example.com:127.0.0.1:{}", site.port);
    let client = server.client_with(Kind::Tls, &license, &[mapping], |_| {});
    client.wait_for(" ready", SOON);
    let talk = || Talk::new(visit(server.names.unwrap()));
    let mut first = talk();
    // Requests on one connection are one visit.
    for _ in 0..10 {
        assert_eq!(first.get("a.example.com", "/").from(), "real");
    }
    assert_eq!(talk().get("a.example.com", "/").from(), "real");
    let mut third = talk();
    third.say("GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n");
    assert_eq!(third.hear().unwrap().line(), "429 Too Many Requests");
    assert_eq!(first.get("a.example.com", "/").from(), "real", "who is there stays");
}

/// A datagram that is larger than what is left does not leave the quota at its last bytes for ever.
#[test]
fn a_quota_ends_with_a_datagram_too() {
    let (server, public) = (Server::start(), port());
    let real = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mapping = format!("{public}:127.0.0.1:{}/udp", real.local_addr().unwrap().port());
    let client = published(&server, Kind::Tls, &["--quota", "9500"], mapping);
    let visitor = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    real.set_read_timeout(Some(SOON)).unwrap();
    for n in 0..10 {
        visitor.send_to(&[n; 1_000], (Ipv4Addr::LOCALHOST, public)).unwrap();
        assert_eq!(real.recv_from(&mut [0; 2_000]).unwrap().0, 1_000, "datagram {n}");
    }
    server.process.wait_for("shop: its quota for this month is used up; nothing passes", SOON);
    visitor.send_to(&[7; 1_000], (Ipv4Addr::LOCALHOST, public)).unwrap();
    real.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(real.recv_from(&mut [0; 2_000]).is_err(), "one more has passed");
    stop(client);
}

/// Heads and bodies, of the first request on a connection as of the others.
#[test]
fn requests_and_answers_are_counted() {
    let (mut server, site) = (Server::start_with_names(), mirror("real"));
    let license = server.license(&["add", "shop", "--hosts", "a.example.com"]);
    let mapping = format!("a.example.com:127.0.0.1:{}", site.port);
    let client = server.client_with(Kind::Tls, &license, &[mapping], |_| {});
    client.wait_for(" ready", SOON);
    let count = |server: &Server| {
        let output = std::process::Command::new(super::harness::nt());
        let mut command = output;
        let output =
            command.args(["status", "--json", "--state"]).arg(server.folder.join("state")).output().unwrap();
        let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let of = |way: &str| all["mappings"][0][way].as_u64().unwrap();
        (of("down"), of("up"))
    };
    let mut talk = Talk::new(visit(server.names.unwrap()));
    talk.get("a.example.com", "/");
    let first = count(&server);
    assert!(first.0 > 50 && first.1 > 50, "{first:?}");
    talk.get("a.example.com", "/");
    let second = count(&server);
    assert_eq!((second.0 - first.0, second.1 - first.1), first, "the same once more");
    let body = "x".repeat(100_000);
    talk.say(format!("POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 100000\r\n\r\n{body}"));
    talk.hear().unwrap();
    let third = count(&server);
    assert!((100_000..101_000).contains(&(third.0 - second.0)), "{third:?}");
    stop_server(&mut server);
}

/// Who came while the client was away is served by the process that is started in its place, and counted there.
#[test]
fn who_waited_for_a_client_is_counted_too() {
    let (server, echo, public) = (Server::start(), Backend::echo(), port());
    let mapping = format!("{public}:127.0.0.1:{},rate=5M", echo.port);
    let license = server.license(&["add", "shop", "--quota", "100000"]);
    let start = || server.client_with(Kind::Tls, &license, std::slice::from_ref(&mapping), |_| {});
    let mut first = start();
    first.wait_for(" ready", SOON);
    first.kill();
    let mut visitor = visit(public);
    visitor.write_all(b"Is anybody there?").unwrap();
    let second = start();
    second.wait_for(" ready", SOON);
    visitor.read_exact(&mut [0; 17]).unwrap();
    // What would pass beyond the quota is cut; which of the two hears of it first is chance.
    std::thread::scope(|scope| {
        scope.spawn(|| while (&visitor).write_all(&[7; 10_000]).is_ok() {});
        let (drunk, _) = drink(&mut visitor.try_clone().unwrap());
        assert!(drunk <= 100_000, "{drunk} bytes");
    });
    server.process.wait_for("shop: its quota for this month is used up", SOON);
}
