//! The driver with the test as its kernel: every completion is a value.

use super::*;
use engine::{App, Authz, CoreId, Limits, Seed, Settings};
use std::fs::File;
use std::mem::ManuallyDrop;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// A masked text frame of 5 bytes with a key of zeroes.
const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";
const SOCKET: RawFd = 1_000_000;
/// The only listener's accepts.
const ACCEPT: Tag = Tag::Accept { listener: 0 };
/// A ping is surely due: its interval of 25 s, and more than deadlines are rounded by.
const PING_DUE_MS: i64 = 25_200;

impl Operation {
    fn receive_tag(&self) -> Option<u64> {
        match self {
            Operation::ReceiveOnce { tag, .. } | Operation::Receive { tag, .. } => Some(*tag),
            _ => None,
        }
    }
}

struct Kernel {
    /// Never dropped: it would close descriptors that are not there.
    driver: ManuallyDrop<Driver>,
    operations: Vec<Operation>,
}

impl Kernel {
    fn new() -> Kernel {
        let settings = Settings {
            core: CoreId(0),
            cores: 1,
            app: App::Echo,
            authz: Authz::Member,
            limits: Limits::default(),
            seed: Seed(1, 2),
            page: None,
        };
        let listener = OwnedFd::from(File::open("/dev/null").expect("there is a /dev/null"));
        let admission = Admission::new(100, None, Seed(4, 12));
        let driver = Driver::new(Shard::new(settings), Clock::start(), vec![listener], admission);
        let driver = ManuallyDrop::new(driver);
        let mut kernel = Kernel { driver, operations: Vec::new() };
        kernel.turn();
        kernel
    }

    /// Ends the turn and keeps its operations.
    fn turn(&mut self) {
        self.driver.end_turn();
        self.operations = std::iter::from_fn(|| self.driver.poll_operation()).collect();
    }

    fn complete(&mut self, tag: u64, result: i32, has_more: bool, bytes: &[u8]) {
        let now = self.driver.now();
        let completion = Completion { tag, result, has_more, piece: None };
        self.driver.handle_completion(completion, &mut bytes.to_vec(), now);
    }

    fn accept(&mut self, fd: RawFd) {
        self.complete(ACCEPT.to_bits(), fd, false, b"");
        self.turn();
    }

    fn accepts(&self) -> usize {
        self.operations.iter().filter(|operation| matches!(operation, Operation::Accept { .. })).count()
    }

    fn received(&mut self, bytes: &[u8], has_more: bool) {
        let tag = self.receive_tag();
        self.complete(tag, bytes.len() as i32, has_more, bytes);
        self.turn();
    }

    /// The only connection's.
    fn receive_tag(&self) -> u64 {
        Tag::Receive(ConnectionId { index: 0, generation: self.generation() }).to_bits()
    }

    fn send_tag(&self) -> u64 {
        Tag::Send(ConnectionId { index: 0, generation: self.generation() }).to_bits()
    }

    fn generation(&self) -> u32 {
        self.operations
            .iter()
            .find_map(|operation| match operation {
                Operation::ReceiveOnce { tag, .. }
                | Operation::Receive { tag, .. }
                | Operation::Send { tag, .. } => Some((*tag >> 32) as u32 & ConnectionId::GENERATION_MAX),
                _ => None,
            })
            .unwrap_or(0)
    }

    /// The bytes of the turn's only send.
    fn sends(&self) -> Vec<Vec<u8>> {
        let bytes = |operation: &Operation| match operation {
            Operation::Send { bytes, length, .. } => {
                // SAFETY: the driver keeps the chunk until this send's completion, which has not come yet.
                Some(unsafe { std::slice::from_raw_parts(*bytes, *length as usize) }.to_vec())
            }
            _ => None,
        };
        self.operations.iter().filter_map(bytes).collect()
    }

    fn sent(&mut self, result: i32) {
        let tag = self.send_tag();
        self.complete(tag, result, false, b"");
        self.turn();
    }

    fn is_armed(&self) -> bool {
        self.operations.iter().any(|operation| matches!(operation, Operation::Receive { .. }))
    }

    fn has_closed(&self) -> bool {
        self.operations.iter().any(|operation| matches!(operation, Operation::Close { fd: SOCKET, .. }))
    }

    /// A connection that is open, with nothing in flight but its receive.
    fn with_connection() -> Kernel {
        let mut kernel = Kernel::new();
        kernel.accept(SOCKET);
        let [Operation::Accept { .. }, Operation::ReceiveOnce { fd: SOCKET, .. }] = kernel.operations[..]
        else {
            panic!("another accept, and the receive of this one: {:?}", kernel.operations);
        };
        kernel.received(REQUEST, false);
        assert!(kernel.is_armed());
        let answer = kernel.sends().concat();
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
        kernel.sent(answer.len() as i32);
        kernel
    }
}

