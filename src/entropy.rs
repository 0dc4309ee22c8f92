//! Random bytes for the cores: from a seed, so that a simulation replays, and as good as the seed.

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// A stream of bytes that nobody without the seed can guess: HMAC-SHA256 in counter mode.
pub struct Entropy {
    key: hmac::Key,
    counter: u64,
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy")
    }
}

impl Entropy {
    /// The stream of this seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &seed), counter: 0 }
    }

    /// A stream that the operating system seeds.
    pub fn from_os() -> Self {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).expect("the operating system gives random bytes");
        Self::new(seed)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            self.counter += 1;
            let block = hmac::sign(&self.key, &self.counter.to_be_bytes());
            chunk.copy_from_slice(&block.as_ref()[..chunk.len()]);
        }
    }

    /// A number.
    pub fn u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    /// A number below `bound`, which is at least 1; the bias is below `bound` in 2^64.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.u64() % bound.max(1)
    }
}
