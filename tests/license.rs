//! The license: known answers, typing errors, and every way in which a proof must fail.

use nt::license::{License, LicenseError, Transport, Verifier};

// Known answers, by Python's hashlib, hmac, base64 and cryptography (Ed25519), from
//   raw = bytes(range(28)); binding = bytes(range(100, 132)); hello = b"the hello"
//   answer = b"the answer"; session = bytes(range(200, 216)); channel = 0x0102030405060708
//   text = "nt1" + b32encode(raw + sha256(b"nt/1 license checksum" + raw)[:4]).lower().rstrip("=")
//   prk = hmac(b"nt/1 license", raw); expand = lambda info: hmac(prk, info + b"\1")
//   sign = Ed25519(expand(b"nt/1 client sign")); mac = expand(b"nt/1 server mac")
//   sign(b"nt/1 C\0" + label + b"\0" + binding + sha256(hello))
//   hmac(mac, b"nt/1 S\0" + label + b"\0" + binding + sha256(hello) + sha256(answer))
//   K = hmac(mac, b"nt/1 A\0" + label + b"\0" + binding + session)
//   hmac(K, b"nt/1 D\0" + label + b"\0" + binding + channel.to_bytes(8, "big"))
const TEXT: &str = "nt1aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwqxykjaq";
const PUBLIC: &str = "80abc566b68cd5334cff4edaf10ff9b0722e47720c55b817fbb2aa7b82692754";
const MAC: &str = "ee9166fcbed884950c19e1a85176e27a158164852417b81b876d11c09c148c9d";
const PROOFS: [(Transport, &str, &str, &str); 2] = [
    (
        Transport::Tls,
        "9face25876613869fb9746e64846c9f63b8a2856b016c60b16066e4fb65474cc\
         3ffff33dcb90f78ed1f86b3e6c48de6643f3bcae28d2486fa12c1be7cf935907",
        "db438628ae1ee0f10a2fa12b26ef6508e054d412454828daf98518a0312209e1",
        "c7548d26b532e418857a8eedc18458f721df116b282e65ea1e7b00685561d39c",
    ),
    (
        Transport::Plain,
        "7a70a9748186f6c1dfb3f9bfbbafc8389fc5354b7920d05d17e287c1079ed9e0\
         b422f5104005e6c5c057ae174e8ae55ca7549c24025d817873062a8163314e04",
        "8d9e704aeb2011b303d3b73530dc50bde4a2b6660eac407bffb2e24a253df505",
        "30884a3f1330d20d49f823e4b625db7819ea2f7850574a614a5b28c4f7d1dde8",
    ),
];
const DUMMY: &str = "e3235db9f16ce39c04f36c1d2b27e159158516b5aa2db3ab7f2960d49c7ffcc5";
const HELLO: &[u8] = b"the hello";
const ANSWER: &[u8] = b"the answer";
const CHANNEL: u64 = 0x0102_0304_0506_0708;

fn counting<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|i| first + u8::try_from(i).expect("short"))
}

