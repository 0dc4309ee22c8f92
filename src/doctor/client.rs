//! What a client needs, in the order in which it needs it: the clock, the server's name, a connection, TLS, the login;
//! then how good the way is. What a mapping needs is asked in [`super::mappings`].

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use super::report::{Finding, Report};
use super::tunnel::{Tunnel, connect, resolve};
use super::words::{self, millis, split};
use crate::cli::ClientPlan;
use crate::entropy::Entropy;
use crate::license::{ClientKeys, Transport};
use crate::limits::{CONNECT_TIMEOUT, RESENT_MIN, ROUND_TRIPS};
use crate::names::bracketed;
use crate::os;
use crate::reason::Reason;
use crate::run::{self, Ways};
use crate::time::Span;
use crate::wire::{Frame, GUEST, Hello, MAC_BYTES, Reject, SIGNATURE_BYTES, VERSION, Welcome};

/// What one examination has at hand.
struct Examination<'a> {
    plan: &'a ClientPlan,
    ways: &'a Ways,
    keys: ClientKeys,
    entropy: Entropy,
}

/// What was said in answer to HELLO.
enum Answer {
    Welcome(Welcome),
    Reject(Reject),
}

/// Examines all that a client of this plan needs.
///
/// # Errors
/// What is wrong with the words.
pub(super) fn examine(plan: &ClientPlan, report: &mut Report<'_>) -> Result<(), String> {
    let ways = run::ways(&plan.server, plan.plain, plan.ca.as_ref())?;
    let keys = plan.server.license.client_keys();
    let mut examination = Examination { plan, ways: &ways, keys, entropy: Entropy::from_os() };
    report.add(words::clock());
    let mut found = Vec::new();
    for (host, port) in &ways.1 {
        found.extend(examination.server(host, *port, report));
    }
    super::mappings::examine(plan, &found, report);
    Ok(())
}

