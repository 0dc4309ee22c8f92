//! Everything that befalls servers, clients and links, and the strangers and operators beside it.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::dice::Random;
use super::ledger::Ledger;
use super::link::{Link, Mood};
use super::real::is_cut;
use super::stage::{Client, Fate, Stage};
use super::visitors::probe;

/// Between two faults of one client, in milliseconds.
const CALM: std::ops::Range<u64> = 4_000..20_000;
/// Between two restarts of the server.
const SERVER_CALM: std::ops::Range<u64> = 15_000..60_000;
/// Between the doings of operators and of strangers.
const OTHERS_CALM: std::ops::Range<u64> = 2_000..8_000;
/// How long a fault lasts: also longer than the 30 s after which a silent end is given up.
const FAULT: std::ops::Range<u64> = 1_000..40_000;
/// How long nobody runs before the process is started again.
const GONE: std::ops::Range<u64> = 0..5_000;
/// A client that is asked to stop lets visits end for 30 s.
const STOP: Duration = Duration::from_secs(35);
/// A license that is revoked ends a session within seconds.
const REVOKED: Duration = Duration::from_secs(20);
/// Strangers who come together: fewer than drive away each other.
const STRANGERS: usize = 20;
/// A stranger has five seconds; more on a busy machine.
const STRANGER_PATIENCE: Duration = Duration::from_secs(20);

/// What befalls a client, one after the other, as long as faults are made.
pub fn befall(ledger: &Ledger, stage: &Stage, client: &Client, mut random: Random) {
    loop {
        ledger.pause(&mut random, CALM, Ledger::makes_faults);
        if !ledger.makes_faults() {
            return ledger.wait_for_end();
        }
        match (&client.link, client.fate) {
            (Some(link), _) => cut_off(ledger, client, link, &mut random),
            (None, Fate::Process) => strike(ledger, stage, client, &mut random),
            (None, Fate::None | Fate::Link) => return ledger.wait_for_end(),
        }
    }
}

/// A fault of one client: it begins, is undone, and is over when the client serves again.
fn suffer(ledger: &Ledger, client: &Client, kind: &'static str, doing: impl FnOnce()) {
    let fault = ledger.fault(kind, [client.number]);
    doing();
    ledger.healed(&fault);
    fault.iter().for_each(|&fault| come_back(ledger, client, fault));
}

/// Waits until the client serves.
fn come_back(ledger: &Ledger, client: &Client, fault: usize) {
    while !probe(ledger, client) {
        if ledger.is_overdue(client.number) {
            return ledger.fail(format!("{} is not back long after the last fault", client.name));
        }
        if ledger.has_failed() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    ledger.over(fault);
}

fn strike(ledger: &Ledger, stage: &Stage, client: &Client, random: &mut Random) {
    let undisturbed = |ledger: &Ledger| !ledger.has_failed();
    match random.below(5) {
        0 | 1 => suffer(ledger, client, "client killed", || {
            client.process().kill();
            ledger.pause(random, GONE, undisturbed);
            client.again(stage);
        }),
        2 => suffer(ledger, client, "client asked to stop", || {
            client.process().signal(Signal::TERM);
            let asked = Instant::now();
            while client.process().runs() {
                if asked.elapsed() > STOP {
                    return ledger.fail(format!("{} does not stop", client.name));
                }
                thread::sleep(Duration::from_millis(20));
            }
            client.again(stage);
        }),
        3 => suffer(ledger, client, "client frozen", || {
            client.process().signal(Signal::STOP);
            ledger.pause(random, FAULT, undisturbed);
            client.process().signal(Signal::CONT);
        }),
        _ => suffer(ledger, client, "license revoked", || {
            client.revoke(stage);
            let revoked = Instant::now();
            while probe(ledger, client) {
                if revoked.elapsed() > REVOKED {
                    return ledger.fail(format!("{} serves on without a license", client.name));
                }
            }
            client.rotate(stage);
            client.process().kill();
            client.again(stage);
        }),
    }
}

fn cut_off(ledger: &Ledger, client: &Client, link: &Link, random: &mut Random) {
    let undisturbed = |ledger: &Ledger| !ledger.has_failed();
    match random.below(4) {
        0 => suffer(ledger, client, "link cut by RST", || link.cut(true)),
        1 => suffer(ledger, client, "link cut by FIN", || link.cut(false)),
        2 => suffer(ledger, client, "link stalled", || {
            link.set(Mood::Stalls);
            ledger.pause(random, FAULT, undisturbed);
            link.set(Mood::Passes);
        }),
        _ => suffer(ledger, client, "link down", || {
            link.set(Mood::Refuses);
            link.cut(random.chance(50));
            ledger.pause(random, FAULT, undisturbed);
            link.set(Mood::Passes);
        }),
    }
}

/// The server is killed and started again, now and then in the beginning.
pub fn restart(ledger: &Ledger, stage: &Stage, mut random: Random) {
    loop {
        ledger.pause(&mut random, SERVER_CALM, Ledger::makes_restarts);
        if !ledger.makes_restarts() {
            return ledger.wait_for_end();
        }
        let faults = ledger.fault("server killed", stage.clients.iter().map(|client| client.number));
        stage.server().process.kill();
        ledger.pause(&mut random, GONE, |ledger| !ledger.has_failed());
        stage.server().again();
        ledger.healed(&faults);
        thread::scope(|scope| {
            for (client, fault) in stage.clients.iter().zip(faults) {
                scope.spawn(move || come_back(ledger, client, fault));
            }
        });
    }
}

/// Licenses come and go beside those that are used, which must not notice.
pub fn operate(ledger: &Ledger, stage: &Stage, mut random: Random) {
    let license = |words: [&str; 2]| stage.server().license(&words);
    for number in 0.. {
        let name = format!("guest-{number}");
        for (verb, kind) in
            [("add", "license added"), ("revoke", "unused one revoked"), ("remove", "and removed")]
        {
            ledger.pause(&mut random, OTHERS_CALM, Ledger::makes_faults);
            if !ledger.makes_faults() {
                return;
            }
            license([verb, &name]);
            ledger.harmless(kind);
        }
    }
}

/// Strangers come to the tunnel ports, with garbage or without a word, and are shown out.
pub fn intrude(ledger: &Ledger, stage: &Stage, mut random: Random) {
    let doors = stage.doors();
    loop {
        ledger.pause(&mut random, OTHERS_CALM, Ledger::makes_faults);
        if !ledger.makes_faults() {
            return;
        }
        let (says, kind) =
            if random.chance(50) { (0, "silent strangers") } else { (2_000, "strangers with garbage") };
        ledger.harmless(kind);
        let strangers: Vec<TcpStream> = (0..STRANGERS)
            .filter_map(|n| {
                let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, doors[n % 2])).ok()?;
                let garbage: Vec<u8> = (0..random.below(1 + says)).map(|_| random.next() as u8).collect();
                // Whoever is shown out while it speaks has its end already.
                let _ = stream.write_all(&garbage);
                Some(stream)
            })
            .collect();
        for mut stranger in strangers {
            let _ = stranger.set_read_timeout(Some(STRANGER_PATIENCE));
            match std::io::copy(&mut stranger, &mut std::io::sink()) {
                Ok(_) => {}
                Err(error) if is_cut(&error) => {}
                Err(error) => ledger.fail(format!("a stranger is let stay: {error}")),
            }
        }
    }
}
