//! `nt install` and `nt uninstall`: what a service needs is found out, its files are written, its manager is told.

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Output;
use crate::cli::{ClientArgs, InstallArgs, Runs, ServeArgs, UninstallArgs};
use crate::config::{Ca, ServerConfig, parse_client};
use crate::mapping::Target;
use crate::os::{self, disk};
use crate::server_ref::{ServerRef, ServerWord, Source};
use crate::service::{Act, End, MARK, Service, System, Word, check_name, is_hidden, license_file};

/// Runs the words of a command, and waits until it has ended, well or not.
pub type Run<'a> = Box<dyn FnMut(&[String]) -> Result<(), String> + 'a>;

/// The machine that a service is installed on.
pub struct Machine<'a> {
    /// Below which all paths are: `/`.
    pub root: PathBuf,
    /// The program that the service runs.
    pub program: String,
    /// Gives the text of a file of the operator's, or of standard input.
    pub read: &'a mut dyn FnMut(Source<'_>) -> Result<String, String>,
    /// Runs a command.
    pub run: Run<'a>,
}

impl<'a> Machine<'a> {
    /// This one.
    ///
    /// # Errors
    /// Nobody knows where this program is.
    pub fn this(read: &'a mut dyn FnMut(Source<'_>) -> Result<String, String>) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| format!("cannot find nt itself: {error}"))?;
        let program = program.into_os_string().into_string();
        let program = program.map_err(|path| format!("the path of nt is not text: {}", path.display()))?;
        Ok(Self { root: "/".into(), program, read, run: Box::new(run) })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Whether everybody may read a file, and so a service that is nobody.
    fn is_open(&self, path: &str) -> bool {
        let may = |path: &Path, bits: u32| {
            fs::metadata(path).is_ok_and(|about| disk::mode(&about).is_some_and(|mode| mode & bits == bits))
        };
        let (Ok(root), Ok(file)) = (fs::canonicalize(&self.root), fs::canonicalize(self.path(path))) else {
            return false;
        };
        let Ok(inside) = file.strip_prefix(&root) else { return false };
        let mut folders = inside.ancestors().skip(1).map(|folder| root.join(folder));
        !is_hidden(&format!("/{}", inside.display()))
            && file.is_file()
            && may(&file, 0o004)
            && folders.all(|folder| may(&folder, 0o001))
    }

    /// Whether `nt install` wrote this file; nothing where there is none.
    fn wrote(&self, path: &str) -> Result<Option<bool>, String> {
        match fs::read(self.path(path)) {
            Ok(bytes) => {
                Ok(Some(String::from_utf8_lossy(&bytes).lines().take(2).any(|line| line.contains(MARK))))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read {path}: {error}")),
        }
    }

    /// Which manager of services there is.
    fn system(&self) -> Result<System, String> {
        let has = |path| self.path(path).exists();
        if cfg!(target_os = "macos") {
            Ok(System::Launchd)
        } else if has("/run/systemd/system") {
            Ok(System::Systemd)
        } else if has("/sbin/procd") || has("/etc/openwrt_release") {
            Ok(System::Procd)
        } else if has("/sbin/openrc-run") {
            Ok(System::OpenRc)
        } else {
            let known = System::ALL.map(System::word).join(", ");
            Err(format!("no manager of services was found here: say which by --system, of {known}"))
        }
    }
}

