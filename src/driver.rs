//! A shard's sockets: completions in, operations out; what they mean is the engine's.
//!
//! It knows which operations are in flight on which descriptor and nothing of rooms or frames. Completions
//! are values, so tests play the kernel. Invariants: every open connection that may still speak has a
//! receive armed or queued to be armed; at most one send is in flight on a socket; a descriptor is closed,
//! and its slot reused, only when nothing is in flight on it.

use crate::admission::{Admission, Counted};
use crate::clock::Clock;
use crate::ring::{Completion, Operation};
use engine::{Action, ConnectionId, CoreId, Envelope, FanOut, Flow, Moved, Now, Shard};
use socket2::SockRef;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The first pause after descriptors or memory ran out, doubled up to [`ACCEPT_PAUSE_MS_MAX`].
const ACCEPT_PAUSE_MS_MIN: i64 = 10;
const ACCEPT_PAUSE_MS_MAX: i64 = 500;
/// Accepts armed on each listener, and so the most that one turn takes of a storm: those in play do not wait for the whole
/// of it. The kernel wakes one of them for each connection.
const ACCEPTS_PER_LISTENER: usize = 8;
/// Round trips asked for in one turn, each a µs or less.
const RTTS_PER_TURN_MAX: usize = 50;
/// Ends of a receive that mean no end of the connection.
const RECEIVE_AGAIN: [i32; 4] = [libc::ENOBUFS, libc::EAGAIN, libc::EINTR, libc::ECANCELED];

/// What a completion belongs to, as it stands in its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Doorbell,
    Accept { listener: u32 },
    Receive(ConnectionId),
    Send(ConnectionId),
    Cancel,
}

impl Tag {
    fn to_bits(self) -> u64 {
        let (kind, index, generation) = match self {
            Tag::Doorbell => (0, 0, 0),
            Tag::Accept { listener } => (1, listener, 0),
            Tag::Receive(id) => (2, id.index, id.generation),
            Tag::Send(id) => (3, id.index, id.generation),
            Tag::Cancel => (4, 0, 0),
        };
        kind << 56 | u64::from(generation) << 32 | u64::from(index)
    }

    fn from_bits(bits: u64) -> Tag {
        let index = bits as u32;
        let id = ConnectionId { index, generation: (bits >> 32) as u32 & ConnectionId::GENERATION_MAX };
        match bits >> 56 {
            0 => Tag::Doorbell,
            1 => Tag::Accept { listener: index },
            2 => Tag::Receive(id),
            3 => Tag::Send(id),
            _ => Tag::Cancel,
        }
    }
}

/// The tag of the doorbell's completions.
pub fn doorbell_tag() -> u64 {
    Tag::Doorbell.to_bits()
}

/// How a socket's next bytes will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receive {
    /// Nothing will come, or nothing is wanted.
    Ended,
    /// Armed, for one completion.
    Once,
    /// Armed, for as long as the kernel keeps it.
    Stream,
    /// A stream that is being cancelled, to become a poll.
    Ending,
    /// A poll is armed, a third of a receive's memory; a receive follows when there is something.
    Poll,
    /// To be armed when the turn ends.
    QueuedOnce,
    /// To be armed when the turn ends.
    QueuedStream,
    /// To be armed when the turn ends.
    QueuedPoll,
}

/// A slot's descriptor and what is in flight on it. The bytes of its send are the engine's.
struct Socket {
    fd: RawFd,
    receive: Receive,
    is_sending: bool,
    /// Told to let go, with or without a reset; waits for what is in flight.
    dropping: Option<bool>,
    /// The era of the last turn that brought bytes.
    fed_era: u8,
}

/// Bytes of a connection here; the rest of it is the engine's.
pub const SOCKET_BYTES: usize = size_of::<Socket>();

impl Socket {
    fn new(fd: RawFd) -> Socket {
        Socket { fd, receive: Receive::Ended, is_sending: false, dropping: None, fed_era: 0 }
    }
}

