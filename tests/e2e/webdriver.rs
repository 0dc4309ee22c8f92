//! A real browser: Chromium, driven by chromedriver in the words of WebDriver (W3C), as far as these tests need it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{Folder, SOON, port};
use super::process::{Process, holds_soon, mortal};

/// By this field WebDriver tells an element from other objects.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Keys, as WebDriver writes them.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";
pub const BACKSPACE: &str = "\u{e003}";

/// A browser with one window. Chromedriver and the browser end with it.
pub struct Browser {
    port: u16,
    session: String,
    _driver: Process,
    _folder: Folder,
}

/// What the programs are called.
pub const PROGRAMS: [&str; 2] = ["chromium", "chromedriver"];

impl Browser {
    pub fn start() -> Self {
        let (folder, port) = (Folder::new(), port());
        let mut command = mortal("chromedriver");
        // It and its browser keep what they write to the folder of the test.
        command.arg(format!("--port={port}")).env("HOME", folder.path()).env("TMPDIR", folder.path());
        let driver = Process::start(&mut command);
        let up = holds_soon(3 * SOON, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        assert!(up, "chromedriver listens at {port}");
        let mut browser = Self { port, session: String::new(), _driver: driver, _folder: folder };
        let data = browser._folder.join("browser");
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--no-first-run".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--no-proxy-server".to_owned(),
            format!("--user-data-dir={}", data.display()),
        ];
        let wish = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let made = browser.ask("POST", "/session", &wish);
        browser.session = made["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    /// One command; what is wrong with it ends the test.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_ask(method, path, body).unwrap_or_else(|what| panic!("{method} {path} {body}: {what}"))
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(|e| e.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).map_err(|error| error.to_string())?;
        let mut answer = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        while answer.read_line(&mut line).map_err(|error| error.to_string())? > 2 {
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        answer.read_exact(&mut body).map_err(|error| error.to_string())?;
        let value: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        match value["value"]["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", value["value"]["message"])),
            None => Ok(value["value"].clone()),
        }
    }

    fn post(&self, what: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}/{what}", self.session), body)
    }

    fn get(&self, what: &str) -> Value {
        self.ask("GET", &format!("/session/{}/{what}", self.session), &Value::Null)
    }

    pub fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// What a script returns in the page.
    pub fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What a script returns, once that is something else than nothing.
    pub fn wait(&self, what: &str, script: &str) -> Value {
        let mut found = Value::Null;
        let is_there = || {
            found = self.run(script);
            ![Value::Null, Value::Bool(false), json!("")].contains(&found)
        };
        if !holds_soon(2 * SOON, is_there) {
            let shown = self.run("return document.body.innerText");
            panic!("not on the page: {what}\n{script}\n{}", shown.as_str().unwrap_or_default());
        }
        found
    }

    /// The page comes to show a text.
    pub fn wait_for(&self, text: &str) {
        self.wait(text, &format!("return document.body.innerText.includes({})", json!(text)));
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post("element", &json!({ "using": "css selector", "value": selector }));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    pub fn click(&self, selector: &str) {
        self.post(&format!("element/{}/click", self.element(selector)), &json!({}));
    }

    /// Types into a field.
    pub fn fill(&self, selector: &str, text: &str) {
        self.post(&format!("element/{}/value", self.element(selector)), &json!({ "text": text }));
    }

    /// Types where the focus is.
    pub fn keys(&self, text: &str) {
        let press = |key: char| {
            let key = key.to_string();
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        };
        let actions: Vec<Value> = text.chars().flat_map(press).collect();
        self.post("actions", &json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] }));
    }

    /// A command of Chromium's own (its DevTools protocol).
    fn command(&self, name: &str, parameters: Value) -> Value {
        self.post("goog/cdp/execute", &json!({ "cmd": name, "params": parameters }))
    }

    /// The size of what is shown, as on a device of that size.
    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.command("Emulation.setDeviceMetricsOverride", size);
    }

    /// The page is shown as to somebody who likes it so: `dark` or `light`.
    pub fn prefer(&self, scheme: &str) {
        let feature = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command("Emulation.setEmulatedMedia", json!({ "features": feature }));
    }

    /// What is shown as a picture, a PNG in base64.
    pub fn picture(&self) -> String {
        let picture = self.command("Page.captureScreenshot", json!({ "format": "png" }));
        picture["data"].as_str().unwrap().to_owned()
    }

    /// What the browser has said of the page since it was last asked: errors, and what its policy forbade.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.post("se/log", &json!({ "type": "browser" }));
        let lines = log.as_array().unwrap().iter();
        lines.map(|line| format!("{} {}", line["level"], line["message"])).collect()
    }

    /// The URL that is shown.
    pub fn url(&self) -> String {
        self.get("url").as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.try_ask("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
    }
}
