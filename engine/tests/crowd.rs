//! A room of thousands on one core, whose members are served a slice a turn: what that keeps waiting is no reader's fault.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use engine::time::Now;
use engine::{Action, ConnectionId, Limits, Shard};
use wire::frame::Opcode;
use world::{Setup, masked_frame, settings};

/// A shard whose peers read everything at once.
struct Crowd {
    shard: Shard,
    now: Now,
}

impl Crowd {
    fn new(limits: Limits) -> Crowd {
        let setup = Setup { limits, ..Setup::default() };
        Crowd { shard: Shard::new(settings(&setup, 0)), now: Now { master_us: 0, unix_us: 0 } }
    }

    /// The end of a turn; the kernel has taken every send by the next.
    fn turn(&mut self) {
        self.shard.flush();
        let mut sent = Vec::new();
        while let Some((id, bytes)) = self.shard.poll_send() {
            sent.push((id, bytes.len()));
        }
        while let Some(action) = self.shard.poll_action() {
            if let Action::Drop { connection, .. } = action {
                self.shard.handle_released(connection);
            }
        }
        for (id, bytes) in sent {
            assert_eq!(self.shard.handle_sent(id, bytes), None);
        }
    }

    fn settle(&mut self) {
        while self.shard.has_work() {
            self.turn();
        }
    }

    fn deliver(&mut self, id: ConnectionId, bytes: &[u8]) {
        let _ = self.shard.handle_bytes(id, &mut bytes.to_vec(), self.now);
    }

    /// So many join R, as many in a turn as listeners let in.
    fn enter(&mut self, count: usize, in_a_turn: usize) -> Vec<ConnectionId> {
        let mut members = Vec::new();
        for member in 0..count {
            let id = self.shard.handle_accept(false, self.now);
            self.deliver(
                id,
                b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            );
            // As long as a UUID.
            let user = format!("{member:036}");
            let join = format!(r#"{{"type":"join","roomCode":"R","userId":"{user}","hostId":"host"}}"#);
            self.deliver(id, &masked_frame(Opcode::Text, join.as_bytes()));
            members.push(id);
            if (member + 1) % in_a_turn == 0 {
                self.turn();
            }
        }
        members
    }
}

#[test]
fn who_reads_is_not_cut_off_for_what_a_crowd_that_comes_or_goes_keeps_waiting() {
    // A quarter of the default, so that a quarter of the members is enough.
    let limits = Limits { outbox_bytes_max: 64 << 10, ..Limits::default() };
    let mut crowd = Crowd::new(limits);
    let members = crowd.enter(3_500, 64);
    crowd.settle();
    assert_eq!((crowd.shard.stats().outboxes_overflowed, crowd.shard.stats().connections), (0, 3_500));
    for id in &members[..1_500] {
        crowd.shard.handle_end(*id, crowd.now);
    }
    crowd.settle();
    assert_eq!((crowd.shard.stats().outboxes_overflowed, crowd.shard.stats().connections), (0, 2_000));
}
