//! What the swarm's visitors do who come by exits or by another client's door, and what they must get in peace.

use nt::time::Span;

use super::{CLIENTS, EXITS, NOBODYS, Swarm, VISITS, real};
use crate::actors::{Outcome, Plan};
use crate::exits;
use crate::world::CLIENT;

impl Swarm {
    /// A visitor of an exit, who wants to go to the client's first real server, or where it may not, or to nobody.
    pub(super) fn visit_by_exit(&mut self, client: usize, plan: Plan) {
        let (which, waits) = (self.below(2), self.chance(50));
        let (wanted, arrives) = match self.below(8) {
            0 => (real((client + 1) % CLIENTS, 0), NOBODYS),
            1 => (NOBODYS, NOBODYS),
            _ => (real(client, 0), real(client, 0)),
        };
        let asked = exits::ask(which, exits::PLACES[self.below(2)], wanted, waits);
        self.sim.visit_to(EXITS + (2 * client + which) as u16, arrives, plan);
        self.sim.visitors.last_mut().expect("the one that came just now").asks(asked);
    }

    /// In peace each exit and each door leads where it should.
    pub(super) fn detours_in_peace(&mut self) {
        for client in 0..CLIENTS {
            let (plan, by) = (self.sim.plan(), (client + CLIENTS - 1) % CLIENTS);
            let plan = Plan { up: 3_000, down: 3_000, ..plan };
            let visitor = self.sim.visit_at(CLIENT + by, VISITS + client as u16, real(client, 0), plan);
            self.sim.run_for(Span::from_secs(10));
            let outcome = self.sim.outcome(visitor);
            assert_eq!(outcome, Outcome::Whole, "client {client} is visited by client {by} in peace");
            for which in 0..2 {
                let (plan, wanted) = (self.sim.plan(), real(client, 0));
                let plan = Plan { up: 3_000, down: 3_000, ..plan };
                let visitor = self.sim.visit_to(EXITS + (2 * client + which) as u16, wanted, plan);
                self.sim.visitors[visitor].asks(exits::ask(which, exits::PLACES[which], wanted, client == 0));
                self.sim.run_for(Span::from_secs(10));
                let outcome = self.sim.outcome(visitor);
                assert_eq!(outcome, Outcome::Whole, "exit {which} of client {client} in peace");
            }
        }
    }
}
