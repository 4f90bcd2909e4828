//! Control frames of the largest size: pings, which are to be answered, and pongs that nobody asked for.

use super::{BATCH_BYTES, KEY, Kind};
use wire::frame::{self, CONTROL_PAYLOAD_BYTES_MAX, Opcode};

const PAIR_BYTES: usize = 2 * (2 + KEY.len() + CONTROL_PAYLOAD_BYTES_MAX);

pub struct Pings;

impl Kind for Pings {
    fn speak(&mut self, _connection: u32, out: &mut Vec<u8>) -> u64 {
        let pairs = BATCH_BYTES / PAIR_BYTES;
        for _ in 0..pairs {
            for opcode in [Opcode::Ping, Opcode::Pong] {
                frame::push_masked_frame(out, opcode, &[b'p'; CONTROL_PAYLOAD_BYTES_MAX], KEY);
            }
        }
        2 * pairs as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;

    #[test]
    fn a_batch_is_pings_and_pongs_in_turn() {
        let mut out = Vec::new();
        let said = Pings.speak(0, &mut out);
        let (events, end) = read(out);
        assert_eq!((events.len() as u64, end), (said, None));
        assert!(events[0].starts_with("Ping(") && events[1] == "Pong", "{:?}", &events[..2]);
    }
}
