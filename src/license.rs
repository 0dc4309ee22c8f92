//! The license, the one credential of a client, and every proof that is made with it.
//!
//! A license is 28 random bytes: an id of 8, which is sent in clear, and a seed of 20, which never
//! leaves the client. Two keys are derived from it (HKDF with SHA-256, RFC 5869):
//!
//! ```text
//! PRK  = Extract(salt "nt/1 license", id || seed)
//! sign = Expand(PRK, "nt/1 client sign", 32)      an Ed25519 private key (RFC 8032)
//! mac  = Expand(PRK, "nt/1 server mac", 32)       a key for HMAC-SHA256 (RFC 2104)
//! ```
//!
//! The client holds both ([`ClientKeys`]); the server stores the public half of the first and the
//! second ([`Verifier`]), so that its file lets nobody log in. Every proof covers its purpose, the
//! kind of tunnel port, and 32 bytes that only the two ends of this one connection share (the TLS
//! exporter of RFC 9266, or a hash of both nonces on the plain port): it is worth nothing on any
//! other connection, in the other direction, or on the other port.
//!
//! ```text
//! hello    Ed25519(sign, "nt/1 C" 0 label 0 binding SHA-256(hello))
//! answer   HMAC(mac, "nt/1 S" 0 label 0 binding SHA-256(hello) SHA-256(answer))
//! attach   K = HMAC(mac, "nt/1 A" 0 label 0 binding session)
//!          HMAC(K, "nt/1 D" 0 label 0 binding channel)       channel: 64 bits, big-endian
//! ```
//!
//! `label` is `tls` or `tcp`; the 0s are single zero bytes; the binding in K is the CmdChannel's, the
//! one beside "nt/1 D" is the ProxyChannel's own.

use std::fmt;
use std::hint::black_box;

use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use ring::{digest, hkdf, hmac};

use crate::text::{parse_hex, quote};

/// What every license begins with; the digit is the version of the format.
pub const PREFIX: &str = "nt1";

/// Length of a license as text: the prefix and 32 bytes in base32.
pub const TEXT_CHARS: usize = PREFIX.len() + (LICENSE_BYTES + CHECKSUM_BYTES) * 8 / 5 + 1;

/// Length of a license as bytes: an id of 8 and a seed of 20.
pub const LICENSE_BYTES: usize = ID_BYTES + SEED_BYTES;

const ID_BYTES: usize = 8;
const SEED_BYTES: usize = 20;
const CHECKSUM_BYTES: usize = 4;

/// RFC 4648 section 6, in lower case: no 0, 1, 8 or 9, which are mistaken for letters.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

const _: () = assert!(TEXT_CHARS == 55);

/// The one credential of a client: names it, proves it, and proves the server to it.
///
/// There is no `Display`, so that none is printed by accident; [`License::text`] is the way.
#[derive(Clone, PartialEq, Eq)]
pub struct License {
    bytes: [u8; LICENSE_BYTES],
}

/// The public name of a license: 8 random bytes, shown as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LicenseId(pub [u8; 8]);

/// Why a text is no license. None of these carries more of the text than one wrong character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LicenseError {
    /// There is nothing but space.
    Empty,
    /// It does not begin with `nt1`.
    Prefix,
    /// It has another length than every license has.
    Length {
        /// How many characters it has.
        chars: usize,
    },
    /// A character that no license contains.
    Character {
        /// Where, counted from 1.
        position: usize,
        /// Which one.
        found: char,
    },
    /// All characters are possible, but together they are no license.
    Checksum,
}

impl License {
    /// The license made of 28 random bytes, which the caller brings: 8 of id, 20 of seed.
    pub fn from_random(bytes: [u8; LICENSE_BYTES]) -> Self {
        Self { bytes }
    }

