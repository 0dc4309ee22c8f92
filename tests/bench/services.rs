//! What stands behind the tunnels, and the programs that load it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::echo::within;
use super::process::{Process, mortal};
use super::programs::{Running, find, run};
use super::results::{Flow, Way};
use super::scratch::{Folder, port};
use super::systems::PATIENCE;

/// Bytes of the page: a small answer of an interface, headers aside.
const PAGE_BYTES: usize = 600;
/// What a load may take longer than it lasts.
const MARGIN: Duration = Duration::from_secs(15);

pub fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Waits until `done`, looking often.
///
/// # Errors
/// A sentence, where that takes too long.
pub fn until(timeout: Duration, what: &str, mut done: impl FnMut() -> bool) -> Result<(), String> {
    let end = Instant::now() + timeout;
    while !done() {
        if Instant::now() > end {
            return Err(format!("not within {timeout:?}: {what}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// nginx with one small page and one worker.
pub struct Nginx {
    pub port: u16,
    _process: Process,
    _folder: Folder,
}

impl Nginx {
    /// # Errors
    /// A sentence, where it is missing or does not start.
    pub fn start() -> Result<Self, String> {
        let program = find("nginx").ok_or("nginx is missing: apt install nginx-light")?;
        let (folder, port) = (Folder::new(), port());
        let path = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {path}/{name};\n"))
            .concat();
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let config = format!(
            "{user} daemon off; master_process off; pid {path}/pid; error_log stderr warn; worker_processes 1;
             events {{ worker_connections 4096; }}
             http {{ access_log off; {temporary} keepalive_requests 1000000000;
             server {{ listen 127.0.0.1:{port} backlog=4096; root {path}; }} }}"
        );
        folder.write("page", "x".repeat(PAGE_BYTES));
        let config = folder.write("nginx.conf", config);
        let process = Process::start(mortal(program).arg("-p").arg(folder.path()).arg("-c").arg(config));
        until(PATIENCE, "nginx listens", || listens(port))?;
        Ok(Self { port, _process: process, _folder: folder })
    }

    /// Whether the page comes through this port.
    pub fn answers(public: u16) -> bool {
        let visit = || -> std::io::Result<String> {
            let mut stream =
                TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, public).into(), Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"GET /page HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        visit().is_ok_and(|answer| answer.contains(" 200 OK"))
    }
}

/// How visitors ask for the page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// Over one connection again and again.
    KeepAlive,
    /// Over a connection for each request.
    Close,
}

/// What wrk counted.
pub struct Requests {
    pub count: f64,
    pub per_second: f64,
    /// Lines that tell of what went wrong.
    pub errors: Vec<String>,
}

/// # Errors
/// A sentence, where wrk is missing or fails.
pub fn wrk(
    public: u16,
    host: Option<&str>,
    connections: usize,
    asking: Asking,
    lasting: Duration,
) -> Result<Requests, String> {
    let program = find("wrk").ok_or("wrk is missing: apt install wrk")?;
    let mut command = mortal(program);
    command.args(["-t", "1", "-c", &connections.to_string(), "-d", &format!("{}s", lasting.as_secs())]);
    if asking == Asking::Close {
        command.args(["-H", "Connection: close"]);
    }
    if let Some(host) = host {
        command.args(["-H", &format!("Host: {host}")]);
    }
    let said = run(command.arg(format!("http://127.0.0.1:{public}/page")), lasting + MARGIN)?;
    let after = |mark: &str| said.lines().find_map(|line| line.split_once(mark));
    let count = after(" requests in").and_then(|(count, _)| count.trim().parse().ok());
    let rate = after("Requests/sec:").and_then(|(_, rate)| rate.trim().parse().ok());
    let is_error = |line: &&str| line.contains("Socket errors") || line.contains("Non-2xx");
    let errors = said.lines().filter(is_error).map(|line| line.trim().to_owned()).collect();
    match (count, rate) {
        (Some(count), Some(per_second)) if count > 0.0 => Ok(Requests { count, per_second, errors }),
        _ => Err(format!("wrk had no answer: {}", said.trim())),
    }
}

/// `iperf3 -s`, which serves one visitor at a time.
pub struct Iperf3 {
    pub port: u16,
    _process: Process,
}

/// What iperf3 moved, as its receiver counted it.
pub struct Moved {
    pub gbit_per_second: f64,
    pub bytes: f64,
}

impl Iperf3 {
    /// Starts the service at this address; `inside` is what the command line begins with.
    ///
    /// # Errors
    /// A sentence, where it is missing.
    pub fn start(inside: &[String], host: &str) -> Result<Self, String> {
        let port = port();
        let mut command = within(inside, program()?);
        let process = Process::start(command.args(["-s", "-B", host, "-p", &port.to_string()]));
        Ok(Self { port, _process: process })
    }

    /// Whether a megabyte goes through this port.
    pub fn answers(inside: &[String], host: &str, public: u16) -> bool {
        let Ok(program) = program() else { return false };
        let mut command = within(inside, program);
        command.args(["-c", host, "-p", &public.to_string(), "-n", "1M", "--connect-timeout", "1000"]);
        run(&mut command, PATIENCE).is_ok()
    }
}

/// A load that runs beside others until [`Bulk::moved`] waits for its end.
pub struct Bulk {
    running: Running,
    lasting: Duration,
}

impl Bulk {
    /// # Errors
    /// A sentence, where iperf3 is missing.
    pub fn start(
        inside: &[String],
        host: &str,
        public: u16,
        flow: Flow,
        lasting: Duration,
    ) -> Result<Self, String> {
        let mut command = within(inside, program()?);
        command.args(["-c", host, "-p", &public.to_string(), "--json", "--connect-timeout", "5000"]);
        command.args(["-t", &lasting.as_secs().to_string(), "-P", &flow.streams.to_string()]);
        command.args((flow.way == Way::Down).then_some("-R"));
        Ok(Self { running: Running::start(&mut command)?, lasting })
    }

    /// # Errors
    /// A sentence, where it does not end well.
    pub fn moved(self) -> Result<Moved, String> {
        let said = self.running.output(self.lasting + MARGIN)?;
        let number = |name: &str| -> Option<f64> {
            let sum = said.split_once("\"sum_received\"")?.1;
            let value = sum.split_once(&format!("\"{name}\":"))?.1;
            value.split([',', '}', '\n']).next()?.trim().parse().ok()
        };
        match (number("bits_per_second"), number("bytes")) {
            (Some(bits), Some(bytes)) if bytes > 0.0 => Ok(Moved { gbit_per_second: bits / 1e9, bytes }),
            _ => {
                let why =
                    said.split_once("\"error\":").map_or("", |(_, rest)| rest.lines().next().unwrap_or(""));
                Err(format!("iperf3 moved nothing:{why}"))
            }
        }
    }
}

fn program() -> Result<std::path::PathBuf, String> {
    find("iperf3").ok_or_else(|| "iperf3 is missing: apt install iperf3".to_owned())
}

/// Programs that make the loads, with their versions.
pub fn versions() -> Vec<(&'static str, String)> {
    [("iperf3", "-v"), ("wrk", "-v"), ("nginx", "-v")]
        .into_iter()
        .filter_map(|(name, flag)| Some((name, super::programs::version(&find(name)?, flag))))
        .collect()
}