impl Examination<'_> {
    /// One host of the server's; its addresses that answer.
    fn server(&mut self, host: &str, port: u16, report: &mut Report<'_>) -> Vec<SocketAddr> {
        let (first, at) = match &self.plan.via {
            Some(via) => via.place().clone(),
            None => (host.to_owned(), port),
        };
        let addresses = look_up(&first, at, report);
        let several = addresses.len() > 1;
        let live: Vec<SocketAddr> =
            addresses.into_iter().filter(|address| report.add(self.tcp(*address, several))).collect();
        let server = format!("{}:{port}", bracketed(host));
        let why = match (live.is_empty(), &self.plan.via) {
            (false, _) => None,
            (true, None) => Some("there is no connection"),
            (true, Some(_)) => Some("there is no connection to the proxy"),
        };
        if let Some(why) = why {
            for check in [self.security(), "login", "trip"] {
                report.add(Finding::skip(check, &server, why));
            }
            return Vec::new();
        }
        let mut logged_in = false;
        for address in &live {
            match self.secured(*address, host, port, report) {
                Some(tunnel) if !logged_in => {
                    logged_in = true;
                    report.add(self.login(&server, tunnel));
                }
                _ => {}
            }
        }
        if !logged_in {
            report.add(Finding::skip("login", &server, "the connection cannot be used"));
        }
        for finding in trips(live[0]) {
            report.add(finding);
        }
        // Behind a proxy, the server's own addresses are not this machine's to know.
        if self.plan.via.is_some() { Vec::new() } else { live }
    }

    fn tcp(&self, address: SocketAddr, several: bool) -> Finding {
        match connect(address, CONNECT_TIMEOUT) {
            Ok((_, took)) => Finding::ok("tcp", address, format!("connected in {}", millis(took))),
            Err(error) if several && address.is_ipv6() && is_no_way(&error) => Finding::skip(
                "tcp",
                address,
                "this machine has no way to IPv6 addresses; the others of this name are used",
            ),
            Err(error) => {
                let (says, advice) = match (&self.plan.via, error.kind()) {
                    (Some(via), _) => {
                        (words::of_io(&error), format!("is {via} the proxy, and may this machine reach it?"))
                    }
                    (None, ErrorKind::ConnectionRefused) => (
                        "nothing listens there".to_owned(),
                        "start the server (`nt -s`), or write the port that its --listen says".to_owned(),
                    ),
                    (None, ErrorKind::TimedOut) => (
                        "no answer, not even a refusal".to_owned(),
                        format!(
                            "open TCP port {} in the server's firewall, and in its provider's",
                            address.port()
                        ),
                    ),
                    (None, _) => (
                        words::of_io(&error),
                        "see whether this machine has a way to that address (`ip route get`)".to_owned(),
                    ),
                };
                Finding::bad("tcp", address, says, advice)
            }
        }
    }

    /// The check that makes a connection one of nt's.
    fn security(&self) -> &'static str {
        match self.ways.0 {
            Transport::Tls => "tls",
            Transport::Plain => "plain",
        }
    }

    /// A connection on which HELLO can be said, with what it is bound to.
    fn secured(
        &mut self,
        address: SocketAddr,
        host: &str,
        port: u16,
        report: &mut Report<'_>,
    ) -> Option<(Tunnel, [u8; 32])> {
        let check = self.security();
        let mut tunnel = match connect(address, CONNECT_TIMEOUT) {
            Ok((stream, _)) => Tunnel::new(stream),
            Err(error) => {
                let says = format!("it does not answer a second time: {}", words::of_io(&error));
                report.add(Finding::bad(check, address, says, words::AGAIN));
                return None;
            }
        };
        if let Some(via) = &self.plan.via {
            let passed = tunnel.pass(via.begin(host, port));
            if !report.add(words::of_proxy(via, passed.err())) {
                return None;
            }
        }
        let begun = os::clock();
        let secured = match self.ways.0 {
            Transport::Tls => tunnel.secure(&self.ways.2),
            Transport::Plain => tunnel.exchange_nonces(&mut self.entropy),
        };
        let took = millis(os::clock().since(begun));
        match (secured, self.ways.0) {
            (Ok(binding), transport) => {
                let says = match transport {
                    Transport::Tls => format!("TLS 1.3 in {took}"),
                    Transport::Plain => format!("the unencrypted port answers in {took}"),
                };
                report.add(Finding::ok(check, address, says));
                Some((tunnel, binding))
            }
            (Err(failure), transport) => {
                report.add(words::of_security(address, transport, &failure, tunnel.heard()));
                None
            }
        }
    }

    /// Logs in beside whoever has logged in with this license, and out again.
    fn login(&mut self, server: &str, (mut tunnel, binding): (Tunnel, [u8; 32])) -> Finding {
        let transport = self.ways.0;
        let mut instance = [0; 16];
        self.entropy.fill(&mut instance);
        let mut hello = Hello {
            version: VERSION,
            license: self.plan.server.license.id().0,
            instance,
            counter: 1,
            capabilities: GUEST,
            mappings: 0,
            signature: [0; SIGNATURE_BYTES],
        };
        let signed = Frame::Hello(hello).encode().unproved(SIGNATURE_BYTES).to_vec();
        hello.signature = self.keys.sign_hello(transport, &binding, &signed);
        let begun = os::clock();
        let answer = tunnel.send(&Frame::Hello(hello)).and_then(|()| {
            tunnel.hear(|frame| match *frame {
                Frame::Welcome(welcome) => Some(Answer::Welcome(welcome)),
                Frame::Reject(reject) => Some(Answer::Reject(reject)),
                _ => None,
            })
        });
        let took = os::clock().since(begun);
        let proves = |frame: Frame<'_>, mac: &[u8; MAC_BYTES]| {
            let encoded = frame.encode();
            self.keys.check_welcome(transport, &binding, &signed, encoded.unproved(MAC_BYTES), mac)
        };
        match answer {
            Ok(Answer::Welcome(welcome)) if welcome.version != VERSION => refused(server, Reason::Version),
            Ok(Answer::Welcome(welcome)) if !proves(Frame::Welcome(welcome), &welcome.mac) => Finding::bad(
                "login",
                server,
                "what answers there lets this license in and cannot prove that it knows it",
                "it is not your server: see who stands in between; the license was not disclosed",
            ),
            Ok(Answer::Welcome(_)) => {
                let _ = tunnel.send(&Frame::Goodbye { reason: Reason::Stopping, retry_millis: 0 });
                tunnel.close();
                Finding::ok(
                    "login",
                    server,
                    format!("the license is good, and the server proves it, in {}", millis(took)),
                )
            }
            // Whoever cannot prove the license may only be told "denied".
            Ok(Answer::Reject(reject)) => match proves(Frame::Reject(reject), &reject.mac) {
                true => refused(server, reject.reason),
                false => refused(server, Reason::Denied),
            },
            Err(failure) => words::of_login(server, &failure),
        }
    }
}

