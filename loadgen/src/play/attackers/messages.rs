//! One who speaks without pause: time_pings, and each tenth a SEEK in a room of its own; in an echo 20 bytes.

use super::{KEY, Kind};
use crate::args::Profile;
use crate::play::seats::Seats;
use std::io::Write;
use wire::frame::{self, Opcode};

const SEEK_EACH: u64 = 10;

pub struct Messages {
    is_rooms: bool,
    seats: Seats,
    said: u64,
    text: Vec<u8>,
}

impl Messages {
    pub fn new(profile: Profile, seats: Seats) -> Messages {
        Messages { is_rooms: profile == Profile::Rooms, seats, said: 0, text: Vec::new() }
    }
}

impl Kind for Messages {
    fn open(&mut self, connection: u32, out: &mut Vec<u8>) -> u64 {
        if self.is_rooms {
            super::join(self.seats, connection, out);
        }
        u64::from(self.is_rooms)
    }

    fn speak(&mut self, connection: u32, out: &mut Vec<u8>) -> u64 {
        self.said += 1;
        let said = self.said;
        if !self.is_rooms {
            frame::push_masked_frame(out, Opcode::Binary, &[b'm'; 20], KEY);
            return 1;
        }
        self.text.clear();
        let written = if said.is_multiple_of(SEEK_EACH) {
            let code = self.seats.code(connection);
            write!(
                self.text,
                r#"{{"type":"SEEK","roomCode":"{code}","seekPositionMs":{}}}"#,
                said % 1_000_000
            )
        } else {
            write!(self.text, r#"{{"type":"time_ping","id":"{said}","t0":1700000000000}}"#)
        };
        debug_assert!(written.is_ok(), "a Vec takes everything");
        frame::push_masked_frame(out, Opcode::Text, &self.text, KEY);
        1
    }

    fn turns_at_once(&self) -> usize {
        // They leave together, in one send.
        1_024
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;

    #[test]
    fn one_in_ten_is_a_command() {
        let seats = Seats { room_size: 20, first: 40 };
        let mut kind = Messages::new(Profile::Rooms, seats);
        let mut out = Vec::new();
        let said = kind.open(0, &mut out) + (0..20).map(|_| kind.speak(0, &mut out)).sum::<u64>();
        let (events, end) = read(out);
        assert_eq!((said, events.len(), end), (21, 21, None));
        let is_seek = |event: &&String| event.contains("83, 69, 69, 75");
        assert_eq!(events.iter().filter(is_seek).count(), 2);
        assert_eq!(Messages::new(Profile::Echo, seats).open(0, &mut Vec::new()), 0);
    }
}
