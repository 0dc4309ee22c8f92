//! Every bound in one place, with assertions that relate them to each other.
//!
//! Names carry their unit last. Times are [`Span`]s of the program's own clock. Nothing elsewhere invents a
//! number: a bound that is missing here is a bound that nobody can review.

use crate::time::Span;

// ── The wire ────────────────────────────────────────────────────────────────────────────────────────────────────

/// Frame header: one byte of type, three of body length.
pub const HEADER_BYTES: usize = 4;
/// Longest body of any frame but TRANSFER. Strangers never get more than one such frame buffered.
pub const CONTROL_BODY_BYTES_MAX: usize = 1020;
/// Longest whole control frame: 1 KiB, header included.
pub const CONTROL_FRAME_BYTES_MAX: usize = HEADER_BYTES + CONTROL_BODY_BYTES_MAX;
/// Longest TRANSFER payload; it is passed on as it arrives, so the bound is the field's width and costs no
/// memory.
pub const TRANSFER_BYTES_MAX: usize = 0xFF_FFFF;
/// Longest text of a mapping, so that a MAP frame carries it.
pub const MAPPING_BYTES_MAX: usize = 960;

// ── Buffers ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// Largest plaintext of one TLS record (RFC 8446 5.1).
pub const TLS_PLAIN_BYTES_MAX: usize = 16_384;
/// Largest TLS record on the wire: header, plaintext, and the expansion that RFC 8446 5.2 allows.
pub const TLS_RECORD_BYTES_MAX: usize = 5 + TLS_PLAIN_BYTES_MAX + 256;
/// Keys of TLS records that are kept expanded, 0.5 KiB each; a connection that talks has two.
pub const TLS_KEYS_EXPANDED_MAX: usize = 256;
/// One buffer of the arena: a whole TLS record beside a whole control frame, rounded up to 2 KiB.
pub const BUFFER_BYTES: usize = 18 * 1024;
/// Payload read in one go, so that with its frame header it fills one TLS record.
pub const PAYLOAD_BYTES_MAX: usize = TLS_PLAIN_BYTES_MAX - HEADER_BYTES;
/// Buffers that a tunnel connection has a right to: ciphertext in, plaintext in, bytes out.
pub const BUFFERS_PER_TUNNEL: usize = 3;
/// Buffers that a visitor or real-server connection has a right to: what it said before the far end answered.
pub const BUFFERS_PER_RAW: usize = 1;
/// Buffers that a local connection has a right to: bytes in, bytes out.
pub const BUFFERS_PER_LOCAL: usize = 2;

/// Buffers that a visitor who speaks HTTP has a right to: ciphertext in, bytes in, bytes out, and a head that is not
/// whole yet or may have to be said again.
pub const BUFFERS_PER_HTTP: usize = 4;

/// Payload moved by one splice, and what a pipe is made to hold.
pub const SPLICE_BYTES_MAX: usize = 512 * 1024;
/// Least payload that is worth a splice: less is copied by fewer system calls.
pub const SPLICE_BYTES_MIN: usize = 16 * 1024;
/// Pipes at once; whoever finds none copies. A stalled visitor may hold one until it reads or goes.
pub const PIPES_MAX: usize = 32;
/// All pipes together hold at most this part of the machine's memory, should nobody read.
pub const PIPE_MEMORY_SHARE: usize = 64;

const _: () = assert!(SPLICE_BYTES_MIN <= SPLICE_BYTES_MAX && SPLICE_BYTES_MAX <= TRANSFER_BYTES_MAX);
const _: () = assert!(TLS_RECORD_BYTES_MAX + CONTROL_FRAME_BYTES_MAX <= BUFFER_BYTES);
const _: () = assert!(BUFFER_BYTES <= u16::MAX as usize, "a window's ends are 16 bits wide");
const _: () = assert!(MAPPING_BYTES_MAX + 4 <= CONTROL_BODY_BYTES_MAX);
const _: () = assert!(CONTROL_BODY_BYTES_MAX <= TRANSFER_BYTES_MAX);

