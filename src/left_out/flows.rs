//! In the place of what the driver does with datagrams: a mapping of them is not served.

use std::net::SocketAddr;

use super::Driver;
use crate::net::Net;
use crate::proxy_protocol::ProxyVersion;
use crate::reason::Reason;
use crate::role::Input;
use crate::slots::Key;

impl<N: Net> Driver<N> {
    pub(super) fn listen_udp(&mut self, role: usize, key: Key, _: SocketAddr, _share: (Key, usize)) {
        self.slots.remove(key);
        self.outcomes.push_back((role, Input::BindFailed(key, Reason::NotServed)));
    }

    pub(super) fn dial_udp(&mut self, role: usize, key: Key, _: SocketAddr) {
        self.slots.remove(key);
        self.outcomes.push_back((role, Input::Lost(key, Reason::NotServed)));
    }

    pub(super) fn introduce_flow(&mut self, _: Key, _: ProxyVersion, _visitor: SocketAddr) {}

    pub(super) fn receive(&mut self, _: Key) {}

    pub(super) fn pass_datagram(&mut self, proxy: Key) -> bool {
        self.fail(proxy, Reason::Protocol);
        false
    }

    pub(super) fn end_quiet_flows(&mut self) {}

    pub(super) fn drop_port(&mut self, _: Key) {}

    pub(super) fn drop_flow(&mut self, _: Key) -> Option<usize> {
        None
    }
}