/// Who had bytes in this era or the three before it has had its turn. What one receive of one connection took is
/// handled over several turns, so an era has more than one.
const ERAS_FED: u8 = 4;
const TURNS_PER_ERA: u64 = 16;

const UNUSED: RawFd = -1;

/// Figures of the driver, for whoever publishes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverStats {
    /// Gauge: descriptors held.
    pub sockets: u64,
    /// Gauge: sockets with a receive armed, or a poll for one.
    pub armed: u64,
    /// Gauge: those with a poll.
    pub resting: u64,
    /// Gauge: sockets whose receive is to be armed at the end of the turn.
    pub queued: u64,
    /// Gauge: sockets that need no receive any more: ended by the peer, or being let go of.
    pub ended: u64,
    /// Receives that found no buffer.
    pub buffers_exhausted: u64,
    /// Receives that the kernel ended without a reason of the peer's.
    pub receives_rearmed: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes that the kernel took to send.
    pub sent_bytes: u64,
    /// Sends that the kernel took only a part of.
    pub sends_short: u64,
    /// Accepts that failed for want of descriptors or memory.
    pub accepts_failed: u64,
    /// Accepts answered with 503.
    pub accepts_over_limit: u64,
    /// Of those, accepts from an address that had too many connections.
    pub accepts_over_address_limit: u64,
    /// Connections that the kernel ended because their peer acknowledged nothing for too long.
    pub peers_timed_out: u64,
}

/// A listener and its accepts.
struct Listener {
    /// `None` once it is closed.
    fd: Option<OwnedFd>,
    /// Accepts in flight on it, or queued.
    armed: usize,
}

/// The sockets of one shard, and the shard.
pub struct Driver {
    shard: Shard,
    clock: Clock,
    sockets: Vec<Socket>,
    listeners: Vec<Listener>,
    /// Whose receive is to be armed, in the order they lost it: who was first is first to get a buffer.
    rearm: VecDeque<ConnectionId>,
    /// Those among them that had bytes of late come after the others. Else those whose bytes never end, who find no
    /// buffer before those they kept from theirs, would take all of them again, turn after turn.
    rearm_fed: VecDeque<ConnectionId>,
    turns: u64,
    /// A receive ended for want of a buffer, and waits to be armed.
    is_starved: bool,
    operations: VecDeque<Operation>,
    moved: VecDeque<(OwnedFd, Moved)>,
    accept_pause_ms: i64,
    accept_again_us: Option<i64>,
    stats: DriverStats,
    admission: Admission,
    /// What each socket is counted under, by slot; empty unless addresses are counted.
    counted: Vec<Counted>,
    is_draining: bool,
}

impl Driver {
    /// A driver of these listeners. Past the admission's limit, new connections are answered 503.
    pub fn new(shard: Shard, clock: Clock, listeners: Vec<OwnedFd>, admission: Admission) -> Driver {
        let mut driver = Driver {
            shard,
            clock,
            sockets: Vec::new(),
            listeners: listeners.into_iter().map(|fd| Listener { fd: Some(fd), armed: 0 }).collect(),
            rearm: VecDeque::new(),
            rearm_fed: VecDeque::new(),
            turns: 0,
            is_starved: false,
            operations: VecDeque::new(),
            moved: VecDeque::new(),
            accept_pause_ms: ACCEPT_PAUSE_MS_MIN,
            accept_again_us: None,
            stats: DriverStats::default(),
            admission,
            counted: Vec::new(),
            is_draining: false,
        };
        driver.arm_accepts(ACCEPTS_PER_LISTENER);
        driver
    }

    /// The engine, for reading its figures and its outgoing envelopes.
    pub fn shard(&mut self) -> &mut Shard {
        &mut self.shard
    }

    /// The driver's own figures.
    pub fn stats(&self) -> DriverStats {
        self.stats
    }

    /// The time, for those who act between completions.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The next operation for the ring, once [`Driver::end_turn`] has prepared them. They are made one at a
    /// time, so that a turn of ten thousand sends needs no list of them.
    pub fn poll_operation(&mut self) -> Option<Operation> {
        self.operations
            .pop_front()
            .or_else(|| self.next_send())
            .or_else(|| self.next_action())
            .or_else(|| self.next_receive())
            .or_else(|| {
                self.check_armed();
                None
            })
    }