/// Does what `nt install` asks for.
///
/// # Errors
/// What went wrong and what to do. Nothing was changed, unless it says so.
pub fn install(args: InstallArgs, machine: &mut Machine<'_>) -> Result<Output, String> {
    let InstallArgs { name, print, socket, system, line, runs } = args;
    if let (Some(why), false) = (os::NO_SERVICE, print && system.is_some()) {
        return Err(why.to_owned());
    }
    let system = system.map_or_else(|| machine.system(), Ok)?;
    let (words, end, license) = match runs {
        Runs::Server(args) => server(args, line.0, &name, (system, socket), machine)?,
        Runs::Client(_) if socket => {
            return Err("--socket has the ports of a server opened, and a client has none".to_owned());
        }
        Runs::Client(args) => client(args, line.0, &name, machine)?,
    };
    let service = Service { name, program: machine.program.clone(), words, end };
    let mut files = Vec::new();
    if let Some(server) = license {
        let text = format!("{}@{}\n", server.license.text(), server.hosts_text());
        files.push(NewFile { path: license_file(&service.name), mode: 0o600, text, secret: true });
    }
    let path = system.file(&service.name);
    files.push(NewFile { path, mode: system.mode(), text: service.text(system), secret: false });
    let socket_text = service.socket_text();
    if let (Some(path), Some(text)) = (system.socket_file(&service.name), socket_text) {
        files.push(NewFile { path, mode: system.mode(), text, secret: false });
    }
    let mut output = Output::default();
    for warning in service.warnings(system) {
        let _ = writeln!(output.stderr, "Warning: {warning}.");
    }
    let acts = system.start(&service.name, socket);
    if print {
        shown(&files, &acts, &mut output);
        return Ok(output);
    }
    is_free(&service.name, system, socket, machine)?;
    if let Some(path) = system.log_file(&service.name) {
        make_log(&path, machine)?;
    }
    for file in &files {
        file.write(machine)?;
        let _ = writeln!(output.stderr, "Wrote {}.", file.path);
    }
    if !socket {
        remove_socket(&service.name, system, machine, &mut output)?;
    }
    for Act { words, must } in acts {
        if let (Err(why), true) = ((machine.run)(&words), must) {
            let name = &service.name;
            return Err(format!(
                "the files are written, but {why}\nSee `{}`; `nt uninstall --name {name}` removes the service again.",
                system.log(name)
            ));
        }
    }
    told(&service, system, &mut output);
    Ok(output)
}

/// What a person does next.
fn told(service: &Service, system: System, output: &mut Output) {
    let (name, log) = (&service.name, system.log(&service.name));
    let _ = writeln!(output.stderr, "The service {name} runs, now and at every boot. Its log: {log}");
    if let Some(state) = service.state(system) {
        let flag = if state == "/var/lib/nt" { String::new() } else { format!(" --state {state}") };
        let _ = writeln!(
            output.stderr,
            "At its first start the log has the line to paste on the other machine.\n\
             Its state is in {state}: nt license add NAME{flag}"
        );
    }
}

/// The service file for standard output, as it is, or, where there are more of them, each with its name; the rest is
/// prose.
fn shown(files: &[NewFile], acts: &[Act], output: &mut Output) {
    let several = files.iter().filter(|file| !file.secret).count() > 1;
    for NewFile { path, mode, text, secret } in files {
        let what = if *secret { ", the license and its server" } else { ":" };
        let _ = writeln!(output.stderr, "{path}, mode {mode:o}{what}");
        if !secret {
            let name = if several { format!("# {path}\n") } else { String::new() };
            output.stdout.push_str(&format!("{name}{text}"));
        }
    }
    for Act { words, .. } in acts {
        let _ = writeln!(output.stderr, "then: {}", words.join(" "));
    }
}

/// The name is not another program's.
fn is_free(name: &str, system: System, socket: bool, machine: &Machine<'_>) -> Result<(), String> {
    let socket = system.socket_file(name).filter(|_| socket);
    for path in [system.file(name)].into_iter().chain(socket) {
        if machine.wrote(&path)? == Some(false) {
            return Err(format!(
                "{path} was not written by `nt install`: it is left as it is; choose another --name"
            ));
        }
    }
    let shipped = ["/usr/lib", "/lib"].map(|folder| format!("{folder}/systemd/system/{name}.service"));
    match shipped.iter().find(|path| system == System::Systemd && machine.path(path).exists()) {
        Some(path) => Err(format!("there is a service {name} already, {path}: choose another --name")),
        None => Ok(()),
    }
}

/// What a service is made of, and a license that is to be put into a file.
type Parts = (Vec<Word>, End, Option<ServerRef>);

fn server(
    args: ServeArgs,
    line: Vec<String>,
    name: &str,
    (system, socket): (System, bool),
    machine: &mut Machine<'_>,
) -> Result<Parts, String> {
    let settings = args.settle(machine.read)?;
    let sockets = if socket { sockets(&settings, name, system)? } else { Vec::new() };
    let text = |path: &PathBuf| path.display().to_string();
    let state = settings.state.as_ref().map(text);
    if let (System::Systemd, Some(state)) = (system, &state) {
        return Err(format!(
            "systemd keeps the state of its service in {}, for that alone: leave --state out, and move there what is \
             in {state}",
            system.state(name)
        ));
    }
    let certificates: Vec<String> =
        [&settings.certs, &settings.cert, &settings.key].into_iter().flatten().map(text).collect();
    certificates.iter().chain(&state).try_for_each(|path| is_whole(path))?;
    Ok((words(line, machine)?, End::Server { state, certificates, sockets }, None))
}

