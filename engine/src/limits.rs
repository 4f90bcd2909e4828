//! Every limit, its default and how the limits relate; and what a shard serves.
//!
//! All of them are settings. What happens past a limit is decided where it is crossed and counted in
//! [`crate::stats`].

use crate::origins::Origins;
use wire::close::Reason;
use wire::decoder::DecoderLimits;
use wire::request::RequestLimits;
use wire::upgrade::HeadLimits;

/// What the server does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum App {
    /// The room protocol.
    #[default]
    Rooms,
    /// Every message back to its sender.
    Echo,
    /// Every message to every connection.
    Broadcast,
}

/// Who may command a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Authz {
    /// Its members.
    #[default]
    Member,
    /// Members whose userId is the host's; queries stay every member's.
    Host,
    /// Anyone who knows its code, as on the old server.
    Off,
}

/// The limits of one shard. Units last; `_max` is the last value allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Whose web pages may connect; others' are answered 403.
    pub origins: Origins,
    /// Bytes of an upgrade request's head; past it 431.
    pub head_bytes_max: usize,
    /// Time from accept to a complete head; past it the connection is closed.
    pub head_timeout_ms: u32,
    /// Headers of an upgrade request; past it 431.
    pub headers_max: usize,
    /// Rooms: time from the upgrade to the first join; past it 1008.
    pub join_timeout_ms: u32,
    /// Bytes of a message, fragments together; past it 1009.
    pub message_bytes_max: usize,
    /// Frames of a message; past it 1008.
    pub fragments_max: usize,
    /// Time from a message's first byte to its last; past it 1008.
    pub message_timeout_ms: u32,
    /// Rates are held: those below of messages, commands and rooms. Benchmarks go past them on purpose.
    pub is_metered: bool,
    /// Rooms: messages of a connection, in the long run; 0 is no limit. Past burst and rate its time_pings are dropped.
    pub messages_per_s: u32,
    /// Messages of a connection at once.
    pub messages_burst: u8,
    /// Messages past burst and rate within [`EXCESS_INTERVAL_MS`]; past it the connection is closed with 1008. What a
    /// network that stood still has kept back comes all at once, and is no flood.
    pub messages_excess_max: u32,
    /// Pings and pongs of a connection, in the long run; 0 is no limit. Past burst and rate 1008.
    pub controls_per_s: u32,
    /// Pings and pongs of a connection at once.
    pub controls_burst: u8,
    /// Commands of a connection, in the long run; 0 is no limit. Past burst and rate they are ignored.
    pub commands_per_s: u32,
    /// Commands of a connection at once.
    pub commands_burst: u8,
    /// Commands of a room, in the long run; 0 is no limit. Past burst and rate they are ignored.
    pub room_commands_per_s: u32,
    /// Commands of a room at once.
    pub room_commands_burst: u8,
    /// Rooms that a connection makes, in the long run; 0 is no limit. Past burst and rate 1008.
    pub rooms_made_per_min: u32,
    /// Rooms that a connection makes at once.
    pub rooms_made_burst: u8,
    /// Rooms of all shards together; past its share a shard closes who would make one more with 1013.
    pub rooms_max: usize,
    /// Bytes owed to a connection; past it the connection is aborted.
    pub outbox_bytes_max: usize,
    /// Time in which a connection that is owed bytes takes none of them; past it the connection is aborted.
    pub outbox_timeout_ms: u32,
    /// Bytes owed to all connections that are behind; past it those that are owed most are aborted.
    pub outboxes_bytes_max: usize,
    /// Time between two pings to a connection.
    pub ping_interval_ms: u32,
    /// Pings without any sign of life; one more interval and the connection is aborted.
    pub pings_unanswered_max: u32,
    /// Time a peer has to end a connection after our close frame; past it a reset.
    pub close_timeout_ms: u32,
    /// Nesting of a message's JSON; past it the message is ignored.
    pub json_depth_max: usize,
    /// Bytes of a room code; past it the message is ignored.
    pub room_code_bytes_max: usize,
    /// Members of a room on its home core, past which newcomers are placed on other cores.
    pub room_local_max: usize,
    /// Envelopes waiting for one peer; past it pings are dropped and others cost a connection (1013).
    pub mesh_backlog_max: usize,
    /// PAUSE_STATEs of a room that may be due at once: with a handshake's, it has one timer more than these. Past it the
    /// newest is not sent.
    pub pause_states_max: usize,
    /// Sends in one turn of nothing but news of who came and went. What is put off gathers, so that a herd that returns
    /// to its rooms costs fewer sends than one to each member for each who came, and holds up those who play by a
    /// millisecond.
    pub news_sends_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            origins: Origins::All,
            head_bytes_max: 8 * 1024,
            head_timeout_ms: 10_000,
            headers_max: 100,
            join_timeout_ms: 30_000,
            message_bytes_max: 64 * 1024,
            fragments_max: 1024,
            message_timeout_ms: 30_000,
            is_metered: true,
            messages_per_s: 50,
            messages_burst: 100,
            messages_excess_max: 500,
            controls_per_s: 10,
            controls_burst: 50,
            commands_per_s: 5,
            commands_burst: 10,
            room_commands_per_s: 20,
            room_commands_burst: 40,
            rooms_made_per_min: 20,
            rooms_made_burst: 20,
            rooms_max: 2_000_000,
            outbox_bytes_max: 256 * 1024,
            outbox_timeout_ms: 10_000,
            outboxes_bytes_max: 1 << 30,
            ping_interval_ms: 25_000,
            pings_unanswered_max: 2,
            close_timeout_ms: 5_000,
            json_depth_max: 32,
            room_code_bytes_max: 256,
            room_local_max: 1024,
            mesh_backlog_max: 64 * 1024,
            pause_states_max: 2,
            news_sends_max: 128,
        }
    }
}

