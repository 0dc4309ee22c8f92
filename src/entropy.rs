//! Random bytes that can be replayed: where the cores get randomness without asking the operating
//! system, so that a simulation with the same seed runs the same way.
//!
//! The stream is HMAC-SHA256(seed, counter) for counter = 0, 1, 2, ... as 64 bits big-endian, which
//! is a pseudo-random function used in counter mode (the PRF: RFC 2104; the mode: NIST SP 800-108
//! section 4.1). Whoever sees output learns neither the seed nor other output.

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Length of a seed in bytes.
pub const SEED_BYTES: usize = 32;

/// A stream of random bytes that its seed determines. Not `Clone`: two equal streams would give
/// the same "random" number twice.
pub struct Entropy {
    key: hmac::Key,
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Entropy {
    /// The stream of `seed`.
    pub fn new(seed: [u8; SEED_BYTES]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &seed), counter: 0, block: [0; 32], used: 32 }
    }

    /// A stream that nobody can guess, seeded by the operating system.
    ///
    /// # Panics
    /// When the operating system gives no random bytes: there is nothing safe to do without them.
    pub fn from_os() -> Self {
        let mut seed = [0; SEED_BYTES];
        SystemRandom::new().fill(&mut seed).expect("the operating system has random bytes");
        Self::new(seed)
    }

    /// Fills `bytes` with the next bytes of the stream: two calls give what one longer call gives.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == self.block.len() {
                self.refill();
            }
            *byte = self.block[self.used];
            // What was given out is forgotten here, so that a later look at memory does not show it.
            self.block[self.used] = 0;
            self.used += 1;
        }
    }

    /// The next 8 bytes as a number (big-endian).
    pub fn u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    /// A number from 0 to `n` - 1. By multiplication, not rejection, so that it always takes the same
    /// 8 bytes; no number is likelier than another by more than `n` / 2^64.
    ///
    /// # Panics
    /// When `n` is 0: there is no such number.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "a number below 0 was asked for");
        let product = u128::from(self.u64()) * u128::from(n);
        u64::try_from(product >> 64).expect("a product of two 64-bit numbers has 128 bits")
    }

    fn refill(&mut self) {
        let tag = hmac::sign(&self.key, &self.counter.to_be_bytes());
        self.block.copy_from_slice(tag.as_ref());
        self.counter += 1;
        self.used = 0;
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entropy").field("counter", &self.counter).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python: `hmac.new(bytes(range(32)), n.to_bytes(8, "big"), "sha256").hexdigest()` for n = 0, 1.
    const STREAM: &str = "9f0cd9b94097fe4929918d2b8942b34439574261a35dc50163f06c67d4e48899\
                          c432e059c378eef7fe2f1181a4050836f51e0856fd74937be81784fa0efa7a1c";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn sample() -> Entropy {
        Entropy::new(std::array::from_fn(|i| u8::try_from(i).expect("32 is small")))
    }

    #[test]
    fn known_answer() {
        let mut bytes = [0; 64];
        sample().fill(&mut bytes);
        assert_eq!(hex(&bytes), STREAM);
    }

    #[test]
    fn pieces_are_the_whole() {
        let (mut whole, mut pieces) = ([0; 100], [0; 100]);
        sample().fill(&mut whole);
        let mut entropy = sample();
        let mut rest = &mut pieces[..];
        for size in [0, 1, 31, 33, 2, 33] {
            let (piece, after) = rest.split_at_mut(size);
            entropy.fill(piece);
            rest = after;
        }
        assert!(rest.is_empty());
        assert_eq!(whole, pieces);
    }

    #[test]
    fn below_stays_below_and_reaches_everything() {
        let mut entropy = sample();
        let mut seen = [0_u32; 10];
        for _ in 0..1000 {
            seen[usize::try_from(entropy.below(10)).expect("below 10")] += 1;
        }
        assert!(seen.iter().all(|&count| (60..140).contains(&count)), "{seen:?}");
        assert_eq!(entropy.below(1), 0);
        assert!(entropy.below(u64::MAX) < u64::MAX);
    }

    #[test]
    fn the_system_gives_different_streams() {
        assert_ne!(Entropy::from_os().u64(), Entropy::from_os().u64());
        assert!(!format!("{:?}", sample()).contains("key"));
    }
}