/// Most that is kept of a ClientHello, so that a PROXY header fits before it.
pub const GREETING_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - ANNOUNCE_BYTES_MAX;

/// Most that is read of a front before its header must be whole.
pub const ANNOUNCE_BYTES_MAX: usize = 640;
// CONNECT, a header and what stood behind another fit behind the last payload of the visit before.
const _: () = assert!(
    CONTROL_FRAME_BYTES_MAX + HEADER_BYTES + PAYLOAD_BYTES_MAX + ANNOUNCE_BYTES_MAX + 256 <= BUFFER_BYTES
);

/// Buffers that nobody needed for so long are emptied …
pub const ARENA_REVIEW_EVERY: Span = Span::from_secs(60);
/// … so many at a time: a system call each.
pub const ARENA_REVIEW_MAX: usize = 256;

// ── Datagrams ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// Largest datagram: what UDP's own length leaves over IPv6 (RFC 768, RFC 8200 section 4.5). IPv4 takes 20 bytes fewer.
pub const DATAGRAM_BYTES_MAX: usize = 65_527;
/// Longest body of a DATAGRAM or PIECE frame; a larger datagram travels in pieces.
pub const PIECE_BYTES_MAX: usize = 2_044;
/// What a flow's queue holds, its frames included: all of it leaves in one TLS record, even behind a PROXY header. A
/// datagram that does not fit waits in a buffer of its own.
pub const HELD_BYTES_MAX: usize = TLS_PLAIN_BYTES_MAX - 256;
/// Buffers for datagrams that are larger than that, or come in pieces, in all; who finds none drops.
pub const LARGES_MAX: usize = 64;
/// … of which so many are kept when nobody needs them.
pub const LARGES_KEPT: usize = 2;
/// Flows take at most this part of the places for visitors …
pub const FLOWS_SHARE: usize = 4;
/// … and at most so many, in all and from one address; the longest quiet one makes room.
pub const FLOWS_MAX: usize = 4_096;
/// See [`FLOWS_MAX`].
pub const FLOWS_PER_ADDRESS_MAX: usize = 1_024;
/// Flows of one session that wait for a ProxyChannel at once: each may cost two handshakes, and whoever sends but one
/// datagram costs nothing.
pub const FLOWS_WAITING_MAX: usize = 128;
/// ProxyChannels of one session that wait for the client's word that a flow is over; the next one is closed instead.
pub const ENDED_MAX: usize = 256;
/// Large buffers that the flows of one session may hold at once.
pub const LARGES_PER_SESSION_MAX: usize = 16;
/// Datagrams that one socket is asked for before the others have their turn.
pub const DATAGRAMS_PER_TURN: usize = 64;
/// Datagrams that are sent to one flow at once: as many as every Linux cuts one message into (udp(7), UDP_SEGMENT).
pub const DATAGRAMS_PER_SEND: usize = 64;
/// A flow that nothing passes for so long is over, once the real server has answered …
pub const FLOW_IDLE: Span = Span::from_secs(60);
/// … but for so long at most without a word from the visitor, who may never have asked …
pub const FLOW_UNHEARD: Span = Span::from_secs(600);
/// … and before the first answer.
pub const FLOW_UNANSWERED: Span = Span::from_secs(5);

const _: () = assert!(HEADER_BYTES + PIECE_BYTES_MAX + TLS_PLAIN_BYTES_MAX <= BUFFER_BYTES);
const _: () = assert!(HELD_BYTES_MAX + CONTROL_FRAME_BYTES_MAX <= BUFFER_BYTES);
const _: () = assert!(FLOWS_PER_ADDRESS_MAX <= FLOWS_MAX);
const _: () = assert!(LARGES_PER_SESSION_MAX * 4 <= LARGES_MAX);

// ── HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Longest head of a request.
pub const HTTP_HEAD_BYTES_MAX: usize = 8 * 1024;
/// Headers of one message.
pub const HTTP_HEADERS_MAX: usize = 64;
// Whatever is added to a head, it and a PROXY header before it go into one frame: a mapping's options, the visitor's
// host three times, and words of our own.
const _: () = assert!(
    HTTP_HEAD_BYTES_MAX + HTTP_HEADERS_MAX + MAPPING_BYTES_MAX + 3 * 512 + ANNOUNCE_BYTES_MAX
        <= PAYLOAD_BYTES_MAX
);
/// Longest line of a chunk's size, with its extensions.
pub const CHUNK_LINE_BYTES_MAX: u16 = 256;
/// Longest trailer section of a chunked body.
pub const TRAILER_BYTES_MAX: u16 = 8 * 1024;
/// A visitor of a folder who asks for nothing is let go after this.
pub const FOLDER_IDLE_TIMEOUT: Span = Span::from_secs(10);
/// Visits of folders at once: each has a thread.
pub const FOLDER_VISITS_MAX: usize = 64;
/// Open files of one, beside the connection: the far end of it, the folder, one below that, and a file.
pub const FILES_PER_FOLDER_VISIT: usize = 4;
/// What a visitor of an exit says is taken in such pieces until it has said where it wants to go.
pub const EXIT_BYTES_MAX: usize = 1024;
/// Names looked up at once, where one more is for a visitor of an exit.
pub const EXIT_LOOKUPS_MAX: usize = 8;
// The head for the real server and what stood behind it leave together.
const _: () = assert!(HTTP_HEAD_BYTES_MAX + HTTP_HEADERS_MAX + EXIT_BYTES_MAX + 512 <= BUFFER_BYTES);
/// The head of a request is whole within this, from its first byte on.
pub const HTTP_HEAD_TIMEOUT: Span = Span::from_secs(10);
/// Names of clients that have gone, of which visitors are told that they may come back.
pub const NAMES_REMEMBERED: usize = 1_024;
/// A visitor that asks for nothing more is let go after this.
pub const HTTP_IDLE_TIMEOUT: Span = Span::from_secs(75);
/// A real server's connection that was idle for so long may be about to end: only what may be asked twice is asked on
/// it.
pub const HTTP_FRESH: Span = Span::from_secs(1);
/// A file is sent in pieces of this size: what a visitor of a folder costs while it is sent.
pub const FILE_PIECE_BYTES: usize = 64 * 1024;
/// Names of a folder that are looked at to list it.
pub const FILES_LISTED_MAX: usize = 2_000;

// ── Rates ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// What a rate lets pass at once after a rest: what it lets pass in this time …
pub const RATE_BURST: Span = Span::from_millis(250);
/// … and at least so many bytes.
pub const RATE_BURST_BYTES_MIN: u64 = PAYLOAD_BYTES_MAX as u64;
/// Whoever was held back goes on when so much of a rate is there again …
pub const RATE_SLICE: Span = Span::from_millis(50);
/// … or so many bytes; and takes no more in one turn while others are held back, too.
pub const RATE_SLICE_BYTES_MAX: u64 = PAYLOAD_BYTES_MAX as u64;
/// How often those who are held back are looked at.
pub const RATE_LOOK_EVERY: Span = Span::from_millis(10);
/// What has passed is kept so often: a crash loses no more than this, and flash is not worn out.
pub const COUNTERS_KEPT_EVERY: Span = Span::from_secs(60);
/// Mappings of one license whose traffic is counted apart; those of least traffic are counted in the license's alone.
pub const MAPPINGS_COUNTED_MAX: usize = MAPPINGS_MAX;

/// Meters of mappings at once; beyond that a mapping counts with its license alone.
pub const METERS_MAX: usize = 32_768;

const _: () = assert!(RATE_SLICE.as_micros() < RATE_BURST.as_micros());
const _: () = assert!(RATE_SLICE_BYTES_MAX <= RATE_BURST_BYTES_MIN);