    /// A connection that goes to another core.
    pub fn poll_moved(&mut self) -> Option<(OwnedFd, Moved)> {
        self.moved.pop_front()
    }

    /// All sockets are closed, and all listeners.
    pub fn is_empty(&self) -> bool {
        self.stats.sockets == 0 && self.listeners.iter().all(|listener| listener.fd.is_none())
    }

    /// Something is left to do before parking.
    pub fn has_work(&self) -> bool {
        self.shard.has_work()
            || !self.operations.is_empty()
            || !self.rearm.is_empty()
            || !self.rearm_fed.is_empty()
    }

    /// What has gathered should be sent before more is read.
    pub fn is_pressing(&self) -> bool {
        self.shard.is_pressing()
    }

    /// Connections found no buffer to receive into: their turn comes before that of bytes not received yet.
    pub fn is_starved(&self) -> bool {
        self.is_starved
    }

    /// What the turn's events for rooms come to.
    pub fn fan_out(&self) -> FanOut {
        self.shard.fan_out()
    }

    /// The master clock's time of the next deadline, µs.
    pub fn next_deadline_us(&mut self) -> Option<i64> {
        self.shard.next_deadline_us().into_iter().chain(self.accept_again_us).min()
    }

    /// A completion and, if it names a buffer, the bytes in it. True if it was the doorbell's.
    pub fn handle_completion(&mut self, completion: Completion, bytes: &mut [u8], now: Now) -> bool {
        match Tag::from_bits(completion.tag) {
            Tag::Doorbell => return true,
            Tag::Accept { listener } => self.handle_accept(listener, completion.result, now),
            Tag::Receive(id) => self.handle_receive(id, completion, bytes, now),
            Tag::Send(id) => self.handle_send(id, completion.result, now),
            Tag::Cancel => {}
        }
        false
    }

    /// A peer's envelope. If a connection's message in it brings out a bug, that costs this connection only, as here.
    pub fn handle_envelope(&mut self, from: CoreId, envelope: Envelope, now: Now) {
        let Some(asker) = envelope.asker() else {
            self.shard.handle_envelope(from, envelope, now);
            return;
        };
        let handled = catch_unwind(AssertUnwindSafe(|| self.shard.handle_envelope(from, envelope, now)));
        if handled.is_err() {
            self.shard.handle_fault_elsewhere(asker, now);
        }
    }

    /// A connection from another core, or one of this core's that could not be handed over.
    pub fn handle_moved(&mut self, fd: OwnedFd, moved: Moved, now: Now) {
        if self.is_draining {
            return;
        }
        let id = self.shard.open_moved(&moved, now);
        let fd = fd.into_raw_fd();
        let (counted, _) = self.enter(fd);
        self.insert(id, fd, counted);
        let flow = self.guarded(id, now, |shard| shard.handle_moved(id, moved, now));
        self.follow(id, flow);
    }

    /// Fires what is due.
    pub fn handle_deadlines(&mut self, now: Now) {
        self.shard.handle_deadlines(now);
        if self.accept_again_us.is_some_and(|again_us| again_us <= now.master_us) {
            self.accept_again_us = None;
            // One is enough to see whether there is anything to be had again.
            self.arm_accepts(1);
        }
    }

    /// Listens no more; who is connected stays.
    pub fn stop_listening(&mut self, now: Now) {
        self.is_draining = true;
        self.shard.begin_drain(now);
        self.accept_again_us = None;
        for listener in &mut self.listeners {
            match &listener.fd {
                Some(fd) if listener.armed > 0 => {
                    let tag = Tag::Cancel.to_bits();
                    self.operations.push_back(Operation::Cancel { fd: fd.as_raw_fd(), tag });
                }
                _ => listener.fd = None,
            }
        }
    }

