//! A unit of systemd, which may do what nt does, and nothing else.

use std::net::SocketAddr;

use super::{End, MARK, OF_PEOPLE, OPEN_FILES, STOP_SECS, Service, TEMPORARY, Word, is_below};

/// How long the loop may stand still before it is ended and started again, in seconds.
const WATCHDOG_SECS: u32 = 30;

/// What every nt can do without. `docs/SERVICE.md` says what each is for.
const SANDBOX: &str = "\
NoNewPrivileges=yes
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @keyring @aio @ipc
SystemCallErrorNumber=EPERM
UMask=0077
";

pub(super) fn unit(service: &Service) -> String {
    let Service { name, program, words, .. } = service;
    let title = service.title();
    let mut line = program_word(program);
    let mut handed = String::new();
    for word in words {
        line.push(' ');
        match word {
            Word::Plain(text) => line.push_str(&quoted(text)),
            // systemd reads the file as root, and hands it over: the service's own user need not be able to.
            Word::File { before, path, id } => {
                if *id == "config" {
                    handed.push_str(
                        "# It is handed over at start, as not everybody may read it: what changes in it counts at a \
                         restart.\n",
                    );
                }
                handed.push_str(&format!("LoadCredential={id}:{}\n", path.replace('%', "%%")));
                line.push_str(&format!("{before}${{CREDENTIALS_DIRECTORY}}/{id}"));
            }
        }
    }
    let own = rights(service);
    let home = homes(service);
    let after = match service.socket_text() {
        Some(_) => format!(
            "# It has its ports from there, or, should that fail, opens them itself. Stopped alone it is started by \
             the next\n# who comes; both stop by: systemctl stop {name}.socket\n\
             Wants={name}.socket\nAfter={name}.socket\nPartOf={name}.socket\n"
        ),
        None => String::new(),
    };
    format!(
        "# {MARK}\n\
         # Own settings go beside it, where they are kept: systemctl edit {name}\n\
         [Unit]\n\
         Description={title}\n\
         After=network-online.target nss-lookup.target\n\
         Wants=network-online.target\n\
         {after}\
         # It is tried for ever.\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         Type=notify\n\
         NotifyAccess=main\n\
         ExecStart={line}\n\
         ExecReload=/bin/kill -HUP $MAINPID\n\
         {handed}\
         Restart=on-failure\n\
         RestartSec=5\n\
         WatchdogSec={WATCHDOG_SECS}\n\
         # Visits that are on may end.\n\
         TimeoutStopSec={STOP_SECS}\n\
         LimitNOFILE={OPEN_FILES}\n\
         \n\
         # A user of its own, that is there while it runs.\n\
         DynamicUser=yes\n\
         {own}{home}{SANDBOX}\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

/// The unit that opens a server's ports before it runs, and holds them open while it is started again.
pub(super) fn socket_unit(name: &str, addresses: &[SocketAddr]) -> String {
    let lines: String =
        addresses.iter().map(|address| format!("ListenStream={}\n", listen_stream(*address))).collect();
    // Ports are opened before the network is up: then an address of this machine alone may not be there yet.
    let always = |address: &SocketAddr| address.ip().is_unspecified() || address.ip().is_loopback();
    let late = match addresses.iter().all(always) {
        true => "",
        false => {
            "# Addresses of this machine are there when its network is.\n\
             DefaultDependencies=no\n\
             After=sysinit.target network-online.target\n\
             Wants=network-online.target\n\
             Conflicts=shutdown.target\n\
             Before=shutdown.target\n"
        }
    };
    format!(
        "# {MARK}\n\
         # Own settings go beside it, where they are kept: systemctl edit {name}.socket\n\
         [Unit]\n\
         Description=nt, the ports of the server of a tunnel\n\
         {late}\
         \n\
         [Socket]\n\
         # A port alone is that of every address, of both families.\n\
         {lines}\
         BindIPv6Only=both\n\
         \n\
         [Install]\n\
         WantedBy=sockets.target\n"
    )
}

/// An address as systemd.socket(5) has it: a port alone is, as nt's `[::]`, every address, and those of IPv4 where
/// there is no IPv6; and the scope stands at the end.
fn listen_stream(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(address) if address.ip().is_unspecified() => address.port().to_string(),
        SocketAddr::V6(address) if address.scope_id() != 0 => {
            format!("[{}]:{}%%{}", address.ip(), address.port(), address.scope_id())
        }
        address => address.to_string(),
    }
}

/// What the end of the tunnel that it is may do.
fn rights(service: &Service) -> String {
    const BIND: &str = "CAP_NET_BIND_SERVICE";
    let capabilities = |comment: &str, list: &str| {
        format!("{comment}CapabilityBoundingSet={list}\nAmbientCapabilities={list}\n")
    };
    let low = "# Ports below 1024.\n";
    match &service.end {
        End::Server { certificates, sockets, .. } => {
            let low = match sockets.is_empty() {
                true => low,
                false => "# Mappings below 1024: the server's own ports are opened for it.\n",
            };
            let state = format!("StateDirectory={}\nStateDirectoryMode=0700\n", service.name);
            let may = if certificates.is_empty() {
                capabilities(low, BIND)
            } else {
                // They change while it runs, so that they cannot be handed over at start.
                let comment = "# Ports below 1024; and certificates whose keys root alone may read: so it may read \
                               every file, but for these.\n";
                let all = capabilities(comment, &format!("{BIND} CAP_DAC_READ_SEARCH"));
                format!("{all}InaccessiblePaths=-/etc/shadow -/etc/gshadow -/etc/ssh -/etc/sudoers\n")
            };
            format!("{state}{may}")
        }
        End::Client { low_ports, .. } => {
            let may = match low_ports {
                true => capabilities(low, BIND),
                false => "CapabilityBoundingSet=\nPrivateUsers=yes\n".to_owned(),
            };
            format!(
                "# Where `nt status` asks it how it is, as root.\n\
                 RuntimeDirectory=nt/{}\nRuntimeDirectoryMode=0700\n{may}",
                service.name
            )
        }
    }
}

/// Whether it sees what is in the folders of people, and of temporary files.
fn homes(service: &Service) -> String {
    let (needed, offered): (&[String], bool) = match &service.end {
        End::Server { certificates, .. } => (certificates, false),
        End::Client { paths, offered, .. } => (paths, *offered),
    };
    let of_people = |path: &String| is_below(path, OF_PEOPLE);
    let mut text = String::new();
    if is_below(&service.program, TEMPORARY) {
        text.push_str(&format!("BindReadOnlyPaths={}\n", quoted_path(&service.program)));
    }
    let why = if of_people(&service.program) {
        "# nt itself is in the folder of a person.\n"
    } else if needed.iter().any(of_people) {
        "# The command line names what is in the folder of a person.\n"
    } else if offered {
        "# The server's mappings may name folders and sockets.\n"
    } else {
        text.push_str("# The command line names nothing in the folders of people.\nProtectHome=yes\n");
        return text;
    };
    text.push_str(why);
    text.push_str("ProtectHome=read-only\n");
    text
}

/// A word of ExecStart, which is unquoted first, then has its specifiers (%) and variables ($) replaced
/// (systemd.service(5), systemd.syntax(7)).
fn quoted(word: &str) -> String {
    escaped(&word.replace('$', "$$"))
}

/// The first word: no variable is looked for there.
fn program_word(path: &str) -> String {
    escaped(path)
}

fn quoted_path(path: &str) -> String {
    // A colon would begin the place where it is to be.
    escaped(path).replace(':', "\\:")
}

fn escaped(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@,+=*[]<>()$".contains(c);
    let word = word.replace('%', "%%");
    if !word.is_empty() && word.chars().all(|c| plain(c) || c == '%') {
        return word;
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}
