//! The PROXY protocol, versions 1 and 2 (haproxy's `doc/proxy-protocol.txt`, sections 2.1 and 2.2): what a real server
//! is told about its visitor before the visitor's own first byte, and what a front tells nt.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How the header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// What version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and a connection on somebody's behalf.
const PROXY: u8 = 0x21;
/// Version 2, and a connection of the sender's own.
const LOCAL: u8 = 0x20;
/// Longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;
/// Bytes of version 2 before the addresses.
const FIXED_BYTES: usize = 16;
/// Address families: streams over IPv4, over IPv6, and what cannot be said. Datagrams count one more.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNSPEC: u8 = 0x00;

/// What the visitor and nt exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A stream: the header stands before it.
    Stream = 0,
    /// Datagrams: the header, of version 2, stands before the first of them.
    Datagrams = 1,
}

/// The header for this visitor, who came to the address `local`: `None` where that cannot be had. At most 107 bytes.
/// Both are as they are seen by people: no IPv4 address within IPv6.
pub fn header(
    version: ProxyVersion,
    transport: Transport,
    visitor: SocketAddr,
    local: Option<SocketAddr>,
) -> Vec<u8> {
    let local = local.filter(|local| local.is_ipv4() == visitor.is_ipv4());
    match (version, local) {
        (ProxyVersion::V1, None) => b"PROXY UNKNOWN\r\n".to_vec(),
        (ProxyVersion::V1, Some(local)) => {
            let family = if visitor.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (visitor.ip(), local.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", visitor.port(), local.port()).into_bytes()
        }
        (ProxyVersion::V2, None) => [&SIGNATURE[..], &[PROXY, UNSPEC, 0, 0]].concat(),
        (ProxyVersion::V2, Some(local)) => {
            let mut addresses = Vec::with_capacity(36);
            for address in [visitor, local] {
                match address.ip() {
                    IpAddr::V4(ip) => addresses.extend(ip.octets()),
                    IpAddr::V6(ip) => addresses.extend(ip.octets()),
                }
            }
            addresses.extend(visitor.port().to_be_bytes());
            addresses.extend(local.port().to_be_bytes());
            let family = if visitor.is_ipv4() { TCP4 } else { TCP6 };
            let family = family + transport as u8;
            [&SIGNATURE[..], &[PROXY, family, 0, addresses.len() as u8], &addresses].concat()
        }
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// The front speaks for itself, or does not know for whom.
    Itself,
    /// It speaks for a visitor.
    Visitor {
        /// The visitor's address.
        from: SocketAddr,
        /// The address that the visitor came to.
        to: SocketAddr,
    },
}

/// The bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHeader;

/// The header that `bytes` begin with, and its length; `None` while more bytes are needed.
///
/// # Errors
/// [`NoHeader`] as soon as no more bytes can make it one.
pub fn parse(bytes: &[u8]) -> Result<Option<(Announced, usize)>, NoHeader> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => parse_line(bytes),
        Some(_) => parse_binary(bytes),
    }
}

fn parse_line(bytes: &[u8]) -> Result<Option<(Announced, usize)>, NoHeader> {
    const WORD: &[u8] = b"PROXY ";
    let line = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let begun = line.len().min(WORD.len());
    let end = line.windows(2).position(|end| end == b"\r\n");
    match end {
        _ if line[..begun] != WORD[..begun] => return Err(NoHeader),
        None if line.len() == LINE_BYTES_MAX => return Err(NoHeader),
        None => return Ok(None),
        Some(_) => {}
    }
    let end = end.unwrap_or_default();
    let text = std::str::from_utf8(&line[WORD.len()..end]).map_err(|_| NoHeader)?;
    let words: Vec<&str> = text.split(' ').collect();
    let announced = match words[..] {
        ["UNKNOWN", ..] => Announced::Itself,
        [family @ ("TCP4" | "TCP6"), from, to, from_port, to_port] => {
            let end = |ip: &str, port: &str| {
                let ip: IpAddr = match family {
                    "TCP4" => ip.parse::<Ipv4Addr>().map_err(|_| NoHeader)?.into(),
                    _ => ip.parse::<Ipv6Addr>().map_err(|_| NoHeader)?.into(),
                };
                Ok(SocketAddr::new(ip.to_canonical(), port.parse().map_err(|_| NoHeader)?))
            };
            Announced::Visitor { from: end(from, from_port)?, to: end(to, to_port)? }
        }
        _ => return Err(NoHeader),
    };
    Ok(Some((announced, end + 2)))
}

