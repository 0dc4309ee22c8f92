//! What each mapping of a client needs: its target behind NAT, and its public place.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use super::report::{Finding, Report};
use super::tunnel::{connect, resolve};
use super::words::{self, millis, of_io, split};
use crate::cli::ClientPlan;
use crate::limits::{TRIED_PER_RANGE_MAX, TRY_TIMEOUT};
use crate::mapping::{Host, Kind, Mapping, Ports, Public, Target};
use crate::os::{self, UnixStream};
use crate::reason::Reason;

/// Looks at the mappings of the words and the file; `servers` are the server's addresses that answer.
pub(super) fn examine(plan: &ClientPlan, servers: &[SocketAddr], report: &mut Report<'_>) {
    if plan.maps.is_empty() {
        let why = "no mapping is named here: write those of the client behind LICENSE@HOST, or --config FILE";
        report.add(Finding::skip("backend", "this client", why));
    }
    for mapping in &plan.maps {
        report.add(backend(mapping));
        report.add(public(mapping, servers, plan.via.is_some()));
    }
}

// ── The target ──────────────────────────────────────────────────────────────────────────────────────────────────────

fn backend(mapping: &Mapping) -> Finding {
    match &mapping.target {
        Target::Tcp { host, ports } => match addresses_of(host) {
            Err(finding) => finding,
            Ok(addresses) if mapping.kind == Kind::Udp => {
                let says = format!("{} is known; whether it answers, UDP does not tell", addresses[0]);
                Finding::skip("backend", &mapping.target, says)
            }
            Ok(addresses) => dial(mapping, &addresses, *ports),
        },
        Target::Unix(path) => unix(mapping, path),
        Target::Exit(_) => {
            Finding::ok("backend", &mapping.target, "the client itself, wherever --allow leads")
        }
        Target::Files(path) => match os::folder_trouble(path) {
            None => Finding::ok("backend", &mapping.target, "the folder can be read"),
            Some(error) => Finding::bad(
                "backend",
                &mapping.target,
                format!("the folder cannot be served: {error}"),
                "make it, let the client's user read it, and pass the folders above",
            ),
        },
    }
}

fn addresses_of(host: &Host) -> Result<Vec<IpAddr>, Finding> {
    match host {
        Host::Ip(ip) => Ok(vec![*ip]),
        Host::Name(name) => match resolve(name, 0) {
            Ok(addresses) => Ok(addresses.iter().map(SocketAddr::ip).collect()),
            Err(why) => Err(words::nowhere("backend", name, &why)),
        },
    }
}

/// Dials each port, as far as a range is tried: at the first address that takes it, as the client does.
fn dial(mapping: &Mapping, addresses: &[IpAddr], ports: Ports) -> Finding {
    let tried = Ports::row(ports.first(), TRIED_PER_RANGE_MAX).shared(ports).unwrap_or(ports);
    let mut longest = None;
    for port in tried.iter() {
        let mut last = None;
        for &ip in addresses {
            match connect(SocketAddr::new(ip, port), TRY_TIMEOUT) {
                Ok((_, took)) => {
                    (longest, last) = (longest.max(Some(took)), None);
                    break;
                }
                Err(error) => last = Some((SocketAddr::new(ip, port), error)),
            }
        }
        if let Some((address, error)) = last {
            let advice = match error.kind() {
                ErrorKind::ConnectionRefused => "start the service, or write the port that it listens on",
                ErrorKind::TimedOut => {
                    "see whether that machine is up, and whether its firewall lets this one in"
                }
                _ => "see whether this machine has a way there",
            };
            // Of a name or a range, which one it was is news.
            let which = if mapping.target.to_string() == address.to_string() {
                String::new()
            } else {
                format!("{address}: ")
            };
            return Finding::bad("backend", &mapping.target, which + &of_io(&error), advice);
        }
    }
    let took = longest.map_or_else(String::new, |took| format!("connected in {}", millis(took)));
    let says = match ports.count() - tried.count() {
        0 => took,
        _ => format!("{took} at the most, the first {} of {} ports", tried.count(), ports.count()),
    };
    Finding::ok("backend", &mapping.target, says)
}

fn unix(mapping: &Mapping, path: &str) -> Finding {
    let reason = match UnixStream::connect(path) {
        Ok(_) => return Finding::ok("backend", &mapping.target, "connected"),
        Err(error) => match error.kind() {
            ErrorKind::NotFound => Reason::NoSuchSocket,
            ErrorKind::PermissionDenied => Reason::Forbidden,
            ErrorKind::ConnectionRefused => Reason::Refused,
            _ => {
                let advice = "see whether the service listens there";
                return Finding::bad("backend", &mapping.target, of_io(&error), advice);
            }
        },
    };
    let (says, advice) = split(&reason.to_string());
    Finding::bad(
        "backend",
        &mapping.target,
        says,
        advice.unwrap_or_else(|| "see whether the service runs".into()),
    )
}

// ── The public place ────────────────────────────────────────────────────────────────────────────────────────────────

