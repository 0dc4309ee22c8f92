//! What a server keeps beside its connections: licenses and what was counted, which are files; certificates; ports that
//! it may come to have.

use super::Driver;
use crate::door::Port;
use crate::net::Net;
use crate::note::Note;
use crate::role::{Input, Verb};

impl<N: Net> Driver<N> {
    pub(super) fn look_after(&mut self, role: usize, verb: Verb) {
        match verb {
            Verb::Edit(key, edit) => self.net.edit(role, key, *edit),
            Verb::PutBack(directory) => self.net.put_back(role, *directory),
            Verb::KeepCounters(text) => self.net.keep_counters(text),
            Verb::LookAround => self.look_around(role),
            Verb::TryPorts(ports) => self.try_ports(role, ports),
            _ => {}
        }
    }

    fn try_ports(&mut self, role: usize, ports: Vec<Port>) {
        let tried = ports.into_iter().map(|(address, udp)| self.net.try_port(address, udp).err());
        self.outcomes.push_back((role, Input::Tried(tried.collect())));
    }

    /// Certificates are the driver's, the clock and licenses the role's.
    fn look_around(&mut self, role: usize) {
        match self.net.poll_certificates() {
            Some(Ok(certificates)) => {
                let count = certificates.len();
                let served = self.security.serve(certificates);
                let note = served.map_or_else(Note::CertificatesBad, |()| Note::CertificatesRead { count });
                self.net.note(self.now, &note);
            }
            Some(Err(why)) => self.net.note(self.now, &Note::CertificatesBad(why)),
            None => {}
        }
        let clock = self.net.clock();
        self.outcomes.push_back((role, Input::Clock(clock)));
        let licenses = self.net.poll_licenses();
        self.outcomes.push_back((role, Input::Licenses(licenses)));
    }
}
