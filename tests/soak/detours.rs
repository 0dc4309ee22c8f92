//! Visitors who reach the obedient real server by a detour: by a client's exits, or by the door of another client.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::ledger::Trouble;
use super::real::Order;
use super::stage::Client;
use super::visitors::{Guest, PATIENCE, PROBE, Visit, connect, echo_by};

/// Kinds, with the share of each.
pub const KINDS: [(&str, u64, Visit); 4] = [
    ("by SOCKS5", 4, by_socks),
    ("by a proxy for HTTP", 4, by_http),
    ("by an exit, to where it may not lead", 1, forbidden),
    ("a private mapping, by another client", 5, by_another),
];

/// An address that no `--allow` of the clients covers (RFC 5737).
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// What SOCKS5 says of it (RFC 1928 section 6).
const NOT_ALLOWED: u8 = 2;

/// Asks an exit by SOCKS5 (RFC 1928) for an address; what it answers, 0 if it leads there.
fn ask_socks(mut stream: &TcpStream, ip: Ipv4Addr, port: u16) -> Result<u8, Trouble> {
    stream.write_all(&[5, 1, 0])?;
    let mut method = [0; 2];
    stream.read_exact(&mut method)?;
    if method != [5, 0] {
        return Err(Trouble::Wrong(format!("{method:?} for a method")));
    }
    stream.write_all(&[&[5, 1, 0, 1][..], &ip.octets(), &port.to_be_bytes()].concat())?;
    let mut answer = [0; 10];
    stream.read_exact(&mut answer)?;
    Ok(answer[1])
}

fn by_socks(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    echo_by(guest, |guest, order| {
        let stream = connect(guest.client.ports.socks, PATIENCE)?;
        match ask_socks(&stream, Ipv4Addr::LOCALHOST, guest.client.obedient)? {
            0 => order.send(&stream)?,
            told => return Err(Trouble::Told(format!("SOCKS5 says {told}"))),
        }
        Ok(stream)
    })
}

fn by_http(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    echo_by(guest, |guest, order| {
        let mut stream = connect(guest.client.ports.http_proxy, PATIENCE)?;
        let target = format!("127.0.0.1:{}", guest.client.obedient);
        write!(stream, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        if !head.starts_with(b"HTTP/1.1 200 ") {
            return Err(Trouble::Told(String::from_utf8_lossy(&head).into_owned()));
        }
        order.send(&stream)?;
        Ok(stream)
    })
}

fn forbidden(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let stream = connect(guest.client.ports.socks, PATIENCE)?;
    match ask_socks(&stream, ELSEWHERE, 80)? {
        NOT_ALLOWED => Ok(()),
        told => Err(Trouble::Wrong(format!("SOCKS5 says {told} of what is not allowed"))),
    }
}

fn by_another(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let door = guest.goes_by_another();
    echo_by(guest, |_, order| {
        let stream = connect(door, PATIENCE)?;
        order.send(&stream)?;
        Ok(stream)
    })
}

/// Whether the client's exit leads to its real server.
pub fn probe(client: &Client) -> bool {
    let ask = || -> Result<bool, Trouble> {
        let stream = connect(client.ports.socks, PROBE)?;
        let led = ask_socks(&stream, Ipv4Addr::LOCALHOST, client.first)? == 0;
        Ok(led && Order::hear(&stream).is_ok())
    };
    ask().unwrap_or(false)
}
