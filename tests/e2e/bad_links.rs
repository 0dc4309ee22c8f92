//! Links that are bad but not dead: slow, lossy, narrow, or behind a NAT that forgets. Nothing may be lost on them but time.

use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nt::limits::DRAIN_TIMEOUT;

use super::data::Pattern;
use super::faults::for_both_at_once;
use super::harness::{SOON, rounds, visit};
use super::netns::{FOUND, Far, hold};
use super::process::{eventually, holds_soon, say};
use super::wan::{Amnesia, Conditions};

/// Longer than a dead peer takes to be found, and two heartbeats more.
const LONG_ENOUGH: Duration = Duration::from_secs(50);

/// How many bytes came, and how they ended.
type Ended = (u64, Result<(), ErrorKind>);

/// Takes everything, and says as much, at the same time; then ends.
fn both_ways(bytes: u64) -> (impl Fn(TcpStream) + Send + Sync, mpsc::Receiver<Ended>) {
    let (ended, ends) = mpsc::channel();
    let serve = move |stream: TcpStream| {
        let reader = stream.try_clone().unwrap();
        let read = thread::spawn(move || Pattern::new(31).read(&reader));
        let _ = Pattern::new(32).write(&stream, bytes).and_then(|()| stream.shutdown(Shutdown::Write));
        let _ = ended.send(read.join().unwrap());
    };
    (serve, ends)
}

/// So many bytes up and as many down through one visit: both come whole.
fn passes_both_ways(far: &Far, bytes: u64, ends: &mpsc::Receiver<Ended>) {
    let visitor = visit(far.public);
    visitor.set_read_timeout(Some(LONG_ENOUGH)).unwrap();
    visitor.set_write_timeout(Some(LONG_ENOUGH)).unwrap();
    let writer = visitor.try_clone().unwrap();
    let write = thread::spawn(move || {
        Pattern::new(31).write(&writer, bytes).and_then(|()| writer.shutdown(Shutdown::Write))
    });
    assert_eq!(Pattern::new(32).read(&visitor), (bytes, Ok(())), "down");
    write.join().unwrap().unwrap();
    assert_eq!(ends.recv_timeout(SOON).unwrap(), (bytes, Ok(())), "up");
}

pub fn loss_delay_reordering_and_duplicates_cost_no_byte_and_no_session() {
    const BYTES: u64 = 4 << 20;
    for_both_at_once(|kind| {
        let (serve, ends) = both_ways(BYTES);
        let Some((far, _backend)) = Far::new(kind, serve) else { return };
        far.link.change(|now| {
            (now.delay, now.jitter) = (Duration::from_millis(20), Duration::from_millis(10));
            (now.lost, now.doubled) = (10, 10);
        });
        passes_both_ways(&far, BYTES, &ends);
        assert!(far.link.lost() > 0, "the link lost nothing");
        far.never_lost_its_session();
        far.link.heal();
    });
}

/// So much loss can look like a dead peer, once in a hundred runs: not on every run.
pub fn a_tenth_lost_and_half_a_second_there_and_back_is_no_dead_peer() {
    if rounds(0, 1) == 0 {
        return say("skipped: a tenth lost at half a second, for `make faults`");
    }
    for_both_at_once(|kind| {
        let Some((far, _backend, held)) = hold(kind) else { return };
        far.link.change(|now| (now.delay, now.lost) = (Duration::from_millis(250), 100));
        thread::sleep(LONG_ENOUGH);
        assert!(far.link.lost() > 0, "the link lost nothing");
        far.never_lost_its_session();
        assert!(
            held.visitor.try_recv().is_err() && held.server.try_recv().is_err(),
            "{kind:?}: the visit is over"
        );
        far.link.heal();
    });
}

/// Bulk both ways fills a link of 64 kbit/s and 2 s of its queue for as long as it would take to find a dead peer.
///
/// Whether another visitor is served in time beside it depends on the machine being idle: not on every run.
pub fn bulk_on_a_link_of_64_kbit_s_does_not_hold_up_heartbeats() {
    if rounds(0, 1) == 0 {
        return say("skipped: bulk on a link of 64 kbit/s, for `make faults`");
    }
    for_both_at_once(|kind| {
        let (serve, _ends) = both_ways(u64::MAX);
        let Some((far, _backend)) = Far::new(kind, serve) else { return };
        far.link.change(|now| (now.bytes_per_second, now.queue_bytes) = (Some(8_000), 16_000));
        let visitor = visit(far.public);
        let writer = visitor.try_clone().unwrap();
        thread::spawn(move || Pattern::new(31).write(&writer, u64::MAX));
        let reader = visitor.try_clone().unwrap();
        let read = thread::spawn(move || Pattern::new(32).read(&reader));
        thread::sleep(LONG_ENOUGH);
        far.never_lost_its_session();
        assert!(
            holds_soon(LONG_ENOUGH, || far.try_echo(SOON)),
            "{kind:?}: no other visitor is served beside bulk"
        );
        visitor.shutdown(Shutdown::Both).unwrap();
        let (total, _) = read.join().unwrap();
        assert!(total > 100_000, "{kind:?}: only {total} bytes came");
        far.link.heal();
        // What is still on its way is received and thrown away, for so long at most.
        thread::sleep(Duration::from_micros(DRAIN_TIMEOUT.as_micros()));
    });
}

/// A link that lets only packets of 600 bytes through, and does not say so: the client's own device knows it.
pub fn small_packets_alone_and_no_icmp_are_enough() {
    const BYTES: u64 = 1 << 20;
    for_both_at_once(|kind| {
        let (serve, ends) = both_ways(BYTES);
        let conditions = Conditions { packet_bytes_max: 600, icmp_lost: true, ..Conditions::default() };
        let Some((far, _backend)) = Far::with(kind, conditions, serve) else { return };
        passes_both_ways(&far, BYTES, &ends);
        far.never_lost_its_session();
    });
}

pub fn a_nat_that_forgets_is_found_out_and_its_client_comes_back() {
    let both = [Amnesia::Silent, Amnesia::Reset];
    for_both_at_once(|kind| {
        thread::scope(|scope| {
            for amnesia in both {
                scope.spawn(move || {
                    let Some((far, _backend, held)) = hold(kind) else { return };
                    let begun = Instant::now();
                    far.link.forget(amnesia);
                    for (whose, ends) in [("visitor", &held.visitor), ("real server", &held.server)] {
                        let left = FOUND.end.saturating_sub(begun.elapsed());
                        let (at, how) =
                            ends.recv_timeout(left).unwrap_or_else(|_| panic!("{amnesia:?}: {whose}"));
                        println!("{kind:?} {amnesia:?}: the {whose} was cut after {:?}", at - begun);
                        assert_eq!(how, ErrorKind::ConnectionReset, "{amnesia:?}: {whose}");
                    }
                    eventually("served again", SOON, || far.try_echo(Duration::from_secs(2)));
                });
            }
        });
    });
}
