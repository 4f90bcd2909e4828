//! Which core is a room's home: a keyed hash of its code.
//!
//! Every core comes to the same answer by itself, since all have the same key.

use crate::ids::CoreId;
use crate::seed::Seed;
use std::hash::{BuildHasher, Hasher};

/// The home of the room of this code among `cores` cores.
pub fn home(seed: Seed, room_code: &str, cores: u16) -> CoreId {
    let mut hasher = seed.build_hasher();
    hasher.write(room_code.as_bytes());
    // The high bits of a product spread evenly over any number of cores, with no division.
    let spread = (u128::from(hasher.finish()) * u128::from(cores)) >> 64;
    CoreId(spread as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_spread_evenly_and_differently_under_each_key() {
        let codes: Vec<String> = (0..4000).map(|i| format!("ROOM{i}")).collect();
        let count = |seed| {
            let mut rooms = [0; 4];
            codes.iter().for_each(|code| rooms[usize::from(home(seed, code, 4).0)] += 1);
            rooms
        };
        for seed in [Seed(1, 2), Seed(3, 4)] {
            assert!(count(seed).iter().all(|rooms| (850..1150).contains(rooms)), "{:?}", count(seed));
        }
        let moved =
            codes.iter().filter(|code| home(Seed(1, 2), code, 4) != home(Seed(3, 4), code, 4)).count();
        assert!(moved > 2500, "{moved}");
        assert!(codes.iter().all(|code| home(Seed(1, 2), code, 1) == CoreId(0)));
    }
}