// ── Bans ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// The first time, whoever visits too often is turned away for so long …
pub const BAN_FIRST: Span = Span::from_secs(10);
/// … and twice as long each time that follows, up to this.
pub const BAN_MAX: Span = Span::from_secs(3_600);
/// One time is forgotten when nothing has happened for so long.
pub const BAN_FORGOTTEN_AFTER: Span = Span::from_secs(600);
/// Addresses that are remembered at once; those that matter least make room.
pub const BANS_MAX: usize = 4_096;

// ── Checks of real servers ──────────────────────────────────────────────────────────────────────────────────────

/// A real server that is looked after is checked so often …
pub const CHECK_EVERY: Span = Span::from_secs(10);
/// … and, when the last check has failed, after this.
pub const CHECK_AGAIN: Span = Span::from_secs(1);
/// A check that takes longer has failed.
pub const CHECK_TIMEOUT: Span = Span::from_secs(5);
/// Checks under way at once.
pub const CHECKS_AT_ONCE: usize = 4;
/// So much of an answer is looked at: its status.
pub const CHECK_HEARD_BYTES: usize = 16;

/// Connections at once to which a client says how it is.
pub const STATUS_AT_ONCE: usize = 2;

// ── Binding on demand ───────────────────────────────────────────────────────────────────────────────────────────

/// Targets that are bound on demand at once.
pub const DEMANDS_MAX: usize = 256;
/// Whoever asks for one is told after this at the latest.
pub const DEMAND_TIMEOUT: Span = Span::from_secs(5);
/// Seconds without a visitor after which one goes, where nothing else was said …
pub const DEMAND_TTL: u32 = 300;
/// … and what can be said.
pub const DEMAND_TTL_MIN: u32 = 10;
/// See [`DEMAND_TTL_MIN`].
pub const DEMAND_TTL_MAX: u32 = 86_400;

// ── The operator ────────────────────────────────────────────────────────────────────────────────────────────────

/// Connections of the operator's at once.
pub const ADMIN_MAX: usize = 16;
/// One that asks for nothing, or does not take its answer, is closed after this.
pub const ADMIN_TIMEOUT: Span = Span::from_secs(60);
/// Longest body of a request: a license with all that may stand in it.
pub const ADMIN_BODY_BYTES_MAX: usize = 64 * 1024;
/// An answer leaves in such pieces.
pub const ADMIN_PIECE_BYTES: usize = 16 * 1024;
/// Shortest and longest time, in seconds, for which licenses are tried out.
pub const TRIAL_SECS: std::ops::RangeInclusive<u64> = 5..=3_600;
/// Licenses of before that could not be written are tried again after this.
pub const PUT_BACK_RETRY_EVERY: Span = Span::from_secs(10);
/// Ports that are tried before other licenses are taken: the first of them. Each is opened, for about 10 µs.
pub const TRIED_PORTS_MAX: usize = 4_096;
/// Events that are remembered.
pub const EVENTS_KEPT: usize = 200;
/// Minutes of which it is remembered what passed in each: a day …
pub const HISTORY_SAMPLES: usize = 24 * 60;
/// … and how long one is: the meters are read so often anyway.
pub const HISTORY_STEP: Span = COUNTERS_KEPT_EVERY;
/// All that the operator's page is made of.
pub const DASHBOARD_BYTES_MAX: usize = 40 * 1024;

const _: () = assert!(HISTORY_STEP.as_micros() * HISTORY_SAMPLES as u64 == 24 * 3_600 * 1_000_000);
const _: () = assert!(HISTORY_SAMPLES * 16 <= 24 * 1024, "two numbers a minute");

const _: () = assert!(ADMIN_PIECE_BYTES <= BUFFER_BYTES);

// ── Connections ─────────────────────────────────────────────────────────────────────────────────────────────────

