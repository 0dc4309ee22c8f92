//! The REST API's words: what a request asks of a running server. `docs/openapi.json` describes it to programs.
//!
//! Nothing here knows a socket or a server: a method, a path and a body become a [`Call`], or a [`Refusal`].

use serde_json::{Map, Value, json};

use crate::dashboard::Part;
use crate::directory::SETTINGS;
use crate::edit::{Edit, Settings};
use crate::limits::{DEMAND_TTL, DEMAND_TTL_MAX, DEMAND_TTL_MIN, TRIAL_SECS};
use crate::text::{did_you_mean, quote};
use crate::time::Span;

/// What the API promises, for programs: `docs/openapi.json` without its space.
pub const OPENAPI: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// Why the licenses are not changed while others are tried out.
pub const UNCONFIRMED: &str =
    "a change waits to be confirmed: `nt reload` keeps it; until then nothing else is changed";

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// To see something.
    View(View),
    /// To change the licenses.
    Edit(Edit),
    /// To have a client's target bound for a while.
    Bind(Wish),
    /// To cut a visitor.
    Cut(u64),
    /// To look at the files now.
    Reload {
        /// What holds then is tried out for so long; otherwise it is kept.
        confirm: Option<Span>,
    },
}

/// What is to be bound on demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Whose; the only one that is online, if it is not said.
    pub license: Option<String>,
    /// The target's host, as the client knows it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// For so many seconds after the last visitor: from [`DEMAND_TTL_MIN`] to [`DEMAND_TTL_MAX`].
    pub ttl: u32,
}

/// What can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// The server as a whole.
    Status,
    /// All licenses, without their secrets.
    Licenses,
    /// One of them.
    License(String),
    /// Clients that are logged in, or may come back.
    Sessions,
    /// What they publish.
    Mappings,
    /// Who visits.
    Visitors,
    /// What is bound on demand.
    Binds,
    /// What has passed.
    Counters,
    /// What has passed in each minute of the last day.
    History,
    /// What has happened since this event.
    Events(u64),
    /// What the API promises.
    OpenApi,
    /// All figures, for Prometheus.
    Metrics,
    /// Whether the server runs.
    Health,
    /// Whether it serves.
    Ready,
    /// A file of the page for people.
    Page(Part),
}

impl View {
    /// Whether anybody may see it who reaches the door: it says no more than that the door is there. So does the page,
    /// which has no data in it.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Health | Self::Ready | Self::Page(_))
    }
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of HTTP.
    pub status: u16,
    /// A sentence: what is wrong, where, and what to do.
    pub what: String,
}

impl Refusal {
    /// A refusal with this status.
    pub fn new(status: u16, what: impl Into<String>) -> Self {
        Self { status, what: what.into() }
    }

    /// A body that cannot be.
    fn bad(what: impl Into<String>) -> Self {
        Self::new(400, what)
    }
}

/// Methods of a path that exists.
struct Methods(&'static [&'static str]);

