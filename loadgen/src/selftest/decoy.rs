//! The selftest's server: an echo over readiness polling that does wrong what it is told to, and counts it.
//!
//! Shares the frames with the generator and nothing else. A plain GET is answered with its counts.

use crate::args::DecoyArgs;
use crate::exit::Failure;
use polling::{Event, Events, Poller};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use tungstenite::handshake::derive_accept_key;
use wire::decoder::{Decoder, DecoderLimits};
use wire::frame::{self, Opcode};

const LIMITS: DecoderLimits =
    DecoderLimits { message_bytes_max: 1 << 24, fragments_max: 1_000, masked: true };
const LISTENER: usize = 0;

#[derive(Default)]
struct Counts {
    messages: u64,
    dropped: u64,
    duplicated: u64,
    reordered: u64,
    corrupted: u64,
}

struct Peer {
    stream: TcpStream,
    head: Option<Vec<u8>>,
    decoder: Decoder,
    out: Vec<u8>,
    /// Kept back until the next message has been answered.
    held: Option<Vec<u8>>,
}

struct Decoy {
    args: DecoyArgs,
    counts: Counts,
    peers: HashMap<usize, Peer>,
}

/// Serves until it is killed.
pub fn serve(args: &DecoyArgs) -> Result<(), Failure> {
    let mut decoy = Decoy { args: args.clone(), counts: Counts::default(), peers: HashMap::new() };
    decoy.run().map_err(Failure::fault)
}

impl Decoy {
    fn run(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.args.port))?;
        listener.set_nonblocking(true)?;
        let poller = Poller::new()?;
        // SAFETY: the listener and all peers outlive their registration, which `delete` ends.
        unsafe { poller.add(&listener, Event::readable(LISTENER))? };
        let mut events = Events::new();
        let mut next_key = LISTENER + 1;
        let mut used_ns = thread_cpu_ns();
        loop {
            // A share of all that was used since, the kernel's part too.
            let until_ns = thread_cpu_ns();
            let more_ns = (until_ns - used_ns) as f64 * self.args.slower_percent / 100.0;
            while self.args.slower_percent > 0.0 && thread_cpu_ns() < until_ns + more_ns as u64 {
                work(50);
            }
            used_ns = thread_cpu_ns();
            events.clear();
            poller.wait(&mut events, None)?;
            for event in events.iter() {
                if event.key != LISTENER {
                    self.serve_peer(&poller, event.key)?;
                    continue;
                }
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    // SAFETY: as above.
                    unsafe { poller.add(&stream, Event::readable(next_key))? };
                    let (head, decoder) = (Some(Vec::new()), Decoder::default());
                    self.peers.insert(next_key, Peer { stream, head, decoder, out: Vec::new(), held: None });
                    next_key += 1;
                }
                poller.modify(&listener, Event::readable(LISTENER))?;
            }
        }
    }

    fn serve_peer(&mut self, poller: &Poller, key: usize) -> io::Result<()> {
        let Some(mut peer) = self.peers.remove(&key) else { return Ok(()) };
        let is_alive = self.read(&mut peer) && peer.send();
        if !is_alive {
            return poller.delete(&peer.stream);
        }
        let interest = if peer.out.is_empty() { Event::readable(key) } else { Event::all(key) };
        poller.modify(&peer.stream, interest)?;
        self.peers.insert(key, peer);
        Ok(())
    }

    /// False once the peer is gone or has broken the protocol.
    fn read(&mut self, peer: &mut Peer) -> bool {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            match peer.stream.read(&mut bytes) {
                Ok(0) => return false,
                Ok(length) => {
                    if !self.take(peer, &mut bytes[..length]) {
                        return false;
                    }
                }
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    fn take(&mut self, peer: &mut Peer, bytes: &mut [u8]) -> bool {
        if let Some(head) = &mut peer.head {
            head.extend_from_slice(bytes);
            let Some(end) = head.windows(4).position(|it| it == b"\r\n\r\n") else { return true };
            let text = String::from_utf8_lossy(&head[..end]).into_owned();
            let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
            let answer = match key {
                Some(key) => format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {}\r\n\r\n",
                    derive_accept_key(key.as_bytes())
                ),
                None => self.counts.answer(),
            };
            peer.out.extend_from_slice(answer.as_bytes());
            peer.head = None;
            return true;
        }
        let mut input = bytes;
        let mut decoder = std::mem::take(&mut peer.decoder);
        loop {
            match decoder.next(&mut input, &LIMITS) {
                Ok(Some(wire::decoder::Event::Binary(payload))) => self.answer(peer, payload),
                Ok(Some(wire::decoder::Event::Text(payload))) => {
                    frame::push_frame(&mut peer.out, Opcode::Text, payload);
                }
                Ok(Some(wire::decoder::Event::Ping(payload))) => {
                    frame::push_frame(&mut peer.out, Opcode::Pong, payload);
                }
                Ok(Some(wire::decoder::Event::Pong)) => {}
                Ok(Some(wire::decoder::Event::Close(payload))) => {
                    frame::push_frame(&mut peer.out, Opcode::Close, payload);
                    peer.send();
                    return false;
                }
                Ok(None) => {
                    peer.decoder = decoder;
                    return true;
                }
                Err(_) => return false,
            }
        }
    }

    fn answer(&mut self, peer: &mut Peer, payload: &mut [u8]) {
        self.counts.messages += 1;
        work(self.args.work);
        let number = self.counts.messages;
        // In the middle of each stretch, so that another message follows.
        let is_nth = |every: u64| every > 0 && number % every == every / 2;
        if is_nth(self.args.drop) {
            self.counts.dropped += 1;
            return;
        }
        if is_nth(self.args.reorder) && peer.held.is_none() {
            peer.held = Some(payload.to_vec());
            return;
        }
        if is_nth(self.args.corrupt) {
            self.counts.corrupted += 1;
            let at = number as usize % payload.len().max(1);
            if let Some(byte) = payload.get_mut(at) {
                *byte ^= 1;
            }
        }
        frame::push_frame(&mut peer.out, Opcode::Binary, payload);
        if is_nth(self.args.duplicate) {
            self.counts.duplicated += 1;
            frame::push_frame(&mut peer.out, Opcode::Binary, payload);
        }
        if let Some(held) = peer.held.take() {
            self.counts.reordered += 1;
            frame::push_frame(&mut peer.out, Opcode::Binary, &held);
        }
    }
}

impl Peer {
    fn send(&mut self) -> bool {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(0) => return false,
                Ok(length) => drop(self.out.drain(..length)),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

impl Counts {
    fn answer(&self) -> String {
        let Counts { messages, dropped, duplicated, reordered, corrupted } = self;
        format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{messages} {dropped} {duplicated} {reordered} {corrupted}\n"
        )
    }
}

/// So many steps that depend on each other: CPU time that is the same each time.
fn work(steps: u64) {
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..steps {
        x = std::hint::black_box(x ^ (x << 7)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    }
}

/// What so many steps cost here and now.
pub fn work_ns(steps: u64) -> u64 {
    let begun_ns = thread_cpu_ns();
    work(steps);
    thread_cpu_ns() - begun_ns
}

fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call, which cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
