//! Datagrams, at both ends: which of them a visitor says follows from its number alone, so whoever gets one can tell
//! whether it was changed, cut, doubled, or meant for another.

use std::io::ErrorKind;
use std::iter::{once, repeat_with};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::dice::Random;
use super::ledger::{Ledger, Trouble};

/// More than any of them has.
const ROOM: usize = 1 << 16;
/// Where this stands whole, a datagram says whose it is, and which.
const NAME_BYTES: usize = 16;
/// Where visitors come from: each from an address of its own, so that what comes late to one finds no other.
const FIRST_VISITOR: u32 = 0x7F10_0000;
/// So many addresses are there: more than an hour has visits.
const ADDRESSES: u64 = 0x00EF_0000;
/// A visitor says less than 2 to the power of this.
const DATAGRAMS_BITS: u32 = 20;
/// An answer that takes longer was lost …
pub const ANSWER: Duration = Duration::from_secs(1);
/// … and of so many in turn not all are, unless there is a fault.
const TRIES: u64 = 20;

/// The datagram of this number of a visitor: mostly little, sometimes as much as there can be.
fn words(visit: u64, number: u64) -> Vec<u8> {
    let mut random = Random(visit << DATAGRAMS_BITS | number);
    let most = match random.below(100) {
        0..50 => 100,
        50..80 => 1_500,
        80..98 => 9_000,
        _ => 65_508,
    };
    let length = random.below(most) as usize;
    let all = once(visit).chain(once(number)).chain(repeat_with(|| random.next()));
    all.flat_map(u64::to_le_bytes).take(length).collect()
}

/// Whether somebody says exactly this; of what is too short to tell, any visitor may say it.
fn is_said(datagram: &[u8]) -> bool {
    let Some((name, _)) = datagram.split_at_checked(NAME_BYTES) else { return true };
    let word = |n: usize| u64::from_le_bytes(std::array::from_fn(|at| name[8 * n + at]));
    datagram == words(word(0), word(1))
}

/// Starts a real server that sends back what comes, for as long as this process lives; returns its port.
pub fn echo(ledger: &Arc<Ledger>) -> u16 {
    let (ledger, socket) = (Arc::clone(ledger), UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut datagram = vec![0; ROOM];
        loop {
            // An error tells of somebody who has gone.
            let Ok((length, source)) = socket.recv_from(&mut datagram) else { continue };
            if !is_said(&datagram[..length]) {
                ledger.fail(format!("at the real server, {length} bytes that nobody said in one datagram"));
            }
            let _ = socket.send_to(&datagram[..length], source);
        }
    });
    port
}

/// One visitor's socket.
pub struct Talk {
    visit: u64,
    socket: UdpSocket,
    pub said: u64,
    /// What was said and not answered.
    unanswered: Vec<Vec<u8>>,
}

impl Talk {
    pub fn begin(visit: u64, port: u16) -> std::io::Result<Self> {
        let own = Ipv4Addr::from(FIRST_VISITOR + (visit % ADDRESSES) as u32);
        let socket = UdpSocket::bind((own, 0))?;
        // Only what comes from the very address that was written to is heard.
        socket.connect((Ipv4Addr::LOCALHOST, port))?;
        Ok(Self { visit, socket, said: 0, unanswered: Vec::new() })
    }

    pub fn say(&mut self, count: u64) -> Result<(), Trouble> {
        for _ in 0..count {
            let datagram = words(self.visit, self.said);
            self.said += 1;
            let sent = self.socket.send(&datagram);
            // It may come to be answered, whatever the error tells of those before.
            self.unanswered.push(datagram);
            sent?;
        }
        Ok(())
    }

    /// Whether an answer comes in time; it has to be one to something that was said, which has none yet.
    pub fn hear(&mut self, patience: Duration) -> Result<bool, Trouble> {
        let mut answer = vec![0; ROOM];
        self.socket.set_read_timeout(Some(patience))?;
        let answer = match self.socket.recv(&mut answer) {
            Ok(length) => &answer[..length],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let Some(at) = self.unanswered.iter().position(|said| said == answer) else {
            let length = answer.len();
            return Err(Trouble::Wrong(format!("{length} bytes answer nothing that waits for an answer")));
        };
        self.unanswered.swap_remove(at);
        Ok(true)
    }

    /// Says so many at once, until one is answered.
    pub fn ask(&mut self, at_once: u64) -> Result<(), Trouble> {
        for _ in 0..TRIES {
            let tried = Instant::now();
            match self.say(at_once).and_then(|()| self.hear(ANSWER)) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // Nobody has the port at this moment.
                Err(Trouble::Cut(_)) => thread::sleep(ANSWER.saturating_sub(tried.elapsed())),
                Err(wrong) => return Err(wrong),
            }
        }
        Err(Trouble::Cut(format!("none of the last {} datagrams is answered", TRIES * at_once)))
    }

    /// Hears what still comes, to the last answer that is due.
    pub fn hear_out(&mut self) -> Result<(), Trouble> {
        while !self.unanswered.is_empty() {
            match self.hear(ANSWER) {
                Ok(true) => {}
                Ok(false) | Err(Trouble::Cut(_)) => return Ok(()),
                Err(wrong) => return Err(wrong),
            }
        }
        Ok(())
    }

    pub fn answered(&self) -> u64 {
        self.said - self.unanswered.len() as u64
    }
}
