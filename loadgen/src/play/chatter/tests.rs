//! Chatter's accounts with the test as its server.

use super::*;
use crate::ring::Ring;

/// Two rooms of two, of which only the first members speak.
fn chatter() -> (Chatter, Io) {
    let roles = Roles { speakers: Some(1), silent_percent: 0.0 };
    let chatter = Chatter::new(4, Seats { room_size: 2, first: 0 }, roles, Some(1.0));
    let io = Io::new(Ring::new(2, 4096).unwrap(), 4, Vec::new(), &mut fastrand::Rng::with_seed(1));
    (chatter, io)
}

fn seek(position: u32) -> String {
    format!(
        r#"{{"type":"SEEK","seekPositionMs":{position},"masterClockMs":1.5,"seekDelayMs":300,"timestamp":1}}"#
    )
}

/// Lost, twice, out of order, corrupt, and owed less what was delivered, after a member has heard these.
fn account(connection: u32, frames: &[&str]) -> [u64; 5] {
    let (mut chatter, mut io) = chatter();
    let positions = [0; 4].map(|_| chatter.say(1, 7));
    assert_eq!(positions, [0, 1, 2, 3], "one speaker needs no bits");
    for frame in frames {
        chatter.message(&mut io, connection, true, frame.as_bytes());
    }
    chatter.conclude(&io, true);
    let outcome = &chatter.gauge.outcome;
    let messages = &outcome.messages;
    let open = outcome.conservation.owed - outcome.conservation.delivered;
    [messages.lost, messages.duplicated, messages.reordered, messages.corrupt, open]
}

#[test]
fn what_a_member_hears_is_counted_as_what_it_is() {
    let seeks = [0, 1, 2, 3, 4].map(seek);
    let [a, b, c, d, unsaid] = seeks.each_ref().map(String::as_str);
    // The other member's four are missing all along.
    assert_eq!(account(2, &[a, b, c, d]), [4, 0, 0, 0, 4]);
    assert_eq!(account(3, &[a, c, d]), [5, 0, 0, 0, 5], "one lost");
    assert_eq!(account(3, &[a, b, b, c, d]), [4, 1, 0, 0, 4], "one twice");
    assert_eq!(account(3, &[a, c, b, d]), [4, 0, 1, 0, 4], "two swapped");
    assert_eq!(account(3, &[a, b, c, d, unsaid]), [4, 0, 0, 1, 4], "one that was never said");
    assert_eq!(account(1, &[a]), [8, 0, 0, 1, 8], "one of another room");
    let joined = r#"{"type":"joined","roomCode":"LG1"}"#;
    let others = [joined, r#"{"type":"user_left","userId":"u"}"#, r#"{"type":"playback_state"}"#];
    assert_eq!(account(2, &others), [8, 0, 0, 0, 8]);
    assert_eq!(account(2, &[joined, joined, "{}", r#"{"type":"PLAY"}"#]), [8, 0, 0, 3, 8]);
}

#[test]
fn places_go_from_room_to_room() {
    let roles = Roles { speakers: None, silent_percent: 0.0 };
    let chatter = Chatter::new(5, Seats { room_size: 2, first: 0 }, roles, Some(1.0));
    let spoken: Vec<u32> =
        chatter.places.iter().map(|it| chatter.speakers[*it as usize].connection).collect();
    assert_eq!(spoken, [0, 2, 4, 1, 3]);
    assert!(chatter.speakers.iter().enumerate().all(|(i, it)| chatter.places[it.place as usize] == i as u32));
}

#[test]
fn members_are_ready_when_the_others_have_heard_of_them_or_nothing_more_is_said() {
    let (mut chatter, mut io) = chatter();
    let mut ready = |io: &mut Io, now_ns: u64, connection: u32, kind: &str| {
        io.now_ns = now_ns;
        chatter.message(io, connection, true, format!(r#"{{"type":"{kind}"}}"#).as_bytes());
        chatter.ready(io)
    };
    assert_eq!(ready(&mut io, 1, 0, "joined"), 1);
    assert_eq!(ready(&mut io, 2, 1, "joined"), 1, "the first has not heard of it");
    assert_eq!(ready(&mut io, 3, 0, "user_joined"), 2);
    assert_eq!(ready(&mut io, 4, 2, "user_joined"), 2, "it may hear of another before that one does");
    assert_eq!(ready(&mut io, 5, 2, "joined"), 3);
    assert_eq!(ready(&mut io, 6, 3, "joined"), 4);
    assert_eq!(ready(&mut io, 7, 3, "user_left"), 4);
    let (mut quiet, mut io) = self::chatter();
    for connection in 0..2 {
        quiet.message(&mut io, connection, true, br#"{"type":"joined"}"#);
    }
    assert_eq!(quiet.ready(&io), 1);
    io.now_ns += QUIET_NS;
    assert_eq!(quiet.ready(&io), 2, "a server need not tell");
}
