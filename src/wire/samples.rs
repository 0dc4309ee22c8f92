//! One of each frame, for tests.

use std::net::{Ipv6Addr, SocketAddr};

use super::*;

/// One frame of each type with every field set: golden bytes, fuzz seeds and round trips are made from these.
pub fn samples() -> Vec<(&'static str, Frame<'static>)> {
    let v4 = SocketAddr::from(([192, 0, 2, 7], 50_000));
    let v6 = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 443));
    let hello = Hello {
        version: VERSION,
        license: *b"licenseI",
        instance: *b"instance-of-16-b",
        counter: 3,
        capabilities: 0,
        mappings: 2,
        signature: [0x5A; SIGNATURE_BYTES],
    };
    let welcome = Welcome {
        version: VERSION,
        session: *b"session-of-16-by",
        generation: 9,
        capabilities: 0,
        resumed: true,
        mac: [0xA5; MAC_BYTES],
    };
    vec![
        ("hello", Frame::Hello(hello)),
        ("welcome", Frame::Welcome(welcome)),
        (
            "reject",
            Frame::Reject(Reject { reason: Reason::Denied, retry_millis: 30_000, mac: [0; MAC_BYTES] }),
        ),
        ("nonce", Frame::Nonce([7; 32])),
        ("attach", Frame::Attach(Attach { session: welcome.session, channel: 5, mac: [0xA5; MAC_BYTES] })),
        (
            "visit",
            Frame::Visit(Visit {
                session: welcome.session,
                visit: 6,
                name: "nas/ssh",
                mac: [0xA5; MAC_BYTES],
            }),
        ),
        ("map", Frame::Map(Map { index: 1, mapping: "[2001:db8::1]:443:192.168.1.5:22" })),
        ("mapped live", Frame::Mapped(Mapped { index: 1, count: 11, trouble: None, public: v4 })),
        (
            "mapped in use",
            Frame::Mapped(Mapped { index: 0x8001, count: 1, trouble: Some(Reason::InUse), public: v6 }),
        ),
        ("open", Frame::Open { first: 17, count: 4 }),
        ("heartbeat", Frame::Heartbeat),
        ("goodbye", Frame::Goodbye { reason: Reason::Replaced, retry_millis: 60_000 }),
        ("connect", Frame::Connect(Connect { visit: 1 << 40, mapping: 1, visitor: v4 })),
        ("connected", Frame::Connected),
        ("transfer", Frame::Transfer(0x01_02_03)),
        ("fin", Frame::Fin),
        ("disconnect", Frame::Disconnect { visit: 12, reason: Reason::Refused }),
        ("datagram", Frame::Datagram(b"question")),
        ("empty datagram", Frame::Datagram(b"")),
        ("piece", Frame::Piece(b"ques")),
    ]
}
