//! Programs that people publish, each with its own clients, through the tunnel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use super::data::Random;
use super::harness::{BOTH, Folder, SOON, Tunnel, port};
use super::process::{Process, mortal, need};
use super::servers;

/// Runs a program to its end, which must be a good one.
pub fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output
}

/// A file of bytes that do not compress, with its path.
pub fn random_file(folder: &Folder, name: &str, size: usize, seed: u64) -> PathBuf {
    let mut random = Random(seed);
    let bytes: Vec<u8> = (0..size.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).take(size).collect();
    folder.write(name, bytes)
}

pub fn same(one: &Path, other: &Path) -> bool {
    fs::read(one).unwrap() == fs::read(other).unwrap()
}

/// nginx with one folder that can be read, and written by PUT.
pub fn nginx(folder: &Folder) -> (Process, u16) {
    fs::create_dir_all(folder.join("www")).unwrap();
    servers::nginx(folder, "", &format!("root {}/www; dav_methods PUT;", folder.path().display()))
}

#[test]
fn nginx_and_curl_keep_alive_download_and_upload() {
    if !need(&["nginx", "curl"]) {
        return;
    }
    for kind in BOTH {
        let folder = Folder::new();
        let (_nginx, target) = nginx(&folder);
        let tunnel = Tunnel::to(kind, target);
        let url = format!("http://127.0.0.1:{}", tunnel.public);
        folder.write("www/small", "it works\n");
        let curl = || {
            let mut command = Command::new("curl");
            command.args(["--silent", "--show-error", "--fail", "--max-time", "60"]);
            command
        };

        // 50 requests over one connection: curl counts connections.
        let count = run(curl()
            .args(["--write-out", "%{num_connects}\n", "--output", "/dev/null"])
            .arg(format!("{url}/small?[1-50]")));
        let connects: u32 =
            String::from_utf8_lossy(&count.stdout).lines().map(|line| line.parse::<u32>().unwrap()).sum();
        assert_eq!(connects, 1, "{kind:?}: connections for 50 requests");

        let big = random_file(&folder, "www/big", 50_000_000, 50);
        let copy = folder.join("copy");
        run(curl().arg("--output").arg(&copy).arg(format!("{url}/big")));
        assert!(same(&big, &copy), "{kind:?}: the download differs");

        run(curl().arg("--upload-file").arg(&big).arg(format!("{url}/sent")));
        assert!(same(&big, &folder.join("www/sent")), "{kind:?}: the upload differs");
    }
}

#[test]
fn curl_fails_where_the_tunnel_is_cut() {
    if !need(&["nginx", "curl"]) {
        return;
    }
    for kind in BOTH {
        let folder = Folder::new();
        let (_nginx, target) = nginx(&folder);
        random_file(&folder, "www/big", 50_000_000, 51);
        let mut tunnel = Tunnel::to(kind, target);
        // Closed by the end of the connection, as HTTP/1.0 has it: only a reset tells a cut from an end.
        let mut curl = mortal("curl");
        curl.args(["--silent", "--http1.0", "--limit-rate", "5M", "--ignore-content-length", "--output"]);
        curl.arg(folder.join("copy")).arg(format!("http://127.0.0.1:{}/big", tunnel.public));
        let mut curl = Process::start(&mut curl);
        thread::sleep(Duration::from_secs(1));
        tunnel.client.kill();
        let status = curl.wait(SOON);
        assert_eq!(status.code(), Some(56), "{kind:?}: curl takes a cut for an end");
    }
}

#[test]
fn redis_under_its_own_benchmark() {
    if !need(&["redis-server", "redis-benchmark", "redis-cli"]) {
        return;
    }
    for kind in BOTH {
        let (folder, target) = (Folder::new(), port());
        let mut redis = mortal("redis-server");
        redis.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port"]);
        redis.arg(target.to_string()).arg("--dir").arg(folder.path());
        let _redis = servers::listening(&mut redis, target);
        let tunnel = Tunnel::to(kind, target);
        let public = tunnel.public.to_string();

        let bench = ["-n", "20000", "-c", "20", "-P", "4", "-q", "-t", "set,get,incr,lrange_100"];
        let output = run(Command::new("redis-benchmark").args(["-p", &public]).args(bench));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("requests per second") && !said.contains("rror"), "{kind:?}: {said}");

        let cli = |port: &str, words: &[&str]| {
            let output = run(Command::new("redis-cli").args(["-p", port]).args(words));
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        let value = "x".repeat(100_000);
        assert_eq!(cli(&public, &["set", "key", &value]), "OK");
        assert_eq!(cli(&target.to_string(), &["strlen", "key"]), "100000");
        assert_eq!(cli(&public, &["get", "key"]), value);
    }
}

/// sshd with keys of its own, and the words that make ssh use them.
fn sshd(folder: &Folder) -> (Process, u16, String) {
    let port = port();
    let path = folder.path().display();
    for name in ["host", "user"] {
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(name)));
    }
    fs::copy(folder.join("user.pub"), folder.join("authorized")).unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {path}/host\nAuthorizedKeysFile {path}/authorized\n\
         StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nPermitRootLogin yes\n\
         Subsystem sftp internal-sftp\n"
    );
    let config = folder.write("sshd.conf", config);
    let (process, port) =
        servers::listening(mortal("/usr/sbin/sshd").args(["-D", "-e", "-f"]).arg(config), port);
    let options = format!(
        "-i {path}/user -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes \
         -o LogLevel=ERROR -F none"
    );
    (process, port, options)
}

/// A tree of 60 files from nothing to 3 MB.
fn tree(folder: &Folder) {
    for n in 0..60 {
        let name = format!("tree/{}/{n}", n % 7);
        fs::create_dir_all(folder.join(&format!("tree/{}", n % 7))).unwrap();
        let path = random_file(folder, &name, n * n * n * n / 4, n as u64);
        fs::set_permissions(path, fs::Permissions::from_mode(if n % 2 == 0 { 0o644 } else { 0o600 }))
            .unwrap();
    }
}

fn same_trees(folder: &Folder, copy: &str) {
    run(Command::new("diff").arg("-r").arg(folder.join("tree")).arg(folder.join(copy)));
}

#[test]
fn ssh_scp_and_rsync() {
    if !need(&["sshd", "ssh", "scp", "rsync", "ssh-keygen", "diff"]) || !super::process::need_root() {
        return;
    }
    for kind in BOTH {
        let folder = Folder::new();
        let (_sshd, target, options) = sshd(&folder);
        let tunnel = Tunnel::to(kind, target);
        let (public, path) = (tunnel.public.to_string(), folder.path().display().to_string());
        let words: Vec<&str> = options.split_whitespace().collect();
        tree(&folder);

        let echoed =
            run(Command::new("ssh").args(&words).args(["-p", &public, "root@127.0.0.1", "echo it works"]));
        assert_eq!(echoed.stdout, b"it works\n");

        run(Command::new("scp")
            .args(&words)
            .args(["-q", "-r", "-P", &public])
            .args([format!("{path}/tree"), format!("root@127.0.0.1:{path}/up")]));
        same_trees(&folder, "up");
        run(Command::new("scp")
            .args(&words)
            .args(["-q", "-r", "-P", &public])
            .args([format!("root@127.0.0.1:{path}/tree"), format!("{path}/down")]));
        same_trees(&folder, "down");

        run(Command::new("rsync")
            .args(["-a", "--checksum", "-e", &format!("ssh -p {public} {options}")])
            .args([format!("{path}/tree/"), format!("root@127.0.0.1:{path}/synced/")]));
        same_trees(&folder, "synced");
    }
}