/// What `--socket` has opened.
fn sockets(settings: &ServerConfig, name: &str, system: System) -> Result<Vec<SocketAddr>, String> {
    if system.socket_file(name).is_none() {
        let other = system.word();
        return Err(format!("--socket is for systemd: {other} does not open ports that nt would take over"));
    }
    let addresses = settings.addresses();
    match addresses.iter().find(|address| address.port() == 0) {
        Some(any) => Err(format!("--socket wants every port by its number, and {any} is any")),
        None => Ok(addresses),
    }
}

fn client(
    args: ClientArgs,
    line: Vec<String>,
    name: &str,
    machine: &mut Machine<'_>,
) -> Result<Parts, String> {
    let (word, config) = (args.server.clone(), args.config.clone());
    let plan = args.settle(machine.read)?;
    let word = match (word, config) {
        (None, Some(path)) => {
            let text = (machine.read)(Source::File(&path.display().to_string()))?;
            // A license that stands in the settings themselves comes with them.
            let named = parse_client(&text).ok().and_then(|file| file.server);
            named.filter(|word| !matches!(word, ServerWord::Here(_)))
        }
        (word, _) => word,
    };
    let mut words = words(line, machine)?;
    let mut license = None;
    if let Some(word) = word {
        let path = match word {
            ServerWord::File(path) => path,
            ServerWord::Here(_) | ServerWord::Stdin => {
                license = Some(plan.server);
                license_file(name)
            }
        };
        is_whole(&path)?;
        words.insert(1, Word::File { before: "@", path, id: "license" });
    }
    if let Some(Ca::File(path)) = &plan.ca {
        is_whole(&path.display().to_string())?;
    }
    let path = |target: &Target| match target {
        Target::Unix(path) | Target::Files(path) => Some(path.clone()),
        Target::Tcp { .. } | Target::Exit(_) => None,
    };
    let allow = plan.allow.to_string();
    let end = End::Client {
        paths: plan.maps.iter().filter_map(|mapping| path(&mapping.target)).collect(),
        offered: allow.split(',').any(|item| item == "any" || item.contains(":/")),
        low_ports: plan.visits.iter().any(|visit| visit.at.port() < 1024),
    };
    Ok((words, end, license))
}

/// The words of the line, those apart that name files which are read at start. Settings that everybody may read are not
/// among these: the service reads them itself, again when it is told to.
fn words(line: Vec<String>, machine: &Machine<'_>) -> Result<Vec<Word>, String> {
    let mut words = Vec::with_capacity(line.len());
    // Nothing behind `--` is a flag, and of the others each has its value behind it.
    let (mut flag, mut open) = (String::new(), true);
    for text in line {
        open &= text != "--";
        let id = match flag.as_str() {
            "--config" => Some("config"),
            "--ca" if text != "webpki" => Some("ca"),
            _ => None,
        };
        flag = if open { text.clone() } else { String::new() };
        words.push(match id {
            Some(id) => {
                is_whole(&text)?;
                match id == "config" && machine.is_open(&text) {
                    true => Word::Plain(text),
                    false => Word::File { before: "", path: text, id },
                }
            }
            None => Word::Plain(text),
        });
    }
    Ok(words)
}

/// A service starts in a folder of its own.
fn is_whole(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        return Ok(());
    }
    Err(format!("{path} is a path from where you are, and a service is elsewhere: write the whole path"))
}

/// A file that is to be.
struct NewFile {
    path: String,
    mode: u32,
    text: String,
    secret: bool,
}

