//! Sessions from seeds: who connects, says what, waits how long and leaves. The same seed, the same session.
//!
//! A legal session is what real clients do, by the last chapters of the protocol's page, with waits that end around
//! each of the protocol's deadlines. A hostile one is a legal one with liars in it. Nothing here knows what a server
//! answers: a check's name is written `$check` and filled in by whoever has heard it ([`fill_checks`]).

mod author;
pub mod dice;
mod hostile;
pub mod message;

use crate::model::{Authz, Client};
use author::Author;
use dice::Dice;

/// What kind of people are in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Real clients only.
    Legal,
    /// Liars among them.
    Hostile,
}

/// What a session is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A world whose time costs nothing: long waits, large rooms, to the µs.
    World,
    /// The same, but few of everything, for whoever plays very many.
    Brief,
    /// A real server: some seconds, few clients, nothing near the limits of a message.
    Real,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client's socket is made and upgraded, naming a room in its URL or not.
    Connect {
        /// Who; a number that was not used before.
        client: Client,
        /// The `roomCode` of the URL.
        url_room: Option<String>,
    },
    /// A message.
    Say {
        /// Who.
        client: Client,
        /// What, with `$check` and `$stale` in it: see [`fill_checks`].
        text: String,
        /// As a binary frame.
        is_binary: bool,
    },
    /// A binary frame that may be no text.
    Bytes {
        /// Who.
        client: Client,
        /// Its payload.
        bytes: Vec<u8>,
    },
    /// A client goes.
    Leave {
        /// Who.
        client: Client,
        /// How.
        departure: Departure,
    },
    /// Time passes.
    Wait {
        /// How much, µs.
        us: i64,
    },
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// With a close frame.
    Close,
    /// The peer's side of the socket ends.
    End,
    /// The socket fails.
    Failure,
}

/// What happens, and under which rule.
#[derive(Clone, Debug)]
pub struct Session {
    /// What it was made from; 0 if it was a tape.
    pub seed: u64,
    /// Who is in it.
    pub kind: Kind,
    /// Who may command.
    pub authz: Authz,
    /// In order.
    pub steps: Vec<Step>,
}

/// The session of this seed. Rooms that it makes have the seed in their codes, so that sessions can share a server.
pub fn session(seed: u64, kind: Kind, pace: Pace) -> Session {
    write(seed, Dice::new(seed), kind, pace)
}

/// The session in which these bytes decide, two for each choice, as far as they go.
pub fn session_of(tape: &[u8], kind: Kind) -> Session {
    write(0, Dice::with_tape(tape), kind, Pace::Brief)
}

fn write(seed: u64, mut dice: Dice, kind: Kind, pace: Pace) -> Session {
    let authz = [Authz::Member, Authz::Host, Authz::Off][dice.weighed(&[8, 1, 1])];
    let steps = Author::new(seed, kind, pace, dice).write();
    Session { seed, kind, authz, steps }
}

/// What every room's code of this seed's session contains, unless a liar made it up.
pub fn room_mark(seed: u64) -> String {
    format!("R{seed:x}-")
}

/// The text with `$check` as the newest check that its sender has heard, and `$stale` as the one before.
pub fn fill_checks(text: &str, heard: &[String]) -> String {
    let back = |n: usize| heard.iter().rev().nth(n).map_or("none", String::as_str);
    text.replace("$check", back(0)).replace("$stale", back(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_session_and_another_is_another() {
        for kind in [Kind::Legal, Kind::Hostile] {
            let one = session(5, kind, Pace::World);
            assert_eq!(one.steps, session(5, kind, Pace::World).steps);
            assert_ne!(one.steps, session(6, kind, Pace::World).steps);
            assert!(one.steps.len() > 20);
        }
    }

    /// A session that a seed once meant stays findable: what it was is written here.
    #[test]
    fn a_seed_means_the_same_for_ever() {
        let digest = |kind| {
            let text = format!("{:?}", session(412, kind, Pace::World).steps);
            text.bytes().fold(0u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
        };
        assert_eq!(
            [digest(Kind::Legal), digest(Kind::Hostile)],
            [10_156_276_253_638_184_449, 5_738_151_182_918_823_383]
        );
    }

    #[test]
    fn checks_are_filled_in_from_what_was_heard() {
        let heard = ["a".to_owned(), "b".to_owned()];
        assert_eq!(fill_checks("$check $stale", &heard), "b a");
        assert_eq!(fill_checks("$check $stale", &[]), "none none");
    }
}