fn sample() -> License {
    License::from_random(counting(0))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn known_answers() {
    let (license, binding) = (sample(), counting(100));
    assert_eq!(license.text(), TEXT);
    assert_eq!(license.id().to_string(), "0001020304050607");
    let (keys, verifier) = (license.client_keys(), license.verifier());
    assert_eq!(hex(&verifier.public), PUBLIC);
    assert_eq!(hex(&verifier.mac), MAC);
    assert_eq!(hex(&Verifier::dummy().public), DUMMY);
    for (transport, signature, mac, attach) in PROOFS {
        assert_eq!(hex(&keys.sign_hello(transport, &binding, HELLO)), signature);
        assert_eq!(hex(&verifier.mac_answer(transport, &binding, HELLO, ANSWER)), mac);
        for key in [
            keys.attach_key(transport, &binding, &counting(200)),
            verifier.attach_key(transport, &binding, &counting(200)),
        ] {
            assert_eq!(hex(&key.mac(transport, &binding, CHANNEL)), attach);
        }
    }
}

#[test]
fn text_is_read_forgivingly() {
    for text in [TEXT.to_string(), TEXT.to_uppercase(), format!(" \t{TEXT}\r\n")] {
        assert_eq!(License::parse(&text), Ok(sample()));
    }
    for bytes in [[0; 28], [255; 28], counting(77)] {
        let license = License::from_random(bytes);
        assert_eq!(License::parse(&license.text()), Ok(license));
    }
}

#[test]
fn wrong_text_is_named() {
    let zero = TEXT.replacen('u', "0", 1);
    for (text, error, says) in [
        ("", LicenseError::Empty, "the license is empty"),
        ("nt", LicenseError::Prefix, "a license begins with `nt1`, this does not"),
        ("nt2abc", LicenseError::Prefix, "a license begins with `nt1`, this does not"),
        ("é", LicenseError::Prefix, "a license begins with `nt1`, this does not"),
        (
            &TEXT[..54],
            LicenseError::Length { chars: 54 },
            "a license has 55 characters, this has 54: some are missing",
        ),
        (
            &format!("{TEXT}a"),
            LicenseError::Length { chars: 56 },
            "a license has 55 characters, this has 56: there are too many",
        ),
        (
            &zero,
            LicenseError::Character { position: 13, found: '0' },
            "character 13 of the license is '0', which no license contains: is it the letter o?",
        ),
        (
            &format!("nt1é{}", &TEXT[4..]),
            LicenseError::Character { position: 4, found: 'é' },
            "character 4 of the license is 'é', which no license contains",
        ),
    ] {
        assert_eq!(License::parse(text), Err(error), "{text}");
        assert_eq!(error.to_string(), says);
    }
}

#[test]
fn every_typing_error_is_found() {
    for license in [sample(), License::from_random([0; 28]), License::from_random([255; 28])] {
        let text = license.text();
        for at in 0..text.len() {
            for &letter in b"abcdefghijklmnopqrstuvwxyz0123456789" {
                let mut typed = text.clone().into_bytes();
                typed[at] = letter;
                let typed = String::from_utf8(typed).expect("ASCII");
                assert_eq!(License::parse(&typed).is_ok(), typed == text, "{typed}");
            }
            let mut typed = text.clone().into_bytes();
            if at > 0 {
                typed.swap(at - 1, at);
            }
            let typed = String::from_utf8(typed).expect("ASCII");
            assert_eq!(License::parse(&typed).is_ok(), typed == text, "{typed}");
            assert!(License::parse(&text[..at]).is_err());
        }
    }
}

#[test]
fn every_flipped_bit_refuses() {
    let (license, binding) = (sample(), counting::<32>(100));
    let (keys, verifier) = (license.client_keys(), license.verifier());
    let t = Transport::Tls;
    let signature = keys.sign_hello(t, &binding, HELLO);
    let mac = verifier.mac_answer(t, &binding, HELLO, ANSWER);
    let key = keys.attach_key(t, &binding, &counting(200));
    let attach = key.mac(t, &binding, CHANNEL);
    assert!(verifier.check_hello(t, &binding, HELLO, &signature));
    assert!(keys.check_welcome(t, &binding, HELLO, ANSWER, &mac));
    assert!(key.check(t, &binding, CHANNEL, &attach));
    for bit in 0..8 {
        let flipped = |bytes: &[u8], at: usize| {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= 1 << bit;
            bytes
        };
        for at in 0..64 {
            let wrong = flipped(&signature, at).try_into().expect("64");
            assert!(!verifier.check_hello(t, &binding, HELLO, &wrong));
        }
        for at in 0..32 {
            assert!(!keys.check_welcome(t, &binding, HELLO, ANSWER, &flipped(&mac, at)));
            assert!(!key.check(t, &binding, CHANNEL, &flipped(&attach, at)));
            let other = flipped(&binding, at).try_into().expect("32");
            assert!(!verifier.check_hello(t, &other, HELLO, &signature));
            assert!(!keys.check_welcome(t, &other, HELLO, ANSWER, &mac));
            assert!(!key.check(t, &other, CHANNEL, &attach));
            let session = keys.attach_key(t, &other, &counting(200));
            assert!(!session.check(t, &binding, CHANNEL, &attach));
        }
        for at in 0..HELLO.len() {
            assert!(!verifier.check_hello(t, &binding, &flipped(HELLO, at), &signature));
            assert!(!keys.check_welcome(t, &binding, &flipped(HELLO, at), ANSWER, &mac));
            assert!(!keys.check_welcome(t, &binding, HELLO, &flipped(ANSWER, at), &mac));
        }
    }
}

#[test]
fn proofs_serve_one_purpose() {
    let (license, binding) = (sample(), counting(100));
    let (keys, verifier) = (license.client_keys(), license.verifier());
    let (t, other) = (Transport::Tls, Transport::Plain);
    let signature = keys.sign_hello(t, &binding, HELLO);
    assert!(!verifier.check_hello(other, &binding, HELLO, &signature));
    assert!(!Verifier::dummy().check_hello(t, &binding, HELLO, &signature));
    let mac = verifier.mac_answer(t, &binding, HELLO, ANSWER);
    assert!(!keys.check_welcome(other, &binding, HELLO, ANSWER, &mac));
    // Roles: neither frame passes as the other, and no byte wanders between them.
    assert!(!keys.check_welcome(t, &binding, ANSWER, HELLO, &mac));
    assert!(!keys.check_welcome(t, &binding, b"the hellot", b"he answer", &mac));
    assert!(!keys.check_welcome(t, &binding, HELLO, ANSWER, &signature[..32]));
    for length in [0, 31] {
        assert!(!keys.check_welcome(t, &binding, HELLO, ANSWER, &mac[..length]));
    }
    let key = keys.attach_key(t, &binding, &counting(200));
    let attach = key.mac(t, &binding, CHANNEL);
    assert!(!key.check(other, &binding, CHANNEL, &attach));
    assert!(!key.check(t, &binding, CHANNEL + 1, &attach));
    assert!(!keys.attach_key(other, &binding, &counting(200)).check(t, &binding, CHANNEL, &attach));
    assert!(!keys.attach_key(t, &binding, &counting(201)).check(t, &binding, CHANNEL, &attach));
    // Another license, with the same id.
    let mut bytes = counting(0);
    bytes[27] ^= 1;
    let thief = License::from_random(bytes);
    assert!(!verifier.check_hello(t, &binding, HELLO, &thief.client_keys().sign_hello(t, &binding, HELLO)));
    assert!(!thief.client_keys().check_welcome(t, &binding, HELLO, ANSWER, &mac));
}

#[test]
fn nothing_secret_is_printed() {
    let license = sample();
    let key = license.client_keys().attach_key(Transport::Tls, &[0; 32], &[0; 16]);
    let shown = format!("{license:?} {:?} {:?} {key:?}", license.client_keys(), license.verifier());
    assert!(shown.contains("0001020304050607") && shown.contains(PUBLIC));
    assert!(!shown.contains(&MAC[..8]) && !shown.contains(&TEXT[4..12]), "{shown}");
}