    /// Reads a license as [`License::text`] writes it, with any surrounding space and in any case.
    ///
    /// # Errors
    /// What is wrong, in the words of a person who typed or pasted it.
    pub fn parse(text: &str) -> Result<Self, LicenseError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(LicenseError::Empty);
        }
        let body = match text.get(..PREFIX.len()) {
            Some(start) if start.eq_ignore_ascii_case(PREFIX) => &text[PREFIX.len()..],
            _ => return Err(LicenseError::Prefix),
        };
        for (at, found) in body.chars().enumerate() {
            if symbol_value(found).is_none() {
                return Err(LicenseError::Character { position: PREFIX.len() + at + 1, found });
            }
        }
        if text.len() != TEXT_CHARS {
            return Err(LicenseError::Length { chars: text.len() });
        }
        let decoded = base32_decode(body).ok_or(LicenseError::Checksum)?;
        let (bytes, sum) = decoded.split_at(LICENSE_BYTES);
        let license = Self { bytes: bytes.try_into().expect("28 bytes were split off") };
        if sum == license.checksum() { Ok(license) } else { Err(LicenseError::Checksum) }
    }

    /// The license as a person keeps it: `nt1`, then id, seed and checksum in lower-case base32
    /// (RFC 4648 section 6) without padding. The checksum is the first 4 bytes of
    /// SHA-256("nt/1 license checksum" || id || seed). **This is the secret itself.**
    pub fn text(&self) -> String {
        let mut all = [0; LICENSE_BYTES + CHECKSUM_BYTES];
        all[..LICENSE_BYTES].copy_from_slice(&self.bytes);
        all[LICENSE_BYTES..].copy_from_slice(&self.checksum());
        let text = base32_encode(&all);
        black_box(&mut all).fill(0);
        text
    }

    /// The public name of this license.
    pub fn id(&self) -> LicenseId {
        LicenseId(self.bytes[..ID_BYTES].try_into().expect("a license begins with its id"))
    }

    /// The keys with which a client proves that it holds this license.
    pub fn client_keys(&self) -> ClientKeys {
        let (mut sign, mut mac) = self.derive();
        let pair = Ed25519KeyPair::from_seed_unchecked(&sign).expect("a seed of 32 bytes is a key");
        let keys = ClientKeys { pair, mac: mac_key(&mac) };
        black_box(&mut sign).fill(0);
        black_box(&mut mac).fill(0);
        keys
    }

    /// What a server stores to recognise this license.
    pub fn verifier(&self) -> Verifier {
        let (mut sign, mac) = self.derive();
        let pair = Ed25519KeyPair::from_seed_unchecked(&sign).expect("a seed of 32 bytes is a key");
        black_box(&mut sign).fill(0);
        let public = ring::signature::KeyPair::public_key(&pair).as_ref();
        Verifier { public: public.try_into().expect("an Ed25519 public key has 32 bytes"), mac }
    }

    fn derive(&self) -> ([u8; 32], [u8; 32]) {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"nt/1 license").extract(&self.bytes);
        let expand = |purpose: &[u8]| {
            let mut key = [0; 32];
            prk.expand(&[purpose], hkdf::HKDF_SHA256)
                .and_then(|okm| okm.fill(&mut key))
                .expect("HKDF gives one block");
            key
        };
        (expand(b"nt/1 client sign"), expand(b"nt/1 server mac"))
    }

    fn checksum(&self) -> [u8; CHECKSUM_BYTES] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"nt/1 license checksum");
        context.update(&self.bytes);
        let sum = context.finish();
        sum.as_ref()[..CHECKSUM_BYTES].try_into().expect("a SHA-256 has 32 bytes")
    }
}

impl Drop for License {
    fn drop(&mut self) {
        // `black_box` keeps the compiler from leaving out a write that nobody reads.
        black_box(&mut self.bytes).fill(0);
    }
}

impl fmt::Debug for License {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "License({})", self.id())
    }
}

impl LicenseId {
    /// Reads what `Display` shows.
    ///
    /// # Errors
    /// A sentence that quotes the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse_hex(text).map(Self).ok_or_else(|| format!("{} is no license's id", quote(text)))
    }
}

impl fmt::Display for LicenseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LicenseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LicenseId({self})")
    }
}

impl fmt::Display for LicenseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => write!(f, "the license is empty"),
            Self::Prefix => write!(f, "a license begins with `{PREFIX}`, this does not"),
            Self::Length { chars } => {
                let what = if chars < TEXT_CHARS { "some are missing" } else { "there are too many" };
                write!(f, "a license has {TEXT_CHARS} characters, this has {chars}: {what}")
            }
            Self::Character { position, found } => {
                write!(f, "character {position} of the license is {found:?}, which no license contains")?;
                match found {
                    '0' => write!(f, ": is it the letter o?"),
                    '1' => write!(f, ": is it the letter l or i?"),
                    '8' => write!(f, ": is it the letter b?"),
                    _ => Ok(()),
                }
            }
            Self::Checksum => write!(
                f,
                "a letter of the license was mistyped: its checksum does \
                not match"
            ),
        }
    }
}

impl std::error::Error for LicenseError {}

/// Which kind of tunnel port a proof is made for; its label is inside every proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The TLS port: the binding is the exporter of RFC 9266. Label `tls`.
    Tls,
    /// The plain port: the binding is a hash of both ends' nonces. Label `tcp`.
    Plain,
}

