//! A worker's connections over its ring: connect, upgrade, frames in, frames out.
//!
//! Knows WebSocket and sockets, nothing of scenarios: what a connection says and what its messages mean is
//! the [`crate::play::Play`]'s. A connection that is idle owns no buffer and no allocation.

use crate::play::Play;
use crate::ring::{Completion, Ring};
use crate::socket::{self, Endpoint};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;
use tungstenite::handshake::{client::generate_key, derive_accept_key};
use wire::close;
use wire::decoder::{Decoder, DecoderLimits, Event};
use wire::frame::{self, Opcode};

/// A message of any length that a server sends is read.
const LIMITS: DecoderLimits =
    DecoderLimits { message_bytes_max: 1 << 30, fragments_max: 1 << 20, masked: false };
/// Bytes that may wait for a socket that takes no more; beyond, the play must wait.
const OUT_BYTES_MAX: usize = 256 * 1024;
/// Send buffers beyond this size are not kept.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
const NONE: u32 = u32::MAX;
const GENERATION_MAX: u32 = 0xFF_FFFF;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No socket.
    Closed,
    Connecting,
    /// The request is on its way.
    Upgrading,
    Open,
    /// Shut; waits for its last completion.
    Ending,
}

/// How a connection came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// We ended it.
    Ours,
    /// It never opened.
    Failed(String),
    /// It was open, and the server or the network ended it.
    Lost(String),
}

struct Connection {
    fd: RawFd,
    generation: u32,
    /// The send buffer that is being filled, and the one that is on its way, with how far it is.
    filling: u32,
    sending: u32,
    sent: u32,
    phase: Phase,
    is_receiving: bool,
    is_dirty: bool,
    is_stalled: bool,
    is_ours: bool,
    was_open: bool,
    decoder: Decoder,
    /// The answer to the upgrade, if it came in parts.
    head: Vec<u8>,
    reason: Option<Box<str>>,
}

/// Bytes of an idle connection in this file.
pub const CONNECTION_BYTES: usize = size_of::<Connection>();

#[derive(Clone, Copy)]
enum Act {
    Connect = 1,
    Receive = 2,
    Send = 3,
}

/// One worker's connections.
pub struct Io {
    ring: Ring,
    connections: Vec<Connection>,
    buffers: Vec<Vec<u8>>,
    free: Vec<u32>,
    dirty: Vec<u32>,
    endpoints: Vec<Endpoint>,
    key: String,
    accept: String,
    mask: [u8; 4],
    /// The turn's time. Read once a turn and every few completions, never for each message.
    pub now_ns: u64,
    pub open: u64,
    pub pending: u64,
    pub made: u64,
    pub ended: u64,
    pub failed: BTreeMap<String, u64>,
    pub lost: BTreeMap<String, u64>,
}

impl Io {
    pub fn new(ring: Ring, connections: usize, endpoints: Vec<Endpoint>, random: &mut fastrand::Rng) -> Io {
        let key = generate_key();
        let accept = derive_accept_key(key.as_bytes());
        let connections = (0..connections)
            .map(|_| Connection {
                fd: -1,
                generation: 0,
                filling: NONE,
                sending: NONE,
                sent: 0,
                phase: Phase::Closed,
                is_receiving: false,
                is_dirty: false,
                is_stalled: false,
                is_ours: false,
                was_open: false,
                decoder: Decoder::default(),
                head: Vec::new(),
                reason: None,
            })
            .collect();
        Io {
            ring,
            connections,
            buffers: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            endpoints,
            key,
            accept,
            // Never zero: a server that skipped the unmasking would not be seen.
            mask: std::array::from_fn(|_| random.u8(1..)),
            now_ns: 0,
            open: 0,
            pending: 0,
            made: 0,
            ended: 0,
            failed: BTreeMap::new(),
            lost: BTreeMap::new(),
        }
    }

    pub fn connections(&self) -> u32 {
        self.connections.len() as u32
    }

    pub fn enters(&self) -> u64 {
        self.ring.enters
    }

    pub fn phase(&self, connection: u32) -> Phase {
        self.connections[connection as usize].phase
    }

    pub fn is_open(&self, connection: u32) -> bool {
        self.phase(connection) == Phase::Open
    }

    /// This connection will not read once it is open and its play has no more need.
    pub fn stall(&mut self, connection: u32) {
        self.connections[connection as usize].is_stalled = true;
    }

    pub fn is_stalled(&self, connection: u32) -> bool {
        self.connections[connection as usize].is_stalled
    }

    /// How many connections are not read, and how many of those the server has ended.
    pub fn count_stalled(&self) -> (u64, u64) {
        let stalled = self.connections.iter().filter(|it| it.is_stalled);
        let is_cut_off = |it: &Connection| it.phase != Phase::Open || socket::is_ended(it.fd);
        stalled.fold((0, 0), |(all, cut_off), it| (all + 1, cut_off + u64::from(is_cut_off(it))))
    }

