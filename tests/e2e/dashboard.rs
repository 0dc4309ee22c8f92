//! The operator's page, in a real browser.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::api::{ask, get};
use super::harness::{Backend, Kind, SOON, Server, nt, port, visit};
use super::process::{eventually, mortal, need};
use super::rest::Nt;
use super::webdriver::{BACKSPACE, Browser, ENTER, ESCAPE, PROGRAMS, TAB};

/// A server, and the operator at its page. The browser goes first, so that the server is at rest at the end.
pub struct Desk {
    pub browser: Browser,
    pub server: Server,
    admin: u16,
}

impl Desk {
    /// A desk, where the browser is installed.
    pub fn new() -> Option<Self> {
        if !need(&PROGRAMS) {
            return None;
        }
        let mut server = Server::start();
        let admin = port();
        stop(&mut server.process);
        server.process = serve(&server, admin);
        let desk = Self { browser: Browser::start(), server, admin };
        desk.browser.resize(1200, 900);
        desk.browser.open(&format!("http://127.0.0.1:{admin}/"));
        Some(desk)
    }

    fn token(&self) -> String {
        std::fs::read_to_string(self.server.folder.join("state/admin.token")).unwrap().trim().to_owned()
    }

    /// The operator says who they are.
    pub fn enter(&self) {
        self.browser.wait("the form", "return document.activeElement.id === 'token'");
        self.browser.fill("#token", &format!("{}{ENTER}", self.token()));
        self.browser.wait("the board", "return document.querySelectorAll('tr.license').length > 0");
    }

    /// A row of a table comes to have all these texts; the text of the row below it.
    fn row(&self, texts: &[&str]) -> String {
        let script = format!(
            "const row = [...document.querySelectorAll('tr')].find((row) => {}.every((text) => row.innerText.includes(text)));
             return row && (row.nextElementSibling ? row.nextElementSibling.innerText : '') + ' '",
            json!(texts)
        );
        self.browser.wait(&texts.join(" "), &script).as_str().unwrap().to_owned()
    }

    fn no_row(&self, text: &str) {
        let script = format!(
            "return ![...document.querySelectorAll('tr')].some((row) => row.innerText.includes({}))",
            json!(text)
        );
        self.browser.wait(&format!("no {text}"), &script);
    }

    /// Goes there by the keyboard.
    fn tab_to(&self, selector: &str) {
        let there = format!("return document.activeElement.matches({})", json!(selector));
        for _ in 0..60 {
            if self.browser.run(&there) == true {
                return;
            }
            self.browser.keys(TAB);
        }
        panic!(
            "the keyboard does not get to {selector}: {}",
            self.browser.run("return document.activeElement.outerHTML")
        );
    }

    fn press(&self, selector: &str) {
        self.tab_to(selector);
        self.browser.keys(ENTER);
    }

    /// Writes something else into a field: what has come to have the focus by the keyboard is selected.
    fn write(&self, field: &str, text: &str) {
        self.tab_to(field);
        let seen = "const field = document.activeElement, box = field.getBoundingClientRect();
            return document.elementFromPoint(box.x + box.width / 2, box.bottom - 2) === field";
        assert_eq!(self.browser.run(seen), true, "{field} is in sight");
        self.browser.keys(text);
    }

    /// Nothing asks any more, and the focus is where it was before.
    fn is_back_at(&self, label: &str) {
        let script = format!(
            "return !document.querySelector('[open]') && document.activeElement.getAttribute('aria-label') === '{label}'"
        );
        self.browser.wait(&format!("back at {label}"), &script);
    }