    /// Closes up to `limit` connections with 1001; false once there is nobody more to close.
    pub fn drain(&mut self, limit: usize, now: Now) -> bool {
        self.shard.drain(limit, now)
    }

    /// A completion that comes when nobody handles any more: a connection among them is given back.
    pub fn salvage(completion: Completion) -> Option<OwnedFd> {
        let is_accepted =
            matches!(Tag::from_bits(completion.tag), Tag::Accept { .. }) && completion.result >= 0;
        // SAFETY: the kernel has made the descriptor for this completion, which is handled once.
        is_accepted.then(|| unsafe { OwnedFd::from_raw_fd(completion.result) })
    }

    /// A connection that was accepted before.
    pub fn adopt(&mut self, fd: OwnedFd) {
        let now = self.now();
        self.admit(fd.into_raw_fd(), now);
    }

    /// Resets what a drain has left.
    pub fn abandon(&mut self) {
        self.shard.abandon();
    }

    /// Ends the turn: what it led to comes out of [`Driver::poll_operation`].
    pub fn end_turn(&mut self) {
        self.shard.flush();
        self.turns += 1;
        self.ask_rtts();
    }

    /// Asks TCP for some round trips: a system call each, once in a connection's ping interval.
    fn ask_rtts(&mut self) {
        for _ in 0..RTTS_PER_TURN_MAX {
            let Some(id) = self.shard.poll_rtt_due() else { return };
            let fd = self.sockets[id.index as usize].fd;
            if let Some(rtt_us) = rtt_us(fd) {
                self.shard.handle_rtt(id, rtt_us);
            }
        }
    }

    fn next_send(&mut self) -> Option<Operation> {
        let (id, bytes) = self.shard.poll_send()?;
        let socket = &mut self.sockets[id.index as usize];
        debug_assert!(!socket.is_sending, "one send at a time");
        socket.is_sending = true;
        Some(send(socket.fd, id, bytes))
    }

    fn next_action(&mut self) -> Option<Operation> {
        while let Some(action) = self.shard.poll_action() {
            match action {
                Action::Shutdown(id) => {
                    return Some(Operation::Shutdown { fd: self.sockets[id.index as usize].fd });
                }
                Action::Drop { connection, reset } => self.begin_drop(connection, reset),
                Action::Rest(id) => self.begin_rest(id),
            }
            if let Some(operation) = self.operations.pop_front() {
                return Some(operation);
            }
        }
        None
    }

    fn next_receive(&mut self) -> Option<Operation> {
        while let Some(id) = self.rearm.pop_front().or_else(|| self.rearm_fed.pop_front()) {
            if let Some(operation) = self.arm(id) {
                return Some(operation);
            }
        }
        self.is_starved = false;
        None
    }

    fn check_armed(&self) {
        debug_assert_eq!(self.stats.queued, 0);
        debug_assert_eq!(
            self.stats.sockets,
            self.stats.armed + self.stats.ended,
            "an open connection has a receive armed"
        );
    }

