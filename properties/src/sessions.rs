//! Sessions against the model of the room protocol: who connects, says what, waits how long and leaves is read from the
//! input, and every frame that the shards answer is compared with the model's. Input: the kind of people, the cores (a byte
//! each), then two bytes for each choice; where they end, chance goes on.

use crate::input::Input;
use sim::differential::{Tally, shards};
use sim::generate::{Kind, session_of};

/// See the module.
pub fn sessions(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let kind = input.pick(&[Kind::Legal, Kind::Hostile]);
    let cores = input.pick(&[1, 2, 4]);
    let session = session_of(input.rest(), kind);
    if let Err(why) = shards::play(&session, cores, &mut Tally::default()) {
        panic!("{why}");
    }
}
