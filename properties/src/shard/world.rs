//! Shards, links and clients without sockets, and the books that are kept of them.
//!
//! It does to each shard what a driver may do, in any order: at most one send out for a connection, a slot
//! released only when nothing is in flight, envelopes between two cores in order but as late as can be.

use crate::ear::Ear;
use engine::time::MS;
use engine::{
    Action, App, Authz, ConnectionId, CoreId, Envelope, Flow, Holdings, Limits, Moved, Now, Seed, Settings,
    Shard,
};
use std::collections::{HashMap, HashSet, VecDeque};

const CLIENTS_MAX: usize = 24;
/// Rounds in which a world has to come to rest.
const ROUNDS_MAX: usize = 2_000;
/// Longer than any delay of the engine, and than all pings and closes after one another.
const LONG_MS: i64 = 120_000;

pub(super) struct World {
    shards: Vec<Shard>,
    /// What is on its way, by sender and receiver.
    links: Vec<Vec<VecDeque<Parcel>>>,
    clients: Vec<Client>,
    /// Which client has which slot.
    by_slot: HashMap<(usize, ConnectionId), usize>,
    now: Now,
    outbox_bytes_max: usize,
    is_draining: bool,
    app: App,
    authz: Authz,
}

enum Parcel {
    Envelope(Envelope),
    /// A client's connection on its way to another core.
    Connection(usize, Moved),
}

struct Client {
    /// Where its connection is; `None` on its way, and once it is gone.
    place: Option<(usize, ConnectionId)>,
    ear: Ear,
    /// What it has said and no shard has received.
    said: Vec<u8>,
    in_flight: Option<Vec<u8>>,
    /// What it was owed when that send began.
    owed_bytes: usize,
    /// Its side has ended or failed: the shard receives nothing more.
    is_ended: bool,
    is_shut: bool,
    /// The shard has let go of it; its slot is released when nothing is in flight.
    is_dropped: bool,
}

impl World {
    pub(super) fn new(cores: u16, app: App, authz: Authz, limits: &Limits) -> World {
        let settings = |core| Settings {
            core: CoreId(core),
            cores,
            app,
            authz,
            limits: limits.clone(),
            seed: Seed(4, 12),
            page: None,
        };
        let count = usize::from(cores);
        World {
            shards: (0..cores).map(|core| Shard::new(settings(core))).collect(),
            links: (0..count).map(|_| (0..count).map(|_| VecDeque::new()).collect()).collect(),
            clients: Vec::new(),
            by_slot: HashMap::new(),
            now: Now { master_us: 0, unix_us: 1_750_000_000_000_000 },
            outbox_bytes_max: limits.outbox_bytes_max,
            is_draining: false,
            app,
            authz,
        }
    }

    /// A socket is accepted on a core.
    pub(super) fn connect(&mut self, core: usize, is_over_limit: bool) -> Option<usize> {
        if self.is_draining || self.clients.len() == CLIENTS_MAX {
            return None;
        }
        let core = core % self.shards.len();
        let id = self.shards[core].handle_accept(is_over_limit, self.now);
        let client = self.clients.len();
        self.clients.push(Client {
            place: None,
            ear: Ear::new(self.app, self.authz == Authz::Off),
            said: Vec::new(),
            in_flight: None,
            owed_bytes: 0,
            is_ended: false,
            is_shut: false,
            is_dropped: false,
        });
        self.place(client, core, id);
        Some(client)
    }

    fn place(&mut self, client: usize, core: usize, id: ConnectionId) {
        self.clients[client].place = Some((core, id));
        let before = self.by_slot.insert((core, id), client);
        assert_eq!(before, None, "a slot in use is not given out again");
    }

    /// One of the clients, wherever it stands.
    pub(super) fn some_client(&self, choice: usize) -> Option<usize> {
        (!self.clients.is_empty()).then(|| choice % self.clients.len())
    }

    pub(super) fn check_id(&self, client: usize) -> String {
        self.clients[client].ear.check_id.clone()
    }

    pub(super) fn say(&mut self, client: usize, words: &[u8]) {
        if self.clients[client].place.is_some() && !self.clients[client].is_ended {
            self.clients[client].said.extend_from_slice(words);
        }
    }

    /// The next bytes of what a client has said, as one receive.
    pub(super) fn deliver(&mut self, client: usize, count: usize) {
        let it = &mut self.clients[client];
        let Some((core, id)) = it.place.filter(|_| !it.is_ended && !it.is_dropped) else { return };
        let count = count.min(it.said.len());
        if count == 0 {
            return;
        }
        let mut bytes: Vec<u8> = it.said.drain(..count).collect();
        let flow = self.shards[core].handle_bytes(id, &mut bytes, self.now);
        self.follow(client, flow);
    }

