//! A deterministic world around the real shards: it plays kernel, driver, network and clients, and owns the time.
//!
//! One seed decides everything; the same seed gives the same [`Trace`] for ever. Time goes from event to event. After
//! every call into a shard the rules of `invariants` are checked, and every frame that a client reads is compared with
//! what the [`crate::model`] of its room expects, told the same events in the order of the room's home.
//! A world goes through chaos, calm, a check that all have converged, an end, and a check that nothing is left.
//!
//! The pieces: `setup` (what a seed decides), `turn` and `mesh` (driver and cores), `kernel` (sockets), `keeping` (what is
//! kept of rooms), `lives` and `restart` (one shard fails, or all of them), `client` and `people` (who is at the other
//! end), `judge` and `hearing` (what must be heard), `invariants`.

mod client;
mod ends;
mod frames;
mod hearing;
mod invariants;
mod judge;
mod keeping;
mod kernel;
mod lives;
mod mesh;
mod people;
mod restart;
mod said;
mod setup;
mod socket;
mod tally;
mod trace;
mod turn;

pub use setup::Setup;
pub use tally::Tally;
pub use trace::Trace;

use crate::generate::dice::Dice;
use crate::model::{Client, Clock};
use engine::room::VACANT_US;
use engine::{ConnectionId, Now, Shard};
use judge::Judge;
use keeping::{Boot, Keeper, Keeping};
use lives::{Doom, Life};
use mesh::Channel;
use people::Person;
use serde_json::json;
use socket::{Place, Socket};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The rule.
    pub invariant: &'static str,
    /// By what.
    pub what: String,
}

/// A rule holds, or not.
pub(crate) type Kept = Result<(), Broken>;

pub(crate) fn broken(invariant: &'static str, what: impl Into<String>) -> Kept {
    Err(Broken { invariant, what: what.into() })
}

/// Adds a line to the world's trace.
macro_rules! note {
    ($world:expr, $($text:tt)*) => {
        $world.trace.line($world.now.master_us, format_args!($($text)*))
    };
}
pub(crate) use note;

/// Runs a seed's world from its beginning to its end. The trace is the caller's, so that it outlives a panic.
pub fn run(seed: u64, trace: &mut Trace) -> Result<Tally, Broken> {
    let mut world = World::new(seed, trace);
    world.live()?;
    Ok(world.tally)
}

/// What happens at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A shard's turn.
    Turn(u16),
    /// Bytes, or an end, reach the kernel.
    Arrive(Client),
    /// A poll says that there is something to receive.
    Wake(Client),
    /// The kernel is done with a send, or with a part of it.
    Sent(Client),
    /// Nothing is in flight any more on a connection that was let go of.
    Release(Client),
    /// A client reads.
    Read(Client),
    /// A client that stopped reading goes on.
    ReadOn(Client),
    /// A person does something.
    Act(usize),
    /// A person answers a readiness check.
    Answer(usize),
    /// A person connects.
    Connect(usize),
    /// A batch comes to the end of its channel.
    Deliver(u16),
    /// A core or a link stalls, or Unix time is set.
    Fault,
    /// A completion comes for a slot that was released.
    Late { core: u16, life: u32, index: u32, generation: u32 },
    /// The control core asks for what is to be kept.
    Keep,
    /// The control core writes what is to be kept.
    Write,
    /// A shard is to fail.
    Fail(u16),
    /// The process is killed.
    Kill,
    /// The next process begins.
    Begin,
    /// A shard is told to drain.
    Drain(u16),
    /// What is left of a drain is reset.
    Abandon(u16),
}

/// What a shard's driver has to tell it.
#[derive(Clone, Copy, Debug)]
enum Completion {
    Accept(Client),
    Receive(Client),
    Sent(Client),
}

struct Core {
    shard: Shard,
    /// Who is in which slot.
    slots: Vec<Option<Client>>,
    completions: VecDeque<Completion>,
    /// Who has caught up since the turn began, and is to be told where its room is.
    states_due: Vec<Client>,
    turn_at_us: Option<i64>,
    stalled_until_us: i64,
    is_draining: bool,
    /// Which of its lives it is in.
    life: u32,
    /// When that begins.
    begins_us: i64,
    /// Of each peer, the newest that it has heard of.
    lives_known: Vec<u32>,
    /// Peers that have not heard of its life, as far as it knows.
    unheard: Vec<bool>,
    /// Of each peer, the life that it has answered.
    welcomed: Vec<Option<u32>>,
    doom: Option<Doom>,
    keeping: Keeping,
}