#[test]
fn tags_carry_what_a_completion_belongs_to() {
    let id = ConnectionId { index: u32::MAX, generation: ConnectionId::GENERATION_MAX };
    for tag in [Tag::Doorbell, Tag::Accept { listener: 7 }, Tag::Receive(id), Tag::Send(id), Tag::Cancel] {
        assert_eq!(Tag::from_bits(tag.to_bits()), tag);
    }
}

#[test]
fn a_head_in_pieces_is_received_one_at_a_time() {
    let mut kernel = Kernel::new();
    kernel.accept(SOCKET);
    kernel.received(&REQUEST[..30], false);
    assert!(matches!(kernel.operations[..], [Operation::ReceiveOnce { .. }]));
    kernel.received(&REQUEST[30..], false);
    assert!(kernel.is_armed());
}

#[test]
fn a_short_send_goes_on_from_where_it_stopped() {
    let mut kernel = Kernel::with_connection();
    kernel.received(HELLO, true);
    assert_eq!(kernel.sends(), [b"\x81\x05hello"]);
    kernel.sent(3);
    assert_eq!(kernel.sends(), [b"ello"]);
    // What comes meanwhile waits its turn and leaves as one.
    kernel.complete(
        Tag::Receive(ConnectionId { index: 0, generation: 0 }).to_bits(),
        HELLO.len() as i32,
        true,
        HELLO,
    );
    kernel.complete(
        Tag::Receive(ConnectionId { index: 0, generation: 0 }).to_bits(),
        HELLO.len() as i32,
        true,
        HELLO,
    );
    kernel.turn();
    assert_eq!(kernel.sends(), Vec::<Vec<u8>>::new());
    kernel.sent(1);
    kernel.sent(3);
    assert_eq!(kernel.sends(), [b"\x81\x05hello\x81\x05hello"]);
    assert_eq!(kernel.driver.stats().sends_short, 2);
}

#[test]
fn a_send_that_would_have_blocked_is_tried_again() {
    let mut kernel = Kernel::with_connection();
    kernel.received(HELLO, true);
    for error in [libc::EAGAIN, libc::EINTR, libc::ENOBUFS] {
        kernel.sent(-error);
        assert_eq!(kernel.sends(), [b"\x81\x05hello"], "{error}");
    }
    kernel.sent(7);
    assert!(kernel.operations.is_empty());
}

#[test]
fn a_receive_that_ends_without_the_peers_doing_is_armed_again() {
    for (result, bytes) in [
        (-libc::ENOBUFS, &b""[..]),
        (-libc::EAGAIN, b""),
        (-libc::ECANCELED, b""),
        (HELLO.len() as i32, HELLO),
    ] {
        let mut kernel = Kernel::with_connection();
        let before = kernel.driver.stats();
        kernel.complete(
            Tag::Receive(ConnectionId { index: 0, generation: 0 }).to_bits(),
            result,
            false,
            bytes,
        );
        let queued = kernel.driver.stats();
        assert_eq!((queued.armed, queued.queued), (before.armed - 1, 1), "{result}");
        kernel.turn();
        assert!(kernel.is_armed(), "{result}");
        let after = kernel.driver.stats();
        assert_eq!((after.armed, after.queued, after.ended), (1, 0, 0), "{result}");
    }
}

#[test]
fn who_first_found_no_buffer_is_the_first_to_receive_again() {
    let mut kernel = Kernel::new();
    let receive = |index| Tag::Receive(ConnectionId { index, generation: 0 }).to_bits();
    for index in 0..3 {
        kernel.accept(SOCKET + index);
    }
    for index in [1, 0, 2] {
        assert_eq!(kernel.driver.is_starved(), index != 1);
        kernel.complete(receive(index), -libc::ENOBUFS, false, b"");
    }
    assert!(kernel.driver.is_starved());
    kernel.turn();
    let armed: Vec<u64> = kernel.operations.iter().filter_map(Operation::receive_tag).collect();
    assert_eq!(armed, [1, 0, 2].map(receive));
    assert!(!kernel.driver.is_starved(), "all of them are armed");
}

#[test]
fn who_took_the_last_buffers_is_behind_those_who_got_none() {
    let mut kernel = Kernel::new();
    let receive = |index| Tag::Receive(ConnectionId { index, generation: 0 }).to_bits();
    for index in 0..3 {
        kernel.accept(SOCKET + index);
    }
    for eater in [1, 0] {
        // What was eaten long ago is forgotten.
        (0..100).for_each(|_| kernel.turn());
        kernel.complete(receive(eater), 3, true, b"GET");
        // What it took is handled over some turns.
        (0..10).for_each(|_| kernel.turn());
        for index in [eater, 1 - eater, 2] {
            kernel.complete(receive(index), -libc::ENOBUFS, false, b"");
        }
        kernel.turn();
        let armed: Vec<u64> = kernel.operations.iter().filter_map(Operation::receive_tag).collect();
        assert_eq!(armed, [1 - eater, 2, eater].map(receive));
    }
}