    fn follow(&mut self, client: usize, flow: Flow) {
        let Flow::Moved(moved) = flow else { return };
        let it = &mut self.clients[client];
        let (core, id) = it.place.take().expect("who moves was somewhere");
        assert!(it.in_flight.is_none() && !moved.bytes.is_empty(), "nothing was said to it yet");
        self.by_slot.remove(&(core, id));
        let to = usize::from(moved.to.0);
        assert_ne!(to, core, "it goes elsewhere");
        self.links[core][to].push_back(Parcel::Connection(client, moved));
    }

    /// The client ends its side.
    pub(super) fn finish(&mut self, client: usize) {
        let it = &mut self.clients[client];
        if let Some((core, id)) = it.place.filter(|_| !it.is_ended && !it.is_dropped) {
            it.is_ended = true;
            self.shards[core].handle_end(id, self.now);
        }
    }

    /// The client's connection is reset.
    pub(super) fn fail(&mut self, client: usize) {
        let it = &mut self.clients[client];
        if let Some((core, id)) = it.place.filter(|_| !it.is_ended && !it.is_dropped) {
            it.is_ended = true;
            self.shards[core].handle_failure(id, self.now);
        }
    }

    /// One turn of a shard, up to where its driver would submit.
    pub(super) fn turn(&mut self, core: usize) {
        let core = core % self.shards.len();
        self.shards[core].flush();
        for to in (0..self.shards.len()).filter(|to| *to != core) {
            let envelopes = self.shards[core].take_envelopes(CoreId(to as u16));
            self.links[core][to].extend(envelopes.into_iter().map(Parcel::Envelope));
        }
        while let Some((id, bytes)) = self.shards[core].poll_send() {
            let client = self.by_slot[&(core, id)];
            let it = &mut self.clients[client];
            assert!(!bytes.is_empty());
            assert!(!it.is_dropped && !it.is_shut, "nothing is sent after the end");
            assert!(it.in_flight.replace(bytes.to_vec()).is_none(), "one send at a time");
            it.owed_bytes = self.shards[core].owed_bytes(id);
        }
        while let Some(action) = self.shards[core].poll_action() {
            self.act(core, action);
        }
        for it in self.clients.iter().filter(|it| it.in_flight.is_some()) {
            let Some((_, id)) = it.place.filter(|(of, _)| *of == core) else { continue };
            // What waited for this send came in one turn, and may be more.
            let (owed_bytes, most) =
                (self.shards[core].owed_bytes(id), self.outbox_bytes_max.max(it.owed_bytes));
            assert!(owed_bytes <= most, "{owed_bytes} bytes are owed to one who takes none of {most}");
        }
    }

    fn act(&mut self, core: usize, action: Action) {
        let (Action::Shutdown(id) | Action::Drop { connection: id, .. } | Action::Rest(id)) = action;
        let client = *self.by_slot.get(&(core, id)).expect("an action is about a slot in use");
        let it = &mut self.clients[client];
        match action {
            Action::Shutdown(_) => {
                assert!(it.in_flight.is_none() && !it.is_shut, "our end comes once, after all else");
                it.is_shut = true;
            }
            Action::Drop { .. } => {
                assert!(!std::mem::replace(&mut it.is_dropped, true), "it is let go of once");
                if it.in_flight.is_none() {
                    self.release(client);
                }
            }
            Action::Rest(_) => {}
        }
    }

    fn release(&mut self, client: usize) {
        let (core, id) = self.clients[client].place.take().expect("who is released was somewhere");
        self.by_slot.remove(&(core, id));
        self.shards[core].handle_released(id);
    }

    /// The kernel takes some of a send: the client hears it.
    pub(super) fn take(&mut self, client: usize, count: usize) {
        let it = &mut self.clients[client];
        let Some(bytes) = it.in_flight.take() else { return };
        let (core, id) = it.place.expect("a send has a connection");
        let count = count.min(bytes.len());
        it.ear.hear(&bytes[..count]);
        if it.is_dropped {
            self.shards[core].handle_send_ended(id);
            self.release(client);
            return;
        }
        let left = self.shards[core].handle_sent(id, count);
        assert_eq!(left.unwrap_or_default(), &bytes[count..], "the rest is what was not taken");
        it.in_flight = left.map(<[u8]>::to_vec);
    }

