//! One core's share of the work: its connections, the rooms whose home it is, its links to peers.
//!
//! Events go in through `handle_*`; sends, closes and envelopes come out through `poll_*` and
//! [`Shard::take_envelopes`], once per turn after [`Shard::flush`]. The pieces: `connections` (accept,
//! bytes, close), `requests` (what members ask), `membership` (join and leave), `delivery` (who gets what),
//! `mesh` (envelopes), `watch` (who is slow), `deadlines`, `keeping` (what outlives it), `respawn` (a life after a fault),
//! `observe` (times), `report` (rooms, for whoever asks).
//!
//! Invariants: a frame goes to present members only; every member of a room sees its frames in one order;
//! once a connection is closing, nothing is added to its outbox.

mod connections;
mod deadlines;
mod delivery;
mod holdings;
mod keeping;
mod membership;
mod mesh;
mod observe;
mod report;
mod requests;
mod respawn;
mod watch;

pub use connections::{Flow, Moved};
pub use delivery::FanOut;
pub use holdings::Holdings;
pub use report::{MemberLine, RoomLine, RoomReport, RoomWalk, RoomsPage, Starting};

use crate::audience::Audience;
use crate::connection::{Connection, Phase};
use crate::envelope::Envelope;
use crate::ids::{ConnectionId, CoreId, MemberId, RoomId};
use crate::limits::{ACTIONS_PER_TURN_MAX, App, Authz, Limits};
use crate::link::Link;
use crate::meter::{Excess, Meter, Rates};
use crate::observed::Observed;
use crate::outbox::{Buffer, Pool};
use crate::room::Room;
use crate::seed::Seed;
use crate::stats::Stats;
use crate::time::Now;
use deadlines::Deadlines;
use delivery::Ready;
use observe::Play;
use respawn::Identity;
use slab::Slab;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::rc::Rc;
use watch::Watched;
use wire::answer::Clocks;
use wire::request::Parser;
use wire::upgrade::{Page, Partial};

/// What a shard is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which shard this is.
    pub core: CoreId,
    /// How many there are.
    pub cores: u16,
    /// What is served.
    pub app: App,
    /// Who may command rooms.
    pub authz: Authz,
    /// The bounds.
    pub limits: Limits,
    /// The key of all hashes and ids; the same for all shards.
    pub seed: Seed,
    /// What a plain GET of `/` is answered with; 404 if there is none. All who ask share its bytes, so the outbox's
    /// limit is not held against it.
    pub page: Option<&'static Page>,
}

/// What the driver has to do with a descriptor, besides sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// All was sent: end our side (FIN), go on receiving until the peer ends its own.
    Shutdown(ConnectionId),
    /// Let go of the descriptor, then call [`Shard::handle_released`].
    Drop {
        /// Which.
        connection: ConnectionId,
        /// With a reset (RST) instead of an orderly end.
        reset: bool,
    },
    /// Nothing is expected from it soon: wait for it with as little memory as possible, until
    /// [`Shard::handle_bytes`] says [`Flow::Stream`].
    Rest(ConnectionId),
}

/// One core's share.
pub struct Shard {
    settings: Settings,
    stats: Stats,
    connections: Vec<Connection>,
    /// What each has taken of its rates, by slot.
    meters: Vec<Meter>,
    rates: Rates,
    free: Vec<u32>,
    rooms: Slab<Room>,
    rooms_by_code: HashMap<Box<str>, u32, Seed>,
    rooms_made: u32,
    /// This core's part of every room that has members here; the broadcast app's only one is the first.
    audiences: Slab<Audience>,
    /// Audiences of rooms whose home is elsewhere.
    audiences_elsewhere: HashMap<RoomId, u32, Seed>,
    /// Members of rooms here whose sockets are elsewhere.
    members_elsewhere: HashMap<MemberId, MemberElsewhere, Seed>,
    /// The first bytes of requests that have not come whole, by slot: few, and not for long.
    heads: HashMap<u32, Partial, Seed>,
    /// Who is midway in a message or behind, by slot.
    watched: HashMap<u32, Watched, Seed>,
    /// The newest pings of those with too many pongs to be sent, by slot.
    newest_pings: HashMap<u32, Box<[u8]>, Seed>,
    /// What those have sent past their rate who did of late, by slot.
    excesses: HashMap<u32, Excess, Seed>,
    /// Who asked for the state while late, and has caught up.
    states_due: Vec<ConnectionId>,
    /// Who has ended and leaves in its turn, and whether by a reset or failure.
    ends_waiting: VecDeque<(ConnectionId, bool)>,
    /// Ends handled in this turn.
    ends_handled: usize,
    links: Vec<Link>,
    /// As whom connections joined rooms whose home is elsewhere, by slot.
    identities: HashMap<u32, Identity, Seed>,
    /// Which of this core's lives it is.
    life: u32,
    /// Peers that have not answered this life's first word yet, by core.
    unheard: Vec<bool>,
    /// Of each peer, the life that this one has answered.
    welcomed: Vec<Option<u32>>,
    /// Of what is kept.
    changes: u64,
    deadlines: Deadlines,
    ready: Ready,
    actions: VecDeque<Action>,
    /// Actions taken since the turn ended.
    actions_taken: usize,
    pool: Pool,
    /// Taken while a message is parsed, since its borrows reach into it.
    parser: Option<Box<Parser>>,
    /// The newest time as pongs say it; taken while one is written.
    clocks: Option<Box<Clocks>>,
    /// The whole answer to a GET of the page: all who ask share it.
    page: Option<Buffer>,
    /// Frames being written; empty between calls.
    scratch: Vec<u8>,
    handshakes: u64,
    observed: Box<Observed>,
    /// Starts whose PLAY is on its way to members.
    plays: Vec<Play>,
    /// Whose round trip TCP is to be asked.
    rtts_due: VecDeque<ConnectionId>,
    is_draining: bool,
    #[cfg(feature = "chaos")]
    is_doomed: bool,
    /// Whoever leaves now does so without a word to the others.
    is_quiet: bool,
    /// How far a drain has come: audiences first, then slots.
    drained: (usize, usize),
    /// The newest reading of the clocks that an event came with.
    now: Now,
}

