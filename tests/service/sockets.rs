//! What systemd holds for a server while that is started again, and what is read again without a start.

use super::*;

#[test]
fn systemd_holds_the_ports_of_a_server_where_that_is_wished() {
    let scratch = Scratch::systemd();
    scratch
        .ok("install --socket -s --http :80 --https 0.0.0.0:443 --plain [::1]:9000 --admin 127.0.0.1:9001");
    assert_eq!(scratch.files(), [UNIT, SOCKET]);
    let socket = scratch.file(SOCKET);
    let opened: Vec<&str> = socket.lines().filter_map(|line| line.strip_prefix("ListenStream=")).collect();
    assert_eq!(opened, ["9002", "[::1]:9000", "80", "0.0.0.0:443", "127.0.0.1:9001"]);
    assert!(socket.starts_with(&format!("# {MARK}\n")) && scratch.mode(SOCKET) == 0o644, "{socket}");
    assert!(!socket.contains("network-online"), "{socket}");
    let unit = scratch.file(UNIT);
    for line in
        ["Wants=nt.socket", "After=nt.socket", "PartOf=nt.socket", "AmbientCapabilities=CAP_NET_BIND_SERVICE"]
    {
        assert!(unit.lines().any(|own| own == line), "{line}: {unit}");
    }
    let ran = ["enable", "stop", "start"].map(|act| format!("systemctl {act} nt.socket nt.service"));
    assert_eq!(scratch.ran.borrow()[0], "systemctl daemon-reload");
    assert_eq!(scratch.ran.borrow()[1..], ran);
    scratch.ran.borrow_mut().clear();
    let output = scratch.ok("uninstall");
    assert!(output.stderr.contains(&format!("{UNIT} and {SOCKET} are gone")), "{}", output.stderr);
    assert_eq!(scratch.files(), [""; 0]);
    assert_eq!(
        *scratch.ran.borrow(),
        ["systemctl disable --now nt.socket nt.service", "systemctl daemon-reload"]
    );
}

#[test]
fn a_server_that_is_to_open_its_ports_itself_again_gets_them_back() {
    let scratch = Scratch::systemd();
    scratch.ok("install --socket -s");
    scratch.ran.borrow_mut().clear();
    let output = scratch.ok("install -s");
    assert!(output.stderr.contains(&format!("{SOCKET} is gone")), "{}", output.stderr);
    assert_eq!(scratch.files(), [UNIT]);
    assert!(!scratch.file(UNIT).contains("nt.socket"));
    let ran = ["disable --now nt.socket", "daemon-reload", "enable nt", "restart nt"];
    assert_eq!(*scratch.ran.borrow(), ran.map(|act| format!("systemctl {act}")));
    // One that somebody wrote by hand stays, whatever is done to the service.
    scratch.write(SOCKET, "[Socket]\nListenStream=443\n");
    let error = scratch.run("install --socket -s").expect_err("it is somebody's");
    assert!(error.contains(&format!("{SOCKET} was not written by `nt install`")), "{error}");
    scratch.ok("install -s");
    scratch.ok("uninstall");
    assert_eq!(scratch.files(), [SOCKET]);
}

#[test]
fn an_address_of_this_machine_alone_is_opened_when_it_is_there() {
    let output = Scratch::new()
        .ok("install --print --system systemd --socket -s --listen 192.0.2.1:443 --plain [fe80::1%2]:9000 \
         --http [2001:db8::1]:80");
    let said = output.stdout;
    for line in [
        "ListenStream=192.0.2.1:443",
        "ListenStream=[fe80::1]:9000%%2",
        "ListenStream=[2001:db8::1]:80",
        "DefaultDependencies=no",
        "After=sysinit.target network-online.target",
    ] {
        assert!(said.lines().any(|own| own == line), "{line}: {said}");
    }
    // Two files, each with its name.
    for path in [UNIT, SOCKET] {
        assert!(said.contains(&format!("# {path}\n# {MARK}\n")), "{said}");
    }
}

#[test]
fn settings_that_everybody_may_read_are_read_again_by_the_service_itself() {
    let place = |scratch: &Scratch, path: &str| scratch.root.join(&path[1..]);
    let mode = |scratch: &Scratch, path: &str, mode: u32| {
        fs::set_permissions(place(scratch, path), fs::Permissions::from_mode(mode)).expect("mine");
    };
    let unit = |scratch: &Scratch, words: &str| {
        scratch.ok(words);
        scratch.file(UNIT)
    };
    let scratch = Scratch::systemd();
    for (file, words) in [
        ("/etc/c.toml", "install -c --config /etc/c.toml"),
        ("/etc/s.toml", "install -s --config /etc/s.toml"),
    ] {
        scratch.write(file, "");
        mode(&scratch, file, 0o644);
        let open = unit(&scratch, words);
        assert!(open.contains(&format!(" --config {file}\n")) && !open.contains("=config:"), "{open}");
        for (of_file, of_folder) in [(0o640, 0o755), (0o644, 0o750)] {
            mode(&scratch, file, of_file);
            mode(&scratch, "/etc", of_folder);
            let closed = unit(&scratch, words);
            assert!(closed.contains(" --config ${CREDENTIALS_DIRECTORY}/config\n"), "{closed}");
            assert!(closed.contains("counts at a restart.\nLoadCredential=config:"), "{closed}");
            mode(&scratch, "/etc", 0o755);
        }
    }
    // What the service may not see, or a link to it, is handed over all the same.
    for hidden in ["/home/c.toml", "/tmp/c.toml"] {
        scratch.write(hidden, "");
        mode(&scratch, hidden, 0o644);
        fs::remove_file(place(&scratch, "/etc/c.toml")).expect("mine");
        std::os::unix::fs::symlink(place(&scratch, hidden), place(&scratch, "/etc/c.toml")).expect("mine");
        assert!(
            unit(&scratch, "install -c --config /etc/c.toml").contains("LoadCredential=config:"),
            "{hidden}"
        );
    }
}

#[test]
fn openrc_has_a_service_read_its_files_again_and_needs_no_service_called_net() {
    let script = nasty().text(System::OpenRc);
    let stubs = "ebegin() { :; }; eend() { :; }; want() { printf 'want %s\\0' \"$@\"; }; RC_SVCNAME=nt
                 supervise() { printf '%s\\0' \"$@\"; }; use() { :; }; after() { :; }; need() { exit 1; }\n";
    let script = script.replace("supervise-daemon \"", "supervise \"");
    let told = shell(&format!("{stubs}{script}\n$extra_started_commands; depend\n"));
    assert_eq!(told, ["nt", "--signal", "HUP", "want net"]);
}