/// What a request asks.
///
/// # Errors
/// 400, 404 or 405, and why.
pub fn call(method: &str, target: &str, body: &[u8]) -> Result<Call, Refusal> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let view = |view| Ok(Call::View(view));
    let wrong = match (parts.as_slice(), method) {
        ([""], "GET" | "HEAD") => return view(View::Page(Part::Page)),
        (["page.css"], "GET" | "HEAD") => return view(View::Page(Part::Style)),
        (["page.js"], "GET" | "HEAD") => return view(View::Page(Part::Script)),
        (["healthz"], "GET" | "HEAD") => return view(View::Health),
        (["readyz"], "GET" | "HEAD") => return view(View::Ready),
        (["metrics"], "GET" | "HEAD") => return view(View::Metrics),
        (["healthz" | "readyz" | "metrics" | "" | "page.css" | "page.js"], _) => Some(Methods(&["GET"])),
        (["route", "bind", host, port], _) => return bind_short(host, port, query),
        (["route", "queryServerBindStat"], _) => return view(View::Binds),
        (["api", "v1", rest @ ..], _) => match (rest, method) {
            (["status"], "GET") => return view(View::Status),
            (["licenses"], "GET") => return view(View::Licenses),
            (["licenses"], "POST") => return add(body),
            (["licenses", name], "GET") => return view(View::License(decoded(name)?)),
            (["licenses", name], "PATCH") => return set(decoded(name)?, body),
            (["licenses", name], "DELETE") => return Ok(Call::Edit(Edit::Remove { name: decoded(name)? })),
            (["licenses", name, "revoke"], "POST") => {
                return Ok(Call::Edit(Edit::Revoke { name: decoded(name)? }));
            }
            (["licenses", name, "rotate"], "POST") => return rotate(decoded(name)?, body),
            (["licenses", name, "mappings"], "POST") => return add_map(decoded(name)?, body),
            (["licenses", name, "mappings", mapping], "DELETE") => {
                let (name, mapping) = (decoded(name)?, decoded(mapping)?);
                return Ok(Call::Edit(Edit::RemoveMap { name, mapping }));
            }
            (["bind"], "POST") => return bind(body),
            (["bind"], _) => Some(Methods(&["POST"])),
            (["binds"], "GET") => return view(View::Binds),
            (["reload"], "POST") => return reload(body),
            (["reload"], _) => Some(Methods(&["POST"])),
            (["sessions"], "GET") => return view(View::Sessions),
            (["mappings"], "GET") => return view(View::Mappings),
            (["visitors"], "GET") => return view(View::Visitors),
            (["visitors", id], "DELETE") => return cut(id),
            (["counters"], "GET") => return view(View::Counters),
            (["history"], "GET") => return view(View::History),
            (["events"], "GET") => return view(View::Events(after(query)?)),
            (["openapi.json"], "GET") => return view(View::OpenApi),
            (["licenses"], _) => Some(Methods(&["GET", "POST"])),
            (["licenses", _], _) => Some(Methods(&["GET", "PATCH", "DELETE"])),
            (["licenses", _, "revoke" | "rotate" | "mappings"], _) => Some(Methods(&["POST"])),
            (["licenses", _, "mappings", _] | ["visitors", _], _) => Some(Methods(&["DELETE"])),
            (
                [
                    "status" | "sessions" | "mappings" | "visitors" | "counters" | "history" | "events"
                    | "binds" | "openapi.json",
                ],
                _,
            ) => Some(Methods(&["GET"])),
            _ => None,
        },
        _ => None,
    };
    Err(match wrong {
        Some(Methods(methods)) => {
            Refusal::new(405, format!("{} takes {}, and nothing else", quote(path), methods.join(", ")))
        }
        None => Refusal::new(404, format!("there is nothing at {}: see /api/v1/openapi.json", quote(path))),
    })
}

/// How a change is asked for: method, target and body.
pub fn request_of(edit: &Edit) -> (&'static str, String, String) {
    let of = |name: &str, more: &str| format!("/api/v1/licenses/{}{more}", encoded(name));
    let object = |settings: &Settings| -> Map<String, Value> {
        settings.iter().map(|(setting, text)| ((*setting).to_owned(), Value::from(text.clone()))).collect()
    };
    match edit {
        Edit::Add { name, settings, maps } => {
            let mut fields = object(settings);
            fields.insert("name".to_owned(), Value::from(name.clone()));
            fields.insert("map".to_owned(), Value::from(maps.clone()));
            ("POST", "/api/v1/licenses".to_owned(), Value::Object(fields).to_string())
        }
        Edit::Set { name, settings } => ("PATCH", of(name, ""), Value::Object(object(settings)).to_string()),
        Edit::Rotate { name, now } => ("POST", of(name, "/rotate"), json!({ "now": now }).to_string()),
        Edit::Revoke { name } => ("POST", of(name, "/revoke"), String::new()),
        Edit::Remove { name } => ("DELETE", of(name, ""), String::new()),
        Edit::AddMap { name, mapping } => {
            ("POST", of(name, "/mappings"), json!({ "mapping": mapping }).to_string())
        }
        Edit::RemoveMap { name, mapping } => {
            ("DELETE", of(name, &format!("/mappings/{}", encoded(mapping))), String::new())
        }
    }
}

