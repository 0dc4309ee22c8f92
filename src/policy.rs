use std::net::IpAddr;
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSet(pub Vec<(u16, u16)>);
impl PortSet {
    pub fn contains(&self, p: u16) -> bool {
        self.0.iter().any(|r| r.0 <= p && p <= r.1)
    }
    pub fn count(&self) -> u32 {
        self.0.iter().map(|r| u32::from(r.1 - r.0) + 1).sum()
    }
    pub fn nth(&self, mut n: u32) -> Option<u16> {
        for r in &self.0 {
            let c = u32::from(r.1 - r.0) + 1;
            if n < c {
                return Some(r.0 + n as u16);
            }
            n -= c
        }
        None
    }
}
#[derive(Clone, Debug, Default)]
pub struct Allow;
impl Allow {
    pub fn permits(&self, ip: IpAddr, _p: u16) -> bool {
        ip.is_loopback()
    }
    pub fn word_for(&self, ip: IpAddr, p: u16) -> String {
        format!("{ip}/32:{p}")
    }
}