/// What the server refused the login for.
fn refused(server: &str, reason: Reason) -> Finding {
    let (says, advice) = split(&reason.to_string());
    let advice = match reason {
        Reason::Revoked => {
            "make a new one there, `nt license rotate NAME`, and start the client with that".to_owned()
        }
        Reason::Stopping => "wait until it has been started again".to_owned(),
        Reason::Busy => {
            "it has all the clients that it has room for: give it more open files or memory".to_owned()
        }
        _ => advice.unwrap_or_else(|| words::LOG.to_owned()),
    };
    let says = match reason {
        Reason::Stopping => "the server is stopping".to_owned(),
        Reason::Busy => "the server takes no more clients".to_owned(),
        _ => says,
    };
    Finding::bad("login", server, says, advice)
}

/// A machine that has no address of this kind, or no route.
fn is_no_way(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable
    )
}

/// The addresses of a host, which is one already or a name.
fn look_up(host: &str, port: u16, report: &mut Report<'_>) -> Vec<SocketAddr> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return vec![SocketAddr::new(ip, port)];
    }
    let begun = os::clock();
    let found = resolve(host, port);
    let took = millis(os::clock().since(begun));
    let (finding, addresses) = match found {
        Ok(addresses) => {
            let shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            let says = format!("{} in {took}", shown.join(", "));
            (Finding::ok("dns", host, says), addresses)
        }
        Err(why) => (words::nowhere("dns", host, &why), Vec::new()),
    };
    report.add(finding);
    addresses
}

/// How long the way takes, and how much gets lost on it: by connections that say nothing.
fn trips(address: SocketAddr) -> [Finding; 2] {
    let (mut times, mut resent, mut failed) = (Vec::new(), Some(0), None);
    for _ in 0..ROUND_TRIPS {
        match connect(address, CONNECT_TIMEOUT) {
            Ok((stream, took)) => {
                times.push(took);
                resent = resent.zip(os::resent(&stream)).map(|(before, more)| before + more);
            }
            Err(error) => failed = Some(error),
        }
    }
    [trip(address, &mut times), loss(address, times.len(), resent, failed.as_ref())]
}

fn trip(address: SocketAddr, times: &mut [Span]) -> Finding {
    times.sort_unstable();
    match &*times {
        [] => Finding::skip("trip", address, "it does not answer any more"),
        [first, .., last] => {
            let (first, middle, last) = (millis(*first), millis(times[times.len() / 2]), millis(*last));
            Finding::ok(
                "trip",
                address,
                format!("there and back in {middle}, at least {first}, at most {last}"),
            )
        }
        [only] => Finding::ok("trip", address, format!("there and back in {}", millis(*only))),
    }
}

fn loss(address: SocketAddr, made: usize, resent: Option<u32>, failed: Option<&io::Error>) -> Finding {
    if let Some(error) = failed {
        let says = format!("{made} of {ROUND_TRIPS} connections were made: {}", words::of_io(error));
        return Finding::bad("loss", address, says, words::LOSS);
    }
    match resent {
        None => Finding::skip("loss", address, "this system does not say how many packets were sent again"),
        Some(0) => Finding::ok("loss", address, format!("no packet of {ROUND_TRIPS} handshakes was lost")),
        Some(count) if count < RESENT_MIN => {
            let says = format!(
                "{count} packet of {ROUND_TRIPS} handshakes had to be sent again, which may be chance"
            );
            Finding::ok("loss", address, says)
        }
        Some(count) => {
            let says = format!(
                "{count} packets of {ROUND_TRIPS} handshakes had to be sent again: each stream waits for what is lost"
            );
            Finding::bad("loss", address, says, words::LOSS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    #[test]
    fn every_reason_has_words_and_advice() {
        for &reason in Reason::ALL {
            let Finding { says, verdict: Verdict::Bad { advice }, .. } = refused("vps:9002", reason) else {
                panic!("{reason:?} is bad")
            };
            assert!(
                !says.is_empty() && !advice.is_empty() && !says.ends_with(':'),
                "{reason:?}: {says}; {advice}"
            );
        }
    }

    #[test]
    fn what_is_lost_is_judged_by_how_much() {
        let at = SocketAddr::from(([203, 0, 113, 7], 9002));
        let bad = |finding: Finding| matches!(finding.verdict, Verdict::Bad { .. });
        assert!(!bad(loss(at, 10, Some(0), None)) && !bad(loss(at, 10, Some(1), None)));
        assert!(bad(loss(at, 10, Some(RESENT_MIN), None)));
        assert!(bad(loss(at, 9, Some(0), Some(&ErrorKind::TimedOut.into()))));
        assert_eq!(loss(at, 10, None, None).verdict, Verdict::Skip);
        let mut times = [3, 1, 2].map(Span::from_millis);
        assert_eq!(trip(at, &mut times).says, "there and back in 2.0 ms, at least 1.0 ms, at most 3.0 ms");
        assert_eq!(trip(at, &mut []).verdict, Verdict::Skip);
    }
}
