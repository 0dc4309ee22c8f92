//! The service behind the tunnel that is measured: on loopback, a thread for each connection, whose first byte says
//! what the visitor wants.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use crate::doctor::duration;
use crate::limits::{BENCH_DRAIN_TIMEOUT, BENCH_VISITS_MAX};

/// What a visitor wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Wish {
    /// All that it says, again.
    Echo = b'e',
    /// To be heard until it ends, and told how many bytes that were.
    Sink = b'u',
    /// Bytes, until it goes.
    Source = b'd',
}

/// Stack of a thread.
const STACK_BYTES: usize = 256 * 1024;
/// Bytes that are read or written at once.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// Serves until the program ends; the port.
pub(super) fn start() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let visits = Arc::new(());
    let serve = move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Whoever finds this port without the tunnel gets no more of it than visitors do.
            if Arc::strong_count(&visits) > BENCH_VISITS_MAX {
                continue;
            }
            let visit = Arc::clone(&visits);
            let attend = move || {
                // Nobody is left who could be told why it ended.
                let _ = attend(&stream);
                drop(visit);
            };
            // Where no thread can be had, the visitor finds out.
            let _ = thread::Builder::new().name("service".into()).stack_size(STACK_BYTES).spawn(attend);
        }
    };
    thread::Builder::new().name("services".into()).stack_size(STACK_BYTES).spawn(serve)?;
    Ok(port)
}

fn attend(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(duration(BENCH_DRAIN_TIMEOUT)))?;
    stream.set_write_timeout(Some(duration(BENCH_DRAIN_TIMEOUT)))?;
    let mut wish = [0];
    stream.read_exact(&mut wish)?;
    let mut piece = vec![0; PIECE_BYTES];
    match wish {
        [byte] if byte == Wish::Echo as u8 => loop {
            let count = read(stream, &mut piece)?;
            if count == 0 {
                break;
            }
            stream.write_all(&piece[..count])?;
        },
        [byte] if byte == Wish::Sink as u8 => {
            let mut heard = 0_u64;
            loop {
                match read(stream, &mut piece)? {
                    0 => break,
                    count => heard += count as u64,
                }
            }
            stream.write_all(&heard.to_be_bytes())?;
        }
        [byte] if byte == Wish::Source as u8 => loop {
            stream.write_all(&piece)?;
        },
        _ => {}
    }
    stream.shutdown(Shutdown::Write)
}

/// Reads, whatever signals come.
pub(super) fn read(mut stream: &TcpStream, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
