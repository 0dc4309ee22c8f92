//! What a system has of the process of each host: events that wait for it, what it holds, what it has cost.

use nt::net::Event;

use super::{Host, World};
use crate::meter::Costs;

/// Hosts have numbers below this.
pub(super) const HOSTS: usize = 32;

/// What a system has of the process of its host.
#[derive(Default)]
pub(super) struct Process {
    /// They wait for it.
    pub(super) events: Vec<Event>,
    /// So many it holds.
    pub(super) sockets: usize,
    costs: Costs,
}

impl World {
    /// What each host's process has cost.
    pub fn costs(&self) -> impl Iterator<Item = &Costs> {
        self.processes.iter().map(|process| &process.costs)
    }

    /// What a host's process has cost, to count more.
    pub fn costs_of(&mut self, host: Host) -> &mut Costs {
        &mut self.processes[host].costs
    }

    /// Sockets that a host's process holds.
    pub fn sockets(&self, host: Host) -> usize {
        self.processes[host].sockets
    }

    /// A host's process has one socket more.
    pub fn opened(&mut self, host: Host) {
        self.processes[host].sockets += 1;
    }

    /// A host's process has one socket less.
    pub fn closed(&mut self, host: Host) {
        let sockets = &mut self.processes[host].sockets;
        *sockets = sockets.checked_sub(1).expect("a process closes what it does not have");
    }

    /// Whether events wait for a host.
    pub fn has_events(&self, host: Host) -> bool {
        !self.processes[host].events.is_empty()
    }

    /// Lets an event wait for a host.
    pub fn inform(&mut self, host: Host, event: Event) {
        self.processes[host].events.push(event);
    }

    /// Takes the events that wait for a host. Nobody promises an order within a batch.
    pub fn take_events(&mut self, host: Host, events: &mut Vec<Event>) {
        self.probe();
        let told = &mut self.processes[host].events;
        for i in (1..told.len()).rev() {
            let j = self.rng.below(i as u64 + 1) as usize;
            told.swap(i, j);
        }
        events.append(told);
    }
}