    /// The kernel takes nothing of a send for now: it is tried again.
    pub(super) fn refuse(&mut self, client: usize) {
        let it = &self.clients[client];
        if let (Some((core, id)), Some(bytes)) = (it.place, &it.in_flight)
            && !it.is_dropped
        {
            assert_eq!(self.shards[core].handle_unsent(id), Some(&bytes[..]), "the same again");
        }
    }

    /// A send fails for good, and with it the connection.
    pub(super) fn break_send(&mut self, client: usize) {
        let it = &mut self.clients[client];
        if it.in_flight.take().is_none() {
            return;
        }
        let (core, id) = it.place.expect("a send has a connection");
        self.shards[core].handle_send_ended(id);
        if it.is_dropped {
            self.release(client);
        } else {
            self.shards[core].handle_failure(id, self.now);
        }
    }

    /// Some of what is on its way between two cores arrives.
    pub(super) fn carry(&mut self, from: usize, to: usize, count: usize) {
        let (from, to) = (from % self.shards.len(), to % self.shards.len());
        for _ in 0..=count {
            match self.links[from][to].pop_front() {
                None => return,
                Some(Parcel::Envelope(envelope)) => {
                    self.shards[to].handle_envelope(CoreId(from as u16), envelope, self.now);
                }
                // A server that drains lets go of it.
                Some(Parcel::Connection(..)) if self.is_draining => {}
                Some(Parcel::Connection(client, moved)) => {
                    let id = self.shards[to].open_moved(&moved, self.now);
                    let flow = self.shards[to].handle_moved(id, moved, self.now);
                    self.place(client, to, id);
                    self.follow(client, flow);
                }
            }
        }
    }

    pub(super) fn pass(&mut self, ms: i64) {
        self.now.master_us += ms * MS;
        self.now.unix_us += ms * MS;
        for shard in &mut self.shards {
            shard.handle_deadlines(self.now);
            let next_us = shard.next_deadline_us();
            assert!(next_us.is_none_or(|next_us| next_us > self.now.master_us), "what was due was done");
        }
    }

    pub(super) fn drain(&mut self) {
        self.is_draining = true;
        for shard in &mut self.shards {
            shard.begin_drain(self.now);
            shard.drain(usize::MAX, self.now);
        }
    }

    /// Turns, sends and links until nothing happens any more.
    pub(super) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            (0..self.shards.len()).for_each(|core| self.turn(core));
            let is_sending = self.clients.iter().any(|it| it.in_flight.is_some());
            (0..self.clients.len()).for_each(|client| self.take(client, usize::MAX));
            let is_carrying = self.links.iter().flatten().any(|link| !link.is_empty());
            for from in 0..self.shards.len() {
                (0..self.shards.len()).for_each(|to| self.carry(from, to, usize::MAX - 1));
            }
            let has_work = self.shards.iter().any(Shard::has_work);
            if !is_sending && !is_carrying && !has_work {
                // In a drain rooms outlast their members.
                let rooms: u64 = self.shards.iter().map(|shard| shard.stats().rooms).sum();
                assert!(
                    self.is_draining || rooms <= self.by_slot.len() as u64,
                    "a client is in one room, a room has a client"
                );
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// What holds between any two steps.
    pub(super) fn check(&self) {
        for (core, shard) in self.shards.iter().enumerate() {
            let stats = shard.stats();
            let here = self.by_slot.keys().filter(|(at, _)| *at == core).count() as u64;
            assert_eq!(stats.connections, here, "connections of core {core}");
            assert!(stats.ending <= stats.connections);
            assert!(stats.upgraded + stats.refused_heads <= stats.accepted + stats.handed_in);
        }
        let ids: Vec<&String> = self.clients.iter().filter_map(|it| it.ear.ws_id.as_ref()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "every client has its own id");
    }

    /// All leave, and all that they left behind runs out: nothing is left of anyone.
    pub(super) fn end(mut self) {
        self.settle();
        for client in 0..self.clients.len() {
            if client % 2 == 0 { self.finish(client) } else { self.fail(client) }
        }
        self.settle();
        self.check();
        // Who was refused, or was told to close, may hold on until its time is over.
        self.pass(LONG_MS);
        self.settle();
        self.pass(LONG_MS);
        self.check();
        for (core, shard) in self.shards.iter_mut().enumerate() {
            let stats = shard.stats();
            assert_eq!((stats.connections, stats.ending, stats.rooms), (0, 0, 0), "core {core}");
            assert_eq!(shard.next_deadline_us(), None, "core {core} waits for nothing");
            assert_eq!(shard.holdings(), Holdings::default(), "core {core} holds something of someone");
        }
        let places = self.clients.iter().filter(|it| it.place.is_some() || it.in_flight.is_some()).count();
        assert_eq!(places, 0);
    }
}
