use ring::{
    digest, hkdf, hmac,
    signature::{self, KeyPair},
};
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LicenseId(pub [u8; 8]);
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Tls,
    Plain,
}
impl Transport {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Tls => b"tls",
            Self::Plain => b"tcp",
        }
    }
}
pub struct License {
    id: [u8; 8],
    seed: [u8; 20],
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    pub public: [u8; 32],
    pub mac: [u8; 32],
}
pub struct ClientKeys {
    sign: signature::Ed25519KeyPair,
    mac: [u8; 32],
}
impl std::fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientKeys")
    }
}
#[derive(Clone)]
pub struct AttachKey(hmac::Key);
impl std::fmt::Debug for AttachKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AttachKey")
    }
}
struct L32;
impl hkdf::KeyType for L32 {
    fn len(&self) -> usize {
        32
    }
}
impl License {
    pub fn from_random(b: [u8; 28]) -> Self {
        let mut id = [0; 8];
        id.copy_from_slice(&b[..8]);
        let mut seed = [0; 20];
        seed.copy_from_slice(&b[8..]);
        Self { id, seed }
    }
    pub fn id(&self) -> LicenseId {
        LicenseId(self.id)
    }
    fn expand(&self, info: &[u8]) -> [u8; 32] {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"nt/1 license");
        let mut ikm = self.id.to_vec();
        ikm.extend_from_slice(&self.seed);
        let mut out = [0; 32];
        salt.extract(&ikm).expand(&[info], L32).unwrap().fill(&mut out).unwrap();
        out
    }
    pub fn client_keys(&self) -> ClientKeys {
        ClientKeys {
            sign: signature::Ed25519KeyPair::from_seed_unchecked(&self.expand(b"nt/1 client sign")).unwrap(),
            mac: self.expand(b"nt/1 server mac"),
        }
    }
    pub fn verifier(&self) -> Verifier {
        let k = self.client_keys();
        let mut public = [0; 32];
        public.copy_from_slice(k.sign.public_key().as_ref());
        Verifier { public, mac: k.mac }
    }
}
fn signed(t: Transport, binding: &[u8; 32], hello: &[u8]) -> Vec<u8> {
    [b"nt/1 C\0", t.label(), b"\0", binding, digest::digest(&digest::SHA256, hello).as_ref()].concat()
}
fn answered(t: Transport, binding: &[u8; 32], hello: &[u8], answer: &[u8]) -> Vec<u8> {
    [
        b"nt/1 S\0",
        t.label(),
        b"\0",
        binding,
        digest::digest(&digest::SHA256, hello).as_ref(),
        digest::digest(&digest::SHA256, answer).as_ref(),
    ]
    .concat()
}
fn attach(mac: &[u8; 32], t: Transport, binding: &[u8; 32], session: &[u8; 16]) -> AttachKey {
    let k = hmac::Key::new(hmac::HMAC_SHA256, mac);
    AttachKey(hmac::Key::new(
        hmac::HMAC_SHA256,
        hmac::sign(&k, &[b"nt/1 A\0", t.label(), b"\0", binding, session].concat()).as_ref(),
    ))
}
impl ClientKeys {
    pub fn sign_hello(&self, t: Transport, binding: &[u8; 32], hello: &[u8]) -> [u8; 64] {
        let mut s = [0; 64];
        s.copy_from_slice(self.sign.sign(&signed(t, binding, hello)).as_ref());
        s
    }
    pub fn check_welcome(
        &self,
        t: Transport,
        binding: &[u8; 32],
        hello: &[u8],
        answer: &[u8],
        mac: &[u8],
    ) -> bool {
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &self.mac), &answered(t, binding, hello, answer), mac)
            .is_ok()
    }
    pub fn attach_key(&self, t: Transport, binding: &[u8; 32], session: &[u8; 16]) -> AttachKey {
        attach(&self.mac, t, binding, session)
    }
}
impl Verifier {
    pub fn dummy() -> Self {
        License::from_random([1; 28]).verifier()
    }
    pub fn check_hello(&self, t: Transport, binding: &[u8; 32], hello: &[u8], sig: &[u8; 64]) -> bool {
        signature::UnparsedPublicKey::new(&signature::ED25519, self.public)
            .verify(&signed(t, binding, hello), sig)
            .is_ok()
    }
    pub fn mac_answer(&self, t: Transport, binding: &[u8; 32], hello: &[u8], answer: &[u8]) -> [u8; 32] {
        let mut m = [0; 32];
        m.copy_from_slice(
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.mac), &answered(t, binding, hello, answer))
                .as_ref(),
        );
        m
    }
    pub fn attach_key(&self, t: Transport, binding: &[u8; 32], session: &[u8; 16]) -> AttachKey {
        attach(&self.mac, t, binding, session)
    }
}
impl AttachKey {
    fn bytes(t: Transport, binding: &[u8; 32], n: u64) -> Vec<u8> {
        [b"nt/1 D\0", t.label(), b"\0".as_slice(), binding, &n.to_be_bytes()].concat()
    }
    pub fn mac(&self, t: Transport, binding: &[u8; 32], n: u64) -> [u8; 32] {
        let mut m = [0; 32];
        m.copy_from_slice(hmac::sign(&self.0, &Self::bytes(t, binding, n)).as_ref());
        m
    }
    pub fn check(&self, t: Transport, binding: &[u8; 32], n: u64, mac: &[u8]) -> bool {
        hmac::verify(&self.0, &Self::bytes(t, binding, n), mac).is_ok()
    }
}
