//! The REST API of a running server, and the commands that ask it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use serde_json::{Value, json};

use super::harness::{Backend, Kind, SOON, Server, nt, port, visit};
use super::process::{eventually, mortal, need};
use super::rest::Nt;

/// What a server answered: status, head, body.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

fn request(method: &str, target: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: nt\r\nConnection: close\r\n{more}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Asks on the socket in the state directory.
pub fn ask(server: &Server, method: &str, target: &str, body: &str) -> Answer {
    let stream = UnixStream::connect(server.folder.join("state/admin.sock")).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let answer = exchange(stream, &request(method, target, "", body));
    check(method, target, &answer);
    answer
}

pub fn get(server: &Server, target: &str) -> Value {
    let answer = ask(server, "GET", target, "");
    assert_eq!(answer.status, 200, "{target}: {}", answer.body);
    answer.json()
}

// ── What is promised ────────────────────────────────────────────────────────────────────────────────────────────────

fn promises() -> Value {
    serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap()
}

/// An answer is what docs/openapi.json promises for it.
fn check(method: &str, target: &str, answer: &Answer) {
    let api = promises();
    let path = target.split('?').next().unwrap();
    let fits = |pattern: &str| {
        let (ours, theirs): (Vec<&str>, Vec<&str>) =
            (path.split('/').collect(), pattern.split('/').collect());
        ours.len() == theirs.len()
            && ours.iter().zip(&theirs).all(|(our, their)| our == their || their.starts_with('{'))
    };
    let paths = api["paths"].as_object().unwrap();
    let Some((_, operations)) = paths.iter().find(|(pattern, _)| fits(pattern)) else {
        assert_eq!(answer.status, 404, "{target} is not promised: {}", answer.body);
        return check_value(&api, &api["components"]["schemas"]["Error"], &answer.json(), target);
    };
    let operation = &operations[method.to_lowercase()];
    if operation.is_null() {
        assert_eq!(answer.status, 405, "{method} {target} is not promised");
        return check_value(&api, &api["components"]["schemas"]["Error"], &answer.json(), target);
    }
    let responses = &operation["responses"];
    let response = match &responses[answer.status.to_string()] {
        Value::Null => &responses["default"],
        response => response,
    };
    let kinds = response["content"].as_object().unwrap();
    let (kind, content) = kinds.iter().next().unwrap();
    assert!(answer.head.contains(&format!("Content-Type: {kind}")), "{target}: {}", answer.head);
    if kind == "application/json" {
        check_value(&api, &content["schema"], &answer.json(), target);
    }
}

/// As much of JSON Schema as the file uses.
fn check_value(api: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return check_value(api, &api["components"]["schemas"][name], value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let schema = any.iter().find(|schema| (schema["type"] == "null") == value.is_null()).unwrap();
        return check_value(api, schema, value, at);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is = |wanted: &Value| wanted == kind;
    let good = schema["type"].as_array().map_or_else(|| is(&schema["type"]), |types| types.iter().any(is));
    assert!(good, "{at}: {value} is no {}", schema["type"]);
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{at}: {value} is none of {words:?}");
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check_value(api, &schema["items"], item, &format!("{at}[{index}]"));
    }
    let Some(fields) = value.as_object() else { return };
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(fields.contains_key(required.as_str().unwrap()), "{at}: {required} is missing in {value}");
    }
    for (name, field) in fields {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => panic!("{at} is not promised"),
            (Value::Null, Value::Object(_)) => check_value(api, &schema["additionalProperties"], field, &at),
            (Value::Null, _) => {}
            (schema, _) => check_value(api, schema, field, &at),
        }
    }
}

// ── What is served ──────────────────────────────────────────────────────────────────────────────────────────────────

/// A server with a client that publishes an echo and a port that it may not.
fn busy() -> (Server, Nt, Backend, u16) {
    let (server, echo, public) = (Server::start(), Backend::echo(), port());
    let license =
        server.license(&["add", "shop", "--quota", "1G", "--connects", "1000/m", "--max-visitors", "9"]);
    let mappings = [format!("{public}:127.0.0.1:{},rate=9M", echo.port), "22:127.0.0.1:22".to_owned()];
    let client = server.client_with(Kind::Tls, &license, &mappings, |_| {});
    client.wait_for(" ready", SOON);
    client.wait_for("not ready", SOON);
    (server, client, echo, public)
}