/// What proofs are bound to on the plain port: a hash of both ends' nonces.
pub fn plain_binding(client: &[u8; 32], server: &[u8; 32]) -> [u8; 32] {
    let text = [b"nt/1 plain binding\0".as_slice(), client, server].concat();
    let hash = digest::digest(&digest::SHA256, &text);
    hash.as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

/// What a client derives from its license: the Ed25519 key that signs, the MAC key that both share.
pub struct ClientKeys {
    pair: Ed25519KeyPair,
    mac: hmac::Key,
}

impl ClientKeys {
    /// Signs `hello`, the bytes of the client's first frame without this signature.
    /// `binding` is what both ends of this one connection share.
    pub fn sign_hello(&self, transport: Transport, binding: &[u8; 32], hello: &[u8]) -> [u8; 64] {
        let signature = self.pair.sign(&hello_text(transport, binding, hello));
        signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }

    /// Whether `mac` proves that the answer comes from a server that knows this license. `hello` and
    /// `answer` are the bytes of both frames without signature and mac. Takes constant time.
    pub fn check_welcome(
        &self,
        transport: Transport,
        binding: &[u8; 32],
        hello: &[u8],
        answer: &[u8],
        mac: &[u8],
    ) -> bool {
        hmac::verify(&self.mac, &answer_text(transport, binding, hello, answer), mac).is_ok()
    }

    /// The key with which this session's ProxyChannels attach. `binding` is the CmdChannel's.
    pub fn attach_key(&self, transport: Transport, binding: &[u8; 32], session: &[u8; 16]) -> AttachKey {
        AttachKey::derive(&self.mac, transport, binding, session)
    }
}

impl fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKeys(..)")
    }
}

/// What a server stores of a license: enough to recognise it, not enough to log in with.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// The Ed25519 public key that checks the client's signature.
    pub public: [u8; 32],
    /// The key of the server's own proof. **Secret**: with it one can pose as the server.
    pub mac: [u8; 32],
}

impl Verifier {
    /// Whether `signature` proves that `hello` (its bytes without the signature) was made on this
    /// connection by whoever holds the license. Both inputs are public, as is the time it takes.
    pub fn check_hello(
        &self,
        transport: Transport,
        binding: &[u8; 32],
        hello: &[u8],
        signature: &[u8; 64],
    ) -> bool {
        let text = hello_text(transport, binding, hello);
        UnparsedPublicKey::new(&ED25519, &self.public).verify(&text, signature).is_ok()
    }

    /// The server's proof over its answer to `hello`; both without signature and mac.
    pub fn mac_answer(
        &self,
        transport: Transport,
        binding: &[u8; 32],
        hello: &[u8],
        answer: &[u8],
    ) -> [u8; 32] {
        tag(&mac_key(&self.mac), &answer_text(transport, binding, hello, answer))
    }

    /// The key with which this session's ProxyChannels attach. `binding` is the CmdChannel's.
    pub fn attach_key(&self, transport: Transport, binding: &[u8; 32], session: &[u8; 16]) -> AttachKey {
        AttachKey::derive(&mac_key(&self.mac), transport, binding, session)
    }

    /// Against which the hello of an unknown id is checked, so that it costs the time of a known
    /// one. Nobody holds its private key: the public key is SHA-256("nt/1 nobody" || 0), which is a
    /// point of the curve (RFC 8032 section 5.1.3), so nothing passes. Its mac key is no secret.
    pub fn dummy() -> Self {
        let public = digest::digest(&digest::SHA256, b"nt/1 nobody\0");
        Self { public: public.as_ref().try_into().expect("a SHA-256 has 32 bytes"), mac: [0; 32] }
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        black_box(&mut self.mac).fill(0);
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier { public: ")?;
        self.public.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(", mac: .. }")
    }
}

/// The key by which the ProxyChannels of one session prove that they belong to it.
pub struct AttachKey {
    key: hmac::Key,
}

impl AttachKey {
    /// The proof for the ProxyChannel number `channel`, whose own connection has `binding`.
    pub fn mac(&self, transport: Transport, binding: &[u8; 32], channel: u64) -> [u8; 32] {
        tag(&self.key, &attach_text(transport, binding, channel))
    }

    /// Whether `mac` is that proof. Takes constant time. That a number is used once is for the
    /// caller to see to.
    pub fn check(&self, transport: Transport, binding: &[u8; 32], channel: u64, mac: &[u8]) -> bool {
        hmac::verify(&self.key, &attach_text(transport, binding, channel), mac).is_ok()
    }

