//! The keys that records are sealed and opened with (RFC 8446 section 5.2), kept small.
//!
//! Each end of a connection has two. ring expands a key into 544 bytes, to be fast, and rustls keeps it so for as long
//! as the connection lives; but most visitors are silent most of the time. Here a connection keeps the bytes that the
//! handshake gave, and whoever talks has his keys expanded on a shelf that all share. Where more talk than the shelf
//! has room for, a key is expanded again for a record: about 130 ns for AES, a tenth of what it takes to seal a full
//! one.
//!
//! Sequence numbers, what a key may seal at most and key updates stay with rustls, the ciphers with ring.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use ring::aead::{self, LessSafeKey, UnboundKey};
use rustls::crypto::CipherSuiteCommon;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter, Nonce,
    OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls13AeadAlgorithm,
    UnsupportedOperationError, make_tls13_aad,
};
use rustls::crypto::ring::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256};
use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, PeerMisbehaved, ProtocolVersion, SupportedCipherSuite,
    Tls13CipherSuite,
};

use crate::limits::TLS_KEYS_EXPANDED_MAX;

/// TLS_AES_128_GCM_SHA256.
pub(super) static AES_128_GCM: Tls13CipherSuite =
    small(TLS13_AES_128_GCM_SHA256, &Cipher(&aead::AES_128_GCM));
/// TLS_CHACHA20_POLY1305_SHA256.
pub(super) static CHACHA20_POLY1305: Tls13CipherSuite =
    small(TLS13_CHACHA20_POLY1305_SHA256, &Cipher(&aead::CHACHA20_POLY1305));

/// A suite of rustls with another way to keep its keys.
const fn small(of: SupportedCipherSuite, cipher: &'static Cipher) -> Tls13CipherSuite {
    let of = of.tls13().expect("it is a suite of TLS 1.3");
    let CipherSuiteCommon { suite, hash_provider, confidentiality_limit } = of.common;
    Tls13CipherSuite {
        common: CipherSuiteCommon { suite, hash_provider, confidentiality_limit },
        hkdf_provider: of.hkdf_provider,
        aead_alg: cipher,
        quic: None,
    }
}

struct Cipher(&'static aead::Algorithm);

impl Tls13AeadAlgorithm for Cipher {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Key::new(self.0, key, iv))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Key::new(self.0, key, iv))
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(&self, _: AeadKey, _: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

/// One direction's key, as the handshake gave it. rustls wipes it in the end.
struct Key {
    number: u64,
    cipher: &'static aead::Algorithm,
    secret: AeadKey,
    iv: Iv,
}

/// Keys made so far: no two have the same number, in whatever threads they are used.
static KEYS: Mutex<u64> = Mutex::new(0);

thread_local! {
    /// Expanded keys, each with its number, at that number modulo the shelf's length.
    static SHELF: RefCell<Vec<Option<(u64, LessSafeKey)>>> = const { RefCell::new(Vec::new()) };
}

impl Key {
    fn new(cipher: &'static aead::Algorithm, secret: AeadKey, iv: Iv) -> Self {
        let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
        *keys += 1;
        Self { number: *keys, cipher, secret, iv }
    }

    fn place(&self) -> usize {
        (self.number % TLS_KEYS_EXPANDED_MAX as u64) as usize
    }

    /// Lets `work` have this key expanded, with the nonce of record `sequence` and what stands for a header of `length`
    /// bytes of payload.
    fn with<T>(
        &self,
        sequence: u64,
        length: usize,
        work: impl FnOnce(&LessSafeKey, aead::Nonce, aead::Aad<[u8; 5]>) -> T,
    ) -> Option<T> {
        let nonce = aead::Nonce::assume_unique_for_key(Nonce::new(&self.iv, sequence).0);
        let aad = aead::Aad::from(make_tls13_aad(length));
        SHELF.with_borrow_mut(|shelf| {
            if shelf.is_empty() {
                shelf.resize_with(TLS_KEYS_EXPANDED_MAX, || None);
            }
            let place = &mut shelf[self.place()];
            if place.as_ref().is_none_or(|(number, _)| *number != self.number) {
                let key = UnboundKey::new(self.cipher, self.secret.as_ref()).ok()?;
                *place = Some((self.number, LessSafeKey::new(key)));
            }
            place.as_ref().map(|(_, key)| work(key, nonce, aad))
        })
    }
}

impl MessageEncrypter for Key {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        seq: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let length = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(length);
        payload.extend_from_chunks(&message.payload);
        payload.extend_from_slice(&[message.typ.into()]);
        let sealed =
            self.with(seq, length, |key, nonce, aad| key.seal_in_place_append_tag(nonce, aad, &mut payload));
        match sealed {
            Some(Ok(())) => Ok(OutboundOpaqueMessage::new(
                ContentType::ApplicationData,
                ProtocolVersion::TLSv1_2, // For every record of TLS 1.3 (RFC 8446 section 5.2).
                payload,
            )),
            _ => Err(Error::EncryptError),
        }
    }

    /// The content type's byte and the tag follow the payload.
    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        payload_len + 1 + self.cipher.tag_len()
    }
}

impl MessageDecrypter for Key {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        seq: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let sealed = &mut *message.payload;
        let opened = self.with(seq, sealed.len(), |key, nonce, aad| {
            key.open_in_place(nonce, aad, sealed).map(|plain| plain.len())
        });
        let Some(Ok(length)) = opened else { return Err(Error::DecryptError) };
        message.payload.truncate(length);
        let message = message.into_tls13_unpadded_message()?;
        // RFC 8446 section 5.1 forbids it. rustls 0.23.46 counts its bytes as seen and never discards them, and so
        // looks behind the end of whatever it is given next: a panic.
        if message.typ == ContentType::Handshake && message.payload.is_empty() {
            return Err(PeerMisbehaved::TooManyEmptyFragments.into());
        }
        Ok(message)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // At the thread's end the shelf may be gone before the keys.
        let _ = SHELF.try_with(|shelf| {
            if let Some(place) = shelf.borrow_mut().get_mut(self.place()) {
                place.take_if(|(number, _)| *number == self.number);
            }
        });
    }
}