/// Visitors at once, whatever memory and open files allow.
pub const VISITORS_MAX: usize = 30_000;
/// ProxyChannels that a client may have for purposes of its own, beside those that its server orders for so many
/// visitors: for visitors of its own machine, and to look whether another server is there.
pub const fn own_proxies(visitors: usize) -> usize {
    visitors / 8 + 1
}
/// Tunnel connections that have proved nothing yet, in all and from one address (a /32, or a /64 for IPv6);
/// those that a session from there was ordered to bring come on top.
pub const STRANGERS_MAX: usize = 256;
/// See [`STRANGERS_MAX`].
pub const STRANGERS_PER_ADDRESS_MAX: usize = 64;
/// Roles that one loop runs: what a connection's note of its role can tell apart.
pub const ROLES_MAX: usize = 1 << u8::BITS;
/// Clients logged in at once.
pub const SESSIONS_MAX: usize = 4_096;
/// Mappings of one session, a range counting once per port.
pub const MAPPINGS_MAX: usize = 1_024;
/// Idle ProxyChannels kept for one session: never fewer once it is live, never more.
pub const POOL_MIN: usize = 2;
/// See [`POOL_MIN`].
pub const POOL_MAX: usize = 64;
/// Visitors of one session that wait for a ProxyChannel at once.
pub const WAITING_MAX: usize = 4_096;
/// Tries of one visitor on ProxyChannels that turn out to be dead: all of a pool may have died unnoticed, and a
/// few fresh ones after them.
pub const VISIT_TRIES_MAX: u8 = POOL_MAX as u8 + 4;
/// Visits of lost ProxyChannels that a client remembers, so that their repetition is recognised.
pub const VISITS_REMEMBERED: usize = 4_096;
/// Bytes of an abandoned visit that are read and thrown away to win its ProxyChannel back.
pub const DRAIN_BYTES_MAX: u32 = 256 * 1024;
/// ProxyChannels of one session that are drained at once; the next one is closed instead.
pub const DRAINING_MAX: usize = 16;
/// Open files set aside for everything that is neither a visitor nor a tunnel connection; a pipe has two.
pub const FILES_RESERVED: usize = 64 + 2 * PIPES_MAX;
/// Listen queue of every listener; the kernel cuts it to its own maximum.
pub const BACKLOG: i32 = 4_096;

const _: () = assert!(STRANGERS_PER_ADDRESS_MAX <= STRANGERS_MAX);
const _: () = assert!(POOL_MIN >= 1 && POOL_MIN <= POOL_MAX);
const _: () = assert!(POOL_MAX < VISIT_TRIES_MAX as usize);
const _: () = assert!(MAPPINGS_MAX <= SERVER_MAPPING_BIT as usize);

/// Mapping indices with this bit were declared by the server.
pub const SERVER_MAPPING_BIT: u16 = 0x8000;

// ── Work in one turn of the loop ────────────────────────────────────────────────────────────────────────────────

/// Connections accepted from one listener before the others have their turn.
pub const ACCEPTS_PER_TURN: usize = 16;
/// TLS handshake steps in one turn: a flood of strangers costs at most about a millisecond of everyone
/// else's time.
pub const HANDSHAKES_PER_TURN: usize = 8;
/// Payload that one direction of one visitor passes before the others have their turn; the splice that goes
/// beyond it is the last.
pub const PUMP_BYTES_PER_TURN: usize = 256 * 1024;
/// Frames that one connection may have handled before the others have their turn; empty ones count too.
pub const FRAMES_PER_TURN: usize = 64;
/// Ports of one session that are bound before the others have their turn …
pub const BINDS_PER_TURN: usize = 16;
/// … and the pause before it goes on.
pub const BIND_PAUSE: Span = Span::from_millis(1);
/// Mapping frames that are sent before the connection must have drained.
pub const MAPS_PER_BATCH: usize = 16;
/// Events taken from the kernel at once.
pub const EVENTS_PER_WAIT: usize = 256;

const _: () = assert!(MAPS_PER_BATCH * (MAPPING_BYTES_MAX + 64) <= BUFFER_BYTES - CONTROL_FRAME_BYTES_MAX);

