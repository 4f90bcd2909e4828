//! The kernel that the driver's property plays: what is in flight on which descriptor, and who owns it.
//!
//! Descriptors are numbers far above any real one: the driver hands `Close` to the ring, and so to this kernel,
//! which closes nothing. A completion is only ever given for an operation that is in flight.

use crate::ear::Ear;
use downbeat::admission::Admission;
use downbeat::clock::Clock;
use downbeat::driver::Driver;
use downbeat::ring::{Completion, Operation};
use engine::room::VACANT_US;
use engine::time::MS;
use engine::{App, Moved, Now, Settings, Shard};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

const DESCRIPTORS_FROM: RawFd = 1_000_000;
/// In flight on a listener.
const ACCEPTS_MAX: usize = 8;

/// How a receive goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Once,
    Stream,
    Poll,
}

#[derive(Debug)]
struct Receive {
    fd: RawFd,
    kind: Kind,
    is_cancelled: bool,
}

#[derive(Debug)]
struct Send {
    fd: RawFd,
    /// Where the driver says the bytes lie, and what they were when it said so.
    address: *const u8,
    bytes: Vec<u8>,
    is_cancelled: bool,
}

/// A descriptor that the driver owns.
struct Socket {
    ear: Ear,
    is_upgraded: bool,
    is_shut: bool,
    /// The peer has ended or reset it: nothing can be received.
    is_ended: bool,
}

pub(super) struct Kernel {
    /// Dropped only when it is empty: it would close descriptors that are not there.
    driver: ManuallyDrop<Driver>,
    now: Now,
    app: App,
    /// Accepts in flight, and whether they are cancelled: tag and listener.
    accepts: Vec<(u64, RawFd)>,
    are_accepts_cancelled: bool,
    receives: BTreeMap<u64, Receive>,
    sends: BTreeMap<u64, Send>,
    cancels: Vec<u64>,
    sockets: BTreeMap<RawFd, Socket>,
    closed: BTreeSet<RawFd>,
    next_fd: RawFd,
    is_draining: bool,
}

impl Kernel {
    pub(super) fn new(settings: Settings, connections_max: usize) -> Kernel {
        let listener = OwnedFd::from(File::open("/dev/null").expect("there is a /dev/null"));
        let app = settings.app;
        let admission = Admission::new(connections_max, None, engine::Seed(1, 2));
        let driver = Driver::new(Shard::new(settings), Clock::start(), vec![listener], admission);
        let mut kernel = Kernel {
            driver: ManuallyDrop::new(driver),
            now: Now { master_us: 0, unix_us: 1_750_000_000_000_000 },
            app,
            accepts: Vec::new(),
            are_accepts_cancelled: false,
            receives: BTreeMap::new(),
            sends: BTreeMap::new(),
            cancels: Vec::new(),
            sockets: BTreeMap::new(),
            closed: BTreeSet::new(),
            next_fd: DESCRIPTORS_FROM,
            is_draining: false,
        };
        kernel.turn(false);
        kernel
    }

    fn complete(&mut self, tag: u64, result: i32, has_more: bool, bytes: &[u8]) {
        let completion = Completion { tag, result, has_more, piece: None };
        let is_doorbell = self.driver.handle_completion(completion, &mut bytes.to_vec(), self.now);
        assert!(!is_doorbell, "nobody rang");
    }

    pub(super) fn accept(&mut self) {
        let Some((tag, _)) = self.accepts.pop() else { return };
        let fd = self.next_fd;
        self.next_fd += 1;
        let ear = Ear::new(self.app, false);
        self.sockets.insert(fd, Socket { ear, is_upgraded: false, is_shut: false, is_ended: false });
        self.complete(tag, fd, false, b"");
    }

    pub(super) fn fail_accept(&mut self, error: i32) {
        if let Some((tag, _)) = self.accepts.pop() {
            self.complete(tag, -error, false, b"");
        }
    }

    /// One of the receives in flight.
    pub(super) fn some_receive(&self, choice: usize) -> Option<u64> {
        self.receives.keys().nth(choice % self.receives.len().max(1)).copied()
    }

    pub(super) fn some_send(&self, choice: usize) -> Option<u64> {
        self.sends.keys().nth(choice % self.sends.len().max(1)).copied()
    }

    fn socket_of(&self, receive: u64) -> &Socket {
        &self.sockets[&self.receives[&receive].fd]
    }

    /// The client has heard the 101.
    pub(super) fn is_upgraded(&self, receive: u64) -> bool {
        self.socket_of(receive).is_upgraded
    }

    pub(super) fn check_id(&self, receive: u64) -> &str {
        &self.socket_of(receive).ear.check_id
    }