    /// Opens a socket and connects it. The play hears of it as opened or ended.
    pub fn connect(&mut self, connection: u32) -> io::Result<()> {
        let endpoint = &self.endpoints[connection as usize % self.endpoints.len()];
        let fd = endpoint.socket(connection as usize / self.endpoints.len())?;
        let it = &mut self.connections[connection as usize];
        it.generation = (it.generation + 1) & GENERATION_MAX;
        (it.fd, it.phase, it.is_ours, it.sent) = (fd, Phase::Connecting, false, 0);
        let tag = tag(Act::Connect, it.generation, connection);
        self.pending += 1;
        self.ring.connect(fd, &endpoint.address, tag)
    }

    /// Ends a connection from our side at once, as a client does that goes away.
    pub fn end(&mut self, connection: u32) {
        let it = &mut self.connections[connection as usize];
        if matches!(it.phase, Phase::Open | Phase::Upgrading) {
            it.is_ours = true;
            self.shut(connection);
        }
    }

    /// True while a connection's own backlog is short enough for more.
    pub fn has_room(&self, connection: u32) -> bool {
        let it = &self.connections[connection as usize];
        it.phase == Phase::Open && self.takes_bytes(connection)
    }

    /// The same while its upgrade is still on its way.
    pub fn takes_bytes(&self, connection: u32) -> bool {
        let it = &self.connections[connection as usize];
        matches!(it.phase, Phase::Open | Phase::Upgrading)
            && (it.filling == NONE || self.buffers[it.filling as usize].len() < OUT_BYTES_MAX)
    }

    /// Appends to what a connection sends when the turn ends: a byte at least.
    pub fn append(&mut self, connection: u32, write: impl FnOnce(&mut Vec<u8>, [u8; 4])) {
        let it = &mut self.connections[connection as usize];
        if it.filling == NONE {
            it.filling = self.free.pop().unwrap_or_else(|| {
                self.buffers.push(Vec::new());
                self.buffers.len() as u32 - 1
            });
        }
        if !it.is_dirty {
            it.is_dirty = true;
            self.dirty.push(connection);
        }
        write(&mut self.buffers[it.filling as usize], self.mask);
    }

    /// Appends a masked frame.
    pub fn send(&mut self, connection: u32, opcode: Opcode, payload: &[u8]) {
        self.append(connection, |out, key| frame::push_masked_frame(out, opcode, payload, key));
    }

    /// Starts the sends of all that was appended.
    pub fn flush(&mut self) -> io::Result<()> {
        for connection in std::mem::take(&mut self.dirty) {
            self.connections[connection as usize].is_dirty = false;
            self.start_send(connection)?;
        }
        Ok(())
    }

    fn start_send(&mut self, connection: u32) -> io::Result<()> {
        let it = &mut self.connections[connection as usize];
        if it.sending != NONE || it.filling == NONE || it.phase == Phase::Ending || it.phase == Phase::Closed
        {
            return Ok(());
        }
        (it.sending, it.filling, it.sent) = (it.filling, NONE, 0);
        let tag = tag(Act::Send, it.generation, connection);
        self.ring.send(it.fd, &self.buffers[it.sending as usize], tag)
    }

    /// Submits and waits.
    pub fn enter(&mut self, wait_max: std::time::Duration) -> io::Result<()> {
        self.ring.enter(wait_max)
    }

    /// Handles one completion, if there is one.
    pub fn turn<P: Play>(&mut self, play: &mut P) -> io::Result<bool> {
        let Some(completion) = self.ring.reap() else { return Ok(false) };
        let connection = completion.tag as u32;
        let act = completion.tag >> 56;
        let it = &mut self.connections[connection as usize];
        debug_assert_eq!((completion.tag >> 32) as u32 & GENERATION_MAX, it.generation, "ended too early");
        if act == Act::Receive as u64 {
            self.handle_received(connection, &completion, play)?;
        } else if act == Act::Send as u64 {
            self.handle_sent(connection, completion.result, play)?;
        } else if completion.result < 0 {
            it.reason = Some(errno(completion.result).into());
            self.finish(connection, play);
        } else {
            self.upgrade(connection, play)?;
        }
        Ok(true)
    }

