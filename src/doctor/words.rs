//! What is said of the ways in which connections fail, and what to do about each.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use super::report::Finding;
use super::tunnel::{Failure, NotFound};
use crate::calendar::Clock;
use crate::license::Transport;
use crate::limits::{CLOCK_YEAR_MAX, CLOCK_YEAR_MIN, CONNECT_TIMEOUT};
use crate::os;
use crate::reason::Reason;
use crate::time::Span;
use crate::via::Via;

/// Where nothing better is known.
pub(super) const LOG: &str = "the server's log says more";
/// What answered once and then not.
pub(super) const AGAIN: &str = "try again: it comes and goes";
/// What is lost on the way.
pub(super) const LOSS: &str =
    "try a cable instead of radio, then ask who provides the line: the tunnel works, and is slow";

/// A length of time for people.
pub(crate) fn millis(span: Span) -> String {
    let digits = if span < Span::from_millis(1) { 2 } else { 1 };
    format!("{:.digits$} ms", span.as_micros() as f64 / 1_000.0)
}

/// A reason as it was found, and what to do, which stands behind its first colon.
pub(super) fn split(text: &str) -> (String, Option<String>) {
    match text.split_once(": ") {
        Some((says, advice)) => (says.to_owned(), Some(advice.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// What the system says of a connection, without its numbers.
pub(super) fn of_io(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "no answer in time".to_owned(),
        ErrorKind::ConnectionRefused => "refused".to_owned(),
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => "no way there".to_owned(),
        ErrorKind::ConnectionReset => "reset".to_owned(),
        _ => error.to_string(),
    }
}

/// Whether the clock can be right.
pub(super) fn clock() -> Finding {
    of_clock(os::day_clock(), os::clock_is_steered())
}

fn of_clock(clock: Clock, steered: Option<bool>) -> Finding {
    const ADVICE: &str = "set it, or have NTP do so (`timedatectl set-ntp true`): days on which licenses end, months \
                          of quotas and times of the log are wrong, and --ca may refuse good certificates";
    let text = clock.rfc3339();
    let year = text.get(..4).and_then(|year| year.parse().ok()).unwrap_or(0);
    if !(CLOCK_YEAR_MIN..=CLOCK_YEAR_MAX).contains(&year) {
        return Finding::bad("clock", "this machine", format!("{text} cannot be"), ADVICE);
    }
    let steered = match steered {
        Some(true) => ", and something keeps it right",
        Some(false) => "; nothing that the kernel knows of keeps it right",
        None => "",
    };
    Finding::ok("clock", "this machine", format!("{text}{steered}"))
}

/// How it went with the proxy.
pub(super) fn of_proxy(via: &Via, failure: Option<Failure>) -> Finding {
    let (says, advice) = match failure {
        None => return Finding::ok("proxy", via, "it connects to the server"),
        Some(Failure::Proxy(reason)) => split(&reason.to_string()),
        Some(Failure::System(error)) => (of_io(&error), None),
        Some(Failure::Silent) => (Reason::TimedOut.to_string(), None),
        Some(Failure::Closed | Failure::Tls(_) | Failure::Frame(_)) => (Reason::NoProxy.to_string(), None),
    };
    let otherwise =
        "ask whoever runs it whether it lets you connect to that host and port; 443 is the likeliest";
    Finding::bad("proxy", via, says, advice.unwrap_or_else(|| otherwise.to_owned()))
}

/// Why a connection could not be made one of nt's, of which so much was heard.
pub(super) fn of_security(
    address: SocketAddr,
    transport: Transport,
    failure: &Failure,
    heard: &[u8],
) -> Finding {
    let seconds = CONNECT_TIMEOUT.as_secs_up();
    let (check, (says, advice)) = match transport {
        Transport::Tls => ("tls", of_tls(failure, heard, seconds)),
        Transport::Plain => ("plain", of_plain(failure, heard, seconds)),
    };
    Finding::bad(check, address, says, advice)
}

/// Of records of TLS, the first byte (RFC 8446 section 5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

fn of_tls(failure: &Failure, heard: &[u8], seconds: u64) -> (String, String) {
    let port = "write the tunnel port behind HOST: 9002, unless the server's --listen says another";
    match (failure, heard) {
        (Failure::Tls(Reason::Certificate), _) => {
            let (says, advice) = split(&Reason::Certificate.to_string());
            (says, advice.unwrap_or_else(|| LOG.to_owned()))
        }
        (Failure::Silent, []) => (
            format!("TCP connects, and then nothing comes for {seconds} s"),
            "something in between holds TLS back: have the server listen on 443, or go by --via a proxy"
                .to_owned(),
        ),
        (Failure::Closed, []) => (
            "it hangs up at the first words of TLS".to_owned(),
            format!("if this is the server's unencrypted port, add --plain; else {port}"),
        ),
        (Failure::System(error), _) => (of_io(error), AGAIN.to_owned()),
        (_, [ALERT, 3, _, _, _, _, alert, ..]) => (
            format!("it speaks TLS and does not want to speak nt's (alert {alert})"),
            format!("a web server, or a proxy that ends TLS, answers here: {port}"),
        ),
        (_, [ALERT | HANDSHAKE, 3, ..]) => {
            ("TLS begins and fails".to_owned(), format!("something in between may end TLS; or {port}"))
        }
        _ => (format!("it does not speak TLS; it says {}", shown(heard)), port.to_owned()),
    }
}

fn of_plain(failure: &Failure, heard: &[u8], seconds: u64) -> (String, String) {
    let port = "write the unencrypted port behind HOST: 9000, unless the server's --plain says another";
    match (failure, heard) {
        (Failure::Silent, []) => {
            (format!("TCP connects, and then nothing comes for {seconds} s"), port.to_owned())
        }
        (Failure::System(error), _) => (of_io(error), AGAIN.to_owned()),
        (_, [ALERT | HANDSHAKE, 3, ..]) => (
            "it speaks TLS".to_owned(),
            format!("leave --plain out; or, where the server has such a port, {port}"),
        ),
        (_, []) => (
            "it hangs up at the first words".to_owned(),
            format!("if this is the server's TLS port, leave --plain out; else {port}"),
        ),
        _ => (format!("it does not speak nt; it says {}", shown(heard)), port.to_owned()),
    }
}

/// Why HELLO has no answer.
pub(super) fn of_login(server: &str, failure: &Failure) -> Finding {
    let says = match failure {
        Failure::Silent => "the license was shown, and no answer came in time".to_owned(),
        Failure::Closed => "the license was shown, and it hung up".to_owned(),
        Failure::Frame(what) => format!("what came in answer is not nt's: {what}"),
        Failure::Tls(reason) | Failure::Proxy(reason) => split(&reason.to_string()).0,
        Failure::System(error) => of_io(error),
    };
    let advice = "see that an nt server of the same version answers there, with no proxy that ends TLS before it; its \
                  log says more";
    Finding::bad("login", server, says, advice)
}

/// Foreign words, as they may be shown.
fn shown(heard: &[u8]) -> String {
    let line = heard.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or(heard);
    if heard.is_empty() { "nothing".to_owned() } else { format!("`{}`", line.escape_ascii()) }
}

/// A name that leads nowhere.
pub(super) fn nowhere(check: &'static str, host: &str, why: &NotFound) -> Finding {
    match why {
        NotFound::Name => Finding::bad(check, host, "no such host", "check the name, or write its address"),
        NotFound::Resolver(words) => Finding::bad(
            check,
            host,
            format!("the resolver has no answer ({words})"),
            "see whether this machine has DNS at all (/etc/resolv.conf), or write the address",
        ),
        NotFound::Silent => Finding::bad(
            check,
            host,
            "the resolver does not answer in time",
            "see which resolver /etc/resolv.conf names and whether it can be reached, or write the address",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    #[test]
    fn a_clock_is_believed_within_its_years() {
        let bad = |secs| matches!(of_clock(Clock(secs), None).verdict, Verdict::Bad { .. });
        assert!(bad(0) && bad(1_700_000_000) && bad(4_102_444_800 + 400 * 86_400));
        assert!(!bad(1_800_000_000));
        let says = of_clock(Clock(1_800_000_000), Some(true)).says;
        assert_eq!(says, "2027-01-15T08:00:00Z, and something keeps it right");
    }

    #[test]
    fn what_answers_instead_is_told_by_its_first_words() {
        let tls = |failure: Failure, heard: &[u8]| of_tls(&failure, heard, 5);
        let wrong = || Failure::Tls(Reason::Tls);
        assert_eq!(tls(wrong(), b"SSH-2.0-x\x1b\r\n").0, "it does not speak TLS; it says `SSH-2.0-x\\x1b`");
        assert!(tls(wrong(), &[21, 3, 3, 0, 2, 2, 120]).0.contains("alert 120"));
        assert!(tls(Failure::Closed, &[]).1.contains("add --plain"));
        assert!(tls(Failure::Silent, &[]).0.contains("nothing comes for 5 s"));
        assert!(tls(Failure::Tls(Reason::Certificate), &[22, 3, 3]).1.contains("--ca"));
        assert!(of_plain(&Failure::Closed, &[21, 3, 3], 5).1.contains("leave --plain out"));
        assert!(of_plain(&Failure::Closed, &[], 5).1.contains("leave --plain out"));
        assert!(
            of_plain(&Failure::Frame(crate::wire::Malformed::Type(72)), b"HTTP/1.1 400", 5)
                .0
                .contains("`HTTP/1.1 400`")
        );
    }
}