// ── Time ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// A stranger's whole time: TLS, nonces and HELLO or ATTACH.
pub const LOGIN_TIMEOUT: Span = Span::from_secs(5);
/// Looking up the name of a server.
pub const RESOLVE_TIMEOUT: Span = Span::from_secs(10);
/// One step of a client's attempt: TCP and TLS to one address of the server, NONCE, HELLO.
pub const CONNECT_TIMEOUT: Span = Span::from_secs(5);
/// Heartbeats on a CmdChannel, both ways.
pub const HEARTBEAT_EVERY: Span = Span::from_secs(10);
/// A peer that said nothing on its CmdChannel for so long is dead, and all that its session made goes.
pub const PEER_SILENCE_MAX: Span = Span::from_secs(30);
/// A real server that does not answer the connect.
pub const REAL_SERVER_TIMEOUT: Span = Span::from_secs(10);
/// The addresses of a target's name are believed so long before it is looked up again.
pub const NAME_LIFE: Span = Span::from_secs(10);
/// A visitor waits so long for a ProxyChannel.
pub const CHANNEL_TIMEOUT: Span = Span::from_secs(10);
/// A front has so long to say whom it speaks for.
pub const ANNOUNCE_TIMEOUT: Span = Span::from_secs(5);
/// A visitor waits so long for CONNECTED: the client's own limit and the way there and back.
pub const ANSWER_TIMEOUT: Span = Span::from_secs(15);
/// A client that visits another waits so long for CONNECTED: what a visitor may wait, and the way there and back.
pub const VISIT_TIMEOUT: Span = Span::from_secs(30);
/// Visits that a client has under way to the server at once, where they are strangers yet.
pub const VISITS_COMING_MAX: usize = 32;
/// A direction of a visit that was cut is drained so long before its ProxyChannel is given up.
pub const DRAIN_TIMEOUT: Span = Span::from_secs(10);
/// A frame that nobody waits for may wait so long for payload to share a write with.
pub const SEND_SOON: Span = Span::from_millis(1);
/// Bytes written before a close may take so long to leave.
pub const LINGER_TIMEOUT: Span = Span::from_secs(5);
/// Accepting rests so long after the system ran out of files or memory.
pub const ACCEPT_PAUSE: Span = Span::from_millis(200);
/// A mapping that could not be bound is tried again at this pace.
pub const BIND_RETRY_EVERY: Span = Span::from_secs(5);
/// How often the pool is compared with what was needed.
pub const POOL_REVIEW_EVERY: Span = Span::from_secs(15);
/// How often the license file is looked at for a change.
pub const LICENSES_POLL_EVERY: Span = Span::from_secs(2);
/// First and last pause between two attempts of a client; the pause is drawn from 0 to this.
pub const BACKOFF_FIRST: Span = Span::from_millis(500);
/// See [`BACKOFF_FIRST`].
pub const BACKOFF_MAX: Span = Span::from_secs(20);
/// Good standing after which the pauses start small again.
pub const BACKOFF_RESET_AFTER: Span = Span::from_secs(30);
/// Pauses of a client whose license was refused.
pub const REFUSED_BACKOFF_FIRST: Span = Span::from_secs(30);
/// See [`REFUSED_BACKOFF_FIRST`].
pub const REFUSED_BACKOFF_MAX: Span = Span::from_secs(300);
/// Least pause of a client that was told that a newer login replaced it.
pub const REPLACED_BACKOFF: Span = Span::from_secs(60);
/// After SIGTERM, visitors in flight have so long to end.
pub const STOP_TIMEOUT: Span = Span::from_secs(30);
/// A client that is not at its first server looks for that after so long, and then after twice as long each time …
pub const FAILBACK_FIRST: Span = Span::from_secs(10);
/// … but no longer than this.
pub const FAILBACK_MAX: Span = Span::from_secs(600);
/// A client that stops waits so long for the server to take its ProxyChannels back.
pub const PARTING_TIMEOUT: Span = Span::from_secs(1);
/// A cause is printed once in this time, then counted.
pub const LOG_WINDOW: Span = Span::from_secs(60);

/// The kernel's probing of a connection that is idle.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle_secs: u64,
    /// Between two probes.
    pub interval_secs: u64,
    /// Probes without an answer before the connection is dead.
    pub probes: u32,
}

