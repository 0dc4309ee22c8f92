//! Why something ended or was refused: one list for the wire, the log and the counters.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $text:literal;)+) => {
        /// Why a visit, a mapping, a login or a session ended or was refused. The discriminant is the wire
        /// code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[doc = $doc])+ $name = $code,)+ }

        impl Reason {
            /// Every reason, by code.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The reason with this wire code. One that a newer peer invented is [`Self::Unknown`].
            pub const fn from_code(code: u8) -> Self {
                match code { $($code => Self::$name,)+ _ => Self::Unknown }
            }
        }

        impl fmt::Display for Reason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)+ })
            }
        }
    };
}

reasons! {
    /// A code that this version does not know.
    Unknown = 0, "for a reason that this version does not know";

    /// The real server refused the connection.
    Refused = 1, "the real server refused the connection: is it running, and on this port?";
    /// No route to the real server.
    Unreachable = 2, "the real server cannot be reached: no route to it";
    /// The real server did not answer in time.
    TimedOut = 3, "no answer in time";
    /// A connection was reset.
    Reset = 4, "the connection was reset";
    /// A name did not resolve.
    NoSuchHost = 5, "the name does not resolve: check the spelling and the DNS of this machine";
    /// The visit names a mapping that does not exist any more.
    NoSuchMapping = 6, "there is no such mapping any more";
    /// The client's `--allow` does not cover the target.
    NotAllowed = 7, "the client does not allow this target: start it with a wider --allow";
    /// A budget is used up: visitors, buffers or open files.
    Busy = 8, "no more visitors at once are permitted, by the license (max_visitors) or by the \
                      budget that the start line names";
    /// A CONNECT that was seen before.
    Repeated = 9, "this visit was already taken";
    /// No ProxyChannel could be had in time: the client is away.
    ClientAway = 10, "the client is away";
    /// The tunnel connection that carried it was lost.
    ChannelLost = 11, "the tunnel connection was lost";
    /// There is nothing at a Unix socket's path.
    NoSuchSocket = 12, "there is no such Unix socket: is the real server running, and is this its path?";
    /// The client may not open a Unix socket.
    Forbidden = 13, "the client may not open this Unix socket: let its user write to it, and pass the folders above";
    /// A front did not say whom it speaks for.
    NoHeader = 14, "no header of the PROXY protocol came, which `accept-proxy` asks for from this address";

    /// The proxy of `--via` refused.
    ProxyRefused = 15, "the proxy of --via does not connect to the server";
    /// The proxy of `--via` wants to know who asks.
    ProxyLogin = 16, "the proxy of --via wants a user and password, or others: write them before its host";
    /// No proxy answers at `--via`.
    NoProxy = 17, "what answers at --via is no such proxy";

    /// The license was not accepted; nothing more is said.
    Denied = 20, "the server does not accept this license: it may have been replaced (`nt license rotate`) or \
                  removed, or is meant for another server";
    /// The license was revoked.
    Revoked = 21, "this license was revoked on the server";
    /// An older login of the same client arrived late.
    Stale = 22, "a newer login of this client is already served";
    /// The peer speaks a version that this one does not.
    Version = 23, "the two ends run versions that do not understand each other: update the older one";
    /// A newer login of the same license took over.
    Replaced = 24, "a newer login of the same license took over; if that is not this client started again, give \
        each machine its own (`nt license add`)";
    /// The peer stops.
    Stopping = 25, "it is stopping";
    /// The peer broke the protocol.
    Protocol = 26, "it broke the protocol";
    /// Nothing was heard for too long.
    Silent = 27, "nothing was heard from it for 30 s";
    /// The peer closed the connection.
    Ended = 28, "it closed the connection";
    /// The TLS handshake or a record failed.
    Tls = 29, "TLS failed: is this the port of an nt server, with no TLS proxy between?";
    /// The certificate was not accepted.
    Certificate = 30, "the server's certificate was not accepted: with --ca it must be good for the server's name";

    /// The license's last day is over.
    Expired = 31, "this license has expired: give it another `expires` in licenses.toml on the server";
    /// The license was rotated, and the new one is in use.
    Rotated = 32, "this license was rotated, and the new one is in use: start the client with that";

    /// The public port is taken by another program.
    InUse = 40, "the public port is in use by another program: stop it, or choose another port";
    /// The license does not permit this port.
    NotPermitted = 41, "the license does not permit this port: widen its `ports` in licenses.toml on the server, or \
                        make one with `nt license add NAME --ports LIST`";
    /// The operating system does not permit this port.
    NoPrivilege = 42, "the server may not open ports below 1024: run it with CAP_NET_BIND_SERVICE";
    /// The public address is not one of the server's.
    NoSuchAddress = 43, "the public address is not one of the server's own";
    /// Another license holds the port.
    Taken = 44, "another license has this port";
    /// No free port is left that the license permits.
    NoFreePort = 45, "no free port is left that the license permits";
    /// Too many mappings.
    TooMany = 46, "too many mappings for one client or license";
    /// A kind of mapping that the server does not serve.
    NotServed = 47, "the server's version does not serve this kind of mapping";
    /// The operating system refused for another reason.
    System = 48, "the operating system refused: its limits on memory or open files are reached";
    /// The license does not permit this name.
    NameNotPermitted = 49, "the license does not permit this name: add it to its `hosts` in licenses.toml on the \
                            server, or make one with `nt license add NAME --hosts LIST`";
    /// Another mapping serves this name and path.
    NameTaken = 50, "another mapping serves this name and path";
    /// The server has no door for names of this kind.
    NoDoor = 51, "the server does not serve names of this kind: start it with --http ADDR:PORT, or --https for /https \
                  and /tls";
    /// The real server's answer could not be understood.
    Nonsense = 52, "the real server's answer is not HTTP that can be passed on";
    /// The license does not permit this visit.
    VisitNotPermitted = 53, "the license does not permit this visit: add it to its `visit` in licenses.toml on the \
                             server, or make one with `nt license add NAME --visit OWNER/MAPPING`";
    /// Visitors from this address are not wanted.
    NotWelcome = 54, "visitors from there are not wanted: by `allow=` of the mapping, or by `visitors` of its license";
    /// The license's quota is used up.
    QuotaUsed = 55, "the license's quota for this month is used up";
    /// The visitor comes too often.
    TooOften = 56, "too many connections from this address: more than the `connects` of the license";
    /// The operator cut the visitor.
    CutByOperator = 57, "the server's operator cut it";
    /// The client has gone back to its first server.
    Moved = 59, "it has gone back to its first server";
    /// The real server does not pass the check of its mapping.
    Sick = 58, "the real server fails its check (`check=` of the mapping)";
}

impl Reason {
    /// The wire code.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_back() {
        for &reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), reason);
        }
        assert_eq!(Reason::from_code(255), Reason::Unknown);
    }
}