impl NewFile {
    /// Puts it in the place of an older one, whole or not at all.
    fn write(&self, machine: &Machine<'_>) -> Result<(), String> {
        let (path, new) = (machine.path(&self.path), machine.path(&format!("{}.new", self.path)));
        let write = || {
            if let Some(folder) = path.parent() {
                disk::make_folder(folder, 0o755)?;
            }
            match fs::remove_file(&new) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = disk::make_file(&new, 0o600)?;
            file.write_all(self.text.as_bytes())?;
            disk::set_mode_of(&file, self.mode)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(|error| failed("write", &self.path, &error))
    }
}

/// Makes the log, root's alone, unless it is there: its manager would have it read by everybody.
fn make_log(path: &str, machine: &Machine<'_>) -> Result<(), String> {
    let place = machine.path(path);
    let make = || {
        if let Some(folder) = place.parent() {
            disk::make_folder(folder, 0o755)?;
        }
        disk::append_to(&place, 0o600)
    };
    make().map(drop).map_err(|error| failed("write", path, &error))
}

fn failed(what: &str, path: &str, error: &std::io::Error) -> String {
    let advice = if error.kind() == ErrorKind::PermissionDenied { "; run it as root" } else { "" };
    format!("cannot {what} {path}: {error}{advice}")
}

/// Does what `nt uninstall` asks for.
///
/// # Errors
/// There is no such service, or it is not one of nt's; then nothing was changed.
pub fn uninstall(args: &UninstallArgs, machine: &mut Machine<'_>) -> Result<Output, String> {
    let name = &args.name;
    if let Some(why) = os::NO_SERVICE {
        return Err(why.to_owned());
    }
    check_name(name)?;
    let mut ours = Vec::new();
    let mut foreign = None;
    for system in System::ALL {
        let path = system.file(name);
        match machine.wrote(&path)? {
            // OpenRC and procd have one place: the file says whose it is.
            Some(true) if system == System::OpenRc && !is_openrc(&machine.path(&path)) => {}
            Some(true) if system == System::Procd && is_openrc(&machine.path(&path)) => {}
            Some(true) => ours.push(system),
            Some(false) => foreign = Some(path),
            None => {}
        }
    }
    match (ours.is_empty(), foreign) {
        (true, Some(path)) => Err(format!("{path} was not written by `nt install`: it is left as it is")),
        (true, None) => {
            Err(format!("there is no service {name} that `nt install` wrote; --name NAME says which"))
        }
        (false, _) => {
            let mut output = Output::default();
            for system in ours {
                remove(name, system, machine, &mut output)?;
            }
            Ok(output)
        }
    }
}

fn is_openrc(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.starts_with("#!/sbin/openrc-run"))
}

fn remove(name: &str, system: System, machine: &mut Machine<'_>, output: &mut Output) -> Result<(), String> {
    let socket = socket_of(name, system, machine)?;
    attempt(system.stop(name, socket.is_some()), machine, output);
    let paths: Vec<String> = [system.file(name)].into_iter().chain(socket).collect();
    for path in &paths {
        fs::remove_file(machine.path(path)).map_err(|error| failed("remove", path, &error))?;
    }
    attempt(system.forget(), machine, output);
    let gone = if paths.len() > 1 { "are gone" } else { "is gone" };
    let _ = writeln!(output.stderr, "The service {name} is stopped, and {} {gone}.", paths.join(" and "));
    for kept in [license_file(name), system.state(name)].into_iter().chain(system.log_file(name)) {
        if machine.path(&kept).exists() {
            let _ = writeln!(output.stderr, "{kept} is kept.");
        }
    }
    Ok(())
}

/// The file that has the ports of a service opened, if `nt install` wrote one.
fn socket_of(name: &str, system: System, machine: &Machine<'_>) -> Result<Option<String>, String> {
    let Some(path) = system.socket_file(name) else { return Ok(None) };
    Ok((machine.wrote(&path)? == Some(true)).then_some(path))
}

/// A service that was installed with `--socket` is installed without it.
fn remove_socket(
    name: &str,
    system: System,
    machine: &mut Machine<'_>,
    output: &mut Output,
) -> Result<(), String> {
    let Some(path) = socket_of(name, system, machine)? else { return Ok(()) };
    attempt(system.close(name), machine, output);
    fs::remove_file(machine.path(&path)).map_err(|error| failed("remove", &path, &error))?;
    let _ = writeln!(output.stderr, "{path} is gone.");
    Ok(())
}

/// Does what may fail: what is to go may not run, or not be known, and goes all the same.
fn attempt(acts: Vec<Act>, machine: &mut Machine<'_>, output: &mut Output) {
    for Act { words, .. } in acts {
        if let Err(why) = (machine.run)(&words) {
            let _ = writeln!(output.stderr, "Warning: {why}");
        }
    }
}

/// Runs a command, and waits for it.
fn run(words: &[String]) -> Result<(), String> {
    let shown = words.join(" ");
    let [program, rest @ ..] = words else { return Ok(()) };
    let output = Command::new(program).args(rest).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("`{shown}` cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{shown}` failed ({}): {}", output.status, said.trim()))
}
