//! What a seed decides before anything happens: how many of everything, how bad the network, how tight the limits.
//!
//! All limits of a world are set here. Those that an honest client never meets stay at their defaults.

use crate::generate::dice::Dice;
use crate::model::Authz;
use engine::{Limits, Seed};

/// A world's constants.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Shards.
    pub cores: u16,
    /// Who may command.
    pub authz: Authz,
    /// The shards' limits.
    pub limits: Limits,
    /// The shards' key.
    pub key: Seed,
    /// Rooms that people know of.
    pub rooms: usize,
    /// Users, each with one connection at a time.
    pub people: usize,
    /// Connections, past which an accept is refused.
    pub connections_max: usize,
    /// Links hold so little that they do fill up.
    pub is_mesh_tight: bool,
    /// Outboxes hold so little that a burst may fill one.
    pub is_outbox_small: bool,
    /// Batches in a channel between two cores.
    pub channel_batches_max: usize,
    /// Connections waiting for a channel, past which one is served where it is.
    pub waiting_connections_max: usize,
    /// How long faults go on.
    pub chaos_us: i64,
    /// It ends with a drain.
    pub drains: bool,
    /// Everyone leaves in the same instant.
    pub leaves_at_once: bool,
    /// How things are carried.
    pub network: Network,
    /// Rooms are kept and shards fail.
    pub lives: Option<Lives>,
}

/// How often what outlives a shard is asked for, and is needed.
#[derive(Clone, Debug)]
pub struct Lives {
    /// Time between two askings for what is to be kept.
    pub keep_every_us: i64,
    /// Time between two faults of shards.
    pub fail_every_us: i64,
    /// Time between two ends of the process, if any comes.
    pub kill_every_us: Option<i64>,
}

/// Delays and how often what goes wrong.
#[derive(Clone, Debug)]
pub struct Network {
    /// Of a piece of bytes, either way.
    pub delay_us_max: i64,
    /// Of a completion of a send.
    pub send_us_max: i64,
    /// Of a batch between cores.
    pub link_us_max: i64,
    /// From an event to the turn that handles it.
    pub turn_us_max: i64,
    /// What a client writes is split into pieces once in so many times.
    pub split_one_in: u64,
    /// Pieces are single bytes once in so many of these.
    pub drip_one_in: u64,
    /// A send is cut short once in so many.
    pub short_one_in: u64,
    /// A send is refused for now once in so many.
    pub again_one_in: u64,
    /// A send fails once in so many.
    pub fail_one_in: u64,
    /// What the kernel holds for a reader.
    pub window_bytes: usize,
    /// Time between two faults of cores and links.
    pub fault_every_us: i64,
}

/// Bytes of the largest message that an honest client sends, with room to spare.
const HONEST_MESSAGE_BYTES: i64 = 512;

impl Setup {
    /// The world of a seed. What `fate` says of it changes nothing else.
    pub fn new(dice: &mut Dice, fate: &mut Dice) -> Setup {
        let is_crowd = dice.one_in(20);
        let cores = if is_crowd { 1 } else { dice.within(1..=5) as u16 };
        let is_mesh_tight = cores > 1 && dice.one_in(3);
        let is_outbox_small = !is_crowd && dice.one_in(3);
        let people = if is_crowd { dice.within(48..=60) } else { dice.within(2..=12) } as usize;
        let mut setup = Setup {
            cores,
            authz: *dice.pick(&[Authz::Member, Authz::Member, Authz::Member, Authz::Host, Authz::Off]),
            limits: limits(dice, is_mesh_tight, is_outbox_small),
            key: Seed(dice.number(), dice.number()),
            rooms: dice.within(1..=3) as usize,
            people,
            connections_max: if !is_crowd && dice.one_in(5) { people / 2 + 1 } else { usize::MAX },
            is_mesh_tight,
            is_outbox_small,
            channel_batches_max: dice.within(1..=4) as usize,
            waiting_connections_max: if dice.one_in(4) { dice.within(0..=1) as usize } else { 64 },
            chaos_us: if is_crowd { 2_000_000 } else { dice.within(5_000_000..=25_000_000) },
            drains: !is_crowd && dice.one_in(4),
            leaves_at_once: is_crowd || dice.one_in(8),
            network: Network::new(dice, is_mesh_tight, is_outbox_small),
            lives: fate.one_in(3).then(|| Lives::new(fate)),
        };
        if fate.one_in(3) {
            setup.limits.news_sends_max = fate.within(1..=8) as usize;
        }
        setup
    }
}

impl Lives {
    fn new(fate: &mut Dice) -> Lives {
        Lives {
            keep_every_us: *fate.pick(&[300_000, 1_000_000, 3_000_000]),
            fail_every_us: *fate.pick(&[500_000, 1_500_000, 4_000_000]),
            kill_every_us: fate.one_in(2).then(|| *fate.pick(&[2_500_000, 5_000_000, 8_000_000])),
        }
    }
}

impl Network {
    fn new(dice: &mut Dice, is_mesh_tight: bool, is_outbox_small: bool) -> Network {
        Network {
            delay_us_max: *dice.pick(&[200, 5_000, 40_000]),
            send_us_max: *dice.pick(&[50, 2_000, 30_000]),
            link_us_max: if is_mesh_tight { 60_000 } else { *dice.pick(&[50, 2_000, 80_000]) },
            turn_us_max: *dice.pick(&[0, 100, 5_000]),
            split_one_in: *dice.pick(&[1, 2, 6]),
            drip_one_in: *dice.pick(&[4, 20]),
            short_one_in: *dice.pick(&[2, 5, 20]),
            again_one_in: *dice.pick(&[10, 50]),
            fail_one_in: *dice.pick(&[500, 5_000]),
            window_bytes: if is_outbox_small { 300 } else { *dice.pick(&[300, 2_000, 64 * 1024]) },
            fault_every_us: *dice.pick(&[300_000, 1_000_000, 3_000_000]),
        }
    }
}

fn limits(dice: &mut Dice, is_mesh_tight: bool, is_outbox_small: bool) -> Limits {
    let mut limits = Limits::default();
    // Commands past these rates are ignored, of which the model knows nothing; a few people in a few rooms are over
    // the room's.
    (limits.commands_per_s, limits.room_commands_per_s, limits.rooms_made_per_min) = (0, 0, 0);
    if dice.one_in(2) {
        limits.outbox_timeout_ms = dice.within(2_000..=6_000) as u32;
    }
    if dice.one_in(3) {
        limits.message_bytes_max = dice.within(HONEST_MESSAGE_BYTES..=2_048) as usize;
        limits.fragments_max = dice.within(6..=12) as usize;
    }
    if is_outbox_small {
        limits.outbox_bytes_max = dice.within(1_000..=4_000) as usize;
        limits.outboxes_bytes_max = dice.within(1_000..=8_000) as usize;
    }
    if dice.one_in(2) {
        limits.ping_interval_ms = dice.within(1_000..=3_000) as u32;
    }
    if dice.one_in(2) {
        limits.close_timeout_ms = dice.within(500..=2_000) as u32;
    }
    if dice.one_in(2) {
        limits.head_timeout_ms = dice.within(2_000..=4_000) as u32;
    }
    if dice.one_in(2) {
        limits.room_local_max = dice.within(1..=4) as usize;
    }
    if is_mesh_tight {
        limits.mesh_backlog_max = dice.within(1..=6) as usize;
    }
    limits
}
