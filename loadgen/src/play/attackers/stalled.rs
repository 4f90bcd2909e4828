//! Readers that stop. In rooms of twenty one speaks, within what an honest client may say, and all are owed it;
//! in an echo everyone is owed its own. That nobody reads is the play's: it stalls all of them.

use super::{KEY, Kind};
use crate::args::Profile;
use crate::play::seats::Seats;
use wire::frame::{self, Opcode};

/// Bytes that each stalled reader is owed by one message: within the 64 KiB that it may have.
const MESSAGE_BYTES: usize = 60 * 1024;

pub struct Stalled {
    is_rooms: bool,
    seats: Seats,
    filling: String,
}

impl Stalled {
    pub fn new(profile: Profile, seats: Seats) -> Stalled {
        Stalled { is_rooms: profile == Profile::Rooms, seats, filling: "x".repeat(MESSAGE_BYTES) }
    }
}

impl Kind for Stalled {
    fn path(&self, connection: u32) -> Option<String> {
        self.is_rooms.then(|| self.seats.path(connection))
    }

    fn open(&mut self, connection: u32, out: &mut Vec<u8>) -> u64 {
        if self.is_rooms {
            super::join(self.seats, connection, out);
        }
        u64::from(self.is_rooms)
    }

    fn speak(&mut self, connection: u32, out: &mut Vec<u8>) -> u64 {
        if self.is_rooms {
            let (code, title) = (self.seats.code(connection), &self.filling);
            let text = format!(
                r#"{{"type":"TRACK_CHANGE","roomCode":"{code}","trackData":{{"id":"1","title":"{title}","artist":"A","duration":187.5,"audioUrl":"https://cdn.example/1.mp3"}}}}"#
            );
            frame::push_masked_frame(out, Opcode::Text, text.as_bytes(), KEY);
        } else {
            frame::push_masked_frame(out, Opcode::Binary, self.filling.as_bytes(), KEY);
        }
        1
    }

    fn stride(&self) -> u32 {
        if self.is_rooms { self.seats.room_size as u32 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;

    #[test]
    fn the_first_of_each_room_speaks_and_within_the_limit_of_a_message() {
        let seats = Seats { room_size: 20, first: 40 };
        for (profile, joins, stride) in [(Profile::Rooms, 1, 20), (Profile::Echo, 0, 1)] {
            let mut kind = Stalled::new(profile, seats);
            assert_eq!(kind.stride(), stride);
            let mut out = Vec::new();
            assert_eq!((kind.open(0, &mut out), kind.speak(0, &mut out)), (joins, 1));
            let (events, end) = read(out);
            assert_eq!((events.len() as u64, end), (joins + 1, None));
        }
    }
}