/// Rooms up to this size hear of each ready device; larger ones at most once in [`DEVICE_READY_INTERVAL_MS`].
pub const DEVICE_READY_EACH_MEMBERS_MAX: usize = 64;
/// See [`DEVICE_READY_EACH_MEMBERS_MAX`].
pub const DEVICE_READY_INTERVAL_MS: i64 = 250;
/// Audiences over this size are served in slices, after the turn's other sends.
pub const AUDIENCE_PROMPT_MAX: usize = 512;
/// Connections that ended and leave their rooms in one turn; the others wait in line, so that thousands who go at
/// once hold up those who stay by a fraction of a millisecond at a time.
pub const ENDS_PER_TURN_MAX: usize = 32;
/// Sockets shut or closed in one turn, likewise: the kernel takes some 10 µs for each.
pub const ACTIONS_PER_TURN_MAX: usize = 32;
/// Sends to large audiences in one turn: less than half a millisecond, which others wait for at most.
pub const BULK_SENDS_PER_TURN_MAX: usize = 64;
/// What buffers kept for outboxes and batches hold in all: as much as one turn gathers of answers.
pub const POOL_BYTES_MAX: usize = TURN_ANSWER_BYTES_MAX;
/// The size that a buffer begins with: what most answers of a turn fit into.
pub const POOL_BUFFER_BYTES: usize = 512;
/// Bytes of answers in one turn, past which it should send before it reads more: they stay in a CPU's cache
/// from being written to being sent.
pub const TURN_ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Answers in one turn, likewise: the kernel's part of a socket, some kilobytes, stays in the cache from its
/// receive to its send.
pub const TURN_ANSWERS_MAX: usize = 128;
/// Pongs that may wait in an outbox; of the pings past it only the newest is answered (RFC 6455 §5.5.3 allows it).
pub const PONGS_PENDING_MAX: u8 = 16;
/// In this time [`Limits::messages_excess_max`] are borne.
pub const EXCESS_INTERVAL_MS: i64 = 30_000;
/// How often a connection is looked at while it is midway in a message or behind in what it is owed.
pub const WATCH_INTERVAL_MS: u32 = 500;
/// Who is owed bytes and has taken none for so long is late: its clock has no use for a pong any more, and of the
/// states it asked for only the newest counts.
pub const LATE_MS: i64 = 1_000;
/// Once too much is owed, connections are let go of until so much less is.
pub const SHED_FRACTION: usize = 8;
/// Members whose round trip waits to be asked for; of one too many the next ping asks.
pub const RTTS_DUE_MAX: usize = 1024;
/// Starts of a turn whose skew is observed.
pub const PLAYS_PENDING_MAX: usize = 64;
/// Rooms that a walk through all of them looks at in one turn, and how many if it compares their codes.
pub const ROOMS_WALKED_PER_TURN_MAX: usize = 1_000;
/// See [`ROOMS_WALKED_PER_TURN_MAX`].
pub const ROOMS_SEARCHED_PER_TURN_MAX: usize = 200;
/// Rooms on a page, and members in a room's report.
pub const REPORTED_MAX: usize = 1_000;
/// Chunks that wait in an outbox are sent together up to this many bytes.
pub const MERGED_SEND_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(DEVICE_READY_EACH_MEMBERS_MAX < AUDIENCE_PROMPT_MAX);

impl Limits {
    /// A quarter of an outbox has gathered: time to send before more is read.
    pub(crate) fn is_pressing(&self, bytes: usize) -> bool {
        bytes > self.outbox_bytes_max / 4
    }

    pub(crate) fn decoder(&self) -> DecoderLimits {
        DecoderLimits {
            message_bytes_max: self.message_bytes_max,
            fragments_max: self.fragments_max,
            masked: true,
        }
    }

    pub(crate) fn head(&self) -> HeadLimits {
        HeadLimits { bytes_max: self.head_bytes_max, headers_max: self.headers_max }
    }

    pub(crate) fn request(&self) -> RequestLimits {
        RequestLimits { room_code_bytes_max: self.room_code_bytes_max, depth_max: self.json_depth_max }
    }
}

/// The answer to a link that is full: come back, the state will be sent anew.
pub(crate) const MESH_FULL: Reason = Reason::TryAgainLater;
