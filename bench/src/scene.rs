//! A shard with connections and rooms, and no network: what operations are performed on.

use engine::{Action, App, Authz, ConnectionId, CoreId, Envelope, Flow, Limits, Now, Seed, Settings, Shard};
use wire::frame::{self, Opcode};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// 2026, near enough for numbers to have their usual digits.
const NOW: Now = Now { master_us: 59_000_000_123_456, unix_us: 1_763_000_000_123_456 };

/// Messages with one reading of the clock, and the time from one reading to the next: 50 messages a second.
const HEARD_PER_READING: u32 = 64;
const HEARD_PER_READING_US: i64 = 1_280_000;

/// One shard; its peers, if it has any, are only envelopes that nobody reads.
pub struct Scene {
    /// The shard.
    pub shard: Shard,
    /// The time it is told.
    pub now: Now,
    heard: u32,
    /// Bytes of a receive, which handling changes.
    bytes: Vec<u8>,
    /// What was sent, while someone wants to know.
    answers: Option<Vec<u8>>,
}

impl Scene {
    /// A shard without connections.
    pub fn new(app: App, cores: u16) -> Scene {
        let settings = Settings {
            core: CoreId(0),
            cores,
            app,
            authz: Authz::Member,
            // As many commands as messages, so that time needs to go on no faster for those.
            limits: Limits {
                commands_per_s: 50,
                commands_burst: 100,
                room_commands_per_s: 50,
                room_commands_burst: 100,
                ..Limits::default()
            },
            seed: Seed(4, 12),
            page: None,
        };
        Scene { shard: Shard::new(settings), now: NOW, heard: 0, bytes: Vec::new(), answers: None }
    }

    /// A connection that is accepted and upgraded.
    pub fn connect(&mut self) -> ConnectionId {
        let id = self.shard.handle_accept(false, self.now);
        let flow = self.shard.handle_bytes(id, &mut request(), self.now);
        assert_eq!(flow, Flow::Stream, "the upgrade is answered here");
        self.turn();
        id
    }

    /// A room and its members.
    pub fn room(&mut self, code: &str, members: usize) -> Vec<ConnectionId> {
        let join = join(code);
        (0..members)
            .map(|_| {
                let id = self.connect();
                self.hear(id, &join);
                id
            })
            .collect()
    }

    /// One receive of these bytes, and the turn that follows.
    pub fn hear(&mut self, id: ConnectionId, bytes: &[u8]) {
        // Many messages come with one reading of the clock; in the long run none comes past its rate.
        self.heard += 1;
        if self.heard.is_multiple_of(HEARD_PER_READING) {
            self.now.master_us += HEARD_PER_READING_US;
            self.now.unix_us += HEARD_PER_READING_US;
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.shard.handle_bytes(id, &mut self.bytes, self.now);
        self.turn();
    }

    /// The same; what is sent to anyone, in order.
    pub fn hear_answers(&mut self, id: ConnectionId, bytes: &[u8]) -> Vec<u8> {
        self.answers = Some(Vec::new());
        self.hear(id, bytes);
        self.answers.take().unwrap_or_default()
    }

    /// So much later; what is due happens.
    pub fn wait(&mut self, time_ms: i64) {
        self.now.master_us += time_ms * engine::time::MS;
        self.now.unix_us += time_ms * engine::time::MS;
        self.shard.handle_deadlines(self.now);
        self.turn();
    }

    /// Ends the turn; the kernel takes every send at once. The only place that does, so that all operations have
    /// the same code around them.
    pub fn turn(&mut self) {
        loop {
            self.shard.flush();
            let mut is_quiet = true;
            while let Some((id, bytes)) = self.shard.poll_send() {
                if let Some(answers) = &mut self.answers {
                    answers.extend_from_slice(bytes);
                }
                let bytes = bytes.len();
                self.shard.handle_sent(id, bytes);
                is_quiet = false;
            }
            while let Some(action) = self.shard.poll_action() {
                if let Action::Drop { connection, .. } = action {
                    self.shard.handle_released(connection);
                }
                is_quiet = false;
            }
            if is_quiet && !self.shard.has_work() {
                return;
            }
        }
    }

    /// What a peer would have been sent.
    pub fn envelopes(&mut self, peer: u16) -> Vec<Envelope> {
        self.shard.take_envelopes(CoreId(peer))
    }
}

/// A browser's upgrade request.
pub fn request() -> Vec<u8> {
    b"GET /ws/sync?roomCode=R&userId=u1 HTTP/1.1\r\nHost: sync.example\r\nConnection: Upgrade\r\n\
      Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
      Upgrade: websocket\r\nOrigin: https://app.example\r\nSec-WebSocket-Version: 13\r\n\
      Accept-Encoding: gzip, deflate, br\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
      Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
        .to_vec()
}

/// A request to join a room.
pub fn join(code: &str) -> Vec<u8> {
    text(&format!(r#"{{"type":"join","roomCode":"{code}","userId":"u1","hostId":"u1"}}"#))
}

/// A client's text frame.
pub fn text(text: &str) -> Vec<u8> {
    masked(Opcode::Text, text.as_bytes())
}

/// A client's frame.
pub fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::push_masked_frame(&mut bytes, opcode, payload, KEY);
    bytes
}
