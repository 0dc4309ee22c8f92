//! What a server needs, asked of the server itself by its admin socket: its files, its doors, its licenses, and the
//! public places of its clients, each dialled from this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde_json::Value;

use super::report::{Finding, Report};
use super::tunnel::{Tunnel, connect};
use super::words::{self, millis, of_io, split};
use crate::control;
use crate::entropy::Entropy;
use crate::license::Transport;
use crate::limits::{QUOTA_NEAR_PERCENT, STATE_BYTES_FREE_MIN, TRY_TIMEOUT};
use crate::os;
use crate::run;
use crate::state::StateDir;
use crate::text::show_bytes;
use crate::tls::{Security, Trust};

/// What is said of the server as a whole.
const HERE: &str = "this server";

/// Examines the server whose state is here.
///
/// # Errors
/// TLS cannot be had at all.
pub(super) fn examine(state: &StateDir, report: &mut Report<'_>) -> Result<(), String> {
    report.add(words::clock());
    files(state, report);
    let status = match control::get(state, "/api/v1/status") {
        Ok(status) => status,
        Err(what) => {
            report.add(unanswered(&what));
            for check in ["door", "license", "mapping"] {
                report.add(Finding::skip(check, HERE, "the server does not say"));
            }
            return Ok(());
        }
    };
    report.add(running(&status));
    report.add(room(&status));
    let security = Security::default().with_client("nt.invalid", Trust::License)?;
    for door in items(&status["doors"]) {
        door_lets_in(door, &security, report);
    }
    for (what, look) in [("licenses", license as fn(&Value, &mut Report<'_>)), ("mappings", mapping)] {
        match control::get(state, &format!("/api/v1/{what}")) {
            Ok(all) => items(&all[what]).for_each(|one| look(one, report)),
            Err(what) => _ = report.add(unanswered(&what)),
        }
    }
    let why = "whether a firewall before this machine lets others in shows from outside alone: on the client's, nt \
               doctor LICENSE@HOST MAPPING...";
    report.add(Finding::skip("outside", HERE, why));
    Ok(())
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or(0)
}

/// What [`control`] says, which has its advice behind a colon.
fn unanswered(what: &str) -> Finding {
    let (says, advice) = split(what);
    Finding::bad("server", HERE, says, advice.unwrap_or_else(|| "see its log, and start it again".to_owned()))
}

// ── Its files ───────────────────────────────────────────────────────────────────────────────────────────────────────

fn files(state: &StateDir, report: &mut Report<'_>) {
    let place = &state.path().display();
    let warnings = state.warnings();
    for warning in &warnings {
        let (says, advice) = split(warning);
        report.add(Finding::bad("state", place, says, advice.unwrap_or_else(|| "chmod go-rwx".to_owned())));
    }
    if warnings.is_empty() {
        report.add(Finding::ok("state", place, "others can neither read its secrets nor replace them"));
    }
    report.add(disk(state.path()));
    report.add(match state.load_licenses() {
        Ok(directory) => {
            let says = match directory.len() {
                1 => "1 license is in licenses.toml".to_owned(),
                count => format!("{count} licenses are in licenses.toml"),
            };
            Finding::ok("state", place, says)
        }
        Err(what) => {
            Finding::bad("state", place, what, "mend that line: until then the licenses of before hold")
        }
    });
}

fn disk(path: &Path) -> Finding {
    let place = path.display();
    match os::disk::bytes_free(path) {
        Err(error) => Finding::skip("disk", place, format!("the system does not say: {error}")),
        Ok(free) => {
            let says = format!("{} MiB are free", free >> 20);
            match free < STATE_BYTES_FREE_MIN {
                true => Finding::bad(
                    "disk",
                    place,
                    says,
                    "make room: counters and licenses cannot be written soon",
                ),
                false => Finding::ok("disk", place, says),
            }
        }
    }
}

// ── The server as a whole ───────────────────────────────────────────────────────────────────────────────────────────

fn running(status: &Value) -> Finding {
    let (version, ours) = (text(status, "version"), env!("CARGO_PKG_VERSION"));
    let says = format!("nt {version}, up {} s", number(status, "uptime"));
    if status["stopping"] == true {
        return Finding::bad("server", HERE, format!("{says}, and it is stopping"), "start it again");
    }
    if status["ready"] != true {
        let advice = "its log says which port it cannot serve clients on";
        return Finding::bad("server", HERE, format!("{says}, and clients cannot come in"), advice);
    }
    if version != ours {
        let advice = format!("this is nt {ours}: restart it, if that is the one it should run");
        return Finding::bad("server", HERE, says, advice);
    }
    Finding::ok("server", HERE, format!("{says}, ready"))
}

/// Whether more visitors can come.
fn room(status: &Value) -> Finding {
    let (now, most) = (number(status, "visitors"), number(status, "visitors_max"));
    let says = format!("{now} visitors, room for {most}");
    if now.saturating_mul(8) >= most.saturating_mul(7) {
        let advice = "give it more open files (ulimit -n) or memory, or raise `visitors` in its nt.toml";
        return Finding::bad("room", HERE, says, advice);
    }
    Finding::ok("room", HERE, says)
}

/// Where a listener is reached from this machine: at its address, or, where it has every one, at loopback and at the
/// one that others see.
fn reached(listener: SocketAddr) -> Vec<SocketAddr> {
    if !listener.ip().is_unspecified() {
        return vec![listener];
    }
    let own = run::own_address();
    // Without a route there may be IPv6 alone; every such listener has its loopback.
    let near = if own.is_some() || listener.is_ipv4() {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        Ipv6Addr::LOCALHOST.into()
    };
    let other = own.filter(|own| *own != near);
    [Some(near), other].into_iter().flatten().map(|ip| SocketAddr::new(ip, listener.port())).collect()
}

fn door_lets_in(door: &Value, security: &Security, report: &mut Report<'_>) {
    let kind = text(door, "kind");
    let Ok(listener) = text(door, "address").parse::<SocketAddr>() else { return };
    for address in reached(listener) {
        let subject = format!("{kind} at {address}");
        let stream = match connect(address, TRY_TIMEOUT) {
            Ok((stream, _)) => stream,
            Err(error) => {
                let advice = "a firewall of this very machine may hold it back (`nft list ruleset`)";
                report.add(Finding::bad("door", subject, of_io(&error), advice));
                continue;
            }
        };
        let mut tunnel = Tunnel::new(stream);
        let begun = os::clock();
        let (transport, result) = match kind {
            "tls" | "https" => (Transport::Tls, tunnel.secure(security)),
            "plain" => (Transport::Plain, tunnel.exchange_nonces(&mut Entropy::from_os())),
            _ => {
                report.add(Finding::ok("door", subject, "it lets visitors in"));
                continue;
            }
        };
        let took = millis(os::clock().since(begun));
        report.add(match result {
            Ok(_) => {
                tunnel.close();
                Finding::ok("door", subject, format!("it lets clients in, in {took}"))
            }
            Err(failure) => {
                let Finding { says, verdict, .. } =
                    words::of_security(address, transport, &failure, tunnel.heard());
                Finding { check: "door", subject, says, verdict }
            }
        });
    }
}

// ── Licenses and mappings ───────────────────────────────────────────────────────────────────────────────────────────

fn license(license: &Value, report: &mut Report<'_>) {
    report.add(standing(license));
}

fn standing(license: &Value) -> Finding {
    let name = text(license, "name");
    if let Some(trouble) = license["trouble"].as_str() {
        let (says, advice) = split(trouble);
        // Whoever revoked it knows.
        return match advice {
            Some(advice) => {
                Finding::bad("license", name, says, format!("{advice}, or nt license remove {name}"))
            }
            None => Finding::skip("license", name, says),
        };
    }
    let quota = &license["quota"];
    let (used, bytes) = (number(quota, "used"), number(quota, "bytes"));
    if !quota.is_null() && used.saturating_mul(100) >= bytes.saturating_mul(QUOTA_NEAR_PERCENT) {
        let says = format!("{used} of the {} bytes of its month are used", show_bytes(bytes));
        return Finding::bad(
            "license",
            name,
            says,
            format!("nt license set {name} quota=MORE, if it should go on"),
        );
    }
    match license["online"] == true {
        true => Finding::ok("license", name, "its client is logged in"),
        false => Finding::skip(
            "license",
            name,
            "its client is not logged in; on its machine: nt doctor LICENSE@HOST",
        ),
    }
}

fn mapping(mapping: &Value, report: &mut Report<'_>) {
    let subject = format!("{} of {}", text(mapping, "mapping"), text(mapping, "license"));
    let (state, public) = (text(mapping, "state"), text(mapping, "public"));
    match state {
        "live" => {}
        "offered" => {
            report.add(Finding::skip("mapping", subject, "its client has not said yet whether it takes it"));
            return;
        }
        _ => {
            let reason = mapping["reason"].as_str().unwrap_or("it does not say why");
            let (says, advice) = split(reason);
            let advice = advice.unwrap_or_else(|| "the logs of both ends say more".to_owned());
            report.add(Finding::bad("mapping", subject, format!("{state}: {says}"), advice));
            return;
        }
    }
    let streams = matches!(text(mapping, "kind"), "tcp" | "http" | "https" | "tls");
    match listener_of(public).filter(|_| streams) {
        None => {
            report.add(Finding::ok("mapping", subject, format!("live at {public}")));
        }
        Some(listener) => {
            for address in reached(listener) {
                report.add(match connect(address, TRY_TIMEOUT) {
                    Ok((_, took)) => {
                        let says = format!("live, {address} lets visitors in, in {}", millis(took));
                        Finding::ok("mapping", &subject, says)
                    }
                    Err(error) => Finding::bad(
                        "mapping",
                        &subject,
                        format!("live, and {address} lets nobody in: {}", of_io(&error)),
                        "a firewall of this very machine may hold it back (`nft list ruleset`)",
                    ),
                });
            }
        }
    }
}

/// The first address of a public place such as `[::]:6000-6010/http`; none of a name.
fn listener_of(public: &str) -> Option<SocketAddr> {
    let place = public.split('/').next()?;
    let (host, ports) = place.rsplit_once(':')?;
    format!("{host}:{}", ports.split('-').next()?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;
    use serde_json::json;

    #[test]
    fn public_places_are_read() {
        for (text, address) in [
            ("[::]:2222", Some("[::]:2222")),
            ("127.0.0.1:6000-6010", Some("127.0.0.1:6000")),
            ("[::]:8080/http", Some("[::]:8080")),
            ("http://blog.example.com/api", None),
            ("ssh/private", None),
        ] {
            assert_eq!(listener_of(text), address.and_then(|text| text.parse().ok()), "{text}");
        }
        assert_eq!(reached("192.0.2.1:1".parse().unwrap()), ["192.0.2.1:1".parse().unwrap()]);
        assert!(reached("[::]:1".parse().unwrap()).iter().all(|at| !at.ip().is_unspecified()));
    }

    #[test]
    fn licenses_are_judged() {
        let of = |more: Value| {
            let mut value = json!({ "name": "nas", "trouble": null, "quota": null, "online": true });
            value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            standing(&value)
        };
        let is_bad = |finding: &Finding| matches!(finding.verdict, Verdict::Bad { .. });
        assert_eq!(of(json!({})).verdict, Verdict::Ok);
        assert_eq!(of(json!({ "online": false })).verdict, Verdict::Skip);
        assert_eq!(of(json!({ "trouble": "this license was revoked on the server" })).verdict, Verdict::Skip);
        assert!(is_bad(&of(json!({ "trouble": "this license has expired: give it another `expires`" }))));
        assert!(is_bad(&of(json!({ "quota": { "used": 80, "bytes": 100 } }))));
        assert!(!is_bad(&of(json!({ "quota": { "used": 79, "bytes": 100 } }))));
    }

    #[test]
    fn a_server_is_judged_as_a_whole() {
        let good = json!({ "version": env!("CARGO_PKG_VERSION"), "uptime": 5, "ready": true, "stopping": false,
            "visitors": 6, "visitors_max": 8 });
        let but = |key: &str, value: Value| {
            let mut status = good.clone();
            status[key] = value;
            status
        };
        assert_eq!((running(&good).verdict, room(&good).verdict), (Verdict::Ok, Verdict::Ok));
        for status in [but("ready", json!(false)), but("stopping", json!(true)), but("version", json!("0.0"))]
        {
            assert!(matches!(running(&status).verdict, Verdict::Bad { .. }), "{status}");
        }
        assert!(matches!(room(&but("visitors", json!(7))).verdict, Verdict::Bad { .. }));
    }
}