    /// Bytes for a receive, or the word that there are some for a poll.
    pub(super) fn receive(&mut self, tag: u64, bytes: &[u8], has_more: bool) {
        let Receive { fd, kind, .. } = self.receives[&tag];
        if bytes.is_empty() || self.sockets[&fd].is_ended {
            return;
        }
        let has_more = has_more && kind == Kind::Stream;
        if !has_more {
            self.receives.remove(&tag);
        }
        match kind {
            Kind::Poll => self.complete(tag, i32::from(libc::POLLIN), false, b""),
            Kind::Once | Kind::Stream => self.complete(tag, bytes.len() as i32, has_more, bytes),
        }
    }

    /// The end of a receive or poll: 0 for the peer's end, or an error.
    pub(super) fn end_receive(&mut self, tag: u64, result: i32) {
        let Some(receive) = self.receives.remove(&tag) else { return };
        let is_end = [0, -libc::ECONNRESET, -libc::ETIMEDOUT].contains(&result);
        if receive.kind != Kind::Poll
            && is_end
            && let Some(socket) = self.sockets.get_mut(&receive.fd)
        {
            socket.is_ended = true;
        }
        let result = if receive.kind == Kind::Poll && result == 0 { libc::POLLIN.into() } else { result };
        self.complete(tag, result, false, b"");
    }

    /// Takes as much of a send as is asked for, which the client hears.
    pub(super) fn send(&mut self, tag: u64, taken: usize) {
        let Some(send) = self.sends.remove(&tag) else { return };
        send.check();
        let taken = taken.min(send.bytes.len());
        let socket = self.sockets.get_mut(&send.fd).expect("a send's descriptor is open");
        socket.ear.hear(&send.bytes[..taken]);
        socket.is_upgraded |= send.bytes.starts_with(b"HTTP/1.1 101 ");
        self.complete(tag, taken as i32, false, b"");
    }

    pub(super) fn fail_send(&mut self, tag: u64, error: i32) {
        let Some(send) = self.sends.remove(&tag) else { return };
        send.check();
        self.complete(tag, -error, false, b"");
    }

    /// The oldest cancel is answered: found, or not.
    pub(super) fn answer_cancel(&mut self) {
        if !self.cancels.is_empty() {
            let tag = self.cancels.remove(0);
            let result = if self.cancels.len().is_multiple_of(2) { 0 } else { -libc::ENOENT };
            self.complete(tag, result, false, b"");
        }
    }

    pub(super) fn pass(&mut self, ms: i64) {
        self.now.master_us += ms * MS;
        self.now.unix_us += ms * MS;
        self.driver.handle_deadlines(self.now);
        let next_us = self.driver.next_deadline_us();
        assert!(next_us.is_none_or(|next_us| next_us > self.now.master_us), "what was due was done");
    }

    pub(super) fn drain(&mut self) {
        self.is_draining = true;
        self.driver.stop_listening(self.now);
        self.driver.drain(usize::MAX, self.now);
    }

    pub(super) fn abandon(&mut self) {
        self.driver.abandon();
    }

    /// Ends the turn and takes its operations. Connections for the other core go there, or come back.
    pub(super) fn turn(&mut self, keeps_moved: bool) {
        self.driver.end_turn();
        while let Some((fd, moved)) = self.driver.poll_moved() {
            if keeps_moved && !self.is_draining {
                self.driver.handle_moved(fd, Moved { is_placed: true, ..moved }, self.now);
            } else {
                let fd = fd.into_raw_fd();
                self.check_idle(fd);
                self.sockets.remove(&fd).expect("a descriptor that moves was the driver's");
            }
        }
        while let Some(operation) = self.driver.poll_operation() {
            self.begin(operation);
        }
    }

    fn begin(&mut self, operation: Operation) {
        match operation {
            Operation::Accept { fd, tag } => {
                self.accepts.push((tag, fd));
                assert!(self.accepts.len() <= ACCEPTS_MAX, "a turn takes a few connections");
            }
            Operation::ReceiveOnce { fd, tag } => self.begin_receive(fd, tag, Kind::Once),
            Operation::Receive { fd, tag } => self.begin_receive(fd, tag, Kind::Stream),
            Operation::Poll { fd, tag } => self.begin_receive(fd, tag, Kind::Poll),
            Operation::Send { fd, tag, bytes, length } => {
                let socket = &self.sockets[&fd];
                assert!(!socket.is_shut && length > 0, "nothing is sent after our end");
                assert!(self.sends.values().all(|send| send.fd != fd), "one send for a socket");
                let send =
                    Send { fd, address: bytes, bytes: bytes_at(bytes, length as usize), is_cancelled: false };
                assert!(self.sends.insert(tag, send).is_none());
            }
            Operation::CancelOne { target, tag } => {
                if let Some(receive) = self.receives.get_mut(&target) {
                    receive.is_cancelled = true;
                }
                self.cancels.push(tag);
            }
            Operation::Cancel { fd, tag } => {
                self.are_accepts_cancelled |= self.accepts.iter().any(|(_, listener)| *listener == fd);
                self.receives.values_mut().filter(|it| it.fd == fd).for_each(|it| it.is_cancelled = true);
                self.sends.values_mut().filter(|it| it.fd == fd).for_each(|it| it.is_cancelled = true);
                self.cancels.push(tag);
            }
            Operation::Shutdown { fd } => {
                assert!(self.sends.values().all(|send| send.fd != fd), "all was sent before our end");
                let socket = self.sockets.get_mut(&fd).expect("an open descriptor is shut");
                assert!(!std::mem::replace(&mut socket.is_shut, true), "our end comes once");
            }
            Operation::Close { fd, .. } => {
                self.check_idle(fd);
                self.sockets.remove(&fd).expect("an open descriptor is closed");
                assert!(self.closed.insert(fd), "a descriptor is closed once");
            }
        }
    }