fn echo_once(stream: &mut TcpStream) {
    stream.write_all(b"twelve bytes").unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
}

#[test]
fn all_that_there_is_is_seen_as_it_is() {
    let (server, _client, echo, public) = busy();
    let mut visitor = visit(public);
    echo_once(&mut visitor);

    let status = get(&server, "/api/v1/status");
    assert_eq!(
        (&status["sessions"], &status["visitors"], &status["ready"]),
        (&json!(1), &json!(1), &json!(true))
    );
    assert_eq!((status["doors"].as_array().unwrap().len(), &status["public_host"]), (2, &Value::Null));

    let licenses = get(&server, "/api/v1/licenses");
    let names: Vec<&Value> =
        licenses["licenses"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["default", "shop"]);
    let shop = get(&server, "/api/v1/licenses/shop");
    assert_eq!(
        (&shop["online"], &shop["good"], &shop["max_visitors"]),
        (&json!(true), &json!(true), &json!(9))
    );
    assert_eq!((&shop["down"], &shop["up"], &shop["quota"]["used"]), (&json!(12), &json!(12), &json!(24)));

    let sessions = get(&server, "/api/v1/sessions");
    assert_eq!(
        (&sessions["sessions"][0]["license"], &sessions["sessions"][0]["state"]),
        (&json!("shop"), &json!("online"))
    );

    let mappings = get(&server, "/api/v1/mappings");
    let (live, down) = (&mappings["mappings"][0], &mappings["mappings"][1]);
    assert_eq!((&live["state"], &live["down"]), (&json!("live"), &json!(12)));
    assert_eq!(live["mapping"], format!("{public}:{}", echo.port));
    assert_eq!(down["state"], "down");
    assert!(down["reason"].as_str().unwrap().starts_with("the license does not permit this port"));

    let counters = get(&server, "/api/v1/counters");
    let passed = &counters["licenses"]["shop"];
    assert_eq!(passed["mappings"][format!("{public}:{}", echo.port)], json!({ "down": 12, "up": 12 }));

    let history = get(&server, "/api/v1/history");
    assert_eq!((&history["step"], &history["down"]), (&json!(60), &json!([])), "no minute is over yet");

    let events = get(&server, "/api/v1/events");
    let events = events["events"].as_array().unwrap();
    let login = events.iter().find(|event| event["text"].as_str().unwrap().starts_with("shop: logged in"));
    let after = login.unwrap()["number"].as_u64().unwrap();
    let later = get(&server, &format!("/api/v1/events?after={after}"));
    assert!(
        later["events"].as_array().unwrap().iter().all(|event| event["number"].as_u64().unwrap() > after)
    );
    assert!(later["events"].as_array().unwrap().len() < events.len());
}

