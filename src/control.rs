//! Asks a running server, by the socket in its state directory.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use serde_json::Value;

use crate::os::UnixStream;
use crate::state::StateDir;

/// A server that does not answer for so long hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// What a running server answers to a GET.
///
/// # Errors
/// A sentence: none runs, or what it says.
pub fn get(state: &StateDir, target: &str) -> Result<Value, String> {
    ask(state, "GET", target, "")
}

/// Whether a server runs that has its state there.
pub fn runs(state: &StateDir) -> bool {
    match UnixStream::connect(state.admin_socket()) {
        Ok(_) => true,
        // One that this user may not ask is there all the same.
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    }
}

/// What a running server answers.
///
/// # Errors
/// A sentence: none runs, or what it says.
pub fn ask(state: &StateDir, method: &str, target: &str, body: &str) -> Result<Value, String> {
    let path = state.admin_socket();
    let shown = path.display();
    let mut stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            let place = state.path().display();
            format!(
                "no server runs with the state in {place}: start one with `nt -s`, or say another --state DIR"
            )
        }
        ErrorKind::PermissionDenied => {
            format!("cannot ask the server at {shown}: {error}: run this as the server's user, or as root")
        }
        _ => format!("cannot ask the server at {shown}: {error}"),
    })?;
    let broken = |error: std::io::Error| format!("the server at {shown} does not answer: {error}");
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: nt\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(broken)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(broken)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    let value: Value = serde_json::from_str(body).map_err(|_| {
        format!("the server at {shown} answers {status}, and not in JSON: is it another version?")
    })?;
    match value.get("error").and_then(Value::as_str) {
        Some(what) => Err(what.to_owned()),
        None => Ok(value),
    }
}
