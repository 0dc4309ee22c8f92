//! Programs that people publish by name: nginx and curl, WebSockets, a browser.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::harness::{BOTH, Folder, Kind, SOON, port};
use super::process::{Process, eventually, mortal, need, say};
use super::programs::{nginx, random_file, run, same};
use super::servers;
use super::web::{Site, backend};

#[test]
fn curl_downloads_and_uploads_by_name() {
    if !need(&["nginx", "curl"]) {
        return;
    }
    for kind in BOTH {
        let (folder, other) = (Folder::new(), Folder::new());
        let socket = other.join("socket").display().to_string();
        let (_nginx, target) = nginx(&folder);
        let root = format!("listen unix:{socket}; root {}/www;", other.path().display());
        let (_other, elsewhere) = servers::nginx(&other, "", &root);
        folder.write("www/small", "it works\n");
        std::fs::create_dir_all(other.join("www")).unwrap();
        other.write("www/small", "elsewhere\n");
        let names = [
            format!("a.example.com:{target}"),
            format!("*.example.com:{elsewhere}"),
            format!("c.example.com:unix:{socket}"),
        ];
        let site = Site::new(kind, &names);
        let url = |name: &str| format!("http://{name}.example.com:{}", site.port());
        let curl = || {
            let mut command = Command::new("curl");
            command.args(["--silent", "--show-error", "--fail", "--max-time", "60", "--noproxy", "*"]);
            for name in ["a", "b", "c"] {
                command.arg("--resolve").arg(format!("{name}.example.com:{}:127.0.0.1", site.port()));
            }
            command
        };

        // 50 requests over one connection: curl counts connections.
        let count = ["--write-out", "%{num_connects}\n", "--output", "/dev/null"];
        let count = run(curl().args(count).arg(format!("{}/small?[1-50]", url("a"))));
        let counts = String::from_utf8_lossy(&count.stdout).into_owned();
        assert_eq!(counts.lines().map(|line| line.parse::<u32>().unwrap()).sum::<u32>(), 1, "{kind:?}");
        let all = run(curl().args(["a", "b", "c"].map(|name| format!("{}/small", url(name)))));
        assert_eq!(all.stdout, b"it works\nelsewhere\nelsewhere\n", "{kind:?}");

        let big = random_file(&folder, "www/big", 30_000_000, 60);
        let copy = folder.join("copy");
        run(curl().arg("--output").arg(&copy).arg(format!("{}/big", url("a"))));
        assert!(same(&big, &copy), "{kind:?}: the download differs");
        let part = run(curl().args(["--range", "1000000-1000999"]).arg(format!("{}/big", url("a"))));
        assert_eq!(part.stdout, std::fs::read(&big).unwrap()[1_000_000..1_001_000], "{kind:?}: a part");
        let head = run(curl().arg("--head").arg(format!("{}/big", url("a"))));
        assert!(String::from_utf8_lossy(&head.stdout).contains("Content-Length: 30000000"), "{kind:?}: HEAD");

        run(curl().arg("--upload-file").arg(&big).arg(format!("{}/sent", url("a"))));
        assert!(same(&big, &folder.join("www/sent")), "{kind:?}: the upload differs");
        // nginx reads chunks, and says 100 first.
        let words =
            ["--header", "Transfer-Encoding: chunked", "--header", "Expect: 100-continue", "--upload-file"];
        run(curl().args(words).arg(&big).arg(format!("{}/chunked", url("a"))));
        assert!(same(&big, &folder.join("www/chunked")), "{kind:?}: the upload in chunks differs");
        // Without an end of its own, as HTTP/1.0 has it.
        run(curl().args(["--http1.0", "--output"]).arg(&copy).arg(format!("{}/big", url("a"))));
        assert!(same(&big, &copy), "{kind:?}: the download by HTTP/1.0 differs");
    }
}

/// Both ends by websockets: `server PORT`, or `client PORT OF-THE-SITE`.
const WEBSOCKETS: &str = r#"
import asyncio, sys, websockets

async def echo(socket, path=None):
    async for message in socket:
        if message == "leave":
            return await socket.close(4001, "as you wish")
        await socket.send(message)