/// A part of a path, percent-encoded but for what stands for itself (RFC 3986 section 2.3).
fn encoded(part: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    part.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A part of a path, with its percent-encoding resolved (RFC 3986 section 2.1).
fn decoded(part: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        rest = more;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(|| Refusal::bad(format!("{} is not percent-encoded well", quote(part))))?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| Refusal::bad(format!("{} is not UTF-8", quote(part))))
}

fn after(query: &str) -> Result<u64, Refusal> {
    if query.is_empty() {
        return Ok(0);
    }
    let number = query.strip_prefix("after=").and_then(|number| number.parse().ok());
    number.ok_or_else(|| Refusal::bad(format!("{} is not after=NUMBER", quote(query))))
}

/// A wish, by what it says of each.
fn wish(license: Option<String>, host: String, port: &str, ttl: Option<&str>) -> Result<Call, Refusal> {
    let port = port.parse().ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| Refusal::bad("`port` has to be a number from 1 to 65535"))?;
    let ttl = ttl.map_or(Some(DEMAND_TTL), |ttl| ttl.parse().ok());
    let ttl = ttl.filter(|ttl| (DEMAND_TTL_MIN..=DEMAND_TTL_MAX).contains(ttl)).ok_or_else(|| {
        Refusal::bad(format!("`ttl` has to be a number of seconds from {DEMAND_TTL_MIN} to {DEMAND_TTL_MAX}"))
    })?;
    Ok(Call::Bind(Wish { license, host, port, ttl }))
}

fn bind(body: &[u8]) -> Result<Call, Refusal> {
    let fields = fields(body, &["license", "host", "port", "ttl"])?;
    let license = fields.contains_key("license").then(|| needed(&fields, "license")).transpose()?;
    let port = fields.get("port").map(|port| text("port", port)).transpose()?;
    let ttl = fields.get("ttl").map(|ttl| text("ttl", ttl)).transpose()?;
    wish(license, needed(&fields, "host")?, &port.unwrap_or_default(), ttl.as_deref())
}

/// The short form: what is not in the path stands in the query.
fn bind_short(host: &str, port: &str, query: &str) -> Result<Call, Refusal> {
    let (mut license, mut ttl) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("license", name)) => license = Some(decoded(name)?),
            Some(("ttl", seconds)) => ttl = Some(seconds),
            _ => return Err(Refusal::bad(format!("{} is not license=NAME or ttl=SECONDS", quote(pair)))),
        }
    }
    wish(license, decoded(host)?, port, ttl)
}

fn cut(id: &str) -> Result<Call, Refusal> {
    id.parse().map(Call::Cut).map_err(|_| Refusal::bad(format!("{} is no visitor's id", quote(id))))
}

/// The fields of a body, of which there may be these.
fn fields(body: &[u8], known: &[&str]) -> Result<Map<String, Value>, Refusal> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        Refusal::bad(format!("the body is not JSON: line {}, column {}", error.line(), error.column()))
    })?;
    let Value::Object(fields) = value else {
        return Err(Refusal::bad("the body has to be an object, as in {\"name\": \"nas\"}"));
    };
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => {
            Err(Refusal::bad(format!("there is no field {} here{}", quote(key), did_you_mean(key, known))))
        }
        None => Ok(fields),
    }
}

/// The text of a field: a string, a number, a list of strings; `null` takes a bound away.
fn text(field: &str, value: &Value) -> Result<String, Refusal> {
    let of = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let read = match value {
        Value::Null => Some("none".to_owned()),
        Value::Array(items) if items.is_empty() => Some("none".to_owned()),
        Value::Array(items) => items.iter().map(of).collect::<Option<Vec<_>>>().map(|items| items.join(",")),
        other => of(other),
    };
    read.ok_or_else(|| {
        Refusal::bad(format!("`{field}` has to be a string, a number, a list of strings or null"))
    })
}

fn needed(fields: &Map<String, Value>, field: &str) -> Result<String, Refusal> {
    match fields.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Refusal::bad(format!("`{field}` has to be a string"))),
        None => Err(Refusal::bad(format!("`{field}` is missing"))),
    }
}

