//! The key of everything that must not be guessed or aimed at: hashes of a client's strings, and ids.
//!
//! It is drawn at boot and the same on every core. Without it a client could aim all rooms at one core, or all
//! codes at one bucket of a map. Ids are numbers behind a one-to-one mix, so they differ if the numbers do,
//! and need not be stored beside what they name.

use crate::ids::{ConnectionId, CoreId, MemberId};
use siphasher::sip::SipHasher13;
use std::hash::BuildHasher;
use wire::text::WsId;

/// The key. An argument, never drawn here.
#[derive(Clone, Copy, Debug)]
pub struct Seed(pub u64, pub u64);

/// Set in the numbers of handshakes and in no core's, of which there are far fewer than 2^15.
const HANDSHAKE_BIT: u64 = 1 << 63;
/// Slots of one shard have this many bits in a member's number; a generation has the same.
const SLOT_BITS: u32 = 24;

const _: () = assert!(ConnectionId::GENERATION_MAX < 1 << SLOT_BITS);

impl BuildHasher for Seed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

impl Seed {
    /// The id of a connection as clients see it; no other connection has it, on any core, until its slot was
    /// reused 16 million times.
    pub fn ws_id(self, member: MemberId) -> WsId {
        let ConnectionId { index, generation } = member.connection;
        let slot = u64::from(generation) << SLOT_BITS | u64::from(index);
        WsId(self.mix(u64::from(member.core.0) << (2 * SLOT_BITS) | slot))
    }

    /// The id of a core's handshake of this number.
    pub fn check_id(self, core: CoreId, number: u64) -> WsId {
        WsId(self.mix(HANDSHAKE_BIT | u64::from(core.0) << (2 * SLOT_BITS) | number))
    }

    /// Each step is invertible: an odd factor, a shift to the right folded in.
    fn mix(self, number: u64) -> u64 {
        let mut mixed = number ^ self.0;
        for _ in 0..2 {
            mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^= mixed >> 32;
        }
        mixed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_differ_by_core_slot_generation_and_kind() {
        let seed = Seed(7, 8);
        let mut ids = HashSet::new();
        for core in (0..4).map(CoreId) {
            for index in 0..50 {
                for generation in [0, 1, 2, ConnectionId::GENERATION_MAX] {
                    let connection = ConnectionId { index, generation };
                    assert!(ids.insert(seed.ws_id(MemberId { core, connection }).0));
                }
                assert!(ids.insert(seed.check_id(core, u64::from(index)).0));
            }
        }
        let member = MemberId { core: CoreId(0), connection: ConnectionId { index: 0, generation: 0 } };
        assert_ne!(seed.ws_id(member), Seed(9, 8).ws_id(member), "they cannot be guessed");
    }
}
