//! The picture of the operator's page that stands in the documentation.

use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::api::ask;
use super::dashboard::Desk;
use super::harness::{Backend, Kind, SOON, visit};
use super::rest::Nt;

/// Where visitors come to.
const PORTS: [u16; 6] = [22022, 28080, 25432, 28443, 23000, 29090];

/// `NT_PICTURE=MINUTES` has a server be lively for so long, and writes docs/dashboard.png.
#[test]
fn the_picture_in_the_docs_is_taken() {
    let minutes = std::env::var("NT_PICTURE").ok().and_then(|minutes| minutes.parse::<u64>().ok());
    let (Some(minutes), Some(mut desk)) = (minutes, minutes.and_then(|_| Desk::new())) else { return };
    // One of them answers with more than it was asked.
    let services = [
        Backend::echo(),
        Backend::new(|mut stream| {
            let mut bytes = [7; 64 * 1024];
            while stream.read_exact(&mut bytes).is_ok() && (0..4).all(|_| stream.write_all(&bytes).is_ok()) {}
        }),
    ];
    let targets = services.each_ref().map(|service| service.port);
    let clients = scene(&desk, targets);
    let over = Instant::now() + Duration::from_secs(minutes * 60);
    let talk = |at: usize| {
        std::thread::spawn(move || {
            let (mut visitor, mut bytes, mut turn) = (visit(PORTS[at]), vec![7; 64 * 1024], 0_u64);
            // By fits and starts, until a quota is used up.
            let mut once = |turn: u64| {
                for _ in 0..1 + (turn * turn / 97 + turn / 31 * (at as u64 + 3)) % 9 {
                    visitor.write_all(&bytes)?;
                    (0..[1, 4][at % 2]).try_for_each(|_| visitor.read_exact(&mut bytes))?;
                }
                std::io::Result::Ok(())
            };
            while Instant::now() < over && once(turn).is_ok() {
                turn += 1;
                std::thread::sleep(Duration::from_millis(150 + 60 * at as u64));
            }
        })
    };
    let talks: Vec<_> = [0, 0, 1, 2, 3, 4, 5].map(talk).into_iter().collect();
    desk.browser.resize(1120, 1000);
    desk.enter();
    let still = over - Duration::from_secs(3);
    std::thread::sleep(still.saturating_duration_since(Instant::now()));
    desk.browser.click("#ranges button");
    // As far as the clients go.
    let bottom = "return document.getElementById('clients').parentNode.getBoundingClientRect().bottom";
    let height = desk.browser.run(bottom).as_f64().unwrap() + 16.0;
    desk.browser.resize(1120, height as u32);
    desk.browser.wait(
        "its figures",
        "return !document.querySelector('[data-figure=down]').textContent.startsWith('–')",
    );
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dashboard.png");
    std::fs::write(path, decoded(&desk.browser.picture())).unwrap();
    talks.into_iter().for_each(|talk| talk.join().unwrap());
    desk.server.process.sessions = clients.len();
}

/// The mappings of one client.
type Maps = Vec<String>;

/// Licenses of many kinds, and their clients: one that has used up its quota and asks for a port that it may not, one with
/// two clients, of which one is sick, one with a target on demand, and two that nobody uses.
fn scene(desk: &Desk, targets: [u16; 2]) -> Vec<Nt> {
    let server = &desk.server;
    let map = |at: usize| format!("{}:127.0.0.1:{}", PORTS[at], targets[at % 2]);
    let sick = format!("{}:127.0.0.1:8443,check=tcp", PORTS[3]);
    let licenses: [(&str, &[&str], Vec<Maps>); 4] = [
        ("nas", &["--quota", "8G", "--rate", "40M/10M"], vec![vec![map(0), map(1)]]),
        ("office", &["--quota", "150M"], vec![vec![map(2), "443:127.0.0.1:443".to_owned()]]),
        ("pi-garden", &["--expires", "30d"], vec![vec![map(4), "9053:192.168.1.1:53/udp".to_owned()]]),
        ("shop", &["--clients", "2"], vec![vec![map(5), map(3)], vec![sick]]),
    ];
    let mut clients = Vec::new();
    for (name, settings, groups) in licenses {
        let text = server.license(&[&["add", name], settings].concat());
        for maps in groups {
            let allow = |command: &mut Command| _ = command.args(["--allow", "loopback"]);
            let client = server.client_with(Kind::Tls, &text, &maps, allow);
            client.wait_for(if maps.len() > 1 { " ready" } else { "fails its check" }, SOON);
            clients.push(client);
        }
    }
    let wish = json!({ "license": "pi-garden", "host": "127.0.0.1", "port": targets[0], "ttl": 86_400 });
    let bound = ask(server, "POST", "/api/v1/bind", &wish.to_string());
    assert_eq!(bound.status, 200, "{}", bound.body);
    server.license(&["remove", "default"]);
    server.license(&["add", "old-laptop", "--map", "2222:22"]);
    server.license(&["add", "lent"]);
    server.license(&["revoke", "lent"]);
    clients
}

/// Bytes that stand in base64 (RFC 4648 section 4).
fn decoded(text: &str) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters: Vec<u8> = text.bytes().filter(|letter| *letter != b'=').collect();
    let value = |letter: &u8| LETTERS.iter().position(|other| other == letter).unwrap() as u32;
    let bytes = letters.chunks(4).flat_map(|four| {
        let bits = four.iter().fold(0, |bits, letter| bits << 6 | value(letter)) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    });
    bytes.collect()
}
