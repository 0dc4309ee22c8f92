//! Programs of this machine: found, asked for their version, and run to their end within a bounded time.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a program may take that has nothing to do.
const QUICK: Duration = Duration::from_secs(5);

/// Where a program is: on the path, or where systems keep their daemons.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(daemons).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// A child that does not outlive this value.
pub struct Running {
    child: Child,
    said: mpsc::Receiver<String>,
}

impl Running {
    /// # Errors
    /// A sentence, where it cannot be started.
    pub fn start(command: &mut Command) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let (tell, said) = mpsc::channel();
        let (out, error) = (child.stdout.take(), child.stderr.take());
        thread::spawn(move || {
            let errors = thread::spawn(move || read(error));
            let _ = tell.send(read(out) + &errors.join().unwrap_or_default());
        });
        Ok(Self { child, said })
    }

    /// All that it said, once it has ended.
    ///
    /// # Errors
    /// What it said, where it did not end well, or not in time.
    pub fn output(self, timeout: Duration) -> Result<String, String> {
        let (status, said) = self.end(timeout)?;
        if status.success() { Ok(said) } else { Err(format!("{status}: {}", tail(&said))) }
    }

    fn end(mut self, timeout: Duration) -> Result<(ExitStatus, String), String> {
        let said = self.said.recv_timeout(timeout).map_err(|_| format!("not done within {timeout:?}"))?;
        let status = self.child.wait().map_err(|error| error.to_string())?;
        Ok((status, said))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(source: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut source) = source {
        let _ = source.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The end of what a program said, in one line.
fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" ")
}

/// Runs a program to its end.
///
/// # Errors
/// As [`Running::start`] and [`Running::output`].
pub fn run(command: &mut Command, timeout: Duration) -> Result<String, String> {
    Running::start(command)?.output(timeout)
}

/// The first word with a digit in what the program says of its version.
pub fn version(program: &Path, flag: &str) -> String {
    let running = Running::start(Command::new(program).arg(flag));
    // Some programs tell their version and fail.
    let said = running.and_then(|running| running.end(QUICK)).map(|(_, said)| said);
    let said = said.unwrap_or_default();
    let words = said.split(|c: char| c.is_whitespace() || c == ',' || c == '/' || c == '_');
    let looks_right = |word: &&str| {
        let word = word.trim_start_matches('v');
        word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')
    };
    words.map(str::trim).find(looks_right).unwrap_or("of unknown version").to_owned()
}

/// What a command that is quickly done prints.
pub fn asked(command: &mut Command) -> String {
    run(command, QUICK).unwrap_or_default().trim().to_owned()
}