fn parse_binary(bytes: &[u8]) -> Result<Option<(Announced, usize)>, NoHeader> {
    let begun = bytes.len().min(SIGNATURE.len());
    if bytes[..begun] != SIGNATURE[..begun] {
        return Err(NoHeader);
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    if command != PROXY && command != LOCAL {
        return Err(NoHeader);
    }
    // Behind the addresses may stand what nobody here asks for (section 2.2.1).
    let length = usize::from(u16::from_be_bytes([high, low]));
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let announced = match (command, family) {
        (PROXY, TCP4) => addresses::<4, _>(body, |ip| Ipv4Addr::from(ip).into())?,
        (PROXY, TCP6) => addresses::<16, _>(body, |ip| Ipv6Addr::from(ip).into())?,
        _ => Announced::Itself,
    };
    Ok(Some((announced, FIXED_BYTES + length)))
}

fn addresses<const N: usize, F: Fn([u8; N]) -> IpAddr>(body: &[u8], ip: F) -> Result<Announced, NoHeader> {
    let (from, rest) = body.split_first_chunk::<N>().ok_or(NoHeader)?;
    let (to, rest) = rest.split_first_chunk::<N>().ok_or(NoHeader)?;
    let (&[a, b, c, d], _) = rest.split_first_chunk::<4>().ok_or(NoHeader)?;
    let end = |bytes: [u8; N], port| SocketAddr::new(ip(bytes).to_canonical(), u16::from_be_bytes(port));
    Ok(Announced::Visitor { from: end(*from, [a, b]), to: end(*to, [c, d]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Transport = Transport::Stream;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn headers_are_those_of_the_specification() {
        use ProxyVersion::{V1, V2};
        let (from, to) = (at("192.168.0.1:56324"), at("192.168.0.11:443"));
        // Section 2.1 has this very line.
        assert_eq!(header(V1, STREAM, from, Some(to)), b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
        let v2 = header(V2, STREAM, from, Some(to));
        assert_eq!(v2[..12], [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]);
        assert_eq!(v2[12..16], [0x21, 0x11, 0, 12]);
        assert_eq!(v2[16..], [192, 168, 0, 1, 192, 168, 0, 11, 0xDC, 0x04, 0x01, 0xBB]);
        let datagrams = header(V2, Transport::Datagrams, from, Some(to));
        assert_eq!((datagrams[13], &datagrams[14..]), (0x12, &v2[14..]), "section 2.2: UDP over IPv4");
        let (from, to) = (at("[2001:db8::7]:1"), at("[::1]:65535"));
        assert_eq!(header(V1, STREAM, from, Some(to)), b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n");
        let v2 = header(V2, STREAM, from, Some(to));
        assert_eq!((&v2[12..16], v2.len()), (&[0x21, 0x21, 0, 36][..], 52));
        assert_eq!((v2[16], v2[31], v2[47]), (0x20, 7, 1), "the visitor's address, then its own");
        assert_eq!(v2[48..], [0, 1, 0xFF, 0xFF]);
    }

    #[test]
    fn headers_come_back_and_prefixes_wait() {
        let pairs = [("1.2.3.4:5", "9.8.7.6:65535"), ("[2001:db8::7]:1", "[::1]:80")];
        for (from, to) in pairs.map(|(from, to)| (at(from), at(to))) {
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                let mut bytes = header(version, STREAM, from, Some(to));
                let length = bytes.len();
                for cut in 0..length {
                    assert_eq!(parse(&bytes[..cut]), Ok(None), "{version:?} cut at {cut}");
                }
                bytes.extend(b"words");
                assert_eq!(parse(&bytes), Ok(Some((Announced::Visitor { from, to }, length))));
            }
        }
        let behind =
            [&SIGNATURE[..], &[PROXY, TCP4, 0, 15, 1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 0, 80, 4, 0, 0]].concat();
        let announced = Announced::Visitor { from: at("1.2.3.4:9"), to: at("5.6.7.8:80") };
        assert_eq!(parse(&behind), Ok(Some((announced, behind.len()))), "with a field behind the addresses");
        for itself in [b"PROXY UNKNOWN\r\n".to_vec(), b"PROXY UNKNOWN ::1 ::1 1 2\r\n".to_vec()] {
            assert_eq!(parse(&itself), Ok(Some((Announced::Itself, itself.len()))));
        }
        for (command, family) in
            [(LOCAL, TCP4), (LOCAL, UNSPEC), (PROXY, UNSPEC), (PROXY, 0x31), (PROXY, 0x12)]
        {
            let itself = [&SIGNATURE[..], &[command, family, 0, 1, 7]].concat();
            assert_eq!(parse(&itself), Ok(Some((Announced::Itself, itself.len()))));
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_once() {
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 107]].concat();
        let short = [&SIGNATURE[..], &[PROXY, TCP6, 0, 12], &[0; 12]].concat();
        let version = [&SIGNATURE[..], &[0x11]].concat();
        for bytes in [
            &b"G"[..],
            b"PROXYS",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
            b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
            b"PROXY \xFF\r\n",
            b"\r\n\r\n\0\r\nQUIT\r",
            &long,
            &short,
        ] {
            assert_eq!(parse(bytes), Err(NoHeader), "{}", bytes.escape_ascii());
        }
        assert_eq!(parse(&[&version[..], &[TCP4, 0, 0]].concat()), Err(NoHeader), "version 1, in binary");
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        for local in [None, Some(at("127.0.0.1:80"))] {
            assert_eq!(header(ProxyVersion::V1, STREAM, at("[::1]:9"), local), b"PROXY UNKNOWN\r\n");
            assert_eq!(header(ProxyVersion::V2, STREAM, at("[::1]:9"), local)[12..], [0x21, 0, 0, 0]);
        }
    }
}