async def serve(port):
    async with websockets.serve(echo, "127.0.0.1", port, max_size=None):
        await asyncio.Future()

async def visit(port):
    uri = f"ws://chat.example.com:{port}/chat?room=1"
    for compression in ("deflate", None):
        async with websockets.connect(uri, host="127.0.0.1", port=port, max_size=None, compression=compression) as socket:
            for message in ("", "hello", "\u00e9" * 126, b"\0\r\n\r\n", bytes(range(256)) * 300, b"x" * 3_000_000):
                await socket.send(message)
                assert await socket.recv() == message
            await asyncio.wait_for(await socket.ping(), 20)
            messages = [str(n) * n for n in range(300)]
            await asyncio.gather(*(socket.send(message) for message in messages))
            assert [await socket.recv() for _ in messages] == messages
        assert socket.close_code == 1000, socket.close_code
    async with websockets.connect(uri, host="127.0.0.1", port=port) as socket:
        await socket.send("leave")
        await socket.wait_closed()
        assert (socket.close_code, socket.close_reason) == (4001, "as you wish")

role, port = sys.argv[1:]
asyncio.run({"server": serve, "client": visit}[role](int(port)))
"#;

const PYTHON: &str = "/usr/bin/python3";

fn need_websockets() -> bool {
    let tried = || Command::new(PYTHON).args(["-c", "import websockets"]).stderr(Stdio::null()).status();
    let can = need(&["python3"]) && tried().is_ok_and(|status| status.success());
    if !can {
        say("skipped: python3 has no websockets");
    }
    can
}

#[test]
fn websockets_by_name() {
    if !need_websockets() {
        return;
    }
    for kind in BOTH {
        let (folder, target) = (Folder::new(), port());
        let script = folder.write("websockets_by_name.py", WEBSOCKETS);
        let python = |role: &str, port: u16| {
            let mut command = mortal(PYTHON);
            command.arg("-B").arg(&script).arg(role).arg(port.to_string());
            command
        };
        let _server = servers::listening(&mut python("server", target), target);
        let mut site = Site::new(kind, &[format!("chat.example.com:{target}")]);
        let mut visitor = Process::start(&mut python("client", site.port()));
        let status = visitor.wait(Duration::from_secs(60));
        assert!(status.success(), "{kind:?}: {}", visitor.log().lines().join("\n"));
        site.at_rest();
    }
}

#[test]
fn a_browser_shows_a_page_with_all_its_parts() {
    if !need(&["chromium"]) {
        return;
    }
    const PAGE: &str = "<!doctype html><title>-</title><body><p id=p>-</p>\
        <script src=/one.js></script><script src=/two.js></script>\
        <script>document.getElementById('p').textContent = one + two + ' by ' + location.hostname</script>";
    let real = backend(|talk| {
        loop {
            let asked = talk.hear()?;
            let (kind, body) = match asked.head.split(' ').nth(1) {
                Some("/") => ("text/html", PAGE),
                Some("/one.js") => ("text/javascript", "const one = 'it ';"),
                Some("/two.js") => ("text/javascript", "const two = 'works';"),
                Some(_) => ("text/plain", ""),
                None => return Ok(()),
            };
            let length = body.len();
            talk.say(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
        }
    });
    let (folder, site) = (Folder::new(), Site::new(Kind::Tls, &[format!("*.example.com:{}", real.port)]));
    let dump = std::fs::File::create(folder.join("dump")).unwrap();
    let mut browser = mortal("chromium");
    browser.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-proxy-server",
        "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,DialMediaRouteProvider,OptimizationHints",
        "--host-resolver-rules=MAP * 127.0.0.1",
        "--dump-dom",
    ]);
    browser.arg(format!("--user-data-dir={}", folder.join("browser").display()));
    browser.arg(format!("http://pages.example.com:{}/", site.port()));
    let mut browser = Process::start(browser.stdout(dump).env("HOME", folder.path()));
    let shown = || std::fs::read_to_string(folder.join("dump")).unwrap();
    eventually("the browser shows the page", 6 * SOON, || {
        shown().contains("it works by pages.example.com</p>")
    });
    browser.wait(6 * SOON);
}