/// A member whose socket is on another core.
#[derive(Clone, Copy, Debug)]
struct MemberElsewhere {
    room: u32,
    place: u32,
    ticket: u32,
}

impl Shard {
    /// A shard without connections.
    pub fn new(settings: Settings) -> Shard {
        let mut audiences = Slab::new();
        if settings.app == App::Broadcast {
            audiences.insert(Audience::everyone(settings.core));
        }
        let page = settings.page.map(|page| {
            let mut answer = Vec::new();
            page.write(false, &mut answer);
            Rc::new(answer)
        });
        let links = (0..settings.cores).map(|_| Link::new(settings.limits.mesh_backlog_max)).collect();
        Shard {
            stats: Stats::default(),
            connections: Vec::new(),
            meters: Vec::new(),
            rates: Rates::new(&settings.limits),
            free: Vec::new(),
            rooms: Slab::new(),
            rooms_by_code: HashMap::with_hasher(settings.seed),
            rooms_made: 0,
            audiences,
            audiences_elsewhere: HashMap::with_hasher(settings.seed),
            members_elsewhere: HashMap::with_hasher(settings.seed),
            heads: HashMap::with_hasher(settings.seed),
            watched: HashMap::with_hasher(settings.seed),
            newest_pings: HashMap::with_hasher(settings.seed),
            excesses: HashMap::with_hasher(settings.seed),
            states_due: Vec::new(),
            ends_waiting: VecDeque::new(),
            ends_handled: 0,
            links,
            identities: HashMap::with_hasher(settings.seed),
            life: 0,
            unheard: vec![false; usize::from(settings.cores)],
            welcomed: vec![None; usize::from(settings.cores)],
            changes: 0,
            deadlines: Deadlines::new(&settings.limits),
            ready: Ready::default(),
            actions: VecDeque::new(),
            actions_taken: 0,
            pool: Pool::default(),
            parser: Some(Box::new(Parser::new(settings.limits.request()))),
            clocks: Some(Box::new(Clocks::new(0, 0))),
            page,
            scratch: Vec::new(),
            handshakes: 0,
            observed: Box::default(),
            plays: Vec::new(),
            rtts_due: VecDeque::new(),
            is_draining: false,
            #[cfg(feature = "chaos")]
            is_doomed: false,
            is_quiet: false,
            drained: (0, 0),
            now: Now { master_us: 0, unix_us: 0 },
            settings,
        }
    }

    /// What was counted so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Descriptors that the driver has to close or shut; some in each turn, however many there are.
    pub fn poll_action(&mut self) -> Option<Action> {
        if self.actions_taken == ACTIONS_PER_TURN_MAX {
            return None;
        }
        self.actions.pop_front().inspect(|_| self.actions_taken += 1)
    }

    /// The next send, in the order they are to leave. Its bytes stay in place until
    /// [`Shard::handle_sent`] or [`Shard::handle_send_ended`] says that it is over; at most one per connection
    /// is out at a time. Large audiences' sends are cut into slices between turns.
    #[inline]
    pub fn poll_send(&mut self) -> Option<(ConnectionId, &[u8])> {
        let index = loop {
            let index = self.ready.next()?;
            let connection = &mut self.connections[index as usize];
            connection.is_listed = false;
            if connection.outbox.can_send() {
                break index;
            }
        };
        let connection = &mut self.connections[index as usize];
        let id = connection.id(index);
        connection.outbox.begin_send().map(|bytes| (id, bytes))
    }

    /// True if work is left that was put off to the next turn: do not park.
    pub fn has_work(&self) -> bool {
        !self.ready.is_empty() || !self.actions.is_empty() || !self.ends_waiting.is_empty()
    }

    /// What waits for `peer`, in order; empty if nothing does.
    pub fn take_envelopes(&mut self, peer: CoreId) -> Vec<Envelope> {
        let envelopes = self.links[usize::from(peer.0)].take();
        self.stats.envelopes_sent += envelopes.len() as u64;
        envelopes
    }

    /// Something waits for `peer`.
    pub fn has_envelopes(&self, peer: CoreId) -> bool {
        !self.links[usize::from(peer.0)].is_empty()
    }

    /// The master clock's time of the next deadline, µs.
    pub fn next_deadline_us(&mut self) -> Option<i64> {
        self.next_deadline()
    }

    /// The slot of a connection that still is what it was.
    fn live(&self, id: ConnectionId) -> Option<u32> {
        let connection = self.connections.get(id.index as usize)?;
        (connection.generation == id.generation && connection.phase != Phase::Free).then_some(id.index)
    }

    fn member_id(&self, index: u32) -> MemberId {
        MemberId { core: self.settings.core, connection: self.connections[index as usize].id(index) }
    }

    /// Arms the room's next deadline, if it is earlier than the one armed.
    fn arm_room(&mut self, room: u32) {
        let room = &mut self.rooms[room as usize];
        if let Some(due_us) = room.next_deadline_us()
            && room.timer_us.is_none_or(|armed_us| due_us < armed_us)
        {
            room.timer_us = Some(due_us);
            self.deadlines.arm_room(due_us, room.id);
        }
    }

    /// Fires what is due. Linear in what fires.
    pub fn handle_deadlines(&mut self, now: Now) {
        self.now = now;
        self.fire(now);
    }
}
