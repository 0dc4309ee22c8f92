//! `nt bench`: what passes through a live tunnel. A client in a thread of its own comes beside those of the license,
//! with one mapping that leads to a service in this program; then this program visits it, from outside.
//!
//! In reading order: this file, [`service`] behind the tunnel, [`measure`] before it, [`figures`].

mod figures;
mod measure;
mod service;

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;

use crate::cli::{BenchArgs, ClientPlan};
use crate::doctor::duration;
use crate::limits::{BENCH_CALLERS, BENCH_START_TIMEOUT, LINGER_TIMEOUT};
use crate::mapping;
use crate::note::Note;
use crate::os::{Stopper, clock};
use crate::reason::Reason;
use crate::run;
use crate::server_ref::Source;
use crate::time::Span;
use figures::{Figure, to_json};
use measure::{Trouble, Visitor, Way};

/// What the client's thread has to say.
enum News {
    /// It runs, and is stopped by this.
    Runs(Stopper),
    /// Something happened.
    Note(Note),
    /// It has ended, or never began.
    Ended(Result<i32, String>),
}

/// Measures, and writes figures to `to` as they come; the exit code. `read` gives the text of a file.
///
/// # Errors
/// Why nothing could be measured, or not all of it.
pub fn run(
    args: BenchArgs,
    read: &mut dyn FnMut(Source<'_>) -> Result<String, String>,
    to: &mut dyn Write,
) -> Result<i32, String> {
    let BenchArgs { client, seconds, streams, json } = args;
    let plan = client.settle(read)?;
    let port = service::start().map_err(|error| format!("no port of 127.0.0.1 can be had: {error}"))?;
    let tunnel = Tunnel::start(plan, port)?;
    let public = tunnel.public()?;
    if !json {
        say(to, &format!("Through {}, {BESIDE}", public.shown));
    }
    let visitor =
        Visitor { public: public.address, span: Span::from_secs(seconds.into()), over: &tunnel.over };
    let mut figures = Vec::new();
    let mut measured = Ok(());
    for next in steps(streams) {
        match next(&visitor) {
            // What was cut short is no figure.
            Ok(_) if tunnel.over.load(Ordering::Relaxed) => break,
            Ok(figure) => {
                if !json {
                    say(to, &figure.line());
                }
                figures.push(figure);
            }
            Err(error) => {
                measured = Err(error);
                break;
            }
        }
    }
    let why = tunnel.stop();
    match (measured, why) {
        (_, Some(why)) => return Err(why),
        (Err(error), None) => return Err(broken(&error)),
        (Ok(()), None) => {}
    }
    if json {
        say(to, &format!("{:#}\n", to_json(&public.shown, &figures)));
    } else if public.address.ip().is_loopback() {
        say(to, "\nBoth ends run on this machine: its processors are what bounds these figures.\n");
    } else {
        say(to, BOUNDS);
    }
    Ok(0)
}

const BESIDE: &str =
    "beside the client of this license. What passes counts for its quota, and is held to its rate.\n\n";

const BOUNDS: &str = "\nWhat bounds these figures: the license's rate, the processors of both ends, and their lines: \
                      each byte passes this machine's both ways.\n";

/// One measurement.
type Step = Box<dyn Fn(&Visitor<'_>) -> Result<Figure, Trouble>>;

/// All of them, in their order.
fn steps(streams: u32) -> Vec<Step> {
    let mut steps: Vec<Step> = vec![Box::new(|visitor| {
        let mut times = visitor.echoes()?;
        times.sort_unstable();
        Ok(Figure::Latency(times))
    })];
    for way in [Way::Down, Way::Up] {
        let several = (streams > 1).then_some(streams);
        for count in [Some(1), several].into_iter().flatten() {
            steps.push(Box::new(move |visitor| {
                visitor.streams(way, count).map(|passed| Figure::Throughput(way, count, passed))
            }));
        }
    }
    for at_once in [1, BENCH_CALLERS as u32] {
        steps.push(Box::new(move |visitor| {
            visitor.set_ups(at_once).map(|set_up| Figure::SetUps(at_once, set_up))
        }));
    }
    steps
}

/// What it means that a measurement failed.
fn broken(trouble: &Trouble) -> String {
    match trouble {
        Trouble::NotIn(error) => {
            let what = match error.kind() {
                ErrorKind::ConnectionRefused => "refused".to_owned(),
                ErrorKind::TimedOut | ErrorKind::WouldBlock => "no answer in time".to_owned(),
                _ => error.to_string(),
            };
            format!(
                "the public port cannot be visited from here ({what}): the server's firewall may let only some ports \
                 in; give the license one of those, as in nt license set NAME ports=2222"
            )
        }
        Trouble::Lost(error) => {
            let what = match error.kind() {
                ErrorKind::TimedOut | ErrorKind::WouldBlock => "stands still".to_owned(),
                ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
                    "was cut".to_owned()
                }
                _ => format!("failed ({error})"),
            };
            format!(
                "a visit {what}: the license's quota may be used up, or its `connects` or `visitors` may not let this \
                 machine in as often; on the server: nt license show NAME"
            )
        }
    }
}

/// Whoever reads may have gone; it is measured all the same.
fn say(to: &mut dyn Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

/// Where visitors come.
struct Public {
    shown: String,
    address: SocketAddr,
}

/// The client that is measured.
struct Tunnel {
    news: Receiver<News>,
    stopper: Stopper,
    /// It is stopping, or does not do any more what it should.
    over: Arc<AtomicBool>,
    /// How many servers it tries.
    servers: usize,
}

impl Tunnel {
    /// Starts it.
    fn start(plan: ClientPlan, port: u16) -> Result<Self, String> {
        let mapping = mapping::parse(&format!("0:127.0.0.1:{port}")).map_err(|error| error.to_string())?;
        let (tell, news) = channel();
        let (over, servers) = (Arc::<AtomicBool>::default(), plan.server.hosts.len());
        let ended = Arc::clone(&over);
        let run = move || {
            let ear = ear(tell.clone(), Arc::clone(&ended));
            let result =
                run::connect_beside(&plan, mapping, ear, |stopper| inform(&tell, News::Runs(stopper)));
            ended.store(true, Ordering::Relaxed);
            inform(&tell, News::Ended(result));
        };
        let started = thread::Builder::new().name("client".into()).spawn(run);
        started.map_err(|error| format!("no thread can be had: {error}"))?;
        match news.recv_timeout(duration(BENCH_START_TIMEOUT)) {
            Ok(News::Runs(stopper)) => Ok(Self { news, stopper, over, servers }),
            Ok(News::Ended(Err(what))) => Err(what),
            _ => Err("the client did not start".to_owned()),
        }
    }

    /// Waits until visitors can come; where.
    fn public(&self) -> Result<Public, String> {
        let found = self.ready();
        if found.is_err() {
            self.stop();
        }
        found
    }

    fn ready(&self) -> Result<Public, String> {
        let (until, mut failed) = (clock() + BENCH_START_TIMEOUT, 0);
        loop {
            match self.news.recv_timeout(duration(until.since(clock()))) {
                Ok(News::Note(Note::Ready { public, .. })) => {
                    let found = public.to_socket_addrs().ok().and_then(|mut found| found.next());
                    return match found {
                        Some(address) => Ok(Public { shown: public, address }),
                        None => {
                            Err(format!("{public} cannot be found from here: write the server's address"))
                        }
                    };
                }
                Ok(News::Note(Note::NotReady { reason, .. })) => return Err(not_ready(reason)),
                Ok(News::Note(Note::Disconnected { server, reason, .. })) => {
                    failed += 1;
                    if failed >= self.servers {
                        return Err(away(&server, reason));
                    }
                }
                Ok(News::Note(Note::Stopping { .. })) => return Err(STOPPED.to_owned()),
                Ok(News::Ended(Err(what))) => return Err(what),
                Ok(News::Ended(Ok(_))) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(STOPPED.to_owned());
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(
                        "the tunnel is not up in time; `nt doctor` with the same words says why".to_owned()
                    );
                }
            }
        }
    }

    /// Ends it. What had ended the measuring before, if something had.
    fn stop(&self) -> Option<String> {
        let over = self.over.load(Ordering::Relaxed);
        let mut why = None;
        self.stopper.stop();
        let mut patience = 2;
        loop {
            match self.news.recv_timeout(duration(LINGER_TIMEOUT)) {
                Ok(News::Note(Note::Disconnected { server, reason, .. })) => {
                    why = why.or_else(|| Some(away(&server, reason)));
                }
                Ok(News::Ended(_)) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(_) => {}
                // Asked twice it stops at once; who does not even then ends with the program.
                Err(RecvTimeoutError::Timeout) if patience > 1 => {
                    patience -= 1;
                    self.stopper.stop();
                }
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        over.then(|| why.unwrap_or_else(|| STOPPED.to_owned()))
    }
}

const STOPPED: &str = "it was stopped before all was measured";

/// Hears what the client says, instead of the log, and when nothing more can be measured.
fn ear(tell: Sender<News>, over: Arc<AtomicBool>) -> crate::os::Ear {
    let mut ready = false;
    Box::new(move |note| {
        match note {
            Note::Ready { .. } => ready = true,
            Note::Stopping { .. } => over.store(true, Ordering::Relaxed),
            // Before that, another server has its turn.
            Note::Disconnected { .. } if ready => over.store(true, Ordering::Relaxed),
            _ => {}
        }
        inform(&tell, News::Note(note.clone()));
    })
}

fn inform(tell: &Sender<News>, news: News) {
    // Nobody listens any more where the program is ending.
    let _ = tell.send(news);
}

fn away(server: &str, reason: Reason) -> String {
    format!("{server}: {reason}; `nt doctor` with the same words says more")
}

/// Why the one mapping is not served.
fn not_ready(reason: Reason) -> String {
    match reason {
        Reason::NoFreePort => {
            "no port is free for this license, and one is needed to visit: give it one more, on the \
                               server, as in nt license set NAME ports=1024-65535"
                .to_owned()
        }
        Reason::NotPermitted => {
            "the license permits no port, and one is needed to visit: give it one, on the server, as \
                                 in nt license set NAME ports=1024-65535"
                .to_owned()
        }
        reason => format!("no public port can be had: {reason}"),
    }
}
