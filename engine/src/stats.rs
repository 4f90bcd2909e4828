//! What a shard counts: plain integers, read by whoever publishes them.

macro_rules! counters {
    ($($(#[$comment:meta])* $name:ident,)*) => {
        /// Counters since the shard's start, in events, and gauges. Adding to one costs an add.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$comment])* pub $name: u64,)*
        }

        impl Stats {
            /// How many figures there are.
            pub const COUNT: usize = [$(stringify!($name)),*].len();
            /// Their names, in the order of [`Stats::to_array`].
            pub const NAMES: [&'static str; Stats::COUNT] = [$(stringify!($name)),*];

            /// The figures alone.
            pub fn to_array(&self) -> [u64; Stats::COUNT] {
                [$(self.$name),*]
            }

            /// The figures by name.
            pub fn from_array(figures: &[u64; Stats::COUNT]) -> Stats {
                let [$($name),*] = *figures;
                Stats { $($name),* }
            }
        }
    };
}

counters! {
    /// Gauge: slots in use, from accept to the close of the descriptor.
    connections,
    /// Gauge: of those, who have ended and stand in line to leave.
    ending,
    /// Gauge: rooms whose home is this shard.
    rooms,
    /// Gauge: members of rooms here whose newest sync_check was too far off.
    out_of_sync,
    /// Sockets accepted.
    accepted,
    /// Answered with 101.
    upgraded,
    /// Answered with the page, or its head.
    pages_served,
    /// Answered with anything else.
    refused_heads,
    /// Of those, with 431: more bytes or header fields than allowed.
    heads_too_large,
    /// Of those, with 403: a page of an origin that is not allowed.
    origins_refused,
    /// Closed for a head that did not come in time.
    head_timeouts,
    /// Given to another core before the upgrade.
    handed_away,
    /// Taken from another core before the upgrade.
    handed_in,
    /// Text and binary messages, whole.
    messages_received,
    /// Messages that were no request.
    messages_ignored,
    /// Requests from someone who may not make them.
    messages_unauthorised,
    /// Messages past their sender's rate.
    messages_excess,
    /// time_pings among them, which were dropped.
    pings_dropped,
    /// Connections closed with 1008 because it went on.
    floods_closed,
    /// Connections closed with 1008 for too many pings and pongs.
    controls_excess,
    /// Pings that were not answered because a newer one was.
    pongs_skipped,
    /// Commands past their sender's rate.
    commands_excess,
    /// Commands past their room's rate.
    room_commands_excess,
    /// PAUSE_STATEs that were not sent because as many were due already.
    pause_states_excess,
    /// Connections closed with 1008 for making too many rooms, or with 1013 because there are too many.
    rooms_refused,
    /// Connections closed with 1008 because they joined nothing in time.
    join_timeouts,
    /// Connections closed with 1008 because a message took too long to come.
    message_timeouts,
    /// Frames for one connection.
    frames_queued,
    /// Frames for a room's members, counted once for each member here.
    deliveries,
    /// Connections that broke RFC 6455 (1002, 1007, 1008).
    protocol_errors,
    /// Connections closed with 1009.
    messages_too_big,
    /// Connections aborted because they did not read.
    outboxes_overflowed,
    /// Connections aborted because they took nothing of what they were owed for too long.
    outboxes_stalled,
    /// Connections aborted because too much was owed to all together, and most to them.
    outboxes_shed,
    /// Gauge: bytes owed to connections that are behind, as they last were looked at.
    outboxes_behind_bytes,
    /// time_pongs that were not sent because their receiver was late.
    pongs_late,
    /// Playback states put off until their receiver had caught up, so that it gets only the newest.
    states_late,
    /// Connections closed with 1011 for a fault of ours while one of their messages was handled.
    faults,
    /// Connections aborted because they did not answer pings.
    pings_unanswered,
    /// Connections reset because they did not end after our close frame.
    close_timeouts,
    /// device_ready frames that large rooms did without.
    device_ready_coalesced,
    /// Rooms whose news of who came or went waited for another turn, each turn counted.
    news_put_off,
    /// Answers to another handshake than the pending one.
    stale_readiness,
    /// Envelopes that went to peers.
    envelopes_sent,
    /// Envelopes that came from peers.
    envelopes_received,
    /// time_pings and time_pongs dropped because a link was full.
    mesh_pings_dropped,
    /// Broadcast app: frames that a peer did without because a link was full.
    mesh_broadcasts_dropped,
    /// Members that had to come back (1013) because a link was full.
    mesh_evicted,
}
