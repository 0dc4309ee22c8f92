//! Programs that other tests talk to: each listens at a port of loopback when its starter returns.

use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

use super::harness::{Folder, SOON, port};
use super::process::{Process, eventually, mortal};

/// Starts a program, and waits until it listens at this port.
pub fn listening(command: &mut Command, port: u16) -> (Process, u16) {
    let process = Process::start(command);
    let listens = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
    eventually(&format!("{} listens", command.get_program().display()), SOON, listens);
    (process, port)
}

/// nginx with one server: `listen` is what follows its address, `server` what else it is told.
pub fn nginx(folder: &Folder, listen: &str, server: &str) -> (Process, u16) {
    let (port, path) = (port(), folder.path().display());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {path}/temp-{name};\n"))
        .concat();
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let config = format!(
        "{user} daemon off; master_process off; pid {path}/pid; error_log stderr warn; worker_processes 1;
         events {{ worker_connections 512; }}
         http {{ access_log off; {temporary} client_max_body_size 0; keepalive_requests 100000;
         server {{ listen 127.0.0.1:{port} {listen}; {server} }} }}"
    );
    let config = folder.write("nginx.conf", config);
    listening(mortal("nginx").arg("-p").arg(folder.path()).arg("-c").arg(config), port)
}

/// haproxy with one front: `bind` is what follows its address, `front` the lines behind that.
pub fn haproxy(folder: &Folder, mode: &str, bind: &str, front: &str) -> (Process, u16) {
    let port = port();
    let config = format!(
        "defaults\n mode {mode}\n timeout client 10s\n timeout server 10s\n timeout connect 10s\n\
         frontend f\n bind 127.0.0.1:{port} {bind}\n{front}\n"
    );
    let config = folder.write(&format!("haproxy-{port}"), config);
    listening(mortal("haproxy").arg("-db").arg("-f").arg(config), port)
}

/// tinyproxy, which speaks HTTP; it connects to these ports alone.
pub fn tinyproxy(folder: &Folder, ports: &[u16], more: &str) -> (Process, u16) {
    let port = port();
    let permitted: String = ports.iter().map(|port| format!("ConnectPort {port}\n")).collect();
    let config = format!("Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 500\n{permitted}{more}\n");
    let config = folder.write(&format!("tinyproxy-{port}"), config);
    listening(mortal("tinyproxy").arg("-d").arg("-c").arg(config), port)
}

/// microsocks, which speaks SOCKS5.
pub fn microsocks(words: &[&str]) -> (Process, u16) {
    let port = port();
    let mut command = mortal("microsocks");
    listening(command.args(["-i", "127.0.0.1", "-p", &port.to_string()]).args(words), port)
}
