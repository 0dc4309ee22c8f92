//! What may happen in the swarm, by chance.

/// What may happen, with the most weight that a seed gives it.
pub const ACTS: &[(Act, u64)] = &[
    (Act::Visit, 40),
    (Act::Call, 30),
    (Act::Write, 20),
    (Act::Pass, 12),
    (Act::Start, 12),
    (Act::Stall, 6),
    (Act::Leave, 4),
    (Act::RealServer, 3),
    (Act::Cut, 3),
    (Act::Forget, 1),
    (Act::Reset, 4),
    (Act::Crash, 1),
    (Act::Stop, 1),
    (Act::Freeze, 2),
    (Act::Stranger, 6),
    (Act::License, 1),
    (Act::TakePort, 2),
    (Act::Twin, 1),
    (Act::Trouble, 2),
];

/// Without these, nothing much would happen.
pub const ALWAYS: [Act; 3] = [Act::Visit, Act::Pass, Act::Start];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A visitor comes.
    Visit,
    /// A visitor comes who speaks HTTP.
    Call,
    /// A visitor sends datagrams.
    Write,
    /// A visitor or a real server reads nothing for a while, or reads again.
    Stall,
    /// A visitor resets, or a real server does.
    Leave,
    /// A real server goes, stays but takes nobody, or is back.
    RealServer,
    /// A long time passes.
    Pass,
    /// The way between two hosts carries nothing, in one direction or both; or all ways carry again.
    Cut,
    /// A NAT forgets the connections between a client and the server.
    Forget,
    /// Connections break, one or all.
    Reset,
    /// A process is killed.
    Crash,
    /// A process is asked to stop.
    Stop,
    /// A process that is away is started.
    Start,
    /// A process is frozen, or goes on.
    Freeze,
    /// Somebody from the net comes to any port.
    Stranger,
    /// The operator revokes a license, gives it back, or gives it a mapping.
    License,
    /// Another program takes a public port, or gives it back.
    TakePort,
    /// A second machine comes with a license that is in use, or goes.
    Twin,
    /// System calls begin to fail, or cease to.
    Trouble,
}