    fn begin_receive(&mut self, fd: RawFd, tag: u64, kind: Kind) {
        assert!(self.sockets.contains_key(&fd), "an open descriptor is received from");
        assert!(self.receives.values().all(|receive| receive.fd != fd), "one receive for a socket");
        assert!(self.receives.insert(tag, Receive { fd, kind, is_cancelled: false }).is_none());
    }

    fn check_idle(&self, fd: RawFd) {
        let is_busy =
            self.receives.values().any(|it| it.fd == fd) || self.sends.values().any(|it| it.fd == fd);
        assert!(!is_busy, "something is in flight on {fd}");
    }

    /// After a turn: the driver's figures are those of this kernel's books.
    pub(super) fn check_books(&self) {
        let stats = self.driver.stats();
        let polls = self.receives.values().filter(|it| it.kind == Kind::Poll).count();
        assert_eq!(stats.sockets, self.sockets.len() as u64);
        assert_eq!(stats.armed, self.receives.len() as u64);
        assert_eq!(stats.resting, polls as u64);
        assert_eq!(stats.queued, 0, "what was to be armed is");
        assert_eq!(stats.armed + stats.ended, stats.sockets);
        // Whom the driver has not given up, and whose peer has not ended, is heard. Of more than one turn may let go of,
        // the others stand in line, and whose receive has failed meanwhile waits for that alone.
        let is_in_line = self.driver.has_work();
        for (fd, socket) in self.sockets.iter().filter(|(_, socket)| !socket.is_ended && !socket.is_shut) {
            let is_received = self.receives.values().any(|it| it.fd == *fd);
            let is_let_go = self.sends.values().any(|it| it.fd == *fd && it.is_cancelled);
            assert!(is_received || is_let_go || is_in_line || socket.ear.is_over(), "nobody listens to {fd}");
        }
        self.sends.values().for_each(Send::check);
    }

    /// Completes what was cancelled, and takes what is sent without a cancel.
    pub(super) fn complete_cancelled(&mut self) {
        if self.are_accepts_cancelled {
            while !self.accepts.is_empty() {
                self.fail_accept(libc::ECANCELED);
            }
        }
        let receives: Vec<u64> =
            self.receives.iter().filter(|(_, it)| it.is_cancelled).map(|(tag, _)| *tag).collect();
        receives.into_iter().for_each(|tag| self.end_receive(tag, -libc::ECANCELED));
        let sends: Vec<u64> =
            self.sends.iter().filter(|(_, it)| it.is_cancelled).map(|(tag, _)| *tag).collect();
        sends.into_iter().for_each(|tag| self.fail_send(tag, libc::ECANCELED));
        while !self.cancels.is_empty() {
            self.answer_cancel();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.accepts.is_empty()
            && self.receives.is_empty()
            && self.sends.is_empty()
            && self.sockets.is_empty()
            && !self.driver.has_work()
    }

    /// What is not over.
    pub(super) fn left(&self) -> String {
        let receives = self.receives.values().map(|it| it.fd);
        let fds: BTreeSet<RawFd> = receives.chain(self.sends.values().map(|it| it.fd)).collect();
        let (accepts, count) = (self.accepts.len(), self.sockets.len());
        format!("accepts: {accepts}, descriptors with something in flight: {fds:?}, of {count} that are open")
    }

    /// At the end nothing is left of anyone.
    pub(super) fn check_empty(mut self) {
        assert!(self.driver.is_empty());
        let shard = self.driver.shard();
        // Rooms outlast a drain, for whoever comes back.
        shard.handle_deadlines(Now { master_us: self.now.master_us + VACANT_US, ..self.now });
        let stats = shard.stats();
        assert_eq!((stats.connections, stats.ending, stats.rooms), (0, 0, 0));
        drop(ManuallyDrop::into_inner(self.driver));
    }
}

impl Send {
    /// The bytes are where they were, and what they were.
    fn check(&self) {
        assert_eq!(bytes_at(self.address, self.bytes.len()), self.bytes, "bytes in flight do not change");
    }
}

fn bytes_at(address: *const u8, length: usize) -> Vec<u8> {
    // SAFETY: the driver promises that a send's bytes stay until its completion, which has not come yet. If it
    // breaks the promise, AddressSanitizer says so here.
    unsafe { std::slice::from_raw_parts(address, length) }.to_vec()
}
