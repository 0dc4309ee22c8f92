//! The PROXY protocol, versions 1 and 2 (haproxy's `doc/proxy-protocol.txt`, sections 2.1 and 2.2): what a real server
//! is told about its visitor before the visitor's own first byte.

use std::net::{IpAddr, SocketAddr};

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
/// Address families: streams over IPv4, over IPv6, and what cannot be said.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNSPEC: u8 = 0x00;

/// The header for this visitor, who came to the address `local`: `None` where that cannot be had. At most 107 bytes.
/// Both are as they are seen by people: no IPv4 address within IPv6.
pub fn header(version: ProxyVersion, visitor: SocketAddr, local: Option<SocketAddr>) -> Vec<u8> {
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
            [&SIGNATURE[..], &[PROXY, family, 0, addresses.len() as u8], &addresses].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn headers_are_those_of_the_specification() {
        use ProxyVersion::{V1, V2};
        let (from, to) = (at("192.168.0.1:56324"), at("192.168.0.11:443"));
        // Section 2.1 has this very line.
        assert_eq!(header(V1, from, Some(to)), b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
        let v2 = header(V2, from, Some(to));
        assert_eq!(v2[..12], [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]);
        assert_eq!(v2[12..16], [0x21, 0x11, 0, 12]);
        assert_eq!(v2[16..], [192, 168, 0, 1, 192, 168, 0, 11, 0xDC, 0x04, 0x01, 0xBB]);
        let (from, to) = (at("[2001:db8::7]:1"), at("[::1]:65535"));
        assert_eq!(header(V1, from, Some(to)), b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n");
        let v2 = header(V2, from, Some(to));
        assert_eq!((&v2[12..16], v2.len()), (&[0x21, 0x21, 0, 36][..], 52));
        assert_eq!((v2[16], v2[31], v2[47]), (0x20, 7, 1), "the visitor's address, then its own");
        assert_eq!(v2[48..], [0, 1, 0xFF, 0xFF]);
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        for local in [None, Some(at("127.0.0.1:80"))] {
            assert_eq!(header(ProxyVersion::V1, at("[::1]:9"), local), b"PROXY UNKNOWN\r\n");
            assert_eq!(header(ProxyVersion::V2, at("[::1]:9"), local)[12..], [0x21, 0, 0, 0]);
        }
    }
}
