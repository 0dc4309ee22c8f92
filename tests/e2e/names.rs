//! Names: a server that moves, answers that do not come, addresses behind which nobody is. The client has a resolver of
//! its own, which says what the test wants.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::harness::{Backend, SOON, Server, echoes, nt, port, visit};
use super::process::{eventually, mortal, need, need_root, need_unshare};
use super::rest::Nt;

/// What is answered to a question for a name's IPv4 addresses. It has no others.
#[derive(Clone, Debug)]
enum Answer {
    /// These; where there is none, the name has none.
    Addresses(Vec<Ipv4Addr>),
    NoSuchName,
    /// Nothing, ever.
    Silence,
}

type Answers = Arc<Mutex<BTreeMap<&'static str, Answer>>>;

/// A DNS server that says what it was told.
struct Dns {
    address: Ipv4Addr,
    answers: Answers,
    over: Arc<AtomicBool>,
}

impl Dns {
    fn start() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let address =
            Ipv4Addr::new(127, 53, (std::process::id() % 250) as u8, NEXT.fetch_add(1, Ordering::Relaxed));
        let socket = UdpSocket::bind((address, 53)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let (answers, over) = (Answers::default(), Arc::new(AtomicBool::new(false)));
        let (known, ended) = (Arc::clone(&answers), Arc::clone(&over));
        thread::spawn(move || {
            let mut question = [0; 512];
            while !ended.load(Ordering::Relaxed) {
                let Ok((count, asker)) = socket.recv_from(&mut question) else { continue };
                if let Some(answer) = answer(&question[..count], &known.lock().unwrap()) {
                    let _ = socket.send_to(&answer, asker);
                }
            }
        });
        Self { address, answers, over }
    }

    fn tell(&self, name: &'static str, answer: Answer) {
        self.answers.lock().unwrap().insert(name, answer);
    }

    /// A client that asks this server alone.
    fn client(&self, server: &Server, host: &str, mappings: &[String]) -> Nt {
        let resolver = format!("nameserver {}\noptions timeout:1 attempts:2\n", self.address);
        let resolver = server.folder.write("resolv.conf", resolver);
        let license = server.folder.write("named", format!("{}@{host}:{}\n", server.license, server.tls));
        let mut command: Command = mortal("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\""]);
        command.arg(resolver).arg(nt()).arg("-c").arg(format!("@{}", license.display())).args(mappings);
        Nt::start(&mut command, &[server.tls])
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// The answer to a question in the form of RFC 1035, if there is to be one.
fn answer(question: &[u8], answers: &BTreeMap<&str, Answer>) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let (mut at, mut labels) = (HEADER, Vec::new());
    while let Some(&length @ 1..) = question.get(at) {
        let label = question.get(at + 1..at + 1 + usize::from(length))?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += 1 + usize::from(length);
    }
    let end = at + 5;
    let is_ipv4 = question.get(at + 1..at + 3)? == [0, 1];
    let (code, addresses) = match answers.get(labels.join(".").as_str()).unwrap_or(&Answer::NoSuchName) {
        Answer::Addresses(addresses) => (0, if is_ipv4 { addresses.as_slice() } else { &[] }),
        Answer::NoSuchName => (3, &[][..]),
        Answer::Silence => return None,
    };
    let mut said = question.get(..2)?.to_vec();
    said.extend([0x81, 0x80 | code, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    said.extend(question.get(HEADER..end)?);
    for address in addresses {
        // The name of the question; type A, class IN, to be kept for no time, four bytes.
        said.extend([0xC0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        said.extend(address.octets());
    }
    Some(said)
}

fn can_be_named() -> bool {
    need(&["mount"]) && need_root() && need_unshare(&["--mount"])
}

/// The old address answers no more, then the resolver is silent, then the name is unknown: and then it is elsewhere.
pub fn a_server_whose_address_changes_while_it_is_away_is_found_by_its_name() {
    if !can_be_named() {
        return;
    }
    let (dns, backend, public) = (Dns::start(), Backend::echo(), port());
    let mut server = Server::start_at("127.0.0.2");
    dns.tell("home.test", Answer::Addresses(vec![Ipv4Addr::new(127, 0, 0, 2)]));
    let client = dns.client(&server, "home.test", &[format!("{public}:127.0.0.1:{}", backend.port)]);
    client.wait_for(" ready", SOON);
    assert!(echoes(public));
    dns.tell("home.test", Answer::Silence);
    server.process.kill();
    thread::sleep(Duration::from_secs(4));
    dns.tell("home.test", Answer::NoSuchName);
    thread::sleep(Duration::from_secs(2));
    dns.tell("home.test", Answer::Addresses(vec![Ipv4Addr::new(127, 0, 0, 3)]));
    server.again_at("127.0.0.3");
    // The longest pause between two attempts, and a question that was asked before it.
    eventually("found at its new address", Duration::from_secs(40), || echoes(public));
}

#[test]
fn a_name_with_dead_addresses_leads_to_the_living_one() {
    if !can_be_named() {
        return;
    }
    let (dns, backend, public) = (Dns::start(), Backend::echo(), port());
    // The resolver puts those first that have most in common with the address they would be called from, 127.0.0.1.
    let living = Ipv4Addr::new(127, 0, 0, 200);
    let server = Server::start_at(&living.to_string());
    // A queue that is full takes no connection and refuses none: this address costs its 5 s. The others refuse.
    let hole = std::net::TcpListener::bind(("127.0.0.3", server.tls)).unwrap();
    rustix::net::listen(&hole, 0).unwrap();
    let address = hole.local_addr().unwrap();
    let _queued: Vec<_> =
        (0..3).map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300))).collect();
    let addresses = [2, 3, 4].map(|last| Ipv4Addr::new(127, 0, 0, last)).into_iter().chain([living]);
    dns.tell("many.test", Answer::Addresses(addresses.collect()));
    let client = dns.client(&server, "many.test", &[format!("{public}:127.0.0.1:{}", backend.port)]);
    client.wait_for(" ready", SOON);
    assert!(echoes(public));
}

#[test]
fn a_resolver_that_hangs_holds_up_nobody_and_a_name_that_comes_back_is_found() {
    if !can_be_named() {
        return;
    }
    let (dns, backend) = (Dns::start(), Backend::echo());
    let (named, plain) = (port(), port());
    let server = Server::start_at("127.0.0.2");
    dns.tell("home.test", Answer::Addresses(vec![Ipv4Addr::new(127, 0, 0, 2)]));
    dns.tell("nas.test", Answer::Silence);
    let mappings =
        [format!("{named}:nas.test:{}", backend.port), format!("{plain}:127.0.0.1:{}", backend.port)];
    let client = dns.client(&server, "home.test", &mappings);
    client.wait_for(&format!("{plain} -> 127.0.0.1:{} ready", backend.port), SOON);
    client.wait_for("nas.test", SOON);
    let mut hanging: Vec<_> = (0..20).map(|_| visit(named)).collect();
    for _ in 0..50 {
        assert!(echoes(plain), "a name that is looked up holds up another mapping");
    }
    for visitor in &mut hanging {
        let end = visitor.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset), "who asked for a name that does not come");
    }
    dns.tell("nas.test", Answer::NoSuchName);
    assert!(!echoes(named));
    dns.tell("nas.test", Answer::Addresses(vec![Ipv4Addr::LOCALHOST]));
    eventually("the name is found again", SOON, || echoes(named));
}
