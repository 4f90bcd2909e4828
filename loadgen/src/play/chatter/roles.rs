//! Who does what in a room: the first members speak, the last ones stop reading, all others listen.

use super::position::SPEAKERS_MAX;
use crate::play::seats::Seats;
use serde::{Deserialize, Serialize};

/// Numbers of four bytes are kept for each listener and speaker of a room: 512 MiB at most.
const STREAMS_MAX: usize = 1 << 27;

/// The same in every room.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Roles {
    /// Speakers of a room at most; `None`: all that read.
    pub speakers: Option<usize>,
    /// Share of a room's members that stop reading.
    pub silent_percent: f64,
}

/// A room's members: `0..speakers` speak, `0..readers` listen, the others stop reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    pub members: usize,
    pub readers: usize,
    pub speakers: usize,
}

impl Roles {
    /// Of a room with so many members.
    pub fn of(self, members: usize) -> Cast {
        let silent = (members as f64 * self.silent_percent / 100.0).ceil() as usize;
        let readers = members - silent.min(members.saturating_sub(1));
        Cast { members, readers, speakers: self.speakers.map_or(readers, |it| it.min(readers)) }
    }

    /// Why these roles cannot be played, in one line for the user.
    pub fn refuse(self, room_size: usize, connections: usize) -> Result<(), String> {
        let Cast { members, readers, speakers } = self.of(room_size.min(connections));
        if self.speakers.is_some_and(|it| it > readers) {
            return Err(format!(
                "--speakers: a room of {members} has {readers} members that read, and only those speak"
            ));
        }
        if speakers > SPEAKERS_MAX {
            return Err(format!(
                "--speakers, --room-size: at most {SPEAKERS_MAX} of a room's members can speak, as numbered positions"
            ));
        }
        if self.casts(room_size, connections).map(|it| it.readers * it.speakers).sum::<usize>() > STREAMS_MAX
        {
            return Err(format!(
                "--speakers, --room-size: {readers} listeners of {speakers} speakers in each room are too many to account for"
            ));
        }
        Ok(())
    }

    /// Of all rooms, in order; the last may be smaller.
    pub fn casts(self, room_size: usize, connections: usize) -> impl Iterator<Item = Cast> {
        let sizes = (0..connections).step_by(room_size).map(move |at| room_size.min(connections - at));
        sizes.map(move |members| self.of(members))
    }

    pub fn speakers_of(self, room_size: usize, connections: usize) -> usize {
        self.casts(room_size, connections).map(|it| it.speakers).sum()
    }

    /// What a message is delivered to on average, when all speak alike.
    pub fn listeners_per_message(self, room_size: usize, connections: usize) -> f64 {
        let deliveries: usize = self.casts(room_size, connections).map(|it| it.speakers * it.readers).sum();
        deliveries as f64 / self.speakers_of(room_size, connections) as f64
    }

    /// The connections of a worker that stop reading.
    pub fn silent(self, seats: Seats, connections: usize) -> Vec<u32> {
        let rooms = self.casts(seats.room_size, connections).enumerate();
        rooms.flat_map(|(room, cast)| seats.members(room, connections).skip(cast.readers)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(speakers: Option<usize>, silent_percent: f64) -> Roles {
        Roles { speakers, silent_percent }
    }

    #[test]
    fn the_first_speak_and_the_last_stop_reading_but_one_member_always_reads() {
        for (speakers, silent_percent, members, cast) in [
            (None, 0.0, 20, (20, 20)),
            (Some(3), 0.0, 20, (20, 3)),
            (Some(3), 0.0, 2, (2, 2)),
            (None, 10.0, 25, (22, 22)),
            (Some(1), 99.9, 9_000, (9, 1)),
            (None, 99.0, 1, (1, 1)),
        ] {
            let Cast { readers, speakers, .. } = roles(speakers, silent_percent).of(members);
            assert_eq!((readers, speakers), cast, "{silent_percent} % of {members}");
        }
    }

    #[test]
    fn a_smaller_last_room_counts_by_its_own_size() {
        let roles = roles(None, 50.0);
        assert_eq!(roles.silent(Seats { room_size: 4, first: 8 }, 10), [2, 3, 6, 7, 9]);
        assert_eq!(roles.speakers_of(4, 10), 5);
        assert!((roles.listeners_per_message(4, 10) - 9.0 / 5.0).abs() < 1e-9);
    }

    #[test]
    fn roles_that_cannot_be_played_are_refused_in_one_line() {
        for (roles, room_size, line) in [
            (roles(Some(19), 10.0), 20, "--speakers: a room of 20 has 18 members that read"),
            (roles(None, 0.0), 20_000, "at most 16384"),
            (roles(None, 0.0), 16_000, "too many to account for"),
        ] {
            assert!(roles.refuse(room_size, 1_000_000).is_err_and(|it| it.contains(line)), "{line}");
        }
        assert_eq!(roles(Some(10), 99.0).refuse(100_000, 100_000), Ok(()));
        assert_eq!(roles(None, 0.0).refuse(100, 100_000), Ok(()));
    }
}