#[test]
fn a_visitor_is_cut_and_the_others_stay() {
    let (server, _client, _echo, public) = busy();
    let mut visitors = [visit(public), visit(public)];
    visitors.iter_mut().for_each(echo_once);
    let of = |stream: &TcpStream| stream.local_addr().unwrap().port().to_string();
    let seen = get(&server, "/api/v1/visitors");
    let is_first =
        |one: &&Value| one["address"].as_str().unwrap().ends_with(&format!(":{}", of(&visitors[0])));
    let id = seen["visitors"].as_array().unwrap().iter().find(is_first).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let target = format!("/api/v1/visitors/{id}");
    assert_eq!(ask(&server, "DELETE", &target, "").status, 200);
    let [mut first, mut second] = visitors;
    assert_eq!(first.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    echo_once(&mut second);
    assert_eq!(ask(&server, "DELETE", &target, "").status, 404, "it has gone");
    assert_eq!(get(&server, "/api/v1/visitors")["visitors"].as_array().unwrap().len(), 1);
}

#[test]
fn licenses_are_made_changed_and_ended() {
    let (server, echo, public) = (Server::start(), Backend::echo(), port());
    let body =
        json!({ "name": "box", "ports": format!("{public}"), "map": [format!("{public}:{}", echo.port)] });
    let made = ask(&server, "POST", "/api/v1/licenses", &body.to_string());
    assert_eq!(made.status, 201, "{}", made.body);
    let text = made.json()["text"].as_str().unwrap().to_owned();
    let client = server.client_with(Kind::Tls, &text, &[], |_| {});
    client.wait_for(" ready", SOON);
    // What is known of it has no secret in it.
    assert!(!ask(&server, "GET", "/api/v1/licenses", "").body.contains(&text));

    let set = ask(&server, "PATCH", "/api/v1/licenses/box", r#"{"rate":"5M","max_visitors":3}"#);
    assert_eq!((set.status, &set.json()["license"]["rate"]), (200, &json!("5M")));
    assert_eq!(get(&server, "/api/v1/licenses/box")["max_visitors"], json!(3), "it counts at once");
    ask(&server, "PATCH", "/api/v1/licenses/box", r#"{"rate":null}"#);
    assert_eq!(get(&server, "/api/v1/licenses/box")["rate"], Value::Null);

    let gone = ask(&server, "DELETE", &format!("/api/v1/licenses/box/mappings/{public}"), "");
    assert_eq!(gone.status, 200, "{}", gone.body);
    eventually("the port is closed", SOON, || TcpStream::connect((Ipv4Addr::LOCALHOST, public)).is_err());
    let mapping = json!({ "mapping": format!("{public}:{}", echo.port) }).to_string();
    assert_eq!(ask(&server, "POST", "/api/v1/licenses/box/mappings", &mapping).status, 200);
    eventually("it is open", SOON, || TcpStream::connect((Ipv4Addr::LOCALHOST, public)).is_ok());

    let rotated = ask(&server, "POST", "/api/v1/licenses/box/rotate", "");
    assert_eq!((rotated.status, &rotated.json()["license"]["rotated"]), (201, &json!(true)));
    assert_eq!(ask(&server, "POST", "/api/v1/licenses/box/revoke", "").status, 200);
    client.wait_for("this license was revoked", SOON);
    assert_eq!(ask(&server, "DELETE", "/api/v1/licenses/box", "").status, 200);
    assert_eq!(ask(&server, "GET", "/api/v1/licenses/box", "").status, 404);
    let file = std::fs::read_to_string(server.folder.join("state/licenses.toml")).unwrap();
    assert!(!file.contains("box"), "{file}");
}

#[test]
fn what_is_wrong_is_said_and_changes_nothing() {
    let server = Server::start();
    let before = std::fs::read(server.folder.join("state/licenses.toml")).unwrap();
    for (method, target, body, status, what) in [
        ("POST", "/api/v1/licenses", "{", 400, "the body is not JSON: line 1"),
        ("POST", "/api/v1/licenses", r#"{"name":"a","prots":"80"}"#, 400, "did you mean `ports`?"),
        ("POST", "/api/v1/licenses", r#"{"name":"a b"}"#, 409, "the name `a b` is not"),
        ("POST", "/api/v1/licenses", r#"{"name":"default"}"#, 409, "there is a license `default` already"),
        (
            "POST",
            "/api/v1/licenses",
            r#"{"name":"a","rate":"fast"}"#,
            409,
            "`rate`: `fast` is not a number of bytes",
        ),
        ("POST", "/api/v1/licenses", r#"{"name":"a","map":["22"]}"#, 409, "may not publish port 22"),
        ("PATCH", "/api/v1/licenses/defualt", "{}", 404, "did you mean `default`?"),
        (
            "PATCH",
            "/api/v1/licenses/default",
            r#"{"quota_day":5}"#,
            409,
            "`quota_day`: says nothing without a quota",
        ),
        ("DELETE", "/api/v1/licenses/default/mappings/80", "", 409, "has no mapping `80`"),
        ("DELETE", "/api/v1/visitors/7", "", 404, "there is no such visitor"),
        ("PUT", "/api/v1/status", "", 405, "takes GET, and nothing else"),
        ("GET", "/api/v2/status", "", 404, "there is nothing at `/api/v2/status`"),
    ] {
        let answer = ask(&server, method, target, body);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(
            answer.status == status && error.contains(what),
            "{method} {target} {body}: {} {error}",
            answer.status
        );
    }
    assert_eq!(std::fs::read(server.folder.join("state/licenses.toml")).unwrap(), before);
    let socket = || UnixStream::connect(server.folder.join("state/admin.sock")).unwrap();
    let long = format!("GET / HTTP/1.1\r\nHost: nt\r\nX: {}\r\n\r\n", "x".repeat(9_000));
    assert_eq!(exchange(socket(), &long).status, 431);
    assert_eq!(exchange(socket(), "nonsense\r\n\r\n").status, 400);
    let much = request("POST", "/api/v1/licenses", "", &"x".repeat(70_000));
    assert_eq!(exchange(socket(), &much[..600]).status, 413, "before it has come");
}

#[test]
fn by_a_port_it_is_asked_by_who_knows_the_token() {
    let mut server = Server::start();
    server.process.signal(rustix::process::Signal::TERM);
    server.process.wait(SOON);
    let admin = port();
    let mut command = Server::command(&server.folder, server.tls, server.plain);
    let _process =
        Nt::start(command.arg("--admin").arg(format!("127.0.0.1:{admin}")), &server.tunnel_ports());
    let ask = |target: &str, more: &str| {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, admin)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        exchange(stream, &request("GET", target, more, ""))
    };
    eventually("it listens", SOON, || TcpStream::connect((Ipv4Addr::LOCALHOST, admin)).is_ok());
    let path = server.folder.join("state/admin.token");
    let token = std::fs::read_to_string(&path).unwrap().trim().to_owned();
    for secret in [path, server.folder.join("state/admin.sock")] {
        let mode = std::fs::metadata(&secret).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", secret.display());
    }
    assert_eq!(ask("/api/v1/status", &format!("Authorization: Bearer {token}\r\n")).status, 200);
    for wrong in
        ["", "Authorization: Bearer\r\n", "Authorization: Bearer x\r\n", "Authorization: Basic x\r\n"]
    {
        let answer = ask("/api/v1/status", wrong);
        assert_eq!(answer.status, 401, "{wrong}");
        assert!(answer.head.contains("WWW-Authenticate: Bearer") && !answer.body.contains(&token));
    }
    assert_eq!((ask("/healthz", "").status, ask("/readyz", "").status), (200, 200), "they say nothing");
    assert_eq!(ask("/metrics", "").status, 401);
    // A page of another site may not ask, whatever it knows; the own one, which is at the host `nt` here, may.
    for (more, status) in [
        ("Origin: http://nt\r\n", 200),
        ("Sec-Fetch-Site: same-origin\r\n", 200),
        ("Origin: http://nt.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
    ] {
        let answer = ask("/api/v1/status", &format!("Authorization: Bearer {token}\r\n{more}"));
        assert_eq!(answer.status, status, "{more}");
    }
    // It is not for everybody to see.
    let output = mortal(nt()).args(["-s", "--admin", "0.0.0.0:9001"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("has to be an address of loopback"), "{said}");
}

#[test]
fn metrics_are_what_prometheus_takes() {
    let (server, _client, _echo, public) = busy();
    echo_once(&mut visit(public));
    let metrics = ask(&server, "GET", "/metrics", "");
    assert_eq!(metrics.status, 200);
    for line in [
        "nt_license_online{license=\"shop\"} 1",
        "nt_license_online{license=\"default\"} 0",
        "nt_license_bytes_total{license=\"shop\",direction=\"up\"} 12",
        "nt_visits_total 1",
    ] {
        assert!(metrics.body.lines().any(|other| other == line), "{line} is missing in\n{}", metrics.body);
    }
    assert!(metrics.body.contains(&format!("mapping=\"{public}:")), "{}", metrics.body);
    if need(&["promtool"]) {
        let mut command = mortal("promtool");
        command.args(["check", "metrics"]).stdin(std::process::Stdio::piped());
        let mut promtool = command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        promtool.stdin.take().unwrap().write_all(metrics.body.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn a_long_answer_comes_whole_and_requests_follow_each_other() {
    let server = Server::start();
    for n in 0..150 {
        let body = json!({ "name": format!("license-{n}"), "hosts": ["a.example.com", "*.b.example.com"] });
        assert_eq!(ask(&server, "POST", "/api/v1/licenses", &body.to_string()).status, 201);
    }
    let answer = ask(&server, "GET", "/api/v1/licenses", "");
    assert!(answer.body.len() > 40_000, "{}", answer.body.len());
    assert_eq!(answer.json()["licenses"].as_array().unwrap().len(), 151);
    // Whoever says that it will ask no more is answered.
    let stream = UnixStream::connect(server.folder.join("state/admin.sock")).unwrap();
    (&stream).write_all(b"GET /api/v1/licenses HTTP/1.1\r\nHost: nt\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut whole = String::new();
    (&stream).read_to_string(&mut whole).unwrap();
    assert!(whole.ends_with(&answer.body), "{} bytes", whole.len());
    // Three in one breath.
    let stream = UnixStream::connect(server.folder.join("state/admin.sock")).unwrap();
    let one = "GET /healthz HTTP/1.1\r\nHost: nt\r\n\r\n";
    let answer = exchange(stream, &format!("{one}{one}{}", request("GET", "/healthz", "", "")));
    assert_eq!(answer.body.matches("ok\n").count(), 3, "{}", answer.body);
}

#[test]
fn status_is_shown_to_people_and_programs() {
    let (mut server, _client, _echo, public) = busy();
    echo_once(&mut visit(public));
    let run = |words: &[&str]| {
        let mut command = Command::new(nt());
        command.arg("status").args(words).arg("--state").arg(server.folder.join("state")).output().unwrap()
    };
    let text = String::from_utf8(run(&[]).stdout).unwrap();
    assert!(text.contains(": 1 of 2 clients, "), "{text}");
    assert!(
        text.lines().any(|line| line.starts_with("shop     online") && line.ends_with("12 B  12 B")),
        "{text}"
    );
    assert!(text.contains("down: the license does not permit this port"), "{text}");
    let all: Value = serde_json::from_slice(&run(&["--json"]).stdout).unwrap();
    assert_eq!((&all["sessions"][0]["license"], &all["mappings"][0]["up"]), (&json!("shop"), &json!(12)));
    server.process.signal(rustix::process::Signal::TERM);
    server.process.wait(SOON);
    let output = run(&[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("no server runs with the state in"), "{said}");
}

#[test]
fn a_client_says_how_it_is_to_whoever_may_ask() {
    let (server, echo) = (Server::start(), Backend::echo());
    let (public, taken, sick) = (port(), server.tls, port());
    let maps = [
        format!("{public}:127.0.0.1:{}", echo.port),
        format!("{taken}:127.0.0.1:{}", echo.port),
        format!("{sick}:127.0.0.1:{},check=tcp", port()),
    ];
    let run = server.folder.join("run");
    let start = || {
        server.client_with(Kind::Tls, &server.license, &maps, |command| {
            _ = command.env("RUNTIME_DIRECTORY", &run)
        })
    };
    let status = |words: &[&str]| {
        let mut command = Command::new(nt());
        command.arg("status").args(words).env("RUNTIME_DIRECTORY", &run);
        // The server of this machine, if there is one, is not meant.
        let output = command.env("STATE_DIRECTORY", server.folder.join("none")).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let mut client = start();
    client.wait_for("fails its check", SOON);
    eventually("all is known", SOON, || client.log().count("ready") >= 3);
    let mut visitor = visit(public);
    echo_once(&mut visitor);
    let (good, text) = status(&["--json"]);
    let value: Value = serde_json::from_str(&text).unwrap();
    let [client_value] = &value["clients"].as_array().unwrap()[..] else { panic!("{text}") };
    assert!(good && client_value["state"] == "online" && client_value["visits"] == 1, "{text}");
    let mappings = client_value["mappings"].as_array().unwrap();
    let states: Vec<&str> = mappings.iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["live", "down", "sick"], "{text}");
    assert!(mappings[1]["reason"].as_str().unwrap().contains("in use"), "{text}");
    assert!(!text.contains(&server.license[12..]), "{text}");
    let (good, text) = status(&[]);
    assert!(
        good && text.contains("online for") && text.contains("down: the public port is in use"),
        "{text}"
    );
    // Only its own user may ask; and one that was killed leaves nothing that is in the way.
    let socket = run.join(format!("client-{}.sock", client.id()));
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    client.kill();
    assert!(!status(&[]).0 && socket.exists());
    let mut again = start();
    again.wait_for("logged in", SOON);
    assert!(!socket.exists());
    assert!(status(&["--json"]).0);
    again.signal(rustix::process::Signal::TERM);
    again.wait(SOON);
    assert_eq!(std::fs::read_dir(&run).unwrap().count(), 0, "it took its socket away");
}
