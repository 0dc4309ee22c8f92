//! What a test asks of a world.

use nt::driver::Driver;

use super::Sim;
use crate::actors::Outcome;
use crate::meter::Costs;

impl Sim {
    pub fn outcome(&self, visitor: usize) -> Outcome {
        self.visitors[visitor].outcome
    }

    /// Buffers and connections of the server and each client.
    pub fn counts(&self) -> Vec<(usize, usize)> {
        self.server.iter().map(Driver::counts).chain(self.clients.iter().map(|(_, c)| c.counts())).collect()
    }

    /// What the processes of all hosts have cost together.
    pub fn costs(&self) -> Costs {
        let world = self.world.borrow();
        world.costs().fold(Costs::default(), |sum, costs| sum.plus(costs))
    }

    /// What stands for everything that happened.
    pub fn fingerprint(&self) -> u64 {
        self.world.borrow().trace
    }

    /// What people were told, for a failing test to print.
    pub fn log(&self) -> String {
        let world = self.world.borrow();
        world
            .notes
            .iter()
            .map(|(at, host, text)| format!("{:>12} host {host}: {text}\n", at.as_micros()))
            .collect()
    }
}