fn settings(fields: &Map<String, Value>) -> Result<Settings, Refusal> {
    let there = SETTINGS.into_iter().filter_map(|setting| Some((setting, fields.get(setting)?)));
    there.map(|(setting, value)| Ok((setting, text(setting, value)?))).collect()
}

fn add(body: &[u8]) -> Result<Call, Refusal> {
    let fields = fields(body, &[&SETTINGS[..], &["name", "map"]].concat())?;
    let maps = match fields.get("map") {
        None => Vec::new(),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
        }
        Some(_) => return Err(Refusal::bad("`map` has to be a list of mappings, as in [\"2222:22\"]")),
    };
    Ok(Call::Edit(Edit::Add { name: needed(&fields, "name")?, settings: settings(&fields)?, maps }))
}

fn set(name: String, body: &[u8]) -> Result<Call, Refusal> {
    let settings = settings(&fields(body, &SETTINGS)?)?;
    Ok(Call::Edit(Edit::Set { name, settings }))
}

fn reload(body: &[u8]) -> Result<Call, Refusal> {
    let seconds = match fields(body, &["confirm"])?.get("confirm") {
        None => return Ok(Call::Reload { confirm: None }),
        Some(seconds) => seconds.as_u64().filter(|seconds| TRIAL_SECS.contains(seconds)),
    };
    let (least, most) = (TRIAL_SECS.start(), TRIAL_SECS.end());
    let fault = || Refusal::bad(format!("`confirm` has to be a number of seconds from {least} to {most}"));
    Ok(Call::Reload { confirm: Some(Span::from_secs(seconds.ok_or_else(fault)?)) })
}

fn rotate(name: String, body: &[u8]) -> Result<Call, Refusal> {
    match fields(body, &["now"])?.get("now") {
        None => Ok(Call::Edit(Edit::Rotate { name, now: false })),
        Some(&Value::Bool(now)) => Ok(Call::Edit(Edit::Rotate { name, now })),
        Some(_) => Err(Refusal::bad("`now` has to be true or false")),
    }
}

