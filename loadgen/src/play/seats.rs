//! Who sits in which room: connections fill rooms of one size in turn, by their numbers over the whole run.
//!
//! A worker's first connection is the first of a room, so that a worker's rooms are whole.

use std::ops::Range;

#[derive(Clone, Copy, Debug)]
pub struct Seats {
    pub room_size: usize,
    /// Run-wide number of this worker's first connection.
    pub first: usize,
}

impl Seats {
    /// The room of a connection, by its number in this worker.
    pub fn room_of(&self, connection: u32) -> usize {
        connection as usize / self.room_size
    }

    /// A room's connections, of so many in all; the last room may be smaller.
    pub fn members(&self, room: usize, connections: usize) -> Range<u32> {
        let from = room * self.room_size;
        from as u32..(from + self.room_size).min(connections) as u32
    }

    pub fn code(&self, connection: u32) -> String {
        format!("LG{}", self.first / self.room_size + self.room_of(connection))
    }

    fn user(&self, connection: u32) -> usize {
        self.first + connection as usize
    }

    /// Path and query of the upgrade.
    pub fn path(&self, connection: u32) -> String {
        format!("/ws/sync?roomCode={}&userId=u{}", self.code(connection), self.user(connection))
    }

    /// The first of its room.
    pub fn host_of(&self, connection: u32) -> u32 {
        connection - connection % self.room_size as u32
    }

    /// What a connection says first; `host` is a connection too.
    pub fn join(&self, connection: u32, host: u32) -> String {
        let (room, user, host) = (self.code(connection), self.user(connection), self.user(host));
        format!(r#"{{"type":"join","roomCode":"{room}","userId":"u{user}","hostId":"u{host}"}}"#)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_filled_in_turn_and_named_over_the_whole_run() {
        let seats = Seats { room_size: 20, first: 40 };
        assert_eq!((0..3).map(|room| seats.members(room, 45)).collect::<Vec<_>>(), [0..20, 20..40, 40..45]);
        assert_eq!([0, 19, 20].map(|it| seats.room_of(it)), [0, 0, 1]);
        assert_eq!((seats.code(19), seats.code(20)), ("LG2".to_owned(), "LG3".to_owned()));
        assert_eq!(seats.path(21), "/ws/sync?roomCode=LG3&userId=u61");
        assert_eq!(
            seats.join(21, seats.host_of(21)),
            r#"{"type":"join","roomCode":"LG3","userId":"u61","hostId":"u60"}"#
        );
    }
}