/// Everything.
struct World<'t> {
    setup: Setup,
    dice: Dice,
    /// For what happens in some worlds only, so that the others are what they would be without it.
    fate: Dice,
    now: Now,
    events: BinaryHeap<Reverse<(i64, u64, Event)>>,
    events_made: u64,
    cores: Vec<Core>,
    /// By sender and receiver.
    channels: Vec<Channel>,
    sockets: Vec<Socket>,
    /// Who has, or had, this connection of this core in this life.
    owners: HashMap<(Life, ConnectionId), Client>,
    /// Who was told which wsId.
    ws_ids: HashMap<String, Client>,
    people: Vec<Person>,
    judge: Judge,
    keeper: Keeper,
    boot: Boot,
    /// Faults happen and people act.
    is_chaos: bool,
    pings_made: u64,
    tally: Tally,
    trace: &'t mut Trace,
}

const UNIX_START_US: i64 = 1_750_000_000_000_000;
/// The master clock's time at the beginning: not 0, so that a time that was never set shows.
const MASTER_START_US: i64 = 5_000_000;
/// Events of a world, past which it is taken to go round in circles.
const EVENTS_MAX: u64 = 2_000_000;

impl<'t> World<'t> {
    fn new(seed: u64, trace: &'t mut Trace) -> World<'t> {
        let mut dice = Dice::new(seed);
        let mut fate = Dice::new(!seed);
        let setup = Setup::new(&mut dice, &mut fate);
        let core = |core| Core {
            shard: lives::new_shard(&setup, core),
            slots: Vec::new(),
            completions: VecDeque::new(),
            states_due: Vec::new(),
            turn_at_us: None,
            stalled_until_us: 0,
            is_draining: false,
            life: 0,
            begins_us: 0,
            lives_known: vec![0; usize::from(setup.cores)],
            unheard: vec![false; usize::from(setup.cores)],
            welcomed: vec![None; usize::from(setup.cores)],
            doom: None,
            keeping: Keeping::default(),
        };
        World {
            cores: (0..setup.cores).map(core).collect(),
            channels: (0..setup.cores * setup.cores).map(|_| Channel::default()).collect(),
            judge: Judge::new(setup.authz, setup.cores, setup.key),
            keeper: Keeper::new(setup.cores),
            boot: Boot::FIRST,
            people: (0..setup.people).map(|number| Person::new(number, &setup, &mut dice)).collect(),
            now: Now { master_us: MASTER_START_US, unix_us: UNIX_START_US },
            events: BinaryHeap::new(),
            events_made: 0,
            sockets: Vec::new(),
            owners: HashMap::new(),
            ws_ids: HashMap::new(),
            is_chaos: true,
            pings_made: 0,
            tally: Tally::default(),
            setup,
            dice,
            fate,
            trace,
        }
    }

    /// From the beginning to the end.
    fn live(&mut self) -> Kept {
        note!(self, "{:?}", self.setup);
        for person in 0..self.people.len() {
            let at_us = self.now.master_us + self.dice.within(0..=1_500_000);
            self.schedule(at_us, Event::Connect(person));
        }
        let first_us = self.now.master_us + self.setup.network.fault_every_us;
        self.schedule(first_us, Event::Fault);
        if let Some(lives) = self.setup.lives.clone() {
            let core = self.fate.below(self.cores.len()) as u16;
            self.schedule(self.now.master_us + lives.keep_every_us, Event::Keep);
            self.schedule(self.now.master_us + lives.fail_every_us, Event::Fail(core));
            if let Some(kill_every_us) = lives.kill_every_us {
                self.schedule(self.now.master_us + kill_every_us, Event::Kill);
            }
        }
        self.run_for(self.setup.chaos_us)?;
        self.calm();
        self.run_for(self.settle_us())?;
        // One after the other: links that hold a single envelope are not to be filled by the question.
        for person in 0..self.people.len() {
            self.say_at_last(person, json!({"type": "SEEK", "seekPositionMs": 1234}));
            self.run_for(300_000)?;
            self.say_at_last(person, json!({"type": "get_playback_state"}));
            self.run_for(300_000)?;
        }
        self.run_until_quiet()?;
        self.check_converged()?;
        self.end();
        self.run_for(self.settle_us())?;
        if self.setup.drains || self.setup.lives.is_some() {
            self.run_for(VACANT_US)?;
        }
        self.check_nothing_is_left()?;
        (0..self.setup.cores).for_each(|core| self.count_shard(core));
        Ok(())
    }

    /// Long enough for every timeout to have struck.
    fn settle_us(&self) -> i64 {
        let limits = &self.setup.limits;
        let pings_ms = i64::from(limits.ping_interval_ms) * (i64::from(limits.pings_unanswered_max) + 2);
        let others_ms = i64::from(limits.head_timeout_ms.max(limits.close_timeout_ms)) * 2;
        // A handshake may go on for 9 s.
        (pings_ms + others_ms + 11_000) * 1_000
    }

    fn run_for(&mut self, time_us: i64) -> Kept {
        let until_us = self.now.master_us + time_us;
        while let Some(Reverse((at_us, _, event))) =
            self.events.peek().copied().filter(|it| it.0.0 <= until_us)
        {
            self.events.pop();
            if self.events_made > EVENTS_MAX {
                return broken("a world comes to rest", format!("{EVENTS_MAX} events and no end"));
            }
            self.pass_to(at_us);
            self.happen(event)?;
        }
        self.pass_to(until_us);
        Ok(())
    }

    /// Pings go on for ever, so there is a moment at which nothing is on its way.
    fn run_until_quiet(&mut self) -> Kept {
        const MOMENTS: usize = 500;
        for _ in 0..MOMENTS {
            if self.check_quiet("").is_ok() {
                return Ok(());
            }
            self.run_for(70_000)?;
        }
        Ok(())
    }

    fn pass_to(&mut self, at_us: i64) {
        self.now.unix_us += at_us - self.now.master_us;
        self.now.master_us = at_us;
    }

    fn happen(&mut self, event: Event) -> Kept {
        match event {
            Event::Turn(core) => {
                let slot = &mut self.cores[usize::from(core)].turn_at_us;
                // An earlier turn was asked for after this one.
                if *slot == Some(self.now.master_us) {
                    *slot = None;
                    self.turn(core)?;
                }
            }
            Event::Arrive(client) => self.arrive(client),
            Event::Wake(client) => self.line_up(client),
            Event::Sent(client) => self.complete_send(client),
            Event::Release(client) => self.release(client)?,
            Event::Read(client) => self.read(client)?,
            Event::ReadOn(client) => self.read_on(client),
            Event::Act(person) => self.act(person),
            Event::Answer(person) => self.answer_check(person),
            Event::Connect(person) => self.connect(person),
            Event::Deliver(core) => self.turn_soon(core),
            Event::Fault => self.strike(),
            Event::Late { core, life, index, generation } => {
                // What was in flight in another life was ended with it.
                if self.cores[usize::from(core)].life == life {
                    self.complete_late(core, ConnectionId { index, generation })?;
                }
            }
            Event::Keep => self.ask_for_rooms(),
            Event::Write => self.write_file(),
            Event::Fail(core) => self.doom(core),
            Event::Kill => self.kill()?,
            Event::Begin => self.begin()?,
            Event::Drain(core) => self.drain(core)?,
            Event::Abandon(core) => self.abandon(core)?,
        }
        Ok(())
    }

    fn schedule(&mut self, at_us: i64, event: Event) {
        self.events_made += 1;
        self.events.push(Reverse((at_us.max(self.now.master_us), self.events_made, event)));
    }

    fn schedule_in(&mut self, least_us: i64, most_us: i64, event: Event) {
        let at_us = self.now.master_us + self.dice.within(least_us..=most_us.max(least_us));
        self.schedule(at_us, event);
    }

    /// A turn at this time, or earlier.
    fn turn_at(&mut self, core: u16, at_us: i64) {
        let slot = &mut self.cores[usize::from(core)].turn_at_us;
        if slot.is_none_or(|planned_us| at_us < planned_us) {
            *slot = Some(at_us);
            self.schedule(at_us, Event::Turn(core));
        }
    }

    /// A turn as soon as the core wakes.
    fn turn_soon(&mut self, core: u16) {
        let at_us = self.now.master_us + self.dice.within(0..=self.setup.network.turn_us_max);
        self.turn_at(core, at_us);
    }

    fn clock(&self) -> Clock {
        Clock { master_us: self.now.master_us, unix_us: self.now.unix_us }
    }

    fn socket(&mut self, client: Client) -> &mut Socket {
        &mut self.sockets[client as usize]
    }

    /// The connection's id, while the socket is in this shard's table.
    fn connection(&self, core: u16, client: Client) -> Option<ConnectionId> {
        let socket = &self.sockets[client as usize];
        socket.connection.filter(|_| socket.core == core && socket.place == Place::Open)
    }
}