#[test]
fn a_connection_that_rests_is_polled_until_it_speaks() {
    let mut kernel = Kernel::with_connection();
    let receive = Tag::Receive(ConnectionId { index: 0, generation: 0 }).to_bits();
    let is_polled = |kernel: &Kernel| matches!(kernel.operations[..], [Operation::Poll { fd: SOCKET, .. }]);
    let start = kernel.driver.now();
    for ping in 1..=2 {
        let due_us = start.master_us + ping * PING_DUE_MS * engine::time::MS;
        kernel.driver.handle_deadlines(Now { master_us: due_us, unix_us: 0 });
        kernel.turn();
        assert_eq!(kernel.sends(), [b"\x89\x00"]);
        kernel.complete(Tag::Send(ConnectionId { index: 0, generation: 0 }).to_bits(), 2, false, b"");
    }
    let cancelled = |operation: &Operation| matches!(operation, Operation::CancelOne { target, .. } if *target == receive);
    assert!(kernel.operations.iter().any(cancelled));
    kernel.complete(receive, -libc::ECANCELED, false, b"");
    kernel.turn();
    assert!(is_polled(&kernel));
    assert_eq!((kernel.driver.stats().resting, kernel.driver.stats().armed), (1, 1));
    // A pong wakes it for one receive.
    kernel.complete(receive, i32::from(libc::POLLIN), false, b"");
    kernel.turn();
    assert!(matches!(kernel.operations[..], [Operation::ReceiveOnce { fd: SOCKET, .. }]));
    kernel.received(b"\x8a\x80\0\0\0\0", false);
    assert!(is_polled(&kernel));
    // A word wakes it for good.
    kernel.complete(receive, i32::from(libc::POLLIN), false, b"");
    kernel.turn();
    kernel.received(HELLO, false);
    assert_eq!(kernel.sends(), [b"\x81\x05hello"]);
    assert!(kernel.is_armed());
    assert_eq!((kernel.driver.stats().resting, kernel.driver.stats().armed), (0, 1));
}

#[test]
fn bytes_that_cross_a_connections_rest_are_handled_and_wake_it() {
    let mut kernel = Kernel::with_connection();
    let id = ConnectionId { index: 0, generation: 0 };
    let start = kernel.driver.now();
    for ping in 1..=2 {
        let due_us = start.master_us + ping * PING_DUE_MS * engine::time::MS;
        kernel.driver.handle_deadlines(Now { master_us: due_us, unix_us: 0 });
        kernel.turn();
        kernel.complete(Tag::Send(id).to_bits(), 2, false, b"");
    }
    kernel.complete(Tag::Receive(id).to_bits(), HELLO.len() as i32, true, HELLO);
    kernel.complete(Tag::Receive(id).to_bits(), -libc::ECANCELED, false, b"");
    kernel.turn();
    assert_eq!(kernel.sends(), [b"\x81\x05hello"]);
    assert!(kernel.is_armed());
}

#[test]
fn a_peer_that_resets_is_let_go_of_once_nothing_is_in_flight() {
    let mut kernel = Kernel::with_connection();
    kernel.received(HELLO, true);
    let tag = Tag::Receive(ConnectionId { index: 0, generation: 0 }).to_bits();
    kernel.complete(tag, -libc::ECONNRESET, false, b"");
    kernel.turn();
    assert!(!kernel.has_closed(), "its send is in flight");
    assert!(matches!(kernel.operations[..], [Operation::Cancel { fd: SOCKET, .. }]));
    kernel.complete(
        Tag::Send(ConnectionId { index: 0, generation: 0 }).to_bits(),
        -libc::ECANCELED,
        false,
        b"",
    );
    kernel.turn();
    assert!(kernel.has_closed());
    assert_eq!(kernel.driver.stats().sockets, 0);
}

#[test]
fn a_send_that_fails_cancels_the_receive_before_the_descriptor_goes() {
    let mut kernel = Kernel::with_connection();
    kernel.received(HELLO, true);
    kernel.sent(-libc::EPIPE);
    assert!(matches!(kernel.operations[..], [Operation::Cancel { .. }]));
    // Bytes that were on their way do no harm.
    kernel.complete(
        Tag::Receive(ConnectionId { index: 0, generation: 0 }).to_bits(),
        HELLO.len() as i32,
        true,
        HELLO,
    );
    kernel.turn();
    assert!(!kernel.has_closed());
    kernel.complete(
        Tag::Receive(ConnectionId { index: 0, generation: 0 }).to_bits(),
        -libc::ECANCELED,
        false,
        b"",
    );
    kernel.turn();
    assert!(kernel.has_closed());
}