    /// Arms up to so many more on each listener.
    fn arm_accepts(&mut self, most: usize) {
        if self.is_draining {
            return;
        }
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let Some(fd) = &listener.fd else { continue };
            let count = most.min(ACCEPTS_PER_LISTENER - listener.armed);
            listener.armed += count;
            let tag = Tag::Accept { listener: index as u32 }.to_bits();
            let accept = Operation::Accept { fd: fd.as_raw_fd(), tag };
            self.operations.extend(std::iter::repeat_n(accept, count));
        }
    }

    fn handle_accept(&mut self, listener: u32, result: i32, now: Now) {
        if let Some(listener) = self.listeners.get_mut(listener as usize) {
            listener.armed -= 1;
            if self.is_draining && listener.armed == 0 {
                listener.fd = None;
            }
        }
        match result {
            fd if fd >= 0 => {
                self.accept_pause_ms = ACCEPT_PAUSE_MS_MIN;
                self.accept_again_us = None;
                self.admit(fd, now);
            }
            error if [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM].contains(&-error) => {
                self.stats.accepts_failed += 1;
                self.pause_accepts(now);
            }
            // The peer was gone before we came: nothing was accepted.
            _ => {}
        }
        if self.accept_again_us.is_none() {
            self.arm_accepts(ACCEPTS_PER_LISTENER);
        }
    }

    /// Several that fail together are one failure.
    fn pause_accepts(&mut self, now: Now) {
        if self.accept_again_us.is_none() {
            self.accept_again_us = Some(now.master_us + self.accept_pause_ms * engine::time::MS);
            self.accept_pause_ms = (self.accept_pause_ms * 2).min(ACCEPT_PAUSE_MS_MAX);
        }
    }

    fn admit(&mut self, fd: RawFd, now: Now) {
        if self.is_draining {
            self.operations.push_back(Operation::Close { fd, reset: true });
            return;
        }
        let is_full = self.admission.is_full();
        let (counted, is_over_address_limit) = self.enter(fd);
        let is_over_limit = is_full || is_over_address_limit;
        self.stats.accepts_over_limit += u64::from(is_over_limit);
        self.stats.accepts_over_address_limit += u64::from(is_over_address_limit);
        let id = self.shard.handle_accept(is_over_limit, now);
        self.insert(id, fd, counted);
        self.queue_receive(id, if is_over_limit { Receive::QueuedStream } else { Receive::QueuedOnce });
    }

    fn enter(&self, fd: RawFd) -> (Counted, bool) {
        let address = self.admission.wants_address().then(|| peer_address(fd)).flatten();
        self.admission.enter(address)
    }

    fn insert(&mut self, id: ConnectionId, fd: RawFd, counted: Counted) {
        let index = id.index as usize;
        while self.sockets.len() <= index {
            self.sockets.push(Socket::new(UNUSED));
        }
        debug_assert_eq!(self.sockets[index].fd, UNUSED, "a slot is reused only after its release");
        self.sockets[index] = Socket::new(fd);
        self.stats.sockets += 1;
        self.stats.ended += 1;
        if self.admission.wants_address() {
            self.counted.resize(self.sockets.len(), Counted::default());
            self.counted[index] = counted;
        }
    }

    fn handle_receive(&mut self, id: ConnectionId, completion: Completion, bytes: &mut [u8], now: Now) {
        let socket = &self.sockets[id.index as usize];
        let was = socket.receive;
        let is_dropping = socket.dropping.is_some();
        if !completion.has_more {
            self.set_receive(id, Receive::Ended);
        }
        if is_dropping {
            self.finish_drop(id);
            return;
        }
        let was_once = matches!(was, Receive::Once | Receive::Poll);
        match completion.result {
            // There is something to receive, be it the end.
            _ if was == Receive::Poll => self.queue_receive(id, Receive::QueuedOnce),
            0 => self.shard.handle_end(id, now),
            1.. => {
                self.sockets[id.index as usize].fed_era = self.era();
                let flow = self.guarded(id, now, |shard| shard.handle_bytes(id, bytes, now));
                self.stats.received_bytes += completion.result as u64;
                if !completion.has_more {
                    self.stats.receives_rearmed += u64::from(!was_once);
                    self.follow(id, flow);
                }
            }
            error if RECEIVE_AGAIN.contains(&-error) => {
                self.is_starved |= -error == libc::ENOBUFS;
                self.stats.buffers_exhausted += u64::from(-error == libc::ENOBUFS);
                self.stats.receives_rearmed += u64::from(-error != libc::ENOBUFS);
                if was_once {
                    self.queue_receive(id, Receive::QueuedOnce);
                } else {
                    let flow = self.shard.flow_of(id);
                    self.follow(id, flow);
                }
            }
            error => self.fail(id, error, now),
        }
    }

    /// A receive or a send has met the end that the kernel, or the peer, made. The kernel says why once only.
    #[cold]
    fn fail(&mut self, id: ConnectionId, error: i32, now: Now) {
        self.stats.peers_timed_out += u64::from(-error == libc::ETIMEDOUT);
        self.shard.handle_failure(id, now);
    }

    /// A bug that one connection's bytes bring out costs that connection, and no other.
    fn guarded(&mut self, id: ConnectionId, now: Now, handle: impl FnOnce(&mut Shard) -> Flow) -> Flow {
        catch_unwind(AssertUnwindSafe(|| handle(&mut self.shard))).unwrap_or_else(|_| {
            self.shard.handle_fault(id, now);
            Flow::Stream
        })
    }

    /// Goes on receiving as the engine says.
    fn follow(&mut self, id: ConnectionId, flow: Flow) {
        match flow {
            Flow::Head => self.queue_receive(id, Receive::QueuedOnce),
            Flow::Stream => self.queue_receive(id, Receive::QueuedStream),
            Flow::Rest => self.queue_receive(id, Receive::QueuedPoll),
            Flow::Moved(moved) => {
                let socket = &mut self.sockets[id.index as usize];
                let fd = std::mem::replace(&mut socket.fd, UNUSED);
                debug_assert!(socket.receive == Receive::Ended && !socket.is_sending, "nothing is in flight");
                self.forget(id);
                // SAFETY: the table owned the descriptor and has just forgotten it.
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                self.moved.push_back((fd, moved));
            }
        }
    }

    fn handle_send(&mut self, id: ConnectionId, result: i32, now: Now) {
        let socket = &mut self.sockets[id.index as usize];
        socket.is_sending = false;
        if socket.dropping.is_some() {
            self.shard.handle_send_ended(id);
            self.finish_drop(id);
            return;
        }
        let fd = socket.fd;
        let rest = match result {
            taken @ 0.. => {
                self.stats.sent_bytes += taken as u64;
                let rest = self.shard.handle_sent(id, taken as usize);
                self.stats.sends_short += u64::from(rest.is_some());
                rest
            }
            error if [libc::EAGAIN, libc::EINTR, libc::ENOBUFS].contains(&-error) => {
                self.shard.handle_unsent(id)
            }
            error => {
                self.shard.handle_send_ended(id);
                self.fail(id, error, now);
                return;
            }
        };
        if let Some(bytes) = rest {
            socket.is_sending = true;
            self.operations.push_back(send(fd, id, bytes));
        }
    }

    fn queue_receive(&mut self, id: ConnectionId, receive: Receive) {
        let socket = &self.sockets[id.index as usize];
        if socket.dropping.is_none() && socket.receive == Receive::Ended {
            let is_fed = self.era().wrapping_sub(socket.fed_era) < ERAS_FED;
            self.set_receive(id, receive);
            if is_fed { self.rearm_fed.push_back(id) } else { self.rearm.push_back(id) }
        }
    }

    /// Counts turns in a byte. Should it meet a mark of 4,096 turns ago, someone comes a place too late, once.
    fn era(&self) -> u8 {
        (self.turns / TURNS_PER_ERA) as u8
    }

    fn arm(&mut self, id: ConnectionId) -> Option<Operation> {
        let fd = self.sockets[id.index as usize].fd;
        let tag = Tag::Receive(id).to_bits();
        match self.sockets[id.index as usize].receive {
            Receive::QueuedOnce => {
                self.set_receive(id, Receive::Once);
                Some(Operation::ReceiveOnce { fd, tag })
            }
            Receive::QueuedStream => {
                self.set_receive(id, Receive::Stream);
                Some(Operation::Receive { fd, tag })
            }
            Receive::QueuedPoll => {
                self.set_receive(id, Receive::Poll);
                Some(Operation::Poll { fd, tag })
            }
            // Dropped since it was queued.
            Receive::Ended | Receive::Once | Receive::Stream | Receive::Ending | Receive::Poll => None,
        }
    }

    fn set_receive(&mut self, id: ConnectionId, receive: Receive) {
        let old = std::mem::replace(&mut self.sockets[id.index as usize].receive, receive);
        *self.gauge(old) -= 1;
        *self.gauge(receive) += 1;
        self.stats.resting += u64::from(receive == Receive::Poll);
        self.stats.resting -= u64::from(old == Receive::Poll);
    }

    fn gauge(&mut self, receive: Receive) -> &mut u64 {
        match receive {
            Receive::Ended => &mut self.stats.ended,
            Receive::Once | Receive::Stream | Receive::Ending | Receive::Poll => &mut self.stats.armed,
            Receive::QueuedOnce | Receive::QueuedStream | Receive::QueuedPoll => &mut self.stats.queued,
        }
    }

    /// Ends a connection's stream of receives; a poll takes its place when it has ended.
    fn begin_rest(&mut self, id: ConnectionId) {
        let socket = &self.sockets[id.index as usize];
        if socket.receive == Receive::Stream && socket.dropping.is_none() {
            self.set_receive(id, Receive::Ending);
            let (target, tag) = (Tag::Receive(id).to_bits(), Tag::Cancel.to_bits());
            self.operations.push_back(Operation::CancelOne { target, tag });
        }
    }

    fn begin_drop(&mut self, id: ConnectionId, reset: bool) {
        let socket = &mut self.sockets[id.index as usize];
        socket.dropping = Some(reset);
        let fd = socket.fd;
        if matches!(socket.receive, Receive::QueuedOnce | Receive::QueuedStream | Receive::QueuedPoll) {
            self.set_receive(id, Receive::Ended);
        }
        let socket = &self.sockets[id.index as usize];
        if socket.receive != Receive::Ended || socket.is_sending {
            self.operations.push_back(Operation::Cancel { fd, tag: Tag::Cancel.to_bits() });
        }
        self.finish_drop(id);
    }

    /// Closes the descriptor if nothing is in flight on it any more.
    fn finish_drop(&mut self, id: ConnectionId) {
        let socket = &mut self.sockets[id.index as usize];
        let Socket { receive: Receive::Ended, is_sending: false, dropping: Some(reset), fd, fed_era: _ } =
            *socket
        else {
            return;
        };
        *socket = Socket::new(UNUSED);
        self.forget(id);
        self.operations.push_back(Operation::Close { fd, reset });
        self.shard.handle_released(id);
    }

    /// A socket that had ended is this table's no more.
    fn forget(&mut self, id: ConnectionId) {
        self.stats.sockets -= 1;
        self.stats.ended -= 1;
        self.admission.leave(self.counted.get(id.index as usize).copied().unwrap_or_default());
    }
}