fn add_map(name: String, body: &[u8]) -> Result<Call, Refusal> {
    let mapping = needed(&fields(body, &["mapping"])?, "mapping")?;
    Ok(Call::Edit(Edit::AddMap { name, mapping }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_what_the_docs_promise() {
        let read = |json| serde_json::from_str::<Value>(json).unwrap();
        assert_eq!(read(OPENAPI), read(include_str!("../docs/openapi.json")));
        assert!(!OPENAPI.contains('\n') && !OPENAPI.contains("\": "), "it has space that nobody needs");
    }

    #[test]
    fn what_is_asked_is_understood() {
        let edit = |edit| Ok(Call::Edit(edit));
        let name = || "nas".to_owned();
        for (method, target, body, asked) in [
            ("GET", "/api/v1/status", "", Ok(Call::View(View::Status))),
            ("GET", "/api/v1/licenses/a%2eb", "", Ok(Call::View(View::License("a.b".to_owned())))),
            ("GET", "/api/v1/events?after=7", "", Ok(Call::View(View::Events(7)))),
            ("HEAD", "/healthz", "", Ok(Call::View(View::Health))),
            ("GET", "/?x", "", Ok(Call::View(View::Page(Part::Page)))),
            ("GET", "/api/v1/history", "", Ok(Call::View(View::History))),
            ("DELETE", "/api/v1/visitors/4294967297", "", Ok(Call::Cut(4_294_967_297))),
            ("POST", "/api/v1/reload", "", Ok(Call::Reload { confirm: None })),
            (
                "POST",
                "/api/v1/reload",
                r#"{"confirm":60}"#,
                Ok(Call::Reload { confirm: Some(Span::from_secs(60)) }),
            ),
            ("DELETE", "/api/v1/licenses/nas", "", edit(Edit::Remove { name: name() })),
            ("POST", "/api/v1/licenses/nas/revoke", "", edit(Edit::Revoke { name: name() })),
            (
                "POST",
                "/api/v1/licenses/nas/rotate",
                "{\"now\":true}",
                edit(Edit::Rotate { name: name(), now: true }),
            ),
            (
                "POST",
                "/api/v1/licenses",
                r#"{"name":"nas","hosts":["a.com","b.com"],"max_visitors":7,"map":["80"],"visitors":[]}"#,
                edit(Edit::Add {
                    name: name(),
                    settings: vec![
                        ("hosts", "a.com,b.com".to_owned()),
                        ("visitors", "none".to_owned()),
                        ("max_visitors", "7".to_owned()),
                    ],
                    maps: vec!["80".to_owned()],
                }),
            ),
            (
                "PATCH",
                "/api/v1/licenses/nas",
                r#"{"over_quota":"64K","quota":"1G","expires":null}"#,
                edit(Edit::Set {
                    name: name(),
                    settings: vec![
                        ("quota", "1G".to_owned()),
                        ("over_quota", "64K".to_owned()),
                        ("expires", "none".to_owned()),
                    ],
                }),
            ),
            (
                "DELETE",
                "/api/v1/licenses/nas/mappings/53%2Fudp",
                "",
                edit(Edit::RemoveMap { name: name(), mapping: "53/udp".to_owned() }),
            ),
        ] {
            assert_eq!(call(method, target, body.as_bytes()), asked, "{method} {target} {body}");
            if let Ok(Call::Edit(edit)) = &asked {
                let (method, target, body) = request_of(edit);
                assert_eq!(call(method, &target, body.as_bytes()), asked, "{method} {target} {body}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (method, target, body, status, what) in [
            ("GET", "/x", "", 404, "there is nothing at `/x`"),
            ("POST", "/", "", 405, "`/` takes GET"),
            ("GET", "/api/v1/licences", "", 404, "there is nothing at `/api/v1/licences`"),
            ("PUT", "/api/v1/licenses", "", 405, "`/api/v1/licenses` takes GET, POST, and nothing else"),
            ("POST", "/metrics", "", 405, "`/metrics` takes GET"),
            ("GET", "/api/v1/licenses/%zz", "", 400, "`%zz` is not percent-encoded well"),
            ("GET", "/api/v1/licenses/%ff", "", 400, "`%ff` is not UTF-8"),
            ("GET", "/api/v1/events?since=7", "", 400, "`since=7` is not after=NUMBER"),
            ("DELETE", "/api/v1/visitors/x", "", 400, "`x` is no visitor's id"),
            ("POST", "/api/v1/licenses", "{", 400, "the body is not JSON: line 1, column 1"),
            ("POST", "/api/v1/licenses", "[]", 400, "the body has to be an object"),
            ("POST", "/api/v1/licenses", "", 400, "`name` is missing"),
            ("POST", "/api/v1/licenses", "{\"name\":7}", 400, "`name` has to be a string"),
            (
                "POST",
                "/api/v1/licenses",
                "{\"nmae\":\"a\"}",
                400,
                "there is no field `nmae` here; did you mean `name`?",
            ),
            ("POST", "/api/v1/licenses", "{\"name\":\"a\",\"map\":\"80\"}", 400, "`map` has to be a list"),
            ("PATCH", "/api/v1/licenses/a", "{\"rate\":true}", 400, "`rate` has to be a string, a number"),
            (
                "POST",
                "/api/v1/reload",
                "{\"confirm\":4}",
                400,
                "`confirm` has to be a number of seconds from 5 to 3600",
            ),
            ("POST", "/api/v1/reload", "{\"confirm\":true}", 400, "`confirm` has to be"),
            ("POST", "/api/v1/reload", "{\"confrim\":60}", 400, "there is no field `confrim` here; did you"),
            ("POST", "/api/v1/licenses/a/rotate", "{\"now\":1}", 400, "`now` has to be true or false"),
        ] {
            let refusal = call(method, target, body.as_bytes()).expect_err(target);
            assert!(
                refusal.status == status && refusal.what.starts_with(what),
                "{method} {target}: {refusal:?}"
            );
        }
    }
}