#[test]
fn a_slot_is_reused_under_another_generation() {
    let mut kernel = Kernel::with_connection();
    let tag = Tag::Receive(ConnectionId { index: 0, generation: 0 }).to_bits();
    kernel.complete(tag, 0, false, b"");
    kernel.turn();
    assert!(kernel.has_closed());
    kernel.accept(SOCKET + 1);
    assert_eq!(kernel.generation(), 1);
    assert!(
        matches!(kernel.operations[..], [Operation::Accept { .. }, Operation::ReceiveOnce { fd, .. }] if fd == SOCKET + 1)
    );
}

#[test]
fn a_turn_takes_a_few_connections_of_a_storm() {
    let mut kernel = Kernel::new();
    assert_eq!(kernel.accepts(), ACCEPTS_PER_LISTENER, "at the start");
    for connection in 0..3 {
        kernel.complete(ACCEPT.to_bits(), SOCKET + connection, false, b"");
    }
    kernel.turn();
    assert_eq!((kernel.accepts(), kernel.driver.stats().armed), (3, 3), "who was let in is replaced");
}

#[test]
fn accepts_that_find_no_descriptor_pause_longer_each_time() {
    let mut kernel = Kernel::new();
    let fail = |kernel: &mut Kernel, count| {
        (0..count).for_each(|_| kernel.complete(ACCEPT.to_bits(), -libc::EMFILE, false, b""));
        kernel.turn();
        assert!(kernel.operations.is_empty(), "not at once");
    };
    let mut pauses = Vec::new();
    for turn in 0..8 {
        let before_us = kernel.driver.now().master_us;
        // At first all of them fail, then the one that tries.
        fail(&mut kernel, if turn == 0 { ACCEPTS_PER_LISTENER } else { 1 });
        let due_us = kernel.driver.next_deadline_us().expect("it tries again");
        pauses.push((due_us - before_us) / engine::time::MS);
        let due = Now { master_us: due_us, unix_us: 0 };
        kernel.driver.handle_deadlines(due);
        kernel.turn();
        assert_eq!(kernel.accepts(), 1);
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 500, 500]);
    let failed = ACCEPTS_PER_LISTENER as u64 + 7;
    assert_eq!(kernel.driver.stats().accepts_failed, failed);
    // One success and it begins anew; another end of an accept is not a shortage.
    kernel.accept(SOCKET);
    assert_eq!(kernel.accepts(), ACCEPTS_PER_LISTENER);
    kernel.complete(ACCEPT.to_bits(), -libc::ECONNABORTED, false, b"");
    kernel.turn();
    assert_eq!(kernel.accepts(), 1);
    assert_eq!(kernel.driver.stats().accepts_failed, failed);
}

#[test]
fn a_drain_ends_when_the_accepts_are_cancelled_and_all_sockets_are_closed() {
    let mut kernel = Kernel::with_connection();
    let now = kernel.driver.now();
    kernel.driver.stop_listening(now);
    kernel.turn();
    assert!(kernel.sends().is_empty(), "who is connected stays");
    assert!(kernel.driver.drain(1, now) && !kernel.driver.drain(1, now));
    kernel.turn();
    assert_eq!(kernel.sends(), [b"\x88\x02\x03\xe9"]);
    kernel.complete(Tag::Send(ConnectionId { index: 0, generation: 0 }).to_bits(), 4, false, b"");
    kernel.turn();
    assert!(kernel.operations.contains(&Operation::Shutdown { fd: SOCKET }));
    kernel.complete(Tag::Receive(ConnectionId { index: 0, generation: 0 }).to_bits(), 0, false, b"");
    kernel.turn();
    assert!(kernel.has_closed() && !kernel.driver.is_empty(), "the listener is still the kernel's");
    for _ in 0..ACCEPTS_PER_LISTENER {
        assert!(!kernel.driver.is_empty());
        kernel.complete(ACCEPT.to_bits(), -libc::ECANCELED, false, b"");
    }
    kernel.turn();
    assert!(kernel.driver.is_empty());
}

#[test]
fn an_end_that_the_kernel_made_for_want_of_acknowledgements_is_counted_once() {
    for in_a_send in [false, true] {
        let mut kernel = Kernel::with_connection();
        let receive = kernel.receive_tag();
        kernel.received(HELLO, true);
        let send = kernel.send_tag();
        // The kernel says the reason to whoever asks first.
        let (first, second) = if in_a_send { (send, receive) } else { (receive, send) };
        kernel.complete(first, -libc::ETIMEDOUT, false, b"");
        kernel.turn();
        kernel.complete(second, -libc::EPIPE, false, b"");
        kernel.turn();
        assert_eq!(kernel.driver.stats().peers_timed_out, 1);
        assert!(kernel.has_closed());
    }
}
