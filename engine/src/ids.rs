//! Names of things: cores, connections, members, rooms.
//!
//! A slot's index is reused, its generation is not: a late completion or envelope for a connection that has
//! gone cannot reach its successor.

/// A core, and so a shard, by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CoreId(pub u16);

/// A connection of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// The slot, reused.
    pub index: u32,
    /// How often the slot was used before, in 24 bits, which is what a completion's tag has room for.
    pub generation: u32,
}

impl ConnectionId {
    /// Generations wrap past this; 16 million connections in one slot lie between two equal ids.
    pub const GENERATION_MAX: u32 = (1 << 24) - 1;
}

/// A connection anywhere, as a room's home knows its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemberId {
    /// Where its socket is.
    pub core: CoreId,
    /// Which it is there.
    pub connection: ConnectionId,
}

/// A room at its home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoomId {
    /// The core that owns its state and its order.
    pub home: CoreId,
    /// The slot there, reused.
    pub index: u32,
    /// How often the slot was used before.
    pub generation: u32,
}