/// The round trip as TCP has measured it, µs; nothing if there is no such socket any more, or nothing was measured.
fn rtt_us(fd: RawFd) -> Option<u32> {
    // SAFETY: all its fields are numbers, of which 0 is one.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&info) as libc::socklen_t;
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    // SAFETY: `info` and `length` are locals that outlive the call, and the length is that of `info`. A descriptor that
    // is closed or no socket is refused.
    let result = unsafe { libc::getsockopt(fd, level, name, (&raw mut info).cast(), &raw mut length) };
    (result == 0 && info.tcpi_rtt > 0).then_some(info.tcpi_rtt)
}

/// Where a connection comes from; nothing if it is gone already.
fn peer_address(fd: RawFd) -> Option<IpAddr> {
    // SAFETY: the descriptor is open for as long as this borrows it: it was just accepted or handed over, and
    // is closed only by an operation that comes later.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    SockRef::from(&socket).peer_addr().ok()?.as_socket().map(|address| address.ip())
}

fn send(fd: RawFd, id: ConnectionId, bytes: &[u8]) -> Operation {
    Operation::Send {
        fd,
        tag: Tag::Send(id).to_bits(),
        bytes: bytes.as_ptr(),
        // An outbox is bounded far below 4 GiB.
        length: bytes.len() as u32,
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        for (index, socket) in self.sockets.iter().enumerate().filter(|(_, socket)| socket.fd != UNUSED) {
            self.admission.leave(self.counted.get(index).copied().unwrap_or_default());
            // SAFETY: the table owns the descriptor, and is gone after this.
            drop(unsafe { OwnedFd::from_raw_fd(socket.fd) });
        }
    }
}

#[cfg(test)]
mod tests;