    /// The proof for a visit of this number and name, whose connection has `binding`.
    pub fn mac_visit(&self, transport: Transport, binding: &[u8; 32], visit: u64, name: &str) -> [u8; 32] {
        tag(&self.key, &visit_text(transport, binding, visit, name))
    }

    /// Whether `mac` is that proof. Takes constant time. It is good for one connection, which begins with it.
    pub fn check_visit(
        &self,
        transport: Transport,
        binding: &[u8; 32],
        (visit, name): (u64, &str),
        mac: &[u8],
    ) -> bool {
        hmac::verify(&self.key, &visit_text(transport, binding, visit, name), mac).is_ok()
    }

    fn derive(mac: &hmac::Key, transport: Transport, binding: &[u8; 32], session: &[u8; 16]) -> Self {
        let mut text = proof_text("nt/1 A", transport, binding);
        text.extend_from_slice(session);
        let mut key = tag(mac, &text);
        let attach = Self { key: mac_key(&key) };
        black_box(&mut key).fill(0);
        attach
    }
}

impl fmt::Debug for AttachKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttachKey(..)")
    }
}

/// What every proof begins with: its purpose, the kind of port, and this one connection.
fn proof_text(purpose: &str, transport: Transport, binding: &[u8; 32]) -> Vec<u8> {
    let label = match transport {
        Transport::Tls => "tls",
        Transport::Plain => "tcp",
    };
    [purpose.as_bytes(), b"\0", label.as_bytes(), b"\0", binding].concat()
}

fn hello_text(transport: Transport, binding: &[u8; 32], hello: &[u8]) -> Vec<u8> {
    let mut text = proof_text("nt/1 C", transport, binding);
    text.extend_from_slice(digest::digest(&digest::SHA256, hello).as_ref());
    text
}

/// Each part is hashed on its own, so that no byte can wander from one to the other.
fn answer_text(transport: Transport, binding: &[u8; 32], hello: &[u8], answer: &[u8]) -> Vec<u8> {
    let mut text = proof_text("nt/1 S", transport, binding);
    text.extend_from_slice(digest::digest(&digest::SHA256, hello).as_ref());
    text.extend_from_slice(digest::digest(&digest::SHA256, answer).as_ref());
    text
}

fn attach_text(transport: Transport, binding: &[u8; 32], channel: u64) -> Vec<u8> {
    let mut text = proof_text("nt/1 D", transport, binding);
    text.extend_from_slice(&channel.to_be_bytes());
    text
}

fn visit_text(transport: Transport, binding: &[u8; 32], visit: u64, name: &str) -> Vec<u8> {
    let mut text = proof_text("nt/1 V", transport, binding);
    text.extend_from_slice(&visit.to_be_bytes());
    text.extend_from_slice(name.as_bytes());
    text
}

fn mac_key(bytes: &[u8; 32]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

fn tag(key: &hmac::Key, text: &[u8]) -> [u8; 32] {
    hmac::sign(key, text).as_ref().try_into().expect("an HMAC-SHA256 has 32 bytes")
}

fn symbol_value(symbol: char) -> Option<u16> {
    match symbol.to_ascii_lowercase() {
        letter @ 'a'..='z' => Some(u16::try_from(u32::from(letter) - u32::from('a')).ok()?),
        digit @ '2'..='7' => Some(u16::try_from(u32::from(digit) - u32::from('2')).ok()? + 26),
        _ => None,
    }
}

fn base32_encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(TEXT_CHARS);
    text.push_str(PREFIX);
    let (mut bits, mut held) = (0_u16, 0);
    for &byte in bytes {
        bits = (bits << 8) | u16::from(byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(ALPHABET[usize::from((bits >> held) & 31)]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        text.push(char::from(ALPHABET[usize::from((bits << (5 - held)) & 31)]));
    }
    text
}

/// The 32 bytes of 52 symbols, unless the 4 bits that are left over are not 0: then two texts would
/// be the same license.
fn base32_decode(symbols: &str) -> Option<[u8; LICENSE_BYTES + CHECKSUM_BYTES]> {
    let mut bytes = [0; LICENSE_BYTES + CHECKSUM_BYTES];
    let (mut at, mut bits, mut held) = (0, 0_u16, 0);
    for symbol in symbols.chars() {
        bits = (bits << 5) | symbol_value(symbol)?;
        held += 5;
        if held >= 8 {
            held -= 8;
            *bytes.get_mut(at)? = u8::try_from(bits >> held).expect("8 bits are left");
            bits &= (1 << held) - 1;
            at += 1;
        }
    }
    (at == bytes.len() && bits == 0).then_some(bytes)
}