impl Keepalive {
    const fn secs(&self) -> u64 {
        self.idle_secs + self.interval_secs * self.probes as u64
    }
}

/// On tunnel connections: a dead one is found as soon as a dead peer, and NAT keeps its mapping.
pub const TUNNEL_KEEPALIVE: Keepalive = Keepalive { idle_secs: 15, interval_secs: 5, probes: 3 };
/// On visitors and real servers: one that vanished does not hold its place for ever.
pub const VISITOR_KEEPALIVE: Keepalive = Keepalive { idle_secs: 60, interval_secs: 10, probes: 6 };

const _: () = assert!(TUNNEL_KEEPALIVE.secs() * 1_000_000 <= PEER_SILENCE_MAX.as_micros());
const _: () = assert!(TUNNEL_KEEPALIVE.secs() < VISITOR_KEEPALIVE.secs());
const _: () = assert!(HEARTBEAT_EVERY.as_micros() * 5 <= PEER_SILENCE_MAX.as_micros() * 2);
const _: () = assert!(REAL_SERVER_TIMEOUT.as_micros() < ANSWER_TIMEOUT.as_micros());
const _: () = assert!(CHANNEL_TIMEOUT.as_micros() + ANSWER_TIMEOUT.as_micros() < VISIT_TIMEOUT.as_micros());
const _: () = assert!(VISITS_COMING_MAX < STRANGERS_PER_ADDRESS_MAX);

// ── Looking for trouble ─────────────────────────────────────────────────────────────────────────────────────────

/// No machine that runs this lives in an earlier year …
pub const CLOCK_YEAR_MIN: u16 = 2026;
/// … or in a later one: its clock is wrong.
pub const CLOCK_YEAR_MAX: u16 = 2050;
/// Connections that are made to see how long the way to a server takes.
pub const ROUND_TRIPS: usize = 10;
/// Of these handshakes, whose packets are two each, so many that had to be repeated are no accident any more.
pub const RESENT_MIN: u32 = 2;
/// Ports of one range that are tried.
pub const TRIED_PER_RANGE_MAX: u16 = 8;
/// A public port, or a backend, that does not answer.
pub const TRY_TIMEOUT: Span = Span::from_secs(5);
/// What is shown of words that are not nt's.
pub const FOREIGN_WORDS_SHOWN: usize = 32;
/// A state directory needs this room: a server keeps counters and licenses there.
pub const STATE_BYTES_FREE_MIN: u64 = 16 << 20;
/// A quota of which so many hundredths are used is near its end.
pub const QUOTA_NEAR_PERCENT: u64 = 80;

// ── Measuring ───────────────────────────────────────────────────────────────────────────────────────────────────

/// How long one figure is measured, in seconds, if nothing is said; and at most.
pub const BENCH_SECONDS: u32 = 3;
/// See [`BENCH_SECONDS`].
pub const BENCH_SECONDS_MAX: u32 = 60;
/// Streams at once, if nothing is said; and at most.
pub const BENCH_STREAMS: u32 = 4;
/// See [`BENCH_STREAMS`].
pub const BENCH_STREAMS_MAX: u32 = 64;
/// The tunnel that is measured is up within this.
pub const BENCH_START_TIMEOUT: Span = Span::from_secs(20);
/// What is under way when a measurement ends has so long to arrive.
pub const BENCH_DRAIN_TIMEOUT: Span = Span::from_secs(10);
/// An echo is back within this, or what is measured is not there any more.
pub const BENCH_ECHO_TIMEOUT: Span = Span::from_secs(5);
/// Size of an echo whose time is taken.
pub const BENCH_ECHO_BYTES: usize = 64;
/// Connections that are set up at once.
pub const BENCH_CALLERS: usize = 16;
/// Connections to the service that is measured at once.
pub const BENCH_VISITS_MAX: usize = BENCH_STREAMS_MAX as usize + BENCH_CALLERS + 16;
