//! What the service manager is told, where there is one that wants to know: that nt runs, that it still does, that it
//! ends. The protocol is that of sd_notify(3): datagrams to the socket `$NOTIFY_SOCKET`.
//!
//! Nobody is waited for, and nothing depends on whether it is heard. Without `$NOTIFY_SOCKET` nothing is done at all.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::note::Note;
use crate::time::{Span, Time};

/// A word with the service manager, if there is one.
pub(in crate::os) struct Notify(Option<Manager>);

/// A service manager that wants to be told.
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// How often it wants to hear that the loop turns, and when it is told next.
    watchdog: Option<(Span, Time)>,
}

impl Notify {
    /// As the environment of this process has it.
    pub(in crate::os) fn of_system() -> Self {
        Self::told(|name| std::env::var_os(name), std::process::id())
    }

    /// The same for these variables and this process.
    fn told(variable: impl Fn(&str) -> Option<OsString>, pid: u32) -> Self {
        let manager = || {
            let address = address(&variable("NOTIFY_SOCKET")?).ok()?;
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            let watchdog = watchdog(&variable, pid).map(|every| (every, Time::default()));
            Some(Manager { socket, address, watchdog })
        };
        Self(manager())
    }

    /// The program does its work.
    pub(in crate::os) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The program was asked to stop.
    pub(in crate::os) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The loop turns. It has to wait no longer than this, for whom it would have waited until `until`.
    pub(in crate::os) fn turns(&mut self, now: Time, until: Time) -> Time {
        let Some(Manager { watchdog: Some((every, next)), .. }) = &mut self.0 else { return until };
        if now < *next {
            return until.min(*next);
        }
        *next = now + *every;
        let next = *next;
        self.tell("WATCHDOG=1");
        until.min(next)
    }

    /// The notes that say how the program is, in the manager's one line of status.
    pub(in crate::os) fn note(&self, note: &Note) {
        let is_state = matches!(
            note,
            Note::Listening { .. }
                | Note::Connecting { .. }
                | Note::Connected { .. }
                | Note::Disconnected { .. }
                | Note::Stopping { .. }
        );
        if self.0.is_some() && is_state {
            self.tell(&format!("STATUS={}", note.to_string().replace('\n', " ")));
        }
    }

    fn tell(&self, words: &str) {
        if let Some(Manager { socket, address, .. }) = &self.0 {
            // A manager that does not listen is no reason to do anything.
            let _ = socket.send_to_addr(words.as_bytes(), address);
        }
    }
}

/// A path, or a name of Linux without one, which is written with an `@`.
fn address(text: &OsStr) -> io::Result<SocketAddr> {
    match text.as_bytes() {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        [b'@', name @ ..] => {
            #[cfg(target_os = "android")]
            use std::os::android::net::SocketAddrExt;
            #[cfg(target_os = "linux")]
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name)
        }
        [b'/', ..] => SocketAddr::from_pathname(text),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// How often the watchdog is told: twice in the time after which it would bite. It may be meant for another process
/// (sd_watchdog_enabled(3)).
fn watchdog(variable: &impl Fn(&str) -> Option<OsString>, pid: u32) -> Option<Span> {
    let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
    let meant = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(u64::from(pid));
    let micros = number("WATCHDOG_USEC").filter(|micros| *micros > 0 && meant)?;
    Some(Span::from_micros((micros / 2).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(usec: &str, pid: Option<&str>) -> Option<u64> {
        let variable = |name: &str| match name {
            "NOTIFY_SOCKET" => Some("/nonexistent/notify".into()),
            "WATCHDOG_USEC" => Some(usec.into()),
            "WATCHDOG_PID" => pid.map(OsString::from),
            _ => None,
        };
        let manager = Notify::told(variable, 7).0.expect("a manager");
        manager.watchdog.map(|(every, _)| every.as_micros())
    }

    #[test]
    fn a_watchdog_is_told_twice_in_its_time_if_it_is_meant_for_this_process() {
        assert_eq!(every("30000000", None), Some(15_000_000));
        assert_eq!(every("30000000", Some("7")), Some(15_000_000));
        assert_eq!(every("30000000", Some("8")), None);
        assert_eq!(every("30000000", Some("x")), None);
        assert_eq!(every("0", None), None);
        assert_eq!(every("soon", None), None);
        assert_eq!(every("1", None), Some(1), "and never all the time");
    }

    #[test]
    fn without_a_manager_nothing_is_waited_for() {
        for place in [None, Some(""), Some("vsock:2:1"), Some("relative")] {
            let variable = |name: &str| match name {
                "NOTIFY_SOCKET" => place.map(OsString::from),
                _ => Some("1000".into()),
            };
            let mut notify = Notify::told(variable, 7);
            assert!(notify.0.is_none(), "{place:?}");
            assert_eq!(notify.turns(Time::from_micros(5), Time::NEVER), Time::NEVER);
        }
    }

    #[test]
    fn the_loop_is_woken_for_the_watchdog_and_not_between() {
        let variable = |name: &str| match name {
            "NOTIFY_SOCKET" => Some("/nonexistent/notify".into()),
            "WATCHDOG_USEC" => Some("2000".into()),
            _ => None,
        };
        let mut notify = Notify::told(variable, 7);
        let mut turns =
            |now, until| notify.turns(Time::from_micros(now), Time::from_micros(until)).as_micros();
        assert_eq!(turns(10_000, 90_000), 11_000);
        assert_eq!(turns(10_500, 90_000), 11_000, "not told again before it is time");
        assert_eq!(turns(10_500, 10_600), 10_600);
        assert_eq!(turns(11_000, 90_000), 12_000);
        assert_eq!(turns(50_000, 90_000), 51_000, "a time that was missed is not made up for");
    }
}
