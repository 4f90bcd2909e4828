//! How often each thing happened, so that nobody takes a fault for tested that never struck.

use super::World;

macro_rules! counts {
    ($($(#[$comment:meta])* $name:ident,)*) => {
        /// What happened in a world, or in many.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Tally {
            $($(#[$comment])* pub $name: u64,)*
        }

        impl Tally {
            /// Adds another's counts.
            pub fn add(&mut self, other: &Tally) {
                $(self.$name += other.$name;)*
            }

            /// All counts by name.
            pub fn counts(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counts! {
    /// Events that a shard was told.
    steps,
    /// Turns of shards.
    turns,
    /// Connections of clients.
    connections,
    /// Texts that clients sent.
    messages,
    /// Frames that clients heard and the model had expected.
    frames_compared,
    /// Expected frames that an injected fault or a leave cut off.
    frames_cut,
    /// Receives of part of a message.
    receives_split,
    /// Receives of a single byte.
    receives_of_a_byte,
    /// Receives of more than one message.
    receives_of_several,
    /// Messages in fragments.
    messages_fragmented,
    /// Sends that the kernel took a part of.
    sends_short,
    /// Sends that the kernel refused for now.
    sends_again,
    /// Sends that had to wait for a reader.
    sends_waiting,
    /// Sends that failed in flight.
    sends_failed,
    /// Sends that were in flight when their connection was let go of.
    sends_cancelled,
    /// Readers that stopped reading for a while.
    readers_stalled,
    /// Clients that half-closed.
    half_closes,
    /// Clients that reset.
    resets,
    /// Clients that left without a word.
    vanished,
    /// Clients that closed as RFC 6455 wants.
    closed_by_clients,
    /// Close frames that clients heard.
    close_frames,
    /// Of those, 1002, 1007, 1008 and 1009.
    close_frames_for_faults,
    /// Of those, 1013.
    close_frames_try_again,
    /// Of those, 1001.
    close_frames_going_away,
    /// Upgrades.
    upgrades,
    /// Requests refused.
    heads_refused,
    /// Requests refused with 503.
    accepts_over_limit,
    /// Heads that never came whole.
    heads_unfinished,
    /// Connections handed to another core.
    moves,
    /// Connections handed on by their room's home to an emptier core.
    placements,
    /// Connections served where they were, because the way was full.
    moves_kept,
    /// Members that left one room for another.
    rooms_changed,
    /// Joins of a room by those who are in it.
    rejoins,
    /// Messages that crossed the mesh.
    envelopes,
    /// Batches that found their channel full.
    channels_full,
    /// Stalls of a link.
    links_stalled,
    /// Stalls of a core.
    cores_stalled,
    /// Pings and pongs dropped on full links.
    mesh_pings_dropped,
    /// Members evicted because a link was full.
    mesh_evictions,
    /// Turns that a room's news had to wait.
    news_put_off,
    /// Turns in which several members of a room went at once.
    departures_at_once,
    /// Outboxes that ran over.
    outbox_overflows,
    /// Connections that took nothing of what they were owed for too long.
    outboxes_stalled,
    /// Connections let go of because all together were owed too much.
    outboxes_shed,
    /// Pongs that their receiver had no use for any more.
    pongs_late,
    /// States that waited for their receiver.
    states_late,
    /// Connections that answered no pings.
    ping_timeouts,
    /// Peers that did not end after a close frame.
    close_timeouts,
    /// Heads that took too long.
    head_timeouts,
    /// Connections that were waited for with a poll.
    rests,
    /// Ends that stood in line.
    ends_waiting,
    /// Late completions for a slot that had been released.
    late_completions,
    /// Of those, for a slot in use again.
    late_completions_for_reused_slots,
    /// Handshakes that a ready device ended.
    starts_by_readiness,
    /// Handshakes that time ended.
    starts_by_time,
    /// PAUSE_STATEs of timers.
    pause_states,
    /// PAUSEs without one, because as many were due already.
    pause_states_excess,
    /// Answers to checks that clients made up.
    forged_checks,
    /// Texts that were no message.
    malformed,
    /// Frames that break RFC 6455.
    bad_frames,
    /// Steps of Unix time.
    clock_steps,
    /// Slices of rooms that the control core has.
    keeps,
    /// Askings for rooms that were as they had been handed over.
    keeps_unchanged,
    /// Slices that nobody took.
    keeps_lost,
    /// Files of rooms.
    snapshots,
    /// Of those, ones that the disk did not keep as they were.
    snapshots_damaged,
    /// Files that could not be written.
    snapshots_failed,
    /// Shards that failed and began anew.
    respawns,
    /// Sockets that were lost with their shard.
    sockets_lost,
    /// Rooms that were made anew of what was kept.
    rooms_restored,
    /// Members, and who was about to be one, that asked the new life of their room's home.
    joins_anew,
    /// Envelopes that were meant for the life before.
    envelopes_unheard,
    /// Processes that were killed and started anew.
    restarts,
    /// Rooms that were there again after that.
    rooms_resumed,
    /// Worlds that ended with a drain.
    drains,
    /// Drains that had to be abandoned.
    abandoned,
}

impl World<'_> {
    /// Counts that a shard keeps itself.
    pub(super) fn count_shard(&mut self, core: u16) {
        let stats = self.cores[usize::from(core)].shard.stats();
        self.tally.envelopes += stats.envelopes_received;
        self.tally.mesh_pings_dropped += stats.mesh_pings_dropped;
        self.tally.mesh_evictions += stats.mesh_evicted;
        self.tally.news_put_off += stats.news_put_off;
        self.tally.outbox_overflows += stats.outboxes_overflowed;
        self.tally.outboxes_stalled += stats.outboxes_stalled;
        self.tally.outboxes_shed += stats.outboxes_shed;
        self.tally.pongs_late += stats.pongs_late;
        self.tally.states_late += stats.states_late;
        self.tally.ping_timeouts += stats.pings_unanswered;
        self.tally.pause_states_excess += stats.pause_states_excess;
        self.tally.close_timeouts += stats.close_timeouts;
        self.tally.head_timeouts += stats.head_timeouts;
    }
}