    fn upgrade<P: Play>(&mut self, connection: u32, play: &mut P) -> io::Result<()> {
        let path = play.path(connection);
        let endpoint = &self.endpoints[connection as usize % self.endpoints.len()];
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\n\r\n",
            path.as_deref().unwrap_or(&endpoint.path),
            endpoint.host,
            self.key
        );
        self.connections[connection as usize].phase = Phase::Upgrading;
        let head = &request.as_bytes()[..play.head_bytes(connection, request.as_bytes())];
        if !head.is_empty() {
            self.append(connection, |out, _| out.extend_from_slice(head));
        }
        self.receive(connection, play)
    }

    fn receive<P: Play>(&mut self, connection: u32, play: &P) -> io::Result<()> {
        let it = &mut self.connections[connection as usize];
        if it.phase == Phase::Open && it.is_stalled && play.may_stall(connection) {
            return Ok(());
        }
        it.is_receiving = true;
        let tag = tag(Act::Receive, it.generation, connection);
        if it.is_stalled { self.ring.receive_once(it.fd, tag) } else { self.ring.receive(it.fd, tag) }
    }

    fn handle_received<P: Play>(
        &mut self,
        connection: u32,
        completion: &Completion,
        play: &mut P,
    ) -> io::Result<()> {
        if let Some(buffer) = completion.buffer {
            let length = completion.result.max(0) as usize;
            // The bytes stay the ring's while the play may send, so they are borrowed past it.
            let bytes: *mut [u8] = self.ring.received(buffer, length);
            // SAFETY: the buffer is ours until it is offered again below, the mapping lives as long as the
            // ring, and nothing else reads or writes this buffer meanwhile.
            let bytes = unsafe { &mut *bytes };
            self.read(connection, bytes, play);
            self.ring.recycle(buffer);
        }
        let it = &mut self.connections[connection as usize];
        if completion.has_more {
            return Ok(());
        }
        it.is_receiving = false;
        match completion.result {
            0 => self.lose(connection, "closed by the server", play),
            // All buffers are in use; they are given back within this turn.
            result if result == -libc::ENOBUFS || result > 0 => {
                if matches!(it.phase, Phase::Open | Phase::Upgrading) {
                    return self.receive(connection, play);
                }
                self.finish_if_quiet(connection, play);
            }
            result => self.lose(connection, &errno(result), play),
        }
        Ok(())
    }

    fn read<P: Play>(&mut self, connection: u32, bytes: &mut [u8], play: &mut P) {
        let it = &mut self.connections[connection as usize];
        let mut input = match it.phase {
            Phase::Open => bytes,
            Phase::Upgrading => {
                it.head.extend_from_slice(bytes);
                let head = std::mem::take(&mut it.head);
                match self.read_answer(&head) {
                    Ok(None) => {
                        self.connections[connection as usize].head = head;
                        return;
                    }
                    Err(reason) => {
                        self.connections[connection as usize].reason = Some(reason.into());
                        self.shut(connection);
                        return;
                    }
                    Ok(Some(head_bytes)) => {
                        self.connections[connection as usize].phase = Phase::Open;
                        self.open += 1;
                        self.made += 1;
                        self.pending -= 1;
                        play.opened(self, connection);
                        let rest = bytes.len().min(head.len() - head_bytes);
                        let from = bytes.len() - rest;
                        &mut bytes[from..]
                    }
                }
            }
            _ => return,
        };
        let mut decoder = std::mem::take(&mut self.connections[connection as usize].decoder);
        while self.is_open(connection) {
            match decoder.next(&mut input, &LIMITS) {
                Ok(Some(Event::Text(payload))) => play.message(self, connection, true, payload),
                Ok(Some(Event::Binary(payload))) => play.message(self, connection, false, payload),
                Ok(Some(Event::Ping(payload))) if play.answers_pings() => {
                    self.send(connection, Opcode::Pong, payload);
                }
                Ok(Some(Event::Ping(_) | Event::Pong)) => {}
                Ok(Some(Event::Close(payload))) => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    self.connections[connection as usize].reason = Some(format!("close {code}").into());
                    let answer = close::reply(payload).code().to_be_bytes();
                    self.send(connection, Opcode::Close, &answer);
                    return;
                }
                Ok(None) => {
                    self.connections[connection as usize].decoder = decoder;
                    return;
                }
                Err(reason) => {
                    let reason = format!("broke RFC 6455 ({})", reason.code());
                    self.connections[connection as usize].reason = Some(reason.into());
                    self.shut(connection);
                }
            }
        }
    }

    /// The length of a right answer's head, `None` if it is not whole yet.
    fn read_answer(&self, head: &[u8]) -> Result<Option<usize>, String> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut headers);
        let length = match answer.parse(head) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(format!("not an HTTP answer: {error}")),
        };
        if answer.code != Some(101) {
            return Err(format!("answered {} to the upgrade", answer.code.unwrap_or(0)));
        }
        let accept = answer.headers.iter().find(|it| it.name.eq_ignore_ascii_case("sec-websocket-accept"));
        if accept.is_none_or(|it| it.value.trim_ascii() != self.accept.as_bytes()) {
            return Err("a wrong Sec-WebSocket-Accept".to_owned());
        }
        Ok(Some(length))
    }

    fn handle_sent<P: Play>(&mut self, connection: u32, result: i32, play: &mut P) -> io::Result<()> {
        let it = &mut self.connections[connection as usize];
        if result > 0 && it.phase != Phase::Ending {
            it.sent += result as u32;
            let bytes = &self.buffers[it.sending as usize][it.sent as usize..];
            if !bytes.is_empty() {
                let tag = tag(Act::Send, it.generation, connection);
                return self.ring.send(it.fd, bytes, tag);
            }
        }
        let buffer = std::mem::replace(&mut it.sending, NONE);
        self.give_back(buffer);
        if result <= 0 {
            self.lose(connection, &errno(result), play);
            return Ok(());
        }
        self.start_send(connection)?;
        if self.is_open(connection) {
            play.drained(self, connection);
        }
        self.finish_if_quiet(connection, play);
        Ok(())
    }

    fn give_back(&mut self, buffer: u32) {
        if buffer == NONE {
            return;
        }
        let bytes = &mut self.buffers[buffer as usize];
        if bytes.capacity() > KEPT_BYTES_MAX {
            *bytes = Vec::new();
        }
        bytes.clear();
        self.free.push(buffer);
    }

    fn lose<P: Play>(&mut self, connection: u32, reason: &str, play: &mut P) {
        let it = &mut self.connections[connection as usize];
        if it.reason.is_none() {
            it.reason = Some(reason.into());
        }
        if matches!(it.phase, Phase::Open | Phase::Upgrading) {
            self.shut(connection);
        }
        self.finish_if_quiet(connection, play);
    }

    /// Shuts both ways, which completes what is in flight.
    fn shut(&mut self, connection: u32) {
        let it = &mut self.connections[connection as usize];
        if it.phase == Phase::Open {
            self.open -= 1;
            it.was_open = true;
        } else {
            self.pending -= 1;
        }
        it.phase = Phase::Ending;
        socket::shut(it.fd);
    }

    fn finish_if_quiet<P: Play>(&mut self, connection: u32, play: &mut P) {
        let it = &self.connections[connection as usize];
        if it.phase == Phase::Ending && !it.is_receiving && it.sending == NONE {
            self.finish(connection, play);
        }
    }

    fn finish<P: Play>(&mut self, connection: u32, play: &mut P) {
        let it = &mut self.connections[connection as usize];
        socket::close(it.fd);
        if it.phase == Phase::Connecting {
            self.pending -= 1;
        }
        let was_open = std::mem::take(&mut it.was_open);
        let filling = std::mem::replace(&mut it.filling, NONE);
        let reason = it.reason.take().map_or_else(|| "unknown".to_owned(), String::from);
        (it.phase, it.fd) = (Phase::Closed, -1);
        (it.decoder, it.head) = (Decoder::default(), Vec::new());
        let end = match (it.is_ours, was_open) {
            (true, _) => End::Ours,
            (false, true) => End::Lost(reason),
            (false, false) => End::Failed(reason),
        };
        self.give_back(filling);
        match &end {
            End::Ours => self.ended += 1,
            End::Lost(reason) => *self.lost.entry(reason.clone()).or_default() += 1,
            End::Failed(reason) => *self.failed.entry(reason.clone()).or_default() += 1,
        }
        play.ended(self, connection, &end);
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        for connection in self.connections.iter().filter(|it| it.phase != Phase::Closed) {
            socket::shut(connection.fd);
            socket::close(connection.fd);
        }
    }
}

fn tag(act: Act, generation: u32, connection: u32) -> u64 {
    (act as u64) << 56 | u64::from(generation) << 32 | u64::from(connection)
}

fn errno(result: i32) -> String {
    match -result {
        libc::ECONNREFUSED => "connection refused".to_owned(),
        libc::ECONNRESET | libc::EPIPE => "reset by the server".to_owned(),
        libc::ETIMEDOUT => "timed out".to_owned(),
        libc::EADDRNOTAVAIL => "no free port at the source address".to_owned(),
        number => io::Error::from_raw_os_error(number).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::decoder::DecoderLimits;

    #[test]
    fn a_masked_frame_is_read_by_a_server() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![7; length];
            let mut out = Vec::new();
            frame::push_masked_frame(&mut out, Opcode::Binary, &payload, [1, 2, 3, 4]);
            let limits = DecoderLimits { masked: true, ..LIMITS };
            let mut decoder = Decoder::default();
            assert_eq!(
                decoder.next(&mut &mut out[..], &limits),
                Ok(Some(Event::Binary(&mut payload.clone())))
            );
        }
    }
}