    /// Nothing was forbidden to the page, and nothing in it failed.
    fn is_content(&self) {
        let complaints = self.browser.complaints();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}

fn serve(server: &Server, admin: u16) -> Nt {
    let mut command = Server::command(&server.folder, server.tls, server.plain);
    // What the operator's browser keeps open is no visit.
    let ports = [server.tls, server.plain, admin];
    let process = Nt::start(command.arg("--admin").arg(format!("127.0.0.1:{admin}")), &ports);
    process.wait_for(&format!("the API is served on http://127.0.0.1:{admin}"), SOON);
    process
}

fn stop(process: &mut Nt) {
    process.signal(Signal::TERM);
    process.wait(SOON);
}

/// A client that publishes an echo, and a port that it may not.
fn shop(desk: &Desk) -> (Nt, Backend, u16) {
    let (echo, public) = (Backend::echo(), port());
    let license = desk.server.license(&["add", "shop", "--quota", "1G", "--rate", "90M"]);
    let mappings = [format!("{public}:127.0.0.1:{}", echo.port), "22:127.0.0.1:22".to_owned()];
    let allow = |command: &mut Command| _ = command.args(["--allow", "loopback"]);
    let client = desk.server.client_with(Kind::Tls, &license, &mappings, allow);
    client.wait_for(" ready", SOON);
    client.wait_for("not ready", SOON);
    (client, echo, public)
}

fn echo_once(stream: &mut TcpStream) {
    stream.write_all(b"twelve bytes").unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
}

#[test]
fn who_knows_the_token_sees_what_there_is_and_cuts_a_visitor() {
    let Some(desk) = Desk::new() else { return };
    let (_client, echo, public) = shop(&desk);
    let browser = &desk.browser;
    browser.fill("#token", &format!("wrong{ENTER}"));
    browser.wait_for("The server does not take this token.");
    assert!(!browser.complaints().is_empty(), "the browser's log is heard");
    desk.enter();

    desk.row(&["shop", "online", "127.0.0.1", "0 B of 1 GB"]);
    desk.row(&[&public.to_string(), "live", &format!("127.0.0.1:{}", echo.port)]);
    let why = desk.row(&["22", "down", "127.0.0.1:22"]);
    assert!(why.contains("the license does not permit this port"), "{why}");
    browser
        .wait("an event", "return document.getElementById('events').innerText.includes('shop: logged in')");

    let mut visitors = [visit(public), visit(public)];
    visitors.iter_mut().for_each(echo_once);
    let [mut first, mut second] = visitors;
    first.set_read_timeout(Some(SOON)).unwrap();
    let address = first.local_addr().unwrap().to_string();
    desk.row(&[&address, "shop", "stream", "Cut"]);
    desk.row(&["shop", "online", "24 B / 24 B"]);
    // Of each client and of each mapping.
    for row in ["license", "mapping"] {
        let rate = format!(
            "return [...document.querySelectorAll('tr.{row}')].map((row) => row.cells[4].textContent).join()"
        );
        eventually("its rate is shown", SOON, || {
            echo_once(&mut second);
            browser
                .run(&rate)
                .as_str()
                .unwrap()
                .split(',')
                .any(|rate| rate.ends_with(" B/s") && rate != "0 B/s")
        });
    }
    browser.click(&format!("button[aria-label='Cut {address}']"));
    assert_eq!(first.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    desk.no_row(&address);
    echo_once(&mut second);
    // What is bound on demand stands in no license, so that there is nothing to be removed.
    let wish = json!({ "license": "shop", "host": "127.0.0.1", "port": echo.port });
    let bound = ask(&desk.server, "POST", "/api/v1/bind", &wish.to_string()).json();
    desk.row(&[&bound["port"].to_string(), "live", "on demand"]);
    assert_eq!(browser.run("return document.querySelectorAll('tr.mapping button').length"), 0);
    desk.is_content();

    browser.click("#leave");
    browser.wait("the form", "return document.activeElement.id === 'token'");
    assert_eq!(
        browser.run("return sessionStorage.length + document.querySelectorAll('tr.license').length"),
        0
    );
    browser.open(&browser.url());
    browser.wait("the form", "return document.activeElement.id === 'token'");
    desk.is_content();
}

#[test]
fn a_license_and_its_mappings_are_made_and_removed_by_keyboard() {
    let Some(desk) = Desk::new() else { return };
    let (browser, echo, publics) = (&desk.browser, Backend::echo(), [port(), port()]);
    let maps = publics.map(|public| format!("{public}:{}", echo.port));
    desk.enter();
    desk.press("#new");
    browser.keys("box");
    desk.tab_to("#f-map");
    browser.keys(&maps[0]);
    desk.tab_to("#f-rate");
    browser.keys("fast");
    desk.press("#f-expires");
    let error = browser.wait("the error", "return document.querySelector('#license .error').textContent");
    assert!(error.as_str().unwrap().starts_with("`rate`: `fast` is not a number of bytes"), "{error}");
    assert_eq!(browser.run("return document.activeElement.id"), "f-rate", "where it is wrong");
    browser.keys(&format!("{}9M{ENTER}", BACKSPACE.repeat(4)));
    let line = browser.wait("the line", "return document.getElementById('line').value");
    let line = line.as_str().unwrap().to_owned();
    assert!(
        line.starts_with("nt -c nt1") && line.ends_with(&format!("@127.0.0.1:{}", desk.server.tls)),
        "{line}"
    );
    browser.keys(ESCAPE);
    browser.wait("the focus is back", "return document.activeElement.id === 'new'");
    assert_eq!(browser.run("return document.getElementById('line').value"), "", "it is shown once");

    // As it is pasted.
    let mut command = mortal(nt());
    command.args(line.split(' ').skip(1));
    let client = Nt::start(&mut command, &[desk.server.tls]);
    desk.row(&["box", "online"]);
    desk.row(&[&publics[0].to_string(), "live"]);

    desk.press("[aria-label='Manage box']");
    desk.press("[data-do=add]");
    browser.keys(&format!("nonsense:{ENTER}"));
    let error = browser.wait("the error", "return document.querySelector('#ask .error').textContent");
    assert!(error.as_str().unwrap().contains("`nonsense:`"), "{error}");
    browser.keys(&format!("{}{}{ENTER}", BACKSPACE.repeat(9), maps[1]));
    desk.row(&[&publics[1].to_string(), "live"]);
    echo_once(&mut visit(publics[1]));

    desk.press(&format!("[aria-label^='Remove {}:']", publics[1]));
    browser.wait("it asks", "return document.getElementById('ask').open");
    let asked = browser.run("return document.getElementById('t-ask').textContent");
    assert!(asked.as_str().unwrap().starts_with(&format!("Remove {}:", publics[1])), "{asked}");
    desk.press("#yes");
    desk.no_row(&publics[1].to_string());
    assert!(TcpStream::connect(("127.0.0.1", publics[1])).is_err(), "it is closed");
    echo_once(&mut visit(publics[0]));

    desk.press("[aria-label='Manage box']");
    desk.press("[data-do=rotate]");
    desk.press("#yes");
    let other = browser.wait("another line", "return document.getElementById('line').value");
    assert!(other.as_str().unwrap().starts_with("nt -c nt1") && other != json!(line), "{other}");
    browser.keys(ESCAPE);
    desk.press("[aria-label='Manage box']");
    desk.press("[data-do=revoke]");
    desk.press("#yes");
    let why = desk.row(&["box", "revoked"]);
    assert!(why.contains("this license was revoked"), "{why}");
    client.wait_for("this license was revoked", SOON);
    desk.press("[aria-label='Manage box']");
    desk.press("[data-do=remove]");
    browser.wait("it names it", "return document.getElementById('t-ask').textContent === 'Remove box?'");
    desk.press("#yes");
    desk.no_row("box");
    assert_ne!(browser.run("return document.activeElement.tagName"), "BODY", "the focus is somewhere");
    // A refusal is an answer of 400 or more, which the browser logs.
    let odd = |line: &String| !line.contains("the server responded with a status of 4");
    let complaints: Vec<String> = browser.complaints().into_iter().filter(odd).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// What the settings of the form are.
const SHOWN: &str = "return Object.fromEntries([...document.querySelectorAll('#settings input')].map((field) => [field.name, field.value]))";

/// Has the page remember what it sends to change something.
const LISTEN: &str = "
window.sent = [];
const plain = window.fetch;
window.fetch = (url, options) => {
  if (options.method !== 'GET') sent.push([options.method, url, JSON.parse(options.body)]);
  return plain(url, options);
}";

/// A license of which everything is said that can be: the settings, as they were written.
fn bounded(desk: &Desk) -> Value {
    let settings = json!({
        "ports": "2000-2999", "hosts": "*.example.org,a.example.com", "visit": "default/ssh", "visitors": "10.0.0.0/8",
        "clients": "2", "max_mappings": "5", "max_visitors": "50", "rate": "9M/3M", "quota": "5G", "quota_day": "7",
        "over_quota": "64K", "connects": "30/10s", "expires": "2099-01-31",
    });
    let mut names = nt::directory::SETTINGS.to_vec();
    names.sort_unstable();
    assert_eq!(settings.as_object().unwrap().keys().collect::<Vec<_>>(), names, "there is one more");
    let mut wish = settings.clone();
    wish["name"] = json!("box");
    assert_eq!(ask(&desk.server, "POST", "/api/v1/licenses", &wish.to_string()).status, 201);
    settings
}

#[test]
fn what_a_license_may_is_changed_by_keyboard_and_nothing_else_of_it() {
    let Some(desk) = Desk::new() else { return };
    let (browser, settings) = (&desk.browser, bounded(&desk));
    let license = || get(&desk.server, "/api/v1/licenses/box");
    let (was, sent) = (license(), || browser.run("return sent.splice(0)"));
    desk.enter();
    browser.run(LISTEN);
    desk.press("[aria-label='Manage box']");
    assert_eq!(browser.run(SHOWN), settings);
    desk.write("#f-rate", "1M");
    browser.keys(ESCAPE);
    desk.is_back_at("Manage box");
    desk.press("[aria-label='Manage box']");
    assert_eq!(browser.run(SHOWN), settings);
    desk.write("#f-rate", "1M");
    desk.press("#license [data-close]");
    desk.is_back_at("Manage box");
    desk.press("[aria-label='Manage box']");
    desk.press("#save");
    browser.wait_for("Nothing was changed.");
    desk.is_back_at("Manage box");
    assert_eq!((sent(), license()), (json!([]), was.clone()));

    // Where the form is longer than the screen, too.
    browser.resize(360, 500);
    desk.press("[aria-label='Manage box']");
    desk.write("#f-rate", "8M");
    desk.write("#f-clients", &format!("65{ENTER}"));
    let error = browser.wait("a refusal", "return document.querySelector('#license .error').innerText");
    assert_eq!(error, "`clients`: a license has from 1 to 64 clients at once");
    let marked = "return [document.activeElement, ...document.querySelectorAll('[aria-invalid]')].map((field) => field.name)";
    assert_eq!(browser.run(marked), json!(["clients", "clients"]));
    let seen = "const box = document.querySelector('#license .error').getBoundingClientRect();
        return document.elementFromPoint(box.x + 1, box.y + 1).className";
    assert_eq!(browser.run(seen), "error", "it is in sight");
    let wish =
        |clients: &str| json!([["PATCH", "/api/v1/licenses/box", { "rate": "8M", "clients": clients }]]);
    assert_eq!((sent(), license()), (wish("65"), was.clone()), "nothing of it was changed");
    browser.keys(&format!("{}3{ENTER}", BACKSPACE.repeat(2)));
    desk.is_back_at("Manage box");
    let mut is = was;
    (is["rate"], is["clients"]) = (json!("8M"), json!(3));
    assert_eq!((sent(), license()), (wish("3"), is));
}

#[test]
fn a_setting_that_is_emptied_is_what_it_usually_is() {
    let Some(desk) = Desk::new() else { return };
    let (browser, _) = (&desk.browser, bounded(&desk));
    let license = |name: &str| get(&desk.server, &format!("/api/v1/licenses/{name}"));
    let mut is = license("box");
    desk.enter();
    desk.press("[aria-label='Manage box']");
    ["#f-quota_day", "#f-over_quota"].iter().for_each(|field| desk.write(field, BACKSPACE));
    browser.keys(ENTER);
    desk.is_back_at("Manage box");
    (is["quota"]["day"], is["quota"]["beyond"]) = (json!(1), json!("stop"));
    assert_eq!(license("box"), is);
    // All of them, where there is little room: what is said of a quota goes with it.
    browser.resize(360, 500);
    desk.press("[aria-label='Manage box']");
    let fields = browser
        .run("return [...document.querySelectorAll('#settings input')].map((field) => '#' + field.id)");
    for field in fields.as_array().unwrap() {
        desk.write(field.as_str().unwrap(), BACKSPACE);
    }
    browser.keys(ENTER);
    desk.is_back_at("Manage box");
    desk.server.license(&["add", "usual"]);
    let (mut usual, own) = (license("usual"), license("box"));
    (usual["name"], usual["id"]) = (own["name"].clone(), own["id"].clone());
    assert_eq!(own, usual);
    desk.is_content();
}

/// Texts of which too little stands out, and how little: as WCAG 2.2 counts (1.4.3).
const CONTRAST: &str = r"
const parse = (text) => (text.match(/[\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => [r, g, b].map((n) => n / 255).map((n) => n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4)
  .reduce((sum, n, at) => sum + n * [0.2126, 0.7152, 0.0722][at], 0);
const ground = (node) => {
  for (; node; node = node.parentElement) {
    const color = parse(getComputedStyle(node).backgroundColor);
    if (color.length === 3 || color[3] === 1) return color;
  }
  return [255, 255, 255];
};
const poor = [];
let count = 0;
for (const node of document.querySelectorAll('body *')) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()) || node.placeholder;
  if (!own || !node.checkVisibility() || node.tagName === 'NOSCRIPT') continue;
  const svg = node instanceof SVGElement;
  const style = getComputedStyle(node, node.placeholder && !node.value ? '::placeholder' : null);
  const [one, other] = [light(parse(svg ? style.fill : style.color)), light(ground(node))];
  const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  count += 1;
  if (!(ratio >= 4.5)) poor.push(`${node.tagName}.${node.className} ${node.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
}
return [count, poor]";

#[test]
fn it_is_good_on_a_phone_in_the_dark_and_in_the_light() {
    let Some(desk) = Desk::new() else { return };
    let (_client, _echo, public) = shop(&desk);
    let mut visitor = visit(public);
    echo_once(&mut visitor);
    let browser = &desk.browser;
    let fits = |what: &str| {
        let width = browser.run("return document.documentElement.scrollWidth").as_u64().unwrap();
        assert!(width <= 360, "{what}: {width} wide");
        let out = browser.run(
            "return [...document.querySelectorAll('body *')].filter((node) => node.checkVisibility() && !node.closest('.unseen, thead') \
             && !(node instanceof SVGElement) && node.getBoundingClientRect().right > 361).map((node) => node.outerHTML.slice(0, 80))",
        );
        assert_eq!(out, json!([]), "{what}");
    };
    let stands_out = |what: &str| {
        let seen = browser.run(CONTRAST);
        assert!(seen[0].as_u64().unwrap() > 3 && seen[1] == json!([]), "{what}: {seen}");
    };
    browser.resize(360, 740);
    fits("the form");
    browser.prefer("dark");
    stands_out("the form in the dark");
    browser.prefer("light");
    desk.enter();
    desk.row(&["22", "down"]);
    desk.row(&[&visitor.local_addr().unwrap().to_string(), "Cut"]);
    browser.click("#ranges button");
    browser.wait("a chart", "return document.querySelector('#chart path.down') && document.querySelector('#legend .up').textContent");
    for (scheme, ground) in [("dark", "rgb(18, 21, 24)"), ("light", "rgb(245, 246, 247)")] {
        browser.prefer(scheme);
        stands_out(scheme);
        assert_eq!(browser.run("return getComputedStyle(document.documentElement).backgroundColor"), ground);
        fits(scheme);
        for button in ["#new", "[aria-label='Manage shop']"] {
            browser.click(button);
            browser.wait(button, "return document.getElementById('license').open");
            fits(button);
            stands_out(button);
            browser.keys(ESCAPE);
        }
    }
    desk.is_content();
}

#[test]
fn what_strangers_write_is_text() {
    const EVIL: &str = "<img/src=x/onerror=document.title=1><script>document.title=2</script>";
    let Some(desk) = Desk::new() else { return };
    let license = desk.server.license(&["add", "evil"]);
    let maps = [port(), port()].map(|public| format!("{public}:unix:/tmp/{EVIL}"));
    let allow = |command: &mut Command| {
        command.arg("--allow").arg("any");
    };
    let client = desk.server.client_with(Kind::Tls, &license, &maps[..1], allow);
    client.wait_for(" ready", SOON);
    desk.enter();
    desk.row(&["live", EVIL]);
    let browser = &desk.browser;
    // By the operator's own hand, too: in what is refused, what is made, and what is asked before it is removed.
    desk.browser.click("[aria-label='Manage evil']");
    browser.click("[data-do=add]");
    browser.fill("[name=mapping]", &format!("{EVIL}:80{ENTER}"));
    browser.wait("the error", "return document.querySelector('#ask .error').textContent.includes('<img')");
    browser.run("document.querySelector('[name=mapping]').value = ''");
    browser.fill("[name=mapping]", &format!("{}{ENTER}", maps[1]));
    desk.row(&["live", "by the server"]);
    browser.click("[aria-label^='Remove ']");
    browser.wait("it asks", "return document.getElementById('t-ask').textContent.includes('<img')");
    browser.keys(ESCAPE);
    browser.click("[aria-label='Manage evil']");
    browser.fill("#f-hosts", &format!("{EVIL}{ENTER}"));
    browser
        .wait("the error", "return document.querySelector('#license .error').textContent.includes('<img')");
    browser.keys(ESCAPE);
    // What is served to it, in an event.
    let mut visitor = visit(maps[0].split(':').next().unwrap().parse().unwrap());
    let _ = visitor.read(&mut [0]);
    browser.wait("an event", "return document.getElementById('events').innerText.includes('<img')");
    let made = browser.run(
        "return document.querySelectorAll('img, script:not([src=\"/page.js\"])').length + document.title",
    );
    assert_eq!(made, "0nt");
    let forbidden = browser.complaints().into_iter().filter(|line| !line.contains("status of 4"));
    assert_eq!(forbidden.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_server_that_is_away_is_missed_and_comes_back() {
    let Some(mut desk) = Desk::new() else { return };
    desk.browser.fill("#token", &format!("wrong{ENTER}"));
    desk.browser.wait_for("The server does not take this token.");
    desk.browser.run("document.getElementById('token').value = ''");
    desk.enter();
    let shown = |text: &str| format!("return document.getElementById('events').innerText.includes('{text}')");
    desk.browser.wait("an event", &shown("does not bring the token"));
    desk.browser.run("document.getElementById('new').focus()");
    stop(&mut desk.server.process);
    desk.browser.wait_for("The server has not answered since");
    desk.row(&["default", "offline"]);
    desk.server.process = serve(&desk.server, desk.admin);
    desk.browser.wait("the banner goes", "return document.getElementById('gone').hidden");
    assert_eq!(desk.browser.run("return document.activeElement.id"), "new", "the focus stays");
    desk.server.license(&["add", "later"]);
    desk.row(&["later", "offline"]);
    // The events of the new process, all of them, and no others.
    desk.browser.wait("an event", &shown("clients are served on"));
    desk.browser.wait("no old event", &format!("{} === false", shown("does not bring the token")));
}

#[test]
fn the_page_is_there_for_whoever_reaches_the_door_and_says_nothing() {
    let mut server = Server::start();
    let admin = port();
    stop(&mut server.process);
    server.process = serve(&server, admin);
    let ask = |method: &str, target: &str| {
        let mut stream = visit(admin);
        let words = format!("{method} {target} HTTP/1.1\r\nHost: nt\r\nConnection: close\r\n\r\n");
        stream.write_all(words.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let body = answer.split_off(end + 4);
        (String::from_utf8(answer).unwrap(), body)
    };
    const POLICY: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                          img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n";
    for (target, kind) in [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")] {
        let (head, body) = ask("GET", target);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{target}: {head}");
        for header in [
            POLICY,
            "Content-Encoding: deflate\r\n",
            &format!("Content-Type: {kind}; charset=utf-8\r\n"),
            "Referrer-Policy: no-referrer\r\n",
            "X-Frame-Options: DENY\r\n",
            "Cross-Origin-Opener-Policy: same-origin\r\n",
            "X-Content-Type-Options: nosniff\r\n",
            "Cache-Control: no-store\r\n",
        ] {
            assert!(head.contains(header), "{target}: {header}");
        }
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert_eq!(ask("HEAD", target), (head, vec![]), "{target}");
    }
    let (refused, _) = ask("GET", "/api/v1/history");
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    assert!(refused.contains("Content-Security-Policy: default-src 'none'\r\n"), "{refused}");
    assert!(ask("GET", "/page.map").0.starts_with("HTTP/1.1 401"), "what is not there is not told");
    eventually("all is closed", SOON, || server.process.files().visits == 0);
}