fn public(mapping: &Mapping, servers: &[SocketAddr], proxied: bool) -> Finding {
    let skip = |why: &str| Finding::skip("public", &mapping.public, why);
    let Some(server) = servers.first() else {
        return skip(if proxied {
            "where the server is, the proxy knows; try it from elsewhere"
        } else {
            "the server cannot be reached"
        });
    };
    match &mapping.public {
        _ if mapping.kind == Kind::Private => skip("for other clients alone"),
        Public::Name { name, .. } if name.starts_with("*.") => skip("any name below it: try one"),
        Public::Name { name, .. } => leads_to(name, servers),
        Public::Ports { ports, .. } if ports.is_any() => skip("any free port: the client's log says which"),
        Public::Ports { .. } if mapping.kind == Kind::Udp => skip("whether it answers, UDP does not tell"),
        Public::Ports { addr: Some(ip), .. } if ip.is_loopback() && !server.ip().is_loopback() => {
            skip("on the server itself alone")
        }
        Public::Ports { addr, ports } => {
            let ip = addr.filter(|ip| !ip.is_unspecified()).unwrap_or_else(|| server.ip());
            dial_public(SocketAddr::new(ip, ports.first()))
        }
    }
}

fn dial_public(address: SocketAddr) -> Finding {
    match connect(address, TRY_TIMEOUT) {
        Ok((_, took)) => Finding::ok("public", address, format!("it lets visitors in, in {}", millis(took))),
        Err(error) if error.kind() == ErrorKind::TimedOut => Finding::bad(
            "public",
            address,
            "no answer, not even a refusal",
            format!(
                "open TCP port {} in the server's firewall, and in its provider's (from its own network a public \
                 address may not answer: then try from elsewhere)",
                address.port()
            ),
        ),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Finding::bad(
            "public",
            address,
            "refused: nobody serves it",
            "start the client with this mapping; if it runs, its log says why this is not ready",
        ),
        Err(error) => Finding::bad("public", address, of_io(&error), "try from elsewhere"),
    }
}

/// Whether visitors of a name come to the server.
fn leads_to(name: &str, servers: &[SocketAddr]) -> Finding {
    let show = |addresses: &[SocketAddr]| {
        let shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
        shown.join(", ")
    };
    let here = show(servers);
    match resolve(name, 0) {
        Ok(found) if found.iter().any(|at| servers.iter().any(|server| server.ip() == at.ip())) => {
            Finding::ok("public", name, format!("its DNS leads to the server, {}", show(&found)))
        }
        Ok(found) => Finding::bad(
            "public",
            name,
            format!("its DNS leads to {}, and the server is {here}", show(&found)),
            "let it lead to the server, unless a front there passes visitors on",
        ),
        Err(why) => {
            let finding = words::nowhere("public", name, &why);
            Finding::bad("public", name, finding.says, format!("let its DNS lead to the server, {here}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;
    use crate::mapping::parse;

    fn words(text: &str) -> (Verdict, String) {
        let finding = backend(&parse(text).unwrap());
        (finding.verdict, finding.says)
    }

    #[test]
    fn targets_of_every_kind_are_looked_at() {
        let listener = std::os::unix::net::UnixListener::bind(socket("heard")).unwrap();
        assert_eq!(words(&format!("80:unix:{}", socket("heard"))).0, Verdict::Ok);
        drop(listener);
        let (verdict, says) = words(&format!("80:unix:{}", socket("heard")));
        assert!(
            matches!(verdict, Verdict::Bad { .. }) && says == "the real server refused the connection",
            "{says}"
        );
        std::fs::remove_file(socket("heard")).unwrap();
        assert_eq!(words(&format!("80:unix:{}", socket("heard"))).1, "there is no such Unix socket");
        assert_eq!(words("80:socks5").0, Verdict::Ok);
        assert_eq!(words("53:127.0.0.1:53/udp").0, Verdict::Skip);
        assert_eq!(words(&format!("80:files:{}", std::env::temp_dir().display())).0, Verdict::Ok);
        assert!(matches!(words("80:files:/nonexistent/folder").0, Verdict::Bad { .. }));
        assert_eq!(words("80:no-such-host.invalid:80").1, "no such host");
    }

    fn socket(name: &str) -> String {
        format!("{}/nt-doctor-{}-{name}", std::env::temp_dir().display(), std::process::id())
    }

    #[test]
    fn a_public_place_is_dialled_where_that_can_tell_something() {
        let at = |text: &str, server: &str| {
            let servers: Vec<SocketAddr> = server.parse().into_iter().collect();
            public(&parse(text).unwrap(), &servers, false)
        };
        for (text, why) in [
            ("0:22", "any free port: the client's log says which"),
            ("53:53/udp", "whether it answers, UDP does not tell"),
            ("ssh:22/private", "for other clients alone"),
            ("*.example.com:80", "any name below it: try one"),
            ("127.0.0.1:8081:80", "on the server itself alone"),
        ] {
            assert_eq!(
                at(text, "192.0.2.1:9002"),
                Finding::skip("public", &parse(text).unwrap().public, why)
            );
        }
        assert_eq!(at("80", "").says, "the server cannot be reached");
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(at(&format!("{port}:22"), "127.0.0.1:9002").verdict, Verdict::Ok);
        assert_eq!(
            at(&format!("localhost.localdomain.invalid:{port}"), "127.0.0.1:9002").says,
            "no such host"
        );
    }
}
